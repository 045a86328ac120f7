//! Whose lines stand in the error log: several instances may write into one file.

use std::collections::{BTreeMap, BTreeSet};
use why502_facts::{Facts, FailedRequest, Stamp};
use why502_model::Gateway;

/// How long workers of the configuration before may go on with the requests that they have, in milliseconds.
const LINGER: i64 = 600_000;
/// How far a stamp of the log, which is cut to the second, may lie before the moment that it means.
const SECOND: i64 = 1000;

/// Processes whose lines are another instance's.
pub(super) struct Strangers(BTreeSet<u32>);

impl Strangers {
    /// The processes that wrote after this instance's workers were started, and that are none of its own.
    ///
    /// Nobody can tell where the workers' start is not known, or where their log has other ids than `/proc`.
    pub(super) fn among(facts: &Facts, gateway: &Gateway, requests: &[FailedRequest]) -> Self {
        let Some((from, own)) = own_processes(facts, gateway) else { return Self(BTreeSet::new()) };
        // Before that moment other workers of the same master may have written.
        let later = requests.iter().filter(|request| request.at > from);
        Self(later.flat_map(writers).filter(|pid| !own.contains(pid)).collect())
    }

    /// Whether a failed request is another instance's: it has lines in the error log, and all of them are strangers'.
    pub(super) fn made(&self, request: &FailedRequest) -> bool {
        let mut writers = writers(request).peekable();
        writers.peek().is_some() && writers.all(|pid| self.0.contains(&pid))
    }
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
    let seen_by_itself = facts.process(*gateway.workers.first()?).known()?;
    if seen_by_itself.own_pid != Some(seen_by_itself.pid) {
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
