//! What a service's state and past mean for the failures of its peer.

use super::history::{Event, History, State, What, window};
use crate::case::{Case, PeerSubject};
use crate::causes::app_server::SLACK;
use crate::causes::outages::Outage;
use crate::causes::ties::{hidden_owners, runs_container};
use crate::finding::{Confidence, Open};
use std::time::Duration;
use why502_facts::{Exit, Process, Stamp, Supervisor};

/// How old a process may be that is still starting.
pub(in super::super) const STARTING: Duration = Duration::from_mins(5);
/// How long a service may take from its start until it listens, where nothing tells it better.
const SETTLE: Duration = Duration::from_mins(1);
/// Who exits sooner than that, without having served, failed at start.
const AT_START: Duration = Duration::from_secs(5);
/// How long a client may take for a response where the log does not tell: the line is written at its end.
const DOWNLOAD: Duration = Duration::from_secs(30);
/// Whoever died twice and not again for so long loops no more, unless it lived longer in between.
const MIN_LOOPING: Duration = Duration::from_mins(1);

/// What became of a service, as far as it explains failures.
#[derive(Clone, Debug)]
pub(in super::super) struct Verdict {
    pub(in super::super) how: How,
    /// From when on it explains failures.
    from: Option<Stamp>,
    /// Until when.
    to: Option<Stamp>,
    /// Whether it is over.
    pub(in super::super) is_over: bool,
    /// How sure it is at most.
    pub(super) cap: Confidence,
    /// What would make it surer.
    pub(super) open: Option<Open>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(in super::super) enum How {
    /// It died once.
    Crashed(Event),
    /// It dies again and again.
    Looping(Vec<Event>),
    /// Memory was short, and it was ended for that: so often, oldest first.
    OutOfMemory(Vec<Event>),
    /// It runs since then, and does not listen yet.
    Starting(Stamp),
    /// It does not run.
    Stopped(StopKind),
}

/// Why a service does not run.
#[derive(Clone, Debug)]
pub(in super::super) enum StopKind {
    /// It ended as soon as it was started, or could not be started at all.
    FailedAtStart(Option<Event>),
    /// It is masked: nobody can start it.
    Masked,
    /// Nothing tells of a start.
    NotStarted,
    /// It was stopped.
    Stopped,
}

impl Verdict {
    /// Whether it explains a failure of that moment.
    pub(in super::super) fn holds(&self, at: Stamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at <= to)
    }

    fn standing(how: How, from: Option<Stamp>) -> Self {
        Self {
            how,
            from: from.map(|from| from.before(SLACK)),
            to: None,
            is_over: false,
            cap: Confidence::Confirmed,
            open: None,
        }
    }

    fn over(how: How, from: Stamp, to: Stamp) -> Self {
        Self { to: Some(to), is_over: true, ..Self::standing(how, Some(from)) }
    }

    /// Whether what ended did so well and by itself each time, as a migration does that shares the environment of a server.
    pub(super) fn is_of_one_shot(&self) -> bool {
        let is_well = |death: &Event| death.what == What::Died(Some(Exit::Code(0)));
        match &self.how {
            How::Crashed(death) | How::Stopped(StopKind::FailedAtStart(Some(death))) => is_well(death),
            How::Looping(deaths) => deaths.iter().all(is_well),
            How::OutOfMemory(_) | How::Starting(_) | How::Stopped(_) => false,
        }
    }
}

/// The verdict on a service; `None` where it explains nothing.
pub(super) fn of(case: &Case<'_>, outage: &Outage<'_>, history: &History<'_>) -> Option<Verdict> {
    if history.state == State::Unknown {
        return None;
    }
    let verdict = judge(case, outage, history)?;
    let fits = outage.failures.is_empty() || outage.failures.iter().any(|(_, at)| verdict.holds(*at));
    let is_felt = !verdict.is_over || !outage.failures.is_empty();
    (fits && is_felt).then_some(verdict)
}

