//! The program as its users run it.

mod composition;
mod incidents;
mod run;
