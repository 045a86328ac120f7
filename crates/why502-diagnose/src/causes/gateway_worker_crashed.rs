//! # gateway-worker-crashed
//!
//! ## What happens
//!
//! A worker process of nginx dies of a signal while it serves: a fault in nginx or, far more often, in a module or a library
//! of it, or the kernel kills it for want of memory. All connections that it held are cut off at once, whatever they were
//! doing; the master starts another worker. True for every version of nginx.
//!
//! ## What you see
//!
//! `worker process 77 exited on signal 11 (core dumped)` as an alert in the main error log. Clients see a closed connection
//! (an nginx or a load balancer in front of it: `upstream prematurely closed connection`, 502); the requests are missing
//! in the access log, because the worker that would have written them is dead.
//!
//! ## How we know
//!
//! Confirmed: nginx's own message with a signal that a fault raises (4, 5, 6, 7, 8, 11, 31), or with signal 9 where the
//! kernel's log tells that it killed this worker for want of memory.
//!
//! ## What would disprove it
//!
//! A signal that an operator sends: TERM and QUIT end a worker in good order (`exited with code 0`); KILL where the kernel
//! killed nobody was sent by somebody.
//!
//! ## What to do
//!
//! Find the module: the kernel's line names the file whose code ran, a core dump the function. Update nginx and the module
//! together, or leave the module out.
//!
//! ## Not to be confused with
//!
//! `upstream-worker-crashed` (a worker of the backend), `gateway-not-running` (the master is gone as well),
//! `client-gave-up` (the client closed).
//!
//! ## References
//!
//! nginx: `ngx_process_get_status` (`os/unix/ngx_process.c`), *Debugging log*, core dumps; signal(7), core(5).

use super::upstream_oom_killed::kill_evidence;
use crate::case::{Case, Subject, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use std::time::Duration;
use why502_facts::{
    Crash, ErrorRecord, KernelEvent, KernelLog, KernelWord, Observed, OomKill, Phrase, Process, Stamp,
};

pub(super) static CAUSE: Cause = Cause {
    id: "gateway-worker-crashed",
    layer: Layer::Gateway,
    acts_on: ActsOn::Gateway,
    effect: false,
    statuses: &[],
    scope: Scope::Gateway,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("gateway_worker_crashed.rs"),
};

/// The signals that a program's own fault raises: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.
const FAULTS: [u32; 7] = [4, 5, 6, 7, 8, 11, 31];
const SIGKILL: u32 = 9;
/// How long the master takes at most to notice the end of a worker; a core dump takes its time.
const MAX_NOTICE: Duration = Duration::from_secs(10);
/// Stamps of the log are cut to the second.
const SECOND: Duration = Duration::from_secs(1);

/// The end of a worker by a signal.
struct End<'c> {
    record: &'c ErrorRecord,
    at: Stamp,
    pid: u32,
    signal: u32,
    has_core: bool,
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let ends = ends(case);
    let (faults, others): (Vec<End<'_>>, Vec<End<'_>>) =
        ends.into_iter().partition(|end| FAULTS.contains(&end.signal));
    let killed: Vec<End<'_>> = others.into_iter().filter(|end| end.signal == SIGKILL).collect();
    if faults.is_empty() && killed.is_empty() {
        return Ok(Ruling::NoSign);
    }
    let observed = or_ask(case.facts.kernel_log())?;
    let log = observed.as_ref().known();
    let crash = log.and_then(|log| faults.iter().rev().find_map(|end| Some((*log, crash_of(log, end)?))));
    let starved =
        log.and_then(|log| killed.iter().rev().find_map(|end| Some((*log, end, kill_of(case, log, end)?))));
    let finding = |confidence: Confidence, shown: &End<'_>, n: u64| {
        let core = if shown.has_core { ", with a core dump" } else { "" };
        let says = format!(
            "{} of nginx died of a signal; the newest is process {} at {}: signal {}{core}",
            count(n, "worker"),
            shown.pid,
            shown.at,
            shown.signal
        );
        let line = Evidence::supporting(says, Origin::Log(shown.record.line.clone()));
        let mut finding = Finding::new(&CAUSE, confidence, subject).with([line]);
        // Whom it served then got no answer, and no log tells of these requests.
        finding.fails_clients_now = confidence == Confidence::Confirmed;
        finding
    };
    if let Some(newest) = faults.last() {
        let crash = crash
            .map(|(log, word)| Evidence::supporting(crash_words(word.1), Origin::Host(log.source.clone())));
        return Ok(Ruling::found(finding(Confidence::Confirmed, newest, faults.len() as u64).with(crash)));
    }
    if let Some((log, end, word)) = starved
        && let KernelEvent::OomKill(kill) = &word.event
    {
        let evidence = kill_evidence(&log.source, word, kill);
        return Ok(Ruling::found(finding(Confidence::Confirmed, end, killed.len() as u64).with([evidence])));
    }
    let Some(newest) = killed.last() else { return Ok(Ruling::NoSign) };
    match observed {
        Observed::Known(log)
            if !is_contained(case) && log.covers(newest.at.before(MAX_NOTICE), newest.at.after(SECOND)) =>
        {
            let says = format!(
                "signal {SIGKILL} ended process {}, and the kernel killed nobody for want of memory then: somebody sent it",
                newest.pid
            );
            Ok(Ruling::RuledOut(vec![Evidence::against(says, Origin::Log(newest.record.line.clone()))]))
        }
        // Whether the kernel killed it, or somebody, nobody can tell.
        Observed::Unknown(gap) => Err(vec![gap.ask]),
        _ => Ok(Ruling::NoSign),
    }
}

