//! Logs: their ends, and windows of them, read over rotated siblings only as far as the window reaches.
//!
//! A log is read with `read(2)`, never mapped: a copytruncate under a map would kill the program. Where a window begins in
//! a file is found by bisection over the stamps of its lines, so that a log of ten gigabytes costs what a small one does.

mod console;
mod engine;
mod follow;
mod inputs;
mod lines;
mod packing;
mod rotation;
mod start;
mod surveyor;

pub use self::follow::{Checkpoint, FollowFrom, Follower, PollSummary, Position};
pub use self::inputs::{InputError, LogFile, LogSet, ReadSummary, open_logs};
pub use self::surveyor::LogSurveyor;

use self::console::{Located, Peeler, Wanted, locate, peel};
use self::lines::{Source, read_lines};
use self::rotation::{Rotated, rotated};
use self::start::{find_end, find_start};
use crate::files::unreadable;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use why502_decode::logs::{
    AccessDigester, AccessFormat, AccessSource, DEFAULT_MAX_RECORDS, DigestOptions, ErrorDigester, Extent,
    guess_format, stamp_of_error_line,
};
use why502_facts::{
    AccessLogFormat, Answer, FactBody, GapReason, LogKind, LogSlice, LogTail, Root, RouteOf, Stamp,
};

/// How much of a log's end is kept raw.
const TAIL: u64 = 64 * 1024;
/// How much of an error log before the window is searched for the onset of its failures.
const LOOK_BACK: u64 = 4 << 20;
/// So many of the newest lines are read of what the journal keeps: for a log's end, and for a window.
const JOURNAL_LINES: (u32, u32) = (200, 20_000);
/// How long the end of a log may take that the journal keeps.
const TAIL_PATIENCE: Duration = Duration::from_secs(4);

/// The last whole lines of a log; of its newest sibling if it was just rotated.
pub(crate) fn read_tail(root: Root, path: &str, kind: &LogKind) -> Answer {
    let wanted = Wanted { from: None, n_lines: JOURNAL_LINES.0, deadline: Instant::now() + TAIL_PATIENCE };
    let located = match locate(root, path, &wanted) {
        Ok(located) => located,
        Err(answer) => return answer,
    };
    let tail = tail_of(&located, &located.path).map(|tail| {
        if !tail.bytes.as_slice().is_empty() || located.is_alone() {
            return tail;
        }
        let siblings = rotated(&located.directory, &located.path);
        let sibling = siblings.into_iter().rev().find(|file| !file.is_compressed());
        sibling.and_then(|sibling| tail_of(&located, &sibling.path).ok()).unwrap_or(tail)
    });
    match (tail, &located.envelope) {
        (Ok(tail), Some(envelope)) => {
            let bytes = peel(*envelope, kind, tail.bytes.as_slice()).into();
            Answer::known(FactBody::LogTail(LogTail { bytes, ..tail }))
        }
        (Ok(tail), None) => Answer::known(FactBody::LogTail(tail)),
        (Err(errno), _) => unreadable(errno, path),
    }
}

fn tail_of(located: &Located, path: &str) -> Result<LogTail, Errno> {
    let (mut file, stat) = located.open(path)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let begin = size.saturating_sub(TAIL);
    let bytes = read_range(&mut file, begin, TAIL).map_err(|error| errno(&error))?;
    // A line that begins before the tail is cut.
    let whole = if begin == 0 {
        0
    } else {
        bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1)
    };
    Ok(LogTail { bytes: bytes[whole..].into(), size })
}

/// The digest of a window of a log.
pub(crate) fn read_slice(slice: &LogSlice, route: &RouteOf<'_>, deadline: Instant) -> Answer {
    let wanted = Wanted { from: slice.from, n_lines: JOURNAL_LINES.1, deadline };
    let located = match locate(slice.root, &slice.path, &wanted) {
        Ok(located) => located,
        Err(answer) => return answer,
    };
    let format = match Format::of(&located, slice) {
        Ok(format) => format,
        Err(answer) => return answer,
    };
    let reader = Reader { located: &located, slice, format: &format, deadline };
    let parts = match reader.parts() {
        Ok(parts) => parts,
        Err(errno) => return unreadable(errno, &slice.path),
    };
    let options = DigestOptions {
        log: &slice.path,
        from: slice.from,
        to: slice.to,
        max_records: DEFAULT_MAX_RECORDS,
        route: Some(route),
        extent: Extent::Diagnosis,
    };
    let digested = match &format {
        Format::Error => reader.digest_errors(options, parts),
        Format::Access { format, guessed } => reader.digest_accesses(options, format, *guessed, parts),
    };
    digested.unwrap_or_else(|error| Answer::unknown(GapReason::Failed, format!("{}: {error}", slice.path)))
}

