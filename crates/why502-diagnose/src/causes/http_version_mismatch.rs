//! # http-version-mismatch
//!
//! ## What happens
//!
//! nginx speaks HTTP/2 (`grpc_pass`, or `proxy_http_version 2` since 1.29.4) to a server that speaks HTTP/1 alone, or HTTP/1 to
//! one that speaks HTTP/2 alone. Neither can read the other's first bytes. Or the server does speak HTTP/2, and wants the
//! request in HTTP/1.1 all the same.
//!
//! ## What you see
//!
//! `upstream sent too large http2 frame: 4740180` and 502: the length is `HTT`, the begin of an HTTP/1 answer. The other way
//! round `upstream sent no valid HTTP/1.0 header`, status `009` and a garbled answer. `upstream rejected request with error 13`
//! (or `sent goaway`): the code is `HTTP_1_1_REQUIRED`.
//!
//! ## How we know
//!
//! Confirmed: a probe in nginx's version of HTTP gets an answer in the other one, or that code. Likely: the error log tells
//! the length, and the peer was not asked; or the code, which a probe does not get.
//!
//! ## What would disprove it
//!
//! An answer in the version that nginx speaks, unless the server itself said that it wants the other one for some requests.
//!
//! ## What to do
//!
//! Use the directive of the version that is spoken there, or dial the port that speaks the one you meant.
//!
//! ## Not to be confused with
//!
//! `protocol-mismatch` (no HTTP at all), `plaintext-to-tls-upstream` (TLS is expected), `response-not-http` (bytes of no known
//! protocol), `http2-goaway` (other codes).
//!
//! ## References
//!
//! RFC 9113, sections 3.3, 3.4 and 7; nginx: `ngx_http_grpc_parse_frame`, `ngx_http_proxy_process_status_line`.

use super::http2_ends::{Http2End, Meaning};
use super::unanswered::attempts;
use crate::case::{Case, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::plan::speaks_http2;
use crate::remedy::{Remedy, Risk};
use why502_facts::{Errno, FirstBytes, Phrase, ProbeReport};
use why502_model::{Pass, Protocol};

pub(super) static CAUSE: Cause = Cause {
    id: "http-version-mismatch",
    layer: Layer::Protocol,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["response-not-http", "upstream-closed-before-response", "upstream-reset-before-response"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("http_version_mismatch.rs"),
};

/// The length that nginx reads where a frame begins with `HTT` (`ngx_http_grpc_parse_frame`).
const BEGINS_LIKE_HTTP: &str = "4740180";

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(pass) = subject.peer().and_then(|peer| case.pass_to(peer)) else { return Ok(Ruling::NoSign) };
    if !matches!(pass.protocol, Protocol::Grpc | Protocol::Http) {
        return Ok(Ruling::NoSign);
    }
    let is_http2 = speaks_http2(pass);
    let Some(odd) = attempts(case, subject, |symptom| fits(symptom, is_http2))? else {
        return Ok(Ruling::NoSign);
    };
    let says = |n| format!("{} got no usable answer", count(n, "request"));
    let finding = |confidence| odd.finding(case, &CAUSE, confidence, subject, says).at([pass.at.clone()]);
    let wanted = odd.report().and_then(Http2End::seen).filter(|end| wants_http1(*end));
    if wanted.is_some() || odd.report().is_some_and(|report| speaks_the_other(report, is_http2)) {
        let answers =
            wanted.map_or_else(|| format!("in {}", name(!is_http2)), |end| format!("with {}", end.words()));
        let says = format!("asked in {}, {} answers {answers}", name(is_http2), odd.peer.address);
        let evidence = [Evidence::supporting(says, case.probe_origin(odd.peer))];
        let mut found = finding(Confidence::Confirmed).still_failing(Some(true)).with(evidence);
        found.fails_clients_now = case.is_felt(odd.peer);
        return Ok(Ruling::found(found));
    }
    // What was answered then is told by the log alone; an answer of now is in the right version, or there is none. A server
    // of both may want HTTP/1.1 for some requests only.
    let is_answered = odd.report().is_some_and(|report| report.answer.is_some());
    let is_told = |symptom: &Symptom| is_wanted(symptom) || (begins_like_http(symptom) && !is_answered);
    if !odd.symptoms.iter().any(|(_, _, symptom)| is_told(symptom)) {
        return Ok(Ruling::NoSign);
    }
    let open = case.probe(odd.peer).gap().cloned().map(|gap| Case::open(gap, "what the peer speaks"));
    Ok(Ruling::found(finding(Confidence::Likely).open(open)))
}

/// Whether a failed attempt can be this.
fn fits(symptom: &Symptom, is_http2: bool) -> bool {
    let of_version = if is_http2 {
        begins_like_http(symptom) || is_wanted(symptom)
    } else {
        symptom.is(Phrase::NoValidHttpHeader)
    };
    of_version
        || symptom.is(Phrase::PrematureClose)
        || symptom.errno == Some(Errno::ConnectionReset)
        || symptom.is_quietly_unanswered()
}

/// Whether the error log tells that the server wants the request in HTTP/1.1.
fn is_wanted(symptom: &Symptom) -> bool {
    Http2End::told(symptom).is_some_and(wants_http1)
}

fn wants_http1(end: Http2End) -> bool {
    end.meaning() == Meaning::WantsHttp1
}

/// Whether the error log itself tells that HTTP/1 was answered.
fn begins_like_http(symptom: &Symptom) -> bool {
    symptom.is(Phrase::Http2TooLargeFrame) && symptom.detail.as_deref() == Some(BEGINS_LIKE_HTTP)
}

/// Whether what came back is of the version that nginx does not speak here.
fn speaks_the_other(report: &ProbeReport, is_http2: bool) -> bool {
    report.answer.is_none()
        && report.first_bytes == if is_http2 { FirstBytes::Http } else { FirstBytes::Http2 }
}

fn name(is_http2: bool) -> &'static str {
    if is_http2 { "HTTP/2" } else { "HTTP/1" }
}

