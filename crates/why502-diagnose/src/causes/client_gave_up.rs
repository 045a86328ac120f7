//! # client-gave-up
//!
//! ## What happens
//!
//! A client, or a load balancer in front of nginx, waits only so long for an answer. Its timer is shorter than the time that
//! the route takes, so it closes the connection while nginx still waits for the upstream. nginx writes 499, a status of its
//! own that nobody receives. True for every version of nginx.
//!
//! ## What you see
//!
//! Status 499 in the access log, most often with one and the same `$request_time`; at level `info` of the error log
//! `client prematurely closed connection, so upstream connection is closed too while reading response header from
//! upstream` (or `client … closed keepalive connection`). With `proxy_ignore_client_abort on` there is no 499.
//!
//! ## How we know
//!
//! Confirmed: most of them took just as long, and the route answered another request that took longer. Likely: they share
//! one duration, or are three or more, and one in a hundred of the route's requests or more.
//!
//! ## What would disprove it
//!
//! Clients that left before the upstream was even connected: then it is the connection that takes long.
//!
//! ## What to do
//!
//! Make the route answer sooner, or raise the timeout of whoever waits in front of nginx. It is not nginx's timer.
//!
//! ## Not to be confused with
//!
//! `upstream-slow` and `read-timeout-too-short`, where nginx's own timer ends the wait (504); `upstream-connect-timeout`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_check_broken_connection` in `src/http/ngx_http_upstream.c`;
//! `NGX_HTTP_CLIENT_CLOSED_REQUEST`.

use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::durations::{self, Common, seconds};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use crate::timers::{Side, known};
use why502_facts::Phase;
use why502_model::RouteId;

pub(super) static CAUSE: Cause = Cause {
    id: "client-gave-up",
    layer: Layer::Response,
    acts_on: ActsOn::Client,
    effect: false,
    statuses: &[499],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("client_gave_up.rs"),
};

/// Fewer than so many may be people who went away.
const MIN_REQUESTS: u64 = 3;
/// Who leaves sooner did not wait for a timer, in milliseconds.
const MIN_MS: u32 = 200;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let left: Vec<(FailureId, &Failure)> =
        case.failures_at(subject).filter(|(_, failure)| is_left_waiting(failure)).collect();
    let Some(origin) = Case::line_of(&left) else { return Ok(Ruling::NoSign) };
    let n_left = Case::weigh(&left);
    let route = subject.route();
    let constant = constant(&left);
    let is_much =
        n_left >= MIN_REQUESTS && route.is_none_or(|route| case.is_more_than_a_limit_at_work(route, n_left));
    if constant.is_none() && !is_much {
        return Ok(Ruling::NoSign);
    }
    let longer =
        constant.as_ref().zip(route).and_then(|(constant, route)| longer_answer(case, route, constant.ms));
    let confidence = match (&constant, &longer) {
        (Some(_), Some(_)) => Confidence::Confirmed,
        _ => Confidence::Likely,
    };
    let says = match &constant {
        Some(constant) => {
            format!("{} of {n_left} clients left after {}", constant.requests, seconds(constant.ms))
        }
        None => format!("{} left before the answer (499)", count(n_left, "client")),
    };
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(left.iter().map(|(id, _)| *id))
        .with([Evidence::supporting(says, origin)])
        .with(longer)
        .at(route.and_then(|route| case.pass_of(route, None)).map(|pass| pass.at.clone()));
    Ok(Ruling::found(finding))
}

/// Whether a client left while its request was with an upstream, which had taken the connection as far as anybody knows.
fn is_left_waiting(failure: &Failure) -> bool {
    let Some(last) = failure.attempts().next_back().filter(|_| failure.status == Some(499)) else {
        // Without upstream fields nobody knows better.
        return failure.status == Some(499) && !failure.tries_logged && failure.symptoms.is_empty();
    };
    let is_connecting = matches!(last.phase, Some(Phase::Connecting | Phase::TlsHandshake))
        || (last.logged.connect && last.tried.as_ref().is_some_and(|tried| tried.connect_ms.is_none()));
    !is_connecting && last.group.is_none()
}

/// The one duration that most of them waited.
fn constant(left: &[(FailureId, &Failure)]) -> Option<Common> {
    let waited = left.iter().filter_map(|(_, failure)| Some((failure.request_ms?, failure.weight)));
    let mut waited: Vec<(u32, u64)> = waited.collect();
    waited.sort_unstable();
    durations::common(&waited, MIN_MS)
}

/// An answer of the route that took longer than clients wait.
fn longer_answer(case: &Case<'_>, route: RouteId, ms: u32) -> Option<Evidence> {
    let longest = case.successes_of(route).max_by_key(|success| success.request_ms)?;
    let took = longest.request_ms.filter(|took| *took > ms)?;
    let says = format!("another request of this route was answered after {}", seconds(took));
    Some(Evidence::supporting(says, Origin::Log(longest.line.clone())))
}

