//! The layout of a line that is a JSON object.
//!
//! Such a line was written by a `log_format` whose text is the object with variables for values, so the objects of all
//! lines have the same keys in the same order: the first line gives the format back.

use super::names::variable;
use crate::logs::format::AccessFormat;
use std::fmt::Write as _;
use why502_facts::{AccessLogFormat, FormatEscape};

/// The format that an object's keys mean; `None` if it has no time or no status, or is no object.
pub(super) fn layout(line: &[u8], escape: FormatEscape) -> Option<AccessLogFormat> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    if !(line.starts_with('{') && line.ends_with('}')) || line.contains('$') {
        return None;
    }
    let mut format = String::with_capacity(line.len());
    let mut used: Vec<&'static str> = Vec::new();
    let (mut key, mut n_unknown, mut rest) = ("", 0_usize, line);
    while let Some(token) = token(rest) {
        rest = &rest[token.width()..];
        match token {
            Token::Punctuation(text) => format.push_str(text),
            Token::Text(text) if rest.trim_start().starts_with(':') => {
                key = text;
                let _ = write!(format, "\"{text}\"");
            }
            Token::Text(value) | Token::Bare(value) => {
                let known = variable(key, value).filter(|name| !used.contains(name));
                let quote = if matches!(token, Token::Text(_)) { "\"" } else { "" };
                // Writing to a String cannot fail.
                let _ = match known {
                    Some(name) => write!(format, "{quote}${{{name}}}{quote}"),
                    None => write!(format, "{quote}${{unknown_{n_unknown}}}{quote}"),
                };
                n_unknown += 1;
                used.extend(known);
            }
        }
    }
    let format = AccessLogFormat { text: format, escape };
    let compiled = AccessFormat::compile(&format).ok()?;
    (compiled.has_time() && used.contains(&"status")).then_some(format)
}

#[derive(Debug)]
enum Token<'a> {
    /// `{`, `:`, a space.
    Punctuation(&'a str),
    /// A string, without its quotes.
    Text(&'a str),
    /// A number or a word.
    Bare(&'a str),
}

impl Token<'_> {
    fn width(&self) -> usize {
        match self {
            Self::Punctuation(text) | Self::Bare(text) => text.len(),
            Self::Text(text) => text.len() + 2,
        }
    }
}

fn token(rest: &str) -> Option<Token<'_>> {
    let is_punctuation = |letter: char| "{}[],: \t".contains(letter);
    let first = rest.chars().next()?;
    if is_punctuation(first) {
        return Some(Token::Punctuation(&rest[..1]));
    }
    if first != '"' {
        return Some(Token::Bare(&rest[..rest.find(is_punctuation).unwrap_or(rest.len())]));
    }
    let mut escaped = false;
    let end = rest[1..].bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some(Token::Text(&rest[1..=end]))
}
