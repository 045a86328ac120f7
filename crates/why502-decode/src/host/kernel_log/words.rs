//! The kernel's words: `mm/oom_kill.c`, `mm/memcontrol.c`, `arch/x86/mm/fault.c` (`show_signal_msg`),
//! `arch/x86/kernel/traps.c`, `arch/arm64/kernel/traps.c`, `kernel/auditsc.c`, `kernel/hung_task.c`,
//! `net/netfilter/nf_conntrack_core.c`, `net/ipv4/tcp_input.c` (`tcp_syn_flood_action`), `lib/ratelimit.c`,
//! `kernel/printk/printk.c`.

use crate::host::audit::parse_denials;
use why502_facts::{Crash, KernelEvent, OomKill};

/// A line without one of these says nothing that is looked for.
const MARKS: [&[u8]; 18] = [
    b"oom-kill",
    b"Killed process ",
    b"memory: usage ",
    b"memory.oom.group",
    b" killed as a result of limit of ",
    b": segfault at ",
    b"traps: ",
    b": unhandled ",
    b"audit: type=1701 ",
    b"audit: type=1326 ",
    b"audit: type=1400 ",
    b"avc:  denied",
    b"apparmor=\"DENIED\"",
    b"nf_conntrack: table full",
    b"ossible SYN flooding on port",
    b" blocked for more than ",
    b" suppressed",
    b"audit: audit_lost=",
];

const SIGILL: u32 = 4;
const SIGTRAP: u32 = 5;
const SIGBUS: u32 = 7;
const SIGFPE: u32 = 8;
const SIGSEGV: u32 = 11;
const SIGKILL: u32 = 9;
const SIGSYS: u32 = 31;

/// Whether a line has one of the words.
pub(super) fn is_told(line: &[u8]) -> bool {
    MARKS.iter().any(|mark| memchr::memmem::find(line, mark).is_some())
}

/// What a message tells; `None` where it only belongs to another one, or tells nothing.
pub(super) fn event(text: &str) -> Option<KernelEvent> {
    if let Some((_, rest)) = text.split_once("Killed process ") {
        return killed(text, rest).map(KernelEvent::OomKill);
    }
    if text.contains("nf_conntrack: table full") {
        return Some(KernelEvent::ConntrackFull);
    }
    if let Some((_, rest)) = text.split_once("ossible SYN flooding on port ") {
        return syn_flood(rest);
    }
    if let Some((task, rest)) = text.split_once(" blocked for more than ") {
        return hung(task, rest);
    }
    if text.contains(" suppressed") || text.contains("audit_lost=") {
        return suppressed(text);
    }
    if text.contains("audit: type=1701 ") || text.contains("audit: type=1326 ") {
        return ended(text).map(KernelEvent::Crashed);
    }
    if text.contains("apparmor=\"DENIED\"") || text.contains("avc:  denied") {
        return parse_denials(text).pop().map(|denial| KernelEvent::Denied(Box::new(denial)));
    }
    crash(text).map(KernelEvent::Crashed)
}

/// `Memory cgroup out of memory: Killed process 77 (node) total-vm:…kB, anon-rss:…kB, …, UID:33 pgtables:…`, and without
/// what stands before it on kernels before 5.0.
fn killed(text: &str, rest: &str) -> Option<OomKill> {
    let (pid, rest) = rest.split_once([' ', ','])?;
    let (comm, rest) = rest.trim_start().strip_prefix('(')?.rsplit_once(") total-vm:")?;
    Some(OomKill {
        pid: pid.parse().ok()?,
        // Some kernels name the user between.
        comm: comm.split_once(") ").map_or(comm, |(comm, _)| comm).to_owned(),
        limited_cgroup: text.starts_with("Memory cgroup").then(String::new),
        anonymous_kib: number_behind(rest, "anon-rss:"),
        uid: number_behind(rest, "UID:").and_then(|uid| uid.try_into().ok()),
        ..OomKill::default()
    })
}

/// What a line before a kill adds to it.
///
/// `oom-kill:constraint=CONSTRAINT_MEMCG,…,oom_memcg=/a,task_memcg=/a/b,task=node,pid=77,uid=33` (since 5.0);
/// `Task in /a/b killed as a result of limit of /a` before; `memory: usage 65536kB, limit 65536kB, failcnt 12`.
pub(super) fn add_particulars(kill: &mut OomKill, line: &str) {
    if let Some(rest) = line.strip_prefix("memory: usage ") {
        kill.limit_kib = kill.limit_kib.or_else(|| number_behind(rest, "limit "));
    } else if let Some(rest) = line.split_once("oom-kill:constraint=").map(|(_, rest)| rest) {
        let value = |name: &str| {
            let (_, rest) = rest.split_once(&format!(",{name}="))?;
            rest.split_once(',').map(|(value, _)| value)
        };
        // With memory.oom.group others die with the chosen one.
        let limited = value("oom_memcg").map(str::to_owned);
        let is_of_cgroup = rest.starts_with("CONSTRAINT_MEMCG");
        if is_of_cgroup && kill.limited_cgroup.as_deref().is_none_or(str::is_empty) {
            kill.limited_cgroup = limited;
        }
        if value("pid") == Some(kill.pid.to_string().as_str()) || is_of_cgroup && kill.cgroup.is_none() {
            kill.cgroup = kill.cgroup.take().or_else(|| value("task_memcg").map(str::to_owned));
        }
    } else if let Some((task, limited)) = line.split_once(" killed as a result of limit of ") {
        kill.limited_cgroup = Some(limited.trim_end().to_owned());
        kill.cgroup = task.strip_prefix("Task in ").map(str::to_owned);
    }
}

