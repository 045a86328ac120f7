//! The health service of gRPC: the one call that every service may answer without doing anything
//! (`grpc.health.v1.Health/Check`, gRPC's `doc/health-checking.md`), and what its answer says.

use why502_facts::{GrpcAnswer, HttpHeader};

/// The path of the call.
pub(super) const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// What asks for the health of the server as a whole: a message that is not compressed and has no bytes
/// (`doc/PROTOCOL-HTTP2.md`, *Length-Prefixed-Message*).
pub(super) const WHOLE_SERVER: [u8; 5] = [0; 5];
/// The length of what stands before a message.
const PREFIX: usize = 5;
/// The tag of `HealthCheckResponse.status`: the first field, a varint.
const STATUS_FIELD: u64 = 1 << 3;

/// Reads what a call came to from the lines of its header or its trailer, and what its message holds; `None` if these lines
/// have no status of gRPC.
pub(super) fn grpc_answer(lines: &[HttpHeader], data: &[u8]) -> Option<GrpcAnswer> {
    let value = |name: &str| lines.iter().find(|line| line.name == name).map(|line| line.value.as_str());
    Some(GrpcAnswer {
        status: value("grpc-status")?.parse().ok()?,
        message: value("grpc-message").unwrap_or_default().to_owned(),
        serving: serving(data),
    })
}

/// The health that a whole, uncompressed message tells; a message without that field has its default.
fn serving(data: &[u8]) -> Option<u64> {
    let (prefix, rest) = data.split_first_chunk::<PREFIX>()?;
    let [0, length @ ..] = *prefix else { return None };
    let mut message = rest.get(..usize::try_from(u32::from_be_bytes(length)).ok()?)?;
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut message)?;
                if tag == STATUS_FIELD {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// A number in groups of seven bits, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_tells_the_health() {
        assert_eq!(serving(b"\0\0\0\0\x02\x08\x01"), Some(1));
        assert_eq!(serving(b"\0\0\0\0\0"), Some(0), "a default is not sent");
        // Fields that come later: a text, two fixed numbers.
        assert_eq!(
            serving(b"\0\0\0\0\x14\x12\x01a\x1d\0\0\0\0\x21\0\0\0\0\0\0\0\0\x08\x02\x30\x01"),
            None,
            "too short"
        );
        assert_eq!(serving(b"\0\0\0\0\x13\x12\x01a\x1d\0\0\0\0\x21\0\0\0\0\0\0\0\0\x08\x02"), Some(2));
        for broken in [
            &b""[..],
            b"\x01\0\0\0\x02\x08\x01",
            b"\0\0\0\0\x03\x08\x01",
            b"\0\0\0\0\x01\x08",
            b"\0\0\0\0\x01\x0b",
        ] {
            assert_eq!(serving(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn without_a_status_nothing_was_answered_in_grpc() {
        let line =
            |name: &str, value: &str| HttpHeader { name: name.to_owned(), value: value.to_owned(), bytes: 1 };
        let lines = [line("content-type", "application/grpc"), line("grpc-status", "12")];
        let expected = GrpcAnswer { status: 12, message: String::new(), serving: None };
        assert_eq!(grpc_answer(&lines, b""), Some(expected));
        assert_eq!(grpc_answer(&lines[..1], b""), None);
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(message in any::<Vec<u8>>()) {
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            let _ = serving(&[&[0], length.as_slice(), &message].concat());
        }
    }
}
