//! Whose lines stand in the error log: several instances may write into one file.

use std::collections::{BTreeMap, BTreeSet};
use why502_facts::{Attempt, Facts, FailedRequest, Stamp};
use why502_model::Gateway;

/// How long workers of the configuration before may go on with the requests that they have, in milliseconds.
const LINGER: i64 = 600_000;
/// How far a stamp of the log, which is cut to the second, may lie before the moment that it means.
const SECOND: i64 = 1000;

/// Tells the failures of this instance from those that another one wrote into the same log.
pub(super) struct Strangers {
    /// Processes whose lines are this instance's.
    own: BTreeSet<u32>,
    /// Only later lines are judged: before that moment other workers of the same master may have written.
    from: Stamp,
    /// How many requests each stranger told of.
    pub(super) seen: BTreeMap<u32, u64>,
}

impl Strangers {
    /// `None` where nobody can tell: the workers' start is not known, or their log has other ids than `/proc`.
    pub(super) fn of(facts: &Facts, gateway: &Gateway) -> Option<Self> {
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
        let from = Stamp(newest.0 + if is_first { SECOND } else { LINGER });
        let of_master = list.processes.iter().filter(|process| process.parent == master.pid);
        let own = of_master.map(|process| process.pid).chain([master.pid]).collect();
        Some(Self { own, from, seen: BTreeMap::new() })
    }

    /// Whether a failed request is another instance's: it has lines in the error log, and none of a process of this one.
    pub(super) fn is_theirs(&mut self, request: &FailedRequest) -> bool {
        if request.at <= self.from {
            return false;
        }
        let of_attempts = request.attempts.iter().flat_map(|Attempt { messages, .. }| messages);
        let pids: BTreeSet<u32> = of_attempts.chain(&request.messages).map(|message| message.pid).collect();
        let Some(first) = pids.first().filter(|_| pids.is_disjoint(&self.own)) else { return false };
        *self.seen.entry(*first).or_default() += request.weight;
        true
    }
}
