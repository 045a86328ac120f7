//! # connection-limited
//!
//! ## What happens
//!
//! `limit_conn` counts the requests in progress per key in a shared zone and refuses one more than its number; or
//! `max_conns` of every server of a group is used up, and no peer may be chosen. No upstream is asked. `max_conns` is
//! there since 1.11.5.
//!
//! ## What you see
//!
//! `limiting connections by zone "perip"` and `limit_conn_status` (503 by default); for `max_conns` instead
//! `no live upstreams` and 502, while no peer ever failed.
//!
//! ## How we know
//!
//! Confirmed: nginx's own message names the zone, or `$limit_conn_status` says so; or `no live upstreams` in a group of one
//! address with `max_conns`, which no failure takes out. Likely: the same in a group of several peers that all have
//! `max_conns`, and not as many failures of a peer before it as eject one.
//!
//! ## What would disprove it
//!
//! Failures of the peers before the first `no live upstreams`: then they were ejected.
//!
//! ## What to do
//!
//! Raise the number; a browser opens six connections, and with HTTP/2 every stream counts.
//!
//! ## Not to be confused with
//!
//! `rate-limited`, `no-live-upstreams` (peers that failed), `rate-limit-shared-key`.
//!
//! ## References
//!
//! nginx: `ngx_http_limit_conn_handler`; `ngx_http_upstream_get_peer` in `src/http/ngx_http_upstream_round_robin.c`.

use super::limits;
use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::time::Duration;
use why502_facts::{Phrase, Stamp};
use why502_model::{GroupId, LimitKind, RouteId, Target};

