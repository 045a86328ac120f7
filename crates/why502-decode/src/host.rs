//! `/proc` text and its like, decoded.
//!
//! Every parser takes the bytes as the kernel wrote them and gives what could be read of them: a line that does not fit
//! is passed over, because kernels add columns and a race with a dying process cuts lines short.

mod engine;
mod names;
mod process;
mod server_log;
mod server_words;
mod sockets;

pub use engine::{decode_container, decode_engine};
pub use names::{ResolverSettings, find_host, host_sources, parse_resolv_conf};
pub use process::{decode_process, decode_processes};
pub use server_log::{decode_server_logs, keep_server_words};
pub use sockets::{TcpLine, UnixLine, decode_other_sockets, decode_sockets, tcp_line, unix_line};
