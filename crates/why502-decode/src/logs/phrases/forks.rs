//! What Angie, freenginx, OpenResty, Tengine, NGINX Plus and modules of others say in their own words.

use super::matcher::Rule;
use why502_facts::Phrase;

pub(super) const RULES: &[Rule] = &[
    // Angie and freenginx limit the rate of every log (`ngx_log_is_limited`).
    Rule::new("too many log messages, limiting", Phrase::LogLinesDropped),
    Rule::new("Angie was built without debug support", Phrase::Noise),
    // OpenResty: `ngx_http_lua_module`, `ngx_http_lua_balancer.c`.
    Rule::whole("failed to run {}_by_lua*: {}", Phrase::ScriptFailed),
    Rule::whole("failed to load {}lua{}", Phrase::ScriptFailed),
    Rule::whole("lua balancer: {}", Phrase::ScriptFailed),
    Rule::whole("lua entry thread aborted: {}", Phrase::ScriptFailed),
    Rule::whole("lua user thread aborted: {}", Phrase::ScriptFailed),
    Rule::whole("lua handler aborted: {}", Phrase::ScriptFailed),
    Rule::whole("lua coroutine: {}", Phrase::ScriptFailed),
    Rule::whole("lua failed to {}", Phrase::ScriptFailed),
    Rule::whole("lua subrequests cycle while processing {}", Phrase::SubrequestTrouble),
    Rule::new("[lua] {*}", Phrase::ScriptMessage),
    Rule::new("lua {*}", Phrase::ScriptMessage),
    Rule::new("{*}stream [lua] {}", Phrase::ScriptMessage),
    Rule::whole("attempt to send data on a closed socket{}", Phrase::ScriptMessage),
    Rule::whole("attempt to receive data on a closed socket{}", Phrase::ScriptMessage),
    // njs.
    Rule::whole("js exception: {}", Phrase::ScriptFailed),
    Rule::new("js: {*}", Phrase::ScriptMessage),
    // Tengine's and others' `ngx_http_upstream_check_module.c`.
    Rule::whole("disable check peer: {}", Phrase::HealthCheck),
    Rule::whole("enable check peer: {}", Phrase::HealthCheck),
    Rule::whole("check {} with peer: {}", Phrase::HealthCheck),
    Rule::whole("check peer closed connection {}", Phrase::HealthCheck),
    Rule::whole("http parse {} error with peer: {}", Phrase::HealthCheck),
    Rule::whole("fastcgi http parse {} error with peer: {}", Phrase::HealthCheck),
    Rule::whole("check fastcgi {}", Phrase::HealthCheck),
    // NGINX Plus and Angie PRO (documentation of `health_check`).
    Rule::whole("peer is unhealthy{}", Phrase::HealthCheck),
    Rule::whole("peer is healthy{}", Phrase::HealthCheck),
    // Angie, HTTP/3 towards upstreams.
    Rule::new("http3 connection timed out{}", Phrase::UpstreamTimedOut),
    Rule::new("http3 connection closed{}", Phrase::PrematureClose),
    // ModSecurity and NAXSI refuse in the gateway's name.
    Rule::whole("[client {}] ModSecurity: Access denied {}", Phrase::RefusedLocally),
    Rule::whole("NAXSI_{}", Phrase::RefusedLocally),
];
