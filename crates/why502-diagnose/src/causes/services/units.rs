//! What systemd tells of a unit: its state, its journal, and its last run.

use super::history::{AT_ONCE, Event, History, State, What, window};
use crate::case::{Case, or_ask};
use crate::cause::Asks;
use crate::causes::outages::Outage;
use crate::finding::Origin;
use std::time::Duration;
use why502_facts::{Exit, JournalEntry, Stamp, Unit, UnitEvent};

/// How long before the end of a service is looked for who ended it: `DefaultTimeoutStopSec=` is 90 s.
const STOPPING: Duration = Duration::from_mins(2);

impl<'c> History<'c> {
    /// Reads what systemd tells of a unit; an error asks for it.
    pub(super) fn read_unit(&mut self, case: &'c Case<'_>, outage: &Outage<'_>) -> Result<(), Asks> {
        let name = &self.service.name;
        let (from, to) = (window(case, outage), case.facts.manifest.captured_at);
        let unit = or_ask(case.facts.unit(name));
        let journal = or_ask(case.facts.unit_journal(name, from, to));
        let (unit, journal) = match (unit, journal) {
            (Ok(unit), Ok(journal)) => (unit, journal),
            (unit, journal) => {
                return Err(unit.err().into_iter().chain(journal.err()).flatten().collect());
            }
        };
        // A unit that systemd knows nothing of has never been started.
        let Some(unit) = unit.known() else { return Ok(()) };
        self.unit = Some(unit);
        self.n_restarts = unit.n_restarts();
        self.pids.extend(unit.main_pid());
        self.state = state_of(unit);
        if let Some(gap) = journal.gap() {
            self.open.push(Case::open(gap.clone(), "what the service wrote before it ended"));
        }
        // Of an end long before it is told only there.
        let end = unit.exited().filter(|end| *end < from && !matches!(self.state, State::Up(_)));
        if let Some(end) = end {
            let to = end.after(AT_ONCE).min(Stamp(from.0 - 1));
            let around = or_ask(case.facts.unit_journal(name, end.before(STOPPING), to))?;
            self.read_journal(around.known().map_or(&[][..], Vec::as_slice));
        }
        let entries = journal.known().map_or(&[][..], Vec::as_slice);
        self.words = entries.iter().filter(|entry| !entry.by_manager).collect();
        self.read_journal(entries);
        self.read_last_run(unit);
        Ok(())
    }

    /// The service manager's own entries. What ends while it is being stopped did not die by itself.
    fn read_journal(&mut self, entries: &[JournalEntry]) {
        let mut is_stopping = false;
        for entry in entries {
            let Some(event) = entry.event else { continue };
            let last = self.events.iter().rev().find(|event| event.what != What::LostProcess);
            let is_started = last.is_none_or(|event| event.what == What::Started);
            let what = match event {
                UnitEvent::Exited(exit) if !is_stopping => Some(What::Died(Some(exit))),
                // Success is told by this alone; a failure without an end of its main process as well.
                UnitEvent::Deactivated | UnitEvent::Failed if !is_stopping && is_started => {
                    Some(What::Died(None))
                }
                UnitEvent::StartLimitHit => Some(What::GaveUp),
                UnitEvent::Started | UnitEvent::Starting => {
                    is_stopping = false;
                    last.is_none_or(|event| event.what != What::Started).then_some(What::Started)
                }
                UnitEvent::Stopping => {
                    is_stopping = true;
                    Some(What::Stopped)
                }
                UnitEvent::Stopped => {
                    is_stopping = false;
                    None
                }
                UnitEvent::ProcessOutOfMemory if !is_stopping => Some(What::LostProcess),
                // That comes last, and says why what ended just now did.
                UnitEvent::OutOfMemory if !is_stopping => {
                    let died = self.events.iter_mut().rev().take_while(|event| event.what != What::Started);
                    let mut died = died.filter(|event| matches!(event.what, What::Died(_)));
                    match died.next() {
                        Some(death) => {
                            death.what = What::OutOfMemory;
                            entry.message.clone_into(&mut death.says);
                            None
                        }
                        None => Some(What::OutOfMemory),
                    }
                }
                UnitEvent::Deactivated
                | UnitEvent::Exited(_)
                | UnitEvent::Failed
                | UnitEvent::OutOfMemory
                | UnitEvent::ProcessOutOfMemory
                | UnitEvent::RestartScheduled(_) => None,
            };
            let origin = Origin::Host(format!("journalctl --unit={}", self.service.name));
            self.events.extend(what.map(|what| Event {
                from: entry.at,
                to: entry.at,
                what,
                says: entry.message.clone(),
                origin,
            }));
        }
    }

