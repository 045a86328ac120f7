//! FastCGI 1.0: the records of one request, and what the records of its answer hold.

use super::cgi::parse_cgi_answer;
use why502_facts::{CgiRequestSpec, FastCgiRecord, FastCgiRecords, HttpAnswer, lossy};

/// The only version (FastCGI 1.0, section 8).
const VERSION: u8 = 1;
/// The types of records (section 8).
const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;
const GET_VALUES: u8 = 9;
/// The number of the only request: 0 is kept for management (section 3.3).
const REQUEST_ID: u16 = 1;
/// The role that nginx gives to applications, and no flags: the application closes afterwards (section 5.1).
const RESPONDER: u8 = 1;
/// The most content that a record holds, in bytes.
const MAX_CONTENT: usize = 65_535;
/// The longest text that has its length in one byte (section 3.4).
const MAX_SHORT: usize = 127;
/// The length of a record's header, in bytes (section 3.3).
const HEADER_LENGTH: u64 = 8;
/// So much of an error stream is kept, in bytes.
const MAX_STDERR: usize = 4096;

/// What came back for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FastCgiAnswer {
    /// The header of the answer, as far as it came; `None` if nothing came that begins like one.
    pub header: Option<HttpAnswer>,
    /// What was written to the error stream before that header was complete.
    pub stderr: String,
    /// Whether no more of the header can come: it is complete, or the application ended the request.
    pub finished: bool,
}

/// Writes a request without a body as nginx does (`ngx_http_fastcgi_create_request`): begin, parameters, empty streams.
pub fn print_fastcgi_request(request: &CgiRequestSpec) -> Vec<u8> {
    let mut params = Vec::new();
    for (name, value) in &request.params {
        print_length(name.len(), &mut params);
        print_length(value.len(), &mut params);
        params.extend_from_slice(name.as_bytes());
        params.extend_from_slice(value.as_bytes());
    }
    let mut bytes = Vec::new();
    print_record(BEGIN_REQUEST, REQUEST_ID, &[0, RESPONDER, 0, 0, 0, 0, 0, 0], &mut bytes);
    for part in params.chunks(MAX_CONTENT) {
        print_record(PARAMS, REQUEST_ID, part, &mut bytes);
    }
    print_record(PARAMS, REQUEST_ID, &[], &mut bytes);
    print_record(STDIN, REQUEST_ID, &[], &mut bytes);
    bytes
}

/// Writes the question for a server's own limits, which calls no application (section 4.1).
pub(super) fn print_fastcgi_values() -> Vec<u8> {
    let name = b"FCGI_MPXS_CONNS";
    let mut content = Vec::new();
    print_length(name.len(), &mut content);
    print_length(0, &mut content);
    content.extend_from_slice(name);
    let mut bytes = Vec::new();
    print_record(GET_VALUES, 0, &content, &mut bytes);
    bytes
}

/// A record; its padding brings it to a multiple of eight bytes, as nginx pads.
fn print_record(kind: u8, id: u16, content: &[u8], bytes: &mut Vec<u8>) {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let [id_high, id_low] = id.to_be_bytes();
    let padding = &[0; 7][..content.len().wrapping_neg() % 8];
    let n_padding = u8::try_from(padding.len()).unwrap_or_default();
    bytes.extend([VERSION, kind, id_high, id_low, high, low, n_padding, 0]);
    bytes.extend_from_slice(content);
    bytes.extend_from_slice(padding);
}

/// The length of a name or value: one byte, or four with the highest bit set.
fn print_length(length: usize, bytes: &mut Vec<u8>) {
    match u8::try_from(length) {
        Ok(short) if length <= MAX_SHORT => bytes.push(short),
        _ => {
            let long = u32::try_from(length).unwrap_or(u32::MAX >> 1) | 1 << 31;
            bytes.extend(long.to_be_bytes());
        }
    }
}

