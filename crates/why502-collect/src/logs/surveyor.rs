//! Answers what is asked of logs that somebody named, each read once and whole.

use super::engine::{Digested, Engine};
use super::inputs::LogSet;
use crate::collector::{RouteOfOwner, fact};
use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use why502_decode::logs::{
    AccessDigester, AccessFormat, AccessSource, DEFAULT_MAX_RECORDS, DigestOptions, ErrorDigester, Extent,
    LogContent, LogSide,
};
use why502_facts::{
    AccessLogFormat, Answer, Ask, Fact, FactBody, GapReason, LogKind, LogSlice, LogTail, RequestKey, RouteOf,
};

/// How much of a log's lines is kept for its clock and its newest stamp, in bytes.
const TAIL: usize = 64 * 1024;

/// Logs that somebody named, as a source of facts.
#[derive(Debug)]
pub struct LogSurveyor {
    sets: Vec<LogSet>,
    /// Whether a window counts from the newest entry, so that it must be known even where all must be read for it.
    needs_newest: bool,
    /// Whether a configuration tells routes.
    has_routes: bool,
    stop: Arc<AtomicBool>,
    troubles: Mutex<Vec<String>>,
}

impl LogSurveyor {
    /// A source of facts about logs. `stop` ends the reading, with what was read until then.
    pub fn new(sets: Vec<LogSet>, needs_newest: bool, has_routes: bool, stop: Arc<AtomicBool>) -> Self {
        Self { sets, needs_newest, has_routes, stop, troubles: Mutex::default() }
    }

    /// Whether an ask is about one of the logs.
    pub fn has(&self, ask: &Ask) -> bool {
        self.set_of(ask).is_some()
    }

    /// Answers asks about the logs.
    pub fn answer(&self, asks: &[Ask], route: &Arc<RouteOfOwner>) -> Vec<Fact> {
        let answered = asks.iter().filter_map(|ask| Some((ask, self.set_of(ask)?)));
        answered
            .map(|(ask, set)| {
                let answer = match ask {
                    Ask::LogTail { kind, .. } => self.tail(set, kind),
                    Ask::Log(slice) => self.digest(set, slice, &**route),
                    _ => Answer::Absent,
                };
                fact(ask, answer)
            })
            .collect()
    }

    /// How much of what is stored has been read so far, and how much there is as far as that is known, in bytes.
    pub fn progress(&self) -> (u64, Option<u64>) {
        let n_read = self.sets.iter().map(LogSet::n_bytes_read).sum();
        (n_read, self.sets.iter().map(LogSet::n_bytes).sum())
    }

    /// What could not be read, or not to its end.
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_of(&self, ask: &Ask) -> Option<&LogSet> {
        let (Ask::LogTail { path, .. } | Ask::Log(LogSlice { path, .. })) = ask else { return None };
        self.sets.iter().find(|set| set.name() == path)
    }

    fn tail(&self, set: &LogSet, kind: &LogKind) -> Answer {
        let mut bytes = Vec::new();
        if self.needs_newest && !set.shows_its_end() && set.n_bytes().is_some() {
            let read = set.read(&mut |_, _, line| {
                push_line(&mut bytes, set, kind, line);
                // The oldest lines go once there is twice as much as is kept.
                if bytes.len() > 2 * TAIL {
                    keep_end(&mut bytes);
                }
                ControlFlow::Continue(())
            });
            if let Err(error) = read {
                return Answer::unknown(GapReason::Failed, format!("{}: {error}", set.name()));
            }
        } else {
            for line in set.sample() {
                push_line(&mut bytes, set, kind, line);
            }
        }
        keep_end(&mut bytes);
        let size = set.n_bytes().unwrap_or(0);
        Answer::known(FactBody::LogTail(LogTail { bytes: bytes.into(), size }))
    }

