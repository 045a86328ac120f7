//! The records of a digest, by their worth.

use super::again::{Again, Alike, Likeness};
use super::buckets::Buckets;
use super::ranks::{Place, Ranks};
use super::store::{Entry, Kind, MAX_EXEMPLARS, Record, Store};
use super::worth::Worth;

/// Whether a digester can still keep records one by one.
///
/// A digester of later lines that knows it makes no records that would only be merged when the digests are: the result is
/// the same, and comes sooner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordRoom {
    failures_full: bool,
    asides_full: bool,
}

/// All records of a digest.
#[derive(Clone, Debug)]
pub(super) struct Records<K, R> {
    failures: Store<K, R>,
    asides: Store<K, R>,
    summaries: Buckets<K, R>,
    ranks: Ranks<K>,
    again: Again<K>,
}

impl<K: Kind, R: Record> Records<K, R> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            failures: Store::new(max),
            asides: Store::new(max.div_ceil(10)),
            summaries: Buckets::new(usize::from(MAX_EXEMPLARS)),
            ranks: Ranks::new(),
            again: Again::default(),
        }
    }

    /// What the records of the lines that follow find.
    pub(super) fn room(&self) -> RecordRoom {
        RecordRoom { failures_full: self.failures.is_full(), asides_full: self.asides.is_full() }
    }

    /// Begins as the records of lines that find so much room.
    pub(super) fn within(mut self, room: RecordRoom) -> Self {
        self.failures.start_full(room.failures_full);
        self.asides.start_full(room.asides_full);
        self
    }

    /// Counts a line that is like one that needed no record; `false` says nothing about it.
    pub(super) fn count_again(&mut self, worth: Worth, minute: i64, line: &impl Likeness<K>) -> bool {
        self.again.count(worth, minute, line)
    }

    /// Counts a line; its rank among its kind if a record must be made for it.
    pub(super) fn admit(
        &mut self,
        worth: Worth,
        minute: i64,
        line: &impl Likeness<K>,
        kind: &K,
    ) -> Option<u8> {
        let rank = self.ranks.next(kind);
        if !self.absorb(worth, kind, minute, 1) {
            return Some(rank);
        }
        if rank == MAX_EXEMPLARS {
            // Later ones of the kind change neither ranks nor records, but for their number.
            let crowded_out = self.again.remember(worth, minute, line, kind.clone());
            self.settle(crowded_out);
        }
        None
    }

    /// Adds the record of a line that was admitted.
    pub(super) fn push(&mut self, worth: Worth, entry: Entry<K, R>) {
        match worth {
            Worth::Failure => self.failures.push(entry),
            Worth::Aside => self.asides.push(entry),
            Worth::Summary => self.summaries.push(Entry { minute: 0, ..entry }),
            Worth::Nothing => {}
        }
        if self.ranks.needs_sweep() {
            let Self { ranks, failures, asides, summaries, .. } = self;
            failures.for_each(|entry| ranks.sweep(entry));
            asides.for_each(|entry| ranks.sweep(entry));
            summaries.for_each(|entry| ranks.sweep(entry));
        }
    }

    /// Adds the records of lines that follow `n_before` others.
    pub(super) fn append(&mut self, mut later: Self, n_before: u64) {
        self.settle_all();
        later.settle_all();
        let mut place = Place { n_before, ranks: &mut self.ranks };
        self.failures.append(later.failures, &mut place);
        self.asides.append(later.asides, &mut place);
        self.summaries.append(later.summaries, &mut place);
        self.ranks.append(later.ranks);
    }

    /// Whether records were merged because there were too many.
    pub(super) fn is_sampled(&self) -> bool {
        self.failures.is_full() || self.asides.is_full() || self.summaries.is_coarse()
    }

    /// All records in the order of the lines.
    pub(super) fn into_entries(mut self) -> Vec<Entry<K, R>> {
        self.settle_all();
        let mut entries = self.failures.into_entries();
        entries.extend(self.asides.into_entries());
        entries.extend(self.summaries.into_entries());
        entries.sort_by_key(|entry| entry.seq);
        for entry in &mut entries {
            self.ranks.sweep(entry);
        }
        entries
    }

    /// Adds lines to a merged record, if there is one for them.
    fn absorb(&mut self, worth: Worth, kind: &K, minute: i64, n_lines: u64) -> bool {
        match worth {
            Worth::Failure => self.failures.absorb(kind, minute, n_lines),
            Worth::Aside => self.asides.absorb(kind, minute, n_lines),
            Worth::Summary => self.summaries.absorb(kind, 0, n_lines),
            Worth::Nothing => true,
        }
    }

    fn settle_all(&mut self) {
        let counted = self.again.take();
        self.settle(counted);
    }

    /// Adds lines to the records that absorbed others like them.
    fn settle(&mut self, counted: impl IntoIterator<Item = Alike<K>>) {
        for Alike { worth, kind, minute, n_lines, .. } in counted {
            let is_absorbed = self.absorb(worth, &kind, minute, n_lines);
            debug_assert!(is_absorbed, "merged records stay");
        }
    }
}
