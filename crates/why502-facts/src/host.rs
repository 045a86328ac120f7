//! What is known of the host: raw as it was read, and decoded.

use crate::{Blob, PeerAddress, Stamp};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The host as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// The host's name.
    pub name: Option<String>,
    /// `PRETTY_NAME` of os-release(5).
    pub os: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// When it was booted.
    pub booted: Option<Stamp>,
    /// The user id that looked.
    pub uid: u32,
    /// The host's time zone.
    pub zone: ZoneOffsets,
}

/// The offsets of a time zone around the time of recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneOffsets(
    /// Oldest first; an offset holds from its moment until the next one.
    pub Vec<ZoneOffset>,
);

/// From when on a clock is how far ahead of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneOffset {
    /// The first moment.
    pub from: Stamp,
    /// Seconds ahead of UTC.
    pub offset_seconds: i32,
}

impl ZoneOffsets {
    /// The offset in force at a moment; that of the oldest entry before it.
    pub fn at(&self, moment: Stamp) -> Option<i32> {
        let newest = self.0.iter().rev().find(|offset| offset.from <= moment);
        newest.or_else(|| self.0.first()).map(|offset| offset.offset_seconds)
    }
}

/// All processes, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessTable {
    /// The processes, by id.
    pub processes: Vec<ProcessRecord>,
    /// Whether other users' processes are hidden (`hidepid`), so that absence proves nothing.
    pub hidden: bool,
}

/// One process, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Its id.
    pub pid: u32,
    /// `/proc/PID/stat`.
    pub stat: Blob,
    /// `/proc/PID/cmdline`.
    pub cmdline: Blob,
    /// `/proc/PID/cgroup`.
    pub cgroup: Blob,
    /// `/proc/PID/status`; only where one process was asked for.
    pub status: Option<Blob>,
    /// `/proc/PID/limits`; only where one process was asked for.
    pub limits: Option<Blob>,
    /// The value of `TZ` in its environment; only where one process was asked for.
    pub tz: Option<String>,
    /// The target of `/proc/PID/exe`; `None` where it may not be read.
    pub exe: Option<String>,
    /// The target of `/proc/PID/cwd`; only where one process was asked for.
    pub cwd: Option<String>,
    /// The inode of its network namespace.
    pub net_namespace: Option<u64>,
    /// The inode of its mount namespace.
    pub mount_namespace: Option<u64>,
    /// Whether it sees the same files as this program: the same root directory in the same mount namespace. `None` if
    /// that may not be known.
    pub same_root: Option<bool>,
    /// The effective user id.
    pub uid: u32,
}

/// One process, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its id as it sees itself, in its own namespace, where the process was asked for: what it writes into its logs.
    pub own_pid: Option<u32>,
    /// Its parent's id.
    pub parent: u32,
    /// The name of its command (at most 15 bytes).
    pub comm: String,
    /// Its state (`R`, `S`, `D`, `T`, `Z`, …).
    pub state: char,
    /// When it was started.
    pub started: Option<Stamp>,
    /// Its argument vector; a process that set its title has one argument.
    pub argv: Vec<String>,
    /// The path of its executable, without ` (deleted)`.
    pub exe: Option<String>,
    /// Whether its executable was removed or replaced since it was started.
    pub exe_deleted: bool,
    /// Its current directory.
    pub cwd: Option<String>,
    /// The effective user id.
    pub uid: u32,
    /// The effective group id, where the process was asked for.
    pub gid: Option<u32>,
    /// The supplementary groups, where the process was asked for.
    pub groups: Vec<u32>,
    /// The systemd unit that its cgroup names.
    pub unit: Option<String>,
    /// The container id that its cgroup names.
    pub container: Option<String>,
    /// The inode of its network namespace.
    pub net_namespace: Option<u64>,
    /// The inode of its mount namespace.
    pub mount_namespace: Option<u64>,
    /// Whether it sees the same files as this program: the same root directory in the same mount namespace. `None` if
    /// that may not be known.
    pub same_root: Option<bool>,
    /// The value of `TZ` in its environment, where the process was asked for.
    pub tz: Option<String>,
}

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A device or a pipe.
    Other,
    /// A socket.
    Socket,
}

/// The status of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Its kind.
    pub kind: FileKind,
    /// The permission bits with set-id and sticky bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The owner's name, where the host knows it.
    pub owner: Option<String>,
    /// The group's name.
    pub group: Option<String>,
    /// The size in bytes.
    pub size: u64,
    /// When its content was changed.
    pub modified: Stamp,
    /// The POSIX access ACL, where it has one.
    pub acl: Vec<AclEntry>,
}

/// An entry of a POSIX access ACL (acl(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    /// The tag: 1 owner, 2 user, 4 owning group, 8 group, 16 mask, 32 others.
    pub tag: u16,
    /// The permissions: read 4, write 2, search or execute 1.
    pub permissions: u16,
    /// The user's or group's id, for the tags 2 and 8.
    pub id: u32,
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileContent {
    /// The bytes.
    pub content: Blob,
    /// The status.
    pub status: FileStatus,
    /// Whether the file is larger than what was read.
    pub truncated: bool,
}

/// The components of a path, from the root on, links resolved as the kernel does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathWalk {
    /// The components that were looked at; one that is missing or may not be read is the last.
    pub components: Vec<PathComponent>,
    /// Whether the walk reached the end of the path.
    pub complete: bool,
    /// What stopped it, if it may not be read: a lower-case fragment.
    pub denied: Option<String>,
}

impl PathWalk {
    /// The last component, if the walk reached it.
    pub fn target(&self) -> Option<&PathComponent> {
        if self.complete { self.components.last() } else { None }
    }
}

/// One component of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathComponent {
    /// Its absolute path.
    pub path: String,
    /// Its status.
    pub status: FileStatus,
    /// Where it leads, if it is a link.
    pub link: Option<String>,
}

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
