//! # read-timeout-too-short
//!
//! ## What happens
//!
//! The upstream works on the request, and nginx stops waiting: `proxy_read_timeout` (60 s unless set; each protocol has
//! a directive of its own, such as `fastcgi_read_timeout`) is below what this route normally needs, or the timer that
//! somebody raised is not the one in force here. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream timed out (110: Connection timed out) while reading response header from upstream`, a 504 after just that
//! time, and successful answers of the same route that came shortly before it.
//!
//! ## How we know
//!
//! Confirmed: half of the route's successful answers and more take at least half of the limit by their
//! `$upstream_header_time`, while other routes of the same upstream are quick. Likely: nine in ten take up to half of it
//! or more by any time that the log has (of answers of up to 64 KiB, as clients take longer ones at their own pace; where the
//! log tells no sizes, it is only possible), of this route or, where it has no answers, of the day before or of its
//! neighbours; or a longer timer stands where it does not count: of a protocol that is not spoken there, or in a location
//! that lost the request to a regular expression.
//!
//! ## What would disprove it
//!
//! Answers that are quick except for those that fail: then the upstream is slow at these, and waiting longer only makes
//! clients wait.
//!
//! ## What to do
//!
//! Raise the timer that is in force for this route, and nothing else.
//!
//! ## Not to be confused with
//!
//! `upstream-slow` (the route usually answers far sooner), `upstream-connect-timeout` (no connection),
//! `upstream-send-timeout` (the request is not taken), `client-gave-up` (a timer in front of nginx).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_process_header`, `u->conf->read_timeout`; `proxy_read_timeout` in
//! `ngx_http_proxy_module`.

use super::late_answers::{Late, Raised, UsualOf, late, times_gap};
use super::timer::Timer;
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::durations::seconds;
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::AnswerMeasure;

