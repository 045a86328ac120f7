//! What the causes of a TLS handshake have in common: the probe as nginx shakes hands, and what the log says of its own.

use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, Symptom, or_ask};
use crate::cause::{Asks, Cause};
use crate::finding::{Confidence, Evidence, Finding, Origin, Ruling};
use crate::plan;
use why502_facts::{
    FirstBytes, Observed, Phase, Phrase, ProbeOutcome, ProbeReport, ProbeSpec, StepKind, TlsAnswer, TlsSpec,
    TlsVerdict,
};
use why502_model::{Pass, Protocol, Span};

/// What a server says of a certificate that it does not take: `bad_certificate`, `unsupported_certificate`, `certificate_revoked`,
/// `certificate_expired`, `certificate_unknown`, `unknown_ca`, `access_denied` (RFC 8446, section 6.2).
pub(super) const CERTIFICATE_ALERTS: [u8; 7] = [42, 43, 44, 45, 46, 48, 49];

/// A peer that TLS is spoken to, what failed there, and what its probe sees.
pub(super) struct Handshakes<'c> {
    pub(super) peer: &'c PeerSubject,
    pub(super) pass: &'c Pass,
    /// How the gateway shakes hands with it.
    pub(super) spec: TlsSpec,
    /// The failed attempts that fit.
    pub(super) symptoms: Vec<(FailureId, &'c Failure, &'c Symptom)>,
    pub(super) probe: Observed<&'c ProbeReport>,
}

/// What the directives about TLS to the peer of a finding begin with: `proxy`, `grpc` or `uwsgi`.
pub(super) fn prefix(case: &Case<'_>, finding: &Finding) -> &'static str {
    let pass = finding.peer().and_then(|peer| case.pass_to(peer));
    pass.map_or(Protocol::Http, |pass| pass.protocol).prefix()
}

/// The handshakes with a subject's peer; `None` where no TLS is spoken. An error asks for the peer's probe.
pub(super) fn handshakes<'c>(
    case: &'c Case<'_>,
    subject: &'c Subject,
    fits: impl Fn(&Symptom) -> bool,
) -> Result<Option<Handshakes<'c>>, Asks> {
    let Some((peer, pass)) = subject.peer().and_then(|peer| Some((peer, case.pass_to(peer)?))) else {
        return Ok(None);
    };
    if !pass.tls {
        return Ok(None);
    }
    let probe = or_ask(case.probe(peer))?;
    let symptoms = case.symptoms_of(peer).filter(|(_, _, symptom)| fits(symptom)).collect();
    Ok(Some(Handshakes { peer, pass, spec: plan::tls_spec(case, pass), symptoms, probe }))
}

impl<'c> Handshakes<'c> {
    /// What the library told of the probe's handshake, if nothing of our own stood in its way.
    pub(super) fn answer(&self) -> Option<&'c TlsAnswer> {
        let report = self.probe.clone().known()?;
        report.tls.as_ref().filter(|tls| tls.unusable.is_empty())
    }

    /// The verdict on the certificate, as the gateway would come to it.
    pub(super) fn verdict(&self) -> Option<&'c TlsVerdict> {
        self.answer()?.verdict.as_ref()
    }

    /// The alert that the peer sent, or sent in place of an answer.
    pub(super) fn alert(&self) -> Option<u8> {
        let of_bytes = || match self.probe.clone().known()?.first_bytes {
            FirstBytes::Tls { alert } => alert,
            _ => None,
        };
        let answer = self.answer()?;
        answer.alert.or_else(|| of_bytes().filter(|_| !answer.established))
    }

    /// Whether the probe's handshake fails, and not for want of TLS on the other side.
    pub(super) fn fails_now(&self) -> bool {
        let Some(report) = self.probe.clone().known() else { return false };
        let is_foreign = !matches!(report.first_bytes, FirstBytes::Tls { .. } | FirstBytes::Nothing);
        let ended = matches!(
            report.outcome(StepKind::Handshake),
            Some(ProbeOutcome::Closed | ProbeOutcome::Failed(_) | ProbeOutcome::Refused)
        );
        self.answer().is_some() && ended && !is_foreign
    }

    /// Whether the server asks for a certificate, and none is configured: then a refusal says nothing of anything else.
    pub(super) fn misses_certificate(&self) -> bool {
        let asks = self.answer().and_then(|answer| answer.asks_certificate);
        asks == Some(true) && self.spec.certificate.is_none()
    }

    /// Whether the server says that it does not take the certificate that is presented: then versions and ciphers were agreed on.
    pub(super) fn rejects_certificate(&self) -> bool {
        self.alert().is_some_and(|alert| CERTIFICATE_ALERTS.contains(&alert))
    }

    /// Whether nginx's own lines tell of one of some alerts, and nobody could shake hands.
    pub(super) fn is_told_alone(&self, alerts: &[u8]) -> bool {
        let is_it = |symptom: &Symptom| alert_number(symptom).is_some_and(|alert| alerts.contains(&alert));
        self.probe.gap().is_some() && self.symptoms.iter().any(|(_, _, symptom)| is_it(symptom))
    }

    /// A finding that rests on nginx's own lines alone.
    pub(super) fn told(
        &self,
        case: &Case<'_>,
        cause: &'static Cause,
        confidence: Confidence,
        subject: &Subject,
        at: Option<&Span>,
    ) -> Ruling {
        let gap = self.probe.gap().cloned();
        let open = gap.map(|gap| Case::open(gap, "how the upstream answers a handshake now"));
        Ruling::found(self.finding(case, cause, confidence, subject, at).open(open))
    }

    /// What a handshake with other settings comes to; an error asks for it.
    pub(super) fn with(&self, case: &'c Case<'_>, spec: &ProbeSpec) -> Result<Option<&'c TlsAnswer>, Asks> {
        Ok(or_ask(case.probe_with(self.peer, spec))?.known().and_then(|report| report.tls.as_ref()))
    }

    /// A finding about these handshakes: one that is confirmed was seen now.
    pub(super) fn finding(
        &self,
        case: &Case<'_>,
        cause: &'static Cause,
        confidence: Confidence,
        subject: &Subject,
        at: Option<&Span>,
    ) -> Finding {
        let line = Case::lines_evidence(self.symptoms.iter().copied(), |n| {
            format!("{} of nginx failed so", crate::case::count(n, "TLS handshake"))
        });
        let seen = confidence == Confidence::Confirmed;
        let mut finding = Finding::new(cause, confidence, subject)
            .explaining(self.symptoms.iter().map(|(id, ..)| *id))
            .still_failing(seen.then_some(true))
            .with(line)
            .at([at.unwrap_or(&self.pass.at).clone()]);
        finding.fails_clients_now = seen && case.is_felt(self.peer);
        finding
    }

    /// Evidence of the peer's own probe.
    pub(super) fn seen(&self, case: &Case<'_>, says: impl Into<String>) -> Evidence {
        Evidence::supporting(says, case.probe_origin(self.peer))
    }

    /// Evidence of a handshake with other settings.
    pub(super) fn seen_with(&self, case: &Case<'_>, spec: &ProbeSpec, says: impl Into<String>) -> Evidence {
        Evidence::supporting(says, Origin::Probe(case.probe_ask(self.peer, spec)))
    }
}

