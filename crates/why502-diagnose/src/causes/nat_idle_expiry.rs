//! # nat-idle-expiry
//!
//! ## What happens
//!
//! A box between nginx and the backend keeps state of connections (NAT, a stateful filter, a load balancer), and forgets one that was
//! idle for a while. Neither end learns of it: there is no FIN. nginx sends the next request on the kept connection, and the box drops it
//! or answers with a reset. True for every version that keeps connections to upstreams.
//!
//! ## What you see
//!
//! Now and then, after quiet minutes, `upstream timed out (110: Connection timed out) while reading response header from upstream` and a 504,
//! or `recv() failed (104: Connection reset by peer)` and a 502, with an `$upstream_connect_time` of 0.000: a connection that was used
//! before. The same request on a new connection is answered at once.
//!
//! ## How we know
//!
//! Likely: a connection of the probe was idle for some seconds, the peer did not close it, and the same request on it that was answered
//! before gets nothing more or a reset, while new connections are answered. Never confirmed: the box itself is not seen.
//!
//! ## What would disprove it
//!
//! A FIN of the peer before that, or an answer on the connection that was idle. That no probe waited as long as the box
//! does proves nothing.
//!
//! ## What to do
//!
//! Let nginx end idle connections before the box does (`keepalive_timeout` in the `upstream` block, since 1.15.3), or keep them busy
//! (`proxy_socket_keepalive on` and a `net.ipv4.tcp_keepalive_time` below the box's patience), or raise that.
//!
//! ## Not to be confused with
//!
//! `keepalive-race` (the backend closes idle connections itself, and a FIN is seen); `upstream-slow` (new connections wait as well);
//! `mtu-black-hole` (large packets vanish on new connections too).
//!
//! ## References
//!
//! RFC 5382 (section 5: a NAT must remember for 2 h 4 min), RFC 7857; nf_conntrack-sysctl (`nf_conntrack_tcp_loose`); nginx:
//! `ngx_http_upstream_get_keepalive_peer`, `proxy_socket_keepalive`; tcp(7), `tcp_keepalive_time`.

use super::idle_timeouts::millis;
use crate::case::{Case, Failure, FailureId, PeerSubject, Reuse, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::durations::seconds;
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::plan::{reused_spec, spec_of};
use crate::remedy::{Remedy, Risk};
use std::time::Duration;
use why502_facts::{Errno, Phase, Phrase, ProbeOutcome, ProbeReport, ProbeSpec, StepKind};
use why502_model::GroupId;

pub(super) static CAUSE: Cause = Cause {
    id: "nat-idle-expiry",
    layer: Layer::Connect,
    acts_on: ActsOn::Network,
    effect: false,
    statuses: &[502, 504],
    scope: Scope::Peer,
    supersedes: &[
        "keepalive-race",
        "read-timeout-too-short",
        "upstream-closed-before-response",
        "upstream-pool-exhausted",
        "upstream-reset-before-response",
        "upstream-send-timeout",
        "upstream-slow",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("nat_idle_expiry.rs"),
};

/// For how long a connection is held at most, to see whether it lives on.
const MAX_IDLE: Duration = Duration::from_mins(2);

/// An attempt that may have been lost on a connection that was forgotten.
type Lost<'c> = (FailureId, &'c Failure, &'c Symptom);

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((peer, group)) = subject.peer().and_then(|peer| Some((peer, peer.group?))) else {
        return Ok(Ruling::NoSign);
    };
    if peer.address.inet().is_none() || case.is_local(&peer.address) {
        return Ok(Ruling::NoSign);
    }
    let reset = case.losses(peer).filter(|(_, _, symptom, reuse)| {
        *reuse > Reuse::Excluded && symptom.errno == Some(Errno::ConnectionReset)
    });
    let mut lost: Vec<Lost<'_>> = reset.map(|(id, failure, symptom, _)| (id, failure, symptom)).collect();
    lost.extend(silent_losses(case, peer));
    if lost.is_empty() {
        return Ok(Ruling::NoSign);
    }
    or_ask(case.probe(peer))?;
    let Some(spec) = holding_spec(case, peer, group) else { return Ok(Ruling::NoSign) };
    let report = or_ask(case.probe_with(peer, &spec))?;
    let Some(report) = report.known().filter(|report| report.is_well()) else { return Ok(Ruling::NoSign) };
    let Some((idle, end)) = end_of_reuse(report) else { return Ok(Ruling::NoSign) };
    let origin = || Origin::Probe(case.probe_ask(peer, &spec));
    let held = seconds(millis(idle));
    if end == End::Answered {
        // Longer is not known of.
        return Ok(Ruling::NoSign);
    }
    let how =
        if end == End::Reset { "is reset" } else { "gets nothing, and not a byte of it is acknowledged" };
    let seen = Evidence::supporting(
        format!(
            "on a connection that was idle for {held}, and that the peer did not close, the same request {how}"
        ),
        origin(),
    );
    let anew = Evidence::supporting("on a new connection it is answered at once", origin());
    let says =
        |n| format!("{} got no answer on a connection that may have been used before", count(n, "request"));
    let keeps = kept_words(case, group);
    let finding = Finding::new(&CAUSE, Confidence::Likely, subject)
        .explaining(lost.iter().map(|(id, ..)| *id))
        .with(Case::lines_evidence(lost.iter().copied(), says))
        .with([seen, anew, Evidence::context(keeps, Origin::File(case.gateway.group(group).at.clone()))])
        .still_failing(Some(true))
        .at([case
            .gateway
            .group(group)
            .reuse
            .timeout
            .at
            .clone()
            .unwrap_or_else(|| case.gateway.group(group).at.clone())]);
    Ok(Ruling::found(finding))
}

/// The attempts that waited in vain on a connection that may have been used before, on routes that keep connections and whose
/// requests are answered otherwise.
fn silent_losses<'c>(case: &'c Case<'_>, peer: &'c PeerSubject) -> Vec<Lost<'c>> {
    if case.last_success(peer).is_none() {
        return Vec::new();
    }
    let is_silent = |symptom: &Symptom| {
        let phases = [Phase::SendingRequest, Phase::ReadingHeader];
        symptom.is(Phrase::UpstreamTimedOut) && symptom.phase.is_some_and(|phase| phases.contains(&phase))
    };
    let is_kept = |failure: &Failure| {
        let pass = failure.route.map_or_else(|| case.pass_to(peer), |route| case.pass_of(route, peer.group));
        pass.is_some_and(|pass| pass.keeps_alive)
    };
    // Of a kept connection the time to connect is that of no turn at all.
    let is_new = |symptom: &Symptom| {
        symptom.tried.as_ref().is_some_and(|tried| tried.connect_ms.is_some_and(|ms| ms > 0))
    };
    case.symptoms_of(peer)
        .filter(|(_, failure, symptom)| is_silent(symptom) && is_kept(failure) && !is_new(symptom))
        .collect()
}

