//! What the control group of the server behind a peer lacks: time on a processor, memory, a disk. It says why a server is slow,
//! and is no cause by itself: a limit that is not reached, and a wait that is short, are not told.

use crate::case::{Case, PeerSubject, or_ask};
use crate::cause::Asks;
use crate::finding::{Evidence, Finding, Origin};
use crate::remedy::{Remedy, Risk};
use std::time::Duration;
use why502_facts::{ControlGroup, MemoryLimit, Pressure, Process, ProcessorLimit, Resource};

/// The most processes of a server whose groups are looked at.
const MAX_PROCESSES: usize = 4;
/// Whoever is stopped in one of so many periods is slowed down by that.
const THROTTLED: u64 = 4;
/// So many periods of a tenth of a second tell something of the time since a group was made.
const MIN_PERIODS: u64 = 20;
/// What is waited for now tells of failures that ended so long ago.
const RECENT: Duration = Duration::from_mins(2);
/// From which part of the time on a wait is told, in hundredths of a percent: all tasks for a disk, all for memory, some for a
/// processor.
const LONG: [(Resource, u32); 3] =
    [(Resource::Io, 2000), (Resource::Memory, 1000), (Resource::Processor, 5000)];

/// Something that the control group of a server lacks.
pub(super) struct Shortage<'c> {
    pub(super) evidence: Evidence,
    kind: Kind<'c>,
}

enum Kind<'c> {
    Memory(&'c Process, &'c MemoryLimit),
    Processor(&'c Process, &'c ProcessorLimit),
    Wait,
}

/// What the server behind a peer lacks; nothing where nobody can look. An error asks for its control group.
pub(super) fn shortages<'c>(
    case: &'c Case<'_>,
    peer: &PeerSubject,
    finding: &Finding,
) -> Result<Vec<Shortage<'c>>, Asks> {
    let observed = case.facts.processes();
    let Some(list) = observed.known() else { return Ok(Vec::new()) };
    let groups = groups_of(case, peer)?;
    let newest = finding.explains.iter().map(|id| case.failure(*id).at).max();
    let is_recent = newest.is_some_and(|newest| newest.after(RECENT) >= case.facts.manifest.captured_at);
    // All processes of a server are of one group, unless somebody is very careful.
    let seen = groups.iter().filter_map(|group| Some((list.get(group.pid)?, group)));
    let mut lacking = seen.map(|(process, group)| lacks(process, group, is_recent));
    Ok(lacking.find(|own| !own.is_empty()).unwrap_or_default())
}

/// The control groups of the server behind a peer, one entry per process; none where nobody can look. An error asks for them.
pub(super) fn groups_of<'c>(case: &'c Case<'_>, peer: &PeerSubject) -> Result<&'c [ControlGroup], Asks> {
    let Some(home) = case.home_of(peer)? else { return Ok(&[]) };
    let is_gateway = |pid: u32| case.gateway.workers.contains(&pid) || case.gateway.master == Some(pid);
    // Process 1 keeps the sockets that it opened for others.
    let pids = home.holders(&peer.address).into_iter().filter(|pid| *pid != 1 && !is_gateway(*pid));
    let pids: Vec<u32> = pids.take(MAX_PROCESSES).collect();
    if pids.is_empty() {
        return Ok(&[]);
    }
    let groups = or_ask(case.facts.control_groups(&pids))?;
    Ok(groups.known().map_or(&[], Vec::as_slice))
}

/// `shop.service` of its directory; of a container the digits that its engine shows.
pub(super) fn name(group: &str) -> &str {
    let last = group.rsplit('/').next().unwrap_or(group);
    let is_id = last.len() == 64 && last.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { &last[..12] } else { last }
}

fn lacks<'c>(process: &'c Process, group: &'c ControlGroup, is_recent: bool) -> Vec<Shortage<'c>> {
    let throttled = group.processor.iter().find_map(|limit| {
        let evidence = throttling(limit, group.millis)?;
        Some(Shortage { evidence, kind: Kind::Processor(process, limit) })
    });
    if !is_recent {
        return throttled.into_iter().collect();
    }
    let reclaimed = group.memory.iter().find_map(|limit| {
        let evidence = reclaim(limit)?;
        Some(Shortage { evidence, kind: Kind::Memory(process, limit) })
    });
    let waits = waits(group, throttled.is_some());
    throttled.into_iter().chain(reclaimed).chain(waits).collect()
}

