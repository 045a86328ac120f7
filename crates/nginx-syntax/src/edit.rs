//! Edits: splices of bytes that say what they expect to replace.

use std::error::Error;
use std::fmt;
use std::ops::Range;

/// A replacement of some bytes of a text; an insertion if the range is empty, a removal if the new text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Which bytes are replaced.
    pub range: Range<u32>,
    /// What must be there: an edit that was made for another text must do no harm.
    pub expected: Vec<u8>,
    /// What is put there.
    pub text: Vec<u8>,
}

/// Why edits were not applied; none of them was then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// A range ends behind the text, or before it starts.
    OutOfRange {
        /// The index of the edit among those given.
        edit: usize,
        /// Its range.
        range: Range<u32>,
        /// The length of the text in bytes.
        text_bytes: usize,
    },
    /// Two edits replace the same byte, or one inserts within what another one replaces.
    Overlap {
        /// The index of the edit that starts first.
        first: usize,
        /// The index of the edit that starts within it.
        second: usize,
    },
    /// The text has other bytes in the range than the edit expects.
    Stale {
        /// The index of the edit among those given.
        edit: usize,
        /// What it expects.
        expected: Vec<u8>,
        /// What is there.
        found: Vec<u8>,
    },
}

/// Applies edits to the text that they were made for.
///
/// Their order does not matter, except that insertions at the same place are put there in the order given. A
/// range may end where the next one starts.
pub fn apply(text: &[u8], edits: &[Edit]) -> Result<Vec<u8>, EditError> {
    for (idx, edit) in edits.iter().enumerate() {
        check(text, idx, edit)?;
    }
    let mut order: Vec<usize> = (0..edits.len()).collect();
    order.sort_by_key(|&idx| edits.get(idx).map(|edit| (edit.range.start, edit.range.end)));

    let mut result = Vec::with_capacity(text.len() + edits.iter().map(|edit| edit.text.len()).sum::<usize>());
    let mut copied = 0;
    let mut previous = 0;
    for idx in order {
        let Some(Edit { range, text: new, .. }) = edits.get(idx) else { continue };
        let (start, end) = (range.start as usize, range.end as usize);
        if start < copied {
            return Err(EditError::Overlap { first: previous, second: idx });
        }
        result.extend_from_slice(text.get(copied..start).unwrap_or_default());
        result.extend_from_slice(new);
        copied = end;
        previous = idx;
    }
    result.extend_from_slice(text.get(copied..).unwrap_or_default());
    Ok(result)
}

fn check(text: &[u8], idx: usize, edit: &Edit) -> Result<(), EditError> {
    let range = edit.range.clone();
    let Some(found) = text.get(range.start as usize..range.end as usize) else {
        return Err(EditError::OutOfRange { edit: idx, range, text_bytes: text.len() });
    };
    if found != edit.expected {
        return Err(EditError::Stale { edit: idx, expected: edit.expected.clone(), found: found.to_vec() });
    }
    Ok(())
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { edit, range, text_bytes } => {
                let Range { start, end } = range;
                write!(f, "edit {edit} of bytes {start} to {end} is outside of a text of {text_bytes} bytes")
            }
            Self::Overlap { first, second } => write!(f, "edit {second} starts within edit {first}"),
            Self::Stale { edit, expected, found } => {
                let (expected, found) = (expected.escape_ascii(), found.escape_ascii());
                write!(f, "edit {edit} expects \"{expected}\" and finds \"{found}\"")
            }
        }
    }
}

impl Error for EditError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(range: Range<u32>, expected: &str, text: &str) -> Edit {
        Edit { range, expected: expected.into(), text: text.into() }
    }

    fn applied(edits: &[Edit]) -> Result<String, EditError> {
        apply(b"abcdef", edits).map(|text| String::from_utf8(text).expect("ascii"))
    }

    #[test]
    fn edits_are_applied_in_the_order_of_the_text() {
        let edits = [edit(4..5, "e", "E"), edit(0..2, "ab", ""), edit(6..6, "", "!")];
        assert_eq!(applied(&edits), Ok("cdEf!".to_owned()));
        assert_eq!(applied(&[]), Ok("abcdef".to_owned()));
    }

    #[test]
    fn insertions_at_one_place_keep_their_order() {
        let edits = [edit(3..3, "", "1"), edit(3..4, "d", "D"), edit(3..3, "", "2"), edit(1..3, "bc", "_")];
        assert_eq!(applied(&edits), Ok("a_12Def".to_owned()));
    }

    #[test]
    fn overlapping_edits_are_refused() {
        let overlap = Err(EditError::Overlap { first: 1, second: 0 });
        assert_eq!(applied(&[edit(2..4, "cd", ""), edit(1..3, "bc", "")]), overlap);
        assert_eq!(applied(&[edit(2..2, "", "x"), edit(1..3, "bc", "")]), overlap);
        let twice = applied(&[edit(1..2, "b", "x"), edit(1..2, "b", "x")]);
        assert_eq!(twice, Err(EditError::Overlap { first: 0, second: 1 }));
    }

    #[test]
    fn stale_edits_are_refused() {
        let stale = EditError::Stale { edit: 1, expected: b"x".to_vec(), found: b"b".to_vec() };
        assert_eq!(stale.to_string(), "edit 1 expects \"x\" and finds \"b\"");
        assert_eq!(applied(&[edit(0..1, "a", "A"), edit(1..2, "x", "y")]), Err(stale));
    }

    #[test]
    fn ranges_outside_of_the_text_are_refused() {
        let error = |range: Range<u32>| EditError::OutOfRange { edit: 0, range, text_bytes: 6 };
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
        let backwards = 3..2;
        assert_eq!(applied(&[edit(5..7, "f", "")]), Err(error(5..7)));
        assert_eq!(applied(&[edit(backwards.clone(), "", "")]), Err(error(backwards)));
        assert_eq!(error(5..7).to_string(), "edit 0 of bytes 5 to 7 is outside of a text of 6 bytes");
    }
}
