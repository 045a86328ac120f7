//! The digest of an error log.

use super::intern::{Interner, shown};
use super::kind::ErrorKind;
use super::line_place::LinePlace;
use super::pending::{LooseLines, OpenEntry, Taken, is_trace};
use super::routes::Routes;
use super::smallest::Smallest;
use super::store::{Buckets, Entry, MAX_EXEMPLARS, Place, Ranks, Store};
use super::window::{Counter, DigestOptions, Position};
use super::worth::{Worth, of_error_line};
use crate::logs::error_line::{ErrorLine, is_console, parse_error_line, without_envelope};
use crate::logs::request_line::RequestParts;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use why502_facts::{
    Civil, ErrorContext, ErrorDigest, ErrorLevel, ErrorRecord, LogClock, Phrase, RequestKey, RequestLine,
    UpstreamField,
};

/// So many kinds of lines before the window are remembered.
const MAX_BEFORE: usize = 1024;
/// The longest texts that are kept, in bytes.
const MAX_DETAIL: usize = 1024;
const MAX_NAME: usize = 256;

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
    failures: Store<ErrorKind, ErrorRecord>,
    asides: Store<ErrorKind, ErrorRecord>,
    summaries: Buckets<ErrorKind, ErrorRecord>,
    before: Smallest<ErrorKind, Entry<ErrorKind, ErrorRecord>>,
    ranks: Ranks<ErrorKind>,
    routes: Routes<'a>,
    interner: Interner,
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
            failures: Store::new(options.max_records),
            asides: Store::new(options.max_records.div_ceil(10)),
            summaries: Buckets::new(usize::from(MAX_EXEMPLARS)),
            before: Smallest::new(MAX_BEFORE),
            ranks: Ranks::new(),
            routes: Routes::new(options.route),
            interner: Interner::default(),
            loose: LooseLines::default(),
            last: None,
            open: None,
        }
    }

    /// Takes a line, without its end, and where it stands.
    pub fn line(&mut self, file: &Arc<str>, offset: u64, line: &[u8]) {
        let place = self.counter.line(file, offset, line);
        let line = without_envelope(line);
        match parse_error_line(line) {
            Some(parsed) if parsed.at.is_some() => {
                self.close();
                self.last = parsed.at;
                if is_open(&parsed) {
                    self.open = Some(OpenEntry { place, text: line.to_vec() });
                } else {
                    self.entry(&place, line, &parsed);
                }
            }
            _ => self.unstamped(&place, line),
        }
    }

    /// Takes what a digester with the same options made of the lines that follow.
    pub fn merge(&mut self, later: Self) {
        let n_before = self.counter.n_pushed;
        let loose_overflowed = later.loose.overflowed();
        for (mut place, line) in later.loose.lines {
            place.seq += n_before;
            self.unstamped(&place, &line);
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
        let mut place = Place { n_before, ranks: &mut self.ranks };
        self.failures.append(later.failures, &mut place);
        self.asides.append(later.asides, &mut place);
        self.summaries.append(later.summaries, &mut place);
        for (kind, mut entry) in later.before.into_entries() {
            entry.seq += n_before;
            remember(&mut self.before, kind, entry);
        }
        self.ranks.append(later.ranks);
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
        let Self { mut counter, levels, failures, asides, summaries, before, ranks, .. } = self;
        counter.coverage.sampled = failures.is_full() || asides.is_full();
        let mut entries = failures.into_entries();
        entries.extend(asides.into_entries());
        entries.extend(summaries.into_entries());
        entries.sort_by_key(|entry| entry.seq);
        let mut before: Vec<_> = before.into_entries().into_values().collect();
        let kinds: HashSet<&ErrorKind> = entries.iter().map(|entry| &entry.kind).collect();
        before.retain(|first| kinds.contains(&first.kind));
        before.sort_by_key(|entry| entry.seq);
        entries.iter_mut().for_each(|entry| ranks.sweep(entry));
        ErrorDigest {
            coverage: counter.coverage,
            levels: levels.into_iter().collect(),
            records: entries.into_iter().map(|entry| entry.record).collect(),
            before: before.into_iter().map(|entry| entry.record).collect(),
        }
    }

    fn unstamped(&mut self, place: &LinePlace, line: &[u8]) {
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
            self.entry(&open.place, &open.text, &parsed);
        }
    }

    /// No entry came before these lines: what the console says happened when the log begins, the rest fits nothing.
    fn settle_loose_lines(&mut self) {
        let loose = std::mem::take(&mut self.loose);
        let begin = self.counter.coverage.first.or(self.options.to).or(self.options.from);
        let begin = begin.map_or(Civil(0), |stamp| Civil::of(stamp, self.clock.offset_seconds));
        let last = self.last.replace(begin);
        for (place, line) in &loose.lines {
            self.unstamped(place, line);
        }
        self.last = last;
    }

    fn entry(&mut self, place: &LinePlace, line: &[u8], parsed: &ErrorLine<'_>) {
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

    fn keep(&mut self, place: &LinePlace, line: &[u8], said: &Said<'_, '_>, worth: Worth) {
        let kind = self.kind(said);
        let minute = said.at.0.div_euclid(60);
        let rank = self.ranks.next(&kind);
        let (absorbed, minute) = match worth {
            Worth::Failure => (self.failures.absorb(&kind, minute), minute),
            Worth::Aside => (self.asides.absorb(&kind, minute), minute),
            _ => (self.summaries.absorb(&kind, 0), 0),
        };
        if absorbed {
            return;
        }
        let mut record = self.record(place, said, &kind);
        if rank < MAX_EXEMPLARS {
            record.line = place.quote(line);
        }
        let entry = Entry { seq: place.seq, minute, kind, rank, record };
        match worth {
            Worth::Failure => self.failures.push(entry),
            Worth::Aside => self.asides.push(entry),
            _ => self.summaries.push(entry),
        }
        if self.ranks.needs_sweep() {
            let Self { ranks, failures, asides, summaries, .. } = self;
            failures.for_each(|entry| ranks.sweep(entry));
            asides.for_each(|entry| ranks.sweep(entry));
            summaries.for_each(|entry| ranks.sweep(entry));
        }
    }

    fn keep_before(&mut self, place: &LinePlace, line: &[u8], said: &Said<'_, '_>) {
        let kind = self.kind(said);
        if let Some(first) = self.before.get_mut(&kind) {
            first.record.weight += 1;
        } else if self.before.would_keep(&kind) {
            let mut record = self.record(place, said, &kind);
            record.line = place.quote(line);
            self.before.insert(kind.clone(), Entry { seq: place.seq, minute: 0, kind, rank: 0, record });
        }
    }

    fn kind(&mut self, said: &Said<'_, '_>) -> ErrorKind {
        let context = &said.parsed.context;
        let peer = context.upstream.map(|upstream| self.interner.bytes(upstream.peer, MAX_NAME));
        let route = match (context.request.and_then(RequestParts::read), context.upstream) {
            (None, None) => None,
            (request, upstream) => {
                let request = request.unwrap_or_default();
                let path = context.subrequest.map_or(request.path, |uri| {
                    RequestParts::from_target(request.method, uri, request.version).path
                });
                let (server, host) = (context.server.map(shown), context.host.map(shown));
                let scheme = upstream.map(|upstream| shown(upstream.scheme));
                let id = self.routes.find(&RequestKey {
                    log: self.options.log,
                    server: server.as_deref(),
                    host: host.as_deref(),
                    method: &shown(request.method),
                    path: &shown(path),
                    scheme: scheme.as_deref(),
                    peer: peer.as_deref(),
                });
                self.routes.name(id)
            }
        };
        let ErrorLine { phase, errno, .. } = *said.parsed;
        ErrorKind { phrase: said.phrase, phase, errno, route, peer }
    }

    fn record(&mut self, place: &LinePlace, said: &Said<'_, '_>, kind: &ErrorKind) -> ErrorRecord {
        let parsed = said.parsed;
        ErrorRecord {
            at: said.at,
            level: parsed.level,
            pid: parsed.pid,
            connection: parsed.connection,
            phrase: said.phrase,
            detail: said.detail.map(|detail| self.interner.bytes(detail, MAX_DETAIL)),
            errno: parsed.errno,
            phase: parsed.phase,
            context: self.context(parsed, kind),
            route: kind.route.clone(),
            line: place.bare(),
            weight: 1,
        }
    }

    fn context(&mut self, parsed: &ErrorLine<'_>, kind: &ErrorKind) -> ErrorContext {
        let context = &parsed.context;
        let mut name = |bytes: Option<&[u8]>| bytes.map(|bytes| self.interner.bytes(bytes, MAX_NAME));
        let client = name(context.client);
        let server = name(context.server);
        let host = name(context.host);
        let subrequest = name(context.subrequest);
        let scheme = name(context.upstream.map(|upstream| upstream.scheme));
        let request = context.request.and_then(RequestParts::read).map(|parts| intern_request(&mut self.interner, parts));
        let upstream = scheme.zip(kind.peer.clone()).map(|(scheme, peer)| UpstreamField { scheme, peer });
        ErrorContext { client, server, request, subrequest, upstream, host }
    }
}

