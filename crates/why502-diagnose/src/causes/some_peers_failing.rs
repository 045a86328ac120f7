//! # some-peers-failing
//!
//! ## What happens
//!
//! Some peers of a group fail while others serve, so only a share of the requests fails, or none because nginx passes a
//! failed one on to the next peer. A symptom: what each of the peers fails of is its own cause.
//!
//! ## What you see
//!
//! Errors that name the same few of a group's addresses, and successes of the others; `$upstream_status` like `502, 200`.
//!
//! ## How we know
//!
//! Confirmed: attempts on some addresses of the group failed, and others answered or accept connections.
//!
//! ## What would disprove it
//!
//! Failures of all peers.
//!
//! ## What to do
//!
//! Look at the peers that are named; until they are mended, mark them `down`.
//!
//! ## Not to be confused with
//!
//! `no-live-upstreams` (none is left), `passive-ejection` (healthy peers are taken out), `address-family-mismatch` (two
//! addresses of one name).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_next`, `ngx_http_upstream_free_round_robin_peer`.

use crate::case::{Case, Failure, FailureId, PeerSubject, Reach, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use why502_facts::{Observed, Phrase};
use why502_model::Pass;

pub(super) static CAUSE: Cause = Cause {
    id: "some-peers-failing",
    layer: Layer::Select,
    acts_on: ActsOn::Upstream,
    effect: true,
    statuses: &[502, 504],
    scope: Scope::Group,
    supersedes: &[],
    detect: Detect::Over(detect),
    explain,
    remedies,
    manual: manual!("some_peers_failing.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject, _found: &[Finding]) -> Result<Ruling, Asks> {
    let Some(group) = subject.group() else { return Ok(Ruling::NoSign) };
    let peers: Vec<&PeerSubject> = case.peers_of(Some(group)).filter(|peer| is_in_use(case, peer)).collect();
    let (failing, well): (Vec<&PeerSubject>, Vec<&PeerSubject>) =
        peers.iter().partition(|peer| fails(case, peer));
    let serving: Vec<&&PeerSubject> = well.iter().filter(|peer| serves(case, peer)).collect();
    let (Some(first), Some(other)) = (failing.first(), serving.first()) else { return Ok(Ruling::NoSign) };
    let failures: BTreeSet<FailureId> = failing
        .iter()
        .flat_map(|peer| case.symptoms_of(peer))
        .filter(|(_, failure, symptom)| has_failed(case, failure, symptom))
        .map(|(id, ..)| id)
        .collect();
    let symptoms = failing
        .iter()
        .flat_map(|peer| case.symptoms_of(peer))
        .filter(|(_, failure, symptom)| has_failed(case, failure, symptom));
    let line =
        Case::lines_evidence(symptoms, |n| format!("{} on {} failed", count(n, "attempt"), first.address));
    let success = case.last_success(other).map(|(_, line)| {
        Evidence::supporting(format!("{} serves", other.address), Origin::Log(line.clone()))
    });
    let probed =
        || Evidence::supporting(format!("{} accepts connections", other.address), case.probe_origin(other));
    let finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
        .explaining(failures)
        .with(line)
        .with([success.unwrap_or_else(probed)])
        .at(failing.iter().filter_map(|peer| case.written_at(peer)));
    Ok(Ruling::found(finding))
}

fn is_in_use(case: &Case<'_>, peer: &PeerSubject) -> bool {
    case.configured(peer).is_some_and(|configured| !configured.down)
}

fn fails(case: &Case<'_>, peer: &PeerSubject) -> bool {
    case.symptoms_of(peer).any(|(_, failure, symptom)| has_failed(case, failure, symptom))
        || matches!(case.reach(peer), Observed::Known(Reach::Failed(_) | Reach::Silent))
}

/// Whether an attempt failed by a message of nginx, or by what the access log tells of it: nginx's own status and no
/// header, or, where no time of a header is logged, that nginx went on to another peer though no status makes it do so.
fn has_failed(case: &Case<'_>, failure: &Failure, symptom: &Symptom) -> bool {
    if symptom.phrase.is_some() || symptom.logged.header {
        return is_failure(symptom) || symptom.is_quietly_failed();
    }
    let is_own = symptom.tried.as_ref().is_some_and(|tried| matches!(tried.status, Some(502 | 504)));
    let group = symptom.peer.as_ref().and_then(|address| case.peers_at(address).find_map(|peer| peer.group));
    let pass = failure.route.zip(group).and_then(|(route, group)| case.pass_of(route, Some(group)));
    let names_none = |pass: &Pass| !pass.retry.conditions.value.iter().any(|own| own.starts_with("http_"));
    let is_last = failure.attempts().next_back().is_some_and(|last| std::ptr::eq(last, symptom));
    is_own && !is_last && pass.is_some_and(names_none)
}

/// Whether an attempt failed for want of an answer; what the application answers, and a client that left, is none.
pub(super) fn is_failure(symptom: &Symptom) -> bool {
    let is_beside = matches!(
        symptom.phrase,
        Some(
            Phrase::BufferedToFile
                | Phrase::ClientClosed
                | Phrase::FastCgiStderr
                | Phrase::Noise
                | Phrase::NoLiveUpstreams
                // Alone, it follows an answer that counts as a failure.
                | Phrase::ServerTemporarilyDisabled
        )
    );
    symptom.is_attempt && symptom.phrase.is_some() && !is_beside && !symptom.answered()
}

fn serves(case: &Case<'_>, peer: &PeerSubject) -> bool {
    case.last_success(peer).is_some() || case.reach(peer) == Observed::Known(Reach::Connected)
}

fn failing_peers<'c>(case: &'c Case<'_>, finding: &Finding) -> Vec<&'c PeerSubject> {
    let group = finding.subjects.iter().find_map(Subject::group);
    case.peers_of(group).filter(|peer| is_in_use(case, peer) && fails(case, peer)).collect()
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let failing: Vec<String> =
        failing_peers(case, finding).iter().map(|peer| peer.address.to_string()).collect();
    Explanation {
        title: format!("{} of the group fail{}, the others serve", failing.join(", "), if failing.len() == 1 { "s" } else { "" }),
        why: "Requests that are sent to these peers fail, and those that are sent to the others succeed. What a retry does not \
              save reaches the client."
            .to_owned(),
        wont_help: vec!["restarting nginx: the same peers fail again".to_owned()],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let failing: Vec<String> =
        failing_peers(case, finding).iter().map(|peer| peer.address.to_string()).collect();
    vec![
        Remedy::new("Look at the peers that fail", Risk::ShowOnly)
            .advice(format!(
                "{}: read their own logs; until they are mended, `down` takes them out",
                failing.join(", ")
            ))
            .verify("no new failures of these peers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::no_live_upstreams::tests::HIT as LIVE;
    use crate::fixture::Fixture;

    /// The second peer serves; a timeout while reading has no cause of its own yet.
    fn hit() -> Fixture {
        let lines: Vec<&str> =
            LIVE.lines().filter(|line| !line.contains("3001/a") && !line.contains("GET /b ")).collect();
        let slow = lines.join("\n").replace("HTTP/1.1\" 502", "HTTP/1.1\" 504").replace(
            "connect() failed (111: Connection refused) while connecting to upstream",
            "upstream timed out (110: Connection timed out) while reading response header from upstream",
        );
        Fixture::new(&slow)
            .with("listeners", "127.0.0.1:3000 node\n127.0.0.1:3001 node")
            .with("probe 127.0.0.1:3000", "hangs")
            .with("probe 127.0.0.1:3001", "answers\nHTTP/1.1 200 OK\n\n")
    }

    #[test]
    fn hit_alone_it_is_the_root() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Likely upstream-slow -> some-peers-failing: the backend takes longer than proxy_read_timeout of 60 s to answer [1 requests]
          open: how long this route takes when it answers: too few answers with a time stand in the log
        ");
    }

    #[test]
    fn hit_as_the_effect_of_a_refused_peer() {
        let lines: Vec<&str> =
            LIVE.lines().filter(|line| !line.contains("3001/a") && !line.contains("GET /b ")).collect();
        let one = Fixture::new(&lines.join("\n"))
            .with("listeners", "127.0.0.1:3001 node")
            .with("probe 127.0.0.1:3001", "answers\nHTTP/1.1 200 OK\n\n");
        insta::assert_snapshot!(one.summary(), @"
        Broken
        Confirmed upstream-not-listening -> some-peers-failing: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
        ");
    }

    /// The first peer failed, nginx went on to the second one, and only the access log was read.
    const RETRIED: &str = r#"
#- nginx.conf
events {}
http {
    log_format up '$remote_addr [$time_local] "$request" $status us=$upstream_status ua=$upstream_addr';
    access_log /var/log/nginx/access.log up;
    upstream backend { server 127.0.0.1:3000; server 127.0.0.1:3001; }
    server { listen 80; location / { proxy_pass http://backend; } }
}
#- options
offline
#- access.log
10.0.0.9 [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 200 us=502, 200 ua=127.0.0.1:3000, 127.0.0.1:3001
10.0.0.9 [21/Nov/2026:02:28:31 +0000] "GET /a HTTP/1.1" 200 us=200 ua=127.0.0.1:3001
"#;

    #[test]
    fn hit_retries_hide_it_and_only_the_access_log_tells() {
        insta::assert_snapshot!(Fixture::new(RETRIED).summary(), @"
        AtRisk
        Confirmed some-peers-failing: 127.0.0.1:3000 of the group fails, the others serve [0 requests]
        ");
        let timed = RETRIED
            .replace("ua=$upstream_addr", "ua=$upstream_addr uht=$upstream_header_time")
            .replace("3000, 127.0.0.1:3001", "3000, 127.0.0.1:3001 uht=-, 0.002")
            .replace("us=200 ua=127.0.0.1:3001", "us=200 ua=127.0.0.1:3001 uht=0.002");
        assert!(Fixture::new(&timed).summary().contains("some-peers-failing"));
    }

    #[test]
    fn near_miss_an_answer_that_is_passed_on_is_no_failure() {
        let sent = RETRIED.replace("proxy_pass", "proxy_next_upstream error http_502; proxy_pass");
        let summary = Fixture::new(&sent).summary();
        assert!(!summary.contains("some-peers-failing"), "{summary}");
    }

    #[test]
    fn near_miss_all_fail() {
        let summary = Fixture::new(LIVE).summary();
        assert!(!summary.contains("some-peers-failing"), "{summary}");
    }

    #[test]
    fn gap_whether_the_other_serves_is_not_known() {
        let summary = hit().without("probe 127.0.0.1:3001").summary();
        assert!(!summary.contains("some-peers-failing"), "{summary}");
    }
}
