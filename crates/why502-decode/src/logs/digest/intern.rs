//! Texts that are kept many times and stored once.

use crate::logs::request_line::{MAX_PATH, RequestParts};
use foldhash::fast::RandomState;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use why502_facts::{RequestLine, lossy};

/// When this many bytes are known, all are forgotten: what was handed out stays, only sharing is lost.
const MAX_BYTES: usize = 8 << 20;

/// Hands out one shared text for equal bytes.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    known: HashSet<Arc<str>, RandomState>,
    n_bytes: usize,
}

impl Interner {
    /// The text of bytes, at most `max` bytes of it.
    pub(crate) fn bytes(&mut self, bytes: &[u8], max: usize) -> Arc<str> {
        match std::str::from_utf8(&bytes[..bytes.len().min(max)]) {
            Ok(text) => self.text(text),
            Err(_) => self.text(&cut_text(bytes, max)),
        }
    }

    /// A request line whose texts are shared.
    pub(crate) fn request(&mut self, parts: RequestParts<'_>) -> RequestLine {
        RequestLine {
            method: self.bytes(parts.method, 32),
            path: self.bytes(parts.path, MAX_PATH),
            has_query: parts.has_query,
            version: self.bytes(parts.version, 32),
        }
    }

    pub(crate) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        if self.n_bytes > MAX_BYTES {
            self.known.clear();
            self.n_bytes = 0;
        }
        // Beside its bytes, a text costs two counters and its place in the set.
        self.n_bytes += text.len() + 48;
        let text: Arc<str> = text.into();
        self.known.insert(Arc::clone(&text));
        text
    }
}

/// Bytes as text, without a copy where they are text.
pub(crate) fn shown(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(lossy(bytes)),
    }
}

/// Bytes as text, at most `max` bytes of it, cut between characters.
pub(crate) fn cut_text(bytes: &[u8], max: usize) -> String {
    let mut text = lossy(&bytes[..bytes.len().min(max)]);
    text.truncate(text.floor_char_boundary(max));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one() {
        let mut interner = Interner::default();
        let (one, other) = (interner.bytes(b"GET", 9), interner.text("GET"));
        assert!(Arc::ptr_eq(&one, &other));
        assert_eq!(&*interner.bytes(b"caf\xc3\xa9", 4), "caf\\");
        assert_eq!(&*interner.bytes(b"caf\xc3\xa9", 5), "caf\u{e9}");
    }

    #[test]
    fn a_million_texts_cost_a_bounded_amount() {
        let mut interner = Interner::default();
        for n in 0..400_000 {
            interner.text(&n.to_string());
        }
        assert!(interner.n_bytes <= MAX_BYTES + 100);
    }
}
