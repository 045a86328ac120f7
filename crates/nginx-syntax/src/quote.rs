//! Writing values so that nginx reads them back.

use crate::argument::{Quote, escaped_by};
use crate::lexer::Escapes;
use crate::token::is_white_space;

/// Writes a value so that nginx reads back the same bytes.
///
/// Without quotes where they are not needed, otherwise in double quotes, or in single quotes if that saves
/// escapes. Backslashes are doubled only where nginx would not keep them, so that regular expressions stay
/// readable. Values of more than 4 kB cannot be written in a way that nginx accepts.
///
/// ```
/// # use nginx_syntax::quote_argument;
/// assert_eq!(quote_argument(b"/var/www"), b"/var/www");
/// assert_eq!(quote_argument(br"\.php$"), br#""\.php$""#);
/// assert_eq!(quote_argument(b"max-age=60; public"), br#""max-age=60; public""#);
/// assert_eq!(quote_argument(b"say \"hi\"\n"), br#"'say "hi"\n'"#);
/// ```
pub fn quote_argument(value: &[u8]) -> Vec<u8> {
    if can_be_a_word(value) {
        return escape(value, None);
    }
    let prefers_single = value.contains(&b'"') && !value.contains(&b'\'');
    quote_with(value, if prefers_single { Quote::Single } else { Quote::Double })
}

/// Writes a directive, its arguments quoted where necessary and with `;` at the end.
///
/// ```
/// # use nginx_syntax::format_directive;
/// assert_eq!(format_directive(b"add_header", &[b"X-A", b"b c"]), br#"add_header X-A "b c";"#);
/// ```
pub fn format_directive(name: &[u8], arguments: &[&[u8]]) -> Vec<u8> {
    let mut line = quote_argument(name);
    for argument in arguments {
        line.push(b' ');
        line.extend_from_slice(&quote_argument(argument));
    }
    line.push(b';');
    line
}

/// Writes a value in the given quotes.
pub(crate) fn quote_with(value: &[u8], quote: Quote) -> Vec<u8> {
    let mut text = vec![quote.byte()];
    text.append(&mut escape(value, Some(quote)));
    text.push(quote.byte());
    text
}

/// Tells whether the value needs no quotes, wherever it stands.
fn can_be_a_word(value: &[u8]) -> bool {
    // At the beginning of a word these mean something else; quotes are avoided everywhere for the reader's
    // sake.
    if matches!(value, [] | [b'}' | b'#', ..]) || value.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
        return false;
    }
    let mut escapes = Escapes::default();
    for byte in escape(value, None) {
        // Also an escaped blank is left to quotes: hardly a reader knows that nginx takes it for part of the
        // word.
        let is_covered = escapes.covers(byte);
        if is_white_space(byte) || (!is_covered && matches!(byte, b';' | b'{')) {
            return false;
        }
    }
    // A `$` at the end would swallow a `{` that follows the word.
    !escapes.is_open()
}

fn escape(value: &[u8], quote: Option<Quote>) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len() + 2);
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\t' => text.extend_from_slice(b"\\t"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\n' => text.extend_from_slice(b"\\n"),
            // What is written behind this backslash is the next byte itself, or an escape.
            b'\\' if bytes.peek().is_none_or(|&next| !is_kept_before(next)) => {
                text.extend_from_slice(b"\\\\");
            }
            _ if quote.is_some_and(|quote| quote.byte() == byte) => text.extend_from_slice(&[b'\\', byte]),
            _ => text.push(byte),
        }
    }
    text
}

/// Tells whether nginx keeps a backslash before the byte, in the form in which [`escape`] writes that byte.
fn is_kept_before(next: u8) -> bool {
    !matches!(next, b'\t' | b'\r' | b'\n') && escaped_by(next).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    /// Reads the text back, as the only argument of a directive that a `{` follows immediately.
    fn read_back(text: &[u8]) -> Vec<u8> {
        let parse = parse([b"x ", text, b"{}"].concat());
        assert_eq!(parse.errors, [], "{}", text.escape_ascii());
        let directive = parse.tree.root().directives().next().expect("a directive");
        assert_eq!(directive.arguments().count(), 1, "{}", text.escape_ascii());
        directive.argument(0).expect("an argument").value().into_owned()
    }

    #[test]
    fn whatever_is_written_is_read_back() {
        let pieces: [&[u8]; 16] = [
            b"a", b"\\", b"\"", b"'", b"$", b"{", b"}", b";", b"#", b" ", b"\n", b"\t", b"t", b"n", b")",
            b"\xff",
        ];
        for first in pieces {
            for second in pieces {
                for third in pieces {
                    let value = [first, second, third].concat();
                    assert_eq!(read_back(&quote_argument(&value)), value, "{}", value.escape_ascii());
                    for quote in [Quote::Double, Quote::Single] {
                        assert_eq!(read_back(&quote_with(&value, quote)), value, "{}", value.escape_ascii());
                    }
                }
            }
        }
        assert_eq!(read_back(&quote_argument(b"")), b"");
    }

    #[test]
    fn plain_values_stay_plain() {
        for value in [
            &b"8080"[..],
            b"/a/b",
            b"~*",
            b"$host",
            b"${a}b",
            b"unix:/run/x.sock",
            br"\.php\d",
            b"a}b",
            b"a#b",
        ] {
            assert_eq!(quote_argument(value), value);
        }
    }

    #[test]
    fn a_value_that_would_open_a_variable_is_quoted() {
        assert_eq!(quote_argument(br"\.php$"), br#""\.php$""#);
        assert_eq!(quote_argument(b"^[0-9]{2}$"), b"\"^[0-9]{2}$\"");
        assert_eq!(quote_argument(b"${"), b"\"${\"");
    }

    #[test]
    fn backslashes_are_doubled_only_where_they_must_be() {
        assert_eq!(quote_argument(br"\d\t\\"), br"\d\\t\\\\");
        assert_eq!(quote_argument(br"a \d"), br#""a \d""#);
        assert_eq!(quote_argument(br#"\""#), br#"'\\"'"#);
    }

    #[test]
    fn directives_are_written_with_their_arguments() {
        assert_eq!(format_directive(b"daemon", &[]), b"daemon;");
        assert_eq!(format_directive(b"set", &[b"$a", b""]), b"set $a \"\";");
    }
}
