//! # tls-sni-missing
//!
//! ## What happens
//!
//! The upstream needs the name of a server in the TLS handshake (SNI), to find the right certificate or to answer at all, and
//! nginx sends none: `proxy_ssl_server_name` is off by default. The server ends the handshake, or sends another certificate,
//! which is not accepted. True for every version of nginx since 1.7.0.
//!
//! ## What you see
//!
//! `SSL_do_handshake() failed` with `SSL alert number 40`, `80` or `112`, `peer closed connection in SSL handshake`, or
//! `upstream SSL certificate does not match`, each while SSL handshaking to upstream.
//!
//! ## How we know
//!
//! Confirmed: a handshake without a name fails as nginx's does, and one with a name that the configuration has for this
//! upstream is completed and accepted; or the server itself answers `unrecognized_name` where none was sent. Likely: it refuses
//! without a name, whatever versions and ciphers are offered, and the right name is not known; or the error log has
//! `unrecognized_name`, and nobody could ask.
//!
//! ## What would disprove it
//!
//! A handshake without a name that is completed, or one with the right name that is refused in the same way.
//!
//! ## What to do
//!
//! `proxy_ssl_server_name on;` and `proxy_ssl_name` with the name that the upstream expects.
//!
//! ## Not to be confused with
//!
//! `tls-version-mismatch`, `tls-client-certificate-required` (the same alerts), `tls-name-mismatch` (a name is sent, and it is
//! another one).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_ssl_name`; RFC 6066, section 3.

use super::handshakes::{Handshakes, alert_name, handshakes, is_handshake, prefix};
use crate::case::{Case, Subject, Symptom};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::plan;
use crate::remedy::{Remedy, Risk};
use why502_facts::{Phrase, TlsAnswer};

