//! What the causes of an answer that comes too late have in common: the attempts that the gateway's timer ended, that
//! timer, and how long the route takes when it answers.

use super::timer::{Timer, milliseconds};
use crate::case::{AnswerTimes, Case, Failure, FailureId, Subject, Symptom, count};
use crate::cause::Asks;
use crate::durations::{play, seconds};
use crate::finding::{Evidence, Origin};
use std::time::Duration;
use why502_facts::{AnswerMeasure, Ask, Gap, GapReason, LogKind, Observed, Phase, Phrase, Stamp};
use why502_model::{Pass, RouteId, Span};

/// Failed attempts that were ended by the timer for an answer, and what is known of the time that the route takes.
pub(super) struct Late<'c> {
    pub(super) route: Option<RouteId>,
    pub(super) attempts: Vec<(FailureId, &'c Failure, &'c Symptom)>,
    /// Whether the error log tells it; else only the times of the access log do.
    pub(super) is_told: bool,
    /// `None` where no configuration tells it.
    pub(super) timer: Option<Timer>,
    /// `None` where too few answers have a time.
    pub(super) usual: Option<Usual>,
    /// A timer that somebody raised, and that is not the one in force.
    pub(super) raised: Option<Raised>,
}

/// How long an answer usually takes.
pub(super) struct Usual {
    pub(super) answers: AnswerTimes,
    /// What nine in ten do not exceed, in milliseconds.
    pub(super) ms: u32,
    pub(super) of: UsualOf,
}

/// Whose answers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsualOf {
    /// The route's own, in the window.
    Route,
    /// The route's own, in the day before.
    Before,
    /// Those of other routes to the same upstream.
    Beside,
}

/// A timer that is longer than the one in force, set where it does not count.
pub(super) struct Raised {
    pub(super) name: String,
    /// In milliseconds.
    pub(super) ms: u32,
    pub(super) at: Option<Span>,
    /// The location that it is set in, where that lost to the one that served the requests.
    pub(super) location: Option<String>,
}

/// The late answers of a route; `None` if there are none. An error asks for the day before the window.
pub(super) fn late<'c>(case: &'c Case<'_>, subject: &Subject) -> Result<Option<Late<'c>>, Asks> {
    let route = subject.route();
    let pass = route.and_then(|route| case.pass_of(route, None));
    let attempts: Vec<_> = case
        .failures_at(subject)
        .flat_map(|(id, failure)| failure.attempts().map(move |symptom| (id, failure, symptom)))
        .filter(|(_, _, symptom)| is_late(symptom, pass))
        .collect();
    if attempts.is_empty() {
        return Ok(None);
    }
    let timer = pass.map(|pass| timer(pass, &attempts));
    let usual = usual(case, route)?;
    let raised = route.zip(pass).zip(timer.as_ref()).and_then(|((route, pass), timer)| {
        idle_timer(case, pass, timer)
            // What stands around all servers may be meant for others, or for nobody.
            .filter(|raised| usual.is_none() && timer.at.is_none() || is_of_server(case, route, raised))
            .or_else(|| lost_timer(case, route, timer, &attempts))
    });
    Ok(Some(Late {
        route,
        is_told: attempts.iter().any(|(_, _, symptom)| symptom.phrase.is_some()),
        usual,
        attempts,
        timer,
        raised,
    }))
}

