//! # gateway-fd-limit
//!
//! ## What happens
//!
//! A worker may have so many descriptors open and no more (`RLIMIT_NOFILE`): each connection takes one, so do temporary files,
//! static files, logs and pipes. Where the limit is lower than what `worker_connections` allows, it is met first. True for
//! every version of nginx.
//!
//! ## What you see
//!
//! `(24: Too many open files)`: `socket() failed` at level `alert` while connecting to upstream is a 500 at once, without a
//! retry; `open() "…" failed` is a 500 too; after `accept4() failed` the worker accepts nobody for half a second, and clients
//! wait. At the start `… worker_connections exceed open file resource limit` warns of it.
//!
//! ## How we know
//!
//! Confirmed: errno 24 in nginx's own log is the limit of the very worker that wrote it. Its limit and the number of its open
//! descriptors are read from `/proc`; that is the limit which was met only where the master ran then and none was loaded since.
//! Mended: a higher `worker_rlimit_nofile` was loaded since, or nginx was started anew with room to spare: it has at most half of a
//! limit open that is higher than the one which it named before, or beyond what its connections can take.
//!
//! ## What would disprove it
//!
//! Errno 23 (*Too many open files in system*) is the whole host's table (`fs.file-max`), and no limit of nginx's.
//!
//! ## What to do
//!
//! Set `worker_rlimit_nofile`. A master that runs as root with `CAP_SYS_RESOURCE` raises it as far as `fs.nr_open`; any other
//! one to its hard limit, which the unit's `LimitNOFILE` or the container's ulimit sets: that has to be raised first. The
//! directive is the narrowest change where it suffices; without it the workers have what their unit gives.
//!
//! ## Not to be confused with
//!
//! `gateway-worker-connections` (nginx's own count of connections), a backend that has too many files open itself: that one is
//! slow to accept, and says so in its own log.
//!
//! ## References
//!
//! getrlimit(2); nginx: `ngx_worker_process_init`, `ngx_event_accept`, `ngx_event_connect_peer`, `ngx_event_module_init`.

mod mended;
mod source;

use self::mended::{is_mended, is_of_then, renewed_evidence};
use self::source::{raise_unit, source};
use super::worker_limits::{Workers, raise_from_outside, workers};
use crate::case::{Case, Failure, FailureId, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Errno, ErrorRecord, Gap, Observed, Phrase, Stamp};

pub(super) static CAUSE: Cause = Cause {
    id: "gateway-fd-limit",
    layer: Layer::Gateway,
    acts_on: ActsOn::Gateway,
    effect: false,
    statuses: &[500, 502],
    scope: Scope::Gateway,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("gateway_fd_limit.rs"),
};

/// The least that is advised.
const LEAST_ADVISED: u64 = 4096;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let failed = failed(case, Errno::TooManyFiles);
    let waiting: Vec<&ErrorRecord> = of_no_request(case, Errno::TooManyFiles).collect();
    if failed.is_empty() && waiting.is_empty() {
        return Ok(of_the_whole_host(case));
    }
    let workers = workers(case)?;
    let settings = case.gateway.worker_settings();
    let last = last(case);
    let is_mended = is_mended(case, &workers, &settings, last);
    let is_used_up = workers
        .most_open()
        .zip(workers.limit())
        .is_some_and(|((_, open), limit)| open + limit / 16 + 1 >= limit);
    let ids: Vec<FailureId> = failed.iter().map(|(id, ..)| *id).collect();
    let line = Case::lines_evidence(failed, |n| {
        format!("{} failed for want of a descriptor (EMFILE)", count(n, "request"))
    });
    let paused = waiting.last().map(|record| {
        let n: u64 = waiting.iter().map(|record| record.weight).sum();
        let says = format!("{} without a request: whoever connects then waits", count(n, "such message"));
        Evidence::supporting(says, Origin::Log(record.line.clone()))
    });
    let warned =
        case.error_records().filter(|record| record.phrase == Phrase::FileLimit).last().map(|record| {
            let detail = record.detail.as_deref().unwrap_or("the limit is low");
            Evidence::supporting(format!("nginx said so itself: {detail}"), Origin::Log(record.line.clone()))
        });
    let at = settings.open_files.as_ref().and_then(|own| own.at.clone()).or(settings.events.clone());
    let gap = Workers::ask(case).filter(|_| workers.limit().is_none()).and_then(|ask| {
        let Observed::Unknown(Gap { why, says, .. }) = case.facts.look(&ask) else { return None };
        Some(Case::open(Gap { ask, why, says }, "how many descriptors a worker may have open"))
    });
    let still_failing = if is_mended { Some(false) } else { is_used_up.then_some(true) };
    let set_by = source(case, &workers, &settings)?.filter(|_| !is_mended);
    let finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
        .explaining(ids)
        .still_failing(still_failing)
        .with(line.into_iter().chain(paused).chain(warned).chain(workers.limit_evidence()))
        .with(set_by)
        .with(renewed_evidence(case, last).filter(|_| is_mended))
        .open(gap)
        .at(at);
    Ok(Ruling::found(finding))
}

