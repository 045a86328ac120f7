//! Sockets of a network namespace, as `/proc/PID/net` shows them.

mod holdings;

use self::holdings::holdings;
use crate::files::unreadable;
use crate::processes::{in_parts, namespace, process_ids};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::thread;
use why502_decode::host::{tcp_line, unix_line};
use why502_facts::{
    Answer, FactBody, GapReason, NamespaceRecord, OtherSocketsRecord, PeerAddress, SocketRecord, SocketState,
};

/// The most kinds of connections that are kept.
const MAX_CONNECTED: usize = 256;
/// The most named unix sockets that are kept.
const MAX_UNIX: usize = 8192;
/// The most connections whose holders are searched.
const MAX_SEARCHED: usize = 65_536;

/// How much of a table is read at once: each time the kernel looks anew for the place where it was.
const READ_AT_ONCE: usize = 256 << 10;
/// The most network namespaces that are looked at beside one.
const MAX_NAMESPACES: usize = 64;

/// The inodes of connections that were accepted, and where.
type Connections = BTreeMap<u64, PeerAddress>;

/// The sockets of the network namespace of `pid`, or of our own.
pub(crate) fn read_sockets(pid: Option<u32>) -> Answer {
    let net = pid.map_or_else(|| "/proc/self/net".to_owned(), |pid| format!("/proc/{pid}/net"));
    match read_record(&net) {
        Ok(record) => Answer::known(FactBody::Sockets(record)),
        Err(error) => unreadable(errno(&error), &net),
    }
}

/// How many bytes of a connection of this thread's network namespace its far end has not acknowledged; `None` where that cannot
/// be seen.
pub(crate) fn unacknowledged(local: SocketAddr) -> Option<u64> {
    let table = if local.is_ipv4() { "tcp" } else { "tcp6" };
    let file = File::open(format!("/proc/thread-self/net/{table}")).ok()?;
    let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
    let mut found = lines.filter_map(|line| tcp_line(&line)).filter(|own| own.local == local);
    found.next().map(|own| own.unacknowledged)
}

/// The listening sockets of all network namespaces but that of `pid`, or our own.
///
/// Each namespace is read through the first process in it, and the owners of all of them are searched at once.
pub(crate) fn read_other_sockets(pid: Option<u32>) -> Answer {
    let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let Some(own) = namespace(&format!("/proc/{process}/ns/net")) else {
        let says = format!("the network namespace of process {process} may not be seen");
        return Answer::unknown(GapReason::Denied, says);
    };
    let pids = match process_ids() {
        Ok(pids) => pids,
        Err(error) => return unreadable(errno(&error), "/proc"),
    };
    // Process 1 is always there: if it cannot be seen, `hidepid` hides other users' processes.
    let mut record = OtherSocketsRecord { namespaces: Vec::new(), hidden: !pids.contains(&1) };
    let mut seen = BTreeSet::from([own]);
    let namespaces = in_parts(&pids, |pid| Some((pid, namespace(&format!("/proc/{pid}/ns/net")))));
    for (pid, namespace) in namespaces {
        let Some(namespace) = namespace else {
            record.hidden |= fs::exists(format!("/proc/{pid}")).unwrap_or(true);
            continue;
        };
        if !seen.insert(namespace) {
            continue;
        }
        if record.namespaces.len() == MAX_NAMESPACES {
            record.hidden = true;
            break;
        }
        match read_tables(&format!("/proc/{pid}/net")) {
            Ok((tables, _)) => {
                // Only who listens is of interest there.
                let sockets = SocketRecord { connected: Vec::new(), ..tables };
                record.namespaces.push(NamespaceRecord { namespace, pid, sockets });
            }
            // It ended meanwhile: another process may be in the same namespace.
            Err(error) if is_gone(&error) => {
                seen.remove(&namespace);
            }
            Err(_) => record.hidden = true,
        }
    }
    let inodes: BTreeSet<u64> =
        record.namespaces.iter().flat_map(|own| listening_inodes(&own.sockets)).collect();
    if inodes.is_empty() {
        return Answer::known(FactBody::OtherSockets(record));
    }
    let found = holdings().owners(&inodes, &Connections::new());
    for own in &mut record.namespaces {
        let inodes = listening_inodes(&own.sockets);
        own.sockets.owners =
            found.owners.iter().filter(|(inode, _)| inodes.contains(inode)).copied().collect();
        own.sockets.owners_hidden = found.hidden;
    }
    Answer::known(FactBody::OtherSockets(record))
}

