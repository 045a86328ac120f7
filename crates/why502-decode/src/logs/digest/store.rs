//! Records: singly until there are too many, then merged by kind and minute.
//!
//! The result does not depend on how the lines were cut into parts and merged again: singles are a prefix of the stream,
//! and how coarse the merging is follows from the set of what was merged (see [`Buckets`]).

use super::buckets::Buckets;
use super::ranks::Place;
use std::hash::Hash;
use why502_facts::{AccessRecord, ErrorRecord, LineRef};

/// The text of so many lines of a kind is kept.
pub(super) const MAX_EXEMPLARS: u8 = 3;
/// So many bytes of texts single records may hold, shared or not.
const MAX_COST: usize = 16 << 20;

/// What the store has to know of a record.
pub(super) trait Record {
    fn weight_mut(&mut self) -> &mut u64;
    fn line_mut(&mut self) -> &mut LineRef;
    /// The bytes of its texts, but for the exemplar.
    fn cost(&self) -> usize;
}

/// What makes records alike.
pub(super) trait Kind: Clone + Eq + Ord + Hash {
    fn without_peer(&self) -> Self;
    /// What is left when nothing may differ that a stranger could vary.
    fn essence(&self) -> Self;
}

/// A record and its place in the stream.
#[derive(Clone, Debug)]
pub(super) struct Entry<K, R> {
    pub(super) seq: u64,
    pub(super) minute: i64,
    pub(super) kind: K,
    /// The how manieth of its kind it is, up to [`MAX_EXEMPLARS`].
    pub(super) rank: u8,
    pub(super) record: R,
}

/// Records of one worth.
#[derive(Clone, Debug)]
pub(super) struct Store<K, R> {
    max: usize,
    singles: Vec<Entry<K, R>>,
    cost: usize,
    full: bool,
    merged: Buckets<K, R>,
}

impl<K: Kind, R: Record> Store<K, R> {
    /// A store of at most `max` single records.
    pub(super) fn new(max: usize) -> Self {
        Self { max, singles: Vec::new(), cost: 0, full: false, merged: Buckets::new(1) }
    }

    /// Whether records were merged.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Begins as a store behind a full one.
    pub(super) fn start_full(&mut self, is_full: bool) {
        self.full |= is_full;
    }

    /// Adds lines to a merged record, if there is one for this kind and minute: then no new record has to be made.
    pub(super) fn absorb(&mut self, kind: &K, minute: i64, n_lines: u64) -> bool {
        self.full && self.merged.absorb(kind, minute, n_lines)
    }

    pub(super) fn push(&mut self, entry: Entry<K, R>) {
        let cost = entry.record.cost();
        self.full |= self.singles.len() >= self.max || self.cost + cost > MAX_COST;
        if self.full {
            self.merged.push(entry);
        } else {
            self.cost += cost;
            self.singles.push(entry);
        }
    }

    pub(super) fn append(&mut self, later: Self, place: &mut Place<'_, K>) {
        for mut entry in later.singles {
            place.shift(&mut entry);
            self.push(entry);
        }
        self.full |= later.full;
        self.merged.append(later.merged, place);
    }

    pub(super) fn for_each(&mut self, mut change: impl FnMut(&mut Entry<K, R>)) {
        self.singles.iter_mut().for_each(&mut change);
        self.merged.for_each(change);
    }

    pub(super) fn into_entries(self) -> Vec<Entry<K, R>> {
        let mut entries = self.singles;
        entries.extend(self.merged.into_entries());
        entries
    }
}

impl Record for ErrorRecord {
    fn weight_mut(&mut self) -> &mut u64 {
        &mut self.weight
    }

    fn line_mut(&mut self) -> &mut LineRef {
        &mut self.line
    }

    fn cost(&self) -> usize {
        let context = &self.context;
        let texts = [&self.detail, &context.client, &context.server, &context.subrequest, &context.host];
        let upstream = context
            .upstream
            .as_ref()
            .map_or(0, |upstream| upstream.peer.len() + upstream.path.as_ref().map_or(0, |path| path.len()));
        let path = context.request.as_ref().map_or(0, |request| request.path.len());
        size_of::<Self>()
            + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
            + upstream
            + path
    }
}

impl Record for AccessRecord {
    fn weight_mut(&mut self) -> &mut u64 {
        &mut self.weight
    }

    fn line_mut(&mut self) -> &mut LineRef {
        &mut self.line
    }

    fn cost(&self) -> usize {
        let texts = [&self.client, &self.server, &self.host, &self.user_agent].into_iter().flatten();
        let path = self.request.as_ref().map_or(0, |request| request.path.len());
        let tries = self.tries.as_ref().map_or(0, |tries| size_of_val(tries.as_slice()));
        size_of::<Self>() + texts.map(|text| text.len()).sum::<usize>() + path + tries
    }
}
