//! The application server behind a peer: its master, its workers, and what it says of them itself.

use crate::case::{Case, Failure, PeerSubject, Symptom, or_ask};
use crate::cause::Asks;
use crate::finding::{Evidence, Origin};
use std::collections::BTreeSet;
use std::time::Duration;
use why502_facts::{Gap, Process, ServerWord, Stamp};

/// How far the stamps of two programs may lie apart, and a master may learn late of the end of a worker.
pub(super) const SLACK: Duration = Duration::from_secs(2);
/// Between lines that lie further apart anything may have happened.
const MAX_NARROW: Duration = Duration::from_secs(10);
/// How much of a server's line is shown.
const MAX_SHOWN: usize = 200;

/// The server that listens on a peer's address.
pub(super) struct Server<'c> {
    /// Its master, or its only process.
    pub(super) master: &'c Process,
    /// The other processes that hold the socket.
    pub(super) workers: Vec<&'c Process>,
}

/// What a server says of its workers, and what could not be read.
pub(super) struct Words<'c> {
    pub(super) words: Vec<&'c ServerWord>,
    pub(super) gap: Option<Gap>,
}

/// The server behind a peer: the one process that holds the listening socket and has no parent that does. `None` where
/// that cannot be seen, or where several servers share the address.
pub(super) fn server_behind<'c>(case: &'c Case<'_>, peer: &PeerSubject) -> Option<Server<'c>> {
    let (table, list) = (case.sockets().known()?, case.facts.processes().known()?);
    let is_gateway = |pid: u32| case.gateway.workers.contains(&pid) || case.gateway.master == Some(pid);
    // Process 1 keeps the sockets that it opened for others.
    let pids = table.holders(&peer.address).into_iter().filter(|pid| *pid != 1 && !is_gateway(*pid));
    let holders: Vec<&Process> = pids.filter_map(|pid| list.get(pid)).collect();
    let is_worker = |process: &Process| holders.iter().any(|other| other.pid == process.parent);
    let (workers, masters): (Vec<&Process>, Vec<&Process>) =
        holders.iter().partition(|process| is_worker(process));
    let [master] = masters.as_slice() else { return None };
    Some(Server { master, workers })
}

impl<'c> Server<'c> {
    /// What it says of its workers; of a master with several pools only of the one that serves here. An error asks for it.
    pub(super) fn words(&self, case: &'c Case<'_>) -> Result<Words<'c>, Asks> {
        let observed = or_ask(case.facts.server_words(self.master.pid))?;
        let gap = observed.gap().cloned();
        let all = observed.known().map_or(&[][..], Vec::as_slice);
        let pools = self.pools(all);
        let is_own = |word: &&ServerWord| word.pool.as_deref().is_none_or(|pool| pools.contains(pool));
        Ok(Words { words: all.iter().filter(is_own).collect(), gap })
    }

    /// The pools that serve here, by the titles of PHP-FPM's children: each holds the socket of its own pool alone.
    /// Without children it can only be the one that the log knows.
    fn pools<'w>(&self, words: &'w [ServerWord]) -> BTreeSet<&'w str> {
        let known: BTreeSet<&str> = words.iter().filter_map(|word| word.pool.as_deref()).collect();
        let is_served = |pool: &&str| {
            let title = format!("php-fpm: pool {pool}");
            self.workers.iter().any(|worker| worker.argv.first().is_some_and(|own| own.trim_end() == title))
        };
        let served: BTreeSet<&str> = known.iter().copied().filter(is_served).collect();
        if self.workers.is_empty() && known.len() == 1 { known } else { served }
    }

    /// `gunicorn (pid 7)`.
    pub(super) fn name(&self, case: &Case<'_>) -> String {
        case.owners(&[self.master.pid])
    }
}

/// The word that was written when an attempt ended.
pub(super) fn word_at<'w>(words: &[&'w ServerWord], failure: &Failure) -> Option<&'w ServerWord> {
    let at = failure.at;
    let fits = |word: &&&ServerWord| is_within(word, at, at);
    words
        .iter()
        .copied()
        .find(|word| is_narrow(word) && fits(&word))
        .or_else(|| words.iter().find(fits).copied())
}

/// Whether a word was written in a span of time.
pub(super) fn is_within(word: &ServerWord, begin: Stamp, end: Stamp) -> bool {
    word.from.is_none_or(|from| from.before(SLACK) <= end) && word.to.after(SLACK) >= begin
}

/// Whether it is known when a word was written.
pub(super) fn is_narrow(word: &ServerWord) -> bool {
    word.from.is_some_and(|from| word.to.since(from) <= MAX_NARROW)
}

/// A word as evidence.
pub(super) fn word_evidence(word: &ServerWord) -> Evidence {
    let line: String = word.line.chars().take(MAX_SHOWN).collect();
    Evidence::supporting(format!("the server's own log says: {line}"), Origin::Host(word.path.clone()))
}

/// The gap of a server's log as something open.
pub(super) fn open_log(gap: Option<Gap>) -> Option<crate::finding::Open> {
    gap.map(|gap| Case::open(gap, "what the server itself says of its workers at that time"))
}

/// How long an attempt took, in milliseconds, where a log tells it.
pub(super) fn took_ms(failure: &Failure, symptom: &Symptom) -> Option<u32> {
    symptom.tried.as_ref().and_then(|tried| tried.response_ms).or(failure.request_ms)
}

/// Whether a process is one of a program: by its title, its own name, or what an interpreter was told to run.
pub(super) fn is_program(process: &Process, name: &str) -> bool {
    let base = |argument: &str| argument.rsplit('/').next().unwrap_or_default().to_owned();
    let words = process.argv.iter().take(3).map(|argument| base(argument));
    process.comm.starts_with(name) || words.into_iter().any(|word| word.starts_with(name))
}
