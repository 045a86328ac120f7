use crate::causes::upstream_service_stopped::tests::HIT as STOPPED;
use crate::fixture::Fixture;

/// Nobody listens, and the engine tells of such a container; its daemon runs.
fn contained(container: &str) -> Fixture {
    Fixture::new(STOPPED)
        .without("unit-file /etc/systemd/system/orders.service")
        .with("unit-file none", "")
        .with("listeners", "0.0.0.0:80 nginx\n0.0.0.0:1 dockerd mute\n")
        .with("engine", container)
}

/// What the first finding says.
fn told(fixture: &Fixture) -> String {
    let report = fixture.report();
    report.findings.first().map(|finding| format!("{:?} {:?}", finding.evidence, finding.remedies)).unwrap()
}

#[test]
fn hit_a_container_was_stopped_that_its_policy_would_have_started() {
    let stopped = contained(
        "ab orders-1 exited bind=3000:8080 exit=1 policy=unless-stopped started=2026-11-20T02:00:00Z finished=2026-11-21T02:28:00Z",
    );
    insta::assert_snapshot!(stopped.summary(), @"
        Broken
        Confirmed upstream-service-stopped -> upstream-not-listening: the container orders-1, which serves 127.0.0.1:3000, is stopped [2 requests, still failing]
        ");
    let text = told(&stopped);
    assert!(text.contains("publishes port 3000") && text.contains("stays down, also after a boot"), "{text}");
    assert!(text.contains(r#""docker", "start", "orders-1""#), "{text}");
}

#[test]
fn hit_a_container_died_and_has_no_policy() {
    let died = contained(
        "ab orders-1 exited bind=3000:8080 exit=139 started=2026-11-20T02:00:00Z finished=2026-11-21T02:28:20Z",
    );
    insta::assert_snapshot!(died.summary(), @"
        Broken
        Confirmed upstream-crashed -> upstream-not-listening: the container orders-1, which serves 127.0.0.1:3000, died: signal 11 (SIGSEGV) [2 requests, still failing]
        ");
    let text = told(&died);
    assert!(text.contains("its restart policy is no") && text.contains("docker logs orders-1"), "{text}");
}

#[test]
fn hit_a_container_dies_again_and_again() {
    for container in [
        "ab orders-1 restarting bind=3000:8080 exit=1 policy=always restarts=7 started=2026-11-21T02:44:50Z finished=2026-11-21T02:44:52Z",
        "ab orders-1 exited bind=3000:8080 exit=1 policy=on-failure:5 restarts=5 started=2026-11-21T02:28:10Z finished=2026-11-21T02:28:12Z",
    ] {
        let summary = contained(container).summary();
        assert!(summary.contains("Confirmed upstream-crash-looping"), "{container}: {summary}");
    }
}

#[test]
fn hit_a_container_was_killed_for_want_of_memory() {
    let killed = contained(
        "ab orders-1 exited oom bind=3000:8080 exit=137 started=2026-11-20T02:00:00Z finished=2026-11-21T02:28:20Z",
    );
    insta::assert_snapshot!(killed.summary(), @"
        Broken
        Confirmed upstream-oom-killed -> upstream-not-listening: the container orders-1, which serves 127.0.0.1:3000, was killed for want of memory [2 requests, still failing]
          open: which process the kernel killed, and how much memory it held: the fixture does not tell
        ");
}

#[test]
fn near_miss_another_port_is_published_or_it_ended_after_the_failures() {
    for container in [
        "ab orders-1 exited bind=3001:3000 exit=1 finished=2026-11-21T02:28:20Z",
        "ab orders-1 exited bind=3000:8080 exit=1 started=2026-11-20T02:00:00Z finished=2026-11-21T02:40:00Z",
    ] {
        let summary = contained(container).summary();
        assert!(summary.contains("upstream-not-listening: "), "{container}: {summary}");
    }
}

#[test]
fn gap_the_engine_may_not_be_asked() {
    let blind = contained("ab orders-1 exited bind=3000:8080 exit=1 finished=2026-11-21T02:28:20Z");
    let blind = blind.without("engine").summary();
    assert!(blind.contains("Confirmed upstream-not-listening"), "{blind}");
}

/// An application of PM2, with what its daemon wrote.
fn of_pm2(words: &str) -> Fixture {
    let entry = r#"{"name":"orders","pm_exec_path":"/srv/orders/server.js","exec_interpreter":"node","pm_cwd":"/srv/orders","env":{"PORT":"3000"}}"#;
    let mut lines = String::new();
    for line in words.lines() {
        lines.extend(["2026-11-21T02:", &line[..5], ": PM2 log: ", &line[6..], "\n"]);
    }
    Fixture::new(STOPPED)
        .without("unit-file /etc/systemd/system/orders.service")
        .with("pm2 orders", entry)
        .with("server-log", &lines)
}

#[test]
fn hit_an_application_of_pm2_was_stopped_or_given_up() {
    let stopped = of_pm2(
        "00:00 App [orders:0] online\n28:00 Stopping app:orders id:0\n28:01 App [orders:0] exited with code [0] via signal [SIGINT]",
    );
    insta::assert_snapshot!(stopped.summary(), @"
        Broken
        Confirmed upstream-service-stopped -> upstream-not-listening: PM2's application orders, which serves 127.0.0.1:3000, is stopped [2 requests, still failing]
        ");
    assert!(told(&stopped).contains(r#""pm2", "start", "orders""#), "{}", told(&stopped));
    let errored = of_pm2(
        "28:00 App [orders:0] online\n28:01 App [orders:0] exited with code [3] via signal [SIGINT]\n28:01 App [orders:0] online\n28:02 App [orders:0] exited with code [3] via signal [SIGINT]\n28:02 Script /srv/orders/server.js had too many unstable restarts (2). Stopped. \"errored\"",
    );
    insta::assert_snapshot!(errored.summary(), @"
        Broken
        Confirmed upstream-crash-looping -> upstream-not-listening: PM2's application orders, which serves 127.0.0.1:3000, dies again and again: exit code 3 [2 requests, still failing]
        ");
}

#[test]
fn hit_pm2_was_not_started_after_a_boot() {
    let gone = of_pm2("");
    let entry = format!("// gone\n{}", gone.section("pm2 orders"));
    let gone = gone.with("pm2 orders", &entry).without("server-log");
    insta::assert_snapshot!(gone.summary(), @"
        Broken
        Confirmed upstream-service-stopped -> upstream-not-listening: PM2's application orders, which serves 127.0.0.1:3000, is not started [2 requests, still failing]
        ");
    assert!(told(&gone).contains("resurrect") && told(&gone).contains("pm2 startup"), "{}", told(&gone));
}

#[test]
fn near_miss_another_application_of_pm2_died() {
    let other = of_pm2("28:01 App [batch:1] exited with code [3] via signal [SIGINT]");
    assert!(other.summary().contains("Confirmed upstream-not-listening"), "{}", other.summary());
}

#[test]
fn gap_the_log_of_pm2_may_not_be_read() {
    let unread = of_pm2("28:00 Stopping app:orders id:0").without("server-log");
    assert!(unread.summary().contains("Confirmed upstream-not-listening"), "{}", unread.summary());
}

/// A request that was answered well, on top of the others.
fn answered_at(moment: &str, fixture: &Fixture) -> Fixture {
    let line = format!(
        "10.0.0.9 - - [21/Nov/2026:{moment} +0000] \"GET /api/c HTTP/1.1\" 200 57 \"-\" \"curl/8\"\n"
    );
    fixture.with("access.log", &(line + fixture.section("access.log")))
}

#[test]
fn near_miss_somebody_else_answered_after_its_end() {
    let stopped = Fixture::new(STOPPED)
        .with("unit orders.service", "LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nUnitFileState=disabled\nExecMainCode=2\nExecMainStatus=15\nExecMainExitTimestamp=Sat 2026-11-21 02:20:00 UTC")
        .with("journal orders.service", "2026-11-21T02:20:00Z systemd Stopping orders.service - Orders...\n2026-11-21T02:20:00Z systemd Stopped orders.service - Orders.\n");
    let before = answered_at("02:19:50", &stopped).summary();
    assert!(before.contains("Confirmed upstream-service-stopped"), "{before}");
    let after = answered_at("02:28:10", &stopped).summary();
    assert!(
        after.contains("Confirmed upstream-not-listening") && !after.contains("service-stopped"),
        "{after}"
    );
    // A download that began before may end later.
    let download = answered_at("02:20:20", &stopped).summary();
    assert!(download.contains("Confirmed upstream-service-stopped"), "{download}");
}

#[test]
fn near_miss_somebody_answered_and_nothing_tells_that_it_ever_ran() {
    let fresh = Fixture::new(STOPPED)
        .with(
            "unit orders.service",
            "LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled",
        )
        .with("journal orders.service", "");
    let served = answered_at("02:28:10", &fresh);
    assert!(!served.summary().contains("service-stopped"), "{}", served.summary());
    let unread = served.without("journal orders.service");
    assert!(unread.summary().contains("Likely upstream-service-stopped"), "{}", unread.summary());
}

#[test]
fn hit_it_was_told_to_stop_and_did_not_call_that_success() {
    let unit = |exited: &str| {
        format!(
            "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainCode=1\nExecMainStatus=143\nExecMainExitTimestamp=Sat 2026-11-21 {exited} UTC"
        )
    };
    let journal = |minute: &str| {
        format!(
            "2026-11-21T{minute}:10Z systemd Stopping orders.service - Orders...\n2026-11-21T{minute}:40Z systemd orders.service: Main process exited, code=exited, status=143/n/a\n2026-11-21T{minute}:40Z systemd orders.service: Failed with result 'exit-code'.\n2026-11-21T{minute}:40Z systemd Stopped orders.service - Orders.\n"
        )
    };
    for minute in ["02:27", "01:50"] {
        let stopped = Fixture::new(STOPPED)
            .with("unit orders.service", &unit(&format!("{minute}:40")))
            .with("journal orders.service", &journal(minute));
        let summary = stopped.summary();
        assert!(
            summary.contains("Confirmed upstream-service-stopped") && summary.contains("is stopped"),
            "{minute}: {summary}"
        );
    }
    let unread = Fixture::new(STOPPED)
        .with("unit orders.service", &unit("02:27:40"))
        .without("journal orders.service")
        .summary();
    assert!(!unread.contains("upstream-crashed"), "{unread}");
}

/// nginx's container dials the name of one that is no more.
fn of_a_network(containers: &str) -> Fixture {
    let text = r#"
#- nginx.conf
events {}
http { server { listen 80; server_name a; location / { proxy_pass http://shop:3000; } } }
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (113: Host is unreachable) while connecting to upstream, client: 10.0.0.9, server: a, request: "GET /a HTTP/1.1", upstream: "http://172.18.0.3:3000/a", host: "a"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- options
net=7
container=ab
#- addresses
172.18.0.2
#- listeners
0.0.0.0:80 nginx
#- probe 172.18.0.3:3000
errno No route to host
"#;
    Fixture::new(text).with("engine", &format!("ab web running net=front:172.18.0.2\n{containers}"))
}

const ENDED: &str =
    "cd shop exited net=front: exit=0 started=2026-11-20T02:00:00Z finished=2026-11-21T02:28:00Z";

#[test]
fn hit_a_container_that_nginx_dials_by_its_name_was_stopped() {
    for resolved in ["absent", "172.18.0.3"] {
        let summary = of_a_network(ENDED).with("resolve shop", resolved).summary();
        assert!(summary.contains("Confirmed upstream-service-stopped"), "{resolved}: {summary}");
    }
    let unresolved = of_a_network(ENDED).summary();
    assert!(unresolved.contains("Confirmed upstream-service-stopped"), "{unresolved}");
}

#[test]
fn near_miss_a_container_ran_once_beside_the_one_that_runs() {
    for other in
        ["ef shop-1 running service=shop net=front:172.18.0.4", "ef other running net=front:172.18.0.3"]
    {
        let summary = of_a_network(&format!("{ENDED}\n{other}")).summary();
        assert!(!summary.contains("upstream-service-stopped"), "{other}: {summary}");
    }
    let one_off = of_a_network(
        "cd shop-app-run-4f exited service=shop oneoff=True net=front: exit=0 finished=2026-11-21T02:28:00Z",
    );
    assert!(!one_off.summary().contains("upstream-service-stopped"), "{}", one_off.summary());
}
