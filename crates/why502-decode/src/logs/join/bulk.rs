//! Requests that are known by their number only.
//!
//! Where there were too many, or each alone tells nothing, a record stands for many lines of one kind. Such records are
//! joined by what they have left: route, status, peer, and the minute where they have one. As many requests as both sides
//! tell of become one entry; what is left over on a side stays as it is, so that every request is counted once.

use super::entry::of_access;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use why502_facts::{AccessRecord, Attempt, FailedRequest};

/// What both sides know: the route, the status, and for failures the minute.
type Key = (Option<Arc<str>>, u16, i64);

/// Pairs error entries with access records, where one of the two stands for many.
pub(super) fn pair(errors: Vec<FailedRequest>, accesses: Vec<&AccessRecord>) -> Vec<FailedRequest> {
    if errors.is_empty() {
        return accesses.into_iter().map(of_access).collect();
    }
    let any_merged =
        errors.iter().any(|entry| entry.weight > 1) || accesses.iter().any(|record| record.weight > 1);
    let mut paired = Vec::new();
    let mut waiting: BTreeMap<Key, VecDeque<FailedRequest>> = BTreeMap::new();
    for entry in accesses.into_iter().map(of_access) {
        let key = (entry.route.clone(), entry.status.unwrap_or_default(), minute(&entry));
        waiting.entry(key).or_default().push_back(entry);
    }
    for mut error in errors {
        let status = error.implied_status.filter(|_| any_merged);
        while let Some(status) = status.filter(|_| error.weight > 0) {
            // A timeout's error line may stand in the minute before its access line.
            let keys = [0, 1].map(|later| (error.route.clone(), status, minute(&error) + later));
            let Some(found) = keys.iter().find_map(|key| find(&mut waiting, key, &error)) else { break };
            paired.push(share(&mut error, found, &mut waiting));
        }
        if error.weight > 0 {
            paired.push(error);
        }
    }
    paired.extend(waiting.into_values().flatten());
    paired
}

/// Answers with 4xx are merged whatever their time.
fn minute(entry: &FailedRequest) -> i64 {
    let status = entry.status.or(entry.implied_status).unwrap_or_default();
    if matches!(status, 400..500) && status != 499 { 0 } else { entry.at.0.div_euclid(60_000) }
}

/// Takes the first access entry that can be meant.
fn find(
    waiting: &mut BTreeMap<Key, VecDeque<FailedRequest>>,
    key: &Key,
    error: &FailedRequest,
) -> Option<(Key, FailedRequest)> {
    let entries = waiting.get_mut(key)?;
    let at = entries.iter().take(64).position(|entry| {
        let one_of_many = entry.weight > 1 || error.weight > 1;
        let peers =
            [entry, error].map(|request| request.attempts.last().and_then(|attempt| attempt.peer.as_ref()));
        let same_peer = peers[0].is_none() || peers[1].is_none() || peers[0] == peers[1];
        one_of_many && same_peer
    })?;
    entries.remove(at).map(|entry| (key.clone(), entry))
}

/// Makes an entry of what both sides tell of the same number of requests; the rest waits on.
fn share(
    error: &mut FailedRequest,
    (key, mut access): (Key, FailedRequest),
    waiting: &mut BTreeMap<Key, VecDeque<FailedRequest>>,
) -> FailedRequest {
    let weight = error.weight.min(access.weight);
    let mut both = access.clone();
    both.weight = weight;
    both.implied_status = error.implied_status;
    both.messages.clone_from(&error.messages);
    both.server = error.server.clone().or(both.server);
    // The last attempts are those that both tell of.
    for (idx, told) in error.attempts.iter().rev().enumerate() {
        match both.attempts.len().checked_sub(idx + 1) {
            Some(place) => {
                let result = both.attempts[place].result.take();
                both.attempts[place] = Attempt { result, ..told.clone() };
            }
            None => both.attempts.insert(0, told.clone()),
        }
    }
    error.weight -= weight;
    access.weight -= weight;
    if access.weight > 0 {
        waiting.entry(key).or_default().push_front(access);
    }
    both
}