fn read_record(net: &str) -> io::Result<SocketRecord> {
    // At once: to print the tables keeps the kernel as long as to walk the descriptors.
    let (tables, holdings) = thread::scope(|scope| {
        let holdings = scope.spawn(holdings);
        let tables = read_tables(net);
        // A panic in a thread of ours is a bug and must not be swallowed.
        (tables, holdings.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (mut record, connections) = tables?;
    let found = holdings.owners(&listening_inodes(&record), &connections);
    (record.owners, record.accepted, record.owners_hidden) = (found.owners, found.accepted, found.hidden);
    Ok(record)
}

/// The tables of a namespace without the owners of its sockets, and the connections that were accepted there.
fn read_tables(net: &str) -> io::Result<(SocketRecord, Connections)> {
    let (mut connected, mut connections) = (BTreeMap::new(), Connections::new());
    let tcp = read_tcp(&format!("{net}/tcp"), &mut connected, &mut connections)?;
    let tcp6 = or_empty(read_tcp(&format!("{net}/tcp6"), &mut connected, &mut connections))?;
    let mut connected: Vec<_> =
        connected.into_iter().map(|((state, remote), count)| (state, remote, count)).collect();
    connected.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| (a.0, a.1).cmp(&(b.0, b.1))));
    connected.truncate(MAX_CONNECTED);
    let record = SocketRecord {
        tcp: tcp.into(),
        tcp6: tcp6.into(),
        unix: or_empty(read_unix(&format!("{net}/unix"), &mut connections))?.into(),
        connected,
        fib_trie: or_empty(read_fib_trie(&format!("{net}/fib_trie")))?.into(),
        if_inet6: or_empty(fs::read(format!("{net}/if_inet6")))?.into(),
        ..SocketRecord::default()
    };
    Ok((record, connections))
}

/// A kernel without IPv6 or without routing tables has no such file; any other error is no sign that it would be empty.
fn or_empty(read: io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// Keeps listening lines and counts the others; a busy host has a hundred thousand of them.
///
/// The kernel prints the listening ones first (net/ipv4/tcp_ipv4.c, `tcp_get_idx`), so a connection to one of their ports
/// is known for one that was accepted.
fn read_tcp(
    path: &str,
    connected: &mut BTreeMap<(SocketState, SocketAddr), u64>,
    connections: &mut Connections,
) -> io::Result<Vec<u8>> {
    let (mut kept, mut ports) = (Vec::new(), BTreeSet::new());
    let mut table = BufReader::with_capacity(READ_AT_ONCE, File::open(path)?);
    let mut line = Vec::new();
    while read_line(&mut table, &mut line)? {
        let Some(socket) = tcp_line(&line) else { continue };
        if socket.state == SocketState::Listen {
            kept.extend_from_slice(&line);
            kept.push(b'\n');
            ports.insert(socket.local.port());
            continue;
        }
        *connected.entry((socket.state, socket.remote)).or_default() += 1;
        let is_accepted = socket.inode != 0 && ports.contains(&socket.local.port());
        if is_accepted && connections.len() < MAX_SEARCHED {
            let local = SocketAddr::new(socket.local.ip().to_canonical(), socket.local.port());
            connections.insert(socket.inode, PeerAddress::Inet(local));
        }
    }
    Ok(kept)
}

/// Reads the next line without its end into `line`; whether there was one.
fn read_line(table: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let is_line = table.read_until(b'\n', line)? > 0;
    line.pop_if(|last| *last == b'\n');
    Ok(is_line)
}

/// Keeps the sockets that have a name and are not connected: every accepted connection bears its listener's.
fn read_unix(path: &str, connections: &mut Connections) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut n_kept = 0;
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        let line = line?;
        let Some(socket) = unix_line(&line) else { continue };
        if socket.connected {
            if connections.len() < MAX_SEARCHED {
                connections.insert(socket.inode, PeerAddress::Unix(socket.path));
            }
        } else if n_kept < MAX_UNIX {
            kept.extend_from_slice(&line);
            kept.push(b'\n');
            n_kept += 1;
        }
    }
    Ok(kept)
}

