use crate::causes::resolver_missing::tests::HIT as RESOLVER;
use crate::fixture::Fixture;

/// A name that only a container of another network has.
fn by_name() -> Fixture {
    let log = RESOLVER
        .replace(
            "no resolver defined to resolve varnish",
            "varnish could not be resolved (3: Host not found)",
        )
        .replace("set $backend", "resolver 127.0.0.11; set $backend");
    Fixture::new(&log)
        .with("options", "net=7\ncontainer=ab")
        .with("resolve varnish", "absent")
        .with("engine", "ab web running net=front:172.18.0.2\ncd varnish running net=back:172.19.0.3")
}

/// An address of a network that nginx is not attached to.
fn by_address() -> Fixture {
    let text = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://172.19.0.3:3000; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 upstream timed out (110: Connection timed out) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://172.19.0.3:3000/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 504 157 "-" "curl/8"
#- options
net=7
container=ab
#- addresses
172.18.0.2
#- listeners
0.0.0.0:80 nginx
#- elsewhere
9 0.0.0.0:3000 node container=cd
9 address 172.19.0.3
#- engine
ab web running net=front:172.18.0.2
cd app running net=back:172.19.0.3
#- probe 172.19.0.3:3000
silent
"#;
    Fixture::new(text)
}

#[test]
fn hit_the_name_is_known_in_another_network() {
    insta::assert_snapshot!(by_name().summary(), @"
    Broken
    Confirmed container-network-mismatch -> dns-name-not-found: varnish is the container varnish, which shares no network with nginx's container web [1 requests, still failing]
    ");
    let report = by_name().report();
    let steps = format!("{:?}", report.findings[0].remedies[0]);
    assert!(steps.contains("connect") && steps.contains("disconnect") && steps.contains("back"), "{steps}");
}

#[test]
fn hit_the_address_is_of_another_network() {
    insta::assert_snapshot!(by_address().summary(), @"
    Broken
    Confirmed container-network-mismatch -> upstream-connect-timeout: 172.19.0.3:3000 is the container app, which shares no network with nginx's container web [1 requests, still failing]
    ");
}

#[test]
fn hit_seen_in_another_namespace_alone() {
    let silent = by_address().without("engine");
    insta::assert_snapshot!(silent.summary(), @"
    Broken
    Likely container-network-mismatch -> upstream-connect-timeout: 172.19.0.3:3000 is in another network namespace of this host, and nginx has no way to it [1 requests, still failing]
    ");
    let no_route = silent.with("probe 172.19.0.3:3000", "errno Network is unreachable");
    assert!(no_route.summary().contains("Confirmed container-network-mismatch"), "{}", no_route.summary());
}

#[test]
fn near_miss_they_share_a_network() {
    let shared =
        "ab web running net=front:172.18.0.2 net=back:172.19.0.2\ncd app running net=back:172.19.0.3";
    let summary = by_address().with("engine", shared).summary();
    assert!(!summary.contains("container-network-mismatch"), "{summary}");
    let named = shared.replace("app", "varnish");
    assert!(by_name().with("engine", &named).summary().contains("Confirmed dns-name-not-found"));
}

#[test]
fn near_miss_the_container_does_not_run() {
    let ended = "ab web running net=front:172.18.0.2\ncd varnish exited exit=137 oom";
    insta::assert_snapshot!(by_name().with("engine", ended).summary(), @r#"
    Broken
    Confirmed dns-name-not-found: the host name "varnish" does not exist [1 requests, still failing]
    not container-network-mismatch: the container varnish is exited with code 137, killed for its memory limit: its name is known only while it runs
    "#);
}

#[test]
fn near_miss_a_refusal_shows_that_packets_arrive() {
    let summary = by_address().with("probe 172.19.0.3:3000", "refused").summary();
    assert!(!summary.contains("container-network-mismatch"), "{summary}");
}

#[test]
fn near_miss_an_address_beside_nginx_s_own() {
    let near = by_address().without("engine").with("addresses", "172.19.0.9");
    assert!(!near.summary().contains("container-network-mismatch"), "{}", near.summary());
}

#[test]
fn gap_neither_the_engine_nor_other_namespaces_can_be_seen() {
    insta::assert_snapshot!(by_address().without("engine").without("elsewhere").summary(), @"
    Broken
    Confirmed upstream-connect-timeout: connection attempts to 172.19.0.3:3000 get no answer within 60 s [1 requests, still failing]
    ");
}

#[test]
fn gap_the_engine_may_not_be_asked_for_a_name() {
    insta::assert_snapshot!(by_name().without("engine").summary(), @r#"
    Broken
    Confirmed dns-name-not-found: the host name "varnish" does not exist [1 requests, still failing]
    "#);
}
