use crate::fixture::Fixture;
use std::fmt::Write as _;

pub(crate) const TABLE: &str = r#"
{"table": {"family": "inet", "name": "filter", "handle": 1}}
{"chain": {"family": "inet", "table": "filter", "name": "guard", "handle": 1, "type": "filter", "hook": "HOOK", "prio": 0, "policy": "accept"}}
"#;

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
2026/11/21 02:28:30 [error] 101#101: *3 upstream timed out (110: Connection timed out) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /api/a HTTP/1.1", upstream: "http://127.0.0.1:3000/api/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /api/a HTTP/1.1" 504 167 "-" "curl/8"
#- listeners
0.0.0.0:80 nginx
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
silent
#- nft text
table inet filter { # handle 1
	chain guard { # handle 1
		tcp dport 3000 counter packets 3 bytes 180 drop # handle 7
	}
}
"#;

/// The list of a table with one chain and these rules, of which each is its expressions.
pub(crate) fn rules(hook: &str, rules: &[&str]) -> String {
    let mut text = TABLE.replace("HOOK", hook);
    for (at, rule) in rules.iter().enumerate() {
        writeln!(
            text,
            "{{\"rule\": {{\"family\": \"inet\", \"table\": \"filter\", \"chain\": \"guard\", \"handle\": {}, \"expr\": [{rule}]}}}}",
            7 + at
        )
        .unwrap();
    }
    text
}

pub(crate) const PORT: &str =
    r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 3000}}"#;

pub(crate) fn counter(packets: u64) -> String {
    format!("{{\"counter\": {{\"packets\": {packets}, \"bytes\": 60}}}}")
}

fn drops(conditions: &str, hook: &str, before: u64, after: u64) -> Fixture {
    let rule = |packets| format!("{conditions}, {}, {{\"drop\": null}}", counter(packets));
    Fixture::new(HIT)
        .with("nft", &rules(hook, &[&rule(before)]))
        .with("nft after", &rules(hook, &[&rule(after)]))
}

/// The first finding, without what it explains.
fn first(fixture: &Fixture) -> String {
    let summary = fixture.summary();
    summary.lines().nth(1).unwrap_or_default().to_owned()
}

#[test]
fn hit_the_counter_goes_up_with_the_probe() {
    let fixture = drops(PORT, "output", 3, 6);
    insta::assert_snapshot!(first(&fixture), @"Confirmed firewall-dropped -> upstream-connect-timeout: a packet filter drops what goes to 127.0.0.1:3000 on the way out: table inet filter, chain guard, handle 7 [1 requests, still failing]");
    let report = fixture.report();
    let remedy = format!("{:?}", report.findings[0].remedies[0]);
    // The rule is about that port of all hosts.
    for words in [
        r#""nft", "-e", "-a", "insert", "rule", "inet", "filter", "guard", "handle", "7", "ip daddr 127.0.0.1 tcp dport 3000 accept""#,
        "nft delete rule inet filter guard handle",
    ] {
        assert!(remedy.contains(words), "{remedy}");
    }
    assert!(!remedy.contains(r#""delete""#), "{remedy}");
}

const ADDRESS: &str = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "127.0.0.1"}}"#;

#[test]
fn hit_the_rule_is_about_that_address_and_port() {
    let fixture = drops(&format!("{ADDRESS}, {PORT}"), "output", 3, 6);
    let text = "table inet filter { # handle 1\n\tchain guard { # handle 1\n\t\tip daddr 127.0.0.1 tcp dport 3000 counter packets 3 bytes 180 drop # handle 7\n\t}\n}\n";
    let remedy = format!("{:?}", fixture.with("nft text", text).report().findings[0].remedies[0]);
    for words in [
        r#""nft", "delete", "rule", "inet", "filter", "guard", "handle", "7""#,
        r#""nft", "insert", "rule", "inet", "filter", "guard", "ip daddr 127.0.0.1 tcp dport 3000 counter drop""#,
    ] {
        assert!(remedy.contains(words), "{remedy}");
    }
}

