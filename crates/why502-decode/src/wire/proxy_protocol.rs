//! The PROXY protocol: what a sender puts before everything else on a connection (HAProxy's `proxy-protocol.txt`).

use why502_facts::ProxyHeader;

/// A line without addresses (section 2.1).
const TEXT: &[u8] = b"PROXY UNKNOWN\r\n";
/// The signature, version 2 with the command `LOCAL`, no family, and no bytes behind it (section 2.2).
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// No protocol of that name exists, and none may be added (section 2.1): the receiver must refuse it.
const MALFORMED: &[u8] = b"PROXY NOTHING\r\n";

/// The bytes of a header.
pub(super) fn print_proxy_header(header: ProxyHeader) -> &'static [u8] {
    match header {
        ProxyHeader::Text => TEXT,
        ProxyHeader::Binary => BINARY,
        ProxyHeader::Malformed => MALFORMED,
    }
}
