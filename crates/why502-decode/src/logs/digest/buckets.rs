//! Records merged by kind and minute.

use super::ranks::Place;
use super::store::{Entry, Kind, Record};
use foldhash::fast::RandomState;
use std::collections::HashMap;

/// So many merged records are kept, before the merging gets coarser.
const MAX_BUCKETS: usize = 8192;

/// Records merged by kind and minute: the first ones stay as they are, the last of these carries the weight of all others.
///
/// When there are too many, hours take the place of minutes, then days, then all times; then peers are dropped, and at
/// last routes. The scale is the finest one at which all that came fits: it depends on what came, not on the order.
#[derive(Clone, Debug)]
pub(super) struct Buckets<K, R> {
    /// How many records a bucket keeps.
    limit: usize,
    scale: u8,
    by_key: HashMap<(K, i64), Vec<Entry<K, R>>, RandomState>,
}

impl<K: Kind, R: Record> Buckets<K, R> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, scale: 0, by_key: HashMap::default() }
    }

    /// Whether unlike records were merged, so that a record's weight tells of more than its own kind.
    pub(super) fn is_coarse(&self) -> bool {
        self.scale > 0
    }

    /// Adds lines to the last record of a bucket that is full.
    pub(super) fn absorb(&mut self, kind: &K, minute: i64, n_lines: u64) -> bool {
        let key = scaled(kind, minute, self.scale);
        match self.by_key.get_mut(&key) {
            Some(bucket) if bucket.len() == self.limit => {
                if let Some(last) = bucket.last_mut() {
                    *last.record.weight_mut() += n_lines;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::digest::kind::AccessKind;
    use crate::logs::digest::ranks::Ranks;
    use crate::logs::digest::store::MAX_EXEMPLARS;
    use std::sync::Arc;
    use why502_facts::{AccessRecord, LineRef, Stamp};

    fn entry(seq: u64, minute: i64, peer: u64) -> Entry<AccessKind, AccessRecord> {
        let peer: Arc<str> = format!("10.0.0.1:{peer}").into();
        let record = AccessRecord {
            at: Stamp(minute * 60_000),
            status: 502,
            request: None,
            client: None,
            server: None,
            host: None,
            connection: None,
            tries: None,
            request_ms: None,
            body_bytes: None,
            user_agent: None,
            forwarded: None,
            cache_status: None,
            limit_status: None,
            route: None,
            line: LineRef { file: Arc::from("l"), offset: seq, text: None },
            weight: 1,
        };
        let kind = AccessKind { status: 502, upstream_status: None, route: None, peer: Some(peer) };
        Entry { seq, minute, kind, rank: MAX_EXEMPLARS, record }
    }

    /// Offsets and weights of what is kept of entries that were pushed in parts, which end at `cuts`.
    fn kept(cuts: &[u64], of: impl Fn(u64) -> Entry<AccessKind, AccessRecord>) -> Vec<(u64, u64)> {
        let mut whole = Buckets::new(2);
        let mut ranks = Ranks::new();
        let mut begin = 0;
        for &end in cuts {
            let mut part = Buckets::new(2);
            (begin..end).for_each(|n| part.push(Entry { seq: n - begin, ..of(n) }));
            whole.append(part, &mut Place { n_before: begin, ranks: &mut ranks });
            begin = end;
        }
        whole.into_entries().iter().map(|entry| (entry.record.line.offset, entry.record.weight)).collect()
    }

    #[test]
    fn merging_gets_coarser_the_same_way_however_it_was_cut() {
        const N: u64 = 40_000;
        // So many minutes fit only as hours; so many peers do not fit at all.
        for of in [|n| entry(n, (n * 7919 % N).cast_signed(), 1), |n| entry(n, 0, n * 7919 % N)] {
            let whole = kept(&[N], of);
            assert!(whole.len() <= 2 * MAX_BUCKETS);
            assert_eq!(whole.iter().map(|(_, weight)| weight).sum::<u64>(), N);
            assert_eq!(kept(&[100, N], of), whole);
            assert_eq!(kept(&[15_000, 30_000, N], of), whole);
        }
    }

    #[test]
    fn the_first_of_a_bucket_stay() {
        let alike = |n| entry(n, 5, 1);
        assert_eq!(kept(&[7], alike), [(0, 1), (1, 6)]);
        assert_eq!(kept(&[1, 2, 7], alike), [(0, 1), (1, 6)]);
    }
}
