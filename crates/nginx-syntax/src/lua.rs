//! The body of a `*_by_lua_block { … }`, read as lua-nginx-module reads it.
//!
//! The block is not nginx's to read: the directive's handler takes the file over behind the `{` and looks for
//! the brace that closes it, skipping Lua's strings, long brackets and comments
//! (`ngx_http_lua_conf_lua_block_parse` and `ngx_http_lua_conf_read_lua_token` in
//! `src/ngx_http_lua_directive.c`). Its lexer, `ngx_http_lua_lex`, is a search for the leftmost match of
//! eight patterns, which the generator in `util/gen-lexer-c` names:
//!
//! ```text
//! {   }   \[=*\[   --\[=*\[   \]=*\]   --[^\n]*   "(?:\\[^\n]|[^"\n\\])*"   '(?:\\[^\n]|[^'\n\\])*'
//! ```
//!
//! So it is not quite Lua: a quote that finds no partner on its line is passed over, and a line that ends in
//! a backslash does not continue a string. It also sees no more than nginx's buffer of 4096 bytes holds,
//! which makes long brackets fail that are fine in Lua; that buffer is simulated.

use crate::error::SyntaxErrorKind;
use crate::lexer::BUFFER_BYTES;

/// Where the code begins, and what nginx has in its buffer then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LuaStart {
    pub(crate) pos: usize,
    pub(crate) line: u32,
    /// Up to where nginx has read the file (`b->last`).
    pub(crate) buffered: usize,
}

/// Where the code ended.
#[derive(Debug)]
pub(crate) struct LuaStop {
    /// Where the closing brace is, or the end of the text.
    pub(crate) body_end: usize,
    /// Behind the closing brace, or the end of the text.
    pub(crate) pos: usize,
    pub(crate) line: u32,
    pub(crate) buffered: usize,
}

/// Why lua-nginx-module gave up.
#[derive(Debug)]
pub(crate) struct LuaFailure {
    pub(crate) kind: SyntaxErrorKind,
    /// Where a human should look, if that is not the beginning of the block.
    pub(crate) offset: Option<usize>,
    pub(crate) line: u32,
}

/// Finds the brace that closes the block (`ngx_http_lua_conf_lua_block_parse`).
pub(crate) fn read_block(text: &[u8], start: LuaStart) -> Result<LuaStop, LuaFailure> {
    let mut reader = LuaReader {
        text,
        pos: start.pos,
        line: start.line,
        buffered: start.buffered,
        opened_line: start.line,
        unpaired: Unpaired::default(),
    };
    let mut n_open: u64 = 1;
    while n_open > 0 {
        match reader.read_token()? {
            LuaToken::CloseBrace => n_open -= 1,
            LuaToken::OpenBrace => {
                reader.opened_line = reader.line;
                n_open += 1;
            }
            LuaToken::Comment | LuaToken::LongBracket { .. } | LuaToken::LooseBracket | LuaToken::String => {}
        }
    }
    let LuaReader { pos, line, buffered, .. } = reader;
    Ok(LuaStop { body_end: pos - 1, pos, line, buffered })
}

/// Takes everything up to the end of the text for Lua code: what remains to be done without a closing brace.
pub(crate) fn to_the_end(text: &[u8], start: LuaStart) -> LuaStop {
    let end = text.len();
    let line = start.line + count_line_feeds(text.get(start.pos..).unwrap_or_default());
    LuaStop { body_end: end, pos: end, line, buffered: end }
}

struct LuaReader<'t> {
    text: &'t [u8],
    pos: usize,
    line: u32,
    buffered: usize,
    /// The line of the last `{`, closed or not: an unexpected end is reported with it (`ctx->start_line`).
    opened_line: u32,
    unpaired: Unpaired,
}

