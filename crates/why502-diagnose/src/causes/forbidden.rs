//! What the causes have in common that are about an access control above modes and owners: an attempt that the kernel
//! refused at once with EACCES, which says neither who refused it nor why.

use crate::case::{Case, FailureId, PeerSubject, Reach, Subject, Symptom, count, or_ask};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Evidence, Finding};
use why502_facts::{Denial, Errno, Observed, Phrase};

/// A peer that the kernel did not let the gateway reach.
pub(super) struct Forbidden<'c> {
    pub(super) peer: &'c PeerSubject,
    pub(super) failures: Vec<FailureId>,
    /// What a probe sees now: it is made as the worker's user, but not in the worker's domain.
    pub(super) reach: Observed<Reach>,
    evidence: Vec<Evidence>,
}

/// Whether connecting a socket was refused so.
pub(super) fn no_connection(errno: Errno) -> impl Fn(&Symptom) -> bool {
    move |symptom| symptom.connect_failed(errno)
}

/// Whether creating a socket was refused so.
pub(super) fn no_socket(errno: Errno) -> impl Fn(&Symptom) -> bool {
    move |symptom| symptom.phrase == Some(Phrase::SocketFailed) && symptom.errno == Some(errno)
}

/// The attempts of a subject that failed in a certain way; an error asks for its probe.
pub(super) fn forbidden<'c>(
    case: &'c Case<'_>,
    subject: &'c Subject,
    fits: impl Fn(&Symptom) -> bool,
) -> Result<Option<Forbidden<'c>>, Asks> {
    let Some(peer) = subject.peer() else { return Ok(None) };
    let logged: Vec<_> = case.symptoms_of(peer).filter(|(_, _, symptom)| fits(symptom)).collect();
    let Some((_, _, first)) = logged.first() else { return Ok(None) };
    let errno = first.errno.map_or("in time", Errno::name);
    let what = if first.phrase == Some(Phrase::SocketFailed) { "socket" } else { "connection attempt" };
    let reach = or_ask(case.reach(peer))?;
    let failures = logged.iter().map(|(id, ..)| *id).collect();
    let line = Case::lines_evidence(logged, |n| format!("{} failed ({errno})", count(n, what)));
    Ok(Some(Forbidden { peer, failures, reach, evidence: line.into_iter().collect() }))
}

impl Forbidden<'_> {
    /// The newest of some denials that falls together with a failure.
    pub(super) fn newest<'d>(
        &self,
        case: &Case<'_>,
        denials: impl Iterator<Item = (&'d Denial, &'d str)>,
    ) -> Option<(&'d Denial, &'d str)> {
        let together = denials.filter(|(denial, _)| case.falls_together(denial, &self.failures));
        together.max_by_key(|(denial, _)| denial.at)
    }

    /// Whether the kernel refuses a process of the worker's user outside of its domain in the same way.
    pub(super) fn is_refused_to_others(&self) -> bool {
        self.reach == Observed::Known(Reach::Failed(Errno::AccessDenied))
    }

    /// A finding about it, with its log lines. `stands` says whether it is refused now.
    pub(super) fn finding(
        &self,
        case: &Case<'_>,
        cause: &'static Cause,
        confidence: Confidence,
        subject: &Subject,
        stands: Option<bool>,
    ) -> Finding {
        let mut finding = Finding::new(cause, confidence, subject)
            .explaining(self.failures.iter().copied())
            .with(self.evidence.iter().cloned())
            .at(case.written_at(self.peer))
            .still_failing(stands);
        finding.fails_clients_now = stands == Some(true) && case.is_felt(self.peer);
        if self.reach == Observed::Known(Reach::Connected) && stands != Some(false) {
            let says =
                "a process of the same user that is not confined connects: the backend itself is there";
            finding.evidence.push(Evidence::context(says, case.probe_origin(self.peer)));
        }
        finding
    }
}