pub(super) static CAUSE: Cause = Cause {
    id: "read-timeout-too-short",
    layer: Layer::Response,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[504],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("read_timeout_too_short.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(late) = late(case, subject)? else { return Ok(Ruling::NoSign) };
    if !late.is_timer_too_short() {
        return Ok(late
            .usual_evidence(case)
            .map_or(Ruling::NoSign, |says| Ruling::RuledOut(vec![against(says)])));
    }
    let beside = quick_beside(case, &late);
    let confidence = match beside {
        Some(_) => Confidence::Confirmed,
        None if late.is_only_paced() => Confidence::Possible,
        None => Confidence::Likely,
    };
    let raised = late.raised.as_ref().map(|raised| {
        let origin = raised.at.clone().map_or(Origin::Derived, Origin::File);
        Evidence::supporting(does_nothing(raised), origin)
    });
    let gap = late.usual.is_none().then(|| times_gap(case)).flatten();
    let set_at = late.timer.as_ref().and_then(|timer| timer.at.clone());
    let pass = late.route.and_then(|route| case.pass_of(route, None));
    let is_changed = late.timer.as_ref().is_some_and(|timer| timer.ended_at.is_some())
        && case.gateway.loaded.is_some_and(|loaded| Some(loaded) > late.last());
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(late.failures())
        .still_failing(is_changed.then_some(false))
        .with(late.shown())
        .with(late.timer.as_ref().map(Timer::evidence))
        .with(raised)
        .with(late.usual_evidence(case))
        .with(beside)
        .open(gap.map(|gap| Case::open(gap, "how long this route takes when it answers")))
        .at(set_at.or_else(|| pass.map(|pass| pass.at.clone())));
    Ok(Ruling::found(finding))
}

fn against(evidence: Evidence) -> Evidence {
    Evidence::against(evidence.says, evidence.origin)
}

/// That others of the same upstream are quick while most answers of this route come close to the limit, by the very time
/// that the timer waits for: it is this route's own work, and no shortage that all of them suffer.
fn quick_beside(case: &Case<'_>, late: &Late<'_>) -> Option<Evidence> {
    let timer = late.timer.as_ref().filter(|timer| late.is_told && timer.ended_at.is_none())?;
    let usual = late.usual.as_ref().filter(|usual| usual.of == UsualOf::Route)?;
    let half = usual.answers.times.quantile(500)?;
    let is_exact = usual.answers.measure == Some(AnswerMeasure::Header);
    if !is_exact || u64::from(half) * 2 < u64::from(timer.in_force()) {
        return None;
    }
    let beside = case.answers_beside(late.route?).usual()?;
    let says =
        format!("9 in 10 answers of other routes of the same upstream took at most {}", seconds(beside));
    (u64::from(beside) * 4 < u64::from(timer.in_force())).then(|| Evidence::supporting(says, Origin::Derived))
}

fn does_nothing(raised: &Raised) -> String {
    let value = seconds(raised.ms);
    match &raised.location {
        Some(location) => {
            format!(
                "{} {value} holds in location {location}, which does not serve these requests",
                raised.name
            )
        }
        None => format!("{} {value} does nothing here: no pass of its protocol stands there", raised.name),
    }
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let late = finding.subjects.first().and_then(|subject| late(case, subject).ok().flatten());
    let timer = late.as_ref().and_then(|late| late.timer.as_ref());
    let words = timer.map_or_else(|| "the read timeout".to_owned(), Timer::words);
    let why_not = late.as_ref().and_then(|late| match (&late.raised, &late.usual) {
        (Some(raised), _) => Some(format!("{} {} does not count here", raised.name, seconds(raised.ms))),
        (None, Some(usual)) => {
            let whose = if usual.of == UsualOf::Beside { " of its neighbours" } else { "" };
            Some(format!("9 in 10 good answers{whose} take up to {}", seconds(usual.ms)))
        }
        (None, None) => None,
    });
    let title = match why_not {
        Some(why_not) => format!("{words} is too short for this route: {why_not}"),
        None => format!("{words} is too short for this route"),
    };
    let raised = late.as_ref().and_then(|late| late.raised.as_ref());
    let other = raised.filter(|raised| raised.location.is_none()).map(|raised| raised.name.clone());
    Explanation {
        title,
        why: "nginx waits so long for the response header, then gives up and answers 504, though the upstream is still at work. \
              The answers that come take nearly as long, or somebody meant to let them."
            .to_owned(),
        wont_help: other
            .map(|name| format!("raising {name} further: it is another protocol's"))
            .into_iter()
            .chain([
                "raising proxy_connect_timeout or proxy_send_timeout: connected and sent it was".to_owned(),
                "restarting the upstream: it works as it always does".to_owned(),
            ])
            .collect(),
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    finding.subjects.iter().filter_map(|subject| remedy(case, subject)).collect()
}

fn remedy(case: &Case<'_>, subject: &Subject) -> Option<Remedy> {
    let late = late(case, subject).ok().flatten()?;
    let timer = late.timer.as_ref()?;
    let route = late.route?;
    let pass = case.pass_of(route, None)?;
    // What the failed ones would have needed nobody saw: twice the limit, or what somebody thought right.
    let wanted = late.raised.as_ref().map_or(timer.in_force().saturating_mul(2), |raised| raised.ms);
    let value = format!("{}s", wanted.div_ceil(1000).max(1));
    if wanted <= timer.configured {
        let advice = format!("{} is {} by now", timer.name, seconds(timer.configured));
        let kept = Remedy::new("Keep the limit that is configured by now", Risk::ShowOnly).advice(advice);
        return Some(kept.verify("no new 504 of this route"));
    }
    let own = &case.gateway.route(route).at;
    let is_wide = timer.at.as_ref().is_some_and(|at| !case.gateway.is_directly_in(at, own));
    let mut remedy = Remedy::new(format!("Raise {} to {value}", timer.name), Risk::Review)
        .verify("the route's slowest requests answer, and no new 504 of it");
    if is_wide {
        remedy = remedy.advice(
            "this line is in force for other routes, too: set beside the pass it holds for this one alone",
        );
    }
    let wanted = [(timer.name.clone(), vec![value], timer.at.clone())];
    for (at, text) in case.gateway.set_directives(&pass.at, &wanted) {
        remedy = remedy.edit(at, text);
    }
    Some(remedy)
}

#[cfg(test)]
pub(super) mod tests {
    use crate::fixture::{Fixture, first_diff};
    use std::fmt::Write as _;

    pub(in crate::causes) const HIT: &str = r#"
#- nginx.conf
events {}
http {
    log_format timed '$remote_addr [$time_local] "$request" $status rt=$request_time ua=$upstream_addr us=$upstream_status uct=$upstream_connect_time uht=$upstream_header_time urt=$upstream_response_time';
    access_log /var/log/nginx/access.log timed;
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://127.0.0.1:3000; }
        location /reports/ {
            proxy_read_timeout 10s;
            proxy_pass http://127.0.0.1:3000;
        }
    }
}
#- error.log
2026/11/21 02:28:50 [error] 101#101: *99 upstream timed out (110: Connection timed out) while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /reports/year HTTP/1.1", upstream: "http://127.0.0.1:3000/reports/year", host: "shop.example.com"
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
hangs
#- access.log
"#;

    /// One request that the timer ended after 10 s, and answers of paths in as many milliseconds.
    pub(in crate::causes) fn logged(answers: &[(&str, u32)]) -> Fixture {
        logged_as(HIT, answers)
    }

    fn logged_as(text: &str, answers: &[(&str, u32)]) -> Fixture {
        let mut log = String::new();
        let mut line = |second: usize, path: &str, status: u16, time: &str, header: &str| {
            let _ = writeln!(
                log,
                "10.0.0.9 [21/Nov/2026:02:28:{second:02} +0000] \"GET {path} HTTP/1.1\" {status} rt={time} ua=127.0.0.1:3000 us={status} uct=0.000 uht={header} urt={time}",
            );
        };
        for (second, (path, ms)) in answers.iter().enumerate() {
            let time = format!("{}.{:03}", ms / 1000, ms % 1000);
            line(second, path, 200, &time, &time);
        }
        line(50, "/reports/year", 504, "10.001", "-");
        Fixture::new(&format!("{text}{log}"))
    }

    /// Answers of the route that come close to its limit, and quick ones of another.
    fn near() -> Vec<(&'static str, u32)> {
        [vec![("/reports/day", 8000); 8], vec![("/", 20); 8]].concat()
    }

    #[test]
    fn hit_the_good_answers_come_close_to_the_limit() {
        insta::assert_snapshot!(logged(&near()).summary(), @"
        Broken
        Confirmed read-timeout-too-short: proxy_read_timeout of 10 s is too short for this route: 9 in 10 good answers take up to 8 s [1 requests]
        ");
    }

    #[test]
    fn hit_where_all_routes_are_slow_others_may_be_the_reason() {
        let slow: Vec<_> = near().into_iter().map(|(path, _)| (path, 8000)).collect();
        insta::assert_snapshot!(logged(&slow).summary(), @"
        Broken
        Likely read-timeout-too-short: proxy_read_timeout of 10 s is too short for this route: 9 in 10 good answers take up to 8 s [1 requests]
        ");
        insta::assert_snapshot!(logged(&slow[..8]).summary(), @"
        Broken
        Likely read-timeout-too-short: proxy_read_timeout of 10 s is too short for this route: 9 in 10 good answers take up to 8 s [1 requests]
        ");
    }

    #[test]
    fn hit_a_route_without_answers_is_measured_by_its_neighbours() {
        insta::assert_snapshot!(logged(&[("/", 7000); 6]).summary(), @"
        Broken
        Likely read-timeout-too-short: proxy_read_timeout of 10 s is too short for this route: 9 in 10 good answers of its neighbours take up to 6.976 s [1 requests]
        ");
    }

    #[test]
    fn hit_a_route_without_answers_is_measured_by_the_day_before() {
        let summary = logged(&near()).with("options", "since=960\nnow=2026-11-21T02:44:30Z").summary();
        insta::assert_snapshot!(summary, @"
        Broken
        Likely read-timeout-too-short: proxy_read_timeout of 10 s is too short for this route: 9 in 10 good answers take up to 8 s [1 requests]
        ");
    }

    #[test]
    fn hit_the_timer_of_another_protocol_was_raised() {
        let raised = HIT
            .replace("proxy_read_timeout 10s", "fastcgi_read_timeout 300s")
            .replace("access_log /var", "proxy_read_timeout 10s;\n    access_log /var");
        let quick = logged_as(&raised, &[("/reports/day", 100); 8]);
        insta::assert_snapshot!(quick.summary(), @"
        Broken
        Likely read-timeout-too-short: proxy_read_timeout of 10 s is too short for this route: fastcgi_read_timeout 300 s does not count here [1 requests]
        ");
        insta::assert_snapshot!(first_diff(&quick.report()), @r#"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -2,5 +2,5 @@
         http {
             log_format timed '$remote_addr [$time_local] "$request" $status rt=$request_time ua=$upstream_addr us=$upstream_status uct=$upstream_connect_time uht=$upstream_header_time urt=$upstream_response_time';
        -    proxy_read_timeout 10s;
        +    proxy_read_timeout 300s;
             access_log /var/log/nginx/access.log timed;
             server {
        "#);
    }

    #[test]
    fn hit_the_raised_location_lost_to_a_regular_expression() {
        let lost = HIT
            .replace("proxy_read_timeout 10s", "proxy_read_timeout 300s")
            .replace("location / {", "location ~ year$ { proxy_read_timeout 10s; proxy_pass http://127.0.0.1:3000; }\n        location / {");
        insta::assert_snapshot!(logged_as(&lost, &[("/", 100); 8]).summary(), @"
        Broken
        Likely read-timeout-too-short: proxy_read_timeout of 10 s is too short for this route: proxy_read_timeout 300 s does not count here [1 requests]
        ");
    }

    #[test]
    fn near_miss_the_good_answers_are_quick() {
        let summary = logged(&[("/reports/day", 100); 8]).summary();
        insta::assert_snapshot!(summary, @"
        Broken
        Likely upstream-slow: the backend takes longer than proxy_read_timeout of 10 s to answer, usually 0.101 s [1 requests]
        not read-timeout-too-short: 9 in 10 of 8 successful answers of this route took at most 0.101 s
        ");
    }

    #[test]
    fn near_miss_a_timer_in_use_elsewhere_is_not_idle() {
        let used = HIT.replace(
            "location / {",
            "fastcgi_read_timeout 300s;\n        location /php { fastcgi_pass 127.0.0.1:9000; }\n        location / {",
        );
        let summary = logged_as(&used, &[("/reports/day", 100); 8]).summary();
        assert!(!summary.contains("Likely read-timeout-too-short"), "{summary}");
    }

    #[test]
    fn near_miss_a_timer_around_all_servers_may_be_a_template_s() {
        let around = HIT.replace("http {", "http {\n    fastcgi_read_timeout 300s;");
        let summary = logged_as(&around, &[("/reports/day", 100); 8]).summary();
        assert!(!summary.contains("Likely read-timeout-too-short"), "{summary}");
        // Where nobody set another one, and no answer is known, it is what somebody meant.
        let meant = around.replace("proxy_read_timeout 10s;", "");
        let summary = logged_as(&meant, &[]).summary();
        assert!(summary.contains("Likely read-timeout-too-short"), "{summary}");
    }

    #[test]
    fn near_miss_four_answers_tell_nothing_usual() {
        let summary = logged(&[("/reports/day", 9000); 4]).summary();
        assert!(!summary.contains("read-timeout-too-short"), "{summary}");
    }

    #[test]
    fn gap_without_times_nobody_knows_what_is_usual() {
        let timeless = HIT
            .replace(" rt=$request_time", "")
            .replace("uht=$upstream_header_time urt=$upstream_response_time", "");
        let log = logged(&near());
        let lines: String = log.section("access.log").lines().fold(String::new(), |text, line| {
            let (begin, rest) = line.split_once(" rt=").unwrap();
            let end = rest.split_once(' ').unwrap().1.split_once("uht=").unwrap().0;
            text + begin + " " + end + "\n"
        });
        insta::assert_snapshot!(Fixture::new(&timeless).with("access.log", &lines).summary(), @"
        Broken
        Likely upstream-slow: the backend takes longer than proxy_read_timeout of 10 s to answer [1 requests]
          open: how long this route takes when it answers: too few answers with a time stand in the log
        ");
    }

    #[test]
    fn near_miss_clients_take_long_answers_at_their_own_pace() {
        let only_request = |sizes: &str, bytes: &str| {
            let text = HIT
                .replace(" uht=$upstream_header_time urt=$upstream_response_time", "")
                .replace(" rt=", &format!("{sizes} rt="));
            let log = logged(&[("/reports/day", 9000); 8]);
            let lines: String = log.section("access.log").lines().fold(String::new(), |lines, line| {
                let (line, _) = line.split_once(" uht=").unwrap();
                lines + &line.replace(" rt=", &format!("{bytes} rt=")) + "\n"
            });
            Fixture::new(&text).with("access.log", &lines).summary()
        };
        let named = |summary: &str, says: &str| summary.contains(&format!("{says} read-timeout-too-short"));
        let short = only_request(" $body_bytes_sent", " 900");
        assert!(named(&short, "Likely"), "{short}");
        let long = only_request(" $body_bytes_sent", " 9000000000");
        assert!(!named(&long, "Likely") && !named(&long, "Possible"), "{long}");
        let unknown = only_request("", "");
        assert!(named(&unknown, "Possible") && unknown.contains("Possible upstream-slow"), "{unknown}");
    }

    #[test]
    fn gap_without_the_configuration_no_limit_is_known() {
        let summary = logged(&near()).without("nginx.conf").summary();
        assert!(!summary.contains("read-timeout-too-short"), "{summary}");
    }

    #[test]
    fn the_remedy_raises_the_timer_in_force() {
        insta::assert_snapshot!(first_diff(&logged(&near()).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -8,5 +8,5 @@
                 location / { proxy_pass http://127.0.0.1:3000; }
                 location /reports/ {
        -            proxy_read_timeout 10s;
        +            proxy_read_timeout 20s;
                     proxy_pass http://127.0.0.1:3000;
                 }
        ");
    }
}
