//! What is wrong with a report.

mod live;
pub(crate) mod report;

pub(crate) use live::live;

use crate::scenario::{Confidence, NOTHING, Verdict};
use report::Got;
use serde::{Deserialize, Serialize};

/// The most columns of a text report.
const MAX_COLUMNS: usize = 80;

/// What a run of a scenario came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// What is wrong.
    pub misses: Vec<Miss>,
    /// How long the live run took.
    pub micros: u64,
    /// The live report in a line.
    pub got: String,
    /// The first lines of its text.
    pub head: Vec<String>,
    /// The kinds of lines in the error log, without what differs from run to run.
    pub log_texts: Vec<String>,
}

impl Outcome {
    /// Whether a kind of thing is wrong.
    pub fn misses_in(&self, kind: Kind) -> bool {
        self.misses.iter().any(|miss| miss.kind == kind)
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// In what respect.
    pub kind: Kind,
    /// What.
    pub says: String,
}

impl Miss {
    pub(crate) fn new(kind: Kind, says: impl Into<String>) -> Self {
        Self { kind, says: says.into() }
    }

    /// The same in another respect.
    pub(crate) fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The same with what it is about.
    pub(crate) fn about(self, what: &str) -> Self {
        Self { says: format!("{what}: {}", self.says), ..self }
    }
}

/// In what respect something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The scenario itself did not come about: no word about the product.
    Setup,
    /// The first finding is another.
    Top1,
    /// The root set is another.
    Roots,
    /// The verdict is another.
    Verdict,
    /// A healthy system has findings, or another verdict.
    FalseAlarm,
    /// It claims more than is known.
    OverConfident,
    /// Something else that was expected of the first finding.
    Detail,
    /// It breaks what the product page promises.
    Contract,
    /// Live, archive and directory do not agree.
    Bundle,
    /// The report of files alone.
    Offline,
    /// The report with something withheld.
    Withheld,
    /// Reading changed something.
    ReadOnly,
}

/// What of the published contract a report breaks.
pub(crate) fn contract(got: &Got) -> Vec<Miss> {
    let report = &got.report;
    let mut says = Vec::new();
    if report.schema() != "why502.report/1" {
        says.push(format!("the schema is {:?}", report.schema()));
    }
    let findings = report.findings();
    let has_root = findings.iter().any(|finding| finding.is_likely_root());
    match Verdict::named(report.verdict()) {
        None => says.push(format!("there is no verdict {:?}", report.verdict())),
        Some(verdict) => {
            if got.exit != Some(verdict.exit_code()) {
                says.push(format!("{} exits with {:?}", verdict.name(), got.exit));
            }
            let fits = match verdict {
                Verdict::Healthy => findings.is_empty(),
                Verdict::Inconclusive => !has_root,
                Verdict::AtRisk | Verdict::Broken | Verdict::Recovered => has_root,
            };
            if !fits {
                says.push(format!("{} with {}", verdict.name(), report.summary()));
            }
        }
    }
    if report.verdict() == Verdict::Healthy.name() && !report.changes().is_empty() {
        says.push(format!("healthy, and told what changed: {}", report.changes().join("; ")));
    }
    // With a URL its own findings come first, and which they are is not told.
    if !report.has_url() && !findings.is_sorted_by_key(|finding| finding.rank()) {
        says.push(format!("the findings are out of order: {}", report.summary()));
    }
    says.extend(report.malformed_gaps());
    says.into_iter().map(|says| Miss::new(Kind::Contract, says)).collect()
}

/// What is wrong with the form of a text report.
pub(crate) fn text(bytes: &[u8]) -> Vec<Miss> {
    let mut says = Vec::new();
    match std::str::from_utf8(bytes) {
        Err(_) => says.push("the text is no UTF-8".to_owned()),
        Ok(text) => {
            if let Some(bad) = text.chars().find(|letter| letter.is_control() && *letter != '\n') {
                says.push(format!("the text holds {bad:?}"));
            }
            if let Some(line) = text.lines().find(|line| line.chars().count() > MAX_COLUMNS) {
                says.push(format!("wider than {MAX_COLUMNS} columns: {line}"));
            }
        }
    }
    says.into_iter().map(|says| Miss::new(Kind::Contract, says)).collect()
}

/// Whether the first finding is one of these, and claims no more than it may.
pub(crate) fn acceptable(
    kind: Kind,
    got: &Got,
    causes: &[String],
    max_confidence: Option<Confidence>,
) -> Vec<Miss> {
    let report = &got.report;
    let findings = report.findings();
    let mut misses = Vec::new();
    let cause = findings.first().map_or(NOTHING, |finding| finding.cause());
    if !causes.iter().any(|id| id == cause) {
        let says = format!("expected {}, got {}", causes.join(" | "), report.summary());
        misses.push(Miss::new(kind, says));
    }
    if let (Some(first), Some(most)) = (findings.first(), max_confidence)
        && first.confidence() > most
    {
        misses.push(Miss::new(Kind::OverConfident, format!("at most {most:?}, got {}", report.summary())));
    }
    misses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_and_wide_lines_are_told() {
        assert!(text(b"broken: x\n  do: y\n").is_empty());
        assert_eq!(text(b"a\x1b[31m").len(), 1);
        assert_eq!(text("x".repeat(81).as_bytes()).len(), 1);
        assert_eq!(text(b"\xff").len(), 1);
    }
}
