//! One line of a response header, judged as nginx judges it (`ngx_http_parse_header_line`).

/// What a line of a header is. A line ends at LF, with or without CR before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderLine<'a> {
    /// The empty line after the last header.
    End,
    /// A header.
    Header {
        /// Its name.
        name: &'a [u8],
        /// Its value without the spaces around it, tabs left; `None` where the line has no colon, which nginx takes for an
        /// empty value.
        value: Option<&'a [u8]>,
    },
    /// Another status line, which nginx skips: IIS may send it twice.
    StatusLine,
    /// A header without a name, or with a space or a control byte in it: refused since 1.21.1.
    BadName,
    /// NUL, or CR before the end: every version refuses it.
    Bad,
}

impl<'a> HeaderLine<'a> {
    /// Judges a line without its LF, or as far as it came.
    pub(super) fn of(line: &'a [u8]) -> Self {
        if line.starts_with(b"HTTP/") {
            return Self::StatusLine;
        }
        let end = memchr::memchr(b'\r', line).unwrap_or(line.len());
        let (text, line_end) = line.split_at(end);
        if line_end.iter().any(|byte| *byte != b'\r') || text.contains(&0) {
            return Self::Bad;
        }
        let (name, value) = match memchr::memchr(b':', text) {
            Some(colon) => (&text[..colon], Some(without_spaces(&text[colon + 1..]))),
            None => (text, None),
        };
        match (name, value) {
            // After a first CR, LF alone is awaited; at the end of other lines CR may be repeated.
            ([], None) if line_end.len() > 1 => Self::Bad,
            ([], None) => Self::End,
            ([], Some(_)) => Self::BadName,
            _ if name.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f)) => Self::BadName,
            _ => Self::Header { name, value },
        }
    }
}

/// A value without the spaces around it: no other byte is skipped there.
fn without_spaces(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(name: &'a str, value: Option<&'a str>) -> HeaderLine<'a> {
        HeaderLine::Header { name: name.as_bytes(), value: value.map(str::as_bytes) }
    }

    #[test]
    fn lines_are_what_nginx_takes_them_for() {
        for (line, expected) in [
            ("", HeaderLine::End),
            ("\r", HeaderLine::End),
            ("\r\r", HeaderLine::Bad),
            ("\rX: a", HeaderLine::Bad),
            ("X: a", header("X", Some("a"))),
            ("X:a\r\r", header("X", Some("a"))),
            ("X:  \ta b \r", header("X", Some("\ta b"))),
            ("X:", header("X", Some(""))),
            ("no-colon\r", header("no-colon", None)),
            ("no-colon\rx", HeaderLine::Bad),
            ("X_\u{e9}: a", header("X_\u{e9}", Some("a"))),
            ("HTTP/1.1 200\0 OK", HeaderLine::StatusLine),
            ("HTTP: a", header("HTTP", Some("a"))),
            (": a", HeaderLine::BadName),
            (" folded", HeaderLine::BadName),
            ("A B: c", HeaderLine::BadName),
            ("A\x7f: c", HeaderLine::BadName),
            ("A B: c\0", HeaderLine::Bad),
            ("X: a\rb", HeaderLine::Bad),
            ("X: \0", HeaderLine::Bad),
        ] {
            assert_eq!(HeaderLine::of(line.as_bytes()), expected, "{line:?}");
        }
    }
}
