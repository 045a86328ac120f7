//! What may be asked of the world.

mod topic;

pub use topic::TOPICS;

use crate::{FilterMoment, LogClock, PackageManager, PeerAddress, ProbeSpec, Stamp};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A question to the collector. It knows nothing of gateways: it reads, lists, resolves and probes what it is told to.
///
/// An ask is its own key: the same question is asked once in a run and looked up by its value afterwards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// The kernel's denials in the audit log that hold one of some marks.
    Audit {
        /// The begin; `None`: all that is kept.
        from: Option<Stamp>,
        /// What a record must contain.
        marks: Vec<String>,
    },
    /// How a process is confined by a security module.
    Confinement {
        /// The process.
        pid: u32,
    },
    /// What SELinux decides now, by its loaded policy and the booleans in force.
    Decision {
        /// The context of who wants something.
        subject: String,
        /// The context of what it is wanted of.
        object: String,
        /// The class of that: `tcp_socket`, `sock_file`, ….
        class: String,
        /// What is wanted.
        permission: String,
    },
    /// ICMP echo requests to an address, which no router may take apart: one per size.
    Echo {
        /// In whose network namespace.
        security: Security,
        /// The address.
        target: IpAddr,
        /// The sizes of the whole packets, in bytes.
        sizes: Vec<u16>,
    },
    /// One container of an engine in detail.
    Container {
        /// The engine's socket.
        socket: String,
        /// The container's id, or its first digits.
        id: String,
    },
    /// What the control groups of processes may have, and what they lack: two looks at them, a moment apart.
    ControlGroups {
        /// The processes.
        pids: Vec<u32>,
    },
    /// All containers and networks of a container engine, as its API on a unix socket tells them.
    Engine {
        /// The socket.
        socket: String,
    },
    /// The content and the status of a regular file (at most 4 MiB).
    File {
        /// Whose file system.
        root: Root,
        /// An absolute path in it.
        path: String,
    },
    /// The file system under a path: its size, what is left of it, how it is mounted.
    FileSystem {
        /// Whose file system.
        root: Root,
        /// An absolute path; where it does not exist, what exists of it is looked at.
        path: String,
    },
    /// When files and directories were changed last: their status, not their content (at most 512).
    FileTimes {
        /// Whose file system.
        root: Root,
        /// Absolute paths in it.
        paths: Vec<String>,
    },
    /// The paths that a glob(7) pattern matches, as glob(3) sorts them in the C locale.
    Glob {
        /// Whose file system.
        root: Root,
        /// An absolute pattern.
        pattern: String,
    },
    /// The host: name, release, kernel, boot time, time zone.
    Host,
    /// What the kernel says of deaths, refusals and shortages, as far back as anybody keeps it.
    KernelLog,
    /// A digest of a window of a log.
    Log(LogSlice),
    /// The last lines of a log (at most 64 KiB), for its clock and its newest stamp.
    LogTail {
        /// Whose file system.
        root: Root,
        /// The log's path.
        path: String,
        /// Whose log it is: logs of one owner are joined.
        owner: String,
        /// What it holds.
        kind: LogKind,
    },
    /// What a package manager installed, replaced and removed: the end of its log.
    PackageLog {
        /// Whose log.
        manager: PackageManager,
    },
    /// The rules of the packet filters of a network namespace, with their counters, and its addresses and routes.
    PacketFilter {
        /// A process in that network namespace; `None`: that of this program.
        pid: Option<u32>,
        /// When.
        moment: FilterMoment,
    },
    /// What the kernel lets a network namespace do, and how often it refused: queues, ports, connection tracking.
    NetworkLimits {
        /// A process in that network namespace; `None`: that of this program.
        pid: Option<u32>,
        /// Whether this is the second look, which is asked for once the probes are in: what has grown meanwhile tells what
        /// became of them.
        again: bool,
    },
    /// Listening sockets of all other network namespaces of this host, with their owners and local addresses.
    OtherSockets {
        /// A process in the namespace that is left out; `None`: this program.
        pid: Option<u32>,
    },
    /// Every component of a path with its mode, owner, group and ACL; links are followed and shown.
    PathWalk {
        /// Whose file system.
        root: Root,
        /// An absolute path.
        path: String,
    },
    /// Connects to a peer as a process would, and perhaps speaks to it.
    Probe {
        /// In whose namespaces and with whose credentials; `None`: as this program.
        security: Security,
        /// The address.
        target: PeerAddress,
        /// What is sent.
        spec: Box<ProbeSpec>,
        /// The local address that it comes from; `None`: the system's choice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<IpAddr>,
    },
    /// More of one process than [`Ask::Processes`] has: its credentials, its limits, how many descriptors it has open.
    Process {
        /// The process.
        pid: u32,
    },
    /// All processes that can be seen: command, parent, start, cgroup, namespaces.
    Processes,
    /// The addresses of a name.
    Resolve {
        /// In whose namespaces.
        security: Security,
        /// The name.
        name: String,
        /// By whom.
        resolver: Resolver,
    },
    /// The way that TCP packets to an address take, as the kernel itself tells it: nothing is sent.
    Route {
        /// In whose network namespace and as whose user.
        security: Security,
        /// The address.
        target: SocketAddr,
        /// The address that they come from, if it is a certain one.
        source: Option<IpAddr>,
        /// The mark that a packet filter gives them before the kernel chooses their way anew; `None`: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mark: Option<u32>,
    },
    /// What an application server writes of its workers into the log files that a process of it holds open.
    ServerLogs {
        /// The process.
        pid: u32,
    },
    /// The services of this host whose definition holds one of the marks, whoever supervises them: their files.
    Services {
        /// A port in digits, the path of a socket, or a name: whole words of a definition.
        marks: Vec<String>,
    },
    /// Listening and connected sockets of a network namespace, with their owners, and its local addresses.
    Sockets {
        /// A process in that network namespace; `None`: that of this program.
        pid: Option<u32>,
    },
    /// Printable strings of a file that contain one of the marks.
    Strings {
        /// Whose file system.
        root: Root,
        /// The file.
        path: String,
        /// What a string must contain.
        marks: Vec<String>,
    },
    /// What the threads of processes do, or wait for: two looks at them, a moment apart.
    Waiting {
        /// The processes.
        pids: Vec<u32>,
    },
    /// What systemd knows of a unit: its state, how its process ended, its limits and its sandbox.
    Unit {
        /// Its name, with its suffix.
        name: String,
    },
    /// What the journal holds of a unit: what its processes wrote, and what the service manager says of it.
    UnitJournal {
        /// The unit's name, with its suffix.
        unit: String,
        /// The begin of the window.
        from: Stamp,
        /// The end of the window.
        to: Stamp,
    },
}

