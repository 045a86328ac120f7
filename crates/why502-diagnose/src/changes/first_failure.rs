//! The failure that changes are told before.

use crate::case::{Case, Failure, FailureId};
use crate::engine::Judged;
use crate::finding::Finding;
use crate::report::first_seen;
use std::time::Duration;
use why502_facts::{LogSlice, Stamp};

/// So much of the logs must lie before a failure to call it the first one.
const QUIET: Duration = Duration::from_mins(1);

/// The first failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstFailure {
    pub(crate) at: Stamp,
    /// Whether the logs reach far enough back to say that none came before it.
    pub(crate) is_certain: bool,
    /// Its gateway, by its place among all.
    pub(crate) gateway: usize,
    /// The finding that explains it, by its place among those of the gateway.
    pub(crate) finding: Option<usize>,
}

/// The first failure of the chief finding that explains any, else of the window.
pub(crate) fn first_failure(cases: &[Case<'_>], judged: &[Judged]) -> Option<FirstFailure> {
    let of_findings = || {
        cases.iter().zip(judged).enumerate().find_map(|(gateway, (case, judged))| {
            let mut findings = judged.findings.iter().enumerate();
            findings.find_map(|(at, finding)| Some((onset(case, finding)?, gateway, Some(at))))
        })
    };
    let of_window = |counts: fn(&Case<'_>, FailureId, &Failure) -> bool| {
        let firsts = cases.iter().enumerate().filter_map(|(gateway, case)| {
            let failed = case.failures().filter(|(id, failure)| counts(case, *id, failure));
            Some((failed.map(|(_, failure)| failure.at).min()?, gateway, None))
        });
        firsts.min_by_key(|(at, ..)| *at)
    };
    let (at, gateway, finding) = of_findings()
        .or_else(|| of_window(|case, id, _| case.counts(id)))
        .or_else(|| of_window(|_, _, failure| failure.is_hidden()))?;
    Some(FirstFailure { at, is_certain: is_certain(&cases[gateway], at), gateway, finding })
}

/// The first failure that a finding explains, one from before the window included.
fn onset(case: &Case<'_>, finding: &Finding) -> Option<Stamp> {
    let dropped = case.dropped.iter().filter(|_| finding.explains_dropped);
    let clock = case.facts.clock(&case.gateway.owner());
    let dropped = dropped.filter_map(|record| Some(record.at.at_offset(clock?.offset_seconds)));
    first_seen(case, finding).into_iter().chain(dropped).min()
}

/// Whether enough of the logs lies before a failure, and none of it tells of an earlier one.
fn is_certain(case: &Case<'_>, at: Stamp) -> bool {
    let owner = case.gateway.owner();
    let is_own = |slice: &LogSlice| slice.owner == owner && slice.max_bytes.is_none();
    // What a log tells begins with its first line of the window: who wrote none before it is not known to have been well.
    let begins = case.log_coverages().filter(|(slice, _)| is_own(slice));
    let begin = begins.filter_map(|(_, coverage)| coverage.first).min();
    case.looked_back.is_empty() && begin.is_some_and(|begin| at.since(begin) >= QUIET)
}
