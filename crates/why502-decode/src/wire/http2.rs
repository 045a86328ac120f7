//! HTTP/2 as the gateway speaks it to upstreams: the frames of one request, and what the frames of its answer hold.
//!
//! The request of a diagnosis is a `HEAD`: no service of gRPC is called by one, and every server of HTTP/2 has an answer to it,
//! be it a refusal of the method. A call of the health service is a `POST`, which is sent only where somebody asks for it.

mod print;

pub(super) use print::{print_grpc_health, print_http2_request};

use self::print::{print_field, print_frame};
use super::grpc::grpc_answer;
use loona_hpack::Decoder;
use why502_facts::{Blob, Http2Answer, Http2Goaway, HttpAnswer, HttpHeader, lossy};

/// What a client begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The types of frames (section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// The flags of frames (section 6): `ACK` of SETTINGS and PING, `END_STREAM` of HEADERS and DATA.
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The stream of the only request: the first that a client opens (section 5.1.1).
const STREAM: u32 = 1;
/// The length of a frame's header, in bytes (section 4.1).
const FRAME_HEADER: usize = 9;
/// The most payload of a frame without another agreement, in bytes (section 4.2). Longer ones nginx refuses too.
const MAX_PAYLOAD: usize = 16_384;
/// `SETTINGS_ENABLE_PUSH` 0, as nginx begins (`ngx_http_grpc_connection_start`).
const NO_PUSH: [u8; 6] = [0, 2, 0, 0, 0, 0];
/// So much of a decoded header is kept, in bytes: a few bytes may stand for a long line of the dynamic table, many times.
const MAX_HEADER: usize = 64 * 1024;

/// The fields of an answer that are kept: they tell who answers and how, and nothing that has to stay secret.
const KEPT: [&[u8]; 9] = [
    b":status",
    b"allow",
    b"content-length",
    b"content-type",
    b"date",
    b"grpc-message",
    b"grpc-status",
    b"server",
    b"via",
];
/// The longest value that is kept, in bytes, and the most that is kept of a block.
const MAX_VALUE: usize = 1024;
const MAX_KEPT: usize = 8 * 1024;
/// The most that is kept of a call's message, in bytes: the health service answers with seven.
const MAX_DATA: usize = 1024;

/// How far an answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// To the end of its stream: what a call of gRPC came to stands there.
    End,
    /// Its header.
    Header,
}

/// One frame.
struct Frame<'b> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'b [u8],
}

/// What the frames that came want acknowledged, and how many bytes those are: SETTINGS and PING (sections 6.5.3 and 6.7).
pub(super) fn acknowledgements(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut rest = bytes;
    let mut replies = Vec::new();
    while let Some(frame) = next_frame(&mut rest) {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => print_frame(SETTINGS, ACK, 0, &[], &mut replies),
            PING if frame.flags & ACK == 0 && frame.payload.len() == 8 => {
                print_frame(PING, ACK, 0, frame.payload, &mut replies);
            }
            _ => {}
        }
    }
    (replies, bytes.len() - rest.len())
}

