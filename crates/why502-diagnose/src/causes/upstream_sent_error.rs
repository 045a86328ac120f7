//! # upstream-sent-error
//!
//! ## What happens
//!
//! The upstream, or a hop behind it, answered 502, 503 or 504 itself, and nginx passed the answer on. Nothing is wrong
//! between nginx and its peer. True for every version of nginx.
//!
//! ## What you see
//!
//! The status in the access log with a numeric `$upstream_header_time` and `$upstream_bytes_received` above zero, the
//! body is the application's own, and the error log says nothing.
//!
//! ## How we know
//!
//! Confirmed: `$upstream_header_time` is numeric (a complete, valid header came on that attempt), or a probe of the same
//! path gets that status from the peer and nothing else on the route can make it. Likely: nothing else on the route can
//! make it (no limit, no cache, no script or foreign module; of a 502 or 504 the error log, which was read, says nothing),
//! or a probe gets it and something else could have made it unseen.
//!
//! ## What would disprove it
//!
//! A line of the error log about the same request: then nginx made it.
//!
//! ## What to do
//!
//! Go one hop on: read the log of the peer that is named.
//!
//! ## Not to be confused with
//!
//! `configured-error`, `cached-error`, `rate-limited`, `connection-limited` (nginx answers without an attempt), and all
//! causes of 502 and 504 that nginx makes itself.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_process_header`, `u->state->header_time`; reference, section 4.2.

use super::limits::is_told;
use super::own_answers::{may_be_shown, own_answer};
use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::plan::is_own_listener;
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use why502_facts::{HttpAnswer, Phase, Phrase, Stamp};
use why502_model::{FallbackKind, Limit, RouteId};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-sent-error",
    layer: Layer::Response,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502, 503, 504],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_sent_error.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let route = subject.route();
    if route.is_some_and(|route| case.pass_of(route, None).is_none()) {
        return Ok(Ruling::NoSign);
    }
    if of_upstream(case, subject).next().is_none() {
        return Ok(Ruling::NoSign);
    }
    for peer in peers(case, subject) {
        or_ask(case.probe(peer))?;
    }
    let surely: Vec<(FailureId, &Failure)> =
        of_upstream(case, subject).filter(|(_, failure)| was_answered(case, failure)).collect();
    let told = told_requests(case, subject);
    // What the very path answered since outweighs how a HEAD is answered: some applications know no HEAD.
    let answered_since = answers_since(case, subject);
    let probed = probed(case, subject).filter(|_| !answered_since);
    let sends =
        |failure: &Failure| probed.as_ref().is_some_and(|(answer, _)| failure.status == Some(answer.status));
    // Where something else may have made it, only a peer that sends the very same now speaks for it.
    let is_open = |failure: &Failure| route.is_some_and(|route| other_way(case, route, failure).is_some());
    let perhaps: Vec<(FailureId, &Failure)> = of_upstream(case, subject)
        .filter(|(_, failure)| {
            refused_leave(failure)
                || (may_be_answered(case, failure)
                    && (failure.tries_logged || !told.contains(&as_written(failure)))
                    && route.is_some()
                    && (!is_open(failure) || sends(failure)))
        })
        .collect();
    if surely.is_empty() && perhaps.is_empty() {
        return Ok(Ruling::NoSign);
    }
    let sent: Vec<_> = surely.iter().chain(&perhaps).copied().collect();
    let statuses: BTreeSet<u16> = sent.iter().filter_map(|(_, failure)| failure.status).collect();
    let statuses = statuses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let how = if surely.is_empty() {
        "and nginx logged no failure of its own"
    } else {
        "the upstream sent a complete header"
    };
    let says = format!("{} answered {statuses}: {how}", count(Case::weigh(&sent), "request"));
    let other = route.and_then(|route| sent.iter().find_map(|(_, failure)| other_way(case, route, failure)));
    let is_seen = !surely.is_empty() || (probed.is_some() && other.is_none());
    let confidence = if is_seen { Confidence::Confirmed } else { Confidence::Likely };
    let mut evidence: Vec<Evidence> =
        Case::line_of(&sent).map(|origin| Evidence::supporting(says, origin)).into_iter().collect();
    evidence.extend(
        probed.as_ref().map(|(answer, origin)| Evidence::supporting(describe(answer), origin.clone())),
    );
    evidence.extend(other.filter(|_| surely.is_empty()));
    // A HEAD that is answered well says nothing of a POST.
    let is_seen = |failure: &Failure| matches!(failure.method.as_deref(), None | Some("GET" | "HEAD"));
    let well = sent.iter().all(|(_, failure)| is_seen(failure))
        && peers(case, subject).any(|peer| answers_well(case, peer));
    // Files alone tell nothing of now.
    let is_over = answered_since && !case.facts.manifest.invocation.offline;
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(sent.iter().map(|(id, _)| *id))
        .still_failing(probed.is_some().then_some(true).or((well || is_over).then_some(false)))
        .with(evidence)
        .at(route.and_then(|route| case.pass_of(route, None)).map(|pass| pass.at.clone()));
    Ok(Ruling::found(finding))
}

