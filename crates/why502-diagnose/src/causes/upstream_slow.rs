//! # upstream-slow
//!
//! ## What happens
//!
//! The backend accepts the connection and takes the request, and its response header does not come within
//! `proxy_read_timeout` (60 s unless set), though the route usually answers far sooner: a slow query, a lock, a call to
//! somebody else that hangs. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream timed out (110: Connection timed out) while reading response header from upstream` and a 504 after just that
//! time; `$upstream_connect_time` numeric, `$upstream_header_time` `-`. Other requests of the same route are quick.
//!
//! ## How we know
//!
//! Confirmed: nginx's message, nine in ten successful answers of the route within less than half of the limit, and a
//! request that began later was answered by the same peer while one of these waited: neither the limit nor a queue held
//! it up. What its control group lacks is told beside that: it was throttled by a quota of processor time, its memory is taken
//! back at its limit, its tasks wait for a disk. Likely: nginx's message alone, or just that time in the access log. Possible: three routes to the peer or
//! more got no answer, and none of its routes got one since.
//!
//! ## What would disprove it
//!
//! Good answers that take nearly as long as the limit; a backend that answers nothing at all.
//!
//! ## What to do
//!
//! Find what the backend does in these requests: its own log and its slow queries at that time. Where a quota holds it up, raise
//! that, or have fewer workers share it.
//!
//! ## Not to be confused with
//!
//! `read-timeout-too-short` (the limit is below what the route needs), `upstream-hung` (it answers nothing on any route),
//! `upstream-pool-exhausted` (all of its workers are busy), `upstream-connect-timeout` (no connection),
//! `response-body-truncated` (a stall after the header).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_process_header`, `ngx_http_upstream_next` (`NGX_HTTP_UPSTREAM_FT_TIMEOUT`). Linux:
//! Documentation/scheduler/sched-bwc.rst (`nr_throttled`), Documentation/accounting/psi.rst.

use super::late_answers::{Late, UsualOf, begin, late, times_gap};
use super::pressure::{self, shortages};
use super::timer::Timer;
use crate::case::{Case, Failure, PeerSubject, Subject, Success, Symptom};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::durations::seconds;
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use std::time::Duration;
use why502_facts::{PeerAddress, Phase, Phrase};
use why502_model::RouteId;

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-slow",
    layer: Layer::Response,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[504],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_slow.rs"),
};

/// So many routes without an answer are more than slow work of one of them.
const MIN_SILENT_ROUTES: usize = 3;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(late) = late(case, subject)? else { return Ok(Ruling::NoSign) };
    // Times with the clients' own pace leave it open which of the two it is.
    let is_open = late.is_timer_too_short();
    if is_open && !late.is_only_paced() {
        return Ok(Ruling::NoSign);
    }
    let is_usual_known = late.usual.as_ref().is_some_and(|usual| usual.of == UsualOf::Route);
    let meanwhile = answered_meanwhile(case, &late);
    let is_seen = late.is_told && is_usual_known && meanwhile.is_some();
    let silent = silent_all_over(case, &late);
    let confidence = match (is_seen, &silent) {
        _ if is_open => Confidence::Possible,
        (true, _) => Confidence::Confirmed,
        (false, None) => Confidence::Likely,
        (false, Some(_)) => Confidence::Possible,
    };
    let gap = late.usual.is_none().then(|| times_gap(case)).flatten();
    let pass = late.route.and_then(|route| case.pass_of(route, None));
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(late.failures())
        .with(late.shown())
        .with(late.timer.as_ref().map(Timer::evidence))
        .with(late.usual_evidence(case))
        .with(meanwhile)
        .with(silent.filter(|_| confidence == Confidence::Possible))
        .open(gap.map(|gap| Case::open(gap, "how long this route takes when it answers")))
        .at(pass.map(|pass| pass.at.clone()));
    if let Some(peer) = slow_peer(case, &finding, &late) {
        let lacks = shortages(case, peer, &finding)?.into_iter().map(|shortage| shortage.evidence);
        finding.evidence.extend(lacks);
    }
    Ok(Ruling::found(finding))
}

/// The peer that was slow: of the attempts that a finding explains, the newest one's.
fn slow_peer<'c>(case: &'c Case<'_>, finding: &Finding, late: &Late<'_>) -> Option<&'c PeerSubject> {
    let own = late.attempts.iter().filter(|(id, ..)| finding.explains.contains(id));
    let (_, _, symptom) = own.max_by_key(|(_, failure, _)| failure.at)?;
    case.peers_at(symptom.peer.as_ref()?).next()
}

