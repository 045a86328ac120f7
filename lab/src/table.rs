//! How often the diagnosis was right.

use crate::judge::{Kind, Outcome};
use crate::orchestrate::{Done, Fate};
use crate::scenario::{Named, Verdict};
use crate::twins::{TwinGroups, Twins};
use std::collections::BTreeMap;

/// The line of one scenario.
pub(crate) fn line(named: &Named, done: &Done) -> String {
    match &done.result {
        Fate::Skipped(why) => format!("skip {:<56} {why}", named.name),
        Fate::Run(outcome) => {
            let mark = if outcome.misses.is_empty() { "ok  " } else { "MISS" };
            let kinds = kinds(outcome);
            format!("{mark} {:<56} {:>6.3} s {kinds}", named.name, seconds(outcome.micros))
        }
    }
}

/// The results of all.
#[derive(Debug)]
pub(crate) struct Table<'r> {
    runs: Vec<(&'r Named, &'r Outcome)>,
    skipped: Vec<(&'r str, &'r str)>,
    n_left_out: usize,
}

impl<'r> Table<'r> {
    pub(crate) fn new(scenarios: &'r [Named], done: &'r [Done], n_left_out: usize) -> Self {
        let mut table = Self { runs: Vec::new(), skipped: Vec::new(), n_left_out };
        for (named, done) in scenarios.iter().zip(done) {
            match &done.result {
                Fate::Run(outcome) => table.runs.push((named, outcome)),
                Fate::Skipped(why) => table.skipped.push((&named.name, why)),
            }
        }
        table
    }

    pub(crate) fn n_failed(&self) -> usize {
        self.runs.iter().filter(|(_, outcome)| !outcome.misses.is_empty()).count()
    }

