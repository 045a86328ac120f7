use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
use crate::fixture::Fixture;

/// A fixture whose connection attempts to 10.77.0.9 end with the words of an error, in nginx's log and now.
fn failing(number: &str, words: &str) -> Fixture {
    let log = CLOSED
        .replace(
            "upstream prematurely closed connection while reading response header from upstream",
            &format!("connect() failed ({number}: {words}) while connecting to upstream"),
        )
        .replace("127.0.0.1:3000", "10.77.0.9:3000");
    Fixture::new(&log).with("probe 10.77.0.9:3000", &format!("errno {words}"))
}

const ROUTE: &str = "route 10.77.0.9:3000";

#[test]
fn hit_a_prohibit_route() {
    let fixture = failing("13", "Permission denied").with(
        ROUTE,
        "refused Permission denied\nroute prohibit 10.77.0.0/16\nroute unicast default via=10.0.0.1 dev=2",
    );
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed network-unreachable: this host refuses what goes to 10.77.0.9:3000: route prohibit 10.77.0.0/16 [1 requests, still failing]
    Possible selinux-denied (not a root): an access control above modes and owners may deny nginx the connection to 10.77.0.9:3000 [1 requests]
      open: whether SELinux confines nginx: the fixture does not tell
    ");
    let report = fixture.report();
    let command = format!("{:?}", report.findings[0].remedies[0].steps);
    insta::assert_snapshot!(command, @r#"[Command { argv: ["ip", "-4", "route", "del", "prohibit", "10.77.0.0/16", "table", "main"], undo: [["ip", "-4", "route", "add", "prohibit", "10.77.0.0/16", "table", "main"]] }]"#);
}

#[test]
fn hit_no_route() {
    let fixture = failing("101", "Network is unreachable").with(ROUTE, "refused Network is unreachable\n");
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed network-unreachable: this host has no route to 10.77.0.9:3000 [1 requests, still failing]
    ");
}

#[test]
fn hit_the_device_is_switched_off() {
    let fixture = failing("101", "Network is unreachable")
        .with(ROUTE, "refused Network is unreachable\naddress 3 10.77.0.1/24\nlink 3 eth1 mtu=1500");
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed network-unreachable: this host has no route to 10.77.0.9:3000: eth1 is switched off [1 requests, still failing]
    ");
}

#[test]
fn hit_a_rule_for_the_user() {
    let fixture = failing("13", "Permission denied").with(
        ROUTE,
        "refused Permission denied\nrule 90 prohibit uidrange=0-0\nrule 100 prohibit uidrange=33-33\nrule 110 prohibit mark=7\nrule 32766 254",
    );
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Confirmed network-unreachable: a rule of policy routing refuses what goes to 10.77.0.9:3000: uidrange 33-33 prohibit [1 requests, still failing]
    Possible selinux-denied (not a root): an access control above modes and owners may deny nginx the connection to 10.77.0.9:3000 [1 requests]
      open: whether SELinux confines nginx: the fixture does not tell
    ");
}

#[test]
fn hit_a_router_knows_no_way() {
    let fixture = failing("101", "Network is unreachable")
        .with("probe 10.77.0.9:3000", "errno Network is unreachable\nicmp 3/0 10.0.0.1")
        .with(ROUTE, "found unicast default via=10.0.0.1 dev=2");
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Likely network-unreachable: no way leads to 10.77.0.9:3000 [1 requests, still failing]
    ");
}

#[test]
fn near_miss_permission_is_denied_though_there_is_a_route() {
    let fixture = failing("13", "Permission denied").with(ROUTE, "found unicast default via=10.0.0.1 dev=2");
    let summary = fixture.summary();
    assert!(!summary.contains("network-unreachable"), "{summary}");
}

#[test]
fn near_miss_a_blackhole_of_another_network() {
    let fixture = failing("111", "Connection refused")
        .with(ROUTE, "found unicast default via=10.0.0.1 dev=2\nroute blackhole 10.0.0.0/8");
    let summary = fixture.summary();
    assert!(!summary.contains("network-unreachable"), "{summary}");
}

#[test]
fn near_miss_a_filter_of_this_host_says_so() {
    let fixture =
        failing("101", "Network is unreachable").with(ROUTE, "found unicast default via=10.0.0.1 dev=2");
    insta::assert_snapshot!(fixture.summary(), @"
    Inconclusive
    not network-unreachable: the kernel has a route to 10.77.0.9:3000
    unexplained: 1
    ");
}

#[test]
fn gap_by_the_message_alone_it_is_likely() {
    let fixture = failing("101", "Network is unreachable").with("options", "offline");
    insta::assert_snapshot!(fixture.summary(), @"
    Broken
    Likely network-unreachable: no way leads to 10.77.0.9:3000 [1 requests]
      open: whether the kernel knows a route: not looked at: --offline
    ");
}

#[test]
fn gap_permission_denied_alone_says_nothing() {
    let summary = failing("13", "Permission denied").with("options", "offline").summary();
    assert!(!summary.contains("network-unreachable"), "{summary}");
}
