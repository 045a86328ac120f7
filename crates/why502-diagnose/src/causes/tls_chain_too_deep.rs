//! # tls-chain-too-deep
//!
//! ## What happens
//!
//! Verification is on, and more certificates stand between the upstream's own and the trusted authority than
//! `proxy_ssl_verify_depth` allows (1 by default). True for every version of nginx since 1.7.0.
//!
//! ## What you see
//!
//! `upstream SSL certificate verify error: (22:certificate chain too long)`, and with newer OpenSSL `(20:unable to get local
//! issuer certificate)`, while SSL handshaking to upstream.
//!
//! ## How we know
//!
//! Confirmed: a handshake as nginx makes it is not accepted, and the same chain is trusted when it is verified to any depth.
//! Likely: the error log has the code 22, and nobody could ask.
//!
//! ## What would disprove it
//!
//! A chain that is accepted with that depth.
//!
//! ## What to do
//!
//! Raise `proxy_ssl_verify_depth`, or trust an authority that stands nearer.
//!
//! ## Not to be confused with
//!
//! `tls-certificate-untrusted` (no trusted authority at any depth), `tls-certificate-expired`, `tls-name-mismatch`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_ssl_handshake`, `ngx_ssl_check_host`; OpenSSL: `X509_STORE_CTX_get_error(3)`.

use super::handshakes::{UNTRUSTED, handshakes, prefix, verify_code};
use crate::case::{Case, Subject, Symptom};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use crate::plan;
use crate::remedy::{Remedy, Risk};
use why502_facts::{TlsAnswer, TlsSpec};

pub(super) static CAUSE: Cause = Cause {
    id: "tls-chain-too-deep",
    layer: Layer::Tls,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["tls-certificate-untrusted"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("tls_chain_too_deep.rs"),
};

/// The library's code for a chain that is too long.
const TOO_LONG: i32 = 22;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(found) = handshakes(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    let place = found.pass.tls_settings.verify_depth.at.as_ref();
    if found.probe.gap().is_some() {
        let is_told = found.symptoms.iter().any(|(_, _, symptom)| verify_code(symptom) == Some(TOO_LONG));
        if !is_told {
            return Ok(Ruling::NoSign);
        }
        return Ok(found.told(case, &CAUSE, Confidence::Likely, subject, place));
    }
    let Some(answer) = found.answer() else { return Ok(Ruling::NoSign) };
    if !answer.verdict.as_ref().is_some_and(|verdict| is_too_long_or_untrusted(verdict.code)) {
        return Ok(Ruling::NoSign);
    }
    let deep = plan::deep_spec(&found.spec);
    let verdict = found.with(case, &deep)?.and_then(|answer| answer.verdict.as_ref());
    if verdict.is_none_or(|verdict| verdict.code != 0) {
        return Ok(Ruling::NoSign);
    }
    let finding = found.finding(case, &CAUSE, Confidence::Confirmed, subject, place);
    let to_any_depth = found.seen_with(case, &deep, "verified to any depth, its chain is trusted");
    Ok(Ruling::found(finding.with([found.seen(case, says(answer, &found.spec)), to_any_depth])))
}

/// Whether nginx's own line may be about a chain that is too long.
fn fits(symptom: &Symptom) -> bool {
    verify_code(symptom).is_some_and(is_too_long_or_untrusted)
}

/// Beyond the depth the library looks for no authority, and newer versions only say that they found none.
fn is_too_long_or_untrusted(code: i32) -> bool {
    code == TOO_LONG || UNTRUSTED.contains(&code)
}

/// How long the chain is.
fn says(answer: &TlsAnswer, spec: &TlsSpec) -> String {
    let depth = spec.verify.as_ref().map_or(0, |verify| verify.depth);
    format!(
        "it sends {} certificates, and with the depth in force, {depth}, no authority is found",
        answer.certificates.len()
    )
}

fn explain(_case: &Case<'_>, finding: &Finding) -> Explanation {
    Explanation {
        title: format!("the certificate chain of {} is longer than the depth that nginx verifies", finding.address()),
        why: "nginx looks for a trusted authority behind so many intermediate certificates and no more. The chain of this upstream is longer, and \
              nginx ends the connection before it sends a request."
            .to_owned(),
        wont_help: vec!["another trusted file with the same root: the chain stays as long".to_owned()],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let prefix = prefix(case, finding);
    vec![
        Remedy::new("Verify to a greater depth", Risk::ShowOnly)
            .advice(format!("raise {prefix}_ssl_verify_depth to the number of intermediate certificates that {} sends, and reload", finding.address()))
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
2026/11/21 02:28:30 [error] 101#101: *5 upstream SSL certificate verify error: (22:certificate chain too long) while SSL handshaking to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "https://127.0.0.1:8443/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:8443 nginx
#- probe 127.0.0.1:8443
answers tls verify=20
#- probe 127.0.0.1:8443 deep
answers tls
"#;

    #[test]
    fn hit_the_probe_comes_to_the_same_verdict() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed tls-chain-too-deep -> tls-certificate-untrusted: the certificate chain of 127.0.0.1:8443 is longer than the depth that nginx verifies [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_the_chain_is_trusted_at_no_depth() {
        let summary = Fixture::new(HIT).with("probe 127.0.0.1:8443 deep", "answers tls verify=20").summary();
        assert!(!summary.contains("tls-chain-too-deep"), "{summary}");
    }

    #[test]
    fn near_miss_nothing_is_verified() {
        let open = HIT.replace("proxy_ssl_verify on", "proxy_ssl_verify off");
        let summary =
            Fixture::new(&open).with("error.log", "").with("probe 127.0.0.1:8443", "answers tls").summary();
        assert!(!summary.contains("tls-chain-too-deep"), "{summary}");
    }

    #[test]
    fn near_miss_another_verdict() {
        let summary = Fixture::new(HIT)
            .with("error.log", "")
            .with("probe 127.0.0.1:8443", "answers tls verify=0")
            .summary();
        assert!(!summary.contains("tls-chain-too-deep"), "{summary}");
    }

    #[test]
    fn gap_nobody_may_shake_hands() {
        insta::assert_snapshot!(Fixture::new(HIT).without("probe 127.0.0.1:8443").without("probe 127.0.0.1:8443 deep").summary(), @"
        Broken
        Likely tls-chain-too-deep: the certificate chain of 127.0.0.1:8443 is longer than the depth that nginx verifies [1 requests]
          open: how the upstream answers a handshake now: the fixture does not tell
        ");
    }
}
