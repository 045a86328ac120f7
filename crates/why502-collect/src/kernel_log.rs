//! The kernel's messages: its ring buffer, else the journal, else what syslog wrote of them.

use crate::command::run;
use crate::files::words;
use crate::root::RootDir;
use crate::server_logs::modified;
use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::{Duration, Instant};
use why502_decode::host::{is_kernel_line, is_kernel_word};
use why502_facts::{Answer, FactBody, GapReason, KernelLogRecord, KernelLogSource, Root, Stamp};

/// The most records of the ring buffer that are read.
const MAX_RECORDS: usize = 200_000;
/// A record that is larger cannot be read (`CONSOLE_EXT_LOG_MAX` in `kernel/printk/printk.c`).
const RECORD: usize = 8192;
/// The most lines that are kept: the newest.
const MAX_KEPT: usize = 1000;
/// The most bytes of a line that are kept.
const MAX_LINE: usize = 1024;
/// A ring buffer that reaches back less may miss the failures that are looked at.
const SHORT: Duration = Duration::from_hours(24);
/// How long the journal is read, and how much of its end.
const JOURNAL_TIME: Duration = Duration::from_secs(2);
const MAX_JOURNAL: u64 = 16 << 20;
const MAX_JOURNAL_LINES: &str = "--lines=20000";
/// The files of Debian's rsyslog, of Red Hat's, and of those that write everything into one.
const FILES: [&str; 3] = ["/var/log/kern.log", "/var/log/messages", "/var/log/syslog"];
/// How much of the end of such a file is read, in bytes.
const MAX_FILE: u64 = 8 << 20;

/// What the kernel says, from the source that reaches back furthest of those that may be read.
pub(crate) fn read_kernel_log(stop: Instant) -> Answer {
    let ring = read_ring();
    if ring.as_ref().is_ok_and(Ring::reaches_far) {
        return ring.map_or_else(without, |ring| known(ring.record()));
    }
    if let Some(journal) = read_journal(stop.min(Instant::now() + JOURNAL_TIME)) {
        return known(journal);
    }
    match ring {
        Ok(ring) => known(ring.record()),
        Err(errno) => FILES.iter().find_map(|path| read_syslog(path)).map_or_else(|| without(errno), known),
    }
}

fn known(record: KernelLogRecord) -> Answer {
    Answer::known(FactBody::KernelLog(record))
}

/// Why the kernel's log could not be read.
fn without(errno: Errno) -> Answer {
    let why = match errno {
        Errno::ACCESS | Errno::PERM => GapReason::Denied,
        Errno::NOENT | Errno::NXIO | Errno::NODEV => GapReason::Unsupported,
        _ => GapReason::Failed,
    };
    let says = format!(
        "/dev/kmsg: {}, and neither the journal nor a file in /var/log has the kernel's messages",
        words(errno)
    );
    Answer::unknown(why, says)
}

/// Lines of which the newest are kept, with the oldest that was looked at.
#[derive(Debug, Default)]
struct Kept {
    oldest: Option<Vec<u8>>,
    lines: VecDeque<Vec<u8>>,
}

impl Kept {
    /// Takes the next line; `stamp` is how much of it tells when it was written.
    fn take(&mut self, line: &[u8], stamp: usize) {
        let stamp = &line[..stamp.min(line.len())];
        self.oldest.get_or_insert_with(|| stamp.to_vec());
        if !is_kernel_word(line) {
            return;
        }
        if self.lines.len() == MAX_KEPT {
            self.lines.pop_front();
            // What was said before the first line that is kept is not known.
            self.oldest = self.lines.front().cloned();
        }
        self.lines.push_back(line[..line.len().min(MAX_LINE)].to_vec());
    }

    fn record(self, source: KernelLogSource) -> KernelLogRecord {
        let lines: Vec<Vec<u8>> = self.lines.into();
        let mut oldest = self.oldest.unwrap_or_default();
        oldest.truncate(MAX_LINE);
        KernelLogRecord { source, lines: lines.join(&b'\n').into(), oldest: oldest.into() }
    }
}

/// What the ring buffer holds.
#[derive(Debug, Default)]
struct Ring {
    kept: Kept,
    /// Whether it holds everything since the kernel was booted.
    is_whole: bool,
}

impl Ring {
    /// Whether it began before anything that is usually looked at.
    fn reaches_far(&self) -> bool {
        let oldest = self.kept.oldest.as_deref().unwrap_or_default();
        let micros = oldest.split(|byte| *byte == b',').nth(2);
        let micros = micros.and_then(|micros| std::str::from_utf8(micros).ok()?.parse().ok()).unwrap_or(0);
        let age = since(ClockId::Boottime).saturating_sub(Duration::from_micros(micros));
        age >= SHORT
    }

    fn record(self) -> KernelLogRecord {
        let now = Timestamp::now().as_millisecond();
        // Stamps are those of local_clock(): it stands still while the host sleeps, and nobody corrects its pace.
        let zeros = [ClockId::Boottime, ClockId::Monotonic, ClockId::MonotonicRaw].map(|clock| {
            let since_zero = i64::try_from(since(clock).as_millis()).unwrap_or(0);
            Stamp(now - since_zero)
        });
        let from = zeros.into_iter().min().unwrap_or(Stamp(now));
        let to = zeros.into_iter().max().unwrap_or(Stamp(now));
        let mut kept = self.kept;
        if self.is_whole {
            kept.oldest = Some(b"0,0,0,-;".to_vec());
        }
        kept.record(KernelLogSource::Ring { from, to })
    }
}

