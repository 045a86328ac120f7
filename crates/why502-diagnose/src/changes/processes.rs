//! Processes that were started: a gateway that was started or reloaded, backends that were deployed.

use super::{AT_ONCE, Change, Span};
use crate::case::{Case, PeerSubject};
use crate::report::ChangeKind;
use std::time::Duration;
use why502_facts::{Process, Stamp};

/// How far apart the workers of one start or reload are started: the master forks one after the other.
const AT_ONE_TIME: Duration = Duration::from_secs(1);
/// How long a start may take until the workers are forked, where names are resolved and many keys are read.
const SLOW_START: Duration = Duration::from_mins(1);

/// What the start times of a gateway's processes tell.
pub(super) fn of_gateway(case: &Case<'_>, span: Span) -> Vec<Change> {
    let Some(master) = case.gateway.master.and_then(|pid| case.listed(pid)) else { return Vec::new() };
    let Some(began) = master.started else { return Vec::new() };
    let name = case.gateway.flavour.as_str();
    let new = |at: Stamp, says: String| {
        Change::new(at, ChangeKind::Process, name, says)
            .told_by(format!("/proc/{}/stat", master.pid))
            .of_unit(master.unit.as_deref())
    };
    let mut found = Vec::new();
    if span.holds(began) {
        found.push(new(began, format!("{name} started")));
    }
    let starts = case.gateway.workers.iter().filter_map(|pid| case.listed(*pid)?.started);
    let mut starts: Vec<Stamp> = starts.collect();
    starts.sort_unstable();
    let Some(oldest) = starts.first().copied() else { return found };
    let (first, later): (Vec<Stamp>, Vec<Stamp>) =
        starts.into_iter().partition(|at| at.since(oldest) <= AT_ONE_TIME);
    // Of a reload all workers are new. One that is alone may as well have taken the place of one that died.
    let delay = oldest.since(began);
    if delay > AT_ONE_TIME && span.holds(oldest) {
        let says = match first.len() {
            1 => format!("a worker of {name} started: by a reload, or in place of one that died"),
            n_new if delay <= SLOW_START => {
                format!(
                    "{n_new} workers of {name} started at once: by a reload, or at the end of a slow start"
                )
            }
            n_new => format!("{name} was reloaded: {n_new} workers started at once"),
        };
        found.push(new(oldest, says).of_unit(None));
    }
    // What was started later, one by one, is no reload: that would have left none of the first.
    let respawned = later.into_iter().filter(|at| span.holds(*at));
    let says = format!("a worker of {name} started in place of one that died");
    found.extend(respawned.max().map(|at| new(at, says).of_unit(None)));
    found
}

/// What the start times of those who listen for a peer tell.
pub(super) fn of_peer(case: &Case<'_>, peer: &PeerSubject, span: Span) -> Vec<Change> {
    let mut listeners = case.listeners_of(peer);
    let is_gateway = |process: &&Process| {
        Some(process.pid) == case.gateway.master || case.gateway.workers.contains(&process.pid)
    };
    if listeners.iter().any(is_gateway) {
        return Vec::new();
    }
    listeners.retain(|process| process.started.is_some());
    listeners.sort_by_key(|process| (process.started, process.pid));
    let Some((oldest, others)) = listeners.split_first() else { return Vec::new() };
    let Some(began) = oldest.started else { return Vec::new() };
    let subject = case.owners(&[oldest.pid]);
    let new = |at: Stamp, says: String, unit: Option<&str>| {
        Change::new(at, ChangeKind::Process, subject.clone(), says)
            .told_by(format!("/proc/{}/stat", oldest.pid))
            .of_unit(unit)
    };
    let address = &peer.address;
    if span.holds(began) {
        let says = format!("{subject}, which listens on {address}, started");
        return vec![new(began, says, oldest.unit.as_deref())];
    }
    // A server that is reloaded keeps its first process and starts its workers anew, all at once; one by one they are
    // replaced all the time.
    let workers = others.iter().filter(|process| process.parent == oldest.pid);
    let starts: Vec<Stamp> = workers.filter_map(|process| process.started).collect();
    let (Some(first), Some(last)) = (starts.iter().min(), starts.iter().max()) else { return Vec::new() };
    let is_at_once = starts.len() > 1 && last.since(*first) <= AT_ONE_TIME && first.since(began) > AT_ONCE;
    if is_at_once && span.holds(*first) {
        let says = format!("all {} workers of {subject}, which listens on {address}, started", starts.len());
        return vec![new(*first, says, None)];
    }
    Vec::new()
}
