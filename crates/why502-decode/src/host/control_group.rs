//! Control groups: `/proc/PID/cgroup` (cgroups(7)) and the files of both versions of the controllers
//! (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, Documentation/scheduler/sched-bwc.rst).

use std::collections::BTreeMap;
use why502_facts::{
    ControlGroup, ControlGroupRecord, MemoryLimit, Pressure, ProcessorLimit, Resource, lossy,
};

/// Where the hierarchies are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// So many groups above one are looked at.
const MAX_LEVELS: usize = 8;
/// From so many bytes on, a limit of version 1 is none: it is the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 62;
/// The files of a group that are read, of either version.
pub const CONTROL_GROUP_FILES: [&str; 15] = [
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.max",
    "cpu.pressure",
    "cpu.stat",
    "io.pressure",
    "memory.current",
    "memory.events",
    "memory.failcnt",
    "memory.high",
    "memory.limit_in_bytes",
    "memory.max",
    "memory.oom_control",
    "memory.pressure",
    "memory.usage_in_bytes",
];

/// The directories of a process's control groups that matter, its own first: those of the unified hierarchy and of the
/// controllers `cpu` and `memory` of version 1, each with those above. What lies outside of what can be seen is left out.
pub fn control_group_directories(cgroup: &[u8]) -> Vec<String> {
    let text = lossy(cgroup);
    let mut directories = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let names = || controllers.split(',').filter(|name| matches!(*name, "cpu" | "memory"));
        if path.split('/').any(|part| part == "..") || !path.starts_with('/') {
            continue;
        }
        let mounts: Vec<String> = if controllers.is_empty() {
            vec![ROOT.to_owned(), format!("{ROOT}/unified")]
        } else if names().next().is_some() {
            // A link may bear the name of each.
            let each = names().map(|name| format!("{ROOT}/{name}"));
            std::iter::once(format!("{ROOT}/{controllers}")).chain(each).collect()
        } else {
            continue;
        };
        directories
            .extend(mounts.iter().flat_map(|mount| levels(path).map(move |level| format!("{mount}{level}"))));
    }
    let mut seen = std::collections::BTreeSet::new();
    directories.retain(|directory| seen.insert(directory.clone()));
    directories
}

/// A path and those above it, up to the root, which is empty.
fn levels(path: &str) -> impl Iterator<Item = &str> {
    let first = path.trim_end_matches('/');
    std::iter::successors(Some(first), |level| level.rfind('/').map(|end| &level[..end])).take(MAX_LEVELS)
}

/// What the control groups of processes may have, and what they lack.
pub fn decode_control_groups(record: &ControlGroupRecord) -> Vec<ControlGroup> {
    let files: BTreeMap<&str, (String, String)> = record
        .files
        .iter()
        .map(|file| (file.path.as_str(), (lossy(file.first.as_slice()), lossy(file.second.as_slice()))))
        .collect();
    let looks = Looks { files };
    let host_pressure = looks.pressure("/proc/pressure", "");
    let member = |member: &why502_facts::ControlGroupMember| {
        let directories = control_group_directories(member.cgroup.as_slice());
        let pressure = directories.iter().map(|directory| looks.pressure(directory, ".pressure"));
        ControlGroup {
            pid: member.pid,
            processor: directories.iter().filter_map(|directory| looks.processor(directory)).collect(),
            memory: directories.iter().filter_map(|directory| looks.memory(directory)).collect(),
            pressure: pressure.into_iter().find(|own| !own.is_empty()).unwrap_or_default(),
            host_pressure: host_pressure.clone(),
            millis: record.millis,
        }
    };
    record.members.iter().map(member).collect()
}

/// All files at both looks.
struct Looks<'r> {
    files: BTreeMap<&'r str, (String, String)>,
}

