//! # upstream-connect-timeout
//!
//! ## What happens
//!
//! nginx's connection attempt gets no answer within `proxy_connect_timeout`: no acceptance, no refusal. A packet filter
//! that drops, a host that is gone, a full accept queue, a wrong address in another network. True for every version.
//!
//! ## What you see
//!
//! `upstream timed out (110: Connection timed out) while connecting to upstream` and a 504 after exactly that time; with
//! `connect() failed (110…)` the kernel gave up first, and the status is 502.
//!
//! ## How we know
//!
//! Confirmed: a connection attempt in nginx's place gets no answer now, too. Likely: nginx's message alone. It is the
//! verdict only where nothing more specific is known.
//!
//! ## What would disprove it
//!
//! An answer of any kind to the connection attempt.
//!
//! ## What to do
//!
//! Find where the packets stop: the address itself, a security group or firewall, the host. The application never saw the
//! request, so its speed does not matter.
//!
//! ## Not to be confused with
//!
//! `firewall-dropped`, `host-unreachable`, `listen-backlog-full`, `dns-stale-address`, `connect-timeout-too-short`;
//! `upstream-slow` (the connection was accepted).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_next` (`NGX_HTTP_UPSTREAM_FT_TIMEOUT`), `ngx_http_upstream_connect`; tcp(7),
//! `tcp_syn_retries`.

use super::unanswered::attempts;
use crate::case::{Case, Reach, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Errno, Observed, Phase, Phrase};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-connect-timeout",
    layer: Layer::Connect,
    acts_on: ActsOn::Network,
    effect: false,
    statuses: &[504],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_connect_timeout.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(silent) = attempts(case, subject, is_silence)? else { return Ok(Ruling::NoSign) };
    let says = |n| format!("{} got no answer in time", count(n, "connection attempt"));
    let reach = case.reach(silent.peer);
    let silent_now = reach == Observed::Known(Reach::Silent);
    let confidence = if silent_now { Confidence::Confirmed } else { Confidence::Likely };
    let evidence = match reach {
        Observed::Known(Reach::Silent) => Some(Evidence::supporting(
            "a connection attempt gets no answer now",
            case.probe_origin(silent.peer),
        )),
        Observed::Known(Reach::Connected) => Some(Evidence::context(
            format!("{} accepts connections now", silent.peer.address),
            case.probe_origin(silent.peer),
        )),
        _ => None,
    };
    let gone = (reach == Observed::Known(Reach::Connected)).then_some(false);
    let mut finding = silent
        .finding(case, &CAUSE, confidence, subject, says)
        .still_failing(silent_now.then_some(true).or(gone))
        .with(evidence);
    finding.at = case.written_at(silent.peer).into_iter().collect();
    finding.fails_clients_now = silent_now && case.is_felt(silent.peer);
    Ok(Ruling::found(finding))
}

fn is_silence(symptom: &Symptom) -> bool {
    let timed_out = symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::Connecting);
    timed_out || symptom.connect_failed(Errno::TimedOut)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.peer();
    let address = peer.map_or(String::new(), |peer| peer.address.to_string());
    let timeout = peer.and_then(|peer| case.pass_to(peer)).map(|pass| pass.timeouts.connect.value.as_secs());
    let within = timeout.map(|seconds| format!(" within {seconds} s")).unwrap_or_default();
    Explanation {
        title: format!("connection attempts to {address} get no answer{within}"),
        why: "nginx asks for a connection and hears nothing: neither an acceptance nor a refusal. When its connect timeout is up \
              it answers 504."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout: the connection never stood".to_owned(),
            "speeding up the application: it never saw the request".to_owned(),
        ],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(peer) = finding.peer().filter(|_| finding.still_failing != Some(false)) else {
        return Vec::new();
    };
    vec![
        Remedy::new("Find where the packets stop", Risk::ShowOnly)
            .advice(format!("is {} still the right address? then look at the packet filters on the way (security group, network policy, firewall of both hosts) and whether the host is up", peer.address))
            .verify(format!("a connection to {} opens", peer.address)),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let log = CLOSED
            .replace(
                "upstream prematurely closed connection while reading response header from upstream",
                "upstream timed out (110: Connection timed out) while connecting to upstream",
            )
            .replace("\" 502 157", "\" 504 167")
            .replace("127.0.0.1:3000", "10.0.0.7:3000");
        Fixture::new(&log).with("probe 10.0.0.7:3000", "silent")
    }

    #[test]
    fn hit_silent_now_too() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed upstream-connect-timeout: connection attempts to 10.0.0.7:3000 get no answer within 60 s [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_by_the_message_alone_is_likely() {
        insta::assert_snapshot!(hit().with("options", "offline").summary(), @"
        Broken
        Likely upstream-connect-timeout: connection attempts to 10.0.0.7:3000 get no answer within 60 s [1 requests]
        ");
    }

    #[test]
    fn near_miss_a_slow_answer_is_no_silence() {
        let log = CLOSED
            .replace(
                "upstream prematurely closed connection",
                "upstream timed out (110: Connection timed out)",
            )
            .replace("\" 502 157", "\" 504 167");
        let summary = Fixture::new(&log).with("probe 127.0.0.1:3000", "hangs").summary();
        assert!(!summary.contains("upstream-connect-timeout"), "{summary}");
    }

    #[test]
    fn near_miss_it_accepts_again() {
        insta::assert_snapshot!(hit().with("probe 10.0.0.7:3000", "connected").summary(), @"
        Recovered
        Likely upstream-connect-timeout: connection attempts to 10.0.0.7:3000 get no answer within 60 s [1 requests, mended]
        ");
    }

    #[test]
    fn gap_the_peer_cannot_be_probed() {
        insta::assert_snapshot!(hit().without("probe 10.0.0.7:3000").summary(), @"
        Broken
        Likely upstream-connect-timeout: connection attempts to 10.0.0.7:3000 get no answer within 60 s [1 requests]
        ");
    }
}
