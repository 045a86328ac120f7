//! `ngx_conf_read_token`, state by state, as a lexer that keeps every byte.
//!
//! nginx reads through a buffer of 4096 bytes and keeps in it what it has of the current token. Two things
//! depend on that buffer and are therefore simulated here, although the text is in memory: a token that does
//! not fit is an error ("too long parameter"), and lua-nginx-module sees only what the buffer holds when it
//! looks for closing brackets. [`Lexer::peek`] is the one place that moves the buffer.
//!
//! What becomes of nginx's variables: `quoted` and `variable` are [`Escapes`]; `d_quoted`, `s_quoted` and
//! `sharp_comment` are the functions that read such tokens; `last_space` and `need_space` are [`After`];
//! `nelts` belongs to the parser, which knows whether a directive has begun.
//!
//! nginx has read its configuration like this since 1.15.3. Before that, white space did not move `start`, so
//! much of it between two arguments could fill the buffer; before 1.13.8, `${` at the beginning of an argument
//! was not a variable. Neither is imitated.

use crate::argument::Quote;
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::lua::{self, LuaStart};
use crate::parser::MAX_ERRORS;
use crate::token::{TokenKind, is_white_space, to_offset};

/// The size of nginx's read buffer in bytes (`NGX_CONF_BUFFER`).
pub(crate) const BUFFER_BYTES: usize = 4096;

/// Where nginx has the text from; the command line has no buffer to overflow and its own messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    CommandLine,
    File,
}

/// The errors so far, the first one being nginx's.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    pub(crate) list: Vec<SyntaxError>,
}

impl Errors {
    pub(crate) fn report(&mut self, kind: SyntaxErrorKind, offset: usize, line: u32) {
        if self.list.len() < MAX_ERRORS {
            self.list.push(SyntaxError { kind, offset: to_offset(offset), line });
        }
    }
}

/// Cuts a text into tokens; the parser asks for one after the other.
#[derive(Debug)]
pub(crate) struct Lexer<'t> {
    text: &'t [u8],
    source: Source,
    pos: usize,
    /// The line that nginx would print now (`cf->conf_file->line`).
    line: u32,
    /// Up to where nginx has read the file (`b->last`).
    buffered: usize,
    /// From where on nginx keeps bytes when it reads more (`start`).
    kept: usize,
    /// The line of `kept` (`start_line`).
    kept_line: u32,
    after: After,
}

/// What was read last, as far as nginx reads on differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// A closing quote: `need_space` in nginx.
    Quote,
    /// White space, a comment, punctuation or nothing: `last_space` in nginx.
    Separator,
    /// A word. Only white space, `;`, `{` or the end can follow, anything else would have been part of it.
    Word,
}

enum Peek {
    Byte(u8),
    End,
    /// The buffer holds nothing but the current token, and there is more of it.
    Full,
}