fn since(clock: ClockId) -> Duration {
    let reading = clock_gettime(clock);
    Duration::new(u64::try_from(reading.tv_sec).unwrap_or(0), u32::try_from(reading.tv_nsec).unwrap_or(0))
}

/// Reads the ring buffer. Every opened descriptor has a place of its own in it, so nobody else misses anything.
fn read_ring() -> Result<Ring, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let device = rustix::fs::open("/dev/kmsg", flags, Mode::empty())?;
    let mut ring = Ring::default();
    let mut buffer = vec![0; RECORD];
    for n_read in 0..MAX_RECORDS {
        match rustix::io::read(&device, &mut buffer) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(length) => {
                // Lines that follow are the device's properties.
                let record = buffer[..length].split(|byte| *byte == b'\n').next().unwrap_or_default();
                let stamp = record.iter().position(|byte| *byte == b';').map_or(0, |end| end + 1);
                let is_first = record[..stamp].split(|byte| *byte == b',').nth(1) == Some(b"0");
                ring.is_whole |= n_read == 0 && is_first;
                ring.kept.take(record, stamp);
            }
            // It was overwritten before it was read; the next read goes on with the oldest that is left.
            Err(Errno::PIPE) => {
                ring.is_whole = false;
                ring.kept.oldest = None;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    if ring.kept.lines.len() == MAX_KEPT {
        ring.is_whole = false;
    }
    Ok(ring)
}

/// The kernel's messages in the journal, of all boots; `None` if it has none that may be read.
fn read_journal(deadline: Instant) -> Option<KernelLogRecord> {
    // Newest first: where time or size do not suffice, the end is what is read.
    let arguments = [
        "--quiet",
        "--no-pager",
        "--all",
        "--reverse",
        MAX_JOURNAL_LINES,
        "--no-hostname",
        "--output=short-unix",
        "_TRANSPORT=kernel",
    ];
    let output = run("journalctl", &arguments, MAX_JOURNAL, deadline).ok()?;
    let text = output.stdout.as_slice();
    // The last line may have been cut.
    let text = &text[..text.iter().rposition(|byte| *byte == b'\n')?];
    let mut kept = Kept::default();
    for line in text.split(|byte| *byte == b'\n').rev().filter(|line| is_kernel_line(line)) {
        let stamp = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        kept.take(line, stamp);
    }
    kept.oldest.is_some().then(|| kept.record(KernelLogSource::Journal))
}

/// The kernel's messages at the end of a file of syslog; `None` if it has none that may be read.
fn read_syslog(path: &str) -> Option<KernelLogRecord> {
    let (mut file, stat) = RootDir::open(Root::Host).ok()?.open_file(path).ok()?;
    let size = u64::try_from(stat.st_size).ok()?;
    let begin = size.saturating_sub(MAX_FILE);
    let bytes = read_from(&mut file, begin, size - begin)?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    if begin > 0 {
        lines.next();
    }
    let mut kept = Kept::default();
    for line in lines.filter(|line| is_kernel_line(line)) {
        kept.take(line, memchr::memmem::find(line, b" kernel: ").unwrap_or(line.len()));
    }
    let modified = modified(&stat);
    kept.oldest.is_some().then(|| kept.record(KernelLogSource::File { path: path.to_owned(), modified }))
}

fn read_from(file: &mut File, begin: u64, length: u64) -> Option<Vec<u8>> {
    file.seek(SeekFrom::Start(begin)).ok()?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(lines: &[String]) -> KernelLogRecord {
        let mut kept = Kept::default();
        for line in lines {
            kept.take(line.as_bytes(), line.find(';').unwrap() + 1);
        }
        kept.record(KernelLogSource::Journal)
    }

    #[test]
    fn the_newest_words_are_kept_and_the_oldest_line_says_how_far_they_reach() {
        let word = |micros: usize| format!("6,1,{micros},-;nf_conntrack: table full, dropping packet");
        let few = kept(&["6,0,1,-;Linux version".to_owned(), word(2)]);
        assert_eq!((few.oldest, few.lines), ("6,0,1,-;".into(), word(2).as_str().into()));
        let many: Vec<String> = (0..MAX_KEPT + 7).map(word).collect();
        let many = kept(&many);
        assert_eq!(many.oldest, word(7).as_str().into());
        assert_eq!(many.lines.as_slice().split(|byte| *byte == b'\n').count(), MAX_KEPT);
    }

    #[test]
    fn who_may_read_nothing_has_a_gap() {
        match read_kernel_log(Instant::now() + Duration::from_secs(20)) {
            Answer::Known(body) => assert!(matches!(*body, FactBody::KernelLog(_))),
            Answer::Unknown { why, .. } => assert!(matches!(why, GapReason::Denied | GapReason::Unsupported)),
            Answer::Absent => panic!("a kernel always says something"),
        }
    }

    #[test]
    fn lines_of_the_kernel_are_read_from_a_file_of_syslog() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("messages").display().to_string();
        let kill = "Nov 30 12:26:03 shop kernel: [1.2] Out of memory: Killed process 7 (node) total-vm:8kB";
        std::fs::write(
            &path,
            format!("Nov 30 12:00:00 shop cron: x\nNov 30 12:01:00 shop kernel: [1.1] up\n{kill}\n"),
        )
        .unwrap();
        let record = read_syslog(&path).unwrap();
        assert_eq!((record.oldest, record.lines), ("Nov 30 12:01:00 shop".into(), kill.into()));
        assert_eq!(read_syslog("/no/such/file"), None);
    }
}