/// The failures of a subject whose answer is none of the configuration's own.
fn of_upstream<'c>(case: &'c Case<'_>, subject: &Subject) -> impl Iterator<Item = (FailureId, &'c Failure)> {
    case.failures_at(subject).filter(|(_, failure)| own_answer(case, failure).is_none())
}

/// Whether the last attempt delivered a header with that very status, or with one that an error page shows as that.
fn was_answered(case: &Case<'_>, failure: &Failure) -> bool {
    let Some(status @ 500..=504) = failure.status.filter(|_| failure.status_logged) else { return false };
    failure.attempts().next_back().is_some_and(|last| {
        let Some(sent) = last.tried.as_ref().and_then(|tried| tried.status) else { return false };
        let passed_on = sent == status && (502..=504).contains(&status);
        let replaced = matches!(sent, 500 | 502..=504) && is_replaced(case, failure, sent, status);
        // nginx itself writes 502 and 504 into the state of an attempt, never 500 or 503.
        (passed_on || replaced) && last.phrase.is_none() && (last.answered() || matches!(sent, 500 | 503))
    })
}

/// Whether the gateway says that a backend which it asked for leave answered with an error of a gateway.
fn refused_leave(failure: &Failure) -> bool {
    failure.attempts().next().is_none() && refusal_status(failure).is_some()
}

/// The error that a backend which was asked for leave answered with, as the gateway says.
fn refusal_status(failure: &Failure) -> Option<u16> {
    let asked = failure.symptoms.iter().filter(|symptom| symptom.is(Phrase::AuthRequestUnexpectedStatus));
    let mut statuses = asked.filter_map(|symptom| symptom.detail.as_deref()?.trim().parse::<u16>().ok());
    statuses.find(|status| (500..=504).contains(status))
}

/// The status that the upstream sent, where it is told beside what the client got.
fn sent_status(failure: &Failure) -> Option<u16> {
    let last = failure.attempts().next_back();
    refusal_status(failure).or_else(|| last?.tried.as_ref()?.status)
}

/// Whether an error page of the route shows one status as another one.
fn is_replaced(case: &Case<'_>, failure: &Failure, sent: u16, status: u16) -> bool {
    failure.route.is_some_and(|route| {
        let page = case.gateway.error_page(route, sent).map(|fallback| &fallback.kind);
        let becomes =
            |becomes: &Option<u16>| becomes.is_some_and(|becomes| becomes == 0 || becomes == status);
        case.gateway.route(route).intercepts_errors
            && matches!(page, Some(FallbackKind::ErrorPage { becomes: to, .. }) if becomes(to))
    })
}

/// Whether an upstream may have sent the status, as far as the logs without upstream fields tell.
fn may_be_answered(case: &Case<'_>, failure: &Failure) -> bool {
    let Some(status @ 502..=504) = failure.status.filter(|_| failure.status_logged) else { return false };
    let is_quiet = |symptom: &Symptom| symptom.phrase.is_none() || follows_an_answer(symptom);
    (!failure.tries_logged && failure.symptoms.iter().all(follows_an_answer)
        || last_attempt_sent(case, failure, status) && failure.symptoms.iter().all(is_quiet))
        // nginx logs every 502 and 504 of its own at level error.
        && (status == 503 || case.error_log_covers(failure))
}

