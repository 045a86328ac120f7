//! How long routes take to answer when they do.

use super::lookup::passes;
use super::{Case, PeerSubject, Symptom, or_ask};
use crate::cause::Asks;
use std::collections::BTreeMap;
use why502_facts::{AccessDigest, AnswerMeasure, Ask, Histogram, LogKind, Observed, RouteAnswers};
use why502_model::{GroupId, RouteId, Target};

/// So many answers tell what is usual.
const MIN_ANSWERS: u64 = 5;
/// Per mille of the answers that the usual time holds.
const USUAL: u16 = 900;

/// How long some successful answers took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnswerTimes {
    /// By what the log tells it; of several logs the least exact one that was used. `None` where there are none.
    pub(crate) measure: Option<AnswerMeasure>,
    pub(crate) times: Histogram,
}

impl AnswerTimes {
    /// The time that nine in ten answers do not exceed, in milliseconds; `None` where too few are known to tell.
    pub(crate) fn usual(&self) -> Option<u32> {
        (self.n_answers() >= MIN_ANSWERS).then(|| self.times.quantile(USUAL)).flatten()
    }

    pub(crate) fn n_answers(&self) -> u64 {
        self.times.n_values()
    }

    fn append(&mut self, other: &Self) {
        self.measure = self.measure.max(other.measure);
        self.times.append(&other.times);
    }

    fn add(&mut self, told: &RouteAnswers) {
        self.measure = self.measure.max(Some(told.measure));
        self.times.append(&told.times);
    }

    /// Takes the place of another one if it tells more: more exactly, else of more answers.
    fn compete(self, best: &mut Self) {
        let rank = |own: &Self| (own.measure.is_some(), std::cmp::Reverse(own.measure), own.n_answers());
        if rank(&self) > rank(best) {
            *best = self;
        }
    }
}

/// The times of each route by the log that tells most of it: a request may be written to several logs.
pub(super) fn answers(
    access_logs: &[&AccessDigest],
    keys: &BTreeMap<String, RouteId>,
) -> BTreeMap<Option<RouteId>, AnswerTimes> {
    let mut answers: BTreeMap<Option<RouteId>, AnswerTimes> = BTreeMap::new();
    for digest in access_logs {
        let mut own: BTreeMap<Option<RouteId>, AnswerTimes> = BTreeMap::new();
        for told in &digest.answers {
            let route = told.route.as_deref().and_then(|key| keys.get(key)).copied();
            own.entry(route).or_default().add(told);
        }
        for (route, times) in own {
            times.compete(answers.entry(route).or_default());
        }
    }
    answers
}

/// The times of new connections per route and peer, by the log that tells most of them.
pub(super) fn connects<'a>(
    access_logs: &[&'a AccessDigest],
    keys: &BTreeMap<String, RouteId>,
) -> BTreeMap<(RouteId, &'a str), &'a Histogram> {
    let mut connects: BTreeMap<(RouteId, &str), &Histogram> = BTreeMap::new();
    for told in access_logs.iter().flat_map(|digest| &digest.connects) {
        let Some(route) = told.route.as_deref().and_then(|key| keys.get(key)) else { continue };
        let times = connects.entry((*route, &told.peer)).or_insert(&told.times);
        if told.times.n_values() > times.n_values() {
            *times = &told.times;
        }
    }
    connects
}

impl Case<'_> {
    /// How many new connections to a peer took so many milliseconds or more and were made, for requests of a route.
    pub(crate) fn n_slow_connects(&self, route: RouteId, peer: &PeerSubject, least: u32) -> u64 {
        let of = |name: &str| self.connects.get(&(route, name)).map_or(0, |times| times.n_from(least));
        let unnamed = if self.is_single(peer) { of("") } else { 0 };
        let made = |symptom: &Symptom| symptom.tried.as_ref().and_then(|tried| tried.connect_ms);
        // Of requests that went wrong in another way, or at another peer.
        let of_others = self
            .symptoms_of(peer)
            .filter(|(_, failure, symptom)| {
                failure.route == Some(route) && made(symptom) >= Some(least.max(1))
            })
            .map(|(_, failure, _)| failure.weight);
        of(&peer.address.to_string()) + unnamed + of_others.sum::<u64>()
    }

    /// How long the successful answers of a route took in the window; of none: those whose route is not known.
    pub(crate) fn answers_of(&self, route: Option<RouteId>) -> AnswerTimes {
        self.answers.get(&route).cloned().unwrap_or_default()
    }

    /// How long they took in the day before the window; an error asks for that.
    pub(crate) fn answers_before(&self, route: RouteId) -> Result<AnswerTimes, Asks> {
        let owner = self.gateway.owner();
        let read = self.facts.iter().filter_map(|(ask, answer)| match (ask, answer) {
            (Ask::Log(slice), Observed::Known(_)) if slice.owner == owner && slice.max_bytes.is_none() => {
                matches!(slice.kind, LogKind::Access { .. }).then(|| slice.look_back()).flatten()
            }
            _ => None,
        });
        let before: Vec<Ask> = read.map(Ask::Log).collect();
        let key = self.gateway.route(route).key();
        let (mut best, mut asks) = (AnswerTimes::default(), Vec::new());
        for ask in &before {
            match or_ask(self.facts.access_log(ask)) {
                Ok(digest) => {
                    let mut own = AnswerTimes::default();
                    let told = digest.known().into_iter().flat_map(|digest| &digest.answers);
                    told.filter(|told| told.route.as_deref() == Some(&key)).for_each(|told| own.add(told));
                    own.compete(&mut best);
                }
                Err(more) => asks.extend(more),
            }
        }
        if asks.is_empty() { Ok(best) } else { Err(asks) }
    }

    /// How long those of the other routes took that pass to the same groups.
    pub(crate) fn answers_beside(&self, route: RouteId) -> AnswerTimes {
        let own: Vec<GroupId> = self.groups_of(route).collect();
        let mut beside = AnswerTimes::default();
        for (other, times) in &self.answers {
            let is_beside =
                |other: RouteId| other != route && self.groups_of(other).any(|group| own.contains(&group));
            if other.is_some_and(is_beside) {
                beside.append(times);
            }
        }
        beside
    }

    fn groups_of(&self, route: RouteId) -> impl Iterator<Item = GroupId> {
        passes(self.gateway.route(route)).filter_map(|pass| match pass.target {
            Target::Group(group) => Some(group),
            Target::Unresolved(_) => None,
        })
    }
}