/// That a limit of processor time holds a group up: between two looks, or in general.
fn throttling(limit: &ProcessorLimit, millis: u64) -> Option<Evidence> {
    let ProcessorLimit { n_periods, n_throttled, n_periods_now, n_throttled_now, .. } = limit;
    let is_much = |throttled: u64, periods: u64| throttled > 0 && throttled * THROTTLED >= periods;
    let is_now = *n_throttled_now > 1 && is_much(*n_throttled_now, *n_periods_now);
    let when = if is_now {
        format!("{n_throttled_now} of {n_periods_now} periods within {millis} ms")
    } else if *n_periods >= MIN_PERIODS && is_much(*n_throttled, *n_periods) {
        format!("{n_throttled} of the {n_periods} periods in which it ran")
    } else {
        return None;
    };
    let says = format!(
        "its control group {} was throttled in {when}: it may use {} processors",
        name(&limit.group),
        decimal(limit.thousandths)
    );
    let origin = Origin::Host(format!("{}/cpu.stat", limit.group));
    Some(if is_now { Evidence::supporting(says, origin) } else { Evidence::context(says, origin) })
}

/// That a group is at its limit of memory, and came up against it between two looks.
fn reclaim(limit: &MemoryLimit) -> Option<Evidence> {
    let bound = limit.high.into_iter().chain(limit.max).min()?;
    let is_at_it = limit.used.saturating_mul(100) >= bound.saturating_mul(95);
    (is_at_it && limit.n_reached_now > 0).then(|| {
        let says = format!(
            "its control group {} is at its limit of {} MiB of memory: what it has is taken back while it runs",
            name(&limit.group),
            bound >> 20
        );
        Evidence::supporting(says, Origin::Host(limit.group.clone()))
    })
}

/// What the tasks of a group wait for; where the kernel does not tell that of groups, those of the host.
fn waits<'c>(group: &ControlGroup, is_throttled: bool) -> Option<Shortage<'c>> {
    let is_own = !group.pressure.is_empty();
    let pressure = if is_own { &group.pressure } else { &group.host_pressure };
    let part = |own: &Pressure| if own.of == Resource::Processor { own.some } else { own.full };
    let is_long = |own: &&Pressure| {
        // Whoever is throttled waits for a processor; so does somebody on every busy host.
        let is_known = own.of == Resource::Processor && (is_throttled || !is_own);
        let least = LONG.iter().find(|(of, _)| *of == own.of).map(|(_, least)| *least);
        !is_known && least.is_some_and(|least| part(own) >= least)
    };
    let own = pressure.iter().find(is_long)?;
    let (what, file) = match own.of {
        Resource::Io => ("for a disk", "io"),
        Resource::Memory => ("for memory to be freed", "memory"),
        Resource::Processor => ("for a processor", "cpu"),
    };
    let whose = if is_own { "tasks of its control group" } else { "tasks of this host" };
    let says = format!("{whose} waited {what} in {} % of the last ten seconds", part(own) / 100);
    let origin = if is_own { format!("{file}.pressure") } else { format!("/proc/pressure/{file}") };
    Some(Shortage { evidence: Evidence::context(says, Origin::Host(origin)), kind: Kind::Wait })
}

