//! Properties that hold for every fixture.

use crate::Confidence;
use crate::fixture::{Fixture, report};
use proptest::prelude::*;
use why502_facts::{Answer, Bundle, GapReason};

/// One group with a sick and a well peer, and a second one that is sick for another reason.
const TWO_PEERS: &str = r#"
#- nginx.conf
events {}
http {
    upstream backend {
        server 127.0.0.1:3000;
        server 127.0.0.1:3001;
    }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://backend; }
        location /api/ { proxy_pass http://10.0.0.5:4000; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
2026/11/21 02:28:31 [error] 101#101: *4 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /api/a HTTP/1.1", upstream: "http://10.0.0.5:4000/api/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:31 +0000] "GET /api/a HTTP/1.1" 502 157 "-" "curl/8"
#- addresses
10.0.0.5
#- listeners
127.0.0.1:3001 node
127.0.0.1:4000 java
#- probe 127.0.0.1:3000
refused
#- probe 127.0.0.1:3001
connected
#- probe 10.0.0.5:4000
refused
"#;

fn bundle() -> Bundle {
    Fixture::new(TWO_PEERS).bundle()
}

#[test]
fn a_sick_peer_and_a_well_one_are_not_one_finding() {
    let report = report(&bundle());
    let sick = report.findings.iter().find(|finding| finding.cause == "upstream-not-listening").unwrap();
    assert_eq!(sick.peers, ["127.0.0.1:3000"]);
    assert!(report.findings.iter().all(|finding| !finding.peers.contains(&"127.0.0.1:3001".to_owned())));
}

#[test]
fn a_window_without_failures_tells_the_last_ones_of_the_day_before() {
    let healed = Fixture::new(TWO_PEERS)
        .with("options", "now=2026-11-21T06:00:00Z")
        .with("listeners", "127.0.0.1:3000 node\n127.0.0.1:3001 node\n10.0.0.5:4000 java\n")
        .with("probe 127.0.0.1:3000", "connected")
        .with("probe 10.0.0.5:4000", "connected");
    let report = report(&healed.bundle());
    assert_eq!(report.verdict, crate::Verdict::Healthy);
    assert_eq!(
        (report.window.failed, report.window.last_failure.as_deref()),
        (Some(0), Some("2026-11-21T02:28:31Z"))
    );
}

/// A healthy gateway with logs as told, and a peer that takes connections.
const UNSEEN: &str = r"
#- nginx.conf
error_log ERRORS;
events {}
http {
    access_log ACCESSES;
    server { listen 80; location / { proxy_pass http://127.0.0.1:3000; } }
}
#- listeners
0.0.0.0:80 nginx
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
connected
";

#[test]
fn logs_that_nobody_can_read_make_nobody_healthy() {
    let with = |errors: &str, accesses: &str| {
        let text = UNSEEN.replace("ERRORS", errors).replace("ACCESSES", accesses);
        let report = report(&Fixture::new(&text).bundle());
        let gaps: Vec<String> =
            report.gaps.into_iter().map(|gap| format!("{}: {}", gap.topic, gap.says)).collect();
        (report.verdict, report.window.failed, gaps)
    };
    let (verdict, failed, gaps) = with("memory:32m", "off");
    assert_eq!((verdict, failed), (crate::Verdict::Inconclusive, None));
    assert_eq!(
        gaps,
        [
            "access-log: access_log off (/etc/nginx/nginx.conf:4): no request is told there",
            "error-log: error_log memory:32m (/etc/nginx/nginx.conf:1): it cannot be read here",
        ]
    );
    let (verdict, failed, gaps) = with("/var/log/nginx/error.log", "syslog:server=10.0.0.1");
    assert_eq!((verdict, failed, gaps.len()), (crate::Verdict::Healthy, Some(0), 1), "{gaps:?}");
    // A log that may not be read tells no more than one that is not there.
    let (verdict, failed, _) = with("/var/log/nginx/denied.log", "off");
    assert_eq!((verdict, failed), (crate::Verdict::Inconclusive, None));
}

#[test]
fn a_peer_that_is_silent_is_not_called_healthy() {
    let text = UNSEEN.replace("ERRORS", "/var/log/nginx/error.log").replace("ACCESSES", "off");
    let asked = Fixture::new(&text).with("options", "url=http://127.0.0.1/a");
    let verdict = |probe: &str| report(&asked.with("probe 127.0.0.1:3000", probe).bundle()).verdict;
    assert_eq!(verdict("hangs"), crate::Verdict::Inconclusive);
    assert_eq!(verdict("answers\nHTTP/1.1 200 OK\n\n"), crate::Verdict::Healthy);
}

#[test]
fn two_independent_causes_are_two_findings() {
    let report = report(&bundle());
    let causes: Vec<&str> =
        report.findings.iter().filter(|finding| finding.root).map(|finding| finding.cause.as_str()).collect();
    // The second peer saves the requests that the first one refuses: the other finding is the worse one.
    assert_eq!(causes, ["upstream-wrong-interface", "upstream-not-listening"]);
}

#[test]
fn a_saved_bundle_gives_the_same_report() {
    let bundle = bundle();
    let mut archive = Vec::new();
    bundle.write_archive(&mut archive).unwrap();
    let loaded = Bundle::read_archive(archive.as_slice()).unwrap();
    assert_eq!(report(&loaded), report(&bundle));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_facts_does_not_matter(order in Just((0..bundle().facts.len()).collect::<Vec<_>>()).prop_shuffle()) {
        let bundle = bundle();
        let mut shuffled = bundle.clone();
        shuffled.facts = order.into_iter().map(|at| bundle.facts[at].clone()).collect();
        prop_assert_eq!(report(&shuffled), report(&bundle));
    }
}

#[test]
fn a_missing_fact_never_makes_anything_surer() {
    let whole = bundle();
    let known = report(&whole);
    for at in 0..whole.facts.len() {
        let mut poorer = whole.clone();
        poorer.facts[at].answer = Answer::unknown(GapReason::Denied, "withheld");
        for finding in
            report(&poorer).findings.iter().filter(|finding| finding.confidence == Confidence::Confirmed)
        {
            let same = known.findings.iter().find(|other| other.cause == finding.cause);
            let gives_way = known.findings.iter().any(|other| other.effects.contains(&finding.cause));
            assert!(
                same.is_some_and(|same| same.confidence == Confidence::Confirmed) || gives_way,
                "without {:?} {} is confirmed",
                whole.facts[at].ask,
                finding.cause
            );
        }
    }
}
