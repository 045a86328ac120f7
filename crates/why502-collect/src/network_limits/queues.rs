//! Queues of listening sockets, asked of the kernel by sock_diag(7): `/proc/net/tcp` does not tell how long they may be, and
//! `/proc/net/unix` tells nothing of them.

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{self, ExtensionFlags, InetRequest, InetResponse, SocketId};
use netlink_packet_sock_diag::unix::{self, ShowFlags, UnixRequest, UnixResponse};
use rustix::fd::OwnedFd;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

/// The most sockets that are told.
const MAX_QUEUES: usize = 16_384;
/// How much the kernel sends at once at most (net/netlink/af_netlink.c, `netlink_dump`).
const MAX_DATAGRAM: usize = 64 << 10;
/// The kernel answers at once; nothing waits for ever.
const PATIENCE: Duration = Duration::from_secs(1);

/// The listening sockets of the network namespace of this thread, one per line, in the form of
/// [`why502_facts::NetworkLimitsRecord::queues`].
pub(super) fn list() -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    let mut n_lines = 0;
    let mut keep = |line: io::Result<Vec<u8>>| -> io::Result<()> {
        let line = line?;
        // A name with a line break would forge another socket.
        if n_lines < MAX_QUEUES && !line.is_empty() && !line.contains(&b'\n') {
            lines.extend_from_slice(&line);
            lines.push(b'\n');
            n_lines += 1;
        }
        Ok(())
    };
    dump(inet_request(AF_INET, SocketId::new_v4()), &mut keep)?;
    match dump(inet_request(AF_INET6, SocketId::new_v6()), &mut keep) {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => done?,
    }
    match dump(unix_request(), &mut keep) {
        // A kernel whose module for unix sockets is not there (CONFIG_UNIX_DIAG).
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => done?,
    }
    Ok(lines)
}

fn inet_request(family: u8, socket_id: SocketId) -> SockDiagMessage {
    SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::SKMEMINFO,
        states: inet::StateFlags::LISTEN,
        socket_id,
    })
}

fn unix_request() -> SockDiagMessage {
    SockDiagMessage::UnixRequest(UnixRequest {
        state_flags: unix::StateFlags::LISTEN,
        inode: 0,
        show_flags: ShowFlags::NAME | ShowFlags::RQLEN,
        cookie: [0xff; 8],
    })
}

/// Asks the kernel and gives every answer to `keep` as a line.
fn dump(
    request: SockDiagMessage,
    keep: &mut impl FnMut(io::Result<Vec<u8>>) -> io::Result<()>,
) -> io::Result<()> {
    let socket = ask(request)?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let (_, length) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    keep(inet_line(&response))?;
                }
                NetlinkPayload::InnerMessage(SockDiagMessage::UnixResponse(response)) => {
                    keep(unix_line(&response))?;
                }
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            // Messages begin at multiples of four bytes (netlink(7), `NLMSG_ALIGN`).
            let taken = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
            rest = rest.get(taken.max(4)..).unwrap_or_default();
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// A socket on which the answer comes.
fn ask(request: SockDiagMessage) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(SOCK_DIAG))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, request.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    rustix::net::sendto(&socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

/// Of a listening socket, the queue for receiving is what waits, that for sending the limit (net/ipv4/tcp_diag.c,
/// `tcp_diag_get_info`).
fn inet_line(response: &InetResponse) -> io::Result<Vec<u8>> {
    let header = &response.header;
    let drops = response.nlas.iter().find_map(|attribute| match attribute {
        inet::nlas::Nla::MemInfo(memory) => Some(memory.drops.to_string()),
        _ => None,
    });
    let drops = drops.unwrap_or_else(|| "-".to_owned());
    let ip = header.socket_id.source_address.to_canonical();
    let address = SocketAddr::new(ip, header.socket_id.source_port);
    let mut line = Vec::new();
    write!(line, "tcp {} {} {drops} {address}", header.recv_queue, header.send_queue)?;
    Ok(line)
}

/// Empty for a socket without a name, which nobody can be told to dial.
fn unix_line(response: &UnixResponse) -> io::Result<Vec<u8>> {
    let (mut name, mut queue) = (None, None);
    for attribute in &response.nlas {
        match attribute {
            unix::nlas::Nla::Name(unix::nlas::UnixDiagName::Pathname(path)) => name = Some(path.clone()),
            unix::nlas::Nla::Name(unix::nlas::UnixDiagName::Abstract(bytes)) => {
                name = Some(OsString::from(format!("@{}", String::from_utf8_lossy(bytes))));
            }
            unix::nlas::Nla::ReceiveQueueLength(waiting, limit) => queue = Some((*waiting, *limit)),
            _ => {}
        }
    }
    let mut line = Vec::new();
    if let Some((name, (waiting, limit))) = name.zip(queue) {
        write!(line, "unix {waiting} {limit} - {}", name.to_string_lossy())?;
    }
    Ok(line)
}
