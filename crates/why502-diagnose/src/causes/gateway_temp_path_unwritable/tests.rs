use crate::fixture::{Fixture, report};
use why502_facts::{Answer, Bundle, FactBody};

const HIT: &str = r#"
#- nginx.conf
user www-data;
events {}
http {
    client_body_temp_path /var/lib/nginx/body;
    proxy_temp_path /var/lib/nginx/proxy 1 2;
    server { listen 80; server_name shop.example.com; location / { proxy_pass http://127.0.0.1:3000; } }
}
#- error.log
2026/11/21 02:28:30 [crit] 101#101: *9 open() "/var/lib/nginx/body/0000000001" failed (13: Permission denied), client: 10.0.0.9, server: shop.example.com, request: "POST /a HTTP/1.1", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "POST /a HTTP/1.1" 500 177 "-" "curl/8"
#- path /var/lib/nginx/body
0755 0 0 dir /
0755 0 0 dir /var
0755 0 0 dir /var/lib
0755 0 0 dir /var/lib/nginx
0700 65534 65534 dir /var/lib/nginx/body
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

"#;
const BODY: &str = "path /var/lib/nginx/body";

fn log_with(errno: &str) -> String {
    Fixture::new(HIT).section("error.log").replace("13: Permission denied", errno)
}

fn path_with(last: &str) -> String {
    Fixture::new(HIT).section(BODY).replace("0700 65534 65534 dir /var/lib/nginx/body\n", last)
}

#[test]
fn hit_the_directory_is_another_user_s() {
    insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: client_body_temp_path /var/lib/nginx/body: user 33 may not search /var/lib/nginx/body (mode 0700, owner 65534, group 65534) [1 requests, still failing]
    ");
}

#[test]
fn hit_a_level_below_was_left_by_the_old_user() {
    let log = r#"2026/11/21 02:28:30 [crit] 101#101: *9 open() "/var/lib/nginx/proxy/1/00/0000000001" failed (13: Permission denied) while reading upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
"#;
    let own = "0755 0 0 dir /\n0755 0 0 dir /var\n0755 0 0 dir /var/lib\n0755 0 0 dir /var/lib/nginx\n0700 33 33 dir /var/lib/nginx/proxy\n";
    let levels = Fixture::new(HIT)
        .with("error.log", log)
        .with("access.log", "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 200 0 \"-\" \"curl/8\"\n")
        .with("path /var/lib/nginx/proxy", own)
        .with("path /var/lib/nginx/proxy/1/00", &format!("{own}0700 65534 65534 dir /var/lib/nginx/proxy/1\n0700 65534 65534 dir /var/lib/nginx/proxy/1/00\n"));
    insta::assert_snapshot!(levels.summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: proxy_temp_path /var/lib/nginx/proxy: user 33 may not search /var/lib/nginx/proxy/1 (mode 0700, owner 65534, group 65534) [1 requests, still failing]
    ");
}

#[test]
fn hit_the_directory_is_gone() {
    let gone = Fixture::new(HIT)
        .with("error.log", &log_with("2: No such file or directory"))
        .with(BODY, &path_with(""));
    insta::assert_snapshot!(gone.summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: client_body_temp_path /var/lib/nginx/body does not exist [1 requests, still failing]
    ");
}

#[test]
fn hit_a_file_stands_in_its_place() {
    let file = Fixture::new(HIT)
        .with("error.log", &log_with("20: Not a directory"))
        .with(BODY, &path_with("0644 0 0 file /var/lib/nginx/body\n"));
    insta::assert_snapshot!(file.summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: client_body_temp_path /var/lib/nginx/body: /var/lib/nginx/body is no directory [1 requests, still failing]
    ");
}

#[test]
fn hit_the_mount_is_read_only() {
    let mount = Fixture::new(HIT)
        .with("error.log", &log_with("30: Read-only file system"))
        .with("file-system /var/lib/nginx/body", "ro point=/var kind=xfs");
    insta::assert_snapshot!(mount.summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: client_body_temp_path /var/lib/nginx/body is on /var (xfs), which is mounted read-only [1 requests, still failing]
    ");
    insta::assert_snapshot!(mount.with("file-system /var/lib/nginx/body", "point=/var").summary(), @"
    Recovered
    Confirmed gateway-temp-path-unwritable: nginx could not write to client_body_temp_path /var/lib/nginx/body (read-only file system) [1 requests, mended]
    ");
}

#[test]
fn hit_it_was_given_back_since() {
    let mended = Fixture::new(HIT).with(BODY, &path_with("0700 33 33 dir /var/lib/nginx/body\n"));
    insta::assert_snapshot!(mended.summary(), @"
    Recovered
    Likely gateway-temp-path-unwritable: nginx could not write to client_body_temp_path /var/lib/nginx/body (permission denied) [1 requests, mended]
    ");
}

#[test]
fn near_miss_the_modes_allow_it_and_the_workers_are_confined() {
    let confined = Fixture::new(HIT)
        .with(BODY, &path_with("0700 33 33 dir /var/lib/nginx/body\n"))
        .with("/proc/101/attr/current", "system_u:system_r:httpd_t:s0");
    insta::assert_snapshot!(confined.summary(), @"
    Inconclusive
    Possible gateway-temp-path-unwritable: nginx cannot write to client_body_temp_path /var/lib/nginx/body (permission denied) [1 requests]
      open: whether an access control above the modes (SELinux, AppArmor) denies it: what SELinux or AppArmor denied was not looked at
    ");
}

#[test]
fn near_miss_a_password_file_that_may_not_be_read() {
    let log =
        Fixture::new(HIT).section("error.log").replace("/var/lib/nginx/body/0000000001", "/etc/nginx/users");
    insta::assert_snapshot!(Fixture::new(HIT).with("error.log", &log).summary(), @"
    Inconclusive
    unexplained: 1
    ");
}

#[test]
fn gap_only_the_message_was_seen() {
    insta::assert_snapshot!(Fixture::new(HIT).without(BODY).summary(), @"
    Broken
    Likely gateway-temp-path-unwritable: nginx cannot write to client_body_temp_path /var/lib/nginx/body (permission denied) [1 requests]
      open: what keeps the workers from writing there, and whether it still does: the fixture does not tell
    ");
    let missing = Fixture::new(HIT).with("error.log", &log_with("2: No such file or directory"));
    insta::assert_snapshot!(missing.with("options", "offline").summary(), @"
    Broken
    Confirmed gateway-temp-path-unwritable: nginx cannot write to client_body_temp_path /var/lib/nginx/body (no such file or directory) [1 requests]
      open: what keeps the workers from writing there, and whether it still does: not looked at: --offline
    ");
}

fn first_remedy(report: &crate::report::Report) -> String {
    let found = report.findings.iter().find(|own| own.cause == "gateway-temp-path-unwritable").unwrap();
    format!("{:?}", found.remedies[0])
}

/// A world in which the worker of the other instance has a user of its own.
fn with_user(beside: &Fixture, uid: u32) -> Bundle {
    let mut bundle = beside.bundle();
    for fact in &mut bundle.facts {
        if let Answer::Known(body) = &mut fact.answer
            && let FactBody::Processes(table) = body.as_mut()
        {
            table.processes.iter_mut().filter(|own| own.pid == 177).for_each(|own| own.uid = uid);
        }
    }
    bundle
}

#[test]
fn hit_the_former_owner_is_how_it_is_taken_back() {
    let remedy = first_remedy(&Fixture::new(HIT).report());
    assert!(remedy.contains("www-data:") && remedy.contains("65534:65534"), "{remedy}");
}

#[test]
fn hit_another_instance_writes_there_as_another_user() {
    let config =
        "user other; events {} http { client_body_temp_path /var/lib/nginx/body; server { listen 81; } }";
    let beside = Fixture::new(HIT).with("options", "other-worker=177").with("/b.conf", config);
    let remedy = first_remedy(&beside.report());
    assert!(remedy.contains("its own client_body_temp_path") && !remedy.contains("\"chown\""), "{remedy}");
    assert!(remedy.contains("another nginx (pid 190) writes there too as the user 0"), "{remedy}");
    // One that writes elsewhere has nothing to do with it.
    let apart = beside.with("/b.conf", &config.replace("/body", "/b")).report();
    assert!(first_remedy(&apart).contains("\"chown\""));
}

#[test]
fn hit_the_owner_is_the_user_of_another_instance() {
    let beside = Fixture::new(HIT).with("options", "other-worker=177");
    let bundle = with_user(&beside, 65534);
    let remedy = first_remedy(&report(&bundle));
    assert!(remedy.contains("it belongs to the user of another nginx (pid 190)"), "{remedy}");
    assert!(!remedy.contains("\"chown\""), "{remedy}");
}

#[test]
fn near_miss_another_instance_has_the_same_user() {
    let config = "events {} http { client_body_temp_path /var/lib/nginx/body; server { listen 81; } }";
    let beside = Fixture::new(HIT).with("options", "other-worker=177").with("/b.conf", config);
    let bundle = with_user(&beside, 33);
    assert!(first_remedy(&report(&bundle)).contains("\"chown\""));
}
