//! The names of the servers that share a listening address (`ngx_http_server_names`).

use crate::Server;
use crate::nginx::pattern::{Case, Pattern};
use std::collections::BTreeMap;

/// The names of some servers, as nginx searches them: exact names, then leading wildcards, then trailing ones, the longest
/// first, then patterns in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameTable {
    exact: BTreeMap<String, usize>,
    /// What follows the star: `*.example.com` as `example.com`.
    leading: BTreeMap<String, Leading>,
    /// What precedes the star: `www.example.*` as `www.example`.
    trailing: BTreeMap<String, usize>,
    patterns: Vec<(Pattern, usize)>,
    /// Names that cannot be used because an earlier one takes their place.
    pub(crate) conflicts: Vec<(usize, String)>,
    /// A name that nginx refuses, with its server.
    pub(crate) invalid: Option<(usize, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Leading {
    server: usize,
    /// Written `.example.com`: the bare name is meant too.
    takes_bare: bool,
}

/// How good a fit is; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    Exact,
    Leading,
    Trailing,
    Pattern,
}

impl NameTable {
    /// Takes the names of servers in as `ngx_hash_add_key` does.
    pub(crate) fn new<'a>(servers: impl Iterator<Item = (usize, &'a Server)>) -> Self {
        let mut table = Self::default();
        // Exact names and those of `.example.com` keep each other out.
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        for (server, names) in servers {
            if names.names.is_empty() {
                // A server without a name has the empty one (`ngx_http_core_merge_srv_conf`).
                table.exact.entry(String::new()).or_insert(server);
            }
            for name in &names.names {
                table.add(server, &name.text, &mut taken);
            }
        }
        table
    }

    fn add(&mut self, server: usize, text: &str, taken: &mut BTreeMap<String, usize>) {
        if let Some(pattern) = text.strip_prefix('~') {
            // The host is in lower case; a pattern with capitals could never match it (`ngx_http_core_server_name`).
            let case = if pattern.bytes().any(|byte| byte.is_ascii_uppercase()) {
                Case::Ignored
            } else {
                Case::Kept
            };
            if let Ok(pattern) = Pattern::compile(pattern, case) {
                self.patterns.push((pattern, server));
            }
            return;
        }
        let name = text.to_ascii_lowercase();
        let n_stars = name.bytes().filter(|byte| *byte == b'*').count();
        if n_stars > 1 || name.contains("..") {
            self.refuse(server, text);
            return;
        }
        let (leading, takes_bare) = match (name.strip_prefix("*."), name.strip_prefix('.')) {
            (Some(rest), _) if !rest.is_empty() => (Some(rest), false),
            (_, Some(rest)) if !rest.is_empty() => (Some(rest), true),
            _ => (None, false),
        };
        let is_free = match leading {
            Some(rest) => {
                let bare_is_free = !takes_bare || taken.insert(rest.to_owned(), server).is_none();
                bare_is_free && self.add_leading(rest, Leading { server, takes_bare })
            }
            None => match name.strip_suffix(".*").filter(|head| !head.is_empty()) {
                Some(head) => insert_new(&mut self.trailing, head, server),
                None if n_stars > 0 => return self.refuse(server, text),
                None => insert_new(taken, &name, server) && insert_new(&mut self.exact, &name, server),
            },
        };
        if !is_free {
            self.conflicts.push((server, text.to_owned()));
        }
    }

    fn add_leading(&mut self, rest: &str, leading: Leading) -> bool {
        let is_free = !self.leading.contains_key(rest);
        if is_free {
            self.leading.insert(rest.to_owned(), leading);
        }
        is_free
    }

    fn refuse(&mut self, server: usize, text: &str) {
        self.invalid.get_or_insert_with(|| (server, text.to_owned()));
    }

    /// The server that a host names (`ngx_http_find_virtual_server`).
    pub(crate) fn find(&self, host: &str) -> Option<(Fit, usize)> {
        if let Some(server) = self.exact.get(host) {
            return Some((Fit::Exact, *server));
        }
        let leading = ends(host).find_map(|(rest, is_whole)| {
            self.leading.get(rest).filter(|leading| leading.takes_bare || !is_whole)
        });
        if let Some(leading) = leading {
            return Some((Fit::Leading, leading.server));
        }
        if let Some(server) = heads(host).find_map(|head| self.trailing.get(head)) {
            return Some((Fit::Trailing, *server));
        }
        let patterns = self.patterns.iter().filter(|_| !host.is_empty());
        patterns
            .map(|(pattern, server)| (pattern, *server))
            .find(|(pattern, _)| pattern.is_match(host.as_bytes()))
            .map(|(_, server)| (Fit::Pattern, server))
    }
}

