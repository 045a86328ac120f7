//! Sockets of a network namespace: `/proc/PID/net/{tcp,tcp6,unix,fib_trie,if_inet6}`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use why502_facts::{Listener, SocketRecord, SocketState, SocketTable, UnixSocket, lossy};

/// Decodes the sockets of a namespace.
pub fn decode_sockets(record: &SocketRecord) -> SocketTable {
    let mut owners: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (inode, pid) in &record.owners {
        owners.entry(*inode).or_default().push(*pid);
    }
    for pids in owners.values_mut() {
        pids.sort_unstable();
        pids.dedup();
    }
    let pids_of = |inode: u64| owners.get(&inode).cloned().unwrap_or_default();
    let mut listeners: Vec<Listener> = [&record.tcp, &record.tcp6]
        .into_iter()
        .flat_map(|blob| lines(blob.as_slice()).filter_map(|line| parse_tcp(&line)).collect::<Vec<_>>())
        .filter(|line| line.state == SocketState::Listen)
        .map(|line| Listener {
            address: line.local,
            uid: line.uid,
            queue: line.queue,
            pids: pids_of(line.inode),
        })
        .collect();
    listeners.sort();
    listeners.dedup();
    let lines_of_unix: Vec<UnixLine> =
        lines(record.unix.as_slice()).filter_map(|line| parse_unix(&line)).collect();
    let mut waiting: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines_of_unix.iter().filter(|line| line.is_waiting()) {
        *waiting.entry(&line.path).or_default() += 1;
    }
    let mut unix: Vec<UnixSocket> = lines_of_unix
        .iter()
        .filter(|line| !line.is_waiting())
        .map(|line| UnixSocket {
            path: line.path.clone(),
            listening: line.listening,
            stream: line.stream,
            queue: if line.listening { waiting.get(&*line.path).copied().unwrap_or(0) } else { 0 },
            pids: pids_of(line.inode),
        })
        .collect();
    unix.sort();
    unix.dedup();
    let mut addresses = local_ipv4(record.fib_trie.as_slice());
    addresses.extend(local_ipv6(record.if_inet6.as_slice()));
    addresses.sort();
    addresses.dedup();
    SocketTable {
        listeners,
        unix,
        connected: record.connected.clone(),
        addresses,
        owners_hidden: record.owners_hidden,
        accepted: record.accepted.clone(),
    }
}

/// A line of `/proc/net/tcp` or `tcp6`; `None` for the heading and for cut lines.
///
/// The collector keeps listening lines and counts the others by what this returns.
pub fn tcp_line(line: &[u8]) -> Option<TcpLine> {
    parse_tcp(&String::from_utf8_lossy(line))
}

/// A named line of `/proc/net/unix`; `None` for the heading, for cut lines, and for sockets without a name.
pub fn unix_line(line: &[u8]) -> Option<UnixLine> {
    parse_unix(&lossy(line))
}

/// A TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpLine {
    /// Its own end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Its state.
    pub state: SocketState,
    /// The bytes that wait to be read; of a listening socket the connections that wait to be accepted.
    pub queue: u64,
    /// The owner's user id.
    pub uid: u32,
    /// The inode; 0 where no process has it: not accepted yet, or closed.
    pub inode: u64,
}

/// A named unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixLine {
    /// The path that it was bound to: of a connection that was accepted, or waits for that, its listener's.
    pub path: String,
    /// Whether it accepts connections.
    pub listening: bool,
    /// Whether it is a stream socket.
    pub stream: bool,
    /// Whether it is connected, in the eyes of the process that holds it.
    pub connected: bool,
    /// The inode; 0 where no process has it yet.
    pub inode: u64,
}

