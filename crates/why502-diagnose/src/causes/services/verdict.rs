//! What a service's state and past mean for the failures of its peer.

use super::history::{Event, History, State, What, window};
use crate::case::Case;
use crate::causes::app_server::SLACK;
use crate::causes::outages::Outage;
use std::time::Duration;
use why502_facts::{Exit, Process, Stamp};

/// How old a process may be that is still starting.
pub(in super::super) const STARTING: Duration = Duration::from_mins(5);
/// How long a service may take from its start until it listens, where nothing tells it better.
const SETTLE: Duration = Duration::from_mins(1);
/// Who exits sooner than that, without having served, failed at start.
const AT_START: Duration = Duration::from_secs(5);
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
        Self { how, from: from.map(|from| from.before(SLACK)), to: None, is_over: false }
    }

    fn over(how: How, from: Stamp, to: Stamp) -> Self {
        Self { how, from: Some(from.before(SLACK)), to: Some(to), is_over: true }
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
    // Whoever is killed for want of memory does not die of itself.
    if !is_stopped
        && deaths.len() > shortages.len()
        && let Some(verdict) = looping(history, &deaths, stands, now)
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
        State::Failed | State::Waiting | State::Down => Some(match death {
            Some(death) if is_at_start(case, outage, history, death) => {
                Verdict::standing(How::Stopped(StopKind::FailedAtStart(Some(death.clone()))), None)
            }
            Some(death) => ended(death, shortages),
            None => {
                let kind =
                    if history.service.masked || history.unit.is_some_and(why502_facts::Unit::is_masked) {
                        StopKind::Masked
                    } else if history.state == State::Failed {
                        StopKind::FailedAtStart(None)
                    } else if stop.is_some() || history.unit.is_some_and(|unit| unit.exited().is_some()) {
                        StopKind::Stopped
                    } else {
                        StopKind::NotStarted
                    };
                Verdict::standing(How::Stopped(kind), stop.map(|stop| stop.from))
            }
        }),
        State::Starting(_) | State::Up(_) if stands && is_short(death) => {
            death.map(|death| ended(death, shortages))
        }
        State::Starting(since) | State::Up(since) if stands => {
            let since = since.filter(|since| now.since(*since) <= STARTING && !listens(case, history))?;
            // A restart leaves a gap before the start as well.
            let ended = death.or(stop).map(|event| event.from).filter(|at| *at <= since);
            Some(Verdict::standing(How::Starting(since), Some(ended.unwrap_or(since))))
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

/// Whether a process of a service listens already, or may do so where nobody sees it from nginx.
fn listens(case: &Case<'_>, history: &History<'_>) -> bool {
    let Some(list) = case.facts.processes().known() else { return false };
    let main = history.unit.and_then(why502_facts::Unit::main_pid);
    let is_own =
        |process: &Process| process.unit.as_ref() == Some(&history.service.name) || main == Some(process.pid);
    list.processes.iter().filter(|process| is_own(process)).any(|process| {
        !case.is_beside_gateway(process)
            || case.sockets().known().is_some_and(|table| table.is_listening(process.pid))
    })
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

/// Two deaths or more in the window, unless somebody stopped it since; without a journal the counter of restarts tells.
fn looping(history: &History<'_>, deaths: &[Event], stands: bool, now: Stamp) -> Option<Verdict> {
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
            stands || now.since(last.to) <= (longest.unwrap_or_default() * 2).max(MIN_LOOPING)
        }
    };
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
