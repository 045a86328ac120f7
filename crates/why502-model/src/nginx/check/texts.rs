//! Texts with variables, and which variables there are.

use super::Checker;
use crate::Span;
use crate::nginx::config::NodeId;
use crate::nginx::directives::{Value, specs_of};
use crate::nginx::pattern::Pattern;
use crate::nginx::spelling::is_slip_of;
use crate::nginx::variables::{Template, TemplateError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// The variables of nginx's own modules, and `fixed` behind those that cannot be set.
const OWN: &str = include_str!("../tables/variables.tsv");
/// Fixed variables of modules that may not be there: then anybody may define them.
const OF_MODULES: [&str; 8] =
    ["connections_", "date_", "fastcgi_", "geoip_", "grpc_", "http2", "realip_", "ssl_"];
/// Directives of modules that define variables in ways of their own: with one of them, any name may be known.
const DEFINERS: [&str; 10] = [
    "auth_request_set",
    "geoip2",
    "js_set",
    "js_var",
    "opentelemetry_config",
    "perl_set",
    "set_by_lua",
    "set_by_lua_block",
    "set_by_lua_file",
    "valid_referers",
];

/// The variables of a configuration.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// Those that are used, in order, with their places.
    used: Vec<(String, Span)>,
    /// Those that the configuration defines, in lower case.
    defined: BTreeSet<String>,
}

/// Which arguments of a directive may hold variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Texts {
    All,
    From(usize),
    Last,
    None,
    Only(usize),
}

impl Checker<'_, '_> {
    /// Looks at the variables in a directive's arguments.
    pub(super) fn texts(&mut self, id: NodeId) {
        let node = self.config.node(id);
        let n_args = node.args.len();
        let (from, to) = match texts_of(&node.name, n_args) {
            Texts::All => (0, n_args),
            Texts::From(first) => (first, n_args),
            Texts::Last => (n_args.saturating_sub(1), n_args),
            Texts::None => (0, 0),
            Texts::Only(at) => (at, (at + 1).min(n_args)),
        };
        for at in from..to {
            let text = self.arg(id, at);
            self.template(id, at, text);
        }
        if node.name == "memcached_pass" {
            let at = self.config.span(id);
            self.variables.used.push(("memcached_key".to_owned(), at));
        }
        // `geo $name` has no source but the client's address.
        if let ("geo", 2, Some(source)) = (node.name.as_str(), n_args, node.arg(0)) {
            self.use_variable(id, 0, source.strip_prefix('$').unwrap_or(source));
        }
        if let ("js_set" | "perl_set" | "js_var", Some(name)) = (node.name.as_str(), node.arg(0)) {
            self.variables.defined.insert(name.trim_start_matches('$').to_ascii_lowercase());
        }
    }

    /// Looks at the variables in a text that stands in an argument.
    pub(super) fn template(&mut self, id: NodeId, arg: usize, text: &str) {
        if let Err(words) = self.use_template(id, arg, text) {
            self.refuse_arg(id, arg, words);
        }
    }

    /// Takes the variables of a text in, or gives nginx's words for what is wrong with it.
    pub(super) fn use_template(&mut self, id: NodeId, arg: usize, text: &str) -> Result<(), String> {
        match Template::parse(text) {
            Ok(template) => {
                for name in template.variables() {
                    self.use_variable(id, arg, name);
                }
                Ok(())
            }
            Err(TemplateError::InvalidName) => Err("invalid variable name".to_owned()),
            Err(TemplateError::BracketMissing(name)) => {
                Err(format!("the closing bracket in \"{name}\" variable is missing"))
            }
        }
    }

    pub(super) fn use_variable(&mut self, id: NodeId, arg: usize, name: &str) {
        self.variables.used.push((name.to_owned(), self.config.arg_span(id, arg)));
    }

    /// A variable that a directive defines (`ngx_http_add_variable`).
    pub(super) fn define(&mut self, id: NodeId, name: &str) {
        if name.is_empty() {
            return self.refuse(id, "invalid variable name \"$\"");
        }
        let lower = name.to_ascii_lowercase();
        let may_be_free = OF_MODULES.iter().any(|prefix| lower.starts_with(prefix));
        if own_variables().get(lower.as_str()) == Some(&Change::Fixed) && !may_be_free {
            return self.refuse(id, format!("the duplicate \"{name}\" variable"));
        }
        self.variables.defined.insert(lower);
    }

    /// The named groups of a pattern are variables.
    pub(super) fn define_groups(&mut self, pattern: &Pattern) {
        let names = pattern.names().into_iter().map(|(name, _)| name.to_ascii_lowercase());
        self.variables.defined.extend(names);
    }

