//! # upstream-pool-exhausted
//!
//! ## What happens
//!
//! The application server works on so many requests at once and no more: gunicorn and uWSGI as many as they have workers and
//! threads, a PHP-FPM pool `pm.max_children`. Where slow work holds all of them, whatever comes next waits in the accept
//! queue, quick requests too, until nginx gives up; where the queue is full as well, connections are refused. True for
//! every version of nginx.
//!
//! ## What you see
//!
//! `upstream timed out (110: Connection timed out) while reading response header from upstream` and a 504, on pages that are
//! quick at other times, all at once; later ones answer again, some of them after a long `$upstream_header_time`. With a full
//! queue `connect() to unix:… failed (11: Resource temporarily unavailable)` and a 502. In the server's own log `server
//! reached pm.max_children setting`, or `*** uWSGI listen queue of socket … full !!!`.
//!
//! ## How we know
//!
//! Confirmed: the server's own log says that its queue was full, or that all were busy, and more requests waited at that
//! moment than it has workers; or connections waited to be accepted when it was looked at, and each worker held one.
//! Likely: more requests for several pages waited at once than the command line of the server lets it work on, and the
//! route is usually quick; or it says so, and several pages of such a route failed. Possible: its words alone.
//!
//! ## What would disprove it
//!
//! A request that began later and was answered meanwhile; workers that are stopped; words of another pool or another time.
//!
//! ## What to do
//!
//! Find the slow requests that hold the workers. Only where memory allows it, give the server more of them; where its control group
//! is throttled, more of them get nothing done, and its quota of processor time comes first.
//!
//! ## Not to be confused with
//!
//! `upstream-slow` (one page is slow, others are answered meanwhile), `upstream-hung` (stopped, or nobody works at all),
//! `read-timeout-too-short` (the page always takes that long), `listen-backlog-full` (the queue itself is too short).
//!
//! ## References
//!
//! PHP: `fpm_pctl_perform_idle_server_maintenance`, `fpm_pctl_on_socket_accept`; uWSGI: `uwsgi_master_check_listen_queue`
//! (`core/master_checks.c`); gunicorn: *Design*, sync workers; listen(2); nginx: `ngx_http_upstream_process_header`.

use super::app_server::{Server, is_narrow, is_program, is_within, open_log, server_behind, word_evidence};
use super::late_answers::{begin, is_late};
use super::pressure;
use super::unanswered::{Unanswered, attempts};
use super::workers::{Capacity, busy_now, capacity, command_line};
use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::durations::seconds;
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use std::time::Duration;
use why502_facts::{Errno, Phase, Phrase, ProbeOutcome, ServerEvent, ServerWord, Stamp};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-pool-exhausted",
    layer: Layer::Response,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502, 503, 504],
    scope: Scope::Peer,
    supersedes: &["read-timeout-too-short", "upstream-connect-timeout", "upstream-slow"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_pool_exhausted.rs"),
};

