//! Docker's driver `json-file`.
//!
//! `{"log":"text\n","stream":"stderr","time":"…"}`. The runtime cuts lines at 16 KiB; all parts but the last have no line
//! feed at their ends (`daemon/logger/jsonfilelog/jsonlog`, `daemon/logger/copier.go`).

use super::json::{self, Value};
use super::partial::{Part, stream};

/// An entry: a stream, and text as it is escaped.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    stream: usize,
    escaped: &'a [u8],
}

pub(super) fn entry(line: &[u8]) -> Option<Entry<'_>> {
    let (mut found_stream, mut text) = (None, None);
    for (key, value) in json::fields(line)? {
        let Value::Text(value) = value else { continue };
        match key {
            b"log" => text = Some(value),
            b"stream" => found_stream = stream(value),
            _ => {}
        }
    }
    Some(Entry { stream: found_stream?, escaped: text? })
}

impl<'a> Entry<'a> {
    /// The text; borrowed if nothing in it is escaped but the line's end.
    pub(super) fn part<'b>(&self, scratch: &'b mut Vec<u8>) -> Part<'b>
    where
        'a: 'b,
    {
        let (escaped, is_last) = match self.escaped.strip_suffix(br"\n") {
            // An odd backslash more, and it is the backslash that is escaped.
            Some(text) if n_backslashes_at_end(text).is_multiple_of(2) => (text, true),
            _ => (self.escaped, false),
        };
        Part { stream: self.stream, text: json::unescape(escaped, scratch), is_last }
    }
}

fn n_backslashes_at_end(text: &[u8]) -> usize {
    text.iter().rev().take_while(|byte| **byte == b'\\').count()
}