impl Late<'_> {
    /// Whether the timer is below what the route needs: its answers come close to it, or somebody raised another one.
    pub(super) fn is_timer_too_short(&self) -> bool {
        let Some(timer) = &self.timer else { return false };
        let is_near = |usual: &Usual| u64::from(usual.ms) * 2 >= u64::from(timer.in_force());
        timer.in_force() == 0 || self.raised.is_some() || self.usual.as_ref().is_some_and(is_near)
    }

    /// Whether nothing but times with the clients' own pace speaks against the timer.
    pub(super) fn is_only_paced(&self) -> bool {
        let measure = self.usual.as_ref().and_then(|usual| usual.answers.measure);
        self.raised.is_none() && measure == Some(AnswerMeasure::Paced)
    }

    /// The ids of the failures.
    pub(super) fn failures(&self) -> impl Iterator<Item = FailureId> {
        self.attempts.iter().map(|(id, ..)| *id)
    }

    /// When the last of them ended.
    pub(super) fn last(&self) -> Option<Stamp> {
        self.attempts.iter().map(|(_, failure, _)| failure.at).max()
    }

    /// When the first of them began, as far as the logs tell; else when it ended.
    pub(super) fn first_begin(&self) -> Option<Stamp> {
        let begins = self.attempts.iter();
        begins.map(|(_, failure, symptom)| begin(failure, symptom).unwrap_or(failure.at)).min()
    }

    /// The attempts with a line that shows one.
    pub(super) fn shown(&self) -> Option<Evidence> {
        let within =
            self.timer.as_ref().map_or_else(String::new, |timer| format!(" within {}", timer.words()));
        let says = |n| format!("{} got no answer{within}", count(n, "attempt"));
        Case::lines_evidence(self.attempts.iter().copied(), says)
    }

    /// How long answers take, with a line of one.
    pub(super) fn usual_evidence(&self, case: &Case<'_>) -> Option<Evidence> {
        let usual = self.usual.as_ref()?;
        let whose = match usual.of {
            UsualOf::Route => "this route".to_owned(),
            UsualOf::Before => "this route in the day before".to_owned(),
            UsualOf::Beside => "other routes of the same upstream".to_owned(),
        };
        let by = match usual.answers.measure {
            Some(AnswerMeasure::Response) => ", with their bodies",
            Some(AnswerMeasure::Request) => " until they were sent",
            Some(AnswerMeasure::Paced) => ", with the clients' own pace",
            Some(AnswerMeasure::Header) | None => "",
        };
        let number = count(usual.answers.n_answers(), "successful answer");
        let says = format!("9 in 10 of {number} of {whose} took at most {}{by}", seconds(usual.ms));
        let shown = self.route.filter(|_| usual.of == UsualOf::Route);
        let line = shown.and_then(|route| case.successes_of(route).max_by_key(|success| success.request_ms));
        let origin = line.map_or(Origin::Derived, |success| Origin::Log(success.line.clone()));
        Some(Evidence::supporting(says, origin))
    }
}

/// When an attempt began, if it was the last one of its request.
pub(super) fn begin(failure: &Failure, symptom: &Symptom) -> Option<Stamp> {
    let waited = symptom.tried.as_ref().and_then(|tried| tried.response_ms).or(failure.request_ms)?;
    Some(failure.at.before(Duration::from_millis(waited.into())))
}

/// Whether an attempt was ended by the timer for an answer.
pub(super) fn is_late(symptom: &Symptom, pass: Option<&Pass>) -> bool {
    if symptom.phrase.is_some() {
        return symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::ReadingHeader);
    }
    // Without a word of the error log: nginx's own 504, on a connection that stood, after just that time.
    let Some((tried, pass)) = symptom.tried.as_ref().zip(pass) else { return false };
    let is_own = tried.status == Some(504) && symptom.logged.header && tried.header_ms.is_none();
    let is_after =
        |timer: u32| tried.response_ms.is_some_and(|ms| ms + 20 >= timer && ms <= timer + play(timer));
    let stood = tried.connect_ms.is_some()
        || (!symptom.logged.connect && !is_after(milliseconds(pass.timeouts.connect.value)));
    is_own && stood && is_after(milliseconds(pass.timeouts.read.value))
}

fn timer(pass: &Pass, attempts: &[(FailureId, &Failure, &Symptom)]) -> Timer {
    let ended = attempts.iter().filter_map(|(_, _, symptom)| symptom.tried.as_ref()?.response_ms);
    Timer::new(format!("{}_read_timeout", pass.protocol.prefix()), &pass.timeouts.read, ended)
}

