//! A resolver of our own: hosts file, then name servers, as the C library goes about it.
//!
//! It serves in a mount namespace that is not ours, where no program may be started, and tells a name that does not
//! exist from name servers that do not answer, which getent(1) does not.

use super::NameFiles;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use why502_decode::host::{find_host, parse_resolv_conf};
use why502_decode::wire::{AddressKind, DnsReply, dns_question, read_dns_reply};
use why502_facts::{Errno, NameReply};

/// How long one name server may take for one question; the C library gives it five seconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// The port of name servers.
const PORT: u16 = 53;
/// More than a datagram without EDNS ever holds.
const MAX_DATAGRAM: usize = 4096;

/// What became of a look-up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The name's addresses.
    Found(Vec<IpAddr>),
    /// A name server says that there is no such name, or no address of it.
    NotFound,
    /// No name server gave an answer: what they did instead.
    NoAnswer(String),
}

/// Looks a name up in the hosts file, then at the name servers.
pub(super) fn look_up(name: &str, files: &NameFiles, timeout: Duration) -> Lookup {
    let listed = find_host(&files.hosts, name);
    if listed.is_empty() { ask_servers(name, &files.resolv_conf, timeout) } else { Lookup::Found(listed) }
}

/// Asks the name servers of resolv.conf for every name that the search list makes of one.
pub(super) fn ask_servers(name: &str, resolv_conf: &[u8], timeout: Duration) -> Lookup {
    let deadline = Instant::now() + timeout;
    let settings = parse_resolv_conf(resolv_conf);
    let mut trouble = None;
    for candidate in settings.candidates(name) {
        let mut addresses = Vec::new();
        for kind in [AddressKind::V4, AddressKind::V6] {
            match ask_in_turn(&settings.servers, &candidate, kind, deadline) {
                Ok(found) => addresses.extend(found),
                Err(says) => trouble = Some(says),
            }
        }
        if !addresses.is_empty() {
            return Lookup::Found(addresses);
        }
    }
    trouble.map_or(Lookup::NotFound, Lookup::NoAnswer)
}

/// The name servers of resolv.conf.
pub(super) fn system_servers(resolv_conf: &[u8]) -> Vec<SocketAddr> {
    let settings = parse_resolv_conf(resolv_conf);
    settings.servers.into_iter().map(|server| SocketAddr::new(server, PORT)).collect()
}

/// What the first server that gives an answer says of just that name; else what the last of them did instead.
pub(super) fn ask_for(name: &str, servers: &[SocketAddr], timeout: Duration) -> NameReply {
    let deadline = Instant::now() + timeout;
    let mut reply = NameReply::Silent;
    for server in servers {
        reply = ask_both(*server, name, deadline);
        if reply.is_answer() {
            break;
        }
    }
    reply
}

/// What a server says of a name's addresses of both families.
fn ask_both(server: SocketAddr, name: &str, deadline: Instant) -> NameReply {
    let [v4, v6] = [AddressKind::V4, AddressKind::V6].map(|kind| reply_of(ask(server, name, kind, deadline)));
    match (v4, v6) {
        (NameReply::Addresses(mut all), NameReply::Addresses(more)) => {
            all.extend(more);
            NameReply::Addresses(all)
        }
        // One family is enough; what the server does about the other one costs no request.
        (found @ NameReply::Addresses(_), _) | (_, found @ NameReply::Addresses(_)) => found,
        (first, NameReply::NoSuchName) => first,
        (_, second) => second,
    }
}

fn reply_of(reply: io::Result<DnsReply>) -> NameReply {
    match reply {
        Ok(DnsReply::Addresses(addresses)) if !addresses.is_empty() => NameReply::Addresses(addresses),
        Ok(DnsReply::Addresses(_) | DnsReply::NoSuchName) => NameReply::NoSuchName,
        Ok(DnsReply::Refused(code)) => NameReply::Refused(code),
        Ok(DnsReply::Truncated | DnsReply::Unusable) => NameReply::Unusable,
        Err(error) => match error.raw_os_error().map(Errno::from_linux) {
            Some(errno) if errno != Errno::TimedOut && error.kind() != io::ErrorKind::WouldBlock => {
                NameReply::Unreachable(errno)
            }
            _ => NameReply::Silent,
        },
    }
}

/// The answer of the first server that gives one; an error tells what the last of them did instead.
fn ask_in_turn(
    servers: &[IpAddr],
    name: &str,
    kind: AddressKind,
    deadline: Instant,
) -> Result<Vec<IpAddr>, String> {
    let mut trouble = "no name server is set".to_owned();
    for server in servers {
        match ask(SocketAddr::new(*server, PORT), name, kind, deadline) {
            Ok(DnsReply::Addresses(addresses)) => return Ok(addresses),
            Ok(DnsReply::NoSuchName) => return Ok(Vec::new()),
            Ok(DnsReply::Refused(code)) => trouble = format!("name server {server} answers {code}"),
            Ok(DnsReply::Truncated | DnsReply::Unusable) => {
                trouble = format!("name server {server} sends no usable answer");
            }
            Err(error) => trouble = format!("name server {server}: {}", words(&error)),
        }
    }
    Err(trouble)
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".to_owned(),
        _ => error.to_string(),
    }
}

fn ask(server: SocketAddr, name: &str, kind: AddressKind, deadline: Instant) -> io::Result<DnsReply> {
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    // A name that no message can carry is no name of the DNS.
    let Some(question) = dns_question(u16::from_ne_bytes(id), name, kind) else {
        return Ok(DnsReply::NoSuchName);
    };
    match by_datagram(server, &question, deadline)? {
        DnsReply::Truncated => by_stream(server, &question, deadline),
        reply => Ok(reply),
    }
}

fn patience(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now()).min(PATIENCE);
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn by_datagram(server: SocketAddr, question: &[u8], deadline: Instant) -> io::Result<DnsReply> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A datagram socket that is connected receives from that server alone, and listens to nobody.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    let until = Instant::now() + patience(deadline)?;
    socket.send(question)?;
    let mut buffer = [0; MAX_DATAGRAM];
    loop {
        socket.set_read_timeout(Some(patience(until.min(deadline))?))?;
        let length = socket.recv(&mut buffer)?;
        let reply = read_dns_reply(question, &buffer[..length]);
        // Somebody else's late answer is waited past.
        if reply != DnsReply::Unusable {
            return Ok(reply);
        }
    }
}

/// Through TCP a message follows its length in two bytes (RFC 1035, section 4.2.2).
fn by_stream(server: SocketAddr, question: &[u8], deadline: Instant) -> io::Result<DnsReply> {
    let mut stream = TcpStream::connect_timeout(&server, patience(deadline)?)?;
    stream.set_read_timeout(Some(patience(deadline)?))?;
    stream.set_write_timeout(Some(patience(deadline)?))?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply)?;
    Ok(read_dns_reply(question, &reply))
}
