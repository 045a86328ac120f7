//! Request lines, in both kinds of logs.

use memchr::{memchr, memrchr};

/// The longest path that is kept.
pub(crate) const MAX_PATH: usize = 512;

/// A request line, taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RequestParts<'a> {
    pub(crate) method: &'a [u8],
    /// The target without its query, at most [`MAX_PATH`] bytes.
    pub(crate) path: &'a [u8],
    pub(crate) has_query: bool,
    /// Empty where the line was cut, or of HTTP/0.9.
    pub(crate) version: &'a [u8],
}

impl<'a> RequestParts<'a> {
    /// Reads `METHOD TARGET VERSION`; `None` if there is no target (`-`, the bytes of a TLS hello).
    pub(crate) fn read(line: &'a [u8]) -> Option<Self> {
        let (method, rest) = line.split_at(memchr(b' ', line)?);
        let rest = &rest[1..];
        // A target may hold spaces before 1.21.1: the last version counts.
        let (target, version) = match memrchr(b' ', rest) {
            Some(at) if rest[at + 1..].starts_with(b"HTTP/") => (&rest[..at], &rest[at + 1..]),
            _ => (rest, &rest[..0]),
        };
        (!method.is_empty() && !target.is_empty()).then(|| Self::from_target(method, target, version))
    }

    /// Builds the line from its parts.
    pub(crate) fn from_target(method: &'a [u8], target: &'a [u8], version: &'a [u8]) -> Self {
        let query = memchr(b'?', target);
        let path = &target[..query.unwrap_or(target.len())];
        Self { method, path: &path[..path.len().min(MAX_PATH)], has_query: query.is_some(), version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_dropped_and_its_presence_kept() {
        let parts = RequestParts::read(b"GET /a?b=c?d HTTP/1.1").unwrap();
        assert_eq!((parts.method, parts.path, parts.has_query), (b"GET".as_slice(), b"/a".as_slice(), true));
        assert_eq!(parts.version, b"HTTP/1.1");
    }

    #[test]
    fn odd_lines_are_read_as_far_as_they_go() {
        let cut = RequestParts::read(b"GET /aaaa").unwrap();
        assert_eq!((cut.path, cut.version), (b"/aaaa".as_slice(), b"".as_slice()));
        let spaces = RequestParts::read(b"GET /a HTTP/9 b HTTP/1.0").unwrap();
        assert_eq!((spaces.path, spaces.version), (b"/a HTTP/9 b".as_slice(), b"HTTP/1.0".as_slice()));
        assert_eq!(RequestParts::read(b"GET http://a:1/ HTTP/1.1").unwrap().path, b"http://a:1/");
        for line in ["", "-", "\u{16}\u{3}", " /", "GET "] {
            assert_eq!(RequestParts::read(line.as_bytes()), None, "{line:?}");
        }
        let long = format!("GET /{} HTTP/1.1", "a".repeat(9000));
        assert_eq!(RequestParts::read(long.as_bytes()).unwrap().path.len(), MAX_PATH);
    }
}
