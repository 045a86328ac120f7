//! The frames that are sent.

use super::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, MAX_PAYLOAD, NO_PUSH, PREFACE, SETTINGS, STREAM,
};
use crate::wire::grpc::{HEALTH_CHECK, WHOLE_SERVER};
use why502_facts::HttpRequestSpec;

/// Writes a request without a body. Header lines about the connection have no place in HTTP/2 (section 8.2.2), and `Host`
/// becomes `:authority`, as nginx does it.
pub(in crate::wire) fn print_http2_request(request: &HttpRequestSpec, scheme: &str) -> Vec<u8> {
    let mut block = pseudo_fields(&request.method, &request.target, scheme, &request.headers);
    print_fields(&request.headers, &mut block);
    opening(&block, END_STREAM)
}

/// Writes a call of gRPC's health service for the server as a whole, with these header lines.
pub(in crate::wire) fn print_grpc_health(headers: &[(String, String)], scheme: &str) -> Vec<u8> {
    let mut block = pseudo_fields("POST", HEALTH_CHECK, scheme, headers);
    let is_own =
        |name: &str| name.eq_ignore_ascii_case("content-type") || name.eq_ignore_ascii_case("content-length");
    let further: Vec<_> = headers.iter().filter(|(name, _)| !is_own(name)).cloned().collect();
    print_field("content-type", "application/grpc", &mut block);
    print_fields(&further, &mut block);
    let mut bytes = opening(&block, 0);
    print_frame(DATA, END_STREAM, STREAM, &WHOLE_SERVER, &mut bytes);
    bytes
}

fn pseudo_fields(method: &str, path: &str, scheme: &str, headers: &[(String, String)]) -> Vec<u8> {
    let mut block = Vec::new();
    print_field(":method", method, &mut block);
    print_field(":path", path, &mut block);
    print_field(":scheme", scheme, &mut block);
    let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    if let Some((_, host)) = host {
        print_field(":authority", host, &mut block);
    }
    block
}

fn print_fields(headers: &[(String, String)], block: &mut Vec<u8>) {
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if !matches!(name.as_str(), "host" | "connection" | "te" | "upgrade" | "keep-alive") {
            print_field(&name, value, block);
        }
    }
    print_field("te", "trailers", block);
}

/// What a client begins with, and the header block of its only stream.
fn opening(block: &[u8], mut flags: u8) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    print_frame(SETTINGS, 0, 0, &NO_PUSH, &mut bytes);
    let mut parts = block.chunks(MAX_PAYLOAD).peekable();
    let mut kind = HEADERS;
    while let Some(part) = parts.next() {
        let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
        print_frame(kind, flags | end, STREAM, part, &mut bytes);
        (kind, flags) = (CONTINUATION, 0);
    }
    bytes
}

/// A literal field that no table keeps, its texts as they are (RFC 7541, section 6.2.2).
pub(super) fn print_field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>, block: &mut Vec<u8>) {
    block.push(0);
    for text in [name.as_ref(), value.as_ref()] {
        print_length(text.len(), block);
        block.extend_from_slice(text);
    }
}

/// A number with seven bits in its first byte (RFC 7541, section 5.1).
fn print_length(length: usize, block: &mut Vec<u8>) {
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(u8::try_from(length).unwrap_or(0));
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push(0x80 | u8::try_from(rest % 128).unwrap_or(0));
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap_or(0));
}

pub(super) fn print_frame(kind: u8, flags: u8, stream: u32, payload: &[u8], bytes: &mut Vec<u8>) {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    bytes.extend(length);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}
