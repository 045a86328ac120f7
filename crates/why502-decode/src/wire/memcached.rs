//! memcached's text protocol: the two questions that change nothing, and the line that answers them.

use memchr::memchr;
use why502_facts::{MemcachedAnswer, lossy};

/// The question for the server's version: it touches no key.
pub(super) const MEMCACHED_VERSION: &[u8] = b"version\r\n";
/// What a server says that has no connection left for another client (`conn_new` of its `memcached.c`).
const NO_CONNECTION_LEFT: &[u8] = b"ERROR Too many open connections";
/// The longest first line that is waited for, in bytes: a key has at most 250, the numbers behind it 30.
const MAX_LINE: usize = 512;

/// Writes the question for the value of a key as nginx does (`ngx_http_memcached_create_request`): bytes that would end the
/// key are escaped (`NGX_ESCAPE_MEMCACHED`).
pub fn print_memcached_get(key: &str) -> Vec<u8> {
    let mut bytes = b"get ".to_vec();
    for byte in key.bytes() {
        match byte {
            0..=b' ' | b'%' | 0x7f => bytes.extend(format!("%{byte:02X}").into_bytes()),
            _ => bytes.push(byte),
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Reads the first line that a server sent; `None` if it has not come whole, or is none of this protocol.
pub fn parse_memcached_answer(bytes: &[u8]) -> Option<MemcachedAnswer> {
    let end = memchr(b'\n', &bytes[..bytes.len().min(MAX_LINE)])?;
    let line = bytes[..end].strip_suffix(b"\r")?;
    let text = |begin: &[u8]| line.strip_prefix(begin).map(lossy);
    match line {
        b"END" => Some(MemcachedAnswer::Missing),
        b"ERROR" => Some(MemcachedAnswer::Error(String::new())),
        NO_CONNECTION_LEFT => text(b"ERROR ").map(MemcachedAnswer::Error),
        _ => text(b"CLIENT_ERROR ")
            .map(MemcachedAnswer::ClientError)
            .or_else(|| text(b"SERVER_ERROR ").map(MemcachedAnswer::ServerError))
            .or_else(|| text(b"VERSION ").map(MemcachedAnswer::Version))
            .or_else(|| value(line)),
    }
}

/// `VALUE KEY FLAGS LENGTH`, and a number more where that was asked for.
fn value(line: &[u8]) -> Option<MemcachedAnswer> {
    let mut words = line.strip_prefix(b"VALUE ")?.split(|byte| *byte == b' ');
    let key = words.next().filter(|key| !key.is_empty()).map(lossy)?;
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse::<u64>().ok();
    let (_flags, length) = (number()?, number()?);
    Some(MemcachedAnswer::Value { key, length })
}

/// Whether a line of text came whole. What begins with fewer than three letters may become a packet of bytes.
pub(super) fn has_first_line(bytes: &[u8]) -> bool {
    let is_text = |byte: &u8| matches!(byte, b' ' | b'\r') || byte.is_ascii_graphic();
    memchr(b'\n', bytes).is_some_and(|at| at > 2 && bytes[..at].iter().all(is_text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_are_told_apart() {
        let text = str::to_owned;
        for (bytes, expected) in [
            (b"VERSION 1.6.18\r\n".as_slice(), Some(MemcachedAnswer::Version(text("1.6.18")))),
            (b"END\r\n", Some(MemcachedAnswer::Missing)),
            (
                b"VALUE /a 0 5\r\nhello\r\nEND\r\n",
                Some(MemcachedAnswer::Value { key: text("/a"), length: 5 }),
            ),
            (b"VALUE /a 0 5 77\r\n", Some(MemcachedAnswer::Value { key: text("/a"), length: 5 })),
            (b"ERROR\r\n", Some(MemcachedAnswer::Error(String::new()))),
            (
                b"ERROR Too many open connections\r\n",
                Some(MemcachedAnswer::Error(text("Too many open connections"))),
            ),
            (b"CLIENT_ERROR line too long\r\n", Some(MemcachedAnswer::ClientError(text("line too long")))),
            (b"SERVER_ERROR out of memory\r\n", Some(MemcachedAnswer::ServerError(text("out of memory")))),
            (b"VERSION 1.6.18\r", None),
            (b"VERSION 1.6.18\n", None),
            (b"VALUE  0 5\r\n", None),
            (b"VALUE /a 0 x\r\n", None),
            (b"ERROR of some program\r\n", None),
            (b"HTTP/1.1 400 Bad Request\r\n", None),
            (b"-ERR unknown command\r\n", None),
        ] {
            assert_eq!(parse_memcached_answer(bytes), expected, "{}", lossy(bytes));
        }
    }

    #[test]
    fn keys_are_escaped_as_nginx_does() {
        assert_eq!(print_memcached_get("/a b%\u{7f}é"), "get /a%20b%25%7Fé\r\n".as_bytes());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = (parse_memcached_answer(&bytes), has_first_line(&bytes));
        }

        #[test]
        fn a_key_never_ends_the_line_of_its_question(key in any::<String>()) {
            let question = print_memcached_get(&key);
            let n_spaces = question.iter().filter(|byte| byte.is_ascii_whitespace()).count();
            prop_assert_eq!(n_spaces, 3, "the one behind `get`, and the line end");
        }
    }
}