/// Up to where each kind of quote is known to have no partner.
///
/// If the quote at `p` finds none before `n`, every quote of its kind between the two was escaped, and would
/// itself scan from there on as `p` did: in vain. Remembering `n` keeps hostile text from costing quadratic
/// time.
#[derive(Default)]
struct Unpaired {
    double_before: usize,
    single_before: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LuaToken {
    CloseBrace,
    /// From `--` to the end of the line, or of the buffer.
    Comment,
    /// The opening bracket of a long string or comment, from `bracket` to where the match ends.
    LongBracket {
        bracket: usize,
    },
    /// A closing long bracket that nothing opened; harmless (lua-nginx-module #748).
    LooseBracket,
    OpenBrace,
    String,
}

struct LuaMatch {
    token: LuaToken,
    start: usize,
    end: usize,
}

impl LuaReader<'_> {
    /// Reads over one token (`ngx_http_lua_conf_read_lua_token`).
    fn read_token(&mut self) -> Result<LuaToken, LuaFailure> {
        let found = self.find_in_buffer()?;
        let LuaToken::LongBracket { bracket } = found.token else {
            self.advance_to(found.end);
            return Ok(found.token);
        };
        self.advance_to(found.start);
        let closing = closing_bracket(self.text.get(bracket..found.end).unwrap_or_default());
        let Some(len) = self.seen(found.end).windows(closing.len()).position(|bytes| bytes == closing) else {
            let offset = Some(found.start);
            let kind = SyntaxErrorKind::LuaBracketUnclosed { bracket: closing };
            return Err(LuaFailure { kind, offset, line: self.line });
        };
        self.advance_to(found.end + len + closing.len());
        Ok(found.token)
    }

    /// Looks for the next token, reading on in the file as lua-nginx-module does.
    fn find_in_buffer(&mut self) -> Result<LuaMatch, LuaFailure> {
        let mut kept = self.pos;
        let kept_line = self.line;
        loop {
            let ahead = self.buffered.saturating_sub(self.pos);
            if ahead == 0 || (ahead < BUFFER_BYTES / 2 && self.buffered < self.text.len()) {
                self.read_on(kept, kept_line)?;
            }
            if let Some(found) = self.find() {
                return Ok(found);
            }
            // Nothing in the buffer: lua-nginx-module keeps these bytes, but neither looks at them again,
            // together with what follows them, nor counts their lines.
            let unseen = self.buffered;
            kept = self.pos;
            self.read_on(kept, kept_line)?;
            self.pos = unseen;
        }
    }

    /// Reads more of the file behind the bytes from `kept` on.
    fn read_on(&mut self, kept: usize, kept_line: u32) -> Result<(), LuaFailure> {
        if self.buffered >= self.text.len() {
            let kind = SyntaxErrorKind::LuaBlockUnclosed;
            return Err(LuaFailure { kind, offset: None, line: self.opened_line });
        }
        if self.buffered - kept >= BUFFER_BYTES {
            return Err(LuaFailure { kind: SyntaxErrorKind::LuaBlockTooLong, offset: None, line: kept_line });
        }
        self.buffered = self.text.len().min(kept + BUFFER_BYTES);
        // A quote may find its partner in what has come.
        self.unpaired = Unpaired::default();
        Ok(())
    }

    /// Finds the leftmost token in the buffer (`ngx_http_lua_lex`).
    fn find(&mut self) -> Option<LuaMatch> {
        let is_start = |byte: &u8| matches!(byte, b'{' | b'}' | b'[' | b']' | b'-' | b'"' | b'\'');
        let mut start = self.pos;
        loop {
            start += self.seen(start).iter().position(is_start)?;
            if let Some((token, end)) = self.token_at(start) {
                return Some(LuaMatch { token, start, end });
            }
            start += 1;
        }
    }

