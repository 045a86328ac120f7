//! Tests of the crate from outside: against the real nginx, and over whole hosts.

mod backend;
mod client;
mod dumps;
mod host;
mod layouts;
mod locations;
mod mutations;
mod passes;
#[path = "../../../nginx-syntax/tests/it/random.rs"]
mod random;
mod servers;
mod survival;
#[path = "../../src/testing.rs"]
#[expect(dead_code, reason = "the unit tests use more of it")]
mod testing;
mod verdicts;

use why502_model::{Gateway, Model};
