//! What is known of a queue that overflowed.

use crate::case::{Case, Failure, FailureId, Home, PeerSubject, Reach, Subject, Symptom, not_yet};
use crate::cause::Asks;
use crate::causes::app_server::{SLACK, is_within, server_behind};
use crate::causes::backlogs::{Backlog, backlog_of};
use crate::causes::workers::busy_now;
use crate::finding::{Confidence, Evidence, Origin, Ruling};
use std::time::Duration;
use why502_facts::{
    Errno, GapReason, ListenQueue, NetworkLimits, Observed, PeerAddress, Phase, Phrase, Process, ServerEvent,
};

/// A queue that is at least so long is as long as servers ask for (uWSGI 100, PHP-FPM 511): where all workers are busy, these are
/// too few, not the places.
const USUAL: u64 = 64;
/// What is seen now tells of failures that ended so long ago.
const RECENT: Duration = Duration::from_mins(2);

/// Connections that were not taken, and the queue that they were not put into.
pub(super) struct Overflow<'c> {
    pub(super) peer: &'c PeerSubject,
    pub(super) symptoms: Vec<(FailureId, &'c Failure, &'c Symptom)>,
    /// A process in the network namespace of the socket.
    pub(super) pid: Option<u32>,
    /// The processes that hold the socket.
    holders: Vec<&'c Process>,
    /// What the kernel told before the connection was tried.
    pub(super) before: Observed<&'c NetworkLimits>,
    /// And after it, where it got no answer.
    after: Option<&'c NetworkLimits>,
    pub(super) reach: Observed<Reach>,
    /// The queues of the address; by the later look where they are fuller.
    pub(super) queues: Vec<&'c ListenQueue>,
}

/// The connections to a subject's peer that may have found its queue full; `None` where there are none, or where it is not a
/// socket of this host.
pub(super) fn overflow<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Overflow<'c>>, Asks> {
    let Some(peer) = subject.peer() else { return Ok(None) };
    let symptoms: Vec<_> =
        case.symptoms_of(peer).filter(|(_, _, symptom)| is_not_taken(symptom, &peer.address)).collect();
    if symptoms.is_empty() {
        return Ok(None);
    }
    let Some(home) = case.home_of(peer)? else { return Ok(None) };
    let (before, reach) = (case.facts.network_limits(home.pid, false), case.reach(peer));
    let wanted: Asks = [before.gap(), reach.gap()].into_iter().flatten().filter_map(not_yet).collect();
    if !wanted.is_empty() {
        return Err(wanted);
    }
    let is_silent = reach == Observed::Known(Reach::Silent);
    let after = match case.facts.network_limits(home.pid, true) {
        Observed::Unknown(gap) if is_silent && before.is_known() && gap.why == GapReason::NotYet => {
            return Err(vec![gap.ask]);
        }
        other => other.known().filter(|_| is_silent),
    };
    let of = |limits: Option<&'c NetworkLimits>| {
        limits.map_or_else(Vec::new, |limits| limits.queues_of(&peer.address))
    };
    let (first, last) = (of(before.as_ref().known().copied()), of(after));
    let is_fuller = last.iter().any(|queue| queue.is_full()) || !first.iter().any(|queue| queue.is_full());
    let queues = if last.is_empty() || !is_fuller { first } else { last };
    Ok(Some(Overflow {
        peer,
        symptoms,
        pid: home.pid,
        holders: holders(case, &home, peer),
        before,
        after,
        reach,
        queues,
    }))
}

/// The processes that hold a peer's socket, without process 1, which keeps those that it opened for others.
fn holders<'c>(case: &'c Case<'_>, home: &Home<'_>, peer: &PeerSubject) -> Vec<&'c Process> {
    let Some(list) = case.facts.processes().known() else { return Vec::new() };
    home.holders(&peer.address).into_iter().filter(|pid| *pid != 1).filter_map(|pid| list.get(pid)).collect()
}

