//! Rows of tables: `types`, `map`, `geo`, `split_clients`.

use super::Checker;
use crate::nginx::config::NodeId;
use crate::nginx::pattern::{Case, Pattern};
use crate::nginx::values::is_network;
use nginx_syntax::Terminator;

impl Checker<'_, '_> {
    /// The head of a table: the variable that it defines.
    pub(super) fn table(&mut self, id: NodeId) {
        let node = self.config.node(id);
        // The source of `geo` is a variable as well; that of the others is a text.
        if let (2, "geo") = (node.args.len(), node.name.as_str())
            && !self.arg(id, 0).starts_with('$')
        {
            return self.refuse_arg(id, 0, format!("invalid variable name \"{}\"", self.arg(id, 0)));
        }
        let name = node.values().next_back().unwrap_or_default();
        let Some(bare) = name.strip_prefix('$') else {
            let last = node.args.len().saturating_sub(1);
            return self.refuse_arg(id, last, format!("invalid variable name \"{name}\""));
        };
        self.define(id, bare);
        self.keys.clear();
        self.has_hostnames = false;
    }

    /// One row, as the table's handler reads it.
    pub(super) fn row(&mut self, table: NodeId, id: NodeId) {
        let node = self.config.node(id);
        if matches!(node.terminator, Terminator::Block | Terminator::LuaBlock) {
            return self.refuse(id, "unexpected \"{\"");
        }
        match self.config.node(table).name.as_str() {
            "geo" => self.geo_row(id),
            "map" => self.map_row(id),
            "split_clients" => self.split_row(id),
            "types" if node.name == "include" && node.args.len() != 1 => {
                self.refuse(id, "invalid number of arguments in \"include\" directive");
            }
            _ => {}
        }
    }

    fn map_row(&mut self, id: NodeId) {
        let node = self.config.node(id);
        match (node.name.as_str(), node.args.len()) {
            ("hostnames", 0) => self.has_hostnames = true,
            ("volatile", 0) => {}
            (_, 1) => {
                let (key, value) = (node.name.as_str(), self.arg(id, 0));
                if key == "include" {
                    return;
                }
                self.template(id, 0, value);
                let Some(text) = key.strip_prefix('~') else { return self.map_key(id, key) };
                {
                    let pattern = match text.strip_prefix('*') {
                        Some(text) => Pattern::compile(text, Case::Ignored),
                        None => Pattern::compile(text, Case::Kept),
                    };
                    match pattern {
                        Ok(pattern) => self.define_groups(&pattern),
                        Err(words) => self.refuse(id, words),
                    }
                }
            }
            _ => self.refuse(id, "invalid number of the map parameters"),
        }
    }

    /// A key that comes twice; with `hostnames` wildcards keep each other out too, which is left alone.
    fn map_key(&mut self, id: NodeId, key: &str) {
        if key == "default" {
            // No other key has a zero byte.
            if !self.keys.insert("default\0".to_owned()) {
                self.refuse(id, "duplicate default map parameter");
            }
            return;
        }
        let bare = key.strip_prefix('\\').unwrap_or(key);
        if self.has_hostnames && !is_hostname(bare) {
            return self.refuse(id, format!("invalid hostname or wildcard \"{bare}\""));
        }
        if !self.keys.insert(bare.to_ascii_lowercase()) {
            self.refuse(id, format!("conflicting parameter \"{bare}\""));
        }
    }

    fn geo_row(&mut self, id: NodeId) {
        let node = self.config.node(id);
        let wanted = usize::from(node.name != "ranges" && node.name != "proxy_recursive");
        if node.args.len() != wanted {
            return self.refuse(id, "invalid number of the geo parameters");
        }
        let has_ranges = self.config.named(node.parent, "ranges").next().is_some();
        let network = match node.name.as_str() {
            "default" | "include" | "proxy_recursive" | "ranges" => return,
            "delete" | "proxy" => self.arg(id, 0),
            name => name,
        };
        // All ones are an address here only (`ngx_http_geo_cidr_value`).
        if !has_ranges && network != "255.255.255.255" && !is_network(network) {
            self.refuse(id, format!("invalid network \"{network}\""));
        }
    }

    fn split_row(&mut self, id: NodeId) {
        let node = self.config.node(id);
        let percent = node.name.as_str();
        if percent != "*" && percent != "include" && hundredths(percent).is_none_or(|number| number == 0) {
            self.refuse(id, format!("invalid percent value \"{percent}\""));
        }
    }

    /// What comes to light when all rows were read.
    pub(super) fn end_split_clients(&mut self, id: NodeId) {
        let rows = self.config.children(Some(id)).iter();
        let total: u64 = rows.filter_map(|row| hundredths(&self.config.node(*row).name)).sum();
        if total > 10_000 {
            let at = self.config.span(id);
            self.refuse_at_end(id, at, "percent total is greater than 100%");
        }
    }
}

/// Whether a key can stand in a table of host names, with a wildcard at one end at most (`ngx_hash_add_key`).
fn is_hostname(key: &str) -> bool {
    let n_stars = key.bytes().filter(|byte| *byte == b'*').count();
    let is_at_end = (key.starts_with("*.") && key.len() > 2) || (key.ends_with(".*") && key.len() > 2);
    !key.contains("..") && (n_stars == 0 || (n_stars == 1 && is_at_end && !key.starts_with('.')))
}

/// A percentage in hundredths: at most two places behind the point (`ngx_atofp`).
fn hundredths(percent: &str) -> Option<u64> {
    let number = percent.strip_suffix('%').filter(|number| !number.is_empty())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !is_number || fraction.len() > 2 {
        return None;
    }
    format!("{whole}{fraction:0<2}").parse().ok().filter(|number| u32::try_from(*number).is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{first, in_http};

    #[test]
    fn rows_are_read_as_their_tables_read_them() {
        for (http, words) in [
            ("map $a b { }", "invalid variable name \"b\" :1"),
            ("map $a $b {\n x; }", "invalid number of the map parameters :2"),
            ("map $a $b { x 1;\n X 2; }", "conflicting parameter \"X\" :2"),
            ("map $a $b { default 1; default 2; }", "duplicate default map parameter :1"),
            ("map $a $b { ~( 1; }", "pcre2_compile() failed: missing closing parenthesis in \"(\" :1"),
            ("types { text/html { } }", "unexpected \"{\" :1"),
            ("split_clients $remote_addr $b { x% a; }", "invalid percent value \"x%\" :1"),
            ("geo $b { default; }", "invalid number of the geo parameters :1"),
            ("map $uri $host { default 1; }", "the duplicate \"host\" variable :1"),
        ] {
            assert_eq!(first(http).as_deref(), Some(words), "{http}");
        }
    }

    #[test]
    fn sound_tables_are_left_alone() {
        let http = "map $uri $b { hostnames; default x; *.a 1; a 2; include /none/*; \\default 3; ~^/(?<n>x) $n; }
            geo $remote_addr $g { ranges; default 0; 10.0.0.0-10.0.0.9 1; } split_clients $uri $s { 0.5% a; * b; }";
        assert_eq!(first(http), None);
    }

    /// Were each row compared with those before it, this would take minutes.
    #[test]
    fn a_table_may_have_any_number_of_rows() {
        use std::fmt::Write as _;
        let mut rows = String::new();
        for number in 0..60_000 {
            writeln!(rows, "/old{number} /new{number};").unwrap();
        }
        assert_eq!(
            in_http(&format!("map $uri $b {{\n{rows}/old7 /x; }}")),
            ["conflicting parameter \"/old7\" :60002"]
        );
    }
}
