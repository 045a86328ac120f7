//! # response-body-truncated
//!
//! ## What happens
//!
//! The upstream sends a complete response header, and then closes, resets or falls silent before the body is whole. nginx
//! has passed the header on already and can only cut the client's connection. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream prematurely closed connection while reading upstream` or `upstream timed out (110: Connection timed out) while
//! reading upstream`, in HTTP/2 also `upstream rejected request with error 8 while reading upstream`; status 200 in the access
//! log with a body that is too short; clients report a broken download, and a proxy in front of nginx may answer 502.
//!
//! ## How we know
//!
//! Likely: nginx's own message about a body that did not end as announced. Who ended the upstream's work, its own log
//! tells: it is the verdict only where nothing more specific is known.
//!
//! ## What would disprove it
//!
//! Something more specific: a worker that crashed or was killed at that second; an event stream that was silent for
//! longer than the read timeout allows.
//!
//! ## What to do
//!
//! Read the backend's own log at the very second of a failure.
//!
//! ## Not to be confused with
//!
//! `upstream-closed-before-response` and `upstream-slow` (no header came), `response-framing-invalid` (the body is
//! malformed, not short), `upgraded-connection-idle-timeout` (a stream that had nothing to say), `client-gave-up`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_process_upstream`, `ngx_http_upstream_process_non_buffered_request`,
//! `ngx_http_upstream_finalize_request`.

use super::unanswered::{Unanswered, attempts, read_its_log};
use crate::case::{Case, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use crate::remedy::Remedy;
use why502_facts::{Errno, Phase, Phrase};

pub(super) static CAUSE: Cause = Cause {
    id: "response-body-truncated",
    layer: Layer::Response,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[200, 502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("response_body_truncated.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(mut cut) = attempts(case, subject, |symptom| is_closed(symptom) || is_stalled(symptom))? else {
        return Ok(Ruling::NoSign);
    };
    if is_event_stream(&cut) {
        // A stream that is silent has not stalled.
        cut.symptoms.retain(|(_, _, symptom)| !is_stalled(symptom));
    }
    if cut.symptoms.is_empty() {
        return Ok(Ruling::NoSign);
    }
    let says = |n| format!("{} ended before the body was whole", count(n, "answer"));
    Ok(Ruling::found(cut.finding(case, &CAUSE, Confidence::Likely, subject, says)))
}

/// Whether the connection ended within the body.
fn is_closed(symptom: &Symptom) -> bool {
    let ended = symptom.is(Phrase::PrematureClose)
        || symptom.is(Phrase::FastCgiClosedEarly)
        || symptom.is(Phrase::Http2StreamClosedEarly)
        || symptom.is(Phrase::Http2Goaway)
        || symptom.is(Phrase::Http2Rejected)
        || (symptom.is(Phrase::ReceiveFailed) && symptom.errno == Some(Errno::ConnectionReset));
    ended && symptom.phase == Some(Phase::ReadingBody)
}

/// Whether the gateway's timer ended the wait for more of the body.
pub(super) fn is_stalled(symptom: &Symptom) -> bool {
    symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::ReadingBody)
}

/// Whether the peer's probe was answered with an event stream: it says something only when something happens (WHATWG HTML,
/// section 9.2).
pub(super) fn is_event_stream(unanswered: &Unanswered<'_>) -> bool {
    let Some(answer) = unanswered.report().and_then(|report| report.answer.as_ref()) else {
        return false;
    };
    let kind = answer.header("content-type").unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let symptoms = || finding.explains.iter().flat_map(|id| &case.failure(*id).symptoms);
    let (closes, stalls) = (symptoms().any(is_closed), symptoms().any(is_stalled));
    let does = match (closes, stalls) {
        (true, true) => "closes or falls silent",
        (false, true) => "falls silent",
        _ => "closes",
    };
    let mut wont_help = vec!["raising proxy_buffer_size: the header came whole".to_owned()];
    if closes {
        wont_help
            .push("raising proxy_read_timeout: no timer ended a body that the backend closed".to_owned());
    }
    Explanation {
        title: format!("{} {does} in the middle of the body", finding.address()),
        why: "nginx had passed the header on when the rest of the body did not come. It can only cut the client's connection: \
              the access log shows the header's status, and the client half an answer."
            .to_owned(),
        wont_help,
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    read_its_log(
        case,
        finding,
        "a crash or a killed worker in the middle of an answer, a limit of its own on the time of a request, or what it \
         waited for itself",
    )
}

#[cfg(test)]
pub(super) mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    fn hit(says: &str) -> Fixture {
        let log = CLOSED
            .replace(
                "upstream prematurely closed connection while reading response header from upstream",
                &format!("{says} while reading upstream"),
            )
            .replace("\" 502 157", "\" 200 57");
        Fixture::new(&log).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\nContent-Length: 5000\n\n")
    }

    pub(in crate::causes) fn stalled() -> Fixture {
        hit("upstream timed out (110: Connection timed out)")
    }

    #[test]
    fn hit_it_closes() {
        insta::assert_snapshot!(hit("upstream prematurely closed connection").summary(), @"
        Broken
        Likely response-body-truncated: 127.0.0.1:3000 closes in the middle of the body [1 requests]
        ");
    }

    #[test]
    fn hit_its_stream_of_http2_is_reset() {
        insta::assert_snapshot!(hit("upstream rejected request with error 8").summary(), @"
        Broken
        Likely response-body-truncated: 127.0.0.1:3000 closes in the middle of the body [1 requests]
        ");
    }

    #[test]
    fn hit_it_stalls() {
        insta::assert_snapshot!(stalled().summary(), @"
        Broken
        Likely response-body-truncated: 127.0.0.1:3000 falls silent in the middle of the body [1 requests]
        ");
    }

    #[test]
    fn near_miss_the_client_left() {
        let left = hit("client 10.0.0.9 closed connection").summary();
        assert!(!left.contains("response-body-truncated"), "{left}");
    }

    #[test]
    fn near_miss_an_event_stream_is_silent_by_nature() {
        let stream = "answers\nHTTP/1.1 200 OK\nContent-Type: text/event-stream; charset=utf-8\n\n";
        let summary = stalled().with("probe 127.0.0.1:3000", stream).summary();
        assert!(!summary.contains("response-body-truncated"), "{summary}");
    }

    #[test]
    fn gap_the_peer_cannot_be_probed() {
        insta::assert_snapshot!(stalled().without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Likely response-body-truncated: 127.0.0.1:3000 falls silent in the middle of the body [1 requests]
        ");
    }
}
