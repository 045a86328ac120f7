//! Fitting words into lines: wrapping, shortening, cutting.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Cuts a line to a width.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 0;
    for character in text.chars() {
        let columns = character.width().unwrap_or(0);
        if taken + columns + 1 > width {
            break;
        }
        kept.push(character);
        taken += columns;
    }
    kept + "…"
}

/// Breaks a text at spaces into lines of a width; a longer word stays whole, so that a path can be copied.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

/// Breaks a text into at most so many lines; what is left over is cut off the last one.
pub(super) fn wrap_at_most(text: &str, width: usize, n_lines: usize) -> Vec<String> {
    let mut lines = wrap(text, width);
    if lines.len() > n_lines.max(1) {
        let rest = lines.split_off(n_lines.max(1) - 1).join(" ");
        lines.push(cut(&rest, width));
    }
    lines
}

/// Breaks a command into lines that a shell reads as one.
pub(super) fn wrap_command(command: &str, width: usize) -> Vec<String> {
    let mut lines = wrap(command, width.saturating_sub(" \\".len()));
    if command.width() <= width {
        return vec![command.to_owned()];
    }
    let last = lines.len().saturating_sub(1);
    lines[..last].iter_mut().for_each(|line| line.push_str(" \\"));
    lines
}

/// Leaves out the middle of long paths until a text fits; whatever is part of a text in `keep` stays.
pub(super) fn shorten(text: &str, width: usize, keep: &[String]) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    while words.join(" ").width() > width {
        let shorter = words
            .iter()
            .enumerate()
            .filter_map(|(at, word)| without_middle(word, keep).map(|short| (at, short)))
            .max_by_key(|(at, short)| words[*at].width() - short.width());
        let Some((at, short)) = shorter else { break };
        words[at] = short;
    }
    words.join(" ")
}

/// A word that holds a path without the middle of it; `None` where nothing can go.
fn without_middle(word: &str, keep: &[String]) -> Option<String> {
    let path = word.trim_matches(|character: char| !character.is_alphanumeric() && character != '/');
    let is_address = word.contains("://") || word.contains("unix:");
    if is_address || word.contains('…') || keep.iter().any(|kept| kept.contains(path)) {
        return None;
    }
    let (head, rest) = word.split_once('/')?;
    let (first, rest) = rest.split_once('/')?;
    let (_, last) = rest.rsplit_once('/')?;
    let short = format!("{head}/{first}/…/{last}");
    (short.width() < word.width()).then_some(short)
}

/// Digits in groups of three: `48 312`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_to_their_width() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(wrap("a bb ccc dddd", 5), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrap_at_most("a bb ccc dddd", 5, 2), ["a bb", "ccc …"]);
    }

    #[test]
    fn a_path_is_never_broken() {
        assert_eq!(wrap("see /a/long/path now", 6), ["see", "/a/long/path", "now"]);
    }

    #[test]
    fn a_command_stays_one_command() {
        assert_eq!(wrap_command("nginx -t -c /a", 14), ["nginx -t -c /a"]);
        assert_eq!(wrap_command("nginx -t -c /etc/a", 12), ["nginx -t \\", "-c /etc/a"]);
    }

    #[test]
    fn paths_lose_their_middle_and_addresses_nothing() {
        let keep = ["unix:/run/a/b/app.sock".to_owned()];
        assert_eq!(shorten("see \"/etc/nginx/a/b/c.conf\" now", 24, &keep), "see \"/etc/…/c.conf\" now");
        for whole in ["at /run/a/b/app.sock", "at unix:/run/x/y/z.sock", "at http://a/b/c/d", "at /a/b"] {
            assert_eq!(shorten(whole, 4, &keep), whole);
        }
    }
}
