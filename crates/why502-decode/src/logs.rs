//! Log lines decoded: what a line says ([`classify`], [`parse_error_line`], [`AccessFormat`]).
mod digest;
mod error_line;
mod format;
mod guess;
mod phrases;
mod request_line;
mod stamps;
pub use digest::{AccessDigester, AccessSource, DEFAULT_MAX_RECORDS, DigestOptions, ErrorDigester};
pub use error_line::{ErrorLine, LineContext, UpstreamText, parse_error_line};
pub use format::{AccessFormat, AccessLine, FormatError};
pub use guess::guess_format;
pub use phrases::{classify, classify_start_up};
pub use stamps::stamp_of_error_line;
