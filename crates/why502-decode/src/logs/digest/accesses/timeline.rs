//! Requests per status over time.

use super::tally::{MINUTE, Run};
use std::collections::BTreeMap;
use why502_facts::{RequestCount, Stamp, Timeline};

/// So many counts are kept, before spans get longer.
const MAX_COUNTS: usize = 16_384;
/// How long spans are, in minutes: the last ones are so long that those of all years that can be written are few.
const SPANS: [u32; 4] = [1, 60, 24 * 60, 100 * 365 * 24 * 60];

/// Counts requests per span and status.
///
/// Spans are as short as they can be with all that came: that depends on what came, not on the order or on cuts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    scale: usize,
    /// By span and status.
    counts: BTreeMap<(i64, u16), u64>,
}

impl Counts {
    pub(super) fn count(&mut self, run: &Run) {
        let span = run.begin.div_euclid(MINUTE).div_euclid(i64::from(SPANS[self.scale]));
        *self.counts.entry((span, run.seen.status)).or_default() += run.n_requests;
        self.fit();
    }

    /// Adds the counts of another part.
    pub(super) fn append(&mut self, mut other: Self) {
        let scale = self.scale.max(other.scale);
        self.rescale(scale);
        other.rescale(scale);
        for (key, count) in other.counts {
            *self.counts.entry(key).or_default() += count;
        }
        self.fit();
    }

    pub(super) fn read(self) -> Timeline {
        let span_minutes = SPANS[self.scale];
        let count = |((span, status), n_requests)| RequestCount {
            begin: Stamp(span * i64::from(span_minutes) * MINUTE),
            status,
            n_requests,
        };
        Timeline { span_minutes, counts: self.counts.into_iter().map(count).collect() }
    }

    fn fit(&mut self) {
        while self.counts.len() > MAX_COUNTS && self.scale + 1 < SPANS.len() {
            self.rescale(self.scale + 1);
        }
    }

    fn rescale(&mut self, scale: usize) {
        if scale == self.scale {
            return;
        }
        let factor = i64::from(SPANS[scale] / SPANS[self.scale]);
        self.scale = scale;
        for ((span, status), count) in std::mem::take(&mut self.counts) {
            *self.counts.entry((span.div_euclid(factor), status)).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::digest::accesses::record::Seen;
    use crate::logs::digest::routes::Routes;

    fn counted(stamps: impl Iterator<Item = (i64, u16)>) -> Counts {
        let mut counts = Counts::default();
        let mut routes = Routes::new(None);
        let Some(route) = routes.only() else { return counts };
        stamps.for_each(|(at, status)| counts.count(&Run::of(Seen { at: Stamp(at), status, route })));
        counts
    }

    #[test]
    fn minutes_are_counted_by_status() {
        let timeline =
            counted([(-1, 200), (0, 502), (59_999, 200), (60_000, 502), (1, 502)].into_iter()).read();
        let counts: Vec<_> =
            timeline.counts.iter().map(|count| (count.begin.0, count.status, count.n_requests)).collect();
        assert_eq!(counts, [(-60_000, 200, 1), (0, 200, 1), (0, 502, 2), (60_000, 502, 1)]);
        assert_eq!(timeline.span_minutes, 1);
    }

    #[test]
    fn longer_logs_have_longer_spans_however_they_were_cut() {
        let minutes = |range: std::ops::Range<i64>| range.map(|minute| (minute * 60_000, 200));
        let whole = counted(minutes(0..20_000)).read();
        assert_eq!((whole.span_minutes, whole.counts.len()), (60, 334));
        for cut in [1, 5000, 10_000, 19_000] {
            let mut parts = counted(minutes(0..cut));
            parts.append(counted(minutes(cut..20_000)));
            assert_eq!(parts.read(), whole);
        }
        // Stamps of all years, all statuses.
        let hostile = (0..400_000)
            .map(|n: i64| (n * 77_777_777_777 % 315_000_000_000_000, u16::try_from(n % 999).unwrap()));
        let timeline = counted(hostile).read();
        assert!(timeline.counts.len() <= 110_000);
        assert_eq!(timeline.counts.iter().map(|count| count.n_requests).sum::<u64>(), 400_000);
    }
}
