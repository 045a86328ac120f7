//! The digesters of a log's errors and of its requests, each of which may be there: a log that holds both is read once.

use memchr::memchr_iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use why502_decode::logs::{
    AccessDigester, AccessSource, DigestOptions, ErrorDigester, LogContent, LogSide, RecordRoom,
};
use why502_facts::LogClock;

/// What is made of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'d> {
    /// How its errors are digested, if they are wanted.
    pub(super) errors: Option<(DigestOptions<'d>, LogClock)>,
    /// How its requests are digested, if they are wanted.
    pub(super) accesses: Option<(DigestOptions<'d>, AccessSource<'d>)>,
    /// Whether it holds both, so that each line must be told.
    pub(super) is_mixed: bool,
}

impl<'d> Plan<'d> {
    /// A plan without wishes for a log of some content.
    pub(super) fn of(content: &LogContent) -> Self {
        Self { errors: None, accesses: None, is_mixed: matches!(content, LogContent::Mixed { .. }) }
    }

    /// The digesters; `rooms` is what those of other parts of the log have left.
    pub(super) fn sides(&self, rooms: &Rooms) -> Sides<'d> {
        Sides {
            errors: self
                .errors
                .map(|(options, clock)| ErrorDigester::with_room(options, clock, *locked(&rooms.errors))),
            accesses: self.accesses.map(|(options, source)| {
                AccessDigester::with_room(options, source, *locked(&rooms.accesses))
            }),
            is_mixed: self.is_mixed,
        }
    }
}

/// How many records there is room for.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    errors: Mutex<RecordRoom>,
    accesses: Mutex<RecordRoom>,
}

/// The digesters of a log, or of a part of it.
#[derive(Debug)]
pub(super) struct Sides<'d> {
    pub(super) errors: Option<ErrorDigester<'d>>,
    pub(super) accesses: Option<AccessDigester<'d>>,
    is_mixed: bool,
}

impl Sides<'_> {
    /// Takes a line, without its end.
    pub(super) fn line(&mut self, file: &Arc<str>, offset: u64, line: &[u8]) {
        let (for_errors, for_accesses) = match LogSide::of(line) {
            _ if !self.is_mixed => (true, true),
            LogSide::Error => (true, false),
            LogSide::Access => (false, true),
        };
        if let Some(errors) = self.errors.as_mut().filter(|_| for_errors) {
            errors.line(file, offset, line);
        }
        if let Some(accesses) = self.accesses.as_mut().filter(|_| for_accesses) {
            accesses.line(file, offset, line);
        }
    }

    /// Takes whole lines, with their ends.
    pub(super) fn lines(&mut self, file: &Arc<str>, offset: u64, lines: &[u8]) {
        if !self.is_mixed {
            return self.run(None, file, offset, lines);
        }
        // Lines of one kind come in runs.
        let (mut begin, mut run, mut side) = (0, 0, None);
        for end in memchr_iter(b'\n', lines).map(|end| end + 1).chain(std::iter::once(lines.len())) {
            if begin == end {
                continue;
            }
            let of_line = Some(LogSide::of(lines[begin..end].trim_ascii_end()));
            if of_line != side {
                self.run(side, file, offset + run as u64, &lines[run..begin]);
                (run, side) = (begin, of_line);
            }
            begin = end;
        }
        self.run(side, file, offset + run as u64, &lines[run..]);
    }

    /// Takes lines of one side, or, where that is not told, of whichever is wanted.
    fn run(&mut self, side: Option<LogSide>, file: &Arc<str>, offset: u64, lines: &[u8]) {
        if let Some(errors) = self.errors.as_mut().filter(|_| side != Some(LogSide::Access)) {
            errors.lines(file, offset, lines);
        }
        if let Some(accesses) = self.accesses.as_mut().filter(|_| side != Some(LogSide::Error)) {
            accesses.lines(file, offset, lines);
        }
    }

    /// Adds the digests of the lines that follow.
    pub(super) fn merge(&mut self, later: Self, rooms: &Rooms) {
        if let (Some(errors), Some(later)) = (&mut self.errors, later.errors) {
            errors.merge(later);
            *locked(&rooms.errors) = errors.room();
        }
        if let (Some(accesses), Some(later)) = (&mut self.accesses, later.accesses) {
            accesses.merge(later);
            *locked(&rooms.accesses) = accesses.room();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
