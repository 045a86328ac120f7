//! The log files that a process holds open, as far as a server speaks of itself in them.

use crate::files::{unreadable, words};
use crate::root::open_handle;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use why502_decode::host::keep_server_words;
use why502_facts::{Answer, FactBody, GapReason, ServerLogRecord, Stamp};

/// The most files of a process that are read.
const MAX_FILES: usize = 4;
/// How much of the end of each is read, in bytes.
const MAX_TAIL: u64 = 256 << 10;
/// The most descriptors of a process that are looked at.
const MAX_DESCRIPTORS: usize = 4096;
/// Standard output and standard error.
const STANDARD: [u32; 2] = [1, 2];

/// What a server writes of its workers into the files that a process holds open to append to.
pub(crate) fn read_server_logs(pid: u32) -> Answer {
    let directory = format!("/proc/{pid}/fd");
    let descriptors = match descriptors(&directory) {
        Ok(descriptors) => descriptors,
        Err(errno) => return unreadable(errno, &directory),
    };
    let (mut logs, mut seen, mut denied) = (Vec::new(), BTreeSet::new(), None);
    for descriptor in descriptors.into_iter().filter(|descriptor| is_appended_to(pid, *descriptor)) {
        match read_log(&format!("{directory}/{descriptor}"), &mut seen) {
            Ok(log) => logs.extend(log),
            // It was closed meanwhile.
            Err(Errno::NOENT) => {}
            Err(errno) => denied = Some(errno),
        }
        if logs.len() == MAX_FILES {
            break;
        }
    }
    match denied {
        Some(errno) if logs.is_empty() => {
            Answer::unknown(GapReason::Denied, format!("{directory}: {}", words(errno)))
        }
        // What it writes goes to somebody else: a pipe, the journal.
        None if logs.is_empty() => {
            let says = format!("process {pid} appends to no file, so it says nothing of its workers here");
            Answer::unknown(GapReason::Unsupported, says)
        }
        _ => Answer::known(FactBody::ServerLogs(logs)),
    }
}

/// The descriptors of a process, in order.
fn descriptors(directory: &str) -> Result<Vec<u32>, Errno> {
    let errno = |error: &std::io::Error| Errno::from_io_error(error).unwrap_or(Errno::IO);
    let entries = fs::read_dir(directory).map_err(|error| errno(&error))?;
    let number = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    let mut descriptors: Vec<u32> = entries.filter_map(number).take(MAX_DESCRIPTORS).collect();
    descriptors.sort_unstable();
    Ok(descriptors)
}

/// Whether a descriptor is one that a log is written to: standard output or standard error, whatever they lead to, or
/// one that appends. A database writes in the middle of its files.
fn is_appended_to(pid: u32, descriptor: u32) -> bool {
    let Ok(info) = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}")) else { return false };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let Some(flags) = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()) else { return false };
    let flags = OFlags::from_bits_retain(flags);
    let is_written = flags.intersects(OFlags::WRONLY | OFlags::RDWR);
    is_written && (flags.contains(OFlags::APPEND) || STANDARD.contains(&descriptor))
}

/// One log; `None` if it is no regular file, or one that was read already.
///
/// The magic link leads to the very file that the process writes, also where its path now names another one, or none;
/// no path is looked up. It is opened without being touched before it is known to be a regular file.
fn read_log(link: &str, seen: &mut BTreeSet<(u64, u64)>) -> Result<Option<ServerLogRecord>, Errno> {
    let handle = rustix::fs::open(link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&handle)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_file || !seen.insert((stat.st_dev, stat.st_ino)) {
        return Ok(None);
    }
    let path =
        fs::read_link(link).map_or_else(|_| link.to_owned(), |path| path.to_string_lossy().into_owned());
    let mut file = File::from(open_handle(&handle)?);
    let tail = tail(&mut file, &stat).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let lines = keep_server_words(&tail).into();
    Ok(Some(ServerLogRecord { path, modified: modified(&stat), lines }))
}

/// The last lines of a file, as it was when its status was read: what is written meanwhile is not seen.
fn tail(file: &mut File, stat: &Stat) -> std::io::Result<Vec<u8>> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let begin = size.saturating_sub(MAX_TAIL);
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(size - begin).read_to_end(&mut bytes)?;
    if begin > 0 {
        let first = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        bytes.drain(..first);
    }
    Ok(bytes)
}

/// When a file was written last.
pub(crate) fn modified(stat: &Stat) -> Stamp {
    Stamp(
        stat.st_mtime
            .saturating_mul(1000)
            .saturating_add(i64::try_from(stat.st_mtime_nsec / 1_000_000).unwrap_or(0)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_log_that_was_removed_is_read_and_a_pipe_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.log");
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _pipe = OpenOptions::new().read(true).append(true).open(&pipe).unwrap();
        let mut log = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let _twice = log.try_clone().unwrap();
        writeln!(log, "[2026-11-30 06:00:46 +0000] [13] [CRITICAL] WORKER TIMEOUT (pid:15)").unwrap();
        writeln!(log, "a line of the application").unwrap();
        fs::remove_file(&path).unwrap();
        let Answer::Known(body) = read_server_logs(std::process::id()) else { panic!("nothing was read") };
        let FactBody::ServerLogs(logs) = *body else { panic!("another answer") };
        let own: Vec<_> = logs.iter().filter(|log| log.path.contains("server.log")).collect();
        assert_eq!(own.len(), 1);
        let lines = String::from_utf8_lossy(own[0].lines.as_slice()).into_owned();
        assert!(lines.contains("WORKER TIMEOUT") && !lines.contains("application"), "{lines}");
        assert!(!logs.iter().any(|log| log.path.contains("pipe")));
    }

    #[test]
    fn a_file_that_is_not_appended_to_is_no_log() {
        let file = tempfile::tempfile().unwrap();
        let descriptor = u32::try_from(file.as_raw_fd()).unwrap();
        assert!(!is_appended_to(std::process::id(), descriptor));
    }

    #[test]
    fn a_process_that_is_gone_has_none() {
        assert_eq!(read_server_logs(u32::MAX), Answer::Absent);
    }
}
