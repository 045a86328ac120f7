use super::*;
use crate::fixture::Fixture;
use std::fmt::Write as _;
use why502_decode::load;

const LOGS: &str = r#"
#- nginx.conf
events {}
http {
    log_format up '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent ua=$upstream_addr us=$upstream_status uct=$upstream_connect_time uht=$upstream_header_time urt=$upstream_response_time rt=$request_time';
    access_log /var/log/nginx/access.log up;
    upstream shop { server 127.0.0.1:3000 max_fails=2 fail_timeout=30s; server 127.0.0.1:3001; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://shop; }
        location /slow { proxy_read_timeout 2s; proxy_pass http://shop; }
        location /no { return 503; }
    }
}
#- options
offline
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
#- access.log
"#;

fn line(second: u32, path: &str, status: &str, rest: &str) -> String {
    format!(
        "10.0.0.9 - - [21/Nov/2026:02:28:{second:02} +0000] \"GET {path} HTTP/1.1\" {status} 157 {rest}\n"
    )
}

/// The survey of an access log without the sample's error log.
fn alone(lines: &str) -> LogsReport {
    survey_of_fixture(&Fixture::new(&format!("{LOGS}{lines}")).without("error.log"), &Selection::default())
}

fn survey_of(lines: &str, selection: &Selection) -> LogsReport {
    survey_of_fixture(&Fixture::new(&format!("{LOGS}{lines}")), selection)
}

fn survey_of_fixture(fixture: &Fixture, selection: &Selection) -> LogsReport {
    let bundle = fixture.bundle();
    let facts = load(&bundle);
    let model = Model::build(&facts);
    survey(&facts, &model, selection)
}

/// The groups as a table.
fn table(report: &LogsReport) -> String {
    let mut text = String::new();
    for group in &report.groups {
        let _ = writeln!(
            text,
            "{} {:?} {} {} {} of {:?} by {:?}",
            group.requests,
            group.family,
            group.route.as_deref().unwrap_or("-"),
            group.upstream.as_deref().unwrap_or("-"),
            group.peer.as_deref().unwrap_or("-"),
            group.of,
            group.made_by,
        );
    }
    text
}

fn sample() -> String {
    let refused = "ua=127.0.0.1:3000 us=502 uct=- uht=- urt=0.000 rt=0.000";
    let own = "ua=127.0.0.1:3001 us=502 uct=0.000 uht=0.004 urt=0.004 rt=0.004";
    let slow = "ua=127.0.0.1:3001 us=504 uct=0.000 uht=- urt=2.003 rt=2.003";
    let saved =
        "ua=127.0.0.1:3000, 127.0.0.1:3001 us=502, 200 uct=-, 0.000 uht=-, 0.003 urt=0.000, 0.003 rt=0.003";
    let fine = "ua=127.0.0.1:3001 us=200 uct=0.000 uht=0.002 urt=0.002 rt=0.002";
    let none = "ua=- us=- uct=- uht=- urt=- rt=0.000";
    [
        line(30, "/a", "502", refused),
        line(31, "/b", "502", own),
        line(32, "/no", "503", none),
        line(33, "/a", "499", "ua=127.0.0.1:3001 us=- uct=0.000 uht=- urt=1.000 rt=1.000"),
        line(34, "/c", "200", saved),
        line(34, "/c", "404", fine),
        line(35, "/d", "200", fine),
    ]
    .concat()
        + &(40..46).map(|second| line(second, "/slow/x", "504", slow)).collect::<String>()
}

#[test]
fn who_made_what_is_told_by_status_and_times() {
    let report = survey_of(&sample(), &Selection::default());
    insta::assert_snapshot!(table(&report), @"
    6 Some(AnswerTimedOut) shop.example.com /slow shop 127.0.0.1:3001 of Some(13) by [Gateway]
    1 Some(ClientLeft) shop.example.com / shop 127.0.0.1:3001 of Some(13) by [Client]
    1 Some(OwnAnswer) shop.example.com /no - - of Some(13) by [NoAttempt]
    1 Some(Refused) shop.example.com / shop 127.0.0.1:3000 of Some(13) by [Gateway]
    1 Some(UpstreamAnswer) shop.example.com / shop 127.0.0.1:3001 of Some(13) by [Upstream]
    ");
    let makers: Vec<_> = report.made_by.iter().map(|count| (count.maker, count.requests)).collect();
    assert_eq!(
        makers,
        [(Maker::Gateway, 7), (Maker::Upstream, 1), (Maker::NoAttempt, 1), (Maker::Client, 1)]
    );
    assert_eq!((report.requests, report.failed), (Some(13), 10));
    assert_eq!(report.hidden.requests, 1);
    assert_eq!(report.hidden.peers, [Count { name: "127.0.0.1:3000".to_owned(), requests: 1 }]);
}

#[test]
fn a_timer_is_found_by_the_duration_that_its_victims_share() {
    let report = survey_of(&sample(), &Selection::default());
    let [cluster] = report.clusters.as_slice() else { panic!("{:?}", report.clusters) };
    assert_eq!((cluster.ms, cluster.requests, cluster.of), (2003, 6, 6));
    assert!(
        cluster.timers[0].starts_with("proxy_read_timeout 2000ms (/etc/nginx/nginx.conf:"),
        "{:?}",
        cluster.timers
    );
    // Durations that differ are no timer's.
    let apart: String = (1..9)
        .map(|n| {
            line(
                n,
                "/slow",
                "504",
                &format!("ua=127.0.0.1:3001 us=504 uct=0.000 uht=- urt={n}.000 rt={n}.000"),
            )
        })
        .collect();
    assert!(survey_of(&apart, &Selection::default()).clusters.is_empty());
}

#[test]
fn a_timer_is_one_that_can_have_ended_them() {
    let kinds = |status: &str, us: &str, time: &str, paths: &[&str]| -> LogsReport {
        let rest = format!("ua=127.0.0.1:3001 us={us} uct=0.000 uht=- urt={time} rt={time}");
        let lines: String = (0..6).map(|n| line(n, paths[n as usize % paths.len()], status, &rest)).collect();
        alone(&lines)
    };
    // Clients that left after a minute met no timer of nginx, though its own is a minute, too.
    let left = kinds("499", "-", "60.000", &["/a"]);
    assert_eq!(
        left.clusters[0].timers,
        ["the default of AWS load balancers, another nginx, Apache and Varnish"]
    );
    // Few of each route, and one timer in front of all.
    let spread = kinds("499", "-", "30.000", &["/a", "/slow/b"]);
    assert_eq!(
        (spread.clusters.len(), spread.clusters[0].route.clone(), spread.clusters[0].of),
        (1, None, 6)
    );
    // Closed after just half a minute: the application's own timer.
    let closed = kinds("502", "502", "30.002", &["/a"]);
    assert!(closed.clusters[0].timers[0].starts_with("gunicorn"), "{:?}", closed.clusters);
    let own = kinds("504", "504", "60.001", &["/a"]);
    assert_eq!(own.clusters[0].timers, ["proxy_read_timeout 60000ms (by default)"]);
}

#[test]
fn a_peer_that_failed_often_enough_is_out_for_its_time() {
    let refused = "ua=127.0.0.1:3000 us=502 uct=- uht=- urt=0.000 rt=0.000";
    let once = line(10, "/a", "502", refused);
    assert_eq!(alone(&once).ejections, []);
    let twice = once + &line(12, "/a", "502", refused);
    let report = alone(&twice);
    let [ejection] = report.ejections.as_slice() else { panic!("{:?}", report.ejections) };
    assert_eq!(
        (ejection.from.as_str(), ejection.to.as_str(), ejection.failures, ejection.told, ejection.per_worker),
        ("2026-11-21T02:28:12Z", "2026-11-21T02:28:42Z", 2, false, true)
    );
}

#[test]
fn what_is_selected_is_counted() {
    let of = |selection: Selection| survey_of(&sample(), &selection).failed;
    let status = |text: &str| Selection { statuses: vec![text.parse().unwrap()], ..Selection::default() };
    assert_eq!([of(status("502")), of(status("5xx")), of(status("404"))], [2, 9, 1]);
    assert_eq!(of(Selection { upstream: Some("shop".to_owned()), ..Selection::default() }), 9);
    assert_eq!(of(Selection { upstream: Some("127.0.0.1:3000".to_owned()), ..Selection::default() }), 1);
    assert_eq!(of(Selection { route: Some("/slow".to_owned()), ..Selection::default() }), 6);
    let report = survey_of(&sample(), &Selection { group_by: vec![GroupBy::Route], ..Selection::default() });
    insta::assert_snapshot!(table(&report), @"
    6 None shop.example.com /slow - - of Some(6) by [Gateway]
    3 None shop.example.com / - - of Some(6) by [Gateway, Upstream, Client]
    1 None shop.example.com /no - - of Some(1) by [NoAttempt]
    ");
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let published = include_str!("../../../../docs/schema/logs-1.json");
    assert_eq!(published, logs_schema(), "run `cargo xtask schema`");
}
