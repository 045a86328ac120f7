//! # cached-error
//!
//! ## What happens
//!
//! `proxy_cache_valid any …` (or one that names 502, 503, 504) keeps error answers too, even those that nginx made
//! itself. Until they expire every client gets the error from the cache, although the upstream is well again. True for
//! every version of nginx with a cache.
//!
//! ## What you see
//!
//! The status in the access log with `$upstream_cache_status` `HIT`, `-` for every other `$upstream_*` variable, and
//! nothing in the error log.
//!
//! ## How we know
//!
//! Confirmed: `$upstream_cache_status` of the failed request is a hit. Likely: no attempt was made, the route has a cache
//! that keeps that status, and no other way to that answer.
//!
//! ## What would disprove it
//!
//! An attempt on an upstream for the same request.
//!
//! ## What to do
//!
//! Name the statuses that are worth keeping (`proxy_cache_valid 200 301 302 10m;`) instead of `any`, and remove the
//! entries that are there.
//!
//! ## Not to be confused with
//!
//! `configured-error`, `upstream-sent-error` (the first of them, which filled the cache, is one).
//!
//! ## References
//!
//! nginx: `ngx_http_file_cache_valid`, `ngx_http_upstream_cache_send`.

use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_model::{Pass, RouteId, Setting, Span};

pub(super) static CAUSE: Cause = Cause {
    id: "cached-error",
    layer: Layer::Policy,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502, 503, 504],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("cached_error.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(route) = subject.route() else { return Ok(Ruling::NoSign) };
    let Some(pass) = case.pass_of(route, None) else { return Ok(Ruling::NoSign) };
    let mut cached: Vec<(FailureId, &Failure)> =
        case.failures_of(route).filter(|(_, failure)| is_from_cache(case, route, pass, failure)).collect();
    // Without upstream fields an upstream may have sent it now, unless it answers that path well.
    let shows_it = |failure: &Failure| failure.tries_logged || is_hit(failure);
    if cached.iter().any(|(_, failure)| !shows_it(failure)) && !case.answers_well(route)? {
        cached.retain(|(_, failure)| shows_it(failure));
    }
    let Some(origin) = Case::line_of(&cached) else { return Ok(Ruling::NoSign) };
    let told = cached.iter().all(|(_, failure)| is_hit(failure));
    let says = if told {
        format!("{} answered from the cache", count(Case::weigh(&cached), "request"))
    } else {
        format!("{} answered without asking an upstream", count(Case::weigh(&cached), "request"))
    };
    let status = cached[0].1.status.unwrap_or(502);
    let rule = rule(pass, status);
    let kept = rule.map(|rule| {
        let says = format!("answers of status {status} are kept for {} s", rule.value.1.as_secs());
        Evidence::supporting(says, rule.at.clone().map_or(Origin::Derived, Origin::File))
    });
    let confidence = if told { Confidence::Confirmed } else { Confidence::Likely };
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(cached.iter().map(|(id, _)| *id))
        .still_failing(case.gateway.master.is_some().then_some(true))
        .with([Evidence::supporting(says, origin)])
        .with(kept)
        .at(place(pass, status));
    Ok(Ruling::found(finding))
}

fn is_from_cache(case: &Case<'_>, route: RouteId, pass: &Pass, failure: &Failure) -> bool {
    let Some(status @ 500..=504) = failure.status else { return false };
    if is_hit(failure) {
        return true;
    }
    let is_alone =
        case.gateway.route(route).limits.is_empty() && case.gateway.route(route).conditionals.is_empty();
    failure.cache_status.is_none()
        && failure.status_logged
        && failure.symptoms.is_empty()
        && rule(pass, status).is_some()
        && is_alone
}

fn is_hit(failure: &Failure) -> bool {
    matches!(failure.cache_status.as_deref(), Some("HIT" | "STALE" | "UPDATING" | "REVALIDATED"))
        && failure.attempts().next().is_none()
}

/// The rule that keeps a status: nginx takes the first that fits, `any` included.
fn rule(pass: &Pass, status: u16) -> Option<&Setting<(Vec<u16>, std::time::Duration)>> {
    pass.cache.as_ref()?.valid.iter().find(|rule| rule.value.0.contains(&0) || rule.value.0.contains(&status))
}

fn place(pass: &Pass, status: u16) -> Option<Span> {
    rule(pass, status).and_then(|rule| rule.at.clone()).or_else(|| pass.cache.as_ref()?.zone.at.clone())
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let status = finding.explains.iter().find_map(|id| case.failure(*id).status).unwrap_or(502);
    Explanation {
        title: format!("the cache answers with an old {status}"),
        why: format!(
            "An error answer was kept in the cache, and requests for it get that {status} until it expires. The upstream is \
             not asked, however well it is."
        ),
        wont_help: vec![
            "restarting the backend or reloading nginx: the answer comes from the cache on disk".to_owned(),
        ],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let place = finding.at.first().map_or(String::new(), |at| format!(" at {}:{}", at.file, at.line));
    vec![
        Remedy::new("Keep only good answers in the cache", Risk::ShowOnly)
            .advice(format!("name the statuses{place} (for example 200 301 302) in place of `any` or the error's status, reload, and remove the files of the cache zone that hold the error"))
            .verify("the failing request has another $upstream_cache_status than HIT"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    log_format up '$remote_addr [$time_local] "$request" $status us=$upstream_status ua=$upstream_addr cs=$upstream_cache_status';
    access_log /var/log/nginx/access.log up;
    proxy_cache_path /var/cache/nginx keys_zone=pages:10m;
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_cache pages; proxy_cache_valid any 10m; proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
#- access.log
10.0.0.9 [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 us=- ua=- cs=HIT
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;

    #[test]
    fn hit_by_the_cache_status() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed cached-error: the cache answers with an old 502 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_without_the_cache_status_is_likely() {
        let log = HIT.replace(" cs=$upstream_cache_status", "").replace(" cs=HIT", "");
        insta::assert_snapshot!(Fixture::new(&log).summary(), @"
        Broken
        Likely cached-error: the cache answers with an old 502 [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_an_expired_entry_is_no_hit() {
        let log = HIT.replace("us=- ua=- cs=HIT", "us=502 ua=127.0.0.1:3000 cs=EXPIRED");
        let summary = Fixture::new(&log).summary();
        assert!(!summary.contains("cached-error"), "{summary}");
    }

    #[test]
    fn near_miss_good_answers_alone_are_kept() {
        let log = HIT
            .replace("valid any", "valid 200")
            .replace(" cs=$upstream_cache_status", "")
            .replace(" cs=HIT", "");
        let summary = Fixture::new(&log).summary();
        assert!(!summary.contains("cached-error"), "{summary}");
    }

    #[test]
    fn gap_without_the_access_log_there_is_no_sign() {
        insta::assert_snapshot!(Fixture::new(HIT).without("access.log").summary(), @"Healthy");
    }
}
