//! Why a gateway fails: the causes, the engine that weighs them, and the report.
//!
//! [`diagnose`] is a pure function of a bundle's facts and the model built from them. It never asks the machine that it
//! runs on, so the same bundle gives the same report, byte for byte. What it would still like to know are its asks
//! ([`wanted`]): the caller collects them and diagnoses again.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod case;
mod cause;
mod causes;
mod changes;
mod durations;
mod engine;
mod filter;
mod finding;
#[cfg(test)]
mod fixture;
mod plan;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod registry;
mod remedy;
mod report;
mod survey;
mod target;
mod timers;

pub use cause::{ActsOn, Cause, Layer};
pub use causes::{CAUSES, find_cause};
pub use engine::{diagnose, wanted};
pub use finding::{Confidence, Role};
pub use remedy::Risk;
pub use report::*;
pub use survey::*;
pub use target::*;
