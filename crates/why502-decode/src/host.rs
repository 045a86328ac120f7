//! `/proc` text and its like, decoded.
//!
//! Every parser takes the bytes as the kernel wrote them and gives what could be read of them: a line that does not fit
//! is passed over, because kernels add columns and a race with a dying process cuts lines short.

mod audit;
mod control_group;
mod engine;
mod file_system;
mod filter;
mod kernel_log;
mod marks;
mod names;
mod netlink;
mod network_limits;
mod package_log;
mod pm2;
mod process;
mod server_log;
mod server_words;
mod service;
mod sockets;
mod supervisor_words;
mod unit;
mod waiting;

pub use audit::{
    audit_serial, audit_stamp, decode_audit, decode_confinement, decode_decision, is_denial, parse_denials,
};
pub use control_group::{CONTROL_GROUP_FILES, control_group_directories, decode_control_groups};
pub use engine::{decode_container, decode_engine};
pub use file_system::decode_file_system;
pub use filter::decode_packet_filter;
pub use kernel_log::{decode_kernel_log, is_kernel_line, is_kernel_word};
pub use marks::{holds_mark, lines_with_marks};
pub use names::{ResolverSettings, find_host, host_sources, parse_resolv_conf};
pub use netlink::{Table, Told, decode_path, dump_request, lookup, messages, route_request, told};
pub use network_limits::decode_network_limits;
pub use package_log::{decode_package_log, is_package_line, package_stamp_end};
pub use pm2::pm2_home;
pub use process::{decode_process, decode_processes};
pub use server_log::{decode_server_logs, keep_server_words};
pub use service::{decode_service, decode_services, supervisord_includes, supervisord_programs};
pub use sockets::{TcpLine, UnixLine, decode_other_sockets, decode_sockets, tcp_line, unix_line};
pub use unit::{decode_journal, decode_unit};
pub use waiting::decode_waiting;
