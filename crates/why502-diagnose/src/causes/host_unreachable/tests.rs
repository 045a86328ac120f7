use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
use crate::fixture::Fixture;

fn failing(says: &str) -> Fixture {
    let log = CLOSED
        .replace(
            "upstream prematurely closed connection while reading response header from upstream",
            &format!("{says} while connecting to upstream"),
        )
        .replace("127.0.0.1:3000", "10.0.0.7:3000");
    Fixture::new(&log).with("probe 10.0.0.7:3000", "errno No route to host after=3050")
}

fn hit() -> Fixture {
    failing("connect() failed (113: No route to host)").with(ROUTE, ON_LINK)
}

const ROUTE: &str = "route 10.0.0.7:3000";
const ON_LINK: &str =
    "found unicast 10.0.0.0/24 dev=2\nlink 2 eth0 up carrier mtu=1500\nneighbour 2 10.0.0.7 FAILED";
const ROUTED: &str = "found unicast default dev=2 via=10.1.0.1\nlink 2 eth0 up carrier mtu=1500\nneighbour 2 10.1.0.1 REACHABLE";

#[test]
fn hit_a_neighbour_does_not_answer() {
    insta::assert_snapshot!(hit().summary(), @"
    Broken
    Confirmed host-unreachable: nobody is there at the host of 10.0.0.7:3000 [1 requests, still failing]
    ");
}

#[test]
fn hit_the_connect_timeout_was_first() {
    let fixture = failing("upstream timed out (110: Connection timed out)").with(ROUTE, ON_LINK);
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed host-unreachable -> upstream-connect-timeout: nobody is there at the host of 10.0.0.7:3000 [1 requests, still failing]
    ");
}

#[test]
fn hit_a_router_has_asked_for_it() {
    let fixture = hit()
        .with(ROUTE, ROUTED)
        .with("probe 10.0.0.7:3000", "errno No route to host after=3050\nicmp 3/1 10.1.0.1");
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed host-unreachable: nobody is there at the host of 10.0.0.7:3000 [1 requests, still failing]
    ");
}

#[test]
fn hit_a_router_that_says_so_at_once_may_be_a_filter() {
    let fixture = hit()
        .with(ROUTE, ROUTED)
        .with("probe 10.0.0.7:3000", "errno No route to host after=1\nicmp 3/1 10.1.0.1");
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Likely host-unreachable: nobody is there at the host of 10.0.0.7:3000 [1 requests, still failing]
    ");
}

#[test]
fn hit_the_router_is_gone() {
    let fixture = hit().with(ROUTE, &ROUTED.replace("REACHABLE", "FAILED"));
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed host-unreachable: the router 10.1.0.1 on the way to 10.0.0.7:3000 does not answer [1 requests, still failing]
    ");
}

#[test]
fn near_miss_the_peer_says_it_of_itself() {
    let fixture = hit()
        .with(ROUTE, ROUTED)
        .with("probe 10.0.0.7:3000", "errno No route to host after=1\nicmp 3/1 10.0.0.7");
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Likely firewall-rejected: a packet filter rejects what goes to 10.0.0.7:3000: the peer's own host (10.0.0.7) [1 requests, still failing]
    not host-unreachable: 10.0.0.7 itself says that it is not to be reached: a filter there does
    ");
}

#[test]
fn near_miss_a_filter_prohibits_it() {
    let fixture = hit()
        .with(ROUTE, ROUTED)
        .with("probe 10.0.0.7:3000", "errno No route to host after=1\nicmp 3/13 10.1.0.1");
    let summary = fixture.summary();
    assert!(!summary.contains("host-unreachable"), "{summary}");
}

#[test]
fn near_miss_silence_from_another_network() {
    let fixture = failing("upstream timed out (110: Connection timed out)")
        .with(ROUTE, ROUTED)
        .with("probe 10.0.0.7:3000", "silent")
        .with("echo 10.0.0.7", "");
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed upstream-connect-timeout: connection attempts to 10.0.0.7:3000 get no answer within 60 s [1 requests, still failing]
    ");
}

#[test]
fn near_miss_the_host_answers_an_echo_request() {
    let fixture = failing("upstream timed out (110: Connection timed out)")
        .with(ROUTE, ROUTED)
        .with("probe 10.0.0.7:3000", "silent")
        .with("echo 10.0.0.7", "answered <=1500");
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed upstream-connect-timeout: connection attempts to 10.0.0.7:3000 get no answer within 60 s [1 requests, still failing]
    not host-unreachable: 10.0.0.7 answers an ICMP echo request: the host is there
    ");
}

#[test]
fn gap_by_the_message_alone_it_is_likely() {
    insta::assert_snapshot!(hit().with("options", "offline").summary(), @"
    Broken
    Likely host-unreachable: the host of 10.0.0.7:3000 could not be reached [1 requests]
      open: whether the host answers now, and who says that it does not: not looked at: --offline
    ");
}

#[test]
fn gap_the_way_may_not_be_looked_at() {
    insta::assert_snapshot!(hit().without(ROUTE).summary(), @"
    Broken
    Likely host-unreachable: nobody is there at the host of 10.0.0.7:3000 [1 requests, still failing]
      open: whether the host answers now, and who says that it does not: the fixture does not tell
    ");
}

/// A port of this host that a rule of the packet filter leads on to another address.
fn published(rule: &str) -> Fixture {
    let log = CLOSED
        .replace(
            "upstream prematurely closed connection while reading response header from upstream",
            "connect() failed (113: No route to host) while connecting to upstream",
        )
        .replace("127.0.0.1:3000", "10.0.0.1:8080");
    Fixture::new(&log)
        .with("addresses", "10.0.0.1")
        .with("listeners", "0.0.0.0:80 nginx")
        .with("probe 10.0.0.1:8080", "errno No route to host after=3050")
        .with("iptables", &format!("*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -m tcp {rule}\nCOMMIT\n"))
        .with(ROUTE, ON_LINK)
}

#[test]
fn hit_a_rule_leads_to_an_address_that_nobody_has() {
    let summary = published("--dport 8080 -j DNAT --to-destination 10.0.0.7:3000").summary();
    let says = "Confirmed host-unreachable: nobody is there at 10.0.0.7:3000, where a rule leads what is sent to 10.0.0.1:8080 [1 requests, still failing]";
    assert!(summary.contains(says), "{summary}");
}

#[test]
fn near_miss_the_rule_is_about_another_port() {
    let summary = published("--dport 8081 -j DNAT --to-destination 10.0.0.7:3000").summary();
    assert!(!summary.contains("host-unreachable"), "{summary}");
}

/// Two uplinks, of which a mark of the packet filter may choose the one whose router is gone.
fn marked(table: &str) -> Fixture {
    let rule = "rule 100 200 mark=2";
    let first = format!("{ROUTED}\n{rule}");
    let second = format!(
        "found unicast default dev=3 via=10.2.0.1\nlink 3 eth1 up carrier mtu=1500\nneighbour 3 10.2.0.1 FAILED\n{rule}"
    );
    let rules = format!(
        "*{table}\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -m tcp --dport 3000 -j MARK --set-xmark 0x2/0xffffffff\nCOMMIT\n"
    );
    failing("connect() failed (113: No route to host)")
        .with(ROUTE, &first)
        .with(&format!("{ROUTE} mark=2"), &second)
        .with("policy", "100 200 mark=2")
        .with("iptables", &rules)
}

#[test]
fn hit_the_router_that_a_mark_chooses_does_not_answer() {
    let summary = marked("mangle").summary();
    let says = "Confirmed host-unreachable: the router 10.2.0.1 on the way to 10.0.0.7:3000 does not answer";
    assert!(summary.contains(says), "{summary}");
}

#[test]
fn near_miss_a_mark_that_comes_too_late_chooses_nothing() {
    let summary = marked("filter").summary();
    assert!(!summary.contains("Confirmed host-unreachable"), "{summary}");
}
