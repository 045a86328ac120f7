//! What is known of the host.

use super::{Datum, Facts, ProcessList};
use crate::{
    Ask, AuditLog, Confinement, ContainerDetail, ControlGroup, Decision, Engine, FileTimes, HostRecord,
    JournalEntry, KernelLog, NetworkLimits, Observed, OtherSockets, PackageLog, PackageManager, Process,
    ProcessWaits, Root, ServerWord, Service, SocketTable, Stamp, Unit,
};

impl Facts {
    /// The host as a whole.
    pub fn host(&self) -> Observed<&HostRecord> {
        self.typed(&Ask::Host, |datum| if let Datum::Host(host) = datum { Some(host) } else { None })
    }

    /// What the kernel says of deaths, refusals and shortages.
    pub fn kernel_log(&self) -> Observed<&KernelLog> {
        self.typed(&Ask::KernelLog, |datum| if let Datum::KernelLog(log) = datum { Some(log) } else { None })
    }

    /// All processes.
    pub fn processes(&self) -> Observed<&ProcessList> {
        self.typed(
            &Ask::Processes,
            |datum| if let Datum::Processes(list) = datum { Some(list) } else { None },
        )
    }

    /// One process in detail.
    pub fn process(&self, pid: u32) -> Observed<&Process> {
        self.typed(&Ask::Process { pid }, |datum| {
            if let Datum::Process(process) = datum { Some(process) } else { None }
        })
    }

    /// How a process is confined by a security module.
    pub fn confinement(&self, pid: u32) -> Observed<&Confinement> {
        self.typed(&Ask::Confinement { pid }, |datum| {
            if let Datum::Confinement(confinement) = datum { Some(confinement) } else { None }
        })
    }

    /// Denials in the audit log since a moment that hold one of the marks.
    pub fn audit(&self, from: Option<Stamp>, marks: &[String]) -> Observed<&AuditLog> {
        let ask = Ask::Audit { from, marks: marks.to_vec() };
        self.typed(&ask, |datum| if let Datum::Audit(log) = datum { Some(log) } else { None })
    }

    /// What SELinux decides; absent where the loaded policy does not know one of the contexts.
    pub fn decision(
        &self,
        subject: &str,
        object: &str,
        class: &str,
        permission: &str,
    ) -> Observed<&Decision> {
        let ask = Ask::Decision {
            subject: subject.to_owned(),
            object: object.to_owned(),
            class: class.to_owned(),
            permission: permission.to_owned(),
        };
        self.typed(&ask, |datum| if let Datum::Decision(decision) = datum { Some(decision) } else { None })
    }

    /// What an application server says of its workers, in the order of its files and lines.
    pub fn server_words(&self, pid: u32) -> Observed<&Vec<ServerWord>> {
        self.typed(&Ask::ServerLogs { pid }, |datum| {
            if let Datum::ServerLogs(words) = datum { Some(words) } else { None }
        })
    }

    /// When files were changed, one entry per path.
    pub fn file_times(&self, root: Root, paths: &[String]) -> Observed<&Vec<FileTimes>> {
        let ask = Ask::FileTimes { root, paths: paths.to_vec() };
        self.typed(&ask, |datum| if let Datum::FileTimes(times) = datum { Some(times) } else { None })
    }

    /// What a package manager did; absent where it keeps no log here.
    pub fn package_log(&self, manager: PackageManager) -> Observed<&PackageLog> {
        self.typed(&Ask::PackageLog { manager }, |datum| {
            if let Datum::PackageLog(log) = datum { Some(log) } else { None }
        })
    }

    /// The services whose definition holds one of the marks.
    pub fn services(&self, marks: &[String]) -> Observed<&Vec<Service>> {
        self.typed(&Ask::Services { marks: marks.to_vec() }, |datum| {
            if let Datum::Services(services) = datum { Some(services) } else { None }
        })
    }

    /// What systemd knows of a unit; absent where it knows none of that name.
    pub fn unit(&self, name: &str) -> Observed<&Unit> {
        let ask = Ask::Unit { name: name.to_owned() };
        self.typed(&ask, |datum| if let Datum::Unit(unit) = datum { Some(unit) } else { None })
    }

    /// What the journal holds of a unit in a window, by time.
    pub fn unit_journal(&self, unit: &str, from: Stamp, to: Stamp) -> Observed<&Vec<JournalEntry>> {
        let ask = Ask::UnitJournal { unit: unit.to_owned(), from, to };
        self.typed(&ask, |datum| if let Datum::UnitJournal(entries) = datum { Some(entries) } else { None })
    }

    /// What processes do, or wait for.
    pub fn waiting(&self, pids: &[u32]) -> Observed<&Vec<ProcessWaits>> {
        let ask = Ask::Waiting { pids: pids.to_vec() };
        self.typed(&ask, |datum| if let Datum::Waiting(waits) = datum { Some(waits) } else { None })
    }

    /// What the control groups of processes may have, and what they lack.
    pub fn control_groups(&self, pids: &[u32]) -> Observed<&Vec<ControlGroup>> {
        let ask = Ask::ControlGroups { pids: pids.to_vec() };
        self.typed(&ask, |datum| if let Datum::ControlGroups(groups) = datum { Some(groups) } else { None })
    }

    /// The sockets of a network namespace.
    pub fn sockets(&self, pid: Option<u32>) -> Observed<&SocketTable> {
        self.typed(
            &Ask::Sockets { pid },
            |datum| if let Datum::Sockets(table) = datum { Some(table) } else { None },
        )
    }

    /// What the kernel lets a network namespace do, and how often it refused; `again`: by the second look.
    pub fn network_limits(&self, pid: Option<u32>, again: bool) -> Observed<&NetworkLimits> {
        self.typed(&Ask::NetworkLimits { pid, again }, |datum| {
            if let Datum::NetworkLimits(limits) = datum { Some(limits) } else { None }
        })
    }

    /// The listening sockets of all other network namespaces than that of a process.
    pub fn other_sockets(&self, pid: Option<u32>) -> Observed<&OtherSockets> {
        self.typed(&Ask::OtherSockets { pid }, |datum| {
            if let Datum::OtherSockets(sockets) = datum { Some(sockets) } else { None }
        })
    }

    /// All containers and networks of the engine behind a socket.
    pub fn engine(&self, socket: &str) -> Observed<&Engine> {
        let ask = Ask::Engine { socket: socket.to_owned() };
        self.typed(&ask, |datum| if let Datum::Engine(engine) = datum { Some(engine) } else { None })
    }

    /// One container of the engine behind a socket.
    pub fn container(&self, socket: &str, id: &str) -> Observed<&ContainerDetail> {
        let ask = Ask::Container { socket: socket.to_owned(), id: id.to_owned() };
        self.typed(&ask, |datum| if let Datum::Container(detail) = datum { Some(detail) } else { None })
    }
}
