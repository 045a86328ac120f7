//! Words of commands: split as a shell would, without running one.

/// How deep a variable may name another one.
const MAX_DEPTH: usize = 8;
/// The longest word that is made.
const MAX_LENGTH: usize = 4096;
/// So many variables are put into the words of one definition. Depth and length alone bound nothing where variables name each
/// other many times and the last one is empty.
const MAX_EXPANSIONS: usize = 1024;

/// The words of a line, quotes and backslashes removed (systemd.syntax(7), "Quoting", which is near to sh(1)).
pub(super) fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut is_open) = (String::new(), None, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None | Some('"'), '\\') => {
                word.extend(letters.next());
                is_open = true;
            }
            (Some(_), letter) => word.push(letter),
            (None, '"' | '\'') => {
                quote = Some(letter);
                is_open = true;
            }
            (None, letter) if letter.is_whitespace() => {
                if is_open {
                    words.push(std::mem::take(&mut word));
                }
                is_open = false;
            }
            (None, letter) => {
                word.push(letter);
                is_open = true;
            }
        }
    }
    if is_open {
        words.push(word);
    }
    words
}

/// Puts variables into the words of one definition.
pub(super) struct Expander<'e> {
    environment: &'e [(String, String)],
    /// So many are still put in.
    left: usize,
}

impl<'e> Expander<'e> {
    /// With the variables that are known; the last value that was set wins.
    pub(super) fn new(environment: &'e [(String, String)]) -> Self {
        Self { environment, left: MAX_EXPANSIONS }
    }

    /// A word with its variables. An unknown one stays, `${NAME:-value}` gives its value; so does what is left when too many
    /// were put in.
    pub(super) fn expand(&mut self, word: &str) -> String {
        self.expand_to(word, MAX_DEPTH)
    }

    fn expand_to(&mut self, word: &str, depth: usize) -> String {
        let (mut out, mut rest) = (String::new(), word);
        while let Some((before, behind)) = rest.split_once('$').filter(|_| self.left > 0) {
            out.push_str(before);
            let Some((name, default, after)) = variable(behind) else {
                out.push('$');
                rest = behind;
                continue;
            };
            self.left -= 1;
            let value = self.environment.iter().rev().find(|(own, _)| own == name);
            match value.map(|(_, value)| value.as_str()).or(default) {
                Some(value) if depth > 0 => out.push_str(&self.expand_to(value, depth - 1)),
                _ => {
                    out.push('$');
                    out.push_str(&behind[..behind.len() - after.len()]);
                }
            }
            rest = after;
            if out.len() > MAX_LENGTH {
                break;
            }
        }
        out.push_str(rest);
        let end = out.char_indices().map(|(at, _)| at).find(|at| *at >= MAX_LENGTH).unwrap_or(out.len());
        out.truncate(end);
        out
    }
}

/// `NAME`, `{NAME}` or `{NAME:-default}` at the begin of a text, with what follows it.
fn variable(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if let Some((within, after)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        let (name, default) =
            within.split_once(":-").map_or((within, None), |(name, value)| (name, Some(value)));
        return (!name.is_empty() && name.chars().all(is_part)).then_some((name, default, after));
    }
    let end = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], None, &text[end..]))
}
