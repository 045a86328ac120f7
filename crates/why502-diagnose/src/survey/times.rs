//! Percentiles.

use super::select::Selected;
use super::{Percentiles, Times};

/// The times of some failures.
pub(super) fn times(failures: &[&Selected<'_>]) -> Times {
    let of_last = |time: fn(&why502_facts::Try) -> Option<u32>| {
        let values = failures.iter().filter_map(move |one| {
            let tried = one.failure.attempts().next_back()?.tried.as_ref()?;
            Some((time(tried)?, one.failure.weight))
        });
        percentiles(values)
    };
    Times {
        connect: of_last(|tried| tried.connect_ms),
        header: of_last(|tried| tried.header_ms),
        response: of_last(|tried| tried.response_ms),
        request: percentiles(
            failures.iter().filter_map(|one| Some((one.failure.request_ms?, one.failure.weight))),
        ),
    }
}

/// Percentiles of weighted values by nearest rank; `None` of none.
pub(super) fn percentiles(values: impl Iterator<Item = (u32, u64)>) -> Option<Percentiles> {
    let mut values: Vec<(u32, u64)> = values.collect();
    values.sort_unstable();
    let total: u64 = values.iter().map(|(_, weight)| weight).sum();
    let at = |percent: u64| {
        let rank = (total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        values.iter().find_map(|(value, weight)| {
            seen += weight;
            (seen >= rank).then_some(*value)
        })
    };
    Some(Percentiles { of: total, p50_ms: at(50)?, p95_ms: at(95)?, p99_ms: at(99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let of = |values: &[(u32, u64)]| percentiles(values.iter().copied());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(7, 1)]), Some(Percentiles { of: 1, p50_ms: 7, p95_ms: 7, p99_ms: 7 }));
        let hundred: Vec<(u32, u64)> = (1..=100).rev().map(|value| (value, 1)).collect();
        assert_eq!(of(&hundred), Some(Percentiles { of: 100, p50_ms: 50, p95_ms: 95, p99_ms: 99 }));
        assert_eq!(of(&[(1, 95), (9, 5)]), Some(Percentiles { of: 100, p50_ms: 1, p95_ms: 1, p99_ms: 9 }));
    }
}
