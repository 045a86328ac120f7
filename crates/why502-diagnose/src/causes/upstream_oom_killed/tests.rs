use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
use crate::causes::upstream_service_stopped::tests::HIT as STOPPED;
use crate::fixture::Fixture;

const KILL: &str = "\
2026-11-20T00:00:01+00:00 shop kernel: [1.0] Linux version 6.18
2026-11-21T02:28:30+00:00 shop kernel: [9.1] memory: usage 65536kB, limit 65536kB, failcnt 43
2026-11-21T02:28:30+00:00 shop kernel: [9.2] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/system.slice/shop.service,task_memcg=/system.slice/shop.service,task=node,pid=77,uid=33
2026-11-21T02:28:30+00:00 shop kernel: [9.3] Memory cgroup out of memory: Killed process 77 (node) total-vm:80000kB, anon-rss:60000kB, file-rss:0kB, shmem-rss:0kB, UID:33 pgtables:1kB oom_score_adj:0
";

fn worker_killed() -> Fixture {
    Fixture::new(CLOSED)
        .with("listeners", "127.0.0.1:3000 node unit=shop.service")
        .with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n")
        .with("kernel-log", KILL)
}

fn killed_as_a_whole() -> Fixture {
    let refused = "2026/11/21 02:28:32 [error] 101#101: *6 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: \"GET /b HTTP/1.1\", upstream: \"http://127.0.0.1:3000/b\", host: \"shop.example.com\"\n";
    let closed = worker_killed();
    let errors = closed.section("error.log").to_owned() + refused;
    let accesses = closed.section("access.log").to_owned()
        + "10.0.0.9 - - [21/Nov/2026:02:28:32 +0000] \"GET /b HTTP/1.1\" 502 157 \"-\" \"curl/8\"\n";
    closed
        .with("error.log", &errors)
        .with("access.log", &accesses)
        .with("listeners", "")
        .with("probe 127.0.0.1:3000", "refused")
}

