//! Other namespaces of the host: who listens there, and which files a process sees.

use super::Case;
use crate::finding::Origin;
use why502_facts::{Observed, OtherSockets, PathWalk, Process, ProcessList, Root};

impl Case<'_> {
    /// The listening sockets of all other network namespaces than the gateway's.
    pub(crate) fn other_sockets(&self) -> Observed<&OtherSockets> {
        self.facts.other_sockets(self.gateway.master)
    }

    /// Where the sockets of another namespace were read, through a process in it.
    pub(crate) fn other_sockets_origin(pid: u32) -> Origin {
        Origin::Host(format!("/proc/{pid}/net/tcp"))
    }

    /// The components of a path, as a process sees it.
    pub(crate) fn path_walk_of(&self, pid: u32, path: &str) -> Observed<&PathWalk> {
        self.facts.path_walk(Root::Process(pid), path)
    }

    /// A process as the list of all has it.
    pub(crate) fn listed(&self, pid: u32) -> Option<&Process> {
        self.facts.processes().known()?.get(pid)
    }

    /// The process that shows which files the gateway sees, and in which namespaces it is.
    pub(crate) fn gateway_process(&self) -> Option<&Process> {
        let pid = self.gateway.workers.first().copied().or(self.gateway.master)?;
        self.listed(pid)
    }

    /// Whether the gateway may run where nobody looks: `/proc` hides its processes, so that its network and its files need not
    /// be those of this program.
    pub(crate) fn may_be_elsewhere(&self) -> bool {
        let hides = |list: &ProcessList| list.hidden;
        !self.facts.manifest.invocation.offline
            && self.gateway.master.is_none()
            && self.facts.processes().known().is_some_and(hides)
    }

    /// Whether a process would be seen to listen: the table of sockets, unix sockets too, is that of the gateway's network
    /// namespace.
    pub(crate) fn is_beside_gateway(&self, process: &Process) -> bool {
        self.gateway_process().is_none_or(|own| own.net_namespace == process.net_namespace)
    }

    /// Whether a process is known to be in another network namespace than the gateway.
    pub(crate) fn is_apart_from_gateway(&self, process: &Process) -> bool {
        let own = self.gateway_process().and_then(|own| own.net_namespace);
        own.zip(process.net_namespace).is_some_and(|(own, theirs)| own != theirs)
    }

    /// What a process runs in: `the container 0123456789ab`, `app.service`; empty where nothing is known of it.
    pub(crate) fn place_of(&self, pid: u32) -> String {
        let Some(process) = self.listed(pid) else { return String::new() };
        match (&process.container, &process.unit) {
            (Some(container), _) => format!("the container {container}"),
            (None, Some(unit)) => unit.clone(),
            (None, None) => String::new(),
        }
    }
}
