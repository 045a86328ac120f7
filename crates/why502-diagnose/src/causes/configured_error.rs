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
//! attempt was made. Likely: the `return` stands under a condition (`if`), or the log does not tell whether an attempt
//! was made.
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

use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_model::{Action, Return, RouteId};

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
    let mut findings =
        answers(case, route).into_iter().filter_map(|answer| judge(case, subject, route, &answer));
    Ok(findings.next().map_or(Ruling::NoSign, Ruling::found))
}

/// An answer that the configuration can give on a route.
struct Answer {
    status: u16,
    given: Return,
    /// The condition that it depends on.
    condition: Option<String>,
}

/// The 50x answers of a route: its own, and those of its conditions.
fn answers(case: &Case<'_>, route: RouteId) -> Vec<Answer> {
    let route = case.gateway.route(route);
    let answer = |action: &Action, condition: Option<&str>| match action {
        Action::Return(given) if (500..=599).contains(&given.status) => Some(Answer {
            status: given.status,
            given: given.clone(),
            condition: condition.map(str::to_owned),
        }),
        _ => None,
    };
    let conditional = route
        .conditionals
        .iter()
        .filter_map(|conditional| answer(conditional.action.as_ref()?, Some(&conditional.condition)));
    answer(&route.action, None).into_iter().chain(conditional).collect()
}

fn judge(case: &Case<'_>, subject: &Subject, route: RouteId, answer: &Answer) -> Option<Finding> {
    let made: Vec<(FailureId, &Failure)> =
        case.failures_of(route).filter(|(_, failure)| is_made_by(failure, answer)).collect();
    let first = made.first()?.1;
    let sees_attempts = made.iter().all(|(_, failure)| failure.tries_logged);
    let certain = answer.condition.is_none() && (sees_attempts || always_answers(case, route));
    let number = made.iter().map(|(_, failure)| failure.weight).sum();
    let attempts = if sees_attempts { ", no upstream was asked" } else { "" };
    let says = format!("{} answered with {}{attempts}", count(number, "request"), answer.status);
    let line = made.iter().rev().find_map(|(_, failure)| failure.line().filter(|line| line.text.is_some()));
    let mut evidence: Vec<Evidence> = Vec::new();
    evidence.extend(line.or(first.line()).map(|line| Evidence::supporting(says, Origin::Log(line.clone()))));
    let condition = answer.condition.as_ref().map(|condition| format!(" if ({condition})"));
    let directive = format!("return {}{}", answer.status, condition.unwrap_or_default());
    evidence.push(Evidence::supporting(
        format!("the route's own answer is `{directive}`"),
        Origin::File(answer.given.at.clone()),
    ));
    let confidence = if certain { Confidence::Confirmed } else { Confidence::Likely };
    let stands = case.gateway.master.is_some().then_some(true);
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(made.iter().map(|(id, _)| *id))
        .still_failing(stands)
        .with(evidence)
        .at([answer.given.at.clone()]);
    Some(finding)
}

/// Whether a failure can be that answer: the same status, no attempt, no message.
fn is_made_by(failure: &Failure, answer: &Answer) -> bool {
    failure.status == Some(answer.status)
        && failure.status_logged
        && failure.symptoms.is_empty()
        && failure.limit_status.as_deref().is_none_or(|status| !status.starts_with("REJECTED"))
        && failure.cache_status.as_deref().is_none_or(|status| status == "-")
}

/// Whether a route has no other way to answer: then the status alone proves where it came from.
fn always_answers(case: &Case<'_>, route: RouteId) -> bool {
    matches!(case.gateway.route(route).action, Action::Return(_))
        && case.gateway.route(route).limits.is_empty()
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let status = finding.explains.iter().find_map(|id| case.failure(*id).status).unwrap_or(503);
    let answer = finding
        .subjects
        .iter()
        .filter_map(Subject::route)
        .flat_map(|route| answers(case, route))
        .find(|answer| answer.status == status);
    let condition = answer.and_then(|answer| answer.condition).map(|condition| format!(" if ({condition})"));
    Explanation {
        title: format!("the configuration itself answers {status}{}", condition.unwrap_or_default()),
        why: format!(
            "The request ends at a `return {status}` before any upstream is asked. No upstream failed: nginx does what it \
             is told."
        ),
        wont_help: vec!["restarting or scaling the backend: it is not asked".to_owned()],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let place = finding.at.first().map_or(String::new(), |at| format!(" in {}:{}", at.file, at.line));
    vec![
        Remedy::new("Switch the answer off if it was meant to be temporary", Risk::ShowOnly)
            .advice(format!("remove or disable the `return`{place} and reload nginx"))
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
