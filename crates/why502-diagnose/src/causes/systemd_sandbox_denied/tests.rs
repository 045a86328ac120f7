use crate::fixture::Fixture;
use crate::report::StepInfo;

/// The text of the drop-in that the first remedy of the first finding makes.
fn drop_in(fixture: &Fixture) -> String {
    let steps = &fixture.report().findings[0].remedies[0].steps;
    match &steps[0] {
        StepInfo::Edit { diff, .. } => diff.lines().skip(3).flat_map(|line| [&line[1..], "\n"]).collect(),
        StepInfo::Command { argv, .. } => panic!("{argv:?}"),
    }
}

fn conf(pass: &str) -> String {
    format!(
        "events {{}}\nhttp {{\n    server {{\n        listen 80;\n        location / {{ proxy_pass {pass}; }}\n    }}\n}}\n"
    )
}

fn line(level: &str, message: &str, upstream: &str) -> String {
    format!(
        "2026/11/21 02:33:51 [{level}] 101#101: *1 {message} while connecting to upstream, client: 127.0.0.1, server: , \
         request: \"GET / HTTP/1.1\", upstream: \"{upstream}\", host: \"127.0.0.1\"\n"
    )
}

const ANSWERS: &str = "answers\nHTTP/1.0 200 OK\n\n";
const OPEN: &str =
    "0755 0 0 dir /\n0755 0 0 dir /home\n0755 33 33 dir /home/app\n0777 33 33 sock /home/app/app.sock";

/// The backend listens on a unix socket, and the unit allows IP alone.
fn family() -> Fixture {
    let log = line(
        "alert",
        "socket() failed (97: Address family not supported by protocol)",
        "http://unix:/home/app/app.sock:/",
    );
    Fixture::new("")
        .with("nginx.conf", &conf("http://unix:/home/app/app.sock"))
        .with("error.log", &log)
        .with("listeners", "unix:/home/app/app.sock gunicorn")
        .with("path /home/app/app.sock", OPEN)
        .with("probe unix:/home/app/app.sock", ANSWERS)
        .with("worker-unit", "nginx.service seccomp=2")
        .with("unit nginx.service", "RestrictAddressFamilies=AF_INET AF_INET6")
}

/// The backend's socket lies in a home directory, which the unit hides.
fn hidden() -> Fixture {
    let log = line(
        "crit",
        "connect() to unix:/home/app/app.sock failed (13: Permission denied)",
        "http://unix:/home/app/app.sock:/",
    );
    family()
        .with("error.log", &log)
        .with("worker-unit", "nginx.service seccomp=0 apart")
        .with("unit nginx.service", "ProtectHome=yes")
        .with("path /home/app/app.sock", OPEN)
        .with("path-in-process /home/app/app.sock", "0755 0 0 dir /\n0000 0 0 dir /home")
        .with("probe unix:/home/app/app.sock", "errno Permission denied")
}

fn network(errno: &str, probe: &str, unit: &str) -> Fixture {
    let log = line("error", &format!("connect() failed ({errno})"), "http://10.0.0.7:3000/");
    Fixture::new("")
        .with("nginx.conf", &conf("http://10.0.0.7:3000"))
        .with("error.log", &log)
        .with("listeners", "")
        .with("probe 10.0.0.7:3000", probe)
        .with("worker-unit", "nginx.service seccomp=0 own-network")
        .with("unit nginx.service", unit)
}

