//! Answers what is asked of logs that somebody named, each read once and whole.

mod sides;

use self::sides::{Plan, Rooms, Sides};
use super::engine::{Digested, Engine, Work};
use super::inputs::LogSet;
use crate::collector::{RouteOfOwner, fact};
use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use why502_decode::logs::{
    AccessFormat, AccessSource, DEFAULT_MAX_RECORDS, DigestOptions, Extent, LogContent, LogSide,
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

    /// Answers asks about the logs. What is asked of one log in one call is answered by reading it once; standard input
    /// cannot be read again.
    pub fn answer(&self, asks: &[Ask], route: &Arc<RouteOfOwner>) -> Vec<Fact> {
        let mut facts = Vec::new();
        for set in &self.sets {
            let of_set = || asks.iter().filter(|ask| path_of(ask) == Some(set.name()));
            for ask in of_set() {
                if let Ask::LogTail { kind, .. } = ask {
                    facts.push(fact(ask, self.tail(set, kind)));
                }
            }
            let slices = || {
                of_set().filter_map(|ask| if let Ask::Log(slice) = ask { Some((ask, slice)) } else { None })
            };
            // What lies before the window was not asked for by anybody who names logs.
            for (ask, _) in slices().filter(|(_, slice)| slice.max_bytes.is_some()) {
                let says = "only the window that was asked for is read";
                facts.push(fact(ask, Answer::unknown(GapReason::NotAsked, says)));
            }
            let wanted: Vec<_> = slices().filter(|(_, slice)| slice.max_bytes.is_none()).collect();
            if !wanted.is_empty() {
                facts.extend(self.digest(set, &wanted, &**route));
            }
        }
        facts
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
        let path = path_of(ask)?;
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

    /// Reads a log once, for what is wanted of its errors and of its requests.
    fn digest(&self, set: &LogSet, wanted: &[(&Ask, &LogSlice)], route: &RouteOfOwner) -> Vec<Fact> {
        // Both kinds are of one gateway.
        let owner = wanted.first().map_or("", |(_, slice)| &slice.owner);
        let route = |key: &RequestKey<'_>| route(owner, key);
        let route: Option<&RouteOf<'_>> = if self.has_routes { Some(&route) } else { None };
        let (formats, mut facts) = formats(set, wanted);
        self.note_gaps(set, &facts);
        let plan = plan(set, wanted, &formats, route);
        if plan.errors.is_none() && plan.accesses.is_none() {
            return facts;
        }
        let open =
            wanted.iter().filter(|(ask, slice)| slice.kind == LogKind::Error || formats.contains_key(ask));
        match self.sides(set, &plan) {
            Ok((sides, complete)) => facts.extend(finish(sides, complete, open)),
            Err(error) => {
                let gap = Answer::unknown(GapReason::Failed, format!("{}: {error}", set.name()));
                let failed: Vec<Fact> = open.map(|(ask, _)| fact(ask, gap.clone())).collect();
                self.note_gaps(set, &failed);
                facts.extend(failed);
            }
        }
        facts
    }

    /// Notes why a log cannot be digested; an empty one has nothing to be digested.
    fn note_gaps(&self, set: &LogSet, facts: &[Fact]) {
        for fact in facts.iter().filter(|_| set.n_bytes() != Some(0)) {
            if let Answer::Unknown { says, .. } = &fact.answer {
                self.note(says.clone());
            }
        }
    }

    /// The digests of a log, and whether it was read whole.
    fn sides<'d>(&self, set: &LogSet, plan: &Plan<'d>) -> io::Result<(Sides<'d>, bool)> {
        if !set.is_bare() {
            let mut sides = plan.sides(&Rooms::default());
            let is_whole = self.read(set, |file, offset, line| sides.line(file, offset, line))?;
            return Ok((sides, is_whole));
        }
        let rooms = Rooms::default();
        let work = Work {
            make: &|| plan.sides(&rooms),
            push: &|sides: &mut Sides<'d>, file: &Arc<str>, offset, lines: &[u8]| {
                sides.lines(file, offset, lines);
            },
            merge: &|whole: &mut Sides<'d>, later| whole.merge(later, &rooms),
        };
        Ok(self.told(self.engine().digest(set.parts(), &work)))
    }

    fn engine(&self) -> Engine<'_> {
        let n_threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Engine { n_threads, stop: &self.stop }
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

    /// Pushes the lines of a log that is wrapped; whether it was read whole.
    fn read(&self, set: &LogSet, mut push: impl FnMut(&Arc<str>, u64, &[u8])) -> io::Result<bool> {
        let summary = set.read(&mut |file, offset, line| {
            push(file, offset, line);
            if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
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

fn path_of(ask: &Ask) -> Option<&str> {
    match ask {
        Ask::LogTail { path, .. } | Ask::Log(LogSlice { path, .. }) => Some(path),
        _ => None,
    }
}

/// The formats of the access logs that are asked for, and whether each was guessed; the answers to those without one.
fn formats<'a>(
    set: &LogSet,
    wanted: &[(&'a Ask, &LogSlice)],
) -> (BTreeMap<&'a Ask, (AccessFormat, bool)>, Vec<Fact>) {
    let (mut formats, mut facts) = (BTreeMap::new(), Vec::new());
    for &(ask, slice) in wanted {
        if let LogKind::Access { format, .. } = &slice.kind {
            match format_of(set, format.as_ref()) {
                Ok(found) => _ = formats.insert(ask, found),
                Err(answer) => facts.push(fact(ask, answer)),
            }
        }
    }
    (formats, facts)
}

/// How a log is digested.
fn plan<'d>(
    set: &LogSet,
    wanted: &[(&Ask, &'d LogSlice)],
    formats: &'d BTreeMap<&Ask, (AccessFormat, bool)>,
    route: Option<&'d RouteOf<'d>>,
) -> Plan<'d> {
    let mut plan = Plan::of(set.content());
    for &(ask, slice) in wanted {
        let options = options(slice, route);
        match (&slice.kind, formats.get(ask)) {
            (LogKind::Error, _) => plan.errors = Some((options, slice.clock)),
            (LogKind::Access { .. }, Some((format, guessed))) => {
                plan.accesses = Some((options, AccessSource { format, guessed: *guessed }));
            }
            (LogKind::Access { .. }, None) => {}
        }
    }
    plan
}

fn options<'d>(slice: &'d LogSlice, route: Option<&'d RouteOf<'d>>) -> DigestOptions<'d> {
    DigestOptions {
        log: &slice.path,
        from: slice.from,
        to: slice.to,
        max_records: DEFAULT_MAX_RECORDS,
        route,
        extent: Extent::Survey,
    }
}

/// The facts that digests are, each for the ask that wanted it.
fn finish<'a>(
    sides: Sides<'_>,
    complete: bool,
    wanted: impl Iterator<Item = &'a (&'a Ask, &'a LogSlice)>,
) -> Vec<Fact> {
    let (mut errors, mut accesses) = (sides.errors, sides.accesses);
    let mut body = |slice: &LogSlice| match &slice.kind {
        LogKind::Error => errors.take().map(|digester| {
            let mut digest = digester.finish();
            digest.coverage.complete = complete;
            FactBody::ErrorLog(digest)
        }),
        LogKind::Access { writing, .. } => accesses.take().map(|digester| {
            let mut digest = digester.finish();
            digest.coverage.complete = complete;
            digest.writing = *writing;
            FactBody::AccessLog(digest)
        }),
    };
    wanted.filter_map(|(ask, slice)| Some(fact(ask, Answer::known(body(slice)?)))).collect()
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
