//! A map of bounded size whose content does not depend on how its input was cut.

use std::borrow::Borrow;
use std::collections::BTreeMap;

/// Keeps the entries of the smallest keys.
///
/// First come, first kept would depend on where a log is cut into parts: a key may be early in one part and late in the
/// whole. A key among the smallest of the whole is among the smallest of every part that has it, so nothing of it is lost.
#[derive(Clone, Debug)]
pub(super) struct Smallest<K, V> {
    entries: BTreeMap<K, V>,
    max: usize,
    n_evicted: usize,
}

impl<K: Ord, V> Smallest<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { entries: BTreeMap::new(), max, n_evicted: 0 }
    }

    pub(super) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.entries.get_mut(key)
    }

    /// The values, by their keys.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.values_mut()
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether a new key would be kept.
    pub(super) fn would_keep<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.entries.len() < self.max
            || self.entries.last_key_value().is_some_and(|(last, _)| last.borrow() > key)
    }

    /// Adds an entry whose key is new.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.insert_and_evict(key, value);
    }

    /// Adds an entry whose key is new; returns the value for which there is no room, this one or another.
    pub(super) fn insert_and_evict(&mut self, key: K, value: V) -> Option<V> {
        if !self.would_keep(&key) {
            self.n_evicted += 1;
            return Some(value);
        }
        self.entries.insert(key, value);
        if self.entries.len() <= self.max {
            return None;
        }
        self.n_evicted += 1;
        self.entries.pop_last().map(|(_, value)| value)
    }

    /// How many entries were turned away or dropped since this was asked last.
    pub(super) fn take_n_evicted(&mut self) -> usize {
        std::mem::take(&mut self.n_evicted)
    }

    pub(super) fn n_evicted(&self) -> usize {
        self.n_evicted
    }

    pub(super) fn into_entries(self) -> BTreeMap<K, V> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_stay() {
        let mut map = Smallest::new(2);
        for key in [5, 3, 9, 1, 4] {
            map.insert(key, ());
        }
        assert_eq!(map.insert_and_evict(7, ()), Some(()));
        assert!(map.would_keep(&2) && !map.would_keep(&3));
        assert_eq!(map.n_evicted(), 4);
        assert_eq!(map.into_entries().into_keys().collect::<Vec<_>>(), [1, 3]);
    }
}
