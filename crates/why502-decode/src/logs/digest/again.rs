//! Lines that are like others that were merged: they are only counted.

use super::worth::Worth;
use foldhash::fast::RandomState;
use std::hash::{BuildHasher, Hash};

/// A power of two. Busy logs fail in a handful of ways at a time, each with a few peers.
const N_SLOTS: usize = 512;

/// What makes a line like others, before anything of it is stored. Equal kinds have equal hashes.
pub(super) trait Likeness<K>: Hash {
    /// Whether this is the line's kind. A kind whose texts had to be changed is never the same.
    fn is(&self, kind: &K) -> bool;
}

/// Counts of lines that a merged record absorbs, until they are added to it.
///
/// Once a line of a kind was absorbed, every later one of the same kind and minute is: merged records stay, and merging only
/// gets coarser. So such lines need not be looked up one by one, and it makes no difference when their number is added.
#[derive(Clone, Debug)]
pub(super) struct Again<K> {
    hasher: RandomState,
    /// Empty until the first line was absorbed.
    slots: Vec<Option<Box<Alike<K>>>>,
}

/// Lines of one kind and minute.
#[derive(Clone, Debug)]
pub(super) struct Alike<K> {
    hash: u64,
    pub(super) worth: Worth,
    pub(super) kind: K,
    pub(super) minute: i64,
    /// How many of them were not added yet.
    pub(super) n_lines: u64,
}

impl<K> Default for Again<K> {
    fn default() -> Self {
        Self { hasher: RandomState::default(), slots: Vec::new() }
    }
}

impl<K> Again<K> {
    /// Counts a line, if others like it were absorbed.
    pub(super) fn count(&mut self, worth: Worth, minute: i64, line: &impl Likeness<K>) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let hash = self.hasher.hash_one(line);
        let Some(alike) = &mut self.slots[slot(hash)] else { return false };
        let is_same =
            alike.hash == hash && alike.minute == minute && alike.worth == worth && line.is(&alike.kind);
        alike.n_lines += u64::from(is_same);
        is_same
    }

    /// Remembers that a line was absorbed; returns others that have to make room.
    pub(super) fn remember(
        &mut self,
        worth: Worth,
        minute: i64,
        line: &impl Likeness<K>,
        kind: K,
    ) -> Option<Alike<K>> {
        if self.slots.is_empty() {
            self.slots.resize_with(N_SLOTS, || None);
        }
        let hash = self.hasher.hash_one(line);
        let alike = Alike { hash, worth, kind, minute, n_lines: 0 };
        self.slots[slot(hash)].replace(Box::new(alike)).map(|alike| *alike)
    }

    /// Takes all out.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Alike<K>> + use<K> {
        std::mem::take(&mut self.slots).into_iter().flatten().map(|alike| *alike)
    }
}

fn slot(hash: u64) -> usize {
    usize::try_from(hash % N_SLOTS as u64).unwrap_or_default()
}
