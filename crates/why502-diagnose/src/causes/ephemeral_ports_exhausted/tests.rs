use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
use crate::fixture::{Fixture, first_diff};

fn hit() -> Fixture {
    let log = CLOSED
        .replace(
            "upstream prematurely closed connection while reading response header from upstream",
            "connect() to 10.0.0.7:3000 failed (99: Cannot assign requested address) while connecting to upstream",
        )
        .replace("[error]", "[crit]")
        .replace("127.0.0.1:3000", "10.0.0.7:3000");
    Fixture::new(&log)
        .with("probe 10.0.0.7:3000", "errno Cannot assign requested address")
        .with("listeners", "")
        .with("connected", "time-wait 10.0.0.7:3000 28100\nestablished 10.0.0.7:3000 120\nestablished 10.0.0.8:80 9000")
        .with(
            "limits",
            "net.ipv4.ip_local_port_range = 32768 60999\nnet.ipv4.ip_local_reserved_ports = 40000\nnet.ipv4.tcp_tw_reuse = 2",
        )
}

#[test]
fn hit_all_ports_towards_one_address_are_taken() {
    assert!(hit().summary().contains("Confirmed ephemeral-ports-exhausted"), "{}", hit().summary());
    let report = hit().report();
    let told: Vec<String> = report.findings[0]
        .evidence
        .iter()
        .map(|evidence| evidence.says.clone())
        .chain(report.findings[0].remedies.iter().map(|remedy| {
            let commands: Vec<String> = remedy.steps.iter().map(|step| format!("{step:?}")).collect();
            format!("- {}: {}", remedy.title, commands.join(" "))
        }))
        .collect();
    let told = told.join("\n");
    for words in ["28100 of them in TIME_WAIT", "without 1 port", "keeps no connections", "10240 65535"] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn hit_the_message_alone_is_likely() {
    let past = hit().with("probe 10.0.0.7:3000", "connected").with("connected", "");
    insta::assert_snapshot!(past.summary(), @"
    Broken
    Likely ephemeral-ports-exhausted: no local port is left for connections to 10.0.0.7:3000 [1 requests]
    ");
}

#[test]
fn near_miss_ports_towards_another_address() {
    let silent = hit().with("error.log", "").with("access.log", "");
    let other = silent
        .with("connected", "time-wait 10.0.0.8:80 28100")
        .with("probe 10.0.0.7:3000", "answers\nHTTP/1.1 200 OK\n\n\n");
    assert!(!other.summary().contains("ephemeral-ports-exhausted"), "{}", other.summary());
}

#[test]
fn near_miss_no_address_of_ipv6() {
    let sixth = CLOSED
        .replace(
            "upstream prematurely closed connection while reading response header from upstream",
            "connect() to [2001:db8::7]:3000 failed (99: Cannot assign requested address) while connecting to upstream",
        )
        .replace("[error]", "[crit]")
        .replace("127.0.0.1:3000", "[2001:db8::7]:3000");
    let sixth = Fixture::new(&sixth)
        .with("probe [2001:db8::7]:3000", "errno Cannot assign requested address")
        .with("listeners", "")
        .with("limits", "net.ipv4.ip_local_port_range = 32768 60999");
    assert!(!sixth.summary().contains("ephemeral-ports-exhausted"), "{}", sixth.summary());
}

#[test]
fn gap_nobody_may_count() {
    insta::assert_snapshot!(
        hit().without("limits").without("probe 10.0.0.7:3000").without("listeners").summary(), @"
        Broken
        Likely ephemeral-ports-exhausted: no local port is left for connections to 10.0.0.7:3000 [1 requests]
          open: how many local ports there are, and how many are taken towards that address: the fixture does not tell
        "
    );
}

#[test]
fn the_remedy_keeps_connections() {
    let diff = first_diff(&hit().report());
    for line in ["keepalive 32;", "proxy_http_version 1.1;", "proxy_set_header Connection \"\";"] {
        assert!(diff.contains(line), "{line}: {diff}");
    }
}
