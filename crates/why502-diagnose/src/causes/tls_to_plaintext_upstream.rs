//! # tls-to-plaintext-upstream
//!
//! ## What happens
//!
//! nginx speaks TLS (`https://`, `grpcs://`, `suwsgi://`) to a port that speaks none. What comes back is no TLS record,
//! and the handshake fails. True for every version of nginx.
//!
//! ## What you see
//!
//! `SSL_do_handshake() failed (SSL: error:0A00010B:SSL routines::wrong version number) while SSL handshaking to upstream`,
//! a 502; with servers that wait for a request line `upstream timed out … while SSL handshaking to upstream`, with those
//! that close `peer closed connection in SSL handshake`.
//!
//! ## How we know
//!
//! Confirmed: a probe shakes hands as nginx does, and the bytes that the port sends are no TLS, or none come and a plain
//! request is answered. Likely: `wrong version
//! number` (or `packet length too long`, `http request`) in nginx's message.
//!
//! ## What would disprove it
//!
//! A TLS record from the port, even an alert.
//!
//! ## What to do
//!
//! Write `http://`, or dial the port that speaks TLS.
//!
//! ## Not to be confused with
//!
//! `plaintext-to-tls-upstream` (the other way round), `tls-version-mismatch` (an alert of a TLS server), `tls-sni-missing`.
//!
//! ## References
//!
//! nginx: `ngx_ssl_handshake`; OpenSSL: `SSL_R_WRONG_VERSION_NUMBER`; RFC 8446, section 5.1.

use super::config_not_reloaded::newer_source;
use super::handshakes::prefix;
use super::unanswered::attempts;
use crate::case::{Case, PeerSubject, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::plan;
use crate::remedy::{Remedy, Risk};
use why502_facts::{FirstBytes, Phase, Phrase, ProbeReport};

pub(super) static CAUSE: Cause = Cause {
    id: "tls-to-plaintext-upstream",
    layer: Layer::Tls,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("tls_to_plaintext_upstream.rs"),
};

/// What OpenSSL says of a first record that is none.
const NOT_TLS: [&str; 3] = ["wrong version number", "packet length too long", "http request"];

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(peer) = subject.peer() else { return Ok(Ruling::NoSign) };
    if !case.pass_to(peer).is_some_and(|pass| pass.tls) {
        return mended(case, subject);
    }
    let probe = or_ask(case.probe(peer))?;
    let foreign = probe.clone().known().and_then(foreign_bytes);
    let plain = match probe.known().filter(|report| is_without_answer(report)) {
        Some(_) => plain_answer(case, peer)?,
        None => None,
    };
    let failed = attempts(case, subject, is_handshake)?;
    let said =
        failed.as_ref().is_some_and(|failed| failed.symptoms.iter().any(|(_, _, symptom)| says_so(symptom)));
    if foreign.is_none() && plain.is_none() && !said {
        return Ok(Ruling::NoSign);
    }
    let is_seen = foreign.is_some() || plain.is_some();
    let confidence = if is_seen { Confidence::Confirmed } else { Confidence::Likely };
    let says = |n| format!("{} failed: what came back is no TLS", count(n, "TLS handshake"));
    let mut finding = match &failed {
        Some(failed) => failed.finding(case, &CAUSE, confidence, subject, says),
        None => Finding::new(&CAUSE, confidence, subject).at(case.pass_to(peer).map(|pass| pass.at.clone())),
    };
    finding.fails_clients_now = is_seen && case.is_felt(peer);
    let probed = foreign.map(|what| {
        Evidence::supporting(
            format!("to a ClientHello the port answers with {what}"),
            case.probe_origin(peer),
        )
    });
    Ok(Ruling::found(finding.still_failing(is_seen.then_some(true)).with(probed.into_iter().chain(plain))))
}

/// TLS was spoken to the peer, and the configuration that was loaded since does so no longer.
fn mended(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(failed) = attempts(case, subject, says_so)? else { return Ok(Ruling::NoSign) };
    let last = failed.symptoms.iter().map(|(_, failure, _)| failure.at).max();
    let is_over = newer_source(case).is_none() && case.gateway.loaded > last;
    let says = |n| format!("{} failed: what came back was no TLS", count(n, "TLS handshake"));
    let finding = failed.finding(case, &CAUSE, Confidence::Likely, subject, says);
    Ok(Ruling::found(finding.still_failing(is_over.then_some(false))))
}

/// Whether a ClientHello got no byte: the connection was closed, or nothing came.
fn is_without_answer(report: &ProbeReport) -> bool {
    report.tls.as_ref().is_some_and(|tls| !tls.established && tls.first_bytes.as_slice().is_empty())
}

/// What a port that does not answer a ClientHello answers a plain request with.
fn plain_answer(case: &Case<'_>, peer: &PeerSubject) -> Result<Option<Evidence>, Asks> {
    let Some(spec) = plan::plain_spec(case, peer) else { return Ok(None) };
    let report = or_ask(case.probe_with(peer, &spec))?;
    Ok(report.known().and_then(|report| report.answer.as_ref()).map(|answer| {
        let says = format!("a ClientHello gets no answer, and a plain request gets {}", answer.status);
        Evidence::supporting(says, Origin::Probe(case.probe_ask(peer, &spec)))
    }))
}

fn is_handshake(symptom: &Symptom) -> bool {
    symptom.phase == Some(Phase::TlsHandshake) || symptom.is(Phrase::PrematurelySentResponse)
}

