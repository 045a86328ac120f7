//! What a digester is told, and what it notes of every line.

use super::line_place::LinePlace;
use std::sync::Arc;
use why502_facts::{Coverage, RouteOf, Stamp};

/// One record per failed attempt up to this many, unless told otherwise: each costs some kilobytes until it is judged.
pub const DEFAULT_MAX_RECORDS: usize = 10_000;
/// The longest name or address that is kept, in bytes.
pub(super) const MAX_NAME: usize = 256;
/// So many lines that did not fit are shown.
const MAX_UNPARSED: usize = 5;

/// What a digester is told.
#[derive(Clone, Copy)]
pub struct DigestOptions<'a> {
    /// The path of the log that was asked for, whichever of its siblings a line stands in.
    pub log: &'a str,
    /// The begin of the window; `None`: everything that is pushed.
    pub from: Option<Stamp>,
    /// The end of the window.
    pub to: Option<Stamp>,
    /// How many records are kept one by one; [`DEFAULT_MAX_RECORDS`] is a good number.
    pub max_records: usize,
    /// Names the route of a request; `None`: routes are not asked for, and nothing has one.
    pub route: Option<&'a RouteOf<'a>>,
    /// What a digest tells beside failures.
    pub extent: Extent,
}

/// What a digest tells beside failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// What a diagnosis needs: totals, the last successes, and how long successful answers took.
    #[default]
    Diagnosis,
    /// Also when requests ended ([`why502_facts::Timeline`]) and how long they took ([`why502_facts::AccessTimes`]).
    Survey,
}

impl std::fmt::Debug for DigestOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { log, from, to, max_records, route, extent } = self;
        f.debug_struct("DigestOptions")
            .field("log", log)
            .field("from", from)
            .field("to", to)
            .field("max_records", max_records)
            .field("route", &route.is_some())
            .field("extent", extent)
            .finish()
    }
}

/// Where a moment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Before,
    Inside,
    After,
}

impl DigestOptions<'_> {
    /// Where a span of time lies that begins at `at` and is `length_ms` long: the resolution of a stamp.
    pub(super) fn position(&self, at: Stamp, length_ms: i64) -> Position {
        if self.from.is_some_and(|from| at.0.saturating_add(length_ms) < from.0) {
            Position::Before
        } else if self.to.is_some_and(|to| at > to) {
            Position::After
        } else {
            Position::Inside
        }
    }
}

/// Counts what was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter {
    pub(super) coverage: Coverage,
    /// All lines that were pushed, whatever they held.
    pub(super) n_pushed: u64,
}

impl Counter {
    /// Notes which file the lines that follow stand in.
    pub(super) fn file(&mut self, file: &Arc<str>) {
        if self.coverage.files.last().is_none_or(|last| !Arc::ptr_eq(last, file) && last != file) {
            self.coverage.files.push(Arc::clone(file));
        }
    }

    pub(super) fn line<'f>(&mut self, file: &'f Arc<str>, offset: u64, line: &[u8]) -> LinePlace<'f> {
        self.coverage.bytes += line.len() as u64 + 1;
        self.n_pushed += 1;
        LinePlace { file, offset, seq: self.n_pushed - 1 }
    }

    /// Notes a stamp, and whether the log goes back beyond the window.
    pub(super) fn stamp(&mut self, at: Stamp, position: Position) {
        self.coverage.first.get_or_insert(at);
        self.coverage.last = Some(at);
        self.coverage.complete |= position == Position::Before;
    }

    pub(super) fn unparsed(&mut self, place: LinePlace<'_>, line: &[u8]) {
        self.coverage.n_lines += 1;
        self.coverage.n_unparsed += 1;
        if self.coverage.unparsed.len() < MAX_UNPARSED {
            self.coverage.unparsed.push(place.quote(line));
        }
    }

    pub(super) fn append(&mut self, later: Self) {
        let Self { coverage: later, n_pushed } = later;
        let mine = &mut self.coverage;
        let seam = usize::from(mine.files.last().is_some() && mine.files.last() == later.files.first());
        mine.files.extend(later.files.into_iter().skip(seam));
        mine.bytes += later.bytes;
        mine.n_lines += later.n_lines;
        mine.n_unparsed += later.n_unparsed;
        mine.unparsed.extend(later.unparsed);
        mine.unparsed.truncate(MAX_UNPARSED);
        mine.complete |= later.complete;
        mine.first = mine.first.or(later.first);
        mine.last = later.last.or(mine.last);
        mine.sampled |= later.sampled;
        self.n_pushed += n_pushed;
    }
}
