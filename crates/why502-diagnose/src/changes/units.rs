//! Units that were started, stopped or died, as systemd and its journal tell.

use super::{AT_ONCE, Change, Span};
use crate::case::{Case, PeerSubject};
use crate::report::ChangeKind;
use std::collections::BTreeSet;
use std::time::Duration;
use why502_facts::{Ask, Datum, JournalEntry, Observed, Stamp, Unit, UnitEvent};

/// How long after its end a start is a restart.
const RESTART: Duration = Duration::from_mins(2);
/// So many events of one unit are told: the newest.
const MAX_EVENTS: usize = 2;
/// The units that load packet filters.
const FIREWALLS: [&str; 6] = [
    "firewalld.service",
    "ip6tables.service",
    "iptables.service",
    "netfilter-persistent.service",
    "nftables.service",
    "ufw.service",
];

/// The asks for the units of a gateway, of those who listen for the peers, and of packet filters, where systemd is seen to
/// run the host.
pub(super) fn asks(case: &Case<'_>, peers: &[(&Case<'_>, &PeerSubject)]) -> Vec<Ask> {
    if case.listed(1).is_none_or(|first| first.comm != "systemd") {
        return Vec::new();
    }
    let gateway = case.gateway.master.and_then(|pid| case.listed(pid));
    let listeners = peers.iter().flat_map(|(case, peer)| case.listeners_of(peer));
    let units = gateway.into_iter().chain(listeners).filter_map(|process| process.unit.as_deref());
    let services = units.filter(|unit| unit.ends_with(".service"));
    let names: BTreeSet<&str> = services.chain(FIREWALLS).collect();
    names.into_iter().map(|name| Ask::Unit { name: name.to_owned() }).collect()
}

/// What happened to the units of which something is known, whoever asked.
pub(super) fn changes(case: &Case<'_>, span: Span) -> Vec<Change> {
    let mut units: BTreeSet<&str> = BTreeSet::new();
    for (ask, answer) in case.facts.iter() {
        if let (Ask::Unit { name: unit } | Ask::UnitJournal { unit, .. }, Observed::Known(_)) = (ask, answer)
        {
            units.insert(unit);
        }
    }
    units.into_iter().flat_map(|unit| of_unit(case, unit, span)).collect()
}

/// What became of a unit at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Ended,
    Failed,
    Reloaded,
    Restarted,
    Started,
    /// Somebody had it stopped: whatever its processes make of that is no failure.
    Stopped,
}

#[derive(Clone, Debug)]
struct Event {
    at: Stamp,
    what: What,
    source: String,
}

fn of_unit(case: &Case<'_>, name: &str, span: Span) -> Vec<Change> {
    let mut events = Vec::new();
    let shown = case.facts.unit(name);
    if let Some(unit) = shown.known() {
        events.extend(by_properties(unit));
    }
    for (ask, answer) in case.facts.iter() {
        if let (Ask::UnitJournal { unit, .. }, Observed::Known(Datum::UnitJournal(entries))) = (ask, answer)
            && unit == name
        {
            events.extend(by_journal(name, entries));
        }
    }
    let kind = if FIREWALLS.contains(&name) { ChangeKind::Firewall } else { ChangeKind::Unit };
    // What was started after the failure was stopped before it, and not restarted.
    events.retain(|event| span.holds(event.at));
    let told = condensed(events).into_iter().rev().take(MAX_EVENTS);
    told.map(|event| {
        let says = match event.what {
            What::Ended | What::Stopped => format!("{name} stopped"),
            What::Failed => format!("{name} failed"),
            What::Reloaded => format!("{name} changed its state while active, as by a reload"),
            What::Restarted => format!("{name} restarted"),
            What::Started => format!("{name} started"),
        };
        Change::new(event.at, kind, name, says).told_by(event.source).of_unit(Some(name))
    })
    .collect()
}

/// What systemd remembers: one moment of each kind, the last.
fn by_properties(unit: &Unit) -> Vec<Event> {
    let source = format!("systemctl show {}", unit.name);
    let event = |at: Option<Stamp>, what: What| at.map(|at| Event { at, what, source: source.clone() });
    let entered = unit.moment("ActiveEnterTimestamp");
    let ended = unit.moment("InactiveEnterTimestamp").or_else(|| unit.moment("ActiveExitTimestamp"));
    let failed = unit.active_state() == "failed" && ended > entered;
    let mut events: Vec<Event> =
        [event(entered, What::Started), event(ended, if failed { What::Failed } else { What::Ended })]
            .into_iter()
            .flatten()
            .collect();
    // A reload leaves a unit active, and is a change of its state (`unit_notify` in src/core/unit.c). Of what loads a packet
    // filter nothing else is.
    let changed = unit.moment("StateChangeTimestamp");
    if FIREWALLS.contains(&unit.name.as_str())
        && unit.active_state() == "active"
        && changed.zip(entered).is_some_and(|(changed, entered)| changed.since(entered) > AT_ONCE)
    {
        events.extend(event(changed, What::Reloaded));
    }
    events
}

/// What the service manager wrote of it.
fn by_journal(name: &str, entries: &[JournalEntry]) -> Vec<Event> {
    let mut events = Vec::new();
    for entry in entries {
        let Some(event) = entry.event else { continue };
        let what = match event {
            UnitEvent::Started => What::Started,
            UnitEvent::Stopping => What::Stopped,
            UnitEvent::Deactivated | UnitEvent::Stopped => What::Ended,
            UnitEvent::Exited(_) | UnitEvent::Failed | UnitEvent::OutOfMemory | UnitEvent::StartLimitHit => {
                What::Failed
            }
            UnitEvent::ProcessOutOfMemory | UnitEvent::RestartScheduled(_) | UnitEvent::Starting => continue,
        };
        events.push(Event { at: entry.at, what, source: format!("journalctl --unit={name}") });
    }
    events
}

/// The events by time, each told once: several words of one end are one, and an end with a start soon after it is a restart.
fn condensed(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(|event| event.at);
    let mut told: Vec<Event> = Vec::new();
    for event in events {
        let is_end = |what: What| matches!(what, What::Ended | What::Failed | What::Stopped);
        let Some(last) = told.last_mut() else {
            told.push(event);
            continue;
        };
        let since = event.at.since(last.at);
        match (last.what, event.what) {
            // What ends while it is being stopped did not fail.
            (What::Stopped, What::Ended | What::Failed) if since <= RESTART => {}
            (what, What::Stopped) if is_end(what) && since <= AT_ONCE => last.what = What::Stopped,
            (What::Ended | What::Failed, What::Ended | What::Failed) if since <= AT_ONCE => {
                if event.what == What::Failed {
                    last.what = What::Failed;
                }
            }
            (What::Ended | What::Stopped, What::Started) if since <= RESTART => {
                *last = Event { what: What::Restarted, ..event };
            }
            (What::Restarted | What::Started, What::Started) if since <= AT_ONCE => {}
            _ => told.push(event),
        }
    }
    told
}
