//! # plaintext-to-tls-upstream
//!
//! ## What happens
//!
//! nginx speaks plain HTTP (`http://`, or `grpc://`) to a port that speaks TLS. The server finds no ClientHello and answers 400, sends
//! a TLS alert, or just closes. True for every version of nginx.
//!
//! ## What you see
//!
//! A 400 with `The plain HTTP request was sent to HTTPS port` where the upstream is nginx; from others `upstream
//! prematurely closed connection while reading response header from upstream`, `recv() failed (104…)`, or
//! `upstream sent no valid HTTP/1.0 header` (the alert's bytes). Of `grpc_pass` that 400 is read as `upstream sent too large http2
//! frame: 4740180`.
//!
//! ## How we know
//!
//! Confirmed: a TLS handshake with the port succeeds, or what it sends is a TLS record. Without a probe the messages fit
//! too many other causes to say so.
//!
//! ## What would disprove it
//!
//! A plain HTTP answer other than that 400.
//!
//! ## What to do
//!
//! Write `https://`, or `grpcs://` (and `proxy_ssl_server_name on` where the server picks its certificate by name), or dial the plain
//! port.
//!
//! ## Not to be confused with
//!
//! `tls-to-plaintext-upstream` (the other way round), `upstream-closed-before-response`, `response-not-http`,
//! `http-version-mismatch` (HTTP/1 alone is spoken there, without TLS).
//!
//! ## References
//!
//! nginx: `ngx_http_process_request` ("client sent plain HTTP request to HTTPS port"); RFC 8446, section 5.1.

use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::plan::is_own_listener;
use crate::remedy::{Remedy, Risk};
use why502_facts::{
    Errno, FirstBytes, Observed, Phrase, ProbeOutcome, ProbeReport, ProbeSpec, StepKind, TlsSpec,
};
use why502_model::{Pass, Protocol};