/// How the lines of a log are read.
enum Format {
    Access { format: AccessFormat, guessed: bool },
    Error,
}

impl Format {
    fn of(located: &Located, slice: &LogSlice) -> Result<Self, Answer> {
        let LogKind::Access { format, .. } = &slice.kind else { return Ok(Self::Error) };
        let (source, guessed) = match format {
            Some(format) => (format.clone(), false),
            None => (guess(located, &slice.kind)?, true),
        };
        let unusable = |error: why502_decode::logs::FormatError| {
            Answer::unknown(
                GapReason::Unsupported,
                format!("the format of {} cannot be read: {error}", slice.path),
            )
        };
        Ok(Self::Access { format: AccessFormat::compile(&source).map_err(unusable)?, guessed })
    }

    /// The moment of a line, if it has one.
    fn stamp(&self, slice: &LogSlice, line: &[u8]) -> Option<Stamp> {
        match self {
            Self::Access { format, .. } => format.stamp(line),
            Self::Error => stamp_of_error_line(line).map(|civil| civil.at_offset(slice.clock.offset_seconds)),
        }
    }
}

fn guess(located: &Located, kind: &LogKind) -> Result<AccessLogFormat, Answer> {
    let path = &located.path;
    let tail = tail_of(located, path).map_err(|errno| unreadable(errno, path))?;
    let bare = located.envelope.map(|envelope| peel(envelope, kind, tail.bytes.as_slice()));
    let bytes = bare.as_deref().unwrap_or(tail.bytes.as_slice());
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return Ok(AccessFormat::combined());
    }
    let unknown = || {
        Answer::unknown(
            GapReason::Unsupported,
            format!("the format of {path} is not recognised: --log-format names it"),
        )
    };
    guess_format(&lines).map(|(format, ..)| format).ok_or_else(unknown)
}

struct Reader<'a> {
    located: &'a Located,
    slice: &'a LogSlice,
    format: &'a Format,
    deadline: Instant,
}

/// A part of a log that is read: the lines that begin in a range of a file.
struct Part {
    source: Source,
    path: Arc<str>,
    range: Range<u64>,
}

/// What the parts of a window are.
struct Parts {
    parts: Vec<Part>,
    /// Whether the window's begin was reached.
    complete: bool,
}

impl Parts {
    /// The files, those too that hold no line of the window.
    fn files(&self) -> Vec<Arc<str>> {
        self.parts.iter().map(|part| Arc::clone(&part.path)).collect()
    }
}

