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
    ContainerDetail, Exit, JournalEntry, ServerEvent, ServerWord, Service, Stamp, Supervisor, Unit,
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
