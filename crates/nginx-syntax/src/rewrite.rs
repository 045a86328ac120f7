//! Edits in the words of nginx: replace a value, insert a directive, remove one.
//!
//! Each keeps the file's own indentation and line ending, and leaves alone every byte that it need not touch. Where the
//! text around a place is not sound (a directive without `;`, a block without `}`), nothing can be inserted without
//! changing what nginx reads there, and there is no edit.

use std::borrow::Cow;
use std::ops::Range;

use crate::argument::Argument;
use crate::block::Block;
use crate::directive::{Directive, Terminator};
use crate::edit::Edit;
use crate::layout;
use crate::quote::{quote_argument, quote_with};
use crate::token::{TokenKind, is_white_space, to_offset};
use crate::tree::Tree;

impl Argument<'_> {
    /// Returns the edit that gives the argument another value; quotes stay, or come if the value needs them.
    pub fn replace_value(self, value: &[u8]) -> Edit {
        let mut text = match self.quote() {
            Some(quote) => quote_with(value, quote),
            None => quote_argument(value),
        };
        // nginx lets only a `)` follow a closing quote: `if ($a = "b")` is the one place with arguments so close.
        let follows_argument =
            self.token.checked_sub(1).and_then(|token| self.tree.token_kind(token)).is_some_and(TokenKind::is_argument);
        if follows_argument && !text.starts_with(b")") {
            text.insert(0, b' ');
        }
        replace(self.tree, self.range(), text)
    }
}

impl Directive<'_> {
    /// Returns the edit that gives the directive other arguments; comments between the old ones go with them.
    pub fn replace_arguments(self, values: &[&[u8]]) -> Edit {
        let name_end = self.name().range().end;
        let end = self.arguments().next_back().map_or(name_end, |last| last.range().end);
        let text = values.iter().flat_map(|value| [b" ".to_vec(), quote_argument(value)].concat()).collect();
        replace(self.tree(), name_end..end, text)
    }

    /// Returns the edit that puts a directive, or several lines of them, in front of this one.
    ///
    /// On lines of its own if this one begins its line, otherwise on the same line.
    pub fn insert_before(self, directive: &[u8]) -> Edit {
        let tree = self.tree();
        let start = self.range().start;
        let text = match layout::indentation_before(tree, start) {
            Some(indentation) => [&indented(tree, directive, indentation)[..], line_ending(tree), indentation].concat(),
            None => [directive, separator_behind(tree, directive)].concat(),
        };
        replace(tree, start..start, text)
    }

    /// Returns the edit that puts a directive, or several lines of them, behind this one and its trailing comment.
    ///
    /// On lines of its own if nothing else follows on the line, otherwise on the same line. `None` if this directive is
    /// not terminated.
    pub fn insert_after(self, directive: &[u8]) -> Option<Edit> {
        if !self.is_closed() {
            return None;
        }
        let tree = self.tree();
        let Range { start, end } = self.range();
        let Some(line_end) = layout::end_of_bare_line(tree, end) else {
            return Some(insert_on_line(tree, end, directive));
        };
        let indentation = match layout::indentation_before(tree, start) {
            Some(indentation) => indentation.to_vec(),
            None => layout::indentation_in(self.parent_block()),
        };
        let text = [line_ending(tree), &indentation, &indented(tree, directive, &indentation)].concat();
        Some(replace(tree, line_end..line_end, text))
    }

    /// Returns the edit that takes the directive away, with its line if nothing but a comment shares the line.
    ///
    /// `None` if the directive is not terminated.
    pub fn remove(self) -> Option<Edit> {
        if !self.is_closed() {
            return None;
        }
        let tree = self.tree();
        let Range { start, end } = self.range();
        let begins_line = layout::indentation_before(tree, start).is_some();
        let range = match (begins_line, layout::end_of_bare_line(tree, end)) {
            (true, Some(line_end)) => layout::whole_lines(tree, start..line_end),
            (true, None) => start..end + blanks_behind(tree, end),
            (false, _) => start - blanks_before(tree, start)..end,
        };
        Some(replace(tree, range, Vec::new()))
    }
}