impl Reader<'_> {
    /// The files that hold the window, oldest first, and where in the oldest of them it begins.
    fn parts(&self) -> Result<Parts, Errno> {
        let Located { directory, path, .. } = self.located;
        let siblings = if self.located.is_alone() { Vec::new() } else { rotated(directory, path) };
        let live = Rotated::live(path);
        let mut parts = Vec::new();
        let mut complete = false;
        let mut left = self.slice.max_bytes.unwrap_or(u64::MAX);
        for file in std::iter::once(&live).chain(siblings.iter().rev()) {
            let opened = self.located.open(&file.path).and_then(|(file, stat)| Source::of(file, &stat));
            let mut source = match opened {
                Ok(source) => source,
                // The log itself must be there; a sibling may be gone by now.
                Err(errno) if parts.is_empty() && siblings.is_empty() => return Err(errno),
                Err(_) => continue,
            };
            let (range, reached) = self.range_in(&mut source, left).map_err(|error| errno(&error))?;
            left = left.saturating_sub(range.end.min(source.size()).saturating_sub(range.start));
            parts.push(Part { source, path: file.path.as_str().into(), range });
            if reached || left == 0 {
                complete = reached;
                break;
            }
        }
        // All there is was read: nothing older is missing if the log was never rotated away.
        let is_whole = !self.located.is_cut()
            && siblings.is_empty()
            && parts.first().is_some_and(|part| part.range.start == 0);
        complete |= is_whole || self.slice.from.is_none() && !self.located.is_cut();
        parts.reverse();
        Ok(Parts { parts, complete })
    }

    /// Where the window lies in a file, and whether the file reaches back beyond it.
    fn range_in(&self, source: &mut Source, max_bytes: u64) -> io::Result<(Range<u64>, bool)> {
        let Some(from) = self.slice.from else { return Ok((0..u64::MAX, false)) };
        let bare = |line: &[u8]| self.format.stamp(self.slice, line);
        let stamp = |line: &[u8]| match self.located.envelope {
            None => bare(line),
            Some(envelope) => {
                let mut found = None;
                let mut see = |_: u64, line: &[u8]| found = bare(line);
                Peeler::new(envelope, &self.slice.kind).push(0, line, &mut see);
                found
            }
        };
        let Some(file) = source.plain() else {
            // What is compressed is read from its begin.
            let first = source.first_stamp(&stamp)?;
            return Ok((0..u64::MAX, first.is_some_and(|first| first < from)));
        };
        let size = file.seek(SeekFrom::End(0))?;
        let (start, reached) = find_start(file, size, from, &stamp)?;
        let look_back = if matches!(self.format, Format::Error) { LOOK_BACK } else { 0 };
        // Without an end, what is written meanwhile is read too.
        let end = self.slice.to.map(|to| find_end(file, size, to, &stamp)).transpose()?;
        let begin = start.saturating_sub(look_back).max(end.unwrap_or(size).saturating_sub(max_bytes));
        Ok((lines::line_start(file, begin)?..end.unwrap_or(u64::MAX), reached))
    }

    fn digest_errors(&self, options: DigestOptions<'_>, parts: Parts) -> io::Result<Answer> {
        let mut digester = ErrorDigester::new(options, self.slice.clock);
        let files = parts.files();
        let finished = self.feed(parts.parts, |file, offset, line| digester.line(file, offset, line))?;
        let mut digest = digester.finish();
        digest.coverage.complete = parts.complete && finished;
        digest.coverage.files = files;
        Ok(Answer::known(FactBody::ErrorLog(digest)))
    }

    fn digest_accesses(
        &self,
        options: DigestOptions<'_>,
        format: &AccessFormat,
        guessed: bool,
        parts: Parts,
    ) -> io::Result<Answer> {
        let mut digester = AccessDigester::new(options, AccessSource { format, guessed });
        let files = parts.files();
        let finished = self.feed(parts.parts, |file, offset, line| digester.line(file, offset, line))?;
        let mut digest = digester.finish();
        digest.coverage.complete = parts.complete && finished;
        digest.coverage.files = files;
        if let LogKind::Access { writing, .. } = self.slice.kind {
            digest.writing = writing;
        }
        Ok(Answer::known(FactBody::AccessLog(digest)))
    }

    /// Pushes every line of the parts; whether there was time for all.
    ///
    /// What happens now stands in the last of them: no older file may take more than a quarter of the time that is left.
    fn feed(&self, parts: Vec<Part>, mut push: impl FnMut(&Arc<str>, u64, &[u8])) -> io::Result<bool> {
        let n_older = parts.len().saturating_sub(1);
        let mut finished = true;
        for (place, part) in parts.into_iter().enumerate() {
            let now = Instant::now();
            let left = self.deadline.saturating_duration_since(now);
            let deadline = if place < n_older { now + left / 4 } else { self.deadline };
            let mut peeler = self.located.envelope.map(|envelope| Peeler::new(envelope, &self.slice.kind));
            finished &= read_lines(&part.source, part.range, deadline, |offset, line| match &mut peeler {
                None => push(&part.path, offset, line),
                Some(peeler) => peeler.push(offset, line, &mut |offset, line| push(&part.path, offset, line)),
            })?;
        }
        Ok(finished)
    }
}

/// The bytes of a range of a file, as far as it goes.
fn read_range(file: &mut File, begin: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
