//! Finds the values of a line.

use super::compile::{Ending, Step};
use super::shape::elements;
use super::variable::Field;
use memchr::{memchr, memchr2};

/// No honest line needs more than a few steps per variable; a line made to need more is not read. So many steps may be
/// needed for any line, and so many more per byte: of a line that has one reading, each byte can be the false begin of
/// something that takes as many steps to refute.
const MAX_STEPS: usize = 2000;
const MAX_STEPS_PER_BYTE: usize = 16;

/// Where the value of each field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spans([(u32, u32); Field::COUNT]);

/// The span of a field that the format does not have: no line is as long.
const ABSENT: (u32, u32) = (u32::MAX, u32::MAX);

impl Default for Spans {
    fn default() -> Self {
        Self([ABSENT; Field::COUNT])
    }
}

impl Spans {
    /// The value of a field in its line; `None` if the format does not have the field.
    pub(super) fn value<'l>(&self, field: Field, line: &'l [u8]) -> Option<&'l [u8]> {
        let (begin, end) = self.0[field.idx()];
        line.get(begin as usize..end as usize)
    }

    /// Where the value of a field stands; `None` if the format does not have the field.
    pub(super) fn range(&self, field: Field) -> Option<std::ops::Range<usize>> {
        let (begin, end) = self.0[field.idx()];
        ((begin, end) != ABSENT).then_some(begin as usize..end as usize)
    }

    /// Keeps where a value stands; lines are shorter than 4 GiB ([`is_short`]).
    #[inline]
    pub(super) fn set(&mut self, field: Field, begin: usize, end: usize) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "lines are short, and a check for each value of each costs"
        )]
        let offset = |at: usize| at as u32;
        self.0[field.idx()] = (offset(begin), offset(end));
    }
}

/// Whether offsets in a line can be kept.
pub(super) fn is_short(line: &[u8]) -> bool {
    u32::try_from(line.len()).is_ok_and(|length| length < u32::MAX)
}

/// A search for all readings of a line.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    steps: &'a [Step],
    line: &'a [u8],
    spans: Spans,
    found: Option<Spans>,
    steps_left: usize,
}

/// Whether to look for further readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    GoOn,
    /// The line has two readings, or too many to look at.
    GiveUp,
}

impl<'a> Walk<'a> {
    /// Reads a line; `None` if it has no reading or more than one.
    pub(super) fn run(lead: &[u8], steps: &'a [Step], line: &'a [u8]) -> Option<Spans> {
        if !line.starts_with(lead) || !is_short(line) {
            return None;
        }
        let steps_left = MAX_STEPS + MAX_STEPS_PER_BYTE * line.len();
        let mut walk = Self { steps, line, spans: Spans::default(), found: None, steps_left };
        match walk.step(0, lead.len()) {
            Search::GoOn => walk.found,
            Search::GiveUp => None,
        }
    }

    fn step(&mut self, idx: usize, at: usize) -> Search {
        let step = &self.steps[idx];
        let rest = &self.line[at..];
        let is_last = idx + 1 == self.steps.len();
        match step.ending {
            _ if is_last => {
                let literal = step.literal.needle();
                if !rest.ends_with(literal) {
                    return Search::GoOn;
                }
                let value = &rest[..rest.len() - literal.len()];
                if !ends_with(step.ending, value) || step.shape.reach(value) < value.len() && !is_quoted(step)
                {
                    return Search::GoOn;
                }
                self.accept(idx, at, value.len())
            }
            Ending::Quote => match memchr(b'"', rest) {
                Some(end) => self.accept(idx, at, end),
                None => Search::GoOn,
            },
            Ending::JsonQuote => match json_quote(rest) {
                Some(end) => self.accept(idx, at, end),
                None => Search::GoOn,
            },
            Ending::Own => self.accept(idx, at, step.shape.reach(rest)),
            Ending::Literal => self.each_literal(idx, at, step.shape.reach(rest)),
        }
    }

    /// Tries every occurrence of the literal that the value can reach.
    fn each_literal(&mut self, idx: usize, at: usize, reach: usize) -> Search {
        let literal = &self.steps[idx].literal;
        let horizon = (at + reach + literal.needle().len()).min(self.line.len());
        let mut from = at;
        while let Some(found) = literal.find(&self.line[from..horizon]) {
            let end = from + found;
            if self.accept(idx, at, end - at) == Search::GiveUp {
                return Search::GiveUp;
            }
            from = end + 1;
        }
        Search::GoOn
    }

    /// Takes a value and goes on behind the literal that must follow it.
    fn accept(&mut self, idx: usize, at: usize, len: usize) -> Search {
        let step = &self.steps[idx];
        if self.steps_left == 0 {
            return Search::GiveUp;
        }
        self.steps_left -= 1;
        let end = at + len;
        let literal = step.literal.needle();
        if !self.line[end..].starts_with(literal) || !is_quoted(step) && !step.shape.fits(&self.line[at..end])
        {
            return Search::GoOn;
        }
        if let Some(field) = step.field {
            self.spans.set(field, at, end);
        }
        let next = end + literal.len();
        if idx + 1 < self.steps.len() {
            return self.step(idx + 1, next);
        }
        if next == self.line.len() { self.complete() } else { Search::GoOn }
    }

    fn complete(&mut self) -> Search {
        if !self.is_aligned() {
            return Search::GoOn;
        }
        match &self.found {
            Some(found) if *found != self.spans => Search::GiveUp,
            _ => {
                self.found = Some(self.spans);
                Search::GoOn
            }
        }
    }

    /// Whether all values with one element per attempt have as many of them, as the gateway writes them.
    fn is_aligned(&self) -> bool {
        let values = Field::TRIES.iter().filter_map(|field| self.spans.value(*field, self.line));
        let mut counts = values.map(n_elements);
        let first = counts.next();
        counts.all(|count| Some(count) == first)
    }
}

fn n_elements(value: &[u8]) -> usize {
    if memchr(b' ', value).is_none() { 1 } else { elements(value).count() }
}

fn is_quoted(step: &Step) -> bool {
    matches!(step.ending, Ending::Quote | Ending::JsonQuote)
}

/// Whether a value that ends the line may end there by its ending.
fn ends_with(ending: Ending, value: &[u8]) -> bool {
    match ending {
        Ending::Quote => memchr(b'"', value).is_none(),
        Ending::JsonQuote => json_quote(value).is_none() && n_trailing_backslashes(value).is_multiple_of(2),
        Ending::Own | Ending::Literal => true,
    }
}

pub(super) fn n_trailing_backslashes(value: &[u8]) -> usize {
    value.iter().rev().take_while(|&&byte| byte == b'\\').count()
}

pub(super) fn json_quote(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', rest.get(at..)?)?;
        if rest[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_quote_ends_nothing() {
        assert_eq!(json_quote(br#"a\"b"c"#), Some(4));
        assert_eq!(json_quote(br#"a\\"b"#), Some(3));
        assert_eq!(json_quote(br"a\"), None);
        assert!(!ends_with(Ending::JsonQuote, br"a\"));
    }
}