/// A raised timer of a protocol that is not spoken there.
fn idle_timer(case: &Case<'_>, pass: &Pass, timer: &Timer) -> Option<Raised> {
    let timers = case.gateway.idle_read_timeouts(pass).into_iter();
    let mut raised = timers.map(|(name, setting)| Raised {
        name,
        ms: milliseconds(setting.value),
        at: setting.at,
        location: None,
    });
    raised.find(|raised| raised.ms > timer.in_force())
}

/// Whether a timer is set in the server of a route, or further inside.
fn is_of_server(case: &Case<'_>, route: RouteId, raised: &Raised) -> bool {
    let gateway = case.gateway;
    let Some(at) = &raised.at else { return false };
    let own = gateway.route(route);
    let around = std::iter::successors(Some(own), |route| route.parent.map(|parent| gateway.route(parent)));
    let mut blocks = around.map(|route| &route.at).chain([&gateway.server_of(own).at]);
    blocks.any(|block| gateway.is_directly_in(at, block))
}

/// A raised timer of a location whose prefix fits all these requests, and that lost them to a regular expression.
fn lost_timer(
    case: &Case<'_>,
    route: RouteId,
    timer: &Timer,
    attempts: &[(FailureId, &Failure, &Symptom)],
) -> Option<Raised> {
    let own = case.gateway.route(route);
    if !own.location.as_deref().is_some_and(|location| location.starts_with('~')) {
        return None;
    }
    let mut lost = case.gateway.routes().filter_map(|(_, other)| {
        let prefix = other.location.as_deref().filter(|location| location.starts_with('/'))?;
        let read = &other.action.pass()?.timeouts.read;
        let at = read.at.clone().filter(|at| case.gateway.is_directly_in(at, &other.at))?;
        let ms = milliseconds(read.value);
        let fits = |failure: &Failure| failure.path.as_deref().is_some_and(|path| path.starts_with(prefix));
        let is_it = other.server == own.server && ms > timer.in_force();
        (is_it && prefix != "/" && attempts.iter().all(|(_, failure, _)| fits(failure))).then(|| Raised {
            name: format!(
                "{}_read_timeout",
                other.action.pass().map_or("proxy", |pass| pass.protocol.prefix())
            ),
            ms,
            at: Some(at),
            location: Some(prefix.to_owned()),
        })
    });
    lost.next()
}

fn usual(case: &Case<'_>, route: Option<RouteId>) -> Result<Option<Usual>, Asks> {
    let told = |answers: AnswerTimes, of: UsualOf| answers.usual().map(|ms| Usual { answers, ms, of });
    if let Some(usual) = told(case.answers_of(route), UsualOf::Route) {
        return Ok(Some(usual));
    }
    let Some(route) = route else { return Ok(None) };
    if let Some(usual) = told(case.answers_before(route)?, UsualOf::Before) {
        return Ok(Some(usual));
    }
    Ok(told(case.answers_beside(route), UsualOf::Beside))
}

/// Why the time that the route takes is not known.
pub(super) fn times_gap(case: &Case<'_>) -> Option<Gap> {
    let owner = case.gateway.owner();
    let slices = case.facts.iter().filter_map(|(ask, answer)| match ask {
        Ask::Log(slice) if slice.owner == owner && slice.max_bytes.is_none() => {
            matches!(slice.kind, LogKind::Access { .. }).then_some((ask, answer))
        }
        _ => None,
    });
    let mut gaps = slices.filter_map(|(ask, answer)| match answer {
        Observed::Unknown(gap) => Some(gap.clone()),
        Observed::Known(_) => {
            let says = "too few answers with a time stand in the log".to_owned();
            Some(Gap { ask: ask.clone(), why: GapReason::Unsupported, says })
        }
        Observed::Absent => None,
    });
    gaps.next()
}