#[test]
fn gap_the_rule_s_own_words_cannot_be_read() {
    let fixture = drops(&format!("{ADDRESS}, {PORT}"), "output", 3, 6).without("nft text");
    assert!(first(&fixture).starts_with("Confirmed firewall-dropped"), "{}", first(&fixture));
    let remedy = format!("{:?}", fixture.report().findings[0].remedies[0]);
    assert!(remedy.contains("ShowOnly"), "{remedy}");
    assert!(!remedy.contains(r#""delete""#) && !remedy.contains(r#""insert""#), "{remedy}");
}

#[test]
fn hit_answers_are_dropped_before_connection_tracking() {
    let sport = format!("{}, {}, {{\"drop\": null}}", PORT.replace("dport", "sport"), counter(1));
    let early = |packets: u64| {
        let list = rules("prerouting", &[&sport]).replace("\"prio\": 0", "\"prio\": -300");
        list.replace("\"packets\": 1", &format!("\"packets\": {packets}"))
    };
    let fixture = Fixture::new(HIT).with("nft", &early(1)).with("nft after", &early(2));
    assert!(first(&fixture).starts_with("Confirmed firewall-dropped"), "{}", first(&fixture));
    let remedy = format!("{:?}", fixture.report().findings[0].remedies[0]);
    assert!(remedy.contains("ip saddr 127.0.0.1 tcp sport 3000 accept"), "{remedy}");
    let legacy =
        "*raw\n:PREROUTING ACCEPT [0:0]\n[1:60] -A PREROUTING -p tcp -m tcp --sport 3000 -j DROP\nCOMMIT\n";
    let fixture = Fixture::new(HIT)
        .with("iptables", legacy)
        .with("iptables after", &legacy.replace("[1:60]", "[2:120]"));
    let remedy = format!("{:?}", fixture.report().findings[0].remedies[0]);
    let accept =
        r#""-I", "PREROUTING", "1", "-p", "tcp", "-s", "127.0.0.1", "--sport", "3000", "-j", "ACCEPT""#;
    assert!(remedy.contains(accept), "{remedy}");
}

const REMEMBERS: &str = r#"
{"table": {"family": "inet", "name": "f", "handle": 1}}
{"chain": {"family": "inet", "table": "f", "name": "remember", "handle": 1, "type": "filter", "hook": "output", "prio": -150, "policy": "accept"}}
{"chain": {"family": "inet", "table": "f", "name": "in", "handle": 2, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}}
{"rule": {"family": "inet", "table": "f", "chain": "remember", "handle": 3, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}, {"mangle": {"key": {"ct": {"key": "mark"}}, "value": 16}}]}}
{"rule": {"family": "inet", "table": "f", "chain": "in", "handle": 4, "expr": [{"match": {"op": "==", "left": {"ct": {"key": "mark"}}, "right": 16}}, {"accept": null}]}}
"#;

#[test]
fn near_miss_the_connection_keeps_its_mark() {
    let summary = Fixture::new(HIT).with("nft", REMEMBERS).summary();
    assert!(summary.contains("Confirmed upstream-connect-timeout"), "{summary}");
    assert!(!summary.contains("firewall-dropped ->"), "{summary}");
}

#[test]
fn gap_a_list_was_not_read_in_full() {
    let open = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
    let fixture = Fixture::new(HIT).with("nft", "{").with("iptables", open);
    let summary = fixture.summary();
    assert!(summary.contains("Confirmed upstream-connect-timeout"), "{summary}");
    assert!(!summary.contains("firewall-dropped"), "{summary}");
    // Where a rule is seen and nothing was attempted, another one may stand before it.
    let closed = open.replace("OUTPUT ACCEPT", "OUTPUT DROP");
    let unsure = fixture.with("iptables", &closed).without("probe 127.0.0.1:3000");
    assert!(first(&unsure).starts_with("Likely firewall-dropped"), "{}", first(&unsure));
    let finding = format!("{:?}", unsure.report().findings[0]);
    assert!(finding.contains("the gateway's network namespace was not read in full"), "{finding}");
}

#[test]
fn hit_the_worker_s_user_is_the_one() {
    let of = |user: u32| {
        format!(
            "{{\"match\": {{\"op\": \"==\", \"left\": {{\"meta\": {{\"key\": \"skuid\"}}}}, \"right\": {user}}}}}"
        )
    };
    assert!(first(&drops(&of(33), "output", 0, 3)).starts_with("Confirmed firewall-dropped"));
    assert!(!drops(&of(0), "output", 0, 0).summary().contains("firewall-dropped ->"));
}

