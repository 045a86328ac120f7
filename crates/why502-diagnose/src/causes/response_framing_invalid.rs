//! # response-framing-invalid
//!
//! ## What happens
//!
//! The upstream's response header is sound, and its body is framed wrongly: chunk sizes that are no hexadecimal numbers,
//! frames of HTTP/2 that break its rules. nginx cannot tell where the body goes on, and gives up. True for every version
//! of nginx.
//!
//! ## What you see
//!
//! `upstream sent invalid chunked response while reading upstream`; for `grpc_pass` `upstream sent …frame…`. Status 200
//! in the access log and a cut body for the client, or a 502 where the header had not been passed on yet.
//!
//! ## How we know
//!
//! Confirmed: nginx's own strict parser says what is wrong; no other cause writes these messages.
//!
//! ## What would disprove it
//!
//! The first frame is longer than any may be: then it is usually no HTTP/2 at all.
//!
//! ## What to do
//!
//! Mend what writes the body: a home-made server, a middleware that sets `Transfer-Encoding` by hand, or a length that
//! was computed before the body was changed.
//!
//! ## Not to be confused with
//!
//! `response-body-truncated` (the body just ends), `response-header-invalid` (the header), `http-version-mismatch` (another
//! protocol).
//!
//! ## References
//!
//! nginx: `ngx_http_parse_chunked`, `ngx_http_proxy_chunked_filter`, `ngx_http_grpc_filter`; RFC 9112, section 7.1.

use super::unanswered::{attempts, read_its_log};
use crate::case::{Case, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use crate::remedy::Remedy;
use why502_facts::Phrase;

pub(super) static CAUSE: Cause = Cause {
    id: "response-framing-invalid",
    layer: Layer::Protocol,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[200, 502],
    scope: Scope::Peer,
    supersedes: &["response-body-truncated"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("response_framing_invalid.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(broken) = attempts(case, subject, is_misframed)? else { return Ok(Ruling::NoSign) };
    let says = |n| format!("{} had a body that is framed wrongly", count(n, "answer"));
    Ok(Ruling::found(broken.finding(case, &CAUSE, Confidence::Confirmed, subject, says)))
}

fn is_misframed(symptom: &Symptom) -> bool {
    symptom.is(Phrase::InvalidChunkedResponse) || symptom.is(Phrase::Http2Violation)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let symptoms = finding.explains.iter().flat_map(|id| &case.failure(*id).symptoms);
    let detail = symptoms
        .filter(|symptom| symptom.is(Phrase::Http2Violation))
        .find_map(|symptom| symptom.detail.as_deref());
    let what =
        detail.map_or_else(|| "invalid chunks".to_owned(), |detail| format!("invalid HTTP/2 ({detail})"));
    Explanation {
        title: format!("the body that {} sends is framed wrongly: {what}", finding.address()),
        why: "nginx reads the body by its frames and meets one that cannot be. It ends the answer there: the client gets half \
              of it, or a 502 where nothing had been passed on yet."
            .to_owned(),
        wont_help: vec![
            "raising buffers or timeouts: the bytes came, and are wrong".to_owned(),
            "asking with curl: it may forgive what nginx refuses".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    read_its_log(
        case,
        finding,
        "what writes the body of these answers: a home-made server, a header `Transfer-Encoding` that is set by hand",
    )
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let log = CLOSED
            .replace(
                "upstream prematurely closed connection while reading response header from upstream",
                "upstream sent invalid chunked response while reading upstream",
            )
            .replace("\" 502 157", "\" 200 57");
        Fixture::new(&log).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n")
    }

    #[test]
    fn hit_invalid_chunks() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed response-framing-invalid: the body that 127.0.0.1:3000 sends is framed wrongly: invalid chunks [1 requests]
        ");
    }

    #[test]
    fn hit_frames_that_break_the_rules() {
        let log = CLOSED
            .replace("upstream prematurely closed connection", "upstream sent frame for unknown stream 3");
        insta::assert_snapshot!(Fixture::new(&log).summary(), @"
        Broken
        Confirmed response-framing-invalid: the body that 127.0.0.1:3000 sends is framed wrongly: invalid HTTP/2 (upstream sent frame for unknown stream 3) [1 requests]
        ");
    }

    #[test]
    fn near_miss_a_body_that_just_ends() {
        let log = CLOSED
            .replace("reading response header from upstream", "reading upstream")
            .replace("\" 502 157", "\" 200 57");
        let summary = Fixture::new(&log).summary();
        assert!(!summary.contains("response-framing-invalid"), "{summary}");
    }

    #[test]
    fn gap_without_the_error_log_nobody_knows() {
        let summary = hit().without("error.log").summary();
        assert!(!summary.contains("response-framing-invalid"), "{summary}");
    }
}
