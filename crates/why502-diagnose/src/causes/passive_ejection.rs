//! # passive-ejection
//!
//! ## What happens
//!
//! `proxy_next_upstream` names statuses (`http_503`, `http_429`, …), and with them an answer of the application counts as
//! a failure of its peer. After `max_fails` of them (1 by default) within `fail_timeout` (10 s) a healthy peer is left
//! out; once all are, every request of the group gets a 502, those for other pages too. A page that times out or breaks
//! off does the same without any status being named: such failures always count.
//!
//! ## What you see
//!
//! `upstream server temporarily disabled while reading response header` (at level warn) without any error of the
//! connection before it, then `no live upstreams`. The peers answer all the while.
//!
//! ## How we know
//!
//! Confirmed: nginx says that it took a peer out while it read an answer, no line says that anything was wrong with the
//! connection, and the directive counts statuses. Likely: the log's level hides that line, and the access log shows the
//! answers that count, with no failed connection in the error log; or only some pages fail while their answer is waited
//! for, the same peers answer others, and requests for these found nobody.
//!
//! ## What would disprove it
//!
//! Peers that refuse, reset or time out: then that is the cause, and the ejection follows from it.
//!
//! ## What to do
//!
//! Count failures of the connection only: take the statuses out of `proxy_next_upstream`, or raise `max_fails`. The page
//! that answers so has its own cause.
//!
//! ## Not to be confused with
//!
//! `no-live-upstreams` (the symptom), `some-peers-failing` (peers that really fail).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_test_next`, `ngx_http_upstream_free_round_robin_peer`.