/// Whether the access log has that status for the last attempt, and no time of a header that would tell whose it is. What a
/// listener of this gateway sent is the failure of another request of its own.
fn last_attempt_sent(case: &Case<'_>, failure: &Failure, status: u16) -> bool {
    failure.attempts().next_back().is_some_and(|last| {
        let sent = last.tried.as_ref().and_then(|tried| tried.status);
        let is_own = last.peer.as_ref().is_none_or(|peer| is_own_listener(case, peer));
        sent == Some(status) && !last.logged.header && !is_own
    })
}

/// What an access line says of a request: when, the client, the path, the status.
type Written<'c> = (Stamp, Option<&'c str>, Option<&'c str>, Option<u16>);

fn as_written(failure: &Failure) -> Written<'_> {
    (failure.at, failure.client.as_deref(), failure.path.as_deref(), failure.status)
}

/// The requests of which the error log tells a failure: a line that says the very same may be a copy of theirs.
fn told_requests<'c>(case: &'c Case<'_>, subject: &Subject) -> BTreeSet<Written<'c>> {
    let is_told = |failure: &&Failure| !failure.symptoms.iter().all(follows_an_answer);
    let failures = case.failures_at(subject).map(|(_, failure)| failure);
    failures.filter(is_told).map(as_written).collect()
}

/// Whether the route answered the path of its last failure well after that.
fn answers_since(case: &Case<'_>, subject: &Subject) -> bool {
    let last = of_upstream(case, subject).map(|(_, failure)| failure).max_by_key(|failure| failure.at);
    let Some((last, route)) = last.zip(subject.route()) else { return false };
    case.successes_of(route)
        .any(|success| success.at > last.at && success.path.is_some() && success.path == last.path)
}

/// What else on a route may have made the status of a failure without a word in the error log.
fn other_way(case: &Case<'_>, id: RouteId, failure: &Failure) -> Option<Evidence> {
    let route = case.gateway.route(id);
    let hides = |limit: &&Limit| {
        Some(limit.status) == failure.status && !limit.dry_run && !is_told(case, id, limit, failure)
    };
    if let Some(limit) = route.limits.iter().find(hides) {
        let says = format!("the limit of zone \"{}\" may have refused it without a line", limit.zone);
        return Some(Evidence::against(says, Origin::File(limit.at.clone())));
    }
    if let Some(cache) = route.action.pass().and_then(|pass| pass.cache.as_ref()) {
        let origin = cache.zone.at.clone().map_or(Origin::Derived, Origin::File);
        return Some(Evidence::against("it may have come from the cache", origin));
    }
    // What an attempt that failed becomes is logged, and a route that passes on finds nothing missing by itself. What the
    // gateway refuses (`deny`, `return`, a body that is too large) is logged as something else, or not at all, and needs no
    // leave to be replaced.
    let may_come = |from: u16| {
        let is_told = matches!(from, 404 | 500 | 502..=504) && case.error_log_covers(failure);
        route.intercepts_errors || !is_told
    };
    if let Some(page) = failure.status.and_then(|status| may_be_shown(case, id, status, may_come)) {
        let says = format!("the error page {} may have shown another status as this one", page.to);
        return Some(Evidence::against(says, Origin::File(page.at.clone())));
    }
    if let Some(code) = case.gateway.own_code(id) {
        let origin = code.at.map_or(Origin::Derived, Origin::File);
        return Some(Evidence::against(format!("{} may have answered it itself", code.value), origin));
    }
    // A part of the configuration that nobody read may hold any of these.
    let is_unread = !case.gateway.unread.is_empty() && !case.error_log_covers(failure);
    is_unread.then(|| Evidence::against("a part of the configuration was not read", Origin::Derived))
}

/// Whether a line only follows from an answer: a peer is taken out while its header is read, without an error of its own.
fn follows_an_answer(symptom: &Symptom) -> bool {
    symptom.phrase == Some(Phrase::ServerTemporarilyDisabled) && symptom.phase == Some(Phase::ReadingHeader)
}

