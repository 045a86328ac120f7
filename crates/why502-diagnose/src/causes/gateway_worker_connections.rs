//! # gateway-worker-connections
//!
//! ## What happens
//!
//! Each worker has `worker_connections` slots (512 by default), and no more. A connection of a client takes one, one to an
//! upstream takes another, so does each listening socket: a proxied request takes two. Where none is left, a worker first
//! closes idle connections, then fails. True for every version of nginx; since 1.19.2 it says when it begins to close idle ones.
//!
//! ## What you see
//!
//! `512 worker_connections are not enough while connecting to upstream` at level `alert`: a 500 at once, without a retry and
//! with an empty `$upstream_addr`. The same without a request: a client's connection was closed as soon as it was accepted; a
//! proxy in front makes a 502 of that. `…, reusing connections` alone (`warn`) costs nobody an answer.
//!
//! ## How we know
//!
//! Confirmed: the message has this one meaning, and tells the limit that was in force.
//!
//! ## What would disprove it
//!
//! Nothing. A higher limit that was loaded since mended it.
//!
//! ## What to do
//!
//! Raise `worker_connections`, and the limit of open files with it: each connection takes a descriptor, a temporary file
//! another one. Look as well at what holds the connections: slow upstreams, WebSockets, long `keepalive_timeout`.
//!
//! ## Not to be confused with
//!
//! `gateway-fd-limit` (errno 24: the same shortage one level below), `proxy-loop` (nginx eats its own connections),
//! `connection-limited` (`limit_conn` refuses on purpose).
//!
//! ## References
//!
//! nginx: `ngx_get_connection`, `ngx_drain_connections` (`src/core/ngx_connection.c`), `ngx_event_accept`.

use super::worker_limits::{Workers, is_loaded_since, raise_from_outside, workers};
use crate::case::{Case, Failure, FailureId, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Phrase, Stamp};
use why502_model::{WantedDirective, WorkerSettings};

pub(super) static CAUSE: Cause = Cause {
    id: "gateway-worker-connections",
    layer: Layer::Gateway,
    acts_on: ActsOn::Gateway,
    effect: false,
    statuses: &[500, 502],
    scope: Scope::Gateway,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("gateway_worker_connections.rs"),
};

/// The least that is advised: less is no saving (a slot takes some hundred bytes).
const LEAST_ADVISED: u64 = 1024;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let failed = failed(case);
    if failed.is_empty() && case.dropped.is_empty() {
        return Ok(Ruling::NoSign);
    }
    let workers = workers(case)?;
    let settings = case.gateway.worker_settings();
    let limit = limit_then(case);
    let clock = case.facts.clock(&case.gateway.owner()).map_or(0, |clock| clock.offset_seconds);
    let dropped = case.dropped.iter().map(|record| record.at.at_offset(clock));
    let last = failed.iter().map(|(_, failure, _)| failure.at).chain(dropped).max();
    let is_mended = is_raised(&settings, limit) && is_loaded_since(case, last);
    // Few slots left are none for a proxied request, which takes two.
    let used = workers.most_sockets().filter(|_| !is_mended);
    let is_used_up = used.zip(limit).is_some_and(|((_, used), limit)| used + limit / 16 + 1 >= limit);
    let ids: Vec<FailureId> = failed.iter().map(|(id, ..)| *id).collect();
    let line = Case::lines_evidence(failed, |n| {
        format!("{} found no slot left for the connection to an upstream", count(n, "request"))
    });
    let closed = case.dropped.last().map(|record| {
        let n: u64 = case.dropped.iter().map(|record| record.weight).sum();
        let says =
            format!("{} of clients closed without an answer: no slot was left", count(n, "connection"));
        Evidence::supporting(says, Origin::Log(record.line.clone()))
    });
    let now = used.map(|(pid, used)| {
        let says = format!("worker {pid} has {} open now", count(used, "socket"));
        Evidence::context(says, Origin::Host(format!("/proc/{pid}/fd")))
    });
    let at = settings.connections.at.clone().or(settings.events);
    let set = at.clone().map(|at| {
        let default = if settings.connections.at.is_none() { " by default" } else { "" };
        let says = format!("worker_connections is {}{default}", settings.connections.value);
        Evidence::context(says, Origin::File(at))
    });
    let still_failing = if is_mended { Some(false) } else { is_used_up.then_some(true) };
    let mut finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
        .explaining(ids)
        .still_failing(still_failing)
        .with(line.into_iter().chain(closed).chain(set).chain(now))
        .with(workers.limit_evidence())
        .at(at);
    finding.explains_dropped = true;
    Ok(Ruling::found(finding))
}