/// The ends of workers by signals, by time.
fn ends<'c>(case: &'c Case<'_>) -> Vec<End<'c>> {
    let Some(clock) = case.facts.clock(&case.gateway.owner()) else { return Vec::new() };
    let records = case.error_logs.iter().flat_map(|digest| &digest.records);
    let mut ends: Vec<End<'c>> = records
        .filter(|record| record.phrase == Phrase::WorkerExitedOnSignal)
        .filter_map(|record| {
            let (pid, signal, has_core) = parse(record.detail.as_deref()?)?;
            Some(End { record, at: record.at.at_offset(clock.offset_seconds), pid, signal, has_core })
        })
        .collect();
    // Whoever had said that it exits had no client any more: some modules crash while they are taken down.
    let exiting: Vec<(Stamp, u32)> = case
        .error_logs
        .iter()
        .flat_map(|digest| &digest.records)
        .filter(|record| matches!(record.detail.as_deref(), Some("exiting" | "exit")))
        .map(|record| (record.at.at_offset(clock.offset_seconds), record.pid))
        .collect();
    ends.retain(|end| {
        !exiting.iter().any(|(at, pid)| *pid == end.pid && *at <= end.at && end.at.since(*at) <= MAX_NOTICE)
    });
    // The same line may stand in several logs.
    let mut seen: BTreeSet<(Stamp, u32)> = BTreeSet::new();
    ends.sort_by_key(|end| (end.at, end.pid));
    ends.retain(|end| seen.insert((end.at, end.pid)));
    ends
}

/// `worker process 77 exited on signal 11 (core dumped)` (`ngx_process_get_status`). The helpers of the cache serve nobody.
fn parse(message: &str) -> Option<(u32, u32, bool)> {
    let rest = message.strip_prefix("worker process ")?;
    let (pid, rest) = rest.split_once(" exited on signal ")?;
    let signal = rest.split(' ').next()?;
    Some((pid.parse().ok()?, signal.parse().ok()?, rest.contains("core dumped")))
}

/// Whether a word of the kernel can be about the end of a worker.
fn is_then(word: &KernelWord, end: &End<'_>) -> bool {
    word.from <= end.at.after(SECOND) && word.to.after(MAX_NOTICE) >= end.at
}

/// What the kernel says of the crash of a worker. In a container its log has ids of its own: then the name must do.
fn crash_of<'c>(log: &'c KernelLog, end: &End<'_>) -> Option<(&'c KernelWord, &'c Crash)> {
    let crashes = log.words.iter().filter(|word| is_then(word, end)).filter_map(|word| match &word.event {
        KernelEvent::Crashed(crash) if crash.signal == end.signal => Some((word, crash)),
        _ => None,
    });
    let crashes: Vec<_> = crashes.collect();
    let by_pid = crashes.iter().find(|(_, crash)| crash.pid == end.pid);
    let by_name = || crashes.iter().find(|(_, crash)| crash.comm == "nginx");
    by_pid.or_else(by_name).copied()
}

