//! # proxy-loop
//!
//! ## What happens
//!
//! The route's peer is a listener of this same nginx, and the request that is passed there comes to the same route again:
//! it circles until connections, headers or time run out. True for every version of nginx.
//!
//! ## What you see
//!
//! Many requests of 127.0.0.1 for one path, a growing `X-Forwarded-For`, `worker_connections are not enough`, and 500,
//! 502, 504 or 400 for the client, depending on what runs out first.
//!
//! ## How we know
//!
//! Confirmed: followed through the configuration, the passed request comes to a listener of this nginx, its Host picks a
//! server and its path a location, and they lead back to the same route; and requests of it failed.
//!
//! ## What would disprove it
//!
//! The request comes to another server or location that answers.
//!
//! ## What to do
//!
//! Point the route to the backend itself.
//!
//! ## Not to be confused with
//!
//! A peer that is another server of the same nginx and ends there: that is no loop.
//!
//! ## References
//!
//! nginx: `ngx_http_find_virtual_server`, `ngx_http_core_find_location`.

use super::own_answers::{Hop, MAX_HOPS, next_hop};
use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_model::RouteId;

pub(super) static CAUSE: Cause = Cause {
    id: "proxy-loop",
    layer: Layer::Select,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[400, 499, 500, 502, 503, 504],
    scope: Scope::Route,
    supersedes: &[
        "connection-limited",
        "gateway-fd-limit",
        "gateway-worker-connections",
        "rate-limited",
        "response-header-too-big",
        "upstream-closed-before-response",
        "upstream-connect-timeout",
        "upstream-not-listening",
        "upstream-reset-before-response",
        "upstream-sent-error",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("proxy_loop.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(route) = subject.route() else { return Ok(Ruling::NoSign) };
    let failed: Vec<(FailureId, &Failure)> = case.failures_of(route).collect();
    let path = failed
        .iter()
        .find_map(|(_, failure)| failure.path.clone())
        .or_else(|| case.asked_route().filter(|(asked, _)| *asked == route).map(|(_, path)| path.to_owned()));
    let Some(path) = path else { return Ok(Ruling::NoSign) };
    let host = failed.iter().find_map(|(_, failure)| failure.host.clone()).unwrap_or_default();
    let Some(hops) = circle(case, route, &path, &host) else { return Ok(Ruling::NoSign) };
    let chain: Vec<String> = hops.iter().map(|hop| hop.address.to_string()).collect();
    let says = format!("the request is passed to {} and comes to this route again", chain.join(", then "));
    let at = case.pass_of(route, None).map(|pass| pass.at.clone());
    let line = Case::line_of(&failed).map(|origin| {
        Evidence::supporting(
            format!("{} of this route failed", count(Case::weigh(&failed), "request")),
            origin,
        )
    });
    let finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
        .explaining(failed.iter().map(|(id, _)| *id))
        .still_failing(case.gateway.master.is_some().then_some(true))
        .with(at.clone().map(|at| Evidence::supporting(says, Origin::File(at))))
        .with(line)
        .at(at);
    Ok(Ruling::found(finding))
}

/// The passes that lead a request of a route back to it.
fn circle(case: &Case<'_>, start: RouteId, path: &str, host: &str) -> Option<Vec<Hop>> {
    let mut hops: Vec<Hop> = Vec::new();
    let mut route = start;
    while hops.len() < MAX_HOPS {
        let (path, host) = hops.last().map_or((path, host), |hop| (&hop.path, &hop.host));
        // A condition on the way may end it.
        if case.gateway.route(route).conditionals.iter().any(|conditional| conditional.action.is_some()) {
            return None;
        }
        let hop = next_hop(case, route, path, host)?;
        let server = case.gateway.find_server_at(&hop.host, &hop.address)?;
        route = case.gateway.find_route(server, &hop.path)?;
        hops.push(hop);
        if route == start {
            return Some(hops);
        }
    }
    None
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let pass = finding.subjects.iter().find_map(Subject::route).and_then(|route| case.pass_of(route, None));
    let target = pass.map_or(String::new(), |pass| pass.text.clone());
    Explanation {
        title: format!("{target} leads back to the same route of this nginx"),
        why: "The request is passed to a listener of this same nginx and comes to the same route, which passes it on again. It \
              circles until connections, headers or time run out."
            .to_owned(),
        wont_help: vec![
            "raising worker_connections, buffers or timeouts: the circle takes whatever there is".to_owned(),
            "restarting the backend: it is never reached".to_owned(),
        ],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let place = finding.at.first().map_or(String::new(), |at| format!(" at {}:{}", at.file, at.line));
    vec![
        Remedy::new("Point the route to the backend itself", Risk::ShowOnly)
            .advice(format!("the target{place} is nginx's own listener; name the address of the application, or a Host that picks another server"))
            .verify("the failing request answers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://127.0.0.1:80; proxy_set_header Host $host; }
    }
}
#- error.log
2026/11/21 02:28:30 [alert] 101#101: *900 1024 worker_connections are not enough while connecting to upstream, client: 127.0.0.1, server: shop.example.com, request: "GET /a HTTP/1.0", upstream: "http://127.0.0.1:80/a", host: "shop.example.com"
#- access.log
127.0.0.1 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.0" 500 177 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 500 177 "-" "curl/8"
#- listeners
0.0.0.0:80 nginx
#- probe 127.0.0.1:80
connected
"#;

    #[test]
    fn hit_back_to_the_same_location() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed proxy-loop -> gateway-worker-connections: http://127.0.0.1:80 leads back to the same route of this nginx [2 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_another_server_ends_it() {
        let ends = HIT
            .replace(
                "    server {\n        listen 80;",
                "    server { listen 8080; location / { return 200; } }\n    server {\n        listen 80;",
            )
            .replace("127.0.0.1:80;", "127.0.0.1:8080;")
            .replace("127.0.0.1:80/a", "127.0.0.1:8080/a");
        let summary = Fixture::new(&ends).with("probe 127.0.0.1:8080", "connected").summary();
        assert!(!summary.contains("proxy-loop"), "{summary}");
    }

    #[test]
    fn near_miss_the_host_picks_another_server() {
        let other = HIT.replace("    server {\n        listen 80;", "    server { listen 80; server_name inner; location / { return 200; } }\n    server {\n        listen 80;").replace("Host $host", "Host inner");
        let summary = Fixture::new(&other).summary();
        assert!(!summary.contains("proxy-loop"), "{summary}");
    }

    #[test]
    fn gap_nothing_failed() {
        insta::assert_snapshot!(Fixture::new(HIT).without("error.log").without("access.log").summary(), @"Inconclusive");
    }
}