/// Whose view of the file system a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// This program's own.
    Host,
    /// That of a process, through `/proc/PID/root`: hostile ground, no link out of it is followed.
    Process(u32),
}

/// In whose namespaces and with whose credentials a look is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// Those of a process: its network and mount namespace, its user and its groups.
    Process(u32),
    /// This program's own.
    Own,
}

/// Who resolves a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolver {
    /// The system: hosts file, search list and name servers, as getaddrinfo(3) does.
    System,
    /// One name server, asked for just that name: without hosts file and search list, as the gateway's own resolver does.
    Server(SocketAddr),
    /// The system's name servers (resolv.conf(5)) in turn, asked for just that name.
    SystemServers,
}

/// A window of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogSlice {
    /// Whose file system.
    pub root: Root,
    /// The log's path; rotated siblings beside it are read as far as the window reaches.
    pub path: String,
    /// Whose log it is: logs of one owner are joined.
    pub owner: String,
    /// What it holds.
    pub kind: LogKind,
    /// The begin of the window; `None`: all there is.
    pub from: Option<Stamp>,
    /// The end of the window; `None`: the end of the log.
    pub to: Option<Stamp>,
    /// What the log's stamps mean.
    pub clock: LogClock,
    /// How much of the end of the window is read at most, in bytes; `None`: all of it.
    pub max_bytes: Option<u64>,
}

/// How far back a look before a window reaches.
const LOOK_BACK: Duration = Duration::from_hours(24);
/// How much of a log is read for that, in bytes.
const MAX_LOOK_BACK: u64 = 16 << 20;

impl LogSlice {
    /// The end of the day before the slice, bounded in size; `None` where the slice begins with the log.
    pub fn look_back(&self) -> Option<Self> {
        let begin = self.from?;
        Some(Self {
            from: Some(begin.before(LOOK_BACK)),
            to: Some(begin),
            max_bytes: Some(MAX_LOOK_BACK),
            ..self.clone()
        })
    }
}

/// What a log holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogKind {
    /// One line per request.
    Access {
        /// Its format; `None`: recognised from the content.
        format: Option<AccessLogFormat>,
        /// Which requests stand in it, and when.
        writing: AccessWriting,
    },
    /// Messages of the gateway itself.
    Error,
}

/// Which requests stand in an access log, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessWriting {
    /// Every request, as soon as it has ended.
    AtOnce,
    /// Every request, some time after it has ended: lines are gathered before they are written, or nobody knows better.
    #[default]
    Buffered,
    /// Some requests only.
    Selected,
}

/// The format of an access log's lines, in the gateway's own notation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccessLogFormat {
    /// The format string with its variables.
    pub text: String,
    /// How values are escaped in it.
    pub escape: FormatEscape,
}

/// How an access log escapes values (`escape=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormatEscape {
    /// `"`, `\` and bytes below 32 or above 126 as `\xHH`; an empty value as `-`.
    #[default]
    Default,
    /// As in JSON strings; an empty value stays empty.
    Json,
    /// Not at all.
    None,
}
