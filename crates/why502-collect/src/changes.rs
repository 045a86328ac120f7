//! What was changed on the host: the times of files, and the ends of package managers' logs.

use crate::files::{file_status_of, unreadable};
use crate::glob::glob;
use crate::root::RootDir;
use crate::server_logs::modified;
use rustix::fs::Stat;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use why502_decode::host::{is_package_line, package_stamp_end};
use why502_facts::{Answer, FactBody, FileTimes, PackageLogRecord, PackageManager, PathTimes, Root, Stamp};

/// The most paths that are looked at.
const MAX_PATHS: usize = 512;
/// How much of the end of a log is read, the newest rotated one included, in bytes.
const MAX_LOG: u64 = 1 << 20;
/// The most lines that are kept: the newest.
const MAX_LINES: usize = 2000;
/// The most bytes of a line that are kept.
const MAX_LINE: usize = 512;
/// How the names of rotated logs end that are compressed.
const COMPRESSED: [&str; 4] = [".gz", ".bz2", ".xz", ".zst"];

/// When files and directories were changed.
pub(crate) fn read_file_times(root: Root, paths: &[String]) -> Answer {
    let directory = match RootDir::open(root) {
        Ok(directory) => directory,
        Err(errno) => return unreadable(errno, "/"),
    };
    let times = |path: &String| FileTimes { path: path.clone(), times: times_of(&directory, path) };
    Answer::known(FactBody::FileTimes(paths.iter().take(MAX_PATHS).map(times).collect()))
}

fn times_of(directory: &RootDir, path: &str) -> PathTimes {
    let walk = directory.walk(path);
    if let Some(errno) = walk.stopped {
        return match unreadable(errno, path) {
            Answer::Unknown { why, says } => PathTimes::Unknown { why, says },
            Answer::Absent | Answer::Known(_) => PathTimes::Absent,
        };
    }
    let Some(last) = walk.steps.last() else { return PathTimes::Absent };
    let links = walk.steps.iter().filter(|step| step.link.is_some());
    let status = file_status_of(&last.stat);
    PathTimes::Known {
        kind: status.kind,
        modified: status.modified,
        changed: changed(&last.stat),
        linked: links.map(|link| modified(&link.stat)).max(),
    }
}

/// When the status of a file was changed last.
fn changed(stat: &Stat) -> Stamp {
    let millis = i64::try_from(stat.st_ctime_nsec / 1_000_000).unwrap_or(0);
    Stamp(stat.st_ctime.saturating_mul(1000).saturating_add(millis))
}

/// The end of a package manager's log.
pub(crate) fn read_package_log(manager: PackageManager) -> Answer {
    read_log(manager, manager.log())
}

fn read_log(manager: PackageManager, path: &str) -> Answer {
    let tail = match read_tail(path, MAX_LOG) {
        Ok(tail) => tail,
        Err(errno) => return unreadable(errno, path),
    };
    let mut kept = Kept { manager, oldest: None, lines: VecDeque::new() };
    let mut is_whole = tail.is_whole;
    if is_whole {
        let room = MAX_LOG.saturating_sub(u64::try_from(tail.bytes.len()).unwrap_or(MAX_LOG));
        let rotated = rotated(path);
        let tails = rotated.iter().flatten().filter(|path| !is_compressed(path));
        let newest = tails.filter_map(|path| read_tail(path, room).ok()).max_by_key(|tail| tail.modified);
        is_whole = match rotated.as_deref() {
            Some([]) => true,
            Some([_]) => newest.as_ref().is_some_and(|tail| tail.is_whole),
            Some(_) | None => false,
        };
        if let Some(newest) = newest {
            kept.take_all(&newest.bytes);
        }
    }
    kept.take_all(&tail.bytes);
    Answer::known(FactBody::PackageLog(kept.record(is_whole, tail.modified)))
}

/// The end of a file.
struct Tail {
    bytes: Vec<u8>,
    /// Whether these are all of it.
    is_whole: bool,
    modified: Stamp,
}

/// The last bytes of a file, from the begin of a line on.
fn read_tail(path: &str, most: u64) -> Result<Tail, Errno> {
    let (mut file, stat) = RootDir::open(Root::Host)?.open_file(path)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let begin = size.saturating_sub(most);
    let bytes = read_from(&mut file, begin, size - begin)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let cut = match begin {
        0 => 0,
        _ => bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1),
    };
    Ok(Tail { bytes: bytes[cut..].to_vec(), is_whole: begin == 0, modified: modified(&stat) })
}

