//! Facts by what was asked, decoded: what models and causes read.

mod host;

use crate::{
    AccessDigest, Ask, AuditLog, Confinement, ContainerDetail, ControlGroup, Decision, EchoRecord, Engine,
    ErrorDigest, FailedRequest, FileContent, FileSystem, FileTimes, FilterMoment, Gap, GapReason, HostRecord,
    JournalEntry, KernelLog, LogClock, LogTail, Manifest, NameReply, NetworkLimits, Observed, OtherSockets,
    PackageLog, PacketFilter, PathToPeer, PathWalk, PeerAddress, ProbeReport, ProbeSpec, Process,
    ProcessWaits, Resolver, Root, Security, ServerWord, Service, SocketTable, Stamp, Unit,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A decoded fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// The digest of an access log's window.
    AccessLog(AccessDigest),
    /// IP addresses of a name.
    Addresses(Vec<IpAddr>),
    /// Denials in the audit log.
    Audit(AuditLog),
    /// How a process is confined.
    Confinement(Confinement),
    /// What SELinux decides.
    Decision(Decision),
    /// What became of ICMP echo requests.
    Echo(EchoRecord),
    /// One container of an engine in detail.
    Container(ContainerDetail),
    /// What the control groups of processes may have, and what they lack.
    ControlGroups(Vec<ControlGroup>),
    /// All containers and networks of an engine.
    Engine(Engine),
    /// The digest of an error log's window.
    ErrorLog(ErrorDigest),
    /// The content of a file.
    File(FileContent),
    /// The file system under a path.
    FileSystem(FileSystem),
    /// When files were changed, one entry per path.
    FileTimes(Vec<FileTimes>),
    /// The host as a whole.
    Host(HostRecord),
    /// What the kernel says of deaths, refusals and shortages.
    KernelLog(KernelLog),
    /// The end of a log.
    LogTail(LogTail),
    /// What name servers say of a name.
    NameReply(NameReply),
    /// What a package manager did.
    PackageLog(PackageLog),
    /// The packet filters of a network namespace.
    PacketFilter(PacketFilter),
    /// Limits and counters of a network namespace.
    NetworkLimits(NetworkLimits),
    /// Listening sockets of other network namespaces.
    OtherSockets(OtherSockets),
    /// The components of a path.
    PathWalk(PathWalk),
    /// Paths that a pattern matched.
    Paths(Vec<String>),
    /// What a probe learned.
    Probe(ProbeReport),
    /// More of one process.
    Process(Process),
    /// All processes.
    Processes(ProcessList),
    /// The way to an address.
    Route(PathToPeer),
    /// What an application server says of its workers.
    ServerLogs(Vec<ServerWord>),
    /// Services as their files define them.
    Services(Vec<Service>),
    /// Sockets of a network namespace.
    Sockets(SocketTable),
    /// Printable strings of a file.
    Strings(Vec<String>),
    /// What processes do, or wait for.
    Waiting(Vec<ProcessWaits>),
    /// A unit, as systemd knows it.
    Unit(Unit),
    /// Entries of a unit's journal, by time.
    UnitJournal(Vec<JournalEntry>),
}

/// All processes that could be seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessList {
    /// The processes, by id.
    pub processes: Vec<Process>,
    /// Whether other users' processes are hidden.
    pub hidden: bool,
}

impl ProcessList {
    /// The process of that id.
    pub fn get(&self, pid: u32) -> Option<&Process> {
        self.processes.binary_search_by_key(&pid, |process| process.pid).ok().map(|at| &self.processes[at])
    }
}

/// Everything that a bundle holds, decoded and found by what was asked.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The bundle's manifest.
    pub manifest: Manifest,
    /// The part of the recorded window that is wanted; `None`: all of it.
    pub view: Option<View>,
    /// Whether nothing can be asked any more: what an older bundle does not hold is a gap, not a question.
    pub sealed: bool,
    answers: BTreeMap<Ask, (Stamp, Arc<Observed<Datum>>)>,
    log_summaries: Arc<BTreeMap<String, LogSummary>>,
    /// How long those answers took that were measured by themselves, in microseconds.
    micros: BTreeMap<Ask, u64>,
}

/// Which part of a recorded window is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What lies around a moment.
    Around(Stamp),
    /// The last of it, so long before the bundle was recorded; `None`: all of it.
    Since(Option<Duration>),
}

