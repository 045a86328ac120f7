//! # upstream-hung
//!
//! ## What happens
//!
//! The backend is there and answers nothing at all, on any route: its processes are stopped (SIGSTOP, a debugger, a paused
//! container), sleep in the kernel where no signal reaches them (a dead disk or network file system), or wait for each other
//! or for somebody else who never answers. The kernel still takes connections for it, until its accept queue is full. True
//! for every version of nginx.
//!
//! ## What you see
//!
//! `upstream timed out (110: Connection timed out) while reading response header from upstream` and a 504 on every route to
//! it since one moment, `while SSL handshaking to upstream` where TLS is spoken, and `while connecting to upstream` once its
//! queue is full. Nothing in the access log is answered any more.
//!
//! ## How we know
//!
//! Confirmed: no request was answered since, it takes a connection and answers nothing, and its processes show why: all that
//! serve are stopped or frozen, or in uninterruptible sleep; connections wait to be accepted and nobody who could take them
//! runs; all threads wait for locks; or they wait for an answer on a connection of their own. Likely: it runs without end or
//! does not run at all, and two requests of ours or three routes got no answer; or nobody may look at it, and three routes
//! and a request of ours got none since one moment.
//!
//! ## What would disprove it
//!
//! Any answer since, also to a page that nobody has; workers that are at work, each with a request.
//!
//! ## What to do
//!
//! Find out who stopped it and let it go on; or see what its threads wait for, and restart it. Where its control group is throttled
//! all the time, raise its quota of processor time.
//!
//! ## Not to be confused with
//!
//! `upstream-slow` (some routes answer), `upstream-pool-exhausted` (its workers are busy, each with a request),
//! `listen-backlog-full` (its queue is too short while it works), `upstream-connect-timeout` (no connection at all).
//!
//! ## References
//!
//! proc(5): `/proc/PID/stat`, `wchan`, `syscall`; Linux: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst; nginx:
//! `ngx_http_upstream_process_header`, `ngx_http_upstream_ssl_init_connection`.

mod stuck;

use super::app_server::{Server, server_behind};
use super::late_answers::{begin, is_late};
use super::pressure::{self, shortages};
use super::unanswered::{Unanswered, attempts};
use super::upstream_send_timeout::is_unread;
use super::workers::busy_now;
use crate::case::{Case, PeerSubject, Reach, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::plan::elsewhere_spec;
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use std::time::Duration;
use stuck::{Stuck, serving, stuck};
use why502_facts::{Observed, Phase, Phrase, ProbeOutcome, ProbeReport, Stamp, StepKind};
use why502_model::RouteId;

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-hung",
    layer: Layer::Response,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502, 504],
    scope: Scope::Peer,
    supersedes: &[
        "connect-timeout-too-short",
        "listen-backlog-full",
        "read-timeout-too-short",
        "upstream-connect-timeout",
        "upstream-pool-exhausted",
        "upstream-send-timeout",
        "upstream-slow",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_hung.rs"),
};

/// Stamps of logs are cut to the second.
const SECOND: Duration = Duration::from_secs(1);
/// So many routes without an answer are more than slow work of one of them.
const MIN_ROUTES: usize = 3;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let pass = subject.peer().and_then(|peer| case.pass_to(peer));
    let fits = |symptom: &Symptom| is_late(symptom, pass) || is_stalled(symptom);
    let Some(found) = attempts(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    let since = first_begin(&found);
    // Stamps of both are cut: an answer of the same second may have been given before.
    if case.last_success(found.peer).is_some_and(|(at, _)| at >= since.after(SECOND)) {
        return Ok(Ruling::NoSign);
    }
    let probed = probed(case, &found);
    if probed == Probed::Answered {
        return Ok(Ruling::NoSign);
    }
    let server = server_behind(case, found.peer).filter(|_| case.is_local(&found.peer.address));
    let seen = look(case, &found, server.as_ref(), probed)?;
    if let Elsewhere::Answered(evidence) = seen.elsewhere {
        return Ok(Ruling::RuledOut(vec![evidence]));
    }
    let Some(confidence) = seen.confidence(case, &found, probed, server.is_some()) else {
        return Ok(Ruling::NoSign);
    };
    let evidence = seen.evidence(case, &found, probed);
    let still_failing = found.still_failing(case, probed == Probed::Silent);
    let says = |n| format!("{} got no answer, and none was given since", count(n, "attempt"));
    let mut finding =
        found.finding(case, &CAUSE, confidence, subject, says).with(evidence).still_failing(still_failing);
    finding.fails_clients_now = still_failing == Some(true) && case.is_felt(found.peer);
    let lacks = shortages(case, found.peer, &finding)?;
    finding.evidence.extend(lacks.into_iter().map(|shortage| shortage.evidence));
    Ok(Ruling::found(finding))
}

