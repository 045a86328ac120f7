//! `why502 explain CAUSE`.

use super::nearest;
use crate::exit;
use crate::failure::Failure;
use crate::output::write_result;
use std::fmt::Write as _;
use std::process::ExitCode;
use why502_diagnose::{CAUSES, Cause, find_cause};
use why502_facts::TOPICS;

/// The options of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id of a cause.
    #[arg(required_unless_present = "list")]
    cause: Option<String>,
    /// All ids of causes, and of the topics that gaps are reported under, with what they mean.
    #[arg(long)]
    list: bool,
}

/// Prints a manual page, or the list of them.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let text = match &args.cause {
        Some(id) => find_cause(id).map(page).ok_or_else(|| unknown(id))?,
        None => list(),
    };
    write_result(&text, None)?;
    Ok(ExitCode::from(exit::WELL))
}

fn page(cause: &'static Cause) -> String {
    cause.manual.to_owned()
}

/// The ids of causes and, behind them, those of the topics that gaps are reported under.
fn list() -> String {
    let mut text = String::new();
    for cause in CAUSES {
        let statuses: Vec<String> = cause.statuses.iter().map(|status| format!("{status:03}")).collect();
        let line = format!("{:<32} {}", cause.id, statuses.join(" "));
        let _ = writeln!(text, "{}\n    {}", line.trim_end(), cause.summary());
    }
    text.push_str("\ntopics of gaps:\n");
    for (topic, about) in TOPICS {
        let _ = writeln!(text, "{topic:<32} {about}");
    }
    text
}

fn unknown(id: &str) -> Failure {
    let slips = nearest(id, CAUSES.iter().map(|cause| cause.id));
    let related = || CAUSES.iter().map(|cause| cause.id).filter(|known| shares_a_word(known, id)).collect();
    let meant: Vec<&str> = if slips.is_empty() { related() } else { slips };
    let hint = if meant.is_empty() {
        "`why502 explain --list` lists them".to_owned()
    } else {
        format!("did you mean {}?", meant.join(", "))
    };
    Failure::usage(format!("no cause is called {id:?}")).hint(hint)
}

fn shares_a_word(id: &str, typed: &str) -> bool {
    typed.split('-').any(|word| word.len() > 3 && word != "upstream" && id.contains(word))
}
