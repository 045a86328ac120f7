//! What all causes of a refused TCP connection begin with.

use crate::case::{Case, FailureId, PeerSubject, Reach, Subject, count, or_ask};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Evidence, Finding};
use std::net::SocketAddr;
use why502_facts::{Errno, Observed};

/// A peer that refuses connections, or did.
pub(super) struct Refusal<'c> {
    pub(super) peer: &'c PeerSubject,
    pub(super) address: SocketAddr,
    /// What a probe sees now.
    pub(super) reach: Observed<Reach>,
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
    if logged.is_empty() && !refused_now {
        return Ok(None);
    }
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
    Ok(Some(Refusal { peer, address, reach, failures, evidence }))
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

    /// Whether the listening sockets of the address's host were read and none takes a connection to it.
    pub(super) fn nobody_listens(&self, case: &Case<'_>) -> bool {
        case.sockets().known().is_some_and(|table| {
            case.is_local(&self.peer.address) && table.listens(&self.peer.address) == Some(false)
        })
    }

    /// A finding about the refusal, with its log line and its probe.
    pub(super) fn finding(
        &self,
        case: &Case<'_>,
        cause: &'static Cause,
        confidence: Confidence,
        subject: &Subject,
    ) -> Finding {
        let mut finding = Finding::new(cause, confidence, subject)
            .explaining(self.failures.iter().copied())
            .with(self.evidence.iter().cloned())
            .at(case.written_at(self.peer));
        finding.fails_clients_now = self.stands() && case.is_felt(self.peer);
        finding
    }
}
