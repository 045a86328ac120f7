//! Foreign bytes decoded into facts: log lines ([`logs`]), what peers send ([`wire`]), what the kernel tells ([`host`]).
//!
//! Everything here is sans-IO: bytes in, values out, no socket, no file, no clock. [`load()`] decodes a whole bundle, so
//! that a parser mended today reads yesterday's bundles.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod host;
mod load;
pub mod logs;
pub mod wire;

pub use load::{Loader, load};