impl Looks<'_> {
    fn file(&self, directory: &str, name: &str) -> Option<&(String, String)> {
        self.files.get(format!("{directory}/{name}").as_str())
    }

    /// What a file held last.
    fn last(&self, directory: &str, name: &str) -> Option<&str> {
        let (first, second) = self.file(directory, name)?;
        Some(if second.is_empty() { first } else { second }.trim())
    }

    fn number(&self, directory: &str, name: &str) -> Option<u64> {
        self.last(directory, name)?.parse().ok().filter(|number| *number < NO_LIMIT)
    }

    /// A counter at both looks.
    fn counter(&self, directory: &str, file: &str, name: &str) -> Option<(u64, u64)> {
        let (first, second) = self.file(directory, file)?;
        let first = keyed(first, name)?;
        Some((first, keyed(second, name).unwrap_or(first).max(first)))
    }

    fn processor(&self, directory: &str) -> Option<ProcessorLimit> {
        // `200000 1000000` or `max 100000`; of version 1 a file for each, without a limit -1.
        let limit = self.last(directory, "cpu.max").and_then(|line| {
            let (quota, period) = line.split_once(' ')?;
            Some((quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?))
        });
        let (quota, period) = limit.or_else(|| {
            self.number(directory, "cpu.cfs_quota_us").zip(self.number(directory, "cpu.cfs_period_us"))
        })?;
        let thousandths = quota.checked_mul(1000)?.checked_div(period)?;
        let counter = |name: &str| self.counter(directory, "cpu.stat", name).unwrap_or_default();
        let ((periods, periods_now), (throttled, throttled_now)) =
            (counter("nr_periods"), counter("nr_throttled"));
        Some(ProcessorLimit {
            group: directory.to_owned(),
            thousandths,
            n_periods: periods_now,
            n_throttled: throttled_now,
            n_periods_now: periods_now - periods,
            n_throttled_now: throttled_now - throttled,
        })
    }

    fn memory(&self, directory: &str) -> Option<MemoryLimit> {
        let max =
            self.number(directory, "memory.max").or_else(|| self.number(directory, "memory.limit_in_bytes"));
        let high = self.number(directory, "memory.high");
        let n_killed = self
            .counter(directory, "memory.events", "oom_kill")
            .or_else(|| self.counter(directory, "memory.oom_control", "oom_kill"))
            .map(|(_, now)| now);
        let used = self
            .number(directory, "memory.current")
            .or_else(|| self.number(directory, "memory.usage_in_bytes"))?;
        let grown = |(first, second): (u64, u64)| second - first;
        let event = |name: &str| self.counter(directory, "memory.events", name).map_or(0, grown);
        let failed = self.file(directory, "memory.failcnt").and_then(|(first, second)| {
            let first: u64 = first.trim().parse().ok()?;
            Some(second.trim().parse().unwrap_or(first).saturating_sub(first))
        });
        let is_limited = max.is_some() || high.is_some();
        is_limited.then(|| MemoryLimit {
            group: directory.to_owned(),
            used,
            max,
            high,
            n_reached_now: event("high") + event("max") + failed.unwrap_or(0),
            n_killed,
        })
    }

    fn pressure(&self, directory: &str, ending: &str) -> Vec<Pressure> {
        let of = [("io", Resource::Io), ("memory", Resource::Memory), ("cpu", Resource::Processor)];
        let own = of.into_iter().filter_map(|(name, of)| {
            let text = self.last(directory, &format!("{name}{ending}"))?;
            // Before Linux 5.13 there is no `full` of processors.
            Some(Pressure { of, some: average(text, "some")?, full: average(text, "full").unwrap_or(0) })
        });
        own.collect()
    }
}

/// `nr_periods 40`.
fn keyed(text: &str, name: &str) -> Option<u64> {
    let value = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok())?
    };
    text.lines().find_map(value)
}