#[test]
fn hit_a_worker_of_the_same_control_group() {
    insta::assert_snapshot!(worker_killed().summary(), @"
        Broken
        Confirmed upstream-oom-killed -> upstream-closed-before-response: the kernel killed node (pid 77) behind 127.0.0.1:3000: its memory limit was exhausted [1 requests]
        ");
}

#[test]
fn hit_the_server_names_the_worker() {
    let words =
        "[2026-11-21 02:28:30 +0000] [13] [ERROR] Worker (pid:77) was sent SIGKILL! Perhaps out of memory?\n";
    let elsewhere = KILL.replace("/system.slice/shop.service", "/");
    let log = worker_killed().with("kernel-log", &elsewhere).with("server-log", words);
    assert!(log.summary().contains("Confirmed upstream-oom-killed"), "{}", log.summary());
    // By its name alone it is likely.
    let summary = worker_killed().with("kernel-log", &elsewhere).summary();
    assert!(summary.contains("Likely upstream-oom-killed"), "{summary}");
}

#[test]
fn hit_nobody_listens_any_more() {
    insta::assert_snapshot!(killed_as_a_whole().summary(), @"
        Broken
        Likely upstream-oom-killed -> upstream-not-listening, upstream-closed-before-response: the kernel killed node (pid 77) behind 127.0.0.1:3000: its memory limit was exhausted [2 requests, still failing]
        ");
}

#[test]
fn near_miss_another_service_was_killed() {
    let other = KILL.replace("shop.service", "batch.service").replace("node", "python3");
    let summary = worker_killed().with("kernel-log", &other).summary();
    assert!(!summary.contains("upstream-oom-killed"), "{summary}");
    // One that lives on was not what nobody listens for.
    let beside = killed_as_a_whole()
        .with("kernel-log", &other)
        .with("listeners", "127.0.0.1:5432 postgres unit=batch.service");
    assert!(!beside.summary().contains("upstream-oom-killed"), "{}", beside.summary());
}

#[test]
fn near_miss_others_live_in_the_same_control_group() {
    let shared = "127.0.0.1:3000 node unit=shop.service\n127.0.0.1:6000 ruby unit=shop.service\n";
    let summary = worker_killed().with("listeners", shared).summary();
    assert!(summary.contains("Likely upstream-oom-killed"), "{summary}");
    let other = KILL.replace("(node)", "(ruby)").replace("task=node", "task=ruby");
    let summary = worker_killed().with("listeners", shared).with("kernel-log", &other).summary();
    assert!(!summary.contains("upstream-oom-killed"), "{summary}");
}

#[test]
fn near_miss_it_was_long_before() {
    let old = KILL.replace("2026-11-21T02:28", "2026-11-21T01:02");
    for log in [worker_killed(), killed_as_a_whole()] {
        let summary = log.with("kernel-log", &old).summary();
        assert!(!summary.contains("upstream-oom-killed"), "{summary}");
    }
}

#[test]
fn near_miss_the_kernel_killed_nobody() {
    let quiet = KILL.lines().next().unwrap().to_owned() + "\n";
    let summary = worker_killed().with("kernel-log", &quiet).summary();
    assert!(!summary.contains("upstream-oom-killed"), "{summary}");
}

#[test]
fn gap_the_kernel_log_may_not_be_read() {
    let words =
        "[2026-11-21 02:28:30 +0000] [13] [ERROR] Worker (pid:77) was sent SIGKILL! Perhaps out of memory?\n";
    let unread = worker_killed().without("kernel-log").with("server-log", words);
    insta::assert_snapshot!(unread.summary(), @"
        Broken
        Likely upstream-closed-before-response: 127.0.0.1:3000 takes requests and closes without an answer [1 requests]
        Possible upstream-oom-killed (not a root): a worker behind 127.0.0.1:3000 was killed, perhaps for want of memory [1 requests]
          open: whether the kernel killed that worker for want of memory: the fixture does not tell
        ");
}

#[test]
fn gap_the_control_group_counts_kills_where_the_kernel_log_may_not_be_read() {
    let group = "memory.max 67108864\nmemory.current 60000000\nmemory.events oom 1;oom_kill 2\n";
    let counted =
        worker_killed().without("kernel-log").with("control-group /system.slice/shop.service", group);
    insta::assert_snapshot!(counted.summary(), @"
        Broken
        Likely upstream-closed-before-response: 127.0.0.1:3000 takes requests and closes without an answer [1 requests]
        Possible upstream-oom-killed (not a root): a worker behind 127.0.0.1:3000 was killed, perhaps for want of memory [1 requests]
          open: when the kernel killed for want of memory: the fixture does not tell
        ");
    let words =
        "[2026-11-21 02:28:30 +0000] [13] [ERROR] Worker (pid:77) was sent SIGKILL! Perhaps out of memory?\n";
    insta::assert_snapshot!(counted.with("server-log", words).summary(), @"
        Broken
        Likely upstream-oom-killed -> upstream-closed-before-response: a process behind 127.0.0.1:3000 was killed for want of memory [1 requests]
          open: whether the kernel killed that worker for want of memory: the fixture does not tell
        ");
}

#[test]
fn near_miss_the_control_group_counts_no_kills() {
    let group = "memory.max 67108864\nmemory.current 60000000\nmemory.events oom 0;oom_kill 0\n";
    let quiet = worker_killed().without("kernel-log").with("control-group /system.slice/shop.service", group);
    let summary = quiet.summary();
    assert!(!summary.contains("upstream-oom-killed"), "{summary}");
}

/// A unit that was killed as a whole, as systemd remembers it, where nobody may read the kernel's log.
fn recorded() -> Fixture {
    Fixture::new(STOPPED)
        .with("unit orders.service", "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=oom-kill\nRestart=no\nMemoryMax=67108864\nExecMainCode=2\nExecMainStatus=9\nExecMainStartTimestamp=Fri 2026-11-20 02:00:00 UTC\nExecMainExitTimestamp=Sat 2026-11-21 02:28:20 UTC")
        .with("journal orders.service", "2026-11-21T02:28:20Z systemd orders.service: A process of this unit has been killed by the OOM killer.\n2026-11-21T02:28:20Z systemd orders.service: Main process exited, code=killed, status=9/KILL\n2026-11-21T02:28:20Z systemd orders.service: Failed with result 'oom-kill'.\n")
}

#[test]
fn hit_systemd_recorded_it_of_the_unit() {
    insta::assert_snapshot!(recorded().summary(), @"
        Broken
        Confirmed upstream-oom-killed -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, was killed for want of memory [2 requests, still failing]
          open: which process the kernel killed, and how much memory it held: the fixture does not tell
        ");
    let text = format!("{:?}", recorded().report().findings[0]);
    assert!(text.contains("64 MiB (MemoryMax)") && text.contains("reset-failed"), "{text}");
    // Its own memory of the last run is enough.
    let unread = recorded().without("journal orders.service");
    assert!(unread.summary().contains("Confirmed upstream-oom-killed"), "{}", unread.summary());
    // What the kernel tells of the same is one finding with it.
    let kill = KILL.replace("shop.service", "orders.service").replace("02:28:30", "02:28:20");
    let both = recorded().with("kernel-log", &kill).summary();
    assert!(
        both.contains("Confirmed upstream-oom-killed") && both.contains("the kernel killed node"),
        "{both}"
    );
    assert_eq!(both.lines().count(), 2, "{both}");
}

#[test]
fn hit_it_was_killed_and_started_again() {
    let back = recorded()
        .with("listeners", "127.0.0.1:3000 node\n")
        .with("probe 127.0.0.1:3000", "connected")
        .with("unit orders.service", "LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=1\nMainPID=200\nResult=success\nExecMainStartTimestamp=Sat 2026-11-21 02:28:40 UTC");
    let journal = recorded().section("journal orders.service").to_owned()
        + "2026-11-21T02:28:40Z systemd Started orders.service - Orders.\n";
    insta::assert_snapshot!(back.with("journal orders.service", &journal).summary(), @"
        Recovered
        Confirmed upstream-oom-killed -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, was killed for want of memory [2 requests, mended]
          open: which process the kernel killed, and how much memory it held: the fixture does not tell
        ");
}

#[test]
fn hit_the_journal_of_the_unit_tells_of_a_lost_worker() {
    let lost = "2026-11-21T02:28:30Z systemd shop.service: A process of this unit has been killed by the OOM killer.\n";
    let told = worker_killed().without("kernel-log").with("journal shop.service", lost);
    insta::assert_snapshot!(told.summary(), @"
        Broken
        Confirmed upstream-oom-killed -> upstream-closed-before-response: a process behind 127.0.0.1:3000 was killed for want of memory [1 requests]
        ");
    let before = told.with("journal shop.service", &lost.replace("02:28:30", "02:28:10"));
    assert!(!before.summary().contains("upstream-oom-killed"), "{}", before.summary());
    // Where the kernel's log reaches so far, it would have told.
    let quiet = KILL.lines().next().unwrap().to_owned() + "\n";
    let covered = told.with("kernel-log", &quiet);
    assert!(!covered.summary().contains("upstream-oom-killed"), "{}", covered.summary());
}

#[test]
fn near_miss_the_unit_was_killed_long_ago_and_started_since() {
    let journal = "2026-11-21T02:20:00Z systemd orders.service: A process of this unit has been killed by the OOM killer.\n\
        2026-11-21T02:20:00Z systemd orders.service: Main process exited, code=killed, status=9/KILL\n\
        2026-11-21T02:20:00Z systemd orders.service: Failed with result 'oom-kill'.\n\
        2026-11-21T02:20:05Z systemd Started orders.service - Orders.\n\
        2026-11-21T02:28:00Z systemd Stopping orders.service - Orders...\n\
        2026-11-21T02:28:00Z systemd Stopped orders.service - Orders.\n";
    let stopped = Fixture::new(STOPPED).with("journal orders.service", journal);
    insta::assert_snapshot!(stopped.summary(), @"
        Broken
        Confirmed upstream-service-stopped -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, is stopped [2 requests, still failing]
        ");
}

#[test]
fn near_miss_another_unit_was_killed() {
    let other = recorded().with(
        "unit-file /etc/systemd/system/orders.service",
        "[Service]\nExecStart=/usr/bin/node metrics.js --port 9100\n",
    );
    assert!(!other.summary().contains("upstream-oom-killed"), "{}", other.summary());
}

#[test]
fn gap_neither_the_kernel_nor_systemd_may_be_asked() {
    let blind = recorded().without("unit orders.service").without("journal orders.service");
    assert!(!blind.summary().contains("upstream-oom-killed"), "{}", blind.summary());
    let named =
        STOPPED.replace("upstream backend", "upstream orders").replace("http://backend", "http://orders");
    let named = Fixture::new(&named)
        .with(
            "unit-file /etc/systemd/system/orders.service",
            "[Service]\nExecStart=/usr/bin/node server.js\n",
        )
        .with("unit orders.service", recorded().section("unit orders.service"))
        .with("journal orders.service", recorded().section("journal orders.service"));
    assert!(named.summary().contains("Likely upstream-oom-killed"), "{}", named.summary());
}