#[test]
fn hit_what_comes_back_is_dropped() {
    let sport = PORT.replace("dport", "sport");
    let fixture = drops(&sport, "input", 1, 2);
    assert!(
        first(&fixture).contains("drops what comes back from 127.0.0.1:3000 on the way in"),
        "{}",
        first(&fixture)
    );
}

#[test]
fn hit_of_iptables_by_its_policy() {
    let legacy = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n[9:540] -A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT\nCOMMIT\n";
    let fixture = Fixture::new(HIT).with("iptables", legacy);
    insta::assert_snapshot!(first(&fixture), @"Confirmed firewall-dropped -> upstream-connect-timeout: a packet filter drops what goes to 127.0.0.1:3000 on the way in: iptables-legacy, table filter, chain INPUT, its policy [1 requests, still failing]");
    let remedy = format!("{:?}", fixture.report().findings[0].remedies[0]);
    let accept = r#""-A", "INPUT", "-p", "tcp", "-s", "127.0.0.1", "-d", "127.0.0.1", "--dport", "3000", "-j", "ACCEPT""#;
    assert!(remedy.contains(accept), "{remedy}");
}

#[test]
fn hit_some_are_dropped_by_chance() {
    let chance = r#"{"match": {"op": "<", "left": {"numgen": {"mode": "random", "mod": 100, "offset": 0}}, "right": 60}}"#;
    let fixture = drops(&format!("{PORT}, {chance}"), "input", 40, 42);
    assert!(first(&fixture).starts_with("Likely firewall-dropped"), "{}", first(&fixture));
}

#[test]
fn hit_beyond_this_host_another_port_answers() {
    let far = HIT.replace("127.0.0.1:3000", "10.9.0.2:3000").replace(
        "location /api/",
        "location /other/ { proxy_pass http://10.9.0.2:4000; }\n        location /api/",
    );
    let routes = "eth0\t0000090A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
    let fixture = Fixture::new(&far)
        .with("nft", &rules("output", &[]))
        .with("routes", routes)
        .with("probe 10.9.0.2:4000", "answers\nHTTP/1.1 200 OK\n\n");
    insta::assert_snapshot!(first(&fixture), @"Likely firewall-dropped -> upstream-connect-timeout: a packet filter on the way seems to drop what goes to 10.9.0.2:3000 [1 requests, still failing]");
    let alone = fixture.without("probe 10.9.0.2:4000");
    assert!(!alone.summary().contains("firewall-dropped ->"), "{}", alone.summary());
}

#[test]
fn near_miss_the_rule_is_about_another_port() {
    let other = PORT.replace("3000", "3001");
    let summary = drops(&other, "output", 3, 6).summary();
    assert!(summary.contains("Confirmed upstream-connect-timeout"), "{summary}");
    assert!(summary.contains("not firewall-dropped: the packet filters of this host let"), "{summary}");
}

#[test]
fn near_miss_the_counter_stays() {
    let summary = drops(PORT, "output", 3, 3).summary();
    assert!(!summary.contains("Confirmed firewall-dropped"), "{summary}");
}

#[test]
fn near_miss_a_condition_that_is_not_understood() {
    let unknown = r#"{"match": {"op": "==", "left": {"osf": {"key": "name"}}, "right": "Linux"}}"#;
    let summary = drops(&format!("{PORT}, {unknown}"), "output", 3, 3).summary();
    assert!(!summary.contains("firewall-dropped"), "{summary}");
    let met = drops(&format!("{PORT}, {unknown}"), "output", 3, 5);
    assert!(first(&met).starts_with("Likely firewall-dropped"), "{}", first(&met));
}

#[test]
fn near_miss_a_connection_opens() {
    let fixture = drops(PORT, "output", 3, 3).with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n");
    assert!(!fixture.summary().contains("firewall-dropped"), "{}", fixture.summary());
}

#[test]
fn gap_the_rules_cannot_be_read() {
    let summary = drops(PORT, "output", 3, 6).without("nft").without("nft after").summary();
    assert!(summary.contains("Confirmed upstream-connect-timeout"), "{summary}");
    assert!(!summary.contains("firewall-dropped"), "{summary}");
}

#[test]
fn gap_nobody_could_attempt_a_connection() {
    let fixture = drops(PORT, "output", 3, 6).without("probe 127.0.0.1:3000");
    assert!(first(&fixture).starts_with("Likely firewall-dropped"), "{}", first(&fixture));
}
