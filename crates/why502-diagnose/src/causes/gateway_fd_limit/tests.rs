use crate::fixture::{Fixture, first_diff};

const HIT: &str = r#"
#- nginx.conf
user www-data;
events { worker_connections 4096; }
http {
    server { listen 80; server_name shop.example.com; location / { proxy_pass http://127.0.0.1:3000; } }
}
#- error.log
2026/11/21 02:28:30 [alert] 101#101: *900 socket() failed (24: Too many open files) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
2026/11/21 02:28:31 [crit] 101#101: accept4() failed (24: Too many open files)
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 500 177 "-" "curl/8"
#- descriptors
limit=1024/4096 open=40 sockets=30 may-raise=yes
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;

#[test]
fn hit_the_limit_is_raised_by_a_directive() {
    let hit = Fixture::new(HIT);
    insta::assert_snapshot!(hit.summary(), @"
    Broken
    Confirmed gateway-fd-limit: nginx's workers ran into their limit of 1024 open files [1 requests]
    ");
    let diff = first_diff(&hit.report());
    assert!(diff.contains("+worker_rlimit_nofile 8192;"), "{diff}");
}

#[test]
fn hit_all_are_open_now_and_the_directive_is_there() {
    let config = HIT.replace("events {", "worker_rlimit_nofile 2048;\nevents {");
    let now =
        Fixture::new(&config).with("descriptors", "limit=2048/4096 open=2040 sockets=2000 may-raise=yes");
    insta::assert_snapshot!(now.summary(), @"
    Broken
    Confirmed gateway-fd-limit: nginx's workers ran into their limit of 2048 open files [1 requests, still failing]
    ");
    let diff = first_diff(&now.report());
    assert!(
        diff.contains("-worker_rlimit_nofile 2048;") && diff.contains("+worker_rlimit_nofile 8192;"),
        "{diff}"
    );
}

#[test]
fn hit_a_master_without_rights_needs_help_from_outside() {
    let bound = Fixture::new(HIT).with("descriptors", "limit=1024/1024 open=40 may-raise=no").report();
    let remedy = &bound.findings[0].remedies[0];
    assert!(
        remedy.steps.is_empty() && remedy.advice.as_ref().unwrap().contains("LimitNOFILE=8192"),
        "{remedy:?}"
    );
}

#[test]
fn hit_the_limit_is_the_unit_s() {
    let unit = Fixture::new(HIT)
        .with("descriptors", "limit=1024/1024 open=40 may-raise=no")
        .with("worker-unit", "nginx.service")
        .with("unit nginx.service", "LoadState=loaded\nLimitNOFILE=1024\nLimitNOFILESoft=1024\n");
    let report = unit.report();
    let text = format!("{:?}", report.findings[0]);
    assert!(text.contains("it is what nginx.service gives: 1024, at most 1024"), "{text}");
    assert!(text.contains("LimitNOFILE=8192") && text.contains("hard limit of 1024"), "{text}");
    // A master with its rights needs no more than the directive, whatever the unit says.
    let rights = unit.with("descriptors", "limit=1024/1024 open=40 may-raise=yes");
    let diff = first_diff(&rights.report());
    assert!(diff.contains("+worker_rlimit_nofile 8192;"), "{diff}");
    // Where systemd may not be asked, the limit itself is known.
    let blind = unit.without("unit nginx.service").report();
    let text = format!("{:?}", blind.findings[0]);
    assert!(text.contains("whoever started nginx") && text.contains("LimitNOFILE=8192"), "{text}");
}

#[test]
fn hit_the_directive_is_not_what_the_workers_have() {
    let config = HIT.replace("events {", "worker_rlimit_nofile 65536;\nevents {");
    let text = format!("{:?}", Fixture::new(&config).report().findings[0]);
    assert!(text.contains("worker_rlimit_nofile is 65536, and the workers have 1024"), "{text}");
}

#[test]
fn hit_clients_only_waited() {
    let accept = "2026/11/21 02:28:31 [crit] 101#101: accept4() failed (24: Too many open files)\n";
    let hit = Fixture::new(HIT).with("error.log", accept).without("access.log");
    insta::assert_snapshot!(hit.summary(), @"
    AtRisk
    Confirmed gateway-fd-limit: nginx's workers ran into their limit of 1024 open files [0 requests]
    ");
}

#[test]
fn hit_mended_by_a_directive_that_was_loaded_since() {
    let config = HIT.replace("events {", "worker_rlimit_nofile 65536;\nevents {");
    let mended =
        Fixture::new(&config).with("options", "loaded=2026-11-21T02:40:00Z\nmodified=2026-11-21T02:39:00Z");
    insta::assert_snapshot!(mended.summary(), @"
    Recovered
    Confirmed gateway-fd-limit: nginx's workers ran into their limit of open files [1 requests, mended]
    ");
}

#[test]
fn near_miss_a_low_limit_that_nobody_met() {
    let warning =
        "2026/11/21 02:28:30 [warn] 100#100: 4096 worker_connections exceed open file resource limit: 1024\n";
    let access = "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 200 177 \"-\" \"curl/8\"\n";
    let well = Fixture::new(HIT).with("error.log", warning).with("access.log", access);
    insta::assert_snapshot!(well.summary(), @"Healthy");
}

#[test]
fn near_miss_the_table_of_the_whole_host() {
    let other = Fixture::new(&HIT.replace("24: Too many open files", "23: Too many open files in system"));
    insta::assert_snapshot!(other.summary(), @"
    Inconclusive
    not gateway-fd-limit: errno 23 is the file table of the whole host (fs.file-max), no limit of a worker
    unexplained: 1
    ");
}

#[test]
fn gap_the_limit_cannot_be_seen() {
    insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline").summary(), @"
    Broken
    Confirmed gateway-fd-limit: nginx's workers ran into their limit of open files [1 requests]
    ");
}

/// A world whose master was started four seconds after the last message, with another limit.
fn restarted(descriptors: &str) -> Fixture {
    let options = "now=2026-11-22T02:28:25Z\nsince=all";
    Fixture::new(HIT).with("options", options).with("descriptors", descriptors)
}

#[test]
fn hit_mended_by_a_limit_with_which_nginx_was_started_anew() {
    let mended = restarted("limit=20000/20000 open=11 may-raise=no");
    insta::assert_snapshot!(mended.summary(), @"
    Recovered
    Confirmed gateway-fd-limit: nginx's workers ran into their limit of open files [1 requests, mended]
    ");
    let finding = &mended.report().findings[0];
    assert!(finding.remedies.is_empty(), "{finding:?}");
    assert!(format!("{finding:?}").contains("nginx was started anew since"), "{finding:?}");
}

#[test]
fn near_miss_started_anew_with_the_same_limit() {
    // Nobody can tell what the limit was: it may well have been this one.
    insta::assert_snapshot!(restarted("limit=1024/4096 open=40 may-raise=yes").summary(), @"
    Broken
    Confirmed gateway-fd-limit: nginx's workers ran into their limit of open files [1 requests]
    ");
    let warning =
        "2026/11/21 02:28:00 [warn] 90#90: 65536 worker_connections exceed open file resource limit: 20000\n";
    let same = restarted("limit=20000/20000 open=11 may-raise=no");
    let log = warning.to_owned() + same.section("error.log");
    insta::assert_snapshot!(same.with("error.log", &log).summary(), @"
    Broken
    Confirmed gateway-fd-limit: nginx's workers ran into their limit of open files [1 requests]
    ");
    // A higher one has been used up as well.
    let used = restarted("limit=20000/20000 open=19999 may-raise=no");
    insta::assert_snapshot!(used.summary(), @"
    Broken
    Confirmed gateway-fd-limit: nginx's workers ran into their limit of open files [1 requests, still failing]
    ");
}

#[test]
fn near_miss_the_limit_of_now_is_not_that_of_then() {
    // A configuration without the directive was loaded since: what the limit was is gone with it.
    let loaded =
        Fixture::new(HIT).with("options", "loaded=2026-11-21T02:40:00Z\nmodified=2026-11-21T02:39:00Z");
    insta::assert_snapshot!(loaded.summary(), @"
    Broken
    Confirmed gateway-fd-limit: nginx's workers ran into their limit of open files [1 requests]
    ");
}