fn failed<'c>(case: &'c Case<'_>) -> Vec<(FailureId, &'c Failure, &'c Symptom)> {
    let all = case
        .failures()
        .flat_map(|(id, failure)| failure.symptoms.iter().map(move |symptom| (id, failure, symptom)));
    all.filter(|(_, _, symptom)| symptom.is(Phrase::WorkerConnections)).collect()
}

/// The limit that was in force when the newest message was written.
fn limit_then(case: &Case<'_>) -> Option<u64> {
    let told = |detail: Option<&str>| detail.and_then(|detail| detail.parse().ok());
    let of_requests = failed(case).into_iter().map(|(_, failure, symptom)| {
        let also = symptom.also.iter().find(|(phrase, _)| *phrase == Phrase::WorkerConnections);
        let detail = match also {
            Some((_, detail)) => detail.as_deref(),
            None => symptom.detail.as_deref(),
        };
        (failure.at, told(detail))
    });
    let of_connections = case.dropped.iter().map(|record| (Stamp(i64::MIN), told(record.detail.as_deref())));
    of_requests.chain(of_connections).max_by_key(|(at, _)| *at)?.1
}

/// Whether the configuration has more than what was used up.
fn is_raised(settings: &WorkerSettings, limit: Option<u64>) -> bool {
    limit.is_some_and(|limit| settings.connections.value > limit)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let settings = case.gateway.worker_settings();
    let limit = limit_then(case).unwrap_or(settings.connections.value);
    let is = if finding.still_failing == Some(false) { "were" } else { "are" };
    Explanation {
        title: format!("the {limit} worker_connections of a worker {is} used up: a proxied request takes two"),
        why: "No slot was left in the worker that took the request: connections of clients, those to upstreams, kept ones and the \
              listening sockets share them. Where the one to the upstream is missing nginx answers 500; where that of the client \
              is missing it closes the connection, which a proxy in front answers with 502."
            .to_owned(),
        wont_help: vec![
            "restarting the backend: nginx did not even dial it".to_owned(),
            "raising worker_connections beyond the limit of open files: then accept() and socket() fail instead (errno 24)".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    if finding.still_failing == Some(false) {
        return Vec::new();
    }
    let settings = case.gateway.worker_settings();
    if is_raised(&settings, limit_then(case)) {
        return vec![
            Remedy::new("Load the configuration, which has more of them already", Risk::Review)
                .command(&["nginx", "-t"], &[])
                .command(&["nginx", "-s", "reload"], &[])
                .verify("the error log has no new `worker_connections are not enough` lines"),
        ];
    }
    let Ok(workers) = workers(case) else { return Vec::new() };
    vec![raise(case, &settings, &workers), find_holders()]
}

/// More slots, and the descriptors that they take: one each, and some for files.
fn raise(case: &Case<'_>, settings: &WorkerSettings, workers: &Workers<'_>) -> Remedy {
    let connections = (settings.connections.value * 2).max(LEAST_ADVISED);
    let files = (connections * 2).min(workers.nr_open());
    let mut remedy = Remedy::new(format!("Raise worker_connections to {connections}"), Risk::Review)
        .verify("the error log has no new `worker_connections are not enough` and no `(24: Too many open files)` lines");
    let Some(events) = &settings.events else { return remedy };
    let wanted = |name: &str, value: u64, at| -> Vec<WantedDirective> {
        vec![(name.to_owned(), vec![value.to_string()], at)]
    };
    let mut edits = if let Some(at) = &settings.connections.at {
        case.gateway.set_directives(at, &wanted("worker_connections", connections, Some(at.clone())))
    } else {
        let line = format!("worker_connections {connections};");
        case.gateway.insert_last(events, &line).into_iter().collect()
    };
    let advice = match workers.limit() {
        Some(limit) if limit > connections + connections / 2 => {
            format!("each worker may have {limit} descriptors open, which suffices")
        }
        limit => {
            let limit = limit.map_or_else(
                || "How many descriptors a worker may have open could not be seen".to_owned(),
                |limit| format!("A worker may have {limit} descriptors open"),
            );
            match &settings.open_files {
                Some(own) if own.value >= files => {}
                Some(own) => {
                    let at = own.at.clone();
                    let near = at.as_ref().unwrap_or(events);
                    edits.extend(
                        case.gateway.set_directives(near, &wanted("worker_rlimit_nofile", files, at.clone())),
                    );
                }
                None => {
                    let line = format!("worker_rlimit_nofile {files};");
                    edits.extend(case.gateway.insert_before(events, &line));
                }
            }
            let outside = match workers.reach() {
                Some(reach) if reach >= files => String::new(),
                _ => format!("; if nginx may not raise it that far: {}", raise_from_outside(workers, files)),
            };
            format!(
                "{limit}: more connections than that only move the failure to errno 24 (gateway-fd-limit), so both are raised{outside}"
            )
        }
    };
    for (at, text) in edits {
        remedy = remedy.edit(at, text);
    }
    remedy.advice(advice)
}

fn find_holders() -> Remedy {
    Remedy::new("Look at what holds the connections", Risk::ShowOnly)
        .advice("`ss -tnp state established | grep nginx`, by peer: many to one upstream mean that it is slow, many of clients that are idle that keepalive_timeout is long, some that never end that they are WebSockets; with worker_processes below the number of cores, `worker_processes auto` gives more slots as well")
        .verify("the number of sockets per worker falls")
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, first_diff};

    const HIT: &str = r#"
#- nginx.conf
user www-data;
events { worker_connections 768; }
http {
    server { listen 80; server_name shop.example.com; location / { proxy_pass http://127.0.0.1:3000; } }
}
#- error.log
2026/11/21 02:28:30 [alert] 101#101: *900 768 worker_connections are not enough while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
2026/11/21 02:28:31 [alert] 101#101: 768 worker_connections are not enough while accepting new connection on 0.0.0.0:80
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 500 177 "-" "curl/8"
#- descriptors
limit=1024/1048576 open=40 sockets=30 may-raise=yes
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;

    #[test]
    fn hit_both_limits_are_raised_where_one_would_run_into_the_other() {
        let hit = Fixture::new(HIT);
        insta::assert_snapshot!(hit.summary(), @"
        Broken
        Confirmed gateway-worker-connections: the 768 worker_connections of a worker are used up: a proxied request takes two [1 requests]
        ");
        let diff = first_diff(&hit.report());
        for line in ["+worker_rlimit_nofile 3072;", "+events { worker_connections 1536; }"] {
            assert!(diff.contains(line), "{diff}");
        }
    }

    #[test]
    fn hit_the_default_is_used_up_now() {
        let now = Fixture::new(
            &HIT.replace("{ worker_connections 768; }", "{\n}").replace("768 worker", "512 worker"),
        )
        .with("descriptors", "limit=65536/65536 open=520 sockets=509 may-raise=no");
        insta::assert_snapshot!(now.summary(), @"
        Broken
        Confirmed gateway-worker-connections: the 512 worker_connections of a worker are used up: a proxied request takes two [1 requests, still failing]
        ");
        let diff = first_diff(&now.report());
        assert!(diff.contains("worker_connections 1024;") && !diff.contains("nofile"), "{diff}");
    }

    #[test]
    fn hit_only_connections_of_clients_were_closed() {
        let dropped = Fixture::new(HIT).section("error.log").lines().last().map(str::to_owned).unwrap();
        let hit = Fixture::new(HIT).with("error.log", &format!("{dropped}\n")).without("access.log");
        insta::assert_snapshot!(hit.summary(), @"
        Broken
        Confirmed gateway-worker-connections: the 768 worker_connections of a worker are used up: a proxied request takes two [0 requests]
        ");
    }

    #[test]
    fn hit_mended_by_a_reload_with_more() {
        let mended =
            Fixture::new(&HIT.replace("{ worker_connections 768; }", "{ worker_connections 4096; }"))
                .with("options", "loaded=2026-11-21T02:30:00Z");
        insta::assert_snapshot!(mended.summary(), @"
        Recovered
        Confirmed gateway-worker-connections: the 768 worker_connections of a worker were used up: a proxied request takes two [1 requests, mended]
        ");
    }

    #[test]
    fn near_miss_idle_connections_were_closed_in_time() {
        let low = "2026/11/21 02:28:30 [warn] 101#101: 768 worker_connections are not enough, reusing connections\n";
        let access =
            "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 200 177 \"-\" \"curl/8\"\n";
        let well = Fixture::new(HIT).with("error.log", low).with("access.log", access);
        insta::assert_snapshot!(well.summary(), @"Healthy");
    }

    #[test]
    fn gap_the_workers_cannot_be_seen() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline").summary(), @"
        Broken
        Confirmed gateway-worker-connections: the 768 worker_connections of a worker are used up: a proxied request takes two [1 requests]
        ");
    }
}
