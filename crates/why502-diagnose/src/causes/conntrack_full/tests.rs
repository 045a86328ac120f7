use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
use crate::fixture::Fixture;

fn hit() -> Fixture {
    let log = CLOSED
        .replace(
            "upstream prematurely closed connection while reading response header from upstream",
            "upstream timed out (110: Connection timed out) while connecting to upstream",
        )
        .replace("\" 502 157", "\" 504 167")
        .replace("127.0.0.1:3000", "10.0.0.7:3000");
    Fixture::new(&log)
        .with("probe 10.0.0.7:3000", "silent")
        .with("listeners", "")
        .with("limits", &limits(65536, 10))
        .with("limits again", &limits(65536, 14))
        .with(
            "kernel-log",
            "2026-11-21T01:00:00+00:00 host kernel: Linux version 6.1.0\n2026-11-21T02:28:29+00:00 host kernel: nf_conntrack: nf_conntrack: table full, dropping packet\n",
        )
}

fn limits(n_entries: u64, n_dropped: u64) -> String {
    format!(
        "net.netfilter.nf_conntrack_count = {n_entries}\nnet.netfilter.nf_conntrack_max = 65536\nconntrack {n_dropped} 0"
    )
}

#[test]
fn hit_the_table_is_full_and_nobody_answers() {
    assert!(hit().summary().contains("Confirmed conntrack-full"), "{}", hit().summary());
    let remedies = format!("{:?}", hit().report().findings[0].remedies);
    assert!(remedies.contains("net.netfilter.nf_conntrack_max=131072"), "{remedies}");
}

#[test]
fn hit_the_kernel_said_so_then() {
    let room = limits(900, 14);
    let past =
        hit().with("limits", &room).with("limits again", &room).with("probe 10.0.0.7:3000", "connected");
    assert!(past.summary().contains("Likely conntrack-full"), "{}", past.summary());
}

#[test]
fn near_miss_a_table_with_room() {
    let room = limits(52_000, 0);
    let dropped = hit().with("limits", &room).with("limits again", &room).with("kernel-log", "");
    assert!(!dropped.summary().contains("ed conntrack-full"), "{}", dropped.summary());
    assert!(!dropped.summary().contains("Likely conntrack-full"), "{}", dropped.summary());
}

#[test]
fn near_miss_the_kernel_said_so_at_another_time() {
    let room = limits(900, 14);
    let log = hit().section("kernel-log").replace("02:28:29", "01:10:00");
    let other = hit().with("limits", &room).with("limits again", &room).with("kernel-log", &log);
    assert!(!other.summary().contains("Likely conntrack-full"), "{}", other.summary());
}

#[test]
fn near_miss_nobody_tracks_connections() {
    let none = hit().with("limits", "ListenOverflows 3").with("kernel-log", "");
    assert!(!none.summary().contains("conntrack-full"), "{}", none.summary());
}

#[test]
fn gap_nobody_may_look() {
    let hidden = hit().without("limits").without("limits again");
    assert!(hidden.summary().contains("Likely conntrack-full"), "{}", hidden.summary());
    assert!(!hidden.without("kernel-log").summary().contains("Likely conntrack-full"));
}
