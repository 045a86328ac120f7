//! Marks in texts: ports, paths and names that stand for themselves and are no part of a longer word.

/// The most lines of a file that are kept.
const MAX_LINES: usize = 16;
/// The longest line that is kept, in bytes.
const MAX_LINE: usize = 400;

/// Whether a text holds one of the marks as a word.
pub fn holds_mark(text: &[u8], marks: &[String]) -> bool {
    marks.iter().any(|mark| holds(text, mark.as_bytes()))
}

/// The lines of a text that hold a mark and are no comments, each behind its number and a colon.
pub fn lines_with_marks(text: &[u8], marks: &[String]) -> Vec<u8> {
    let mut kept = Vec::new();
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    let wanted = lines.filter(|(_, line)| !is_comment(line) && holds_mark(line, marks));
    for (at, line) in wanted.take(MAX_LINES) {
        kept.extend_from_slice(format!("{}:", at + 1).as_bytes());
        kept.extend_from_slice(&line[..line.len().min(MAX_LINE)]);
        kept.push(b'\n');
    }
    kept
}

fn is_comment(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    [b"#".as_slice(), b"//", b";", b"--", b"*", b"/*"].iter().any(|mark| line.starts_with(mark))
}

fn holds(text: &[u8], mark: &[u8]) -> bool {
    let is_number = mark.iter().all(u8::is_ascii_digit);
    let is_path = mark.first() == Some(&b'/');
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    !mark.is_empty()
        && memchr::memmem::find_iter(text, mark).any(|at| {
            let (before, after) = (&text[..at], &text[at + mark.len()..]);
            // `1.3000` and `3000.5` are other numbers; `/run/shop.sock.lock` is another file, and so is `/x/run/shop.sock`.
            let is_longer = if is_number {
                before.last() == Some(&b'.') || (after.first() == Some(&b'.') && is_word(after.get(1)))
            } else {
                is_path
                    && (before.last().is_some_and(|byte| matches!(byte, b'.' | b'-'))
                        || after.first().is_some_and(|byte| matches!(byte, b'.' | b'-' | b'/')))
            };
            // A name may stand within a longer one, between dashes; a path begins where it begins, and `unix:` before it is none.
            let is_part = is_word(before.last()) || is_word(after.first());
            !is_longer && !is_part
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_in(text: &str, mark: &str) -> bool {
        holds_mark(text.as_bytes(), &[mark.to_owned()])
    }

    #[test]
    fn a_mark_is_a_word_of_its_own() {
        for text in ["-b 127.0.0.1:3000", "PORT=3000", "listen(3000)", "3000", "port: 3000,"] {
            assert!(is_in(text, "3000"), "{text}");
        }
        for text in ["13000", "30001", "1.3000", "3000.5", "a3000", "3000ms", "x_3000"] {
            assert!(!is_in(text, "3000"), "{text}");
        }
        assert!(is_in("bind = 'unix:/run/shop.sock'", "/run/shop.sock"));
        assert!(!is_in("/run/shop.sock.lock", "/run/shop.sock"));
        assert!(!is_in("/var/run/shop.sock", "/run/shop.sock"));
        assert!(is_in("shop-worker.service", "shop") && !is_in("workshop.service", "shop"));
    }

    #[test]
    fn comments_are_left_out_and_lines_are_numbered() {
        let text = b"# port 3000\nx = 1\nport = 3000\n  // 3000\n";
        assert_eq!(lines_with_marks(text, &["3000".to_owned()]), b"3:port = 3000\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(text in any::<Vec<u8>>(), mark in "[/0-9a-z.]{0,4}") {
            lines_with_marks(&text, &[mark]);
        }
    }
}
