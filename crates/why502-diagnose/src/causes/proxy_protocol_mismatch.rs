//! # proxy-protocol-mismatch
//!
//! ## What happens
//!
//! A connection may begin with a header that names the real client, the PROXY protocol, and both sides must know: who expects
//! it takes a request without it for garbage and closes, and who does not takes the header itself for a bad request. nginx's
//! `http` part never sends that header to an upstream, in no version; it reads it where `listen … proxy_protocol` says so.
//!
//! ## What you see
//!
//! Towards an upstream that expects it: `upstream prematurely closed connection` or `104: Connection reset by peer`, and 502 to
//! every request. Towards nginx, where it expects it: `broken header: "GET / HTTP/1.1` … `while reading PROXY protocol`, no line
//! in the access log, and a 502 by whoever stands in front. Where nginx does not expect it: `"PROXY TCP4 192.0.2.1 …" 400` in
//! the access log.
//!
//! ## How we know
//!
//! Confirmed: the peer closes without an answer, with `PROXY UNKNOWN` before the very same request it answers, and with a header
//! that is none it closes again; or the peer is a listener of this nginx with `proxy_protocol`. Likely: three broken headers or more on a listener that served nobody;
//! three requests or more that begin with `PROXY`.
//!
//! ## What would disprove it
//!
//! A request that the same peer, or the same listener, answered without a change of its settings.
//!
//! ## What to do
//!
//! Let both sides agree: dial a port that does not expect the header, or switch it on or off on one of the two sides.
//!
//! ## Not to be confused with
//!
//! `plaintext-to-tls-upstream` and `protocol-mismatch` (closed as well), `upstream-closed-before-response` (nothing more
//! specific is known), scanners that send garbage to a listener that serves others well.
//!
//! ## References
//!
//! HAProxy: `proxy-protocol.txt`, section 2; nginx: `ngx_proxy_protocol_read`, `ngx_http_wait_request_handler`, `listen`.

mod listener;