fn says_so(symptom: &Symptom) -> bool {
    let detail = symptom.detail.as_deref().unwrap_or("");
    symptom.is(Phrase::PrematurelySentResponse)
        || (symptom.is(Phrase::TlsHandshakeFailed) && NOT_TLS.iter().any(|words| detail.contains(words)))
}

/// What the port sent in place of a TLS record.
fn foreign_bytes(report: &ProbeReport) -> Option<&'static str> {
    let tls = report.tls.as_ref().filter(|tls| !tls.established)?;
    if tls.first_bytes.as_slice().is_empty() {
        return None;
    }
    match report.first_bytes {
        FirstBytes::Http => Some("plain HTTP"),
        FirstBytes::Tls { .. } | FirstBytes::Nothing => None,
        FirstBytes::Banner(_) => Some("a greeting of another protocol"),
        FirstBytes::FastCgi | FirstBytes::Http2 | FirstBytes::Other | FirstBytes::Uwsgi => {
            Some("bytes that are no TLS")
        }
    }
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.peer();
    let scheme = peer.and_then(|peer| case.pass_to(peer)).map_or("https", |pass| pass.protocol.scheme(true));
    let prefix = prefix(case, finding);
    let address = peer.map_or(String::new(), |peer: &PeerSubject| peer.address.to_string());
    Explanation {
        title: format!("{scheme}:// is spoken to {address}, which speaks no TLS"),
        why: "nginx begins a TLS handshake and gets bytes that are no TLS record. The handshake fails and nginx answers 502."
            .to_owned(),
        wont_help: vec![
            format!("{prefix}_ssl_verify off: no certificate was ever seen"),
            format!("other {prefix}_ssl_protocols or {prefix}_ssl_ciphers: the port speaks no TLS at all"),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let pass = finding.peer().and_then(|peer| case.pass_to(peer));
    let Some((pass, (secure, plain))) = pass.and_then(|pass| Some((pass, schemes(&pass.text)?))) else {
        return Vec::new();
    };
    let mut scheme = pass.at.clone();
    scheme.end = scheme.begin + u32::try_from(secure.len()).unwrap_or(0);
    vec![
        Remedy::new("Speak plainly to this upstream", Risk::Review)
            .edit(scheme, plain)
            .advice("if the way to it crosses a network that others share, dial its TLS port instead")
            .verify("the failing request answers"),
    ]
}

/// The scheme that a target begins with, and its plain counterpart.
fn schemes(text: &str) -> Option<(&'static str, &'static str)> {
    let pairs = [("https://", "http://"), ("grpcs://", "grpc://"), ("suwsgi://", "uwsgi://")];
    pairs
        .into_iter()
        .find(|(secure, _)| text.get(..secure.len()).is_some_and(|head| head.eq_ignore_ascii_case(secure)))
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass https://127.0.0.1:3000; }
    }
}
#- error.log
2026/11/21 02:33:33 [error] 101#101: *1 SSL_do_handshake() failed (SSL: error:0A00010B:SSL routines::wrong version number) while SSL handshaking to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "https://127.0.0.1:3000/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:33:33 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 400 Bad Request
Connection: close

"#;

    #[test]
    fn hit_plain_http_comes_back() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed tls-to-plaintext-upstream: https:// is spoken to 127.0.0.1:3000, which speaks no TLS [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_by_the_message_alone_is_likely() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline").summary(), @"
        Broken
        Likely tls-to-plaintext-upstream: https:// is spoken to 127.0.0.1:3000, which speaks no TLS [1 requests]
        ");
    }

    /// A server that closes on bytes that are no request line.
    fn closing() -> Fixture {
        let log = HIT.replace(
            "SSL_do_handshake() failed (SSL: error:0A00010B:SSL routines::wrong version number)",
            "peer closed connection in SSL handshake",
        );
        Fixture::new(&log).with("probe 127.0.0.1:3000", "closed")
    }

    #[test]
    fn hit_it_closes_on_a_handshake_and_answers_a_plain_request() {
        let answering = closing().with("probe 127.0.0.1:3000 http", "answers\nHTTP/1.1 200 OK\n\n");
        insta::assert_snapshot!(answering.summary(), @"
        Broken
        Confirmed tls-to-plaintext-upstream: https:// is spoken to 127.0.0.1:3000, which speaks no TLS [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_it_answers_neither() {
        let summary = closing().summary();
        assert!(!summary.contains("tls-to-plaintext-upstream"), "{summary}");
    }

    #[test]
    fn near_miss_an_alert_comes_from_a_tls_server() {
        let log = HIT.replace(
            "error:0A00010B:SSL routines::wrong version number",
            "error:0A000410:SSL routines::sslv3 alert handshake failure:SSL alert number 40",
        );
        let alert =
            Fixture::new(&log).with("probe 127.0.0.1:3000", "answers\n\\x15\\x03\\x03\\x00\\x02\\x02\\x28");
        insta::assert_snapshot!(alert.summary(), @"
        Inconclusive
        unexplained: 1
        ");
    }

    #[test]
    fn gap_the_peer_cannot_be_probed() {
        insta::assert_snapshot!(Fixture::new(HIT).without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Likely tls-to-plaintext-upstream: https:// is spoken to 127.0.0.1:3000, which speaks no TLS [1 requests]
        ");
    }

    #[test]
    fn the_remedy_changes_the_scheme() {
        insta::assert_snapshot!(crate::fixture::first_diff(&Fixture::new(HIT).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -4,5 +4,5 @@
                 listen 80;
                 server_name shop.example.com;
        -        location / { proxy_pass https://127.0.0.1:3000; }
        +        location / { proxy_pass http://127.0.0.1:3000; }
             }
         }
        ");
    }
}