fn judge(case: &Case<'_>, outage: &Outage<'_>, history: &History<'_>) -> Option<Verdict> {
    let now = case.facts.manifest.captured_at;
    let begin = window(case, outage);
    let recent = |is_it: fn(&What) -> bool| -> Vec<Event> {
        history.events.iter().filter(|event| event.to >= begin && is_it(&event.what)).cloned().collect()
    };
    let deaths = recent(|what| matches!(what, What::Died(_)));
    let shortages = recent(|what| *what == What::OutOfMemory);
    let last = |is_it: fn(&What) -> bool| history.events.iter().rev().find(|event| is_it(&event.what));
    let stop = last(|what| *what == What::Stopped);
    let is_stopped = history.state == State::Down
        && stop.is_some_and(|stop| deaths.iter().all(|death| death.to <= stop.to));
    let stands = outage.stands(case) || !outage.is_gone();
    let is_missed = || listens(case, outage, history) != Listens::Somewhere;
    // Whoever is killed for want of memory does not die of itself.
    if !is_stopped
        && deaths.len() > shortages.len()
        && let Some(verdict) = looping(history, &deaths, now, stands, is_missed)
    {
        return Some(verdict);
    }
    // Whoever does not run may have died long ago.
    let death = last(|what| what.is_death());
    let death = death.filter(|death| stop.is_none_or(|stop| stop.to <= death.to));
    let is_short = |death: Option<&Event>| {
        death.is_some_and(|death| death.what == What::OutOfMemory && death.to >= begin)
    };
    match history.state {
        State::Unknown => None,
        State::Failed | State::Waiting | State::Down if !stands => None,
        // Whoever answered after its end was somebody else.
        State::Failed | State::Waiting | State::Down
            if death.or(stop).is_some_and(|end| has_answered(case, outage.peer, end.to.after(SLACK))) =>
        {
            None
        }
        State::Failed | State::Waiting | State::Down => Some(match death {
            Some(death) if is_at_start(case, outage, history, death) => {
                Verdict::standing(How::Stopped(StopKind::FailedAtStart(Some(death.clone()))), None)
            }
            Some(death) => ended(death, shortages),
            None => {
                let kind =
                    if history.service.masked || history.unit.is_some_and(why502_facts::Unit::is_masked) {
                        StopKind::Masked
                    } else if history.state == State::Failed && stop.is_none() {
                        StopKind::FailedAtStart(None)
                    } else if stop.is_some() || history.unit.is_some_and(|unit| unit.exited().is_some()) {
                        StopKind::Stopped
                    } else {
                        StopKind::NotStarted
                    };
                let verdict = Verdict::standing(How::Stopped(kind), stop.map(|stop| stop.from));
                // Nothing tells of a run of it, while somebody answered since the host was started.
                let booted = case.facts.host().known().and_then(|host| host.booted);
                if stop.is_none() && has_answered(case, outage.peer, booted.unwrap_or(Stamp(0))) {
                    return may_have_run(history).then_some(Verdict { cap: Confidence::Likely, ..verdict });
                }
                verdict
            }
        }),
        State::Starting(_) | State::Up(_) if stands && is_short(death) => {
            death.map(|death| ended(death, shortages))
        }
        State::Starting(since) | State::Up(since) if stands => {
            let since = since.filter(|since| now.since(*since) <= STARTING)?;
            let (cap, open) = match listens(case, outage, history) {
                Listens::Gone | Listens::Somewhere => return None,
                Listens::Nowhere => (Confidence::Confirmed, None),
                Listens::NobodyKnown => (Confidence::Likely, None),
                Listens::Hidden(open) => (Confidence::Possible, Some(*open)),
            };
            // A restart leaves a gap before the start as well.
            let ended = death.or(stop).map(|event| event.from).filter(|at| *at <= since);
            let verdict = Verdict::standing(How::Starting(since), Some(ended.unwrap_or(since)));
            Some(Verdict { cap, open, ..verdict })
        }
        State::Starting(_) | State::Up(_) => {
            let ended = death.or(stop).filter(|ended| ended.to >= begin)?;
            let again = history.start_after(ended.to).unwrap_or(ended.to);
            let (how, from) = match death {
                Some(death) => how_ended(death, shortages),
                None => (How::Stopped(StopKind::Stopped), ended.from),
            };
            Some(Verdict::over(how, from, again.after(SETTLE)))
        }
    }
}

/// Whether a peer answered a request that began at a moment or later. A cache may have answered in its place.
fn has_answered(case: &Case<'_>, peer: &PeerSubject, moment: Stamp) -> bool {
    let is_cached = case.pass_to(peer).is_some_and(|pass| pass.cache.is_some());
    case.successes.iter().any(|success| {
        let is_of_peer = match &success.peer {
            Some(address) => *address == peer.address,
            None => {
                !is_cached && case.is_single(peer) && success.route.is_some_and(|route| peer.is_of(route))
            }
        };
        let took = success.request_ms.map_or(DOWNLOAD, |millis| Duration::from_millis(millis.into()));
        is_of_peer && success.at.before(took) >= moment
    })
}

/// Whether a service of which nothing tells that it ran may have done so.
fn may_have_run(history: &History<'_>) -> bool {
    let is_told = match history.service.supervisor {
        Supervisor::Systemd => history.unit.is_some(),
        Supervisor::Engine | Supervisor::Runit => true,
        // Without the daemon nobody reads its log.
        Supervisor::Pm2 | Supervisor::Supervisord => history.service.supervisor_pid.is_some(),
    };
    !is_told || !history.open.is_empty()
}

/// Whether a service listens, wherever that is.
#[derive(PartialEq, Eq)]
enum Listens {
    /// It ended, and its supervisor has not noticed that yet.
    Gone,
    /// Whose some listeners are may not be seen.
    Hidden(Box<Open>),
    /// Nobody knows its processes.
    NobodyKnown,
    Nowhere,
    /// A process of it listens, or may do so where nobody sees it from nginx.
    Somewhere,
}

