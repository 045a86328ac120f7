//! Changes of directives, as splices of the files.

use crate::{Gateway, Span};
use nginx_syntax::{Directive, Edit, Tree};
use std::sync::Arc;

/// A directive that should be set: its name, its arguments, and where it is set now (its first argument).
pub type WantedDirective = (String, Vec<String>, Option<Span>);

impl Gateway {
    /// The splices that set directives: in place where they are set already, else on lines of their own behind the
    /// directive that `near` is in. Empty if a file has no such place (any more).
    pub fn set_directives(&self, near: &Span, wanted: &[WantedDirective]) -> Vec<(Span, String)> {
        let mut splices = Vec::new();
        let mut lines: Vec<Vec<u8>> = Vec::new();
        for (name, arguments, at) in wanted {
            let values: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
            match at {
                Some(at) => {
                    let splice = self.splice(at, |directive| Some(directive.replace_arguments(&values)));
                    splices.extend(splice);
                }
                None => lines.push(nginx_syntax::format_directive(name.as_bytes(), &values)),
            }
        }
        if !lines.is_empty() {
            // One splice: several at the same place would have no order.
            splices.extend(self.splice(near, |directive| insert_lines(directive, &lines)));
        }
        splices
    }

    /// The splice that puts text in front of the directive that a place is in: lines of their own.
    pub fn insert_before(&self, at: &Span, text: &str) -> Option<(Span, String)> {
        self.splice(at, |directive| Some(directive.insert_before(text.as_bytes())))
    }

    /// The splice that puts a line behind all others in the block of the directive that a place is in.
    pub fn insert_last(&self, at: &Span, line: &str) -> Option<(Span, String)> {
        self.splice(at, |directive| directive.block()?.insert_last(line.as_bytes()))
    }

    fn splice(
        &self,
        at: &Span,
        change: impl FnOnce(Directive<'_>) -> Option<Edit>,
    ) -> Option<(Span, String)> {
        let source = self.source(&at.file)?;
        let tree = &source.tree;
        let edit = change(tree.directive_at(at.begin)?)?;
        Some((place(tree, at, &edit), String::from_utf8(edit.text).ok()?))
    }
}

fn insert_lines(directive: Directive<'_>, lines: &[Vec<u8>]) -> Option<Edit> {
    let mut edits = lines.iter().map(|line| directive.insert_after(line));
    let mut first = edits.next()??;
    for edit in edits {
        first.text.extend(edit?.text);
    }
    Some(first)
}

fn place(tree: &Tree, at: &Span, edit: &Edit) -> Span {
    let position = tree.line_column(edit.range.start);
    Span {
        file: Arc::clone(&at.file),
        line: position.line,
        column: position.column,
        begin: edit.range.start,
        end: edit.range.end,
    }
}

impl Gateway {
    /// The place of a directive's argument of that value, with the space before it: what removing it takes away.
    pub fn parameter(&self, at: &Span, value: &str) -> Option<Span> {
        let source = self.source(&at.file)?;
        let tree = &source.tree;
        let directive = tree.directive_at(at.begin)?;
        let mut before = directive.name().range().end;
        for argument in directive.arguments() {
            if *argument.value() == *value.as_bytes() {
                let position = tree.line_column(before);
                return Some(Span {
                    file: Arc::clone(&at.file),
                    line: position.line,
                    column: position.column,
                    begin: before,
                    end: argument.range().end,
                });
            }
            before = argument.range().end;
        }
        None
    }
}