/// What an owner's logs tell together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogSummary {
    /// What the stamps of its error logs mean.
    pub clock: Option<LogClock>,
    /// The newest stamp of all its logs.
    pub newest: Option<Stamp>,
    /// Its failed requests: lines of the error and access logs, joined, by time.
    pub failed: Vec<FailedRequest>,
    /// Those from before the window: per kind of failure the first that was seen.
    pub earlier: Vec<FailedRequest>,
    /// Those of the day before the window, which is looked at only where the window has none.
    pub looked_back: Vec<FailedRequest>,
}

impl Facts {
    /// Collects decoded answers; `log_summaries` holds what each owner's logs tell together.
    pub fn new(
        manifest: Manifest,
        answers: impl IntoIterator<Item = (Ask, Stamp, Arc<Observed<Datum>>)>,
        log_summaries: Arc<BTreeMap<String, LogSummary>>,
    ) -> Self {
        let answers = answers.into_iter().map(|(ask, at, datum)| (ask, (at, datum))).collect();
        Self { manifest, view: None, sealed: false, answers, log_summaries, micros: BTreeMap::new() }
    }

    /// The same, with how long some answers took, in microseconds.
    #[must_use]
    pub fn with_micros(mut self, micros: impl IntoIterator<Item = (Ask, u64)>) -> Self {
        self.micros = micros.into_iter().collect();
        self
    }

    /// The answer to an ask; [`GapReason::NotYet`] if it was not asked.
    pub fn look(&self, ask: &Ask) -> Observed<&Datum> {
        match self.answers.get(ask) {
            Some((_, answer)) => Observed::as_ref(answer),
            None => unasked(ask, self.sealed),
        }
    }

    /// When an ask was answered.
    pub fn at(&self, ask: &Ask) -> Option<Stamp> {
        self.answers.get(ask).map(|(at, _)| *at)
    }

    /// How long an ask took to answer, in microseconds, if it was measured by itself.
    pub fn micros(&self, ask: &Ask) -> Option<u64> {
        self.micros.get(ask).copied()
    }

    /// An owner's failed requests of the window, by time.
    pub fn failed_requests(&self, owner: &str) -> &[FailedRequest] {
        self.log_summaries.get(owner).map_or(&[], |summary| summary.failed.as_slice())
    }

    /// An owner's first failures from before the window, one per kind.
    pub fn earlier_requests(&self, owner: &str) -> &[FailedRequest] {
        self.log_summaries.get(owner).map_or(&[], |summary| summary.earlier.as_slice())
    }

    /// An owner's failed requests of the day before a window without any, by time.
    pub fn looked_back_requests(&self, owner: &str) -> &[FailedRequest] {
        self.log_summaries.get(owner).map_or(&[], |summary| summary.looked_back.as_slice())
    }

    /// Every answer, in the order of the asks.
    pub fn iter(&self) -> impl Iterator<Item = (&Ask, &Observed<Datum>)> {
        self.answers.iter().map(|(ask, (_, answer))| (ask, &**answer))
    }

    /// What the stamps of an owner's error logs mean, as far as the ends of its logs tell.
    pub fn clock(&self, owner: &str) -> Option<LogClock> {
        self.log_summaries.get(owner).and_then(|summary| summary.clock)
    }

    /// The newest stamp in an owner's logs.
    pub fn newest(&self, owner: &str) -> Option<Stamp> {
        self.log_summaries.get(owner).and_then(|summary| summary.newest)
    }

    /// A file's content.
    pub fn file(&self, root: Root, path: &str) -> Observed<&FileContent> {
        let ask = Ask::File { root, path: path.to_owned() };
        self.typed(&ask, |datum| if let Datum::File(file) = datum { Some(file) } else { None })
    }

    /// The file system under a path.
    pub fn file_system(&self, root: Root, path: &str) -> Observed<&FileSystem> {
        let ask = Ask::FileSystem { root, path: path.to_owned() };
        self.typed(&ask, |datum| if let Datum::FileSystem(found) = datum { Some(found) } else { None })
    }

    /// The paths that a pattern matched.
    pub fn paths(&self, root: Root, pattern: &str) -> Observed<&Vec<String>> {
        let ask = Ask::Glob { root, pattern: pattern.to_owned() };
        self.typed(&ask, |datum| if let Datum::Paths(paths) = datum { Some(paths) } else { None })
    }

