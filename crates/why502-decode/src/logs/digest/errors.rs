//! The digest of an error log.

mod record;

use self::record::{Said, Scribe};
use super::again::{Again, Alike};
use super::kind::ErrorKind;
use super::line_place::LinePlace;
use super::pending::{LooseLines, OpenEntry, Taken, is_trace};
use super::records::{RecordRoom, Records};
use super::smallest::Smallest;
use super::store::{Entry, MAX_EXEMPLARS};
use super::window::{Counter, DigestOptions, Position};
use super::worth::{Worth, of_error_line};
use crate::logs::envelope::without_carriage_return;
use crate::logs::error_line::{ErrorLine, is_console, parse_error_line};
use memchr::memchr;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use why502_facts::{Civil, ErrorDigest, ErrorLevel, ErrorRecord, LogClock};

/// So many kinds of lines before the window are remembered.
const MAX_BEFORE: usize = 1024;

/// Digests an error log, line by line, oldest first.
///
/// Lines older than the window may be pushed too, as many as the caller cares to look back: of each kind that the window
/// holds, the first one is kept ([`ErrorDigest::before`]). [`why502_facts::Coverage::complete`] is set once such a line
/// was seen; that the log has no older lines only the caller knows.
#[derive(Debug)]
pub struct ErrorDigester<'a> {
    options: DigestOptions<'a>,
    clock: LogClock,
    counter: Counter,
    levels: BTreeMap<ErrorLevel, u64>,
    records: Records<ErrorKind, ErrorRecord>,
    before: Smallest<ErrorKind, Entry<ErrorKind, ErrorRecord>>,
    before_again: Again<ErrorKind>,
    scribe: Scribe<'a>,
    /// Lines without a stamp that no entry came before.
    loose: LooseLines,
    /// The stamp of the entry before.
    last: Option<Civil>,
    open: Option<OpenEntry>,
}

impl<'a> ErrorDigester<'a> {
    /// A digester that has seen no line.
    pub fn new(options: DigestOptions<'a>, clock: LogClock) -> Self {
        Self {
            options,
            clock,
            counter: Counter::default(),
            levels: BTreeMap::new(),
            records: Records::new(options.max_records),
            before: Smallest::new(MAX_BEFORE),
            before_again: Again::default(),
            scribe: Scribe::new(options),
            loose: LooseLines::default(),
            last: None,
            open: None,
        }
    }

    /// A digester for lines that follow others, which left so much room: a part of a whole.
    pub fn with_room(options: DigestOptions<'a>, clock: LogClock, room: RecordRoom) -> Self {
        let new = Self::new(options, clock);
        Self { records: new.records.within(room), ..new }
    }

    /// What room the lines that follow have, once this digester is merged into one that saw all lines before.
    pub fn room(&self) -> RecordRoom {
        self.records.room()
    }

    /// Takes lines, with their ends, and where the first one stands.
    pub fn lines(&mut self, file: &Arc<str>, offset: u64, lines: &[u8]) {
        let mut begin = 0;
        while begin < lines.len() {
            let end = memchr(b'\n', &lines[begin..]).map_or(lines.len(), |length| begin + length);
            let line = &lines[begin..end];
            self.line(file, offset + begin as u64, line);
            begin = end + 1;
        }
    }

    /// Takes a line, without its end, and where it stands.
    pub fn line(&mut self, file: &Arc<str>, offset: u64, line: &[u8]) {
        self.counter.file(file);
        let place = self.counter.line(file, offset, line);
        let line = without_carriage_return(line);
        match parse_error_line(line) {
            Some(parsed) if parsed.at.is_some() => {
                self.close();
                self.last = parsed.at;
                if is_open(&parsed) {
                    self.open = Some(OpenEntry { place: place.keep(), text: line.to_vec() });
                } else {
                    self.entry(place, line, &parsed);
                }
            }
            _ => self.unstamped(place, line),
        }
    }

    /// Takes what a digester with the same options made of the lines that follow.
    ///
    /// The cut may stand anywhere, also inside an entry of several lines.
    pub fn merge(&mut self, mut later: Self) {
        self.settle_all_before();
        later.settle_all_before();
        let n_before = self.counter.n_pushed;
        let (loose, loose_overflowed) = later.loose.into_lines();
        for (mut place, line) in loose {
            place.seq += n_before;
            self.unstamped(place.place(), &line);
        }
        if later.last.is_some() {
            self.close();
        }
        if self.last.is_none() && loose_overflowed {
            self.loose.set_overflowed();
        }
        self.counter.append(later.counter);
        for (level, count) in later.levels {
            *self.levels.entry(level).or_default() += count;
        }
        self.records.append(later.records, n_before);
        for (kind, mut entry) in later.before.into_entries() {
            entry.seq += n_before;
            match self.before.get_mut(&kind) {
                Some(first) => first.record.weight += entry.record.weight,
                None => self.before.insert(kind, entry),
            }
        }
        self.last = later.last.or(self.last);
        if let Some(mut open) = later.open {
            open.place.seq += n_before;
            self.open = Some(open);
        }
    }

