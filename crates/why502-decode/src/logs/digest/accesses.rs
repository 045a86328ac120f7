//! The digest of an access log.

mod answers;
mod connects;
mod memo;
mod record;
mod successes;
mod tally;
mod timeline;
mod times;
mod totals;
mod trouble;

use self::answers::Answers;
use self::connects::Connects;
use self::memo::StampMemo;
use self::record::{Scribe, Seen, last_peer, likeness};
use self::successes::Successes;
use self::tally::Run;
use self::timeline::Counts;
use self::times::Times;
use self::totals::Totals;
use self::trouble::{is_own, tells_trouble, trouble};
use super::kind::AccessKind;
use super::line_place::LinePlace;
use super::records::{RecordRoom, Records};
use super::store::{Entry, MAX_EXEMPLARS};
use super::window::{Counter, DigestOptions, Extent, Position};
use super::worth::{Trouble, Worth, of_access_line};
use crate::logs::envelope::without_carriage_return;
use crate::logs::format::{AccessFormat, AccessLine, Field, Marks, Spans, first_lines};
use std::sync::Arc;
use why502_facts::{AccessDigest, AccessRecord, AccessWriting, OwnRequest};

/// So many of our own requests are remembered; a run sends a few.
const MAX_OWN: usize = 1000;

/// What lines are read with.
#[derive(Clone, Copy, Debug)]
pub struct AccessSource<'a> {
    /// The format of the lines.
    pub format: &'a AccessFormat,
    /// Whether it was recognised from the content instead of being named.
    pub guessed: bool,
}

/// Digests an access log, line by line, oldest first. Lines outside the window are passed over, and so are lines without
/// a readable time or status: they fit no window, and count as unparsed.
///
/// Requests of this very program (their User-Agent says so) are no traffic: they are not counted, only remembered
/// ([`AccessDigest::own`]), so that the error log's lines about them can be told from others.
#[derive(Debug)]
pub struct AccessDigester<'a> {
    options: DigestOptions<'a>,
    source: AccessSource<'a>,
    counter: Counter,
    /// What was not added to the totals and the series yet.
    run: Option<Run>,
    totals: Totals,
    records: Records<AccessKind, AccessRecord>,
    own: Vec<OwnRequest>,
    scribe: Scribe<'a>,
    stamps: StampMemo,
    /// Room for the places of a line's values.
    spans: Option<Box<Spans>>,
    /// Room for the quotes and ends of lines.
    marks: Marks,
    /// Whether the format tells of anything that can go wrong beside the status.
    tells_trouble: bool,
    /// Only for a diagnosis.
    answered: Option<Answered>,
    /// Only for a survey.
    series: Option<Series>,
}

/// What is told of the requests of a route that were answered well, to compare those with that were not.
#[derive(Debug)]
struct Answered {
    successes: Successes,
    answers: Answers,
    connects: Connects,
}

/// What is told of all requests, failed or not.
#[derive(Debug)]
struct Series {
    counts: Counts,
    times: Times,
    /// Whether the format tells any.
    tells_times: bool,
}

/// A line, and where it begins among those that were pushed with it.
#[derive(Clone, Copy)]
struct Pushed<'l> {
    line: &'l [u8],
    begin: usize,
}

impl<'a> AccessDigester<'a> {
    /// A digester that has seen no line.
    pub fn new(options: DigestOptions<'a>, source: AccessSource<'a>) -> Self {
        Self {
            options,
            source,
            counter: Counter::default(),
            run: None,
            totals: Totals::default(),
            records: Records::new(options.max_records),
            own: Vec::new(),
            scribe: Scribe::new(options),
            stamps: StampMemo::new(source.format),
            spans: None,
            marks: Marks::default(),
            tells_trouble: tells_trouble(source.format),
            answered: (options.extent == Extent::Diagnosis).then(|| Answered {
                successes: Successes::default(),
                answers: Answers::new(source.format),
                connects: Connects::default(),
            }),
            series: (options.extent == Extent::Survey).then(|| Series {
                counts: Counts::default(),
                times: Times::default(),
                tells_times: source.format.has_upstream() || source.format.has(Field::RequestTime),
            }),
        }
    }

    /// A digester for lines that follow others, which left so much room: a part of a whole.
    pub fn with_room(options: DigestOptions<'a>, source: AccessSource<'a>, room: RecordRoom) -> Self {
        let new = Self::new(options, source);
        Self { records: new.records.within(room), ..new }
    }

    /// What room the lines that follow have, once this digester is merged into one that saw all lines before.
    pub fn room(&self) -> RecordRoom {
        self.records.room()
    }

    /// Takes lines, with their ends, and where the first one stands.
    pub fn lines(&mut self, file: &Arc<str>, offset: u64, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        self.counter.file(file);
        let (mut marks, mut room) = (std::mem::take(&mut self.marks), self.spans.take().unwrap_or_default());
        let mut begin = 0;
        while begin < lines.len() {
            let block = first_lines(&lines[begin..]);
            marks.find(block);
            for marked in marks.lines(block) {
                let begin = begin + marked.begin();
                let parsed = self.source.format.parse_in(marked, &mut room);
                let line = without_carriage_return(marked.line);
                let place = self.counter.line(file, offset + begin as u64, line);
                self.read_line(place, Pushed { line, begin }, parsed.as_ref());
            }
            begin += block.len();
        }
        (self.marks, self.spans) = (marks, Some(room));
        self.settle(lines);
    }