/// Reads what came back, as far as it came; `None` if it does not begin as a server of HTTP/2 does.
pub(super) fn parse_http2_answer(bytes: &[u8], until: Until) -> Option<Http2Answer> {
    let mut rest = bytes;
    let mut answer = Http2Answer::default();
    let mut decoder = Decoder::new();
    let (mut block, mut data, mut trailer) = (Vec::new(), Vec::new(), Vec::new());
    let (mut is_first, mut has_end, mut is_in_block) = (true, false, false);
    while !is_finished(&answer, until)
        && let Some(frame) = next_frame(&mut rest)
    {
        if is_first && !(matches!(frame.kind, SETTINGS | GOAWAY) && frame.stream == 0) {
            return None;
        }
        is_first = false;
        match frame.kind {
            HEADERS | CONTINUATION if frame.stream == STREAM => {
                block.extend_from_slice(fragment(&frame));
                has_end |= frame.kind == HEADERS && frame.flags & END_STREAM != 0;
                is_in_block = frame.flags & END_HEADERS == 0;
                if frame.flags & END_HEADERS != 0 {
                    let fields = decode_block(&mut decoder, &block);
                    block.clear();
                    // What goes before an answer is none (RFC 9110, section 15.2), and trailers do not replace it.
                    match fields {
                        Some((Some(status), header)) if answer.header.is_none() && status >= 200 => {
                            answer.header = Some(header);
                        }
                        Some((None, fields)) => trailer = fields.headers,
                        _ => {}
                    }
                }
            }
            DATA if frame.stream == STREAM => {
                let room = MAX_DATA.saturating_sub(data.len());
                let payload = fragment(&frame);
                data.extend_from_slice(&payload[..payload.len().min(room)]);
                has_end |= frame.flags & END_STREAM != 0;
            }
            RST_STREAM if frame.stream == STREAM => answer.reset = answer.reset.or(number(frame.payload)),
            GOAWAY if answer.goaway.is_none() => answer.goaway = goaway(frame.payload),
            _ => {}
        }
        // A block whose first frame ends the stream may have more frames.
        answer.ended = has_end && !is_in_block;
    }
    if until == Until::End
        && let Some(header) = &answer.header
    {
        // Where nothing is answered but a status, that stands in the header (*Trailers-Only*).
        answer.grpc = grpc_answer(&trailer, &data).or_else(|| grpc_answer(&header.headers, &data));
    }
    (!is_first).then_some(answer)
}

/// What may be kept of the bytes of an answer: its frames, and in place of a header block those of its fields that tell no
/// secret, as they are. In a compressed block nobody would find the secrets that are to be masked. Bytes that are no such
/// answer stay.
pub(super) fn without_compression(bytes: Vec<u8>, until: Until) -> Vec<u8> {
    if parse_http2_answer(&bytes, until).is_none() {
        return bytes;
    }
    let mut rest = bytes.as_slice();
    let mut decoder = Decoder::new();
    let (mut block, mut kept) = (Vec::new(), Vec::new());
    let mut end = 0;
    while let Some(frame) = next_frame(&mut rest) {
        match frame.kind {
            HEADERS | CONTINUATION if frame.stream == STREAM => {
                block.extend_from_slice(fragment(&frame));
                if frame.kind == HEADERS {
                    end = frame.flags & END_STREAM;
                }
                if frame.flags & END_HEADERS != 0 {
                    let fields = kept_fields(&mut decoder, &block);
                    print_frame(HEADERS, end | END_HEADERS, STREAM, &fields, &mut kept);
                    block.clear();
                }
            }
            // The message of a call is what it is made for.
            DATA if until == Until::End && frame.stream == STREAM => {
                let payload = fragment(&frame);
                let payload = &payload[..payload.len().min(MAX_DATA)];
                print_frame(DATA, frame.flags & END_STREAM, STREAM, payload, &mut kept);
            }
            GOAWAY | PING | RST_STREAM | SETTINGS => {
                print_frame(frame.kind, frame.flags, frame.stream, frame.payload, &mut kept);
            }
            _ => {}
        }
    }
    kept
}

fn kept_fields(decoder: &mut Decoder<'_>, block: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    // Of a block that breaks off, what came before stays.
    let _ = decoder.decode_with_cb(block, |name, value| {
        if KEPT.contains(&&*name) && value.len() <= MAX_VALUE && fields.len() <= MAX_KEPT {
            print_field(&name, &value, &mut fields);
        }
    });
    fields
}

/// Whether no more can come of what is read of an answer.
pub(super) fn is_finished(answer: &Http2Answer, until: Until) -> bool {
    let is_refused = answer.goaway.as_ref().is_some_and(|goaway| goaway.last_stream < STREAM);
    let is_read = match until {
        Until::End => answer.ended,
        Until::Header => answer.header.is_some(),
    };
    is_read || answer.reset.is_some() || is_refused
}

