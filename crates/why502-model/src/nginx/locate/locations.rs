//! The locations directly in a server or in another location, and the search among them.

use crate::RouteId;
use crate::nginx::pattern::{Case, Pattern};
use std::collections::{BTreeMap, BTreeSet};

/// How a location is named (`ngx_http_core_location`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocationName {
    /// `= /path`
    Exact(String),
    /// `@name`
    Named(String),
    /// `~ pattern`, `~* pattern`
    Pattern(String, Case),
    /// `/path`, `^~ /path`
    Prefix { path: String, stops_patterns: bool },
}

impl LocationName {
    /// Reads the arguments of a `location`: the modifier is one of its own, or the begin of the only one.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let prefix = |path: &str, stops_patterns| Self::Prefix { path: path.to_owned(), stops_patterns };
        let pattern = |text: &str, case| Self::Pattern(text.to_owned(), case);
        Ok(match arguments {
            ["=", path] => Self::Exact((*path).to_owned()),
            ["^~", path] => prefix(path, true),
            ["~", text] => pattern(text, Case::Kept),
            ["~*", text] => pattern(text, Case::Ignored),
            [modifier, _] => return Err(format!("invalid location modifier \"{modifier}\"")),
            [word] => match (word.strip_prefix('='), word.strip_prefix("^~"), word.strip_prefix('~')) {
                (Some(path), ..) => Self::Exact(path.to_owned()),
                (_, Some(path), _) => prefix(path, true),
                (.., Some(text)) => match text.strip_prefix('*') {
                    Some(text) => pattern(text, Case::Ignored),
                    None => pattern(text, Case::Kept),
                },
                _ if word.starts_with('@') => Self::Named((*word).to_owned()),
                _ => prefix(word, false),
            },
            _ => return Err("invalid number of arguments in \"location\" directive".to_owned()),
        })
    }

    /// The name as nginx's messages have it: without the modifier.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Exact(text)
            | Self::Named(text)
            | Self::Pattern(text, _)
            | Self::Prefix { path: text, .. } => text,
        }
    }

    /// What it is the same location as, if both stand in the same place.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(own), Self::Exact(other))
            | (Self::Named(own), Self::Named(other))
            | (Self::Prefix { path: own, .. }, Self::Prefix { path: other, .. }) => own == other,
            _ => false,
        }
    }
}

/// The locations of one level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level {
    exact: BTreeMap<Vec<u8>, RouteId>,
    named: BTreeMap<String, RouteId>,
    prefixes: BTreeMap<Vec<u8>, (RouteId, bool)>,
    prefix_lengths: BTreeSet<usize>,
    patterns: Vec<(Pattern, RouteId)>,
    /// Paths with a final slash that pass requests on: the path without it is redirected to them.
    redirects: BTreeMap<Vec<u8>, RouteId>,
}

/// What became of the search in a level without patterns (`ngx_http_core_find_static_location`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Static {
    Exact(RouteId),
    Nothing,
    Prefix {
        route: RouteId,
        stops_patterns: bool,
    },
    /// `NGX_DONE`: a redirect to the path with a slash.
    Redirect(RouteId),
}

impl Level {
    /// Adds a location; `passes` tells whether it passes requests on (`auto_redirect`).
    pub(crate) fn add(&mut self, route: RouteId, name: &LocationName, passes: Passes) {
        match name {
            LocationName::Exact(path) => drop(self.exact.entry(path.clone().into_bytes()).or_insert(route)),
            LocationName::Named(name) => drop(self.named.entry(name.clone()).or_insert(route)),
            LocationName::Pattern(text, case) => {
                if let Ok(pattern) = Pattern::compile(text, *case) {
                    self.patterns.push((pattern, route));
                }
            }
            LocationName::Prefix { path, stops_patterns } => {
                self.prefix_lengths.insert(path.len());
                self.prefixes.entry(path.clone().into_bytes()).or_insert((route, *stops_patterns));
            }
        }
        let is_path = matches!(name, LocationName::Exact(_) | LocationName::Prefix { .. });
        if is_path && passes == Passes::On && name.text().ends_with('/') {
            // Of an exact and a prefix location of the same path, the exact one is looked at first.
            let slot = self.redirects.entry(name.text().as_bytes().to_vec()).or_insert(route);
            if matches!(name, LocationName::Exact(_)) {
                *slot = route;
            }
        }
    }

