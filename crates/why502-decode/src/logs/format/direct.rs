//! The reading of a line that leaves no choice.
//!
//! Almost every line can be read from left to right: each value's end follows from the bytes alone, and no other end
//! leads anywhere. Such a line is read here, in one pass; any other one is left to the search for all readings
//! ([`Walk`](super::walk::Walk)). What is read here is exactly what that search finds: every rule below either proves
//! that the search has one way to go on, or gives the line up.

use super::compile::{Ending, Step};
use super::quotes::Quotes;
use super::shape::Shape;
use super::variable::Field;
use super::walk::{Spans, json_quote, n_trailing_backslashes};
use memchr::{memchr, memchr2, memmem};
use std::ops::Range;

/// A longer format is searched: the search's limit on steps is then surely not reached by lines that are read here.
const MAX_STEPS: usize = 200;

/// How the end of a value is found without a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Where the literal stands first. It may stand elsewhere too, but from there the rest of the line holds too few
    /// quotes for the rest of the format: see [`is_anchored`].
    First,
    /// At the next quote that no backslash escapes.
    JsonQuote,
    /// Where the literal stands, if that is one place only.
    Only,
    /// At the next quote.
    Quote,
    /// As far as the value reaches: the literal begins with a byte that the value cannot have.
    Reach,
    /// The same, for the shapes that have no further conditions: what most lines consist of is read without detours.
    Decimal,
    Digits,
    TimeLocal,
    Word,
    /// At the first space, unless it separates elements of the list.
    Space,
}

/// A step, with the rule for its end.
#[derive(Clone, Debug)]
struct DirectStep {
    field: Option<Field>,
    shape: Shape,
    end: End,
    /// The literal's first eight bytes as a number, and which of them it has: one comparison instead of a call.
    head: (u64, u64),
    /// The length of the literal.
    length: usize,
    literal: memmem::Finder<'static>,
    /// Whether its value has one element per attempt.
    is_list: bool,
    /// Whether a quote inside would count for an anchor before it; only a time stands behind an anchor.
    is_counted: bool,
}

/// A format that can be read from left to right.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    steps: Vec<DirectStep>,
}

impl Direct {
    /// The rules for a format; `None` if it is too long.
    pub(super) fn compile(steps: &[Step]) -> Option<Self> {
        if steps.len() > MAX_STEPS {
            return None;
        }
        let anchors: Vec<bool> = (0..steps.len()).map(|idx| is_anchored(&steps[idx..])).collect();
        let rule = |(idx, step): (usize, &Step)| {
            let literal = step.literal.needle();
            let end = match step.ending {
                Ending::Quote => End::Quote,
                Ending::JsonQuote => End::JsonQuote,
                Ending::Own => reach_of(step.shape),
                Ending::Literal if literal.first().is_some_and(|byte| !step.shape.may_hold(*byte)) => {
                    reach_of(step.shape)
                }
                Ending::Literal if step.shape.is_list() && literal.starts_with(b" ") => End::Space,
                Ending::Literal if anchors[idx] => End::First,
                Ending::Literal => End::Only,
            };
            DirectStep {
                field: step.field,
                shape: step.shape,
                end,
                head: head(literal),
                length: literal.len(),
                literal: step.literal.clone(),
                is_list: step.field.is_some_and(|field| Field::TRIES.contains(&field)),
                is_counted: idx > 0 && anchors[idx - 1],
            }
        };
        Some(Self { steps: steps.iter().enumerate().map(rule).collect() })
    }

    /// Reads a line into `spans`, all of whose fields are then its own; `None` says nothing about it.
    pub(super) fn read(
        &self,
        lead: &[u8],
        line: &[u8],
        mut quotes: impl Quotes,
        spans: &mut Spans,
    ) -> Option<()> {
        if !begins_with(line, lead) {
            return None;
        }
        let (last, before) = self.steps.split_last()?;
        let mut at = lead.len();
        for step in before {
            let rest = line.get(at..)?;
            let end = at + step.value(rest, &mut || quotes.next(line, at))?;
            if !step.is_followed(line, end) {
                return None;
            }
            step.store(line, at..end, spans)?;
            at = end + step.length;
        }
        let end = at + last.last_value(line.get(at..)?, &mut || quotes.next(line, at))?;
        last.store(line, at..end, spans)
    }
}

/// The rule for a value that its literal does not end before its shape does.
fn reach_of(shape: Shape) -> End {
    match shape {
        Shape::Decimal => End::Decimal,
        Shape::Digits => End::Digits,
        Shape::TimeLocal => End::TimeLocal,
        Shape::Word => End::Word,
        _ => End::Reach,
    }
}