/// That routes to the same peer got no answer, several of them, and none got one since: it may be slow at nothing, and hang.
fn silent_all_over(case: &Case<'_>, late: &Late<'_>) -> Option<Evidence> {
    let begin = late.first_begin()?;
    let addresses: BTreeSet<&PeerAddress> =
        late.attempts.iter().filter_map(|(_, _, symptom)| symptom.peer.as_ref()).collect();
    let is_silent = |address: &&&PeerAddress| {
        let is_late = |own: &Symptom| {
            own.peer.as_ref() == Some(**address)
                && own.is(Phrase::UpstreamTimedOut)
                && own.phase == Some(Phase::ReadingHeader)
        };
        let failures = case.failures_on(address).map(|(_, failure)| failure);
        let unanswered = failures.filter(|failure| failure.attempts().any(is_late));
        let routes: BTreeSet<RouteId> = unanswered.filter_map(|failure| failure.route).collect();
        let answers = |peer: &PeerSubject| case.last_success(peer).is_some_and(|(at, _)| at >= begin);
        routes.len() >= MIN_SILENT_ROUTES && !case.peers_at(address).any(answers)
    };
    let silent = addresses.iter().find(is_silent)?;
    let says = format!("no route of {silent} was answered since: it may hang altogether");
    Some(Evidence::against(says, Origin::Derived))
}

/// A request that began after one of these and was answered by the same peer before that one was given up: whoever serves
/// in the order of arrival had taken the older one up already.
fn answered_meanwhile(case: &Case<'_>, late: &Late<'_>) -> Option<Evidence> {
    late.attempts.iter().find_map(|(_, failure, symptom)| {
        let success =
            successes_beside(case, late, symptom).find(|success| is_within(success, failure, symptom))?;
        let says = "a later request was answered by the same peer while one of these waited";
        Some(Evidence::supporting(says, Origin::Log(success.line.clone())))
    })
}

/// The successes that the peer of an attempt is known to have made.
fn successes_beside<'c>(
    case: &'c Case<'_>,
    late: &Late<'_>,
    symptom: &'c Symptom,
) -> impl Iterator<Item = &'c Success> {
    let address = symptom.peer.as_ref();
    let peers = address.into_iter().flat_map(|address| case.peers_at(address));
    let of_route = late.route;
    let peers = peers.filter(move |peer: &&PeerSubject| of_route.is_none_or(|route| peer.is_of(route)));
    peers.flat_map(move |peer| {
        let is_single = case.is_single(peer);
        let successes = peer.routes.iter().flat_map(|route| case.successes_of(*route));
        successes.filter(move |success| match &success.peer {
            Some(own) => Some(own) == address,
            None => is_single,
        })
    })
}