impl Block<'_> {
    /// Returns the edit that puts a directive, or several lines of them, in front of all others in the block.
    pub fn insert_first(self, directive: &[u8]) -> Edit {
        let tree = self.tree();
        let Range { start, end } = self.range();
        let indentation = layout::indentation_in(self);
        let lines = indented(tree, directive, &indentation);
        let Some(owner) = self.owner() else {
            return replace(tree, 0..0, [&indentation[..], &lines, line_ending(tree)].concat());
        };
        if let Some(line_end) = layout::end_of_bare_line(tree, start) {
            let text = [line_ending(tree), &indentation, &lines].concat();
            return replace(tree, line_end..line_end, text);
        }
        let is_empty = self.is_closed() && tree.slice(start..end).iter().copied().all(is_white_space);
        if !is_empty {
            return insert_on_line(tree, start, directive);
        }
        let outer = layout::indentation_of_line(tree, owner.range().start);
        let text = [line_ending(tree), &indentation, &lines, line_ending(tree), outer].concat();
        replace(tree, start..end, text)
    }

    /// Returns the edit that puts a directive, or several lines of them, behind all others in the block.
    ///
    /// `None` if the block has no `}` or its last directive is not terminated.
    pub fn insert_last(self, directive: &[u8]) -> Option<Edit> {
        let last = self.directives().last();
        if !self.is_closed() || last.is_some_and(|last| !last.is_closed()) {
            return None;
        }
        let tree = self.tree();
        let indentation = layout::indentation_in(self);
        let end = self.range().end;
        if self.owner().is_none() {
            let is_line_open = end > layout::line_start(tree, end);
            let before = if is_line_open { line_ending(tree) } else { b"" };
            let lines = indented(tree, directive, &indentation);
            return Some(replace(tree, end..end, [before, &indentation, &lines, line_ending(tree)].concat()));
        }
        if layout::indentation_before(tree, end).is_some() {
            let at = layout::line_start(tree, end);
            let lines = indented(tree, directive, &indentation);
            return Some(replace(tree, at..at, [&indentation[..], &lines, line_ending(tree)].concat()));
        }
        match last {
            Some(last) => last.insert_after(directive),
            None => Some(self.insert_first(directive)),
        }
    }
}

fn replace(tree: &Tree, range: Range<u32>, text: Vec<u8>) -> Edit {
    Edit { expected: tree.slice(range.clone()).to_vec(), range, text }
}

fn insert_on_line(tree: &Tree, at: u32, directive: &[u8]) -> Edit {
    // What follows may be white space already; one blank more does no harm, one less might.
    let behind = if ends_with_comment(directive) { line_ending(tree) } else { b"" };
    replace(tree, at..at, [b" ", directive, behind].concat())
}

fn separator_behind(tree: &Tree, directive: &[u8]) -> &'static [u8] {
    if ends_with_comment(directive) { line_ending(tree) } else { b" " }
}

/// Tells whether something written behind the directives on the same line would be part of a comment.
fn ends_with_comment(directive: &[u8]) -> bool {
    let parse = crate::parse(directive);
    parse.tree.tokens().next_back().is_some_and(|token| token.kind == TokenKind::Comment)
}

/// Indents all lines but the first one, and gives them the file's line ending.
fn indented<'d>(tree: &Tree, directive: &'d [u8], indentation: &[u8]) -> Cow<'d, [u8]> {
    if !directive.contains(&b'\n') {
        return Cow::Borrowed(directive);
    }
    let lines = directive.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let between = [line_ending(tree), indentation].concat();
    Cow::Owned(lines.collect::<Vec<_>>().join(&between[..]))
}

fn line_ending(tree: &Tree) -> &'static [u8] {
    layout::line_ending(tree.text())
}

fn blanks_behind(tree: &Tree, offset: u32) -> u32 {
    to_offset(layout::blank_len(tree.slice(offset..to_offset(tree.text().len()))))
}

fn blanks_before(tree: &Tree, offset: u32) -> u32 {
    let line = tree.slice(layout::line_start(tree, offset)..offset);
    let n_blanks = line.iter().rev().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count();
    to_offset(n_blanks)
}