    /// Matches a token at an offset; gives the token and where the match ends.
    fn token_at(&mut self, start: usize) -> Option<(LuaToken, usize)> {
        let seen = self.seen(start);
        match *seen.first()? {
            b'{' => Some((LuaToken::OpenBrace, start + 1)),
            b'}' => Some((LuaToken::CloseBrace, start + 1)),
            b'[' => Some((LuaToken::LongBracket { bracket: start }, start + long_bracket_len(seen, b'[')?)),
            b']' => Some((LuaToken::LooseBracket, start + long_bracket_len(seen, b']')?)),
            b'-' => {
                let comment = seen.strip_prefix(b"--")?;
                if let Some(len) = long_bracket_len(comment, b'[') {
                    return Some((LuaToken::LongBracket { bracket: start + 2 }, start + 2 + len));
                }
                let len = comment.iter().position(|&byte| byte == b'\n').unwrap_or(comment.len());
                Some((LuaToken::Comment, start + 2 + len))
            }
            quote => self.string_end(start, quote).map(|end| (LuaToken::String, end)),
        }
    }

    fn string_end(&mut self, start: usize, quote: u8) -> Option<usize> {
        let known = match quote {
            b'"' => &mut self.unpaired.double_before,
            _ => &mut self.unpaired.single_before,
        };
        if start < *known {
            return None;
        }
        let seen = self.text.get(start + 1..self.buffered).unwrap_or_default();
        match string_len(seen, quote) {
            Ok(len) => Some(start + 1 + len),
            Err(len) => {
                *known = start + 1 + len;
                None
            }
        }
    }

    /// Returns what the buffer holds from an offset on.
    fn seen(&self, from: usize) -> &[u8] {
        self.text.get(from..self.buffered).unwrap_or_default()
    }

    fn advance_to(&mut self, pos: usize) {
        self.line += count_line_feeds(self.text.get(self.pos..pos).unwrap_or_default());
        self.pos = pos;
    }
}

/// Returns the length of `[=*[` or `]=*]` at the beginning of the text.
fn long_bracket_len(text: &[u8], bracket: u8) -> Option<usize> {
    let inside = text.strip_prefix(&[bracket])?;
    let level = inside.iter().position(|&byte| byte != b'=')?;
    (inside.get(level) == Some(&bracket)).then_some(level + 2)
}

fn closing_bracket(opening: &[u8]) -> Vec<u8> {
    opening.iter().map(|&byte| if byte == b'[' { b']' } else { byte }).collect()
}

/// Returns the length of a string up to and with its closing quote, or how far there is none.
fn string_len(text: &[u8], quote: u8) -> Result<usize, usize> {
    let mut idx = 0;
    loop {
        match text.get(idx) {
            None | Some(b'\n') => return Err(idx),
            Some(b'\\') if matches!(text.get(idx + 1), None | Some(b'\n')) => return Err(idx),
            Some(b'\\') => idx += 2,
            Some(&byte) if byte == quote => return Ok(idx + 1),
            Some(_) => idx += 1,
        }
    }
}

