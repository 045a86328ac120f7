use crate::causes::firewall_dropped::tests::{PORT, counter, rules};
use crate::fixture::Fixture;

const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name shop.example.com;
        location /api/ { proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /api/a HTTP/1.1", upstream: "http://127.0.0.1:3000/api/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /api/a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
0.0.0.0:80 nginx
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
refused
"#;

fn rejects(kind: &str, before: u64, after: u64) -> Fixture {
    let rule = |packets| format!("{PORT}, {}, {{\"reject\": {kind}}}", counter(packets));
    Fixture::new(HIT)
        .with("nft", &rules("input", &[&rule(before)]))
        .with("nft after", &rules("input", &[&rule(after)]))
}

const RESET: &str = r#"{"type": "tcp reset"}"#;

fn first(fixture: &Fixture) -> String {
    fixture.summary().lines().nth(1).unwrap_or_default().to_owned()
}

#[test]
fn hit_a_reset_though_somebody_listens() {
    insta::assert_snapshot!(first(&rejects(RESET, 2, 3)), @"Confirmed firewall-rejected -> upstream-not-listening: a packet filter rejects what goes to 127.0.0.1:3000 on the way in: table inet filter, chain guard, handle 7 [1 requests, still failing]");
}

#[test]
fn hit_prohibited_by_iptables() {
    let legacy = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:web - [0:0]\n[4:240] -A OUTPUT -p tcp -m tcp --dport 3000 -m owner --uid-owner 33 -j web\n[4:240] -A web -j REJECT --reject-with icmp-admin-prohibited\nCOMMIT\n";
    let log = HIT.replace("111: Connection refused", "113: No route to host");
    let fixture = Fixture::new(&log)
        .with("probe 127.0.0.1:3000", "errno No route to host")
        .with("iptables", legacy)
        .with("iptables after", &legacy.replace("[4:240]", "[5:300]"));
    insta::assert_snapshot!(first(&fixture), @"Confirmed firewall-rejected: a packet filter rejects what goes to 127.0.0.1:3000 on the way out: iptables-legacy, table filter, chain web, rule 1 [1 requests, still failing]");
}

#[test]
fn near_miss_the_refusal_is_of_another_kind() {
    let summary = rejects(r#"{"type": "icmp", "expr": "host-unreachable"}"#, 2, 2).summary();
    assert!(!summary.contains("firewall-rejected"), "{summary}");
}

#[test]
fn near_miss_nobody_listens_either() {
    let fixture = rejects(RESET, 2, 3).with("listeners", "0.0.0.0:80 nginx");
    assert!(first(&fixture).starts_with("Confirmed upstream-not-listening"), "{}", fixture.summary());
    assert!(fixture.summary().contains("Possible firewall-rejected (not a root)"), "{}", fixture.summary());
}

#[test]
fn near_miss_an_accept_stands_before() {
    let accept = format!("{PORT}, {{\"accept\": null}}");
    let reject = format!("{PORT}, {{\"reject\": {RESET}}}");
    let summary = Fixture::new(HIT).with("nft", &rules("input", &[&accept, &reject])).summary();
    assert!(!summary.contains("firewall-rejected"), "{summary}");
}

#[test]
fn gap_the_rules_cannot_be_read() {
    let summary = Fixture::new(HIT).summary();
    assert!(!summary.contains("firewall-rejected"), "{summary}");
}

/// A peer beyond a router, and what comes back of an attempt on it.
fn beyond(errno: &str, probe: &str) -> Fixture {
    let text = HIT.replace("127.0.0.1:3000", "10.9.0.7:3000").replace("111: Connection refused", errno);
    Fixture::new(&text).with("listeners", "0.0.0.0:80 nginx").with("probe 10.9.0.7:3000", probe)
}

#[test]
fn hit_a_router_says_that_it_is_prohibited() {
    let fixture = beyond("113: No route to host", "errno No route to host\nicmp 3/13 10.1.0.1");
    let says = "Likely firewall-rejected: a packet filter rejects what goes to 10.9.0.7:3000: the router 10.1.0.1 [1 requests, still failing]";
    assert_eq!(first(&fixture), says);
    let by_the_host = beyond("111: Connection refused", "errno Connection refused\nicmp 3/3 10.9.0.7");
    let says = "Likely firewall-rejected -> upstream-not-listening: a packet filter rejects what goes to 10.9.0.7:3000: the peer's own host (10.9.0.7) [1 requests, still failing]";
    assert_eq!(first(&by_the_host), says);
}

#[test]
fn near_miss_a_router_says_that_a_host_is_not_there_or_the_host_resets() {
    let gone = beyond("113: No route to host", "errno No route to host\nicmp 3/1 10.1.0.1");
    assert!(!gone.summary().contains("firewall-rejected"), "{}", gone.summary());
    let reset = beyond("111: Connection refused", "refused");
    assert!(!reset.summary().contains("firewall-rejected"), "{}", reset.summary());
}