/// The pass that leads to the peer of a finding.
fn pass_of<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<&'c Pass> {
    finding.peer().and_then(|peer| case.pass_to(peer))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let is_http2 = pass_of(case, finding).is_some_and(speaks_http2);
    let mut symptoms = finding.explains.iter().flat_map(|id| &case.failure(*id).symptoms);
    let does = if symptoms.any(is_wanted) { "wants" } else { "speaks" };
    Explanation {
        title: format!("{} is spoken to {address}, which {does} {}", name(is_http2), name(!is_http2)),
        why: "The two versions of HTTP begin with other bytes, and nginx does not negotiate: it takes what comes back as the \
              version that its directive speaks, and has no usable answer."
            .to_owned(),
        wont_help: vec![
            "raising buffers: the length that nginx tells is text, read as a number".to_owned(),
            "restarting the backend: it does what it is set up to do".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(pass) = pass_of(case, finding) else { return Vec::new() };
    let advice = match (pass.protocol, speaks_http2(pass)) {
        (Protocol::Grpc, _) => {
            "dial the port on which the backend speaks HTTP/2; if it is no gRPC service, use `proxy_pass`"
        }
        (_, true) => "set `proxy_http_version 1.1`, or dial the port on which the backend speaks HTTP/2",
        (_, false) => {
            "use `grpc_pass` if it is a gRPC service, `proxy_http_version 2` (nginx 1.29.4 or newer) if it is not, or let the backend speak HTTP/1 too"
        }
    };
    vec![
        Remedy::new("Speak the version of HTTP that is spoken there", Risk::ShowOnly)
            .advice(advice)
            .verify("the failing request answers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    const SETTINGS: &str = "answers\n\\x00\\x00\\x00\\x04\\x00\\x00\\x00\\x00\\x00";

    fn grpc() -> Fixture {
        let text = CLOSED
            .replace("proxy_pass http://backend", "grpc_pass grpc://backend")
            .replace("upstream: \"http://", "upstream: \"grpc://")
            .replace(
                "upstream prematurely closed connection",
                "upstream sent too large http2 frame: 4740180",
            );
        Fixture::new(&text).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 400 Bad Request\n\n")
    }

    fn plain() -> Fixture {
        let log = CLOSED
            .replace("upstream prematurely closed connection", "upstream sent no valid HTTP/1.0 header")
            .replace("\" 502 157", "\" 009 21");
        Fixture::new(&log).with("probe 127.0.0.1:3000", SETTINGS)
    }

    #[test]
    fn hit_http2_to_http1() {
        let summary = grpc().summary();
        assert!(
            summary.contains(
                "Confirmed http-version-mismatch: HTTP/2 is spoken to 127.0.0.1:3000, which speaks HTTP/1"
            ),
            "{summary}"
        );
    }

    #[test]
    fn hit_http1_to_http2() {
        let summary = plain().summary();
        assert!(summary.contains("Confirmed http-version-mismatch -> response-not-http: HTTP/1 is spoken to 127.0.0.1:3000, which speaks HTTP/2"), "{summary}");
    }

    #[test]
    fn hit_the_server_says_which_version_it_wants() {
        let text = CLOSED
            .replace("proxy_pass http://backend", "grpc_pass grpc://backend")
            .replace("upstream: \"http://", "upstream: \"grpc://")
            .replace("upstream prematurely closed connection", "upstream rejected request with error 13");
        let reset = format!("{SETTINGS}\\x00\\x00\\x04\\x03\\x00\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x0d");
        let summary = Fixture::new(&text).with("probe 127.0.0.1:3000", &reset).summary();
        assert!(
            summary.contains(
                "Confirmed http-version-mismatch: HTTP/2 is spoken to 127.0.0.1:3000, which wants HTTP/1"
            ),
            "{summary}"
        );
        let answered = format!("{SETTINGS}\\x00\\x00\\x01\\x01\\x05\\x00\\x00\\x00\\x01\\x88");
        let summary = Fixture::new(&text).with("probe 127.0.0.1:3000", &answered).summary();
        assert!(summary.contains("Likely http-version-mismatch"), "{summary}");
    }

    #[test]
    fn near_miss_it_answers_in_the_version_of_the_directive() {
        let answers = "answers\n\\x00\\x00\\x00\\x04\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x01\\x05\\x00\\x00\\x00\\x01\\x88";
        let summary = grpc().with("probe 127.0.0.1:3000", answers).summary();
        assert!(!summary.contains("http-version-mismatch"), "{summary}");
    }

    #[test]
    fn near_miss_bytes_of_no_protocol() {
        let summary = plain().with("probe 127.0.0.1:3000", "answers\nhello world").summary();
        assert!(!summary.contains("http-version-mismatch"), "{summary}");
    }

    #[test]
    fn gap_the_length_in_the_log_is_likely() {
        let summary = grpc().with("options", "offline").summary();
        assert!(summary.contains("Likely http-version-mismatch"), "{summary}");
    }

    #[test]
    fn gap_a_garbled_answer_alone_tells_no_version() {
        let summary = plain().with("options", "offline").summary();
        assert!(!summary.contains("http-version-mismatch"), "{summary}");
    }
}
