//! What became of a service: its state now, and when it was started, stopped, or died, by whoever supervises it.

use super::Candidate;
use super::words::is_of;
use crate::case::{Case, or_ask};
use crate::cause::Asks;
use crate::causes::outages::Outage;
use crate::causes::ties::Tie;
use crate::finding::{Open, Origin};
use std::collections::BTreeMap;
use std::time::Duration;
use why502_facts::{
    ContainerDetail, Exit, JournalEntry, ServerEvent, ServerWord, Service, Stamp, Supervisor, Unit, UnitEvent,
};

/// How long before the first failure is looked for what became of a service.
const BEFORE: Duration = Duration::from_mins(10);
/// The same where nothing but a probe failed.
const BEFORE_PROBE: Duration = Duration::from_hours(1);
/// How far two accounts of one end may lie apart.
pub(super) const AT_ONCE: Duration = Duration::from_secs(2);

/// What a service does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum State {
    /// It does not run, and nobody starts it.
    Down,
    /// It ended badly, and nobody starts it again.
    Failed,
    /// It is being started: it has not said that it is ready.
    Starting(Option<Stamp>),
    /// Nobody could look.
    Unknown,
    /// It runs, since then.
    Up(Option<Stamp>),
    /// It ended, and is started again soon.
    Waiting,
}

/// Something that happened to a service.
#[derive(Clone, Debug)]
pub(in super::super) struct Event {
    /// The earliest moment.
    pub(in super::super) from: Stamp,
    /// The latest moment.
    pub(in super::super) to: Stamp,
    pub(in super::super) what: What,
    /// The line that tells of it.
    pub(in super::super) says: String,
    pub(in super::super) origin: Origin,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum What {
    /// It ended by itself: so, or nobody says how.
    Died(Option<Exit>),
    /// It is started no more, because it died too often.
    GaveUp,
    /// A process of it was killed for want of memory; it may live on.
    LostProcess,
    /// It ended for want of memory: its main process was killed, or it was ended because another process of it was.
    OutOfMemory,
    /// It was started.
    Started,
    /// Somebody had it stopped.
    Stopped,
}

impl What {
    /// Whether nobody runs after it who did before, and nobody asked for that.
    pub(super) fn is_death(self) -> bool {
        matches!(self, Self::Died(_) | Self::OutOfMemory)
    }

    /// How it died: `: exit code 3`; nothing where nobody says.
    pub(in super::super) fn words(self) -> String {
        match self {
            Self::Died(Some(Exit::Code(code))) => format!(": exit code {code}"),
            Self::Died(Some(Exit::Signal(signal))) => {
                let name = SIGNALS.iter().find(|(number, _)| *number == signal);
                let name = name.map(|(_, name)| format!(" ({name})")).unwrap_or_default();
                format!(": signal {signal}{name}")
            }
            Self::Died(None)
            | Self::GaveUp
            | Self::LostProcess
            | Self::OutOfMemory
            | Self::Started
            | Self::Stopped => String::new(),
        }
    }
}

/// The names of signals that end programs.
const SIGNALS: [(u32, &str); 11] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (15, "SIGTERM"),
    (31, "SIGSYS"),
];

/// A service with its state and its past.
pub(in super::super) struct History<'c> {
    pub(in super::super) service: Service,
    pub(in super::super) tie: Tie,
    pub(in super::super) state: State,
    /// By time.
    pub(in super::super) events: Vec<Event>,
    pub(in super::super) unit: Option<&'c Unit>,
    /// What its engine says of it, if it is a container.
    pub(in super::super) container: Option<&'c ContainerDetail>,
    /// How often its supervisor started it again, as far as that is counted.
    pub(super) n_restarts: u32,
    /// The processes that its supervisor started and that are not known to have ended, as their supervisor knows them.
    pub(super) pids: Vec<u32>,
    /// What its processes wrote into the journal.
    pub(super) words: Vec<&'c JournalEntry>,
    pub(in super::super) open: Vec<Open>,
}

/// The history of a service around an outage; an error asks for what is not known yet.
pub(super) fn of<'c>(
    case: &'c Case<'_>,
    outage: &Outage<'_>,
    candidate: Candidate<'c>,
) -> Result<History<'c>, Asks> {
    let mut history = History {
        service: candidate.service,
        tie: candidate.tie,
        container: candidate.container,
        n_restarts: 0,
        state: State::Unknown,
        events: Vec::new(),
        unit: None,
        pids: Vec::new(),
        words: Vec::new(),
        open: Vec::new(),
    };
    match history.service.supervisor {
        Supervisor::Engine => history.read_container(),
        Supervisor::Systemd => history.read_unit(case, outage)?,
        Supervisor::Pm2 | Supervisor::Supervisord => history.read_words(case)?,
        Supervisor::Runit => history.read_runit(),
    }
    history.events.sort_by_key(|event| (event.from, event.to));
    Ok(history)
}

