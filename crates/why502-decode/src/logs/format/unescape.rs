//! Takes the escaping of `log_format` back.

use memchr::memchr;
use std::borrow::Cow;
use why502_facts::FormatEscape;

/// The value as it was before it was escaped.
pub(super) fn unescape(value: &[u8], escape: FormatEscape) -> Cow<'_, [u8]> {
    let one: fn(&[u8]) -> Option<(u8, usize)> = match escape {
        FormatEscape::Default => hexadecimal,
        FormatEscape::Json => json,
        FormatEscape::None => return Cow::Borrowed(value),
    };
    if memchr(b'\\', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr(b'\\', rest) {
        plain.extend_from_slice(&rest[..at]);
        // A backslash that escapes nothing stands for itself.
        let (byte, width) = one(&rest[at..]).unwrap_or((b'\\', 1));
        plain.push(byte);
        rest = &rest[at + width..];
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

/// `\xHH` (`ngx_http_log_escape`).
fn hexadecimal(text: &[u8]) -> Option<(u8, usize)> {
    let [b'\\', b'x', high, low, ..] = text else { return None };
    Some((nibble(*high)? << 4 | nibble(*low)?, 4))
}

/// `\"`, `\\`, `\n` and the like, `\u00HH` (`ngx_escape_json`: it escapes single bytes only).
fn json(text: &[u8]) -> Option<(u8, usize)> {
    let byte = match *text.get(1)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'u' => {
            let [_, _, b'0', b'0', high, low, ..] = text else { return None };
            return Some((nibble(*high)? << 4 | nibble(*low)?, 6));
        }
        other @ (b'"' | b'\\' | b'/') => other,
        _ => return None,
    };
    Some((byte, 2))
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_escapings_are_taken_back() {
        assert_eq!(&*unescape(br"a\x22\x5C\xffz", FormatEscape::Default), b"a\"\\\xffz");
        assert_eq!(&*unescape(br#"\"\\\n\u001f\/"#, FormatEscape::Json), b"\"\\\n\x1f/");
        assert_eq!(&*unescape(br"a\x22", FormatEscape::None), br"a\x22");
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(&*unescape(br"\x2", FormatEscape::Default), br"\x2");
        assert_eq!(&*unescape(br"\xZZ\", FormatEscape::Default), br"\xZZ\");
        assert_eq!(&*unescape(br"\q\u12", FormatEscape::Json), br"\q\u12");
    }
}