    /// What systemd itself remembers of the last run, as far as the journal does not tell it.
    fn read_last_run(&mut self, unit: &Unit) {
        let origin = || Origin::Host(format!("systemctl show {}", unit.name));
        let is_then =
            |event: &Event, at: Stamp| event.to.after(AT_ONCE) >= at && event.from <= at.after(AT_ONCE);
        let is_told = |events: &[Event], at: Stamp| {
            let mut ends = events.iter().filter(|event| event.what.is_death() || event.what == What::Stopped);
            // Whoever is told to stop may take a while: up to TimeoutStopSec=.
            let before = events.iter().rev().find(|event| event.from <= at.after(AT_ONCE));
            let is_of_stop = |event: &Event| {
                event.what == What::Stopped && unit.started().is_none_or(|started| started <= event.to)
            };
            ends.any(|event| is_then(event, at)) || before.is_some_and(is_of_stop)
        };
        let is_shortage = unit.result() == "oom-kill";
        let push = |events: &mut Vec<Event>, at: Stamp, what: What, says: String| {
            // A moment of systemctl is a whole second.
            events.push(Event { from: at, to: Stamp(at.0 + 999), what, says, origin: origin() });
        };
        // The journal may lack the entry that says why.
        if let Some(at) = unit.exited().filter(|_| is_shortage) {
            let deaths = self.events.iter_mut().filter(|event| matches!(event.what, What::Died(_)));
            for death in deaths.filter(|death| is_then(death, at)) {
                death.what = What::OutOfMemory;
            }
        }
        if let Some(at) = unit.exited().filter(|at| !is_told(&self.events, *at)) {
            let what = match unit.exit().filter(|_| unit.result() != "success") {
                Some(_) if is_shortage => What::OutOfMemory,
                Some(exit) if !is_told_to_end(unit, exit) => What::Died(Some(exit)),
                _ => What::Stopped,
            };
            let says = format!("the main process of {} ended ({})", unit.name, unit.result());
            push(&mut self.events, at, what, says);
        }
        let started = unit.started();
        if let Some(at) = started
            .filter(|at| !self.events.iter().any(|event| event.what == What::Started && event.from >= *at))
        {
            push(
                &mut self.events,
                at,
                What::Started,
                format!("the main process of {} was started", unit.name),
            );
        }
    }
}

/// Whether a main process ended as those do that are told to: in time or not, and without calling that success.
fn is_told_to_end(unit: &Unit, exit: Exit) -> bool {
    matches!(exit, Exit::Code(130 | 143) | Exit::Signal(2 | 15)) || unit.result() == "timeout"
}

fn state_of(unit: &Unit) -> State {
    match (unit.active_state(), unit.sub_state()) {
        ("activating", "auto-restart" | "auto-restart-queued") => State::Waiting,
        ("activating", _) => State::Starting(unit.started().or_else(|| unit.moment("InactiveExitTimestamp"))),
        ("active" | "reloading", _) => State::Up(unit.started()),
        ("failed", _) => State::Failed,
        ("inactive" | "deactivating", _) => State::Down,
        _ => State::Unknown,
    }
}
