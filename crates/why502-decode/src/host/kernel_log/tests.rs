use super::*;
use proptest::prelude::*;
use why502_facts::Blob;

const MODIFIED: Stamp = Stamp(1_796_041_564_000);

fn ring(lines: &str) -> KernelLog {
    let source = KernelLogSource::Ring { from: Stamp(1_000_000), to: Stamp(1_000_100) };
    decoded(source, "5,0,0,-;", lines)
}

fn decoded(source: KernelLogSource, oldest: &str, lines: &str) -> KernelLog {
    let kept: Vec<&str> = lines.lines().filter(|line| is_kernel_word(line.as_bytes())).collect();
    let record =
        KernelLogRecord { source, lines: Blob::from(kept.join("\n").as_str()), oldest: Blob::from(oldest) };
    decode_kernel_log(&record, Some(3600))
}

/// Linux 6.18, a limit of a control group of version 1.
const KILL: &str = "\
4,350,13200000000,-;python3 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0
4,351,13200000010,-;CPU: 1 UID: 0 PID: 9123 Comm: python3 Not tainted 6.18.44 #1
6,352,13200000020,-;memory: usage 65536kB, limit 65536kB, failcnt 43
6,353,13200000030,-;Tasks state (memory values in pages):
6,354,13200000040,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/lab,task_memcg=/lab/shop,task=python3,pid=9123,uid=33
3,355,13200000050,-;Memory cgroup out of memory: Killed process 9123 (python3) total-vm:80000kB, anon-rss:60000kB, file-rss:5000kB, shmem-rss:0kB, UID:33 pgtables:180kB oom_score_adj:0
";

#[test]
fn a_kill_in_a_control_group_is_told_with_its_limit() {
    let log = ring(KILL);
    assert_eq!((log.source.as_str(), log.reaches_back), ("/dev/kmsg", Some(Stamp(1_000_100))));
    let expected = OomKill {
        pid: 9123,
        comm: "python3".to_owned(),
        limited_cgroup: Some("/lab".to_owned()),
        cgroup: Some("/lab/shop".to_owned()),
        limit_kib: Some(65536),
        anonymous_kib: Some(60000),
        uid: Some(33),
    };
    assert_eq!(log.words.len(), 1);
    assert_eq!(log.words[0].event, KernelEvent::OomKill(expected));
    assert_eq!((log.words[0].from, log.words[0].to), (Stamp(14_200_000), Stamp(14_200_100)));
}

#[test]
fn a_kill_of_the_whole_host_has_no_limit() {
    let kill = KILL
        .replace("CONSTRAINT_MEMCG", "CONSTRAINT_NONE")
        .replace("oom_memcg=/lab,", "global_oom,")
        .replace("Memory cgroup out", "Out")
        .replace("6,352,13200000020,-;memory: usage 65536kB, limit 65536kB, failcnt 43\n", "");
    let KernelEvent::OomKill(kill) = &ring(&kill).words[0].event else { panic!() };
    assert_eq!((&kill.limited_cgroup, kill.limit_kib), (&None, None));
    assert_eq!(kill.cgroup.as_deref(), Some("/lab/shop"));
}

#[test]
fn kernels_before_5_name_the_groups_otherwise() {
    let log = ring(
        "6,1,5000000,-;Task in /docker/ab killed as a result of limit of /docker\n\
         3,2,5000000,-;Memory cgroup out of memory: Kill process 77 (node) score 999 or sacrifice child\n\
         3,3,5000000,-;Killed process 77 (node) total-vm:80000kB, anon-rss:60000kB, file-rss:5000kB",
    );
    let KernelEvent::OomKill(kill) = &log.words[0].event else { panic!() };
    let groups = (kill.limited_cgroup.as_deref(), kill.cgroup.as_deref());
    assert_eq!((log.words.len(), kill.pid, groups), (1, 77, (Some("/docker"), Some("/docker/ab"))));
}