    fn digest(&self, set: &LogSet, slice: &LogSlice, route: &RouteOfOwner) -> Answer {
        // What lies before the window was not asked for by anybody who names logs.
        if slice.max_bytes.is_some() {
            return Answer::unknown(GapReason::NotAsked, "only the window that was asked for is read");
        }
        let route = |key: &RequestKey<'_>| route(&slice.owner, key);
        let route: &RouteOf<'_> = &route;
        let options = DigestOptions {
            log: &slice.path,
            from: slice.from,
            to: slice.to,
            max_records: DEFAULT_MAX_RECORDS,
            route: self.has_routes.then_some(route),
            extent: Extent::Survey,
        };
        match &slice.kind {
            LogKind::Error => {
                let digested = if set.is_bare() {
                    Ok(self.told(self.engine().digest_errors(set.parts(), options, slice.clock)))
                } else {
                    let mut digester = ErrorDigester::new(options, slice.clock);
                    self.push(set, LogSide::Error, |file, offset, line| digester.line(file, offset, line))
                        .map(|complete| (digester, complete))
                };
                digested.map_or_else(
                    |error| Answer::unknown(GapReason::Failed, format!("{}: {error}", set.name())),
                    |(digester, complete)| {
                        let mut digest = digester.finish();
                        digest.coverage.complete = complete;
                        Answer::known(FactBody::ErrorLog(digest))
                    },
                )
            }
            LogKind::Access { format, writing } => {
                let (format, guessed) = match format_of(set, format.as_ref()) {
                    Ok(found) => found,
                    Err(answer) => return answer,
                };
                let source = AccessSource { format: &format, guessed };
                let digested = if set.is_bare() {
                    Ok(self.told(self.engine().digest_accesses(set.parts(), options, source)))
                } else {
                    let mut digester = AccessDigester::new(options, source);
                    self.push(set, LogSide::Access, |file, offset, line| digester.line(file, offset, line))
                        .map(|complete| (digester, complete))
                };
                digested.map_or_else(
                    |error| Answer::unknown(GapReason::Failed, format!("{}: {error}", set.name())),
                    |(digester, complete)| {
                        let mut digest = digester.finish();
                        digest.coverage.complete = complete;
                        digest.writing = *writing;
                        Answer::known(FactBody::AccessLog(digest))
                    },
                )
            }
        }
    }

    fn engine(&self) -> Engine<'_> {
        let n_threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Engine { n_threads, progress: &|_| {}, stop: &self.stop }
    }

    /// What was digested, and whether it is all.
    fn told<D>(&self, digested: Digested<D>) -> (D, bool) {
        let complete = !digested.stopped && digested.unreadable.is_empty();
        if digested.n_cut > 0 {
            self.note(format!("{} lines were longer than a mebibyte, and cut", digested.n_cut));
        }
        for (file, error) in digested.unreadable {
            self.note(format!("{file} could not be read to its end: {error}"));
        }
        (digested.digester, complete)
    }

    /// Pushes the lines of one kind of a log that is wrapped, or holds both kinds; whether it was read whole.
    fn push(
        &self,
        set: &LogSet,
        side: LogSide,
        mut push: impl FnMut(&Arc<str>, u64, &[u8]),
    ) -> io::Result<bool> {
        let is_mixed = matches!(set.content(), LogContent::Mixed { .. });
        let summary = set.read(&mut |file, offset, line| {
            if !is_mixed || LogSide::of(line) == side {
                push(file, offset, line);
            }
            if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        for file in &summary.cut_archives {
            self.note(format!("{file} ends before its end: what it holds was read"));
        }
        for (file, error) in &summary.failures {
            self.note(format!("{file} could not be read to its end: {error}"));
        }
        if summary.n_foreign > 0 {
            self.note(format!(
                "{} lines of {} are wrapped otherwise, and were read as they are",
                summary.n_foreign,
                set.name()
            ));
        }
        if summary.n_of_others > 0 {
            self.note(format!("{} lines of {} are other programs'", summary.n_of_others, set.name()));
        }
        Ok(summary.is_whole)
    }

    fn note(&self, says: String) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if !troubles.contains(&says) {
            troubles.push(says);
        }
    }
}

fn push_line(bytes: &mut Vec<u8>, set: &LogSet, kind: &LogKind, line: &[u8]) {
    let side = if matches!(kind, LogKind::Error) { LogSide::Error } else { LogSide::Access };
    if !matches!(set.content(), LogContent::Mixed { .. }) || LogSide::of(line) == side {
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
    }
}

/// Keeps whole lines at the end.
fn keep_end(bytes: &mut Vec<u8>) {
    let Some(surplus) = bytes.len().checked_sub(TAIL) else { return };
    let cut = memchr::memchr(b'\n', &bytes[surplus..]).map_or(bytes.len(), |at| surplus + at + 1);
    bytes.drain(..cut);
}

/// The format of an access log: the one that was named, else the one that was recognised.
fn format_of(set: &LogSet, named: Option<&AccessLogFormat>) -> Result<(AccessFormat, bool), Answer> {
    let recognised = match set.content() {
        LogContent::Access { format, .. } => format.as_ref(),
        LogContent::Mixed { format, .. } => Some(format),
        LogContent::Binary | LogContent::Error => None,
    };
    let Some(source) = named.or(recognised) else {
        let says = format!("the format of {} is not recognised: --log-format names it", set.name());
        return Err(Answer::unknown(GapReason::Unsupported, says));
    };
    let format = AccessFormat::compile(source).map_err(|error| {
        Answer::unknown(
            GapReason::Unsupported,
            format!("the format of {} cannot be read: {error}", set.name()),
        )
    })?;
    Ok((format, named.is_none()))
}
