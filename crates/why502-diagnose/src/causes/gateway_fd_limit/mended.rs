//! Whether the limit of open files that was met is the one of now, and whether it was raised since.

use super::LEAST_ADVISED;
use crate::case::Case;
use crate::causes::worker_limits::{Workers, is_loaded_since};
use crate::finding::{Evidence, Origin};
use std::time::Duration;
use why502_facts::{Phrase, Process, Stamp};
use why502_model::WorkerSettings;

/// Stamps of the log are cut to the second.
const SECOND: Duration = Duration::from_secs(1);

/// Whether a higher limit is in force since the last message.
pub(super) fn is_mended(
    case: &Case<'_>,
    workers: &Workers<'_>,
    settings: &WorkerSettings,
    last: Option<Stamp>,
) -> bool {
    is_raised_since(case, settings, last) || has_room_since(case, workers, settings, last)
}

/// Whether another limit was written down and loaded after the last failure: what the limit was then, no log tells.
fn is_raised_since(case: &Case<'_>, settings: &WorkerSettings, last: Option<Stamp>) -> bool {
    let written = settings.open_files.as_ref().and_then(|own| case.gateway.source(&own.at.as_ref()?.file));
    let is_new = written.zip(last).is_some_and(|(source, last)| source.modified.0 > last.0);
    is_new && is_loaded_since(case, last)
}

/// Whether nginx was started anew since, and has room to spare. A restart alone mends nothing: the limit has to be a higher one
/// than that which nginx named before, or, where it named none, beyond what its connections can take or as high as is advised.
fn has_room_since(
    case: &Case<'_>,
    workers: &Workers<'_>,
    settings: &WorkerSettings,
    last: Option<Stamp>,
) -> bool {
    let Some((limit, (_, open))) = workers.limit().zip(workers.most_open()) else { return false };
    let is_ample = limit >= LEAST_ADVISED || limit > settings.connections.value.saturating_mul(2);
    let is_higher = match limit_of_then(case, last) {
        // A directive beyond what the master had is not in the message, and may have been in force.
        Some(then) => {
            let is_exact = settings.open_files.as_ref().is_none_or(|own| own.value <= then);
            limit > then && (is_ample || is_exact)
        }
        None => is_ample,
    };
    renewed(case, last).is_some() && is_higher && open <= limit / 2
}

/// The limit that nginx named when it was started, before the last message:
/// `4096 worker_connections exceed open file resource limit: 1024`.
fn limit_of_then(case: &Case<'_>, last: Option<Stamp>) -> Option<u64> {
    let clock = case.facts.clock(&case.gateway.owner())?;
    let warnings = case.error_records().filter(|record| {
        record.phrase == Phrase::FileLimit
            && last.is_some_and(|last| record.at.at_offset(clock.offset_seconds) <= last)
    });
    let newest = warnings.max_by_key(|record| record.at)?;
    newest.detail.as_deref()?.rsplit_once(": ")?.1.trim().parse().ok()
}

fn master<'c>(case: &'c Case<'_>) -> Option<&'c Process> {
    case.listed(case.gateway.master?)
}

/// When the master was started, if that was after the last message.
fn renewed(case: &Case<'_>, last: Option<Stamp>) -> Option<Stamp> {
    let (started, last) = master(case)?.started.zip(last)?;
    (started > last.after(SECOND)).then_some(started)
}

/// That nginx was started anew since.
pub(super) fn renewed_evidence(case: &Case<'_>, last: Option<Stamp>) -> Option<Evidence> {
    let started = renewed(case, last)?;
    let says = format!("nginx was started anew since, at {started}, and has room to spare");
    Some(Evidence::context(says, Origin::Host("/proc".to_owned())))
}

/// Whether the limit of now was in force at the last message: the master ran already, and nothing was loaded since that may have
/// set another one.
pub(super) fn is_of_then(case: &Case<'_>, last: Option<Stamp>) -> bool {
    let ran = master(case).and_then(|master| master.started).zip(last);
    let is_changed =
        last.is_some_and(|last| case.gateway.sources.iter().any(|source| source.modified.0 > last.0));
    ran.is_some_and(|(started, last)| started <= last) && !(is_changed && is_loaded_since(case, last))
}
