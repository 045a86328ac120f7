//! Young processes that name an address and do not listen on it, or did not at first.

use crate::case::{Case, or_ask};
use crate::cause::Asks;
use crate::causes::outages::Outage;
use crate::causes::services::is_set;
use crate::causes::ties::{has_other_role, hidden_owners, is_never_meant, is_tool, runs_container, told};
use crate::finding::{Confidence, Open, Origin};
use std::time::Duration;
use why502_facts::{Ask, GapReason, Observed, PeerAddress, Process, Stamp};

/// How old a process may be that is still starting.
const STARTING: Duration = Duration::from_mins(5);
/// So many young processes are looked at closely.
const MAX_LOOKED_AT: usize = 12;

/// A process that does not listen yet, or did not.
pub(super) struct Young {
    /// From when on it was up.
    pub(super) from: Stamp,
    /// Until when it may not have listened; `None`: still.
    pub(super) to: Option<Stamp>,
    pub(super) says: String,
    pub(super) origin: Origin,
    /// How sure it is at most that it is the backend.
    pub(super) strength: Confidence,
    /// What would make it surer.
    pub(super) open: Option<Open>,
}

/// A process that was started a short while ago, says that it listens on the address, and listens nowhere; an error asks for
/// the environment of such processes.
pub(super) fn young_process(case: &Case<'_>, outage: &Outage<'_>) -> Result<Option<Young>, Asks> {
    let (Observed::Known(list), Observed::Known(table)) = (case.facts.processes(), case.sockets()) else {
        return Ok(None);
    };
    let now = case.facts.manifest.captured_at;
    let address = &outage.peer.address;
    // Whoever listens there beside the address may be the one that is meant.
    if table.has_unowned(address) {
        return Ok(None);
    }
    let open = hidden_owners(case, outage.peer).filter(|_| table.owners_hidden);
    let listening = case.listening();
    let is_young = |process: &Process| process.started.is_some_and(|started| now.since(started) <= STARTING);
    let is_gateway = |pid: u32| case.gateway.workers.contains(&pid) || case.gateway.master == Some(pid);
    let is_candidate = |process: &&Process| {
        is_young(process)
            && case.is_beside_gateway(process)
            && !is_gateway(process.pid)
            && !listening.includes(process)
            && !runs_container(&process.argv)
    };
    let mut young: Vec<&Process> = list.processes.iter().filter(is_candidate).collect();
    young.sort_by_key(|process| std::cmp::Reverse(process.started));
    // A worker in the background has the environment of the server, a shell that of what it runs, and whoever waits for the
    // server is told where it will be.
    young.retain(|process| !has_other_role(&process.argv) && !is_tool(&process.argv));
    // One that names it on its command line needs no closer look.
    let told = young.iter().filter_map(|process| Some((*process, told(&process.argv, address)?)));
    if let Some((process, strength)) = told.reduce(|one, other| if other.1 > one.1 { other } else { one }) {
        return Ok(shown(
            case,
            process,
            address,
            Told { strength, what: "its command line", file: "cmdline" },
            open,
        ));
    }
    let wanted: Vec<Ask> = young
        .iter()
        .take(MAX_LOOKED_AT)
        .map(|process| process.pid)
        .filter(
            |pid| matches!(case.facts.process(*pid), Observed::Unknown(gap) if gap.why == GapReason::NotYet),
        )
        .map(|pid| Ask::Process { pid })
        .collect();
    if !wanted.is_empty() {
        return Err(wanted);
    }
    let mut close = Vec::new();
    for process in young.into_iter().take(MAX_LOOKED_AT) {
        close.extend(or_ask(case.facts.process(process.pid))?.known());
    }
    let named = close
        .into_iter()
        .find(|process| process.listens.iter().any(|(name, value)| is_set(name, value, address)));
    let told = Told { strength: Confidence::Likely, what: "its environment", file: "environ" };
    Ok(named.and_then(|process| shown(case, process, address, told, open)))
}

/// What names the address.
#[derive(Clone, Copy)]
struct Told {
    strength: Confidence,
    what: &'static str,
    /// The file below its directory in `/proc`.
    file: &'static str,
}

fn shown(
    case: &Case<'_>,
    process: &Process,
    address: &PeerAddress,
    told: Told,
    open: Option<Open>,
) -> Option<Young> {
    let started = process.started?;
    let age = case.facts.manifest.captured_at.since(started).as_secs();
    let says = format!(
        "{} was started {age} s ago, {} names {address}, and it does not listen",
        case.owners(&[process.pid]),
        told.what
    );
    let strength = if open.is_some() { Confidence::Possible } else { told.strength };
    Some(Young {
        from: started.before(Duration::from_secs(1)),
        to: None,
        says,
        origin: Origin::Host(format!("/proc/{}/{}", process.pid, told.file)),
        strength,
        open,
    })
}

/// Whoever listens now and was up at the time of failures: it did not listen then. Logs have whole seconds.
pub(super) fn delayed_listener(case: &Case<'_>, outage: &Outage<'_>) -> Option<Young> {
    let listeners = case.listeners_of(outage.peer);
    let pids: Vec<u32> = listeners.iter().map(|process| process.pid).collect();
    if is_never_meant(case, outage.peer, &outage.peer.address, &pids) {
        return None;
    }
    let first = listeners.iter().min_by_key(|process| process.started)?;
    // Process 1 and whoever keeps a socket for others says nothing of the backend.
    let started = first.started.filter(|_| first.pid != 1)?;
    let from = started.after(Duration::from_secs(1));
    let to = started.after(STARTING);
    let missed = outage.failures.iter().filter(|(_, at)| from <= *at && *at <= to).count();
    (missed > 0).then(|| Young {
        from,
        to: Some(to),
        says: format!(
            "{}, which listens now, was started at {started}, before connections were refused",
            case.owners(&[first.pid])
        ),
        origin: Origin::Host(format!("/proc/{}/stat", first.pid)),
        strength: Confidence::Likely,
        open: None,
    })
}
