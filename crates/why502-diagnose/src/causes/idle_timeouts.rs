//! For how long a peer keeps an idle connection: as it was seen to, as it says, as it was started, or as its kind does.

use super::servers::{Known, known_timeout};
use crate::case::{Case, PeerSubject};
use crate::durations::{play, seconds};
use crate::finding::{Evidence, Open, Origin, Role};
use crate::plan::spec_of;
use std::time::Duration;
use why502_facts::{Gap, GapReason, Observed, ProbeOutcome, ProbeReport};

/// What is known of a peer's idle timeout.
#[derive(Debug)]
pub(super) enum IdleTimeout {
    /// It ends a connection with its answer, and keeps none.
    KeepsNone(Evidence),
    /// It closes idle connections after that time, no later than the gateway does.
    Seen(Duration, Evidence),
    /// It closes them after that time, unless it was told otherwise where nobody can look.
    Usual(Duration, Evidence),
    /// It keeps them longer than the gateway does.
    Longer(Evidence),
    /// Nobody knows; what would tell.
    Unknown(Option<Open>),
}

/// What is known of a peer's idle timeout, where the gateway keeps idle connections so long (`None`: for ever).
pub(super) fn idle_timeout(case: &Case<'_>, peer: &PeerSubject, kept: Option<Duration>) -> IdleTimeout {
    let probe = case.probe(peer);
    if let Some(told) = probe.clone().known().and_then(|report| told_by(case, peer, report, kept)) {
        return told;
    }
    let (known, what) =
        known(case, peer).map_or((None, String::new()), |(known, owner)| (Some(known), owner));
    let origin = || Origin::Host("/proc/*/cmdline".to_owned());
    match (known, probe) {
        (Some(Known::Set(timeout, option)), _) => {
            let says = format!("{what} was started with {option} {}", seconds(millis(timeout)));
            compare(timeout, Evidence::supporting(says, origin()), kept)
        }
        (Some(Known::Default(timeout)), _) if !outlives(timeout, kept) => {
            let kept = seconds(millis(timeout));
            let says = format!("{what} keeps idle connections for {kept} unless it is told otherwise");
            IdleTimeout::Usual(timeout, Evidence::supporting(says, origin()))
        }
        (_, Observed::Known(report)) => IdleTimeout::Unknown(held(case, peer, report, kept)),
        (_, Observed::Unknown(gap)) => IdleTimeout::Unknown(Some(Case::open(gap, WOULD_TELL))),
        (_, Observed::Absent) => IdleTimeout::Unknown(None),
    }
}

/// What is not known.
const WOULD_TELL: &str = "for how long the peer keeps idle connections";

/// Whether a peer keeps connections so much longer than the gateway that the gateway always closes them first.
fn outlives(timeout: Duration, kept: Option<Duration>) -> bool {
    kept.is_some_and(|kept| timeout > kept + Duration::from_millis(play(millis(kept)).into()))
}

fn compare(timeout: Duration, evidence: Evidence, kept: Option<Duration>) -> IdleTimeout {
    if outlives(timeout, kept) { longer(evidence) } else { IdleTimeout::Seen(timeout, evidence) }
}

fn longer(evidence: Evidence) -> IdleTimeout {
    IdleTimeout::Longer(Evidence { role: Role::Against, ..evidence })
}

/// The timeout that the peer's server is known by, where it is what was measured: servers that look for idle connections once
/// in a second close them so much later, now and then.
fn as_set(case: &Case<'_>, peer: &PeerSubject, held: Duration) -> Option<Duration> {
    let (Known::Set(timeout, _) | Known::Default(timeout)) = known(case, peer)?.0;
    let late = held.checked_sub(timeout)?;
    (late <= LATE).then_some(timeout)
}

/// What the command line of the process tells that listens there, and whose it is.
fn known(case: &Case<'_>, peer: &PeerSubject) -> Option<(Known, String)> {
    let mut listeners = case.listeners_of(peer).into_iter();
    listeners.find_map(|process| Some((known_timeout(&process.argv)?, case.owners(&[process.pid]))))
}

/// How much later than it is set to a server closes a connection at most.
const LATE: Duration = Duration::from_millis(1500);

/// What was measured, as a timer is set: to half a second, or to a tenth where it is a short one.
fn rounded(measured: Duration) -> Duration {
    let step = if measured < Duration::from_secs(1) { 100 } else { 500 };
    Duration::from_millis((u64::from(millis(measured)) + step / 2) / step * step)
}

/// A duration in milliseconds.
pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// What a probe tells: how long its connection was left open, else what the answer says.
fn told_by(
    case: &Case<'_>,
    peer: &PeerSubject,
    report: &ProbeReport,
    kept: Option<Duration>,
) -> Option<IdleTimeout> {
    let answer = report.answer.as_deref().filter(|answer| answer.complete)?;
    let origin = case.probe_origin(peer);
    // A probe that asked for the end itself learned nothing.
    spec_of(case, peer).idle()?;
    if !answer.keeps_open() {
        let says = "asked as nginx asks it, the peer ends the connection with its answer: none is used again";
        return Some(IdleTimeout::KeepsNone(Evidence::against(says, origin)));
    }
    match report.idle() {
        Some((held, outcome @ (ProbeOutcome::Closed | ProbeOutcome::Failed(_)))) => {
            let how = if outcome == ProbeOutcome::Closed { "closes" } else { "resets" };
            let (outlives, shown) = (outlives(held, kept), rounded(held));
            let says = format!("the peer {how} an idle connection after {}", seconds(millis(shown)));
            let evidence = Evidence::supporting(says, origin);
            let timeout = as_set(case, peer, held).unwrap_or(shown);
            Some(if outlives { longer(evidence) } else { IdleTimeout::Seen(timeout, evidence) })
        }
        Some((held, ProbeOutcome::TimedOut)) if outlives(held, kept) => {
            let says =
                format!("the peer left an idle connection open for {}", seconds(millis(rounded(held))));
            Some(IdleTimeout::Longer(Evidence::against(says, origin)))
        }
        _ => answer.named_idle_timeout().map(|named| {
            let kept_for = seconds(millis(named));
            let says = format!("the peer says that it keeps idle connections for {kept_for} (Keep-Alive)");
            compare(named, Evidence::supporting(says, origin), kept)
        }),
    }
}

/// What a longer hold of the probe's connection would tell.
fn held(case: &Case<'_>, peer: &PeerSubject, report: &ProbeReport, kept: Option<Duration>) -> Option<Open> {
    let (held, ProbeOutcome::TimedOut) = report.idle()? else { return None };
    let needed = kept.map_or(String::new(), |kept| format!(" {}s", kept.as_secs().saturating_add(10)));
    let says = format!(
        "the peer left an idle connection open for {}, and longer was not waited: --timeout{needed} would tell more",
        seconds(millis(rounded(held)))
    );
    let ask = case.probe_ask(peer, &spec_of(case, peer));
    Some(Case::open(Gap { ask, why: GapReason::TimedOut, says }, WOULD_TELL))
}
