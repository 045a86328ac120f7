//! Lines and columns, by an index of line starts.

use std::fmt;
use std::ops::Range;

use crate::token::to_offset;

/// A place in a text as an editor shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineColumn {
    /// The line, counted from 1; lines end with a line feed, as nginx counts them.
    pub line: u32,
    /// The column in bytes, counted from 1.
    pub column: u32,
}

impl fmt::Display for LineColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Where each line starts; never empty, ascending.
#[derive(Debug)]
pub(crate) struct LineIndex {
    starts: Vec<u32>,
    text_len: u32,
}

impl LineIndex {
    pub(crate) fn new(text: &[u8]) -> Self {
        let line_feeds = text.iter().enumerate().filter(|&(_, &byte)| byte == b'\n');
        let starts = std::iter::once(0).chain(line_feeds.map(|(idx, _)| to_offset(idx + 1))).collect();
        Self { starts, text_len: to_offset(text.len()) }
    }

    pub(crate) fn n_lines(&self) -> u32 {
        to_offset(self.starts.len())
    }

    /// Returns the place of an offset; offsets behind the text are taken for its end.
    pub(crate) fn line_column(&self, offset: u32) -> LineColumn {
        let offset = offset.min(self.text_len);
        let line = self.starts.partition_point(|&start| start <= offset);
        let start = line.checked_sub(1).and_then(|idx| self.starts.get(idx)).copied().unwrap_or(0);
        LineColumn { line: to_offset(line), column: offset - start + 1 }
    }

    /// Returns where a line is, its line feed included; `None` if there is no such line.
    pub(crate) fn line_range(&self, line: u32) -> Option<Range<u32>> {
        let idx = line.checked_sub(1)? as usize;
        let start = *self.starts.get(idx)?;
        Some(start..self.starts.get(idx + 1).copied().unwrap_or(self.text_len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns() {
        let index = LineIndex::new(b"ab\n\ncd");
        let place = |offset| index.line_column(offset).to_string();
        assert_eq!([0, 2, 3, 4, 5, 6].map(place), ["1:1", "1:3", "2:1", "3:1", "3:2", "3:3"]);
    }

    #[test]
    fn offsets_behind_the_text_are_its_end() {
        assert_eq!(LineIndex::new(b"ab\n").line_column(99), LineColumn { line: 2, column: 1 });
        assert_eq!(LineIndex::new(b"").line_column(1), LineColumn { line: 1, column: 1 });
    }

    #[test]
    fn every_line_has_a_range() {
        let index = LineIndex::new(b"ab\r\n\ncd");
        assert_eq!(index.n_lines(), 3);
        let ranges: Vec<_> = (0..=4).map(|line| index.line_range(line)).collect();
        assert_eq!(ranges, [None, Some(0..4), Some(4..5), Some(5..7), None]);
    }
}