/// Takes the next whole frame; one that is longer than agreed ends the reading.
fn next_frame<'b>(rest: &mut &'b [u8]) -> Option<Frame<'b>> {
    let [a, b, c, kind, flags, stream @ ..] = rest.get(..FRAME_HEADER)? else { return None };
    let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).ok()?;
    if length > MAX_PAYLOAD {
        return None;
    }
    let payload = rest.get(FRAME_HEADER..FRAME_HEADER + length)?;
    let frame = Frame { kind: *kind, flags: *flags, stream: number(stream)? & 0x7fff_ffff, payload };
    *rest = &rest[FRAME_HEADER + length..];
    Some(frame)
}

/// The fragment of a header block or of a body, without padding and priority (sections 6.1 and 6.2).
fn fragment<'b>(frame: &Frame<'b>) -> &'b [u8] {
    if frame.kind == CONTINUATION {
        return frame.payload;
    }
    let is_padded = frame.flags & PADDED != 0;
    let padding = if is_padded { frame.payload.first().copied().map_or(0, usize::from) } else { 0 };
    let has_priority = frame.kind == HEADERS && frame.flags & PRIORITY != 0;
    let begin = usize::from(is_padded) + if has_priority { 5 } else { 0 };
    let end = frame.payload.len().saturating_sub(padding);
    frame.payload.get(begin..end).unwrap_or_default()
}