fn insert_new(names: &mut BTreeMap<String, usize>, name: &str, server: usize) -> bool {
    let is_new = !names.contains_key(name);
    if is_new {
        names.insert(name.to_owned(), server);
    }
    is_new
}

/// The host and what follows each of its points, the longest first.
fn ends(host: &str) -> impl Iterator<Item = (&str, bool)> {
    let after_points = host.match_indices('.').map(|(at, _)| (&host[at + 1..], false));
    std::iter::once((host, true)).chain(after_points)
}

/// What precedes each point of the host, the longest first.
fn heads(host: &str) -> impl Iterator<Item = &str> {
    host.match_indices('.').map(|(at, _)| &host[..at]).collect::<Vec<_>>().into_iter().rev()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ServerName, Span};

    fn table(servers: &[&[&str]]) -> NameTable {
        let at = Span { file: "x".into(), line: 1, column: 1, begin: 0, end: 0 };
        let name = |text: &&str| ServerName { text: (*text).to_owned(), at: None };
        let servers: Vec<Server> = servers
            .iter()
            .map(|names| Server {
                listens: Vec::new(),
                names: names.iter().map(name).collect(),
                at: at.clone(),
            })
            .collect();
        NameTable::new(servers.iter().enumerate())
    }

    fn find(servers: &[&[&str]], host: &str) -> Option<usize> {
        table(servers).find(host).map(|(_, server)| server)
    }

    #[test]
    fn exact_names_win_over_wildcards_and_these_over_patterns() {
        let servers: [&[&str]; 5] =
            [&["~^www"], &["www.*"], &["*.example.com"], &["*.shop.example.com"], &["www.example.com"]];
        assert_eq!(find(&servers, "www.example.com"), Some(4));
        assert_eq!(find(&servers, "a.example.com"), Some(2));
        assert_eq!(find(&servers, "www.shop.example.com"), Some(3), "the longest");
        assert_eq!(find(&servers, "www.example.org"), Some(1));
        assert_eq!(find(&servers, "www"), Some(0));
        assert_eq!(find(&servers, "example.com"), None);
    }

    #[test]
    fn a_leading_point_takes_the_bare_name_too() {
        let servers: [&[&str]; 1] = [&[".example.com"]];
        assert_eq!((find(&servers, "example.com"), find(&servers, "a.b.example.com")), (Some(0), Some(0)));
        assert_eq!(find(&servers, "xexample.com"), None);
    }

    #[test]
    fn the_first_of_two_equal_names_wins() {
        for (names, host) in [
            ([&["a.b"][..], &["A.B"]], "a.b"),
            ([&["a.b"], &[".a.b"]], "x.a.b"),
            ([&[".a.b"], &["*.a.b"]], "x.a.b"),
            ([&[".a.b"], &["a.b"]], "a.b"),
        ] {
            let table = table(&names);
            assert_eq!(table.conflicts.len(), 1, "{names:?}");
            let expected = if names[1] == [".a.b"] { None } else { Some(0) };
            assert_eq!(table.find(host).map(|(_, server)| server), expected, "{names:?}");
        }
    }

    #[test]
    fn patterns_are_tried_in_order_and_capitals_make_them_ignore_case() {
        let servers: [&[&str]; 2] = [&["~^WWW\\d\\."], &["~^www"]];
        assert_eq!((find(&servers, "www1.x"), find(&servers, "www.x")), (Some(0), Some(1)));
    }

    #[test]
    fn a_server_without_names_takes_requests_without_a_host() {
        let servers: [&[&str]; 2] = [&["a"], &[]];
        assert_eq!((find(&servers, ""), find(&servers, "b")), (Some(1), None));
    }

    #[test]
    fn names_that_nginx_refuses_are_kept_apart() {
        for name in ["*.a.*", "a*b", "a..b", "*a"] {
            assert!(table(&[&["x"], &[name]]).invalid.is_some(), "{name}");
        }
    }
}
