//! Records: singly until there are too many, then merged by kind and minute.
//!
//! The result does not depend on how the lines were cut into parts and merged again: singles are a prefix of the stream,
//! and how coarse the merging is follows from the set of what was merged (see [`Buckets`]).

use super::smallest::Smallest;
use std::collections::HashMap;
use std::hash::Hash;
use why502_facts::{AccessRecord, ErrorRecord, LineRef};

/// The text of so many lines of a kind is kept.
pub(super) const MAX_EXEMPLARS: u8 = 3;
/// Of so many kinds texts are kept.
const MAX_KINDS: usize = 4096;
/// So many merged records are kept, before the merging gets coarser.
const MAX_BUCKETS: usize = 16_384;
/// So many bytes of texts single records may hold, shared or not.
const MAX_COST: usize = 64 << 20;

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

/// Counts the lines of each kind as far as exemplars are concerned.
#[derive(Clone, Debug)]
pub(super) struct Ranks<K>(Smallest<K, u8>);

impl<K: Kind> Ranks<K> {
    pub(super) fn new() -> Self {
        Self(Smallest::new(MAX_KINDS))
    }

    /// Counts one more line of a kind; how many there were before.
    pub(super) fn next(&mut self, kind: &K) -> u8 {
        if let Some(count) = self.0.get_mut(kind) {
            let rank = *count;
            *count = (rank + 1).min(MAX_EXEMPLARS);
            return rank;
        }
        if !self.0.would_keep(kind) {
            return MAX_EXEMPLARS;
        }
        self.0.insert(kind.clone(), 1);
        0
    }

    fn count(&mut self, kind: &K) -> u8 {
        self.0.get_mut(kind).map_or(0, |count| *count)
    }

    /// Adds the counts of a later part.
    pub(super) fn append(&mut self, later: Self) {
        for (kind, count) in later.0.into_entries() {
            match self.0.get_mut(&kind) {
                Some(known) => *known = (*known + count).min(MAX_EXEMPLARS),
                None => self.0.insert(kind, count),
            }
        }
    }

    /// Whether so many kinds were dropped that their exemplars should be.
    pub(super) fn needs_sweep(&mut self) -> bool {
        self.0.n_evicted() > MAX_KINDS && self.0.take_n_evicted() > 0
    }

    /// Drops the text of an entry whose kind, or rank in it, has none.
    pub(super) fn sweep<R: Record>(&self, entry: &mut Entry<K, R>) {
        if entry.rank >= MAX_EXEMPLARS || !self.0.contains(&entry.kind) {
            entry.record.line_mut().text = None;
        }
    }
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

    /// Adds to a merged record, if there is one for this kind and minute: then no new record has to be made.
    pub(super) fn absorb(&mut self, kind: &K, minute: i64) -> bool {
        self.full && self.merged.absorb(kind, minute)
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

/// Where a later part stands in the whole.
#[derive(Debug)]
pub(super) struct Place<'a, K> {
    /// How many lines stand before it.
    pub(super) n_before: u64,
    /// The counts of what stands before it.
    pub(super) ranks: &'a mut Ranks<K>,
}

impl<K: Kind> Place<'_, K> {
    fn shift<R: Record>(&mut self, entry: &mut Entry<K, R>) {
        entry.seq += self.n_before;
        entry.rank = (entry.rank + self.ranks.count(&entry.kind)).min(MAX_EXEMPLARS);
        if entry.rank >= MAX_EXEMPLARS {
            entry.record.line_mut().text = None;
        }
    }
}

/// Records merged by kind and minute: the first ones stay as they are, the last of these carries the weight of all others.
///
/// When there are too many, hours take the place of minutes, then days, then all times; then peers are dropped, and at
/// last routes. The scale is the finest one at which all that came fits: it depends on what came, not on the order.
#[derive(Clone, Debug)]
pub(super) struct Buckets<K, R> {
    /// How many records a bucket keeps.
    limit: usize,
    scale: u8,
    by_key: HashMap<(K, i64), Vec<Entry<K, R>>>,
}

