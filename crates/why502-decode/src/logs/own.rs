//! This program's own requests, taken out of an error log's digest.
//!
//! An error line carries no User-Agent. But a request through the gateway stands in the access log too, where
//! [`AccessDigester`](super::AccessDigester) saw whose it was, and the error lines of a request are those of its client,
//! method, path and connection, written between its begin and its end. Each own request takes the lines of at most one
//! connection, so that a stranger's failure of the same second is at worst exchanged with ours and never lost. Where no
//! access log shows the User-Agent, nothing is taken out.

use std::collections::{BTreeMap, BTreeSet};
use why502_facts::{AccessDigest, ErrorDigest, ErrorRecord, LogClock, OwnRequest};

/// How long before its end a request may have begun, if nothing tells.
const MAX_LENGTH_MS: i64 = 60_000;

type Key<'a> = (&'a str, &'a str, &'a str);

/// Removes the lines about this program's own requests, and takes them off the counts of their levels.
pub fn remove_own_requests(errors: &mut ErrorDigest, accesses: &[&AccessDigest], clock: LogClock) {
    let mut own: Vec<&OwnRequest> = accesses.iter().flat_map(|digest| &digest.own).collect();
    if own.is_empty() {
        return;
    }
    own.sort_by_key(|request| request.at);
    let mut by_key: BTreeMap<Key<'_>, Vec<usize>> = BTreeMap::new();
    for (idx, record) in errors.records.iter().enumerate().filter(|(_, record)| record.weight == 1) {
        if let Some(key) = error_key(record) {
            by_key.entry(key).or_default().push(idx);
        }
    }
    let mut dropped: BTreeSet<usize> = BTreeSet::new();
    for request in own {
        let Some(candidates) = own_key(request).and_then(|key| by_key.get(&key)) else { continue };
        let lines: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|idx| !dropped.contains(idx) && belongs(&errors.records[*idx], request, clock))
            .collect();
        // The lines of the connection that spoke last before the end.
        let Some(&last) = lines.last() else { continue };
        let whose = |idx: usize| (errors.records[idx].pid, errors.records[idx].connection);
        dropped.extend(lines.iter().copied().filter(|&idx| whose(idx) == whose(last)));
    }
    for &idx in &dropped {
        let level = errors.records[idx].level;
        if let Some((_, count)) = errors.levels.iter_mut().find(|(known, _)| *known == level) {
            *count -= 1;
        }
    }
    errors.levels.retain(|(_, count)| *count > 0);
    let mut idx = 0;
    errors.records.retain(|_| {
        idx += 1;
        !dropped.contains(&(idx - 1))
    });
}

fn error_key(record: &ErrorRecord) -> Option<Key<'_>> {
    let request = record.context.request.as_ref()?;
    Some((record.context.client.as_deref()?, &request.method, &request.path))
}

fn own_key(request: &OwnRequest) -> Option<Key<'_>> {
    let line = request.request.as_ref()?;
    Some((request.client.as_deref()?, &line.method, &line.path))
}

fn belongs(record: &ErrorRecord, request: &OwnRequest, clock: LogClock) -> bool {
    let same_connection = match (record.connection, request.connection) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    // Both logs cut the fraction of a second off.
    let length = request.request_ms.map_or(MAX_LENGTH_MS, i64::from) + 2000;
    let before_end = request.at.0 - record.at.at_offset(clock.offset_seconds).0;
    same_connection && (-1000..=length).contains(&before_end)
}
