//! # upstream-send-timeout
//!
//! ## What happens
//!
//! The upstream takes the connection and does not read the request: its receive buffer and nginx's send buffer fill up,
//! and nothing moves for `proxy_send_timeout` (60 s unless set; each protocol has a directive of its own). It shows with
//! requests that do not fit into these buffers: uploads. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream timed out (110: Connection timed out) while sending request to upstream`, a 504; small requests may be
//! answered, or hang as well.
//!
//! ## How we know
//!
//! Confirmed: nginx's own message, and the upstream is on this host, so that no network lies between. Likely: the message
//! alone.
//!
//! ## What would disprove it
//!
//! The upstream reads all the time: then packets are lost on the way.
//!
//! ## What to do
//!
//! Find what the backend does instead of reading: all of its workers busy, a handler that waits before it reads the body.
//!
//! ## Not to be confused with
//!
//! `upstream-connect-timeout` (no connection), `upstream-slow` (the request was read, the answer does not come),
//! `mtu-black-hole` (large packets are lost), `upstream-rejects-request-body` (it closes or resets).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_send_request_handler`, `u->conf->send_timeout`; tcp(7).

use super::unanswered::{attempts, read_its_log};
use crate::case::{Case, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::Remedy;
use why502_facts::{Phase, Phrase};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-send-timeout",
    layer: Layer::Response,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[504],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_send_timeout.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(unread) = attempts(case, subject, is_unread)? else { return Ok(Ruling::NoSign) };
    let says = |n| format!("{} not read in time", count(n, "request"));
    let is_local = case.is_local(&unread.peer.address);
    let confidence = if is_local { Confidence::Confirmed } else { Confidence::Likely };
    let near = is_local.then(|| {
        let says = format!("{} is on this host: no network lies between", unread.peer.address);
        Evidence::supporting(says, Origin::Derived)
    });
    let finding = unread.finding(case, &CAUSE, confidence, subject, says).with(near);
    Ok(Ruling::found(finding))
}

/// Whether nginx gave up while it sent the request.
pub(super) fn is_unread(symptom: &Symptom) -> bool {
    symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::SendingRequest)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let pass = finding.peer().and_then(|peer| case.pass_to(peer));
    let timer = pass.map_or_else(String::new, |pass| {
        format!(" within {}_send_timeout of {} s", pass.protocol.prefix(), pass.timeouts.send.value.as_secs())
    });
    Explanation {
        title: format!("{} does not read requests{timer}", finding.address()),
        why: "The backend took the connection and stopped reading before the request was whole. nginx waits until nothing has \
              moved for its send timeout, then answers 504."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout: the request was never sent whole, no answer was waited for".to_owned(),
            "raising client_max_body_size: nginx had accepted the body".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    read_its_log(
        case,
        finding,
        "what it did instead of reading: workers that were all busy, a handler that waits before it reads the body",
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
                "upstream timed out (110: Connection timed out) while sending request to upstream",
            )
            .replace("\" 502 157", "\" 504 167")
            .replace("GET /a", "PUT /a");
        Fixture::new(&log).with("probe 127.0.0.1:3000", "hangs")
    }

    #[test]
    fn hit_on_this_host() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed upstream-send-timeout: 127.0.0.1:3000 does not read requests within proxy_send_timeout of 60 s [1 requests]
        ");
    }

    #[test]
    fn hit_beyond_a_network_is_likely() {
        let far = CLOSED
            .replace(
                "upstream prematurely closed connection while reading response header from upstream",
                "upstream timed out (110: Connection timed out) while sending request to upstream",
            )
            .replace("\" 502 157", "\" 504 167")
            .replace("127.0.0.1:3000", "192.0.2.7:3000");
        insta::assert_snapshot!(Fixture::new(&far).with("options", "offline").summary(), @"
        Broken
        Likely upstream-send-timeout: 192.0.2.7:3000 does not read requests within proxy_send_timeout of 60 s [1 requests]
        ");
    }

    #[test]
    fn near_miss_the_answer_does_not_come() {
        let log = CLOSED
            .replace(
                "upstream prematurely closed connection",
                "upstream timed out (110: Connection timed out)",
            )
            .replace("\" 502 157", "\" 504 167");
        let summary = Fixture::new(&log).with("probe 127.0.0.1:3000", "hangs").summary();
        assert!(!summary.contains("upstream-send-timeout"), "{summary}");
    }

    #[test]
    fn gap_without_the_error_log_nobody_knows() {
        let summary = hit().without("error.log").summary();
        assert!(!summary.contains("upstream-send-timeout"), "{summary}");
    }
}
