//! The lab: breaks a real nginx, proves that it is broken, and checks that why502 names the cause.
//!
//! A scenario is data (`lab/scenarios/**/*.toml`): files, backends, steps and what an honest diagnosis says. The
//! orchestrator ([`orchestrate`]) starts one child per scenario, where it may in namespaces of its own (processes, mounts,
//! network, host name), so that scenarios see neither each other nor this machine, and everything they start ends with
//! them. The child ([`run`]) puts the files in place, starts backends and nginx, takes the steps, checks that the symptom
//! occurs, runs the real why502 and hands its report to the judge ([`judge`]).
//!
//! What needs another kernel or a systemd of its own happens in a guest ([`guest`]).
//!
//! How long why502 takes is measured by [`mod@bench`].
//!
//! Backends are real programs or this program under another name ([`serve`]): a server that misbehaves as told.
#![forbid(unsafe_code)]

pub mod bench;
pub mod cli;
pub mod guest;
pub mod isolate;
pub mod judge;
mod limits;
pub mod orchestrate;
mod output;
mod place;
mod process;
pub mod replay;
pub mod run;
pub mod scenario;
pub mod serve;
mod table;
mod twins;

use std::process::ExitCode;

/// Runs whatever this process is meant to be: a backend, or the program that a person called.
pub fn main() -> ExitCode {
    if let Some(backend) = serve::backend_from_environment() {
        return serve::main(&backend);
    }
    cli::main()
}