/// How the body of a `*_by_lua_block` ended.
pub(crate) struct LuaEnd {
    /// Where the body ends: at the closing brace, or at the end of the text.
    pub(crate) body_end: usize,
    pub(crate) is_closed: bool,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t [u8], source: Source) -> Self {
        let buffered = match source {
            Source::CommandLine => text.len(),
            Source::File => 0,
        };
        Self { text, source, pos: 0, line: 1, buffered, kept: 0, kept_line: 1, after: After::Separator }
    }

    /// Returns how far the text has been cut.
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// Returns the line that nginx would print now.
    pub(crate) fn line(&self) -> u32 {
        self.line
    }

    /// Cuts the next token, which goes from the old to the new [`Lexer::pos`]; `None` at the end of the text.
    pub(crate) fn next(&mut self, errors: &mut Errors) -> Option<TokenKind> {
        let byte = loop {
            match self.peek() {
                Peek::Byte(byte) => break byte,
                Peek::End => return None,
                Peek::Full => self.give_up_on_long_token(errors),
            }
        };
        if self.after == After::Quote {
            self.check_space_after_quote(byte, errors);
        }
        Some(match byte {
            b';' => self.punctuation(TokenKind::Semicolon),
            b'{' => self.punctuation(TokenKind::OpenBrace),
            b'}' => self.punctuation(TokenKind::CloseBrace),
            b'#' => self.comment(errors),
            b'"' => self.quoted(Quote::Double, errors),
            b'\'' => self.quoted(Quote::Single, errors),
            _ if is_white_space(byte) => self.white_space(),
            _ => self.word(errors),
        })
    }

    /// Reads over Lua code; to be called directly after the `{` of the block, at `open_brace`.
    ///
    /// Leaves the lexer behind the closing brace, if there is one.
    pub(crate) fn lua_body(&mut self, open_brace: usize, errors: &mut Errors) -> LuaEnd {
        let start = LuaStart { pos: self.pos, line: self.line, buffered: self.buffered };
        let end = lua::read_block(self.text, start).unwrap_or_else(|failure| {
            let offset = failure.offset.unwrap_or(open_brace);
            errors.report(failure.kind, offset, failure.line);
            // Whatever the buffer could not hold may well be good Lua: look again without one.
            lua::read_block(self.text, LuaStart { buffered: self.text.len(), ..start })
                .unwrap_or_else(|_| lua::to_the_end(self.text, start))
        });
        self.pos = end.pos;
        self.line = end.line;
        self.buffered = end.buffered;
        self.begin_token();
        self.after = After::Separator;
        LuaEnd { body_end: end.body_end, is_closed: end.body_end < end.pos }
    }

    /// Looks at the next byte, and refills nginx's buffer if nginx would have to.
    ///
    /// nginx complains of a full buffer only when it needs a further byte, so a token of 4096 bytes at the
    /// very end of the file is an unexpected end of the file.
    fn peek(&mut self) -> Peek {
        if self.pos >= self.buffered {
            if self.pos >= self.text.len() {
                return Peek::End;
            }
            if self.pos - self.kept >= BUFFER_BYTES {
                return Peek::Full;
            }
            self.buffered = self.text.len().min(self.kept + BUFFER_BYTES);
        }
        self.text.get(self.pos).map_or(Peek::End, |&byte| Peek::Byte(byte))
    }

    /// Steps over the byte that [`Lexer::peek`] has shown.
    fn bump(&mut self, byte: u8) {
        self.pos += 1;
        if byte == b'\n' {
            self.line += 1;
        }
    }

    /// Says that nginx keeps the bytes from here on.
    fn begin_token(&mut self) {
        self.kept = self.pos;
        self.kept_line = self.line;
    }

    fn punctuation(&mut self, kind: TokenKind) -> TokenKind {
        self.pos += 1;
        // `ngx_conf_read_token` returns on these, and starts afresh when it is called again.
        self.begin_token();
        self.after = After::Separator;
        kind
    }

    fn white_space(&mut self) -> TokenKind {
        // The white space that ends an argument does not move nginx's `start`, all further white space does.
        let mut moves_start = self.after == After::Separator;
        self.after = After::Separator;
        while let Peek::Byte(byte) = self.peek() {
            if !is_white_space(byte) {
                break;
            }
            let at = self.pos;
            self.bump(byte);
            if moves_start {
                self.kept = at;
                self.kept_line = self.line;
            }
            moves_start = true;
        }
        TokenKind::Whitespace
    }

    fn comment(&mut self, errors: &mut Errors) -> TokenKind {
        self.begin_token();
        self.after = After::Separator;
        loop {
            match self.peek() {
                Peek::End | Peek::Byte(b'\n') => return TokenKind::Comment,
                Peek::Byte(_) => self.pos += 1,
                Peek::Full => {
                    self.give_up_on_long_token(errors);
                    self.pos = self.end_of_line(self.pos);
                    self.kept = self.pos;
                }
            }
        }
    }

    fn word(&mut self, errors: &mut Errors) -> TokenKind {
        self.begin_token();
        self.after = After::Word;
        let mut escapes = Escapes::default();
        let mut is_reported = false;
        loop {
            match self.peek() {
                Peek::End => return TokenKind::Word,
                Peek::Byte(byte) => {
                    if !escapes.covers(byte) && (is_white_space(byte) || matches!(byte, b';' | b'{')) {
                        return TokenKind::Word;
                    }
                    self.bump(byte);
                }
                Peek::Full if is_reported => self.begin_token(),
                Peek::Full => {
                    self.give_up_on_long_token(errors);
                    is_reported = true;
                }
            }
        }
    }

    fn quoted(&mut self, quote: Quote, errors: &mut Errors) -> TokenKind {
        let (opening, opening_line) = (self.pos, self.line);
        self.pos += 1;
        self.begin_token();
        self.after = After::Quote;
        let mut escapes = Escapes::default();
        let (kind, line) = loop {
            match self.peek() {
                Peek::Byte(byte) => {
                    let is_closing = !escapes.covers(byte) && byte == quote.byte();
                    self.bump(byte);
                    if is_closing {
                        return quote.token_kind();
                    }
                }
                Peek::End => break (self.unterminated(), self.line),
                Peek::Full => break (SyntaxErrorKind::LongQuoted { quote }, opening_line),
            }
        };
        errors.report(kind, opening, line);
        self.end_unclosed_quote(opening, opening_line);
        TokenKind::UnclosedQuoted
    }

    /// Ends an argument without a closing quote at the end of its first line, before a `;` or `{` there.
    ///
    /// A guess for the reader's sake: taking everything up to the next quote, or to the end, would turn the
    /// rest of the file inside out. No byte is read more than twice for it, for behind an unclosed quote
    /// there is no further quote of its kind, other than escaped ones, in all that was looked at.
    fn end_unclosed_quote(&mut self, opening: usize, opening_line: u32) {
        let content = opening + 1;
        let line = self.text.get(content..self.end_of_line(content)).unwrap_or_default();
        let line = line.trim_ascii_end();
        let line = line.strip_suffix(b";").or_else(|| line.strip_suffix(b"{")).unwrap_or(line);
        self.pos = content + line.trim_ascii_end().len();
        self.line = opening_line;
        self.begin_token();
        self.after = After::Word;
    }

    /// Reports what nginx says of a closing quote with something directly behind it (`need_space`).
    fn check_space_after_quote(&mut self, byte: u8, errors: &mut Errors) {
        let is_fine = is_white_space(byte) || matches!(byte, b';' | b'{' | b')');
        // Of a `}` the parser says the same words: an argument was read and no `;`.
        if !is_fine && byte != b'}' {
            errors.report(SyntaxErrorKind::MissingSpace { byte }, self.pos, self.line);
        }
        if !is_white_space(byte) {
            self.after = After::Separator;
        }
    }

    /// Reports a token that fills nginx's buffer, and makes room.
    fn give_up_on_long_token(&mut self, errors: &mut Errors) {
        let started = self.text.get(self.kept..self.kept + 10).unwrap_or_default().to_vec();
        errors.report(SyntaxErrorKind::LongToken { started }, self.kept, self.kept_line);
        self.begin_token();
    }

    /// Returns how nginx calls an end of the text in the middle of a directive.
    pub(crate) fn unterminated(&self) -> SyntaxErrorKind {
        match self.source {
            Source::CommandLine => SyntaxErrorKind::UnterminatedOnCommandLine,
            Source::File => SyntaxErrorKind::UnterminatedAtEnd,
        }
    }

    fn end_of_line(&self, from: usize) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        rest.iter().position(|&byte| byte == b'\n').map_or(self.text.len(), |len| from + len)
    }
}