fn failures<'c>(case: &'c Case<'_>, finding: &Finding) -> Vec<(FailureId, &'c Failure)> {
    finding.explains.iter().map(|id| (*id, case.failure(*id))).collect()
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let after = constant(&failures(case, finding))
        .map_or_else(String::new, |constant| format!(" after {}", seconds(constant.ms)));
    Explanation {
        title: format!("clients leave{after}, before the answer comes"),
        why: "Whoever waits in front of nginx closes the connection while nginx still waits for the upstream. nginx ends the \
              request and writes 499."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout: nginx was still waiting when the client left".to_owned(),
            "proxy_ignore_client_abort: it hides the 499, and nobody gets the answer".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let failures = failures(case, finding);
    let mut clients: Vec<&str> =
        failures.iter().filter_map(|(_, failure)| failure.client.as_deref()).collect();
    clients.sort_unstable();
    clients.dedup();
    let who = match clients.as_slice() {
        [one] => format!(
            "all of them are {one}: if that is a load balancer, its timeout is the one that ends them"
        ),
        _ => "if they come through a load balancer, its timeout is the one that ends them".to_owned(),
    };
    let timers: Vec<&str> =
        constant(&failures).map(|constant| known(Side::InFront, constant.ms).collect()).unwrap_or_default();
    let timers = match timers.as_slice() {
        [] => String::new(),
        timers => format!("; so long waits {}", timers.join(", ")),
    };
    vec![
        Remedy::new("Answer sooner, or let whoever waits in front wait longer", Risk::ShowOnly)
            .advice(format!("{who}{timers}; otherwise look why this route takes so long"))
            .verify("the access log has no new 499 of this route"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use std::fmt::Write as _;

    const CONFIG: &str = r#"
#- nginx.conf
events {}
http {
    log_format up '$remote_addr [$time_local] "$request" $status rt=$request_time ua=$upstream_addr us=$upstream_status uct=$upstream_connect_time uht=$upstream_header_time';
    access_log /var/log/nginx/access.log up;
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

#- access.log
"#;

    fn hit(ended: &[(u16, &str, &str)]) -> Fixture {
        Fixture::new(&format!("{CONFIG}{}", log(ended)))
    }

    /// Requests that ended as given: status, time, time to connect.
    fn log(ended: &[(u16, &str, &str)]) -> String {
        let mut log = String::new();
        for (second, (status, time, connect)) in ended.iter().enumerate() {
            let header = if *status == 200 { *time } else { "-" };
            let upstream = if *status == 200 { "200" } else { "-" };
            let _ = writeln!(
                log,
                "10.0.0.9 [21/Nov/2026:02:28:{second:02} +0000] \"GET /a HTTP/1.1\" {status} rt={time} ua=127.0.0.1:3000 us={upstream} uct={connect} uht={header}",
            );
        }
        log
    }

    #[test]
    fn hit_a_timer_shorter_than_the_answer() {
        let mut ended = vec![(499, "2.001", "0.000"); 6];
        insta::assert_snapshot!(hit(&ended).summary(), @"
        Broken
        Likely client-gave-up: clients leave after 2.001 s, before the answer comes [6 requests]
        ");
        ended.push((200, "3.100", "0.000"));
        insta::assert_snapshot!(hit(&ended).summary(), @"
        Broken
        Confirmed client-gave-up: clients leave after 2.001 s, before the answer comes [6 requests]
        ");
    }

    #[test]
    fn a_constant_betrays_who_waits_in_front() {
        let report = hit(&[(499, "60.001", "0.000"); 6]).report();
        let advice = report.findings[0].remedies[0].advice.clone().unwrap();
        assert!(advice.contains("AWS load balancers"), "{advice}");
        let report = hit(&[(499, "2.001", "0.000"); 6]).report();
        let advice = report.findings[0].remedies[0].advice.clone().unwrap();
        assert!(!advice.contains("so long waits"), "{advice}");
    }

    #[test]
    fn hit_many_without_one_time() {
        let ended = [(499, "1.0", "0.000"), (499, "4.0", "0.000"), (499, "9.0", "0.000")];
        insta::assert_snapshot!(hit(&ended).summary(), @"
        Broken
        Likely client-gave-up: clients leave, before the answer comes [3 requests]
        ");
    }

    #[test]
    fn near_miss_who_leaves_by_chance() {
        insta::assert_snapshot!(hit(&[(499, "1.0", "0.000"), (200, "0.1", "0.000")]).summary(), @"Healthy");
    }

    #[test]
    fn near_miss_it_was_not_even_connected() {
        let ended = vec![(499, "2.001", "-"); 6];
        assert!(!hit(&ended).summary().contains("client-gave-up"));
    }

    #[test]
    fn gap_without_times_nobody_knows_why() {
        let log = log(&[(499, "2.001", "0.000"); 6]).replace("rt=2.001", "rt=-");
        insta::assert_snapshot!(Fixture::new(&format!("{CONFIG}{log}")).summary(), @"
        Broken
        Likely client-gave-up: clients leave, before the answer comes [6 requests]
        ");
    }
}
