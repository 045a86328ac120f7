use crate::fixture::{Fixture, report, summary};
use crate::report::Report;
use std::fmt::Write as _;
use why502_decode::load;
use why502_facts::{Ask, Bundle, FactBody};
use why502_model::Model;

/// A backend that refuses, after a deploy of everything.
const DEPLOYED: &str = r#"
#- nginx.conf
events {}
http {
    include /etc/nginx/conf.d/*.conf;
    server {
        listen 80;
        server_name shop.example.com;
        ssl_certificate /etc/ssl/shop.pem;
        location / { proxy_pass http://127.0.0.1:3000; }
    }
}
#- error.log
2026/11/21 02:00:00 [notice] 100#100: start worker process 101
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:3001 python3 unit=stock.service started=2026-11-21T02:20:00Z
#- probe 127.0.0.1:3000
refused
#- file-times
/etc/nginx/nginx.conf modified=2026-11-21T02:27:50Z
/etc/ssl/shop.pem modified=2025-01-01T00:00:00Z changed=2026-11-21T02:10:00Z
/etc/nginx/conf.d modified=2026-11-21T02:05:00Z directory
/etc/nftables.conf modified=2026-11-21T02:28:30Z
/etc/ufw/user.rules modified=2026-11-21T02:28:32Z
#- package-log dpkg
2026-11-20 02:25:00 upgrade nginx:amd64 1.21-1 1.22.1-8
2026-11-21 02:25:00 upgrade nginx:amd64 1.22.1-8 1.22.1-9
2026-11-21 02:25:01 install adduser:all <none> 3.134
2026-11-21 02:25:02 upgrade libssl3:amd64 3.0.14-1 3.0.15-1
2026-11-21 02:25:03 upgrade python3.11:amd64 3.11.1-1 3.11.2-1
2026-11-21 02:25:04 remove xterm:amd64 379-1 <none>
2026-11-21 02:40:00 upgrade openssl:amd64 3.0.14-1 3.0.15-1
#- unit nftables.service
LoadState=loaded
ActiveState=active
ActiveEnterTimestamp=Fri 2026-11-20 03:00:00 UTC
StateChangeTimestamp=Sat 2026-11-21 02:28:00 UTC
#- options
loaded=2026-11-21T02:28:05Z
workers=2026-11-21T02:28:05Z
"#;

/// One line per change, those of a short report with a star, the others with a dash.
fn told(report: &Report) -> String {
    let mut text = String::new();
    if let Some(first) = &report.first_failure {
        writeln!(text, "{} certain={} finding={:?}", first.at, first.certain, first.finding).unwrap();
    }
    for change in &report.changes {
        let star = if change.chief { "*" } else { "-" };
        writeln!(text, "{star}{} s {:?} {}", change.seconds_before, change.kind, change.says).unwrap();
    }
    text
}

#[test]
fn what_changed_is_told_with_the_nearest_first() {
    let report = Fixture::new(DEPLOYED).report();
    insta::assert_snapshot!(told(&report), @"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *0 s Firewall /etc/nftables.conf changed
    *25 s Process nginx was reloaded: 2 workers started at once
    *30 s Firewall nftables.service changed its state while active, as by a reload
    -40 s ConfigFile /etc/nginx/nginx.conf changed
    -206 s Package 3 other packages were installed, replaced or removed: adduser, python3.11, xterm
    -208 s Package package libssl3 upgraded (3.0.14-1 to 3.0.15-1)
    -210 s Package package nginx upgraded (1.22.1-8 to 1.22.1-9)
    -1110 s ConfigFile /etc/ssl/shop.pem was put in place, or its owner or mode changed
    -1410 s ConfigFile an entry of /etc/nginx/conf.d was added, removed or renamed
    ");
    // Whoever reads the JSON can look it up.
    assert!(
        report
            .changes
            .iter()
            .all(|change| matches!(&change.origin, crate::OriginInfo::Host { source } if !source.is_empty()))
    );
}

#[test]
fn it_is_no_evidence() {
    let deployed = Fixture::new(DEPLOYED);
    let bare = deployed.without("file-times").without("package-log dpkg").without("unit nftables.service");
    assert_eq!(deployed.summary(), bare.summary());
    assert_eq!(deployed.report().findings, bare.report().findings);
}

#[test]
fn a_healthy_host_is_asked_for_nothing_and_told_nothing() {
    // The nginx of the fixture knows no TLS.
    let healthy = Fixture::new(&DEPLOYED.replace("        ssl_certificate /etc/ssl/shop.pem;\n", ""))
        .with("error.log", "")
        .with(
            "access.log",
            "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"curl/8\"\n",
        )
        .with("listeners", "127.0.0.1:3000 node started=2026-11-21T02:20:00Z\n")
        .with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n");
    let bundle = healthy.bundle();
    let asked = |ask: &Ask| matches!(ask, Ask::FileTimes { .. } | Ask::PackageLog { .. } | Ask::Unit { .. });
    assert!(bundle.facts.iter().all(|fact| !asked(&fact.ask)));
    let report = report(&bundle);
    assert_eq!(summary(&report), "Healthy\n");
    assert_eq!((report.first_failure, report.changes.len()), (None, 0));
}

#[test]
fn files_of_another_host_have_no_times() {
    let offline = Fixture::new(DEPLOYED).with("options", "offline\nmodified=2026-11-21T02:28:00Z").report();
    assert!(offline.first_failure.is_some());
    assert_eq!(offline.changes, []);
    assert!(offline.gaps.iter().all(|gap| gap.topic != "changes"), "{:?}", offline.gaps);
}

#[test]
fn an_older_bundle_tells_what_it_holds_and_that_nobody_asked_for_more() {
    let mut bundle = Fixture::new(DEPLOYED).with("options", "modified=2026-11-21T02:28:00Z").bundle();
    let is_new = |ask: &Ask| matches!(ask, Ask::FileTimes { .. } | Ask::PackageLog { .. } | Ask::Unit { .. });
    bundle.facts.retain(|fact| !is_new(&fact.ask));
    let report = sealed(&bundle);
    insta::assert_snapshot!(told(&report), @"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *30 s ConfigFile /etc/nginx/nginx.conf changed
    ");
    let gaps: Vec<&str> =
        report.gaps.iter().filter(|gap| gap.topic == "changes").map(|gap| gap.says.as_str()).collect();
    assert_eq!(
        gaps,
        ["what else changed before the first failure: nobody asked when the bundle was recorded"]
    );
}

fn sealed(bundle: &Bundle) -> Report {
    let mut facts = load(bundle);
    facts.sealed = true;
    crate::diagnose(&facts, &Model::build(&facts))
}

#[test]
fn a_log_that_does_not_reach_back_is_a_gap() {
    let gaps = |text: &str| {
        let report = Fixture::new(DEPLOYED).with("package-log dpkg", text).report();
        let own = report.gaps.into_iter().filter(|gap| gap.topic == "changes");
        own.map(|gap| gap.says).filter(|says| says.contains("dpkg")).collect::<Vec<_>>()
    };
    let line = "2026-11-21 02:25:01 install adduser:all <none> 3.134\n";
    assert!(gaps(line).is_empty());
    assert_eq!(
        gaps(&format!("# cut\n{line}")),
        [
            "/var/log/dpkg.log was read back to 2026-11-21T02:25:01Z only: what was installed before is not known"
        ]
    );
    assert!(gaps(&format!("# cut\n2026-11-20 02:25:01 install adduser:all <none> 3.134\n{line}")).is_empty());
    assert_eq!(gaps("# cut\n"), ["no line of /var/log/dpkg.log tells when it was written"]);
}

/// What is told of processes and units.
fn of_processes(options: &str, further: &[(&str, &str)]) -> String {
    let mut fixture = Fixture::new(DEPLOYED)
        .without("file-times")
        .without("package-log dpkg")
        .without("unit nftables.service")
        .with("options", options);
    for (name, text) in further {
        fixture = fixture.with(name, text);
    }
    told(&fixture.report())
}

#[test]
fn a_worker_that_took_the_place_of_another_is_no_reload() {
    let respawned = of_processes("workers=2026-11-21T02:28:05Z,2026-11-20T02:45:10Z", &[]);
    insta::assert_snapshot!(respawned, @"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *25 s Process a worker of nginx started in place of one that died
    ");
    let alone = of_processes("loaded=2026-11-21T02:28:05Z", &[]);
    insta::assert_snapshot!(alone, @"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *25 s Process a worker of nginx started: by a reload, or in place of one that died
    ");
    let mixed =
        of_processes("loaded=2026-11-21T02:20:05Z\nworkers=2026-11-21T02:20:05Z,2026-11-21T02:28:05Z", &[]);
    insta::assert_snapshot!(mixed, @"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *25 s Process a worker of nginx started in place of one that died
    *505 s Process nginx was reloaded: 2 workers started at once
    ");
}

/// The same peer, of which somebody listens now.
const LISTENS: &str = "127.0.0.1:3000 node unit=shop.service started=2026-11-21T02:28:29Z";

#[test]
fn a_start_is_told_once_by_its_unit() {
    let unit = "LoadState=loaded\nActiveState=active\nActiveEnterTimestamp=Sat 2026-11-21 02:28:29 UTC\n\
                InactiveEnterTimestamp=Sat 2026-11-21 02:28:27 UTC\n";
    let answers = ("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n");
    let both = of_processes("", &[("listeners", LISTENS), answers, ("unit shop.service", unit)]);
    insta::assert_snapshot!(both, @"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *1 s Unit shop.service restarted
    ");
    let process = of_processes("", &[("listeners", LISTENS), answers]);
    insta::assert_snapshot!(process, @"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *1 s Process node (pid 200, shop.service), which listens on 127.0.0.1:3000, started
    ");
    // What was started after the failure, and stopped before it, was not restarted before it.
    let later = unit.replace("02:28:29", "02:30:00");
    let listens = LISTENS.replace("02:28:29", "02:30:00");
    let stopped = of_processes("", &[("listeners", &listens), answers, ("unit shop.service", &later)]);
    insta::assert_snapshot!(stopped, @"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *3 s Unit shop.service stopped
    ");
}

#[test]
fn what_ends_badly_while_it_is_stopped_was_stopped() {
    // A cause asks for the journal of a unit that a peer's port is named in.
    let unit_file = "[Service]\nExecStart=/usr/bin/node server.js --port 3000\n";
    let unit = "LoadState=loaded\nActiveState=failed\nResult=exit-code\nInactiveEnterTimestamp=Sat 2026-11-21 02:28:21 UTC\n";
    let journal = |first: &str| {
        format!(
            "{first}2026-11-21T02:28:21Z systemd shop.service: Main process exited, code=exited, status=143/n/a\n\
             2026-11-21T02:28:21Z systemd shop.service: Failed with result 'exit-code'.\n"
        )
    };
    let told = |first: &str| {
        let further = [
            ("unit-file /etc/systemd/system/shop.service", unit_file),
            ("unit shop.service", unit),
            ("journal shop.service", &*journal(first)),
        ];
        of_processes("", &further)
    };
    let stopped = told("2026-11-21T02:28:20Z systemd Stopping Shop...\n");
    insta::assert_snapshot!(stopped, @r"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *10 s Unit shop.service stopped
    ");
    insta::assert_snapshot!(told(""), @r"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *9 s Unit shop.service failed
    ");
}

#[test]
fn workers_that_were_started_all_at_once_are_told() {
    let listens = |last: &str| {
        format!(
            "127.0.0.1:3000 gunicorn started=2026-11-20T12:00:00Z\n127.0.0.1:3000 gunicorn parent=200 started=2026-11-21T02:28:00Z\n\
             127.0.0.1:3000 gunicorn parent=200 started={last}\n"
        )
    };
    let answers = ("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n");
    let reloaded = of_processes("", &[("listeners", &listens("2026-11-21T02:28:00Z")), answers]);
    insta::assert_snapshot!(reloaded, @"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *30 s Process all 2 workers of gunicorn (pid 200), which listens on 127.0.0.1:3000, started
    ");
    let replaced = of_processes("", &[("listeners", &listens("2026-11-21T02:20:00Z")), answers]);
    insta::assert_snapshot!(replaced, @"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    ");
}

#[test]
fn many_files_that_were_changed_at_once_are_one_change() {
    let mut text = String::new();
    let mut fixture = Fixture::new(&DEPLOYED.replace(
        "include /etc/nginx/conf.d/*.conf;",
        "include /etc/nginx/a.conf; include /etc/nginx/b.conf; include /etc/nginx/c.conf; include /etc/nginx/d.conf;",
    ));
    for name in ["a", "b", "c", "d"] {
        writeln!(text, "/etc/nginx/{name}.conf modified=2026-11-21T02:28:00Z").unwrap();
        fixture = fixture.with(&format!("/etc/nginx/{name}.conf"), "");
    }
    let fixture =
        fixture.with("file-times", &text).without("package-log dpkg").without("unit nftables.service");
    let report = fixture.with("options", "").report();
    insta::assert_snapshot!(told(&report), @"
    2026-11-21T02:28:30Z certain=true finding=Some(0)
    *30 s ConfigFile /etc/nginx/a.conf and 3 other files of the configuration changed
    ");
}

#[test]
fn only_with_a_quiet_minute_before_it_a_failure_is_the_first() {
    let certain = |log: &str| {
        let error = Fixture::new(DEPLOYED).section("error.log").lines().nth(1).unwrap().to_owned();
        let fixture =
            Fixture::new(DEPLOYED).with("error.log", &format!("{log}{error}\n")).with("access.log", "");
        fixture.report().first_failure.unwrap().certain
    };
    assert!(certain("2026/11/21 02:27:00 [notice] 100#100: start worker process 101\n"));
    assert!(!certain("2026/11/21 02:28:00 [notice] 100#100: start worker process 101\n"));
    assert!(!certain(""));
}

#[test]
fn a_boot_is_told() {
    let mut bundle = Fixture::new(DEPLOYED).bundle();
    for fact in &mut bundle.facts {
        if let why502_facts::Answer::Known(body) = &mut fact.answer
            && let FactBody::Host(host) = &mut **body
        {
            host.booted = Some(why502_facts::Stamp(host.booted.unwrap().0 + 85_000_000));
        }
    }
    let text = told(&report(&bundle));
    assert!(text.contains("Reboot the host booted"), "{text}");
}
