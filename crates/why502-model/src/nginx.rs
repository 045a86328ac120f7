//! nginx's configuration, turned into the neutral model.
//!
//! `instance` finds the running masters and their binaries; `loader` reads the files with their includes into one
//! [`config::Config`]; the others turn it into servers, routes, groups, limits and logs by nginx's own rules of
//! inheritance: the nearest level that has a directive decides, and directives that may stand several times are
//! replaced wholesale.

mod address;
mod build;
mod cgi;
mod check;
mod comments;
mod config;
mod directives;
mod edit;
mod find;
mod idle_timers;
mod in_force;
mod instance;
mod loader;
mod locate;
mod logs;
mod modules;
mod named_files;
mod parameters;
mod pass;
mod pattern;
mod routes;
mod script;
mod spelling;
mod storage;
mod upstreams;
mod values;
mod variables;
mod workers;

pub(crate) use build::build_gateway;
pub use cgi::CgiParameters;
pub use edit::WantedDirective;
pub use find::MapTable;
pub(crate) use instance::{find_instances, title};
pub use locate::{Arrival, Served, Step, Stop};
pub(crate) use locate::{Locator, Slashes, parse_target, valid_host};
pub use storage::{Storage, StorageKind};
pub(crate) use variables::Expression;
pub use workers::WorkerSettings;
