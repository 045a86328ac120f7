//! Tests of the crate from outside: against nginx itself, against another parser, and for properties that
//! hold for any text.

mod fixtures;
mod lua;
mod mutations;
mod nginx;
mod prediction;
mod properties;
mod random;
mod refusals;
mod second_opinion;
mod speed;
mod tokens;
