//! What all causes of a refused TCP connection begin with.

use super::filtered::{Inside, Led, OnTheWay, Stage, on_the_way};
use crate::case::{Case, FailureId, PeerSubject, Reach, Subject, count, or_ask};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Evidence, Finding};
use std::net::SocketAddr;
use why502_facts::{Errno, GapReason, Observed, PeerAddress};

/// A peer that refuses connections, or did.
pub(super) struct Refusal<'c> {
    pub(super) peer: &'c PeerSubject,
    pub(super) address: SocketAddr,
    /// What a probe sees now.
    pub(super) reach: Observed<Reach>,
    /// Where a rule of a packet filter leads the connection instead, and who is asked there.
    pub(super) led: Option<Led<'c>>,
    /// The other network namespace of this host that the connection comes to, if it does.
    pub(super) inside: Option<Inside<'c>>,
    /// Whether nobody saw a refusal: that none listens says that there would be one.
    is_foreseen: bool,
    failures: Vec<FailureId>,
    evidence: Vec<Evidence>,
}

/// The refusal that a subject is about, if it is a TCP peer that refuses or did; an error asks for its probe.
pub(super) fn refusal<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Refusal<'c>>, Asks> {
    let Some((peer, address)) = subject.peer().and_then(|peer| Some((peer, peer.address.inet()?))) else {
        return Ok(None);
    };
    let logged: Vec<_> = case
        .symptoms_of(peer)
        .filter(|(_, _, symptom)| symptom.connect_failed(Errno::ConnectionRefused))
        .collect();
    let reach = or_ask(case.reach(peer))?;
    let refused_now = reach == Observed::Known(Reach::Failed(Errno::ConnectionRefused));
    let is_foreseen = logged.is_empty() && !refused_now;
    if is_foreseen && !would_be_refused(case, peer, &reach) {
        return Ok(None);
    }
    let way =
        if is_foreseen { OnTheWay::default() } else { on_the_way(case, peer, address, Stage::Connecting)? };
    let failures = logged.iter().map(|(id, ..)| *id).collect();
    let line = Case::lines_evidence(logged, |n| {
        format!("{} refused (ECONNREFUSED)", count(n, "connection attempt"))
    });
    let probed =
        refused_now.then(|| Evidence::supporting("a connection is refused now", case.probe_origin(peer)));
    let mut evidence: Vec<Evidence> = line.into_iter().chain(probed).collect();
    if reach == Observed::Known(Reach::Connected) {
        // What is seen now does not rule out what was.
        evidence
            .push(Evidence::context(format!("{address} accepts connections now"), case.probe_origin(peer)));
    }
    let (led, inside) = (way.led, way.inside);
    Ok(Some(Refusal { peer, address, reach, led, inside, is_foreseen, failures, evidence }))
}

/// Whether the request of a given URL, which nothing may be sent for, can only be refused: on no address of the group
/// anybody listens.
fn would_be_refused(case: &Case<'_>, peer: &PeerSubject, reach: &Observed<Reach>) -> bool {
    let is_unsent = matches!(reach, Observed::Unknown(gap) if gap.why == GapReason::NotAsked);
    let is_asked = case.asked_route().is_some_and(|(route, _)| peer.is_of(route));
    is_unsent
        && is_asked
        && case.gateway.master.is_some()
        && case.configured(peer).is_some()
        && case.peers_of(peer.group).all(|own| own.place.is_none() || is_closed(case, &own.address))
}

/// Whether an address is of this host, whose listening sockets were read, and none of them takes a connection to it.
fn is_closed(case: &Case<'_>, address: &PeerAddress) -> bool {
    address.inet().is_some()
        && case.is_local(address)
        && case.sockets().known().is_some_and(|table| table.listens(address) == Some(false))
}

impl Refusal<'_> {
    /// Whether a probe is refused now.
    pub(super) fn stands(&self) -> bool {
        self.reach == Observed::Known(Reach::Failed(Errno::ConnectionRefused))
    }

    /// Whether a probe connects now.
    pub(super) fn is_gone(&self) -> bool {
        self.reach == Observed::Known(Reach::Connected)
    }

    /// Whether the listening sockets of the address's host were read and none takes a connection to it. Where connections are
    /// led elsewhere, none has to.
    pub(super) fn nobody_listens(&self, case: &Case<'_>) -> bool {
        self.led.is_none() && is_closed(case, &self.peer.address)
    }

    /// A finding about the refusal, with its log line and its probe.
    pub(super) fn finding(
        &self,
        case: &Case<'_>,
        cause: &'static Cause,
        confidence: Confidence,
        subject: &Subject,
    ) -> Finding {
        // A packet filter may send a connection elsewhere before anybody who listens is looked for.
        let confidence = if self.is_foreseen { confidence.min(Confidence::Likely) } else { confidence };
        let mut finding = Finding::new(cause, confidence, subject)
            .explaining(self.failures.iter().copied())
            .with(self.evidence.iter().cloned())
            .at(case.written_at(self.peer));
        finding.fails_clients_now = self.is_foreseen || (self.stands() && case.is_felt(self.peer));
        finding
    }
}
