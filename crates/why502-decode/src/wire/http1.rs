//! HTTP/1: the request that a probe sends, and the response header read as nginx reads it.
//!
//! A lenient client hides faults. What nginx refuses is noted as a [`HeaderFault`]; whether a version of nginx already
//! refuses it is the reader's to judge.

use why502_facts::{Blob, HeaderFault, HttpAnswer, HttpHeader, HttpRequestSpec, lossy};

/// So much of a line that is no header is kept, in bytes.
const MAX_SHOWN: usize = 120;

/// Writes a request as it goes over the wire.
pub fn print_request(request: &HttpRequestSpec) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/{}\r\n", request.method, request.target, request.version);
    for (name, value) in &request.headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Reads the header of a response, as far as it came; `None` if the first line is no status line.
pub fn parse_http_answer(bytes: &[u8]) -> Option<HttpAnswer> {
    let (line_end, after) = end_of_line(bytes).unwrap_or((bytes.len(), bytes.len()));
    let (minor_version, status, reason) = parse_status_line(&bytes[..line_end])?;
    let mut answer = HttpAnswer {
        minor_version: Some(minor_version),
        status,
        reason,
        headers: Vec::new(),
        head_bytes: bytes.len() as u64,
        complete: false,
        faults: Vec::new(),
        body: Blob::default(),
    };
    read_headers(bytes, after, &mut answer);
    framing_faults(&mut answer);
    Some(answer)
}

/// Reads header lines from a place on, as far as they came, up to the empty line.
pub(super) fn read_headers(bytes: &[u8], mut at: usize, answer: &mut HttpAnswer) {
    while let Some((length, next)) = end_of_line(&bytes[at..]) {
        let line = &bytes[at..at + length];
        at += next;
        if line.is_empty() {
            answer.complete = true;
            answer.head_bytes = at as u64;
            answer.body = Blob::from(&bytes[at..]);
            break;
        }
        read_header(line, next as u64, answer);
    }
}

/// Whether the first line came, and is a header line or the empty one.
pub(super) fn begins_with_a_header(bytes: &[u8]) -> bool {
    end_of_line(bytes).is_some_and(|(length, _)| length == 0 || !is_invalid(&bytes[..length]))
}

/// The length of the first line without its end, and with it; nginx takes LF with or without CR.
fn end_of_line(bytes: &[u8]) -> Option<(usize, usize)> {
    let feed = memchr::memchr(b'\n', bytes)?;
    let length = if feed > 0 && bytes[feed - 1] == b'\r' { feed - 1 } else { feed };
    Some((length, feed + 1))
}

/// `HTTP/` digits `.` digits, spaces, three digits, then a space, a point or the end (`ngx_http_parse_status_line`).
fn parse_status_line(line: &[u8]) -> Option<(u16, u16, String)> {
    let rest = line.strip_prefix(b"HTTP/")?;
    let (_, rest) = digits(rest)?;
    let (minor, rest) = digits(rest.strip_prefix(b".")?)?;
    let code = rest.strip_prefix(b" ")?.trim_ascii_start();
    let (status, rest) = (code.get(..3)?, &code[3..]);
    if !status.iter().all(u8::is_ascii_digit) || !matches!(rest.first(), None | Some(b' ' | b'.')) {
        return None;
    }
    let status = status.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    Some((minor, status, lossy(rest.trim_ascii())))
}

fn digits(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    let number = std::str::from_utf8(&bytes[..end]).ok()?.parse().ok()?;
    Some((number, &bytes[end..]))
}

/// Whether a first line that has no end yet is the begin of a header line.
pub(super) fn may_become_a_header(bytes: &[u8]) -> bool {
    let name_end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
    end_of_line(bytes).is_none() && bytes[..name_end].iter().all(|byte| !is_no_name(*byte))
}

fn is_no_name(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | 0x7f)
}

fn read_header(line: &[u8], size: u64, answer: &mut HttpAnswer) {
    if is_invalid(line) {
        answer.faults.push(HeaderFault::InvalidLine { line: lossy(&line[..line.len().min(MAX_SHOWN)]) });
    }
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let value = line.get(colon + 1..).unwrap_or_default();
    answer.headers.push(HttpHeader {
        name: lossy(line[..colon].trim_ascii()),
        value: lossy(value.trim_ascii()),
        bytes: size,
    });
}

/// Whether nginx stops in a line (`ngx_http_parse_header_line`): at a control byte or a space in the name, for want of a
/// name or a colon, or at NUL or CR in the value.
fn is_invalid(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else { return true };
    let (name, value) = line.split_at(colon);
    name.is_empty()
        || name.iter().any(|byte| is_no_name(*byte))
        || value.iter().any(|byte| matches!(byte, 0 | b'\r'))
}

