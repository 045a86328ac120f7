//! `location`, `root` and `alias`, `error_page`, `limit_except`.

use super::Checker;
use crate::nginx::config::NodeId;
use crate::nginx::directives::Context;
use crate::nginx::locate::LocationName;
use crate::nginx::pattern::Pattern;
use crate::nginx::values::parse_number;

/// The methods that `limit_except` knows.
const METHODS: [&str; 15] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "MKCOL",
    "COPY",
    "MOVE",
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "LOCK",
    "UNLOCK",
    "PATCH",
    "CONNECT",
];

impl Checker<'_, '_> {
    /// `ngx_http_core_location`.
    pub(super) fn location(&mut self, id: NodeId, context: Context) {
        let name = match LocationName::parse(&self.words(id)) {
            Ok(name) => name,
            Err(words) => return self.refuse_arg(id, 0, words),
        };
        if let LocationName::Pattern(text, case) = &name {
            match Pattern::compile(text, *case) {
                Ok(pattern) => self.define_groups(&pattern),
                Err(words) => return self.refuse(id, words),
            }
        }
        if context != Context::Location {
            return;
        }
        let outer =
            self.config.node(id).parent.and_then(|outer| LocationName::parse(&self.words(outer)).ok());
        let (Some(outer), inner) = (outer, name.text()) else { return };
        let words = match (&outer, &name) {
            (LocationName::Exact(path), _) => {
                format!("location \"{inner}\" cannot be inside the exact location \"{path}\"")
            }
            (LocationName::Named(own), _) => {
                format!("location \"{inner}\" cannot be inside the named location \"{own}\"")
            }
            (_, LocationName::Named(_)) => {
                format!("named location \"{inner}\" can be on the server level only")
            }
            (_, LocationName::Pattern(..)) => return,
            (outer, _) if inner.starts_with(outer.text()) => return,
            (outer, _) => format!("location \"{inner}\" is outside location \"{}\"", outer.text()),
        };
        self.refuse(id, words);
    }

    /// `ngx_http_core_root`.
    pub(super) fn root(&mut self, id: NodeId) {
        let config = self.config;
        let node = config.node(id);
        let siblings = config.children(node.parent).iter().take_while(|sibling| **sibling != id);
        let earlier = siblings
            .map(|sibling| config.node(*sibling).name.as_str())
            .find(|name| matches!(*name, "root" | "alias"));
        if let Some(earlier) = earlier {
            let words = if earlier == node.name {
                format!("\"{earlier}\" directive is duplicate")
            } else {
                format!(
                    "\"{}\" directive is duplicate, \"{earlier}\" directive was specified earlier",
                    node.name
                )
            };
            return self.refuse(id, words);
        }
        let block = node.parent.map(|block| config.node(block));
        if node.name == "alias"
            && block.is_some_and(|block| block.arg(0).is_some_and(|name| name.starts_with('@')))
        {
            return self.refuse(id, "the \"alias\" directive cannot be used inside the named location");
        }
        for variable in ["document_root", "realpath_root"] {
            let text = self.arg(id, 0);
            if text.contains(&format!("${variable}")) || text.contains(&format!("${{{variable}}}")) {
                let words =
                    format!("the ${variable} variable cannot be used in the \"{}\" directive", node.name);
                return self.refuse(id, words);
            }
        }
    }

    /// `ngx_http_core_error_page`.
    pub(super) fn error_page(&mut self, id: NodeId) {
        let words = self.words(id);
        let Some((_, codes)) = words.split_last() else { return };
        let mut codes = codes;
        if let Some((last, rest)) = codes.split_last()
            && let Some(status) = last.strip_prefix('=')
        {
            if rest.is_empty() || (!status.is_empty() && parse_number(status).is_none()) {
                return self.refuse_arg(id, rest.len(), format!("invalid value \"{last}\""));
            }
            codes = rest;
        }
        for (at, code) in codes.iter().enumerate() {
            match parse_number(code) {
                None | Some(499) => return self.refuse_arg(id, at, format!("invalid value \"{code}\"")),
                Some(300..=599) => {}
                Some(_) => {
                    return self.refuse_arg(id, at, format!("value \"{code}\" must be between 300 and 599"));
                }
            }
        }
    }

