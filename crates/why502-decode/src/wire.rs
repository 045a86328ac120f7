//! What goes over a connection to a peer: the machines that speak, and the decoders of what came back.
//!
//! Nothing here owns a socket. A [`Machine`] says what it wants next; the one driver of `why502-collect` does it.

mod answer;
mod cgi;
mod dns;
mod fastcgi;
mod first_bytes;
mod grpc;
mod header_line;
mod http1;
mod http2;
mod machine;
mod memcached;
mod proxy_protocol;
mod scgi;
mod tls;
mod uwsgi;

pub use answer::{ProbeAnswer, parse_answer};
pub use cgi::parse_scgi_answer;
pub use dns::{AddressKind, DnsReply, dns_question, read_dns_reply};
pub use fastcgi::{FastCgiAnswer, parse_fastcgi_answer, print_fastcgi_request};
pub use first_bytes::first_bytes;
pub use http1::{parse_http_answer, print_request};
pub use machine::{GREETING, Machine, Want};
pub use memcached::{parse_memcached_answer, print_memcached_get};
pub use scgi::print_scgi_request;
pub use tls::asks_certificate;
pub use uwsgi::print_uwsgi_request;
