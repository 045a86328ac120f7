//! # tls-certificate-untrusted
//!
//! ## What happens
//!
//! Verification is on, and the upstream's chain does not end in one of the authorities of
//! `proxy_ssl_trusted_certificate`: it signs itself, another authority signed it, or an intermediate certificate is not
//! sent. True for every version of nginx since 1.7.0.
//!
//! ## What you see
//!
//! `upstream SSL certificate verify error: (18:self-signed certificate)`, `(19:…)`, `(20:unable to get local issuer
//! certificate)` or `(21:unable to verify the first certificate)`, while SSL handshaking to upstream.
//!
//! ## How we know
//!
//! Confirmed: a handshake as nginx makes it, verified by the same authorities, comes to the same verdict. Likely: the
//! error log says so, and nobody could ask.
//!
//! ## What would disprove it
//!
//! A chain that ends in the trusted file.
//!
//! ## What to do
//!
//! Put the authority that issued the certificate into the trusted file, or let the upstream send its intermediate
//! certificates.
//!
//! ## Not to be confused with
//!
//! `tls-certificate-expired`, `tls-name-mismatch`, `tls-chain-too-deep`, `tls-sni-missing` (another certificate is sent
//! without a name).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_ssl_handshake`, `ngx_ssl_check_host`; OpenSSL: `X509_STORE_CTX_get_error(3)`.

use super::handshakes::{Refused, UNTRUSTED, prefix, refused, verify_code};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{TlsAnswer, TlsSpec};

pub(super) static CAUSE: Cause = Cause {
    id: "tls-certificate-untrusted",
    layer: Layer::Tls,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("tls_certificate_untrusted.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let sought = Refused {
        cause: &CAUSE,
        logged: |symptom| verify_code(symptom).is_some_and(|code| UNTRUSTED.contains(&code)),
        is_it: |verdict| UNTRUSTED.contains(&verdict.code),
        says,
        place: |pass| pass.tls_settings.trusted_certificate.as_ref()?.at.as_ref(),
    };
    refused(case, subject, &sought)
}

/// Who issued what was sent.
fn says(answer: &TlsAnswer, spec: &TlsSpec) -> String {
    let verdict = answer.verdict.as_ref().map_or("", |verdict| verdict.says.as_str());
    let trusted = spec.verify.as_ref().map_or("", |verify| verify.trusted.as_str());
    let issuer = answer.certificates.last().map_or("", |last| last.issuer.as_str());
    format!("the chain ends with the issuer {issuer}, which {trusted} does not lead to: {verdict}")
}

fn explain(_case: &Case<'_>, finding: &Finding) -> Explanation {
    Explanation {
        title: format!("the certificate of {} leads to no authority that nginx trusts", finding.address()),
        why: "nginx verifies the certificate of this upstream by the authorities of a file, and the chain does not end in one of them. It ends the \
              connection before it sends a request, and answers 502."
            .to_owned(),
        wont_help: vec!["the system's own authorities: nginx takes those of its file alone".to_owned()],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let prefix = prefix(case, finding);
    vec![
        Remedy::new("Trust the authority that issued the certificate", Risk::ShowOnly)
            .advice(format!(
                "add the authority that issued the certificate of {} to the file of {prefix}_ssl_trusted_certificate, or let the server there send its intermediate certificates; reload afterwards",
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
2026/11/21 02:28:30 [error] 101#101: *5 upstream SSL certificate verify error: (18:self-signed certificate) while SSL handshaking to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "https://127.0.0.1:8443/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:8443 nginx
#- probe 127.0.0.1:8443
answers tls verify=18
"#;

    #[test]
    fn hit_the_probe_comes_to_the_same_verdict() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed tls-certificate-untrusted: the certificate of 127.0.0.1:8443 leads to no authority that nginx trusts [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_nothing_is_verified() {
        let open = HIT.replace("proxy_ssl_verify on", "proxy_ssl_verify off");
        let summary =
            Fixture::new(&open).with("error.log", "").with("probe 127.0.0.1:8443", "answers tls").summary();
        assert!(!summary.contains("tls-certificate-untrusted"), "{summary}");
    }

    #[test]
    fn near_miss_another_verdict() {
        let summary = Fixture::new(HIT)
            .with("error.log", "")
            .with("probe 127.0.0.1:8443", "answers tls verify=0")
            .summary();
        assert!(!summary.contains("tls-certificate-untrusted"), "{summary}");
    }

    #[test]
    fn gap_nobody_may_shake_hands() {
        insta::assert_snapshot!(Fixture::new(HIT).without("probe 127.0.0.1:8443").summary(), @"
        Broken
        Likely tls-certificate-untrusted: the certificate of 127.0.0.1:8443 leads to no authority that nginx trusts [1 requests]
          open: the certificate that is there now: the fixture does not tell
        ");
    }
}
