//! # tls-name-mismatch
//!
//! ## What happens
//!
//! Verification is on, and the upstream's certificate is valid for other names than the one that nginx expects:
//! `proxy_ssl_name`, or by default the host of the target, which for a group is the group's own name. Or a name is sent
//! that the server does not know. True for every version of nginx since 1.7.0.
//!
//! ## What you see
//!
//! `upstream SSL certificate does not match "NAME"` while SSL handshaking to upstream, or `SSL alert number 112`.
//!
//! ## How we know
//!
//! Confirmed: a handshake as nginx makes it gets a certificate of a trusted chain for other names, or the server answers
//! to the very name with `unrecognized_name`. Likely: the error log says so, and nobody could ask.
//!
//! ## What would disprove it
//!
//! A certificate that is for the expected name.
//!
//! ## What to do
//!
//! Set `proxy_ssl_name` (and `proxy_ssl_server_name on`) to a name of the certificate.
//!
//! ## Not to be confused with
//!
//! `tls-sni-missing` (without a name another certificate is sent), `tls-certificate-untrusted`,
//! `tls-certificate-expired`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_ssl_handshake`, `ngx_ssl_check_host`; OpenSSL: `X509_STORE_CTX_get_error(3)`.

use super::handshakes::{
    Refused, alert_name, alert_number, handshakes, is_handshake, names_of, prefix, refused,
};
use crate::case::{Case, Subject, Symptom};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Phrase, TlsAnswer, TlsSpec};
use why502_model::{Pass, Span};

pub(super) static CAUSE: Cause = Cause {
    id: "tls-name-mismatch",
    layer: Layer::Tls,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("tls_name_mismatch.rs"),
};

/// A server that does not know the name that it was sent.
const UNRECOGNIZED_NAME: u8 = 112;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let sought = Refused {
        cause: &CAUSE,
        logged: |symptom| symptom.is(Phrase::TlsNameMismatch),
        is_it: |verdict| verdict.code == 0 && verdict.is_for_name == Some(false),
        says,
        place,
    };
    match refused(case, subject, &sought)? {
        Ruling::NoSign => unknown_name(case, subject),
        ruling => Ok(ruling),
    }
}

/// The server refuses the very name that is sent.
fn unknown_name(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let is_it = |symptom: &Symptom| is_handshake(symptom) && alert_number(symptom) == Some(UNRECOGNIZED_NAME);
    let Some(found) = handshakes(case, subject, is_it)? else { return Ok(Ruling::NoSign) };
    let Some(name) = found.spec.server_name.clone() else { return Ok(Ruling::NoSign) };
    if found.alert() != Some(UNRECOGNIZED_NAME) {
        return Ok(Ruling::NoSign);
    }
    let says = format!("to the server name {name} it answers with {}", alert_name(UNRECOGNIZED_NAME));
    let finding = found.finding(case, &CAUSE, Confidence::Confirmed, subject, place(found.pass));
    Ok(Ruling::found(finding.with([found.seen(case, says)])))
}

fn place(pass: &Pass) -> Option<&Span> {
    pass.tls_settings.name.at.as_ref()
}

/// The names of the certificate, and the one that was expected.
fn says(answer: &TlsAnswer, spec: &TlsSpec) -> String {
    let expected = spec.verify.as_ref().and_then(|verify| verify.name.as_deref()).unwrap_or("another name");
    format!("its certificate is for {}, and nginx expects {expected}", names_of(answer))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let prefix = prefix(case, finding);
    Explanation {
        title: format!("{} has no certificate for the name that nginx asks for", finding.address()),
        why: "nginx compares the names of the certificate with the one that it is told to expect, and none fits; or the server \
              refuses the very name. The connection ends before a request is sent, and nginx answers 502."
            .to_owned(),
        wont_help: vec![format!("another Host header: the name of TLS is set by {prefix}_ssl_name")],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let prefix = prefix(case, finding);
    vec![
        Remedy::new("Expect a name of the certificate", Risk::ShowOnly)
            .advice(format!(
                "set `{prefix}_ssl_name` to a name that the certificate of {} is for, and `{prefix}_ssl_server_name on`, and reload",
                finding.address()
            ))
            .verify("the failing request answers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream shop { server 127.0.0.1:8443; }
    server {
        listen 80;
        server_name shop.example.com;
        location / {
            proxy_ssl_verify on;
            proxy_ssl_name shop.internal;
            proxy_ssl_trusted_certificate /etc/ssl/ca.pem;
            proxy_pass https://shop;
        }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 upstream SSL certificate does not match "shop.internal" while SSL handshaking to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "https://127.0.0.1:8443/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:8443 nginx
#- probe 127.0.0.1:8443
answers tls verify=0 name=no
"#;

    #[test]
    fn hit_the_probe_comes_to_the_same_verdict() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed tls-name-mismatch: 127.0.0.1:8443 has no certificate for the name that nginx asks for [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_server_does_not_know_the_name() {
        let log = HIT
            .replace("proxy_ssl_verify on;", "proxy_ssl_server_name on;")
            .replace("upstream SSL certificate does not match \"shop.internal\"", "SSL_do_handshake() failed (SSL: error:0A000458:SSL routines::tlsv1 unrecognized name:SSL alert number 112)");
        insta::assert_snapshot!(Fixture::new(&log).with("probe 127.0.0.1:8443", "answers tls alert=112").summary(), @"
        Broken
        Confirmed tls-name-mismatch: 127.0.0.1:8443 has no certificate for the name that nginx asks for [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_nothing_is_verified() {
        let open = HIT.replace("proxy_ssl_verify on", "proxy_ssl_verify off");
        let summary =
            Fixture::new(&open).with("error.log", "").with("probe 127.0.0.1:8443", "answers tls").summary();
        assert!(!summary.contains("tls-name-mismatch"), "{summary}");
    }

    #[test]
    fn near_miss_another_verdict() {
        let summary = Fixture::new(HIT)
            .with("error.log", "")
            .with("probe 127.0.0.1:8443", "answers tls verify=0 name=yes")
            .summary();
        assert!(!summary.contains("tls-name-mismatch"), "{summary}");
    }

    #[test]
    fn gap_nobody_may_shake_hands() {
        insta::assert_snapshot!(Fixture::new(HIT).without("probe 127.0.0.1:8443").summary(), @"
        Broken
        Likely tls-name-mismatch: 127.0.0.1:8443 has no certificate for the name that nginx asks for [1 requests]
          open: the certificate that is there now: the fixture does not tell
        ");
    }
}
