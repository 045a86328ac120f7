//! The digest of an access log.

mod record;
mod successes;
mod totals;
mod trouble;

use self::record::{Scribe, Seen, last_peer};
use self::successes::Successes;
use self::totals::Totals;
use self::trouble::{is_own, trouble};
use super::kind::AccessKind;
use super::line_place::LinePlace;
use super::records::Records;
use super::store::{Entry, MAX_EXEMPLARS};
use super::window::{Counter, DigestOptions, Position};
use super::worth::{Worth, of_access_line};
use crate::logs::format::{AccessFormat, AccessLine};
use std::sync::Arc;
use why502_facts::{AccessDigest, AccessRecord, OwnRequest};

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
    totals: Totals,
    records: Records<AccessKind, AccessRecord>,
    successes: Successes,
    own: Vec<OwnRequest>,
    scribe: Scribe<'a>,
}

impl<'a> AccessDigester<'a> {
    /// A digester that has seen no line.
    pub fn new(options: DigestOptions<'a>, source: AccessSource<'a>) -> Self {
        Self {
            options,
            source,
            counter: Counter::default(),
            totals: Totals::default(),
            records: Records::new(options.max_records),
            successes: Successes::default(),
            own: Vec::new(),
            scribe: Scribe::new(options),
        }
    }

    /// Takes a line, without its end, and where it stands.
    pub fn line(&mut self, file: &Arc<str>, offset: u64, line: &[u8]) {
        let place = self.counter.line(file, offset, line);
        let format = self.source.format;
        let read = format.parse(line).and_then(|parsed| Some((parsed.stamp()?, parsed.status()?, parsed)));
        let Some((at, status, parsed)) = read else {
            self.counter.unparsed(&place, line);
            return;
        };
        // A stamp has whole seconds unless the format has `$msec`.
        let position = self.options.position(at, 999);
        self.counter.stamp(at, position);
        if position != Position::Inside {
            return;
        }
        if is_own(&parsed) {
            if self.own.len() < MAX_OWN {
                self.own.push(self.scribe.own_request(&parsed, at));
            }
            return;
        }
        self.counter.coverage.n_lines += 1;
        let seen = Seen { at, status, route: self.scribe.route(&parsed) };
        self.totals.count(seen);
        match of_access_line(status, trouble(&parsed)) {
            Worth::Nothing if status < 400 => {
                self.successes.remember(place, line, seen.route, last_peer(&parsed));
            }
            Worth::Nothing => {}
            worth => self.keep(&place, line, &parsed, seen, worth),
        }
    }

    /// Takes what a digester with the same options made of the lines that follow.
    pub fn merge(&mut self, later: Self) {
        let n_before = self.counter.n_pushed;
        self.counter.append(later.counter);
        self.records.append(later.records, n_before);
        let room = MAX_OWN - self.own.len();
        self.own.extend(later.own.into_iter().take(room));
        let routes = self.scribe.adopt_routes(&later.scribe);
        self.totals.append(later.totals, &routes);
        self.successes.append(later.successes, &routes, n_before);
    }

    /// Ends the log.
    pub fn finish(mut self) -> AccessDigest {
        let format = self.source.format;
        let successes = self.successes.read(format, &mut self.scribe);
        let mut coverage = self.counter.coverage;
        coverage.sampled = self.records.is_sampled();
        AccessDigest {
            coverage,
            format: format.source().text.clone(),
            guessed: self.source.guessed,
            has_upstream: format.has_upstream(),
            totals: self.totals.read(&self.scribe),
            records: self.records.into_entries().into_iter().map(|entry| entry.record).collect(),
            successes,
            own: self.own,
        }
    }

    fn keep(&mut self, place: &LinePlace, line: &[u8], parsed: &AccessLine<'_>, seen: Seen, worth: Worth) {
        let kind = self.scribe.kind(parsed, seen);
        let minute = seen.at.0.div_euclid(60_000);
        let Some(rank) = self.records.admit(worth, &kind, minute) else { return };
        let line = if rank < MAX_EXEMPLARS { place.quote(line) } else { place.bare() };
        let record = self.scribe.record(parsed, seen, line);
        self.records.push(worth, Entry { seq: place.seq, minute, kind, rank, record });
    }
}