/// A death that nobody mended yet.
fn ended(death: &Event, shortages: Vec<Event>) -> Verdict {
    let (how, from) = how_ended(death, shortages);
    Verdict::standing(how, Some(from))
}

/// What a death was, by what came before it, and when that began.
fn how_ended(death: &Event, mut shortages: Vec<Event>) -> (How, Stamp) {
    if death.what != What::OutOfMemory {
        return (How::Crashed(death.clone()), death.from);
    }
    if shortages.is_empty() {
        shortages.push(death.clone());
    }
    let from = shortages.first().map_or(death.from, |first| first.from);
    (How::OutOfMemory(shortages), from)
}

fn listens(case: &Case<'_>, outage: &Outage<'_>, history: &History<'_>) -> Listens {
    let (processes, sockets) = (case.facts.processes(), case.sockets());
    let (Some(list), Some(table)) = (processes.known(), sockets.known()) else { return Listens::NobodyKnown };
    let service = &history.service;
    let is_supervised = |process: &Process| {
        let supervisor = service.supervisor_pid.unwrap_or(1);
        service.supervisor == Supervisor::Systemd || case.descends_from(process, supervisor)
    };
    let is_own = |process: &&Process| {
        process.unit.as_ref() == Some(&service.name)
            || (history.pids.contains(&process.pid) && is_supervised(process))
    };
    let own: Vec<&Process> = list.processes.iter().filter(is_own).collect();
    let listening = case.listening();
    if service.commands.iter().any(|command| runs_container(command))
        || table.has_unowned(&outage.peer.address)
        || own.iter().any(|process| listening.includes(process))
    {
        return Listens::Somewhere;
    }
    match hidden_owners(case, outage.peer).filter(|_| table.owners_hidden) {
        Some(open) => Listens::Hidden(Box::new(open)),
        None if own.is_empty() && has_lost_all(case, history) => Listens::Gone,
        None if own.is_empty() => Listens::NobodyKnown,
        None => Listens::Nowhere,
    }
}

/// Whether a supervisor that says that it started a process has none any more: until it collects the end of one, and writes that
/// down, up to a second passes (supervisord: `Supervisor.runforever`).
fn has_lost_all(case: &Case<'_>, history: &History<'_>) -> bool {
    let observed = case.facts.processes();
    let (Some(list), Some(supervisor)) = (observed.known(), history.service.supervisor_pid) else {
        return false;
    };
    let is_child = |process: &Process| process.pid != supervisor && case.descends_from(process, supervisor);
    !history.pids.is_empty()
        && !list.hidden
        && list.get(supervisor).is_some()
        && !list.processes.iter().any(is_child)
}

/// Two deaths or more in the window, unless somebody stopped it since; without a journal the counter of restarts tells. One
/// that is up for longer than it ever lived in between, or listens somewhere, has come through.
fn looping(
    history: &History<'_>,
    deaths: &[Event],
    now: Stamp,
    stands: bool,
    is_missed: impl Fn() -> bool,
) -> Option<Verdict> {
    let first = deaths.first()?;
    let last = deaths.last()?;
    let is_counted = history.n_restarts >= 2 && matches!(history.state, State::Waiting | State::Failed);
    if deaths.len() < 2 && !is_counted {
        return None;
    }
    let how = How::Looping(deaths.to_vec());
    let longest = deaths.iter().zip(deaths.iter().skip(1)).map(|(one, other)| other.from.since(one.to)).max();
    let is_going_on = match history.state {
        State::Waiting | State::Failed => true,
        State::Down | State::Unknown => stands,
        State::Starting(_) | State::Up(_) => {
            now.since(last.to) <= (longest.unwrap_or_default() * 2).max(MIN_LOOPING)
                && (!stands || is_missed())
        }
    };
    // What fails now has another cause.
    if !is_going_on && stands {
        return None;
    }
    // Whoever dies before it listens is missed from its start on.
    let start = history.start_before(first.from).filter(|start| first.from.since(*start) <= STARTING);
    // Of more than the journal tells, the first is not known.
    let from = (deaths.len() >= 2).then(|| start.unwrap_or(first.from));
    Some(if is_going_on {
        Verdict::standing(how, from)
    } else {
        let again = history.start_after(last.to).unwrap_or(last.to);
        Verdict::over(how, first.from, again.after(SETTLE))
    })
}

/// Whether an end is that of a start that failed: an exit soon after it, before anything was served.
fn is_at_start(case: &Case<'_>, outage: &Outage<'_>, history: &History<'_>, death: &Event) -> bool {
    if matches!(death.what, What::Died(Some(Exit::Signal(_))) | What::OutOfMemory) {
        return false;
    }
    let Some(start) = history.start_before(death.to) else { return false };
    // Stamps of both may be whole seconds.
    let has_served = case.is_served_from(outage.peer, Some(start.before(Duration::from_secs(1))));
    death.from.since(start) <= AT_START && !has_served
}
