//! # http2-goaway
//!
//! ## What happens
//!
//! nginx speaks HTTP/2 to the backend (`grpc_pass`, or `proxy_http_version 2` since 1.29.4), and the backend refuses: it ends
//! the connection with `GOAWAY` before it looked at the request, or refuses the one stream with `RST_STREAM`. It does so where a
//! connection has reached a limit of its age, its idle time or its number of requests, where the backend is shutting down,
//! and where it is sent too much. nginx counts such an answer as an invalid header: by default nothing repeats the request.
//!
//! ## What you see
//!
//! `upstream sent goaway with error 0` (or 11), `upstream rejected request with error 7` (or 11), and 502. 0 (`NO_ERROR`): the
//! connection has served its time; sporadic, and only where nginx keeps connections open. 7 (`REFUSED_STREAM`): no more
//! requests are taken. 11 (`ENHANCE_YOUR_CALM`): too many or too fast; HAProxy's `http-request reject` says so too. A server that
//! had begun to look at the request says goodbye and closes: then the log has only `upstream prematurely closed connection`.
//!
//! ## How we know
//!
//! Confirmed: nginx's own parser of frames tells the code 0, 7 or 11, no other cause writes that; or a connection was closed
//! without an answer, and a probe in HTTP/2 gets such a refusal. Likely: a `GOAWAY` with another code, which ends
//! the connection for an error that only the backend knows (`PROTOCOL_ERROR`, `INTERNAL_ERROR`, `FRAME_SIZE_ERROR`,
//! `INADEQUATE_SECURITY`).
//!
//! ## What would disprove it
//!
//! The code 13 (`HTTP_1_1_REQUIRED`): the backend wants another version. A single stream that ends with another code than these
//! (`INTERNAL_ERROR`, `CANCEL`, `PROTOCOL_ERROR`): the application gave the request up, and nothing was refused.
//!
//! ## What to do
//!
//! Where connections come to their end: let nginx end them first (`keepalive_requests`, `keepalive_time` and
//! `keepalive_timeout` of the `upstream` block below the backend's limits), or let the backend announce the end, as gRPC's own
//! servers do: a first `GOAWAY` that still takes every stream. Where it refuses: raise its limit, or add backends.
//!
//! ## Not to be confused with
//!
//! `http-version-mismatch` (code 13, or no HTTP/2 at all), `upstream-closed-before-response` (other codes of a stream, or a close
//! without `GOAWAY`), `keepalive-race` (an idle connection is closed without `GOAWAY`), `response-framing-invalid` (frames that
//! break the rules).
//!
//! ## References
//!
//! RFC 9113, sections 6.4, 6.8, 7 and 8.7; nginx: `ngx_http_grpc_process_header`, `ngx_http_upstream_next`; gRPC,
//! `GRPC_ARG_MAX_CONNECTION_AGE_MS`; HAProxy, `http-request reject`.

