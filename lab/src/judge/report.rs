//! A report as why502 printed it.

use super::{Kind, Miss};
use crate::scenario::Confidence;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::cmp::Reverse;
use std::time::Duration;

/// A report with how the program ended.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) report: Report,
    pub(crate) exit: Option<i32>,
    pub(crate) elapsed: Duration,
}

/// A JSON report.
#[derive(Debug, PartialEq)]
pub(crate) struct Report(Value);

/// One of its findings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finding<'r>(&'r Value);

impl Report {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        Ok(Self(serde_json::from_slice(bytes).context("no JSON report")?))
    }

    /// The whole of it, as a person reads it.
    pub(crate) fn pretty(&self) -> String {
        format!("{:#}\n", self.0)
    }

    pub(crate) fn schema(&self) -> &str {
        text(&self.0, "schema")
    }

    pub(crate) fn verdict(&self) -> &str {
        text(&self.0, "verdict")
    }

    pub(crate) fn findings(&self) -> Vec<Finding<'_>> {
        list(&self.0, "findings").iter().map(Finding).collect()
    }

    /// Whether it is about a given URL.
    pub(crate) fn has_url(&self) -> bool {
        !self.0["url"].is_null()
    }

    /// `broken: upstream-not-listening confirmed, … possible`.
    pub(crate) fn summary(&self) -> String {
        let findings = self.findings();
        let words: Vec<String> = findings.iter().map(|finding| finding.summary()).collect();
        format!(
            "{}: {}",
            self.verdict(),
            if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
        )
    }

    /// The likely roots, sorted.
    pub(crate) fn roots(&self) -> Vec<&str> {
        let mut roots: Vec<&str> = self
            .findings()
            .into_iter()
            .filter(|finding| finding.is_likely_root())
            .map(Finding::cause)
            .collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    pub(crate) fn has_gap(&self, topic: &str) -> bool {
        let own = list(&self.0, "gaps").iter();
        let undecided = list(&self.0, "undecided").iter().flat_map(|entry| list(entry, "gaps"));
        let open = list(&self.0, "findings").iter().flat_map(|finding| list(finding, "open"));
        own.chain(undecided).chain(open).any(|gap| text(gap, "topic") == topic)
    }

    /// What is told to have changed before the first failure.
    pub(crate) fn changes(&self) -> Vec<&str> {
        list(&self.0, "changes").iter().map(|change| text(change, "says")).collect()
    }

    /// Gaps that are not of the published form.
    pub(crate) fn malformed_gaps(&self) -> Vec<String> {
        const WHYS: [&str; 5] = ["not-asked", "denied", "unsupported", "timed-out", "failed"];
        let own = list(&self.0, "gaps").iter();
        let undecided = list(&self.0, "undecided").iter().flat_map(|entry| list(entry, "gaps"));
        own.chain(undecided)
            .filter(|gap| !WHYS.contains(&text(gap, "why")))
            .map(|gap| format!("gap {gap}"))
            .collect()
    }

    /// Claims about a host in a report that knows none.
    pub(crate) fn host_claims(&self) -> Vec<Miss> {
        let mut says = Vec::new();
        if !self.0["gateway"]["pid"].is_null() {
            says.push("a pid is claimed");
        }
        if self.findings().iter().any(|finding| finding.still_failing().is_some()) {
            says.push("something is claimed to fail now, or not to");
        }
        says.into_iter().map(|says| Miss::new(Kind::Offline, says)).collect()
    }

    /// All of it as text, to look for words.
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }

    /// What two runs on the same system must agree on: times, counts of probes and the order of what happened at once left out.
    pub(crate) fn essence(&self) -> Value {
        let mut value = self.0.clone();
        if let Some(changes) = value["changes"].as_array_mut() {
            changes.sort_by_cached_key(|change| change["subject"].to_string());
        }
        strip(&mut value);
        value
    }
}