/// Attempts that lie further apart are not of one shortage.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// What is seen now tells of failures that ended so long ago.
const RECENT: Duration = Duration::from_mins(2);
/// So many answers tell what is usual.
const MIN_ANSWERS: u64 = 5;
/// Half of the usual answers take at most this part of the limit.
const QUICK: u64 = 4;
/// So many paths are named.
const MAX_NAMED: usize = 3;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let pass = subject.peer().and_then(|peer| case.pass_to(peer));
    let fits = |symptom: &Symptom| is_late(symptom, pass) || is_not_taken(symptom);
    let Some(mut found) = attempts(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    let Some(server) = server_behind(case, found.peer) else { return Ok(Ruling::NoSign) };
    let told = server.words(case)?;
    let full: Vec<&ServerWord> =
        told.words.into_iter().filter(|word| word.event == ServerEvent::PoolFull).collect();
    let is_silent = found.received() == Some(ProbeOutcome::TimedOut);
    let busy = busy_now(case, found.peer, &server, is_silent);
    let limit = pass.map_or(Duration::from_mins(1), |pass| pass.timeouts.read.value);
    let scene = Scene { case, found: &found, capacity: capacity(&server), limit };
    let waits = scene.waits();
    let judged = shortages(waits).into_iter().filter_map(|waits| scene.judge(waits, &full, busy.as_ref()));
    let judged: Vec<Shortage<'_>> = judged.collect();
    let Some(best) = judged.iter().max_by_key(|shortage| shortage.confidence) else {
        return Ok(Ruling::NoSign);
    };
    let (confidence, proofs) = (best.confidence, best.proofs.clone());
    let own: BTreeSet<FailureId> =
        judged.iter().flat_map(|shortage| shortage.waits.iter().map(|wait| wait.id)).collect();
    found.symptoms.retain(|(id, ..)| own.contains(id));
    let says = |n| format!("{} waited for the server in vain", count(n, "attempt"));
    let still_failing = found.still_failing(case, busy.is_some() && is_silent);
    let mut finding = found
        .finding(case, &CAUSE, confidence, subject, says)
        .with(proofs)
        .open(open_log(told.gap).filter(|_| confidence < Confidence::Confirmed))
        .still_failing(still_failing);
    finding.fails_clients_now = still_failing == Some(true) && case.is_felt(found.peer);
    let lacks = pressure::shortages(case, found.peer, &finding)?;
    finding.evidence.extend(lacks.into_iter().map(|shortage| shortage.evidence));
    Ok(Ruling::found(finding))
}

/// Whether a connection was not taken because the queue was full, or waited until nginx gave up.
fn is_not_taken(symptom: &Symptom) -> bool {
    let is_full = symptom.connect_failed(Errno::TryAgain);
    is_full || symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::Connecting)
}

/// An attempt that waited.
#[derive(Clone, Copy)]
struct Wait<'c> {
    id: FailureId,
    begin: Stamp,
    end: Stamp,
    failure: &'c Failure,
    /// Whether it was not even taken: then it cannot be one that a worker was at.
    is_not_taken: bool,
}

/// Attempts that waited at about the same time, as far as the shortage explains them.
struct Shortage<'c> {
    waits: Vec<Wait<'c>>,
    confidence: Confidence,
    proofs: Vec<Evidence>,
}

/// What all attempts on a peer are judged by.
struct Scene<'s, 'c> {
    case: &'c Case<'c>,
    found: &'s Unanswered<'c>,
    capacity: Option<Capacity>,
    /// How long nginx waits for an answer.
    limit: Duration,
}

/// The attempts in groups without a pause.
fn shortages(mut waits: Vec<Wait<'_>>) -> Vec<Vec<Wait<'_>>> {
    waits.sort_by_key(|wait| (wait.begin, wait.end, wait.id));
    let mut groups: Vec<Vec<Wait<'_>>> = Vec::new();
    for wait in waits {
        let is_near = |group: &Vec<Wait<'_>>| {
            group.iter().map(|other| other.end).max().is_some_and(|end| wait.begin <= end.after(MAX_PAUSE))
        };
        match groups.last_mut().filter(|group| is_near(group)) {
            Some(group) => group.push(wait),
            None => groups.push(vec![wait]),
        }
    }
    groups
}

