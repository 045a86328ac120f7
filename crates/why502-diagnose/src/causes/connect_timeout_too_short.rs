//! # connect-timeout-too-short
//!
//! ## What happens
//!
//! The upstream does accept, but later than `proxy_connect_timeout` allows (each protocol has a directive of its own,
//! such as `fastcgi_connect_timeout`; 60 s unless set). A far or lossy network, a server that is slow to shake hands: with TLS the
//! timer holds until the handshake is done. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream timed out (110: Connection timed out) while connecting to upstream`, or `while SSL handshaking to upstream`,
//! and a 504 after just that time; other requests of the same route are answered.
//!
//! ## How we know
//!
//! Confirmed: a connection that is made in nginx's place stands, and only after the time that the route's timer allows.
//! Likely: that takes half of this time or more, or three requests and more were answered on connections that took so long by
//! their `$upstream_connect_time`; or the first packet was lost and repeated: one may be lost by chance, and to this very host
//! only the server's full queue or a packet filter loses it. Possible: fewer took so long, or connections are made at once by now.
//!
//! ## What would disprove it
//!
//! A connection attempt that gets no answer at all, however long one waits; connections that are made in no time.
//!
//! ## What to do
//!
//! Raise the timer that is in force for this route above what a connection takes. A time just above 1 s, 3 s or another whole
//! number of seconds is that of a first packet (SYN) that was lost and repeated: look for what loses it as well.
//!
//! ## Not to be confused with
//!
//! `upstream-connect-timeout` (nobody ever answers), `firewall-dropped`, `listen-backlog-full` (the server does not accept
//! fast enough, and SYNs are dropped for that), `dns-stale-address`; `read-timeout-too-short` (the connection stood in time);
//! `tls-to-plaintext-upstream` (a handshake that never ends).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_connect` and `ngx_http_upstream_ssl_init_connection` (both arm `u->conf->connect_timeout`, and
//! a timer that runs goes on), `ngx_http_upstream_send_request_handler`; tcp(7), `tcp_syn_retries`; RFC 6298, section 2.

use super::timer::{Timer, milliseconds};
use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::durations::seconds;
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use crate::timers::comes_to;
use std::collections::BTreeMap;
use why502_facts::{Gap, Observed, PeerAddress, Phase, Phrase, ProbeOutcome, ProbeReport, StepKind};
use why502_model::{Pass, RouteId, Span};

pub(super) static CAUSE: Cause = Cause {
    id: "connect-timeout-too-short",
    layer: Layer::Connect,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[504],
    scope: Scope::Peer,
    supersedes: &["upstream-connect-timeout"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("connect_timeout_too_short.rs"),
};

/// So many slow connections are more than a mishap.
const MIN_SLOW: u64 = 3;
/// A first packet that is lost is repeated after whole seconds, and the answer comes so much later at most, in milliseconds.
const ROUND_TRIP: u32 = 150;
/// For so many seconds it is repeated at such times.
const LAST_REPEATED: u32 = 15;

/// A peer that connections are given up to, and how long they take.
struct Connecting<'c> {
    peer: &'c PeerSubject,
    waited: Observed<Waited>,
    /// Those of the surest.
    routes: Vec<Limited<'c>>,
    confidence: Confidence,
}

/// The attempts of a route that its timer ended.
struct Limited<'c> {
    route: RouteId,
    pass: &'c Pass,
    timer: Timer,
    attempts: Vec<(FailureId, &'c Failure, &'c Symptom)>,
    /// How many connections were made that took half of that time or more.
    n_slow: u64,
}

