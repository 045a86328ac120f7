//! HTTP/2 towards upstreams: `ngx_http_grpc_module.c`, `ngx_http_proxy_v2_module.c`.

use super::matcher::Rule;
use why502_facts::Phrase;

pub(super) const RULES: &[Rule] = &[
    Rule::new("upstream sent too large http2 frame: {*}", Phrase::Http2TooLargeFrame),
    Rule::new("upstream rejected request with error {*}", Phrase::Http2Rejected),
    Rule::new("upstream sent goaway with error {*}", Phrase::Http2Goaway),
    Rule::new("upstream prematurely closed stream", Phrase::Http2StreamClosedEarly),
    Rule::whole("upstream sent response body larger than indicated content length", Phrase::Http2Violation),
    Rule::whole("upstream sent unexpected http2 frame: {}", Phrase::Http2Violation),
    Rule::whole("upstream sent unexpected push promise frame", Phrase::Http2Violation),
    Rule::whole("upstream sent frame for {} stream {}", Phrase::Http2Violation),
    Rule::whole("upstream sent data frame for unknown stream {}", Phrase::Http2Violation),
    Rule::whole("upstream violated {} flow control, {}", Phrase::Http2Violation),
    Rule::whole("upstream sent no :status header", Phrase::Http2Violation),
    Rule::whole("upstream sent duplicate :status header", Phrase::Http2Violation),
    Rule::whole("upstream sent invalid :status \"{}\"", Phrase::Http2Violation),
    Rule::whole("upstream sent unexpected :status \"{}\"", Phrase::Http2Violation),
    Rule::whole("upstream sent trailer without end stream flag", Phrase::Http2Violation),
    Rule::whole("upstream sent too short http2 frame", Phrase::Http2Violation),
    Rule::whole("upstream sent http2 frame with too long padding: {}", Phrase::Http2Violation),
    Rule::whole("upstream sent {} frame with {}", Phrase::Http2Violation),
    Rule::whole("upstream sent too many {} frames", Phrase::Http2Violation),
    Rule::whole("upstream sent truncated http2 header", Phrase::Http2Violation),
    Rule::whole("upstream sent invalid http2 {}", Phrase::Http2Violation),
    Rule::whole("upstream sent http2 table index with continuation flag", Phrase::Http2Violation),
    Rule::whole("upstream sent zero http2 header name length", Phrase::Http2Violation),
    Rule::whole("upstream sent too large http2 header{}", Phrase::Http2Violation),
    Rule::whole("upstream sent invalid encoded header", Phrase::Http2Violation),
    Rule::whole("upstream sent zero window update", Phrase::Http2Violation),
    Rule::whole("upstream sent too large window update", Phrase::Http2Violation),
    // The gateway's own side.
    Rule::whole("too long http2 {}", Phrase::RequestNotBuilt),
    Rule::whole("no buffer space in {} create request", Phrase::RequestNotBuilt),
    Rule::whole("no connection data found for keepalive http2 connection", Phrase::GatewayFault),
];
