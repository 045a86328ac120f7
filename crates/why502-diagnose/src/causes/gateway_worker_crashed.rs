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
//! kernel's log tells that it killed this worker for want of memory. A line that a master wrote which runs no more counts as
//! mended: nginx was started anew since. Likely: other instances may run here that cannot be seen, and the line may be theirs.
//!
//! ## What would disprove it
//!
//! A signal that an operator sends: TERM and QUIT end a worker in good order (`exited with code 0`); KILL where the kernel
//! killed nobody was sent by somebody. The master of another instance, whose log is the same file, tells of its own workers.
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

use super::core_dump;
use super::masters::{Masters, Writer};
use super::upstream_oom_killed::kill_evidence;
use crate::case::{Case, Subject, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use std::time::Duration;
use why502_facts::{
    Ask, Crash, ErrorRecord, Gap, GapReason, KernelEvent, KernelLog, KernelWord, LogClockSource, Observed,
    OomKill, Phrase, Process, Stamp,
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

const SIGKILL: u32 = 9;
/// How long the master takes at most to notice the end of a worker; a core dump takes its time.
const MAX_NOTICE: Duration = Duration::from_secs(10);
/// Stamps of the log are cut to the second.
const SECOND: Duration = Duration::from_secs(1);

/// The end of a worker by a signal.
#[derive(Clone, Copy)]
struct End<'c> {
    record: &'c ErrorRecord,
    at: Stamp,
    pid: u32,
    signal: u32,
    has_core: bool,
    writer: Writer,
}

/// The end that a finding is about: the newest of its kind.
struct Shown<'c> {
    end: End<'c>,
    n: usize,
    told: Option<Told<'c>>,
}

/// What the kernel tells of an end.
enum Told<'c> {
    Crash(&'c KernelLog, &'c Crash),
    Kill(&'c KernelLog, &'c KernelWord, &'c OomKill),
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let ends = ends(case)?;
    let Some(newest) = ends.last() else { return Ok(Ruling::NoSign) };
    let observed = or_ask(case.facts.kernel_log())?;
    if let Some(shown) = shown(case, &ends) {
        if core_dump::is_fault(shown.end.signal) {
            core_dump::look(case)?;
        }
        return Ok(Ruling::found(found(&shown, subject)));
    }
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

fn found(shown: &Shown<'_>, subject: &Subject) -> Finding {
    let end = &shown.end;
    let core = if end.has_core { ", with a core dump" } else { "" };
    let says = format!(
        "{} of nginx died of a signal; the newest is process {} at {}: signal {}{core}",
        count(shown.n as u64, "worker"),
        end.pid,
        end.at,
        end.signal
    );
    let told = shown.told.as_ref().map(|told| match told {
        Told::Crash(log, crash) => Evidence::supporting(crash_words(crash), Origin::Host(log.source.clone())),
        Told::Kill(log, word, kill) => kill_evidence(&log.source, word, kill),
    });
    let confidence = if end.writer == Writer::Unknown { Confidence::Likely } else { Confidence::Confirmed };
    let gap = (end.writer == Writer::Unknown).then(|| {
        let says = format!("the master that wrote the line, process {}, cannot be seen", end.record.pid);
        let gap = Gap { ask: Ask::Processes, why: GapReason::Denied, says };
        Case::open(gap, "whether the line is of another instance of nginx, which has the same log")
    });
    let renewed = (end.writer == Writer::Former).then(|| {
        let says = "the master that wrote the line runs no more: nginx was started anew since";
        Evidence::context(says, Origin::Host("/proc".to_owned()))
    });
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .still_failing((end.writer == Writer::Former).then_some(false))
        .with([Evidence::supporting(says, Origin::Log(end.record.line.clone()))])
        .with(told)
        .with(renewed)
        .open(gap);
    // Whom it served then got no answer, and no log tells of these requests.
    finding.fails_clients_now = end.writer == Writer::Own;
    finding
}

/// What is shown of some ends: those of the master that runs before all others, faults before kills for want of memory.
/// Without a word of the kernel a kill may be anybody's.
fn shown<'c>(case: &'c Case<'_>, ends: &[End<'c>]) -> Option<Shown<'c>> {
    let log = case.facts.kernel_log().known();
    for writer in [Writer::Own, Writer::Unknown, Writer::Former] {
        let own = || ends.iter().filter(|end| end.writer == writer).rev();
        let faults = || own().filter(|end| core_dump::is_fault(end.signal));
        if let Some(end) = faults().next() {
            let told =
                log.and_then(|log| faults().find_map(|end| Some(Told::Crash(log, crash_of(log, end)?))));
            return Some(Shown { end: *end, n: faults().count(), told });
        }
        let starved = log.and_then(|log| {
            own().find_map(|end| {
                let word = kill_of(case, log, end)?;
                let KernelEvent::OomKill(kill) = &word.event else { return None };
                Some((*end, Told::Kill(log, word, kill)))
            })
        });
        if let Some((end, told)) = starved {
            return Some(Shown { end, n: own().count(), told: Some(told) });
        }
    }
    None
}