fn peers<'c>(case: &'c Case<'_>, subject: &Subject) -> impl Iterator<Item = &'c PeerSubject> {
    subject.route().into_iter().flat_map(|route| case.peers_behind(route))
}

/// The answer of a peer of the route to the probe, if it is an error that would be passed on.
fn probed(case: &Case<'_>, subject: &Subject) -> Option<(HttpAnswer, Origin)> {
    peers(case, subject).find_map(|peer| {
        let answer = case.probe(peer).known()?.answer.as_deref()?;
        matches!(answer.status, 502..=504).then(|| (answer.clone(), case.probe_origin(peer)))
    })
}

fn answers_well(case: &Case<'_>, peer: &PeerSubject) -> bool {
    case.probe(peer).known().is_some_and(|report| report.good_answer().is_some())
}

fn describe(answer: &HttpAnswer) -> String {
    let server = answer.header("Server").map(|server| format!(", Server: {server}"));
    format!(
        "asked directly, the peer answers {} {}{}",
        answer.status,
        answer.reason,
        server.unwrap_or_default()
    )
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let subject = finding.subjects.first();
    let hop = subject
        .and_then(|subject| peers(case, subject).next())
        .map_or("the upstream".to_owned(), |peer| peer.address.to_string());
    let failures = || finding.explains.iter().map(|id| case.failure(*id));
    // What the client got may be another status than what the upstream sent.
    let shown = failures().find_map(|failure| failure.status).unwrap_or(503);
    let status = failures().find_map(sent_status).unwrap_or(shown);
    let server = subject
        .and_then(|subject| probed(case, subject))
        .and_then(|(answer, _)| answer.header("Server").map(str::to_owned));
    let by = server.map(|server| format!(" ({server})")).unwrap_or_default();
    let passed = if status == shown {
        "It passed the answer on as it is".to_owned()
    } else {
        format!("The client got {shown} for it")
    };
    Explanation {
        title: format!("{hop}{by} itself answers {status}"),
        why: format!(
            "nginx reached its upstream and got a complete answer with status {status}. {passed}: the error was made \
             there, or behind it."
        ),
        wont_help: vec![
            "raising proxy timeouts or buffers: nginx's own part of the request went well".to_owned(),
            "reloading or restarting nginx: it only passes the answer on".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let peer = finding.subjects.first().and_then(|subject| peers(case, subject).next());
    let Some(peer) = peer else { return Vec::new() };
    let owner = case.sockets().known().and_then(|table| {
        let pids = table.accepting(peer.address.inet()?).next()?.pids.clone();
        Some(format!(", {},", case.owners(&pids)))
    });
    vec![
        Remedy::new(format!("Read the log of {}", peer.address), Risk::ShowOnly)
            .advice(format!(
                "{}{} made this answer: its own log says why",
                peer.address,
                owner.unwrap_or_default()
            ))
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
    log_format up '$remote_addr [$time_local] "$request" $status us=$upstream_status ua=$upstream_addr uht=$upstream_header_time';
    access_log /var/log/nginx/access.log up;
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
#- access.log
10.0.0.9 [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 503 us=503 ua=127.0.0.1:3000 uht=0.004
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 503 Service Unavailable
Server: Werkzeug

"#;

    const COMBINED: &str =
        "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 503 197 \"-\" \"curl/8\"\n";

    fn combined() -> Fixture {
        let config = HIT.replace("access_log /var/log/nginx/access.log up;", "");
        Fixture::new(&config).with("access.log", COMBINED)
    }

    #[test]
    fn hit_by_the_header_time() {
        insta::assert_snapshot!(Fixture::new(HIT).without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Confirmed upstream-sent-error: 127.0.0.1:3000 itself answers 503 [1 requests]
        ");
    }

    #[test]
    fn hit_by_the_probe() {
        insta::assert_snapshot!(combined().summary(), @"
        Broken
        Confirmed upstream-sent-error: 127.0.0.1:3000 (Werkzeug) itself answers 503 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_by_nothing_else_is_likely() {
        insta::assert_snapshot!(combined().without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Likely upstream-sent-error: 127.0.0.1:3000 itself answers 503 [1 requests]
        ");
    }

    /// Access log without upstream fields, with more directives in the location.
    fn also(directives: &str) -> Fixture {
        let config = HIT.replace(
            "access_log /var/log/nginx/access.log up;",
            "limit_req_zone $binary_remote_addr zone=a:1m rate=1r/m;",
        );
        let config = config.replace("location / {", &format!("location / {{ {directives}"));
        let modules =
            ["http_lua", "http_js", "somebody"].map(|name| format!("load_module ngx_{name}_module.so;"));
        let config = config.replace("events {}", &format!("{} events {{}}", modules.join(" ")));
        let log = "2026/11/21 02:00:00 [notice] 100#100: signal process started";
        Fixture::new(&config).with("access.log", COMBINED).with("error.log", log)
    }

    #[test]
    fn hit_by_its_status_of_the_attempt_and_a_silent_error_log() {
        let before = "#- error.log\n2026/11/21 01:40:00 [error] 101#101: *1 open() \"/srv/x\" failed (2: No such file or directory), client: 10.0.0.9, server: shop.example.com, request: \"GET /x HTTP/1.1\", host: \"shop.example.com\"";
        let coarse = HIT
            .replace(" uht=$upstream_header_time", "")
            .replace(" uht=0.004", "")
            .replace("503", "502")
            .replace("#- error.log", before);
        insta::assert_snapshot!(Fixture::new(&coarse).with("options", "offline\nsince=all").summary(), @"
        Broken
        Likely upstream-sent-error: 127.0.0.1:3000 itself answers 502 [1 requests]
        ");
        // A log that nobody read may hold nginx's own line.
        let summary = Fixture::new(&coarse).without("error.log").with("options", "offline").summary();
        assert!(!summary.contains("upstream-sent-error"), "{summary}");
    }

    #[test]
    fn hit_beside_a_limit_that_hides_its_line_is_likely() {
        let quiet = also("limit_req zone=a; limit_req_log_level info;");
        insta::assert_snapshot!(quiet.summary(), @"
        Broken
        Likely upstream-sent-error: 127.0.0.1:3000 (Werkzeug) itself answers 503 [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_a_limit_that_hides_its_line_and_a_peer_that_answers_well() {
        let quiet = also("limit_req zone=a; limit_req_log_level info;");
        let well = quiet.with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n");
        insta::assert_snapshot!(well.summary(), @r#"
        Broken
        Likely rate-limited: limit_req zone "a" (1r/m per $binary_remote_addr) refuses requests [1 requests, still failing]
        "#);
    }

    #[test]
    fn hit_beside_a_limit_whose_line_would_be_there() {
        insta::assert_snapshot!(also("limit_req zone=a;").summary(), @"
        Broken
        Confirmed upstream-sent-error: 127.0.0.1:3000 (Werkzeug) itself answers 503 [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_a_script_may_have_answered() {
        for code in ["access_by_lua_block { ngx.exit(503) }", "js_access main.closed;", "somebody_elses on;"]
        {
            let scripted = also(code);
            let unprobed = scripted.without("probe 127.0.0.1:3000").summary();
            assert_eq!(unprobed, "Inconclusive\nunexplained: 1\n", "{code}");
            let probed = scripted.summary();
            assert!(probed.contains("Likely upstream-sent-error"), "{code}: {probed}");
        }
    }

    #[test]
    fn hit_the_status_is_the_one_that_the_upstream_sent() {
        let page = "proxy_intercept_errors on; error_page 502 =503 /sorry; proxy_pass";
        let log = HIT.replace("503 us=503", "503 us=502").replace("proxy_pass", page);
        insta::assert_snapshot!(Fixture::new(&log).without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Confirmed upstream-sent-error: 127.0.0.1:3000 itself answers 502 [1 requests]
        ");
    }

    #[test]
    fn near_miss_an_error_page_may_have_shown_another_status() {
        let page = "error_page 404 502 504 =503 /sorry;";
        // What is not intercepted is passed on, and a 502 of nginx's own would stand in the error log.
        assert!(also(page).summary().contains("Confirmed upstream-sent-error"), "{}", also(page).summary());
        // What nginx refuses is no failure of its log.
        for refusal in [401, 403, 413, 429] {
            let refused = also(&format!("error_page {refusal} =503 /sorry;"));
            assert!(refused.summary().contains("Likely upstream-sent-error"), "{}", refused.summary());
            let unprobed = refused.without("probe 127.0.0.1:3000");
            assert_eq!(unprobed.summary(), "Inconclusive\nunexplained: 1\n");
        }
        let unlogged = also(page).without("error.log").without("probe 127.0.0.1:3000");
        assert_eq!(unlogged.summary(), "Inconclusive\nunexplained: 1\n");
        let intercepted = also(&format!("proxy_intercept_errors on; {page}"));
        let unprobed = intercepted.without("probe 127.0.0.1:3000");
        assert_eq!(unprobed.summary(), "Inconclusive\nunexplained: 1\n");
        let other = intercepted.with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 404 Not Found\n\n");
        insta::assert_snapshot!(other.summary(), @"
        Broken
        Likely configured-error: the configuration itself answers 503 [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_nginx_made_it() {
        let log = HIT.replace("503 us=503 ua=127.0.0.1:3000 uht=0.004", "502 us=502 ua=127.0.0.1:3000 uht=-");
        let summary = Fixture::new(&log).summary();
        assert!(!summary.contains("upstream-sent-error"), "{summary}");
    }

    #[test]
    fn hit_that_is_over_although_a_head_is_answered_with_the_error() {
        let since = COMBINED.replace("02:28:30", "02:28:40").replace(" 503 ", " 200 ");
        let fixture = combined().with("access.log", &format!("{COMBINED}{since}"));
        insta::assert_snapshot!(fixture.summary(), @"
        Recovered
        Likely upstream-sent-error: 127.0.0.1:3000 (Werkzeug) itself answers 503 [1 requests, mended]
        ");
        let elsewhere = since.replace("GET /a ", "GET /b ");
        let fixture = combined().with("access.log", &format!("{COMBINED}{elsewhere}"));
        insta::assert_snapshot!(fixture.summary(), @"
        Broken
        Confirmed upstream-sent-error: 127.0.0.1:3000 (Werkzeug) itself answers 503 [1 requests, still failing]
        ");
    }

    const CLOSED: &str = "2026/11/21 02:28:30 [error] 101#101: *7 upstream prematurely closed connection while reading \
        response header from upstream, client: 10.0.0.9, server: shop.example.com, request: \"GET /a HTTP/1.1\", \
        upstream: \"http://127.0.0.1:3000/a\", host: \"shop.example.com\"\n";

    #[test]
    fn near_miss_a_second_line_of_a_failure_that_the_error_log_tells() {
        let line = COMBINED.replace(" 503 ", " 502 ");
        let twice = "access_log /var/log/nginx/access.log; access_log /var/log/nginx/access.log;";
        for directives in [twice, ""] {
            let config = HIT.replace("access_log /var/log/nginx/access.log up;", directives);
            let fixture = Fixture::new(&config)
                .with("access.log", &format!("{line}{line}"))
                .with("error.log", CLOSED)
                .with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 502 Bad Gateway\n\n");
            let summary = fixture.summary();
            assert!(!summary.contains("upstream-sent-error"), "{directives}: {summary}");
            assert_eq!(summary.contains("unexplained"), directives.is_empty(), "{directives}: {summary}");
        }
    }

    #[test]
    fn near_miss_a_500_of_the_application_is_its_answer() {
        let log = HIT
            .replace("503 us=503", "500 us=500")
            .replace("HTTP/1.1 503 Service Unavailable", "HTTP/1.1 500 Oops");
        insta::assert_snapshot!(Fixture::new(&log).summary(), @"Healthy");
    }

    #[test]
    fn gap_without_the_error_log_a_502_proves_nothing() {
        let log = COMBINED.replace(" 503 ", " 502 ");
        let fixture =
            combined().with("access.log", &log).without("error.log").without("probe 127.0.0.1:3000");
        insta::assert_snapshot!(fixture.summary(), @"
        Inconclusive
        unexplained: 1
        ");
    }
}
