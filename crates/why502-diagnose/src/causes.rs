//! The catalogue: one file per cause, and this list. Its order is that of the ids.
#![expect(clippy::unnecessary_wraps, reason = "all rules have one signature, whether or not they ask")]

mod access;
mod address_family_mismatch;
mod all_servers_down;
mod app_server;
mod apparmor_denied;
mod backlogs;
mod cached_error;
mod client_gave_up;
mod config_invalid;
mod config_not_reloaded;
mod configured_error;
mod connect_timeout_too_short;
mod connection_limited;
mod conntrack_full;
mod container_network_mismatch;
mod core_dump;
mod dns_name_not_found;
mod dns_server_unreachable;
mod dns_stale_address;
mod ended_containers;
mod ephemeral_ports_exhausted;
mod fastcgi_script_not_found;
mod files;
mod filter_remedies;
mod filtered;
mod firewall_dropped;
mod firewall_rejected;
mod forbidden;
mod gateway_disk_full;
mod gateway_fd_limit;
mod gateway_not_running;
mod gateway_temp_path_unwritable;
mod gateway_worker_connections;
mod gateway_worker_crashed;
pub(crate) mod handshakes;
mod header_limits;
mod host_header_rejected;
mod host_unreachable;
pub(crate) mod http2_ends;
mod http2_goaway;
mod http_version_mismatch;
mod idle_timeouts;
mod keepalive_race;
mod late_answers;
mod limits;
mod listen_backlog_full;
mod localhost_inside_container;
mod masters;
mod mtu_black_hole;
mod names;
mod nat_idle_expiry;
mod network_unreachable;
mod no_live_upstreams;
mod outages;
mod own_answers;
mod passive_ejection;
mod plaintext_to_tls_upstream;
mod pressure;
mod protocol_mismatch;
mod proxy_loop;
mod proxy_pass_variable_invalid;
mod proxy_protocol_mismatch;
mod rate_limit_shared_key;
mod rate_limited;
mod read_timeout_too_short;
mod refusals;
mod refused;
mod request_header_too_big_for_upstream;
mod resolver_dead_member;
mod resolver_ignores_system_names;
mod resolver_missing;
mod resolver_wrong_server;
mod resolvers;
mod response_body_truncated;
mod response_framing_invalid;
mod response_header_invalid;
mod response_header_too_big;
mod response_not_http;
mod retries;
mod retry_suppressed;
mod selinux_denied;
mod servers;
mod services;
mod some_peers_failing;
mod systemd_sandbox_denied;
mod ties;
mod timer;
mod tls_certificate_expired;
mod tls_certificate_untrusted;
mod tls_chain_too_deep;
mod tls_client_certificate_required;
mod tls_name_mismatch;
mod tls_sni_missing;
mod tls_to_plaintext_upstream;
mod tls_version_mismatch;
mod unanswered;
mod unix;
mod unix_socket_missing;
mod unix_socket_other_namespace;
mod unix_socket_permission;
mod unix_socket_stale;
mod unix_socket_unlinked;
mod unix_socket_wrong_path;
mod upgrade_header_hardcoded;
mod upgraded_connection_idle_timeout;
mod upstream_closed_before_response;
mod upstream_connect_timeout;
mod upstream_crash_looping;
mod upstream_crashed;
mod upstream_hung;
mod upstream_not_listening;
mod upstream_oom_killed;
mod upstream_pool_exhausted;
mod upstream_rejects_request_body;
mod upstream_reset_before_response;
mod upstream_send_timeout;
mod upstream_sent_error;
mod upstream_service_stopped;
mod upstream_slow;
mod upstream_still_starting;
mod upstream_tcp_unix_mismatch;
mod upstream_undefined;
mod upstream_worker_crashed;
mod upstream_worker_recycled;
mod upstream_worker_timeout;
mod upstream_wrong_interface;
mod upstream_wrong_port;
mod uwsgi_sockets;
mod ways;
mod websocket_upgrade_missing;
mod worker_limits;
mod workers;

use crate::cause::Cause;

