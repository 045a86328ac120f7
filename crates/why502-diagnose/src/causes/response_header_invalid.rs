//! # response-header-invalid
//!
//! ## What happens
//!
//! The response header breaks HTTP's rules, and this nginx enforces them: a space or control byte in a header's name
//! (since 1.21.1), NUL or a lone CR in a line, Content-Length twice, no number, or together with Transfer-Encoding, a
//! Transfer-Encoding other than `chunked` (all since 1.23.0), a `Status` that is none, a missing `:status` or gRPC field.
//! nginx drops the answer.
//!
//! ## What you see
//!
//! `upstream sent invalid header: "Foo\x20..."`, `upstream sent duplicate header line: "Content-Length: 2"`,
//! `upstream sent "Content-Length" and "Transfer-Encoding" headers at the same time`, `upstream sent invalid status`, and
//! a 502. Lenient clients (curl) show the answer as if nothing were wrong.
//!
//! ## How we know
//!
//! Confirmed: nginx's own message names it and quotes the offending line as far as it read. A probe of the same path shows
//! the whole line.
//!
//! ## What would disprove it
//!
//! Nothing: the message has this one meaning.
//!
//! ## What to do
//!
//! Mend the header where it is made. Often an upgrade of nginx brought an old fault to light.
//!
//! ## Not to be confused with
//!
//! `response-not-http` (not even a status line), `response-header-too-big`, `response-framing-invalid` (the body).
//!
//! ## References
//!
//! nginx: `ngx_http_parse_header_line`, `ngx_http_upstream_process_content_length`,
//! `ngx_http_upstream_process_transfer_encoding`; CHANGES 1.21.1 and 1.23.0.

