//! Which lines of a kind are shown: the first ones.

use super::smallest::Smallest;
use super::store::{Entry, Kind, MAX_EXEMPLARS, Record};

/// Of so many kinds texts are kept.
const MAX_KINDS: usize = 4096;

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

/// Where a later part stands in the whole.
#[derive(Debug)]
pub(super) struct Place<'a, K> {
    /// How many lines stand before it.
    pub(super) n_before: u64,
    /// The counts of what stands before it.
    pub(super) ranks: &'a mut Ranks<K>,
}

impl<K: Kind> Place<'_, K> {
    pub(super) fn shift<R: Record>(&mut self, entry: &mut Entry<K, R>) {
        entry.seq += self.n_before;
        entry.rank = (entry.rank + self.ranks.count(&entry.kind)).min(MAX_EXEMPLARS);
        if entry.rank >= MAX_EXEMPLARS {
            entry.record.line_mut().text = None;
        }
    }
}
