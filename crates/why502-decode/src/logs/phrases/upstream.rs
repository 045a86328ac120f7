//! Choosing, reaching and understanding an upstream: `ngx_http_upstream.c`, `ngx_event_connect.c`, the protocol modules.

use super::matcher::Rule;
use why502_facts::Phrase;

pub(super) const RULES: &[Rule] = &[
    Rule::new("upstream timed out", Phrase::UpstreamTimedOut),
    Rule::new("connect() failed", Phrase::ConnectFailed),
    Rule::new("upstream prematurely closed connection", Phrase::PrematureClose),
    Rule::new("no live upstreams", Phrase::NoLiveUpstreams),
    Rule::new("upstream server temporarily disabled", Phrase::ServerTemporarilyDisabled),
    Rule::new("connect() to {*} failed", Phrase::ConnectToFailed),
    Rule::new("recv() failed", Phrase::ReceiveFailed),
    Rule::new("readv() failed", Phrase::ReceiveFailed),
    Rule::new("send() failed", Phrase::SendFailed),
    Rule::new("writev() failed", Phrase::SendFailed),
    Rule::new("upstream sent too big header", Phrase::TooBigHeader),
    // The forms of kqueue; what `…about an closed connection` was about, reading or writing, only the phase tells.
    Rule::new("kevent() reported that connect() failed", Phrase::ConnectFailed),
    Rule::new("kevent() reported that upstream closed connection", Phrase::ReceiveFailed),
    Rule::new("kevent() reported about an closed connection", Phrase::ReceiveFailed),
    // The peer.
    Rule::new("no port in upstream \"{*}\"", Phrase::NoPortInUpstream),
    Rule::new("no resolver defined to resolve {*}", Phrase::NoResolver),
    Rule::new("invalid URL prefix in \"{*}\"", Phrase::InvalidUrlPrefix),
    // The library's words for a bad URL (`ngx_parse_url`) come first: the sentence itself begins with a hole.
    Rule::whole("{} in upstream \"{}\"", Phrase::InvalidUpstreamValue),
    Rule::whole("invalid local address \"{}\"", Phrase::VariableTrouble),
    Rule::new("balancer does not support sticky", Phrase::Noise),
    // Sockets.
    Rule::new("socket() failed", Phrase::SocketFailed),
    Rule::new("socket() {} failed", Phrase::SocketFailed),
    Rule::new("bind({*}) failed", Phrase::BindFailed),
    Rule::new("bind() to {*} failed", Phrase::BindFailed),
    Rule::new("setsockopt({}) failed, ignored", Phrase::Noise),
    Rule::new("setsockopt({}) {} failed, ignored", Phrase::Noise),
    Rule::new("setsockopt({*}) failed", Phrase::SocketOptionFailed),
    Rule::new("ioctl({*}) failed", Phrase::SocketOptionFailed),
    Rule::whole("getsockname() failed", Phrase::SocketOptionFailed),
    Rule::whole("could not enable transparent proxying for {} on this platform", Phrase::SocketOptionFailed),
    Rule::new("close() socket failed", Phrase::Noise),
    Rule::new("close() socket {} failed", Phrase::Noise),
    // The request.
    Rule::new("sendfile() failed", Phrase::SendFailed),
    Rule::new("send() returned zero", Phrase::SendFailed),
    Rule::new("send() incomplete", Phrase::SendFailed),
    Rule::new("sendto() failed", Phrase::SendFailed),
    Rule::new("sendto() incomplete", Phrase::SendFailed),
    Rule::new("sendmsg() failed", Phrase::SendFailed),
    Rule::whole("zero length URI to proxy", Phrase::RequestNotBuilt),
    Rule::whole("{} protocol requires SSL support", Phrase::RequestNotBuilt),
    // The response header.
    Rule::new("upstream prematurely sent response", Phrase::PrematurelySentResponse),
    Rule::new("upstream sent no valid HTTP/1.0 header", Phrase::NoValidHttpHeader),
    Rule::whole("upstream sent invalid header{}", Phrase::InvalidHeader),
    // A warning: the first line counts, the request goes on.
    Rule::new("upstream sent duplicate header line: {}, ignored", Phrase::Noise),
    Rule::whole("upstream sent duplicate header line: {}", Phrase::InvalidHeader),
    Rule::whole(
        "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        Phrase::InvalidHeader,
    ),
    Rule::whole("upstream sent invalid \"Content-Length\" header{}", Phrase::InvalidHeader),
    Rule::whole("upstream sent unknown \"Transfer-Encoding\"{}", Phrase::InvalidHeader),
    Rule::whole("upstream sent HTTP/1.0 response with early hints", Phrase::InvalidHeader),
    Rule::new("upstream sent too big early hints", Phrase::Noise),
    Rule::new("upstream sent invalid status \"{*}\"", Phrase::InvalidStatus),
    // The response body.
    Rule::new("upstream sent invalid chunked response", Phrase::InvalidChunkedResponse),
    Rule::new(
        "upstream sent more data than specified in \"Content-Length\" header",
        Phrase::MoreDataThanAnnounced,
    ),
    Rule::new("upstream sent data after final chunk", Phrase::MoreDataThanAnnounced),
    Rule::new("upstream sent data after trailers", Phrase::MoreDataThanAnnounced),
    Rule::whole("upstream sent too big trailers", Phrase::InvalidTrailer),
    Rule::whole("upstream sent invalid trailer{}", Phrase::InvalidTrailer),
    Rule::whole("connection upgrade in subrequest", Phrase::SubrequestTrouble),
    // TCP and UDP (`stream`).
    Rule::new("connection timed out", Phrase::IdleTimeout),
    Rule::new("could not send PROXY protocol header at once", Phrase::SendFailed),
    Rule::whole("buffered data on next upstream", Phrase::GatewayFault),
    Rule::new("{}proxy {} connected to {}", Phrase::Noise),
    Rule::new("udp timed out, {}", Phrase::Noise),
    Rule::new("udp done, {}", Phrase::Noise),
    Rule::new("disconnected on shutdown", Phrase::Noise),
    Rule::new("shutdown timeout", Phrase::Noise),
    Rule::new("{} disconnected, bytes from/to client:{}", Phrase::Noise),
];