    pub(super) fn limit_except(&mut self, id: NodeId) {
        let words = self.words(id);
        let is_method = |word: &str| METHODS.iter().any(|method| method.eq_ignore_ascii_case(word));
        if let Some((at, word)) = words.iter().enumerate().find(|(_, word)| !is_method(word)) {
            self.refuse_arg(id, at, format!("invalid method \"{word}\""));
        }
    }

    /// Locations of the same name in one level (`ngx_http_join_exact_locations`): inner levels first.
    pub(super) fn duplicate_locations(&mut self, block: NodeId) {
        let config = self.config;
        let locations: Vec<NodeId> = config.named(Some(block), "location").collect();
        for id in &locations {
            self.duplicate_locations(*id);
        }
        let name = |id: &NodeId| LocationName::parse(&config.node(*id).values().collect::<Vec<_>>()).ok();
        let mut named: Vec<(LocationName, NodeId)> = locations
            .iter()
            .filter_map(|id| Some((name(id)?, *id)))
            .filter(|(name, _)| is_path(name))
            .collect();
        named.sort_by(|(left, _), (right, _)| {
            let is_prefix = |name: &LocationName| matches!(name, LocationName::Prefix { .. });
            left.text().cmp(right.text()).then(is_prefix(left).cmp(&is_prefix(right)))
        });
        for pair in named.windows(2) {
            if let [(left, _), (right, id)] = pair
                && left.same_as(right)
            {
                self.refuse(*id, format!("duplicate location \"{}\"", right.text()));
            }
        }
    }
}

fn is_path(name: &LocationName) -> bool {
    matches!(name, LocationName::Exact(_) | LocationName::Prefix { .. })
}

#[cfg(test)]
mod tests {
    use super::super::tests::first;

    #[test]
    fn locations_are_looked_at() {
        for (server, words) in [
            ("location ! /a { }", "invalid location modifier \"!\" :1"),
            ("location ~ ( { }", "pcre2_compile() failed: missing closing parenthesis in \"(\" :1"),
            ("location /a { location /b { } }", "location \"/b\" is outside location \"/a\" :1"),
            ("location ~ ^/a { location /a/b { } }", "location \"/a/b\" is outside location \"^/a\" :1"),
            (
                "location = /a { location /a { } }",
                "location \"/a\" cannot be inside the exact location \"/a\" :1",
            ),
            (
                "location @a { location /a { } }",
                "location \"/a\" cannot be inside the named location \"@a\" :1",
            ),
            ("location /a { location @b { } }", "named location \"@b\" can be on the server level only :1"),
            ("location /a { }\nlocation ^~ /a { }", "duplicate location \"/a\" :2"),
            ("location = /a { } location = /a { }", "duplicate location \"/a\" :1"),
        ] {
            assert_eq!(first(&format!("server {{ {server} }}")).as_deref(), Some(words), "{server}");
        }
        let sound = "location /a { location ~ x { } location /a/b { } } location = /a { } location ~ x { } location ~ x { }";
        assert_eq!(first(&format!("server {{ {sound} }}")), None);
    }

    #[test]
    fn what_stands_in_them_is_looked_at() {
        for (server, words) in [
            ("root /a; root /b;", "\"root\" directive is duplicate :1"),
            (
                "location / { root /a; alias /b; }",
                "\"alias\" directive is duplicate, \"root\" directive was specified earlier :1",
            ),
            (
                "location @a { alias /b; }",
                "the \"alias\" directive cannot be used inside the named location :1",
            ),
            (
                "root $document_root/x;",
                "the $document_root variable cannot be used in the \"root\" directive :1",
            ),
            ("error_page 200 /a;", "value \"200\" must be between 300 and 599 :1"),
            ("error_page 499 /a;", "invalid value \"499\" :1"),
            ("error_page x /a;", "invalid value \"x\" :1"),
            ("error_page = /a;", "invalid value \"=\" :1"),
            ("error_page 404 =x /a;", "invalid value \"=x\" :1"),
            ("location / { limit_except GOT { } }", "invalid method \"GOT\" :1"),
        ] {
            assert_eq!(first(&format!("server {{ {server} }}")).as_deref(), Some(words), "{server}");
        }
        assert_eq!(
            first(
                "server { error_page 500 502 =200 /a; error_page 404 = @b; location / { limit_except get { } } }"
            ),
            None
        );
    }
}
