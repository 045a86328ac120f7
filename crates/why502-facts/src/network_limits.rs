//! What the kernel lets a network namespace do, and how often it refused.

use crate::{Blob, PeerAddress};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Limits and counters of a network namespace, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkLimitsRecord {
    /// `/proc/PID/net/netstat`: the counters of TCP.
    pub netstat: Blob,
    /// `/proc/PID/net/stat/nf_conntrack`; `None` where the kernel tracks no connections, or it may not be read.
    pub conntrack: Option<Blob>,
    /// Settings by their names (sysctl(8)), each as the kernel prints it; those that do not exist or may not be read are missing.
    pub settings: Vec<(String, Blob)>,
    /// The listening sockets as sock_diag(7) tells them, one per line: `tcp WAITING LIMIT DROPS ADDRESS` and
    /// `unix WAITING LIMIT - PATH`, in the order of ss(8)'s Recv-Q and Send-Q. `None` where the kernel does not tell.
    pub queues: Option<Blob>,
    /// Why settings and queues are missing: a lower-case fragment; `None` where they were read.
    pub hidden: Option<String>,
}

/// Limits and counters of a network namespace, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkLimits {
    /// The counters of TCP by their names (`ListenOverflows`), since the namespace was made.
    pub counters: BTreeMap<String, u64>,
    /// What connection tracking counted; `None` where nobody tracks, or it may not be read.
    pub conntrack: Option<ConntrackCounters>,
    /// The settings by their names.
    pub settings: BTreeMap<String, String>,
    /// The queues of listening sockets; `None` where the kernel does not tell.
    pub queues: Option<Vec<ListenQueue>>,
    /// Why settings and queues are missing.
    pub hidden: Option<String>,
}

/// The accept queue of a listening socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenQueue {
    /// Where it listens.
    pub address: PeerAddress,
    /// How many connections wait to be accepted.
    pub waiting: u64,
    /// The backlog in force: what listen(2) was given, cut to `net.core.somaxconn`. One more than that may wait.
    pub limit: u64,
    /// How many attempts of connections this very socket has dropped; `None` where the kernel does not tell.
    pub drops: Option<u64>,
}

impl ListenQueue {
    /// Whether no further connection is taken (include/net/sock.h, `sk_acceptq_is_full`; net/unix/af_unix.c,
    /// `unix_recvq_full`).
    pub fn is_full(&self) -> bool {
        self.waiting > self.limit
    }
}

/// What connection tracking counted in a namespace, over all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConntrackCounters {
    /// Packets dropped since no entry could be made: the table was full, or memory was short.
    pub drop: u64,
    /// Entries that were given up early to make room for others.
    pub early_drop: u64,
}

impl NetworkLimits {
    /// A setting that is one number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.settings.get(name)?.trim().parse().ok()
    }

    /// The queues that take connections to a peer; none where it is not known who does.
    pub fn queues_of(&self, peer: &PeerAddress) -> Vec<&ListenQueue> {
        let queues = || self.queues.iter().flatten();
        let takes = |own: SocketAddr, target: SocketAddr| {
            own.ip() == target.ip() || own.ip().is_unspecified() && own.is_ipv4() == target.is_ipv4()
        };
        match peer {
            PeerAddress::Unix(_) => queues().filter(|queue| queue.address == *peer).collect(),
            PeerAddress::Inet(target) => {
                let on_port = || {
                    let inet = queues().filter_map(|queue| Some((queue, queue.address.inet()?)));
                    inet.filter(|(_, own)| own.port() == target.port())
                };
                let own: Vec<_> =
                    on_port().filter(|(_, own)| takes(*own, *target)).map(|(queue, _)| queue).collect();
                // A wildcard of IPv6 takes those to an address of IPv4 as well, unless it is set not to.
                let wide = || on_port().filter(|(_, own)| own.is_ipv6() && own.ip().is_unspecified());
                if own.is_empty() && target.is_ipv4() {
                    wide().map(|(queue, _)| queue).collect()
                } else {
                    own
                }
            }
        }
    }

    /// How many ports a connection without one of its own may have: those of `net.ipv4.ip_local_port_range` that
    /// `net.ipv4.ip_local_reserved_ports` does not keep back (Documentation/networking/ip-sysctl.rst).
    pub fn n_local_ports(&self) -> Option<u64> {
        let (first, last) = self.local_port_range()?;
        let reserved = self.settings.get("net.ipv4.ip_local_reserved_ports").map_or("", String::as_str);
        let mut kept: Vec<(u64, u64)> = reserved.trim().split(',').filter_map(parse_ports).collect();
        kept.sort_unstable();
        let (mut n_kept, mut next) = (0, first);
        for (from, to) in kept {
            let (from, to) = (from.max(next), to.min(last));
            if from <= to {
                n_kept += to - from + 1;
                next = to + 1;
            }
        }
        Some((last + 1 - first).saturating_sub(n_kept))
    }

    /// The first and the last port of `net.ipv4.ip_local_port_range`.
    pub fn local_port_range(&self) -> Option<(u64, u64)> {
        let range = self.settings.get("net.ipv4.ip_local_port_range")?;
        let mut ports = range.split_ascii_whitespace().map(|port| port.parse::<u64>().ok());
        let (first, last) = (ports.next()??, ports.next()??);
        (first <= last && u16::try_from(last).is_ok()).then_some((first, last))
    }
}

/// `8080` or `9148-9150`.
fn parse_ports(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(range: &str, reserved: &str) -> Option<u64> {
        let settings =
            [("net.ipv4.ip_local_port_range", range), ("net.ipv4.ip_local_reserved_ports", reserved)];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        NetworkLimits { settings, ..NetworkLimits::default() }.n_local_ports()
    }

    #[test]
    fn reserved_ports_are_no_local_ones() {
        assert_eq!(ports("32768\t60999\n", "\n"), Some(28232));
        assert_eq!(ports("50000 50003", "80,50001-50002,50002-50002,60000"), Some(2));
        assert_eq!(ports("50000 50003", "1-65535"), Some(0));
        assert_eq!(ports("60000 50000", ""), None);
        assert_eq!(ports("", ""), None);
    }

    #[test]
    fn a_queue_is_that_of_the_address_or_of_its_wildcard() {
        let queue = |address: &str| ListenQueue {
            address: address.parse().unwrap(),
            waiting: 2,
            limit: 1,
            drops: None,
        };
        let queues = ["127.0.0.1:80", "0.0.0.0:81", "[::]:82", "[::]:80", "unix:/a.sock"].map(queue);
        let limits = NetworkLimits { queues: Some(queues.into()), ..NetworkLimits::default() };
        let found = |peer: &str| {
            let peer: PeerAddress = peer.parse().unwrap();
            let found: Vec<String> =
                limits.queues_of(&peer).into_iter().map(|queue| queue.address.to_string()).collect();
            found.join(" ")
        };
        assert_eq!(found("127.0.0.1:80"), "127.0.0.1:80");
        assert_eq!(found("127.0.0.2:81"), "0.0.0.0:81");
        assert_eq!(found("127.0.0.1:82"), "[::]:82");
        assert_eq!(found("127.0.0.1:83"), "");
        assert_eq!(found("unix:/a.sock"), "unix:/a.sock");
    }

    #[test]
    fn one_more_than_the_backlog_may_wait() {
        let queue = |waiting| ListenQueue {
            address: PeerAddress::Unix("/a".to_owned()),
            waiting,
            limit: 1,
            drops: None,
        };
        assert!(!queue(1).is_full() && queue(2).is_full());
    }
}
