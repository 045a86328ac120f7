use crate::fixture::{Fixture, first_diff};
use std::fmt::Write as _;

const HIT: &str = r#"
#- nginx.conf
events {}
http {
    log_format timed '$remote_addr [$time_local] "$request" $status rt=$request_time ua=$upstream_addr us=$upstream_status uct=$upstream_connect_time uht=$upstream_header_time urt=$upstream_response_time';
    access_log /var/log/nginx/access.log timed;
    server {
        listen 80;
        server_name shop.example.com;
        location / {
            proxy_connect_timeout 500ms;
            proxy_pass http://10.0.0.7:3000;
        }
    }
}
#- error.log
2026/11/21 02:28:50 [error] 101#101: *99 upstream timed out (110: Connection timed out) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://10.0.0.7:3000/a", host: "shop.example.com"
#- probe 10.0.0.7:3000
connected after=812
#- access.log
"#;

/// Requests that were answered on connections that took so many milliseconds, then one that the timer ended.
fn logged(connects: &[u32]) -> Fixture {
    let mut log = String::new();
    for (second, ms) in connects.iter().enumerate() {
        let uct = format!("{}.{:03}", ms / 1000, ms % 1000);
        writeln!(log, "10.0.0.9 [21/Nov/2026:02:28:{second:02} +0000] \"GET /a HTTP/1.1\" 200 rt=0.900 ua=10.0.0.7:3000 us=200 uct={uct} uht=0.900 urt=0.900").unwrap();
    }
    writeln!(log, "10.0.0.9 [21/Nov/2026:02:28:50 +0000] \"GET /a HTTP/1.1\" 504 rt=0.501 ua=10.0.0.7:3000 us=504 uct=- uht=- urt=0.501").unwrap();
    Fixture::new(&format!("{HIT}{log}"))
}

fn tls() -> Fixture {
    let text = HIT
        .replace("proxy_pass http:", "proxy_pass https:")
        .replace("upstream: \"http:", "upstream: \"https:")
        .replace("connecting to upstream", "SSL handshaking to upstream")
        .replace("connected after=812", "answers tls after=100 shaken=700\nHTTP/1.1 200 OK\n");
    Fixture::new(&text)
}

#[test]
fn hit_a_connection_stands_later_than_that() {
    insta::assert_snapshot!(logged(&[]).summary(), @"
        Broken
        Confirmed connect-timeout-too-short -> upstream-connect-timeout: proxy_connect_timeout of 0.500 s is too short for 10.0.0.7:3000: a connection takes longer [1 requests, still failing]
        ");
    insta::assert_snapshot!(first_diff(&logged(&[]).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -7,5 +7,5 @@
                 server_name shop.example.com;
                 location / {
        -            proxy_connect_timeout 500ms;
        +            proxy_connect_timeout 2s;
                     proxy_pass http://10.0.0.7:3000;
                 }
        ");
}

#[test]
fn hit_the_handshake_takes_the_rest() {
    insta::assert_snapshot!(tls().summary(), @"
        Broken
        Confirmed connect-timeout-too-short: proxy_connect_timeout of 0.500 s is too short for 10.0.0.7:3000: a connection with TLS takes longer [1 requests, still failing]
        ");
}

#[test]
fn hit_a_lost_packet_is_named_and_its_second_loss_allowed_for() {
    let report = logged(&[]).with("probe 10.0.0.7:3000", "connected after=1023").report();
    let finding = &report.findings[0];
    assert!(finding.evidence.iter().any(|own| own.says.contains("repeated after 1 s")), "{finding:?}");
    assert!(
        first_diff(&report).contains("+            proxy_connect_timeout 4s;"),
        "{}",
        first_diff(&report)
    );
}

#[test]
fn hit_what_this_host_loses_has_another_reason() {
    let local = HIT.replace("10.0.0.7", "127.0.0.1").replace("after=812", "after=1023");
    let queued = Fixture::new(&local).with("listeners", "127.0.0.1:3000 node");
    insta::assert_snapshot!(queued.summary(), @"
        Broken
        Likely connect-timeout-too-short -> upstream-connect-timeout: proxy_connect_timeout of 0.500 s is too short for 127.0.0.1:3000 [1 requests, still failing]
        ");
    let report = queued.with("listeners", "127.0.0.1:3000 node queue=2").report();
    let evidence = &report.findings[0].evidence;
    assert!(evidence.iter().any(|own| own.says.starts_with("2 connections waiting")), "{evidence:?}");
}

#[test]
fn hit_recorded_times_come_near() {
    let offline = |connects: &[u32]| logged(connects).with("options", "offline").summary();
    insta::assert_snapshot!(offline(&[300, 450, 499, 0, 0]), @"
        Broken
        Likely connect-timeout-too-short -> upstream-connect-timeout: proxy_connect_timeout of 0.500 s is too short for 10.0.0.7:3000 [1 requests]
          open: how long a connection takes now: not looked at: --offline
        ");
}

#[test]
fn hit_the_limit_was_raised_since() {
    let raised = logged(&[]).section("nginx.conf").replace("500ms", "20s");
    let fixture = logged(&[]).with("nginx.conf", &raised).with("options", "loaded=2026-11-21T02:30:00Z");
    insta::assert_snapshot!(fixture.summary(), @"
        Recovered
        Confirmed connect-timeout-too-short -> upstream-connect-timeout: proxy_connect_timeout of 0.501 s is too short for 10.0.0.7:3000: a connection takes longer [1 requests, mended]
        ");
}

#[test]
fn hit_without_a_word_of_the_error_log() {
    insta::assert_snapshot!(logged(&[]).with("error.log", "").summary(), @"
        Broken
        Confirmed connect-timeout-too-short: proxy_connect_timeout of 0.500 s is too short for 10.0.0.7:3000: a connection takes longer [1 requests, still failing]
        ");
}

#[test]
fn near_miss_nobody_answers() {
    let silent = logged(&[300, 450, 499]).with("probe 10.0.0.7:3000", "silent after=3500").summary();
    assert!(!silent.contains("connect-timeout-too-short"), "{silent}");
}

#[test]
fn near_miss_a_default_of_a_minute() {
    let config = logged(&[]).section("nginx.conf").replace("proxy_connect_timeout 500ms;", "");
    let summary = Fixture::new(HIT).with("nginx.conf", &config).summary();
    assert!(!summary.contains("connect-timeout-too-short"), "{summary}");
}

#[test]
fn near_miss_the_kernel_gave_up() {
    let kernel = HIT.replace(
        "upstream timed out (110: Connection timed out)",
        "connect() failed (110: Connection timed out)",
    );
    let summary = Fixture::new(&kernel).summary();
    assert!(!summary.contains("connect-timeout-too-short"), "{summary}");
}

#[test]
fn near_miss_connections_are_made_at_once() {
    let quick = logged(&[1, 1, 2, 1]).with("probe 10.0.0.7:3000", "connected").summary();
    assert!(!quick.contains("connect-timeout-too-short"), "{quick}");
}

#[test]
fn gap_nobody_could_ask_and_the_log_tells_little() {
    let little = |connects: &[u32]| logged(connects).without("probe 10.0.0.7:3000").summary();
    assert!(!little(&[]).contains("connect-timeout-too-short"), "{}", little(&[]));
    insta::assert_snapshot!(little(&[300, 450, 499]), @"
        Broken
        Likely connect-timeout-too-short -> upstream-connect-timeout: proxy_connect_timeout of 0.500 s is too short for 10.0.0.7:3000 [1 requests]
          open: how long a connection takes now: the fixture does not tell
        ");
}
