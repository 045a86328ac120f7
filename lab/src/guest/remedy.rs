//! The steps of a remedy, taken as they stand in the report.

use super::inside::shell;
use crate::judge::report::Finding;
use crate::process::{find_program, run_bounded};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long a command of a remedy may take.
const BOUND: Duration = Duration::from_mins(2);

/// Takes the steps of one remedy of a finding.
pub(super) fn apply(finding: Finding<'_>, index: usize) -> Result<()> {
    let remedy = finding.remedy(index).with_context(|| format!("there is no remedy {index}"))?;
    let steps = remedy["steps"].as_array().map_or(&[][..], Vec::as_slice);
    if steps.is_empty() {
        bail!("the remedy has no steps: {}", remedy["title"]);
    }
    for step in steps {
        match step["kind"].as_str() {
            Some("command") => command(step)?,
            Some("edit") => edit(step)?,
            kind => bail!("a step of kind {kind:?}"),
        }
    }
    // An edit of the configuration takes effect with the next reload; a remedy that makes a file says what takes it in.
    let is_edit = |step: &Value| {
        step["kind"] == "edit"
            && step["diff"].as_str().is_some_and(|diff| !diff.starts_with("--- /dev/null\n"))
    };
    if steps.iter().any(is_edit) {
        shell("! systemctl is-active nginx || systemctl reload nginx; sleep 1")?;
    }
    Ok(())
}

fn command(step: &Value) -> Result<()> {
    let words: Vec<&str> = step["argv"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some((program, arguments)) = words.split_first() else { bail!("a command without words") };
    let finished = run_bounded(Command::new(find_program(program)?).args(arguments).current_dir("/"), BOUND)?;
    if !finished.status.is_some_and(|status| status.success()) {
        bail!("{:?} of {}: {}", finished.status, words.join(" "), finished.complaint());
    }
    Ok(())
}

fn edit(step: &Value) -> Result<()> {
    let (Some(file), Some(diff)) = (step["file"].as_str(), step["diff"].as_str()) else {
        bail!("an edit without file or diff")
    };
    let is_new = diff.starts_with("--- /dev/null\n");
    let before =
        if is_new { String::new() } else { fs::read_to_string(file).with_context(|| file.to_owned())? };
    if let Some(folder) = Path::new(file).parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, patched(&before, diff)?)?;
    Ok(())
}

/// A text after a unified diff.
fn patched(before: &str, diff: &str) -> Result<String> {
    let lines: Vec<&str> = before.split_inclusive('\n').collect();
    let mut after = String::new();
    let mut at = 0;
    for line in
        diff.split_inclusive('\n').filter(|line| !line.starts_with("--- ") && !line.starts_with("+++ "))
    {
        if let Some(header) = line.strip_prefix("@@ -") {
            let first = header.split([',', ' ']).next().and_then(|number| number.parse::<usize>().ok());
            let first = first.with_context(|| format!("hunk {line:?}"))?.saturating_sub(1);
            after.extend(lines.get(at..first).into_iter().flatten().copied());
            at = first;
        } else if let Some(added) = line.strip_prefix('+') {
            after.push_str(added);
        } else if let Some(kept) = line.strip_prefix([' ', '-']) {
            if lines.get(at).map(|line| line.trim_end_matches('\n')) != Some(kept.trim_end_matches('\n')) {
                bail!("the diff does not fit at line {}: {kept:?}", at + 1);
            }
            if line.starts_with(' ') {
                after.push_str(lines[at]);
            }
            at += 1;
        }
    }
    after.extend(lines.get(at..).into_iter().flatten().copied());
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_applied() {
        let diff = "--- a/x\n+++ b/x\n@@ -2,2 +2,3 @@\n two\n-three\n+3\n+4\n";
        assert_eq!(patched("one\ntwo\nthree\nfour\n", diff).unwrap(), "one\ntwo\n3\n4\nfour\n");
        let new = "--- /dev/null\n+++ b/x\n@@ -0,0 +1,2 @@\n+one\n+two\n";
        assert_eq!(patched("", new).unwrap(), "one\ntwo\n");
        assert!(patched("one\n2\nthree\n", diff).is_err());
    }
}
