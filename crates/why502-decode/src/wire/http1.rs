//! HTTP/1: the request that a probe sends, and the response header read as nginx reads it.
//!
//! A lenient client hides faults. What nginx refuses is noted as a [`HeaderFault`]; whether a version of nginx already
//! refuses it is the reader's to judge.

use super::header_line::HeaderLine;
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
    let feed = memchr::memchr(b'\n', bytes);
    let line = &bytes[..feed.unwrap_or(bytes.len())];
    let (minor_version, status, reason) = parse_status_line(line)?;
    let mut answer = unread_answer(bytes);
    answer.minor_version = Some(minor_version);
    answer.status = status;
    answer.reason = reason;
    read_headers(bytes, feed.map_or(bytes.len(), |feed| feed + 1), &mut answer);
    Some(answer)
}

/// An answer of which no line was read: 200, as nginx takes it where nothing says otherwise.
pub(super) fn unread_answer(bytes: &[u8]) -> HttpAnswer {
    HttpAnswer {
        minor_version: None,
        status: 200,
        reason: String::new(),
        headers: Vec::new(),
        head_bytes: bytes.len() as u64,
        complete: false,
        faults: Vec::new(),
        body: Blob::default(),
    }
}

/// Reads header lines from a place on, as far as they came, up to the empty line. It goes on after a fault, as an older
/// version of nginx would.
pub(super) fn read_headers(bytes: &[u8], mut at: usize, answer: &mut HttpAnswer) {
    while let Some(feed) = memchr::memchr(b'\n', &bytes[at..]) {
        let line = &bytes[at..at + feed];
        at += feed + 1;
        if HeaderLine::of(line) == HeaderLine::End {
            answer.complete = true;
            answer.head_bytes = at as u64;
            answer.body = Blob::from(&bytes[at..]);
            return;
        }
        read_header(line, answer);
    }
    // nginx does not wait for the end of a line that is wrong already.
    answer.faults.extend(fault_of(&bytes[at..]));
}

/// The two parts of the version, each of at most three digits beside zeros in front, spaces, three digits with spaces between
/// them or not, then a space, a point or the end; no CR but at the end (`ngx_http_parse_status_line`).
fn parse_status_line(line: &[u8]) -> Option<(u16, u16, String)> {
    let rest = line.strip_prefix(b"HTTP/")?;
    if rest.first() == Some(&b'0') {
        return None;
    }
    let (_, rest) = version_part(rest)?;
    let (minor, rest) = version_part(rest.strip_prefix(b".")?)?;
    let (status, rest) = status_code(rest.strip_prefix(b" ")?)?;
    let reason = rest.strip_suffix(b"\r").unwrap_or(rest);
    if !matches!(reason.first(), None | Some(b' ' | b'.')) || reason.contains(&b'\r') {
        return None;
    }
    Some((minor, status, lossy(reason.trim_ascii())))
}

/// A number that takes no more digits once it is above 99.
fn version_part(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    let number = bytes[..end].iter().try_fold(0, |number: u16, digit| {
        (number <= 99).then_some(number.wrapping_mul(10) + u16::from(digit - b'0'))
    });
    number.filter(|_| end > 0).map(|number| (number, &bytes[end..]))
}

/// Three digits, and spaces before each.
fn status_code(mut bytes: &[u8]) -> Option<(u16, &[u8])> {
    let mut status = 0;
    let mut n_digits = 0;
    while n_digits < 3 {
        let (byte, rest) = bytes.split_first()?;
        match byte {
            b' ' => {}
            b'0'..=b'9' => {
                status = status * 10 + u16::from(byte - b'0');
                n_digits += 1;
            }
            _ => return None,
        }
        bytes = rest;
    }
    Some((status, bytes))
}

/// Takes a line that is not the empty one.
fn read_header(line: &[u8], answer: &mut HttpAnswer) {
    answer.faults.extend(fault_of(line));
    let (name, value) = match HeaderLine::of(line) {
        HeaderLine::StatusLine => return,
        HeaderLine::Header { name, value } => (name, value.unwrap_or_default()),
        HeaderLine::Bad | HeaderLine::BadName | HeaderLine::End => {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            (line[..colon].trim_ascii(), line.get(colon + 1..).unwrap_or_default().trim_ascii())
        }
    };
    let header = HttpHeader { name: lossy(name), value: lossy(value), bytes: line.len() as u64 + 1 };
    answer.faults.extend(framing_fault(&header, answer));
    answer.headers.push(header);
}

/// What is wrong with a line, as far as it came.
fn fault_of(line: &[u8]) -> Option<HeaderFault> {
    let shown = || {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        lossy(&line[..line.len().min(MAX_SHOWN)])
    };
    match HeaderLine::of(line) {
        HeaderLine::Bad => Some(HeaderFault::InvalidLine { line: shown() }),
        HeaderLine::BadName => Some(HeaderFault::InvalidName { line: shown() }),
        HeaderLine::End | HeaderLine::Header { .. } | HeaderLine::StatusLine => None,
    }
}

/// What is wrong with a length or an encoding, after the headers before it (`ngx_http_upstream_process_content_length`,
/// `ngx_http_upstream_process_transfer_encoding`).
fn framing_fault(header: &HttpHeader, before: &HttpAnswer) -> Option<HeaderFault> {
    let (name, other) = match header.name.to_ascii_lowercase().as_str() {
        "content-length" => ("Content-Length", "Transfer-Encoding"),
        "transfer-encoding" => ("Transfer-Encoding", "Content-Length"),
        _ => return None,
    };
    let value = || header.value.clone();
    if before.header(name).is_some() {
        return Some(HeaderFault::Duplicate { name: name.to_owned() });
    }
    if before.header(other).is_some() {
        return Some(HeaderFault::LengthAndEncoding);
    }
    if name == "Transfer-Encoding" {
        let is_chunked = header.value.eq_ignore_ascii_case("chunked");
        return (!is_chunked).then(|| HeaderFault::UnknownEncoding { value: value() });
    }
    // No sign, and no more than `off_t` holds (`ngx_atoof`).
    let is_number =
        header.value.bytes().all(|byte| byte.is_ascii_digit()) && header.value.parse::<i64>().is_ok();
    (!is_number).then(|| HeaderFault::InvalidLength { value: value() })
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
            ("HTTP/2.0 2 0 0.1 x\n", Some(200)),
            ("HTTP/999.0001 200\n", Some(200)),
            ("HTTP/0.9 200\n", None),
            ("HTTP/1.100 200\n", Some(200)),
            ("HTTP/1.1000 200\n", None),
            ("HTTP/1.1 200 a\rb\r\n", None),
        ] {
            assert_eq!(parse_http_answer(line.as_bytes()).map(|answer| answer.status), status, "{line:?}");
        }
    }

    #[test]
    fn faults_are_those_that_nginx_stops_at() {
        let fault =
            |header: &str| parsed(&format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n")).faults.into_iter().next();
        let invalid = |line: &str| Some(HeaderFault::InvalidLine { line: line.to_owned() });
        let unnamed = |line: &str| Some(HeaderFault::InvalidName { line: line.to_owned() });
        assert_eq!(fault("Foo Bar: x"), unnamed("Foo Bar: x"));
        assert_eq!(fault("\tfolded"), unnamed("\tfolded"));
        assert_eq!(fault("nocolon"), None);
        assert_eq!(fault("X: a\0b"), invalid("X: a\0b"));
        assert_eq!(fault("A B: c\r\nX: a\rb"), unnamed("A B: c"), "in the order of the lines");
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
            again: false,
            segment: None,
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
