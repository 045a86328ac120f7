//! # firewall-dropped
//!
//! ## What happens
//!
//! A packet filter on the way drops packets without a word: nginx asks for a connection, or waits for an answer over one, and hears
//! nothing until its timer ends that. The filter may stand on either host or between them, and may drop what goes to the backend or
//! what comes back. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream timed out (110: Connection timed out) while connecting to upstream` and a 504 after `proxy_connect_timeout`; where
//! only later packets are dropped, `while reading response header from upstream`. The backend's log has nothing.
//!
//! ## How we know
//!
//! The rules of nftables and of both kinds of iptables are read in the network namespaces of this host that the packets pass, and
//! followed for the very packets: nginx's first one with its addresses, port, interface and user, and the answer. Confirmed: a
//! rule drops one of them for certain, a connection attempt in nginx's place gets no answer now, and the rule's counter, if it
//! has one, went up meanwhile. Likely: nobody could attempt a connection; or the rule drops only some packets (a limit, chance),
//! or is not understood in full, and its counter went up; or it stands in another network namespace that has the peer's address,
//! and nobody could see that the link leads there (both ends know each other as neighbours): containers of different networks
//! have the same addresses. Likely as well: the packets leave this host, and the same address answers on another port. A condition that is not understood never counts as one that holds, or does not.
//!
//! ## What would disprove it
//!
//! A connection that opens in nginx's place; a counter of the rule that stays as it is while one is attempted.
//!
//! ## What to do
//!
//! Let this connection through, where the rule stands and where it is written. Nothing else needs to be opened.
//!
//! ## Not to be confused with
//!
//! `firewall-rejected` (the filter answers, and nginx fails at once), `upstream-connect-timeout` (nobody knows where the packets
//! stay), `listen-backlog-full` (the server itself drops them), `host-unreachable`, `connect-timeout-too-short`;
//! `upstream-slow` (the packets arrive).
//!
//! ## References
//!
//! nft(8), iptables(8), iptables-extensions(8); netfilter's hooks and priorities: `include/uapi/linux/netfilter.h`,
//! `include/uapi/linux/netfilter_ipv4.h`; nginx: `ngx_http_upstream_connect`.

use super::filter_remedies::{hook_words, past};
use super::filtered::{Counted, Met, OnTheWay, Stage, on_the_way};
use crate::case::{Case, Failure, FailureId, PeerSubject, Reach, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::filter::Doubt;
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Errno, Observed, PeerAddress, Phase, Phrase, ProbeOutcome, StepKind};

pub(super) static CAUSE: Cause = Cause {
    id: "firewall-dropped",
    layer: Layer::Connect,
    acts_on: ActsOn::Network,
    effect: false,
    statuses: &[504],
    scope: Scope::Peer,
    supersedes: &[
        "connect-timeout-too-short",
        "listen-backlog-full",
        "read-timeout-too-short",
        "upstream-connect-timeout",
        "upstream-hung",
        "upstream-send-timeout",
        "upstream-slow",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("firewall_dropped.rs"),
};

/// Attempts on a peer that ended in silence, and what there is on the way.
struct Silence<'c> {
    peer: &'c PeerSubject,
    stage: Stage,
    attempts: Vec<(FailureId, &'c Failure, &'c Symptom)>,
    /// Whether a probe ends in the same silence; `None` if there is none.
    is_now: Option<bool>,
    way: OnTheWay<'c>,
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(silence) = silence(case, subject)? else { return Ok(Ruling::NoSign) };
    if let Some((met, confidence)) = blamed(case, &silence) {
        let finding = finding(case, subject, &silence, confidence).with(met.evidence(case));
        let finding = finding.open(silence.way.open(case, Some(met), confidence));
        return Ok(Ruling::found(finding.with(nobody_listens(case, &silence, met))));
    }
    if let Some(other) = answers_elsewhere(case, &silence) {
        let says = format!("the same host answers on another port: {}", other.address);
        let finding = finding(case, subject, &silence, Confidence::Likely);
        let finding = finding.open(silence.way.open(case, None, Confidence::Likely));
        return Ok(Ruling::found(finding.with([Evidence::supporting(says, case.probe_origin(other))])));
    }
    if silence.way.is_clear && silence.is_now == Some(true) {
        let says = format!(
            "the packet filters of this host let the packets to {} and back pass",
            silence.peer.address
        );
        return Ok(Ruling::RuledOut(vec![Evidence::against(says, Origin::Derived)]));
    }
    Ok(Ruling::NoSign)
}

