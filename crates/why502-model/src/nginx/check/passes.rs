//! `proxy_pass` and its siblings.

use super::Checker;
use super::upstreams::{Naming, Origin};
use crate::Protocol;
use crate::nginx::address::{Use, parse_url};
use crate::nginx::config::NodeId;
use crate::nginx::directives::Context;
use crate::nginx::locate::LocationName;
use crate::nginx::pass::{protocol_of, split_url};

/// What nginx says of a path where there is nothing to replace.
const NO_URI: &str = "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named \
                      location, or inside \"if\" statement, or inside \"limit_except\" block";

impl Checker<'_, '_> {
    /// `ngx_http_proxy_pass` and the like.
    pub(super) fn pass(&mut self, id: NodeId, context: Context) {
        let node = self.config.node(id);
        let (Some(text), Some(protocol)) = (node.arg(0), protocol_of(&node.name)) else { return };
        if text.contains('$') && protocol != Protocol::Memcached {
            return;
        }
        let url = split_url(protocol, text);
        if protocol == Protocol::Http && !url.has_scheme {
            return self.refuse_arg(id, 0, "invalid URL prefix");
        }
        let purpose = if protocol == Protocol::Http { Use::Target } else { Use::Peer };
        let address = match parse_url(url.rest, purpose) {
            Ok(address) => address,
            Err(words) => return self.refuse_arg(id, 0, format!("{words} in upstream \"{}\"", url.rest)),
        };
        let has_uri = address.uri.as_ref().is_some_and(|uri| !uri.is_empty());
        let origin = Origin { id, arg: 0 };
        let naming = Naming::Passed { default_port: url.default_port };
        if self.add_upstream(origin, &address, naming) && has_uri && !self.may_replace(id, context) {
            self.refuse_arg(id, 0, NO_URI);
        }
    }

    /// Whether the block that a pass stands in has a path that another could replace.
    fn may_replace(&self, id: NodeId, context: Context) -> bool {
        let block = self.config.node(id).parent;
        let name = block.and_then(|block| LocationName::parse(&self.words(block)).ok());
        context == Context::Location
            && !matches!(name, Some(LocationName::Named(_) | LocationName::Pattern(..)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{first, problems};
    use super::NO_URI;

    #[test]
    fn targets_are_looked_at() {
        for (pass, words) in [
            ("proxy_pass 10.0.0.1:80", "invalid URL prefix :1"),
            ("proxy_pass http://", "no host in upstream \"\" :1"),
            ("proxy_pass http://10.0.0.1:x", "invalid port in upstream \"10.0.0.1:x\" :1"),
            ("proxy_pass http://10.0.0.1:80x/y", "invalid port in upstream \"10.0.0.1:80x/y\" :1"),
            ("proxy_pass http://u:8080", "upstream \"u\" may not have port 8080 :1"),
            ("proxy_pass http://nowhere/x", "host not found in upstream \"nowhere\" :1"),
            ("fastcgi_pass 10.0.0.1", "no port in upstream \"10.0.0.1\" :1"),
            ("fastcgi_pass unix:", "no path in the unix domain socket in upstream \"unix:\" :1"),
            ("grpc_pass grpc://10.0.0.1:1/x", "invalid host in upstream \"10.0.0.1:1/x\" :1"),
            ("uwsgi_pass [::1", "invalid host in upstream \"[::1\" :1"),
        ] {
            let http = format!("upstream u {{ server 10.0.0.1; }} server {{ location / {{ {pass}; }} }}");
            assert_eq!(first(&http).as_deref(), Some(words), "{pass}");
        }
        for pass in [
            "proxy_pass http://U/x",
            "proxy_pass http://known",
            "proxy_pass http://$host:x",
            "fastcgi_pass u",
            "proxy_pass http://unix:/a:/x",
        ] {
            let http = format!("upstream u {{ server 10.0.0.1; }} server {{ location / {{ {pass}; }} }}");
            assert_eq!(first(&http), None, "{pass}");
        }
    }

    #[test]
    fn a_path_needs_something_to_replace() {
        for location in [
            "location ~ x { proxy_pass http://10.0.0.1/; }",
            "location @x { proxy_pass http://10.0.0.1/x; }",
            "location / { if ($uri) { proxy_pass http://10.0.0.1/; } }",
            "location / { limit_except GET { proxy_pass http://10.0.0.1/; } }",
        ] {
            assert_eq!(
                first(&format!("server {{ {location} }}")),
                Some(format!("{NO_URI} :1")),
                "{location}"
            );
        }
        assert_eq!(
            first(
                "server { location = /x { proxy_pass http://10.0.0.1/y; } location ~ x { proxy_pass http://10.0.0.1; } }"
            ),
            None
        );
    }

    #[test]
    fn names_are_looked_up_at_the_end_of_http() {
        let config = "events {}\nhttp {\n server {\n  location / {\n   proxy_pass http://nowhere; } }\n server { listen 80 y; }\n}";
        let found = problems(config);
        assert_eq!(found[0], "invalid parameter \"y\" :6");
        assert_eq!(found[1], "host not found in upstream \"nowhere\" :5");
    }
}