/// What became of a probe's connection, TLS included where the route has it, after how many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    /// It stands.
    Made(u32),
    /// Nothing came in that time.
    Silent(u32),
    /// It ended in another way.
    Failed,
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(found) = connecting(case, subject)? else { return Ok(Ruling::NoSign) };
    let attempts = || found.routes.iter().flat_map(|limited| limited.attempts.iter().copied());
    let Some(limited) = found.routes.first() else { return Ok(Ruling::NoSign) };
    let within = limited.timer.words();
    let shown =
        Case::lines_evidence(attempts(), |n| format!("{} not made within {within}", count(n, "connection")));
    let gap = found.waited.gap().cloned();
    let is_now = matches!(found.waited, Observed::Known(Waited::Made(ms)) if ms >= limited.timer.configured);
    let last = attempts().map(|(_, failure, _)| failure.at).max();
    let is_changed = limited.timer.ended_at.is_some() && case.gateway.loaded > last;
    let at = limited.timer.at.clone().unwrap_or_else(|| limited.pass.at.clone());
    let mut finding = Finding::new(&CAUSE, found.confidence, subject)
        .explaining(attempts().map(|(id, ..)| id))
        .still_failing(if is_now { Some(true) } else { is_changed.then_some(false) })
        .with(shown)
        .with([limited.timer.evidence()])
        .with(probed(case, &found))
        .with(answered_late(case, &found, limited))
        .with(lost_here(case, found.peer, &found.waited))
        .open(gap.map(|gap: Gap| Case::open(gap, "how long a connection takes now")))
        .at([at]);
    finding.fails_clients_now = is_now && case.is_felt(found.peer);
    Ok(Ruling::found(finding))
}

/// The connections to a subject's peer that a timer ended, and that it would have let stand; `None` if there are none.
fn connecting<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Connecting<'c>>, Asks> {
    let Some(peer) = subject.peer().filter(|peer| peer.address.unix_path().is_none()) else {
        return Ok(None);
    };
    let mut of_routes: BTreeMap<RouteId, Vec<(FailureId, &Failure, &Symptom)>> = BTreeMap::new();
    for (id, failure, symptom) in case.symptoms_of(peer) {
        if let Some(route) = symptom.route.or(failure.route)
            && case.pass_of(route, peer.group).is_some_and(|pass| is_given_up(symptom, pass))
        {
            of_routes.entry(route).or_default().push((id, failure, symptom));
        }
    }
    if of_routes.is_empty() {
        return Ok(None);
    }
    let probe = or_ask(case.probe(peer))?;
    let waited = probe.map(|report| waited(report, case.pass_to(peer).is_some_and(|pass| pass.tls)));
    let is_lost_here = lost_here(case, peer, &waited).is_some();
    let judged = of_routes.into_iter().filter_map(|(route, attempts)| {
        let pass = case.pass_of(route, peer.group)?;
        let ended = attempts.iter().filter_map(|(_, _, symptom)| symptom.tried.as_ref()?.response_ms);
        let name = format!("{}_connect_timeout", pass.protocol.prefix());
        let timer = Timer::new(name, &pass.timeouts.connect, ended);
        let n_slow = case.n_slow_connects(route, peer, least_slow(&timer, &waited));
        let confidence = confidence(&timer, &waited, n_slow)?;
        // One first packet that was lost may have been chance.
        let is_chance = is_repeated(&waited) && n_slow < MIN_SLOW;
        let confidence =
            if is_lost_here || is_chance { confidence.min(Confidence::Likely) } else { confidence };
        Some((confidence, Limited { route, pass, timer, attempts, n_slow }))
    });
    let judged: Vec<(Confidence, Limited<'_>)> = judged.collect();
    let Some(confidence) = judged.iter().map(|(confidence, _)| *confidence).max() else { return Ok(None) };
    let of_surest = judged.into_iter().filter(|(own, _)| *own == confidence);
    let routes = of_surest.map(|(_, limited)| limited).collect();
    Ok(Some(Connecting { peer, waited, routes, confidence }))
}

/// Whether a probe's first packet was repeated.
fn is_repeated(waited: &Observed<Waited>) -> bool {
    matches!(waited, Observed::Known(Waited::Made(ms)) if repeated(*ms).is_some())
}

/// Whether the timer ended a connection attempt or a handshake.
fn is_given_up(symptom: &Symptom, pass: &Pass) -> bool {
    if symptom.phrase.is_some() {
        return symptom.is(Phrase::UpstreamTimedOut)
            && matches!(symptom.phase, Some(Phase::Connecting | Phase::TlsHandshake));
    }
    // Without a word of the error log: nginx's own 504, and no connection, after just that time.
    let limit = milliseconds(pass.timeouts.connect.value);
    symptom.logged.connect
        && symptom.tried.as_ref().is_some_and(|tried| {
            tried.status == Some(504)
                && tried.connect_ms.is_none()
                && tried.response_ms.is_some_and(|ms| comes_to(ms, limit))
        })
}

