//! The digest of an access log.

use super::errors::intern_request;
use super::intern::{Interner, shown};
use super::kind::AccessKind;
use super::line_place::LinePlace;
use super::routes::{RouteId, Routes};
use super::smallest::Smallest;
use super::store::{Buckets, Entry, MAX_EXEMPLARS, Place, Ranks, Store};
use super::window::{Counter, DigestOptions, Position};
use super::worth::{Trouble, Worth, of_access_line};
use crate::logs::format::{AccessFormat, AccessLine, Field};
use memchr::{memchr, memmem};
use std::collections::BTreeMap;
use std::sync::Arc;
use why502_facts::{AccessDigest, AccessRecord, LineRef, OwnRequest, RequestKey, RouteTotal, Stamp, Try};

/// The last success is remembered of so many peers of a route.
const MAX_PEERS: usize = 64;
/// So many sessions of upgraded connections are kept of each kind.
const MAX_SESSIONS: usize = 16;
/// So many of our own requests are remembered; a run sends a few.
const MAX_OWN: usize = 1000;
/// A longer line is no example of a success.
const MAX_SUCCESS: usize = 8192;
const MAX_NAME: usize = 256;

/// What lines are read with.
#[derive(Clone, Copy, Debug)]
pub struct AccessSource<'a> {
    /// The format of the lines.
    pub format: &'a AccessFormat,
    /// Whether it was recognised from the content instead of being named.
    pub guessed: bool,
}

/// Digests an access log, line by line, oldest first. Lines outside the window are passed over.
///
/// Requests of this very program (their User-Agent says so) are no traffic: they are not counted, only remembered
/// ([`AccessDigest::own`]), so that the error log's lines about them can be told from others.
#[derive(Debug)]
pub struct AccessDigester<'a> {
    options: DigestOptions<'a>,
    source: AccessSource<'a>,
    counter: Counter,
    totals: Vec<BTreeMap<u16, Total>>,
    failures: Store<AccessKind, AccessRecord>,
    sessions: Buckets<AccessKind, AccessRecord>,
    summaries: Buckets<AccessKind, AccessRecord>,
    ranks: Ranks<AccessKind>,
    /// Per route and peer.
    successes: Vec<Smallest<Box<[u8]>, Success>>,
    own: Vec<OwnRequest>,
    routes: Routes<'a>,
    interner: Interner,
    scratch: Vec<u8>,
}

/// Requests of one route and status.
#[derive(Clone, Copy, Debug)]
struct Total {
    n_requests: u64,
    first: Stamp,
    last: Stamp,
}

/// A line that told of a success, read again only if it stays the last one.
#[derive(Clone, Debug)]
struct Success {
    place: LinePlace,
    line: Vec<u8>,
}

/// What every line is looked at for.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Stamp,
    status: u16,
    route: RouteId,
}

impl<'a> AccessDigester<'a> {
    /// A digester that has seen no line.
    pub fn new(options: DigestOptions<'a>, source: AccessSource<'a>) -> Self {
        Self {
            options,
            source,
            counter: Counter::default(),
            totals: Vec::new(),
            failures: Store::new(options.max_records),
            sessions: Buckets::new(MAX_SESSIONS),
            summaries: Buckets::new(usize::from(MAX_EXEMPLARS)),
            ranks: Ranks::new(),
            successes: Vec::new(),
            own: Vec::new(),
            routes: Routes::new(options.route),
            interner: Interner::default(),
            scratch: Vec::new(),
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
            self.remember_own(at, &parsed);
            return;
        }
        self.counter.coverage.n_lines += 1;
        let peer = last_peer(&parsed);
        let route = self.route(&parsed, peer);
        let seen = Seen { at, status, route };
        self.count(seen);
        match of_access_line(status, trouble(&parsed)) {
            Worth::Nothing if status < 400 => self.succeeded(place, line, route, peer),
            Worth::Nothing => {}
            worth => self.keep(&place, line, &parsed, seen, worth),
        }
    }

    /// Takes what a digester with the same options made of the lines that follow.
    pub fn merge(&mut self, later: Self) {
        let n_before = self.counter.n_pushed;
        self.counter.append(later.counter);
        let mut place = Place { n_before, ranks: &mut self.ranks };
        self.failures.append(later.failures, &mut place);
        self.sessions.append(later.sessions, &mut place);
        self.summaries.append(later.summaries, &mut place);
        self.ranks.append(later.ranks);
        let room = MAX_OWN - self.own.len();
        self.own.extend(later.own.into_iter().take(room));
        let names = later.routes.into_names();
        let ids: Vec<RouteId> = names.into_iter().map(|name| self.routes.id(name)).collect();
        for (totals, &route) in later.totals.iter().zip(&ids) {
            for (&status, total) in totals {
                self.add(route, status, *total);
            }
        }
        for (successes, &route) in later.successes.into_iter().zip(&ids) {
            for (peer, mut success) in successes.into_entries() {
                success.place.seq += n_before;
                let mine = at_route(&mut self.successes, route, || Smallest::new(MAX_PEERS));
                match mine.get_mut(&*peer) {
                    Some(known) => *known = success,
                    None => mine.insert(peer, success),
                }
            }
        }
    }

