//! What applications behind FastCGI, SCGI and uwsgi answer: header lines with a `Status` among them, for SCGI and uwsgi
//! also a status line as HTTP/1 has one.

use super::header_line::HeaderLine;
use super::http1::{parse_http_answer, read_headers, unread_answer};
use why502_facts::{HeaderFault, HttpAnswer};

/// Reads the header of an answer of SCGI or uwsgi, as far as it came (`ngx_http_scgi_process_status_line`,
/// `ngx_http_uwsgi_process_status_line`): a status line, or else header lines alone.
pub fn parse_scgi_answer(bytes: &[u8]) -> Option<HttpAnswer> {
    let Some(mut answer) = parse_http_answer(bytes) else { return parse_cgi_answer(bytes) };
    if answer.status == 0 {
        // To nginx that is no status yet.
        answer.status = 200;
        take_status(&mut answer);
    }
    Some(answer)
}

/// Reads header lines without a status line, as far as they came (`ngx_http_fastcgi_process_header`); `None` if the first
/// line is no header line, or no line has come yet.
///
/// A first line without a colon is one to nginx, and nginx waits for more. It is the beginning of an answer here only once
/// the empty line came: before, it may as well be the greeting of another protocol.
pub(super) fn parse_cgi_answer(bytes: &[u8]) -> Option<HttpAnswer> {
    let first = HeaderLine::of(&bytes[..memchr::memchr(b'\n', bytes)?]);
    if matches!(first, HeaderLine::Bad | HeaderLine::BadName) {
        return None;
    }
    let mut answer = unread_answer(bytes);
    read_headers(bytes, 0, &mut answer);
    take_status(&mut answer);
    let is_sure = matches!(first, HeaderLine::End | HeaderLine::Header { value: Some(_), .. });
    (is_sure || answer.complete).then_some(answer)
}

/// Whether a first line, as far as it came, may begin such an answer.
pub(super) fn may_become_cgi_answer(bytes: &[u8]) -> bool {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    !matches!(HeaderLine::of(&bytes[..end]), HeaderLine::Bad | HeaderLine::BadName)
}

/// The status that the header lines tell.
fn take_status(answer: &mut HttpAnswer) {
    let Some(value) = answer.header("Status").map(str::to_owned) else {
        if answer.header("Location").is_some() {
            answer.status = 302;
        }
        return;
    };
    let digits = value.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(status) => {
            answer.status = status;
            value[3..].trim().clone_into(&mut answer.reason);
        }
        // nginx looks at it once all lines have come.
        None if answer.complete => answer.faults.push(HeaderFault::InvalidStatus { value }),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_status_is_a_header_line() {
        let text = b"Status: 404 Not Found\r\nContent-type: text/html\r\n\r\nFile not found.\n";
        let answer = parse_cgi_answer(text).unwrap();
        assert_eq!((answer.status, answer.reason.as_str(), answer.complete), (404, "Not Found", true));
        assert_eq!((answer.head_bytes, answer.minor_version), (text.len() as u64 - 16, None));
        assert_eq!(answer.body.as_slice(), b"File not found.\n");
    }

    #[test]
    fn without_a_status_it_is_200_or_a_redirect() {
        assert_eq!(parse_cgi_answer(b"Content-type: text/html\n\n").unwrap().status, 200);
        assert_eq!(parse_cgi_answer(b"Location: /login\r\n\r\n").unwrap().status, 302);
        assert_eq!(parse_cgi_answer(b"\r\n").map(|answer| answer.status), Some(200));
        let odd = parse_cgi_answer(b"Status: fine\r\n\r\n").unwrap();
        assert_eq!(odd.faults, [HeaderFault::InvalidStatus { value: "fine".to_owned() }]);
    }

    #[test]
    fn text_is_no_header() {
        for text in ["", "Content-ty", "Traceback (most recent call last):\n", "\0\0\n", "ERROR\r\n"] {
            assert_eq!(parse_cgi_answer(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_cgi_answer(b"PHP Warning: x in y\nStatus: 200\n\n"), None, "a space in the name");
    }

    #[test]
    fn a_line_without_a_colon_is_a_header_if_an_empty_line_ends_it() {
        assert_eq!(parse_cgi_answer(b"Warning\nStatus: 404\n\n").map(|answer| answer.status), Some(404));
        assert_eq!(parse_cgi_answer(b"HTTP/1.1 404 x\n\n").map(|answer| answer.status), Some(200));
    }

    #[test]
    fn uwsgi_and_scgi_may_answer_with_a_status_line() {
        let answer = parse_scgi_answer(b"HTTP/1.1 503 Busy\r\nStatus: 200 OK\r\n\r\n").unwrap();
        assert_eq!((answer.status, answer.minor_version), (503, Some(1)));
        assert_eq!(parse_scgi_answer(b"Status: 503 Busy\r\n\r\n").map(|answer| answer.status), Some(503));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in any::<Vec<u8>>()) {
            let _ = parse_scgi_answer(&bytes);
            let _ = parse_cgi_answer(&bytes);
        }
    }
}