/// What a cause of a certificate that nginx does not accept looks for.
pub(super) struct Refused {
    pub(super) cause: &'static Cause,
    /// Whether nginx's own line is about it.
    pub(super) logged: fn(&Symptom) -> bool,
    /// Whether the verdict is about it.
    pub(super) is_it: fn(&TlsVerdict) -> bool,
    /// What the certificates tell of it.
    pub(super) says: fn(&TlsAnswer, &TlsSpec) -> String,
    /// The line that is to be changed.
    pub(super) place: fn(&Pass) -> Option<&Span>,
}

/// Rules on a certificate that nginx does not accept: confirmed where the probe's verdict is the same, likely where nobody
/// could ask, or where the verdict is another one since.
pub(super) fn refused(case: &Case<'_>, subject: &Subject, refused: &Refused) -> Result<Ruling, Asks> {
    let Some(found) = handshakes(case, subject, refused.logged)? else { return Ok(Ruling::NoSign) };
    let place = (refused.place)(found.pass);
    if let Some((verdict, answer)) = found.verdict().zip(found.answer())
        && (refused.is_it)(verdict)
    {
        let evidence = found.seen(case, (refused.says)(answer, &found.spec));
        let finding = found.finding(case, refused.cause, Confidence::Confirmed, subject, place);
        return Ok(Ruling::found(finding.with([evidence])));
    }
    if found.symptoms.is_empty() {
        return Ok(Ruling::NoSign);
    }
    let finding = found.finding(case, refused.cause, Confidence::Likely, subject, place);
    let open = found.probe.gap().cloned().map(|gap| Case::open(gap, "the certificate that is there now"));
    let is_over =
        found.verdict().is_some_and(|verdict| verdict.code == 0 && verdict.is_for_name != Some(false));
    Ok(Ruling::found(finding.still_failing(is_over.then_some(false)).open(open)))
}

/// The library's codes for a chain that does not end in what is trusted.
pub(super) const UNTRUSTED: [i32; 7] = [2, 18, 19, 20, 21, 24, 27];

/// The code of nginx's `certificate verify error: (10:certificate has expired)`.
pub(super) fn verify_code(symptom: &Symptom) -> Option<i32> {
    let detail = symptom.detail.as_deref().filter(|_| symptom.is(Phrase::TlsVerifyFailed))?;
    detail.trim_start_matches('(').split(':').next()?.trim().parse().ok()
}

/// The number of the alert in the library's words: `SSL alert number 40`.
pub(super) fn alert_number(symptom: &Symptom) -> Option<u8> {
    let detail = symptom.detail.as_deref()?;
    let number = detail.split_once("SSL alert number ")?.1;
    number.split(|byte: char| !byte.is_ascii_digit()).next()?.parse().ok()
}

/// Whether a handshake of nginx's own failed.
pub(super) fn is_handshake(symptom: &Symptom) -> bool {
    symptom.phase == Some(Phase::TlsHandshake)
        && (symptom.is(Phrase::TlsHandshakeFailed)
            || symptom.is(Phrase::TlsPeerClosed)
            || symptom.is(Phrase::ReceiveFailed))
}

/// The name of an alert, as RFC 8446 has it.
pub(crate) fn alert_name(alert: u8) -> String {
    let name = match alert {
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        48 => "unknown_ca",
        49 => "access_denied",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        112 => "unrecognized_name",
        116 => "certificate_required",
        other => return format!("alert {other}"),
    };
    format!("alert {alert} ({name})")
}

/// The names that the first certificate is for, in short.
pub(super) fn names_of(answer: &TlsAnswer) -> String {
    let Some(own) = answer.certificates.first() else { return "no name".to_owned() };
    match own.names.as_slice() {
        [] => own.subject.clone(),
        names if names.len() <= 3 => names.join(", "),
        names => format!("{} and {} more", names[..2].join(", "), names.len() - 2),
    }
}