    /// Ends the log.
    pub fn finish(mut self) -> AccessDigest {
        let successes = self.read_successes();
        let Self { mut counter, source, totals, failures, sessions, summaries, ranks, own, routes, .. } = self;
        counter.coverage.sampled = failures.is_full();
        let mut entries = failures.into_entries();
        entries.extend(sessions.into_entries());
        entries.extend(summaries.into_entries());
        entries.sort_by_key(|entry| entry.seq);
        entries.iter_mut().for_each(|entry| ranks.sweep(entry));
        let names = routes.into_names();
        let mut totals: Vec<RouteTotal> = names.iter().zip(&totals).flat_map(|(route, totals)| {
            totals.iter().map(move |(&status, total)| {
                let Total { n_requests, first, last } = *total;
                RouteTotal { route: route.clone(), status, n_requests, first, last }
            })
        }).collect();
        totals.sort();
        AccessDigest {
            coverage: counter.coverage,
            format: source.format.source().text.clone(),
            guessed: source.guessed,
            has_upstream: source.format.has_upstream(),
            totals,
            records: entries.into_iter().map(|entry| entry.record).collect(),
            successes,
            own,
        }
    }

    fn route(&mut self, parsed: &AccessLine<'_>, peer: &[u8]) -> RouteId {
        let request = parsed.request(&mut self.scratch).unwrap_or_default();
        let server = parsed.text(Field::ServerName);
        let host = parsed.host().map(shown);
        self.routes.find(&RequestKey {
            log: self.options.log,
            server: server.as_deref(),
            host: host.as_deref(),
            method: &shown(request.method),
            path: &shown(request.path),
            scheme: None,
            peer: (!peer.is_empty()).then(|| shown(peer)).as_deref(),
        })
    }

    fn count(&mut self, Seen { at, status, route }: Seen) {
        self.add(route, status, Total { n_requests: 1, first: at, last: at });
    }

    fn add(&mut self, route: RouteId, status: u16, more: Total) {
        let total = at_route(&mut self.totals, route, BTreeMap::new).entry(status);
        total
            .and_modify(|total| {
                total.n_requests += more.n_requests;
                total.first = total.first.min(more.first);
                total.last = total.last.max(more.last);
            })
            .or_insert(more);
    }

    fn succeeded(&mut self, place: LinePlace, line: &[u8], route: RouteId, peer: &[u8]) {
        if line.len() > MAX_SUCCESS {
            return;
        }
        let successes = at_route(&mut self.successes, route, || Smallest::new(MAX_PEERS));
        if let Some(last) = successes.get_mut(peer) {
            last.place = place;
            last.line.clear();
            last.line.extend_from_slice(line);
        } else if successes.would_keep(peer) {
            successes.insert(peer.into(), Success { place, line: line.to_vec() });
        }
    }

    fn read_successes(&mut self) -> Vec<AccessRecord> {
        let mut records = Vec::new();
        let successes = std::mem::take(&mut self.successes);
        for success in successes.into_iter().flat_map(|of_route| of_route.into_entries().into_values()) {
            let Success { place, line } = success;
            let Some(parsed) = self.source.format.parse(&line) else { continue };
            let (Some(at), Some(status)) = (parsed.stamp(), parsed.status()) else { continue };
            let route = self.route(&parsed, last_peer(&parsed));
            records.push(self.record(&parsed, Seen { at, status, route }, place.quote(&line)));
        }
        records.sort_by(|one, other| {
            let key = |record: &AccessRecord| {
                (record.route.clone(), record.tries.as_ref().and_then(|tries| tries.last()?.peer.clone()))
            };
            key(one).cmp(&key(other))
        });
        records
    }

    fn remember_own(&mut self, at: Stamp, parsed: &AccessLine<'_>) {
        if self.own.len() == MAX_OWN {
            return;
        }
        let request = parsed.request(&mut self.scratch);
        let request = request.map(|parts| intern_request(&mut self.interner, parts));
        self.own.push(OwnRequest {
            at,
            request,
            client: parsed.client().map(|client| self.interner.bytes(client, MAX_NAME)),
            connection: parsed.number(Field::Connection),
            request_ms: parsed.request_ms(),
        });
    }

