//! # upstream-reset-before-response
//!
//! ## What happens
//!
//! The backend resets the connection (errno 104) before it sent a complete response header: its worker crashed, it closed
//! with unread data (a request it found too large), or something between dropped the connection. True for every version
//! of nginx; over TLS nginx reports a reset as a close.
//!
//! ## What you see
//!
//! `recv() failed (104: Connection reset by peer) while reading response header from upstream` (or `writev()`, `send()`),
//! a 502.
//!
//! ## How we know
//!
//! Confirmed: a probe of the same path is reset, too. Likely: nginx's message alone. It is the verdict only where nothing
//! more specific is known.
//!
//! ## What would disprove it
//!
//! Something more specific: a crash on record, a request header above the backend's limit, a reused idle connection.
//!
//! ## What to do
//!
//! Read the backend's own log at the very second of a failure; compare the request of a user who fails with one who does
//! not.
//!
//! ## Not to be confused with
//!
//! `upstream-closed-before-response` (a close), `request-header-too-big-for-upstream`, `keepalive-race`,
//! `upstream-worker-crashed`, `response-body-truncated` (after the header).
//!
//! ## References
//!
//! nginx: `ngx_unix_recv`, `ngx_writev`; tcp(7).

use super::unanswered::{attempts_seen_again, before_header, read_its_log};
use crate::case::{Case, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::Remedy;
use why502_facts::{Errno, Phrase, ProbeOutcome};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-reset-before-response",
    layer: Layer::Response,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_reset_before_response.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let ends = ProbeOutcome::Failed(Errno::ConnectionReset);
    let Some(reset) = attempts_seen_again(case, subject, is_reset, ends)? else { return Ok(Ruling::NoSign) };
    let resets_now = reset.received() == Some(ends);
    let says = |n| format!("{} reset before an answer (ECONNRESET)", count(n, "connection"));
    let still_failing = reset.still_failing(case, resets_now);
    let confidence = if still_failing == Some(true) { Confidence::Confirmed } else { Confidence::Likely };
    let probed = resets_now.then(|| {
        Evidence::supporting("asked directly, the peer resets the connection", case.probe_origin(reset.peer))
    });
    let mut finding =
        reset.finding(case, &CAUSE, confidence, subject, says).still_failing(still_failing).with(probed);
    finding.fails_clients_now = still_failing == Some(true) && case.is_felt(reset.peer);
    Ok(Ruling::found(finding))
}

pub(super) fn is_reset(symptom: &Symptom) -> bool {
    let phrase =
        matches!(symptom.phrase, Some(Phrase::ReceiveFailed | Phrase::SendFailed | Phrase::ConnectFailed));
    phrase
        && matches!(symptom.errno, Some(Errno::ConnectionReset | Errno::BrokenPipe))
        && before_header(symptom)
}

fn explain(_case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.address();
    Explanation {
        title: format!("{peer} resets connections before it answers"),
        why: "The backend took the connection and its end of it was reset before a response header came. nginx has nothing to \
              pass on and answers 502."
            .to_owned(),
        wont_help: vec![
            "raising proxy_buffer_size: no response header came that could be too big".to_owned(),
            "raising timeouts: a reset is no timeout".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    read_its_log(
        case,
        finding,
        "a crash, a killed worker, or a request that it found too large (big cookies)",
    )
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let log = CLOSED.replace(
            "upstream prematurely closed connection",
            "recv() failed (104: Connection reset by peer)",
        );
        Fixture::new(&log).with("probe 127.0.0.1:3000", "reset")
    }

    #[test]
    fn hit_the_probe_is_reset_too() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed upstream-reset-before-response: 127.0.0.1:3000 resets connections before it answers [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_by_the_message_alone_is_likely() {
        insta::assert_snapshot!(hit().with("options", "offline").summary(), @"
        Broken
        Likely upstream-reset-before-response: 127.0.0.1:3000 resets connections before it answers [1 requests]
        ");
    }

    #[test]
    fn near_miss_a_client_that_left() {
        let log = CLOSED.replace("[error] 101#101: *5 upstream prematurely closed connection while reading response header from upstream", "[info] 101#101: *5 recv() failed (104: Connection reset by peer) while sending to client").replace("\" 502 157", "\" 200 57");
        let summary =
            Fixture::new(&log).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n").summary();
        assert!(!summary.contains("upstream-reset-before-response"), "{summary}");
    }

    #[test]
    fn gap_the_peer_cannot_be_probed() {
        insta::assert_snapshot!(hit().without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Likely upstream-reset-before-response: 127.0.0.1:3000 resets connections before it answers [1 requests]
        ");
    }
}
