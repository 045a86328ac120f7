//! What was probably meant: the known words nearest to a mistyped one.

/// The words that are as near to `typed` as any, if they are near enough to be meant.
pub(crate) fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let distances: Vec<(usize, &str)> = known.map(|word| (distance(typed, word), word)).collect();
    let best = distances.iter().map(|(distance, _)| *distance).min().unwrap_or(usize::MAX);
    // A third of what was typed may be wrong; more than that is another word.
    if best > typed.chars().count() / 3 {
        return Vec::new();
    }
    distances.into_iter().filter(|(distance, _)| *distance == best).map(|(_, word)| word).collect()
}

/// How many characters must be inserted, removed or replaced (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (at, wanted) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, found) in to.chars().enumerate() {
            let replaced = diagonal + usize::from(wanted != found);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let commands = || ["collect", "diagnose", "explain"].into_iter();
        assert_eq!(nearest("diagnos", commands()), ["diagnose"]);
        assert_eq!(nearest("exlpain", commands()), ["explain"]);
        assert!(nearest("restart", commands()).is_empty());
        assert!(nearest("", commands()).is_empty());
    }

    #[test]
    fn distances_are_levenshteins() {
        assert_eq!([distance("", "abc"), distance("kitten", "sitting"), distance("a", "a")], [3, 3, 0]);
    }
}
