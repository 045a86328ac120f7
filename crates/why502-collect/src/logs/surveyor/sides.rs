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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use why502_decode::logs::{AccessFormat, DEFAULT_MAX_RECORDS, Extent};
    use why502_facts::{AccessDigest, ErrorDigest, LogClockSource};

    fn line(kind: u8, second: usize) -> String {
        let second = second % 60;
        match kind % 5 {
            0 => format!(
                "2026/11/21 02:28:{second:02} [error] 7#7: *3 connect() failed (111: Connection refused) while connecting to upstream, client: ::1, server: a, request: \"GET / HTTP/1.1\", upstream: \"http://127.0.0.1:1/\", host: \"a\"\n"
            ),
            1 => format!("2026/11/21 02:28:{second:02} [notice] 7#7: exit\n"),
            2 => "\n".to_owned(),
            3 => "neither of them\n".to_owned(),
            _ => format!(
                "::1 - - [21/Nov/2026:02:28:{second:02} +0000] \"GET / HTTP/1.1\" 502 157 \"-\" \"curl\"\n"
            ),
        }
    }

    fn finish(sides: Sides<'_>) -> (ErrorDigest, AccessDigest) {
        (sides.errors.unwrap().finish(), sides.accesses.unwrap().finish())
    }

    proptest! {
        #[test]
        fn both_kinds_are_told_apart_wherever_the_log_is_cut(
            kinds in proptest::collection::vec(any::<u8>(), 0..40), cut in 0_usize..40,
        ) {
            let format = AccessFormat::compile(&AccessFormat::combined()).unwrap();
            let options = DigestOptions {
                log: "log",
                from: None,
                to: None,
                max_records: DEFAULT_MAX_RECORDS,
                route: None,
                extent: Extent::Survey,
            };
            let clock = LogClock { offset_seconds: 0, source: LogClockSource::Assumed };
            let source = AccessSource { format: &format, guessed: true };
            let plan = Plan { errors: Some((options, clock)), accesses: Some((options, source)), is_mixed: true };
            let file: Arc<str> = "both.log".into();
            let lines: Vec<String> = kinds.iter().enumerate().map(|(at, kind)| line(*kind, at)).collect();
            let mut one_by_one = plan.sides(&Rooms::default());
            let mut offset = 0;
            for line in &lines {
                one_by_one.line(&file, offset, line.trim_end_matches('\n').as_bytes());
                offset += line.len() as u64;
            }
            let (before, after) = lines.split_at(cut.min(lines.len()));
            let (before, after) = (before.concat(), after.concat());
            let rooms = Rooms::default();
            let (mut whole, mut later) = (plan.sides(&rooms), plan.sides(&rooms));
            whole.lines(&file, 0, before.as_bytes());
            later.lines(&file, before.len() as u64, after.as_bytes());
            whole.merge(later, &rooms);
            prop_assert_eq!(finish(whole), finish(one_by_one));
        }
    }
}
