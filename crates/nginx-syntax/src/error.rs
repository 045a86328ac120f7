//! What nginx's reader refuses, in nginx's own words.

use std::error::Error;
use std::fmt;

use crate::argument::Quote;

/// One thing that nginx's configuration reader refuses.
///
/// Its `Display` gives nginx's words without the trailing ` in FILE:LINE`; bytes that are not UTF-8 are
/// replaced there, [`SyntaxError::message`] keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub kind: SyntaxErrorKind,
    /// Where a human should look, as a byte offset: where the `;` is missing, where the quote was opened.
    pub offset: u32,
    /// The line that nginx would print, counted from 1; often far behind the line of [`SyntaxError::offset`].
    pub line: u32,
}

/// What is wrong, together with the bytes that nginx's message quotes.
///
/// Named after the mistake: nginx says `unexpected "}"` both for a brace too many and for a semicolon too
/// few.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxErrorKind {
    /// `block directives are not supported in -g option` (`ngx_conf_parse`).
    BlockOnCommandLine,
    /// `too long parameter, probably missing terminating "…" character`: no closing quote in 4096 bytes.
    LongQuoted {
        /// The quote that is probably missing.
        quote: Quote,
    },
    /// `too long parameter "…..." started`: a word or a comment beyond 4096 bytes.
    LongToken {
        /// The first ten bytes of it, which nginx prints.
        started: Vec<u8>,
    },
    /// `too long lua code block, …`: lua-nginx-module found none of its tokens in 4096 bytes.
    LuaBlockTooLong,
    /// `unexpected end of file, expecting terminating characters for lua code block`.
    LuaBlockUnclosed,
    /// `Lua code block missing the closing long bracket "…", …`.
    ///
    /// lua-nginx-module looks for it only in the 4096 bytes that nginx holds in its buffer.
    LuaBracketUnclosed {
        /// The bracket that would close it, such as `]==]`.
        bracket: Vec<u8>,
    },
    /// `unexpected "…"` behind a closing quote, where nginx wants white space, `;`, `{` or `)`.
    MissingSpace {
        /// The byte behind the quote.
        byte: u8,
    },
    /// Not nginx's: the text is longer than offsets can tell, nothing was parsed.
    TextTooLong {
        /// The length of the text in bytes.
        bytes: u64,
    },
    /// `unexpected end of file, expecting "}"` (`ngx_conf_parse`).
    UnclosedBlock,
    /// `unexpected "}"` with no block to close (`ngx_conf_parse`).
    UnmatchedCloseBrace,
    /// `unexpected "{"` where a directive should begin.
    UnnamedBlock,
    /// `unexpected ";"` where a directive should begin.
    UnnamedDirective,
    /// `unexpected end of file, expecting ";" or "}"`.
    UnterminatedAtEnd,
    /// `unexpected "}"` because the directive before it has no `;`.
    UnterminatedInBlock,
    /// `unexpected end of parameter, expecting ";"`: the same at the end of `-g`.
    UnterminatedOnCommandLine,
}

impl SyntaxError {
    /// Returns nginx's words as the bytes that nginx writes, without the trailing ` in FILE:LINE`.
    pub fn message(&self) -> Vec<u8> {
        let quoting =
            |before: &str, quoted: &[u8], after: &str| [before.as_bytes(), quoted, after.as_bytes()].concat();
        match &self.kind {
            SyntaxErrorKind::LongQuoted { quote } => quoting(
                "too long parameter, probably missing terminating \"",
                &[quote.byte()],
                "\" character",
            ),
            SyntaxErrorKind::LongToken { started } => {
                quoting("too long parameter \"", started, "...\" started")
            }
            SyntaxErrorKind::LuaBracketUnclosed { bracket } => quoting(
                "Lua code block missing the closing long bracket \"",
                bracket,
                "\", the inlined Lua code may be too long",
            ),
            SyntaxErrorKind::MissingSpace { byte } => quoting("unexpected \"", &[*byte], "\""),
            SyntaxErrorKind::TextTooLong { bytes } => {
                format!("text of {bytes} bytes is too long to be parsed").into_bytes()
            }
            kind => kind.fixed_words().as_bytes().to_vec(),
        }
    }
}

impl SyntaxErrorKind {
    const fn fixed_words(&self) -> &'static str {
        match self {
            Self::BlockOnCommandLine => "block directives are not supported in -g option",
            Self::LuaBlockTooLong => "too long lua code block, probably missing terminating characters",
            Self::LuaBlockUnclosed => {
                "unexpected end of file, expecting terminating characters for lua code block"
            }
            Self::UnclosedBlock => "unexpected end of file, expecting \"}\"",
            Self::UnmatchedCloseBrace | Self::UnterminatedInBlock => "unexpected \"}\"",
            Self::UnnamedBlock => "unexpected \"{\"",
            Self::UnnamedDirective => "unexpected \";\"",
            Self::UnterminatedAtEnd => "unexpected end of file, expecting \";\" or \"}\"",
            Self::UnterminatedOnCommandLine => "unexpected end of parameter, expecting \";\"",
            // The others quote bytes: `message` has them.
            Self::LongQuoted { .. }
            | Self::LongToken { .. }
            | Self::LuaBracketUnclosed { .. }
            | Self::MissingSpace { .. }
            | Self::TextTooLong { .. } => "",
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.message()))
    }
}

impl Error for SyntaxError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(kind: SyntaxErrorKind) -> String {
        SyntaxError { kind, offset: 0, line: 1 }.to_string()
    }

    #[test]
    fn the_words_are_nginx_s() {
        assert_eq!(words(SyntaxErrorKind::MissingSpace { byte: b'x' }), r#"unexpected "x""#);
        assert_eq!(words(SyntaxErrorKind::UnterminatedInBlock), words(SyntaxErrorKind::UnmatchedCloseBrace));
        assert_eq!(
            words(SyntaxErrorKind::LongToken { started: b"0123456789".to_vec() }),
            r#"too long parameter "0123456789..." started"#
        );
        assert_eq!(
            words(SyntaxErrorKind::LongQuoted { quote: Quote::Single }),
            r#"too long parameter, probably missing terminating "'" character"#
        );
        assert_eq!(
            words(SyntaxErrorKind::LuaBracketUnclosed { bracket: b"]=]".to_vec() }),
            r#"Lua code block missing the closing long bracket "]=]", the inlined Lua code may be too long"#
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_survive_in_the_message() {
        let error = SyntaxError { kind: SyntaxErrorKind::MissingSpace { byte: 0xff }, offset: 0, line: 1 };
        assert_eq!(error.message(), b"unexpected \"\xff\"");
        assert_eq!(error.to_string(), "unexpected \"\u{fffd}\"");
    }

    #[test]
    fn no_kind_is_without_words() {
        for kind in [
            SyntaxErrorKind::BlockOnCommandLine,
            SyntaxErrorKind::LuaBlockTooLong,
            SyntaxErrorKind::LuaBlockUnclosed,
            SyntaxErrorKind::TextTooLong { bytes: 5_000_000_000 },
            SyntaxErrorKind::UnclosedBlock,
            SyntaxErrorKind::UnnamedBlock,
            SyntaxErrorKind::UnnamedDirective,
            SyntaxErrorKind::UnterminatedAtEnd,
            SyntaxErrorKind::UnterminatedOnCommandLine,
        ] {
            assert!(!words(kind.clone()).is_empty(), "{kind:?}");
        }
    }
}
