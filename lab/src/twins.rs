//! Scenarios that share their error text: the same bytes in the log, different verdicts by other evidence.

use std::collections::{BTreeMap, BTreeSet};

/// The kinds of messages in an error log, without what differs from run to run: stamps, numbers, addresses, paths.
pub(crate) fn texts(log: &str) -> Vec<String> {
    let kinds: BTreeSet<String> = log.lines().filter_map(text).collect();
    kinds.into_iter().collect()
}

/// The message of a line that is about an upstream.
fn text(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("] ")?;
    let (_, rest) = rest.split_once(": *")?;
    let (_, rest) = rest.split_once(' ')?;
    let message = rest.split(", client: ").next()?;
    if !message.contains("upstream") {
        return None;
    }
    let words = message.split(' ').map(|word| if is_place(word) { "…" } else { word });
    Some(words.collect::<Vec<_>>().join(" "))
}

/// Whether a word is an address or a path.
fn is_place(word: &str) -> bool {
    let is_address =
        word.contains(':') && word.starts_with(|first: char| first.is_ascii_digit() || first == '[');
    word.starts_with("unix:") || word.contains('/') || is_address
}

/// One group of twins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Twins {
    /// The scenarios with what is expected of them, and whether it was met.
    pub(crate) members: Vec<(String, String, bool)>,
    /// Their texts.
    pub(crate) texts: BTreeSet<Vec<String>>,
}

impl Twins {
    /// Whether all of them wrote the same, and what they mean is not the same.
    pub(crate) fn is_one(&self) -> bool {
        let meanings: BTreeSet<&str> = self.members.iter().map(|(_, cause, _)| cause.as_str()).collect();
        self.texts.len() == 1 && meanings.len() > 1
    }
}

/// Groups by name.
pub(crate) type TwinGroups = BTreeMap<String, Twins>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_left_out() {
        let log = "2026/11/21 02:28:30 [error] 9#9: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1\n\
                   2026/11/21 02:28:31 [crit] 9#9: *4 connect() to unix:/srv/a.sock failed (2: No such file or directory) while connecting to upstream, client: 127.0.0.1\n\
                   2026/11/21 02:28:31 [error] 9#9: *5 open() \"/srv/a\" failed (2: No such file or directory), client: 127.0.0.1\n\
                   2026/11/21 02:28:31 [notice] 9#9: using the \"epoll\" event method\n";
        assert_eq!(
            texts(log),
            [
                "connect() failed (111: Connection refused) while connecting to upstream",
                "connect() to … failed (2: No such file or directory) while connecting to upstream",
            ]
        );
    }

    #[test]
    fn twins_write_the_same_and_mean_something_else() {
        let member = |cause: &str| ("s".to_owned(), cause.to_owned(), true);
        let texts = BTreeSet::from([vec!["x".to_owned()]]);
        assert!(Twins { members: vec![member("a"), member("b")], texts: texts.clone() }.is_one());
        assert!(!Twins { members: vec![member("a"), member("a")], texts }.is_one());
    }
}