/// What differs between two runs a moment apart. When a process was started is counted from when the host was booted, and
/// that is known to a millisecond or two.
const VOLATILE: [&str; 8] =
    ["at", "captured_at", "chief", "evidence", "gaps", "origin", "seconds_before", "window"];

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !VOLATILE.contains(&name.as_str()));
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Where two values first differ.
pub(crate) fn first_difference(one: &Value, other: &Value) -> String {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys()).find(|name| a.get(*name) != b.get(*name));
            names.map_or_else(String::new, |name| {
                let (a, b) = (a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null));
                format!("{name}.{}", first_difference(a, b))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(0);
            a.get(at)
                .zip(b.get(at))
                .map_or_else(String::new, |(a, b)| format!("{at}.{}", first_difference(a, b)))
        }
        _ => {
            let cut = |value: &Value| value.to_string().chars().take(160).collect::<String>();
            format!(" live {} and bundle {}", cut(one), cut(other))
        }
    }
}

impl<'r> Finding<'r> {
    pub(crate) fn cause(self) -> &'r str {
        text(self.0, "cause")
    }

    pub(crate) fn confidence(self) -> Confidence {
        match text(self.0, "confidence") {
            "confirmed" => Confidence::Confirmed,
            "likely" => Confidence::Likely,
            _ => Confidence::Possible,
        }
    }

    pub(crate) fn is_likely_root(self) -> bool {
        self.0["root"] == true && self.confidence() > Confidence::Possible
    }

    pub(crate) fn still_failing(self) -> Option<bool> {
        self.0["explains"]["still_failing"].as_bool()
    }

    /// The value of a field of text.
    pub(crate) fn field(self, name: &str) -> Option<&'r str> {
        self.0[name].as_str()
    }

    pub(crate) fn effects(self) -> Vec<&'r str> {
        list(self.0, "effects").iter().filter_map(Value::as_str).collect()
    }

    /// File and line of the place to change.
    pub(crate) fn place(self) -> Option<(&'r str, u64)> {
        let first = list(self.0, "where").first()?;
        Some((text(first, "file"), first["line"].as_u64()?))
    }

    /// The remedies as text.
    pub(crate) fn remedies(self) -> String {
        list(self.0, "remedies").iter().map(Value::to_string).collect()
    }

    /// One of the remedies.
    pub(crate) fn remedy(self, index: usize) -> Option<&'r Value> {
        list(self.0, "remedies").get(index)
    }

    /// The published order of findings, without the part that a URL has.
    pub(crate) fn rank(self) -> impl Ord + 'r {
        let requests = self.0["explains"]["requests"].as_u64().unwrap_or(0);
        (
            // That nobody is served comes first.
            self.cause() != "gateway-not-running",
            self.0["root"] != true,
            self.confidence() == Confidence::Possible,
            Reverse(requests.checked_ilog10().map_or(0, |digits| digits + 1)),
            Reverse(self.confidence()),
            Reverse(requests),
            self.cause(),
        )
    }

    pub(crate) fn summary(self) -> String {
        let root = if self.0["root"] == true { "" } else { " (not a root)" };
        let effects = self.effects();
        let effects = if effects.is_empty() { String::new() } else { format!(" -> {}", effects.join(" ")) };
        format!("{} {}{root}{effects}", self.cause(), text(self.0, "confidence"))
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"schema":"why502.report/1","verdict":"broken","captured_at":"x",
        "findings":[{"cause":"a","confidence":"confirmed","root":true,"effects":["e"],"explains":{"requests":12}},
                    {"cause":"b","confidence":"possible","root":true,"explains":{"requests":900}}]}"#;

    #[test]
    fn a_report_is_read() {
        let report = Report::parse(REPORT.as_bytes()).unwrap();
        assert_eq!(report.summary(), "broken: a confirmed -> e, b possible");
        assert_eq!(report.roots(), ["a"]);
        assert!(report.findings().is_sorted_by_key(|finding| finding.rank()));
        assert!(report.essence().get("captured_at").is_none());
    }

    #[test]
    fn the_first_difference_is_named() {
        let one = Report::parse(REPORT.as_bytes()).unwrap().essence();
        let other = Report::parse(REPORT.replace("900", "901").as_bytes()).unwrap().essence();
        assert_eq!(first_difference(&one, &other), "findings.1.explains.requests. live 900 and bundle 901");
    }
}