pub(super) static CAUSE: Cause = Cause {
    id: "plaintext-to-tls-upstream",
    layer: Layer::Tls,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[400, 502],
    scope: Scope::Peer,
    supersedes: &[
        "host-header-rejected",
        "http-version-mismatch",
        "response-not-http",
        "upstream-closed-before-response",
        "upstream-reset-before-response",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("plaintext_to_tls_upstream.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((peer, pass)) = subject.peer().and_then(|peer| Some((peer, case.pass_to(peer)?))) else {
        return Ok(Ruling::NoSign);
    };
    if pass.tls
        || !matches!(pass.protocol, Protocol::Grpc | Protocol::Http)
        || is_own_listener(case, &peer.address)
    {
        return Ok(Ruling::NoSign);
    }
    let probe = or_ask(case.probe(peer))?;
    let failed: Vec<(FailureId, &Failure)> =
        case.failures_about(peer).filter(|(_, failure)| fits(failure, peer)).collect();
    let odd_now = matches!(&probe, Observed::Known(report) if report.connected() && is_odd(report));
    if failed.is_empty() && !odd_now {
        return Ok(Ruling::NoSign);
    }
    let sends_tls =
        matches!(&probe, Observed::Known(report) if matches!(report.first_bytes, FirstBytes::Tls { .. }));
    let spec = handshake_spec(pass);
    let handshake = or_ask(case.probe_with(peer, &spec))?;
    let shakes_hands = matches!(&handshake, Observed::Known(report) if report.tls.as_ref().is_some_and(|tls| tls.established));
    if !shakes_hands && !sends_tls {
        return Ok(Ruling::NoSign);
    }
    let says = |n| format!("{} ended without a usable answer", count(n, "plain request"));
    let line = Case::line_of(&failed).map(|origin| Evidence::supporting(says(Case::weigh(&failed)), origin));
    let by_alert = sends_tls.then(|| {
        Evidence::supporting("to a plain request it answers with a TLS record", case.probe_origin(peer))
    });
    let by_handshake = shakes_hands.then(|| {
        Evidence::supporting(
            format!("{} completes a TLS handshake", peer.address),
            Origin::Probe(case.probe_ask(peer, &spec)),
        )
    });
    let mut finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
        .explaining(failed.iter().map(|(id, _)| *id))
        .still_failing(Some(true))
        .with(line.into_iter().chain(by_alert).chain(by_handshake))
        .at([pass.at.clone()]);
    finding.fails_clients_now = case.is_felt(peer);
    Ok(Ruling::found(finding))
}

/// Whether a failed request can be this: closed, reset, no HTTP, or the upstream's own 400.
fn fits(failure: &Failure, peer: &PeerSubject) -> bool {
    failure.attempts().any(|attempt| {
        let broken = attempt.is_quietly_unanswered()
            || attempt.is(Phrase::PrematureClose)
            || attempt.is(Phrase::NoValidHttpHeader)
            || attempt.is(Phrase::Http2TooLargeFrame)
            || attempt.errno == Some(Errno::ConnectionReset);
        attempt.peer.as_ref() == Some(&peer.address) && broken
    }) || failure.is_answered_by(peer, 400)
}

/// Whether the answer to a plain request is none that an HTTP server gives a well-formed one.
fn is_odd(report: &ProbeReport) -> bool {
    match report.first_bytes {
        FirstBytes::Tls { .. } => true,
        FirstBytes::Http => report.answer.as_ref().is_some_and(|answer| answer.status == 400),
        FirstBytes::Nothing => {
            matches!(
                report.outcome(StepKind::Receive),
                Some(ProbeOutcome::Closed | ProbeOutcome::Failed(Errno::ConnectionReset))
            )
        }
        _ => false,
    }
}

/// The handshake that shows whether a port speaks TLS.
pub(super) fn handshake_spec(pass: &Pass) -> ProbeSpec {
    ProbeSpec::Tls(TlsSpec { server_name: server_name(pass), ..TlsSpec::default() })
}

/// A server that picks its certificate by name needs one; the host of the target serves.
fn server_name(pass: &Pass) -> Option<String> {
    let host = pass.text.split_once("://")?.1.split(['/', ':']).next()?;
    let is_name = host.contains('.') && host.parse::<std::net::IpAddr>().is_err() && !host.contains('$');
    is_name.then(|| host.to_owned())
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.address();
    let pass = finding.peer().and_then(|peer| case.pass_to(peer));
    let scheme = pass.map_or(Protocol::Http, |pass| pass.protocol).scheme(false);
    Explanation {
        title: format!("plain {scheme}:// is spoken to {peer}, which speaks TLS"),
        why: "The port expects a TLS handshake and gets a plain request. It refuses in its own way: with a 400, an alert, \
              or by closing, and nginx has no usable answer."
            .to_owned(),
        wont_help: vec![
            "raising buffers or timeouts: the two sides speak different protocols".to_owned(),
            "restarting the backend: it does what it is set up to do".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(pass) = finding.peer().and_then(|peer| case.pass_to(peer)) else { return Vec::new() };
    let prefix = pass.protocol.prefix();
    let plain = format!("{}://", pass.protocol.scheme(false));
    let begin = pass.text.get(..plain.len()).filter(|begin| begin.eq_ignore_ascii_case(&plain));
    // gRPC may be passed to a target without any scheme.
    if begin.is_none() && (pass.protocol != Protocol::Grpc || pass.text.contains("://")) {
        return Vec::new();
    }
    let mut scheme = pass.at.clone();
    scheme.end = scheme.begin + begin.map_or(0, |begin| u32::try_from(begin.len()).unwrap_or_default());
    vec![
        Remedy::new("Speak TLS to this upstream", Risk::Review)
            .edit(scheme, format!("{}://", pass.protocol.scheme(true)))
            .advice(format!(
                "a server that picks its certificate by name also needs `{prefix}_ssl_server_name on` and the right `{prefix}_ssl_name`"
            ))
            .verify("the failing request answers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        Fixture::new(CLOSED).with("probe 127.0.0.1:3000 tls", "answers tls")
    }

    #[test]
    fn hit_closed_without_an_answer() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed plaintext-to-tls-upstream -> upstream-closed-before-response: plain http:// is spoken to 127.0.0.1:3000, which speaks TLS [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_a_400_of_the_upstream() {
        let access =
            "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 400 248 \"-\" \"curl/8\"\n";
        let refused = hit()
            .with("error.log", "")
            .with("access.log", access)
            .with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 400 Bad Request\nServer: nginx\n\n");
        insta::assert_snapshot!(refused.summary(), @"
        Broken
        Confirmed plaintext-to-tls-upstream: plain http:// is spoken to 127.0.0.1:3000, which speaks TLS [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_grpc_gets_a_400_in_http1() {
        let text = CLOSED
            .replace("proxy_pass http://backend", "grpc_pass grpc://backend")
            .replace("upstream: \"http://", "upstream: \"grpc://")
            .replace(
                "upstream prematurely closed connection",
                "upstream sent too large http2 frame: 4740180",
            );
        let summary = Fixture::new(&text)
            .with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 400 Bad Request\nServer: nginx\n\n")
            .with("probe 127.0.0.1:3000 tls", "answers tls")
            .summary();
        insta::assert_snapshot!(summary, @"
        Broken
        Confirmed plaintext-to-tls-upstream -> http-version-mismatch: plain grpc:// is spoken to 127.0.0.1:3000, which speaks TLS [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_a_400_of_a_plain_server() {
        let access =
            "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 400 248 \"-\" \"curl/8\"\n";
        let own = Fixture::new(CLOSED)
            .with("error.log", "")
            .with("access.log", access)
            .with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n");
        insta::assert_snapshot!(own.with("probe 127.0.0.1:3000 tls", "answers\nHTTP/1.1 400 Bad Request\n\n").summary(), @"Healthy");
    }

    #[test]
    fn near_miss_the_port_speaks_no_tls() {
        let summary = Fixture::new(CLOSED).summary();
        assert!(!summary.contains("plaintext-to-tls-upstream"), "{summary}");
    }

    #[test]
    fn gap_the_handshake_cannot_be_tried() {
        insta::assert_snapshot!(hit().without("probe 127.0.0.1:3000 tls").without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Likely upstream-closed-before-response: 127.0.0.1:3000 takes requests and closes without an answer [1 requests]
        ");
    }

    #[test]
    fn the_remedy_changes_the_scheme() {
        insta::assert_snapshot!(crate::fixture::first_diff(&hit().report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -5,5 +5,5 @@
                 listen 80;
                 server_name shop.example.com;
        -        location / { proxy_pass http://backend; }
        +        location / { proxy_pass https://backend; }
             }
         }
        ");
    }
}
