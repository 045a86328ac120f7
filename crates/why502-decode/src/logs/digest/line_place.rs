//! Where a line stands, and how it is quoted.

use super::intern::cut_text;
use std::sync::Arc;
use why502_facts::LineRef;

/// The longest text of a line that is kept.
const MAX_TEXT: usize = 2048;

/// Where a line stands in a file and in the stream. It borrows the file's name: most lines are forgotten, and two threads
/// that count the same name up and down for each of them wait for each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinePlace<'f> {
    pub(super) file: &'f Arc<str>,
    pub(super) offset: u64,
    /// How many lines were pushed before it.
    pub(super) seq: u64,
}

impl LinePlace<'_> {
    /// A reference with the line's text.
    pub(super) fn quote(self, line: &[u8]) -> LineRef {
        LineRef { text: Some(cut_text(line, MAX_TEXT).into()), ..self.bare() }
    }

    /// A reference without the text.
    pub(super) fn bare(self) -> LineRef {
        LineRef { file: Arc::clone(self.file), offset: self.offset, text: None }
    }

    /// The place of a line that is remembered.
    pub(super) fn keep(self) -> KeptPlace {
        KeptPlace { file: Arc::clone(self.file), offset: self.offset, seq: self.seq }
    }
}

/// Where a line stands that is remembered.
#[derive(Clone, Debug)]
pub(super) struct KeptPlace {
    pub(super) file: Arc<str>,
    pub(super) offset: u64,
    pub(super) seq: u64,
}

impl KeptPlace {
    pub(super) fn place(&self) -> LinePlace<'_> {
        LinePlace { file: &self.file, offset: self.offset, seq: self.seq }
    }

    /// Takes another line's place.
    pub(super) fn replace(&mut self, place: LinePlace<'_>) {
        if !Arc::ptr_eq(&self.file, place.file) {
            self.file = Arc::clone(place.file);
        }
        self.offset = place.offset;
        self.seq = place.seq;
    }
}
