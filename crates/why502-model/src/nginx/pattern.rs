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
    regex: Arc<Regex>,
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
            Ok(regex) => Ok(Self { regex: Arc::new(regex) }),
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
        self.regex.is_match(text).unwrap_or(false)
    }

    /// What a match captures.
    pub(crate) fn captures(&self, text: &[u8]) -> Option<Captures> {
        let found = self.regex.captures(text).ok()??;
        let groups =
            (0..found.len()).map(|at| found.get(at).map(|group| group.as_bytes().to_vec())).collect();
        Some(Captures { groups, names: self.names() })
    }

    /// How many groups it has.
    pub(crate) fn n_groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    /// The names of its groups with their numbers: nginx makes variables of them.
    pub(crate) fn names(&self) -> Vec<(String, usize)> {
        let names = self.regex.capture_names().iter().enumerate();
        names.filter_map(|(at, name)| Some((name.clone()?, at))).collect()
    }
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
        assert!(pattern.regex.is_match(hostile.as_bytes()).is_err(), "a bound is reached");
        assert!(!pattern.is_match(hostile.as_bytes()));
    }
}
