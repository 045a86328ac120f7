//! The command line: one file per command.

mod collect;
mod diagnose;
mod explain;
mod logs;
mod nearest;
mod probe;
mod rerun;

pub(crate) use nearest::nearest;

use crate::failure::Failure;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tells why nginx answers 502 (503, 504, 499), and proves it.
///
/// Without a command it diagnoses: finds nginx, reads its configuration and logs, looks at the host, connects to the
/// upstreams as nginx would, and names the one cause.
#[derive(Debug, Parser)]
#[command(
    name = "why502",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 80
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    diagnose: diagnose::Args,
}

/// The commands by name.
pub(crate) const COMMANDS: [&str; 5] = ["collect", "diagnose", "explain", "logs", "probe"];

#[derive(Debug, Subcommand)]
enum Command {
    /// Finds nginx, collects, diagnoses, prints (the default).
    Diagnose(diagnose::Args),
    /// Writes everything that a diagnosis needs into a bundle, to be diagnosed elsewhere.
    Collect(collect::Args),
    /// Prints the manual page of a cause.
    Explain(explain::Args),
    /// Analyses access and error logs: who made the errors, groups, times, timeline.
    Logs(logs::Args),
    /// Dials one address, upstream or route: each step with its time.
    Probe(probe::Args),
}

/// Runs the command line.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help and versions to stdout, errors to stderr.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(crate::exit::TROUBLE));
        }
    };
    let result = match cli.command {
        None => diagnose::run(&cli.diagnose),
        Some(Command::Diagnose(args)) => diagnose::run(&args),
        Some(Command::Collect(args)) => collect::run(&args),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Logs(args)) => logs::run(&args),
        Some(Command::Probe(args)) => probe::run(&args),
    };
    result.unwrap_or_else(|failure: Failure| failure.report())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_command_is_known_by_name() {
        let command = Cli::command();
        let mut names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        names.sort_unstable();
        assert_eq!(names, COMMANDS);
    }
}