#[test]
fn hit_the_unit_leaves_the_family_out() {
    insta::assert_snapshot!(family().summary(), @"
    Broken
    Confirmed systemd-sandbox-denied: RestrictAddressFamilies=AF_INET AF_INET6 of nginx.service keeps nginx from unix:/home/app/app.sock [1 requests, still failing]
    ");
    assert_eq!(drop_in(&family()), "[Service]\nRestrictAddressFamilies=AF_UNIX\n");
}

#[test]
fn hit_the_unit_hides_home_directories() {
    insta::assert_snapshot!(hidden().summary(), @"
    Broken
    Confirmed systemd-sandbox-denied -> unix-socket-permission: ProtectHome=yes of nginx.service keeps nginx from unix:/home/app/app.sock [1 requests, still failing]
    ");
    assert_eq!(drop_in(&hidden()), "[Service]\nProtectHome=read-only\n");
}

#[test]
fn hit_the_unit_makes_the_path_inaccessible() {
    let other = hidden().with("unit nginx.service", "InaccessiblePaths=/srv /home/app -/opt");
    insta::assert_snapshot!(other.summary(), @"
    Broken
    Confirmed systemd-sandbox-denied -> unix-socket-permission: InaccessiblePaths=/home/app of nginx.service keeps nginx from unix:/home/app/app.sock [1 requests, still failing]
    ");
    assert_eq!(
        drop_in(&other),
        "[Service]\nInaccessiblePaths=\nInaccessiblePaths=/srv\nInaccessiblePaths=-/opt\n"
    );
}

#[test]
fn hit_the_unit_has_a_network_of_its_own() {
    let apart = network("101: Network is unreachable", "errno Network is unreachable", "PrivateNetwork=yes");
    insta::assert_snapshot!(apart.summary(), @"
    Broken
    Confirmed systemd-sandbox-denied -> network-unreachable: PrivateNetwork=yes of nginx.service keeps nginx from 10.0.0.7:3000 [1 requests, still failing]
    ");
    assert_eq!(drop_in(&apart), "[Service]\nPrivateNetwork=no\n");
}

/// An attempt that got no answer a moment ago, from a unit that denies the address, and whose files are older than nginx's start.
fn denied() -> Fixture {
    let log = line("error", "upstream timed out (110: Connection timed out)", "http://10.0.0.7:3000/");
    let unit = "IPAddressDeny=::/0 0.0.0.0/0\nFragmentPath=/lib/systemd/system/nginx.service\n\
                DropInPaths=/etc/systemd/system/nginx.service.d/hardening.conf";
    network("", ANSWERS, unit)
        .with("error.log", &log)
        .with("options", "now=2026-11-21T02:34:00Z")
        .with("file-times", TIMES)
}

const TIMES: &str = "/lib/systemd/system/nginx.service modified=2025-01-01T00:00:00Z\n\
                     /etc/systemd/system/nginx.service.d/hardening.conf modified=2025-01-02T00:00:00Z";

#[test]
fn hit_the_unit_denies_the_address() {
    insta::assert_snapshot!(denied().summary(), @"
    Broken
    Confirmed systemd-sandbox-denied -> upstream-connect-timeout: IPAddressDeny=::/0 0.0.0.0/0 of nginx.service keeps nginx from 10.0.0.7:3000 [1 requests, still failing]
    ");
    assert_eq!(drop_in(&denied()), "[Service]\nIPAddressAllow=10.0.0.7\n");
}

fn served(at: &str) -> String {
    format!("10.0.0.9 - - [21/Nov/2026:{at} +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"curl/8\"\n")
}

#[test]
fn near_miss_the_address_answered_since_then() {
    let since = denied().with("access.log", &served("02:33:55"));
    assert!(!since.summary().contains("systemd-sandbox-denied"), "{}", since.summary());
}

#[test]
fn gap_the_option_may_not_be_what_failed() {
    let later = TIMES.replace("2025-01-02", "2026-11-21");
    for fixture in [
        denied().with("access.log", &served("02:33:00")),
        denied().with("file-times", &later),
        denied().without("file-times"),
        denied().with("unit nginx.service", "IPAddressDeny=::/0 0.0.0.0/0"),
        denied().with("options", "now=2026-11-21T02:45:00Z"),
    ] {
        let report = fixture.report();
        let finding =
            report.findings.iter().find(|finding| finding.cause == "systemd-sandbox-denied").unwrap();
        assert_eq!(finding.confidence, crate::Confidence::Likely, "{report:?}");
        assert_ne!(finding.explains.still_failing, Some(true), "{report:?}");
    }
}

#[test]
fn near_miss_the_option_does_not_cover_the_address() {
    for fixture in [
        family().with("unit nginx.service", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"),
        family().with("worker-unit", "nginx.service seccomp=0"),
        hidden().with("unit nginx.service", "ProtectHome=read-only"),
        hidden().with("worker-unit", "nginx.service seccomp=0"),
        hidden().with("worker-unit", "none"),
        network("101: Network is unreachable", "errno Network is unreachable", "PrivateNetwork=no"),
        network(
            "101: Network is unreachable",
            "errno Network is unreachable",
            "PrivateNetwork=yes\nJoinsNamespaceOf=shop.service",
        ),
    ] {
        let report = fixture.report();
        assert!(
            report.findings.iter().all(|finding| finding.cause != "systemd-sandbox-denied"),
            "{report:?}"
        );
    }
}

#[test]
fn gap_systemd_may_not_be_asked() {
    insta::assert_snapshot!(family().without("unit nginx.service").summary(), @"
    Broken
    Likely systemd-sandbox-denied: a sandbox around nginx keeps it from unix:/home/app/app.sock [1 requests]
      open: which address families its unit allows: the fixture does not tell
    ");
}

#[test]
fn gap_nginx_s_view_of_the_path_may_not_be_seen() {
    insta::assert_snapshot!(hidden().without("path-in-process /home/app/app.sock").summary(), @"
    Broken
    Likely systemd-sandbox-denied -> unix-socket-permission: ProtectHome=yes of nginx.service keeps nginx from unix:/home/app/app.sock [1 requests]
      open: where the path leads for nginx, and for the host: the fixture does not tell
    ");
}
