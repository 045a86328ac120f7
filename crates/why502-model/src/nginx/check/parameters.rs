//! Smaller directives with parameters of their own.

use super::Checker;
use crate::nginx::address::{Use, parse_url};
use crate::nginx::config::NodeId;
use crate::nginx::directives::DirectiveSpec;
use crate::nginx::pattern::{Case, Pattern};
use crate::nginx::values::{TimeUnit, is_network, parse_number, parse_size, parse_time_in};
use crate::{Host, ProblemKind};
use std::sync::Arc;
use why502_facts::Observed;

/// The methods of which answers are cached (`ngx_http_upstream_cache_method_mask`).
const CACHED_METHODS: [&str; 3] = ["GET", "HEAD", "POST"];
/// The headers of answers that have a meaning for nginx (`ngx_http_upstream_ignore_headers_masks`).
const IGNORED_HEADERS: [&str; 9] = [
    "X-Accel-Redirect",
    "X-Accel-Expires",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
    "Expires",
    "Cache-Control",
    "Set-Cookie",
    "Vary",
];

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
            ("allow" | "deny", [rule]) if !matches!(*rule, "all" | "unix:") && !is_network(rule) => {
                self.invalid_parameter(id, 0);
            }
            ("fastcgi_split_path_info", [text]) => self.split_path_info(id, text),
            ("keepalive_timeout", words) => self.keepalive_timeout(id, words),
            ("limit_rate" | "limit_rate_after", [rate])
                if !rate.contains('$') && parse_size(rate).is_none() =>
            {
                self.refuse_arg(id, 0, format!("\"{name}\" directive invalid value"));
            }
            ("set_real_ip_from", [source]) if *source != "unix:" && !is_network(source) => {
                self.trusted_host(id, source);
            }
            (name, words) if name.ends_with("_cache_methods") => self.masks(id, words, &CACHED_METHODS),
            (name, words) if name.ends_with("_ignore_headers") => self.masks(id, words, &IGNORED_HEADERS),
            ("disable_symlinks", words) => self.disable_symlinks(id, words),
            ("expires", words) => self.expires(id, words),
            ("proxy_cookie_domain" | "proxy_cookie_path" | "proxy_redirect", words)
                if self.follows_switch(id, words == ["off"]) =>
            {
                self.refuse(id, format!("\"{name}\" directive is duplicate"));
            }
            ("proxy_cookie_domain" | "proxy_cookie_path", [only]) if *only != "off" => {
                self.invalid_parameter(id, 0);
            }
            ("proxy_redirect", [only]) if !matches!(*only, "off" | "default") => {
                self.invalid_parameter(id, 0);
            }
            ("proxy_redirect", ["default"]) => self.default_redirect(id),
            ("proxy_cookie_domain" | "proxy_cookie_path" | "proxy_redirect", [from, to]) => {
                self.substitution(id, from, to);
            }
            ("try_files", words) => self.try_files(id, words),
            (name, words) if name.ends_with("_cache_valid") => self.cache_valid(id, words),
            (name, words) if name.ends_with("_cache_path") && spec.module.starts_with("http_") => {
                self.cache_path(id, words);
            }
            ("open_file_cache" | "open_log_file_cache", words) => self.open_files(id, words),
            (name, [value]) if name.ends_with("_store") && *value != "off" && self.follows(id, "_cache") => {
                let prefix = name.trim_end_matches("_store");
                self.refuse(id, format!("\"{name}\" directive is incompatible with \"{prefix}_cache\""));
            }
            (name, [zone]) if is_cache(name) && *zone != "off" && self.follows(id, "_store") => {
                let prefix = name.trim_end_matches("_cache");
                self.refuse(id, format!("\"{name}\" directive is incompatible with \"{prefix}_store\""));
            }
            (name, [zone]) if is_cache(name) && !zone.contains('$') => self.use_cache(id, zone),
            _ => {}
        }
    }

    pub(super) fn invalid_parameter(&mut self, id: NodeId, arg: usize) {
        let word = self.arg(id, arg);
        self.refuse_arg(id, arg, format!("invalid parameter \"{word}\""));
    }

    /// Whether the same module's directive of that ending stands before one in its block, switched on.
    fn follows(&self, id: NodeId, ending: &str) -> bool {
        let config = self.config;
        let node = config.node(id);
        let wanted = format!("{}{ending}", node.name.split('_').next().unwrap_or_default());
        let mut before = config.children(node.parent).iter().take_while(|sibling| **sibling != id);
        before.any(|own| config.node(*own).name == wanted && config.node(*own).arg(0) != Some("off"))
    }

    /// `ngx_http_core_open_file_cache`, `ngx_http_log_open_file_cache`.
    fn open_files(&mut self, id: NodeId, words: &[&str]) {
        let name = self.config.node(id).name.as_str();
        let (mut has_max, mut is_off) = (false, false);
        for (at, word) in words.iter().enumerate() {
            let of_log = name == "open_log_file_cache";
            let is_positive = |number: &str| parse_number(number).is_some_and(|number| number > 0);
            let is_time = |time: &str| parse_time_in(time, TimeUnit::Seconds).is_some();
            let is_right = match word.split_once('=') {
                Some(("max", number)) => {
                    has_max = true;
                    is_positive(number)
                }
                Some(("inactive", time)) => is_time(time),
                Some(("min_uses", number)) => of_log && is_positive(number),
                Some(("valid", time)) => of_log && is_time(time),
                _ => *word == "off",
            };
            is_off |= *word == "off";
            if !is_right {
                return self.refuse_arg(id, at, format!("invalid \"{name}\" parameter \"{word}\""));
            }
        }
        if !has_max && !is_off {
            let article = if name == "open_file_cache" { "the " } else { "" };
            self.refuse(id, format!("\"{name}\" must have {article}\"max\" parameter"));
        }
    }

    /// Whether directives of the name stand before one that switches them off, or one that does so before any.
    fn follows_switch(&self, id: NodeId, is_switch: bool) -> bool {
        let config = self.config;
        let node = config.node(id);
        let before = config.children(node.parent).iter().take_while(|sibling| **sibling != id);
        let mut before = before.map(|own| config.node(*own)).filter(|own| own.name == node.name);
        before.any(|own| is_switch || own.values().eq(["off"]))
    }

    /// A text or pattern that is replaced by another (`ngx_http_proxy_redirect`).
    fn substitution(&mut self, id: NodeId, from: &str, to: &str) {
        let compiled = match from.strip_prefix('~') {
            None => self.use_template(id, 0, from),
            Some(text) => {
                let (text, case) = match text.strip_prefix('*') {
                    Some(text) => (text, Case::Ignored),
                    None => (text, Case::Kept),
                };
                Pattern::compile(text, case).map(|pattern| self.define_groups(&pattern))
            }
        };
        match compiled {
            Ok(()) => self.template(id, 1, to),
            Err(words) => self.refuse_arg(id, 0, words),
        }
    }

    fn disable_symlinks(&mut self, id: NodeId, words: &[&str]) {
        let is_known =
            |word: &str| matches!(word, "on" | "off" | "if_not_owner") || word.starts_with("from=");
        for (at, word) in words.iter().enumerate() {
            if !is_known(word) {
                return self.invalid_parameter(id, at);
            }
            if let Some(text) = word.strip_prefix("from=") {
                self.template(id, at, text);
            }
        }
    }

    /// `ngx_http_headers_expires`.
    fn expires(&mut self, id: NodeId, words: &[&str]) {
        let (is_modified, at) = (words.len() == 2, words.len() - 1);
        let wrong = if is_modified && words[0] != "modified" {
            Some("invalid value")
        } else if words[at].contains('$') {
            None
        } else {
            wrong_expiry(words[at], is_modified)
        };
        if let Some(words) = wrong {
            self.refuse_arg(id, at, format!("\"expires\" directive {words}"));
        }
    }

    fn masks(&mut self, id: NodeId, words: &[&str], known: &[&str]) {
        let is_known = |word: &str| known.iter().any(|own| own.eq_ignore_ascii_case(word));
        if let Some((at, word)) = words.iter().enumerate().find(|(_, word)| !is_known(word)) {
            self.refuse_arg(id, at, format!("invalid value \"{word}\""));
        }
    }

    /// `ngx_http_core_keepalive`: a time, and one that the client is told.
    fn keepalive_timeout(&mut self, id: NodeId, words: &[&str]) {
        let units = [TimeUnit::Milliseconds, TimeUnit::Seconds];
        let wrong = words.iter().zip(units).position(|(word, unit)| parse_time_in(word, unit).is_none());
        if let Some(at) = wrong {
            self.refuse_arg(id, at, "\"keepalive_timeout\" directive invalid value");
        }
    }

    fn split_path_info(&mut self, id: NodeId, text: &str) {
        match Pattern::compile(text, Case::Kept) {
            Ok(pattern) if pattern.n_groups() != 2 => {
                self.refuse_arg(id, 0, format!("pattern \"{text}\" must have 2 captures"));
            }
            Ok(_) => {}
            Err(words) => self.refuse_arg(id, 0, words),
        }
    }

    /// `ngx_http_realip_from`: what is no network is a name.
    fn trusted_host(&mut self, id: NodeId, name: &str) {
        if matches!(self.groups.resolve(name), Observed::Absent) {
            let kind = ProblemKind::HostNotFound { name: name.to_owned() };
            self.refuse_name(id, 0, kind, format!("host not found in set_real_ip_from \"{name}\""));
        }
    }

    /// Refuses a name that the system does not know.
    fn refuse_name(&mut self, id: NodeId, arg: usize, kind: ProblemKind, message: String) {
        let at = self.config.arg_span(id, arg);
        let node = self.config.node(id);
        let printed = Some((Arc::clone(&self.config.files[node.file].path), node.line));
        self.add(kind, message, at, printed);
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
                    let kind = ProblemKind::HostNotFound { name: name.clone() };
                    self.refuse_name(id, arg, kind, format!("host not found in resolver \"{word}\""));
                    false
                }
                _ => true,
            },
        }
    }
}

/// `ngx_http_parse_expires`.
fn wrong_expiry(text: &str, is_modified: bool) -> Option<&'static str> {
    if !is_modified && matches!(text, "epoch" | "max" | "off") {
        return None;
    }
    let daily = text.strip_prefix('@');
    if daily.is_some() && is_modified {
        return Some("daily time cannot be used with \"modified\" parameter");
    }
    let signed = daily.unwrap_or_else(|| text.strip_prefix(['+', '-']).unwrap_or(text));
    let Some(time) = parse_time_in(signed, TimeUnit::Seconds) else { return Some("invalid value") };
    let is_too_long = daily.is_some() && time > std::time::Duration::from_hours(24);
    is_too_long.then_some("daily time value must be less than 24 hours")
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
