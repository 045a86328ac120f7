//! why502 tells why nginx answers 502 (503, 504, 499), and proves it.

mod cli;
mod exit;
mod failure;
mod options;
mod output;
mod render;
mod rounds;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The helper process must become what it stands in for before anything else runs.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == why502_collect::helper::ARGUMENT) {
        return why502_collect::run_helper();
    }
    cli::run()
}
