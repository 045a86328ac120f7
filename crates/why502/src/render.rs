//! The faces of a report. No face computes anything: what is not in the report is not shown.

mod command;
mod escape;
mod lines;
mod snippet;
mod text;

pub(crate) use command::command_line;
pub(crate) use escape::terminal;
pub(crate) use text::{TextStyle, oneline, text};

use crate::failure::Failure;
use why502_diagnose::Report;

/// The JSON form: `why502.report/1`.
///
/// JSON escapes control characters by itself; what a terminal would obey beyond these is escaped here.
pub(crate) fn json(report: &Report) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(report)
        .map_err(|error| Failure::because("cannot write the report as JSON", error))?;
    Ok(escape::json(&text) + "\n")
}
