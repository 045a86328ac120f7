//! Chores of the workspace that write files which are committed.
//!
//! ```text
//! cargo xtask directives NGINX_GIT [GROUP=GIT …]    nginx's directives and variables, from its sources
//! cargo xtask schema                                the JSON Schemas of the reports
//! ```

mod directives;
mod schema;
#[cfg(test)]
mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((chore, rest)) if chore == "directives" => directives::run(rest),
        Some((chore, [])) if chore == "schema" => schema::run(),
        _ => Err("usage: cargo xtask directives NGINX_GIT [GROUP=GIT …] | schema".to_owned()),
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
