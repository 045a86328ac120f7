//! Log lines decoded, digested and joined.
//!
//! Three layers, each usable alone. A line is taken apart: an error log's by its grammar ([`parse_error_line`]) and by
//! what its message says ([`classify`]), an access log's by its format ([`AccessFormat`], [`guess_format`]). Lines are
//! digested while they are read ([`ErrorDigester`], [`AccessDigester`]): pushed, borrowed, and mostly forgotten. Digests of
//! both logs of a gateway are joined into its failed requests ([`join()`]), after its clock was found ([`clock()`]) and this
//! program's own traffic taken out ([`remove_own_requests`]).
//!
//! All of a line may be written by strangers. Nothing here trusts it: what is kept is bounded in number and in size, a
//! line that can be read in two ways is not read, and a field that was cut off is not there.

mod clock;
mod content;
mod digest;
pub(crate) mod envelope;
mod error_line;
mod format;
mod guess;
mod join;
mod own;
mod phrases;
mod request_line;
pub(crate) mod stamps;
mod status;

pub use clock::{clock, newest_access_stamp, newest_error_stamp};
pub use content::{LogContent, LogSide};
pub use digest::{
    AccessDigester, AccessSource, DEFAULT_MAX_RECORDS, DigestOptions, ErrorDigester, Extent, RecordRoom,
};
pub use envelope::{Envelope, Peeled, UnwrapSummary, Unwrapper};
pub use error_line::{ErrorLine, LineContext, UpstreamText, parse_error_line};
pub use format::{AccessFormat, AccessLine, FormatError};
pub use guess::guess_format;
pub use join::join;
pub use own::remove_own_requests;
pub use phrases::{classify, classify_start_up};
pub use stamps::stamp_of_error_line;
pub use status::implied_status;
