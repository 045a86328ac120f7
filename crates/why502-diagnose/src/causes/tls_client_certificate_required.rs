//! # tls-client-certificate-required
//!
//! ## What happens
//!
//! The upstream asks for a certificate of its client (mutual TLS), and nginx presents none, or one that the upstream does not
//! accept. Servers end the handshake, or answer every request with 400. True for every version of nginx since 1.7.8.
//!
//! ## What you see
//!
//! `SSL_read() failed` or `SSL_do_handshake() failed` with `SSL alert number 116` (certificate_required), `40`, `42` to `49`,
//! and 502; or 400 `No required SSL certificate was sent` for every request.
//!
//! ## How we know
//!
//! Confirmed: a connection as nginx makes it is refused with `certificate_required`; or it is asked for a certificate, gives
//! none and is refused; or it presents the configured one, and the server answers that it does not take it. Likely: every
//! request gets 400, and the server asks for a certificate; or the error log has `certificate_required`, and nobody could
//! ask.
//!
//! ## What would disprove it
//!
//! A request through the same settings that is answered well.
//!
//! ## What to do
//!
//! Set `proxy_ssl_certificate` and `proxy_ssl_certificate_key` to a certificate that the upstream accepts.
//!
//! ## Not to be confused with
//!
//! `tls-version-mismatch`, `tls-sni-missing` (the same alert 40), `plaintext-to-tls-upstream` (400 for want of TLS).
//!
//! ## References
//!
//! nginx: `ngx_http_proxy_set_ssl`; RFC 8446, sections 4.3.2 and 6.2.

use super::handshakes::{CERTIFICATE_ALERTS, Handshakes, alert_name, alert_number, handshakes, prefix};
use crate::case::{Case, Failure, FailureId, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::plan;
use crate::remedy::{Remedy, Risk};
use why502_model::Span;

pub(super) static CAUSE: Cause = Cause {
    id: "tls-client-certificate-required",
    layer: Layer::Tls,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[400, 502],
    scope: Scope::Peer,
    supersedes: &["upstream-closed-before-response", "upstream-reset-before-response"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("tls_client_certificate_required.rs"),
};

/// A server that must have a certificate.
const CERTIFICATE_REQUIRED: u8 = 116;
/// A server that only says that the handshake failed: before TLS 1.3 that is how it misses a certificate.
const HANDSHAKE_FAILURE: u8 = 40;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(found) = handshakes(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    // A file that is only known with a request was not presented by the probe.
    let configured = found.pass.tls_settings.certificate.as_ref().is_some_and(|own| !own.value.is_empty());
    if !configured && found.is_told_alone(&[CERTIFICATE_REQUIRED]) {
        return Ok(found.told(case, &CAUSE, Confidence::Likely, subject, None));
    }
    if configured != found.spec.certificate.is_some() || found.answer().is_none() {
        return Ok(Ruling::NoSign);
    }
    if let Some(says) = refusal(&found, configured) {
        let finding = found.finding(case, &CAUSE, Confidence::Confirmed, subject, place(&found));
        return Ok(Ruling::found(finding.with([found.seen(case, says)])));
    }
    answered_400(case, subject, &found)
}

/// Where the certificate is configured that is presented.
fn place<'f>(found: &Handshakes<'f>) -> Option<&'f Span> {
    found.pass.tls_settings.certificate.as_ref()?.at.as_ref()
}

/// Whether nginx's own line tells of such an alert.
fn fits(symptom: &Symptom) -> bool {
    alert_number(symptom).is_some_and(|alert| {
        alert == CERTIFICATE_REQUIRED || alert == HANDSHAKE_FAILURE || CERTIFICATE_ALERTS.contains(&alert)
    })
}

/// How the server refuses the probe for its certificate, if it does.
fn refusal(found: &Handshakes<'_>, configured: bool) -> Option<String> {
    let asks = found.answer()?.asks_certificate == Some(true);
    match found.answer()?.alert? {
        CERTIFICATE_REQUIRED if !configured => {
            Some(format!("without a certificate it answers with {}", alert_name(CERTIFICATE_REQUIRED)))
        }
        HANDSHAKE_FAILURE if asks && !configured => Some(format!(
            "it asks for a certificate, and without one it answers with {}",
            alert_name(HANDSHAKE_FAILURE)
        )),
        alert if configured && found.rejects_certificate() => {
            Some(format!("to the certificate that nginx presents it answers with {}", alert_name(alert)))
        }
        _ => None,
    }
}

