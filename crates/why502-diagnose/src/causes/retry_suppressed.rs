//! # retry-suppressed
//!
//! ## What happens
//!
//! An attempt failed, another peer of the group was there to take the request, and nginx did not pass it on: the method
//! may not be repeated (POST, LOCK, PATCH once the request was sent, since 1.9.13), `proxy_next_upstream` is off or leaves
//! this kind of failure out, or its tries or its time were used up. What the retry would have hidden reached the client.
//!
//! ## What you see
//!
//! One value in `$upstream_addr` and `$upstream_status` though the group has several peers, a 502 or 504, and other
//! requests that the other peers answer. Often only POST fails, and GET never does.
//!
//! ## How we know
//!
//! Confirmed: the configuration in force forbids the retry of this very request, and a peer that it had not tried served
//! others later and failed at nothing. Likely: such a peer accepts connections now.
//!
//! ## What would disprove it
//!
//! Failures of the other peers: then a retry would have failed, too.
//!
//! ## What to do
//!
//! Mend what made the first attempt fail. Where repeating does no harm, let nginx pass such requests on.
//!
//! ## Not to be confused with
//!
//! The cause of the failure itself, beside which it stands; `some-peers-failing` (which peers fail), `no-live-upstreams`
//! (nobody was left to try).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_next`; `proxy_next_upstream`, `proxy_next_upstream_tries`, `proxy_next_upstream_timeout` in
//! `ngx_http_proxy_module`.

use super::retries::{Why, has_failed, set_at, why};
use crate::case::{Case, Failure, FailureId, PeerSubject, Reach, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use why502_facts::Observed;
use why502_model::{GroupId, Pass};

pub(super) static CAUSE: Cause = Cause {
    id: "retry-suppressed",
    layer: Layer::Select,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502, 504],
    scope: Scope::Group,
    supersedes: &[],
    detect: Detect::Over(detect),
    explain,
    remedies,
    manual: manual!("retry_suppressed.rs"),
};

/// A request that was not passed on, and why.
struct Suppressed<'c> {
    id: FailureId,
    failure: &'c Failure,
    symptom: &'c Symptom,
    why: Why,
}

fn detect(case: &Case<'_>, subject: &Subject, found: &[Finding]) -> Result<Ruling, Asks> {
    let Some(group) = subject.group().filter(|id| !case.gateway.group(*id).has_one_address()) else {
        return Ok(Ruling::NoSign);
    };
    let all = suppressed(case, group);
    let explained: BTreeSet<FailureId> = found
        .iter()
        .filter(|finding| finding.confidence >= Confidence::Likely && !finding.cause.effect)
        .flat_map(|finding| finding.explains.iter().copied())
        .collect();
    let (known, unknown): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| explained.contains(&one.id));
    let weigh = |of: &[Suppressed<'_>]| of.iter().map(|one| one.failure.weight).sum::<u64>();
    // It stands beside what made the first attempt fail; where that is not known, it is all that is.
    let is_root = weigh(&unknown) > weigh(&known);
    let shown = if is_root { unknown } else { known };
    let Some(first) = shown.first() else { return Ok(Ruling::NoSign) };
    let Some((pass, live)) = pass_of(case, first.failure, group).zip(live_peer(case, group, &shown)) else {
        return Ok(Ruling::NoSign);
    };
    let prefix = pass.protocol.prefix();
    let reasons: BTreeSet<String> = shown.iter().map(|one| one.why.words(prefix)).collect();
    let reasons: Vec<String> = reasons.into_iter().collect();
    let says = |n| format!("{} failed and were not passed on", count(n, "request"));
    let line = Case::lines_evidence(shown.iter().map(|one| (one.id, one.failure, one.symptom)), says);
    let at = set_at(pass, &first.why);
    let rule = Evidence::supporting(reasons.join("; "), at.clone().map_or(Origin::Derived, Origin::File));
    let (confidence, served) = live;
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(shown.iter().map(|one| one.id))
        .with(line)
        .with([rule, served])
        .at([at.unwrap_or_else(|| pass.at.clone())]);
    finding.root = is_root;
    Ok(Ruling::found(finding))
}