#[test]
fn particulars_are_those_of_the_own_kill() {
    let second = KILL.replace("9123", "9200").replace("/lab", "/other").replace("132000", "132001");
    let log = ring(&format!("{KILL}{second}"));
    let groups: Vec<_> = log
        .words
        .iter()
        .filter_map(|word| match &word.event {
            KernelEvent::OomKill(kill) => kill.cgroup.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(groups, ["/lab/shop", "/other/shop"]);
}

#[test]
fn crashes_are_told_with_their_signal_and_module() {
    let crash = |text: &str| match ring(&format!("6,9,1,-;{text}")).words.into_iter().next()?.event {
        KernelEvent::Crashed(crash) => Some((crash.pid, crash.comm, crash.signal, crash.module)),
        _ => None,
    };
    let is = |pid, comm: &str, signal, module: Option<&str>| {
        Some((pid, comm.to_owned(), signal, module.map(str::to_owned)))
    };
    assert_eq!(
        crash(
            "nginx[77]: segfault at 0 ip 00007f sp 00007ff error 4 in ngx_x.so[2f1,7f0+2000] likely on CPU 1 (core 1, socket 0)"
        ),
        is(77, "nginx", 11, Some("ngx_x.so"))
    );
    assert_eq!(crash("a b[7]: segfault at 0 ip 0 sp 0 error 14"), is(7, "a b", 11, None));
    assert_eq!(
        crash("traps: nginx[77] general protection fault ip:7f sp:7f error:0 in libc.so.6[7f+1]"),
        is(77, "nginx", 11, Some("libc.so.6"))
    );
    assert_eq!(
        crash("traps: x[7] trap invalid opcode ip:1 sp:2 error:0 in x[1+2]"),
        is(7, "x", 4, Some("x"))
    );
    assert_eq!(
        crash("nginx[77]: unhandled level 2 translation fault (11) at 0x0, esr 0x92000006, in nginx[1+2]"),
        is(77, "nginx", 11, Some("nginx"))
    );
    let abort = "audit: type=1701 audit(1.2:3): auid=1 uid=33 gid=33 ses=1 pid=77 comm=\"node\" exe=\"/usr/bin/node\" sig=6 res=1";
    assert_eq!(crash(abort), is(77, "node", 6, Some("/usr/bin/node")));
    assert_eq!(crash(&abort.replace("sig=6", "sig=9")), None);
    assert_eq!(crash("traps: something else"), None);
}

#[test]
fn shortages_and_refusals_are_told() {
    let event = |text: &str| ring(&format!("6,9,1,-;{text}")).words.into_iter().next().map(|word| word.event);
    assert_eq!(
        event("nf_conntrack: nf_conntrack: table full, dropping packet"),
        Some(KernelEvent::ConntrackFull)
    );
    assert_eq!(
        event("TCP: request_sock_TCP: Possible SYN flooding on port [::]:8080. Sending cookies."),
        Some(KernelEvent::SynFlood { port: 8080, is_dropping: false })
    );
    assert_eq!(
        event(
            "TCP: request_sock_TCP: Possible SYN flooding on port 80. Dropping request.  Check SNMP counters."
        ),
        Some(KernelEvent::SynFlood { port: 80, is_dropping: true })
    );
    assert_eq!(
        event("INFO: task node:a:77 blocked for more than 120 seconds."),
        Some(KernelEvent::Hung { pid: 77, comm: "node:a".to_owned(), seconds: 120 })
    );
    assert_eq!(event("net_ratelimit: 12 callbacks suppressed"), Some(KernelEvent::Suppressed { count: 12 }));
    let denied = "audit: type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"connect\" profile=\"nginx\" comm=\"nginx\"";
    assert!(matches!(event(denied), Some(KernelEvent::Denied(denial)) if denial.serial == 3), "{denied}");
    assert_eq!(event(&denied.replace("DENIED", "ALLOWED")), None);
    assert_eq!(event("oom_reaper: reaped process 77 (node)"), None);
}

#[test]
fn files_of_syslog_and_the_journal_are_read() {
    let kill = "Out of memory: Killed process 77 (node) total-vm:8kB, anon-rss:6kB";
    let file = KernelLogSource::File { path: "/var/log/kern.log".to_owned(), modified: MODIFIED };
    let log = decoded(
        file.clone(),
        "Nov 29 00:00:01",
        &format!("Nov 30 13:26:03 shop kernel: [12345.678901] {kill}\n"),
    );
    assert_eq!(log.reaches_back.unwrap().to_string(), "2026-11-28T23:00:01Z");
    assert_eq!(
        (log.words[0].from.to_string().as_str(), log.words[0].line.as_str()),
        ("2026-11-30T12:26:03Z", kill)
    );
    // December is one of the year before.
    let log = decoded(file.clone(), "Dec 31 00:00:01", "");
    assert_eq!(log.reaches_back.unwrap().to_string(), "2025-12-30T23:00:01Z");
    let log = decoded(
        file,
        "2026-11-29T00:00:00.5+01:00",
        &format!("2026-11-30T13:26:03.250000+01:00 shop kernel: {kill}\n"),
    );
    assert_eq!((log.words[0].from, log.words[0].line.as_str()), (Stamp(1_796_041_563_250), kill));
    let log = decoded(
        KernelLogSource::Journal,
        "1796041560.000001",
        &format!("1796041563.250001 kernel: {kill}\n"),
    );
    assert_eq!(
        (log.words[0].from, log.reaches_back),
        (Stamp(1_796_041_563_250), Some(Stamp(1_796_041_560_000)))
    );
}

#[test]
fn absence_proves_something_only_as_far_as_the_log_reaches() {
    let quiet = ring("");
    assert!(quiet.covers(Stamp(1_000_200), Stamp(2_000_000)));
    assert!(!quiet.covers(Stamp(900_000), Stamp(2_000_000)));
    let limited = ring("6,9,1000000,-;printk: 12 messages suppressed.");
    assert!(!limited.covers(Stamp(1_000_200), Stamp(2_000_000)));
    assert!(limited.covers(Stamp(1_002_000), Stamp(2_000_000)));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in any::<Vec<u8>>(), which in 0..3, modified in any::<i64>()) {
        let source = match which {
            0 => KernelLogSource::Journal,
            1 => KernelLogSource::File { path: String::new(), modified: Stamp(modified) },
            _ => KernelLogSource::Ring { from: Stamp(modified), to: Stamp(modified) },
        };
        let record = KernelLogRecord { source, lines: bytes.clone().into(), oldest: bytes.clone().into() };
        decode_kernel_log(&record, Some(0));
        is_kernel_word(&bytes);
    }

    #[test]
    fn no_message_makes_the_parsers_panic(
        text in "(audit: type=1701 |traps: |a\\[1\\]: |Killed process |oom-kill:constraint=|segfault at |unhandled |\\(|\\)|\\[|\\]| sig=|,pid=|[ -~é]{0,3}){0,12}"
    ) {
        ring(&format!("6,9,1,-;{text}"));
    }
}