fn read_from(file: &mut File, begin: u64, length: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The rotated files of a log, `dpkg.log.1`, `dpkg.log.2.gz`, `yum.log-20261101`; `None` where nobody may list them.
fn rotated(path: &str) -> Option<Vec<String>> {
    RootDir::open(Root::Host).and_then(|root| glob(&root, &format!("{path}[.-]*"))).ok()
}

fn is_compressed(path: &str) -> bool {
    COMPRESSED.iter().any(|end| path.ends_with(end))
}

/// Lines of which the newest are kept, with the oldest that was looked at.
struct Kept {
    manager: PackageManager,
    oldest: Option<Vec<u8>>,
    lines: VecDeque<Vec<u8>>,
}

impl Kept {
    fn take_all(&mut self, bytes: &[u8]) {
        for line in bytes.split(|byte| *byte == b'\n') {
            let line = &line[..line.len().min(MAX_LINE)];
            let Some(end) = package_stamp_end(self.manager, line) else { continue };
            self.oldest.get_or_insert_with(|| line[..end].to_vec());
            if !is_package_line(self.manager, line) {
                continue;
            }
            if self.lines.len() == MAX_LINES {
                self.lines.pop_front();
                // What was done before the first line that is kept is not known.
                self.oldest = self.lines.front().cloned();
            }
            self.lines.push_back(line.to_vec());
        }
    }

    fn record(self, is_whole: bool, modified: Stamp) -> PackageLogRecord {
        let is_whole = is_whole && self.lines.len() < MAX_LINES;
        let lines: Vec<Vec<u8>> = self.lines.into();
        PackageLogRecord {
            lines: lines.join(&b'\n').into(),
            oldest: self.oldest.unwrap_or_default().into(),
            is_whole,
            modified: Some(modified),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use why502_facts::{FileKind, GapReason};

    const UPGRADE: &str = "2026-11-21 04:10:01 upgrade nginx:amd64 1.22.1-9 1.22.1-9+deb12u1";

    fn log(path: &str) -> PackageLogRecord {
        match read_log(PackageManager::Dpkg, path) {
            Answer::Known(body) => match *body {
                FactBody::PackageLog(log) => log,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_log_is_read_with_its_newest_rotated_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dpkg.log").display().to_string();
        assert_eq!(read_log(PackageManager::Dpkg, &path), Answer::Absent);
        fs::write(&path, format!("2026-11-21 04:10:00 startup archives unpack\n{UPGRADE}\n")).unwrap();
        let alone = log(&path);
        assert_eq!((alone.lines, alone.oldest), (UPGRADE.into(), "2026-11-21 04:10:00 ".into()));
        assert!(alone.is_whole);
        let old = "2026-10-31 23:10:01 install nginx:amd64 <none> 1.22.1-9";
        fs::write(format!("{path}.1"), format!("{old}\n")).unwrap();
        let both = log(&path);
        assert_eq!(both.lines, format!("{old}\n{UPGRADE}").as_str().into());
        assert!(both.is_whole && both.oldest.as_slice().starts_with(b"2026-10-31"));
        fs::write(format!("{path}.2.gz"), "\x1f").unwrap();
        assert!(!log(&path).is_whole);
    }

    #[test]
    fn of_a_long_log_the_end_is_read_from_the_begin_of_a_line_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dpkg.log").display().to_string();
        let status = "2026-11-20 04:10:01 status half-installed adduser:all 3.134\n";
        fs::write(&path, status.repeat(40_000) + UPGRADE + "\n").unwrap();
        let long = log(&path);
        assert_eq!((long.lines, long.is_whole), (UPGRADE.into(), false));
        fs::write(&path, format!("{UPGRADE}\n").repeat(MAX_LINES + 7)).unwrap();
        let many = log(&path);
        assert_eq!(many.lines.as_slice().split(|byte| *byte == b'\n').count(), MAX_LINES);
        assert!(!many.is_whole);
    }

    #[test]
    fn times_tell_a_file_from_one_that_was_put_in_place_and_from_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        fs::write(path("old.conf"), "x").unwrap();
        let file = File::options().write(true).open(path("old.conf")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        std::os::unix::fs::symlink("old.conf", path("link.conf")).unwrap();
        let paths = [path("old.conf"), path("link.conf"), path("none.conf")];
        let Answer::Known(body) = read_file_times(Root::Host, &paths) else { panic!() };
        let FactBody::FileTimes(times) = *body else { panic!() };
        let [old, link, none] = times.as_slice() else { panic!("{times:?}") };
        assert_eq!(none.times, PathTimes::Absent);
        let PathTimes::Known { kind, modified, changed, linked } = &old.times else { panic!("{old:?}") };
        assert_eq!((*kind, *modified, *linked), (FileKind::File, Stamp(0), None));
        assert!(changed.0 > 0);
        let PathTimes::Known { linked: Some(linked), .. } = &link.times else { panic!("{link:?}") };
        assert!(linked.0 > 0);
        let through = read_file_times(Root::Host, &[format!("{}/x", path("old.conf"))]);
        let Answer::Known(body) = through else { panic!() };
        assert!(matches!(&*body, FactBody::FileTimes(times) if times[0].times == PathTimes::Absent));
    }

    #[test]
    fn who_is_gone_has_no_files() {
        let gone = read_file_times(Root::Process(u32::MAX), &["/etc/hosts".to_owned()]);
        assert!(matches!(gone, Answer::Absent | Answer::Unknown { why: GapReason::Failed, .. }), "{gone:?}");
    }
}
