//! Processes that belong together: who listens, and for whom.

use super::Case;
use std::collections::BTreeSet;
use why502_facts::Process;

/// So many generations are looked at.
const MAX_GENERATIONS: usize = 64;

/// The processes that listen, and those that started them: a wrapper (`npx`, `tini`, `sudo`) keeps the options of what it runs.
///
/// Who is in another network namespace than the gateway may listen unseen, and counts as listening.
pub(crate) struct Listening<'c> {
    pids: BTreeSet<u32>,
    /// The services of those: what is left of a wrapper that went into the background has another parent.
    units: BTreeSet<&'c str>,
}

impl Listening<'_> {
    /// Whether a process listens, or one that it started, or a service of which it is the top listens by another process.
    pub(crate) fn includes(&self, process: &Process) -> bool {
        let is_top = process.parent <= 1;
        self.pids.contains(&process.pid)
            || (is_top && process.unit.as_deref().is_some_and(|unit| self.units.contains(unit)))
    }
}

impl<'c> Case<'c> {
    /// Who listens anywhere in the gateway's network namespace, or may listen in another one.
    pub(crate) fn listening(&self) -> Listening<'c> {
        let (mut pids, mut units) = (BTreeSet::new(), BTreeSet::new());
        let (processes, sockets) = (self.facts.processes().known(), self.sockets().known());
        let (Some(list), Some(table)) = (processes, sockets) else { return Listening { pids, units } };
        let tcp = table.listeners.iter().flat_map(|listener| &listener.pids);
        let unix = table.unix.iter().filter(|socket| socket.listening).flat_map(|socket| &socket.pids);
        let seen = tcp.chain(unix).filter_map(|pid| list.get(*pid));
        let unseen = list.processes.iter().filter(|process| !self.is_beside_gateway(process));
        for process in seen.chain(unseen) {
            let mut own = process;
            for _ in 0..MAX_GENERATIONS {
                let is_new = pids.insert(own.pid);
                if own.parent <= 1 {
                    units.extend(own.unit.as_deref().filter(|unit| unit.ends_with(".service")));
                }
                match list.get(own.parent).filter(|_| is_new) {
                    Some(parent) => own = parent,
                    None => break,
                }
            }
        }
        Listening { pids, units }
    }

    /// Whether a process descends from another one.
    pub(crate) fn descends_from(&self, process: &Process, ancestor: u32) -> bool {
        let mut parent = process.parent;
        for _ in 0..MAX_GENERATIONS {
            if parent == ancestor {
                return true;
            }
            match self.listed(parent) {
                Some(own) => parent = own.parent,
                None => return false,
            }
        }
        false
    }
}