impl<'c> Scene<'_, 'c> {
    fn waits(&self) -> Vec<Wait<'c>> {
        let wait = |(id, failure, symptom): &(FailureId, &'c Failure, &'c Symptom)| {
            let is_not_taken = is_not_taken(symptom);
            // Where no log tells how long it took, nginx's own timer does.
            let took = if symptom.connect_failed(Errno::TryAgain) { Duration::ZERO } else { self.limit };
            let begin = begin(failure, symptom).unwrap_or_else(|| failure.at.before(took));
            Wait { id: *id, begin, end: failure.at, failure, is_not_taken }
        };
        self.found.symptoms.iter().map(wait).collect()
    }

    /// What is known of attempts that waited at about the same time; `None` if no shortage.
    fn judge(
        &self,
        mut waits: Vec<Wait<'c>>,
        full: &[&ServerWord],
        busy: Option<&Evidence>,
    ) -> Option<Shortage<'c>> {
        let (begin, end) = (waits.first()?.begin, waits.iter().map(|wait| wait.end).max()?);
        // Whom a later one overtook was not in a queue: a worker was at it.
        let held = |wait: &Wait<'_>| !wait.is_not_taken && self.is_overtaken(wait);
        let queued: Vec<Wait<'c>> = waits.iter().filter(|wait| !held(wait)).copied().collect();
        if queued.is_empty() {
            return None;
        }
        waits.retain(|wait| queued.iter().any(|other| other.begin <= wait.end && wait.begin <= other.end));
        let words = || full.iter().copied().filter(|word| is_within(word, begin, end));
        let narrow = words().find(|word| is_narrow(word));
        let word = narrow.or_else(|| words().next());
        let is_recent = end.after(RECENT) >= self.case.facts.manifest.captured_at;
        let busy = busy.filter(|_| is_recent);
        let most = most_at_once(&waits);
        let limit = word.and_then(told_limit).or_else(|| self.capacity.as_ref().map(|own| own.n_requests));
        let is_over = limit.is_some_and(|limit| most > limit);
        let quick = queued.iter().find_map(|wait| self.quick(wait.failure));
        let is_queue_told = word.is_some_and(|word| told_limit(word).is_none());
        let is_refused = queued.iter().any(|wait| wait.is_not_taken);
        // That more waited than it works on shows that they were in a queue; otherwise those that waited may be those that
        // were slow, unless several pages of a quick route are among them.
        let is_queued = is_over || is_queue_told || is_refused;
        let paths: BTreeSet<Option<&str>> = waits.iter().map(|wait| wait.failure.path.as_deref()).collect();
        let is_broad = quick.is_some() && paths.len() > 1;
        let is_inferred = is_over && word.is_none() && !is_refused && is_broad && self.is_alive(begin);
        let is_seen = narrow.is_some() && is_queued || busy.is_some() && (is_queued || is_broad);
        let confidence = if is_seen {
            Confidence::Confirmed
        } else if word.is_some() && (is_queued || is_broad) || is_inferred {
            Confidence::Likely
        } else if word.is_some() {
            Confidence::Possible
        } else {
            return None;
        };
        let mut proofs: Vec<Evidence> = word.map(word_evidence).into_iter().chain(busy.cloned()).collect();
        proofs.extend(quick);
        proofs.extend(self.over(most).filter(|_| is_over));
        Some(Shortage { waits, confidence, proofs })
    }

    /// Whether a request that began later was answered by the peer while an attempt waited. Stamps are cut to the second.
    fn is_overtaken(&self, wait: &Wait<'_>) -> bool {
        let second = Duration::from_secs(1);
        let routes = self.found.peer.routes.iter();
        let mut successes =
            routes.flat_map(|route| self.case.successes_of(*route)).filter(|success| match &success.peer {
                Some(own) => *own == self.found.peer.address,
                None => self.case.is_single(self.found.peer),
            });
        successes.any(|success| {
            let took = Duration::from_millis(success.request_ms.unwrap_or(0).into());
            let is_known = success.request_ms.is_some();
            is_known
                && success.at.after(second) <= wait.end
                && success.at.before(took) >= wait.begin.after(second)
        })
    }

    /// That the route of a request is usually quick.
    fn quick(&self, failure: &Failure) -> Option<Evidence> {
        let answers = self.case.answers_of(Some(failure.route?));
        let half = (answers.n_answers() >= MIN_ANSWERS).then(|| answers.times.quantile(500)).flatten()?;
        let is_quick = u128::from(half) * u128::from(QUICK) <= self.limit.as_millis();
        let number = count(answers.n_answers(), "successful answer");
        let says = format!("half of {number} of this route took at most {}", seconds(half));
        is_quick.then(|| Evidence::supporting(says, Origin::Derived))
    }

    /// That more waited at once than the server works on.
    fn over(&self, most: u64) -> Option<Evidence> {
        let capacity = self.capacity.as_ref()?;
        let server = server_behind(self.case, self.found.peer)?;
        let says =
            format!("{} waited at once, and the server has {}", count(most, "request"), capacity.words);
        Some(Evidence::supporting(says, command_line(&server)))
    }

    /// Whether the server answered anything since: one that hangs answers nobody.
    fn is_alive(&self, begin: Stamp) -> bool {
        let answered = self.case.last_success(self.found.peer).is_some_and(|(at, _)| at > begin);
        answered || self.found.report().is_some_and(|report| report.answer.is_some())
    }
}

