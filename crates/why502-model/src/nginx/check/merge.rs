//! What comes to light when the levels of an `http` block are merged: buffers, caches, TLS to peers.

use super::Checker;
use crate::Protocol;
use crate::Span;
use crate::nginx::config::NodeId;
use crate::nginx::parameters::Levels;
use crate::nginx::pass::split_url;
use crate::nginx::values::{parse_flag, parse_number, parse_size};

/// A page of memory, in bytes.
const PAGE: u64 = 4096;
/// Size of a temporary file where none is set (`ngx_http_proxy_merge_loc_conf`).
const MAX_TEMP_FILE: u64 = 1 << 30;

/// The modules that merge buffers, in the order in which nginx merges them.
const MODULES: [Protocol; 4] = [Protocol::Http, Protocol::FastCgi, Protocol::Uwsgi, Protocol::Scgi];

/// The directives of a module that can be wrong together.
const WATCHED: [&str; 11] = [
    "buffer_size",
    "buffers",
    "busy_buffers_size",
    "cache",
    "max_temp_file_size",
    "param",
    "set_header",
    "ssl_certificate",
    "ssl_verify",
    "temp_file_write_size",
    "pass",
];

/// A module at a place.
struct Merged<'a> {
    prefix: &'static str,
    levels: Levels<'a>,
}

impl Checker<'_, '_> {
    /// Merges the modules that can refuse something, each over all servers with their locations.
    pub(super) fn merge(&mut self, http: NodeId) {
        for protocol in MODULES.into_iter().chain([Protocol::Grpc]) {
            let prefix = protocol.prefix();
            let is_watched = |name: &str| {
                let rest = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
                rest.is_some_and(|rest| WATCHED.contains(&rest) && rest != "pass")
            };
            if !self.config.nodes.iter().any(|node| is_watched(&node.name)) {
                continue;
            }
            let servers: Vec<NodeId> = self.config.named(Some(http), "server").collect();
            for server in servers {
                self.merge_block(http, server, protocol);
            }
        }
    }

    fn merge_block(&mut self, http: NodeId, block: NodeId, protocol: Protocol) {
        let config = self.config;
        let mut levels = Levels::of(config, block);
        // What stands outside of `http` is refused there, and nothing inherits it.
        levels.blocks.retain(Option::is_some);
        let merged = Merged { prefix: protocol.prefix(), levels };
        if protocol != Protocol::Grpc {
            if let Some((at, words)) = merged.wrong_buffers(&config.span(block)) {
                return self.refuse_at_end(http, at, words);
            }
            if let Some((at, zone)) =
                merged.cache().filter(|(_, zone)| !self.has_cache(zone) && config.is_complete())
            {
                let words = format!("\"{}_cache\" zone \"{zone}\" is unknown", merged.prefix);
                return self.refuse_at_end(http, at, words);
            }
        }
        if let Some((at, words)) = merged.wrong_tls(block, protocol) {
            return self.refuse_unplaced(at, words);
        }
        self.headers(http, &merged, protocol);
        for id in config.children(Some(block)) {
            if matches!(config.node(*id).name.as_str(), "location" | "if" | "limit_except") {
                self.merge_block(http, *id, protocol);
            }
        }
    }
}

impl Checker<'_, '_> {
    /// The headers that are set are compiled once per level that has some, where a block inherits them
    /// (`ngx_http_proxy_init_headers`).
    fn headers(&mut self, http: NodeId, merged: &Merged<'_>, protocol: Protocol) {
        let Some(directive) = header_directive(protocol) else { return };
        for id in merged.levels.nearest(directive) {
            if !self.compiled.insert(id) {
                continue;
            }
            let text = self.arg(id, 1);
            if let Err(words) = self.use_template(id, 1, text) {
                let at = self.config.arg_span(id, 1);
                return self.refuse_at_end(http, at, words);
            }
        }
    }
}

