//! As much of JSON as the wrappings need: the fields of an object on one line.

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A number, a word, an array or an object, as it is written.
    Other(&'a [u8]),
    /// A string, still escaped, without its quotes.
    Text(&'a [u8]),
}

/// The fields of an object in their order, keys still escaped; `None` for what is no object. They end where the line
/// stops being one.
pub(crate) fn fields(line: &[u8]) -> Option<Fields<'_>> {
    let rest = line.trim_ascii().strip_prefix(b"{")?;
    rest.ends_with(b"}").then_some(Fields { rest })
}

#[derive(Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = text(self.rest.trim_ascii_start())?;
        let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let (value, rest) = if let Some((value, rest)) = text(rest) {
            (Value::Text(value), rest)
        } else {
            let end = end_of_other(rest)?;
            (Value::Other(rest[..end].trim_ascii_end()), &rest[end..])
        };
        let rest = rest.trim_ascii_start();
        self.rest = rest.strip_prefix(b",").unwrap_or(b"");
        Some((key, value))
    }
}

/// A string at the begin, and what follows it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let bytes = bytes.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
        if bytes[at] == b'"' {
            return Some((&bytes[..at], &bytes[at + 1..]));
        }
        // A backslash escapes the next byte.
        at += 2;
        if at > bytes.len() {
            return None;
        }
    }
}

/// Where a value that is no string ends: at the comma or the bracket that is not its own.
fn end_of_other(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let (_, rest) = text(&bytes[at..])?;
                at = bytes.len() - rest.len();
                continue;
            }
            b'[' | b'{' => depth += 1,
            b',' | b']' | b'}' if depth == 0 => return (at > 0).then_some(at),
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The text of a string; borrowed if nothing in it is escaped. An escape that JSON does not have stands for itself.
pub(crate) fn unescape<'a>(escaped: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if memchr::memchr(b'\\', escaped).is_none() {
        return escaped;
    }
    scratch.clear();
    let mut rest = escaped;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        scratch.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let length = match rest.get(1) {
            Some(b'u') => unicode(rest, scratch),
            Some(letter) => short(*letter).map(|byte| {
                scratch.push(byte);
                2
            }),
            None => None,
        };
        let length = length.unwrap_or_else(|| {
            scratch.push(b'\\');
            1
        });
        rest = &rest[length..];
    }
    scratch.extend_from_slice(rest);
    scratch
}

fn short(letter: u8) -> Option<u8> {
    Some(match letter {
        b'"' | b'\\' | b'/' => letter,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        _ => return None,
    })
}

/// Appends what `\u1234` at the begin stands for, a pair of surrogates too; how long it is.
fn unicode(text: &[u8], scratch: &mut Vec<u8>) -> Option<usize> {
    let high = code_unit(text)?;
    let low = text.get(6..).and_then(code_unit);
    let (letter, length) = match (high, low) {
        (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
            (char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 12)
        }
        _ => (char::from_u32(high), 6),
    };
    let letter = letter.unwrap_or(char::REPLACEMENT_CHARACTER);
    scratch.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    Some(length)
}

fn code_unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(br"\u")?.get(..4)?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_their_values_are() {
        let line = br#" {"a":"x\"y", "b" : [1,"]",{"c":2}],"d":null,"e":{"f":"}"},"g":-1.5e3}"#;
        let found: Vec<_> = fields(line).unwrap().collect();
        assert_eq!(
            found,
            [
                (b"a".as_slice(), Value::Text(br#"x\"y"#)),
                (b"b", Value::Other(br#"[1,"]",{"c":2}]"#)),
                (b"d", Value::Other(b"null")),
                (b"e", Value::Other(br#"{"f":"}"}"#)),
                (b"g", Value::Other(b"-1.5e3")),
            ]
        );
        assert!(fields(b"[1]").is_none() && fields(b"{\"a\":1").is_none());
        assert_eq!(fields(b"{}").unwrap().count(), 0);
        assert_eq!(fields(br#"{"a":1,"b"}"#).unwrap().count(), 1);
    }

    #[test]
    fn escapes_are_undone_as_a_library_does() {
        let mut scratch = Vec::new();
        for text in [r"plain", r#"a\"b\\c\/\b\f\n\r\t"#, r"\u0000\u00e9\u20ac", r"\ud83d\ude00!"] {
            let expected: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(unescape(text.as_bytes(), &mut scratch), expected.as_bytes(), "{text}");
        }
        assert_eq!(unescape(br"\x\u12\ud800.\", &mut scratch), "\\x\\u12\u{fffd}.\\".as_bytes());
    }
}
