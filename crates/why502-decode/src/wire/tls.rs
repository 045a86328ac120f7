//! What can be read of a TLS handshake before it is encrypted.

/// The type of a record that carries handshake messages (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// Types of handshake messages (RFC 5246, section 7.4).
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
/// The length of a record's header and of a message's, in bytes.
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;

/// Whether the first flight of a server asks for a certificate; `None` where the flight does not come to its end in plain
/// text, as with TLS 1.3, which encrypts all but the first message.
pub fn asks_certificate(bytes: &[u8]) -> Option<bool> {
    let messages = handshake_messages(bytes);
    let mut rest = messages.as_slice();
    let mut asks = false;
    while let [kind, high, middle, low, ..] = *rest {
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match kind {
            CERTIFICATE_REQUEST => asks = true,
            SERVER_HELLO_DONE => return Some(asks),
            _ => {}
        }
        rest = rest.get(MESSAGE_HEADER + length..)?;
    }
    None
}

/// The content of the handshake records that some bytes begin with: messages may be cut by records.
fn handshake_messages(bytes: &[u8]) -> Vec<u8> {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while let [HANDSHAKE, 3, _, high, low, ..] = *rest {
        let end = RECORD_HEADER + usize::from(u16::from_be_bytes([high, low]));
        let Some(content) = rest.get(RECORD_HEADER..end) else { break };
        messages.extend_from_slice(content);
        rest = &rest[end..];
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, length];
        bytes.extend(vec![0; usize::from(length)]);
        bytes
    }

    fn records(content: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| [&[HANDSHAKE, 3, 3, 0, u8::try_from(part.len()).unwrap()], part].concat();
        content.chunks(size).flat_map(record).collect()
    }

    #[test]
    fn a_request_for_a_certificate_is_seen() {
        let flight = |asks: bool| {
            let request = if asks { message(CERTIFICATE_REQUEST, 9) } else { Vec::new() };
            [message(2, 40), message(11, 60), request, message(SERVER_HELLO_DONE, 0)].concat()
        };
        for size in [200, 7] {
            assert_eq!(asks_certificate(&records(&flight(true), size)), Some(true));
            assert_eq!(asks_certificate(&records(&flight(false), size)), Some(false));
        }
    }

    #[test]
    fn a_flight_that_is_hidden_tells_nothing() {
        let hidden = [records(&message(2, 40), 200), vec![20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 2, 9, 9]].concat();
        assert_eq!(asks_certificate(&hidden), None);
        assert_eq!(asks_certificate(b"HTTP/1.1 400"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in any::<Vec<u8>>()) {
            let _ = asks_certificate(&[records(&bytes, 9), bytes].concat());
        }
    }
}
