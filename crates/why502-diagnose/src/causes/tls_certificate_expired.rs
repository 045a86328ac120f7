//! # tls-certificate-expired
//!
//! ## What happens
//!
//! Verification is on, and the upstream's certificate, or one of its chain, is expired or not yet valid. nginx ends the
//! handshake and answers 502. True for every version of nginx since 1.7.0.
//!
//! ## What you see
//!
//! `upstream SSL certificate verify error: (10:certificate has expired)`, or `(9:certificate is not yet valid)`, while
//! SSL handshaking to upstream.
//!
//! ## How we know
//!
//! Confirmed: a handshake as nginx makes it, verified by the same authorities, comes to the same verdict. Likely: the
//! error log says so, and nobody could ask.
//!
//! ## What would disprove it
//!
//! A certificate that is valid now.
//!
//! ## What to do
//!
//! Renew the certificate on the upstream and reload it there; look at the clock of this host where it is not yet valid.
//!
//! ## Not to be confused with
//!
//! `tls-certificate-untrusted`, `tls-name-mismatch`, `tls-chain-too-deep` (other verdicts on the same certificate).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_ssl_handshake`, `ngx_ssl_check_host`; OpenSSL: `X509_STORE_CTX_get_error(3)`.

use super::handshakes::{Refused, refused, verify_code};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::TlsAnswer;

pub(super) static CAUSE: Cause = Cause {
    id: "tls-certificate-expired",
    layer: Layer::Tls,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("tls_certificate_expired.rs"),
};

/// The library's codes for a certificate before or after its time.
const OUT_OF_TIME: [i32; 2] = [9, 10];

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let sought = Refused {
        cause: &CAUSE,
        logged: |symptom| verify_code(symptom).is_some_and(|code| OUT_OF_TIME.contains(&code)),
        is_it: |verdict| OUT_OF_TIME.contains(&verdict.code),
        says: |answer, _| says(answer),
        place: |_| None,
    };
    refused(case, subject, &sought)
}

/// Until when each certificate is valid.
fn says(answer: &TlsAnswer) -> String {
    let times = answer
        .certificates
        .iter()
        .filter_map(|own| Some(format!("{} from {} to {}", own.subject, own.not_before?, own.not_after?)));
    format!("its certificates are valid: {}", times.collect::<Vec<_>>().join("; "))
}

fn explain(_case: &Case<'_>, finding: &Finding) -> Explanation {
    Explanation {
        title: format!("the certificate of {} is out of its time", finding.address()),
        why: "nginx verifies the certificate of this upstream and finds it expired, or not valid yet. It ends the connection before it sends a \
              request, and answers 502."
            .to_owned(),
        wont_help: vec!["restarting nginx: the certificate is the upstream's".to_owned()],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    vec![
        Remedy::new("Renew the certificate of the upstream", Risk::ShowOnly)
            .advice(format!("renew the certificate on {} and let the server there load it; a certificate that is not valid yet means a wrong clock", finding.address()))
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
2026/11/21 02:28:30 [error] 101#101: *5 upstream SSL certificate verify error: (10:certificate has expired) while SSL handshaking to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "https://127.0.0.1:8443/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:8443 nginx
#- probe 127.0.0.1:8443
answers tls verify=10
"#;

    #[test]
    fn hit_the_probe_comes_to_the_same_verdict() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed tls-certificate-expired: the certificate of 127.0.0.1:8443 is out of its time [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_nothing_is_verified() {
        let open = HIT.replace("proxy_ssl_verify on", "proxy_ssl_verify off");
        let summary =
            Fixture::new(&open).with("error.log", "").with("probe 127.0.0.1:8443", "answers tls").summary();
        assert!(!summary.contains("tls-certificate-expired"), "{summary}");
    }

    #[test]
    fn near_miss_another_verdict() {
        let summary = Fixture::new(HIT)
            .with("error.log", "")
            .with("probe 127.0.0.1:8443", "answers tls verify=0")
            .summary();
        assert!(!summary.contains("tls-certificate-expired"), "{summary}");
    }

    #[test]
    fn gap_nobody_may_shake_hands() {
        insta::assert_snapshot!(Fixture::new(HIT).without("probe 127.0.0.1:8443").summary(), @"
        Broken
        Likely tls-certificate-expired: the certificate of 127.0.0.1:8443 is out of its time [1 requests]
          open: the certificate that is there now: the fixture does not tell
        ");
    }
}
