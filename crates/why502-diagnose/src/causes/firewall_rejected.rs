//! # firewall-rejected
//!
//! ## What happens
//!
//! A packet filter answers nginx's connection attempt in the backend's place, with a reset of TCP or an ICMP message that it is
//! unreachable, though the backend listens. nginx fails at once, with the very words of a backend that does not run. True for every
//! version of nginx.
//!
//! ## What you see
//!
//! `connect() failed (111: Connection refused)` (a reset, or ICMP port unreachable), `(113: No route to host)` (host unreachable,
//! administratively prohibited), seldom `(101: Network is unreachable)` or with IPv6 `(13: Permission denied)`, each
//! `while connecting to upstream`, and a 502 at once.
//!
//! ## How we know
//!
//! The rules of nftables and of both kinds of iptables are read in the network namespaces of this host that the packets pass, and
//! followed for nginx's very packet with its addresses, port, interface and user. Confirmed: a rule rejects it for certain, in
//! the way that a connection attempt in nginx's place fails now, and its counter, if it has one, went up meanwhile. Likely: nobody could
//! attempt a connection, or the rule is not certain to be met and its counter went up. Likely as well: no rule is seen, and the
//! attempt gets an ICMP message that only a filter sends: administratively prohibited, port unreachable (a host answers with a
//! reset), or unreachable by the very host that is dialled. Who sent it tells where the filter stands. Possible: nobody listens
//! either. A condition that is not understood never counts as one that holds, or does not.
//!
//! ## What would disprove it
//!
//! A connection that opens in nginx's place; a counter of the rule that stays as it is while one is attempted.
//!
//! ## What to do
//!
//! Let this connection through, where the rule stands and where it is written.
//!
//! ## Not to be confused with
//!
//! `upstream-not-listening` (the kernel refuses because no socket is there), `firewall-dropped` (no answer at all),
//! `host-unreachable`, `network-unreachable`, `selinux-denied` (errno 13 without a packet).
//!
//! ## References
//!
//! nft(8), iptables-extensions(8), `REJECT`; RFC 792, RFC 1812 (5.2.7.1), RFC 4443 (3.1); Linux: `icmp_err_convert`,
//! `icmpv6_err_convert`; nginx: `ngx_http_upstream_test_connect`.

mod said;

use self::said::{Said, said};
use super::filter_remedies::{hook_words, past};
use super::filtered::{Counted, Met, OnTheWay, Stage, on_the_way, refusal_words};
use crate::case::{Case, Failure, FailureId, PeerSubject, Reach, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::Remedy;
use why502_facts::{Errno, Observed};

pub(super) static CAUSE: Cause = Cause {
    id: "firewall-rejected",
    layer: Layer::Connect,
    acts_on: ActsOn::Network,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["host-unreachable", "network-unreachable", "upstream-not-listening"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("firewall_rejected.rs"),
};

/// The errors of connect(2) that a filter can cause.
const ERRORS: [Errno; 5] = [
    Errno::ConnectionRefused,
    Errno::HostUnreachable,
    Errno::NetworkUnreachable,
    Errno::AccessDenied,
    Errno::ProtocolNotAvailable,
];

/// Attempts on a peer that were refused, and what there is on the way.
struct Refused<'c> {
    peer: &'c PeerSubject,
    attempts: Vec<(FailureId, &'c Failure, &'c Symptom)>,
    /// What a probe's connection attempt comes to; an error of it, or none.
    now: Observed<Reach>,
    way: OnTheWay<'c>,
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(refused) = refused(case, subject)? else { return Ok(Ruling::NoSign) };
    if let Some(Word::Said(said)) = word(case, &refused) {
        return Ok(Ruling::found(said.finding(case, subject, &refused)));
    }
    let Some((met, errno, confidence)) = blamed(case, &refused) else { return Ok(Ruling::NoSign) };
    let attempts = || attempts_with(&refused, errno);
    let is_now = refused.now == Observed::Known(Reach::Failed(errno));
    let line = Case::lines_evidence(attempts(), |n| {
        format!("{} failed with {}", count(n, "connection attempt"), errno.name())
    });
    let probed = is_now.then(|| {
        let says = format!("a connection attempt fails with {} now", errno.name());
        Evidence::supporting(says, case.probe_origin(refused.peer))
    });
    let listener = match refused.way.listens {
        Some(true) => Some("somebody listens there: it is not the server that refuses"),
        Some(false) => Some("nobody listens there either"),
        None => None,
    };
    let gap = refused.now.gap().cloned();
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(attempts().map(|(id, ..)| id))
        .still_failing(is_now.then_some(true))
        .with(line)
        .with(probed)
        .with(met.evidence(case))
        .with(listener.map(|says| Evidence::context(says, case.sockets_origin())))
        .open(gap.map(|gap| Case::open(gap, "whether a connection opens now")))
        .open(refused.way.open(case, Some(met), confidence))
        .at(case.written_at(refused.peer));
    finding.fails_clients_now = is_now && case.is_felt(refused.peer);
    Ok(Ruling::found(finding))
}

/// The attempts that failed with an error.
fn attempts_with<'r, 'c>(
    refused: &'r Refused<'c>,
    errno: Errno,
) -> impl Iterator<Item = (FailureId, &'c Failure, &'c Symptom)> + use<'r, 'c> {
    refused.attempts.iter().filter(move |(_, _, symptom)| symptom.connect_failed(errno)).copied()
}

/// The refusals of a subject's peer, if there are any. An error asks for what there is on the way.
fn refused<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Refused<'c>>, Asks> {
    let Some((peer, address)) = subject.peer().and_then(|peer| Some((peer, peer.address.inet()?))) else {
        return Ok(None);
    };
    let is_refusal = |symptom: &Symptom| ERRORS.iter().any(|errno| symptom.connect_failed(*errno));
    let attempts: Vec<_> = case.symptoms_of(peer).filter(|(_, _, symptom)| is_refusal(symptom)).collect();
    let is_refused_now =
        matches!(case.reach(peer), Observed::Known(Reach::Failed(errno)) if ERRORS.contains(&errno));
    if attempts.is_empty() && !is_refused_now {
        return Ok(None);
    }
    let way = on_the_way(case, peer, address, Stage::Connecting)?;
    let now = or_ask(case.reach(peer))?;
    Ok(Some(Refused { peer, attempts, now, way }))
}

