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
    Inconclusive
    not host-unreachable: 10.0.0.7 itself says that it is not to be reached: a filter there does
    unexplained: 1
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
