//! # upstream-rejects-request-body
//!
//! ## What happens
//!
//! The upstream reads the head of a request with a body, decides that it will not take the body (a limit on its size, a
//! missing right), and closes at once instead of answering and reading to the end. nginx is still sending and finds the
//! connection closed or reset. True for every version of nginx.
//!
//! ## What you see
//!
//! `writev() failed (32: Broken pipe) while sending request to upstream`, `recv() failed (104: Connection reset by peer)
//! while reading response header from upstream` or `upstream prematurely closed connection while sending request to
//! upstream`, and a 502, for POST and PUT only.
//!
//! ## How we know
//!
//! Likely: only requests that carry a body fail, all of them while nginx still sends or by a reset, which tells of bytes
//! that were not read, and others are answered by the same peer. On connections that are kept open, only where the attempt lasted longer than a closed one needs to be noticed.
//!
//! ## What would disprove it
//!
//! Requests without a body fail in the same way: then the backend closes whatever it is asked.
//!
//! ## What to do
//!
//! Raise the backend's own limit on bodies, or let it answer 413 and read on; refuse too large ones at nginx with
//! `client_max_body_size`.
//!
//! ## Not to be confused with
//!
//! `upstream-reset-before-response` (any request), `keepalive-race` (a connection that was idle),
//! `request-header-too-big-for-upstream` (the head is refused), `upstream-send-timeout` (it does not read, and does not close).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_send_request_body`, `ngx_writev_chain`; RFC 9112, section 9.6.

use super::unanswered::{Unanswered, attempts};
use crate::case::{Case, Failure, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Errno, Phase, Phrase};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-rejects-request-body",
    layer: Layer::Protocol,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["upstream-closed-before-response", "upstream-reset-before-response"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_rejects_request_body.rs"),
};

/// A connection that was closed while it was idle is found out sooner, in milliseconds.
const MIN_MS: u32 = 50;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(refused) = attempts(case, subject, is_closed)? else { return Ok(Ruling::NoSign) };
    // Whoever closes with bytes that it did not read resets the connection (tcp(7), RFC 9293 section 3.6.1), and nginx may
    // learn of it when it looks for the answer.
    let is_unread = |symptom: &Symptom| is_reset(symptom) || symptom.phase == Some(Phase::SendingRequest);
    let is_refusal =
        |failure: &Failure, symptom: &Symptom| is_unread(symptom) && has_body(failure) == Some(true);
    if !refused.symptoms.iter().all(|(_, failure, symptom)| is_refusal(failure, symptom)) {
        return Ok(Ruling::NoSign);
    }
    let served = served(case, &refused);
    let may_be_idle = case.pass_to(refused.peer).is_none_or(|pass| pass.keeps_alive);
    let lasted = |symptom: &Symptom| {
        symptom.tried.as_ref().and_then(|tried| tried.response_ms).is_some_and(|ms| ms >= MIN_MS)
    };
    let is_fresh = !may_be_idle || refused.symptoms.iter().all(|(_, _, symptom)| lasted(symptom));
    let confidence = if served.is_some() && is_fresh { Confidence::Likely } else { Confidence::Possible };
    let says = |n| format!("{} with a body broken off while nginx was sending it", count(n, "request"));
    Ok(Ruling::found(refused.finding(case, &CAUSE, confidence, subject, says).with(served)))
}

/// Whether an attempt ended by a close or reset before a header came.
fn is_closed(symptom: &Symptom) -> bool {
    let is_before = matches!(symptom.phase, Some(Phase::SendingRequest | Phase::ReadingHeader));
    (is_reset(symptom) || symptom.is(Phrase::PrematureClose)) && is_before
}

fn is_reset(symptom: &Symptom) -> bool {
    matches!(symptom.phrase, Some(Phrase::ReceiveFailed | Phrase::SendFailed))
        && matches!(symptom.errno, Some(Errno::ConnectionReset | Errno::BrokenPipe))
}

/// Whether a request's method has a body as a rule (RFC 9110, section 9.3); `None` if the method is not known.
pub(super) fn has_body(failure: &Failure) -> Option<bool> {
    Some(matches!(failure.method.as_deref()?, "POST" | "PUT" | "PATCH" | "PROPFIND" | "REPORT"))
}

/// That the peer answers other requests.
fn served(case: &Case<'_>, refused: &Unanswered<'_>) -> Option<Evidence> {
    if let Some((_, line)) = case.last_success(refused.peer) {
        return Some(Evidence::supporting("the peer answers other requests", Origin::Log(line.clone())));
    }
    let answer = refused.report().and_then(|report| report.answer.as_ref())?;
    let says = format!("asked directly without a body, the peer answers {}", answer.status);
    Some(Evidence::supporting(says, case.probe_origin(refused.peer)))
}

fn explain(_case: &Case<'_>, finding: &Finding) -> Explanation {
    Explanation {
        title: format!("{} closes while nginx still sends it the request's body", finding.address()),
        why: "The backend does not want the body and closes the connection instead of reading it. nginx is still sending, finds \
              the connection gone before any answer came, and answers 502."
            .to_owned(),
        wont_help: vec![
            "raising client_max_body_size: nginx took the body, the backend does not".to_owned(),
            "raising timeouts: a close is no timeout".to_owned(),
        ],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    vec![
        Remedy::new("Let the backend take bodies of that size, or refuse them at nginx", Risk::ShowOnly)
            .advice(format!(
                "look into the log and the limits of {} (its largest request, upload or body size); what it will never take, \
                 refuse with client_max_body_size here: clients then get a 413",
                finding.address()
            ))
            .verify("an upload of that size is answered"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    fn text() -> String {
        CLOSED
            .replace(
                "upstream prematurely closed connection while reading response header from upstream",
                "writev() failed (104: Connection reset by peer) while sending request to upstream",
            )
            .replace("GET /a", "POST /a")
    }

    fn hit() -> Fixture {
        Fixture::new(&text()).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n")
    }

    #[test]
    fn hit_others_are_answered() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Likely upstream-rejects-request-body -> upstream-reset-before-response: 127.0.0.1:3000 closes while nginx still sends it the request's body [1 requests]
        ");
    }

    #[test]
    fn near_miss_requests_without_a_body_fail_too() {
        let more = "2026/11/21 02:28:31 [error] 101#101: *6 recv() failed (104: Connection reset by peer) while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: \"GET /b HTTP/1.1\", upstream: \"http://127.0.0.1:3000/b\", host: \"shop.example.com\"\n";
        let log = hit();
        let summary = log.with("error.log", &(log.section("error.log").to_owned() + more)).summary();
        assert!(!summary.contains("upstream-rejects-request-body"), "{summary}");
    }

    #[test]
    fn near_miss_a_kept_connection_may_have_been_closed_while_idle() {
        let kept = text()
            .replace("server 127.0.0.1:3000;", "server 127.0.0.1:3000; keepalive 8;")
            .replace("proxy_pass", "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_pass");
        let summary =
            Fixture::new(&kept).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n").summary();
        assert!(!summary.contains("Likely upstream-rejects-request-body"), "{summary}");
    }

    #[test]
    fn gap_nobody_knows_whether_others_are_answered() {
        let summary = hit().with("options", "offline").summary();
        assert!(!summary.contains("Likely upstream-rejects-request-body"), "{summary}");
    }
}