/// The requests whose last attempt on a peer of a group failed, and that its other peers did not get.
fn suppressed<'c>(case: &'c Case<'_>, group: GroupId) -> Vec<Suppressed<'c>> {
    let of_group = |symptom: &Symptom| {
        symptom
            .peer
            .as_ref()
            .is_some_and(|address| case.peers_at(address).any(|peer| peer.group == Some(group)))
    };
    let failures = case.failures_of_group(group).filter(|(_, failure)| !failure.is_hidden());
    let suppressed = failures.filter_map(|(id, failure)| {
        let symptom = failure.attempts().next_back().filter(|last| has_failed(last) && of_group(last))?;
        let why = why(pass_of(case, failure, group)?, failure, symptom)?;
        Some(Suppressed { id, failure, symptom, why })
    });
    suppressed.collect()
}

fn pass_of<'c>(case: &'c Case<'_>, failure: &Failure, group: GroupId) -> Option<&'c Pass> {
    case.pass_of(failure.route?, Some(group))
}

/// A peer that these requests had not tried and that was well: how sure that is, and what shows it.
fn live_peer(case: &Case<'_>, group: GroupId, shown: &[Suppressed<'_>]) -> Option<(Confidence, Evidence)> {
    let first = shown.iter().map(|one| one.failure.at).min()?;
    let is_tried = |peer: &PeerSubject| {
        let tried =
            |one: &Suppressed<'_>| one.failure.attempts().any(|own| own.peer.as_ref() == Some(&peer.address));
        shown.iter().all(tried)
    };
    let fails = |peer: &PeerSubject| case.symptoms_of(peer).any(|(_, _, symptom)| has_failed(symptom));
    let well: Vec<&PeerSubject> = case
        .peers_of(Some(group))
        .filter(|peer| case.configured(peer).is_some_and(|configured| !configured.down))
        .filter(|peer| !is_tried(peer) && !fails(peer))
        .collect();
    let served = well.iter().find_map(|peer| {
        let (_, line) = case.last_success(peer).filter(|(at, _)| *at >= first)?;
        let says = format!("{} served others and failed at nothing", peer.address);
        Some((Confidence::Confirmed, Evidence::supporting(says, Origin::Log(line.clone()))))
    });
    served.or_else(|| {
        let peer = well.iter().find(|peer| case.reach(peer) == Observed::Known(Reach::Connected))?;
        let says = format!("{} accepts connections, and failed at nothing", peer.address);
        Some((Confidence::Likely, Evidence::supporting(says, case.probe_origin(peer))))
    })
}