/// Which bytes of an argument mean nothing by themselves: those behind a backslash, and braces behind a `$`.
#[derive(Debug, Default)]
pub(crate) struct Escapes {
    /// `quoted` in nginx: the byte behind a backslash is skipped.
    is_escaped: bool,
    /// `variable` in nginx: stays on over any number of `{`, so `${{` is one word.
    in_variable: bool,
}

impl Escapes {
    /// Tells whether nginx passes over the byte, and takes note of it for the next one.
    pub(crate) fn covers(&mut self, byte: u8) -> bool {
        if self.is_escaped {
            self.is_escaped = false;
            return true;
        }
        if byte == b'{' && self.in_variable {
            return true;
        }
        self.in_variable = byte == b'$';
        self.is_escaped = byte == b'\\';
        self.in_variable || self.is_escaped
    }

    /// Tells whether the bytes so far would change the meaning of a byte that follows.
    pub(crate) fn is_open(&self) -> bool {
        self.is_escaped || self.in_variable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Cut = Vec<(TokenKind, String)>;

    fn cut(text: &[u8]) -> (Cut, Vec<SyntaxError>) {
        let mut lexer = Lexer::new(text, Source::File);
        let mut errors = Errors::default();
        let mut tokens = Vec::new();
        let mut start = 0;
        while let Some(kind) = lexer.next(&mut errors) {
            assert!(lexer.pos() > start, "an empty token at {start}");
            tokens.push((kind, text[start..lexer.pos()].escape_ascii().to_string()));
            start = lexer.pos();
        }
        assert_eq!(start, text.len());
        (tokens, errors.list)
    }

    fn arguments(text: &[u8]) -> Vec<String> {
        let (tokens, errors) = cut(text);
        assert_eq!(errors, []);
        tokens.into_iter().filter(|(kind, _)| kind.is_argument()).map(|(_, text)| text).collect()
    }

    fn error(text: &[u8]) -> (String, u32, u32) {
        let (_, errors) = cut(text);
        let error = errors.first().expect("an error");
        (error.to_string(), error.offset, error.line)
    }

    #[test]
    fn a_directive_is_cut_where_nginx_cuts_it() {
        use TokenKind::{Comment, OpenBrace, Semicolon, Whitespace, Word};
        let (tokens, errors) = cut(b"a b;#c\r\nd{");
        assert_eq!(errors, []);
        let kinds: Vec<_> = tokens.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Word, Whitespace, Word, Semicolon, Comment, Whitespace, Word, OpenBrace]);
        assert_eq!(tokens[4].1, "#c\\r", "a carriage return does not end a comment");
    }

    #[test]
    fn punctuation_inside_of_a_word_is_part_of_it() {
        assert_eq!(
            arguments(b"a}b c#d e'f g\"h i\\ j k\\;l m\\{n;"),
            ["a}b", "c#d", "e\\'f", "g\\\"h", "i\\\\ j", "k\\\\;l", "m\\\\{n"]
        );
    }

    #[test]
    fn a_variable_keeps_its_braces() {
        assert_eq!(arguments(b"a${b}c ${{{ $$ $;"), ["a${b}c", "${{{", "$$", "$"]);
        assert_eq!(arguments(b"$a{"), ["$a"]);
        assert_eq!(arguments(b"\\${"), ["\\\\$"], "an escaped dollar is not a variable");
    }

    #[test]
    fn quotes_end_only_at_their_own_unescaped_quote() {
        assert_eq!(
            arguments(b"\"a'b\\\"c;\n{}#\" 'd\"e' '';"),
            ["\\\"a\\'b\\\\\\\"c;\\n{}#\\\"", "\\'d\\\"e\\'", "\\'\\'"]
        );
    }

    #[test]
    fn a_parenthesis_may_follow_a_quote() {
        assert_eq!(arguments(b"if ($a = \"b\") {"), ["if", "($a", "=", "\\\"b\\\"", ")"]);
    }

    #[test]
    fn anything_else_behind_a_quote_is_an_error() {
        assert_eq!(error(b"a \"b\"c;"), ("unexpected \"c\"".to_owned(), 5, 1));
        assert_eq!(error(b"a 'b'\"c\";"), ("unexpected \"\"\"".to_owned(), 5, 1));
        assert_eq!(error(b"a 'b'#c"), ("unexpected \"#\"".to_owned(), 5, 1));
    }

    #[test]
    fn an_unclosed_quote_ends_with_its_line() {
        let (tokens, errors) = cut(b"a \"b; \r\nc d;\n");
        assert_eq!(tokens[2], (TokenKind::UnclosedQuoted, "\\\"b".to_owned()));
        assert_eq!(tokens[3].0, TokenKind::Semicolon);
        assert_eq!(tokens[5], (TokenKind::Word, "c".to_owned()));
        assert_eq!(errors.len(), 1);
        assert_eq!(
            (errors[0].offset, errors[0].line),
            (2, 3),
            "look at the quote; nginx prints the last line"
        );
    }

    #[test]
    fn a_quote_at_the_very_end_is_a_token_of_one_byte() {
        let (tokens, errors) = cut(b"a '");
        assert_eq!(tokens[2], (TokenKind::UnclosedQuoted, "\\'".to_owned()));
        assert_eq!(errors[0].kind, SyntaxErrorKind::UnterminatedAtEnd);
    }

    #[test]
    fn a_word_of_the_size_of_the_buffer_is_too_long() {
        let fits = [&[b'x'; BUFFER_BYTES - 1][..], b";"].concat();
        assert_eq!(arguments(&fits).len(), 1);
        let too_long = [b"\n\n", &[b'x'; BUFFER_BYTES][..], b";"].concat();
        assert_eq!(error(&too_long), ("too long parameter \"xxxxxxxxxx...\" started".to_owned(), 2, 3));
    }

    #[test]
    fn white_space_behind_a_long_word_still_belongs_to_it() {
        let word = [b'x'; BUFFER_BYTES - 1];
        assert_eq!(error(&[&word[..], b" y;"].concat()).0, "too long parameter \"xxxxxxxxxx...\" started");
        assert_eq!(arguments(&[&word[1..], b" y;"].concat()).len(), 2);
    }

    #[test]
    fn a_long_comment_is_refused_as_a_long_parameter() {
        let text = [b"#", &[b'-'; BUFFER_BYTES][..], b"\na b;"].concat();
        let (tokens, errors) = cut(&text);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].to_string(), "too long parameter \"#---------...\" started");
        assert_eq!(tokens[0].0, TokenKind::Comment);
        assert_eq!(tokens[0].1.len(), BUFFER_BYTES + 1);
    }

    #[test]
    fn a_long_quoted_argument_ends_with_its_line() {
        let text = [b"a \"b;\n", &[b'c'; 2 * BUFFER_BYTES][..], b"\";"].concat();
        let (tokens, errors) = cut(&text);
        assert_eq!(errors[0].kind, SyntaxErrorKind::LongQuoted { quote: Quote::Double });
        assert_eq!((errors[0].offset, errors[0].line), (2, 1));
        assert_eq!(tokens[2], (TokenKind::UnclosedQuoted, "\\\"b".to_owned()));
        assert_eq!(errors[1].to_string(), "too long parameter \"cccccccccc...\" started");
        assert_eq!(errors.len(), 2, "one complaint of a token is enough");
    }

    #[test]
    fn the_command_line_has_no_buffer() {
        let text = [&[b'x'; 2 * BUFFER_BYTES][..], b";"].concat();
        let mut errors = Errors::default();
        let mut lexer = Lexer::new(&text, Source::CommandLine);
        assert_eq!(lexer.next(&mut errors), Some(TokenKind::Word));
        assert_eq!(errors.list, []);
    }

    #[test]
    fn errors_are_counted_only_up_to_a_limit() {
        let (_, errors) = cut(&b"''x ".repeat(2 * MAX_ERRORS));
        assert_eq!(errors.len(), MAX_ERRORS);
    }
}