/// The kernel's word about the kill of a worker. In a container the log of nginx has ids of its own: then the name and the
/// control group must do.
fn kill_of<'c>(case: &Case<'_>, log: &'c KernelLog, end: &End<'_>) -> Option<&'c KernelWord> {
    let own_group = master(case).and_then(|master| master.memory_cgroup.as_ref());
    let is_own = |kill: &OomKill| {
        if is_contained(case) {
            kill.comm == "nginx" && own_group.is_some() && kill.cgroup.as_ref() == own_group
        } else {
            kill.pid == end.pid
        }
    };
    let killed = |word: &&KernelWord| matches!(&word.event, KernelEvent::OomKill(kill) if is_own(kill));
    log.words.iter().filter(|word| is_then(word, end)).find(killed)
}

fn master<'c>(case: &'c Case<'_>) -> Option<&'c Process> {
    case.facts.processes().known()?.get(case.gateway.master?)
}

/// Whether nginx runs in a container, or may: then the ids of its log are not those of the kernel's.
fn is_contained(case: &Case<'_>) -> bool {
    master(case).is_none_or(|master| master.container.is_some())
}

fn crash_words(crash: &Crash) -> String {
    let module = crash.module.as_ref().map(|module| format!(" in {module}")).unwrap_or_default();
    format!("the kernel saw {} (pid {}) die of signal {}{module}", crash.comm, crash.pid, crash.signal)
}

/// The end that a finding is about, and what the kernel tells of it: the newest fault, else the newest kill for want of memory.
fn shown<'c>(case: &'c Case<'_>) -> Option<(End<'c>, Option<&'c Crash>)> {
    let log = case.facts.kernel_log().known();
    let mut ends = ends(case);
    if let Some(at) = ends.iter().rposition(|end| FAULTS.contains(&end.signal)) {
        let end = ends.swap_remove(at);
        let crash = log.and_then(|log| crash_of(log, &end)).map(|(_, crash)| crash);
        return Some((end, crash));
    }
    let is_starved =
        |end: &End<'_>| end.signal == SIGKILL && log.is_some_and(|log| kill_of(case, log, end).is_some());
    Some((ends.into_iter().rev().find(is_starved)?, None))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let found = shown(case);
    let signal = found.as_ref().map_or(0, |(end, _)| end.signal);
    let title = match finding.confidence {
        Confidence::Confirmed if signal == SIGKILL => {
            "the kernel kills nginx's workers for want of memory".to_owned()
        }
        _ => format!("nginx's workers crash: signal {signal}"),
    };
    Explanation {
        title,
        why: "A dead worker answers nobody: the kernel closes all its connections, in the middle of whatever they did. The \
              master starts another worker, so that the next requests are served as if nothing had been."
            .to_owned(),
        wont_help: vec![
            "changing proxy timeouts or the upstream: the connections are cut by nginx's own end".to_owned(),
            "raising worker_connections or worker_processes: the next worker crashes in the same code".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((end, crash)) = shown(case) else { return Vec::new() };
    if end.signal == SIGKILL && finding.confidence == Confidence::Confirmed {
        return vec![
            Remedy::new("Give nginx the memory that it needs, or let it need less", Risk::Review)
                .advice(
                    "raise the memory limit of nginx's service or container, or lower what its buffers and shared zones \
                     may take: proxy_buffers × connections, proxy_max_temp_file_size 0 with large responses, zone sizes",
                )
                .verify("the kernel's log tells of no further kill of a worker"),
        ];
    }
    let module = crash.and_then(|crash| crash.module.as_deref());
    let suspect = match module {
        Some(module) if module.starts_with("nginx") => {
            "nginx itself, or a module that is built into it".to_owned()
        }
        Some(module) => module.to_owned(),
        None => "a module that is no part of nginx".to_owned(),
    };
    let core = if end.has_core {
        "coredumpctl gdb, or gdb on the core file"
    } else {
        "worker_rlimit_core and working_directory, then gdb on the core file"
    };
    vec![
        Remedy::new("Find and replace what crashes", Risk::ShowOnly)
            .advice(format!(
                "suspect {suspect}; a core dump names the function ({core}); a dynamic module (load_module) must be of just \
                 the version of this nginx: update both together, or leave the module out"
            ))
            .verify("the error log has no further \"exited on signal\""),
    ]
}

#[cfg(test)]
mod tests {
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
        let errors = later.section("error.log").to_owned()
            + &KILLED.replace("02:28:30", "02:28:31").replace("77", "78");
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
        let contained =
            Fixture::new(HIT).with("error.log", KILLED).with("options", &format!("container={id}"));
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
}