/// The requests of a finding, with the pass of the first.
fn told<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<(&'c Pass, Vec<Suppressed<'c>>)> {
    let group = finding.subjects.iter().find_map(Subject::group)?;
    let mut told = suppressed(case, group);
    told.retain(|one| finding.explains.contains(&one.id));
    Some((pass_of(case, told.first()?.failure, group)?, told))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let why = told(case, finding).map(|(pass, told)| {
        let reasons: BTreeSet<String> =
            told.iter().map(|one| one.why.words(pass.protocol.prefix())).collect();
        reasons.into_iter().collect::<Vec<_>>().join("; ")
    });
    Explanation {
        title: format!("failed requests were not passed on to a live peer: {}", why.unwrap_or_default()),
        why: "After the failed attempt another peer could have answered, and nginx was not allowed to ask it. So the client got the \
              failure that a retry would have hidden."
            .to_owned(),
        wont_help: vec!["adding peers: failed requests are not passed on to them either".to_owned()],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((pass, told)) = told(case, finding) else { return Vec::new() };
    let Some(why) = told.first().map(|one| &one.why) else { return Vec::new() };
    let prefix = pass.protocol.prefix();
    let retry = &pass.retry;
    let name = |rest: &str| format!("{prefix}_next_upstream{rest}");
    let with = |more: &str| {
        let own = retry.conditions.value.iter().cloned();
        own.chain([more.to_owned()]).collect::<Vec<_>>()
    };
    let (title, advice, wanted) = match why {
        Why::Method(_) => {
            let advice = format!(
                "a request that was sent may have been carried out: only where repeating it does no harm, add non_idempotent to {}",
                name("")
            );
            return vec![
                Remedy::new(
                    "Mend what fails first; such requests are not repeated for a reason",
                    Risk::ShowOnly,
                )
                .advice(advice)
                .verify("these requests are answered"),
            ];
        }
        Why::Off => (
            "Let failed requests go to another peer",
            "it was switched off by somebody: look whether repeating does any harm",
            (name(""), vec!["error".to_owned(), "timeout".to_owned()], retry.conditions.at.clone()),
        ),
        Why::Condition(condition) => (
            "Let such failures go to another peer",
            "look whether repeating does any harm",
            (name(""), with(condition), retry.conditions.at.clone()),
        ),
        Why::Tries(tries) => (
            "Allow another try",
            "each try may take as long as its timeouts allow",
            (name("_tries"), vec![(tries + 1).to_string()], retry.tries.at.clone()),
        ),
        Why::Timeout(ms) => (
            "Allow more time for other tries",
            "clients wait so much longer; shorter timeouts of a try leave more time for others",
            (
                name("_timeout"),
                vec![format!("{}s", ms.saturating_mul(2).div_ceil(1000))],
                retry.timeout.at.clone(),
            ),
        ),
    };
    let mut remedy = Remedy::new(title, Risk::Review)
        .advice(advice)
        .verify("a failed attempt is followed by one on another peer");
    for (at, text) in case.gateway.set_directives(&pass.at, &[wanted]) {
        remedy = remedy.edit(at, text);
    }
    vec![remedy]
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, first_diff};

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    log_format up '$remote_addr [$time_local] "$request" $status ua=$upstream_addr us=$upstream_status uct=$upstream_connect_time uht=$upstream_header_time';
    access_log /var/log/nginx/access.log up;
    upstream api { server 127.0.0.1:3000; server 127.0.0.1:3001; }
    server {
        listen 80;
        server_name api.example.com;
        location / {
            proxy_next_upstream error timeout;
            proxy_pass http://api;
        }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 upstream prematurely closed connection while reading response header from upstream, client: 10.0.0.9, server: api.example.com, request: "POST /order HTTP/1.1", upstream: "http://127.0.0.1:3000/order", host: "api.example.com"
#- access.log
10.0.0.9 [21/Nov/2026:02:28:30 +0000] "POST /order HTTP/1.1" 502 ua=127.0.0.1:3000 us=502 uct=0.000 uht=-
10.0.0.9 [21/Nov/2026:02:28:31 +0000] "GET /order HTTP/1.1" 200 ua=127.0.0.1:3001 us=200 uct=0.000 uht=0.003
#- listeners
127.0.0.1:3000 node
127.0.0.1:3001 node
#- probe 127.0.0.1:3000
closed
#- probe 127.0.0.1:3001
answers
HTTP/1.1 200 OK

"#;

    #[test]
    fn hit_a_post_is_not_repeated() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed upstream-closed-before-response -> some-peers-failing: 127.0.0.1:3000 takes requests and closes without an answer [1 requests, still failing]
        Confirmed retry-suppressed (not a root): failed requests were not passed on to a live peer: a POST that was sent is not repeated [1 requests]
        ");
    }

    #[test]
    fn hit_alone_where_nobody_knows_why_the_first_attempt_failed() {
        let lines: Vec<&str> = HIT.lines().filter(|line| !line.contains("[error]")).collect();
        let alone = Fixture::new(&lines.join("\n")).with("options", "offline");
        insta::assert_snapshot!(alone.summary(), @"
        Broken
        Confirmed retry-suppressed -> some-peers-failing: failed requests were not passed on to a live peer: a POST that was sent is not repeated [1 requests]
        ");
    }

    #[test]
    fn hit_switched_off() {
        let off = HIT.replace("error timeout;", "off;").replace("POST", "GET");
        insta::assert_snapshot!(Fixture::new(&off).with("options", "offline").summary(), @"
        Broken
        Likely upstream-closed-before-response -> some-peers-failing: 127.0.0.1:3000 takes requests and closes without an answer [1 requests]
        Confirmed retry-suppressed (not a root): failed requests were not passed on to a live peer: proxy_next_upstream is off [1 requests]
        ");
    }

    #[test]
    fn hit_tries_and_time_used_up_and_a_failure_that_is_not_named() {
        let get = HIT.replace("POST", "GET");
        for setting in ["proxy_next_upstream_tries 1;", "proxy_next_upstream timeout;"] {
            let summary = Fixture::new(&get.replace("proxy_next_upstream error timeout;", setting)).summary();
            assert!(summary.contains("Confirmed retry-suppressed (not a root)"), "{setting}: {summary}");
        }
        let late = get
            .replace("proxy_next_upstream error timeout;", "proxy_next_upstream_timeout 5s;")
            .replace("uht=$up", "rt=$request_time uht=$up");
        let with = |time: &str| {
            Fixture::new(
                &late.replace("uht=-", &format!("rt={time} uht=-")).replace("uht=0", "rt=0.003 uht=0"),
            )
        };
        assert!(with("5.001").summary().contains("retry-suppressed"), "{}", with("5.001").summary());
        assert!(!with("0.001").summary().contains("retry-suppressed"));
    }

    #[test]
    fn near_miss_a_get_would_have_been_repeated() {
        let summary = Fixture::new(&HIT.replace("POST", "GET")).summary();
        assert!(!summary.contains("retry-suppressed"), "{summary}");
    }

    #[test]
    fn near_miss_a_post_that_was_never_sent_is_repeated() {
        let refused = HIT.replace(
            "upstream prematurely closed connection while reading response header from upstream",
            "connect() failed (111: Connection refused) while connecting to upstream",
        );
        let summary = Fixture::new(&refused).summary();
        assert!(!summary.contains("retry-suppressed"), "{summary}");
    }

    #[test]
    fn near_miss_there_is_no_other_peer() {
        let single = HIT.replace(" server 127.0.0.1:3001;", "");
        let summary = Fixture::new(&single).summary();
        assert!(!summary.contains("retry-suppressed"), "{summary}");
    }

    #[test]
    fn near_miss_the_other_peer_fails_too() {
        let line = HIT.lines().find(|line| line.contains("[error]")).unwrap();
        let other = line.replace("*5 ", "*6 ").replace("3000", "3001").replace("02:28:30", "02:28:29");
        let both = Fixture::new(HIT).with("error.log", &format!("{other}\n{line}\n"));
        assert!(!both.summary().contains("retry-suppressed"), "{}", both.summary());
    }

    #[test]
    fn gap_whether_another_peer_lives_is_not_known() {
        let lines: Vec<&str> = HIT.lines().filter(|line| !line.contains("ua=127.0.0.1:3001")).collect();
        let unseen = Fixture::new(&lines.join("\n"));
        assert!(unseen.summary().contains("Likely retry-suppressed"), "{}", unseen.summary());
        let summary = unseen.without("probe 127.0.0.1:3001").summary();
        assert!(!summary.contains("retry-suppressed"), "{summary}");
    }

    #[test]
    fn the_remedy_allows_what_does_no_harm() {
        let tries = HIT
            .replace("proxy_next_upstream error timeout;", "proxy_next_upstream_tries 1;")
            .replace("POST", "GET")
            .lines()
            .filter(|line| !line.contains("[error]"))
            .collect::<Vec<_>>()
            .join("\n");
        insta::assert_snapshot!(first_diff(&Fixture::new(&tries).with("options", "offline").report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -8,5 +8,5 @@
                 server_name api.example.com;
                 location / {
        -            proxy_next_upstream_tries 1;
        +            proxy_next_upstream_tries 2;
                     proxy_pass http://api;
                 }
        ");
    }
}
