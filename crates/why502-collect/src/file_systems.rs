//! File systems under paths: statvfs(3), and the mount as the gateway's namespace has it.

use crate::files::{read_whole, unreadable};
use crate::root::RootDir;
use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use std::os::fd::AsRawFd as _;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use why502_facts::{Answer, FactBody, FileSystemRecord, FileSystemSpace, GapReason, Root};

/// How long a file system may take to answer: a local one does in microseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes a look in a thread that is left behind when it hangs: a server of NFS that is gone must not cost the other looks.
pub(crate) fn within(stop: Instant, look: impl FnOnce() -> Answer + Send + 'static) -> Answer {
    let (sender, answers) = mpsc::channel();
    thread::spawn(move || sender.send(look()));
    let patience = PATIENCE.min(stop.saturating_duration_since(Instant::now()));
    let silent = |_| Answer::unknown(GapReason::TimedOut, "the file system does not answer");
    answers.recv_timeout(patience).unwrap_or_else(silent)
}

/// The file system under a path, or under what exists of it.
pub(crate) fn read_file_system(root: Root, path: &str) -> Answer {
    let walk = match RootDir::open(root) {
        Ok(directory) => directory.walk(path),
        Err(errno) => return unreadable(errno, path),
    };
    match walk.stopped {
        None | Some(Errno::NOENT | Errno::NOTDIR) => {}
        Some(errno) => return unreadable(errno, path),
    }
    let Some(last) = walk.steps.last() else { return Answer::Absent };
    let space = match rustix::fs::fstatvfs(&last.handle) {
        Ok(space) => space,
        Err(errno) => return unreadable(errno, path),
    };
    let mount = mount_id(last.handle.as_raw_fd()).and_then(|id| mount_line(root, &id));
    Answer::known(FactBody::FileSystem(FileSystemRecord {
        path: last.path.clone(),
        space: FileSystemSpace {
            block_size: space.f_frsize,
            blocks: space.f_blocks,
            blocks_free: space.f_bfree,
            blocks_available: space.f_bavail,
            inodes: space.f_files,
            inodes_free: space.f_ffree,
            inodes_available: space.f_favail,
            read_only: space.f_flag.contains(StatVfsMountFlags::RDONLY),
        },
        mount: mount.map(Into::into),
    }))
}

/// The id of the mount that an open file is on (proc_pid_fdinfo(5)): no two mounts of any namespaces share one.
fn mount_id(descriptor: i32) -> Option<String> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).ok()?;
    Some(info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().to_owned())
}

/// The line about a mount, as the processes of a root see it.
fn mount_line(root: Root, id: &str) -> Option<Vec<u8>> {
    let mounts = match root {
        Root::Host => read_whole(&format!("/proc/{}/mountinfo", std::process::id())),
        Root::Process(pid) => read_whole(&format!("/proc/{pid}/mountinfo")),
    };
    let mounts = mounts?;
    let is_it = |line: &&[u8]| line.strip_prefix(id.as_bytes()).is_some_and(|rest| rest.starts_with(b" "));
    mounts.split(|byte| *byte == b'\n').find(is_it).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(root: Root, path: &str) -> FileSystemRecord {
        let Answer::Known(body) = read_file_system(root, path) else { panic!("nothing known of {path}") };
        let FactBody::FileSystem(record) = *body else { panic!("another answer") };
        record
    }

    #[test]
    fn the_nearest_that_exists_is_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(directory.path()).unwrap().display().to_string();
        let found = record(Root::Host, &format!("{path}/is/not/there"));
        assert_eq!(found.path, path);
        assert!(found.space.bytes() > 0 && !found.space.read_only);
        std::fs::write(directory.path().join("file"), "").unwrap();
        assert_eq!(record(Root::Host, &format!("{path}/file/below")).path, format!("{path}/file"));
    }

    #[test]
    fn the_mount_is_found_through_the_root_of_a_process_too() {
        let own = Root::Process(std::process::id());
        for root in [Root::Host, own] {
            let line = record(root, "/proc/self").mount.unwrap();
            assert!(String::from_utf8_lossy(line.as_slice()).contains(" /proc "), "{line:?}");
        }
    }

    #[test]
    fn a_process_that_is_gone_has_none() {
        assert_eq!(read_file_system(Root::Process(u32::MAX), "/"), Answer::Absent);
    }

    #[test]
    fn a_look_that_hangs_is_left_behind() {
        let begin = Instant::now();
        let hang = || {
            thread::sleep(Duration::from_mins(1));
            Answer::Absent
        };
        let answer = within(begin + Duration::from_millis(100), hang);
        assert!(matches!(answer, Answer::Unknown { why: GapReason::TimedOut, .. }));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