/// The probe that holds a connection and uses it again: the peer's one probe where that does, else one of its own.
fn holding_spec(case: &Case<'_>, peer: &PeerSubject, group: GroupId) -> Option<ProbeSpec> {
    let planned = spec_of(case, peer);
    if planned.again() {
        return Some(planned);
    }
    let is_well = case.probe(peer).known().is_some_and(ProbeReport::is_well);
    let idle = case.keeps_idle(group).unwrap_or(MAX_IDLE).min(MAX_IDLE);
    is_well.then(|| reused_spec(case, peer, idle)).flatten()
}

/// What became of the request on the connection that was idle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Answered,
    Reset,
    Lost,
}

/// How long the connection was idle, and what became of the request on it; `None` where the peer closed it, or nobody knows.
fn end_of_reuse(report: &ProbeReport) -> Option<(Duration, End)> {
    let (idle, ProbeOutcome::TimedOut) = report.idle()? else { return None };
    let end = match report.outcome(StepKind::Again)? {
        ProbeOutcome::Done => End::Answered,
        ProbeOutcome::Failed(Errno::ConnectionReset | Errno::HostUnreachable) => End::Reset,
        // A peer whose host has acknowledged the request has it.
        ProbeOutcome::TimedOut if report.unacknowledged.is_some_and(|bytes| bytes > 0) => End::Lost,
        _ => return None,
    };
    Some((idle, end))
}

fn kept_words(case: &Case<'_>, group: GroupId) -> String {
    match case.keeps_idle(group) {
        Some(kept) => format!("nginx keeps idle connections for {}", seconds(millis(kept))),
        None => "nginx keeps idle connections for ever".to_owned(),
    }
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let kept = finding.peer().and_then(|peer| peer.group).map(|group| kept_words(case, group));
    let kept = kept.map(|kept| format!(", and {kept}")).unwrap_or_default();
    Explanation {
        title: format!("idle connections to {} are forgotten on the way{kept}", finding.address()),
        why: "A box between nginx and the backend drops its state of a connection that is idle, and tells neither end. The next request on \
              it is lost or reset, and nginx answers 504 or 502."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout: nothing will come on that connection".to_owned(),
            "raising the backend's keep-alive timeout: it is not the one that ends the connection".to_owned(),
            "raising keepalive: more idle connections are forgotten".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((peer, group)) = finding.peer().and_then(|peer| Some((peer, peer.group?))) else {
        return Vec::new();
    };
    let spec = holding_spec(case, peer, group);
    let report = spec.and_then(|spec| case.probe_with(peer, &spec).known());
    let Some((idle, _)) = report.and_then(end_of_reuse) else { return Vec::new() };
    // What was seen is no more than that the box forgets within that time.
    let below = (idle.as_secs() / 10 * 5).max(1);
    let verify = "after a pause as long as before the failures the first request is answered";
    let span = case.gateway.group(group).reuse.timeout.at.clone();
    let close = Remedy::new("Let nginx end idle connections first", Risk::Review);
    let close = match span {
        Some(at) => close.edit(at, format!("keepalive_timeout {below}s;")),
        None => close.advice(format!("keepalive_timeout {below}s; in the upstream block")),
    };
    vec![
        close.verify(verify),
        Remedy::new("Keep idle connections alive", Risk::ShowOnly)
            .advice(
                "proxy_socket_keepalive on; in nginx, and net.ipv4.tcp_keepalive_time on its host below the idle timeout of the box; or raise that \
                 (nf_conntrack_tcp_timeout_established, the load balancer's idle timeout)",
            )
            .verify(verify),
    ]
}

#[cfg(test)]
mod tests;
