//! The program as its users run it.

mod incidents;
mod run;
