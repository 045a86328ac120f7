//! The files of a Kubernetes container runtime (containerd, CRI-O).
//!
//! `2026-11-21T02:28:30.123456789Z stderr F text`: a stamp, the stream, tags between colons of which the first tells a
//! full line from a part, and the text (`kubernetes/cri-api`, "CRI container log format").

use super::partial::{Part, stream};
use super::pattern;

pub(super) fn entry(line: &[u8]) -> Option<Part<'_>> {
    let (_, rest) = pattern::behind_iso(line)?;
    let (name, rest) = pattern::word(rest.strip_prefix(b" ")?)?;
    let stream = stream(name)?;
    let (tags, text) = match memchr::memchr(b' ', rest) {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        // An empty line may have lost the space at its end.
        None => (rest, b"".as_slice()),
    };
    let is_last = match tags.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Part { stream, text, is_last })
}