impl DirectStep {
    /// The length of the value; `quote` tells how far the next quote is away.
    #[inline]
    fn value(&self, rest: &[u8], quote: &mut impl FnMut() -> Option<usize>) -> Option<usize> {
        match self.end {
            End::Quote => quote(),
            End::JsonQuote => json_quote(rest),
            End::Decimal => Some(Shape::Decimal.reach(rest)),
            End::Digits => Some(Shape::Digits.reach(rest)),
            End::Word => Some(Shape::Word.reach(rest)),
            End::TimeLocal => {
                let length = Shape::TimeLocal.reach(rest);
                let has_quote = self.is_counted && quote().is_some_and(|quote| quote < length);
                (!has_quote).then_some(length)
            }
            End::Reach => {
                let length = self.shape.reach(rest);
                self.shape.fits(&rest[..length]).then_some(length)
            }
            End::Space => {
                let end = memchr2(b' ', b'"', rest)?;
                let value = &rest[..end];
                let is_one =
                    self.shape.fits(value) && !value.ends_with(b",") && !rest[end..].starts_with(b" : ");
                is_one.then_some(end)
            }
            // A variable that is not set.
            End::First
                if rest.first() == Some(&b'-')
                    && self.literal.needle().first() == Some(&b' ')
                    && self.is_followed(rest, 1) =>
            {
                Some(1)
            }
            End::First => self.literal.find(rest),
            End::Only => {
                let reach = self.shape.reach(rest);
                let horizon = &rest[..(reach + self.length).min(rest.len())];
                let end = self.literal.find(horizon)?;
                let is_only = self.literal.find(&horizon[end + 1..]).is_none();
                (is_only && self.shape.fits(&rest[..end])).then_some(end)
            }
        }
    }

    /// Whether the literal stands at a place.
    #[inline]
    fn is_followed(&self, text: &[u8], at: usize) -> bool {
        let Some(rest) = text.get(at..) else { return false };
        let Some(begin) = rest.first_chunk::<8>() else { return begins_with(rest, self.literal.needle()) };
        let (bytes, mask) = self.head;
        let begins = (u64::from_le_bytes(*begin) ^ bytes) & mask == 0;
        begins && (self.length <= 8 || rest.starts_with(self.literal.needle()))
    }

    /// The length of the value that ends the line.
    fn last_value(&self, rest: &[u8], quote: &mut impl FnMut() -> Option<usize>) -> Option<usize> {
        let (value, literal) = rest.split_at_checked(rest.len().checked_sub(self.length)?)?;
        if !begins_with(literal, self.literal.needle()) {
            return None;
        }
        let is_whole = match self.end {
            // The literal begins with one.
            End::Quote => quote() == Some(value.len()),
            End::JsonQuote => json_quote(value).is_none() && n_trailing_backslashes(value).is_multiple_of(2),
            _ => self.shape.reach(value) == value.len() && self.shape.fits(value),
        };
        is_whole.then_some(value.len())
    }

    /// Keeps a value. More than one attempt may be told by lists of different lengths, and that is to be looked at.
    #[inline]
    fn store(&self, line: &[u8], value: Range<usize>, spans: &mut Spans) -> Option<()> {
        if self.is_list && memchr(b' ', &line[value.clone()]).is_some() {
            return None;
        }
        if let Some(field) = self.field {
            spans.set(field, value.start, value.end);
        }
        Some(())
    }
}

/// Whether a text begins with a few bytes, which are compared here faster than a function for it is called.
#[inline]
fn begins_with(text: &[u8], begin: &[u8]) -> bool {
    text.len() >= begin.len() && begin.iter().zip(text).all(|(one, other)| one == other)
}

fn head(literal: &[u8]) -> (u64, u64) {
    let (mut bytes, mut mask) = ([0; 8], [0; 8]);
    for (place, byte) in literal.iter().take(8).enumerate() {
        bytes[place] = *byte;
        mask[place] = 0xff;
    }
    (u64::from_le_bytes(bytes), u64::from_le_bytes(mask))
}

/// Whether the first of these steps, a free text, can only end where its literal stands first.
///
/// A time of fixed length follows it, a literal with a quote follows the time, and the number of quotes after the text is
/// the same in every reading. Let the line be read with the text's end where its literal stands first. Were the end a
/// later one, the rest would hold as many quotes at most; it needs all of them, so the first quote behind is the same, and
/// it stands at a fixed distance from the text's end: both ends are one. (The time that was read must have no quote.)
///
/// Nothing between may have several ends: then each of the later places costs the search a step per variable at most.
fn is_anchored(steps: &[Step]) -> bool {
    let [text, time, after @ ..] = steps else { return false };
    let has_quote = |step: &Step| memchr(b'"', step.literal.needle()).is_some();
    let counts = |step: &Step| step.ending == Ending::Quote || !step.shape.may_hold(b'"');
    let n_until_last_quote = after.iter().rposition(has_quote).map_or(0, |idx| idx + 1);
    text.shape == Shape::Text
        && text.ending == Ending::Literal
        && time.shape == Shape::TimeLocal
        && time.ending == Ending::Own
        && has_quote(time)
        && after.iter().all(|step| step.ending != Ending::JsonQuote && counts(step))
        && after[..n_until_last_quote].iter().all(|step| step.ending != Ending::Literal)
}

#[cfg(test)]
mod tests;
