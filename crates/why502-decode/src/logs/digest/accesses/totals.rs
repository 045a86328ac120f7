//! Requests per route and status.

use super::record::Scribe;
use super::tally::Run;
use crate::logs::digest::routes::{RouteId, at_route};
use std::collections::BTreeMap;
use why502_facts::{RouteTotal, Stamp};

/// Counts requests per route and status.
#[derive(Debug, Default)]
pub(super) struct Totals {
    per_route: Vec<BTreeMap<u16, Total>>,
}

#[derive(Clone, Copy, Debug)]
struct Total {
    n_requests: u64,
    first: Stamp,
    last: Stamp,
}

impl Totals {
    pub(super) fn count(&mut self, run: &Run) {
        let Run { n_requests, first, last, .. } = *run;
        self.add(run.seen.route, run.seen.status, Total { n_requests, first, last });
    }

    pub(super) fn append(&mut self, later: Self, routes: &[RouteId]) {
        for (totals, &route) in later.per_route.into_iter().zip(routes) {
            for (status, total) in totals {
                self.add(route, status, total);
            }
        }
    }

    pub(super) fn read(&self, scribe: &Scribe<'_>) -> Vec<RouteTotal> {
        let mut read = Vec::new();
        for (route, totals) in scribe.route_names().iter().zip(&self.per_route) {
            for (&status, &Total { n_requests, first, last }) in totals {
                read.push(RouteTotal { route: route.clone(), status, n_requests, first, last });
            }
        }
        read.sort();
        read
    }

    fn add(&mut self, route: RouteId, status: u16, more: Total) {
        let totals = at_route(&mut self.per_route, route, BTreeMap::new);
        let total = totals.entry(status).or_insert(Total { n_requests: 0, ..more });
        total.n_requests += more.n_requests;
        total.first = total.first.min(more.first);
        total.last = total.last.max(more.last);
    }
}
