//! When failures came, and what happened just before they came in numbers.

use super::select::Selected;
use super::{Burst, Timeline};
use crate::case::Case;
use std::collections::BTreeMap;
use why502_facts::{AccessDigest, ErrorDigest, Facts, Phrase, Stamp};

/// Widths of a column in seconds, the narrowest first.
const WIDTHS: [u32; 14] =
    [1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600, 28 * 24 * 3600];
/// The most columns.
const MAX_COLUMNS: i64 = 60;
/// A burst has at least so many failures in a minute,
const MIN_BURST: u64 = 10;
/// and so many times those of the median minute that has any.
const BURST_FACTOR: u64 = 5;
/// How long before a burst what caused it may stand in the log, in milliseconds.
const JUST_BEFORE: i64 = 15_000;

/// The failures, and all requests, in columns of equal width.
pub(super) fn timeline(failures: &[&Selected<'_>], access_logs: &[&AccessDigest]) -> Timeline {
    let moments = || failures.iter().map(|one| one.failure.at.0);
    let (Some(first), Some(last)) = (moments().min(), moments().max()) else { return Timeline::default() };
    let fits = |seconds: &&u32| {
        let width = i64::from(**seconds) * 1000;
        last.div_euclid(width) - first.div_euclid(width) < MAX_COLUMNS
    };
    let seconds = WIDTHS.iter().find(fits).copied().unwrap_or(28 * 24 * 3600);
    let width = i64::from(seconds) * 1000;
    let begin = first.div_euclid(width);
    // Stamps that lie years apart have more columns than are shown: the newest count.
    let begin = begin.max(last.div_euclid(width) - MAX_COLUMNS + 1);
    let length = usize::try_from(last.div_euclid(width) - begin + 1).unwrap_or(1);
    let mut failed = vec![0; length];
    for one in failures {
        let column = usize::try_from(one.failure.at.0.div_euclid(width) - begin);
        if let Some(count) = column.ok().and_then(|column| failed.get_mut(column)) {
            *count += one.failure.weight;
        }
    }
    let requests = requests(access_logs, width, begin, length);
    Timeline { seconds, from: Some(Stamp(begin * width).to_string()), failed, requests }
}

/// All requests in columns that are so many milliseconds wide; `None` if the logs do not tell them as finely.
fn requests(access_logs: &[&AccessDigest], width: i64, begin: i64, length: usize) -> Option<Vec<u64>> {
    let timelines: Vec<_> = access_logs.iter().filter_map(|digest| digest.timeline.as_ref()).collect();
    let is_fine = |spans: &why502_facts::Timeline| width % (i64::from(spans.span_minutes) * 60_000) == 0;
    if timelines.is_empty() || !timelines.iter().all(|spans| is_fine(spans)) {
        return None;
    }
    let mut requests = vec![0; length];
    for count in timelines.iter().flat_map(|spans| &spans.counts) {
        let column = usize::try_from(count.begin.0.div_euclid(width) - begin);
        if let Some(sum) = column.ok().and_then(|column| requests.get_mut(column)) {
            *sum += count.n_requests;
        }
    }
    Some(requests)
}

/// Minutes with far more failures than others.
pub(super) fn bursts(
    failures: &[&Selected<'_>],
    error_logs: &[&ErrorDigest],
    facts: &Facts,
    case: &Case<'_>,
) -> Vec<Burst> {
    let mut minutes: BTreeMap<i64, (u64, Stamp, Stamp)> = BTreeMap::new();
    for one in failures {
        let at = one.failure.at;
        let (count, first, last) = minutes.entry(at.0.div_euclid(60_000)).or_insert((0, at, at));
        *count += one.failure.weight;
        *first = at.min(*first);
        *last = at.max(*last);
    }
    let mut sizes: Vec<u64> = minutes.values().map(|(count, ..)| *count).collect();
    sizes.sort_unstable();
    // A single minute is no more than usual.
    let Some(median) = sizes.get(sizes.len() / 2).copied().filter(|_| sizes.len() > 2) else {
        return Vec::new();
    };
    let least = MIN_BURST.max(median * BURST_FACTOR);
    let events = events(error_logs, facts, case);
    let mut bursts: Vec<(i64, Burst)> = Vec::new();
    for (minute, (count, first, last)) in minutes.into_iter().filter(|(_, (count, ..))| *count >= least) {
        match bursts.last_mut() {
            Some((before, burst)) if *before + 1 == minute => {
                *before = minute;
                burst.to = last.to_string();
                burst.requests += count;
            }
            _ => {
                let after =
                    events.iter().rev().find(|(at, _)| *at <= first.0 + 1000 && first.0 - *at <= JUST_BEFORE);
                bursts.push((
                    minute,
                    Burst {
                        from: first.to_string(),
                        to: last.to_string(),
                        requests: count,
                        after: after.map(|(at, says)| format!("{says} at {}", Stamp(*at))),
                    },
                ));
            }
        }
    }
    bursts.into_iter().map(|(_, burst)| burst).collect()
}

/// What nginx's log tells of its own life, by time.
fn events(error_logs: &[&ErrorDigest], facts: &Facts, case: &Case<'_>) -> Vec<(i64, String)> {
    let offset = facts.clock(&case.gateway.owner()).map_or(0, |clock| clock.offset_seconds);
    let records = error_logs.iter().flat_map(|digest| &digest.records);
    let mut events: Vec<(i64, String)> = records
        .filter(|record| record.phrase == Phrase::ProcessEvent)
        .filter_map(|record| {
            let text = record.line.text.as_deref()?;
            Some((record.at.at_offset(offset).0, event(text)?.to_owned()))
        })
        .collect();
    events.sort();
    events.dedup();
    events
}

/// What a line about nginx's life means, if it can make requests fail.
fn event(text: &str) -> Option<&'static str> {
    const EVENTS: [(&str, &str); 6] = [
        ("reconfiguring", "a reload"),
        ("signal 1 (SIGHUP) received", "a reload"),
        ("start worker process", "a start of workers"),
        ("reopening logs", "a rotation of the logs"),
        ("exited on signal", "the end of a worker by a signal"),
        ("gracefully shutting down", "a shutdown"),
    ];
    EVENTS.iter().find(|(mark, _)| text.contains(mark)).map(|(_, says)| *says)
}
