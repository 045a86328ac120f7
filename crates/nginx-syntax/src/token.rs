//! Tokens: the flat cover of the text, without a gap and without an overlap.

use std::ops::Range;

/// One token of a [`Tree`](crate::Tree): what it is and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What the bytes are.
    pub kind: TokenKind,
    /// Where they are, as byte offsets into the text; never empty.
    pub range: Range<u32>,
}

/// What a token is, by the states of `ngx_conf_read_token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// A `}` where nginx looks for the beginning of a token.
    CloseBrace,
    /// From a `#` at the beginning of a token up to the line feed, which it does not include.
    Comment,
    /// An argument in double quotes, both quotes included.
    DoubleQuoted,
    /// What stands between the braces of a `*_by_lua_block`.
    LuaBody,
    /// A `{` that ends an argument or stands alone.
    OpenBrace,
    /// A `;` that ends an argument or stands alone.
    Semicolon,
    /// An argument in single quotes, both quotes included.
    SingleQuoted,
    /// The beginning of an argument in quotes whose closing quote nginx does not find.
    UnclosedQuoted,
    /// Blanks, tabs, carriage returns and line feeds: the only bytes that nginx takes for white space.
    Whitespace,
    /// An argument without quotes.
    Word,
}

impl TokenKind {
    /// Tells whether the token is a directive's name or one of its arguments.
    pub const fn is_argument(self) -> bool {
        matches!(self, Self::DoubleQuoted | Self::SingleQuoted | Self::UnclosedQuoted | Self::Word)
    }

    /// Tells whether nginx passes over the token without a thought.
    pub const fn is_trivia(self) -> bool {
        matches!(self, Self::Comment | Self::Whitespace)
    }
}

/// A token as it is stored: it ends where the next one starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredToken {
    pub(crate) kind: TokenKind,
    pub(crate) start: u32,
}

/// The longest text that is parsed, in bytes.
///
/// One less than offsets could name, so that the line after the last line feed still has a number.
pub(crate) const MAX_TEXT_BYTES: usize = u32::MAX as usize - 1;

/// Turns an index of a text into the form in which offsets are stored.
pub(crate) const fn to_offset(index: usize) -> u32 {
    debug_assert!(index <= MAX_TEXT_BYTES, "the parser refuses longer texts");
    #[expect(clippy::cast_possible_truncation, reason = "the parser refuses texts beyond `MAX_TEXT_BYTES`")]
    {
        index as u32
    }
}

/// Tells whether nginx takes the byte for white space (`ngx_conf_read_token`: no vertical tab, no form feed).
pub(crate) const fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_only_what_nginx_takes_for_it() {
        let white: Vec<u8> = (0..=u8::MAX).filter(|&byte| is_white_space(byte)).collect();
        assert_eq!(white, b"\t\n\r ");
    }

    #[test]
    fn a_kind_is_an_argument_or_trivia_or_punctuation() {
        assert!(TokenKind::UnclosedQuoted.is_argument() && !TokenKind::UnclosedQuoted.is_trivia());
        assert!(TokenKind::Comment.is_trivia() && !TokenKind::Comment.is_argument());
        assert!(!TokenKind::LuaBody.is_argument() && !TokenKind::LuaBody.is_trivia());
    }
}
