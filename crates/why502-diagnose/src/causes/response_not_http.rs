//! # response-not-http
//!
//! ## What happens
//!
//! The upstream's first bytes are no HTTP response: garbage, debug output before the header, a status line without its
//! form. For HTTP nginx passes such bytes on as HTTP/0.9; for uwsgi and SCGI the first line is neither a status nor a
//! header and the answer is dropped. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream sent no valid HTTP/1.0 header while reading response header from upstream` and status `009` in the access
//! log (the client sees an empty or garbled answer); for uwsgi and SCGI `upstream sent invalid header` and a 502.
//!
//! ## How we know
//!
//! Confirmed: nginx's own message, and what a probe receives, if it receives anything, is of no known protocol.
//!
//! ## What would disprove it
//!
//! The bytes are those of a known protocol: TLS, HTTP/2, a greeting of SSH or a database.
//!
//! ## What to do
//!
//! See what the application writes before its response header.
//!
//! ## Not to be confused with
//!
//! `plaintext-to-tls-upstream` (the bytes are a TLS alert), `http-version-mismatch` (HTTP/2 frames), `protocol-mismatch`
//! (a known greeting), `response-header-invalid` (a status line came, and a header is wrong).
//!
//! ## References
//!
//! nginx: `ngx_http_proxy_process_status_line`, `ngx_http_uwsgi_process_header`.