/// `some avg10=12.34 avg60=0.00 avg300=0.00 total=0` in hundredths of a percent.
fn average(text: &str, kind: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.split(' ').next() == Some(kind))?;
    let value = line.split(' ').find_map(|word| word.strip_prefix("avg10="))?;
    let (whole, hundredths) = value.split_once('.')?;
    let hundredths: u32 = hundredths.get(..2)?.parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use why502_facts::{Blob, ControlGroupFile, ControlGroupMember};

    fn record(cgroup: &str, files: &[(&str, &str, &str)]) -> ControlGroupRecord {
        let file = |(path, first, second): &(&str, &str, &str)| ControlGroupFile {
            path: (*path).to_owned(),
            first: Blob::from(*first),
            second: Blob::from(*second),
        };
        ControlGroupRecord {
            members: vec![ControlGroupMember { pid: 7, cgroup: Blob::from(cgroup) }],
            files: files.iter().map(file).collect(),
            millis: 500,
        }
    }

    #[test]
    fn a_unit_of_the_unified_hierarchy_is_throttled_and_short_of_memory() {
        let own = "/sys/fs/cgroup/system.slice/shop.service";
        let name = |file: &str| format!("{own}/{file}");
        let files = [
            (name("cpu.max"), "20000 100000\n", "20000 100000\n"),
            (
                name("cpu.stat"),
                "usage_usec 9\nnr_periods 36\nnr_throttled 34\nthrottled_usec 5\n",
                "usage_usec 9\nnr_periods 40\nnr_throttled 38\nthrottled_usec 5\n",
            ),
            (name("memory.current"), "990\n", "1000\n"),
            (name("memory.max"), "max\n", "max\n"),
            (name("memory.high"), "1000\n", "1000\n"),
            (
                name("memory.events"),
                "low 0\nhigh 7\nmax 0\noom 0\noom_kill 0\n",
                "low 0\nhigh 9\nmax 0\noom 0\noom_kill 0\n",
            ),
            (
                name("io.pressure"),
                "",
                "some avg10=81.50 avg60=1.00 avg300=0.10 total=9\nfull avg10=80.00 avg60=0.00 avg300=0.00 total=1\n",
            ),
            ("/sys/fs/cgroup/system.slice/cpu.max".to_owned(), "max 100000\n", "max 100000\n"),
            ("/proc/pressure/cpu".to_owned(), "", "some avg10=3.00 avg60=0.00 avg300=0.00 total=0\n"),
        ];
        let files: Vec<(&str, &str, &str)> =
            files.iter().map(|(path, first, second)| (path.as_str(), *first, *second)).collect();
        let group = decode_control_groups(&record("0::/system.slice/shop.service\n", &files)).remove(0);
        let limit = ProcessorLimit {
            group: own.to_owned(),
            thousandths: 200,
            n_periods: 40,
            n_throttled: 38,
            n_periods_now: 4,
            n_throttled_now: 4,
        };
        assert_eq!(group.processor, [limit]);
        assert_eq!(
            (group.memory[0].high, group.memory[0].max, group.memory[0].n_reached_now),
            (Some(1000), None, 2)
        );
        assert_eq!(group.pressure, [Pressure { of: Resource::Io, some: 8150, full: 8000 }]);
        assert_eq!(group.host_pressure, [Pressure { of: Resource::Processor, some: 300, full: 0 }]);
    }

    #[test]
    fn controllers_of_version_1_have_directories_of_their_own() {
        let cgroup = "4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n1:name=systemd:/x\n0::/\n";
        let directories = control_group_directories(cgroup.as_bytes());
        for wanted in [
            "/sys/fs/cgroup/memory/docker/ab",
            "/sys/fs/cgroup/cpu,cpuacct/docker/ab",
            "/sys/fs/cgroup/cpu/docker/ab",
            "/sys/fs/cgroup/cpu",
        ] {
            assert!(directories.iter().any(|own| own == wanted), "{wanted}: {directories:?}");
        }
        assert!(!directories.iter().any(|own| own.contains("systemd")), "{directories:?}");
        let files = [
            ("/sys/fs/cgroup/cpu/docker/ab/cpu.cfs_quota_us", "50000\n", "50000\n"),
            ("/sys/fs/cgroup/cpu/docker/ab/cpu.cfs_period_us", "100000\n", "100000\n"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n", "-1\n"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n", "100000\n"),
            ("/sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes", "2000\n", "2000\n"),
            ("/sys/fs/cgroup/memory/docker/ab/memory.usage_in_bytes", "1999\n", "1999\n"),
            ("/sys/fs/cgroup/memory/docker/ab/memory.failcnt", "3\n", "8\n"),
            (
                "/sys/fs/cgroup/memory/docker/ab/memory.oom_control",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
                "",
            ),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n", ""),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n", ""),
        ];
        let group = decode_control_groups(&record(cgroup, &files)).remove(0);
        assert_eq!(group.processor.iter().map(|own| own.thousandths).collect::<Vec<_>>(), [500]);
        let memory: Vec<_> =
            group.memory.iter().map(|own| (own.max, own.n_reached_now, own.n_killed)).collect();
        assert_eq!(memory, [(Some(2000), 5, Some(2))]);
    }

    #[test]
    fn what_lies_outside_of_the_namespace_is_not_followed() {
        assert!(control_group_directories(b"0::/../../system.slice\n").is_empty());
        assert!(control_group_directories(b"nonsense\n0::relative\n").is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in any::<Vec<u8>>(), text in "[a-z_ =.0-9\n]{0,80}", cgroup in "[0-9:a-z,/.]{0,40}") {
            control_group_directories(&bytes);
            let directories = control_group_directories(cgroup.as_bytes());
            let paths = directories.iter().chain([&"/proc/pressure".to_owned()])
                .flat_map(|own| CONTROL_GROUP_FILES.iter().map(move |name| format!("{own}/{name}"))).collect::<Vec<_>>();
            let files: Vec<(&str, &str, &str)> =
                paths.iter().map(|path| (path.as_str(), text.as_str(), cgroup.as_str())).collect();
            decode_control_groups(&record(&cgroup, &files));
        }
    }
}
