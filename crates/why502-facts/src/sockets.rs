//! Who listens, who waits, and who is connected.

use crate::{Blob, PeerAddress};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Sockets of a network namespace, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketRecord {
    /// The heading and the listening lines of `/proc/PID/net/tcp`.
    pub tcp: Blob,
    /// Those of `/proc/PID/net/tcp6`.
    pub tcp6: Blob,
    /// The named lines of `/proc/PID/net/unix`.
    pub unix: Blob,
    /// How many TCP sockets there are per state and remote end, the most frequent first, at most 256.
    pub connected: Vec<(SocketState, SocketAddr, u64)>,
    /// Inode and process of listening sockets; several processes may share one.
    pub owners: Vec<(u64, u32)>,
    /// Whether the owners of other users' sockets could not be read.
    pub owners_hidden: bool,
    /// Who holds how many of the connections that were accepted at listening sockets, at most 4096 entries.
    #[serde(default)]
    pub accepted: Vec<Accepted>,
    /// `/proc/PID/net/fib_trie`: the local IPv4 addresses.
    pub fib_trie: Blob,
    /// `/proc/PID/net/if_inet6`: the local IPv6 addresses.
    pub if_inet6: Blob,
}

/// The listening sockets of other network namespaces than one, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSocketsRecord {
    /// One entry per namespace, by the first process in it, at most 64.
    pub namespaces: Vec<NamespaceRecord>,
    /// Whether there may be namespaces beside them that were not looked at.
    pub hidden: bool,
}

/// The listening sockets of a network namespace, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceRecord {
    /// The inode of the namespace.
    pub namespace: u64,
    /// A process in it.
    pub pid: u32,
    /// Its listening sockets and its addresses.
    pub sockets: SocketRecord,
}

/// The listening sockets of other network namespaces than one, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherSockets {
    /// One entry per namespace.
    pub namespaces: Vec<NamespaceSockets>,
    /// Whether there may be namespaces beside them that were not looked at.
    pub hidden: bool,
}

/// The listening sockets of a network namespace, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceSockets {
    /// The inode of the namespace.
    pub namespace: u64,
    /// A process in it.
    pub pid: u32,
    /// Its listening sockets and its addresses.
    pub table: SocketTable,
}

/// Connections that a process accepted and still holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Accepted {
    /// Where they were accepted.
    pub at: PeerAddress,
    /// The process.
    pub pid: u32,
    /// How many.
    pub count: u64,
}

/// The state of a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketState {
    /// Waiting for the peer's close after its own was acknowledged, or closing on both ends.
    Closing,
    /// The peer has closed, the application has not.
    CloseWait,
    /// Open.
    Established,
    /// Waiting for connections.
    Listen,
    /// A connection attempt is under way.
    SynSent,
    /// An attempt was received.
    SynReceived,
    /// Closed, and kept for late packets.
    TimeWait,
}

/// Sockets of a network namespace, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketTable {
    /// Listening TCP sockets.
    pub listeners: Vec<Listener>,
    /// Named unix sockets.
    pub unix: Vec<UnixSocket>,
    /// How many TCP sockets there are per state and remote end.
    pub connected: Vec<(SocketState, SocketAddr, u64)>,
    /// The local addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether owners of sockets could not be read.
    pub owners_hidden: bool,
    /// Who holds how many accepted connections.
    pub accepted: Vec<Accepted>,
}

/// A listening TCP socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// The owner's user id.
    pub uid: u32,
    /// How many connections wait to be accepted.
    pub queue: u64,
    /// The processes that hold it.
    pub pids: Vec<u32>,
}

/// A named unix socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSocket {
    /// The path that it was bound to (an abstract name begins with `@`).
    pub path: String,
    /// Whether it accepts connections.
    pub listening: bool,
    /// Whether it is a stream socket.
    pub stream: bool,
    /// How many connections wait to be accepted.
    pub queue: u64,
    /// The processes that hold it; known for listening ones.
    pub pids: Vec<u32>,
}

