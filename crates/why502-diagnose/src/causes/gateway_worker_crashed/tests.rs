use crate::fixture::Fixture;

const HIT: &str = r#"
#- nginx.conf
events {}
http { server { listen 80; server_name a; location / { proxy_pass http://127.0.0.1:3000; } } }
#- error.log
2026/11/21 02:28:30 [notice] 100#100: signal 17 (SIGCHLD) received from 77
2026/11/21 02:28:30 [alert] 100#100: worker process 77 exited on signal 11 (core dumped)
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:33 +0000] "GET / HTTP/1.1" 200 57 "-" "curl/8"
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

#- kernel-log
2026-11-20T00:00:01+00:00 shop kernel: [1.0] Linux version 6.18
2026-11-21T02:28:29+00:00 shop kernel: [9.1] nginx[77]: segfault at 0 ip 00007f sp 00007f error 4 in ngx_http_geo.so[2f1,7f0+2000] likely on CPU 1 (core 1, socket 0)
"#;
const KILLED: &str = "2026/11/21 02:28:30 [alert] 100#100: worker process 77 exited on signal 9\n";

#[test]
fn hit_nginx_s_own_message() {
    insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
    Broken
    Confirmed gateway-worker-crashed: nginx's workers crash: signal 11 [0 requests]
    ");
    let report = format!("{:?}", Fixture::new(HIT).report());
    assert!(report.contains("in ngx_http_geo.so"), "{report}");
}

#[test]
fn hit_the_kernel_killed_it_for_want_of_memory() {
    let log = "2026-11-20T00:00:01+00:00 shop kernel: [1.0] Linux version 6.18\n\
               2026-11-21T02:28:30+00:00 shop kernel: [9.3] Out of memory: Killed process 77 (nginx) total-vm:80000kB, anon-rss:60000kB\n";
    let killed = Fixture::new(HIT).with("error.log", KILLED).with("kernel-log", log);
    insta::assert_snapshot!(killed.summary(), @"
    Broken
    Confirmed gateway-worker-crashed: the kernel kills nginx's workers for want of memory [0 requests]
    ");
}

#[test]
fn near_miss_somebody_ended_it() {
    let killed = Fixture::new(HIT).with("error.log", KILLED);
    insta::assert_snapshot!(killed.summary(), @"
    Healthy
    not gateway-worker-crashed: signal 9 ended process 77, and the kernel killed nobody for want of memory then: somebody sent it
    ");
    let terminated = killed.with("error.log", &KILLED.replace("signal 9", "signal 15")).summary();
    assert!(!terminated.contains("gateway-worker-crashed"), "{terminated}");
    let ended = "2026/11/21 02:28:30 [notice] 100#100: worker process 77 exited with code 0\n";
    assert_eq!(killed.with("error.log", ended).summary(), "Healthy\n");
    let helper = KILLED.replace("worker", "cache manager").replace("signal 9", "signal 11");
    assert_eq!(killed.with("error.log", &helper).summary(), "Healthy\n");
}

#[test]
fn hit_somebody_ended_another_one_later() {
    let later = Fixture::new(HIT);
    let errors =
        later.section("error.log").to_owned() + &KILLED.replace("02:28:30", "02:28:31").replace("77", "78");
    let summary = later.with("error.log", &errors).summary();
    assert!(
        summary.contains("Confirmed gateway-worker-crashed: nginx's workers crash: signal 11"),
        "{summary}"
    );
}

#[test]
fn near_miss_it_had_done_its_work() {
    let errors = "2026/11/21 02:28:29 [notice] 77#77: gracefully shutting down\n\
                  2026/11/21 02:28:30 [notice] 77#77: exiting\n2026/11/21 02:28:30 [notice] 77#77: exit\n\
                  2026/11/21 02:28:30 [alert] 100#100: worker process 77 exited on signal 11\n";
    assert_eq!(Fixture::new(HIT).with("error.log", errors).summary(), "Healthy\n");
}

#[test]
fn hit_in_a_container_the_name_and_the_control_group_tell() {
    let kill = |group: &str| {
        format!(
            "2026-11-20T00:00:01+00:00 shop kernel: [1.0] Linux version 6.18\n\
             2026-11-21T02:28:30+00:00 shop kernel: [9.2] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg={group},task_memcg={group},task=nginx,pid=4077,uid=33\n\
             2026-11-21T02:28:30+00:00 shop kernel: [9.3] Memory cgroup out of memory: Killed process 4077 (nginx) total-vm:80000kB, anon-rss:60000kB\n"
        )
    };
    let id = "ab".repeat(32);
    let contained = Fixture::new(HIT).with("error.log", KILLED).with("options", &format!("container={id}"));
    let own = contained.with("kernel-log", &kill(&format!("/docker/{id}")));
    assert!(own.summary().contains("for want of memory"), "{}", own.summary());
    let other = contained.with("kernel-log", &kill("/docker/cd"));
    assert!(!other.summary().contains("gateway-worker-crashed"), "{}", other.summary());
}

#[test]
fn gap_the_kernel_log_may_not_be_read() {
    let unread = Fixture::new(HIT).without("kernel-log");
    insta::assert_snapshot!(unread.summary(), @"
    Broken
    Confirmed gateway-worker-crashed: nginx's workers crash: signal 11 [0 requests]
    ");
    let summary = unread.with("error.log", KILLED).summary();
    assert!(!summary.contains("Possible gateway") && !summary.contains("Confirmed gateway"), "{summary}");
}

/// A world whose master was started five seconds after the line.
fn restarted() -> Fixture {
    Fixture::new(HIT).with("options", "now=2026-11-22T02:28:25Z\nsince=all")
}

#[test]
fn hit_by_the_master_that_runs_it_stays_whatever_else_runs() {
    let beside = Fixture::new(HIT).with("options", "other-worker=177").report();
    let found: Vec<_> = beside.findings.iter().filter(|own| own.cause == "gateway-worker-crashed").collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].gateway, found[0].explains.still_failing), (0, None));
    assert_eq!(beside.verdict, crate::report::Verdict::Broken);
}

#[test]
fn near_miss_the_worker_of_another_instance_that_has_the_same_log() {
    let theirs = Fixture::new(HIT).section("error.log").replace("100#100", "190#190");
    let beside = Fixture::new(HIT).with("error.log", &theirs).with("options", "other-worker=177").report();
    let of: Vec<usize> = beside
        .findings
        .iter()
        .filter(|own| own.cause == "gateway-worker-crashed")
        .map(|own| own.gateway)
        .collect();
    assert_eq!(of, [1]);
    // That of one which is gone, and which wrote long after the one that is looked at was started.
    assert_eq!(Fixture::new(HIT).with("error.log", &theirs).summary(), "Healthy\n");
}

#[test]
fn hit_nginx_was_started_anew_since() {
    // The same id is another process now.
    insta::assert_snapshot!(restarted().summary(), @"
    Recovered
    Confirmed gateway-worker-crashed: nginx's workers crashed: signal 11 [0 requests, mended]
    ");
    let former = restarted().section("error.log").replace("100#100", "90#90");
    insta::assert_snapshot!(restarted().with("error.log", &former).summary(), @"
    Recovered
    Confirmed gateway-worker-crashed: nginx's workers crashed: signal 11 [0 requests, mended]
    ");
    // What the master that runs tells counts before what the former one told.
    let again = former + "2026/11/22 02:28:20 [alert] 100#100: worker process 78 exited on signal 6\n";
    insta::assert_snapshot!(restarted().with("error.log", &again).summary(), @"
    Broken
    Confirmed gateway-worker-crashed: nginx's workers crash: signal 6 [0 requests]
    ");
}

#[test]
fn hit_in_a_container_the_log_has_ids_of_its_own() {
    let inner = Fixture::new(HIT).section("error.log").replace("100#100", "1#1");
    let contained = Fixture::new(HIT).with("error.log", &inner).with("options", "own-pid=7\ncontainer=ab");
    insta::assert_snapshot!(contained.summary(), @"
    Broken
    Confirmed gateway-worker-crashed: nginx's workers crash: signal 11 [0 requests]
    ");
}

#[test]
fn gap_other_instances_may_run_that_cannot_be_seen() {
    let other = Fixture::new(HIT).section("error.log").replace("100#100", "90#90");
    let hidden = Fixture::new(HIT).with("error.log", &other).with("options", "hides-processes");
    insta::assert_snapshot!(hidden.summary(), @"
    AtRisk
    Likely gateway-worker-crashed: nginx's workers crash: signal 11 [0 requests]
      open: whether the line is of another instance of nginx, which has the same log: the master that wrote the line, process 90, cannot be seen
    ");
}
