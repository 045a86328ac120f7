//! Arguments: what nginx would find in `cf->args`.

use std::borrow::Cow;
use std::ops::Range;

use crate::token::TokenKind;
use crate::tree::Tree;

/// The name or an argument of a directive.
#[derive(Clone, Copy, Debug)]
pub struct Argument<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) token: u32,
}

/// What an argument is quoted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// `"`
    Double,
    /// `'`
    Single,
}

impl<'t> Argument<'t> {
    /// Returns the bytes that nginx would pass to the directive: without quotes, escapes resolved.
    ///
    /// Variables are not looked at: to the reader, `$host` is five bytes like any others. Borrows the text
    /// wherever it has no escapes.
    pub fn value(self) -> Cow<'t, [u8]> {
        value_of(self.kind(), self.raw())
    }

    /// Returns the bytes as they are written, quotes and backslashes included.
    pub fn raw(self) -> &'t [u8] {
        self.tree.slice(self.range())
    }

    /// Returns where the argument is, quotes included.
    pub fn range(self) -> Range<u32> {
        self.tree.token_range(self.token)
    }

    /// Returns where the argument is, without its quotes.
    pub fn content_range(self) -> Range<u32> {
        let Range { start, end } = self.range();
        let (before, after) = quotes_around(self.kind());
        start + before..end - after
    }

    /// Returns the quotes around the argument; `None` for a word, even for one with quotes in the middle.
    pub fn quote(self) -> Option<Quote> {
        match self.kind() {
            TokenKind::SingleQuoted => Some(Quote::Single),
            TokenKind::UnclosedQuoted if self.raw().starts_with(b"'") => Some(Quote::Single),
            TokenKind::DoubleQuoted | TokenKind::UnclosedQuoted => Some(Quote::Double),
            _ => None,
        }
    }

    /// Returns the tree that the argument belongs to.
    pub fn tree(self) -> &'t Tree {
        self.tree
    }

    pub(crate) fn kind(self) -> TokenKind {
        self.tree.token_kind(self.token).unwrap_or(TokenKind::Word)
    }
}

impl Quote {
    /// Returns the quote itself.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Double => b'"',
            Self::Single => b'\'',
        }
    }

    pub(crate) const fn token_kind(self) -> TokenKind {
        match self {
            Self::Double => TokenKind::DoubleQuoted,
            Self::Single => TokenKind::SingleQuoted,
        }
    }
}

/// Returns what nginx reads an argument token as.
pub(crate) fn value_of(kind: TokenKind, raw: &[u8]) -> Cow<'_, [u8]> {
    let (before, after) = quotes_around(kind);
    let content = raw.get(before as usize..raw.len() - after as usize).unwrap_or_default();
    if content.contains(&b'\\') { Cow::Owned(unescape(content)) } else { Cow::Borrowed(content) }
}

/// Returns the byte that a backslash and the given byte stand for; `None` if nginx keeps the backslash.
pub(crate) const fn escaped_by(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\'' | b'\\' => Some(byte),
        b't' => Some(b'\t'),
        b'r' => Some(b'\r'),
        b'n' => Some(b'\n'),
        _ => None,
    }
}

/// Resolves escapes as the copy loop at the end of `ngx_conf_read_token` does, within quotes and without.
fn unescape(content: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(content.len());
    let mut bytes = content.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = if byte == b'\\' { bytes.peek().copied().and_then(escaped_by) } else { None };
        if escaped.is_some() {
            bytes.next();
        }
        value.push(escaped.unwrap_or(byte));
    }
    value
}

/// Returns how many bytes of the token stand before and behind its content.
const fn quotes_around(kind: TokenKind) -> (u32, u32) {
    match kind {
        TokenKind::DoubleQuoted | TokenKind::SingleQuoted => (1, 1),
        TokenKind::UnclosedQuoted => (1, 0),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn value(text: &[u8]) -> Vec<u8> {
        let tree = parse([b"x ", text, b";"].concat()).tree;
        let directive = tree.root().directives().next().expect("a directive");
        assert_eq!(directive.arguments().count(), 1, "{}", text.escape_ascii());
        directive.argument(0).expect("an argument").value().into_owned()
    }

    #[test]
    fn quotes_are_taken_off() {
        assert_eq!(value(b"\"a b\""), b"a b");
        assert_eq!(value(b"'a\"b'"), b"a\"b");
        assert_eq!(value(b"''"), b"");
        assert_eq!(value(b"a\"b\""), b"a\"b\"", "quotes in the middle are bytes like others");
    }

    #[test]
    fn the_escapes_of_nginx_are_resolved_and_no_others() {
        for (open, close) in [(&b"\""[..], &b"\""[..]), (b"'", b"'"), (b"", b"")] {
            let value = |text: &[u8]| value(&[open, text, close].concat());
            assert_eq!(value(br"\t\r\n\\\'\x"), b"\t\r\n\\'\\x");
            assert_eq!(value(br#"a\"b"#), br#"a"b"#);
            assert_eq!(value(br"\.\d\$\;\{\ "), br"\.\d\$\;\{\ ");
            assert_eq!(value(br"\\n"), br"\n");
        }
    }

    #[test]
    fn values_without_escapes_are_borrowed() {
        let tree = parse(*b"x $host 'a\\n';").tree;
        let directive = tree.root().directives().next().expect("a directive");
        let borrowed: Vec<_> =
            directive.arguments().map(|argument| matches!(argument.value(), Cow::Borrowed(_))).collect();
        assert_eq!(borrowed, [true, false]);
    }

    #[test]
    fn ranges_are_with_and_without_quotes() {
        let tree = parse(*b"x 'ab' cd;").tree;
        let directive = tree.root().directives().next().expect("a directive");
        let ranges: Vec<_> =
            directive.arguments().map(|argument| (argument.range(), argument.content_range())).collect();
        assert_eq!(ranges, [(2..6, 3..5), (7..9, 7..9)]);
        let quotes: Vec<_> = directive.arguments().map(Argument::quote).collect();
        assert_eq!(quotes, [Some(Quote::Single), None]);
    }

    #[test]
    fn an_unclosed_quote_has_a_value_all_the_same() {
        let tree = parse(*b"x \"a\n;").tree;
        let argument =
            tree.root().directives().next().and_then(|directive| directive.argument(0)).expect("one");
        assert_eq!(
            (&*argument.value(), argument.quote(), argument.raw()),
            (&b"a"[..], Some(Quote::Double), &b"\"a"[..])
        );
        assert_eq!(argument.content_range(), 3..4);
    }

    #[test]
    fn a_backslash_at_the_end_of_the_text_stays() {
        let tree = parse(*b"x a\\").tree;
        let argument =
            tree.root().directives().next().and_then(|directive| directive.argument(0)).expect("one");
        assert_eq!(&*argument.value(), b"a\\");
    }
}
