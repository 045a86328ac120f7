//! The program as its users run it.

mod bundles;
mod host;
mod composition;
mod incidents;
mod offline;
mod output;
mod run;
mod text;
mod usage;