/// What counts as slow: half of the limit; where nothing answers by now, what is slower than that.
fn least_slow(timer: &Timer, waited: &Observed<Waited>) -> u32 {
    let half = timer.in_force().div_ceil(2);
    if let Observed::Known(Waited::Silent(ms)) = waited { half.max(*ms) } else { half }
}

/// How sure it is that the limit is too short; `None` where nothing speaks of it.
fn confidence(timer: &Timer, waited: &Observed<Waited>, n_slow: u64) -> Option<Confidence> {
    let limit = timer.in_force();
    let by_log = match n_slow {
        0 => None,
        n if n < MIN_SLOW => Some(Confidence::Possible),
        _ => Some(Confidence::Likely),
    };
    match waited {
        Observed::Known(Waited::Made(ms)) if *ms >= limit => Some(Confidence::Confirmed),
        Observed::Known(Waited::Made(ms)) if *ms >= limit.div_ceil(2) => Some(Confidence::Likely),
        Observed::Known(Waited::Made(_) | Waited::Failed) => by_log.map(|_| Confidence::Possible),
        Observed::Known(Waited::Silent(ms)) if *ms >= limit => None,
        Observed::Known(Waited::Silent(_)) | Observed::Absent | Observed::Unknown(_) => by_log,
    }
}

/// What became of a probe's connection.
fn waited(report: &ProbeReport, tls: bool) -> Waited {
    let mut micros = 0;
    let kinds = [StepKind::Connect].into_iter().chain(tls.then_some(StepKind::Handshake));
    for kind in kinds {
        let Some(step) = report.steps.iter().find(|step| step.kind == kind) else { return Waited::Failed };
        micros += step.micros;
        let waited = u32::try_from(micros / 1000).unwrap_or(u32::MAX);
        match step.outcome {
            ProbeOutcome::Done => {}
            ProbeOutcome::TimedOut => return Waited::Silent(waited),
            ProbeOutcome::Closed | ProbeOutcome::Failed(_) | ProbeOutcome::Refused => return Waited::Failed,
        }
    }
    Waited::Made(u32::try_from(micros / 1000).unwrap_or(u32::MAX))
}

/// What a probe tells of the time that a connection takes now.
fn probed(case: &Case<'_>, found: &Connecting<'_>) -> Option<Evidence> {
    let Observed::Known(Waited::Made(ms)) = found.waited else { return None };
    let origin = case.probe_origin(found.peer);
    let is_slow = found.routes.iter().any(|limited| ms >= limited.timer.in_force().div_ceil(2));
    if !is_slow {
        return Some(Evidence::against(format!("a connection is made after {} now", seconds(ms)), origin));
    }
    let repeated = repeated(ms).map_or_else(String::new, |after| {
        format!(", as if the first packet (SYN) had been lost and repeated after {after} s")
    });
    let what = if found.routes.iter().any(|limited| limited.pass.tls) { ", with TLS" } else { "" };
    Some(Evidence::supporting(format!("a connection stands after {}{what}{repeated}", seconds(ms)), origin))
}

/// After how many seconds a first packet was repeated, if a connection took just as long.
fn repeated(ms: u32) -> Option<u32> {
    let after = ms / 1000;
    ((1..=LAST_REPEATED).contains(&after) && ms % 1000 <= ROUND_TRIP).then_some(after)
}

/// Requests that were answered on connections that took long to be made.
fn answered_late(case: &Case<'_>, found: &Connecting<'_>, limited: &Limited<'_>) -> Option<Evidence> {
    if limited.n_slow == 0 {
        return None;
    }
    let least = least_slow(&limited.timer, &found.waited);
    let successes = case.successes_of(limited.route).filter(|success| {
        success.peer.as_ref().is_none_or(|own: &PeerAddress| *own == found.peer.address)
            && success.connect_ms >= Some(least.max(1))
    });
    let line = successes.max_by_key(|success| success.connect_ms);
    let origin = line.map_or(Origin::Derived, |success| Origin::Log(success.line.clone()));
    let made = count(limited.n_slow, "connection");
    Some(Evidence::supporting(
        format!("{made} that took {} or more stood in the end", seconds(least)),
        origin,
    ))
}