use super::http2_ends::{Http2End, Meaning};
use super::unanswered::{Unanswered, attempts, before_header, read_its_log};
use crate::case::{Case, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::plan::speaks_http2;
use crate::remedy::{Remedy, Risk};
use why502_facts::{Errno, Phrase};
use why502_model::Pass;

pub(super) static CAUSE: Cause = Cause {
    id: "http2-goaway",
    layer: Layer::Protocol,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["upstream-closed-before-response", "upstream-reset-before-response"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("http2_goaway.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(pass) = subject.peer().and_then(|peer| case.pass_to(peer)) else { return Ok(Ruling::NoSign) };
    if !speaks_http2(pass) {
        return Ok(Ruling::NoSign);
    }
    let either = |symptom: &Symptom| told(symptom).is_some() || may_be_silent_about_it(symptom);
    let Some(mut refused) = attempts(case, subject, either)? else { return Ok(Ruling::NoSign) };
    let seen = refused.report().and_then(Http2End::seen).filter(|end| is_of_server(*end));
    // What the log only calls a close counts where the peer is seen to refuse.
    let is_refused_now = seen.is_some_and(|end| end.meaning() != Meaning::GivenUp);
    if !is_refused_now {
        refused.symptoms.retain(|(_, _, symptom)| told(symptom).is_some());
    }
    if refused.symptoms.is_empty() {
        return Ok(Ruling::NoSign);
    }
    let is_certain = is_refused_now || ends(&refused).any(|end| end.meaning() != Meaning::GivenUp);
    let confidence = if is_certain { Confidence::Confirmed } else { Confidence::Likely };
    let still_failing = refused.still_failing(case, seen.is_some());
    let probed = seen.map(|end| {
        let says = format!("asked in HTTP/2, the peer answers with {}", end.words());
        Evidence::supporting(says, case.probe_origin(refused.peer))
    });
    let says = |n| format!("{} refused or lost with the connection", count(n, "request"));
    let mut finding =
        refused.finding(case, &CAUSE, confidence, subject, says).still_failing(still_failing).with(probed);
    finding.fails_clients_now = still_failing == Some(true) && case.is_felt(refused.peer);
    Ok(Ruling::found(finding))
}

/// The end of an attempt that the error log tells, if it is one of this cause.
fn told(symptom: &Symptom) -> Option<Http2End> {
    Http2End::told(symptom).filter(|end| is_of_server(*end) && before_header(symptom))
}

/// Whether an end is the server's refusal or its end of the connection, and no application's.
fn is_of_server(end: Http2End) -> bool {
    match end.meaning() {
        Meaning::EndOfLife | Meaning::Refusal => true,
        Meaning::GivenUp => end.ends_connection,
        Meaning::WantsHttp1 => false,
    }
}

/// Whether an attempt ended so that a `GOAWAY` may have come before, of which nginx says nothing where it names this stream
/// or a later one as the last that is served.
fn may_be_silent_about_it(symptom: &Symptom) -> bool {
    let is_broken = symptom.is(Phrase::PrematureClose)
        || (symptom.is(Phrase::ReceiveFailed) && symptom.errno == Some(Errno::ConnectionReset));
    (is_broken && before_header(symptom)) || symptom.is_quietly_unanswered()
}

fn ends<'u>(refused: &'u Unanswered<'_>) -> impl Iterator<Item = Http2End> + 'u {
    refused.symptoms.iter().filter_map(|(_, _, symptom)| told(symptom))
}

/// How the requests of a finding ended: as the log tells, else as its peer answers now.
fn end_of(case: &Case<'_>, finding: &Finding) -> Option<Http2End> {
    let symptoms = finding.explains.iter().flat_map(|id| &case.failure(*id).symptoms);
    let of_peer =
        symptoms.filter(|symptom| symptom.peer.as_ref() == finding.peer().map(|peer| &peer.address));
    of_peer
        .filter_map(told)
        .min_by_key(|end| end.meaning() == Meaning::GivenUp)
        .or_else(|| case.probe(finding.peer()?).known().and_then(Http2End::seen))
}

fn pass_of<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<&'c Pass> {
    finding.peer().and_then(|peer| case.pass_to(peer))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let end = end_of(case, finding);
    let words = end.map_or_else(|| "GOAWAY".to_owned(), Http2End::words);
    let is_kept = pass_of(case, finding).is_some_and(|pass| pass.keeps_alive);
    let (title, why) = match end.map(Http2End::meaning) {
        Some(Meaning::EndOfLife) if is_kept => (
            format!("{address} ends connections with {words} while nginx still uses them"),
            "The backend ends a connection that is old, idle or has served its number of requests, and says that it has not \
             looked at the newest request. nginx took the connection for one that can be used, and does not repeat the request.",
        ),
        Some(Meaning::EndOfLife) => (
            format!("{address} ends new connections with {words} before it serves a request"),
            "The backend says goodbye on a connection that nginx has just made, as one does that is shutting down or takes no \
             more connections. nginx does not repeat the request.",
        ),
        Some(Meaning::Refusal) => (
            format!("{address} refuses requests with {words}"),
            "The backend takes no more requests, or not at this pace, and has not looked at the request. nginx counts the \
             refusal as an invalid header and does not repeat the request.",
        ),
        _ => (
            format!("{address} ends connections with {words}"),
            "The backend ends the connection for an error, of its own or in what it was sent. What that is stands in its own \
             log alone.",
        ),
    };
    Explanation {
        title,
        why: why.to_owned(),
        wont_help: vec![
            "raising grpc_read_timeout or proxy_read_timeout: nginx did not wait, it was refused".to_owned(),
            "raising buffers: no response header came that could be too big".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(pass) = pass_of(case, finding) else { return Vec::new() };
    let prefix = pass.protocol.prefix();
    let repeat = finding.peer().filter(|peer| !case.is_single(peer)).map(|_| {
        Remedy::new("Let another backend serve what one refuses", Risk::ShowOnly)
            .advice(format!(
                "`{prefix}_next_upstream error timeout invalid_header` repeats it; gRPC's calls are POSTs and need \
                 `non_idempotent` too, which also repeats calls that a backend had begun: only where that does no harm"
            ))
            .verify("the failing request answers")
    });
    let own = match end_of(case, finding).map(Http2End::meaning) {
        Some(Meaning::EndOfLife) if pass.keeps_alive => vec![
            Remedy::new("Let nginx end its connections before the backend does", Risk::ShowOnly)
                .advice(
                    "in the `upstream` block set `keepalive_requests`, `keepalive_time` (nginx 1.19.10 or newer) and \
                     `keepalive_timeout` below the backend's limits",
                )
                .verify("no more requests are lost"),
            Remedy::new("Let the backend announce the end of a connection first", Risk::ShowOnly)
                .advice(
                    "gRPC's servers send a first GOAWAY that still takes every stream (MAX_CONNECTION_AGE with a grace time); others \
                     have to wait between it and the last one (RFC 9113, section 6.8), or be given a longer idle time",
                )
                .verify("no more requests are lost"),
        ],
        Some(Meaning::EndOfLife) => read_its_log(case, finding, "its shutdown, or a limit on connections"),
        Some(Meaning::Refusal) => vec![
            Remedy::new("Raise the backend's limit, or add backends", Risk::ShowOnly)
                .advice(
                    "look for what limits concurrent streams, the rate of requests or the memory of a connection; a limit that is \
                     meant to be is better told by an answer (429, or RESOURCE_EXHAUSTED of gRPC) than by a refused stream",
                )
                .verify("the failing request answers"),
        ],
        _ => read_its_log(case, finding, "why it ended the connection: what it could not read, or its own error"),
    };
    own.into_iter().chain(repeat).collect()
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    const SETTINGS: &str = "\\x00\\x00\\x00\\x04\\x00\\x00\\x00\\x00\\x00";
    const ANSWERS: &str = "answers\n\\x00\\x00\\x00\\x04\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x01\\x05\\x00\\x00\\x00\\x01\\x88";

    /// A gRPC route whose log says that; the peer answers a probe.
    fn grpc(says: &str) -> Fixture {
        Fixture::new(&text(says)).with("probe 127.0.0.1:3000", ANSWERS)
    }

    fn text(says: &str) -> String {
        CLOSED
            .replace("proxy_pass http://backend", "grpc_pass grpc://backend")
            .replace("upstream: \"http://", "upstream: \"grpc://")
            .replace("upstream prematurely closed connection", says)
    }

    /// The peer answers a probe with GOAWAY of that code for the stream of the request, and closes.
    fn goaway(code: u8) -> String {
        let last = "\\x00\\x00\\x00\\x01";
        format!(
            "closed\n{SETTINGS}\\x00\\x00\\x08\\x07\\x00\\x00\\x00\\x00\\x00{last}\\x00\\x00\\x00\\x{code:02x}"
        )
    }

    fn reset(code: u8) -> String {
        format!(
            "answers\n{SETTINGS}\\x00\\x00\\x04\\x03\\x00\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x{code:02x}"
        )
    }

    #[test]
    fn hit_the_end_of_a_kept_connection() {
        let kept = text("upstream sent goaway with error 0")
            .replace("server 127.0.0.1:3000;", "server 127.0.0.1:3000; keepalive 8;");
        insta::assert_snapshot!(Fixture::new(&kept).with("probe 127.0.0.1:3000", ANSWERS).summary(), @"
        Broken
        Confirmed http2-goaway: 127.0.0.1:3000 ends connections with GOAWAY with code 0 (NO_ERROR) while nginx still uses them [1 requests]
        ");
    }

    #[test]
    fn hit_the_probe_is_refused_too() {
        let refused = grpc("upstream rejected request with error 7").with("probe 127.0.0.1:3000", &reset(7));
        insta::assert_snapshot!(refused.summary(), @"
        Broken
        Confirmed http2-goaway: 127.0.0.1:3000 refuses requests with RST_STREAM with code 7 (REFUSED_STREAM) [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_log_tells_a_close_and_the_probe_its_reason() {
        let closed = grpc("upstream prematurely closed connection").with("probe 127.0.0.1:3000", &goaway(11));
        insta::assert_snapshot!(closed.summary(), @"
        Broken
        Confirmed http2-goaway -> upstream-closed-before-response: 127.0.0.1:3000 refuses requests with GOAWAY with code 11 (ENHANCE_YOUR_CALM) [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_another_code_is_likely() {
        insta::assert_snapshot!(grpc("upstream sent goaway with error 2").summary(), @"
        Broken
        Likely http2-goaway: 127.0.0.1:3000 ends connections with GOAWAY with code 2 (INTERNAL_ERROR) [1 requests]
        ");
    }

    #[test]
    fn near_miss_the_application_gave_the_stream_up() {
        let given_up = grpc("upstream rejected request with error 2").with("probe 127.0.0.1:3000", &reset(2));
        insta::assert_snapshot!(given_up.summary(), @"
        Broken
        Confirmed upstream-closed-before-response: 127.0.0.1:3000 takes requests and closes without an answer [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_the_backend_wants_the_other_version() {
        let summary = grpc("upstream rejected request with error 13").summary();
        assert!(!summary.contains("http2-goaway"), "{summary}");
    }

    #[test]
    fn near_miss_a_close_without_a_reason() {
        let closed = grpc("upstream prematurely closed connection")
            .with("probe 127.0.0.1:3000", &format!("closed\n{SETTINGS}"));
        let summary = closed.summary();
        assert!(!summary.contains("http2-goaway"), "{summary}");
    }

    #[test]
    fn gap_the_log_tells_it_and_the_peer_is_not_asked() {
        let offline = grpc("upstream rejected request with error 11").with("options", "offline");
        insta::assert_snapshot!(offline.summary(), @"
        Broken
        Confirmed http2-goaway: 127.0.0.1:3000 refuses requests with RST_STREAM with code 11 (ENHANCE_YOUR_CALM) [1 requests]
        ");
    }

    #[test]
    fn gap_of_a_close_nobody_knows_the_reason() {
        let summary = grpc("upstream prematurely closed connection").with("options", "offline").summary();
        assert!(!summary.contains("http2-goaway"), "{summary}");
    }
}
