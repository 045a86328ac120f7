use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
use crate::fixture::Fixture;

const ANSWER: &str = "answers\nHTTP/1.1 200 OK\nContent-Length: 2\n\n";
const ROUTE: &str = "route 10.0.0.7:3000";
const LONG: &str = "probe 10.0.0.7:3000 long";
const SHORT: &str = "probe 10.0.0.7:3000 segmented";
const ECHO: &str = "echo 10.0.0.7";

fn hit() -> Fixture {
    let log = CLOSED
        .replace("upstream prematurely closed connection", "upstream timed out (110: Connection timed out)")
        .replace("\" 502 157", "\" 504 167")
        .replace("127.0.0.1:3000", "10.0.0.7:3000");
    Fixture::new(&log)
        .with("probe 10.0.0.7:3000", ANSWER)
        .with(ROUTE, "found unicast default dev=2 via=10.1.0.1\nlink 2 eth0 up carrier mtu=1500")
        .with(LONG, "hangs unacknowledged=1448")
        .with(SHORT, ANSWER)
        .with(ECHO, "answered <=1024")
}

#[test]
fn hit_full_sized_packets_stay_unacknowledged() {
    insta::assert_snapshot!(hit().summary(), @"
    Broken
    Confirmed mtu-black-hole -> upstream-slow: packets larger than 1024 bytes vanish on the way to 10.0.0.7:3000 [1 requests, still failing]
    ");
    let report = hit().report();
    insta::assert_snapshot!(format!("{:?}", report.findings[0].remedies[1].steps), @r#"[Command { argv: ["ip", "route", "add", "10.0.0.7/32", "via", "10.1.0.1", "dev", "eth0", "mtu", "lock", "1024"], undo: [["ip", "route", "del", "10.0.0.7/32"]] }]"#);
}

#[test]
fn hit_without_any_echo() {
    insta::assert_snapshot!(hit().with(ECHO, "").summary(), @"
    Broken
    Confirmed mtu-black-hole -> upstream-slow: packets of full size vanish on the way to 10.0.0.7:3000 [1 requests, still failing]
    ");
}

#[test]
fn hit_by_echo_requests_alone_it_is_likely() {
    insta::assert_snapshot!(hit().without(LONG).without(SHORT).summary(), @"
    Broken
    Likely mtu-black-hole -> upstream-slow: packets larger than 1024 bytes vanish on the way to 10.0.0.7:3000 [1 requests, still failing]
    ");
}

#[test]
fn near_miss_the_server_is_slow_with_everything_acknowledged() {
    let fixture = hit().with(LONG, "hangs unacknowledged=0").with(ECHO, "answered <=1500");
    let summary = fixture.summary();
    assert!(!summary.contains("d mtu-black-hole") && !summary.contains("y mtu-black-hole"), "{summary}");
}

#[test]
fn near_miss_a_router_says_how_large_packets_may_be() {
    let fixture = hit().with(LONG, ANSWER).with(ECHO, "answered <=1024\nerror 3/4 10.1.0.1");
    let summary = fixture.summary();
    assert!(!summary.contains("d mtu-black-hole") && !summary.contains("y mtu-black-hole"), "{summary}");
}

#[test]
fn near_miss_small_requests_hang_too() {
    let summary = hit().with("probe 10.0.0.7:3000", "hangs").summary();
    assert!(!summary.contains("mtu-black-hole"), "{summary}");
}

#[test]
fn gap_nothing_may_be_sent() {
    let summary = hit().with("options", "no-probe").summary();
    assert!(!summary.contains("d mtu-black-hole") && !summary.contains("y mtu-black-hole"), "{summary}");
}
