//! Digests of logs: lines in, records and counts out.
//!
//! Lines are pushed, borrowed, with the file and the offset where they stand. Most of them are looked at and forgotten;
//! what is kept is bounded, whatever the lines hold. Two digesters whose lines follow each other can be merged, and the
//! result is that of one digester that saw all lines: the seam for threads, for `watch` and for fleets.

mod accesses;
mod again;
mod buckets;
mod errors;
mod intern;
mod kind;
mod line_place;
mod pending;
mod ranks;
mod records;
mod routes;
mod smallest;
mod store;
mod window;
mod worth;

pub use accesses::{AccessDigester, AccessSource};
pub use errors::ErrorDigester;
pub use records::RecordRoom;
pub use window::{DEFAULT_MAX_RECORDS, DigestOptions, Extent};
