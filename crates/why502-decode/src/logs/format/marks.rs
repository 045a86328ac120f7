//! The quotes and the ends of lines in a text, found in one pass over all of it.
//!
//! A search for the next quote costs more to begin than to run: values are short. Here the text is compared 64 bytes at a
//! time, and each block yields a bit per byte.

use memchr::{memchr, memrchr};
use wide::u8x64;

/// So much text is looked through at once: it and its marks stay in the processor's nearest cache until they are used.
const BLOCK: usize = 16 << 10;
/// How many bytes are compared at once.
const WIDTH: usize = 64;

/// Where quotes and line feeds stand in a text.
#[derive(Debug, Default)]
pub(crate) struct Marks(Vec<u32>);

/// A line without its end, and where its quotes stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MarkedLine<'l> {
    pub(crate) line: &'l [u8],
    /// The places of its quotes in the text.
    pub(super) places: &'l [u32],
    /// Its own place in the text.
    pub(super) begin: u32,
}

impl MarkedLine<'_> {
    /// Where it begins in the text.
    pub(crate) fn begin(&self) -> usize {
        self.begin as usize
    }
}

impl Marks {
    /// Looks through a text, in place of whichever it knew before. One of 4 GiB is no text of lines that anybody reads.
    pub(crate) fn find(&mut self, text: &[u8]) {
        self.0.clear();
        if u32::try_from(text.len()).is_err() {
            return;
        }
        let (blocks, rest) = text.as_chunks::<WIDTH>();
        let mut last = [0; WIDTH];
        last[..rest.len()].copy_from_slice(rest);
        for (block, begin) in blocks.iter().chain([&last]).zip((0..).step_by(WIDTH)) {
            self.push(begin, marks_in(*block));
        }
    }

    #[inline]
    fn push(&mut self, begin: u32, mut bits: u64) {
        while bits != 0 {
            self.0.push(begin + bits.trailing_zeros());
            bits &= bits - 1;
        }
    }

    /// The lines of the text that was looked through. The last one may lack its end.
    pub(crate) fn lines<'l>(&'l self, text: &'l [u8]) -> impl Iterator<Item = MarkedLine<'l>> {
        let (mut at, mut begin) = (0, 0);
        std::iter::from_fn(move || {
            let first = at;
            while let Some(&place) = self.0.get(at) {
                at += 1;
                if text[place as usize] == b'\n' {
                    let line = &text[begin as usize..place as usize];
                    let marked = MarkedLine { line, places: &self.0[first..at - 1], begin };
                    begin = place + 1;
                    return Some(marked);
                }
            }
            let line = text.get(begin as usize..).filter(|line| !line.is_empty())?;
            let marked = MarkedLine { line, places: &self.0[first..], begin };
            begin = u32::MAX;
            Some(marked)
        })
    }
}

/// The first lines of a text, with their ends: as many as are looked through at once, and one at least.
pub(crate) fn first_lines(text: &[u8]) -> &[u8] {
    let Some(block) = text.get(..BLOCK) else { return text };
    let end = memrchr(b'\n', block).or_else(|| Some(BLOCK + memchr(b'\n', &text[BLOCK..])?));
    end.map_or(text, |end| &text[..=end])
}

#[inline]
fn marks_in(block: [u8; WIDTH]) -> u64 {
    let block = u8x64::new(block);
    let marks = block.simd_eq(u8x64::splat(b'"')) | block.simd_eq(u8x64::splat(b'\n'));
    marks.to_bitmask()
}

#[cfg(test)]
mod tests {
    use super::*;
    use memchr::memchr_iter;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_line_has_its_own_quotes(
            text in prop::collection::vec(prop::sample::select(b"\"\n\rab ".to_vec()), 0..400),
        ) {
            let mut marks = Marks::default();
            // What another text left behind does not matter.
            marks.find(b"\"\n\"");
            marks.find(&text);
            let mut begin = 0;
            let mut lines = marks.lines(&text);
            for end in memchr_iter(b'\n', &text).chain([text.len()]) {
                if begin < text.len() {
                    let marked = lines.next().unwrap();
                    prop_assert_eq!((marked.begin(), marked.line), (begin, &text[begin..end]));
                    let quotes: Vec<usize> = memchr_iter(b'"', marked.line).collect();
                    let places: Vec<usize> = marked.places.iter().map(|&place| place as usize - begin).collect();
                    prop_assert_eq!(places, quotes);
                }
                begin = end + 1;
            }
            prop_assert!(lines.next().is_none());
        }
    }

    #[test]
    fn blocks_are_whole_lines_of_any_length() {
        let long = "x".repeat(3 * BLOCK);
        let text = format!("{}{long}\n{long}", "short\n".repeat(BLOCK / 4));
        let (mut rest, mut blocks) = (text.as_bytes(), Vec::new());
        while !rest.is_empty() {
            let block = first_lines(rest);
            assert!(block.len() <= BLOCK || block.len() == long.len() + 1 || block.len() == rest.len());
            assert!(block.ends_with(b"\n") || block.len() == rest.len());
            blocks.extend_from_slice(block);
            rest = &rest[block.len()..];
        }
        assert_eq!(blocks, text.as_bytes());
    }
}