/// That first packets to an address of this very host are lost. Nothing loses them on the way: a queue that is full, or a packet
/// filter, drops them.
fn lost_here(case: &Case<'_>, peer: &PeerSubject, waited: &Observed<Waited>) -> Option<Evidence> {
    let Observed::Known(Waited::Made(ms)) = waited else { return None };
    repeated(*ms)?;
    if !matches!(peer.address, PeerAddress::Inet(_)) || !case.is_local(&peer.address) {
        return None;
    }
    let queue = case.sockets().known().map_or(0, |table| table.queue(&peer.address));
    let says = match queue {
        0 => "it is on this host, where only a full queue of the server or a packet filter loses packets"
            .to_owned(),
        _ => format!("{} waiting to be accepted there: its queue may be full", count(queue, "connection")),
    };
    Some(Evidence::against(says, case.sockets_origin()))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let found = finding.subjects.first().and_then(|subject| connecting(case, subject).ok().flatten());
    let limited = found.as_ref().and_then(|found| found.routes.first());
    let words = limited.map_or_else(|| "the connect timeout".to_owned(), |limited| limited.timer.words());
    // How long it takes differs from one connection to the next: the evidence tells it.
    let is_seen = found.as_ref().is_some_and(|found| found.confidence == Confidence::Confirmed);
    let is_tls = limited.is_some_and(|limited| limited.pass.tls);
    let takes = match (is_seen, is_tls) {
        (true, true) => ": a connection with TLS takes longer",
        (true, false) => ": a connection takes longer",
        (false, _) => "",
    };
    let title = format!("{words} is too short for {}{takes}", finding.address());
    Explanation {
        title,
        why: "nginx gives a connection so long to be made, the TLS handshake included, then closes it and answers 504. The \
              upstream would have accepted it a little later."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout or proxy_send_timeout: the connection did not stand yet".to_owned(),
            "speeding up the application: it never saw the request".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    let mut edited: Vec<Span> = Vec::new();
    for found in finding.subjects.iter().filter_map(|subject| connecting(case, subject).ok().flatten()) {
        for limited in &found.routes {
            let at = limited.timer.at.clone().unwrap_or_else(|| limited.pass.at.clone());
            if !edited.contains(&at) {
                edited.push(at);
                remedies.push(remedy(case, &found, limited));
            }
        }
    }
    remedies
}

fn remedy(case: &Case<'_>, found: &Connecting<'_>, limited: &Limited<'_>) -> Remedy {
    let timer = &limited.timer;
    let measured = match found.waited {
        Observed::Known(Waited::Made(ms)) => ms.max(timer.in_force()),
        _ => timer.in_force(),
    };
    let wanted = enough(measured);
    if wanted * 1000 <= timer.configured {
        let advice = format!("{} is {} by now", timer.name, seconds(timer.configured));
        let kept = Remedy::new("Keep the limit that is configured by now", Risk::ShowOnly).advice(advice);
        return kept.verify("no new 504 of this route");
    }
    let mut advice = Vec::new();
    let own = &case.gateway.route(limited.route).at;
    if timer.at.as_ref().is_some_and(|at| !case.gateway.is_directly_in(at, own)) {
        advice.push(
            "this line is in force for other routes, too: set beside the pass it holds for this one alone"
                .to_owned(),
        );
    }
    if let Some(after) = repeated(measured) {
        advice.push(format!(
            "and find what loses the first packet, which is repeated after {after} s: a queue of the server that is full, a packet \
             filter, the network on the way"
        ));
    } else if limited.pass.tls {
        advice.push("and see what the server does so long in the handshake".to_owned());
    }
    let value = format!("{wanted}s");
    let mut remedy = Remedy::new(format!("Raise {} to {value}", timer.name), Risk::Review)
        .verify("no new 504 of this route");
    if !advice.is_empty() {
        remedy = remedy.advice(advice.join("; "));
    }
    let directive = [(timer.name.clone(), vec![value], timer.at.clone())];
    for (at, text) in case.gateway.set_directives(&limited.pass.at, &directive) {
        remedy = remedy.edit(at, text);
    }
    remedy
}

/// A limit in seconds that leaves room above what was measured: for a packet that is lost once more, where that was the
/// reason.
fn enough(ms: u32) -> u32 {
    match repeated(ms) {
        Some(after) => after * 2 + 2,
        None => ms.saturating_mul(2).div_ceil(1000).max(1),
    }
}

#[cfg(test)]
mod tests;