pub(super) static CAUSE: Cause = Cause {
    id: "tls-sni-missing",
    layer: Layer::Tls,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[
        "tls-certificate-expired",
        "tls-certificate-untrusted",
        "tls-name-mismatch",
        "upstream-closed-before-response",
        "upstream-reset-before-response",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("tls_sni_missing.rs"),
};

/// A server that does not know the name of the handshake, or finds none.
const UNRECOGNIZED_NAME: u8 = 112;
/// Alerts with which servers refuse a handshake without a name.
const REFUSALS: [u8; 2] = [40, 80];

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(found) = handshakes(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    if found.spec.server_name.is_none() {
        if found.is_told_alone(&[UNRECOGNIZED_NAME]) {
            return Ok(found.told(case, &CAUSE, Confidence::Likely, subject, None));
        }
        if found.is_told_alone(&REFUSALS) {
            return Ok(found.told(case, &CAUSE, Confidence::Possible, subject, None));
        }
    }
    if found.spec.server_name.is_some()
        || found.misses_certificate()
        || !(found.fails_now() || is_refused(found.answer()))
    {
        return Ok(Ruling::NoSign);
    }
    let ruling = |confidence, evidence: Evidence| {
        let finding = found.finding(case, &CAUSE, confidence, subject, None).still_failing(Some(true));
        Ok(Ruling::found(finding.with([evidence])))
    };
    if let Some(evidence) = accepted_with_a_name(case, &found)? {
        return ruling(Confidence::Confirmed, evidence);
    }
    match found.alert().filter(|_| found.fails_now()) {
        Some(UNRECOGNIZED_NAME) => {
            let says = format!("without a server name it answers with {}", alert_name(UNRECOGNIZED_NAME));
            ruling(Confidence::Confirmed, found.seen(case, says))
        }
        Some(alert) if REFUSALS.contains(&alert) && refuses_everything(case, &found, alert)? => {
            let says =
                format!("without a server name it answers with {}, whatever is offered", alert_name(alert));
            ruling(Confidence::Likely, found.seen(case, says))
        }
        _ => Ok(Ruling::NoSign),
    }
}

/// Whether nginx's own line is about such a handshake.
fn fits(symptom: &Symptom) -> bool {
    is_handshake(symptom) || symptom.is(Phrase::TlsNameMismatch) || symptom.is(Phrase::TlsVerifyFailed)
}

/// Whether a certificate came that is not accepted.
fn is_refused(answer: Option<&TlsAnswer>) -> bool {
    let verdict = answer.and_then(|answer| answer.verdict.as_ref());
    verdict.is_some_and(|verdict| verdict.code != 0 || verdict.is_for_name == Some(false))
}

/// A name with which the handshake is completed and the certificate accepted; an error asks for all of them.
fn accepted_with_a_name(case: &Case<'_>, found: &Handshakes<'_>) -> Result<Option<Evidence>, Asks> {
    let mut asks = Vec::new();
    for (name, spec) in plan::named_specs(case, found.peer, &found.spec) {
        match found.with(case, &spec) {
            Ok(Some(answer))
                if answer.established && answer.unusable.is_empty() && !is_refused(Some(answer)) =>
            {
                let says = format!("with the server name {name} the handshake is completed");
                return Ok(Some(found.seen_with(case, &spec, says)));
            }
            Ok(_) => {}
            Err(more) => asks.extend(more),
        }
    }
    if asks.is_empty() { Ok(None) } else { Err(asks) }
}

/// Whether the server answers in the same way to everything that the library has.
fn refuses_everything(case: &Case<'_>, found: &Handshakes<'_>, alert: u8) -> Result<bool, Asks> {
    let wide = found.with(case, &plan::wide_spec(&found.spec))?;
    Ok(wide.is_some_and(|wide| !wide.established && wide.alert == Some(alert)))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let prefix = prefix(case, finding);
    Explanation {
        title: format!(
            "{} needs a server name in the TLS handshake, and nginx sends none",
            finding.address()
        ),
        why: format!(
            "The upstream decides by the name in the handshake which certificate to send, and whether to answer at all. nginx sends \
             no name unless {prefix}_ssl_server_name is on, so the handshake fails, and it answers 502."
        ),
        wont_help: vec![
            "the Host header: it is sent after the handshake".to_owned(),
            format!("other {prefix}_ssl_protocols or {prefix}_ssl_ciphers: they are not what is refused"),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let prefix = prefix(case, finding);
    vec![
        Remedy::new("Send the server name", Risk::ShowOnly)
            .advice(format!("set `{prefix}_ssl_server_name on;` and `{prefix}_ssl_name NAME;` with the name that the upstream expects beside the pass, and reload"))
            .verify("the failing request answers"),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use crate::fixture::Fixture;

    pub(crate) const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name shop.example.com;
        location / {
            proxy_set_header Host shop.internal.example;
            proxy_pass https://127.0.0.1:8443;
        }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 SSL_do_handshake() failed (SSL: error:0A000410:SSL routines::sslv3 alert handshake failure:SSL alert number 40) while SSL handshaking to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "https://127.0.0.1:8443/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:8443 haproxy
#- probe 127.0.0.1:8443
answers tls alert=40
#- probe 127.0.0.1:8443 sni
answers tls
"#;

    #[test]
    fn hit_with_a_name_the_handshake_is_completed() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed tls-sni-missing: 127.0.0.1:8443 needs a server name in the TLS handshake, and nginx sends none [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_server_names_the_reason() {
        let fixture = Fixture::new(HIT).without("probe 127.0.0.1:8443 sni");
        insta::assert_snapshot!(fixture.with("probe 127.0.0.1:8443", "answers tls alert=112").summary(), @"
        Broken
        Confirmed tls-sni-missing: 127.0.0.1:8443 needs a server name in the TLS handshake, and nginx sends none [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_whatever_is_offered_is_likely() {
        insta::assert_snapshot!(Fixture::new(HIT).without("probe 127.0.0.1:8443 sni").summary(), @"
        Broken
        Likely tls-sni-missing: 127.0.0.1:8443 needs a server name in the TLS handshake, and nginx sends none [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_everything_offered_is_accepted() {
        let fixture = Fixture::new(HIT).without("probe 127.0.0.1:8443 sni");
        let summary = fixture.with("probe 127.0.0.1:8443 wide", "answers tls").summary();
        assert!(!summary.contains("tls-sni-missing"), "{summary}");
    }

    #[test]
    fn near_miss_a_name_is_sent() {
        let named = HIT.replace(
            "proxy_set_header Host shop.internal.example;",
            "proxy_ssl_server_name on; proxy_ssl_name a.example;",
        );
        let summary = Fixture::new(&named).with("probe 127.0.0.1:8443 sni", "answers tls alert=40").summary();
        assert!(!summary.contains("tls-sni-missing"), "{summary}");
    }

    #[test]
    fn gap_nobody_may_shake_hands() {
        let blind = Fixture::new(HIT).without("probe 127.0.0.1:8443").without("probe 127.0.0.1:8443 sni");
        assert!(!blind.summary().contains("Confirmed"), "{}", blind.summary());
    }
}
