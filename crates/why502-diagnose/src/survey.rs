//! What logs tell of failures: who made them, how they group, when they came, what they have in common. Its JSON form is
//! the contract `why502.logs/1`.
//!
//! Unlike a diagnosis it names no cause: it counts and orders what the logs hold, so that somebody who has only them sees
//! where to look.

mod classify;
mod clusters;
mod ejections;
mod groups;
mod report;
mod requests;
mod select;
mod timeline;
mod times;

pub use groups::GroupBy;
pub use report::*;
pub use requests::{AttemptInfo, FailedRequestInfo, survey_requests};
pub use select::{Selection, StatusRange};

use crate::case::Case;
use crate::report::Tool;
use select::Selected;
use std::collections::BTreeMap;
use why502_facts::{AccessDigest, ErrorDigest, Facts, Outcome};
use why502_model::Model;

/// Surveys the logs of the first gateway of a model.
pub fn survey(facts: &Facts, model: &Model, selection: &Selection) -> LogsReport {
    if model.gateways.is_empty() {
        return LogsReport::empty(facts);
    }
    let case = Case::new(facts, model, 0);
    let selected = select::select(&case, selection);
    let (access_logs, error_logs) = digests(facts, model);
    let failures: Vec<&Selected<'_>> = selected.iter().filter(|one| !one.failure.is_hidden()).collect();
    let requests = case.totals.as_ref().map(|totals| totals.values().sum());
    let seen = access_logs
        .iter()
        .map(|digest| &digest.coverage)
        .chain(error_logs.iter().map(|digest| &digest.coverage));
    let moments = failures.iter().map(|one| one.failure.at);
    let first = seen.clone().filter_map(|coverage| coverage.first).chain(moments.clone()).min();
    let last = seen.filter_map(|coverage| coverage.last).chain(moments).max();
    LogsReport {
        from: first.map(|at| at.to_string()),
        to: last.map(|at| at.to_string()),
        logs: logs(&access_logs, &error_logs),
        requests,
        statuses: case.totals.as_ref().map_or_else(Vec::new, statuses),
        failed: failures.iter().map(|one| one.failure.weight).sum(),
        made_by: made_by(&failures),
        groups: groups::groups(&case, &failures, selection),
        hidden: hidden(&selected),
        timeline: timeline::timeline(&failures, &access_logs),
        bursts: timeline::bursts(&failures, &error_logs, facts, &case),
        clusters: clusters::clusters(&case, &failures),
        ejections: ejections::ejections(&case),
        top: groups::top(&failures, selection.top),
        notes: notes(&access_logs, &error_logs),
        ..LogsReport::empty(facts)
    }
}

impl LogsReport {
    fn empty(facts: &Facts) -> Self {
        Self {
            schema: LOGS_SCHEMA.to_owned(),
            tool: Tool { name: "why502".to_owned(), version: facts.manifest.tool_version.clone() },
            from: None,
            to: None,
            logs: Vec::new(),
            requests: None,
            statuses: Vec::new(),
            failed: 0,
            made_by: Vec::new(),
            groups: Vec::new(),
            hidden: Hidden::default(),
            timeline: Timeline::default(),
            bursts: Vec::new(),
            clusters: Vec::new(),
            ejections: Vec::new(),
            top: Top::default(),
            notes: Vec::new(),
        }
    }
}

fn digests<'f>(facts: &'f Facts, model: &Model) -> (Vec<&'f AccessDigest>, Vec<&'f ErrorDigest>) {
    let slices = model.log_slices(facts, &model.gateways[0]);
    let access = slices.iter().filter_map(|ask| facts.access_log(ask).known()).collect();
    let error = slices.iter().filter_map(|ask| facts.error_log(ask).known()).collect();
    (access, error)
}

fn logs(access_logs: &[&AccessDigest], error_logs: &[&ErrorDigest]) -> Vec<LogInfo> {
    let info = |kind, coverage: &why502_facts::Coverage| LogInfo {
        kind,
        files: coverage.files.iter().map(ToString::to_string).collect(),
        bytes: coverage.bytes,
        lines: coverage.n_lines,
        unparsed: coverage.n_unparsed,
        unparsed_examples: coverage
            .unparsed
            .iter()
            .filter_map(|line| line.text.as_deref())
            .map(select::masked)
            .collect(),
        format: None,
        guessed: false,
        sampled: coverage.sampled,
    };
    let access = access_logs.iter().map(|digest| LogInfo {
        format: Some(digest.format.clone()),
        guessed: digest.guessed,
        ..info(LogInfoKind::Access, &digest.coverage)
    });
    access.chain(error_logs.iter().map(|digest| info(LogInfoKind::Error, &digest.coverage))).collect()
}

fn statuses<K>(totals: &BTreeMap<(K, u16), u64>) -> Vec<StatusCount> {
    let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
    for ((_, status), count) in totals {
        *counts.entry(*status).or_default() += count;
    }
    counts.into_iter().map(|(status, requests)| StatusCount { status, requests }).collect()
}

fn made_by(failures: &[&Selected<'_>]) -> Vec<MakerCount> {
    let mut counts: BTreeMap<Maker, BTreeMap<((), u16), u64>> = BTreeMap::new();
    for one in failures {
        let of_maker = counts.entry(one.maker).or_default();
        *of_maker.entry(((), one.failure.status.unwrap_or(0))).or_default() += one.failure.weight;
    }
    let mut counts: Vec<MakerCount> = counts
        .into_iter()
        .map(|(maker, of_maker)| MakerCount {
            maker,
            requests: of_maker.values().sum(),
            statuses: statuses(&of_maker),
        })
        .collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.requests));
    counts
}

fn hidden(selected: &[Selected<'_>]) -> Hidden {
    let hidden = || selected.iter().filter(|one| one.failure.outcome == Outcome::Hidden);
    let peers = hidden().filter_map(|one| {
        let failed = one.failure.attempts().find(|attempt| !attempt.answered() && attempt.peer.is_some())?;
        Some((failed.peer.as_ref()?.to_string(), one.failure.weight))
    });
    Hidden {
        requests: hidden().map(|one| one.failure.weight).sum(),
        peers: groups::counts(peers, usize::MAX),
    }
}

fn notes(access_logs: &[&AccessDigest], error_logs: &[&ErrorDigest]) -> Vec<String> {
    let mut notes = Vec::new();
    if access_logs.is_empty() {
        notes.push("no access log was read: how many requests there were is not known".to_owned());
    } else if access_logs.iter().all(|digest| !digest.has_upstream) {
        let missing =
            "the access log has no $upstream_* fields: who made a 502 or 504 is told by the error log alone";
        notes.push(missing.to_owned());
    }
    if error_logs.is_empty() {
        notes.push(
            "no error log was read: why an attempt failed is told by its status and times alone".to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests;
