//! What the causes of a peer that takes a connection and gives no usable answer have in common.

use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, Symptom, or_ask};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Evidence, Finding};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Blob, Http2Answer, Observed, Phase, ProbeOutcome, ProbeReport, StepKind};

/// Failed attempts on a peer that fit a pattern, and what its probe sees.
pub(super) struct Unanswered<'c> {
    pub(super) peer: &'c PeerSubject,
    pub(super) symptoms: Vec<(FailureId, &'c Failure, &'c Symptom)>,
    pub(super) probe: Observed<&'c ProbeReport>,
}

/// The attempts on a subject's peer that `fits`; `None` if there are none. An error asks for the peer's probe.
pub(super) fn attempts<'c>(
    case: &'c Case<'_>,
    subject: &'c Subject,
    fits: impl Fn(&Symptom) -> bool,
) -> Result<Option<Unanswered<'c>>, Asks> {
    let Some(peer) = subject.peer() else { return Ok(None) };
    let symptoms: Vec<_> = case.symptoms_of(peer).filter(|(_, _, symptom)| fits(symptom)).collect();
    if symptoms.is_empty() {
        return Ok(None);
    }
    Ok(Some(Unanswered { peer, symptoms, probe: or_ask(case.probe(peer))? }))
}

/// The same where the error log may be silent: attempts of which only the access log tells count if the probe ends in the
/// same way.
pub(super) fn attempts_seen_again<'c>(
    case: &'c Case<'_>,
    subject: &'c Subject,
    fits: impl Fn(&Symptom) -> bool,
    ends: ProbeOutcome,
) -> Result<Option<Unanswered<'c>>, Asks> {
    let either = |symptom: &Symptom| fits(symptom) || symptom.is_quietly_unanswered();
    let Some(mut found) = attempts(case, subject, either)? else { return Ok(None) };
    if !found.ended_so(ends) {
        found.symptoms.retain(|(_, _, symptom)| fits(symptom));
    }
    Ok((!found.symptoms.is_empty()).then_some(found))
}

impl<'c> Unanswered<'c> {
    /// How the reading of the probe's answer ended.
    pub(super) fn received(&self) -> Option<ProbeOutcome> {
        self.probe.clone().known()?.outcome(StepKind::Receive)
    }

    /// Whether the probe ended in a certain way, and nothing came that answers it: not a byte, or no more than the frames
    /// with which HTTP/2 begins.
    pub(super) fn ended_so(&self, ends: ProbeOutcome) -> bool {
        self.received() == Some(ends)
            && self.report().is_some_and(|report| {
                let has_only_begun = |http2: &Http2Answer| *http2 == Http2Answer::default();
                report.received == Blob::default() || report.http2.as_deref().is_some_and(has_only_begun)
            })
    }

    /// Whether a request was answered well after the last of these attempts.
    pub(super) fn is_served_since(&self, case: &Case<'_>) -> bool {
        let last = self.symptoms.iter().map(|(_, failure, _)| failure.at).max();
        case.last_success(self.peer).is_some_and(|(at, _)| Some(at) > last)
    }

    /// What is known of now: the probe ends as the attempts did; or all was mended since, because whoever listens was
    /// started anew, answers the probe, and answered requests.
    pub(super) fn still_failing(&self, case: &Case<'_>, ends_so: bool) -> Option<bool> {
        let last = self.symptoms.iter().map(|(_, failure, _)| failure.at).max()?;
        let answers = self.report().is_some_and(ProbeReport::is_well);
        let served = self.is_served_since(case);
        let is_mended = answers && served && case.started_after(self.peer, last);
        match (ends_so, served) {
            // Real requests were answered since: that a HEAD is not proves nothing of them.
            (true, true) => None,
            (true, false) => Some(true),
            (false, _) => is_mended.then_some(false),
        }
    }

    /// The report of the probe, if there is one.
    pub(super) fn report(&self) -> Option<&'c ProbeReport> {
        self.probe.clone().known()
    }

    /// A finding about these attempts, with their log line.
    pub(super) fn finding(
        &self,
        case: &Case<'_>,
        cause: &'static Cause,
        confidence: Confidence,
        subject: &Subject,
        says: impl Fn(u64) -> String,
    ) -> Finding {
        let line: Option<Evidence> = Case::lines_evidence(self.symptoms.iter().copied(), says);
        Finding::new(cause, confidence, subject)
            .explaining(self.symptoms.iter().map(|(id, ..)| *id))
            .with(line)
            .at(case.pass_to(self.peer).map(|pass| pass.at.clone()))
    }
}

/// The advice to look into the backend's own log, at the time of the newest failure.
pub(super) fn read_its_log(case: &Case<'_>, finding: &Finding, what: &str) -> Vec<Remedy> {
    let Some(peer) = finding.peer() else { return Vec::new() };
    let newest = finding.explains.iter().map(|id| case.failure(*id).at).max();
    let at = newest.map_or_else(String::new, |at| format!(" at {at}"));
    vec![
        Remedy::new("Read the backend's own log", Risk::ShowOnly)
            .advice(format!("look{at} in the log of {} for {what}", peer.address))
            .verify("the failing request answers"),
    ]
}

/// Whether an attempt ended before a complete response header came.
pub(super) fn before_header(symptom: &Symptom) -> bool {
    matches!(symptom.phase, Some(Phase::Connecting | Phase::SendingRequest | Phase::ReadingHeader))
}