    /// The packet filters of a network namespace at a moment.
    pub fn packet_filter(&self, pid: Option<u32>, moment: FilterMoment) -> Observed<&PacketFilter> {
        self.typed(&Ask::PacketFilter { pid, moment }, |datum| {
            if let Datum::PacketFilter(filter) = datum { Some(filter) } else { None }
        })
    }

    /// The components of a path.
    pub fn path_walk(&self, root: Root, path: &str) -> Observed<&PathWalk> {
        let ask = Ask::PathWalk { root, path: path.to_owned() };
        self.typed(&ask, |datum| if let Datum::PathWalk(walk) = datum { Some(walk) } else { None })
    }

    /// The addresses that the system's resolver gives for a name.
    pub fn addresses(&self, security: Security, name: &str) -> Observed<&Vec<IpAddr>> {
        let ask = Ask::Resolve { security, name: name.to_owned(), resolver: Resolver::System };
        self.typed(&ask, |datum| if let Datum::Addresses(addresses) = datum { Some(addresses) } else { None })
    }

    /// What name servers say of just that name.
    pub fn name_reply(&self, security: Security, name: &str, resolver: Resolver) -> Observed<&NameReply> {
        let ask = Ask::Resolve { security, name: name.to_owned(), resolver };
        self.typed(&ask, |datum| if let Datum::NameReply(reply) = datum { Some(reply) } else { None })
    }

    /// What a probe learned.
    pub fn probe(
        &self,
        security: Security,
        target: &PeerAddress,
        spec: &ProbeSpec,
        source: Option<IpAddr>,
    ) -> Observed<&ProbeReport> {
        let ask = Ask::Probe { security, target: target.clone(), spec: Box::new(spec.clone()), source };
        self.typed(&ask, |datum| if let Datum::Probe(report) = datum { Some(report) } else { None })
    }

    /// The way that packets to an address take.
    pub fn route(
        &self,
        security: Security,
        target: SocketAddr,
        source: Option<IpAddr>,
        mark: Option<u32>,
    ) -> Observed<&PathToPeer> {
        let ask = Ask::Route { security, target, source, mark };
        self.typed(&ask, |datum| if let Datum::Route(path) = datum { Some(path) } else { None })
    }

    /// What became of ICMP echo requests of certain sizes.
    pub fn echo(&self, security: Security, target: IpAddr, sizes: &[u16]) -> Observed<&EchoRecord> {
        let ask = Ask::Echo { security, target, sizes: sizes.to_vec() };
        self.typed(&ask, |datum| if let Datum::Echo(echo) = datum { Some(echo) } else { None })
    }

    /// The strings of a file that contain one of the marks.
    pub fn strings(&self, root: Root, path: &str, marks: &[&str]) -> Observed<&Vec<String>> {
        let marks = marks.iter().map(|&mark| mark.to_owned()).collect();
        let ask = Ask::Strings { root, path: path.to_owned(), marks };
        self.typed(&ask, |datum| if let Datum::Strings(strings) = datum { Some(strings) } else { None })
    }

    /// The digest that an ask for a log's window gave, if it is an error log's.
    pub fn error_log(&self, ask: &Ask) -> Observed<&ErrorDigest> {
        self.typed(ask, |datum| if let Datum::ErrorLog(digest) = datum { Some(digest) } else { None })
    }

    /// The digest that an ask for a log's window gave, if it is an access log's.
    pub fn access_log(&self, ask: &Ask) -> Observed<&AccessDigest> {
        self.typed(ask, |datum| if let Datum::AccessLog(digest) = datum { Some(digest) } else { None })
    }

    fn typed<'a, T>(&'a self, ask: &Ask, part: impl FnOnce(&'a Datum) -> Option<&'a T>) -> Observed<&'a T> {
        match self.look(ask) {
            Observed::Absent => Observed::Absent,
            Observed::Unknown(gap) => Observed::Unknown(gap),
            Observed::Known(datum) => match part(datum) {
                Some(part) => Observed::Known(part),
                None => Observed::Unknown(Gap {
                    ask: ask.clone(),
                    why: GapReason::Failed,
                    says: "the answer is of another kind than the question".to_owned(),
                }),
            },
        }
    }
}

fn unasked<T>(ask: &Ask, sealed: bool) -> Observed<T> {
    let (why, says) = if sealed {
        (GapReason::NotAsked, "nobody asked when the bundle was recorded")
    } else {
        (GapReason::NotYet, "not asked yet")
    };
    Observed::Unknown(Gap { ask: ask.clone(), why, says: says.to_owned() })
}
