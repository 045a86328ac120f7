//! Chores of the workspace that write files which are committed.
//!
//! ```text
//! xtask directives NGINX_GIT [GROUP=GIT …]    nginx's directives and variables, from its sources
//! ```

mod directives;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((chore, rest)) if chore == "directives" => directives::run(rest),
        _ => Err("usage: xtask directives NGINX_GIT [GROUP=GIT …]".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is how a chore says what went wrong")]
fn complain(message: &str) {
    eprintln!("xtask: {message}");
}
