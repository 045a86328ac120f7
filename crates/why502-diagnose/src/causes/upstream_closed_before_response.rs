//! # upstream-closed-before-response
//!
//! ## What happens
//!
//! The backend accepts the connection, takes the request, and closes without an answer (a FIN before a complete response
//! header): its worker died or was killed, it exits, it refuses in its own way. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream prematurely closed connection while reading response header from upstream`, a 502; `$upstream_connect_time`
//! numeric, `$upstream_header_time` `-`. For FastCGI also `upstream prematurely closed FastCGI stdout`. In HTTP/2 a stream is
//! ended alone, by `RST_STREAM`: `upstream rejected request with error 2` (`INTERNAL_ERROR`), 1, 5 or 8; nginx as the backend says
//! 1 for its `return 444`.
//!
//! ## How we know
//!
//! Confirmed: a probe of the same path is closed without an answer, too. Likely: nginx's message alone. It is the verdict
//! only where nothing more specific is known.
//!
//! ## What would disprove it
//!
//! Something more specific: the port speaks TLS, the backend's own log names a timeout or a crash.
//!
//! ## What to do
//!
//! Read the backend's own log at the very second of a failure.
//!
//! ## Not to be confused with
//!
//! `plaintext-to-tls-upstream`, `keepalive-race` (reused connections only), `upstream-worker-timeout` (one constant
//! duration), `upstream-reset-before-response` (a reset instead of a close), `response-body-truncated` (after the header),
//! `http2-goaway` (the codes 7 and 11 refuse a stream that nobody looked at).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_process_header`; `ngx_http_fastcgi_process_header`.

use super::http2_ends::{Http2End, Meaning};
use super::unanswered::{attempts_seen_again, before_header, read_its_log};
use crate::case::{Case, PeerSubject, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::Remedy;
use why502_facts::{Phrase, ProbeOutcome};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-closed-before-response",
    layer: Layer::Response,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_closed_before_response.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(closed) = attempts_seen_again(case, subject, is_closed, ProbeOutcome::Closed)? else {
        return Ok(Ruling::NoSign);
    };
    let given_up = closed.report().and_then(Http2End::seen).filter(|end| is_given_up(*end));
    let closes_now = given_up.is_some() || closed.ended_so(ProbeOutcome::Closed);
    let says = |n| format!("{} closed without an answer", count(n, "connection"));
    let still_failing = closed.still_failing(case, closes_now);
    let confidence = if still_failing == Some(true) { Confidence::Confirmed } else { Confidence::Likely };
    let probed = closes_now.then(|| {
        let does = given_up.map_or_else(
            || "closes without an answer".to_owned(),
            |end| format!("ends the request with {}", end.words()),
        );
        Evidence::supporting(format!("asked directly, the peer {does}"), case.probe_origin(closed.peer))
    });
    let answers = answers(closed.peer, case);
    let context = answers.map(|status| {
        Evidence::context(
            format!("asked directly, the peer answers {status}"),
            case.probe_origin(closed.peer),
        )
    });
    let mut finding = closed
        .finding(case, &CAUSE, confidence, subject, says)
        .still_failing(still_failing)
        .with(probed.into_iter().chain(context));
    finding.fails_clients_now = still_failing == Some(true) && case.is_felt(closed.peer);
    Ok(Ruling::found(finding))
}

pub(super) fn is_closed(symptom: &Symptom) -> bool {
    let is_end = symptom.is(Phrase::PrematureClose)
        || symptom.is(Phrase::FastCgiClosedEarly)
        || Http2End::told(symptom).is_some_and(is_given_up);
    is_end && before_header(symptom)
}

/// Whether the application gave up the one stream.
fn is_given_up(end: Http2End) -> bool {
    !end.ends_connection && end.meaning() == Meaning::GivenUp
}

/// The status of the answer to the probe, if it is one.
fn answers(peer: &PeerSubject, case: &Case<'_>) -> Option<u16> {
    case.probe(peer).known()?.answer.as_ref().map(|answer| answer.status)
}

fn explain(_case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.address();
    Explanation {
        title: format!("{peer} takes requests and closes without an answer"),
        why: "The backend accepted the connection and ended it before it sent a response header. nginx has nothing to pass on \
              and answers 502."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout: the backend closed, nginx did not wait too long".to_owned(),
            "raising buffers: no answer came at all".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    read_its_log(
        case,
        finding,
        "a crash, a worker that was killed (memory, its own timeout), or a refused request",
    )
}

#[cfg(test)]
pub(super) mod tests {
    use crate::fixture::Fixture;

    pub(in crate::causes) const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream backend { server 127.0.0.1:3000; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://backend; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 upstream prematurely closed connection while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
closed
#- probe 127.0.0.1:3000 tls
closed
"#;

    #[test]
    fn hit_the_probe_is_closed_too() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed upstream-closed-before-response: 127.0.0.1:3000 takes requests and closes without an answer [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_by_the_message_alone_is_likely() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline").summary(), @"
        Broken
        Likely upstream-closed-before-response: 127.0.0.1:3000 takes requests and closes without an answer [1 requests]
        ");
    }

    #[test]
    fn near_miss_it_answers_the_probe() {
        let answers = Fixture::new(HIT).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n");
        insta::assert_snapshot!(answers.summary(), @"
        Broken
        Likely upstream-closed-before-response: 127.0.0.1:3000 takes requests and closes without an answer [1 requests]
        ");
    }

    #[test]
    fn near_miss_after_the_header_it_is_a_cut_body() {
        let log = HIT
            .replace("reading response header from upstream", "reading upstream")
            .replace("\" 502 157", "\" 200 57");
        let summary =
            Fixture::new(&log).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n").summary();
        assert!(!summary.contains("upstream-closed-before-response"), "{summary}");
    }

    #[test]
    fn gap_the_peer_cannot_be_probed() {
        insta::assert_snapshot!(Fixture::new(HIT).without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Likely upstream-closed-before-response: 127.0.0.1:3000 takes requests and closes without an answer [1 requests]
        ");
    }
}