/// The directive that sets request headers or parameters.
pub(crate) fn header_directive(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::FastCgi => Some("fastcgi_param"),
        Protocol::Grpc => Some("grpc_set_header"),
        Protocol::Http => Some("proxy_set_header"),
        Protocol::Memcached => None,
        Protocol::Scgi => Some("scgi_param"),
        Protocol::Uwsgi => Some("uwsgi_param"),
    }
}

impl Merged<'_> {
    fn find(&self, rest: &str) -> Option<NodeId> {
        self.levels.last(&format!("{}_{rest}", self.prefix))
    }

    fn size(&self, rest: &str) -> Option<u64> {
        parse_size(self.levels.config.node(self.find(rest)?).arg(0)?)
    }

    fn place(&self, rests: &[&str], otherwise: &Span) -> Span {
        let found = rests.iter().find_map(|rest| self.find(rest));
        found.map_or_else(|| otherwise.clone(), |id| self.levels.config.span(id))
    }

    /// `ngx_http_proxy_merge_loc_conf`, as far as it compares buffers.
    fn wrong_buffers(&self, block: &Span) -> Option<(Span, String)> {
        let prefix = self.prefix;
        let (number, one) = self.find("buffers").map_or(Some((8, PAGE)), |id| {
            let node = self.levels.config.node(id);
            Some((parse_number(node.arg(0)?)?, parse_size(node.arg(1)?)?))
        })?;
        let least = self.size("buffer_size").unwrap_or(PAGE).max(one);
        let at = |rests: &[&str]| self.place(rests, block);
        if number < 2 {
            return Some((at(&["buffers"]), format!("there must be at least 2 \"{prefix}_buffers\"")));
        }
        let busy = self.size("busy_buffers_size").unwrap_or(least.saturating_mul(2));
        let largest = format!(
            "the maximum of the value of \"{prefix}_buffer_size\" and one of the \"{prefix}_buffers\""
        );
        if busy < least {
            let words = format!("\"{prefix}_busy_buffers_size\" must be equal to or greater than {largest}");
            return Some((at(&["busy_buffers_size"]), words));
        }
        if busy > (number - 1).saturating_mul(one) {
            let words = format!(
                "\"{prefix}_busy_buffers_size\" must be less than the size of all \"{prefix}_buffers\" minus one buffer"
            );
            return Some((at(&["busy_buffers_size", "buffer_size", "buffers"]), words));
        }
        let written = self.size("temp_file_write_size").unwrap_or(least.saturating_mul(2));
        if written < least {
            let words =
                format!("\"{prefix}_temp_file_write_size\" must be equal to or greater than {largest}");
            return Some((at(&["temp_file_write_size"]), words));
        }
        let file = self.size("max_temp_file_size").unwrap_or(MAX_TEMP_FILE);
        let words = format!(
            "\"{prefix}_max_temp_file_size\" must be equal to zero to disable temporary files usage or must be equal to or \
             greater than {largest}"
        );
        (file != 0 && file < least).then(|| (at(&["max_temp_file_size"]), words))
    }

    /// The zone of the cache in force, if it is no variable.
    fn cache(&self) -> Option<(Span, String)> {
        let id = self.find("cache")?;
        let zone = self.levels.config.node(id).arg(0)?;
        (zone != "off" && !zone.contains('$')).then(|| (self.levels.config.arg_span(id, 0), zone.to_owned()))
    }

    /// `ngx_http_proxy_set_ssl`, for a block that passes through TLS itself.
    fn wrong_tls(&self, block: NodeId, protocol: Protocol) -> Option<(Span, String)> {
        let (prefix, config) = (self.prefix, self.levels.config);
        let pass = config.named(Some(block), &format!("{prefix}_pass")).next()?;
        let text = config.node(pass).arg(0)?;
        if !text.contains('$') && !split_url(protocol, text).tls {
            return None;
        }
        if let (Some(certificate), None) = (self.find("ssl_certificate"), self.find("ssl_certificate_key")) {
            let file = config.node(certificate).arg(0).filter(|file| !file.is_empty())?;
            let words = format!("no \"{prefix}_ssl_certificate_key\" is defined for certificate \"{file}\"");
            return Some((config.span(certificate), words));
        }
        let verify = self
            .find("ssl_verify")
            .filter(|id| config.node(*id).arg(0).and_then(parse_flag) == Some(true))?;
        let trusts = self.find("ssl_trusted_certificate");
        let words = format!("no {prefix}_ssl_trusted_certificate for {prefix}_ssl_verify");
        trusts.is_none().then(|| (config.span(verify), words))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{first, in_http};

    fn in_location(directives: &str) -> Option<String> {
        first(&format!("server {{ location / {{ {directives} proxy_pass http://10.0.0.1; }} }}"))
    }

    #[test]
    fn buffers_must_fit_each_other() {
        let less = "\"proxy_busy_buffers_size\" must be less than the size of all \"proxy_buffers\" minus one buffer :1";
        let largest = "the maximum of the value of \"proxy_buffer_size\" and one of the \"proxy_buffers\" :1";
        assert_eq!(in_location("proxy_buffer_size 16k;").as_deref(), Some(less));
        assert_eq!(in_location("proxy_buffer_size 14k;"), None);
        assert_eq!(in_location("proxy_buffer_size 16k; proxy_buffers 8 16k;"), None);
        assert_eq!(
            in_location("proxy_buffers 1 4k;").as_deref(),
            Some("there must be at least 2 \"proxy_buffers\" :1")
        );
        assert_eq!(
            in_location("proxy_busy_buffers_size 2k;"),
            Some(format!("\"proxy_busy_buffers_size\" must be equal to or greater than {largest}"))
        );
        assert_eq!(
            in_location("proxy_temp_file_write_size 2k;"),
            Some(format!("\"proxy_temp_file_write_size\" must be equal to or greater than {largest}"))
        );
        let file = in_location("proxy_max_temp_file_size 1k;").unwrap_or_default();
        assert!(file.starts_with("\"proxy_max_temp_file_size\" must be equal to zero"), "{file}");
        assert_eq!(in_location("proxy_max_temp_file_size 0;"), None);
        assert_eq!(
            first("fastcgi_buffer_size 64k; server { }").map(|words| words.contains("fastcgi_busy")),
            Some(true)
        );
        assert_eq!(first("fastcgi_buffer_size 64k;"), None, "nothing is merged without a server");
    }

    #[test]
    fn caches_must_be_defined() {
        let words = "\"proxy_cache\" zone \"gone\" is unknown :1";
        assert_eq!(in_location("proxy_cache gone;").as_deref(), Some(words));
        assert_eq!(first("proxy_cache gone; server { }").as_deref(), Some(words));
        assert_eq!(in_location("proxy_cache $uri;"), None);
    }

    #[test]
    fn tls_needs_its_files_named() {
        let tls = |directives: &str| {
            first(&format!("{directives} server {{ location / {{ proxy_pass https://10.0.0.1; }} }}"))
        };
        assert_eq!(
            tls("proxy_ssl_verify on;").as_deref(),
            Some("no proxy_ssl_trusted_certificate for proxy_ssl_verify")
        );
        assert_eq!(tls("proxy_ssl_verify on; proxy_ssl_trusted_certificate /ca;"), None);
        assert_eq!(
            tls("proxy_ssl_certificate /c;").as_deref(),
            Some("no \"proxy_ssl_certificate_key\" is defined for certificate \"/c\"")
        );
        assert_eq!(in_location("proxy_ssl_verify on;"), None, "no TLS, no need");
        assert_eq!(
            in_http("grpc_ssl_verify on; server { location / { grpc_pass grpcs://10.0.0.1:1; } }"),
            ["no grpc_ssl_trusted_certificate for grpc_ssl_verify"]
        );
    }
}