    /// Ends the log.
    pub fn finish(mut self) -> ErrorDigest {
        self.close();
        self.settle_loose_lines();
        self.settle_all_before();
        let Self { mut counter, levels, records, before, .. } = self;
        counter.coverage.sampled = records.is_sampled();
        let entries = records.into_entries();
        let kinds: HashSet<&ErrorKind> = entries.iter().map(|entry| &entry.kind).collect();
        let mut before: Vec<_> = before.into_entries().into_values().collect();
        before.retain(|first| kinds.contains(&first.kind));
        before.sort_by_key(|entry| entry.seq);
        ErrorDigest {
            coverage: counter.coverage,
            levels: levels.into_iter().collect(),
            records: entries.into_iter().map(|entry| entry.record).collect(),
            before: before.into_iter().map(|entry| entry.record).collect(),
        }
    }

    fn unstamped(&mut self, place: LinePlace<'_>, line: &[u8]) {
        if self.last.is_none() && self.loose.keep(place, line) {
            return;
        }
        if self.last.is_some() && is_console(line) {
            self.close();
            if let Some(parsed) = parse_error_line(line) {
                self.entry(place, line, &parsed);
            }
            return;
        }
        let taken = self.open.as_mut().map_or(Taken::No, |open| open.take(line));
        if taken != Taken::Yes {
            self.close();
        }
        if taken == Taken::No && !is_trace(line) {
            self.counter.unparsed(place, line);
        }
    }

    /// Ends an entry that waits for further lines.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let Some(parsed) = parse_error_line(&open.text) {
            self.entry(open.place.place(), &open.text, &parsed);
        }
    }

    /// No entry came before these lines: what the console says happened when the log begins, the rest fits nothing.
    fn settle_loose_lines(&mut self) {
        let (loose, _) = std::mem::take(&mut self.loose).into_lines();
        let begin = self.counter.coverage.first.or(self.options.to).or(self.options.from);
        self.last = Some(begin.map_or(Civil(0), |stamp| Civil::of(stamp, self.clock.offset_seconds)));
        for (place, line) in &loose {
            self.unstamped(place.place(), line);
        }
    }

    fn entry(&mut self, place: LinePlace<'_>, line: &[u8], parsed: &ErrorLine<'_>) {
        let Some(at) = parsed.at.or(self.last) else { return };
        let stamp = at.at_offset(self.clock.offset_seconds);
        let position = self.options.position(stamp, 999);
        if parsed.at.is_some() {
            self.counter.stamp(stamp, position);
        }
        if position == Position::After {
            return;
        }
        if position == Position::Inside {
            self.counter.coverage.n_lines += 1;
            *self.levels.entry(parsed.level).or_default() += 1;
        }
        let (phrase, detail) = parsed.classify();
        let worth = of_error_line(phrase, parsed.phase, parsed.level, parsed.errno);
        if worth == Worth::Nothing {
            return;
        }
        let said = Said { at, phrase, detail, parsed };
        match position {
            Position::Inside => self.keep(place, line, &said, worth),
            _ => self.keep_before(place, line, &said),
        }
    }

    fn keep(&mut self, place: LinePlace<'_>, line: &[u8], said: &Said<'_, '_>, worth: Worth) {
        let route = self.scribe.route(said);
        let Scribe { routes, interner, .. } = &mut self.scribe;
        let route = route.and_then(|route| routes.name(route));
        let likeness = said.likeness(route.map(|route| &**route));
        let minute = said.at.0.div_euclid(60);
        if self.records.count_again(worth, minute, &likeness) {
            return;
        }
        let kind = likeness.stored(interner, route);
        let Some(rank) = self.records.admit(worth, minute, &likeness, &kind) else { return };
        let line = if rank < MAX_EXEMPLARS { place.quote(line) } else { place.bare() };
        let record = self.scribe.record(said, &kind, line);
        self.records.push(worth, Entry { seq: place.seq, minute, kind, rank, record });
    }

    fn keep_before(&mut self, place: LinePlace<'_>, line: &[u8], said: &Said<'_, '_>) {
        let route = self.scribe.route(said);
        let Scribe { routes, interner, .. } = &mut self.scribe;
        let route = route.and_then(|route| routes.name(route));
        let likeness = said.likeness(route.map(|route| &**route));
        if self.before_again.count(Worth::Aside, 0, &likeness) {
            return;
        }
        let kind = likeness.stored(interner, route);
        if let Some(first) = self.before.get_mut(&kind) {
            first.record.weight += 1;
            let crowded_out = self.before_again.remember(Worth::Aside, 0, &likeness, kind);
            self.settle_before(crowded_out);
        } else if self.before.would_keep(&kind) {
            let record = self.scribe.record(said, &kind, place.quote(line));
            self.before.insert(kind.clone(), Entry { seq: place.seq, minute: 0, kind, rank: 0, record });
        }
    }

    fn settle_all_before(&mut self) {
        let counted = self.before_again.take();
        self.settle_before(counted);
    }

    /// Adds lines to the first one of their kind, if that is still remembered.
    fn settle_before(&mut self, counted: impl IntoIterator<Item = Alike<ErrorKind>>) {
        for Alike { kind, n_lines, .. } in counted {
            if let Some(first) = self.before.get_mut(&kind) {
                first.record.weight += n_lines;
            }
        }
    }
}

/// Whether the context of an entry is still to come: a message about a connection that ends without one.
fn is_open(parsed: &ErrorLine<'_>) -> bool {
    parsed.connection.is_some()
        && parsed.context.client.is_none()
        && parsed.action.is_none()
        && parsed.level < ErrorLevel::Info
}

#[cfg(test)]
mod tests;