fn count_line_feeds(text: &[u8]) -> u32 {
    // Summed as `u32`: a text has fewer lines than `MAX_TEXT_BYTES`.
    text.iter().map(|&byte| u32::from(byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: &[u8]) -> Result<LuaStop, LuaFailure> {
        read_block(code, LuaStart { pos: 0, line: 1, buffered: code.len().min(BUFFER_BYTES) })
    }

    /// Returns the code before the closing brace.
    fn body(code: &[u8]) -> &[u8] {
        &code[..read(code).expect("a closing brace").body_end]
    }

    fn failure(code: &[u8]) -> (String, u32) {
        let failure = read(code).expect_err("no closing brace");
        (format!("{:?}", failure.kind), failure.line)
    }

    #[test]
    fn braces_are_counted() {
        assert_eq!(body(b" local t = {{1}, {2}} } }"), b" local t = {{1}, {2}} ");
        assert_eq!(body(b"}"), b"");
    }

    #[test]
    fn braces_in_strings_comments_and_long_brackets_are_not_counted() {
        assert_eq!(body(b"a = \"}\" b = '}' } x"), b"a = \"}\" b = '}' ");
        assert_eq!(body(b"a = \"\\\"}\" } x"), b"a = \"\\\"}\" ");
        assert_eq!(body(b"-- }\n } x"), b"-- }\n ");
        assert_eq!(body(b"--[[ } \n }]] } x"), b"--[[ } \n }]] ");
        assert_eq!(body(b"a = [==[ } ]] ]=] ]==] } x"), b"a = [==[ } ]] ]=] ]==] ");
    }

    #[test]
    fn a_comment_with_half_a_bracket_is_a_line_comment() {
        assert_eq!(body(b"--[= }\n } x"), b"--[= }\n ");
        assert_eq!(body(b"--[ [ }\n } x"), b"--[ [ }\n ");
    }

    #[test]
    fn a_quote_without_a_partner_on_its_line_is_passed_over() {
        assert_eq!(body(b"it's } x"), b"it's ");
        assert_eq!(body(b"\"a\\\n}\""), b"\"a\\\n", "lua-nginx-module does not continue strings over lines");
        assert_eq!(body(b"\"'}' } x"), b"\"'}' ");
    }

    #[test]
    fn loose_closing_brackets_are_ignored() {
        assert_eq!(body(b"a[b[1]] ]==] } x"), b"a[b[1]] ]==] ");
    }

    #[test]
    fn lines_are_counted() {
        let stop = read(b"\n[[\n]]\n--[[\n]]\n}\n").expect("a closing brace");
        assert_eq!(stop.line, 6);
    }

    #[test]
    fn an_unexpected_end_has_the_line_of_the_last_opening_brace() {
        assert_eq!(failure(b"\n\n"), ("LuaBlockUnclosed".to_owned(), 1));
        assert_eq!(failure(b"\n{\n}\n\n"), ("LuaBlockUnclosed".to_owned(), 2));
    }

    #[test]
    fn a_long_bracket_must_close_within_the_buffer() {
        let open = |len| [b"\n--[=[", &vec![b' '; len][..], b"]=]}"].concat();
        assert!(read(&open(4000)).is_ok());
        let failure = read(&open(5000)).expect_err("too long");
        assert_eq!(failure.kind, SyntaxErrorKind::LuaBracketUnclosed { bracket: b"]=]".to_vec() });
        assert_eq!((failure.offset, failure.line), (Some(1), 2));
    }

    #[test]
    fn code_without_a_token_in_a_whole_buffer_is_too_long() {
        let code = [b"\n".repeat(3), b"{".to_vec(), vec![b'x'; 3 * BUFFER_BYTES], b"}}".to_vec()].concat();
        assert_eq!(failure(&code), ("LuaBlockTooLong".to_owned(), 4));
    }

    #[test]
    fn what_the_buffer_cannot_hold_can_be_read_without_one() {
        let code = [b"[[".to_vec(), vec![b'\n'; 9000], b"]]}".to_vec()].concat();
        let stop =
            read_block(&code, LuaStart { pos: 0, line: 1, buffered: code.len() }).expect("a closing brace");
        assert_eq!((stop.body_end, stop.line), (code.len() - 1, 9001));
    }

    #[test]
    fn a_quote_may_find_its_partner_once_more_is_read() {
        // The first quote has no partner in the first buffer, nor has the escaped one near the end of that.
        let before = [b"\"{".to_vec(), b"{}".repeat(2000), b"\\\"".to_vec()].concat();
        assert!(before.len() < BUFFER_BYTES);
        let code = [before, vec![b'}'; 200], b"\" }} x".to_vec()].concat();
        assert_eq!(body(&code).len(), code.len() - 3);
    }

    #[test]
    fn unpaired_quotes_cost_linear_time() {
        let code = [b"\"".to_vec(), b"{\\\"".repeat(1_000_000), b"\n".to_vec()].concat();
        assert!(read(&code).is_err());
        assert!(read_block(&code, LuaStart { pos: 0, line: 1, buffered: code.len() }).is_err());
    }

    #[test]
    fn everything_up_to_the_end_is_the_last_resort() {
        let stop = to_the_end(b"x{\n{\n", LuaStart { pos: 2, line: 1, buffered: 5 });
        assert_eq!((stop.body_end, stop.pos, stop.line), (5, 5, 3));
    }
}
