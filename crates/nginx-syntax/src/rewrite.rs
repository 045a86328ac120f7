//! Edits in the words of nginx: replace a value, insert a directive, remove one.
//!
//! Each keeps the file's own indentation and line ending, and leaves alone every byte that it need not touch.
//! Where the text around a place is not sound (a directive without `;`, a block without `}`), nothing can be
//! inserted without changing what nginx reads there, and there is no edit.
//!
//! In a text without errors, an edit brings none. In a text that nginx refuses it may: what is written behind an
//! open quote can close it. So can what is written on the line of Lua code with a quote too many. Parse again.

use std::borrow::Cow;
use std::ops::Range;

use crate::argument::Argument;
use crate::block::Block;
use crate::directive::Directive;
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
        // Only a `)` may stand directly behind a quote, as in `if ($a = "b")`.
        let before = self.token.checked_sub(1).and_then(|token| self.tree.token_kind(token));
        if before.is_some_and(TokenKind::is_argument) && !text.starts_with(b")") {
            text.insert(0, b' ');
        }
        keep_apart(&mut text, self.tree, self.range().end);
        replace(self.tree, self.range(), text)
    }
}

impl Directive<'_> {
    /// Returns the edit that gives the directive other arguments; comments between the old ones go with them.
    pub fn replace_arguments(self, values: &[&[u8]]) -> Edit {
        let name_end = self.name().range().end;
        let end = self.arguments().next_back().map_or(name_end, |last| last.range().end);
        let mut text: Vec<u8> = Vec::new();
        for value in values {
            text.push(b' ');
            text.extend_from_slice(&quote_argument(value));
        }
        keep_apart(&mut text, self.tree(), end);
        replace(self.tree(), name_end..end, text)
    }

    /// Returns the edit that puts a directive, or several lines of them, in front of this one.
    ///
    /// On lines of its own if this one begins its line, otherwise on the same line.
    pub fn insert_before(self, directive: &[u8]) -> Edit {
        let tree = self.tree();
        let start = self.range().start;
        let text = match layout::indentation_before(tree, start) {
            Some(indentation) => {
                [&indented(tree, directive, indentation)[..], line_ending(tree), indentation].concat()
            }
            None => [directive, separator_behind(tree, directive)].concat(),
        };
        replace(tree, start..start, text)
    }

    /// Returns the edit that puts a directive, or several lines of them, behind this one.
    ///
    /// On lines of its own if nothing but a comment follows on the line, otherwise on the same line. `None`
    /// if this directive is not terminated.
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

    /// Returns the edit that takes the directive away.
    ///
    /// Its lines go with it, and a comment behind it, if nothing else is on them. `None` if the directive is
    /// not terminated.
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
        let is_empty = tree.slice(start..end).iter().copied().all(is_white_space);
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

/// Adds a blank to an argument that would grow together with what follows it.
fn keep_apart(text: &mut Vec<u8>, tree: &Tree, end: u32) {
    let is_quoted = matches!(text.last(), Some(b'"' | b'\''));
    let is_apart = match tree.slice(end..end + 1).first() {
        None | Some(b';' | b'{') => true,
        Some(b')') => is_quoted,
        Some(&next) => is_white_space(next),
    };
    if !is_apart && !text.is_empty() {
        text.push(b' ');
    }
}