    /// The summary, the misses, and the counts.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        lines.extend(self.per_cause());
        lines.push(String::new());
        lines.extend(self.sums());
        lines.extend(self.twins());
        lines.push(String::new());
        lines.extend(self.misses());
        if self.n_left_out > 0 {
            lines.push(format!(
                "left out: {} scenarios of causes that why502 does not know yet (--unknown)",
                self.n_left_out
            ));
        }
        let n_failed = self.n_failed();
        lines.push(format!(
            "{} passed, {n_failed} failed, {} skipped",
            self.runs.len() - n_failed,
            self.skipped.len()
        ));
        lines
    }

    /// One row per cause: of the scenarios that count for it, how many were right.
    fn per_cause(&self) -> Vec<String> {
        let mut rows: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
        for (named, outcome) in &self.runs {
            let mut ids: Vec<&str> = named.scenario.covered().collect();
            if ids.is_empty() {
                ids.push("(healthy)");
            }
            for id in ids {
                rows.entry(id).or_default().push(outcome);
            }
        }
        let header = format!("{:<34} {:>5} {:>6} {:>6} {:>6}", "cause", "runs", "top-1", "roots", "right");
        let row = |(id, outcomes): (&str, Vec<&Outcome>)| {
            let without = |kinds: &[Kind]| {
                let fine = |outcome: &&&Outcome| !kinds.iter().any(|kind| outcome.misses_in(*kind));
                outcomes.iter().filter(fine).count()
            };
            format!(
                "{id:<34} {:>5} {:>6} {:>6} {:>6}",
                outcomes.len(),
                without(&[Kind::Setup, Kind::Top1, Kind::FalseAlarm]),
                without(&[Kind::Setup, Kind::Roots, Kind::FalseAlarm]),
                outcomes.iter().filter(|outcome| outcome.misses.is_empty()).count(),
            )
        };
        std::iter::once(header).chain(rows.into_iter().map(row)).collect()
    }

    fn sums(&self) -> Vec<String> {
        let is_healthy = |named: &Named| named.scenario.expect.verdict == Verdict::Healthy;
        let shown: Vec<_> = self.runs.iter().filter(|(_, outcome)| !outcome.misses_in(Kind::Setup)).collect();
        let n_healthy = shown.iter().filter(|(named, _)| is_healthy(named)).count();
        let n_ill = shown.len() - n_healthy;
        let missing = |kind: Kind| shown.iter().filter(|(_, outcome)| outcome.misses_in(kind)).count();
        let mut times: Vec<u64> = shown.iter().map(|(_, outcome)| outcome.micros).collect();
        times.sort_unstable();
        let rate = |name: &str, n_missed: usize, n_all: usize| {
            let share = if n_all == 0 { 100.0 } else { percent(n_all - n_missed, n_all) };
            format!("{name:<34} {:>4} of {n_all:<4} {share:>5.1} %", n_all - n_missed)
        };
        vec![
            rate("symptom shown", missing_setup(&self.runs), self.runs.len()),
            rate("top-1", missing(Kind::Top1), n_ill),
            rate("exact root set", missing(Kind::Roots), n_ill),
            rate("verdict", missing(Kind::Verdict), n_ill),
            rate("healthy without findings", missing(Kind::FalseAlarm), n_healthy),
            rate("not over-confident", missing(Kind::OverConfident), shown.len()),
            rate("details", missing(Kind::Detail), n_ill),
            rate("contract", missing(Kind::Contract), shown.len()),
            rate("live = archive = directory", missing(Kind::Bundle), shown.len()),
            rate("files alone", missing(Kind::Offline), shown.len()),
            rate("facts withheld", missing(Kind::Withheld), shown.len()),
            rate("nothing changed by reading", missing(Kind::ReadOnly), shown.len()),
            format!(
                "{:<34} {:.3} s median, {:.3} s p95",
                "time of a live run",
                seconds(quantile(&times, 50)),
                seconds(quantile(&times, 95))
            ),
        ]
    }

    fn twins(&self) -> Vec<String> {
        let mut groups = TwinGroups::new();
        for (named, outcome) in &self.runs {
            if let Some(group) = &named.scenario.twin
                && !outcome.misses_in(Kind::Setup)
            {
                let twins: &mut Twins = groups.entry(group.clone()).or_default();
                let cause = named.scenario.expect.cause.first().cloned().unwrap_or_default();
                let right = !outcome.misses_in(Kind::Top1) && !outcome.misses_in(Kind::FalseAlarm);
                twins.members.push((named.name.clone(), cause, right));
                twins.texts.insert(outcome.log_texts.clone());
            }
        }
        let describe = |(name, twins): (String, Twins)| {
            let n_right = twins.members.iter().filter(|(_, _, right)| *right).count();
            let same = match (twins.is_one(), twins.texts.len()) {
                (true, _) => "one text",
                (false, 1) => "one text and one cause",
                (false, _) => "SEVERAL TEXTS",
            };
            format!("twins {name:<28} {n_right:>4} of {:<4} {same}", twins.members.len())
        };
        groups.into_iter().map(describe).collect()
    }

    fn misses(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, why) in &self.skipped {
            lines.push(format!("skipped {name}: {why}"));
        }
        for (named, outcome) in self.runs.iter().filter(|(_, outcome)| !outcome.misses.is_empty()) {
            lines.push(format!("{}: {}", named.name, named.scenario.title));
            for miss in &outcome.misses {
                lines.push(format!("  {:?}: {}", miss.kind, miss.says));
            }
            lines.extend(outcome.head.iter().map(|line| format!("  | {line}")));
        }
        lines
    }
}

fn missing_setup(runs: &[(&Named, &Outcome)]) -> usize {
    runs.iter().filter(|(_, outcome)| outcome.misses_in(Kind::Setup)).count()
}

fn kinds(outcome: &Outcome) -> String {
    let mut kinds: Vec<Kind> = outcome.misses.iter().map(|miss| miss.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(" ")
}

#[expect(clippy::cast_precision_loss, reason = "for people, to three digits")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "for people, to three digits")]
fn percent(part: usize, whole: usize) -> f64 {
    part as f64 * 100.0 / whole as f64
}

/// The smallest value that so many per cent do not exceed.
fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occur() {
        assert_eq!(quantile(&[1, 2, 3, 4], 50), 2);
        assert_eq!(quantile(&[1, 2, 3, 4], 95), 4);
        assert_eq!(quantile(&[], 50), 0);
    }
}