use crate::case::{Case, Failure, FailureId, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::causes::no_live_upstreams::without_peers;
use crate::causes::some_peers_failing::is_failure;
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use why502_facts::{PeerAddress, Phase, Phrase, Stamp};
use why502_model::{GroupId, Pass, RouteId};

pub(super) static CAUSE: Cause = Cause {
    id: "passive-ejection",
    layer: Layer::Select,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502, 503, 504],
    scope: Scope::Group,
    supersedes: &["no-live-upstreams"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("passive_ejection.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(id) = subject.group() else { return Ok(Ruling::NoSign) };
    let without = without_peers(case, id);
    let finding = by_answers(case, subject, id, &without).or_else(|| by_a_page(case, subject, id, &without));
    Ok(finding.map_or(Ruling::NoSign, Ruling::found))
}

/// Answers that count as failures take the peers out.
fn by_answers(
    case: &Case<'_>,
    subject: &Subject,
    id: GroupId,
    without: &[(FailureId, &Failure)],
) -> Option<Finding> {
    let (origin, pass) = Case::line_of(without).zip(counting_pass(case, id))?;
    let (mut ejected, mut answered, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (failure_id, failure, symptom) in attempts_of(case, id) {
        if symptom.phrase == Some(Phrase::ServerTemporarilyDisabled) {
            ejected.push((failure_id, failure, symptom));
        } else if is_failure(symptom) {
            failed.push((failure_id, failure, symptom));
        } else if counts(pass, symptom) {
            answered.push((failure_id, failure, symptom));
        }
    }
    let is_told = without.iter().all(|(_, failure)| case.error_log_covers(failure));
    let confidence = match (ejected.is_empty(), answered.is_empty(), failed.is_empty()) {
        (false, ..) => Confidence::Confirmed,
        (true, false, true) if is_told => Confidence::Likely,
        _ => return None,
    };
    let says = format!("{} found every peer marked unavailable", count(Case::weigh(without), "request"));
    let (shown, what) = if ejected.is_empty() {
        (answered, "that count as failures")
    } else {
        (ejected, "took a peer out, without an error of the connection")
    };
    let answers = Case::lines_evidence(shown, |n| format!("{} {what}", count(n, "answer")));
    let conditions = &pass.retry.conditions;
    let counted = Evidence::supporting(
        format!("answers count as failures: {}", statuses(pass).join(" ")),
        conditions.at.clone().map_or(Origin::Derived, Origin::File),
    );
    let explained: Vec<FailureId> = without.iter().map(|(id, _)| *id).collect();
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(explained)
        .with(answers)
        .with([counted, Evidence::supporting(says, origin)])
        .at(conditions.at.clone());
    Some(finding)
}

/// What was seen of the peers of a group.
fn attempts_of<'c>(case: &'c Case<'_>, id: GroupId) -> Vec<(FailureId, &'c Failure, &'c Symptom)> {
    let ids: BTreeSet<FailureId> = case
        .peers_of(Some(id))
        .flat_map(|peer| case.failures_on(&peer.address))
        .map(|(failure_id, _)| failure_id)
        .collect();
    let symptoms = ids.into_iter().flat_map(|id| {
        let failure = case.failure(id);
        failure.symptoms.iter().map(move |symptom| (id, failure, symptom))
    });
    symptoms.filter(|(_, _, symptom)| is_of(case, id, symptom.peer.as_ref())).collect()
}

/// Pages whose answer does not come take the peers out, which answer others.
fn by_a_page(
    case: &Case<'_>,
    subject: &Subject,
    id: GroupId,
    without: &[(FailureId, &Failure)],
) -> Option<Finding> {
    let mut failed = attempts_of(case, id);
    failed.retain(|(_, _, symptom)| is_failure(symptom));
    let first = failed.iter().map(|(_, failure, _)| failure.at).min()?;
    // Whoever takes no connection is out for a reason of its own.
    if failed.iter().any(|(_, _, symptom)| symptom.phase != Some(Phase::ReadingHeader)) {
        return None;
    }
    let page = |failure: &Failure| (failure.route, failure.path.clone());
    let pages: BTreeSet<(Option<RouteId>, Option<String>)> =
        failed.iter().map(|(_, failure, _)| page(failure)).collect();
    let others: Vec<(FailureId, &Failure)> =
        without.iter().copied().filter(|(_, failure)| !pages.contains(&page(failure))).collect();
    let origin = Case::line_of(&others)?;
    let failing: BTreeSet<&PeerAddress> =
        failed.iter().filter_map(|(_, _, symptom)| symptom.peer.as_ref()).collect();
    let mut shown = Vec::new();
    for address in failing {
        shown.push(answers_others(case, id, address, first)?);
    }
    let n_others = count(Case::weigh(&others), "request");
    let says = format!("{n_others} for other pages found every peer marked unavailable");
    let line =
        Case::lines_evidence(failed, |n| format!("{} for the answer of a page failed", count(n, "wait")));
    let finding = Finding::new(&CAUSE, Confidence::Likely, subject)
        .explaining(without.iter().map(|(id, _)| *id))
        .with(line)
        .with([Evidence::supporting(says, origin)])
        .with(shown)
        .at([case.gateway.group(id).at.clone()]);
    Some(finding)
}

/// That a peer of a group answers other requests, since a moment or now.
fn answers_others(case: &Case<'_>, id: GroupId, address: &PeerAddress, since: Stamp) -> Option<Evidence> {
    let peer = case.peers_at(address).find(|peer| peer.group == Some(id))?;
    let served = case.last_success(peer).filter(|(at, _)| *at >= since).map(|(_, line)| {
        Evidence::supporting(format!("{address} answered others since"), Origin::Log(line.clone()))
    });
    served.or_else(|| {
        let answer = case.probe(peer).known().and_then(|report| report.answer.as_ref());
        answer
            .is_some_and(|answer| answer.status < 500)
            .then(|| Evidence::supporting(format!("{address} answers a probe"), case.probe_origin(peer)))
    })
}

/// Whether a finding is about pages whose answer does not come: its place is the group.
fn is_by_a_page(case: &Case<'_>, finding: &Finding) -> bool {
    let group = finding.subjects.iter().find_map(Subject::group);
    group.is_some_and(|id| finding.at.first() == Some(&case.gateway.group(id).at))
}

/// A pass to a group that counts answers as failures of the peer.
fn counting_pass<'c>(case: &'c Case<'_>, id: GroupId) -> Option<&'c Pass> {
    let mut passes = case.routes_to(id).filter_map(|route| case.pass_of(route, Some(id)));
    passes.find(|pass| !statuses(pass).is_empty())
}

/// The conditions that are statuses; 403 and 404 go on to the next peer without counting.
fn statuses(pass: &Pass) -> Vec<&str> {
    let conditions = pass.retry.conditions.value.iter().map(String::as_str);
    conditions
        .filter(|condition| status_of(condition).is_some_and(|status| !matches!(status, 403 | 404)))
        .collect()
}

fn status_of(condition: &str) -> Option<u16> {
    condition.strip_prefix("http_")?.parse().ok()
}

/// Whether an address is one of a group's.
fn is_of(case: &Case<'_>, id: GroupId, address: Option<&PeerAddress>) -> bool {
    address.is_some_and(|address| case.peers_at(address).any(|peer| peer.group == Some(id)))
}

/// Whether an attempt ended with an answer that counts as a failure.
fn counts(pass: &Pass, symptom: &Symptom) -> bool {
    let status = symptom.tried.as_ref().and_then(|tried| tried.status);
    symptom.phrase.is_none() && statuses(pass).into_iter().any(|condition| status_of(condition) == status)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let group = finding.subjects.iter().find_map(Subject::group);
    let name = group.and_then(|id| case.gateway.group(id).name.clone()).unwrap_or_default();
    if is_by_a_page(case, finding) {
        return Explanation {
            title: format!("pages that are slow or break off take the peers of {name} out for all others"),
            why: "The peers are alive and answer other pages. nginx counts each wait that ends without an answer as a failure of the \
                  peer and leaves it out for a while; once all are out, every request gets 502."
                .to_owned(),
            wont_help: vec!["restarting the backends: the same pages take them out again".to_owned()],
        };
    }
    let counted = group
        .and_then(|id| counting_pass(case, id))
        .map(|pass| (pass.protocol.prefix(), statuses(pass).join(" ")))
        .unwrap_or_default();
    Explanation {
        title: format!("answers of the application take the peers of {name} out: {}_next_upstream counts {}", counted.0, counted.1),
        why: "The peers are alive, and nginx leaves them out because it counts such an answer as their failure. Requests that have \
              nothing to do with it then find nobody and get 502."
            .to_owned(),
        wont_help: vec![
            "restarting the backends: they answer, and are taken out by their answers".to_owned(),
            "adding peers: the same page takes them out one after the other".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let group = finding.subjects.iter().find_map(Subject::group);
    if is_by_a_page(case, finding) {
        return vec![
            Remedy::new("Keep these pages from taking the peers out", Risk::ShowOnly)
                .advice("mend them first; a group of their own leaves the others alone, and a higher max_fails bears more of them")
                .verify("no new `no live upstreams` while such a page still fails"),
        ];
    }
    let Some(pass) = group.and_then(|id| counting_pass(case, id)) else { return Vec::new() };
    let others = pass.retry.conditions.value.iter().filter(|condition| status_of(condition).is_none());
    let mut kept: Vec<String> = others.cloned().collect();
    if kept.is_empty() {
        kept = vec!["error".to_owned(), "timeout".to_owned()];
    }
    let name = format!("{}_next_upstream", pass.protocol.prefix());
    let mut remedy = Remedy::new("Count failures of the connection only", Risk::Review)
        .advice("such answers then reach the client as they are, and no other peer is tried for them")
        .verify("no new `no live upstreams` while the page still answers so");
    for (at, text) in case.gateway.set_directives(&pass.at, &[(name, kept, pass.retry.conditions.at.clone())])
    {
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
    upstream api { server 127.0.0.1:3000; server 127.0.0.1:3001; }
    server {
        listen 80;
        server_name app.example.com;
        location / {
            proxy_next_upstream error timeout http_503;
            proxy_pass http://api;
        }
    }
}
#- error.log
2026/11/21 02:28:30 [warn] 101#101: *57 upstream server temporarily disabled while reading response header from upstream, client: 10.0.0.9, server: app.example.com, request: "GET /mcp HTTP/1.1", upstream: "http://127.0.0.1:3000/mcp", host: "app.example.com"
2026/11/21 02:28:31 [warn] 101#101: *60 upstream server temporarily disabled while reading response header from upstream, client: 10.0.0.9, server: app.example.com, request: "GET /mcp HTTP/1.1", upstream: "http://127.0.0.1:3001/mcp", host: "app.example.com"
2026/11/21 02:28:31 [error] 101#101: *60 no live upstreams while connecting to upstream, client: 10.0.0.9, server: app.example.com, request: "GET /mcp HTTP/1.1", upstream: "http://api/mcp", host: "app.example.com"
2026/11/21 02:28:32 [error] 101#101: *66 no live upstreams while connecting to upstream, client: 10.0.0.8, server: app.example.com, request: "GET /threads HTTP/1.1", upstream: "http://api/threads", host: "app.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /mcp HTTP/1.1" 503 61 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:31 +0000] "GET /mcp HTTP/1.1" 502 157 "-" "curl/8"
10.0.0.8 - - [21/Nov/2026:02:28:32 +0000] "GET /threads HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:3000 bun
127.0.0.1:3001 bun
"#;

    #[test]
    fn hit_nginx_took_them_out_without_an_error() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed passive-ejection -> no-live-upstreams: answers of the application take the peers of api out: proxy_next_upstream counts http_503 [2 requests]
        Likely upstream-sent-error: 127.0.0.1:3000 itself answers 503 [1 requests]
        ");
    }

    #[test]
    fn hit_by_the_answers_of_the_access_log() {
        let quiet: Vec<&str> = HIT.lines().filter(|line| !line.contains("[warn]")).collect();
        let logged = quiet.join("\n").replace(
            "http {",
            "http {\n    log_format up '$remote_addr [$time_local] \"$request\" $status us=$upstream_status ua=$upstream_addr uht=$upstream_header_time';\n    access_log /var/log/nginx/access.log up;",
        );
        let access = r#"10.0.0.9 [21/Nov/2026:02:28:30 +0000] "GET /mcp HTTP/1.1" 503 us=503, 503 ua=127.0.0.1:3000, 127.0.0.1:3001 uht=0.001, 0.001
10.0.0.9 [21/Nov/2026:02:28:31 +0000] "GET /mcp HTTP/1.1" 502 us=503, 502 ua=127.0.0.1:3001, api uht=0.001, -
10.0.0.8 [21/Nov/2026:02:28:32 +0000] "GET /threads HTTP/1.1" 502 us=502 ua=api uht=-
"#;
        insta::assert_snapshot!(Fixture::new(&logged).with("access.log", access).summary(), @"
        Broken
        Confirmed upstream-sent-error: 127.0.0.1:3000 itself answers 503 [1 requests]
        Likely passive-ejection -> no-live-upstreams: answers of the application take the peers of api out: proxy_next_upstream counts http_503 [2 requests]
        ");
    }

    /// One page times out on both peers; the others are answered again later.
    fn one_slow_page() -> String {
        let slow = HIT.replace(" http_503", "").replace("[warn]", "[error]").replace(
            "upstream server temporarily disabled while reading response header from upstream",
            "upstream timed out (110: Connection timed out) while reading response header from upstream",
        );
        let again = "10.0.0.8 - - [21/Nov/2026:02:28:59 +0000] \"GET /threads HTTP/1.1\" 200 157 \"-\" \"curl/8\"\n#- listeners";
        slow.replace("\" 503 61", "\" 504 167").replace("#- listeners", again)
    }

    #[test]
    fn hit_one_slow_page_takes_them_out_for_the_others() {
        let answers = "answers\nHTTP/1.1 200 OK\n\n";
        let slow = Fixture::new(&one_slow_page());
        let probed = slow.with("probe 127.0.0.1:3000", answers).with("probe 127.0.0.1:3001", answers);
        insta::assert_snapshot!(probed.summary(), @"
        Broken
        Likely passive-ejection -> no-live-upstreams: pages that are slow or break off take the peers of api out for all others [2 requests]
        Likely upstream-slow -> no-live-upstreams: the backend takes longer than proxy_read_timeout of 60 s to answer [2 requests]
          open: how long this route takes when it answers: too few answers with a time stand in the log
        ");
    }

    #[test]
    fn near_miss_nobody_saw_the_slow_peers_answer_anything() {
        let summary = Fixture::new(&one_slow_page()).summary();
        assert!(!summary.contains("passive-ejection"), "{summary}");
    }

    #[test]
    fn near_miss_the_connection_failed() {
        let refused = HIT.replace("[warn]", "[error]").replace(
            "upstream server temporarily disabled while reading response header from upstream",
            "connect() failed (111: Connection refused) while connecting to upstream",
        );
        let summary = Fixture::new(&refused).summary();
        assert!(!summary.contains("passive-ejection"), "{summary}");
    }

    #[test]
    fn near_miss_no_status_counts() {
        let summary = Fixture::new(&HIT.replace(" http_503", "")).summary();
        assert!(!summary.contains("passive-ejection"), "{summary}");
    }

    #[test]
    fn gap_without_the_configuration_the_symptom_is_all() {
        let summary = Fixture::new(HIT).without("nginx.conf").summary();
        assert!(!summary.contains("passive-ejection"), "{summary}");
    }

    #[test]
    fn the_remedy_counts_connections_only() {
        insta::assert_snapshot!(first_diff(&Fixture::new(HIT).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -6,5 +6,5 @@
                 server_name app.example.com;
                 location / {
        -            proxy_next_upstream error timeout http_503;
        +            proxy_next_upstream error timeout;
                     proxy_pass http://api;
                 }
        ");
    }
}