impl UnixLine {
    /// Whether it is a connection that nobody has accepted yet.
    fn is_waiting(&self) -> bool {
        self.inode == 0 && !self.listening
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = String> + '_ {
    bytes.split(|byte| *byte == b'\n').map(lossy)
}

/// One socket per line: `sl local rem st tx:rx tr:tm retrnsmt uid timeout inode …` (net/ipv4/tcp_ipv4.c, `get_tcp4_sock`).
fn parse_tcp(line: &str) -> Option<TcpLine> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, receive_queue) = fields.get(4)?.split_once(':')?;
    Some(TcpLine {
        local: parse_address(fields.get(1)?)?,
        remote: parse_address(fields.get(2)?)?,
        state: parse_state(fields.get(3)?)?,
        queue: u64::from_str_radix(receive_queue, 16).ok()?,
        uid: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// The kernel prints each 32-bit word of an address in the host's byte order. A socket of IPv6 that is bound to a mapped address
/// of IPv4 (`::ffff:127.0.0.1`), as the JVM and gRPC do it, takes connections to that address of IPv4 (RFC 4291, section
/// 2.5.5.2).
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at * 8)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// include/net/tcp_states.h.
fn parse_state(text: &str) -> Option<SocketState> {
    Some(match text {
        "01" => SocketState::Established,
        "02" => SocketState::SynSent,
        "03" | "0C" => SocketState::SynReceived,
        "04" | "05" | "09" | "0B" => SocketState::Closing,
        "06" => SocketState::TimeWait,
        "08" => SocketState::CloseWait,
        "0A" => SocketState::Listen,
        _ => return None,
    })
}

/// `Num RefCount Protocol Flags Type St Inode Path` (net/unix/af_unix.c, `unix_seq_show`); `__SO_ACCEPTCON` is 0x10000.
///
/// A connection that waits to be accepted has its listener's path already, and no socket yet: `SS_CONNECTING` (02), inode 0.
fn parse_unix(line: &str) -> Option<UnixLine> {
    let mut rest = line;
    let mut fields = Vec::with_capacity(7);
    for _ in 0..7 {
        rest = rest.trim_start_matches(' ');
        let (field, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        fields.push(field);
        rest = tail;
    }
    let path = rest.trim_start_matches(' ');
    if path.is_empty() || !fields[0].ends_with(':') {
        return None;
    }
    let flags = u32::from_str_radix(fields[3], 16).ok()?;
    Some(UnixLine {
        path: path.to_owned(),
        listening: flags & 0x1_0000 != 0,
        stream: fields[4] == "0001",
        connected: fields[5] == "03",
        inode: fields[6].parse().ok()?,
    })
}

/// In fib_trie a leaf `|-- ADDRESS` is followed by its entries; `/32 host LOCAL` marks an address of this host.
pub(super) fn local_ipv4(fib_trie: &[u8]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let mut leaf = None;
    for line in lines(fib_trie) {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line.contains("host LOCAL")
            && let Some(address) = leaf
        {
            addresses.push(IpAddr::V4(address));
        }
    }
    addresses
}

/// `address ifindex prefix scope flags name` (net/ipv6/addrconf.c, `if6_seq_show`).
pub(super) fn local_ipv6(if_inet6: &[u8]) -> Vec<IpAddr> {
    lines(if_inet6)
        .filter_map(|line| {
            let digits = line.split_ascii_whitespace().next()?;
            let bits = u128::from_str_radix(digits, 16).ok()?;
            (digits.len() == 32).then(|| IpAddr::V6(Ipv6Addr::from(bits)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use why502_facts::{Blob, PeerAddress};

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000002 00:00000000 00000000  1000        0 4711 1 0 100 0 0 10 0
   1: 0100007F:0BB8 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 20 4 30 10 -1
";
    const TCP6: &str = "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1 0 100 0 0 10 0
";
    const UNIX: &str = "Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 4715 /run/my app.sock
0000000000000000: 00000003 00000000 00000000 0001 03 4716
0000000000000000: 00000003 00000000 00000000 0001 02     0 /run/my app.sock
0000000000000000: 00000002 00000000 00000000 0001 02     0 /run/my app.sock
0000000000000000: 00000002 00000000 00000000 0002 01 4717 /dev/log
";
    const FIB_TRIE: &str = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.0.0.0
        /24 link UNICAST
     |-- 10.0.0.5
        /32 host LOCAL
     |-- 10.0.0.255
        /32 link BROADCAST
";

    fn table() -> SocketTable {
        decode_sockets(&SocketRecord {
            tcp: Blob::from(TCP),
            tcp6: Blob::from(TCP6),
            unix: Blob::from(UNIX),
            owners: vec![(4711, 20), (4711, 10), (4715, 30)],
            fib_trie: Blob::from(FIB_TRIE),
            if_inet6: Blob::from("fe800000000000000042acfffe110002 02 40 20 80     eth0\n"),
            ..SocketRecord::default()
        })
    }

    #[test]
    fn listeners_are_found_with_their_owners_and_queue() {
        let table = table();
        let found = table.accepting("127.0.0.1:3000".parse().unwrap()).next().unwrap();
        assert_eq!((found.pids.as_slice(), found.queue, found.uid), (&[10, 20][..], 2, 1000));
        assert_eq!(table.listeners.len(), 3);
    }

    #[test]
    fn connections_that_wait_at_a_unix_socket_are_counted() {
        let table = table();
        assert_eq!(table.queue(&"unix:/run/my app.sock".parse().unwrap()), 2);
        assert_eq!(table.queue(&"127.0.0.1:3000".parse().unwrap()), 2);
        assert_eq!(table.unix.len(), 2);
    }

    #[test]
    fn an_ipv6_wildcard_may_or_may_not_take_ipv4() {
        let table = table();
        let listens = |peer: &str| table.listens(&peer.parse::<PeerAddress>().unwrap());
        assert_eq!(listens("127.0.0.1:8080"), None);
        assert_eq!(listens("[::1]:8080"), Some(true));
        assert_eq!(listens("[::1]:80"), Some(true));
        assert_eq!(listens("127.0.0.1:80"), Some(false));
        assert_eq!(listens("unix:/run/my app.sock"), Some(true));
        assert_eq!(listens("unix:/dev/log"), Some(false));
    }

    #[test]
    fn a_mapped_address_takes_ipv4() {
        let line = "   0: 0000000000000000FFFF00000100007F:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";
        let table = decode_sockets(&SocketRecord { tcp6: Blob::from(line), ..SocketRecord::default() });
        let listens = |peer: &str| table.listens(&peer.parse::<PeerAddress>().unwrap());
        assert_eq!((listens("127.0.0.1:3000"), listens("[::1]:3000")), (Some(true), Some(false)));
    }

    #[test]
    fn local_addresses_are_told_from_networks() {
        let table = table();
        assert!(table.is_local("10.0.0.5".parse().unwrap()));
        assert!(table.is_local("127.0.0.9".parse().unwrap()));
        assert!(table.is_local("fe80::42:acff:fe11:2".parse().unwrap()));
        assert!(!table.is_local("10.0.0.255".parse().unwrap()));
        assert!(!table.is_local("10.0.0.6".parse().unwrap()));
    }

    #[test]
    fn states_of_other_lines_are_counted_by_their_remote_end() {
        let line = TCP.lines().nth(2).unwrap();
        let expected = (SocketState::Established, "127.0.0.1:54321".parse().unwrap(), 4712);
        let found = tcp_line(line.as_bytes()).map(|line| (line.state, line.remote, line.inode));
        assert_eq!(found, Some(expected));
        assert_eq!(tcp_line(TCP.lines().next().unwrap().as_bytes()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in any::<Vec<u8>>()) {
            let blob = Blob::from(bytes);
            let _ = decode_sockets(&SocketRecord {
                tcp: blob.clone(), tcp6: blob.clone(), unix: blob.clone(), fib_trie: blob.clone(), if_inet6: blob,
                ..SocketRecord::default()
            });
        }
    }
}