/// The silence of a subject's peer, if there is one. An error asks for what there is on the way.
fn silence<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Silence<'c>>, Asks> {
    let Some((peer, address)) = subject.peer().and_then(|peer| Some((peer, peer.address.inet()?))) else {
        return Ok(None);
    };
    let attempts = |fits: fn(&Symptom) -> bool| -> Vec<_> {
        case.symptoms_of(peer).filter(|(_, _, symptom)| fits(symptom)).collect()
    };
    let connecting = attempts(is_unconnected);
    let is_silent = case.reach(peer) == Observed::Known(Reach::Silent);
    let (stage, attempts) = if connecting.is_empty() && !is_silent {
        (Stage::Talking, attempts(is_unanswered))
    } else {
        (Stage::Connecting, connecting)
    };
    if attempts.is_empty() && !is_silent {
        return Ok(None);
    }
    let way = on_the_way(case, peer, address, stage)?;
    or_ask(case.reach(peer))?;
    let is_now = case.probe(peer).known().map(|report| match stage {
        Stage::Connecting => {
            !report.connected() && report.connect_errno().is_none_or(|own| own == Errno::TimedOut)
        }
        Stage::Talking => [StepKind::Send, StepKind::Receive, StepKind::Handshake]
            .iter()
            .any(|kind| report.outcome(*kind) == Some(ProbeOutcome::TimedOut)),
    });
    Ok(Some(Silence { peer, stage, attempts, is_now, way }))
}

fn is_unconnected(symptom: &Symptom) -> bool {
    let timed_out = symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::Connecting);
    timed_out || symptom.connect_failed(Errno::TimedOut)
}

fn is_unanswered(symptom: &Symptom) -> bool {
    symptom.is(Phrase::UpstreamTimedOut) && !matches!(symptom.phase, None | Some(Phase::Connecting))
}

