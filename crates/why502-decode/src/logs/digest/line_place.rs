//! Where a line stands, and how it is quoted.

use super::intern::cut_text;
use std::sync::Arc;
use why502_facts::LineRef;

/// The longest text of a line that is kept.
const MAX_TEXT: usize = 2048;

/// Where a line stands in a file and in the stream.
#[derive(Clone, Debug)]
pub(super) struct LinePlace {
    pub(super) file: Arc<str>,
    pub(super) offset: u64,
    /// How many lines were pushed before it.
    pub(super) seq: u64,
}

impl LinePlace {
    /// A reference with the line's text.
    pub(super) fn quote(&self, line: &[u8]) -> LineRef {
        LineRef {
            file: Arc::clone(&self.file),
            offset: self.offset,
            text: Some(cut_text(line, MAX_TEXT).into()),
        }
    }

    /// A reference without the text.
    pub(super) fn bare(&self) -> LineRef {
        LineRef { file: Arc::clone(&self.file), offset: self.offset, text: None }
    }
}
