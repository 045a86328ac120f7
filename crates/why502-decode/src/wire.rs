//! What goes over a connection to a peer: the machines that speak, and the decoders of what came back.
//!
//! Nothing here owns a socket. A [`Machine`] says what it wants next; the one driver of `why502-collect` does it.

mod dns;
mod first_bytes;
mod http1;
mod machine;

pub use dns::{AddressKind, DnsReply, dns_question, read_dns_reply};
pub use first_bytes::first_bytes;
pub use http1::{parse_http_answer, print_request};
pub use machine::{Machine, Want};
