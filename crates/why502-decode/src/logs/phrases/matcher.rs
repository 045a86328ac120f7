//! Templates with holes, found by their first byte.

use memchr::memmem;
use why502_facts::Phrase;

/// What of a matching message is its detail.
#[derive(Clone, Copy, Debug)]
enum Detail {
    /// The hole that the template marks with `{*}`, if it marks one.
    Marked,
    /// The whole message.
    Message,
}

/// A template and what it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    template: &'static str,
    phrase: Phrase,
    detail: Detail,
}

impl Rule {
    /// A template whose detail is the hole `{*}`; without one, the phrase has no detail.
    pub(super) const fn new(template: &'static str, phrase: Phrase) -> Self {
        Self { template, phrase, detail: Detail::Marked }
    }

    /// A template whose detail is the whole message.
    pub(super) const fn whole(template: &'static str, phrase: Phrase) -> Self {
        Self { template, phrase, detail: Detail::Message }
    }
}

/// A template taken apart: literals with a hole between each two.
#[derive(Debug)]
struct Pattern {
    head: &'static [u8],
    middle: Vec<memmem::Finder<'static>>,
    /// `None` for a template without a hole.
    tail: Option<&'static [u8]>,
    marked: Option<usize>,
    phrase: Phrase,
    detail: Detail,
}

impl Pattern {
    fn new(rule: Rule) -> Self {
        let mut literals = Vec::new();
        let mut marked = None;
        let mut rest = rule.template;
        while let Some(at) = rest.find('{') {
            literals.push(&rest.as_bytes()[..at]);
            let hole = &rest[at..];
            let width = if hole.starts_with("{*}") { 3 } else { 2 };
            debug_assert!(hole[..width].ends_with('}'), "a template writes holes as {{}} or {{*}}: {rest}");
            if width == 3 {
                marked = Some(literals.len() - 1);
            }
            rest = &hole[width..];
        }
        literals.push(rest.as_bytes());
        let head = literals.remove(0);
        let tail = literals.pop();
        let middle = literals.into_iter().map(memmem::Finder::new).collect();
        Self { head, middle, tail, marked, phrase: rule.phrase, detail: rule.detail }
    }

    fn first_byte(&self) -> Option<u8> {
        self.head.first().copied()
    }

    /// Matches the whole message: the first literal at its begin, the last at its end, the others leftmost between.
    fn read<'a>(&self, message: &'a [u8]) -> Option<(Phrase, Option<&'a [u8]>)> {
        if !message.starts_with(self.head) {
            return None;
        }
        let Some(tail) = self.tail else {
            return (message.len() == self.head.len()).then(|| self.found(message, None));
        };
        let mut at = self.head.len();
        let mut marked = None;
        for (idx, literal) in self.middle.iter().enumerate() {
            let end = at + literal.find(&message[at..])?;
            if self.marked == Some(idx) {
                marked = Some(&message[at..end]);
            }
            at = end + literal.needle().len();
        }
        if message.len() < at + tail.len() || !message.ends_with(tail) {
            return None;
        }
        if self.marked == Some(self.middle.len()) {
            marked = Some(&message[at..message.len() - tail.len()]);
        }
        Some(self.found(message, marked))
    }

    fn found<'a>(&self, message: &'a [u8], marked: Option<&'a [u8]>) -> (Phrase, Option<&'a [u8]>) {
        match self.detail {
            Detail::Marked => (self.phrase, marked),
            Detail::Message => (self.phrase, Some(message)),
        }
    }
}

/// All patterns, those with a fixed begin grouped by its first byte.
#[derive(Debug)]
pub(super) struct Index {
    by_first_byte: Vec<Vec<Pattern>>,
    floating: Vec<Pattern>,
}

impl Index {
    pub(super) fn new(tables: &[&[Rule]]) -> Self {
        let mut by_first_byte: Vec<Vec<Pattern>> = Vec::new();
        by_first_byte.resize_with(256, Vec::new);
        let mut floating = Vec::new();
        for &rule in tables.iter().copied().flatten() {
            let pattern = Pattern::new(rule);
            match pattern.first_byte() {
                Some(byte) => by_first_byte[usize::from(byte)].push(pattern),
                None => floating.push(pattern),
            }
        }
        Self { by_first_byte, floating }
    }

    pub(super) fn find<'a>(&self, message: &'a [u8]) -> Option<(Phrase, Option<&'a [u8]>)> {
        let fixed = &self.by_first_byte[usize::from(*message.first()?)];
        fixed.iter().chain(&self.floating).find_map(|pattern| pattern.read(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the marked hole held; `-` if none is marked.
    fn detail(template: &'static str, message: &str) -> Option<String> {
        let pattern = Pattern::new(Rule::new(template, Phrase::Noise));
        let (_, detail) = pattern.read(message.as_bytes())?;
        Some(String::from_utf8(detail.unwrap_or(b"-").to_vec()).unwrap())
    }

    #[test]
    fn a_template_matches_the_whole_message() {
        assert_eq!(detail("a{*}b", "a1b").as_deref(), Some("1"));
        assert_eq!(detail("a{*}b", "ab").as_deref(), Some(""));
        assert_eq!(detail("a{*}b", "a1bc"), None);
        assert_eq!(detail("a{}b{*}c", "a1b2b3c").as_deref(), Some("2b3"));
        assert_eq!(detail("{*} x", "1 x").as_deref(), Some("1"));
        assert_eq!(detail("a", "ab"), None);
        assert_eq!(detail("a{}", "ab").as_deref(), Some("-"));
        // Literals may not overlap.
        assert_eq!(detail("ab{}ba", "aba"), None);
    }
}
