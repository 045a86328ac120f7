//! How long successful answers took, per route.

use super::record::{Scribe, last_element};
use crate::logs::digest::routes::{RouteId, at_route};
use crate::logs::format::{AccessFormat, AccessLine, Field, milliseconds};
use why502_facts::{AnswerMeasure, Histogram, RouteAnswers};

/// The times that tell it, the most exact first.
const MEASURES: [(AnswerMeasure, Field); 3] = [
    (AnswerMeasure::Header, Field::UpstreamHeaderTime),
    (AnswerMeasure::Response, Field::UpstreamResponseTime),
    (AnswerMeasure::Request, Field::RequestTime),
];

/// The client takes a longer body at its own pace, and the upstream has to wait for that, too: so much fits into the
/// buffers of nginx (`proxy_buffers`) and of the kernel (`tcp_wmem`) as they are by default.
const MAX_AT_ONCE: u64 = 64 << 10;

/// Collects the times of successful answers.
#[derive(Debug)]
pub(super) struct Answers {
    measure: Option<(AnswerMeasure, Field)>,
    /// Whether the time of a long answer tells of the client.
    is_paced: bool,
    per_route: Vec<Histogram>,
}

impl Answers {
    /// Of a log of that format.
    pub(super) fn new(format: &AccessFormat) -> Self {
        let mut measure = MEASURES.into_iter().find(|(_, field)| format.has(*field));
        if let Some((measure @ AnswerMeasure::Request, _)) = &mut measure
            && !format.has(Field::BodyBytesSent)
        {
            *measure = AnswerMeasure::Paced;
        }
        let is_paced = measure.is_some_and(|(measure, _)| measure != AnswerMeasure::Header);
        Self { measure, is_paced, per_route: Vec::new() }
    }

    /// Counts a request of a route that succeeded at the first attempt.
    pub(super) fn count(&mut self, parsed: &AccessLine<'_>, route: RouteId) {
        let Some((_, field)) = self.measure else { return };
        let is_own = || field == Field::RequestTime && parsed.has_no_attempt();
        let is_long = || parsed.number(Field::BodyBytesSent).is_some_and(|bytes| bytes > MAX_AT_ONCE);
        if is_own() || (self.is_paced && is_long()) {
            return;
        }
        if let Some(milliseconds) = parsed.raw(field).map(last_element).and_then(milliseconds) {
            at_route(&mut self.per_route, route, Histogram::default).add(milliseconds);
        }
    }

    /// Adds those of a later part, whose routes have other places.
    pub(super) fn append(&mut self, later: &Self, routes: &[RouteId]) {
        for (times, &route) in later.per_route.iter().zip(routes) {
            at_route(&mut self.per_route, route, Histogram::default).append(times);
        }
    }

    /// By route; routes without a time are left out.
    pub(super) fn read(self, scribe: &Scribe<'_>) -> Vec<RouteAnswers> {
        let Some((measure, _)) = self.measure else { return Vec::new() };
        let mut read: Vec<RouteAnswers> = scribe
            .route_names()
            .iter()
            .zip(self.per_route)
            .filter(|(_, times)| times.n_values() > 0)
            .map(|(route, times)| RouteAnswers { route: route.clone(), measure, times })
            .collect();
        read.sort_by(|one, other| one.route.cmp(&other.route));
        read
    }
}