/// The rule that is to blame, and how surely.
fn blamed<'s, 'c>(case: &Case<'_>, silence: &'s Silence<'c>) -> Option<(&'s Met<'c>, Confidence)> {
    let silencing = silence.way.met.iter().filter(|met| met.silences());
    let judged =
        silencing.filter_map(|met| Some((met, silence.way.cap(case, met, confidence(silence, met)?))));
    // The surest, and the first of these.
    let judged: Vec<(&Met<'_>, Confidence)> = judged.collect();
    let surest = judged.iter().map(|(_, confidence)| *confidence).max()?;
    judged.into_iter().find(|(_, confidence)| *confidence == surest)
}

fn confidence(silence: &Silence<'_>, met: &Met<'_>) -> Option<Confidence> {
    let has_failed = !silence.attempts.is_empty();
    let has_moved = met.counted.has_moved();
    match &met.stop.doubt {
        None => match (silence.is_now, met.counted) {
            // It is met for certain: a connection that opens says that something was misread.
            (Some(false), _) => None,
            (Some(true), Counted::Twice(..)) if !has_moved => Some(Confidence::Possible),
            (Some(true), Counted::Nothing | Counted::Twice(..)) => Some(Confidence::Confirmed),
            (Some(true), Counted::Once(_)) | (None, _) => Some(Confidence::Likely),
        },
        // Some packets it drops, and it drops packets like these.
        Some(Doubt::Sometimes(_)) if has_moved || (has_failed && met.counted.is_met()) => {
            Some(Confidence::Likely)
        }
        Some(Doubt::Sometimes(_)) => {
            (has_failed && met.counted == Counted::Nothing).then_some(Confidence::Possible)
        }
        Some(Doubt::Unclear(_)) => (has_moved && silence.is_now == Some(true)).then_some(Confidence::Likely),
    }
}

fn finding(case: &Case<'_>, subject: &Subject, silence: &Silence<'_>, confidence: Confidence) -> Finding {
    let is_now = silence.is_now == Some(true);
    let what = match silence.stage {
        Stage::Connecting => "connection attempt",
        Stage::Talking => "request",
    };
    let line = Case::lines_evidence(silence.attempts.iter().copied(), |n| {
        format!("{} got no answer in time", count(n, what))
    });
    let probed = is_now.then(|| {
        Evidence::supporting(format!("a {what} gets no answer now"), case.probe_origin(silence.peer))
    });
    let gap = case.probe(silence.peer).gap().cloned();
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(silence.attempts.iter().map(|(id, ..)| *id))
        .still_failing(is_now.then_some(true))
        .with(line)
        .with(probed)
        .open(gap.map(|gap| Case::open(gap, "whether a connection opens now")))
        .at(case.written_at(silence.peer));
    finding.fails_clients_now = is_now && case.is_felt(silence.peer);
    finding
}

/// That nobody would accept the connection either: the second thing to mend.
fn nobody_listens(case: &Case<'_>, silence: &Silence<'_>, met: &Met<'_>) -> Option<Evidence> {
    let says = || {
        format!("and nobody listens on {} yet: once the rule is gone, connections are refused", met.address)
    };
    (silence.way.listens == Some(false)).then(|| Evidence::context(says(), case.sockets_origin()))
}

/// Another peer of the same host that answers, where the packets leave this one.
fn answers_elsewhere<'c>(case: &'c Case<'_>, silence: &Silence<'c>) -> Option<&'c PeerSubject> {
    let PeerAddress::Inet(own) = silence.peer.address else { return None };
    let is_far = silence.way.leaves
        && silence.way.unread.is_empty()
        && silence.is_now == Some(true)
        && silence.stage == Stage::Connecting
        && !silence.attempts.is_empty();
    let answers = |other: &&PeerSubject| {
        matches!(
            case.reach(other),
            Observed::Known(Reach::Connected | Reach::Failed(Errno::ConnectionRefused))
        )
    };
    let is_same_host = |other: &&PeerSubject| {
        other.address.inet().is_some_and(|other| other.ip() == own.ip() && other.port() != own.port())
    };
    case.peers.iter().filter(|_| is_far).filter(is_same_host).find(answers)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let silence = finding.subjects.first().and_then(|subject| silence(case, subject).ok().flatten());
    let met = silence.as_ref().and_then(|silence| blamed(case, silence)).map(|(met, _)| met);
    let address = finding.address();
    let title = match met {
        Some(met) => {
            let what = match (met.carried.is_answer(), met.stop.doubt.is_some()) {
                (true, false) => format!("drops what comes back from {address}"),
                (false, false) => format!("drops what goes to {address}"),
                (true, true) => format!("drops some of what comes back from {address}"),
                (false, true) => format!("drops some of what goes to {address}"),
            };
            format!("a packet filter {what} {}: {}", hook_words(met.stop.hook), met.place_words())
        }
        None => format!("a packet filter on the way seems to drop what goes to {address}"),
    };
    Explanation {
        title,
        why: "The packets vanish without an answer, so nginx can only wait. When its timer is up it closes the attempt and answers \
              504."
            .to_owned(),
        wont_help: vec![
            "raising proxy_connect_timeout or proxy_read_timeout: what is dropped does not come later".to_owned(),
            "restarting nginx or the backend: neither of them decides on this".to_owned(),
            "flushing or stopping the firewall: it is about one rule".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let silence = finding.subjects.first().and_then(|subject| silence(case, subject).ok().flatten());
    let blamed = silence.as_ref().and_then(|silence| Some((silence, blamed(case, silence)?.0)));
    match blamed {
        Some((silence, met)) => past(case, &silence.way, met),
        None => vec![
            Remedy::new("Look at the filters of the other host and between", Risk::ShowOnly)
                .advice(format!(
                    "its own packet filter, a security group, a network policy: this gateway must be let through to {}",
                    finding.address()
                ))
                .verify(format!("a connection to {} opens", finding.address())),
        ],
    }
}

#[cfg(test)]
pub(super) mod tests;