/// The faults of lengths and encodings (`ngx_http_upstream_process_content_length`, `…_transfer_encoding`).
pub(super) fn framing_faults(answer: &mut HttpAnswer) {
    let values = |name: &str| {
        let found = answer.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value.clone()).collect::<Vec<_>>()
    };
    let (lengths, encodings) = (values("Content-Length"), values("Transfer-Encoding"));
    let mut faults = Vec::new();
    for (name, found) in [("Content-Length", &lengths), ("Transfer-Encoding", &encodings)] {
        if found.len() > 1 {
            faults.push(HeaderFault::Duplicate { name: name.to_owned() });
        }
    }
    if !lengths.is_empty() && !encodings.is_empty() {
        faults.push(HeaderFault::LengthAndEncoding);
    }
    for value in
        lengths.iter().filter(|value| value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()))
    {
        faults.push(HeaderFault::InvalidLength { value: value.clone() });
    }
    for value in encodings.iter().filter(|value| !value.eq_ignore_ascii_case("chunked")) {
        faults.push(HeaderFault::UnknownEncoding { value: value.clone() });
    }
    answer.faults.extend(faults);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> HttpAnswer {
        parse_http_answer(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_header_is_measured_as_it_was_sent() {
        let text = "HTTP/1.1 200 OK\r\nServer: x\r\nSet-Cookie: abcdefgh\r\n\r\nbody";
        let answer = parsed(text);
        assert_eq!((answer.status, answer.minor_version, answer.reason.as_str()), (200, Some(1), "OK"));
        assert_eq!(answer.head_bytes, text.len() as u64 - 4);
        assert!(answer.complete && answer.faults.is_empty());
        let largest = answer.largest_header().unwrap();
        assert_eq!((largest.name.as_str(), largest.bytes), ("Set-Cookie", 22));
        assert_eq!(answer.header("server"), Some("x"));
        assert_eq!(answer.body.as_slice(), b"body");
    }

    #[test]
    fn an_unfinished_header_is_told() {
        let answer = parsed("HTTP/1.0 502 Bad Gateway\nServer: x\nX-Cut: ab");
        assert!(!answer.complete);
        assert_eq!(answer.headers.len(), 1);
    }

    #[test]
    fn status_lines_are_read_as_nginx_reads_them() {
        for (line, status) in [
            ("HTTP/1.1 200\r\n", Some(200)),
            ("HTTP/1.1  404 x\r\n", Some(404)),
            ("HTTP/1.1 101", Some(101)),
            ("HTTP/1.1 20\r\n", None),
            ("HTTP/1.1 2000 OK\r\n", None),
            ("HTTP 200 OK\r\n", None),
            ("http/1.1 200 OK\r\n", None),
            ("ICY 200 OK\r\n", None),
        ] {
            assert_eq!(parse_http_answer(line.as_bytes()).map(|answer| answer.status), status, "{line:?}");
        }
    }

    #[test]
    fn faults_are_those_that_nginx_stops_at() {
        let fault =
            |header: &str| parsed(&format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n")).faults.into_iter().next();
        let invalid = |line: &str| Some(HeaderFault::InvalidLine { line: line.to_owned() });
        assert_eq!(fault("Foo Bar: x"), invalid("Foo Bar: x"));
        assert_eq!(fault("\tfolded"), invalid("\tfolded"));
        assert_eq!(fault("nocolon"), invalid("nocolon"));
        assert_eq!(fault("X: a\0b"), invalid("X: a\0b"));
        assert_eq!(
            fault("Content-Length: 2\r\nContent-Length: 2"),
            Some(HeaderFault::Duplicate { name: "Content-Length".to_owned() })
        );
        assert_eq!(
            fault("Content-Length: 2\r\nTransfer-Encoding: chunked"),
            Some(HeaderFault::LengthAndEncoding)
        );
        assert_eq!(
            fault("Transfer-Encoding: gzip, chunked"),
            Some(HeaderFault::UnknownEncoding { value: "gzip, chunked".to_owned() })
        );
        assert_eq!(
            fault("Content-Length: abc"),
            Some(HeaderFault::InvalidLength { value: "abc".to_owned() })
        );
        assert_eq!(fault("Content-Type: text/html; charset=utf-8"), None);
    }

    #[test]
    fn a_request_is_printed_in_the_order_given() {
        let request = HttpRequestSpec {
            method: "HEAD".to_owned(),
            target: "/a".to_owned(),
            version: "1.0".to_owned(),
            headers: vec![
                ("Host".to_owned(), "backend".to_owned()),
                ("Connection".to_owned(), "close".to_owned()),
            ],
            idle: None,
        };
        assert_eq!(
            print_request(&request),
            b"HEAD /a HTTP/1.0\r\nHost: backend\r\nConnection: close\r\n\r\n"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_after_a_status_line_are_survived(rest in any::<Vec<u8>>()) {
            let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
            bytes.extend(rest);
            prop_assert!(parse_http_answer(&bytes).is_some());
        }
    }
}