fn insert_on_line(tree: &Tree, at: u32, directive: &[u8]) -> Edit {
    let next = tree.slice(at..at + 1).first().copied();
    let is_apart = next.is_none_or(is_white_space) && !ends_with_comment(directive);
    let behind = if is_apart { b"" } else { separator_behind(tree, directive) };
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
    let mut text = Vec::with_capacity(directive.len());
    for (idx, line) in directive.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if idx > 0 {
            text.extend_from_slice(line_ending(tree));
        }
        if idx > 0 && !line.is_empty() {
            text.extend_from_slice(indentation);
        }
        text.extend_from_slice(line);
    }
    Cow::Owned(text)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parse, apply, parse};

    /// Finds the last directive of a name.
    fn named<'t>(tree: &'t Tree, name: &[u8]) -> Directive<'t> {
        tree.walk()
            .map(|(_, directive)| directive)
            .rfind(|directive| directive.is(name))
            .expect("a directive")
    }

    fn block<'t>(tree: &'t Tree, name: &[u8]) -> Block<'t> {
        named(tree, name).block().expect("a block")
    }

    fn applied(tree: &Tree, edit: &Edit) -> String {
        let text = apply(tree.text(), std::slice::from_ref(edit)).expect("an edit for this text");
        let Parse { errors, .. } = parse(&text[..]);
        assert_eq!(errors, [], "{}", text.escape_ascii());
        String::from_utf8(text).expect("ascii")
    }

    fn edited(text: &str, edit: impl FnOnce(&Tree) -> Option<Edit>) -> String {
        let tree = parse(text.as_bytes()).tree;
        applied(&tree, &edit(&tree).expect("an edit"))
    }

    fn replaced(text: &str, value: &[u8]) -> String {
        edited(text, |tree| {
            named(tree, b"a").arguments().next_back().map(|argument| argument.replace_value(value))
        })
    }

    #[test]
    fn a_value_keeps_its_quotes() {
        assert_eq!(replaced("a 'b c'; # d", b"e'"), "a 'e\\''; # d");
        assert_eq!(replaced("a \"b\";", b"c"), "a \"c\";");
    }

    #[test]
    fn a_value_gets_quotes_if_it_needs_them() {
        assert_eq!(replaced("a b{}", b"c d"), "a \"c d\"{}");
        assert_eq!(replaced("a b{}", b"c$"), "a \"c$\"{}");
        assert_eq!(replaced("a b;", b""), "a \"\";");
    }

    #[test]
    fn a_value_behind_a_quote_stays_apart_from_it() {
        assert_eq!(replaced("a \"b\"){}", b"c"), "a \"b\" c{}");
        assert_eq!(replaced("a \"b\"){}", b")"), "a \"b\"){}");
    }

    #[test]
    fn an_argument_does_not_grow_together_with_what_follows() {
        let tree = parse(*b"a 'b'#c\n;").tree;
        assert_eq!(applied(&tree, &named(&tree, b"a").replace_arguments(&[b"1"])), "a 1 #c\n;");
        let argument = named(&tree, b"a").argument(0).expect("an argument");
        assert_eq!(applied(&tree, &argument.replace_value(b"1")), "a '1' #c\n;");
    }

    #[test]
    fn all_arguments_are_replaced_at_once() {
        let replaced = |text| edited(text, |tree| Some(named(tree, b"a").replace_arguments(&[b"1", b"2 3"])));
        assert_eq!(replaced("a;"), "a 1 \"2 3\";");
        assert_eq!(replaced("a b  c ;"), "a 1 \"2 3\" ;");
        assert_eq!(edited("a b{}", |tree| Some(named(tree, b"a").replace_arguments(&[]))), "a{}");
    }

    #[test]
    fn a_directive_is_put_on_a_line_before_or_behind_another() {
        let text = "s {\n\ta; # b\n}\n";
        assert_eq!(
            edited(text, |tree| Some(named(tree, b"a").insert_before(b"n;"))),
            "s {\n\tn;\n\ta; # b\n}\n"
        );
        assert_eq!(edited(text, |tree| named(tree, b"a").insert_after(b"n;")), "s {\n\ta; # b\n\tn;\n}\n");
        assert_eq!(edited(text, |tree| named(tree, b"s").insert_after(b"n;")), "s {\n\ta; # b\n}\nn;\n");
    }

    #[test]
    fn a_directive_that_shares_its_line_keeps_its_neighbours() {
        let text = "s { a; b; }";
        assert_eq!(edited(text, |tree| Some(named(tree, b"b").insert_before(b"n;"))), "s { a; n; b; }");
        assert_eq!(edited(text, |tree| named(tree, b"a").insert_after(b"n;")), "s { a; n; b; }");
        assert_eq!(edited("a;b;", |tree| named(tree, b"a").insert_after(b"n;")), "a; n; b;");
        assert_eq!(
            edited("s { a;\n  b; }", |tree| named(tree, b"a").insert_after(b"n;")),
            "s { a;\n  n;\n  b; }"
        );
    }

    #[test]
    fn several_lines_are_indented_and_end_like_the_file_s_own() {
        let text = "s {\r\n  a;\r\n}\r\n";
        assert_eq!(
            edited(text, |tree| named(tree, b"a").insert_after(b"n {\n  m;\n\n}")),
            "s {\r\n  a;\r\n  n {\r\n    m;\r\n\r\n  }\r\n}\r\n"
        );
    }

    #[test]
    fn a_comment_in_what_is_inserted_hides_nothing() {
        assert_eq!(
            edited("s { a; }", |tree| Some(named(tree, b"a").insert_before(b"n; # m"))),
            "s { n; # m\na; }"
        );
        assert_eq!(edited("s { a; }", |tree| named(tree, b"a").insert_after(b"n; # m")), "s { a; n; # m\n }");
    }

    #[test]
    fn a_directive_comes_first_in_a_block() {
        let first = |text| edited(text, |tree| Some(block(tree, b"s").insert_first(b"n;")));
        assert_eq!(first("s { # b\n  a;\n}"), "s { # b\n  n;\n  a;\n}");
        assert_eq!(first("  s {\n  }"), "  s {\n      n;\n  }");
        assert_eq!(first("  s {}"), "  s {\n      n;\n  }");
        assert_eq!(first("s { a; }"), "s { n; a; }");
        assert_eq!(first("s {a;}"), "s { n; a;}");
    }

    #[test]
    fn a_directive_comes_last_in_a_block() {
        let last = |text| edited(text, |tree| block(tree, b"s").insert_last(b"n;"));
        assert_eq!(last("s {\n a;\n # b\n}"), "s {\n a;\n # b\n n;\n}");
        assert_eq!(last("s { a; }"), "s { a; n; }");
        assert_eq!(last("s {}"), "s {\n    n;\n}");
        assert_eq!(last("s { a;\n b; }"), "s { a;\n b; n; }");
    }

    #[test]
    fn a_directive_comes_first_or_last_in_the_file() {
        let last = |text| edited(text, |tree| tree.root().insert_last(b"n;"));
        assert_eq!(edited("# c\na;\n", |tree| Some(tree.root().insert_first(b"n;"))), "n;\n# c\na;\n");
        assert_eq!(last("a;\n"), "a;\nn;\n");
        assert_eq!(last("a; # c"), "a; # c\nn;\n");
        assert_eq!(last(""), "n;\n");
    }

    #[test]
    fn a_directive_is_removed_with_its_line() {
        let removed = |text| edited(text, |tree| named(tree, b"a").remove());
        assert_eq!(removed("s {\n  a 1\n  2; # c\n  b;\n}\n"), "s {\n  b;\n}\n");
        assert_eq!(removed("a {\n  b;\n}"), "");
        assert_eq!(removed("s {\n\n  a;\r\n}"), "s {\n\n}");
    }

    #[test]
    fn a_directive_that_shares_its_line_is_removed_alone() {
        let removed = |text| edited(text, |tree| named(tree, b"a").remove());
        assert_eq!(removed("s { a; }"), "s { }");
        assert_eq!(removed("  a; b; # c\n"), "  b; # c\n");
        assert_eq!(removed("  b; a; # c\n"), "  b; # c\n");
        assert_eq!(removed("s {\n  a; }"), "s {\n  }");
    }

    #[test]
    fn nothing_is_inserted_where_nginx_would_read_it_as_something_else() {
        let tree = parse(*b"s { a }\nt {\n b;\n").tree;
        assert_eq!(named(&tree, b"a").insert_after(b"n;"), None);
        assert_eq!(named(&tree, b"a").remove(), None);
        assert_eq!(block(&tree, b"s").insert_last(b"n;"), None);
        assert_eq!(block(&tree, b"t").insert_last(b"n;"), None);
        assert_eq!(tree.root().insert_last(b"n;"), None);
    }

    #[test]
    fn edits_know_what_they_replace() {
        let tree = parse(*b"s {\n  a b;\n}\n").tree;
        let edit = named(&tree, b"a").remove().expect("an edit");
        assert_eq!((edit.range, edit.expected), (4..11, b"  a b;\n".to_vec()));
    }
}
