//! Any bytes as the answer of a peer to each kind of probe: fed whole and byte by byte they are the same answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use why502_decode::wire::{Machine, ProbeAnswer, Want, asks_certificate, first_bytes, parse_answer};
use why502_facts::{
    Blob, CgiRequestSpec, FirstBytes, HttpRequestSpec, ProbeSpec, ProxyHeader, websocket_request,
};

fuzz_target!(|bytes: &[u8]| {
    let _ = asks_certificate(bytes);
    // Every byte is looked at again with each that follows it.
    let bytes = &bytes[..bytes.len().min(4096)];
    for spec in specs() {
        let mut whole = Machine::new(&spec);
        whole.feed(bytes);
        let mut single = Machine::new(&spec);
        while !matches!(single.want(), Want::Read) {}
        for byte in bytes {
            if single.want() == Want::Done {
                break;
            }
            single.feed(&[*byte]);
        }
        let (whole, single) = (whole.into_received(), single.into_received());
        // Header blocks of HTTP/2 are kept uncompressed.
        let is_http2 = matches!(spec, ProbeSpec::GrpcHealth { .. } | ProbeSpec::Http2 { .. });
        assert!(is_http2 || whole.len() <= bytes.len());
        assert_eq!(answered(&spec, &whole), answered(&spec, &single), "{spec:?}");
    }
});

/// What is read of an answer; the begin of the body may be longer where more was fed at once.
fn answered(spec: &ProbeSpec, bytes: &[u8]) -> (FirstBytes, ProbeAnswer) {
    let mut answer = parse_answer(spec, bytes);
    if let Some(header) = &mut answer.header {
        header.body = Blob::default();
    }
    (first_bytes(bytes), answer)
}

/// A probe of each kind that reads.
fn specs() -> [ProbeSpec; 13] {
    let request = CgiRequestSpec::default();
    let http = HttpRequestSpec {
        method: "HEAD".to_owned(),
        target: "/".to_owned(),
        version: "1.0".to_owned(),
        headers: Vec::new(),
        idle: None,
        again: false,
        segment: None,
    };
    [
        ProbeSpec::GrpcHealth { tls: None, headers: Vec::new() },
        ProbeSpec::Http2 { tls: None, request: http.clone() },
        ProbeSpec::Http { tls: None, request: http.clone() },
        ProbeSpec::WebSocket { tls: None, request: websocket_request("/", Vec::new()) },
        ProbeSpec::ProxyProtocol { header: ProxyHeader::Text, tls: None, request: http.clone() },
        ProbeSpec::WhoSpeaks(http),
        ProbeSpec::FastCgi(request.clone()),
        ProbeSpec::FastCgiValues,
        ProbeSpec::MemcachedGet("/a".to_owned()),
        ProbeSpec::MemcachedVersion,
        ProbeSpec::Scgi(request.clone()),
        ProbeSpec::Uwsgi { tls: None, modifiers: [0, 0], request },
        ProbeSpec::UwsgiPing,
    ]
}
