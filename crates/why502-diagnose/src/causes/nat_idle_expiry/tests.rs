use crate::fixture::Fixture;

const HIT: &str = r#"
#- nginx.conf
events {}
http {
    log_format up '$remote_addr [$time_local] "$request" $status ua=$upstream_addr us=$upstream_status uct=$upstream_connect_time uht=$upstream_header_time urt=$upstream_response_time';
    access_log /var/log/nginx/access.log up;
    upstream app {
        server 10.0.0.7:3000;
        keepalive 16;
    }
    server {
        listen 80;
        server_name shop.example.com;
        location / {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://app;
        }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 upstream timed out (110: Connection timed out) while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /cart HTTP/1.1", upstream: "http://10.0.0.7:3000/cart", host: "shop.example.com"
#- access.log
10.0.0.9 [21/Nov/2026:02:28:30 +0000] "GET /cart HTTP/1.1" 504 ua=10.0.0.7:3000 us=504 uct=0.000 uht=- urt=60.000
10.0.0.9 [21/Nov/2026:02:30:00 +0000] "GET /cart HTTP/1.1" 200 ua=10.0.0.7:3000 us=200 uct=0.001 uht=0.002 urt=0.002
#- probe 10.0.0.7:3000
answers
HTTP/1.1 200 OK


#- probe 10.0.0.7:3000 reused
answers held=6000 again=silent unacknowledged=140
HTTP/1.1 200 OK


"#;

const REUSED: &str = "probe 10.0.0.7:3000 reused";
const ANSWER: &str = "\nHTTP/1.1 200 OK\n\n\n";

fn hit() -> Fixture {
    Fixture::new(HIT)
}

#[test]
fn hit_the_request_is_lost_on_an_idle_connection() {
    insta::assert_snapshot!(hit().summary(), @"
    Broken
    Likely nat-idle-expiry -> upstream-slow: idle connections to 10.0.0.7:3000 are forgotten on the way, and nginx keeps idle connections for 60 s [1 requests, still failing]
    ");
}

#[test]
fn hit_it_is_reset() {
    let log = hit().section("error.log").replace(
        "upstream timed out (110: Connection timed out)",
        "recv() failed (104: Connection reset by peer)",
    );
    let access = hit()
        .section("access.log")
        .replace("504 ua", "502 ua")
        .replace("us=504", "us=502")
        .replace("60.000", "0.001")
        .replace("GET /cart HTTP/1.1\" 502", "POST /cart HTTP/1.1\" 502");
    let fixture = hit()
        .with("error.log", &log.replace("GET /cart", "POST /cart"))
        .with("access.log", &access)
        .with(REUSED, &format!("answers held=6000 again=reset{ANSWER}"));
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Likely nat-idle-expiry -> upstream-reset-before-response, keepalive-race: idle connections to 10.0.0.7:3000 are forgotten on the way, and nginx keeps idle connections for 60 s [1 requests, still failing]
    Possible upstream-rejects-request-body (not a root): 10.0.0.7:3000 closes while nginx still sends it the request's body [1 requests]
    ");
}

#[test]
fn near_miss_the_peer_closes_idle_connections() {
    let summary = hit().with(REUSED, &format!("answers idle=5000{ANSWER}")).summary();
    assert!(!summary.contains("nat-idle-expiry"), "{summary}");
}

#[test]
fn near_miss_the_idle_connection_is_answered() {
    let summary = hit().with(REUSED, &format!("answers held=6000 again=answered{ANSWER}")).summary();
    assert!(!summary.contains("nat-idle-expiry"), "{summary}");
}

#[test]
fn near_miss_the_peer_has_the_request_and_does_not_answer() {
    let text = format!("answers held=6000 again=silent unacknowledged=0{ANSWER}");
    let summary = hit().with(REUSED, &text).summary();
    assert!(!summary.contains("nat-idle-expiry"), "{summary}");
}

#[test]
fn near_miss_the_connection_was_new() {
    let access = hit().section("access.log").replace("uct=0.000", "uct=0.004");
    let summary = hit().with("access.log", &access).summary();
    assert!(!summary.contains("nat-idle-expiry"), "{summary}");
}

#[test]
fn gap_nothing_may_be_sent() {
    let summary = hit().with("options", "no-probe").summary();
    assert!(!summary.contains("nat-idle-expiry:"), "{summary}");
}
