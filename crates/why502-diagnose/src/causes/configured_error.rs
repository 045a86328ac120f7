//! # configured-error
//!
//! ## What happens
//!
//! The configuration itself answers: a `return 503;` (a maintenance switch, a placeholder server), or an `error_page`
//! that turns another status into a 50x. No upstream was asked, or none failed. True for every version of nginx.
//!
//! ## What you see
//!
//! The status in the access log, `-` for every `$upstream_*` variable, and nothing in the error log.
//!
//! ## How we know
//!
//! Confirmed: the request's route answers with exactly that status without a condition, and the access log shows that no
//! attempt was made; or a URL was given, and whatever is known of it leads to that answer. Likely: the `return` stands
//! under a condition (`if`), or the log does not tell whether an attempt was made.
//!
//! ## What would disprove it
//!
//! An attempt on an upstream for the same request (`$upstream_addr`), or a line of it in the error log.
//!
//! ## What to do
//!
//! Switch it off where it was meant to be temporary; else nothing is wrong.
//!
//! ## Not to be confused with
//!
//! `upstream-sent-error` (an upstream sent the status), `rate-limited`, `connection-limited` (a limit refused),
//! `cached-error`.
//!
//! ## References
//!
//! nginx: `ngx_http_rewrite_return`, `ngx_http_send_response`, `ngx_http_send_error_page`.

use super::config_not_reloaded::newer_source;
use super::own_answers::{OwnAnswer, asked_answer, own_answer};
use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use why502_model::{Action, Fallback, FallbackKind, RouteId};