/// What tells of a filter.
enum Word<'r, 'c> {
    /// A rule.
    Rule(&'r Met<'c>),
    /// An ICMP message.
    Said(Said),
}

/// What tells of a filter most surely: a rule before a message, unless the rule is no more than possible.
fn word<'r, 'c>(case: &Case<'_>, refused: &'r Refused<'c>) -> Option<Word<'r, 'c>> {
    let rule = blamed(case, refused);
    let is_sure = rule.as_ref().is_some_and(|(.., confidence)| *confidence >= Confidence::Likely);
    let said = if is_sure { None } else { said(case, refused) };
    said.map(Word::Said).or_else(|| rule.map(|(met, ..)| Word::Rule(met)))
}

/// The rule that is to blame, what it makes connections fail with, and how surely.
fn blamed<'s, 'c>(case: &Case<'_>, refused: &'s Refused<'c>) -> Option<(&'s Met<'c>, Errno, Confidence)> {
    let judged = refused.way.met.iter().filter_map(|met| {
        let errno = met.refuses_with()?;
        Some((met, errno, refused.way.cap(case, met, confidence(refused, met, errno)?)))
    });
    let judged: Vec<_> = judged.collect();
    let surest = judged.iter().map(|(.., confidence)| *confidence).max()?;
    judged.into_iter().find(|(.., confidence)| *confidence == surest)
}

fn confidence(refused: &Refused<'_>, met: &Met<'_>, errno: Errno) -> Option<Confidence> {
    let is_now = refused.now.as_ref().known().map(|reach| *reach == Reach::Failed(errno));
    let has_failed = refused.attempts.iter().any(|(_, _, symptom)| symptom.connect_failed(errno));
    if is_now == Some(false) || (is_now.is_none() && !has_failed) {
        // A rule that refuses some attempts and lets others through may have let the probe through.
        let is_sometimes = matches!(met.stop.doubt, Some(crate::filter::Doubt::Sometimes(_)));
        return (is_sometimes && has_failed && met.counted.is_met()).then_some(Confidence::Likely);
    }
    let sure = match (met.stop.doubt.is_some(), is_now, met.counted) {
        (false, Some(true), Counted::Nothing) => Confidence::Confirmed,
        (false, Some(true), Counted::Twice(..)) if met.counted.has_moved() => Confidence::Confirmed,
        (false, Some(true), Counted::Twice(..)) => Confidence::Possible,
        (false, ..) => Confidence::Likely,
        (true, ..) if met.counted.has_moved() => Confidence::Likely,
        (true, ..) => return None,
    };
    // Without the rule the connection would fail in the same way.
    let is_vain = refused.way.listens == Some(false) && errno == Errno::ConnectionRefused;
    Some(if is_vain { Confidence::Possible } else { sure })
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let refused = finding.subjects.first().and_then(|subject| refused(case, subject).ok().flatten());
    let address = finding.address();
    let (title, by) = match refused.as_ref().and_then(|refused| word(case, refused)) {
        Some(Word::Rule(met)) => (
            format!(
                "a packet filter rejects what goes to {address} {}: {}",
                hook_words(met.stop.hook),
                met.place_words()
            ),
            refusal_words(met.stop.ending),
        ),
        Some(Word::Said(said)) => (
            format!("a packet filter rejects what goes to {address}: {}", said.place(case)),
            "an ICMP message",
        ),
        None => (format!("a packet filter rejects what goes to {address}"), "a refusal"),
    };
    Explanation {
        title,
        why: format!(
            "The filter answers nginx's connection attempt with {by}, before the backend sees it. nginx has no peer left to try and \
             answers 502 at once."
        ),
        wont_help: vec![
            "restarting the backend: it is not the one that refuses".to_owned(),
            "raising proxy_connect_timeout or proxy_read_timeout: the refusal comes at once, no timer fired"
                .to_owned(),
            "flushing or stopping the firewall: it is about one rule".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let refused = finding.subjects.first().and_then(|subject| refused(case, subject).ok().flatten());
    let blamed = refused.as_ref().and_then(|refused| Some((refused, word(case, refused)?)));
    match blamed {
        Some((refused, Word::Rule(met))) => past(case, &refused.way, met),
        Some((_, Word::Said(said))) => vec![said.remedy(case)],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