/// The number right behind a name.
fn number_behind(text: &str, name: &str) -> Option<u64> {
    let (_, rest) = text.split_once(name)?;
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// `request_sock_TCP: Possible SYN flooding on port 0.0.0.0:80. Sending cookies.`; before 5.17 the port alone.
fn syn_flood(rest: &str) -> Option<KernelEvent> {
    let place = rest.split([' ', ',']).next()?.trim_end_matches('.');
    let port = place.rsplit(':').next()?.parse().ok()?;
    Some(KernelEvent::SynFlood { port, is_dropping: rest.contains("Dropping") })
}

/// `INFO: task uwsgi:77 blocked for more than 120 seconds.`
fn hung(task: &str, rest: &str) -> Option<KernelEvent> {
    let (_, task) = task.split_once("task ")?;
    let (comm, pid) = task.rsplit_once(':')?;
    let seconds = rest.split(' ').next()?.parse().ok()?;
    Some(KernelEvent::Hung { pid: pid.parse().ok()?, comm: comm.to_owned(), seconds })
}

/// `net_ratelimit: 12 callbacks suppressed`, `printk: 12 messages suppressed.`, `audit: audit_lost=12 audit_rate_limit=0 …`.
fn suppressed(text: &str) -> Option<KernelEvent> {
    if let Some(count) = number_behind(text, "audit_lost=") {
        return Some(KernelEvent::Suppressed { count });
    }
    let (before, _) =
        text.split_once(" callbacks suppressed").or_else(|| text.split_once(" messages suppressed"))?;
    let count = before.rsplit(' ').next()?.parse().ok()?;
    Some(KernelEvent::Suppressed { count })
}

/// `audit: type=1701 audit(…): auid=0 … pid=77 comm="nginx" exe="/usr/sbin/nginx" sig=6 res=1` (`ANOM_ABEND`), and the
/// same of a system call that seccomp forbids (type 1326).
fn ended(text: &str) -> Option<Crash> {
    let signal = u32::try_from(number_behind(text, " sig=")?).ok()?;
    if matches!(signal, 0 | SIGKILL) {
        return None;
    }
    let value = |name: &str| {
        let (_, rest) = text.split_once(name)?;
        Some(rest.split(['"', ' ']).next()?.to_owned())
    };
    Some(Crash {
        pid: number_behind(text, " pid=")?.try_into().ok()?,
        comm: value(" comm=\"").unwrap_or_default(),
        signal,
        module: value(" exe=\""),
    })
}

/// `nginx[77]: segfault at 0 ip … sp … error 4 in ngx_x.so[7f…+2000] likely on CPU 1 (core 1, socket 0)`;
/// `traps: nginx[77] general protection fault ip:… sp:… error:0 in libc.so.6[…]`;
/// `nginx[77]: unhandled level 2 translation fault (11) at 0x…, esr 0x…, in nginx[…]`.
fn crash(text: &str) -> Option<Crash> {
    let (task, rest, signal) = if let Some(rest) = text.strip_prefix("traps: ") {
        let (task, rest) = rest.split_once("] ")?;
        (task, rest, trap_signal(rest))
    } else if let Some((task, rest)) = text.split_once("]: segfault at ") {
        (task, rest, SIGSEGV)
    } else {
        let (task, rest) = text.split_once("]: unhandled ")?;
        let signal = number_behind(rest, " (").or_else(|| number_behind(rest, "signal "));
        (task, rest, u32::try_from(signal?).ok()?)
    };
    let (comm, pid) = task.rsplit_once('[')?;
    let module = rest.split_once(" in ").and_then(|(_, rest)| rest.split_once('['));
    Some(Crash {
        pid: pid.parse().ok()?,
        comm: comm.to_owned(),
        signal,
        module: module.map(|(module, _)| module.to_owned()),
    })
}

/// The signal of a trap (`math_error`, `exc_int3` and their like in `arch/x86/kernel/traps.c`).
fn trap_signal(text: &str) -> u32 {
    let names = [
        ("invalid opcode", SIGILL),
        ("int3", SIGTRAP),
        ("divide error", SIGFPE),
        ("fp exception", SIGFPE),
        ("alignment check", SIGBUS),
        ("bounds", SIGSEGV),
        ("seccomp", SIGSYS),
    ];
    let known = names.iter().find(|(name, _)| text.contains(name));
    known.map_or(SIGSEGV, |(_, signal)| *signal)
}