impl<K: Kind, R: Record> Buckets<K, R> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, scale: 0, by_key: HashMap::new() }
    }

    pub(super) fn absorb(&mut self, kind: &K, minute: i64) -> bool {
        let key = scaled(kind, minute, self.scale);
        match self.by_key.get_mut(&key) {
            Some(bucket) if bucket.len() == self.limit => {
                if let Some(last) = bucket.last_mut() {
                    *last.record.weight_mut() += 1;
                }
                true
            }
            _ => false,
        }
    }

    pub(super) fn push(&mut self, entry: Entry<K, R>) {
        let key = scaled(&entry.kind, entry.minute, self.scale);
        fold(self.by_key.entry(key).or_default(), vec![entry], self.limit);
        self.fit();
    }

    pub(super) fn append(&mut self, later: Self, place: &mut Place<'_, K>) {
        self.rescale(self.scale.max(later.scale));
        for mut entry in later.into_entries() {
            place.shift(&mut entry);
            self.push(entry);
        }
    }

    pub(super) fn for_each(&mut self, change: impl FnMut(&mut Entry<K, R>)) {
        self.by_key.values_mut().flatten().for_each(change);
    }

    /// All records, by their place in the stream.
    pub(super) fn into_entries(self) -> Vec<Entry<K, R>> {
        let mut entries: Vec<_> = self.by_key.into_values().flatten().collect();
        entries.sort_by_key(|entry| entry.seq);
        entries
    }

    fn fit(&mut self) {
        while self.by_key.len() > MAX_BUCKETS && self.scale < MAX_SCALE {
            self.rescale(self.scale + 1);
        }
    }

    fn rescale(&mut self, scale: u8) {
        if scale == self.scale {
            return;
        }
        self.scale = scale;
        let old = std::mem::take(&mut self.by_key);
        let mut old: Vec<_> = old.into_values().collect();
        // Any order gives the same result; a fixed one is easier to trust.
        old.sort_by_key(|entries| entries.first().map(|entry| entry.seq));
        for entries in old {
            let Some(first) = entries.first() else { continue };
            let key = scaled(&first.kind, first.minute, scale);
            fold(self.by_key.entry(key).or_default(), entries, self.limit);
        }
    }
}

const MAX_SCALE: u8 = 5;

fn scaled<K: Kind>(kind: &K, minute: i64, scale: u8) -> (K, i64) {
    match scale {
        0 => (kind.clone(), minute),
        1 => (kind.clone(), minute.div_euclid(60)),
        2 => (kind.clone(), minute.div_euclid(24 * 60)),
        3 => (kind.clone(), 0),
        4 => (kind.without_peer(), 0),
        _ => (kind.essence(), 0),
    }
}

/// Adds entries to a bucket: the first ones of all stay, the others only add their weight.
fn fold<K, R: Record>(bucket: &mut Vec<Entry<K, R>>, entries: Vec<Entry<K, R>>, limit: usize) {
    bucket.extend(entries);
    bucket.sort_by_key(|entry| entry.seq);
    let surplus: u64 =
        bucket.drain(bucket.len().min(limit)..).map(|mut entry| *entry.record.weight_mut()).sum();
    if let Some(last) = bucket.last_mut() {
        *last.record.weight_mut() += surplus;
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
        let upstream = context.upstream.as_ref().map_or(0, |upstream| upstream.peer.len());
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
        let texts = [&self.client, &self.server, &self.host].into_iter().flatten();
        let path = self.request.as_ref().map_or(0, |request| request.path.len());
        let tries = self.tries.as_ref().map_or(0, |tries| size_of_val(tries.as_slice()));
        size_of::<Self>() + texts.map(|text| text.len()).sum::<usize>() + path + tries
    }
}
