//! Text from outside, made harmless: log lines and upstream bytes are written by strangers.

use std::fmt::Write as _;

/// A text for a terminal: control characters, directional marks and invisible characters become visible.
pub(crate) fn terminal(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => safe.push_str("    "),
            character if is_harmful(character) => {
                let code = u32::from(character);
                let _ = if code < 0x100 {
                    write!(safe, "\\x{code:02x}")
                } else {
                    write!(safe, "\\u{{{code:x}}}")
                };
            }
            character => safe.push(character),
        }
    }
    safe
}

/// A JSON text: characters that a terminal obeys and JSON does not escape (DEL, C1, directional marks) are escaped.
pub(super) fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) && character != '\n' {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Control characters, and the format characters that hide or reorder what is around them.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        assert_eq!(terminal("a\x1b[31mb\r\x07"), "a\\x1b[31mb\\x0d\\x07");
        assert_eq!(terminal("\u{202e}gpj\u{200b}\u{9b}"), "\\u{202e}gpj\\u{200b}\\x9b");
        assert_eq!(terminal("käse\tok"), "käse    ok");
    }

    #[test]
    fn json_stays_json() {
        let text = serde_json::to_string("a\x1b\u{7f}\u{9b}\u{202e}\u{e0001}z").unwrap();
        let safe = json(&text);
        assert!(safe.is_ascii());
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "a\x1b\u{7f}\u{9b}\u{202e}\u{e0001}z");
    }
}
