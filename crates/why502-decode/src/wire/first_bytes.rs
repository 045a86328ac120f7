//! What the first bytes of a peer are.

use super::http1::parse_http_answer;
use super::memcached::parse_memcached_answer;
use why502_facts::FirstBytes;

/// Greetings and error messages of protocols that a gateway does not speak, by their first bytes.
const BANNERS: &[(&[u8], &str)] = &[
    (b"SSH-", "SSH"),
    (b"220 ", "SMTP or FTP"),
    (b"220-", "SMTP or FTP"),
    (b"421 ", "SMTP or FTP"),
    (b"554 ", "SMTP"),
    (b"+OK ", "POP3"),
    (b"* OK ", "IMAP"),
    (b"-ERR ", "Redis"),
    (b"-NOAUTH", "Redis"),
    (b"-DENIED", "Redis"),
    (b"-MISCONF", "Redis"),
    (b"-LOADING", "Redis"),
    (b"RFB ", "VNC"),
    (b"AMQP", "AMQP"),
    (b"@RSYNCD:", "rsync"),
];

/// Tells what the first bytes of a peer are.
pub fn first_bytes(bytes: &[u8]) -> FirstBytes {
    if bytes.is_empty() {
        return FirstBytes::Nothing;
    }
    if parse_http_answer(bytes).is_some() {
        return FirstBytes::Http;
    }
    if is_tls_record(bytes) {
        // An alert record: type, version, length 2, level, description (RFC 8446, sections 5.1 and 6).
        let alert = (bytes[0] == 21 && bytes.len() >= 7).then(|| bytes[6]);
        return FirstBytes::Tls { alert };
    }
    if is_http2_settings(bytes) {
        return FirstBytes::Http2;
    }
    if is_fastcgi_record(bytes) {
        return FirstBytes::FastCgi;
    }
    if is_uwsgi_pong(bytes) {
        return FirstBytes::Uwsgi;
    }
    if is_mysql_greeting(bytes) {
        return FirstBytes::Banner("MySQL");
    }
    if parse_memcached_answer(bytes).is_some() {
        return FirstBytes::Banner("memcached");
    }
    match BANNERS.iter().find(|(prefix, _)| bytes.starts_with(prefix)) {
        Some((_, protocol)) => FirstBytes::Banner(protocol),
        None => FirstBytes::Other,
    }
}

/// Alert (21) or handshake (22), version 3.x.
fn is_tls_record(bytes: &[u8]) -> bool {
    matches!(bytes, [21 | 22, 3, 0..=4, ..])
}

/// A server's first frame is SETTINGS (type 4) on stream 0 (RFC 9113, section 3.4); GOAWAY (7) may come instead.
fn is_http2_settings(bytes: &[u8]) -> bool {
    matches!(bytes, [0, _, _, 4 | 7, 0 | 1, 0, 0, 0, 0, ..])
}

/// Version 1 and one of the types that an application sends: END_REQUEST 3, STDOUT 6, STDERR 7 (FastCGI 1.0, section 8).
fn is_fastcgi_record(bytes: &[u8]) -> bool {
    matches!(bytes, [1, 3 | 6 | 7 | 10 | 11, _, _, _, _, _, 0, ..])
}

/// What uwsgi answers to a ping: the same modifier, no content, and 1 (`uwsgi_request_ping`).
fn is_uwsgi_pong(bytes: &[u8]) -> bool {
    bytes.starts_with(&[100, 0, 0, 1])
}

/// A packet of sequence 0 that begins with protocol version 10 and a version text, or with an error (0xff).
fn is_mysql_greeting(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, 0, 0, 10, b'0'..=b'9', ..]) || matches!(bytes, [_, _, 0, 0, 0xff, _, _, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_protocols_are_told_apart() {
        let cases: &[(&[u8], FirstBytes)] = &[
            (b"", FirstBytes::Nothing),
            (b"\x15\x03\x01\x00\x02\x02\x46", FirstBytes::Tls { alert: Some(70) }),
            (b"\x16\x03\x03\x00\x7a\x02", FirstBytes::Tls { alert: None }),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", FirstBytes::Http2),
            (b"\x01\x03\x00\x01\x00\x08\x00\x00\x00\x00", FirstBytes::FastCgi),
            (b"J\x00\x00\x00\x0a8.0.36\x00", FirstBytes::Banner("MySQL")),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", FirstBytes::Banner("SSH")),
            (b"-ERR wrong number of arguments", FirstBytes::Banner("Redis")),
            (b"d\0\0\x01", FirstBytes::Uwsgi),
            (b"ERROR\r\nERROR\r\n", FirstBytes::Banner("memcached")),
            (b"VERSION 1.6.18\r\n", FirstBytes::Banner("memcached")),
            (b"VERSION 1.6.18", FirstBytes::Other),
            (b"hello", FirstBytes::Other),
            (b"HTTP 200", FirstBytes::Other),
        ];
        for (bytes, expected) in cases {
            assert_eq!(&first_bytes(bytes), expected, "{}", why502_facts::lossy(bytes));
        }
        assert_eq!(first_bytes(b"HTTP/1.1 200 OK\r\n\r\n"), FirstBytes::Http);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = first_bytes(&bytes);
        }
    }
}