/// How many of some attempts waited at the same time, at most.
fn most_at_once(waits: &[Wait<'_>]) -> u64 {
    let at = |moment: Stamp| {
        let own = waits.iter().filter(|wait| wait.begin <= moment && wait.end > moment);
        own.map(|wait| wait.failure.weight).sum()
    };
    waits.iter().map(|wait| at(wait.begin)).max().unwrap_or(0)
}

/// How many children PHP-FPM says that it may have.
fn told_limit(word: &ServerWord) -> Option<u64> {
    let (_, rest) = word.line.split_once("max_children setting (")?;
    rest.split_once(')')?.0.parse().ok()
}

/// The server of a finding.
fn server<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<Server<'c>> {
    server_behind(case, finding.peer()?)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let name = server(case, finding).map_or_else(|| finding.address(), |server| server.name(case));
    Explanation {
        title: format!("all workers of {name} are busy, and requests wait for one in vain"),
        why: "The server works on so many requests at once and no more. Slow ones hold all of its workers, so that the others \
              wait in its queue, quick ones too, until nginx gives up and answers 504, or the queue is full and nginx \
              answers 502."
            .to_owned(),
        wont_help: vec![
            "raising the read timeout: clients wait longer in the same queue, and more of them at once".to_owned(),
            "a longer listen backlog: a longer queue is not served any faster".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(server) = server(case, finding) else { return Vec::new() };
    let (settings, slow_log) = words_of(&server, finding.peer());
    let paths = finding.explains.iter().filter_map(|id| case.failure(*id).path.as_deref());
    let paths: BTreeSet<&str> = paths.collect();
    let named = match paths.len() {
        0 => String::new(),
        1..=MAX_NAMED => {
            format!(" (those that failed are {})", paths.into_iter().collect::<Vec<_>>().join(", "))
        }
        n_paths => format!(" ({n_paths} different pages failed: most of them only waited)"),
    };
    let lacking = finding.peer().map(|peer| pressure::remedies(case, finding, peer)).unwrap_or_default();
    let more_workers = "Give the server more workers, as far as memory allows";
    let own = [
        Remedy::new("Find the slow requests that hold the workers", Risk::ShowOnly)
            .advice(format!(
                "the requests that are slow by themselves are the root{named}: {slow_log}; give the calls that they make \
                 a time limit, or move the work into the background"
            ))
            .verify("quick pages answer in their usual time under the same load"),
        Remedy::new(more_workers, Risk::ShowOnly).advice(format!(
            "raise {settings}; every one of them takes the memory that one takes now, and all together must fit into the host's \
             memory or the limit of its cgroup; while the work stays as slow, more workers only fill later"
        )),
    ];
    // More workers get nothing done where all of them share too little of a processor.
    lacking.into_iter().chain(own).collect()
}

/// What sets how many workers a server has, and where it tells what they do.
fn words_of(server: &Server<'_>, peer: Option<&PeerSubject>) -> (String, &'static str) {
    let log = "look into its own log for requests that take long";
    if is_program(server.master, "gunicorn") {
        return ("gunicorn's --workers, or --threads where the work only waits for others".to_owned(), log);
    }
    if is_program(server.master, "uwsgi") {
        let settings =
            "uWSGI's processes (--processes), or threads (--threads) where the work only waits for others";
        return (settings.to_owned(), "set log-slow, and look for the requests that it writes");
    }
    if is_program(server.master, "php-fpm") {
        let socket = peer.map_or_else(String::new, |peer| format!(" that listens on {}", peer.address));
        let slow = "set request_slowlog_timeout and slowlog in its pool, which then tells where they wait";
        return (format!("pm.max_children of the PHP-FPM pool{socket}"), slow);
    }
    ("how many workers or threads it has".to_owned(), log)
}

#[cfg(test)]
mod tests;