use super::unanswered::attempts;
use crate::case::{Case, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{FirstBytes, Phrase, lossy};

pub(super) static CAUSE: Cause = Cause {
    id: "response-not-http",
    layer: Layer::Protocol,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[200, 502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("response_not_http.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(odd) = attempts(case, subject, is_no_http)? else { return Ok(Ruling::NoSign) };
    let says = |n| format!("{} did not begin with an HTTP response", count(n, "answer"));
    let finding = |confidence| odd.finding(case, &CAUSE, confidence, subject, says);
    let Some(report) = odd.report() else {
        let open = case.probe(odd.peer).gap().cloned().map(|gap| Case::open(gap, "what the peer sends"));
        return Ok(Ruling::found(finding(Confidence::Likely).open(open)));
    };
    // To the probe it speaks as it should: only some answers are malformed.
    if report.answer.is_some() {
        // What was sent then is not known, if requests are answered since.
        return Ok(Ruling::found(if odd.is_served_since(case) {
            finding(Confidence::Likely).still_failing(odd.still_failing(case, false))
        } else {
            finding(Confidence::Confirmed)
        }));
    }
    Ok(match report.first_bytes {
        // Known protocols have causes of their own; what is left for this one is a mere possibility.
        FirstBytes::Http
        | FirstBytes::Tls { .. }
        | FirstBytes::Http2
        | FirstBytes::Banner(_)
        | FirstBytes::Uwsgi
        | FirstBytes::FastCgi => Ruling::found(finding(Confidence::Possible)),
        FirstBytes::Other => {
            let says =
                format!("asked directly, its first bytes are {:?}", excerpt(report.received.as_slice()));
            let evidence = [Evidence::supporting(says, case.probe_origin(odd.peer))];
            Ruling::found(finding(Confidence::Confirmed).still_failing(Some(true)).with(evidence))
        }
        FirstBytes::Nothing => Ruling::found(finding(Confidence::Likely)),
    })
}

/// Whether nginx says so; for uwsgi and SCGI a first line that is neither a status nor a header.
fn is_no_http(symptom: &Symptom) -> bool {
    symptom.is(Phrase::NoValidHttpHeader) || is_text_of_cgi(symptom)
}

/// Whether what nginx refused as a header of uwsgi or SCGI does not even begin like one: words instead of a name.
///
/// Which line it was, the message does not tell.
pub(super) fn is_text_of_cgi(symptom: &Symptom) -> bool {
    let is_cgi = matches!(symptom.scheme.as_deref(), Some("uwsgi" | "suwsgi" | "scgi"));
    is_cgi
        && symptom.is(Phrase::InvalidHeader)
        && symptom.detail.as_deref().and_then(|detail| detail.split('"').nth(1)).is_some_and(begins_no_header)
}

/// Header names of one word that applications write.
const PLAIN_NAMES: &[&str] = &[
    "Age", "Allow", "Date", "ETag", "Expires", "Link", "Location", "Pragma", "Server", "Status", "Vary",
    "Via", "X",
];

/// Whether the bytes up to the one that was refused are no beginning of a header's name.
fn begins_no_header(line: &str) -> bool {
    let name = line.split(['\\', ':']).next().unwrap_or("").trim();
    let is_name =
        name.contains(['-', '_']) || PLAIN_NAMES.iter().any(|plain| plain.eq_ignore_ascii_case(name));
    !is_name
}

fn excerpt(bytes: &[u8]) -> String {
    lossy(&bytes[..bytes.len().min(40)])
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.peer();
    let bytes = peer
        .and_then(|peer| case.probe(peer).known())
        .filter(|report| report.answer.is_none() && report.first_bytes == FirstBytes::Other);
    let sent = bytes.map(|report| format!(": {:?}", excerpt(report.received.as_slice()))).unwrap_or_default();
    let address = peer.map_or(String::new(), |peer| peer.address.to_string());
    Explanation {
        title: format!("what {address} sends is no HTTP response{sent}"),
        why: "nginx expects a status line and gets something else. It passes the bytes on as HTTP/0.9, which clients show as an \
              empty or garbled answer, or drops them with a 502."
            .to_owned(),
        wont_help: vec!["raising buffers or timeouts: the bytes came, and are no HTTP".to_owned()],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(peer) = finding.peer() else { return Vec::new() };
    vec![
        Remedy::new("See what the application writes before its response header", Risk::ShowOnly)
            .advice(format!("read the first bytes of {} without a client that forgives: `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc ADDRESS PORT | head -c 200 | od -c`", peer.address))
            .verify("the failing request gets a status line"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let log = CLOSED
            .replace("upstream prematurely closed connection", "upstream sent no valid HTTP/1.0 header")
            .replace("\" 502 157", "\" 009 21");
        Fixture::new(&log).with("probe 127.0.0.1:3000", "answers\nhello world")
    }

    #[test]
    fn hit_with_the_bytes_seen() {
        insta::assert_snapshot!(hit().summary(), @r#"
        Broken
        Confirmed response-not-http: what 127.0.0.1:3000 sends is no HTTP response: "hello world" [1 requests, still failing]
        "#);
    }

    #[test]
    fn hit_by_the_message_alone() {
        insta::assert_snapshot!(hit().with("options", "offline").summary(), @"
        Broken
        Likely response-not-http: what 127.0.0.1:3000 sends is no HTTP response [1 requests]
          open: what the peer sends: not looked at: --offline
        ");
    }

    #[test]
    fn near_miss_a_known_greeting_is_a_protocol() {
        insta::assert_snapshot!(hit().with("probe 127.0.0.1:3000", "answers\nSSH-2.0-OpenSSH_9.2").summary(), @"
        Broken
        Confirmed protocol-mismatch -> response-not-http: HTTP is spoken to 127.0.0.1:3000, which speaks SSH [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_tls_has_a_cause_of_its_own() {
        let tls = hit()
            .with("probe 127.0.0.1:3000", "answers\n\\x15\\x03\\x01\\x00\\x02\\x02\\x46")
            .with("probe 127.0.0.1:3000 tls", "answers tls");
        insta::assert_snapshot!(tls.summary(), @"
        Broken
        Confirmed plaintext-to-tls-upstream -> response-not-http: plain http:// is spoken to 127.0.0.1:3000, which speaks TLS [1 requests, still failing]
        ");
    }

    #[test]
    fn gap_the_peer_cannot_be_probed() {
        insta::assert_snapshot!(hit().without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Likely response-not-http: what 127.0.0.1:3000 sends is no HTTP response [1 requests]
          open: what the peer sends: the fixture does not tell
        ");
    }
}
