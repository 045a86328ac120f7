//! # rate-limited
//!
//! ## What happens
//!
//! `limit_req` counts requests per key (usually the client's address) in a shared zone and refuses what comes faster
//! than `rate` after `burst` is used up. No upstream is asked. True for every version of nginx.
//!
//! ## What you see
//!
//! `limiting requests, excess: 5.200 by zone "login"` in the error log (at `limit_req_log_level`, `error` by default),
//! `limit_req_status` for the client (503 by default), `-` for every `$upstream_*` variable, `$limit_req_status`
//! `REJECTED`.
//!
//! ## How we know
//!
//! Confirmed: nginx's own message names the zone, or `$limit_req_status` says so. Likely: the route has a `limit_req`
//! with that status, no attempt was made, and the route has no other way to that answer.
//!
//! ## What would disprove it
//!
//! An attempt on an upstream for the refused requests.
//!
//! ## What to do
//!
//! Raise `rate` or `burst` if real users are refused; refusals of under one in a hundred requests are the limit at work.
//!
//! ## Not to be confused with
//!
//! `connection-limited` (`limit_conn`), `rate-limit-shared-key` (many users under one key), `upstream-sent-error`.
//!
//! ## References
//!
//! nginx: `ngx_http_limit_req_handler` in `src/http/modules/ngx_http_limit_req_module.c`.

use super::limits;
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::Phrase;
use why502_model::LimitKind;

pub(super) static CAUSE: Cause = Cause {
    id: "rate-limited",
    layer: Layer::Policy,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[503, 429],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("rate_limited.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    limits::detect(case, subject, &CAUSE, LimitKind::Requests, Phrase::LimitingRequests)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let limit = limits::limit_of(case, finding, LimitKind::Requests);
    let zone = limits::zone_name(case, finding, LimitKind::Requests, Phrase::LimitingRequests);
    let key = limit.and_then(|limit| limit.key.clone()).unwrap_or_else(|| "key".to_owned());
    let amount = limit.map_or(String::new(), |limit| format!(" ({} per {key})", limit.amount));
    let refuses = if finding.still_failing == Some(false) { "refused" } else { "refuses" };
    Explanation {
        title: format!("limit_req zone \"{zone}\"{amount} {refuses} requests"),
        why: "Requests of one key come faster than the zone allows, and the burst is used up. nginx refuses them without \
              asking the upstream."
            .to_owned(),
        wont_help: vec!["scaling or restarting the backend: the refused requests never reach it".to_owned()],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let limit = limits::limit_of(case, finding, LimitKind::Requests);
    let place = limit.map_or(String::new(), |limit| format!(" at {}:{}", limit.at.file, limit.at.line));
    vec![
        Remedy::new("Give the limit more room if these are real users", Risk::ShowOnly)
            .advice(format!("raise `burst` (with `nodelay`){place}, or `rate` of the zone; if all refused requests come from one address, look whether that is a proxy in front"))
            .verify("the error log has no new `limiting requests` lines"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    limit_req_zone $binary_remote_addr zone=login:10m rate=1r/s;
    server {
        listen 80;
        server_name shop.example.com;
        location /login { limit_req zone=login burst=2; proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 limiting requests, excess: 2.500 by zone "login", client: 10.0.0.9, server: shop.example.com, request: "GET /login HTTP/1.1", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /login HTTP/1.1" 503 197 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:29 +0000] "GET /login HTTP/1.1" 200 12 "-" "curl/8"
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;

    #[test]
    fn hit_by_the_message() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @r#"
        Broken
        Confirmed rate-limited: limit_req zone "login" (1r/s per $binary_remote_addr) refuses requests [1 requests, still failing]
        "#);
    }

    #[test]
    fn hit_without_the_message_is_likely() {
        let config = HIT
            .replace("http {", "http {\nlog_format up '$remote_addr [$time_local] \"$request\" $status $upstream_status';\naccess_log /var/log/nginx/access.log up;")
            .replace("events {}", "error_log /var/log/nginx/error.log crit; events {}");
        let access = "10.0.0.9 [21/Nov/2026:02:28:30 +0000] \"GET /login HTTP/1.1\" 503 -\n";
        insta::assert_snapshot!(Fixture::new(&config).with("error.log", "").with("access.log", access).summary(), @r#"
        Broken
        Likely rate-limited: limit_req zone "login" (1r/s per $binary_remote_addr) refuses requests [1 requests, still failing]
        "#);
    }

    #[test]
    fn near_miss_a_limit_at_work() {
        let good =
            "10.0.0.8 - - [21/Nov/2026:02:28:20 +0000] \"GET /login HTTP/1.1\" 200 12 \"-\" \"curl/8\"\n"
                .repeat(150);
        let refused =
            "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /login HTTP/1.1\" 503 197 \"-\" \"curl/8\"\n";
        insta::assert_snapshot!(Fixture::new(HIT).with("access.log", &(good + refused)).summary(), @"Healthy");
    }

    #[test]
    fn near_miss_a_dry_run_refuses_nothing() {
        let dry = HIT.replace("limiting requests, excess", "limiting requests, dry run, excess");
        let access =
            "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /login HTTP/1.1\" 200 12 \"-\" \"curl/8\"\n";
        insta::assert_snapshot!(Fixture::new(&dry).with("access.log", access).summary(), @"Healthy");
    }

    #[test]
    fn gap_without_logs_there_is_no_sign() {
        insta::assert_snapshot!(Fixture::new(HIT).without("error.log").without("access.log").summary(), @"Inconclusive");
    }
}
