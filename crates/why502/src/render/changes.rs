//! What changed before the first failure, in words.

use why502_diagnose::{ChangeInfo, FirstFailureInfo, Report};

/// What stands before such a note.
const LABEL: &str = "changed before";

/// Whether the first failure is that of the first finding: then what changed before it is told with that.
pub(super) fn is_of_first_finding(report: &Report) -> bool {
    report.first_failure.as_ref().is_some_and(|first| first.finding == Some(0))
}

/// What changed: the few that tell most in one note, or each in a note of its own.
pub(super) fn notes(report: &Report, verbose: bool) -> Vec<(&'static str, String)> {
    let Some(first) = &report.first_failure else { return Vec::new() };
    if verbose {
        let each = report.changes.iter().map(|change| (LABEL, told(change, &when(change, first))));
        return each.collect();
    }
    let mut parts: Vec<String> = Vec::new();
    for change in report.changes.iter().filter(|change| change.chief) {
        let when = match (parts.is_empty(), change.seconds_before) {
            (true, _) => when(change, first),
            (false, 0) => "in the same second".to_owned(),
            (false, seconds) => format!("{} before", duration(seconds)),
        };
        parts.push(told(change, &when));
    }
    if parts.is_empty() { Vec::new() } else { vec![(LABEL, parts.join(", "))] }
}

fn told(change: &ChangeInfo, when: &str) -> String {
    format!("{} ({when})", change.says)
}

/// How long before the first failure.
fn when(change: &ChangeInfo, first: &FirstFailureInfo) -> String {
    let failure = if first.certain { "the first failure" } else { "the first failure seen" };
    match change.seconds_before {
        0 => format!("in the second of {failure}"),
        seconds => format!("{} before {failure}", duration(seconds)),
    }
}

fn duration(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(changes: &str, certain: bool) -> Report {
        let mut report: serde_json::Value = serde_json::json!({
            "schema": "why502.report/1", "tool": {"name": "why502", "version": "0"}, "captured_at": "", "verdict": "broken",
            "host": {"name": null, "os": null, "kernel": null}, "gateways": [], "gateway": null,
            "window": {"from": null, "to": "", "requests": null, "failed": 1, "last_failure": null},
            "findings": [], "ruled_out": [], "undecided": [], "unexplained": {"requests": 0, "examples": []},
            "actions": [], "gaps": [], "notes": [],
            "first_failure": {"at": "", "certain": certain, "finding": 0},
        });
        report["changes"] = serde_json::from_str(changes).unwrap();
        serde_json::from_value(report).unwrap()
    }

    fn change(says: &str, seconds: u64, chief: bool) -> String {
        format!(
            r#"{{"at":"","kind":"unit","subject":"x","says":"{says}","seconds_before":{seconds},"chief":{chief},"origin":{{"kind":"derived"}}}}"#
        )
    }

    #[test]
    fn the_chief_ones_are_one_note_and_all_are_told_verbosely() {
        let changes =
            [change("a started", 35, true), change("39 packages", 36, false), change("b changed", 300, true)];
        let changes = format!("[{}]", changes.join(","));
        let says = |verbose, certain| {
            let notes = notes(&report(&changes, certain), verbose);
            notes.into_iter().map(|(label, says)| format!("{label}: {says}")).collect::<Vec<_>>()
        };
        assert_eq!(
            says(false, true),
            ["changed before: a started (35 s before the first failure), b changed (5 min before)"]
        );
        assert_eq!(
            says(true, false),
            [
                "changed before: a started (35 s before the first failure seen)",
                "changed before: 39 packages (36 s before the first failure seen)",
                "changed before: b changed (5 min before the first failure seen)",
            ]
        );
    }

    #[test]
    fn what_bears_the_second_of_the_failure_may_have_come_after_it() {
        let changes = format!("[{},{}]", change("a started", 0, true), change("b changed", 0, true));
        let notes = notes(&report(&changes, true), false);
        assert_eq!(
            notes[0].1,
            "a started (in the second of the first failure), b changed (in the same second)"
        );
        assert!(super::notes(&report("[]", true), false).is_empty());
    }
}
