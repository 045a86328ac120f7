//! Where the quotes of a line stand.

use memchr::memchr;

/// Tells where quotes stand, from left to right.
pub(super) trait Quotes {
    /// How far the next quote is away from a place in the line, at or behind all that were asked for before.
    fn next(&mut self, line: &[u8], from: usize) -> Option<usize>;
}

/// Nobody has looked for them yet.
pub(super) struct Unknown;

impl Quotes for Unknown {
    #[inline]
    fn next(&mut self, line: &[u8], from: usize) -> Option<usize> {
        memchr(b'"', &line[from..])
    }
}

/// Their places were found beforehand, with those of many other lines.
pub(super) struct Known<'q> {
    /// The places in a text.
    pub(super) places: &'q [u32],
    /// Where the line begins in it.
    pub(super) begin: u32,
}

impl Quotes for Known<'_> {
    #[inline]
    fn next(&mut self, _line: &[u8], from: usize) -> Option<usize> {
        while let [first, later @ ..] = self.places {
            let place = (first - self.begin) as usize;
            if place >= from {
                return Some(place - from);
            }
            self.places = later;
        }
        None
    }
}
