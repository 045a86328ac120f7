//! The program as its users run it.

mod bundles;
mod composition;
mod host;
mod incidents;
mod logs;
mod logs_journal;
mod offline;
mod output;
mod probe;
mod probe_http2;
mod replay;
mod run;
mod text;
mod usage;
mod world;