/// Reads what an application sent, as far as it came. Bytes that are no records end it.
pub fn parse_fastcgi_answer(bytes: &[u8]) -> FastCgiAnswer {
    let mut answer = FastCgiAnswer::default();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut framing = 0;
    for FastCgiRecord { kind, content, complete } in FastCgiRecords::new(bytes) {
        let content = &bytes[content];
        match kind {
            STDOUT => {
                let known = output.len();
                output.extend_from_slice(content);
                framing += HEADER_LENGTH;
                answer.finished = has_empty_line(&output, known);
            }
            STDERR => errors.extend_from_slice(content),
            END_REQUEST => answer.finished = complete,
            _ => {}
        }
        if answer.finished {
            break;
        }
    }
    answer.stderr = lossy(errors[..errors.len().min(MAX_STDERR)].trim_ascii());
    answer.header = parse_cgi_answer(&output);
    if let Some(header) = &mut answer.header {
        header.head_bytes += framing;
    }
    answer
}

/// Whether header lines come to their end in a text of which a part was looked at before.
fn has_empty_line(text: &[u8], known: usize) -> bool {
    let is_empty = |from: usize| matches!(&text[from..], [b'\n', ..] | [b'\r', b'\n', ..]);
    // The line end before an empty line may have come earlier.
    let from = known.saturating_sub(2);
    is_empty(0) || memchr::memchr_iter(b'\n', &text[from..]).any(|feed| is_empty(from + feed + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(params: &[(&str, &str)]) -> CgiRequestSpec {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        CgiRequestSpec { params, left_out: Vec::new() }
    }

    fn records(records: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, content) in records {
            print_record(*kind, REQUEST_ID, content, &mut bytes);
        }
        bytes
    }

    const NOT_FOUND: &[u8] = b"Status: 404 Not Found\r\nContent-type: text/html\r\n\r\nFile not found.\n";

    #[test]
    fn a_request_is_begin_parameters_and_empty_streams() {
        let bytes = print_fastcgi_request(&request(&[("A", "bc"), ("D", &"x".repeat(200))]));
        let found: Vec<(u8, usize)> =
            FastCgiRecords::new(&bytes).map(|own| (own.kind, own.content.len())).collect();
        assert_eq!(found, [(BEGIN_REQUEST, 8), (PARAMS, 5 + 1 + 4 + 1 + 200), (PARAMS, 0), (STDIN, 0)]);
        assert!(bytes.starts_with(b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0"));
        assert_eq!(&bytes[24..34], b"\x01\x02Abc\x01\x80\0\0\xc8");
        assert_eq!(bytes.len() % 8, 0);
    }

    #[test]
    fn many_parameters_take_many_records() {
        let bytes = print_fastcgi_request(&request(&[("A", &"x".repeat(100_000))]));
        let params: usize =
            FastCgiRecords::new(&bytes).filter(|own| own.kind == PARAMS).map(|own| own.content.len()).sum();
        assert_eq!(params, 100_006);
    }

    #[test]
    fn the_error_stream_and_the_status_are_read() {
        let bytes =
            records(&[(STDERR, b"Primary script unknown\n"), (STDOUT, NOT_FOUND), (END_REQUEST, &[0; 8])]);
        let answer = parse_fastcgi_answer(&bytes);
        let header = answer.header.unwrap();
        assert_eq!(
            (header.status, header.complete, answer.stderr.as_str()),
            (404, true, "Primary script unknown")
        );
        assert_eq!(header.head_bytes, NOT_FOUND.len() as u64 - 16 + HEADER_LENGTH);
        assert!(answer.finished);
    }

    #[test]
    fn a_header_may_come_in_pieces_and_not_at_all() {
        let (first, second) = NOT_FOUND.split_at(45);
        let pieces = parse_fastcgi_answer(&records(&[(STDOUT, first), (STDOUT, second)]));
        assert_eq!(pieces.header.unwrap().head_bytes, NOT_FOUND.len() as u64 - 16 + 2 * HEADER_LENGTH);
        let cut = parse_fastcgi_answer(&records(&[(STDOUT, first)]));
        assert!(!cut.finished && !cut.header.unwrap().complete);
        let none = parse_fastcgi_answer(&records(&[(STDERR, b"dead"), (END_REQUEST, &[0; 8])]));
        assert_eq!((none.header, none.finished, none.stderr.as_str()), (None, true, "dead"));
        assert_eq!(parse_fastcgi_answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), FastCgiAnswer::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in any::<Vec<u8>>(), content in any::<Vec<u8>>()) {
            let _ = parse_fastcgi_answer(&bytes);
            let mut framed = records(&[(STDERR, &content), (STDOUT, &content)]);
            framed.extend(bytes);
            let _ = parse_fastcgi_answer(&framed);
        }
    }
}
