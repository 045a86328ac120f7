//! Control groups of processes: two looks at their files, and at the pressure on the host.

use crate::processes::read_small;
use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use why502_decode::host::{CONTROL_GROUP_FILES, control_group_directories};
use why502_facts::{
    Answer, Blob, ControlGroupFile, ControlGroupMember, ControlGroupRecord, FactBody, GapReason,
};

/// The most processes that are looked at.
const MAX_PROCESSES: usize = 16;
/// The most directories of control groups.
const MAX_DIRECTORIES: usize = 64;
/// Between the looks: some periods of the scheduler, which are a tenth of a second unless somebody sets them.
const PAUSE: Duration = Duration::from_millis(500);
/// The pressure on the whole host.
const HOST_FILES: [&str; 3] = ["/proc/pressure/cpu", "/proc/pressure/io", "/proc/pressure/memory"];

/// Looks twice at the control groups of processes.
pub(crate) fn read_control_groups(pids: &[u32]) -> Answer {
    let begin = Instant::now();
    let member = |pid: &u32| {
        let cgroup = read(&format!("/proc/{pid}/cgroup"))?;
        Some(ControlGroupMember { pid: *pid, cgroup })
    };
    let members: Vec<ControlGroupMember> = pids.iter().take(MAX_PROCESSES).filter_map(member).collect();
    if members.is_empty() {
        return Answer::Absent;
    }
    let directories: BTreeSet<String> =
        members.iter().flat_map(|member| control_group_directories(member.cgroup.as_slice())).collect();
    let there = directories.into_iter().filter(|directory| Path::new(directory).is_dir());
    let names = there.take(MAX_DIRECTORIES).flat_map(|directory| {
        CONTROL_GROUP_FILES.iter().map(move |name| format!("{directory}/{name}")).collect::<Vec<_>>()
    });
    let look = |path: String| {
        let first = read(&path)?;
        Some(ControlGroupFile { path, first, second: Blob::default() })
    };
    let mut files: Vec<ControlGroupFile> =
        names.chain(HOST_FILES.map(str::to_owned)).filter_map(look).collect();
    if files.is_empty() {
        return Answer::unknown(GapReason::Unsupported, "no files of control groups are mounted here");
    }
    thread::sleep(PAUSE);
    for file in &mut files {
        file.second = read(&file.path).unwrap_or_default();
    }
    let millis = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    Answer::known(FactBody::ControlGroups(ControlGroupRecord { members, files, millis }))
}

/// A file of the kernel; `None` where there is none, or none that may be read.
fn read(path: &str) -> Option<Blob> {
    read_small(path).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use why502_decode::host::decode_control_groups;

    #[test]
    fn two_looks_are_taken_at_what_is_there() {
        match read_control_groups(&[std::process::id(), u32::MAX]) {
            Answer::Known(body) => {
                let FactBody::ControlGroups(record) = *body else { panic!("another answer") };
                assert!(record.millis >= 500 && record.members.len() == 1);
                assert_eq!(decode_control_groups(&record).len(), 1);
            }
            Answer::Unknown { why, .. } => assert_eq!(why, GapReason::Unsupported),
            Answer::Absent => panic!("this process has control groups"),
        }
    }

    #[test]
    fn a_process_that_is_gone_is_absent() {
        assert_eq!(read_control_groups(&[u32::MAX]), Answer::Absent);
    }
}