fn failed<'c>(case: &'c Case<'_>, errno: Errno) -> Vec<(FailureId, &'c Failure, &'c Symptom)> {
    let all = case
        .failures()
        .flat_map(|(id, failure)| failure.symptoms.iter().map(move |symptom| (id, failure, symptom)));
    all.filter(|(_, _, symptom)| symptom.errno == Some(errno) && symptom.phrase.is_some_and(is_own_call))
        .collect()
}

/// Whether a message is about a call of nginx itself, and not about what somebody else says.
fn is_own_call(phrase: Phrase) -> bool {
    matches!(
        phrase,
        Phrase::SocketFailed | Phrase::FileOperationFailed | Phrase::AcceptFailed | Phrase::FileLimit
    )
}

/// Messages about nobody's request: a connection that was not accepted, a log that was not opened.
fn of_no_request<'c>(case: &'c Case<'_>, errno: Errno) -> impl Iterator<Item = &'c ErrorRecord> {
    case.error_records().filter(move |record| {
        record.errno == Some(errno) && is_own_call(record.phrase) && record.context.client.is_none()
    })
}

/// Errno 23 speaks of another table.
fn of_the_whole_host(case: &Case<'_>) -> Ruling {
    let failed = failed(case, Errno::TooManyFilesInSystem);
    let says =
        |_| "errno 23 is the file table of the whole host (fs.file-max), no limit of a worker".to_owned();
    match Case::lines_evidence(failed, says) {
        Some(evidence) => Ruling::RuledOut(vec![Evidence::against(evidence.says, evidence.origin)]),
        None => Ruling::NoSign,
    }
}

/// When the last of the messages was written.
fn last(case: &Case<'_>) -> Option<Stamp> {
    let clock = case.facts.clock(&case.gateway.owner()).map_or(0, |clock| clock.offset_seconds);
    let waiting = of_no_request(case, Errno::TooManyFiles).map(|record| record.at.at_offset(clock));
    failed(case, Errno::TooManyFiles).iter().map(|(_, failure, _)| failure.at).chain(waiting).max()
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let is_gone = finding.still_failing == Some(false);
    let limit = workers(case).ok().and_then(|workers| workers.limit());
    let title = match limit.filter(|_| !is_gone && is_of_then(case, last(case))) {
        Some(limit) => format!("nginx's workers ran into their limit of {limit} open files"),
        None => "nginx's workers ran into their limit of open files".to_owned(),
    };
    Explanation {
        title,
        why: "Every connection and every file takes a descriptor, and the worker had none left. A request for which no socket or \
              file can be opened gets 500 at once; new clients wait until a descriptor is free."
            .to_owned(),
        wont_help: vec![
            "raising worker_connections: it lets a worker want still more descriptors".to_owned(),
            "`ulimit -n` in a shell or limits.conf(5): neither reaches a service that systemd or a container engine starts".to_owned(),
            "restarting the backend: it was not even dialled".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(workers) = workers(case).ok().filter(|_| finding.still_failing != Some(false)) else {
        return Vec::new();
    };
    let settings = case.gateway.worker_settings();
    let now = workers.limit().or(settings.open_files.as_ref().map(|own| own.value)).unwrap_or(1024);
    let wanted = (now * 2).max(settings.connections.value * 2).max(LEAST_ADVISED).min(workers.nr_open());
    let verify = "`Max open files` in /proc/PID/limits of a worker is as high, and the error log has no new `(24: Too many open files)` lines";
    let outside = raise_from_outside(&workers, wanted);
    if let Some(reach) = workers.reach().filter(|reach| *reach < wanted) {
        let refused = format!(
            "its master has no right to go beyond its hard limit of {reach}, so worker_rlimit_nofile alone would be refused: {outside}"
        );
        let also = settings.open_files.as_ref().filter(|own| own.value < wanted).map(|own| {
            format!("worker_rlimit_nofile {} is lower, and has to be raised or removed as well", own.value)
        });
        let remedy = raise_unit(case, &workers, wanted)
            .unwrap_or_else(|| Remedy::new(format!("Let nginx have {wanted} open files"), Risk::ShowOnly));
        return vec![remedy.advice_also(also).advice_also([refused]).verify(verify)];
    }
    let mut remedy =
        Remedy::new(format!("Let each worker have {wanted} open files"), Risk::Review).verify(verify);
    let edits = match (&settings.open_files, &settings.events) {
        (Some(own), _) => {
            let value = vec![wanted.to_string()];
            let name = "worker_rlimit_nofile".to_owned();
            let near = own.at.clone();
            near.map(|near| case.gateway.set_directives(&near, &[(name, value, own.at.clone())]))
                .unwrap_or_default()
        }
        (None, Some(events)) => {
            let line = format!("worker_rlimit_nofile {wanted};");
            case.gateway.insert_before(events, &line).into_iter().collect()
        }
        (None, None) => Vec::new(),
    };
    for (at, text) in edits {
        remedy = remedy.edit(at, text);
    }
    let advice = match workers.reach() {
        Some(_) => "a reload suffices: the new workers set it before they give up root".to_owned(),
        None => {
            format!("it works up to the hard limit, or with the rights of root beyond it; else {outside}")
        }
    };
    vec![remedy.advice(advice)]
}

#[cfg(test)]
mod tests;