/// Every cause that is recognised, by id.
pub static CAUSES: &[&Cause] = &[
    &address_family_mismatch::CAUSE,
    &all_servers_down::CAUSE,
    &apparmor_denied::CAUSE,
    &cached_error::CAUSE,
    &client_gave_up::CAUSE,
    &config_invalid::CAUSE,
    &config_not_reloaded::CAUSE,
    &configured_error::CAUSE,
    &connect_timeout_too_short::CAUSE,
    &connection_limited::CAUSE,
    &conntrack_full::CAUSE,
    &container_network_mismatch::CAUSE,
    &dns_name_not_found::CAUSE,
    &dns_server_unreachable::CAUSE,
    &dns_stale_address::CAUSE,
    &ephemeral_ports_exhausted::CAUSE,
    &fastcgi_script_not_found::CAUSE,
    &firewall_dropped::CAUSE,
    &firewall_rejected::CAUSE,
    &gateway_disk_full::CAUSE,
    &gateway_fd_limit::CAUSE,
    &gateway_not_running::CAUSE,
    &gateway_temp_path_unwritable::CAUSE,
    &gateway_worker_connections::CAUSE,
    &gateway_worker_crashed::CAUSE,
    &host_header_rejected::CAUSE,
    &host_unreachable::CAUSE,
    &http_version_mismatch::CAUSE,
    &http2_goaway::CAUSE,
    &keepalive_race::CAUSE,
    &listen_backlog_full::CAUSE,
    &localhost_inside_container::CAUSE,
    &mtu_black_hole::CAUSE,
    &nat_idle_expiry::CAUSE,
    &network_unreachable::CAUSE,
    &no_live_upstreams::CAUSE,
    &passive_ejection::CAUSE,
    &plaintext_to_tls_upstream::CAUSE,
    &protocol_mismatch::CAUSE,
    &proxy_loop::CAUSE,
    &proxy_pass_variable_invalid::CAUSE,
    &proxy_protocol_mismatch::CAUSE,
    &rate_limit_shared_key::CAUSE,
    &rate_limited::CAUSE,
    &read_timeout_too_short::CAUSE,
    &request_header_too_big_for_upstream::CAUSE,
    &resolver_dead_member::CAUSE,
    &resolver_ignores_system_names::CAUSE,
    &resolver_missing::CAUSE,
    &resolver_wrong_server::CAUSE,
    &response_body_truncated::CAUSE,
    &response_framing_invalid::CAUSE,
    &response_header_invalid::CAUSE,
    &response_header_too_big::CAUSE,
    &response_not_http::CAUSE,
    &retry_suppressed::CAUSE,
    &selinux_denied::CAUSE,
    &some_peers_failing::CAUSE,
    &systemd_sandbox_denied::CAUSE,
    &tls_certificate_expired::CAUSE,
    &tls_certificate_untrusted::CAUSE,
    &tls_chain_too_deep::CAUSE,
    &tls_client_certificate_required::CAUSE,
    &tls_name_mismatch::CAUSE,
    &tls_sni_missing::CAUSE,
    &tls_to_plaintext_upstream::CAUSE,
    &tls_version_mismatch::CAUSE,
    &unix_socket_missing::CAUSE,
    &unix_socket_other_namespace::CAUSE,
    &unix_socket_permission::CAUSE,
    &unix_socket_stale::CAUSE,
    &unix_socket_unlinked::CAUSE,
    &unix_socket_wrong_path::CAUSE,
    &upgrade_header_hardcoded::CAUSE,
    &upgraded_connection_idle_timeout::CAUSE,
    &upstream_closed_before_response::CAUSE,
    &upstream_connect_timeout::CAUSE,
    &upstream_crash_looping::CAUSE,
    &upstream_crashed::CAUSE,
    &upstream_hung::CAUSE,
    &upstream_not_listening::CAUSE,
    &upstream_oom_killed::CAUSE,
    &upstream_pool_exhausted::CAUSE,
    &upstream_rejects_request_body::CAUSE,
    &upstream_reset_before_response::CAUSE,
    &upstream_send_timeout::CAUSE,
    &upstream_sent_error::CAUSE,
    &upstream_service_stopped::CAUSE,
    &upstream_slow::CAUSE,
    &upstream_still_starting::CAUSE,
    &upstream_tcp_unix_mismatch::CAUSE,
    &upstream_undefined::CAUSE,
    &upstream_worker_crashed::CAUSE,
    &upstream_worker_recycled::CAUSE,
    &upstream_worker_timeout::CAUSE,
    &upstream_wrong_interface::CAUSE,
    &upstream_wrong_port::CAUSE,
    &websocket_upgrade_missing::CAUSE,
];

/// The cause of that id.
pub fn find_cause(id: &str) -> Option<&'static Cause> {
    CAUSES.iter().copied().find(|cause| cause.id == id)
}