    /// The first variable that nobody defines (`ngx_http_variables_init_vars`).
    pub(super) fn unknown_variables(&mut self) {
        let has_definers = DEFINERS.iter().skip(1).any(|name| self.config.everywhere(name).next().is_some());
        if !self.knows_all() || has_definers {
            return;
        }
        let is_certain = self.modules.has_only_own_modules();
        let mut reported = BTreeSet::new();
        for (name, at) in std::mem::take(&mut self.variables.used) {
            let lower = name.to_ascii_lowercase();
            if self.is_known(&lower) || !(is_certain || self.is_slip(&lower)) || !reported.insert(lower) {
                continue;
            }
            self.refuse_unplaced(at, format!("unknown \"{name}\" variable"));
        }
    }

    fn is_known(&self, name: &str) -> bool {
        let own = own_variables();
        let is_prefixed = || own.keys().any(|prefix| prefix.ends_with('_') && name.starts_with(prefix));
        own.contains_key(name) || self.variables.defined.contains(name) || is_prefixed()
    }

    /// Whether a name is a slip of one that there is.
    fn is_slip(&self, name: &str) -> bool {
        let own = own_variables().keys().copied();
        own.chain(self.variables.defined.iter().map(String::as_str)).any(|known| is_slip_of(name, known))
    }
}

/// Whether a configuration may set a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Allowed,
    Fixed,
}

fn own_variables() -> &'static BTreeMap<&'static str, Change> {
    static VARIABLES: OnceLock<BTreeMap<&'static str, Change>> = OnceLock::new();
    VARIABLES.get_or_init(|| {
        let rows = OWN.lines().filter(|line| !line.starts_with('#'));
        rows.map(|line| match line.split_once('\t') {
            Some((name, _)) => (name, Change::Fixed),
            None => (line, Change::Allowed),
        })
        .collect()
    })
}

/// The arguments of a directive that nginx compiles.
fn texts_of(name: &str, n_args: usize) -> Texts {
    match name {
        "return" if n_args == 1 => Texts::Only(0),
        "add_header" | "add_trailer" | "auth_request_set" | "return" | "rewrite" | "set" => Texts::Only(1),
        "access_log" | "alias" | "fastcgi_cache_key" | "fastcgi_pass" | "grpc_pass" | "hash"
        | "limit_conn_zone" | "limit_req_zone" | "map" | "proxy_bind" | "proxy_cache" | "proxy_cache_key"
        | "proxy_pass" | "root" | "scgi_pass" | "split_clients" | "uwsgi_pass" => Texts::Only(0),
        "error_page" | "expires" => Texts::Last,
        "fastcgi_cache_bypass"
        | "fastcgi_no_cache"
        | "index"
        | "proxy_cache_bypass"
        | "proxy_no_cache"
        | "try_files" => Texts::All,
        "log_format" => Texts::From(1),
        _ if specs_of(name).iter().any(|spec| spec.value == Value::Complex) => Texts::All,
        _ => Texts::None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{first, in_http};

    #[test]
    fn unknown_variables_are_told_without_a_place() {
        for http in [
            "server { location / { proxy_pass http://$nowhere; } }",
            "server { proxy_set_header X $Nowhere; }",
            "log_format f '$nowhere';",
            "server { if ($nowhere = x) { return 400; } }",
            "map $nowhere $x { default 1; }",
            "map $uri $x { default $nowhere; }",
            "server { return 301 https://$nowhere/; }",
        ] {
            let found = first(http).map(|words| words.to_lowercase());
            assert_eq!(found.as_deref(), Some("unknown \"nowhere\" variable"), "{http}");
        }
    }

    #[test]
    fn what_the_configuration_defines_is_known() {
        let http = "map $uri $m { ~^/(?<in_map>.) $in_map; } geo $g { default 0; } split_clients $uri $s { * 1; }
            server { server_name ~^(?<in_name>.+)$; set $v $m$g$s; auth_request_set $a $upstream_http_x;
            if ($uri ~ (?<in_if>x)) { return 200 $in_if; }
            location ~ (?<in_location>y) { rewrite (?<in_rewrite>z) /$in_rewrite$in_location$in_name$v$a$arg_q$cookie_c; } }";
        assert_eq!(in_http(http), Vec::<String>::new());
    }

    #[test]
    fn names_are_read_as_nginx_reads_them() {
        for (http, words) in [
            ("server { return 200 a$; }", "invalid variable name :1"),
            ("server { return 200 ${uri; }", "the closing bracket in \"uri\" variable is missing :1"),
            ("server { set $uri x; }", "the duplicate \"uri\" variable :1"),
            ("server { set $ x; }", "invalid variable name \"$\" :1"),
            ("server { location / { memcached_pass 10.0.0.1:1; } }", "unknown \"memcached_key\" variable"),
        ] {
            assert_eq!(first(http).as_deref(), Some(words), "{http}");
        }
        assert_eq!(
            first("server { set $args x; set $limit_rate 1; set $geoip_org x; return 200 $1; }"),
            None
        );
    }
}