/// Whether an attempt ran into a timer before anything could be answered.
fn is_stalled(symptom: &Symptom) -> bool {
    let is_before =
        matches!(symptom.phase, Some(Phase::Connecting | Phase::TlsHandshake | Phase::SendingRequest));
    symptom.is(Phrase::UpstreamTimedOut) && is_before
}

/// When the first of the attempts began, as far as the logs tell.
fn first_begin(found: &Unanswered<'_>) -> Stamp {
    let begins = found.symptoms.iter();
    let begins = begins.map(|(_, failure, symptom)| begin(failure, symptom).unwrap_or(failure.at));
    begins.min().unwrap_or(Stamp(i64::MAX))
}

/// What became of our own request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probed {
    /// It was answered, or ended otherwise.
    Answered,
    /// Nobody could ask.
    NotAsked,
    /// It took the connection, or it did not, and said nothing.
    Silent,
}

fn probed(case: &Case<'_>, found: &Unanswered<'_>) -> Probed {
    match &found.probe {
        Observed::Known(report) if is_silent(report) => Probed::Silent,
        // Of a full queue only those see the silence that come too late.
        Observed::Known(_) if case.reach(found.peer) == Observed::Known(Reach::Silent) => Probed::Silent,
        Observed::Known(_) | Observed::Absent => Probed::Answered,
        Observed::Unknown(_) => Probed::NotAsked,
    }
}

/// Whether a peer took a connection and said nothing.
fn is_silent(report: &ProbeReport) -> bool {
    let timed_out = |kind: StepKind| report.outcome(kind) == Some(ProbeOutcome::TimedOut);
    let has_said_nothing = report.answer.is_none() && report.received.as_slice().is_empty();
    has_said_nothing && (timed_out(StepKind::Receive) || timed_out(StepKind::Handshake))
}

/// What a request for another page came to.
enum Elsewhere {
    Answered(Evidence),
    NotAsked,
    Silent(Evidence),
}

/// What is seen of the backend now.
struct Seen<'c> {
    stuck: Option<Stuck<'c>>,
    elsewhere: Elsewhere,
    /// Whether its workers are at work, each with a request.
    is_busy: bool,
    n_routes: usize,
}

/// Looks at the processes; where these do not show why, another page is asked for. An error asks for one of both.
fn look<'c>(
    case: &'c Case<'_>,
    found: &Unanswered<'c>,
    server: Option<&Server<'c>>,
    probed: Probed,
) -> Result<Seen<'c>, Asks> {
    let waits = server.map(|server| or_ask(case.facts.waiting(&serving(server)))).transpose()?;
    let waits = waits.and_then(Observed::known).map_or(&[][..], Vec::as_slice);
    let stuck = server.and_then(|server| stuck(case, found.peer, server, waits));
    let is_busy =
        server.is_some_and(|server| busy_now(case, found.peer, server, probed == Probed::Silent).is_some());
    // Each silence costs the time of a probe.
    let is_known = is_busy || stuck.as_ref().is_some_and(|stuck| stuck.cannot_run() || stuck.serves_nobody());
    let spec = (probed == Probed::Silent && !is_known).then(|| elsewhere_spec(case, found.peer)).flatten();
    let other = spec.as_ref().map(|spec| or_ask(case.probe_with(found.peer, spec))).transpose()?;
    let elsewhere = match (spec, other) {
        (Some(spec), Some(Observed::Known(report))) => {
            let origin = Origin::Probe(case.probe_ask(found.peer, &spec));
            if report.answer.is_some() {
                Elsewhere::Answered(Evidence::against(
                    "it answers a request for another page at once",
                    origin,
                ))
            } else if is_silent(report) {
                let says = "a request for a page that nobody has got no answer either";
                Elsewhere::Silent(Evidence::supporting(says, origin))
            } else {
                Elsewhere::NotAsked
            }
        }
        _ => Elsewhere::NotAsked,
    };
    let routes: BTreeSet<RouteId> =
        found.symptoms.iter().filter_map(|(_, failure, _)| failure.route).collect();
    Ok(Seen { stuck, elsewhere, is_busy, n_routes: routes.len() })
}