/// From when on the past of a service matters to an outage.
pub(super) fn window(case: &Case<'_>, outage: &Outage<'_>) -> Stamp {
    let now = case.facts.manifest.captured_at;
    outage.begin().map_or_else(|| now.before(BEFORE_PROBE), |begin| begin.before(BEFORE))
}

impl<'c> History<'c> {
    fn read_unit(&mut self, case: &'c Case<'_>, outage: &Outage<'_>) -> Result<(), Asks> {
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
            ends.any(|event| is_then(event, at))
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
                Some(exit) => What::Died(Some(exit)),
                None => What::Stopped,
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

    /// The words of supervisord or PM2.
    fn read_words(&mut self, case: &'c Case<'_>) -> Result<(), Asks> {
        let Some(pid) = self.service.supervisor_pid else {
            // Nothing runs without the daemon, unless that may not be seen.
            let is_whole = case.facts.processes().known().is_some_and(|list| !list.hidden);
            self.state = if is_whole { State::Down } else { State::Unknown };
            return Ok(());
        };
        let observed = or_ask(case.facts.server_words(pid))?;
        if let Some(gap) = observed.gap() {
            self.open.push(Case::open(gap.clone(), "what its supervisor says of its programs"));
        }
        let words = observed.known().map_or(&[][..], Vec::as_slice);
        let own: Vec<&ServerWord> = words.iter().filter(|word| is_of(word, &self.service)).collect();
        // In the foreground supervisord writes the same to its standard output: one account is enough.
        let count = |path: &str| own.iter().filter(|word| word.path == path).count();
        let Some(path) = own.iter().map(|word| word.path.as_str()).max_by_key(|path| count(path)) else {
            return Ok(());
        };
        let mut running = BTreeMap::new();
        for word in own.iter().filter(|word| word.path == path) {
            match word.event {
                ServerEvent::Started => running.insert(&word.pool, word.pid),
                _ => running.remove(&word.pool),
            };
            let what = match word.event {
                ServerEvent::Exited(code) => What::Died(code.map(Exit::Code)),
                ServerEvent::Killed(signal) => What::Died(Some(Exit::Signal(signal))),
                ServerEvent::GaveUp => What::GaveUp,
                ServerEvent::Started => What::Started,
                ServerEvent::Stopped => What::Stopped,
                ServerEvent::PoolFull
                | ServerEvent::Recycled
                | ServerEvent::Restarted
                | ServerEvent::TimedOut => continue,
            };
            // PM2 tells of the end of a process that it was told to stop, too.
            if matches!(what, What::Died(_))
                && self.events.last().is_some_and(|event| event.what == What::Stopped)
            {
                continue;
            }
            self.state = match what {
                What::Died(_) | What::LostProcess | What::OutOfMemory => State::Waiting,
                What::GaveUp => State::Failed,
                What::Started => State::Up(word.from),
                What::Stopped => State::Down,
            };
            let from = word.from.unwrap_or(word.to);
            let origin = Origin::Host(word.path.clone());
            self.events.push(Event { from, to: word.to, what, says: word.line.clone(), origin });
        }
        self.pids.extend(running.into_values().flatten());
        Ok(())
    }

    /// The status of runit: one that is wanted and has no process died at the moment of its status.
    fn read_runit(&mut self) {
        let Some(runit) = self.service.runit else { return };
        let (state, what) = match (runit.pid, runit.wanted_up) {
            (Some(_), _) => (State::Up(Some(runit.since)), What::Started),
            (None, true) => (State::Waiting, What::Died(None)),
            (None, false) => (State::Down, What::Stopped),
        };
        self.state = state;
        self.pids.extend(runit.pid);
        let directory = self.service.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let says = match what {
            What::Started => "it was started".to_owned(),
            What::Stopped => "it is wanted down".to_owned(),
            _ => "it is wanted up and has no process".to_owned(),
        };
        let origin = Origin::Host(format!("{directory}/supervise/status"));
        self.events.push(Event { from: runit.since, to: runit.since, what, says, origin });
    }

    /// The last start at a moment or before it.
    pub(super) fn start_before(&self, moment: Stamp) -> Option<Stamp> {
        let starts = self.events.iter().filter(|event| event.what == What::Started && event.from <= moment);
        starts.map(|event| event.from).max()
    }

    /// The first start after a moment.
    pub(super) fn start_after(&self, moment: Stamp) -> Option<Stamp> {
        let starts = self.events.iter().filter(|event| event.what == What::Started && event.from >= moment);
        starts.map(|event| event.from).min()
    }
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