pub(super) static CAUSE: Cause = Cause {
    id: "configured-error",
    layer: Layer::Policy,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[500, 502, 503, 504],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("configured_error.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(route) = subject.route() else { return Ok(Ruling::NoSign) };
    let asked = asked(case, route);
    let is_open = can_answer(case, route) || (case.asked_route().is_some_and(|(own, _)| own == route));
    let mut made: Vec<(FailureId, &Failure, OwnAnswer)> = if is_open {
        case.failures()
            .filter_map(|(id, failure)| Some((id, failure, own_answer(case, failure)?)))
            .filter(|(_, failure, answer)| is_told_at(case, route, answer, failure.entry))
            .collect()
    } else {
        Vec::new()
    };
    let Some(first) = made.first().map(|(_, _, answer)| answer.clone()) else {
        return Ok(asked.map_or(Ruling::NoSign, |answer| Ruling::found(judge_asked(case, subject, &answer))));
    };
    made.retain(|(_, _, answer)| answer.at == first.at);
    Ok(Ruling::found(judge(case, subject, &made, &first)))
}

/// What the configuration answers to the given URL, if that is told at a route, and somebody runs who answers.
fn asked(case: &Case<'_>, route: RouteId) -> Option<OwnAnswer> {
    if case.gateway.master.is_none() && !case.facts.manifest.invocation.offline {
        return None;
    }
    let entry = case.asked_route().map(|(entry, _)| entry);
    asked_answer(case).filter(|answer| is_told_at(case, route, answer, entry))
}

/// Whether an answer is told at a route: at the one that gives it, or where the request came in if a URL leaves that out.
fn is_told_at(case: &Case<'_>, route: RouteId, answer: &OwnAnswer, entry: Option<RouteId>) -> bool {
    answer.route == route || (entry == Some(route) && !case.concerns(answer.route))
}

/// A finding about a URL that nobody need have asked for yet: it is evidence enough.
fn judge_asked(case: &Case<'_>, subject: &Subject, answer: &OwnAnswer) -> Finding {
    let condition = answer.condition.as_ref().map(|condition| format!(", {condition}")).unwrap_or_default();
    let says = format!("the request of the URL ends at `{}`{condition}", answer.directive);
    // What is loaded may be an older file, and what nobody read may answer before.
    let is_sure = answer.condition.is_none()
        && newer_source(case).is_none()
        && case.gateway.unread.is_empty()
        && case.asked.as_ref().is_some_and(|asked| asked.url.is_served_by(case.gateway));
    let confidence = if is_sure { Confidence::Confirmed } else { Confidence::Likely };
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .still_failing(case.gateway.master.is_some().then_some(true))
        .with([Evidence::supporting(says, Origin::File(answer.at.clone()))])
        .at([answer.at.clone()]);
    finding.fails_clients_now = true;
    finding
}

/// Whether a route has a way to answer with a 50x of the configuration's own.
fn can_answer(case: &Case<'_>, route: RouteId) -> bool {
    let route = case.gateway.route(route);
    let conditional = route.conditionals.iter().filter_map(|conditional| conditional.action.as_ref());
    let returns =
        |action: &Action| matches!(action, Action::Return(given) if (500..=599).contains(&given.status));
    let replaces =
        |kind: &FallbackKind| matches!(kind, FallbackKind::ErrorPage { becomes: Some(0 | 500..=599), .. });
    let refuses =
        |fallback: &Fallback| fallback.kind == FallbackKind::TryFiles && fallback.to.starts_with("=5");
    std::iter::once(&route.action).chain(conditional).any(returns)
        || route.fallbacks.iter().any(|fallback| replaces(&fallback.kind) || refuses(fallback))
}

fn judge(
    case: &Case<'_>,
    subject: &Subject,
    made: &[(FailureId, &Failure, OwnAnswer)],
    answer: &OwnAnswer,
) -> Finding {
    let failed: Vec<(FailureId, &Failure)> = made.iter().map(|(id, failure, _)| (*id, *failure)).collect();
    let is_sure = |(_, failure, answer): &(FailureId, &Failure, OwnAnswer)| {
        answer.condition.is_none() && (failure.tries_logged || !is_limited(case, failure))
    };
    let asked = made.iter().all(|(_, failure, _)| failure.tries_logged && failure.symptoms.is_empty());
    let says = format!(
        "{} answered with {}{}",
        count(Case::weigh(&failed), "request"),
        status_of(&failed),
        if asked { ", no upstream was asked" } else { "" }
    );
    let condition = answer.condition.as_ref().map(|condition| format!(", {condition}")).unwrap_or_default();
    let way = if answer.is_behind_a_hop {
        "over another listener of this nginx the request comes to"
    } else {
        "the configuration's own answer is"
    };
    let mut evidence: Vec<Evidence> =
        Case::line_of(&failed).map(|origin| Evidence::supporting(says, origin)).into_iter().collect();
    evidence.push(Evidence::supporting(
        format!("{way} `{}`{condition}", answer.directive),
        Origin::File(answer.at.clone()),
    ));
    let confidence = if made.iter().any(is_sure) { Confidence::Confirmed } else { Confidence::Likely };
    let stands = case.gateway.master.is_some().then(|| !is_switched_off(case, &failed, answer));
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(failed.iter().map(|(id, _)| *id))
        .still_failing(stands)
        .with(evidence)
        .at([answer.at.clone()]);
    // The routes that clients came to are touched as well.
    let entries: BTreeSet<RouteId> = failed.iter().filter_map(|(_, failure)| failure.route).collect();
    let others = entries.into_iter().map(Subject::Route).filter(|other| other != subject);
    finding.subjects.extend(others);
    finding
}

/// Whether an answer that a file switches on was followed by a good one: only its removal can have done that.
fn is_switched_off(case: &Case<'_>, failed: &[(FailureId, &Failure)], answer: &OwnAnswer) -> bool {
    let condition = answer.condition.as_deref().and_then(|condition| condition.strip_prefix("if ("));
    let is_of_file = condition.is_some_and(|condition| {
        let test = condition.trim_start_matches('!');
        ["-f", "-e", "-d", "-x"].iter().any(|flag| test.starts_with(flag))
    });
    let last = failed.iter().map(|(_, failure)| failure.at).max();
    let routes: BTreeSet<RouteId> = failed.iter().filter_map(|(_, failure)| failure.entry).collect();
    let served = routes.iter().flat_map(|route| case.successes_of(*route)).map(|success| success.at).max();
    is_of_file && served > last
}

/// Whether a limit of its route could have refused the request with the same status.
fn is_limited(case: &Case<'_>, failure: &Failure) -> bool {
    let of_request = |id: RouteId| failure.route.is_none_or(|route| route == id);
    let mut limits =
        case.gateway.routes().filter(|(id, _)| of_request(*id)).flat_map(|(_, route)| &route.limits);
    limits.any(|limit| Some(limit.status) == failure.status && !limit.dry_run)
}

fn status_of(failed: &[(FailureId, &Failure)]) -> u16 {
    failed.iter().find_map(|(_, failure)| failure.status).unwrap_or(503)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let failure = finding.explains.first().map(|id| case.failure(*id));
    let answer = match failure {
        Some(failure) => own_answer(case, failure),
        None => asked_answer(case),
    };
    let status = answer.as_ref().map_or(503, |answer| answer.status);
    let condition = answer.as_ref().and_then(|answer| answer.condition.as_ref());
    let condition =
        condition.filter(|condition| condition.starts_with("if")).map(|condition| format!(" {condition}"));
    let directive =
        answer.as_ref().map_or_else(|| format!("return {status}"), |answer| answer.directive.clone());
    let why = if directive.starts_with("return") {
        format!(
            "The request ends at a `{directive}` before any other upstream is asked. No upstream failed: nginx does what it \
             is told."
        )
    } else {
        format!(
            "`{directive}` turns another status into {status}. No upstream failed: nginx does what it is told."
        )
    };
    Explanation {
        title: format!("the configuration itself answers {status}{}", condition.unwrap_or_default()),
        why,
        wont_help: vec!["restarting or scaling the backend: it did not fail".to_owned()],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let place = finding.at.first().map_or(String::new(), |at| format!(" in {}:{}", at.file, at.line));
    vec![
        Remedy::new("Switch the answer off if it was meant to be temporary", Risk::ShowOnly)
            .advice(format!("remove or disable the directive{place} and reload nginx"))
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
        location /old/ {
            return 503;
        }
        location / { proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /old/a HTTP/1.1" 503 197 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:32 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/8"
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
connected
"#;

    #[test]
    fn hit_a_return() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed configured-error: the configuration itself answers 503 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_under_a_condition_is_likely() {
        let config = HIT.replace(
            "return 503;",
            "if (-f /srv/maintenance) { return 503; } proxy_pass http://127.0.0.1:3000;",
        );
        insta::assert_snapshot!(Fixture::new(&config).summary(), @"
        Broken
        Likely configured-error: the configuration itself answers 503 if (-f /srv/maintenance) [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_a_condition_of_the_server_that_is_decided() {
        let config = HIT
            .replace("http {", "http { map $remote_addr $closed { 10.0.0.1 0; default 1; }")
            .replace("location /old/ {\n            return 503;\n        }", "if ($closed) { return 503; }");
        insta::assert_snapshot!(Fixture::new(&config).summary(), @"
        Broken
        Confirmed configured-error: the configuration itself answers 503 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_another_server_of_the_same_nginx() {
        let config = HIT
            .replace("return 503;", "proxy_pass http://127.0.0.1:8081/;")
            .replace("http {", "http { server { listen 127.0.0.1:8081; return 503; }");
        insta::assert_snapshot!(Fixture::new(&config).summary(), @"
        Broken
        Confirmed configured-error: the configuration itself answers 503 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_a_condition_of_the_server_that_is_open() {
        let config = HIT
            .replace("http {", "http { map $remote_addr $closed { 10.0.0.1 0; default 1; }\nlog_format j escape=json '{\"time\":\"$time_iso8601\",\"status\":$status,\"uri\":\"$request_uri\",\"host\":\"$host\",\"upstream\":\"$upstream_addr\"}'; access_log /var/log/nginx/access.log j;")
            .replace("location /old/ {\n            return 503;\n        }", "if ($closed) { return 503; }");
        let line = "{\"time\":\"2026-11-21T02:28:30+00:00\",\"status\":503,\"uri\":\"/\",\"host\":\"shop.example.com\",\"upstream\":\"\"}\n";
        insta::assert_snapshot!(Fixture::new(&config).with("access.log", line).summary(), @"
        Broken
        Likely configured-error: the configuration itself answers 503 if ($closed) [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_an_error_page_replaces_what_the_upstream_sent() {
        let config = HIT.replace(
            "return 503;",
            "proxy_intercept_errors on; error_page 404 =503 /sorry.html; proxy_pass http://127.0.0.1:3000;",
        );
        let log = config.replace(
            "http {",
            "http { log_format up '$remote_addr - - [$time_local] \"$request\" $status $body_bytes_sent $upstream_addr $upstream_status $upstream_header_time'; access_log /var/log/nginx/access.log up;",
        );
        let of = |sent: u16| {
            let line = format!(
                "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /old/a HTTP/1.1\" 503 197 127.0.0.1:3000 {sent} 0.001\n"
            );
            Fixture::new(&log).with("access.log", &line).summary()
        };
        insta::assert_snapshot!(of(404), @"
        Broken
        Confirmed configured-error: the configuration itself answers 503 [1 requests, still failing]
        ");
        let by_itself = of(503);
        assert!(!by_itself.contains("configured-error"), "{by_itself}");
    }

    /// The summary where a URL is given that nobody asked for yet.
    fn asked(config: &str, url: &str) -> String {
        let quiet = Fixture::new(config).with("access.log", "").with("options", &format!("url={url}"));
        quiet.with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n").summary()
    }

    #[test]
    fn hit_a_url_that_nobody_asked_for_yet() {
        insta::assert_snapshot!(asked(HIT, "http://shop.example.com/old/x"), @"
        Broken
        Confirmed configured-error: the configuration itself answers 503 [0 requests, still failing]
        ");
        assert_eq!(asked(HIT, "http://shop.example.com/"), "Healthy\n");
        // What the file says now need not be loaded.
        let newer = Fixture::new(HIT)
            .with("access.log", "")
            .with("options", "url=/old/x\nmodified=2026-11-21T02:40:00Z\nloaded=2026-11-21T02:30:00Z");
        assert!(newer.summary().contains("Likely configured-error"), "{}", newer.summary());
    }

    #[test]
    fn hit_whatever_way_a_url_takes_to_the_answer() {
        let of = |directives: &str, path: &str| {
            let config = HIT.replace("location /old/ {", &format!("{directives} location /old/ {{"));
            let summary = asked(&config, &format!("http://shop.example.com{path}"));
            summary.lines().nth(1).unwrap_or(&summary).split(" [").next().unwrap().to_owned()
        };
        for (directives, path) in [
            ("location /r { rewrite ^ /old/q last; }", "/r"),
            ("location /e { error_page 503 /old/q; return 503; }", "/e"),
            ("location /p { error_page 404 =503 /old/q; return 404; }", "/p"),
            ("location /q { error_page 404 = /old/q; return 404; }", "/q"),
            ("location = /x { if ($request_method = GET) { return 502; } }", "/x"),
            ("set $closed 1; if ($closed) { return 503; }", "/"),
        ] {
            let found = of(directives, path);
            assert!(
                found.starts_with("Confirmed configured-error: the configuration itself answers 50"),
                "{path}: {found}"
            );
        }
        for (directives, path) in [
            ("location /k { error_page 503 =200 /ok; return 503; }", "/k"),
            ("location /l { error_page 503 https://other.example/; return 503; }", "/l"),
            ("if ($http_x_closed) { return 503; }", "/"),
            ("location /n { return 404; }", "/n"),
        ] {
            assert_eq!(of(directives, path), "Healthy\n", "{path}");
        }
        let open = of("if ($http_x_open) { return 204; } location /c { return 503; }", "/c");
        assert!(open.starts_with("Likely configured-error"), "{open}");
    }

    #[test]
    fn hit_a_url_that_comes_there_over_another_listener() {
        let config = HIT
            .replace("return 503;", "proxy_pass http://127.0.0.1:8081/;")
            .replace("http {", "http { server { listen 127.0.0.1:8081; return 503; }");
        insta::assert_snapshot!(asked(&config, "http://shop.example.com/old/x"), @"
        Broken
        Confirmed configured-error: the configuration itself answers 503 [0 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_a_url_of_a_gateway_that_does_not_run() {
        let stopped = Fixture::new(HIT).with("access.log", "").with("options", "not-running\nurl=/old/x");
        assert!(!stopped.summary().contains("configured-error"), "{}", stopped.summary());
    }

    #[test]
    fn near_miss_the_upstream_sent_it() {
        let log = HIT.replace("GET /old/a", "GET /new/a");
        let summary = Fixture::new(&log).summary();
        assert!(!summary.contains("configured-error"), "{summary}");
    }

    #[test]
    fn near_miss_nobody_asked_for_it() {
        let quiet = Fixture::new(HIT).with("access.log", "");
        insta::assert_snapshot!(quiet.summary(), @"Healthy");
    }

    #[test]
    fn gap_without_an_access_log_there_is_no_sign() {
        insta::assert_snapshot!(Fixture::new(HIT).without("access.log").summary(), @"Healthy");
    }
}
