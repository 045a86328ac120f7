//! The collector: answers asks from the world, and never judges what it sees.
//!
//! It knows nothing of gateways. An ask that cannot be answered becomes a gap in the bundle and never ends the run. What
//! must be seen as another process sees it (names, connections, packet filters) is done by one helper process per place,
//! see [`helper`].
#![forbid(unsafe_code)]

mod access_control;
mod changes;
mod collector;
mod command;
mod control_groups;
mod echo;
mod engine;
mod file_systems;
mod files;
mod filters;
mod glob;
pub mod helper;
mod host;
#[cfg(test)]
mod hostile;
mod icmp_errors;
mod kernel_log;
mod logs;
mod namespace;
mod network_limits;
mod probe;
mod processes;
mod resolve;
mod root;
mod route;
mod server_logs;
mod services;
mod sockets;
mod units;
mod waiting;

pub use collector::{Collector, Policy, RouteOfOwner};
pub use helper::run_helper;
pub use logs::{
    Checkpoint, FollowFrom, Follower, InputError, LogFile, LogSet, LogSurveyor, PollSummary, Position,
    ReadSummary, open_logs,
};
