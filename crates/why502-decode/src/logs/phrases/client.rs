//! The client's side: `ngx_http_request.c`, `ngx_http_request_body.c`, `ngx_proxy_protocol.c`, limits and access rules.

use super::matcher::Rule;
use why502_facts::Phrase;

pub(super) const RULES: &[Rule] = &[
    // The client went away.
    Rule::new("epoll_wait() reported that client prematurely closed connection{}", Phrase::ClientClosed),
    Rule::new("kevent() reported that client prematurely closed connection{}", Phrase::ClientClosed),
    Rule::new("client prematurely closed connection{}", Phrase::ClientClosed),
    // Before 1.1.
    Rule::new("client closed prematurely connection{}", Phrase::ClientClosed),
    Rule::new("client closed connection", Phrase::Noise),
    Rule::new("kevent() reported that client {} closed keepalive connection", Phrase::Noise),
    Rule::new("client {} closed keepalive connection", Phrase::Noise),
    Rule::new("client closed keepalive connection", Phrase::Noise),
    Rule::new("client timed out", Phrase::ClientTimedOut),
    Rule::new("client intended to send too large {}", Phrase::ClientBodyTooLarge),
    Rule::new("client {} connected to {}", Phrase::Noise),
    Rule::new("udp client {} connected to {}", Phrase::Noise),
    // The client's request is refused.
    Rule::new("client sent {*}", Phrase::ClientRequestInvalid),
    Rule::whole("client SSL certificate verify error: {}", Phrase::ClientRequestInvalid),
    Rule::whole("client attempted to request the server name {}", Phrase::ClientRequestInvalid),
    Rule::whole("client violated {}", Phrase::ClientRequestInvalid),
    Rule::whole("client exceeded {}", Phrase::ClientRequestInvalid),
    Rule::whole("http2 flood detected", Phrase::ClientRequestInvalid),
    Rule::whole("http3 flood detected", Phrase::ClientRequestInvalid),
    Rule::whole("preread buffer full", Phrase::ClientRequestInvalid),
    Rule::whole("access forbidden by rule", Phrase::RefusedLocally),
    Rule::whole("directory index of \"{}\" is forbidden", Phrase::RefusedLocally),
    Rule::whole("no handler found", Phrase::RefusedLocally),
    Rule::whole("user \"{}\"{}", Phrase::RefusedLocally),
    Rule::whole("no user/password was provided for basic authentication", Phrase::RefusedLocally),
    Rule::whole("\"{}\" is forbidden", Phrase::RefusedLocally),
    Rule::new("delaying unauthorized request", Phrase::Noise),
    // PROXY protocol.
    Rule::new("broken header: \"{*}\"", Phrase::BrokenProxyProtocol),
    Rule::new("broken header: \"{*}", Phrase::BrokenProxyProtocol),
    Rule::whole("unknown PROXY protocol {}", Phrase::BrokenProxyProtocol),
    Rule::whole("invalid PROXY protocol TLV \"{}\"", Phrase::BrokenProxyProtocol),
    Rule::whole("broken PROXY protocol TLV", Phrase::BrokenProxyProtocol),
    Rule::whole("header is too large", Phrase::BrokenProxyProtocol),
    Rule::whole("too small buffer for PROXY protocol{}", Phrase::GatewayFault),
    Rule::whole("ASN1_STRING_to_UTF8() failed{}", Phrase::GatewayFault),
    // Limits. A dry run says so in the middle of the same sentence.
    Rule::new("limiting requests, dry run, excess: {} by zone \"{*}\"", Phrase::LimitDryRun),
    Rule::new("limiting requests, excess: {} by zone \"{*}\"", Phrase::LimitingRequests),
    Rule::new("delaying request, dry run, excess: {} by zone \"{*}\"", Phrase::LimitDryRun),
    Rule::new("delaying request, excess: {} by zone \"{*}\"", Phrase::LimitingRequestsDelayed),
    Rule::new("limiting connections, dry run, by zone \"{*}\"", Phrase::LimitDryRun),
    Rule::new("limiting connections by zone \"{*}\"", Phrase::LimitingConnections),
    // The limit is skipped for this request.
    Rule::new("the value of the \"{}\" key is more than {} bytes: {}", Phrase::Noise),
    Rule::new("the value of the \"{}\" variable is more than {} bytes: {}", Phrase::Noise),
];
