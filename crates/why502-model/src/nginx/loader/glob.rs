//! Patterns of `include`, matched against the paths of a dump.

/// Whether nginx takes the name for a pattern (`ngx_conf_include`).
pub(super) fn is_pattern(name: &str) -> bool {
    name.bytes().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// glob(3) in the C locale: each wildcard stays within its part of the path, a leading point is matched by a point only,
/// and slashes are as many as the pattern has.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let split =
        |text: &str| text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (patterns, parts) = (split(pattern), split(path));
    let pairs = patterns.iter().zip(&parts);
    patterns.len() == parts.len()
        && as_written(pattern, path) == path
        && pairs.into_iter().all(|(pattern, part)| part_matches(pattern.as_bytes(), part.as_bytes()))
}

/// A path that a pattern matches, with slashes as many as the pattern has: so glob(3) gives it, and so nginx calls the file.
pub(super) fn as_written(pattern: &str, path: &str) -> String {
    let mut slashes = pattern.split(|letter| letter != '/').filter(|run| !run.is_empty());
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.flat_map(|part| [slashes.next().unwrap_or("/"), part]).collect()
}

fn part_matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut at, mut name_at) = (0, 0);
    // One place to come back to is enough: a later star takes whatever an earlier one could.
    let mut retry: Option<(usize, usize)> = None;
    while name_at < name.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            retry = Some((at, name_at));
        } else if let Some(length) = match_byte(pattern.get(at..).unwrap_or_default(), name[name_at]) {
            at += length;
            name_at += 1;
        } else if let Some((back, from)) = retry {
            (at, name_at) = (back, from + 1);
            retry = Some((back, from + 1));
        } else {
            return false;
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// How many bytes of a pattern match a byte.
fn match_byte(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => match class(rest) {
            Some((length, accepts)) => accepts(byte).then_some(length + 1),
            None => (byte == b'[').then_some(1),
        },
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// The length of a bracket expression behind its `[`, and what it takes; `None` if it is not closed.
fn class(rest: &[u8]) -> Option<(usize, impl Fn(u8) -> bool)> {
    let negated = usize::from(matches!(rest.first(), Some(b'!' | b'^')));
    // A `]` directly behind the opening is one of the members.
    let close = rest.get(negated + 1..)?.iter().position(|byte| *byte == b']')? + negated + 1;
    let members = rest[negated..close].to_vec();
    let accepts = move |byte: u8| {
        let mut at = 0;
        let mut found = false;
        while at < members.len() {
            if let [low, b'-', high] = members[at..(at + 3).min(members.len())] {
                found |= (low..=high).contains(&byte);
                at += 3;
            } else {
                found |= members[at] == byte;
                at += 1;
            }
        }
        found != (negated == 1)
    };
    Some((close + 1, accepts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubled_slashes_stay() {
        assert_eq!(as_written("/etc//c.d/*.conf", "/etc/c.d/a.conf"), "/etc//c.d/a.conf");
        assert_eq!(as_written("/c/*", "/c/a"), "/c/a");
    }

    #[test]
    fn patterns_match_as_glob_does() {
        for (pattern, path) in [
            ("/c/*.conf", "/c/a.conf"),
            ("/c/*.conf", "/c/a.b.conf"),
            ("/c/*", "/c/x"),
            ("/*/vhosts/*.conf", "/u/vhosts/a.conf"),
            ("/c/?.conf", "/c/a.conf"),
            ("/c/[ab].conf", "/c/b.conf"),
            ("/c/[!a-c]?", "/c/dz"),
            ("/c/[]]", "/c/]"),
            ("/c//[a", "/c//[a"),
            ("/c/.*", "/c/.x"),
            ("/c/\\*", "/c/*"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/c/*.conf", "/c/d/a.conf"),
            ("/c/*.conf", "/c/.a.conf"),
            ("/c/*.conf", "/c/a.confx"),
            ("/c/[!a-c]?", "/c/az"),
            ("/c/?.conf", "/c/ab.conf"),
            ("/c/*", "/d/x"),
            ("/c/*", "/c//x"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }
}
