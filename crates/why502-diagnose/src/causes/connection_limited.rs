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
//! Confirmed: nginx's own message names the zone, or `$limit_conn_status` says so. Likely: `no live upstreams` in a group
//! whose peers have `max_conns`, and no failure of a peer that could have ejected it.
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
use why502_facts::Phrase;
use why502_model::{Group, LimitKind};

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
    let Some((route, group)) = subject.route().and_then(|route| Some((route, limited_group(case, route)?)))
    else {
        return Ruling::NoSign;
    };
    let refused: Vec<(FailureId, &Failure)> = case
        .failures_of(route)
        .filter(|(_, failure)| failure.last().is_some_and(|last| last.is(Phrase::NoLiveUpstreams)))
        .collect();
    let failed = case.failures_of(route).any(|(_, failure)| {
        failure.attempts().any(|attempt| {
            attempt.peer.is_some() && attempt.phrase.is_some() && counts_as_failed(attempt.phrase)
        })
    });
    let Some(origin) = Case::line_of(&refused).filter(|_| !failed) else { return Ruling::NoSign };
    let says = format!(
        "{} found no peer with a free connection, and no peer failed",
        count(Case::weigh(&refused), "request")
    );
    let limited = group.peers.iter().find(|peer| peer.max_conns > 0);
    let set = limited.map(|peer| {
        Evidence::supporting(
            format!("{} may have {} at once", peer.text, count(u64::from(peer.max_conns), "connection")),
            Origin::File(peer.at.clone()),
        )
    });
    let finding = Finding::new(&CAUSE, Confidence::Likely, subject)
        .explaining(refused.iter().map(|(id, _)| *id))
        .still_failing(case.gateway.master.is_some().then_some(true))
        .with([Evidence::supporting(says, origin)])
        .with(set)
        .at(limited.map(|peer| peer.at.clone()));
    Ruling::found(finding)
}

/// The group of a route, if all its usable peers have `max_conns`.
fn limited_group<'c>(case: &'c Case<'_>, route: why502_model::RouteId) -> Option<&'c Group> {
    let why502_model::Target::Group(id) = case.pass_of(route, None)?.target else { return None };
    let group = case.gateway.group(id);
    let mut usable = group.peers.iter().filter(|peer| !peer.down).peekable();
    usable.peek()?;
    usable.all(|peer| peer.max_conns > 0).then_some(group)
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
        Likely connection-limited -> no-live-upstreams: every peer of the group has as many connections as max_conns allows [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_a_peer_failed_before() {
        let failed = PEERS.replace("#- error.log\n", "#- error.log\n2026/11/21 02:28:29 [error] 101#101: *2 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: \"GET /b HTTP/1.1\", upstream: \"http://127.0.0.1:3000/b\", host: \"shop.example.com\"\n");
        let summary = Fixture::new(&failed).summary();
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
