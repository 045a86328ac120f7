//! Smaller directives with parameters of their own.

use super::Checker;
use crate::nginx::address::{Use, parse_url};
use crate::nginx::config::NodeId;
use crate::nginx::directives::DirectiveSpec;
use crate::nginx::values::{TimeUnit, parse_number, parse_time_in};
use crate::{Host, ProblemKind};
use why502_facts::Observed;

impl Checker<'_, '_> {
    /// What is left: directives of which only a parameter can be wrong.
    pub(super) fn parameters(&mut self, id: NodeId, spec: &DirectiveSpec) {
        let words = self.words(id);
        let name = self.config.node(id).name.as_str();
        match (name, words.as_slice()) {
            ("add_header" | "add_trailer", [_, _, third]) if *third != "always" => {
                self.invalid_parameter(id, 2);
            }
            ("fastcgi_param" | "scgi_param" | "uwsgi_param", [_, _, third]) if *third != "if_not_empty" => {
                self.invalid_parameter(id, 2);
            }
            ("allow" | "deny", [rule]) if !is_rule(rule) => self.invalid_parameter(id, 0),
            ("proxy_redirect", [only]) if !matches!(*only, "off" | "default") => {
                self.invalid_parameter(id, 0);
            }
            ("proxy_redirect", ["default"]) => self.default_redirect(id),
            ("try_files", words) => self.try_files(id, words),
            (name, words) if name.ends_with("_cache_valid") => self.cache_valid(id, words),
            (name, words) if name.ends_with("_cache_path") && spec.module.starts_with("http_") => {
                self.cache_path(id, words);
            }
            (name, [zone]) if is_cache(name) && !zone.contains('$') => self.use_cache(id, zone),
            _ => {}
        }
    }

    pub(super) fn invalid_parameter(&mut self, id: NodeId, arg: usize) {
        let word = self.arg(id, arg);
        self.refuse_arg(id, arg, format!("invalid parameter \"{word}\""));
    }

    /// `ngx_http_file_cache_valid_set_slot`.
    fn cache_valid(&mut self, id: NodeId, words: &[&str]) {
        let Some((time, statuses)) = words.split_last() else { return };
        if parse_time_in(time, TimeUnit::Seconds).is_none() {
            return self.refuse_arg(id, statuses.len(), format!("invalid time value \"{time}\""));
        }
        let is_status = |word: &str| {
            word == "any" || parse_number(word).is_some_and(|status| (100..=599).contains(&status))
        };
        if let Some((at, word)) = statuses.iter().enumerate().find(|(_, word)| !is_status(word)) {
            self.refuse_arg(id, at, format!("invalid status \"{word}\""));
        }
    }

    fn try_files(&mut self, id: NodeId, words: &[&str]) {
        let code = words.last().and_then(|last| last.strip_prefix('='));
        let Some(code) = code.filter(|code| !code.contains('$')) else { return };
        if parse_number(code).is_none_or(|code| code > 999) {
            self.refuse_arg(id, words.len() - 1, format!("invalid code \"={code}\""));
        }
    }

    fn default_redirect(&mut self, id: NodeId) {
        let config = self.config;
        let siblings = config.children(config.node(id).parent);
        let before = siblings.iter().take_while(|sibling| **sibling != id);
        let pass = before.into_iter().find(|sibling| config.node(**sibling).name == "proxy_pass");
        match pass.map(|pass| self.arg(*pass, 0)) {
            None => {
                self.refuse(
                    id,
                    "\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive",
                );
            }
            Some(target) if target.contains('$') => self.refuse(
                id,
                "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables",
            ),
            Some(_) => {}
        }
    }