pub(super) static CAUSE: Cause = Cause {
    id: "connection-limited",
    layer: Layer::Policy,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[503],
    scope: Scope::Route,
    supersedes: &["no-live-upstreams"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("connection_limited.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let by_zone = limits::detect(case, subject, &CAUSE, LimitKind::Connections, Phrase::LimitingConnections)?;
    Ok(match by_zone {
        Ruling::NoSign => by_peers(case, subject),
        ruling => ruling,
    })
}

/// `no live upstreams` because every peer has its `max_conns`, and none ever failed.
fn by_peers(case: &Case<'_>, subject: &Subject) -> Ruling {
    let Some((route, id)) = subject.route().and_then(|route| Some((route, limited_group(case, route)?)))
    else {
        return Ruling::NoSign;
    };
    let group = case.gateway.group(id);
    let is_refused = |failure: &Failure| {
        failure.last().is_some_and(|last| last.is(Phrase::NoLiveUpstreams))
            && !may_be_ejected(case, id, failure.at)
    };
    let refused: Vec<(FailureId, &Failure)> =
        case.failures_of(route).filter(|(_, failure)| is_refused(failure)).collect();
    let Some(origin) = Case::line_of(&refused) else { return Ruling::NoSign };
    let is_proven = group.has_one_address() && !group.managed;
    let why =
        if is_proven { "its only peer is never taken out" } else { "no failure took a peer out before" };
    let says = format!(
        "{} found no peer with a free connection, and {why}",
        count(Case::weigh(&refused), "request")
    );
    let limited = group.peers.iter().find(|peer| peer.max_conns > 0);
    let set = limited.map(|peer| {
        Evidence::supporting(
            format!("{} may have {} at once", peer.text, count(u64::from(peer.max_conns), "connection")),
            Origin::File(peer.at.clone()),
        )
    });
    let confidence = if is_proven { Confidence::Confirmed } else { Confidence::Likely };
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(refused.iter().map(|(id, _)| *id))
        .still_failing(case.gateway.master.is_some().then_some(true))
        .with([Evidence::supporting(says, origin)])
        .with(set)
        .at(limited.map(|peer| peer.at.clone()));
    Ruling::found(finding)
}

/// Whether a peer of the group may have been out at that moment for its failures: as many as its `max_fails` before, the
/// last of them within its `fail_timeout`. A later failure took out nobody.
fn may_be_ejected(case: &Case<'_>, id: GroupId, at: Stamp) -> bool {
    let group = case.gateway.group(id);
    if group.has_one_address() {
        return false;
    }
    let failed = |failure: &Failure| {
        failure.attempts().any(|attempt| attempt.peer.is_some() && counts_as_failed(attempt.phrase))
    };
    // The line of a request that was retried is younger than its first failure.
    let begin = |failure: &Failure| match failure.request_ms {
        Some(ms) if failure.attempts().count() > 1 => failure.at.before(Duration::from_millis(ms.into())),
        _ => failure.at,
    };
    let before: Vec<(Stamp, u64)> = case
        .failures_of_group(id)
        .filter(|(_, failure)| failed(failure) && begin(failure) <= at)
        .map(|(_, failure)| (failure.at.min(at), failure.weight))
        .collect();
    let Some(last) = before.iter().map(|(at, _)| *at).max() else { return false };
    let n_failed: u64 = before.iter().map(|(_, weight)| weight).sum();
    group.peers.iter().any(|peer| {
        peer.max_fails > 0 && u64::from(peer.max_fails) <= n_failed && at.since(last) <= peer.fail_timeout
    })
}

/// The group of a route, if all its usable peers have `max_conns`.
fn limited_group(case: &Case<'_>, route: RouteId) -> Option<GroupId> {
    let Target::Group(id) = case.pass_of(route, None)?.target else { return None };
    let group = case.gateway.group(id);
    let mut usable = group.peers.iter().filter(|peer| !peer.down).peekable();
    usable.peek()?;
    usable.all(|peer| peer.max_conns > 0).then_some(id)
}

/// Whether a symptom of a peer counts towards `max_fails` (reference, section 5.1).
fn counts_as_failed(phrase: Option<Phrase>) -> bool {
    !matches!(
        phrase,
        None | Some(
            Phrase::NoLiveUpstreams | Phrase::FastCgiStderr | Phrase::BufferedToFile | Phrase::ClientClosed
        )
    )
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let title = match limits::limit_of(case, finding, LimitKind::Connections) {
        Some(limit) => {
            let key = limit.key.as_deref().unwrap_or("its key");
            format!("limit_conn zone \"{}\" ({} per {key}) refuses requests", limit.zone, limit.amount)
        }
        None => "every peer of the group has as many connections as max_conns allows".to_owned(),
    };
    Explanation {
        title,
        why: "More requests are in progress at once than the limit allows. nginx refuses the others without asking the \
              upstream."
            .to_owned(),
        wont_help: vec!["restarting the backend: the refused requests never reach it".to_owned()],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let place = finding.at.first().map_or(String::new(), |at| format!(" at {}:{}", at.file, at.line));
    vec![
        Remedy::new("Raise the number of connections if these are real users", Risk::ShowOnly)
            .advice(format!("the limit is set{place}; one browser needs at least six connections, and every HTTP/2 stream counts as one"))
            .verify("the error log has no new lines of this kind"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const ZONE: &str = r#"
#- nginx.conf
events {}
http {
    limit_conn_zone $binary_remote_addr zone=perip:10m;
    limit_conn perip 5;
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 limiting connections by zone "perip", client: 10.0.0.9, server: shop.example.com, request: "GET /a.js HTTP/1.1", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a.js HTTP/1.1" 503 197 "-" "curl/8"
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;

    const PEERS: &str = r#"
#- nginx.conf
events {}
http {
    upstream backend { server 127.0.0.1:3000 max_conns=1; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://backend; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 no live upstreams while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://backend/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;

    #[test]
    fn hit_a_zone() {
        insta::assert_snapshot!(Fixture::new(ZONE).summary(), @r#"
        Broken
        Confirmed connection-limited: limit_conn zone "perip" (5 per $binary_remote_addr) refuses requests [1 requests, still failing]
        "#);
    }

    #[test]
    fn hit_max_conns() {
        insta::assert_snapshot!(Fixture::new(PEERS).summary(), @"
        Broken
        Confirmed connection-limited -> no-live-upstreams: every peer of the group has as many connections as max_conns allows [1 requests, still failing]
        ");
    }

    /// A group of two peers, and a failure of the first at a second of that minute; the refusal comes at the 30th.
    fn failing_at(second: u32) -> String {
        let line = format!(
            "2026/11/21 02:28:{second} [error] 101#101: *2 upstream timed out (110: Connection timed out) while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: \"GET /b HTTP/1.1\", upstream: \"http://127.0.0.1:3000/b\", host: \"shop.example.com\"\n"
        );
        let refused = PEERS.lines().find(|line| line.contains("no live upstreams")).unwrap();
        let two = PEERS.replace("max_conns=1;", "max_conns=1; server 127.0.0.1:3001 max_conns=1;");
        let log = if second < 30 { format!("{line}{refused}\n") } else { format!("{refused}\n{line}") };
        Fixture::new(&two).with("options", "offline").with("error.log", &log).summary()
    }

    #[test]
    fn hit_a_peer_failed_after_it() {
        let summary = failing_at(33);
        assert!(summary.contains("Likely connection-limited -> no-live-upstreams"), "{summary}");
    }

    #[test]
    fn near_miss_a_peer_failed_before() {
        let summary = failing_at(29);
        assert!(!summary.contains("connection-limited"), "{summary}");
    }

    #[test]
    fn near_miss_no_max_conns() {
        let summary = Fixture::new(&PEERS.replace(" max_conns=1", "")).summary();
        assert!(!summary.contains("connection-limited"), "{summary}");
    }

    #[test]
    fn gap_without_logs_there_is_no_sign() {
        insta::assert_snapshot!(Fixture::new(ZONE).without("error.log").without("access.log").summary(), @"Inconclusive");
    }
}