    /// Takes a line, without its end, and where it stands.
    pub fn line(&mut self, file: &Arc<str>, offset: u64, line: &[u8]) {
        self.counter.file(file);
        let line = without_carriage_return(line);
        let place = self.counter.line(file, offset, line);
        self.read_line(place, Pushed { line, begin: 0 }, self.source.format.parse(line).as_ref());
        self.settle(line);
    }

    fn settle(&mut self, lines: &[u8]) {
        if let Some(answered) = &mut self.answered {
            answered.successes.settle(lines);
        }
    }

    fn read_line(&mut self, place: LinePlace<'_>, pushed: Pushed<'_>, parsed: Option<&AccessLine<'_>>) {
        let line = pushed.line;
        let read = parsed.and_then(|parsed| Some((self.stamps.stamp(parsed)?, parsed.status()?)));
        let Some(((at, status), parsed)) = read.zip(parsed) else {
            self.counter.unparsed(place, &self.source.format.masked(line));
            return;
        };
        // A stamp has whole seconds unless the format has `$msec`.
        let position = self.options.position(at, 999);
        self.counter.stamp(at, position);
        if position != Position::Inside {
            return;
        }
        if is_own(parsed) {
            if self.own.len() < MAX_OWN {
                self.own.push(self.scribe.own_request(parsed, at));
            }
            return;
        }
        self.counter.coverage.n_lines += 1;
        let seen = Seen { at, status, route: self.scribe.route(parsed) };
        if !self.run.as_mut().is_some_and(|run| run.take(seen)) {
            self.end_run();
            self.run = Some(Run::of(seen));
        }
        if let Some(series) = self.series.as_mut().filter(|series| series.tells_times) {
            series.times.count(parsed);
        }
        let trouble = if self.tells_trouble { trouble(parsed) } else { Trouble::None };
        match of_access_line(status, trouble) {
            Worth::Nothing => {
                if let Some(answered) = self.answered.as_mut().filter(|_| status < 400) {
                    let range = pushed.begin..pushed.begin + line.len();
                    let peer = last_peer(parsed);
                    answered.successes.remember(place, range, seen.route, peer);
                    answered.answers.count(parsed, seen.route);
                    answered.connects.count(parsed, seen.route, peer);
                }
            }
            worth => self.keep(place, line, parsed, seen, worth),
        }
    }

    /// Takes what a digester with the same options made of the lines that follow.
    pub fn merge(&mut self, mut later: Self) {
        self.end_run();
        later.end_run();
        let n_before = self.counter.n_pushed;
        self.counter.append(later.counter);
        self.records.append(later.records, n_before);
        let room = MAX_OWN - self.own.len();
        self.own.extend(later.own.into_iter().take(room));
        let routes = self.scribe.adopt_routes(&later.scribe);
        self.totals.append(later.totals, &routes);
        if let Some((answered, later)) = self.answered.as_mut().zip(later.answered) {
            answered.successes.append(later.successes, &routes, n_before);
            answered.answers.append(&later.answers, &routes);
            answered.connects.append(later.connects, &routes);
        }
        if let Some((series, later)) = self.series.as_mut().zip(later.series) {
            series.counts.append(later.counts);
            series.times.append(later.times);
        }
    }

    /// Ends the log.
    pub fn finish(mut self) -> AccessDigest {
        self.end_run();
        let format = self.source.format;
        let (successes, answers, connects) = self.answered.map_or_else(Default::default, |answered| {
            let successes = answered.successes.read(format, &mut self.scribe);
            (successes, answered.answers.read(&self.scribe), answered.connects.read(&self.scribe))
        });
        let mut coverage = self.counter.coverage;
        coverage.sampled = self.records.is_sampled();
        let (timeline, times) = self.series.map(|series| (series.counts.read(), series.times.read())).unzip();
        AccessDigest {
            coverage,
            format: format.source().text.clone(),
            guessed: self.source.guessed,
            has_upstream: format.has_upstream(),
            writing: AccessWriting::default(),
            totals: self.totals.read(&self.scribe),
            records: self.records.into_entries().into_iter().map(|entry| entry.record).collect(),
            successes,
            answers,
            connects,
            own: self.own,
            timeline,
            times: times.map(Box::new),
        }
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        self.totals.count(&run);
        if let Some(series) = &mut self.series {
            series.counts.count(&run);
        }
    }

    fn keep(&mut self, place: LinePlace<'_>, line: &[u8], parsed: &AccessLine<'_>, seen: Seen, worth: Worth) {
        let Scribe { routes, interner, .. } = &mut self.scribe;
        let route = routes.name(seen.route);
        let likeness = likeness(parsed, seen.status, route.map(|route| &**route));
        let minute = seen.at.0.div_euclid(60_000);
        if self.records.count_again(worth, minute, &likeness) {
            return;
        }
        let kind = likeness.stored(interner, route);
        let Some(rank) = self.records.admit(worth, minute, &likeness, &kind) else { return };
        let line =
            if rank < MAX_EXEMPLARS { place.quote(&self.source.format.masked(line)) } else { place.bare() };
        let record = self.scribe.record(parsed, seen, line);
        self.records.push(worth, Entry { seq: place.seq, minute, kind, rank, record });
    }
}

#[cfg(test)]
mod tests;