/// The ends of workers by faults and kills, by time; those of another instance's workers left out. An error asks whose they are.
fn ends<'c>(case: &'c Case<'_>) -> Result<Vec<End<'c>>, Asks> {
    let Some(clock) = case.facts.clock(&case.gateway.owner()) else { return Ok(Vec::new()) };
    let records = case.error_logs.iter().flat_map(|digest| &digest.records);
    let mut ends: Vec<End<'c>> = records
        .filter(|record| record.phrase == Phrase::WorkerExitedOnSignal)
        .filter_map(|record| {
            let (pid, signal, has_core) = parse(record.detail.as_deref()?)?;
            let at = record.at.at_offset(clock.offset_seconds);
            Some(End { record, at, pid, signal, has_core, writer: Writer::Own })
        })
        .filter(|end| core_dump::is_fault(end.signal) || end.signal == SIGKILL)
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
    let Some(masters) = Masters::of(case).filter(|_| !ends.is_empty()) else { return Ok(ends) };
    let (mut own, mut asks) = (Vec::new(), Vec::new());
    for end in ends {
        let at = Some(end.at).filter(|_| clock.source != LogClockSource::Assumed);
        match masters.writer(case, end.record.pid, at) {
            Ok(writer) => own.extend(writer.map(|writer| End { writer, ..end })),
            Err(wanted) => asks.extend(wanted),
        }
    }
    if asks.is_empty() { Ok(own) } else { Err(asks) }
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
fn crash_of<'c>(log: &'c KernelLog, end: &End<'_>) -> Option<&'c Crash> {
    let crashes = log.words.iter().filter(|word| is_then(word, end)).filter_map(|word| match &word.event {
        KernelEvent::Crashed(crash) if crash.signal == end.signal => Some(crash),
        _ => None,
    });
    let crashes: Vec<&Crash> = crashes.collect();
    let by_pid = crashes.iter().find(|crash| crash.pid == end.pid);
    let by_name = || crashes.iter().find(|crash| crash.comm == "nginx");
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

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let shown = ends(case).ok().and_then(|ends| shown(case, &ends));
    let is_gone = finding.still_failing == Some(false);
    let title = if let Some(Shown { told: Some(Told::Kill(..)), .. }) = shown.as_ref() {
        let kills = if is_gone { "killed" } else { "kills" };
        format!("the kernel {kills} nginx's workers for want of memory")
    } else {
        let signal = shown.map_or(0, |shown| shown.end.signal);
        let crash = if is_gone { "crashed" } else { "crash" };
        format!("nginx's workers {crash}: signal {signal}")
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

fn remedies(case: &Case<'_>, _finding: &Finding) -> Vec<Remedy> {
    let Some(shown) = ends(case).ok().and_then(|ends| shown(case, &ends)) else { return Vec::new() };
    let end = shown.end;
    if end.signal == SIGKILL {
        return vec![
            Remedy::new("Give nginx the memory that it needs, or let it need less", Risk::Review)
                .advice(
                    "raise the memory limit of nginx's service or container, or lower what its buffers and shared zones \
                     may take: proxy_buffers × connections, proxy_max_temp_file_size 0 with large responses, zone sizes",
                )
                .verify("the kernel's log tells of no further kill of a worker"),
        ];
    }
    let module = match shown.told {
        Some(Told::Crash(_, crash)) => crash.module.as_deref(),
        Some(Told::Kill(..)) | None => None,
    };
    let suspect = match module {
        Some(module) if module.starts_with("nginx") => {
            "nginx itself, or a module that is built into it".to_owned()
        }
        Some(module) => module.to_owned(),
        None => "a module that is no part of nginx".to_owned(),
    };
    let none = if end.has_core {
        ""
    } else {
        "; the kernel wrote none: raise worker_rlimit_core, and set working_directory"
    };
    let core = core_dump::place(case, Some("nginx"));
    vec![
        Remedy::new("Find and replace what crashes", Risk::ShowOnly)
            .advice(format!(
                "suspect {suspect}; {core} names the function{none}; a dynamic module (load_module) must be of just the \
                 version of this nginx: update both together, or leave the module out"
            ))
            .verify("the error log has no further \"exited on signal\""),
    ]
}

#[cfg(test)]
mod tests;
