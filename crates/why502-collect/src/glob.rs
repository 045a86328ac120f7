//! Glob patterns, matched in a root as glob(3) does in the C locale.

use crate::root::RootDir;
use rustix::io::Errno;

/// The paths that a pattern matches, sorted by bytes.
///
/// A directory that may not be listed is an error, as `GLOB_ERR` would make it: "nothing matched" must not be claimed
/// of a directory that nobody could read. A pattern without wildcards matches the path itself, if it is there.
pub(crate) fn glob(root: &RootDir, pattern: &str) -> Result<Vec<String>, Errno> {
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for parent in found {
            expand(root, &parent, part, &mut next)?;
        }
        found = next;
    }
    found.sort();
    Ok(found)
}

fn expand(root: &RootDir, parent: &str, part: &str, found: &mut Vec<String>) -> Result<(), Errno> {
    if !has_wildcard(part) {
        let path = format!("{parent}/{}", part.replace('\\', ""));
        match root.walk(&path).stopped {
            None => found.push(path),
            Some(Errno::NOENT | Errno::NOTDIR) => {}
            Some(errno) => return Err(errno),
        }
        return Ok(());
    }
    let directory = if parent.is_empty() { "/" } else { parent };
    match root.list(directory) {
        Ok(names) => {
            let matching = names.iter().filter(|name| matches(part.as_bytes(), name.as_bytes()));
            found.extend(matching.map(|name| format!("{parent}/{name}")));
            Ok(())
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Whether a path is a pattern for glob(3).
pub(crate) fn has_wildcard(pattern: &str) -> bool {
    pattern.bytes().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// fnmatch(3) with `FNM_PERIOD`: a leading point is matched only by a point.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    matches_from(pattern, name)
}

/// Iterative with one point of return, so that no pattern takes exponential time.
fn matches_from(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at_pattern, mut at_name) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at_name < name.len() {
        let step = pattern.get(at_pattern..).and_then(|rest| match_one(rest, name[at_name]));
        match step {
            Some(Step::Any) => {
                retry = Some((at_pattern + 1, at_name));
                at_pattern += 1;
            }
            Some(Step::Took(length)) => {
                at_pattern += length;
                at_name += 1;
            }
            None => match retry {
                Some((back, from)) => {
                    retry = Some((back, from + 1));
                    (at_pattern, at_name) = (back, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at_pattern.min(pattern.len())..].iter().all(|byte| *byte == b'*')
}

enum Step {
    /// A `*` stands here.
    Any,
    /// One byte was matched by that many bytes of the pattern.
    Took(usize),
}

fn match_one(pattern: &[u8], byte: u8) -> Option<Step> {
    match pattern {
        [b'*', ..] => Some(Step::Any),
        [b'?', ..] => Some(Step::Took(1)),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(Step::Took(2)),
        [b'[', rest @ ..] => match bracket(rest, byte) {
            Some((matched, length)) => matched.then_some(Step::Took(length + 1)),
            // An unclosed bracket stands for itself.
            None => (byte == b'[').then_some(Step::Took(1)),
        },
        [literal, ..] => (*literal == byte).then_some(Step::Took(1)),
        [] => None,
    }
}

/// Whether a bracket expression (after its `[`) matches, and how long it is with its `]`.
fn bracket(expression: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(expression.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let begin = at;
    let mut matched = false;
    loop {
        let low = *expression.get(at)?;
        if low == b']' && at > begin {
            return Some((matched != negated, at + 1));
        }
        match (expression.get(at + 1), expression.get(at + 2)) {
            (Some(b'-'), Some(high)) if *high != b']' => {
                matched |= (low..=*high).contains(&byte);
                at += 3;
            }
            _ => {
                matched |= low == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_fnmatch_does() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*.conf", ".a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("?[a-c]*", "xb1", true),
            ("[!a]*", "b", true),
            ("[!a]*", "a", false),
            ("a*b*c", "aXXbYYbZc", true),
            ("a*b*c", "aXXbYY", false),
            ("[]x]", "]", true),
            ("\\*", "*", true),
            ("[abc", "[abc", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = "*a".repeat(2000);
        assert!(!matches(pattern.as_bytes(), "a".repeat(1999).as_bytes()));
    }

    #[test]
    fn matches_are_sorted_by_bytes() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.conf", "B.conf", "a.conf", ".hidden.conf", "x.txt"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let root = RootDir::open(why502_facts::Root::Host).unwrap();
        let base = directory.path().display();
        let found = glob(&root, &format!("{base}/*.conf")).unwrap();
        assert_eq!(found, ["B.conf", "a.conf", "b.conf"].map(|name| format!("{base}/{name}")));
        assert!(glob(&root, &format!("{base}/nowhere/*.conf")).unwrap().is_empty());
        assert_eq!(glob(&root, &format!("{base}/x.txt")).unwrap(), [format!("{base}/x.txt")]);
    }
}