/// Whether a success began and ended while an attempt waited. Stamps are cut to the second.
fn is_within(success: &Success, failure: &Failure, symptom: &Symptom) -> bool {
    let Some((begin, took)) = begin(failure, symptom).zip(success.request_ms) else { return false };
    let second = Duration::from_secs(1);
    let began = success.at.before(Duration::from_millis(took.into()));
    success.at.after(second) <= failure.at && began >= begin.after(second)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let late = finding.subjects.first().and_then(|subject| late(case, subject).ok().flatten());
    let limit = late.as_ref().and_then(|late| late.timer.as_ref()).map(Timer::words);
    let usual = late.as_ref().and_then(|late| late.usual.as_ref()).map(|usual| match usual.of {
        UsualOf::Route | UsualOf::Before => format!(", usually {}", seconds(usual.ms)),
        UsualOf::Beside => format!(", other routes {}", seconds(usual.ms)),
    });
    let limit = limit.unwrap_or_else(|| "nginx's timer".to_owned());
    Explanation {
        title: format!("the backend takes longer than {limit} to answer{}", usual.unwrap_or_default()),
        why: "The backend took the request and sent no response header in time. nginx gives up the wait and answers 504."
            .to_owned(),
        wont_help: vec![
            "raising the read timeout: clients wait longer for what is not made faster".to_owned(),
            "raising proxy_connect_timeout: the connection stood".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let failures = || finding.explains.iter().map(|id| case.failure(*id));
    let newest = failures().map(|failure| failure.at).max();
    let at = newest.map_or_else(String::new, |at| format!(" at {at}"));
    let paths: BTreeSet<&str> = failures().filter_map(|failure| failure.path.as_deref()).collect();
    let which = match paths.len() {
        1 => format!(", in requests for {}", paths.first().copied().unwrap_or_default()),
        _ => String::new(),
    };
    let late = finding.subjects.first().and_then(|subject| late(case, subject).ok().flatten());
    let peer = late.as_ref().and_then(|late| slow_peer(case, finding, late));
    let lacking = peer.map(|peer| pressure::remedies(case, finding, peer)).unwrap_or_default();
    let find = Remedy::new("Find what the backend does so long", Risk::ShowOnly)
        .advice(format!("look into its own log, its slow queries and the calls that it makes{at}{which}"))
        .verify("these requests are answered in their usual time");
    lacking.into_iter().chain([find]).collect()
}

#[cfg(test)]
mod tests {
    use crate::causes::read_timeout_too_short::tests::{HIT, logged};
    use crate::fixture::Fixture;

    const QUICK: [(&str, u32); 8] = [("/reports/day", 100); 8];

    #[test]
    fn hit_far_beyond_its_usual_time() {
        insta::assert_snapshot!(logged(&QUICK).summary(), @"
        Broken
        Likely upstream-slow: the backend takes longer than proxy_read_timeout of 10 s to answer, usually 0.101 s [1 requests]
        not read-timeout-too-short: 9 in 10 of 8 successful answers of this route took at most 0.101 s
        ");
    }

    #[test]
    fn hit_others_were_answered_while_it_waited() {
        // It waited from second 40 to second 50.
        let later = "10.0.0.9 [21/Nov/2026:02:28:45 +0000] \"GET / HTTP/1.1\" 200 rt=0.010 ua=127.0.0.1:3000 us=200 uct=0.000 uht=0.010 urt=0.010\n";
        let log = logged(&QUICK);
        let with =
            |line: &str| log.with("access.log", &(log.section("access.log").to_owned() + line)).summary();
        insta::assert_snapshot!(with(later), @"
        Broken
        Confirmed upstream-slow: the backend takes longer than proxy_read_timeout of 10 s to answer, usually 0.101 s [1 requests]
        not read-timeout-too-short: 9 in 10 of 8 successful answers of this route took at most 0.101 s
        ");
        // One that began before it proves nothing.
        let older = later.replace("rt=0.010", "rt=6.000");
        assert!(with(&older).contains("Likely upstream-slow"));
    }

    #[test]
    fn hit_by_the_access_log_alone() {
        insta::assert_snapshot!(logged(&QUICK).with("error.log", "").with("options", "offline").summary(), @"
        Broken
        Likely upstream-slow: the backend takes longer than proxy_read_timeout of 10 s to answer, usually 0.101 s [1 requests]
        not read-timeout-too-short: 9 in 10 of 8 successful answers of this route took at most 0.101 s
        ");
        let alone = logged(&QUICK).without("error.log").with("options", "offline");
        insta::assert_snapshot!(alone.summary(), @"
        Broken
        Likely upstream-slow: the backend takes longer than proxy_read_timeout of 10 s to answer, usually 0.101 s [1 requests]
        not read-timeout-too-short: 9 in 10 of 8 successful answers of this route took at most 0.101 s
        ");
    }

    #[test]
    fn near_miss_the_timer_is_too_short() {
        let summary = logged(&[("/reports/day", 8000); 8]).summary();
        assert!(!summary.contains("upstream-slow"), "{summary}");
    }

    #[test]
    fn near_miss_it_was_never_connected() {
        let summary = logged(&QUICK).with(
            "error.log",
            &logged(&QUICK).section("error.log").replace("reading response header from", "connecting to"),
        );
        assert!(!summary.summary().contains("upstream-slow"), "{}", summary.summary());
    }

    #[test]
    fn near_miss_the_upstream_sent_the_504_itself() {
        let log = logged(&QUICK);
        let sent = log.section("access.log").replace("uht=-", "uht=10.001");
        let summary = log.with("access.log", &sent).with("error.log", "").summary();
        assert!(!summary.contains("upstream-slow"), "{summary}");
    }

    #[test]
    fn near_miss_nothing_is_answered_at_all() {
        let routes = HIT.replace(
            "location / {",
            "location /a/ { proxy_pass http://127.0.0.1:3000; }\n        location /b/ { proxy_pass http://127.0.0.1:3000; }\n        location / {",
        );
        let log = Fixture::new(&routes);
        let lines: String = ["/reports/", "/a/", "/b/"]
            .iter()
            .zip(["*1 ", "*2 ", "*3 "])
            .map(|(path, id)| log.section("error.log").replace("/reports/", path).replace("*99 ", id))
            .collect();
        let silent = log.without("access.log").with("error.log", &lines);
        insta::assert_snapshot!(silent.summary(), @"
        Inconclusive
        Possible upstream-hung: 127.0.0.1:3000 takes connections and answers nothing, on any route [3 requests, still failing]
        Possible upstream-slow: the backend takes longer than proxy_read_timeout of 60 s to answer [3 requests]
          open: how long this route takes when it answers: the fixture does not tell
        ");
    }

    #[test]
    fn gap_without_an_access_log() {
        insta::assert_snapshot!(logged(&QUICK).without("access.log").summary(), @"
        Broken
        Likely upstream-slow: the backend takes longer than proxy_read_timeout of 10 s to answer [1 requests]
          open: how long this route takes when it answers: the fixture does not tell
        ");
    }

    #[test]
    fn gap_without_the_configuration() {
        let alone = Fixture::new(HIT).without("nginx.conf").without("access.log").with("options", "offline");
        insta::assert_snapshot!(alone.summary(), @"
        Broken
        Likely upstream-slow: the backend takes longer than nginx's timer to answer [1 requests]
        ");
    }
}
