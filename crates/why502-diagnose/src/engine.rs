//! The engine: runs every rule on every subject, merges what is the same, and lets what is nearer to the root win.

mod merge;
mod rank;
mod run;
mod supersede;
mod verdict;

pub(crate) use run::Judged;
pub(crate) use verdict::{n_failed, verdict};

use crate::case::Case;
use crate::changes;
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

/// What the rules and the plan still want to know: the union over all causes and subjects, never one after the other. Once
/// they want nothing more, what changed before the first failure is asked for.
pub fn wanted(facts: &Facts, model: &Model) -> Vec<Ask> {
    let cases: Vec<Case<'_>> =
        (0..model.gateways.len()).map(|index| Case::new(facts, model, index)).collect();
    let judged: Vec<Judged> = cases.iter().map(run::judge).collect();
    let is_open =
        |ask: &Ask| matches!(facts.look(ask), Observed::Unknown(gap) if gap.why == GapReason::NotYet);
    let mut asks: Vec<Ask> = cases.iter().flat_map(plan::asks).collect();
    asks.extend(judged.iter().flat_map(|judged| judged.wanted.iter().cloned()));
    asks.retain(is_open);
    if asks.is_empty() {
        asks = changes::asks(&cases, &judged, verdict(&cases, &judged));
        asks.retain(is_open);
    }
    asks.sort();
    asks.dedup();
    asks
}