impl Seen<'_> {
    fn confidence(
        &self,
        case: &Case<'_>,
        found: &Unanswered<'_>,
        probed: Probed,
        is_visible: bool,
    ) -> Option<Confidence> {
        let is_silent = probed == Probed::Silent;
        let is_silent_elsewhere = matches!(self.elsewhere, Elsewhere::Silent(_));
        let is_all = self.n_routes > 1 && self.n_routes == found.peer.routes.len();
        let is_broad = self.n_routes >= MIN_ROUTES || is_all && self.stuck.is_some();
        match &self.stuck {
            // The kernel's own word for it.
            Some(stuck) if stuck.cannot_run() => Some(Confidence::Confirmed),
            _ if self.is_busy => None,
            Some(stuck) if stuck.serves_nobody() && is_silent => Some(Confidence::Confirmed),
            Some(stuck) if stuck.is_mechanism() && is_silent && (is_broad || is_silent_elsewhere) => {
                Some(Confidence::Confirmed)
            }
            // Whoever takes connections and leaves uploads unread is upstream-send-timeout: that it rests shows nothing more.
            Some(Stuck::Idle(..)) if found.symptoms.iter().all(|(.., symptom)| is_unread(symptom)) => None,
            Some(_) if is_silent && (is_broad || is_silent_elsewhere) => Some(Confidence::Likely),
            Some(_) => Some(Confidence::Possible),
            // It was looked at, and something else may hold it up.
            None if is_visible => (is_silent && is_broad).then_some(Confidence::Possible),
            None if is_silent && (is_broad || is_silent_elsewhere) => Some(Confidence::Likely),
            // By logs alone: it answered before, and since one moment nothing at all.
            None if is_broad && probed == Probed::NotAsked => {
                let has_answered = case.last_success(found.peer).is_some();
                Some(if has_answered { Confidence::Likely } else { Confidence::Possible })
            }
            None => None,
        }
    }

    fn evidence(self, case: &Case<'_>, found: &Unanswered<'_>, probed: Probed) -> Vec<Evidence> {
        let mut evidence: Vec<Evidence> = self.stuck.iter().map(Stuck::evidence).collect();
        if probed == Probed::Silent {
            let says = "it left a request of ours without an answer";
            evidence.push(Evidence::supporting(says, case.probe_origin(found.peer)));
        }
        if let Elsewhere::Silent(own) = self.elsewhere {
            evidence.push(own);
        }
        if self.n_routes > 1 {
            let says = format!("no route to it was answered since: {}", count(self.n_routes as u64, "route"));
            evidence.push(Evidence::supporting(says, Origin::Derived));
        }
        if let Some((at, line)) = case.last_success(found.peer) {
            let says = format!("it answered for the last time at {at}");
            evidence.push(Evidence::context(says, Origin::Log(line.clone())));
        }
        let queue = case.sockets().known().map_or(0, |table| table.queue(&found.peer.address));
        if queue > 0 {
            let says = format!("{} waited to be accepted", count(queue, "connection"));
            evidence.push(Evidence::context(says, case.sockets_origin()));
        }
        evidence
    }
}

/// What holds the server of a finding up, as far as that is seen.
fn stuck_of<'c>(case: &'c Case<'_>, peer: &PeerSubject) -> Option<(Server<'c>, Stuck<'c>)> {
    let server = server_behind(case, peer)?;
    let waits = case.facts.waiting(&serving(&server)).known().map_or(&[][..], Vec::as_slice);
    let stuck = stuck(case, peer, &server, waits)?;
    Some((server, stuck))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let seen = finding.peer().and_then(|peer| stuck_of(case, peer));
    let title = match &seen {
        Some((server, stuck)) => format!("{} behind {address} {}", server.name(case), stuck.title()),
        None => format!("{address} takes connections and answers nothing, on any route"),
    };
    Explanation {
        title,
        why: "The kernel accepts connections for a listening socket on its own. Whoever should read them does not run, so that \
              every request waits until nginx's timer ends it with a 504."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout: nothing will ever be answered, and clients wait longer for the error".to_owned(),
            "raising proxy_connect_timeout or the backlog: a longer queue in front of somebody who does not work".to_owned(),
            "reloading nginx: it does what it should".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(peer) = finding.peer() else { return Vec::new() };
    let restart = Remedy::new("See what it waits for, then restart it", Risk::ShowOnly)
        .advice(format!(
            "first take what shows where it stands (a thread dump: py-spy dump, jstack, kill -QUIT for a JVM, gdb; cat \
             /proc/PID/stack), then restart the service behind {}; a timeout on every call that it makes keeps it from \
             waiting for ever",
            peer.address
        ))
        .verify("requests of all routes are answered again");
    let mut remedies = match stuck_of(case, peer) {
        Some((_, stuck)) => stuck.remedy(restart),
        None => vec![restart],
    };
    remedies.extend(pressure::remedies(case, finding, peer));
    remedies
}

#[cfg(test)]
mod tests;
