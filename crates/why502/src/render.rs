//! The faces of a report. No face computes anything: what is not in the report is not shown.

mod changes;
mod command;
mod escape;
mod lines;
mod logs;
mod probe;
mod snippet;
mod text;

pub(crate) use command::command_line;
pub(crate) use escape::terminal;
pub(crate) use logs::{LogsStyle, bytes, logs_html, logs_text};
pub(crate) use probe::{ProbeStyle, probe_text};
pub(crate) use text::{TextStyle, oneline, text};

use crate::failure::Failure;
use serde::Serialize;

/// The JSON form of a result.
///
/// JSON escapes control characters by itself; what a terminal would obey beyond these is escaped here.
pub(crate) fn json(report: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(report)
        .map_err(|error| Failure::because("cannot write the report as JSON", error))?;
    Ok(escape::json(&text) + "\n")
}

/// One JSON object per line.
pub(crate) fn json_lines<T: Serialize>(rows: &[T]) -> Result<String, Failure> {
    let mut text = String::new();
    for row in rows {
        let row = serde_json::to_string(row)
            .map_err(|error| Failure::because("cannot write the requests as JSON", error))?;
        text.push_str(&escape::json(&row));
        text.push('\n');
    }
    Ok(text)
}
