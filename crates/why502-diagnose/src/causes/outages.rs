//! Peers of this host that nobody listens for: refused connections, and sockets that are not there or have nobody behind
//! them.

use super::refused::{Refusal, refusal};
use super::unix::{Broken, broken};
use crate::case::{Case, FailureId, PeerSubject, Reach, Subject};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Finding};
use why502_facts::{Errno, Observed, Stamp};

/// A peer of this host that cannot be connected to, or could not.
pub(super) struct Outage<'c> {
    pub(super) peer: &'c PeerSubject,
    kind: Kind<'c>,
    /// When attempts failed, by time.
    pub(super) failures: Vec<(FailureId, Stamp)>,
}

enum Kind<'c> {
    Refused(Refusal<'c>),
    Socket(Broken<'c>),
}

/// The outage that a subject is about; an error asks for its probe and path. Of an address that the configuration no longer
/// has, nobody can be said to be missing.
pub(super) fn outage<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Outage<'c>>, Asks> {
    let Some(peer) = subject.peer() else { return Ok(None) };
    if !case.is_local(&peer.address) || (peer.group.is_some() && peer.place.is_none()) {
        return Ok(None);
    }
    let kind = match refusal(case, subject)? {
        Some(refusal) => Some(Kind::Refused(refusal)),
        None => match broken(case, subject, Errno::ConnectionRefused)? {
            Some(broken) => Some(Kind::Socket(broken)),
            None => broken(case, subject, Errno::NoEntry)?.map(Kind::Socket),
        },
    };
    let Some(kind) = kind else { return Ok(None) };
    let is_failed = |errno: Option<Errno>| matches!(errno, Some(Errno::ConnectionRefused | Errno::NoEntry));
    let mut failures: Vec<(FailureId, Stamp)> = case
        .symptoms_of(peer)
        .filter(|(_, _, symptom)| is_failed(symptom.errno))
        .map(|(id, failure, _)| (id, failure.at))
        .collect();
    failures.sort_by_key(|(id, at)| (*at, *id));
    let outage = Outage { peer, kind, failures };
    // Somebody who listens and is not reached is none of those who are missing, nor is one who is not asked.
    Ok((!outage.is_blocked(case) && !outage.is_led_elsewhere()).then_some(outage))
}

impl Outage<'_> {
    fn reach(&self) -> &Observed<Reach> {
        match &self.kind {
            Kind::Refused(refusal) => &refusal.reach,
            Kind::Socket(broken) => &broken.reach,
        }
    }

    /// Whether a probe connects now.
    pub(super) fn is_gone(&self) -> bool {
        *self.reach() == Observed::Known(Reach::Connected)
    }

    /// Whether nobody listens there now, seen by a probe or by the listening sockets.
    pub(super) fn stands(&self, case: &Case<'_>) -> bool {
        matches!(self.reach(), Observed::Known(Reach::Failed(_)))
            || (!self.is_gone() && self.listens(case) == Some(false))
    }

    fn listens(&self, case: &Case<'_>) -> Option<bool> {
        case.sockets().known().and_then(|table| table.listens(&self.peer.address))
    }

    fn is_led_elsewhere(&self) -> bool {
        matches!(&self.kind, Kind::Refused(refusal) if refusal.led.is_some())
    }

    fn is_blocked(&self, case: &Case<'_>) -> bool {
        !self.is_gone() && self.listens(case) == Some(true)
    }

    /// When it was seen first; `None` where only the probe saw it.
    pub(super) fn begin(&self) -> Option<Stamp> {
        self.failures.first().map(|(_, at)| *at)
    }

    /// A finding about the failures in a span of time.
    pub(super) fn finding(
        &self,
        case: &Case<'_>,
        cause: &'static Cause,
        confidence: Confidence,
        subject: &Subject,
        fits: impl Fn(Stamp) -> bool,
    ) -> Finding {
        let mut finding = match &self.kind {
            Kind::Refused(refusal) => refusal.finding(case, cause, confidence, subject),
            Kind::Socket(broken) => broken.finding(case, cause, confidence, subject),
        };
        finding.explains = self.failures.iter().filter(|(_, at)| fits(*at)).map(|(id, _)| *id).collect();
        finding
    }
}
