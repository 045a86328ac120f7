//! Whose lines stand in the error log: several instances may write into one file.

use std::collections::{BTreeMap, BTreeSet};
use why502_facts::{ErrorRecord, Facts, FailedRequest, Process, Stamp};
use why502_model::Gateway;

/// How long workers of the configuration before may go on with the requests that they have, in milliseconds.
const LINGER: i64 = 600_000;
/// How far a stamp of the log, which is cut to the second, may lie before the moment that it means.
const SECOND: i64 = 1000;

/// Processes whose lines are another instance's, and since when they are.
pub(super) struct Strangers(BTreeMap<u32, Stamp>);

impl Strangers {
    /// The processes that wrote after this instance's workers were started, and that are none of its own; and those that
    /// can be seen to be another instance's.
    ///
    /// Nobody can tell where the workers' start is not known, or where their log has other ids than `/proc`.
    pub(super) fn among(facts: &Facts, gateway: &Gateway, requests: &[FailedRequest]) -> Self {
        let mut strangers = BTreeMap::new();
        for process in others(facts, gateway) {
            if let Some(started) = process.started {
                strangers.insert(process.pid, Stamp(started.0 - SECOND));
            }
        }
        if let Some((from, own)) = own_processes(facts, gateway) {
            // Before that moment other workers of the same master may have written.
            let later = requests.iter().filter(|request| request.at > from).flat_map(writers);
            strangers.extend(later.filter(|pid| !own.contains(pid)).map(|pid| (pid, Stamp(i64::MIN))));
        }
        Self(strangers)
    }

    /// Whether a failed request is another instance's: it has lines in the error log, and all of them are strangers'.
    pub(super) fn made(&self, request: &FailedRequest) -> bool {
        let mut writers = writers(request).peekable();
        let is_stranger = |pid: &u32| self.0.get(pid).is_some_and(|since| request.at >= *since);
        writers.peek().is_some() && writers.all(|pid| is_stranger(&pid))
    }

    /// Whether a line of the error log is another instance's.
    pub(super) fn wrote(&self, record: &ErrorRecord) -> bool {
        self.0.contains_key(&record.pid)
    }
}

/// Whether the log of an instance has the process ids of `/proc`: not in a container.
pub(super) fn has_ids_of_proc(facts: &Facts, gateway: &Gateway) -> bool {
    let worker = gateway.workers.first().and_then(|pid| facts.process(*pid).known());
    worker.is_some_and(|worker| worker.own_pid == Some(worker.pid))
}

/// The processes of the same program that run under another master, which neither replaced this one nor is replaced by it.
fn others<'f>(facts: &'f Facts, gateway: &Gateway) -> Vec<&'f Process> {
    let list = facts.processes().known().filter(|_| has_ids_of_proc(facts, gateway));
    let Some((list, own)) = list.and_then(|list| Some((list, list.get(gateway.master?)?))) else {
        return Vec::new();
    };
    let is_kin = |pid: u32| {
        pid == own.pid || pid == own.parent || list.get(pid).is_some_and(|process| process.parent == own.pid)
    };
    let is_other = |process: &&Process| {
        let is_under_another = list.get(process.parent).is_some_and(|parent| parent.comm == own.comm);
        process.comm == own.comm && is_under_another && !is_kin(process.pid) && !is_kin(process.parent)
    };
    list.processes.iter().filter(is_other).collect()
}

/// How many of some requests each process told of.
pub(super) fn count_by_writer(requests: &[&FailedRequest]) -> BTreeMap<u32, u64> {
    let mut counts = BTreeMap::new();
    for request in requests {
        if let Some(pid) = writers(request).next() {
            *counts.entry(pid).or_default() += request.weight;
        }
    }
    counts
}

/// The processes that wrote of a request.
fn writers(request: &FailedRequest) -> impl Iterator<Item = u32> + '_ {
    let of_attempts = request.attempts.iter().flat_map(|attempt| &attempt.messages);
    of_attempts.chain(&request.messages).map(|message| message.pid)
}

/// Since when only these processes can have written as this instance.
fn own_processes(facts: &Facts, gateway: &Gateway) -> Option<(Stamp, BTreeSet<u32>)> {
    let list = facts.processes().known().filter(|list| !list.hidden)?;
    let master = list.get(gateway.master?)?;
    if !has_ids_of_proc(facts, gateway) {
        return None;
    }
    let started = |pid: &u32| list.get(*pid).and_then(|process| process.started);
    let starts: Option<Vec<Stamp>> = gateway.workers.iter().map(started).collect();
    let newest = starts?.into_iter().max()?;
    // Without a reload or a worker that died there never were others.
    let is_first = newest.0 - master.started?.0 <= SECOND;
    let of_master = list.processes.iter().filter(|process| process.parent == master.pid);
    let own = of_master.map(|process| process.pid).chain([master.pid]).collect();
    Some((Stamp(newest.0 + if is_first { SECOND } else { LINGER }), own))
}