/// The last stream that is served, the code and the words (section 6.8).
fn goaway(payload: &[u8]) -> Option<Http2Goaway> {
    let last_stream = number(payload)? & 0x7fff_ffff;
    Some(Http2Goaway { last_stream, code: number(payload.get(4..)?)?, debug: lossy(payload.get(8..)?) })
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// What a block holds, and its status, which trailers lack; `None` if it cannot be read.
fn decode_block(decoder: &mut Decoder<'_>, block: &[u8]) -> Option<(Option<u16>, HttpAnswer)> {
    let mut headers = Vec::new();
    let mut kept = 0;
    let mut status = None;
    let decoded = decoder.decode_with_cb(block, |name, value| {
        kept += name.len() + value.len();
        if &*name == b":status" {
            status = status.or(lossy(&value).parse().ok());
        } else if kept <= MAX_HEADER {
            let bytes = u64::try_from(name.len() + value.len()).unwrap_or(u64::MAX);
            headers.push(HttpHeader { name: lossy(&name), value: lossy(&value), bytes });
        }
    });
    decoded.ok()?;
    let header = HttpAnswer {
        minor_version: None,
        status: status.unwrap_or_default(),
        reason: String::new(),
        headers,
        head_bytes: u64::try_from(block.len()).unwrap_or(u64::MAX),
        complete: true,
        faults: Vec::new(),
        body: Blob::default(),
    };
    Some((status, header))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use why502_facts::HttpRequestSpec;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        print_frame(kind, flags, stream, payload, &mut bytes);
        bytes
    }

    #[test]
    fn secrets_in_a_compressed_header_are_not_kept() {
        // `:status: 200` of the static table, and `set-cookie: sid=abc` with its value in Huffman's code.
        let mut block = vec![0x88, 0x77, 0x80 | 5];
        block.extend([0x41, 0x89, 0x94, 0x7c, 0x63]);
        print_field("server", "some", &mut block);
        let mut answer = frame(SETTINGS, 0, 0, &[]);
        answer.extend(frame(HEADERS, END_HEADERS | END_STREAM, STREAM, &block));
        let kept = without_compression(answer.clone(), Until::Header);
        let header = parse_http2_answer(&kept, Until::Header).unwrap().header.unwrap();
        let names: Vec<&str> = header.headers.iter().map(|header| &*header.name).collect();
        assert_eq!((header.status, names), (200, vec!["server"]));
        assert_eq!(without_compression(kept.clone(), Until::Header), kept);
        assert_eq!(
            without_compression(b"HTTP/1.1 400 Bad Request\r\n".to_vec(), Until::Header),
            b"HTTP/1.1 400 Bad Request\r\n"
        );
    }

    #[test]
    fn a_request_is_preface_settings_and_one_header() {
        let request = HttpRequestSpec {
            method: "HEAD".to_owned(),
            target: "/a".to_owned(),
            version: "2".to_owned(),
            headers: vec![
                ("Host".to_owned(), "x".repeat(200)),
                ("Connection".to_owned(), "close".to_owned()),
            ],
            idle: None,
            again: false,
            segment: None,
        };
        let bytes = print_http2_request(&request, "http");
        let mut rest = bytes.strip_prefix(PREFACE).unwrap();
        assert_eq!(next_frame(&mut rest).unwrap().kind, SETTINGS);
        let header = next_frame(&mut rest).unwrap();
        assert_eq!((header.kind, header.flags, header.stream), (HEADERS, END_STREAM | END_HEADERS, 1));
        let fields = Decoder::new().decode(header.payload).unwrap();
        let names: Vec<_> = fields.iter().map(|(name, _)| lossy(name)).collect();
        assert_eq!(names, [":method", ":path", ":scheme", ":authority", "te"]);
        assert_eq!(fields[3].1.len(), 200);
        assert!(rest.is_empty());
    }

    #[test]
    fn settings_and_pings_are_acknowledged_once_each() {
        let bytes =
            [frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, b"12345678"), frame(SETTINGS, ACK, 0, &[])]
                .concat();
        let expected = [frame(SETTINGS, ACK, 0, &[]), frame(PING, ACK, 0, b"12345678")].concat();
        assert_eq!(acknowledgements(&bytes), (expected, bytes.len()));
        let (replies, taken) = acknowledgements(&bytes[..bytes.len() - 1]);
        assert_eq!((replies.len(), taken), (9 + 17, 9 + 17));
    }

    #[test]
    fn what_goes_before_an_answer_is_none() {
        // :status 103, then :status 200 (index 8) padded, then trailers.
        let hints = frame(HEADERS, END_HEADERS, 1, b"\x08\x03103");
        let header = frame(HEADERS, END_HEADERS | PADDED, 1, b"\x02\x88\0\0");
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\0\x0bgrpc-status\x0212");
        let bytes = [frame(SETTINGS, 0, 0, &[]), hints, header, trailers].concat();
        let answer = parse_http2_answer(&bytes, Until::Header).unwrap();
        assert!(is_finished(&answer, Until::Header));
        assert_eq!(answer.header.map(|header| header.status), Some(200));
    }

    #[test]
    fn a_refusal_is_read_with_its_code_and_words() {
        let goaway = frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x0btoo_many_pings");
        let answer = parse_http2_answer(&goaway, Until::Header).unwrap();
        assert!(is_finished(&answer, Until::Header));
        let expected = Http2Goaway { last_stream: 0, code: 11, debug: "too_many_pings".to_owned() };
        assert_eq!(answer.goaway, Some(expected));
        let reset = [frame(SETTINGS, 0, 0, &[]), frame(RST_STREAM, 0, 1, &[0, 0, 0, 7])].concat();
        assert_eq!(parse_http2_answer(&reset, Until::Header).unwrap().reset, Some(7));
    }

    #[test]
    fn other_bytes_are_no_answer() {
        assert_eq!(parse_http2_answer(b"HTTP/1.1 400 Bad Request\r\n\r\n", Until::Header), None);
        assert_eq!(parse_http2_answer(&frame(0, 0, 1, b"x"), Until::Header), None);
        assert_eq!(parse_http2_answer(b"", Until::Header), None);
    }

    #[test]
    fn a_short_block_of_long_lines_is_bounded() {
        let line = [b"\x40\x01a\x7f\xa1\x1e".as_slice(), &[b'v'; 4000]].concat();
        let block = [line.as_slice(), &[0x88], &[0xbe; 16_000]].concat();
        let header = decode_block(&mut Decoder::new(), &block).unwrap().1;
        assert!(header.headers.iter().map(|header| header.bytes).sum::<u64>() <= MAX_HEADER as u64);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), flags in any::<u8>()) {
            let bytes = [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, flags, 1, &bytes), bytes].concat();
            let _ = parse_http2_answer(&bytes, Until::Header);
            let _ = parse_http2_answer(&bytes, Until::End);
            let _ = acknowledgements(&bytes);
        }
    }
}
