//! The masters that run on this host: the gateway's own, and those of other instances of it.

use crate::case::{Case, or_ask};
use crate::cause::Asks;
use std::time::Duration;
use why502_facts::{Process, ProcessList, Stamp};

/// So many processes of containers are asked for the ids that they have there.
const MAX_ASKED: usize = 8;
/// Stamps of the log are cut to the second.
const SECOND: Duration = Duration::from_secs(1);
/// How long a master that was replaced (`USR2`) may go on beside the one that replaced it.
const LINGER: Duration = Duration::from_mins(10);

/// The running masters.
pub(super) struct Masters<'c> {
    list: &'c ProcessList,
    /// The gateway's, then the one that it replaces or is replaced by (`USR2`).
    own: Vec<&'c Process>,
    /// Those of other instances.
    others: Vec<&'c Process>,
}

/// Whose a line is that only a master writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Writer {
    /// The gateway's master before the one that runs.
    Former,
    /// Nobody can tell: the master of this gateway or of another.
    Unknown,
    /// The one that runs, or none is known.
    Own,
}

impl<'c> Masters<'c> {
    /// The masters, where the gateway's own runs and can be seen.
    pub(super) fn of(case: &'c Case<'_>) -> Option<Self> {
        let list = case.facts.processes().known()?;
        let live = list.get(case.gateway.master?)?;
        let alike = |process: &&Process| is_master(process) && process.comm == live.comm;
        let is_kin = |process: &Process| process.pid == live.parent || process.parent == live.pid;
        let (kin, others): (Vec<&Process>, Vec<&Process>) = list
            .processes
            .iter()
            .filter(alike)
            .filter(|process| process.pid != live.pid)
            .partition(|process| is_kin(process));
        Some(Self { list, own: [vec![live], kin].concat(), others })
    }

    /// The masters of other instances that see the same files.
    pub(super) fn beside(&self) -> impl Iterator<Item = &'c Process> {
        let own = self.own.first().copied();
        let sees_the_same = move |process: &Process| {
            own.is_some_and(|own| {
                own.mount_namespace == process.mount_namespace && own.same_root == process.same_root
            })
        };
        self.others.clone().into_iter().filter(move |process| sees_the_same(process))
    }

    /// The gateway's own master.
    pub(super) fn live(&self) -> Option<&'c Process> {
        self.own.first().copied()
    }

    /// The workers of a master.
    pub(super) fn workers_of(&self, master: u32) -> impl Iterator<Item = &'c Process> {
        let is_worker =
            move |process: &&Process| process.parent == master && is_titled(process, ": worker process");
        self.list.processes.iter().filter(is_worker)
    }

    /// Whose a line of a master is; `None` if it is another running instance's, or was that of one that is gone. An error asks
    /// for the ids that processes have in their containers. When it was written is not known where the clock of the log is not.
    pub(super) fn writer(
        &self,
        case: &Case<'_>,
        pid: u32,
        at: Option<Stamp>,
    ) -> Result<Option<Writer>, Asks> {
        let Some(live) = self.live() else { return Ok(Some(Writer::Own)) };
        let is_since = |process: &Process| {
            process.started.zip(at).is_none_or(|(started, at)| started <= at.after(SECOND))
        };
        let own_id = Self::own_id(case, live, pid)?;
        if own_id == Some(pid) || self.own.iter().any(|own| own.pid == pid) {
            let writer = self.own.iter().find(|own| own.pid == pid).copied().unwrap_or(live);
            // Its id was another's before: in a container each master has the same one.
            return Ok(Some(if is_since(writer) { Writer::Own } else { Writer::Former }));
        }
        // Where the ids of its log are not known, the line may be its own as well.
        if own_id.is_none() {
            return Ok(Some(Writer::Own));
        }
        let since = self.others.iter().copied().filter(|other| is_since(other));
        let (contained, plain): (Vec<&Process>, Vec<&Process>) =
            since.partition(|other| other.container.is_some());
        if plain.iter().any(|other| other.pid == pid) {
            return Ok(None);
        }
        let (mut asks, mut is_unsure) = (Vec::new(), self.list.hidden || contained.len() > MAX_ASKED);
        for other in contained.into_iter().take(MAX_ASKED) {
            match or_ask(case.facts.process(other.pid)) {
                Ok(seen) => match seen.known().and_then(|seen| seen.own_pid) {
                    Some(id) if id == pid => return Ok(None),
                    Some(_) => {}
                    None => is_unsure = true,
                },
                Err(wanted) => asks.extend(wanted),
            }
        }
        if !asks.is_empty() {
            return Err(asks);
        }
        // It was written beside the master that runs, by one that is gone since: another instance's.
        let is_foreign = live.started.zip(at).is_some_and(|(started, at)| at > started.after(LINGER));
        Ok(match (is_unsure, is_foreign) {
            (true, _) => Some(Writer::Unknown),
            (false, true) => None,
            (false, false) => Some(Writer::Former),
        })
    }

    /// The id that the gateway's master has in its log; `None` where nobody can tell. A process is asked for only where the
    /// ids of a container can matter.
    fn own_id(case: &Case<'_>, live: &Process, pid: u32) -> Result<Option<u32>, Asks> {
        let worker = case.worker().filter(|worker| worker.pid == live.pid || worker.parent == live.pid);
        let seen = worker.as_ref().and_then(|worker| worker.own_pid);
        if live.pid == pid || (seen.is_some() && seen == worker.map(|worker| worker.pid)) {
            return Ok(Some(live.pid));
        }
        let own_id = or_ask(case.facts.process(live.pid))?.known().and_then(|live| live.own_pid);
        // Without a word of the kernel only a container is known to have ids of its own.
        Ok(own_id.or_else(|| (seen.is_none() && live.container.is_none()).then_some(live.pid)))
    }
}

/// nginx titles its master `nginx: master process COMMAND LINE`.
fn is_master(process: &Process) -> bool {
    process.state != 'Z' && is_titled(process, ": master process")
}

fn is_titled(process: &Process, words: &str) -> bool {
    process.argv.first().is_some_and(|title| title.contains(words))
}
