//! Distributions of durations, of a fixed size and mergeable.

use serde::{Deserialize, Serialize};

/// Values below this are counted each for itself.
const EXACT: u32 = 64;
/// So many buckets per doubling above it: the middle of a bucket is at most 1/64 away from its values.
const PER_DOUBLING: u32 = 32;

/// How often durations occurred, in milliseconds.
///
/// Up to 64 ms they are counted exactly, above in 32 buckets per doubling, so that a quantile is off by less than 2 %.
/// Two histograms of parts make that of the whole, and none has more than 896 buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u16, u64)>", into = "Vec<(u16, u64)>")]
pub struct Histogram {
    /// By bucket, as far as the last one that is not empty.
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts a duration.
    pub fn add(&mut self, milliseconds: u32) {
        let bucket = bucket(milliseconds);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
    }

    /// Adds the counts of another one.
    pub fn append(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (mine, others) in self.counts.iter_mut().zip(&other.counts) {
            *mine += others;
        }
    }

    /// How many durations were counted.
    pub fn n_values(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many durations came to so many milliseconds or more, as exactly as its buckets are.
    pub fn n_from(&self, milliseconds: u32) -> u64 {
        self.counts.iter().skip(bucket(milliseconds)).sum()
    }

    /// The duration that so many of a thousand do not exceed (500: the median), by the nearest rank, in milliseconds;
    /// `None` if nothing was counted.
    pub fn quantile(&self, permille: u16) -> Option<u32> {
        let n_values = self.n_values();
        let rank = (u128::from(n_values) * u128::from(permille.min(1000))).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return Some(middle(bucket));
            }
        }
        None
    }
}

/// Spelt as the buckets that are not empty.
impl From<Histogram> for Vec<(u16, u64)> {
    fn from(histogram: Histogram) -> Self {
        (0..).zip(histogram.counts).filter(|(_, count)| *count > 0).collect()
    }
}

impl From<Vec<(u16, u64)>> for Histogram {
    fn from(buckets: Vec<(u16, u64)>) -> Self {
        let mut histogram = Self::default();
        for (bucket, count) in buckets {
            // A bundle may hold anything; no duration falls behind the last bucket.
            let bucket = usize::from(bucket).min(self::bucket(u32::MAX));
            if bucket >= histogram.counts.len() {
                histogram.counts.resize(bucket + 1, 0);
            }
            histogram.counts[bucket] = histogram.counts[bucket].saturating_add(count);
        }
        histogram
    }
}

fn bucket(value: u32) -> usize {
    if value < EXACT {
        return value as usize;
    }
    // The bits below the leading one that tell buckets apart: 2^5 are 32.
    let shift = value.ilog2() - PER_DOUBLING.ilog2();
    (EXACT + (shift - 1) * PER_DOUBLING + (value >> shift) - PER_DOUBLING) as usize
}

/// The value that stands for a bucket.
fn middle(bucket: usize) -> u32 {
    let bucket = u32::try_from(bucket).unwrap_or(u32::MAX);
    let Some(above) = bucket.checked_sub(EXACT) else { return bucket };
    let shift = (above / PER_DOUBLING + 1).min(26);
    let lowest = u64::from(PER_DOUBLING + above % PER_DOUBLING) << shift;
    u32::try_from(lowest + (1_u64 << shift) / 2).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_from_a_duration_on_are_counted() {
        let mut histogram = Histogram::default();
        for value in [1, 40, 400, 4000] {
            histogram.add(value);
        }
        assert_eq!([0, 40, 41, 400, 5000].map(|least| histogram.n_from(least)), [4, 3, 2, 2, 0]);
    }

    #[test]
    fn a_value_is_found_again_within_two_percent() {
        let mut value = 0_u32;
        let mut last = 0;
        while value < u32::MAX / 2 {
            let found = bucket(value);
            assert!(found == last || found == last + 1, "{value}");
            last = found;
            let off = middle(found).abs_diff(value);
            assert!(u64::from(off) * 100 <= u64::from(value) * 2, "{value}: {}", middle(found));
            value += (value / 1000).max(1);
        }
        assert!(bucket(u32::MAX) == 895 && middle(895) > u32::MAX / 100 * 98);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(500), None);
        (1..=60).for_each(|value| histogram.add(value));
        let of = |permille| histogram.quantile(permille);
        assert_eq!([of(0), of(500), of(950), of(1000)], [Some(1), Some(30), Some(57), Some(60)]);
    }

    #[test]
    fn parts_make_the_whole_and_survive_being_written() {
        let (mut whole, mut one, mut other) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for value in [0, 3, 70, 71, 5000, 60_001, 3] {
            whole.add(value);
            if value > 60 { &mut one } else { &mut other }.add(value);
        }
        one.append(&other);
        assert_eq!(one, whole);
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), whole);
        let hostile =
            serde_json::from_str::<Histogram>("[[65535,1],[5,18446744073709551615],[5,7]]").unwrap();
        assert_eq!(hostile.counts.len(), 896);
    }
}
