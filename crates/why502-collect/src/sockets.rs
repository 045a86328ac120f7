//! Sockets of a network namespace, as `/proc/PID/net` shows them.

use crate::files::unreadable;
use crate::processes::process_ids;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use why502_decode::host::socket_line_state;
use why502_facts::{Answer, FactBody, SocketRecord, SocketState};

/// The most kinds of connections that are kept.
const MAX_CONNECTED: usize = 256;
/// The most named unix sockets that are kept.
const MAX_UNIX: usize = 8192;

/// The sockets of the network namespace of `pid`, or of our own.
pub(crate) fn read_sockets(pid: Option<u32>) -> Answer {
    let net = pid.map_or_else(|| "/proc/self/net".to_owned(), |pid| format!("/proc/{pid}/net"));
    match read_record(&net) {
        Ok(record) => Answer::known(FactBody::Sockets(record)),
        Err(error) => unreadable(errno(&error), &net),
    }
}

fn read_record(net: &str) -> io::Result<SocketRecord> {
    let mut connected = BTreeMap::new();
    let tcp = read_tcp(&format!("{net}/tcp"), &mut connected)?;
    let tcp6 = or_empty(read_tcp(&format!("{net}/tcp6"), &mut connected))?;
    let mut connected: Vec<_> =
        connected.into_iter().map(|((state, remote), count)| (state, remote, count)).collect();
    connected.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| (a.0, a.1).cmp(&(b.0, b.1))));
    connected.truncate(MAX_CONNECTED);
    let mut record = SocketRecord {
        tcp: tcp.into(),
        tcp6: tcp6.into(),
        unix: or_empty(read_unix(&format!("{net}/unix")))?.into(),
        connected,
        fib_trie: or_empty(read_fib_trie(&format!("{net}/fib_trie")))?.into(),
        if_inet6: or_empty(fs::read(format!("{net}/if_inet6")))?.into(),
        ..SocketRecord::default()
    };
    (record.owners, record.owners_hidden) = find_owners(&listening_inodes(&record));
    Ok(record)
}

/// A kernel without IPv6 or without routing tables has no such file; any other error is no sign that it would be empty.
fn or_empty(read: io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// Keeps listening lines and counts the others; a busy host has a hundred thousand of them.
fn read_tcp(path: &str, connected: &mut BTreeMap<(SocketState, SocketAddr), u64>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        let line = line?;
        match socket_line_state(&line) {
            Some((SocketState::Listen, _)) => {
                kept.extend_from_slice(&line);
                kept.push(b'\n');
            }
            Some(other) => *connected.entry(other).or_default() += 1,
            None => {}
        }
    }
    Ok(kept)
}

/// Keeps the sockets that have a name and are not connected (state 03): every accepted connection bears its listener's.
fn read_unix(path: &str) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut n_kept = 0;
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        let line = line?;
        let is_named = line.iter().any(|byte| matches!(byte, b'/' | b'@'));
        let is_connected =
            line.split(|byte| *byte == b' ').filter(|field| !field.is_empty()).nth(5) == Some(b"03");
        if is_named && !is_connected && n_kept < MAX_UNIX {
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

/// Who holds which of the sockets, and whether somebody may hold one unseen.
fn find_owners(inodes: &BTreeSet<u64>) -> (Vec<(u64, u32)>, bool) {
    let Ok(pids) = process_ids() else { return (Vec::new(), true) };
    // Process 1 is always there: if it cannot be seen, `hidepid` hides other users' processes.
    let mut hidden = !pids.contains(&1);
    let mut owners = Vec::new();
    for pid in pids {
        match sockets_of(pid) {
            Ok(held) => owners
                .extend(held.into_iter().filter(|inode| inodes.contains(inode)).map(|inode| (inode, pid))),
            Err(error) => hidden |= !is_gone(&error),
        }
    }
    owners.sort_unstable();
    owners.dedup();
    (owners, hidden)
}

/// The inodes of the sockets that a process holds.
fn sockets_of(pid: u32) -> io::Result<Vec<u64>> {
    let mut inodes = Vec::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = match fs::read_link(descriptor?.path()) {
            Ok(target) => target,
            // It was closed meanwhile.
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error),
        };
        let inode: Option<u64> =
            target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inodes.extend(inode);
    }
    Ok(inodes)
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
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use why502_decode::host::decode_sockets;
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
}