/// Keeps the lines that name local addresses: a router's table has a million others.
fn read_fib_trie(path: &str) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut leaf = Vec::new();
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        let line = line?;
        if line.windows(3).any(|window| window == b"|--") {
            leaf.clone_from(&line);
        } else if line.windows(10).any(|window| window == b"host LOCAL") {
            for part in [&leaf, &line] {
                kept.extend_from_slice(part);
                kept.push(b'\n');
            }
        }
    }
    Ok(kept)
}

/// The inodes whose owners are worth a search: those of listening sockets.
fn listening_inodes(record: &SocketRecord) -> BTreeSet<u64> {
    let column = |blob: &[u8], at: usize| {
        let text = String::from_utf8_lossy(blob).into_owned();
        let inode = |line: &str| line.split_ascii_whitespace().nth(at).and_then(|inode| inode.parse().ok());
        text.lines().filter_map(inode).collect::<Vec<u64>>()
    };
    let mut inodes: BTreeSet<u64> = BTreeSet::new();
    inodes.extend(column(record.tcp.as_slice(), 9));
    inodes.extend(column(record.tcp6.as_slice(), 9));
    inodes.extend(column(record.unix.as_slice(), 6));
    inodes
}

/// Whether a process or a descriptor ended while it was looked at.
fn is_gone(error: &io::Error) -> bool {
    matches!(errno(error), Errno::NOENT | Errno::SRCH)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::holdings::sockets_of;
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};
    use why502_decode::host::{decode_other_sockets, decode_sockets};
    use why502_facts::PeerAddress;

    #[test]
    fn only_a_table_that_is_not_there_is_empty() {
        let failed = |errno: Errno| or_empty(Err(errno.into())).map_err(|error| error.kind());
        assert_eq!(failed(Errno::NOENT), Ok(Vec::new()));
        assert_eq!(failed(Errno::ACCESS), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(or_empty(Ok(vec![1])).ok(), Some(vec![1]));
    }

    #[test]
    fn a_process_that_is_gone_hides_nothing() {
        assert!(is_gone(&sockets_of(u32::MAX).unwrap_err()));
        assert!(is_gone(&Errno::SRCH.into()) && !is_gone(&Errno::ACCESS.into()));
    }

    #[test]
    fn our_own_listeners_are_found_with_us_as_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let _unix = UnixListener::bind(&path).unwrap();
        let Answer::Known(body) = read_sockets(None) else { panic!("no sockets") };
        let FactBody::Sockets(record) = *body else { panic!("another answer") };
        let table = decode_sockets(&record);
        let address = tcp.local_addr().unwrap();
        let listener = table.accepting(address).next().unwrap();
        assert!(listener.pids.contains(&std::process::id()));
        assert_eq!(table.listens(&PeerAddress::Unix(path.display().to_string())), Some(true));
        assert_eq!(table.listens(&PeerAddress::Unix("/nowhere.sock".to_owned())), Some(false));
    }

    #[test]
    fn our_own_namespace_is_none_of_the_others() {
        let _tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let Answer::Known(body) = read_other_sockets(None) else { panic!("no sockets") };
        let FactBody::OtherSockets(record) = *body else { panic!("another answer") };
        let own = namespace("/proc/self/ns/net").unwrap();
        assert!(record.namespaces.iter().all(|other| other.namespace != own));
        let other = decode_other_sockets(&record);
        let pids = other.namespaces.iter().flat_map(|other| &other.table.listeners).flat_map(|own| &own.pids);
        assert!(!pids.into_iter().any(|pid| *pid == std::process::id()));
    }

    #[test]
    fn the_namespace_of_a_process_that_is_gone_is_unknown() {
        let answer = read_other_sockets(Some(u32::MAX));
        assert!(matches!(answer, Answer::Unknown { why: GapReason::Denied, .. }), "{answer:?}");
    }

    #[test]
    fn connections_are_told_by_whether_they_were_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
        let address = tcp.local_addr().unwrap();
        let _tcp_ends: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let _unix_ends: Vec<UnixStream> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
        let _accepted = (tcp.accept().unwrap(), unix.accept().unwrap());
        let Answer::Known(body) = read_sockets(None) else { panic!("no sockets") };
        let FactBody::Sockets(record) = *body else { panic!("another answer") };
        let table = decode_sockets(&record);
        for peer in [PeerAddress::Inet(address), PeerAddress::Unix(path.display().to_string())] {
            assert_eq!((table.queue(&peer), table.accepted_by(&peer, std::process::id())), (2, 1), "{peer}");
        }
    }
}
