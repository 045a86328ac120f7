//! Comments beside a directive: what was switched off often tells what was meant.

use crate::{Gateway, Span};
use std::sync::Arc;
use why502_facts::lossy;

impl Gateway {
    /// The comments of the block that a place stands in, with their places.
    pub fn comments_near(&self, at: &Span) -> Vec<(String, Span)> {
        let Some(source) = self.source(&at.file) else { return Vec::new() };
        let tree = &source.tree;
        let Some(directive) = tree.directive_at(at.begin) else { return Vec::new() };
        let place = |range: std::ops::Range<u32>| {
            let position = tree.line_column(range.start);
            Span {
                file: Arc::clone(&at.file),
                line: position.line,
                column: position.column,
                begin: range.start,
                end: range.end,
            }
        };
        let comments = directive.parent_block().comments();
        comments.map(|comment| (lossy(comment.text()), place(comment.range()))).collect()
    }
}
