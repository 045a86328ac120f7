//! # tls-version-mismatch
//!
//! ## What happens
//!
//! nginx and the upstream share no version of TLS or no cipher: `proxy_ssl_protocols` or `proxy_ssl_ciphers` offer too little,
//! or the upstream speaks only what nginx offers no longer. nginx before 1.23.4 offers TLS 1.3 only where it is told to; since
//! 1.27.3 it offers neither 1.0 nor 1.1.
//!
//! ## What you see
//!
//! `SSL_do_handshake() failed` with `SSL alert number 70` (protocol_version) or `40` (handshake_failure), `unsupported
//! protocol` or `no protocols available`, while SSL handshaking to upstream.
//!
//! ## How we know
//!
//! Confirmed: a handshake with the versions and ciphers in force fails, and one that offers everything is completed; or the
//! server answers `protocol_version`. Likely: the error log tells that alert, and nobody could ask.
//!
//! ## What would disprove it
//!
//! The same refusal whatever is offered.
//!
//! ## What to do
//!
//! Offer the version and the ciphers that the upstream takes, or let the upstream take newer ones.
//!
//! ## Not to be confused with
//!
//! `tls-sni-missing`, `tls-client-certificate-required` (the same alert 40), `tls-to-plaintext-upstream` (`wrong version
//! number`: no TLS at all).
//!
//! ## References
//!
//! nginx: `ngx_ssl_create`, `ngx_ssl_ciphers`; CHANGES 1.23.4, 1.27.3; RFC 8446, section 6.2.

use super::handshakes::{Handshakes, alert_name, handshakes, is_handshake, prefix};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::plan;
use crate::remedy::{Remedy, Risk};
use why502_facts::TlsAnswer;
use why502_model::Span;

pub(super) static CAUSE: Cause = Cause {
    id: "tls-version-mismatch",
    layer: Layer::Tls,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["upstream-closed-before-response", "upstream-reset-before-response"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("tls_version_mismatch.rs"),
};

/// Alerts of servers that take none of the ciphers, among other reasons.
const REFUSALS: [u8; 2] = [40, 71];
/// A server that takes none of the versions.
const PROTOCOL_VERSION: u8 = 70;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(found) = handshakes(case, subject, is_handshake)? else { return Ok(Ruling::NoSign) };
    let own = &found.pass.tls_settings;
    if found.is_told_alone(&[PROTOCOL_VERSION]) {
        return Ok(found.told(case, &CAUSE, Confidence::Likely, subject, own.protocols.at.as_ref()));
    }
    // Where no name is sent, that is the nearer reason.
    if found.is_told_alone(&REFUSALS) && found.spec.server_name.is_some() {
        return Ok(found.told(case, &CAUSE, Confidence::Possible, subject, None));
    }
    if !found.fails_now() || found.misses_certificate() || found.rejects_certificate() {
        return Ok(Ruling::NoSign);
    }
    let wide = plan::wide_spec(&found.spec);
    let agreed = found.with(case, &wide)?.filter(|answer| answer.established);
    let of_alert = || {
        let is_it = found.alert() == Some(PROTOCOL_VERSION);
        is_it.then(|| {
            let says =
                format!("to the versions that nginx offers it answers with {}", alert_name(PROTOCOL_VERSION));
            found.seen(case, says)
        })
    };
    let evidence: Option<Evidence> =
        agreed.map(|answer| found.seen_with(case, &wide, says(answer))).or_else(of_alert);
    let Some(evidence) = evidence else { return Ok(Ruling::NoSign) };
    let finding = found.finding(case, &CAUSE, Confidence::Confirmed, subject, place(&found, agreed));
    Ok(Ruling::found(finding.with([evidence])))
}

/// What both sides agree on where everything is offered.
fn says(answer: &TlsAnswer) -> String {
    let words = |text: &Option<String>| text.as_deref().unwrap_or("unknown").to_owned();
    format!(
        "with everything offered the handshake is completed: {} with {}",
        words(&answer.version),
        words(&answer.cipher)
    )
}

/// The line that offers too little: of the versions, unless the one that is agreed on is among them.
fn place<'f>(found: &Handshakes<'f>, agreed: Option<&TlsAnswer>) -> Option<&'f Span> {
    let settings = &found.pass.tls_settings;
    let version = agreed.and_then(|answer| answer.version.as_ref());
    let is_offered = version.is_some_and(|version| settings.protocols.value.contains(version));
    let (first, second) = (&settings.protocols.at, &settings.ciphers.at);
    let (first, second) = if is_offered { (second, first) } else { (first, second) };
    first.as_ref().or(second.as_ref())
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let prefix = prefix(case, finding);
    Explanation {
        title: format!("nginx and {} share no version of TLS or no cipher", finding.address()),
        why: "nginx offers the versions and ciphers that its configuration allows, and the upstream takes none of them. The \
              handshake ends there, and nginx answers 502."
            .to_owned(),
        wont_help: vec![
            format!("{prefix}_ssl_verify off: no certificate was ever looked at"),
            "ssl_protocols: that is what clients are offered, not upstreams".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let prefix = prefix(case, finding);
    vec![
        Remedy::new("Offer what the upstream takes", Risk::ShowOnly)
            .advice(format!("let {prefix}_ssl_protocols and {prefix}_ssl_ciphers offer what {} takes, as the evidence names it; better: let the upstream take TLS 1.2 and 1.3", finding.address()))
            .verify("the failing request answers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::tls_sni_missing::tests::HIT as REFUSED;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let named = REFUSED.replace(
            "proxy_set_header Host shop.internal.example;",
            "proxy_ssl_server_name on; proxy_ssl_name a.example;\n            proxy_ssl_protocols TLSv1.2;",
        );
        Fixture::new(&named)
            .with("probe 127.0.0.1:8443 sni", "answers tls alert=40")
            .with("probe 127.0.0.1:8443 wide", "answers tls version=TLSv1.3")
    }

    #[test]
    fn hit_everything_offered_is_accepted() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed tls-version-mismatch: nginx and 127.0.0.1:8443 share no version of TLS or no cipher [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_server_names_the_reason() {
        let refused = "answers tls alert=70";
        let fixture =
            hit().with("probe 127.0.0.1:8443 sni", refused).with("probe 127.0.0.1:8443 wide", refused);
        insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed tls-version-mismatch: nginx and 127.0.0.1:8443 share no version of TLS or no cipher [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_everything_is_refused() {
        let summary = hit().with("probe 127.0.0.1:8443 wide", "answers tls alert=40").summary();
        assert!(!summary.contains("tls-version-mismatch"), "{summary}");
    }

    #[test]
    fn gap_nobody_may_shake_hands() {
        let blind = hit()
            .without("probe 127.0.0.1:8443 sni")
            .without("probe 127.0.0.1:8443")
            .without("probe 127.0.0.1:8443 wide");
        let summary = blind.summary();
        assert!(!summary.contains("Confirmed"), "{summary}");
    }
}
