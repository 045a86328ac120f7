//! Durations that many requests share: a timer ended them.

use std::ops::Range;

/// A timer shows in at least so many requests,
const MIN_MEMBERS: u64 = 5;
/// and in so many in a hundred of their kind.
const MIN_SHARE: u64 = 60;

/// What most of some requests took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Common {
    /// Which of the sorted durations they are.
    pub(crate) range: Range<usize>,
    /// The one in their middle, in milliseconds.
    pub(crate) ms: u32,
    /// How many requests took just so long.
    pub(crate) requests: u64,
    /// Of how many.
    pub(crate) of: u64,
}

/// The duration that most of some requests share: of sorted pairs of milliseconds and weight the run within a timer's play
/// that holds the most. Durations below `least` are the machine's noise.
pub(crate) fn common(sorted: &[(u32, u64)], least: u32) -> Option<Common> {
    let of: u64 = sorted.iter().map(|(_, weight)| weight).sum();
    let (mut best, mut begin, mut weight): (Option<(Range<usize>, u64)>, usize, u64) = (None, 0, 0);
    for (end, (ms, own)) in sorted.iter().enumerate() {
        weight += own;
        while *ms - sorted[begin].0 > play(sorted[begin].0) {
            weight -= sorted[begin].1;
            begin += 1;
        }
        if sorted[begin].0 >= least && best.as_ref().is_none_or(|(_, most)| weight > *most) {
            best = Some((begin..end + 1, weight));
        }
    }
    let (range, requests) = best?;
    let ms = sorted[range.start + range.len() / 2].0;
    (requests >= MIN_MEMBERS && requests * 100 >= of * MIN_SHARE).then_some(Common {
        range,
        ms,
        requests,
        of,
    })
}

/// How much later than its value a timer may be seen, in milliseconds: the work around it, and a busy machine.
pub(crate) fn play(ms: u32) -> u32 {
    (ms / 50).max(60)
}

/// A duration in seconds: `2.001 s`, `60 s`.
pub(crate) fn seconds(ms: u32) -> String {
    match ms % 1000 {
        0 => format!("{} s", ms / 1000),
        rest => format!("{}.{rest:03} s", ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_seconds() {
        assert_eq!([60_000, 2001, 50].map(seconds), ["60 s", "2.001 s", "0.050 s"]);
    }

    #[test]
    fn a_timer_shows_in_most_of_the_durations() {
        let found = common(&[(100, 1), (2000, 3), (2010, 2), (9000, 1)], 900).unwrap();
        assert_eq!((found.range, found.ms, found.requests, found.of), (1..3, 2010, 5, 7));
        // Too few, too far apart, too short.
        assert_eq!(common(&[(2000, 4)], 900), None);
        assert_eq!(common(&[(1000, 2), (2000, 2), (3000, 2), (4000, 2)], 900), None);
        assert_eq!(common(&[(3, 50)], 900), None);
        assert_eq!(common(&[], 900), None);
    }
}
