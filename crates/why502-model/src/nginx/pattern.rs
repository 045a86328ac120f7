//! Regular expressions as nginx uses them: PCRE over bytes, with bounds that nginx does not set.

use pcre2::bytes::{Regex, RegexBuilder};
use std::sync::Arc;

/// What every pattern begins with: bounds for hostile patterns and texts, and no machine code made at run time.
const BOUNDS: &str = "(*LIMIT_MATCH=200000)(*LIMIT_DEPTH=2000)(*LIMIT_HEAP=4096)(*NO_JIT)";

/// Whether case matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Ignored,
    Kept,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    compiled: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    regex: Regex,
    /// What every text that matches begins with: a configuration may have thousands of patterns, each looked at for each
    /// line of a log.
    prefix: Vec<u8>,
}

/// The groups that a match captured, by number and by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captures {
    /// The whole match and the groups; `None` for those that took no part.
    pub(crate) groups: Vec<Option<Vec<u8>>>,
    /// The names of groups with their numbers.
    pub(crate) names: Vec<(String, usize)>,
}

impl Pattern {
    /// Compiles a pattern, or gives nginx's words for what is wrong with it.
    pub(crate) fn compile(text: &str, case: Case) -> Result<Self, String> {
        let mut builder = RegexBuilder::new();
        builder.caseless(case == Case::Ignored);
        match builder.build(&format!("{BOUNDS}{text}")) {
            Ok(regex) => {
                let prefix = if case == Case::Kept { fixed_prefix(text) } else { Vec::new() };
                Ok(Self { compiled: Arc::new(Compiled { regex, prefix }) })
            }
            Err(error) => {
                // Its own words end with the library's: `PCRE2: error compiling pattern at offset 57: …`.
                let words = error.to_string();
                let reason = words.rsplit_once(": ").map_or(words.as_str(), |(_, reason)| reason);
                let offset = error.offset().unwrap_or(usize::MAX).saturating_sub(BOUNDS.len());
                let rest = text.get(offset..).filter(|rest| !rest.is_empty());
                let place = rest.map_or(String::new(), |rest| format!(" at \"{rest}\""));
                Err(format!("pcre2_compile() failed: {reason} in \"{text}\"{place}"))
            }
        }
    }

    /// Whether a text matches; one that runs into a bound does not (nginx answers 500 then).
    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        text.starts_with(&self.compiled.prefix) && self.compiled.regex.is_match(text).unwrap_or(false)
    }

    /// What a match captures.
    pub(crate) fn captures(&self, text: &[u8]) -> Option<Captures> {
        if !text.starts_with(&self.compiled.prefix) {
            return None;
        }
        let found = self.compiled.regex.captures(text).ok()??;
        let groups =
            (0..found.len()).map(|at| found.get(at).map(|group| group.as_bytes().to_vec())).collect();
        Some(Captures { groups, names: self.names() })
    }

    /// How many groups it has.
    pub(crate) fn n_groups(&self) -> usize {
        self.compiled.regex.captures_len() - 1
    }

    /// The names of its groups with their numbers: nginx makes variables of them.
    pub(crate) fn names(&self) -> Vec<(String, usize)> {
        let names = self.compiled.regex.capture_names().iter().enumerate();
        names.filter_map(|(at, name)| Some((name.clone()?, at))).collect()
    }
}

/// The bytes that a pattern demands at the begin of a text, as far as it is plain: behind a `^`, up to the first byte that
/// means something else than itself. Nothing where it has alternatives.
fn fixed_prefix(pattern: &str) -> Vec<u8> {
    let Some(plain) = pattern.strip_prefix('^').filter(|plain| !plain.contains('|')) else {
        return Vec::new();
    };
    let mut prefix = Vec::new();
    let mut rest = plain.bytes().peekable();
    while let Some(byte) = rest.next() {
        let literal = match byte {
            // An escaped letter or digit is a class, a group or an anchor.
            b'\\' => rest.next().filter(u8::is_ascii_punctuation),
            b'.' | b'[' | b'(' | b')' | b'$' | b'^' | b'*' | b'+' | b'?' | b'{' => None,
            byte => Some(byte).filter(u8::is_ascii),
        };
        // What may be left out or repeated is demanded no further.
        let is_counted = matches!(rest.peek(), Some(b'*' | b'+' | b'?' | b'{'));
        let Some(literal) = literal.filter(|_| !is_counted) else { break };
        prefix.push(literal);
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_bytes() {
        let pattern = Pattern::compile("^/caf\u{e9}$", Case::Kept).unwrap();
        assert!(pattern.is_match("/caf\u{e9}".as_bytes()) && !pattern.is_match(b"/caf\xe9"));
        assert!(Pattern::compile("ABC", Case::Ignored).unwrap().is_match(b"xabcx"));
        assert!(!Pattern::compile("ABC", Case::Kept).unwrap().is_match(b"xabcx"));
    }

    #[test]
    fn a_prefix_is_what_every_match_begins_with() {
        for (pattern, prefix) in [
            ("^/old/(.*)$", "/old/"),
            ("^/a\\.php$", "/a.php"),
            ("^/ab?c", "/a"),
            ("^/ab{0,2}", "/a"),
            ("^/a\\.?", "/a"),
            ("^/a\\d", "/a"),
            ("^/a|/b", ""),
            ("^(?i)/a", ""),
            ("/a", ""),
            ("^/caf\u{e9}", "/caf"),
        ] {
            assert_eq!(String::from_utf8(fixed_prefix(pattern)).unwrap(), prefix, "{pattern}");
        }
        assert!(Pattern::compile("^/a", Case::Ignored).unwrap().is_match(b"/A"));
    }

    proptest::proptest! {
        #[test]
        fn a_prefix_changes_no_match(pattern in "\\^[/ab.?*+{}0,|()\\\\]{0,8}", text in "/[/ab.0]{0,6}") {
            if let Ok(compiled) = Pattern::compile(&pattern, Case::Kept) {
                let plainly = compiled.compiled.regex.is_match(text.as_bytes()).unwrap_or(false);
                proptest::prop_assert_eq!(compiled.is_match(text.as_bytes()), plainly);
            }
        }
    }

    #[test]
    fn errors_are_told_in_nginx_s_words() {
        let error = |text| Pattern::compile(text, Case::Kept).unwrap_err();
        assert_eq!(error("^/(a"), "pcre2_compile() failed: missing closing parenthesis in \"^/(a\"");
        assert_eq!(
            error("^/[b-a]x"),
            "pcre2_compile() failed: range out of order in character class in \"^/[b-a]x\" at \"a]x\""
        );
    }

    #[test]
    fn groups_are_captured_by_number_and_name() {
        let found =
            Pattern::compile("^/(?<user>[a-z]+)/(x)?", Case::Kept).unwrap().captures(b"/bob/y").unwrap();
        assert_eq!(found.groups, [Some(b"/bob/".to_vec()), Some(b"bob".to_vec()), None]);
        assert_eq!(found.names, [("user".to_owned(), 1)]);
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let pattern = Pattern::compile("^(a+)+$", Case::Kept).unwrap();
        let hostile = format!("{}b", "a".repeat(4000));
        assert!(pattern.compiled.regex.is_match(hostile.as_bytes()).is_err(), "a bound is reached");
        assert!(!pattern.is_match(hostile.as_bytes()));
    }
}
