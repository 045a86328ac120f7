//! The engine: runs every rule on every subject, merges what is the same, and lets what is nearer to the root win.

mod merge;
mod rank;
mod run;
mod supersede;
mod verdict;

pub(crate) use run::Judged;
pub(crate) use verdict::{n_failed, verdict};

use crate::case::Case;
use crate::plan;
use crate::report::{Report, build_report};
use why502_facts::{Ask, Facts, GapReason, Observed};
use why502_model::Model;

/// Judges the gateways of a model.
pub fn diagnose(facts: &Facts, model: &Model) -> Report {
    let cases: Vec<Case<'_>> =
        (0..model.gateways.len()).map(|index| Case::new(facts, model, index)).collect();
    let judged: Vec<Judged> = cases.iter().map(run::judge).collect();
    build_report(facts, model, &cases, &judged)
}

/// What the rules and the plan still want to know: the union over all causes and subjects, never one after the other.
pub fn wanted(facts: &Facts, model: &Model) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    for index in 0..model.gateways.len() {
        let case = Case::new(facts, model, index);
        asks.extend(plan::asks(&case));
        asks.extend(run::judge(&case).wanted);
    }
    asks.retain(|ask| matches!(facts.look(ask), Observed::Unknown(gap) if gap.why == GapReason::NotYet));
    asks.sort();
    asks.dedup();
    asks
}
