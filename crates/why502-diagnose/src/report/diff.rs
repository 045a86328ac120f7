//! Edits as unified diffs.

use similar::TextDiff;
use std::sync::Arc;
use why502_facts::lossy;
use why502_model::{Gateway, Span};

/// The unified diff that makes a file.
pub(super) fn of_new_file(file: &str, text: &str) -> String {
    let diff = TextDiff::from_lines("", text);
    diff.unified_diff().header("/dev/null", &format!("b{file}")).to_string()
}

/// The unified diff of all splices of one file; `None` if a splice no longer fits it.
pub(super) fn unified(gateway: &Gateway, file: &str, splices: &[(&Span, &str)]) -> Option<String> {
    let source = gateway.source(file)?;
    let before = Arc::clone(&source.text);
    let mut ordered: Vec<_> = splices.to_vec();
    ordered.sort_by_key(|(at, _)| std::cmp::Reverse(at.begin));
    let mut after = before.to_vec();
    for (at, text) in ordered {
        let range = usize::try_from(at.begin).ok()?..usize::try_from(at.end).ok()?;
        after.get(range.clone())?;
        after.splice(range, text.bytes());
    }
    let (before, after) = (lossy(&before), lossy(&after));
    let diff = TextDiff::from_lines(&before, &after);
    Some(diff.unified_diff().context_radius(2).header(&format!("a{file}"), &format!("b{file}")).to_string())
}
