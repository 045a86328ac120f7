//! The layout of a line whose values have names: `key=value`, `key="value"`, `key: value`, LTSV.
//!
//! Like objects, such lines have the same keys in the same order, so one line gives the format back. The names may also
//! begin behind a line of `combined`, as many formats append the upstream's values to it.

use super::names::variable;
use crate::logs::format::{AccessFormat, COMBINED};
use memchr::memchr_iter;
use std::fmt::Write as _;
use why502_facts::{AccessLogFormat, FormatEscape};

/// The format of a line that is nothing but names and values; `None` if it has no time or no status.
pub(super) fn layout(line: &[u8]) -> Option<AccessLogFormat> {
    let line = std::str::from_utf8(line).ok()?;
    let (text, used) = if line.contains('\t') { tabbed(line)? } else { named(line)? };
    let format = AccessLogFormat { text, escape: escape(line) };
    let compiled = AccessFormat::compile(&format).ok()?;
    (compiled.has_time() && used.contains(&"status")).then_some(format)
}

/// The format of a line of `combined` with names and values behind it.
pub(super) fn tail_of_combined(line: &[u8]) -> Option<AccessLogFormat> {
    // The third value between quotes is the user agent; the official images append another one, unnamed.
    let quotes: Vec<usize> = memchr_iter(b'"', line).take(8).collect();
    let plain = (*quotes.get(5)?, COMBINED.to_owned());
    let forwarded = quotes.get(7).map(|end| (*end, format!("{COMBINED} \"$http_x_forwarded_for\"")));
    [Some(plain), forwarded].into_iter().flatten().find_map(|(end, head)| {
        let tail = std::str::from_utf8(&line[end + 1..]).ok()?;
        let separator = &tail[..tail.len() - tail.trim_start().len()];
        let (text, used) = named(tail.trim_start())?;
        let found = used.iter().any(|name| *name != "http_user_agent");
        let format = AccessLogFormat { text: head + separator + &text, escape: FormatEscape::Default };
        (found && AccessFormat::compile(&format).is_ok()).then_some(format)
    })
}

/// Quotes inside values tell which escaping was asked for.
fn escape(line: &str) -> FormatEscape {
    if line.contains("\\\"") { FormatEscape::Json } else { FormatEscape::Default }
}

type Layout = (String, Vec<&'static str>);

/// LTSV: `key:value`, tabs between.
fn tabbed(line: &str) -> Option<Layout> {
    let mut layout = Builder::default();
    for (place, field) in line.split('\t').enumerate() {
        let (key, value) = field.split_once(':')?;
        if key.is_empty() || !key.bytes().all(is_of_key) {
            return None;
        }
        layout.literal(if place == 0 { "" } else { "\t" });
        layout.pair(key, ":", "", value);
    }
    Some(layout.finish())
}

/// `key=value` and its kin, spaces between. A value without quotes may hold spaces: it ends where the next key begins.
fn named(line: &str) -> Option<Layout> {
    let mut layout = Builder::default();
    let mut rest = line;
    loop {
        let (key, separator) = key(rest)?;
        let value = &rest[key.len() + separator.len()..];
        if let Some(quoted) = value.strip_prefix('"') {
            let end = closing_quote(quoted)?;
            layout.pair(key, separator, "\"", &quoted[..end]);
            rest = &quoted[end + 1..];
        } else {
            let end = next_key(value).unwrap_or(value.len());
            let trimmed = value[..end].trim_end_matches([' ', ',', ';']);
            layout.pair(key, separator, "", trimmed);
            rest = &value[trimmed.len()..];
        }
        if rest.is_empty() {
            return Some(layout.finish());
        }
        let begin = rest.find(|letter| !" ,;|".contains(letter))?;
        if begin == 0 {
            return None;
        }
        layout.literal(&rest[..begin]);
        rest = &rest[begin..];
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// Where the next key begins in what follows a value's begin: behind a space.
fn next_key(value: &str) -> Option<usize> {
    value.match_indices(' ').map(|(at, _)| at + 1).find(|&at| key(&value[at..]).is_some())
}

/// The key with which a text begins, and what separates it from its value.
fn key(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !is_of_key(byte))?;
    let key = &text[..end];
    let separator = ["=", ": "].into_iter().find(|separator| text[end..].starts_with(separator))?;
    let is_name = key.starts_with(|letter: char| letter.is_ascii_alphabetic() || "_@".contains(letter));
    is_name.then_some((key, separator))
}

fn is_of_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.@".contains(&byte)
}

/// Writes a format.
#[derive(Debug, Default)]
struct Builder {
    text: String,
    used: Vec<&'static str>,
    n_unknown: usize,
}

impl Builder {
    fn literal(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn pair(&mut self, key: &str, separator: &str, quote: &str, value: &str) {
        let known = variable(key, value).filter(|name| !self.used.contains(name));
        // Writing to a String cannot fail.
        let _ = match known {
            Some(name) => write!(self.text, "{key}{separator}{quote}${{{name}}}{quote}"),
            None => write!(self.text, "{key}{separator}{quote}${{unknown_{}}}{quote}", self.n_unknown),
        };
        self.n_unknown += 1;
        self.used.extend(known);
    }

    /// A line that holds a dollar in its names cannot be written as a format: keys have none.
    fn finish(self) -> Layout {
        (self.text, self.used)
    }
}