/// `0.2` of 200 thousandths.
fn decimal(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What gives a server what it lacks.
pub(super) fn remedies(case: &Case<'_>, finding: &Finding, peer: &PeerSubject) -> Vec<Remedy> {
    let shortages = shortages(case, peer, finding).unwrap_or_default();
    shortages.iter().filter_map(|shortage| remedy(&shortage.kind)).collect()
}

fn remedy(kind: &Kind<'_>) -> Option<Remedy> {
    match kind {
        Kind::Processor(process, limit) => {
            let remedy = Remedy::new("Let its control group use more of the processors", Risk::Review)
                .verify(format!("nr_throttled in {}/cpu.stat stands still under load", limit.group));
            let percent = limit.thousandths / 10;
            Some(match (unit_of(process, &limit.group), &process.container) {
                (Some(unit), _) => {
                    let set = |percent: u64| format!("CPUQuota={percent}%");
                    remedy
                        .command(
                            &["systemctl", "set-property", "--runtime", unit, &set(percent * 2)],
                            &[&["systemctl", "set-property", "--runtime", unit, &set(percent)]],
                        )
                        .advice("and write a higher CPUQuota= into the unit, or have fewer workers share what it has")
                }
                (None, Some(container)) => remedy.advice(format!(
                    "docker update --cpus={} {container}, and the same where it is started (`cpus:` of Compose, \
                     resources.limits.cpu of Kubernetes), or fewer workers",
                    decimal(limit.thousandths * 2)
                )),
                (None, None) => remedy.advice(format!(
                    "raise the quota of {} where it is set, or have fewer workers share what it has",
                    limit.group
                )),
            })
        }
        Kind::Memory(process, limit) => Some(
            Remedy::new("Let its control group have more memory, or need less", Risk::ShowOnly)
                .advice(match unit_of(process, &limit.group) {
                    Some(unit) => format!("raise MemoryHigh= or MemoryMax= of {unit}, or have fewer workers"),
                    None => {
                        format!("raise the limit of {} where it is set, or have fewer workers", limit.group)
                    }
                })
                .verify("it stays below its limit under load"),
        ),
        Kind::Wait => None,
    }
}

/// The unit of a process, if the limit is its own and not that of a slice around it.
fn unit_of<'p>(process: &'p Process, group: &str) -> Option<&'p str> {
    let unit = process.unit.as_deref().filter(|unit| unit.ends_with(".service"))?;
    (name(group) == unit).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::read_timeout_too_short::tests::logged;
    use crate::fixture::Fixture;

    const QUICK: [(&str, u32); 8] = [("/reports/day", 100); 8];

    /// A slow backend of `shop.service`, whose control group has such files.
    fn slow(files: &str) -> Fixture {
        logged(&QUICK)
            .with("listeners", "127.0.0.1:3000 node unit=shop.service")
            .with("control-group /system.slice/shop.service", files)
            .with("options", "now=2026-11-21T02:29:30Z")
    }

    /// What its finding argues, and its remedies.
    fn told(fixture: &Fixture) -> String {
        let report = fixture.report();
        let slow = report.findings.iter().find(|finding| finding.cause == "upstream-slow").unwrap();
        format!("{:?} {:?}", slow.evidence, slow.remedies)
    }

    #[test]
    fn hit_a_quota_of_processor_time_holds_it_up() {
        let now =
            "cpu.max 20000 100000\ncpu.stat nr_periods 36;nr_throttled 34 => nr_periods 40;nr_throttled 38\n";
        let text = told(&slow(now));
        assert!(text.contains("shop.service was throttled in 4 of 4 periods"), "{text}");
        assert!(text.contains("it may use 0.2 processors") && text.contains("CPUQuota=40%"), "{text}");
        let before = "cpu.max 20000 100000\ncpu.stat nr_periods 40;nr_throttled 38\n";
        let text = told(&slow(before));
        assert!(text.contains("38 of the 40 periods in which it ran"), "{text}");
    }

    #[test]
    fn hit_memory_is_taken_back_and_a_disk_is_waited_for() {
        let files = "memory.current 67000000\nmemory.high 67108864\nmemory.max max\nmemory.events high 7 => high 9\n\
            io.pressure some avg10=81.50 total=1;full avg10=80.00 total=1\n";
        let text = told(&slow(files));
        assert!(text.contains("at its limit of 64 MiB of memory") && text.contains("MemoryHigh="), "{text}");
        assert!(text.contains("waited for a disk in 80 %"), "{text}");
        // What is seen now says nothing of an hour ago.
        let later = told(&slow(files).with("options", "now=2026-11-21T03:20:00Z"));
        assert!(!later.contains("64 MiB") && !later.contains("a disk"), "{later}");
    }

    #[test]
    fn near_miss_its_figures_are_harmless() {
        for files in [
            "cpu.max 20000 100000\ncpu.stat nr_periods 400;nr_throttled 2 => nr_periods 404;nr_throttled 2\n",
            "cpu.max max 100000\ncpu.stat nr_periods 0;nr_throttled 0\n",
            "memory.current 67000000\nmemory.max 67108864\nmemory.events max 7\n",
            "memory.current 7000000\nmemory.max 67108864\nmemory.events max 7 => max 8\n",
            "io.pressure some avg10=11.50 total=1;full avg10=3.00 total=1\n",
            "/proc/pressure/cpu some avg10=91.50 total=1\n",
        ] {
            let text = told(&slow(files));
            assert!(!text.contains("control group") && !text.contains("waited"), "{files}: {text}");
        }
    }

    #[test]
    fn gap_nobody_may_look() {
        let blind = slow("").without("control-group /system.slice/shop.service");
        let text = told(&blind);
        assert!(!text.contains("control group"), "{text}");
        assert!(blind.summary().contains("Likely upstream-slow"), "{}", blind.summary());
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([200, 1000, 1500, 2250].map(decimal), ["0.2", "1", "1.5", "2.25"]);
        assert_eq!(name("/sys/fs/cgroup/system.slice/shop.service"), "shop.service");
        assert_eq!(name(&format!("/sys/fs/cgroup/cpu/docker/{}", "ab".repeat(32))), "abababababab");
    }
}