use self::listener::Mismatch;
use super::protocol_mismatch::speaks_tls;
use super::unanswered::{Unanswered, attempts};
use crate::case::{Case, PeerSubject, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::plan;
use crate::remedy::{Remedy, Risk};
use why502_facts::{
    Errno, FirstBytes, Phase, Phrase, ProbeOutcome, ProbeReport, ProbeSpec, ProxyHeader, StepKind,
};

pub(super) static CAUSE: Cause = Cause {
    id: "proxy-protocol-mismatch",
    layer: Layer::Protocol,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[400, 502],
    scope: Scope::PeerOrGateway,
    supersedes: &[
        "tls-to-plaintext-upstream",
        "upstream-closed-before-response",
        "upstream-reset-before-response",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("proxy_protocol_mismatch.rs"),
};

/// What servers answer to a request line that they cannot read: the header itself was refused.
const REFUSALS: [u16; 4] = [400, 405, 501, 505];

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    if subject.peer().is_none() {
        return Ok(listener::detect(case, subject));
    }
    let Some(closed) = attempts(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    let Some(proof) = proof(case, &closed)? else { return Ok(Ruling::NoSign) };
    let says = |n| format!("{} closed without an answer", count(n, "connection"));
    let mut finding = closed
        .finding(case, &CAUSE, Confidence::Confirmed, subject, says)
        .still_failing(Some(true))
        .with([proof]);
    finding.fails_clients_now = case.is_felt(closed.peer);
    Ok(Ruling::found(finding))
}

/// Whether a failed attempt can be this: closed or reset, at the latest where the answer was waited for.
fn fits(symptom: &Symptom) -> bool {
    let is_early = matches!(
        symptom.phase,
        None | Some(Phase::TlsHandshake | Phase::SendingRequest | Phase::ReadingHeader)
    );
    let is_closed = symptom.is(Phrase::PrematureClose)
        || symptom.is(Phrase::TlsHandshakeFailed)
        || symptom.errno == Some(Errno::ConnectionReset);
    is_early && is_closed || symptom.is_quietly_unanswered()
}

/// What shows that the peer expects the header: it is a listener of this gateway that does, or it answers with it and not
/// without.
fn proof(case: &Case<'_>, closed: &Unanswered<'_>) -> Result<Option<Evidence>, Asks> {
    let begin = closed.symptoms.iter().map(|(_, failure, _)| failure.at).min();
    if case.is_served_from(closed.peer, begin) {
        return Ok(None);
    }
    if let Some(listen) = listener::expecting(case, &closed.peer.address) {
        let says = "this listener expects the PROXY protocol, which nginx does not send to upstreams";
        let at = listen.at.clone().map_or(Origin::Derived, Origin::File);
        return Ok(Some(Evidence::supporting(says, at)));
    }
    if !closed.report().is_some_and(is_closed) {
        return Ok(None);
    }
    let pass = case.pass_to(closed.peer).filter(|pass| !pass.tls);
    if let Some(pass) = pass
        && speaks_tls(case, closed.peer, pass)?
    {
        return Ok(None);
    }
    for header in [ProxyHeader::Text, ProxyHeader::Binary] {
        let Some((spec, report)) = asked_behind(case, closed.peer, header)? else { continue };
        if !is_understood(report, &spec) {
            continue;
        }
        // A server that reads past anything in front of a request understands no header.
        let malformed = asked_behind(case, closed.peer, ProxyHeader::Malformed)?;
        let is_read = malformed.is_some_and(|(_, report)| is_closed(report));
        return Ok(is_read.then(|| answered(case, closed.peer, &spec)));
    }
    Ok(None)
}

/// The probe of a peer behind a header, and what came of it; `None` where it cannot be made.
fn asked_behind<'c>(
    case: &'c Case<'_>,
    peer: &PeerSubject,
    header: ProxyHeader,
) -> Result<Option<(ProbeSpec, &'c ProbeReport)>, Asks> {
    let Some(spec) = plan::announced_spec(case, peer, header) else { return Ok(None) };
    let seen = or_ask(case.probe_with(peer, &spec))?;
    Ok(seen.known().map(|report| (spec, report)))
}

/// Whether the peer ended the conversation without a byte.
fn is_closed(report: &ProbeReport) -> bool {
    let ends = |kind| {
        let outcome = report.outcome(kind);
        matches!(outcome, Some(ProbeOutcome::Closed | ProbeOutcome::Failed(Errno::ConnectionReset)))
            || kind == StepKind::Handshake && outcome == Some(ProbeOutcome::Refused)
    };
    let is_mute = report.tls.as_ref().is_none_or(|tls| tls.first_bytes.as_slice().is_empty());
    let ended = if report.outcome(StepKind::Handshake).is_some() && !report.tls_stands() {
        ends(StepKind::Handshake)
    } else {
        ends(StepKind::Receive)
    };
    ended && is_mute && report.first_bytes == FirstBytes::Nothing
}

/// Whether what came behind the header is no refusal of the header.
fn is_understood(report: &ProbeReport, spec: &ProbeSpec) -> bool {
    let is_answered = report.answer.as_ref().is_some_and(|answer| !REFUSALS.contains(&answer.status));
    is_answered || spec.tls().is_some() && report.tls_stands()
}

fn answered(case: &Case<'_>, peer: &PeerSubject, spec: &ProbeSpec) -> Evidence {
    let says = format!(
        "{} closes without an answer, and with the header of the PROXY protocol before the same request it answers",
        peer.address
    );
    Evidence::supporting(says, Origin::Probe(case.probe_ask(peer, spec)))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let (title, why) = match (finding.peer(), listener::mismatch(case)) {
        (Some(peer), _) => (
            format!("{} expects the PROXY protocol, which nginx does not send", peer.address),
            "The upstream waits for a header that names the client before anything else. It takes the request in its place for \
             garbage and closes; nginx has no answer and makes a 502 of it.",
        ),
        (None, Some(Mismatch::Missing { listen, .. })) => (
            format!("{} expects the PROXY protocol, and what connects does not send it", listen.text),
            "The listener waits for a header that names the client before anything else. nginx closes a connection that begins \
             otherwise without an answer, and whoever stands in front makes a 502 of it.",
        ),
        (None, _) => (
            "what stands in front sends the PROXY protocol, which the listener that it dials does not expect"
                .to_owned(),
            "The header that names the client comes where nginx expects a request line. nginx answers 400 and closes, before \
             it looks at the request behind it.",
        ),
    };
    Explanation {
        title,
        why: why.to_owned(),
        wont_help: vec![
            "raising timeouts or buffers: the connection is closed at its first bytes".to_owned(),
            "restarting either side: both do what they are set up to do".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let remedy = Remedy::new("Let both sides agree on the PROXY protocol", Risk::ShowOnly)
        .verify("the failing request answers");
    let advice = match (finding.peer(), listener::mismatch(case)) {
        (Some(peer), _) => format!(
            "let {} take connections without it from this host, on a port of its own if others send it (HAProxy: `bind` \
             without `accept-proxy`; nginx: `listen` without `proxy_protocol`; Traefik, Envoy: the listener's own setting). \
             Only nginx's `stream` part can send it (`proxy_protocol on;`)",
            peer.address
        ),
        (None, Some(Mismatch::Missing { .. })) => {
            "let the balancer send it (HAProxy: `send-proxy-v2` on the `server` line; AWS: the target group's attribute \
             `proxy_protocol_v2.enabled`), or take `proxy_protocol` away from every `listen` of this address"
                .to_owned()
        }
        (None, _) => {
            "add `proxy_protocol` to every `listen` of the address that the balancer dials, with `set_real_ip_from` for its \
             address and `real_ip_header proxy_protocol`, or switch it off at the balancer. Clients that connect without it \
             are then closed: give them a port of their own"
                .to_owned()
        }
    };
    vec![remedy.advice(advice)]
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    const ANSWER: &str = "answers\nHTTP/1.1 200 OK\n\n";

    fn of_peer(behind_the_header: &str) -> Fixture {
        Fixture::new(CLOSED)
            .with("probe 127.0.0.1:3000 proxy-v1", behind_the_header)
            .with("probe 127.0.0.1:3000 proxy-malformed", "closed")
    }

    const MISSING: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 127.0.0.1:8080 proxy_protocol;
        server_name shop.example.com;
        location / { proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 broken header: "GET / HTTP/1.1" while reading PROXY protocol, client: 10.0.0.9, server: 127.0.0.1:8080
2026/11/21 02:28:31 [error] 101#101: *6 broken header: "GET / HTTP/1.1" while reading PROXY protocol, client: 10.0.0.9, server: 127.0.0.1:8080
2026/11/21 02:28:32 [error] 101#101: *7 broken header: "GET / HTTP/1.1" while reading PROXY protocol, client: 10.0.0.9, server: 127.0.0.1:8080
#- access.log
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;

    fn unexpected(n_requests: usize) -> Fixture {
        let line = "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"PROXY TCP4 192.0.2.1 10.0.0.1 41234 80\" 400 157 \"-\" \"-\"\n";
        let quiet = MISSING.replace(" proxy_protocol;", ";");
        Fixture::new(&quiet).with("error.log", "").with("access.log", &line.repeat(n_requests))
    }

    #[test]
    fn hit_the_peer_answers_behind_the_header() {
        insta::assert_snapshot!(of_peer(ANSWER).summary(), @"
        Broken
        Confirmed proxy-protocol-mismatch -> upstream-closed-before-response: 127.0.0.1:3000 expects the PROXY protocol, which nginx does not send [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_binary_header_alone_is_understood() {
        let fixture = of_peer("closed").with("probe 127.0.0.1:3000 proxy-v2", ANSWER);
        assert!(fixture.summary().contains("Confirmed proxy-protocol-mismatch"), "{}", fixture.summary());
    }

    #[test]
    fn hit_a_listener_of_this_nginx() {
        let own = "server { listen 127.0.0.1:3000 proxy_protocol; return 204; }\n    server {";
        let config =
            Fixture::new(CLOSED).section("nginx.conf").replacen("server {\n", &format!("{own}\n"), 1);
        let summary = Fixture::new(CLOSED).with("nginx.conf", &config).summary();
        assert!(summary.contains("Confirmed proxy-protocol-mismatch"), "{summary}");
    }

    #[test]
    fn hit_a_listener_of_this_nginx_however_its_address_is_spelled() {
        let own = "server { listen 3000; return 204; }\n    server { listen *:3000 proxy_protocol; server_name b; return 204; }\n    server {";
        let config =
            Fixture::new(CLOSED).section("nginx.conf").replacen("server {\n", &format!("{own}\n"), 1);
        let summary = Fixture::new(CLOSED).with("nginx.conf", &config).summary();
        assert!(summary.contains("Confirmed proxy-protocol-mismatch"), "{summary}");
    }

    #[test]
    fn hit_connections_begin_without_the_header() {
        insta::assert_snapshot!(Fixture::new(MISSING).summary(), @"
        Broken
        Likely proxy-protocol-mismatch: 127.0.0.1:8080 expects the PROXY protocol, and what connects does not send it [0 requests]
        ");
    }

    #[test]
    fn hit_requests_begin_with_the_header() {
        insta::assert_snapshot!(unexpected(3).summary(), @"
        Broken
        Likely proxy-protocol-mismatch: what stands in front sends the PROXY protocol, which the listener that it dials does not expect [3 requests]
        ");
    }

    #[test]
    fn near_miss_a_server_that_reads_past_anything() {
        let summary = of_peer(ANSWER).with("probe 127.0.0.1:3000 proxy-malformed", ANSWER).summary();
        assert!(!summary.contains("proxy-protocol"), "{summary}");
    }

    #[test]
    fn near_miss_the_header_is_a_bad_request() {
        let summary = of_peer("answers\nHTTP/1.1 400 Bad Request\n\n").summary();
        assert!(!summary.contains("proxy-protocol"), "{summary}");
    }

    #[test]
    fn near_miss_the_peer_served_somebody_since() {
        let good = "10.0.0.9 - - [21/Nov/2026:02:28:31 +0000] \"GET /b HTTP/1.1\" 200 157 \"-\" \"curl/8\"\n";
        let log = Fixture::new(CLOSED).section("access.log").to_owned() + good;
        let summary = of_peer(ANSWER).with("access.log", &log).summary();
        assert!(!summary.contains("proxy-protocol"), "{summary}");
    }

    #[test]
    fn near_miss_a_scanner_on_a_listener_that_serves() {
        let good = "10.0.0.9 - - [21/Nov/2026:02:28:31 +0000] \"GET /b HTTP/1.1\" 200 157 \"-\" \"curl/8\"\n";
        let summary = Fixture::new(MISSING).with("access.log", good).summary();
        assert!(!summary.contains("proxy-protocol"), "{summary}");
    }

    #[test]
    fn near_miss_somebody_tried_it_once() {
        let summary = unexpected(1).summary();
        assert!(!summary.contains("proxy-protocol"), "{summary}");
    }

    #[test]
    fn gap_whether_it_reads_past_anything_is_not_known() {
        let summary = of_peer(ANSWER).without("probe 127.0.0.1:3000 proxy-malformed").summary();
        assert!(!summary.contains("proxy-protocol"), "{summary}");
    }

    #[test]
    fn gap_nobody_could_ask_the_peer() {
        let summary = of_peer(ANSWER).with("options", "offline").summary();
        assert!(!summary.contains("proxy-protocol"), "{summary}");
    }

    #[test]
    fn gap_without_an_access_log_nobody_knows_who_was_served() {
        let summary = Fixture::new(MISSING).without("access.log").summary();
        assert!(!summary.contains("proxy-protocol"), "{summary}");
    }
}