/// A line and what it says.
#[derive(Debug)]
struct Said<'l, 'p> {
    at: Civil,
    phrase: Phrase,
    detail: Option<&'l [u8]>,
    parsed: &'p ErrorLine<'l>,
}

/// Whether the context of an entry is still to come: a message about a connection that ends without one.
fn is_open(parsed: &ErrorLine<'_>) -> bool {
    parsed.connection.is_some()
        && parsed.context.client.is_none()
        && parsed.action.is_none()
        && parsed.level < ErrorLevel::Info
}

fn remember(
    before: &mut Smallest<ErrorKind, Entry<ErrorKind, ErrorRecord>>,
    kind: ErrorKind,
    entry: Entry<ErrorKind, ErrorRecord>,
) {
    match before.get_mut(&kind) {
        Some(first) => first.record.weight += entry.record.weight,
        None => before.insert(kind, entry),
    }
}

/// A request line whose texts are shared.
pub(super) fn intern_request(interner: &mut Interner, parts: RequestParts<'_>) -> RequestLine {
    RequestLine {
        method: interner.bytes(parts.method, 32),
        path: interner.bytes(parts.path, crate::logs::request_line::MAX_PATH),
        has_query: parts.has_query,
        version: interner.bytes(parts.version, 32),
    }
}