    pub(super) fn find_static(&self, path: &[u8]) -> Static {
        if let Some(route) = self.exact.get(path) {
            return Static::Exact(*route);
        }
        let mut lengths = self.prefix_lengths.range(..=path.len()).rev();
        let longest = lengths.find_map(|length| Some((*length, self.prefixes.get(&path[..*length])?)));
        let is_whole = longest.is_some_and(|(length, _)| length == path.len());
        if !is_whole && let Some(route) = self.redirects.get(&[path, b"/"].concat()) {
            return Static::Redirect(*route);
        }
        longest.map_or(Static::Nothing, |(_, (route, stops_patterns))| Static::Prefix {
            route: *route,
            stops_patterns: *stops_patterns,
        })
    }

    /// The first pattern that matches.
    pub(super) fn find_pattern(&self, path: &[u8]) -> Option<(&Pattern, RouteId)> {
        self.patterns
            .iter()
            .map(|(pattern, route)| (pattern, *route))
            .find(|(pattern, _)| pattern.is_match(path))
    }

    pub(super) fn named(&self, name: &str) -> Option<RouteId> {
        self.named.get(name).copied()
    }
}

/// Whether a location passes requests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    Not,
    On,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(locations: &[&str]) -> Level {
        let mut level = Level::default();
        for (at, text) in locations.iter().enumerate() {
            let (words, passes) = match text.strip_suffix(" pass") {
                Some(words) => (words, Passes::On),
                None => (*text, Passes::Not),
            };
            let words: Vec<&str> = words.split(' ').collect();
            level.add(RouteId(at), &LocationName::parse(&words).unwrap(), passes);
        }
        level
    }

    fn find(locations: &[&str], path: &str) -> Static {
        level(locations).find_static(path.as_bytes())
    }

    #[test]
    fn the_longest_prefix_is_found() {
        let own = ["/", "/a", "/a/b", "^~ /s"];
        assert_eq!(find(&own, "/a/bc"), Static::Prefix { route: RouteId(2), stops_patterns: false });
        assert_eq!(find(&own, "/ab"), Static::Prefix { route: RouteId(1), stops_patterns: false });
        assert_eq!(find(&own, "/s/x"), Static::Prefix { route: RouteId(3), stops_patterns: true });
        assert_eq!(find(&["/a"], "/b"), Static::Nothing);
    }

    #[test]
    fn exact_locations_win() {
        assert_eq!(find(&["/a", "= /a"], "/a"), Static::Exact(RouteId(1)));
        assert_eq!(find(&["=/a"], "/ab"), Static::Nothing);
    }

    #[test]
    fn a_missing_slash_is_redirected_where_requests_are_passed_on() {
        assert_eq!(find(&["/x/ pass"], "/x"), Static::Redirect(RouteId(0)));
        assert_eq!(find(&["/x/"], "/x"), Static::Nothing);
        assert_eq!(
            find(&["/x/ pass", "/x"], "/x"),
            Static::Prefix { route: RouteId(1), stops_patterns: false }
        );
        assert_eq!(find(&["/x/ pass", "= /x/ pass"], "/x"), Static::Redirect(RouteId(1)));
        assert_eq!(find(&["= /x/ pass", "/x/ pass"], "/x"), Static::Redirect(RouteId(0)));
    }

    #[test]
    fn modifiers_are_read_with_and_without_a_blank() {
        assert_eq!(
            LocationName::parse(&["~*\\.php$"]),
            Ok(LocationName::Pattern("\\.php$".to_owned(), Case::Ignored))
        );
        assert_eq!(LocationName::parse(&["~", "x"]), Ok(LocationName::Pattern("x".to_owned(), Case::Kept)));
        assert_eq!(LocationName::parse(&["@a"]), Ok(LocationName::Named("@a".to_owned())));
        assert_eq!(LocationName::parse(&["!~", "x"]), Err("invalid location modifier \"!~\"".to_owned()));
    }
}