use super::response_not_http::is_text_of_cgi;
use super::unanswered::attempts;
use crate::case::{Case, PeerSubject, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{HeaderFault, Phrase};
use why502_model::Version;

pub(super) static CAUSE: Cause = Cause {
    id: "response-header-invalid",
    layer: Layer::Protocol,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("response_header_invalid.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(refused) = attempts(case, subject, is_refused)? else { return Ok(Ruling::NoSign) };
    let says = |n| format!("nginx refused {}", count(n, "response header"));
    let fault = fault(case, refused.peer);
    let probed = fault.as_ref().map(|fault| {
        Evidence::supporting(
            format!("asked directly, its answer has {fault}"),
            case.probe_origin(refused.peer),
        )
    });
    let mut finding = refused
        .finding(case, &CAUSE, Confidence::Confirmed, subject, says)
        .still_failing(fault.is_some().then_some(true))
        .with(probed);
    if fault.is_none() && is_of_cgi(case, &finding) {
        finding.confidence = Confidence::Likely;
    }
    Ok(Ruling::found(finding))
}

/// A header that nginx refused; a first line of uwsgi and SCGI that is none at all is another matter.
fn is_refused(symptom: &Symptom) -> bool {
    symptom.is(Phrase::InvalidStatus) || (symptom.is(Phrase::InvalidHeader) && !is_text_of_cgi(symptom))
}

/// Whether all that is known comes from a message of uwsgi or SCGI, which does not tell the line.
fn is_of_cgi(case: &Case<'_>, finding: &Finding) -> bool {
    let mut symptoms = finding.explains.iter().flat_map(|id| &case.failure(*id).symptoms);
    symptoms.any(|symptom| {
        matches!(symptom.scheme.as_deref(), Some("uwsgi" | "suwsgi" | "scgi"))
            && symptom.is(Phrase::InvalidHeader)
    })
}

/// What is wrong with the header of the peer's answer to the probe, by the rules of this version.
fn fault(case: &Case<'_>, peer: &PeerSubject) -> Option<String> {
    let answer = case.probe(peer).known()?.answer.as_ref()?;
    let is_refused = |fault: &&HeaderFault| {
        let (major, minor, patch) = fault.refused_since();
        case.gateway.is_at_least(Version(major, minor, patch)) != Some(false)
    };
    Some(match answer.faults.iter().find(is_refused)? {
        HeaderFault::InvalidLine { line } | HeaderFault::InvalidName { line } => format!("the line {line:?}"),
        HeaderFault::LengthAndEncoding => "Content-Length and Transfer-Encoding together".to_owned(),
        HeaderFault::Duplicate { name } => format!("{name} twice"),
        HeaderFault::InvalidStatus { value } => format!("Status {value:?}"),
        HeaderFault::InvalidLength { value } => format!("Content-Length {value:?}"),
        HeaderFault::UnknownEncoding { value } => format!("Transfer-Encoding {value:?}"),
    })
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let said = finding
        .explains
        .iter()
        .flat_map(|id| &case.failure(*id).symptoms)
        .find(|symptom| is_refused(symptom));
    let detail = said.and_then(|symptom| symptom.detail.clone()).unwrap_or_default();
    let peer = finding.address();
    let line = finding.peer().and_then(|peer| fault(case, peer));
    let detail = line.unwrap_or(detail);
    Explanation {
        title: if detail.is_empty() { format!("{peer} sends an invalid response header") } else { format!("{peer} sends an invalid response header: {detail}") },
        why: "The response header breaks a rule that this nginx enforces, so it cannot tell where the answer's parts begin and \
              end. It drops the answer and sends 502."
            .to_owned(),
        wont_help: vec![
            "raising buffers: the header was read, and is not valid".to_owned(),
            "trying with curl: it forgives what nginx refuses".to_owned(),
        ],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(peer) = finding.peer() else { return Vec::new() };
    vec![
        Remedy::new("Mend the header where the application makes it", Risk::ShowOnly)
            .advice(format!("the header comes from {}; if it was never noticed before, nginx became stricter with 1.21.1 and 1.23.0", peer.address))
            .verify("the failing request answers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let log = CLOSED.replace(
            "upstream prematurely closed connection",
            "upstream sent invalid header: \"Foo\\x20...\"",
        );
        Fixture::new(&log).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\nFoo Bar: x\n\n")
    }

    #[test]
    fn hit_with_the_line_seen() {
        insta::assert_snapshot!(hit().summary(), @r#"
        Broken
        Confirmed response-header-invalid: 127.0.0.1:3000 sends an invalid response header: the line "Foo Bar: x" [1 requests, still failing]
        "#);
    }

    #[test]
    fn hit_lengths_that_contradict() {
        let log = CLOSED.replace(
            "upstream prematurely closed connection",
            "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        );
        insta::assert_snapshot!(Fixture::new(&log).with("options", "offline").summary(), @r#"
        Broken
        Confirmed response-header-invalid: 127.0.0.1:3000 sends an invalid response header: upstream sent "Content-Length" and "Transfer-Encoding" headers at the same time [1 requests]
        "#);
    }

    #[test]
    fn near_miss_a_duplicate_that_is_ignored() {
        let log = CLOSED
            .replace("[error] 101#101: *5 upstream prematurely closed connection", "[warn] 101#101: *5 upstream sent duplicate header line: \"Date: y\", previous value: \"Date: x\", ignored")
            .replace("\" 502 157", "\" 200 57");
        let summary =
            Fixture::new(&log).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n").summary();
        assert!(!summary.contains("response-header-invalid"), "{summary}");
    }

    #[test]
    fn near_miss_a_header_that_is_too_big() {
        let log = CLOSED.replace("upstream prematurely closed connection", "upstream sent too big header");
        let summary = Fixture::new(&log).summary();
        assert!(!summary.contains("response-header-invalid"), "{summary}");
    }

    #[test]
    fn near_miss_a_line_that_this_version_takes() {
        let answer = "answers\nHTTP/1.1 200 OK\nFoo Bar: x\nX: a\0b\n\n";
        let old = hit().with("options", "version=1.18.0").with("probe 127.0.0.1:3000", answer);
        let summary = old.summary();
        assert!(summary.contains(r#"the line "X: a\0b""#), "{summary}");
    }

    #[test]
    fn gap_the_peer_cannot_be_probed() {
        insta::assert_snapshot!(hit().without("probe 127.0.0.1:3000").summary(), @r#"
        Broken
        Confirmed response-header-invalid: 127.0.0.1:3000 sends an invalid response header: upstream sent invalid header: "Foo\x20..." [1 requests]
        "#);
    }
}