    /// `ngx_resolver_create`.
    pub(super) fn resolver(&mut self, id: NodeId) {
        let words = self.words(id);
        let mut has_server = false;
        for (at, word) in words.iter().enumerate() {
            let parameter = word.split_once('=');
            let is_right = match parameter {
                Some(("valid", time)) => parse_time_in(time, TimeUnit::Seconds).is_some(),
                Some(("ipv4" | "ipv6", value)) => matches!(value, "on" | "off"),
                // A word with such a parameter that is not known is a name server.
                Some(("status_zone" | "local", _)) => true,
                _ => {
                    has_server = true;
                    if !self.name_server(id, at, word) {
                        return;
                    }
                    true
                }
            };
            if !is_right {
                return self.refuse_arg(id, at, format!("invalid parameter: {word}"));
            }
        }
        if !has_server && !words.iter().any(|word| word.starts_with("local=")) {
            self.refuse(id, "no name servers defined");
        }
    }

    fn name_server(&mut self, id: NodeId, arg: usize, word: &str) -> bool {
        match parse_url(word, Use::Peer) {
            Err(words) => {
                self.refuse_arg(id, arg, format!("{words} in resolver \"{word}\""));
                false
            }
            Ok(address) => match &address.host {
                Host::Name(name) if matches!(self.groups.resolve(name), Observed::Absent) => {
                    let at = self.config.arg_span(id, arg);
                    let printed = Some((
                        std::sync::Arc::clone(&self.config.files[self.config.node(id).file].0.path),
                        self.config.node(id).line,
                    ));
                    let kind = ProblemKind::HostNotFound { name: name.clone() };
                    self.add(kind, format!("host not found in resolver \"{word}\""), at, printed);
                    false
                }
                _ => true,
            },
        }
    }
}

/// `ngx_http_access_rule`.
fn is_rule(text: &str) -> bool {
    if matches!(text, "all" | "unix:") {
        return true;
    }
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let Ok(ip) = address.parse::<std::net::IpAddr>() else { return false };
    let width = if ip.is_ipv4() { 32 } else { 128 };
    length.is_none_or(|length| {
        parse_number(length).is_some_and(|length| length <= width)
            || (ip.is_ipv4() && length.parse::<std::net::Ipv4Addr>().is_ok())
    })
}

fn is_cache(name: &str) -> bool {
    matches!(name, "proxy_cache" | "fastcgi_cache" | "uwsgi_cache" | "scgi_cache")
}

#[cfg(test)]
mod tests {
    use super::super::tests::first;

    #[test]
    fn parameters_are_looked_at() {
        for (http, words) in [
            ("add_header A b allways;", "invalid parameter \"allways\" :1"),
            ("fastcgi_param A b c;", "invalid parameter \"c\" :1"),
            ("allow 10.0.0.0/33;", "invalid parameter \"10.0.0.0/33\" :1"),
            ("deny everyone;", "invalid parameter \"everyone\" :1"),
            ("proxy_cache_valid 200 x;", "invalid time value \"x\" :1"),
            ("proxy_cache_valid 99 1m;", "invalid status \"99\" :1"),
            ("server { try_files $uri =4o4; }", "invalid code \"=4o4\" :1"),
            (
                "server { location / { proxy_redirect default; proxy_pass http://10.0.0.1; } }",
                "\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive :1",
            ),
            (
                "server { location / { proxy_pass http://$host; proxy_redirect default; } }",
                "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables :1",
            ),
            ("proxy_redirect x;", "invalid parameter \"x\" :1"),
            ("resolver 10.0.0.1 valid=x;", "invalid parameter: valid=x :1"),
            ("resolver nowhere;", "host not found in resolver \"nowhere\" :1"),
            ("resolver 10.0.0.1:x;", "invalid port in resolver \"10.0.0.1:x\" :1"),
            ("resolver ipv6=off;", "no name servers defined :1"),
        ] {
            assert_eq!(first(http).as_deref(), Some(words), "{http}");
        }
        let sound =
            "allow 10.0.0.0/8; deny 2001:db8::/32; deny all; resolver 10.0.0.1 [::1]:53 valid=1m ipv6=off;
            proxy_cache_valid any 1m; proxy_cache_valid 1y; server { try_files $uri =404; }";
        assert_eq!(first(sound), None);
    }
}