/// Whether an attempt ended as one does that finds a full queue: of a unix socket with errno 11, of TCP in silence, or with a
/// reset, which some are set to send.
fn is_not_taken(symptom: &Symptom, address: &PeerAddress) -> bool {
    match address {
        PeerAddress::Unix(_) => symptom.connect_failed(Errno::TryAgain),
        PeerAddress::Inet(_) => {
            symptom.connect_failed(Errno::TimedOut)
                || symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::Connecting)
                || is_reset(symptom)
        }
    }
}

/// Whether a connection was reset before an answer came: the server's end was never made (`tcp_abort_on_overflow`).
fn is_reset(symptom: &Symptom) -> bool {
    let is_early =
        matches!(symptom.phase, Some(Phase::Connecting | Phase::SendingRequest | Phase::ReadingHeader));
    symptom.errno == Some(Errno::ConnectionReset) && is_early
}

impl Overflow<'_> {
    /// How sure it is that the queue was full; `None` where nothing speaks of it. An error asks for the server's own log.
    pub(super) fn confidence(&self, case: &Case<'_>) -> Result<Option<Confidence>, Asks> {
        let Some(by_kernel) = self.by_kernel() else { return Ok(None) };
        Ok(Some(if self.is_pool_busy(case)? { Confidence::Possible } else { by_kernel }))
    }

    fn by_kernel(&self) -> Option<Confidence> {
        if matches!(self.peer.address, PeerAddress::Unix(_)) {
            // connect(2) knows no other reason for this error of a unix socket.
            let is_seen = !self.queues.is_empty() || self.is_refused_now();
            return Some(if is_seen { Confidence::Confirmed } else { Confidence::Likely });
        }
        let aborts = self
            .before
            .as_ref()
            .known()
            .and_then(|limits| limits.number("net.ipv4.tcp_abort_on_overflow").map(|value| value != 0));
        if self.symptoms.iter().all(|(_, _, symptom)| is_reset(symptom)) && aborts != Some(true) {
            return None;
        }
        if self.is_refused_now() {
            return Some(Confidence::Confirmed);
        }
        // In silence with room in the queue it is somebody else who drops.
        if self.reach == Observed::Known(Reach::Silent) {
            return None;
        }
        let is_overflown = self.dropped() > 0 && self.counter("ListenOverflows", false) > Some(0);
        (self.is_full() || is_overflown).then_some(Confidence::Likely)
    }

    /// Whether a connection in nginx's place is not taken now, and the queue is the reason.
    pub(super) fn is_refused_now(&self) -> bool {
        match self.reach {
            Observed::Known(Reach::Failed(Errno::TryAgain)) => self.peer.address.unix_path().is_some(),
            Observed::Known(Reach::Silent) => self.is_full() || self.has_overflown_meanwhile(),
            _ => false,
        }
    }

    /// Whether the queue was full between both looks, by its socket's drops and the namespace's `ListenOverflows` together: a
    /// socket drops for other reasons as well (repeated first packets while a request waits in `SYN_RECV`, no route back), and
    /// the namespace counts all of its queues.
    fn has_overflown_meanwhile(&self) -> bool {
        let before = self.counter("ListenOverflows", false);
        let has_risen =
            before.zip(self.counter("ListenOverflows", true)).is_some_and(|(before, after)| after > before);
        has_risen && self.dropped_meanwhile() > 0
    }

    /// Whether the queue, or one of several, was full when it was looked at.
    fn is_full(&self) -> bool {
        self.queues.iter().any(|queue| queue.is_full())
    }

    /// How many attempts the listening sockets have dropped since they were made.
    pub(super) fn dropped(&self) -> u64 {
        self.queues.iter().filter_map(|queue| queue.drops).sum()
    }

    /// How many of them between both looks.
    pub(super) fn dropped_meanwhile(&self) -> u64 {
        let drops = |limits: Option<&NetworkLimits>| -> Option<u64> {
            Some(limits?.queues_of(&self.peer.address).iter().filter_map(|queue| queue.drops).sum())
        };
        let before = drops(self.before.as_ref().known().copied());
        drops(self.after).zip(before).map_or(0, |(after, before)| after.saturating_sub(before))
    }

    /// A counter of the network namespace, by the first look or the second.
    pub(super) fn counter(&self, name: &str, again: bool) -> Option<u64> {
        let limits = if again { self.after } else { self.before.as_ref().known().copied() };
        limits?.counters.get(name).copied()
    }

    /// The shortest backlog of the address.
    pub(super) fn limit(&self) -> Option<u64> {
        self.queues.iter().map(|queue| queue.limit).min()
    }

    /// `net.core.somaxconn` of that network namespace.
    pub(super) fn somaxconn(&self) -> Option<u64> {
        self.before.as_ref().known()?.number("net.core.somaxconn")
    }

    /// The server: of the processes that hold the socket the one whose parent does not, or the first.
    pub(super) fn server(&self) -> Option<&Process> {
        let is_master = |process: &&&Process| !self.holders.iter().any(|other| other.pid == process.parent);
        self.holders.iter().find(is_master).or_else(|| self.holders.first()).copied()
    }

    /// What kind of server it is.
    pub(super) fn kind(&self) -> Option<&'static Backlog> {
        self.server().and_then(backlog_of)
    }

    /// What the server asks for, with the option that says so.
    pub(super) fn asked(&self) -> Option<(u64, Option<&'static str>)> {
        Some(self.kind()?.asked(self.server()?))
    }

    /// The state of those that accept, where all of them are in one in which nobody can.
    pub(super) fn stopped(&self) -> Option<char> {
        let server = self.server()?;
        let workers: Vec<_> = self.holders.iter().filter(|process| process.pid != server.pid).collect();
        let is_dead = |state: char| matches!(state, 'D' | 'T' | 't' | 'X' | 'Z');
        match workers.first() {
            Some(first) => workers.iter().all(|worker| is_dead(worker.state)).then_some(first.state),
            None => is_dead(server.state).then_some(server.state),
        }
    }

    /// Whether the queue is of usual length, and overflows since all workers of a pool are busy.
    fn is_pool_busy(&self, case: &Case<'_>) -> Result<bool, Asks> {
        let is_usual = self.limit().is_none_or(|limit| limit >= USUAL);
        let Some(server) = server_behind(case, self.peer).filter(|_| is_usual) else { return Ok(false) };
        let last = self.symptoms.iter().map(|(_, failure, _)| failure.at).max();
        let Some(last) = last else { return Ok(false) };
        let is_silent = self.reach == Observed::Known(Reach::Silent);
        let is_recent = last.after(RECENT) >= case.facts.manifest.captured_at;
        if is_recent && busy_now(case, self.peer, &server, is_silent).is_some() {
            return Ok(true);
        }
        let told = server.words(case)?;
        let first = self.symptoms.iter().map(|(_, failure, _)| failure.at).min().unwrap_or(last);
        let is_told = |word: &&why502_facts::ServerWord| {
            word.event == ServerEvent::PoolFull && is_within(word, first.before(SLACK), last)
        };
        Ok(told.words.into_iter().any(|word| is_told(&word)))
    }

    /// That the queue has room, where this was seen.
    pub(super) fn room(&self) -> Ruling {
        let is_reset_alone = self.symptoms.iter().all(|(_, _, symptom)| is_reset(symptom));
        match self.queues.iter().find(|queue| !queue.is_full()) {
            Some(queue) if !is_reset_alone => {
                let says = format!(
                    "{} of {} places in the accept queue of {} were taken when it was looked at",
                    queue.waiting,
                    queue.limit + 1,
                    queue.address
                );
                let origin = Origin::Host("sock_diag(7)".to_owned());
                Ruling::RuledOut(vec![Evidence::against(says, origin)])
            }
            _ => Ruling::NoSign,
        }
    }
}