    fn keep(&mut self, place: &LinePlace, line: &[u8], parsed: &AccessLine<'_>, seen: Seen, worth: Worth) {
        let kind = self.kind(parsed, seen);
        let minute = if worth == Worth::Failure { seen.at.0.div_euclid(60_000) } else { 0 };
        let rank = self.ranks.next(&kind);
        let absorbed = match worth {
            Worth::Failure => self.failures.absorb(&kind, minute),
            Worth::Aside => self.sessions.absorb(&kind, minute),
            _ => self.summaries.absorb(&kind, minute),
        };
        if absorbed {
            return;
        }
        let line = if rank < MAX_EXEMPLARS { place.quote(line) } else { place.bare() };
        let record = self.record(parsed, seen, line);
        let entry = Entry { seq: place.seq, minute, kind, rank, record };
        match worth {
            Worth::Failure => self.failures.push(entry),
            Worth::Aside => self.sessions.push(entry),
            _ => self.summaries.push(entry),
        }
        if self.ranks.needs_sweep() {
            let Self { ranks, failures, sessions, summaries, .. } = self;
            failures.for_each(|entry| ranks.sweep(entry));
            sessions.for_each(|entry| ranks.sweep(entry));
            summaries.for_each(|entry| ranks.sweep(entry));
        }
    }

    fn kind(&mut self, parsed: &AccessLine<'_>, seen: Seen) -> AccessKind {
        let peer = last_peer(parsed);
        let statuses = parsed.value(Field::UpstreamStatus).unwrap_or_default();
        let upstream_status = last_element(statuses);
        AccessKind {
            status: seen.status,
            upstream_status: crate::logs::stamps::digits(upstream_status).and_then(|status| status.try_into().ok()),
            route: self.routes.name(seen.route),
            peer: (!peer.is_empty()).then(|| self.interner.bytes(peer, MAX_NAME)),
        }
    }

    fn record(&mut self, parsed: &AccessLine<'_>, seen: Seen, line: LineRef) -> AccessRecord {
        let Self { interner, scratch, .. } = self;
        let request = parsed.request(scratch).map(|parts| intern_request(interner, parts));
        let tries: Option<Vec<Try>> = parsed.tries(|text| interner.bytes(text, MAX_NAME));
        let mut text = |field| parsed.text(field).map(|text| interner.bytes(text.as_bytes(), MAX_NAME));
        let limits = [Field::LimitReqStatus, Field::LimitConnStatus].map(&mut text);
        let limit_status = match limits {
            [Some(one), Some(other)] => Some(if &*other == "REJECTED" { other } else { one }),
            [one, other] => one.or(other),
        };
        AccessRecord {
            at: seen.at,
            status: seen.status,
            request,
            server: text(Field::ServerName),
            host: text(Field::HttpHost).or_else(|| text(Field::Host)),
            cache_status: text(Field::CacheStatus),
            limit_status,
            client: parsed.client().map(|client| interner.bytes(client, MAX_NAME)),
            connection: parsed.number(Field::Connection),
            tries,
            request_ms: parsed.request_ms(),
            body_bytes: parsed.number(Field::BodyBytesSent),
            route: self.routes.name(seen.route),
            line,
            weight: 1,
        }
    }
}

/// The entry of a route in a list that grows with the routes.
fn at_route<T>(list: &mut Vec<T>, route: RouteId, new: impl FnMut() -> T) -> &mut T {
    if list.len() <= route.idx() {
        list.resize_with(route.idx() + 1, new);
    }
    &mut list[route.idx()]
}

/// Whether a request is one of this program's: `why502/VERSION (probe)` or `(replay)`.
fn is_own(parsed: &AccessLine<'_>) -> bool {
    parsed.raw(Field::UserAgent).is_some_and(|agent| {
        agent.starts_with(b"why502/") && (agent.ends_with(b" (probe)") || agent.ends_with(b" (replay)"))
    })
}

/// The last attempt's peer; empty if there was none.
fn last_peer<'l>(parsed: &AccessLine<'l>) -> &'l [u8] {
    last_element(parsed.value(Field::UpstreamAddr).unwrap_or_default())
}

fn last_element(list: &[u8]) -> &[u8] {
    match memchr(b' ', list).and_then(|_| memchr::memrchr(b' ', list)) {
        Some(space) => &list[space + 1..],
        None => list,
    }
}

/// Whether an attempt failed, was repeated, or a limit refused the request.
fn trouble(parsed: &AccessLine<'_>) -> Trouble {
    let rejected = [Field::LimitReqStatus, Field::LimitConnStatus]
        .iter()
        .any(|&field| parsed.raw(field) == Some(b"REJECTED"));
    if rejected || attempts_failed(parsed) { Trouble::Some } else { Trouble::None }
}

fn attempts_failed(parsed: &AccessLine<'_>) -> bool {
    let Some(statuses) = parsed.raw(Field::UpstreamStatus) else { return false };
    match statuses {
        // The one attempt was answered.
        [b'1'..=b'4', _, _] => false,
        b"" | b"-" => parsed.any_attempt(),
        _ => {
            memmem::find(statuses, b", ").is_some()
                || statuses.split(|&byte| byte == b' ').any(|status| matches!(status, b"" | b"-" | [b'5', _, _]))
        }
    }
}
