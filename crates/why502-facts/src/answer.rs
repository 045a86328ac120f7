//! Facts, and the three values of every observation.

use crate::{
    AccessDigest, Ask, AuditRecord, Blob, ConfinementRecord, ContainerRecord, ControlGroupRecord,
    DecisionRecord, EchoRecord, EngineRecord, ErrorDigest, FileContent, FileSystemRecord, FileTimes,
    FilterRecord, HostRecord, JournalRecord, KernelLogRecord, LogTail, NameReply, NetworkLimitsRecord,
    OtherSocketsRecord, PackageLogRecord, PathWalk, ProcessRecord, ProcessTable, RouteRecord,
    ServerLogRecord, ServiceRecord, SocketRecord, Stamp, Transcript, WaitingRecord,
};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One answered ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// What was asked.
    pub ask: Ask,
    /// When it was answered.
    pub at: Stamp,
    /// What came of it.
    pub answer: Answer,
    /// How long the answer took, in microseconds; `None` where it was not measured by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micros: Option<u64>,
}

/// What came of an ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was seen not to be there.
    Absent,
    /// It was seen.
    Known(Box<FactBody>),
    /// It could not be looked at.
    Unknown {
        /// Why not.
        why: GapReason,
        /// What stood in the way, in words: a lower-case fragment.
        says: String,
    },
}

impl Answer {
    /// An answer that was seen.
    pub fn known(body: FactBody) -> Self {
        Self::Known(Box::new(body))
    }

    /// An ask that could not be answered.
    pub fn unknown(why: GapReason, says: impl Into<String>) -> Self {
        Self::Unknown { why, says: says.into() }
    }
}

/// The body of a fact: raw bytes where these are small, digests of logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactBody {
    /// The digest of an access log's window.
    AccessLog(AccessDigest),
    /// IP addresses of a name, in the order of the system's resolver.
    Addresses(Vec<IpAddr>),
    /// Denials in the audit log.
    Audit(AuditRecord),
    /// How a process is confined.
    Confinement(ConfinementRecord),
    /// What SELinux decides.
    Decision(DecisionRecord),
    /// What became of ICMP echo requests.
    Echo(EchoRecord),
    /// One container of an engine in detail.
    Container(ContainerRecord),
    /// Two looks at the control groups of processes.
    ControlGroups(ControlGroupRecord),
    /// All containers and networks of an engine.
    Engine(EngineRecord),
    /// The digest of an error log's window.
    ErrorLog(ErrorDigest),
    /// The content of a file.
    File(FileContent),
    /// The file system under a path.
    FileSystem(FileSystemRecord),
    /// When files were changed, one entry per path.
    FileTimes(Vec<FileTimes>),
    /// What is known of the host as a whole.
    Host(HostRecord),
    /// What the kernel says of deaths, refusals and shortages.
    KernelLog(KernelLogRecord),
    /// The end of a log.
    LogTail(LogTail),
    /// What name servers say of a name.
    NameReply(NameReply),
    /// The end of a package manager's log.
    PackageLog(PackageLogRecord),
    /// The packet filters of a network namespace.
    PacketFilter(FilterRecord),
    /// Limits and counters of a network namespace.
    NetworkLimits(NetworkLimitsRecord),
    /// Listening sockets of other network namespaces.
    OtherSockets(OtherSocketsRecord),
    /// The components of a path.
    PathWalk(PathWalk),
    /// Paths that a pattern matched, sorted by bytes.
    Paths(Vec<String>),
    /// What a probe sent and received.
    Probe(Transcript),
    /// More of one process.
    Process(ProcessRecord),
    /// All processes.
    Processes(ProcessTable),
    /// The way to an address.
    Route(RouteRecord),
    /// The ends of the log files that a process holds open.
    ServerLogs(Vec<ServerLogRecord>),
    /// Services and their definitions.
    Services(Vec<ServiceRecord>),
    /// Sockets of a network namespace.
    Sockets(SocketRecord),
    /// Printable strings of a file.
    Strings(Vec<String>),
    /// What processes do, or wait for.
    Waiting(WaitingRecord),
    /// What `systemctl show` says of a unit.
    Unit(Blob),
    /// Entries of a unit's journal.
    UnitJournal(JournalRecord),
}

/// Why something could not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The rights do not suffice.
    Denied,
    /// Looking failed.
    Failed,
    /// The run's options forbid it (`--offline`, `--no-probe`), or nobody asked when the bundle was recorded.
    NotAsked,
    /// It was not asked for yet; a later round may.
    NotYet,
    /// The time of the run was up, or the peer's.
    TimedOut,
    /// This host or this version cannot tell.
    Unsupported,
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gap {
    /// What was asked.
    pub ask: Ask,
    /// Why it stayed unanswered.
    pub why: GapReason,
    /// What stood in the way, in words.
    pub says: String,
}

/// An observation: seen, seen to be absent, or not seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed<T> {
    /// It was seen not to be there.
    Absent,
    /// It was seen.
    Known(T),
    /// It could not be looked at.
    Unknown(Gap),
}

impl<T> Observed<T> {
    /// The value, if it was seen.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// The gap, if it could not be looked at.
    pub fn gap(&self) -> Option<&Gap> {
        match self {
            Self::Unknown(gap) => Some(gap),
            Self::Absent | Self::Known(_) => None,
        }
    }

    /// Whether it was seen not to be there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether it was seen.
    pub fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }

    /// The same observation of a part.
    pub fn map<U>(self, part: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Self::Absent => Observed::Absent,
            Self::Known(value) => Observed::Known(part(value)),
            Self::Unknown(gap) => Observed::Unknown(gap),
        }
    }

    /// The same observation by reference.
    pub fn as_ref(&self) -> Observed<&T> {
        match self {
            Self::Absent => Observed::Absent,
            Self::Known(value) => Observed::Known(value),
            Self::Unknown(gap) => Observed::Unknown(gap.clone()),
        }
    }
}
