//! When peers were taken out: as nginx's log says, or as follows from their failures.
//!
//! A peer that fails `max_fails` times within `fail_timeout` is not chosen for as long
//! (`ngx_http_upstream_free_round_robin_peer`). Without a `zone` every worker counts for itself, and the access log does
//! not tell which worker it was: then the peer may have been in use by others.

use super::Ejection;
use crate::case::{Case, PeerSubject, Symptom};
use std::time::Duration;
use why502_facts::{Phrase, Stamp};
use why502_model::Peer;

/// `max_fails` and `fail_timeout` where nothing tells.
const DEFAULT_FAIL_TIMEOUT: Duration = Duration::from_secs(10);

/// The times in which peers were out, by their begin.
pub(super) fn ejections(case: &Case<'_>) -> Vec<Ejection> {
    let mut ejections: Vec<(Stamp, Ejection)> =
        case.peers.iter().flat_map(|peer| of_peer(case, peer)).collect();
    ejections.sort_by(|one, other| (one.0, &one.1.peer).cmp(&(other.0, &other.1.peer)));
    ejections.into_iter().map(|(_, ejection)| ejection).collect()
}

fn of_peer(case: &Case<'_>, peer: &PeerSubject) -> Vec<(Stamp, Ejection)> {
    let group = peer.group.map(|group| case.gateway.group(group));
    if group.is_some_and(why502_model::Group::has_one_address) {
        // The only peer is never taken out (`ngx_http_upstream_round_robin.c`, `single`).
        return Vec::new();
    }
    let configured = case.configured(peer);
    let stays_out = configured.map_or(DEFAULT_FAIL_TIMEOUT, |peer| peer.fail_timeout);
    let told: Vec<Stamp> = case
        .symptoms_of(peer)
        .filter(|(_, _, symptom)| symptom.is(Phrase::ServerTemporarilyDisabled))
        .map(|(_, failure, _)| failure.at)
        .collect();
    let is_told = !told.is_empty();
    let begins =
        if is_told { told.into_iter().map(|at| (at, 1)).collect() } else { replayed(case, peer, configured) };
    let mut found: Vec<(Stamp, Stamp, u64)> = Vec::new();
    for (at, failures) in begins {
        let until = at.after(stays_out);
        match found.last_mut() {
            // Still out, or taken out again at the first try.
            Some((_, end, count)) if at <= end.after(stays_out) => {
                *end = until.max(*end);
                *count += failures;
            }
            _ => found.push((at, until, failures)),
        }
    }
    let ejection = |(from, to, failures): (Stamp, Stamp, u64)| {
        let ejection = Ejection {
            peer: peer.address.to_string(),
            upstream: group.and_then(|group| group.name.clone()),
            from: from.to_string(),
            to: to.to_string(),
            failures,
            told: is_told,
            per_worker: group.is_none_or(|group| !group.shared),
        };
        (from, ejection)
    };
    found.into_iter().map(ejection).collect()
}

/// The moments at which a peer had failed often enough, with the failures that led there. Only where a configuration tells
/// how often that is.
fn replayed(case: &Case<'_>, peer: &PeerSubject, configured: Option<&Peer>) -> Vec<(Stamp, u64)> {
    let Some(configured) = configured.filter(|peer| peer.max_fails > 0) else { return Vec::new() };
    let mut ejected = Vec::new();
    let mut recent: Vec<Stamp> = Vec::new();
    let mut failed: Vec<(Stamp, u64)> = case
        .symptoms_of(peer)
        .filter(|(_, _, symptom)| counts(symptom))
        .map(|(_, failure, _)| (failure.at, failure.weight))
        .collect();
    failed.sort_unstable();
    for (at, weight) in failed {
        recent.retain(|earlier| earlier.after(configured.fail_timeout) >= at);
        let repeats = weight.min(u64::from(configured.max_fails));
        recent.extend((0..repeats).map(|_| at));
        if recent.len() >= usize::try_from(configured.max_fails).unwrap_or(usize::MAX) {
            ejected.push((at, recent.len() as u64));
            recent.clear();
        }
    }
    ejected
}

/// Whether an attempt counts as a failure of the peer: no valid answer came.
fn counts(symptom: &Symptom) -> bool {
    let is_failed = symptom.tried.as_ref().is_some_and(|tried| matches!(tried.status, Some(502 | 504)));
    symptom.is_attempt && !symptom.answered() && (symptom.phrase.is_some() || is_failed)
}