/// Every request gets 400 from a server that asks for a certificate.
fn answered_400(case: &Case<'_>, subject: &Subject, found: &Handshakes<'_>) -> Result<Ruling, Asks> {
    let answers_400 = found.probe.clone().known().and_then(|report| report.answer.as_ref());
    if answers_400.is_none_or(|answer| answer.status != 400) {
        return Ok(Ruling::NoSign);
    }
    let failed: Vec<(FailureId, &Failure)> = case
        .failures_about(found.peer)
        .filter(|(_, failure)| failure.is_answered_by(found.peer, 400))
        .collect();
    let is_served = case.last_success(found.peer).is_some();
    if failed.is_empty() || is_served {
        return Ok(Ruling::NoSign);
    }
    let open = plan::open_spec(&found.spec);
    let asks = found.with(case, &open)?.and_then(|answer| answer.asks_certificate);
    if asks != Some(true) {
        return Ok(Ruling::NoSign);
    }
    let says = |n| format!("{} got 400 from the upstream", count(n, "request"));
    let line = Case::line_of(&failed).map(|origin| Evidence::supporting(says(Case::weigh(&failed)), origin));
    let mut finding = found
        .finding(case, &CAUSE, Confidence::Likely, subject, place(found))
        .explaining(failed.iter().map(|(id, _)| *id))
        .still_failing(Some(true))
        .with(line)
        .with([
            found.seen(case, "a request through nginx's settings is answered with 400"),
            found.seen_with(case, &open, "it asks for a certificate in the handshake"),
        ]);
    finding.fails_clients_now = case.is_felt(found.peer);
    Ok(Ruling::found(finding))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let presented = finding
        .peer()
        .and_then(|peer| case.pass_to(peer))
        .is_some_and(|pass| pass.tls_settings.certificate.is_some());
    let what = if presented {
        "does not accept the certificate that nginx presents"
    } else {
        "wants a certificate of its client, and nginx presents none"
    };
    let prefix = prefix(case, finding);
    Explanation {
        title: format!("{} {what}", finding.address()),
        why: "The upstream lets in only clients that prove themselves by a certificate. It ends the connection, or answers every \
              request with an error, and nginx passes that on or answers 502."
            .to_owned(),
        wont_help: vec![
            format!(
                "{prefix}_ssl_verify or {prefix}_ssl_trusted_certificate: they are about the upstream's certificate"
            ),
            "ssl_client_certificate: that is what nginx asks of its own clients".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let prefix = prefix(case, finding);
    vec![
        Remedy::new("Present a certificate that the upstream accepts", Risk::ShowOnly)
            .advice(format!(
                "set {prefix}_ssl_certificate and {prefix}_ssl_certificate_key to a certificate that {} accepts, and reload",
                finding.address()
            ))
            .verify("the failing request answers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::tls_sni_missing::tests::HIT as REFUSED;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let log = REFUSED
            .replace("SSL_do_handshake() failed (SSL: error:0A000410:SSL routines::sslv3 alert handshake failure:SSL alert number 40) while SSL handshaking to upstream", "SSL_read() failed (SSL: error:0A00045C:SSL routines::tlsv13 alert certificate required:SSL alert number 116) while reading response header from upstream");
        Fixture::new(&log).with("probe 127.0.0.1:8443", "closed tls alert=116")
    }

    #[test]
    fn hit_the_server_names_the_reason() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed tls-client-certificate-required: 127.0.0.1:8443 wants a certificate of its client, and nginx presents none [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_asked_and_refused() {
        let fixture = Fixture::new(REFUSED).without("probe 127.0.0.1:8443 sni");
        insta::assert_snapshot!(fixture.with("probe 127.0.0.1:8443", "answers tls alert=40 asks").summary(), @"
        Broken
        Confirmed tls-client-certificate-required: 127.0.0.1:8443 wants a certificate of its client, and nginx presents none [1 requests, still failing]
        ");
    }

    fn answered() -> Fixture {
        let access =
            "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 400 248 \"-\" \"curl/8\"\n";
        let fixture = Fixture::new(REFUSED).with("error.log", "").with("access.log", access);
        fixture
            .with("probe 127.0.0.1:8443", "answers tls\nHTTP/1.1 400 Bad Request\n\n")
            .with("probe 127.0.0.1:8443 tls1.2", "answers tls asks")
    }

    #[test]
    fn hit_every_request_is_answered_with_400() {
        insta::assert_snapshot!(answered().summary(), @"
        Broken
        Likely tls-client-certificate-required: 127.0.0.1:8443 wants a certificate of its client, and nginx presents none [1 requests, still failing]
        ");
    }

    fn presenting(fixture: &Fixture) -> Fixture {
        let settings = "proxy_ssl_certificate /etc/nginx/own.pem; proxy_ssl_certificate_key /etc/nginx/own.pem;\n            proxy_pass";
        let config = fixture.section("nginx.conf").replacen("proxy_pass", settings, 1);
        fixture.clone().with("nginx.conf", &config)
    }

    #[test]
    fn hit_the_certificate_that_is_presented_is_answered_with_400() {
        let summary = presenting(&answered()).summary();
        assert!(
            summary.contains("Likely tls-client-certificate-required: 127.0.0.1:8443 does not accept"),
            "{summary}"
        );
    }

    #[test]
    fn hit_the_certificate_that_is_presented_is_of_an_unknown_authority() {
        let refused = Fixture::new(REFUSED)
            .with("probe 127.0.0.1:8443", "answers tls alert=48 asks")
            .with("probe 127.0.0.1:8443 wide", "answers tls version=TLSv1.3");
        let summary = presenting(&refused).summary();
        assert!(summary.contains("Confirmed tls-client-certificate-required"), "{summary}");
        assert!(!summary.contains("tls-version-mismatch"), "{summary}");
    }

    #[test]
    fn near_miss_a_400_of_a_server_that_asks_for_nothing() {
        let summary = answered().with("probe 127.0.0.1:8443 tls1.2", "answers tls").summary();
        assert!(!summary.contains("tls-client-certificate-required"), "{summary}");
    }

    #[test]
    fn near_miss_no_certificate_is_asked_for() {
        let summary = Fixture::new(REFUSED).summary();
        assert!(!summary.contains("tls-client-certificate-required"), "{summary}");
    }

    #[test]
    fn gap_nobody_may_connect() {
        let summary = hit().without("probe 127.0.0.1:8443").without("probe 127.0.0.1:8443 sni").summary();
        assert!(!summary.contains("Confirmed"), "{summary}");
    }
}
