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

/// Collects the times of successful answers.
#[derive(Debug)]
pub(super) struct Answers {
    measure: Option<(AnswerMeasure, Field)>,
    per_route: Vec<Histogram>,
}

impl Answers {
    /// Of a log of that format.
    pub(super) fn new(format: &AccessFormat) -> Self {
        let measure = MEASURES.into_iter().find(|(_, field)| format.has(*field));
        Self { measure, per_route: Vec::new() }
    }

    /// Counts a request of a route that succeeded at the first attempt.
    pub(super) fn count(&mut self, parsed: &AccessLine<'_>, route: RouteId) {
        let Some((measure, field)) = self.measure else { return };
        if measure == AnswerMeasure::Request && parsed.has_no_attempt() {
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