impl SocketTable {
    /// The listeners that take a connection to `target`: the same address, or the wildcard of its family.
    ///
    /// An IPv6 wildcard may or may not take IPv4 (`IPV6_V6ONLY`), which `/proc` does not show; see
    /// [`SocketTable::perhaps_accepting`].
    pub fn accepting(&self, target: SocketAddr) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(move |listener| {
            listener.address.port() == target.port()
                && (listener.address.ip() == target.ip()
                    || (listener.address.ip().is_unspecified()
                        && listener.address.is_ipv4() == target.is_ipv4()))
        })
    }

    /// The IPv6 wildcard listeners that take an IPv4 connection to `target` unless they are IPv6 only.
    pub fn perhaps_accepting(&self, target: SocketAddr) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(move |listener| {
            target.is_ipv4()
                && listener.address.is_ipv6()
                && listener.address.ip().is_unspecified()
                && listener.address.port() == target.port()
        })
    }

    /// The listeners on the port of `target`, on whatever address.
    pub fn on_port(&self, port: u16) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(move |listener| listener.address.port() == port)
    }

    /// The processes that hold a socket which takes connections to a peer, by id. Where only a wildcard of IPv6 can be
    /// what takes those to an address of IPv4, as that of most servers of Node.js and Java, it is taken for that.
    pub fn holders(&self, peer: &PeerAddress) -> Vec<u32> {
        let mut pids: Vec<u32> = match peer {
            PeerAddress::Inet(target) if self.accepting(*target).next().is_none() => {
                self.perhaps_accepting(*target).flat_map(|own| own.pids.clone()).collect()
            }
            PeerAddress::Inet(target) => self.accepting(*target).flat_map(|own| own.pids.clone()).collect(),
            PeerAddress::Unix(path) => {
                self.unix.iter().filter(|own| own.path == *path).flat_map(|own| own.pids.clone()).collect()
            }
        };
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Whether somebody of whom nobody knows who it is listens on the port of a peer, on whatever address, or on its path.
    pub fn has_unowned(&self, peer: &PeerAddress) -> bool {
        match peer {
            PeerAddress::Inet(target) => self.on_port(target.port()).any(|own| own.pids.is_empty()),
            PeerAddress::Unix(path) => {
                self.unix.iter().any(|own| own.listening && own.path == *path && own.pids.is_empty())
            }
        }
    }

    /// Whether a process listens anywhere.
    pub fn is_held_by(&self, pid: u32) -> bool {
        self.listeners.iter().any(|own| own.pids.contains(&pid))
            || self.unix.iter().any(|own| own.listening && own.pids.contains(&pid))
    }

    /// How many connections to a peer wait to be accepted.
    pub fn queue(&self, peer: &PeerAddress) -> u64 {
        match peer {
            PeerAddress::Inet(target) => {
                let own = || self.accepting(*target).map(|own| own.queue);
                own().chain(self.perhaps_accepting(*target).map(|own| own.queue)).sum()
            }
            PeerAddress::Unix(path) => {
                self.unix.iter().filter(|own| own.path == *path).map(|own| own.queue).sum()
            }
        }
    }

    /// How many connections a process holds that were accepted where a peer is, on whatever address of its port.
    pub fn accepted_by(&self, peer: &PeerAddress, pid: u32) -> u64 {
        let is_there = |at: &PeerAddress| match (at, peer) {
            (PeerAddress::Inet(at), PeerAddress::Inet(peer)) => at.port() == peer.port(),
            (at, peer) => at == peer,
        };
        self.accepted.iter().filter(|own| own.pid == pid && is_there(&own.at)).map(|own| own.count).sum()
    }

    /// Whether an address belongs to this namespace.
    pub fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || address.is_unspecified() || self.addresses.contains(&address)
    }

    /// Whether somebody listens on a peer's address; for an IPv4 target with only an IPv6 wildcard it cannot be told.
    pub fn listens(&self, peer: &PeerAddress) -> Option<bool> {
        match peer {
            PeerAddress::Inet(target) if self.accepting(*target).next().is_some() => Some(true),
            PeerAddress::Inet(target) if self.perhaps_accepting(*target).next().is_some() => None,
            PeerAddress::Inet(_) => Some(false),
            PeerAddress::Unix(path) => {
                Some(self.unix.iter().any(|socket| socket.listening && socket.path == *path))
            }
        }
    }
}
