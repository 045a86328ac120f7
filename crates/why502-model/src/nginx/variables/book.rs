//! The variables that a configuration defines: `map`, `geo`, `split_clients`, and where `set` sets them.

use super::network;
use crate::nginx::config::{Config, NodeId};
use crate::nginx::pattern::{Case, Pattern};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The variables that a configuration defines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    tables: BTreeMap<String, Table>,
    /// The values that `set` gives, wherever it stands.
    sets: BTreeMap<String, Vec<String>>,
}

/// A variable whose value is looked up.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    kind: Kind,
    /// The text that is looked up.
    source: String,
    /// The value where nothing fits.
    default: String,
    rows: Vec<(String, String)>,
    /// Whether keys may be host names with wildcards.
    hostnames: bool,
    /// Whether all rows are here: some come from files that nobody could read.
    is_whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Geo,
    Map,
    SplitClients,
}

impl Book {
    /// Reads the definitions of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let mut book = Self::default();
        for id in config.http().map_or(&[][..], |http| &config.node(http).children) {
            if let Some((name, table)) = read_table(config, *id) {
                book.tables.insert(name, table);
            }
        }
        for id in config.everywhere("set") {
            let node = config.node(id);
            if let (Some(name), Some(value)) =
                (node.arg(0).and_then(|name| name.strip_prefix('$')), node.arg(1))
            {
                book.sets.entry(name.to_owned()).or_default().push(value.to_owned());
            }
        }
        book
    }

    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    pub(super) fn set_to(&self, name: &str) -> &[String] {
        self.sets.get(name).map_or(&[], Vec::as_slice)
    }
}

/// `map SOURCE $NAME { … }`, `geo [SOURCE] $NAME { … }`, `split_clients SOURCE $NAME { … }`.
fn read_table(config: &Config, id: NodeId) -> Option<(String, Table)> {
    let node = config.node(id);
    let kind = match node.name.as_str() {
        "geo" => Kind::Geo,
        "map" => Kind::Map,
        "split_clients" => Kind::SplitClients,
        _ => return None,
    };
    let (name, source) = match (node.arg(0)?, node.arg(1)) {
        (source, Some(name)) => (name, source),
        (name, None) => (name, "$remote_addr"),
    };
    let mut table = Table {
        kind,
        source: source.to_owned(),
        default: String::new(),
        rows: Vec::new(),
        hostnames: false,
        is_whole: config.is_complete(),
    };
    for row in node.children.iter().map(|row| config.node(*row)) {
        match (row.name.as_str(), row.arg(0)) {
            ("hostnames", None) if kind == Kind::Map => table.hostnames = true,
            ("volatile", None) | ("include", _) => {}
            // Ranges, exceptions and proxies make a lookup that is not imitated.
            ("ranges" | "delete" | "proxy" | "proxy_recursive", _) if kind == Kind::Geo => {
                table.is_whole = false;
            }
            ("default", Some(value)) if kind != Kind::SplitClients => value.clone_into(&mut table.default),
            (key, Some(value)) => table.rows.push((key.to_owned(), value.to_owned())),
            (_, None) => {}
        }
    }
    Some((name.strip_prefix('$')?.to_owned(), table))
}

impl Table {
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// All values, the default first; `split_clients` has none.
    pub(super) fn values(&self) -> impl Iterator<Item = &str> {
        let default = (self.kind != Kind::SplitClients).then_some(self.default.as_str());
        default.into_iter().chain(self.rows.iter().map(|(_, value)| value.as_str()))
    }

    /// The value for a known source; `None` where that cannot be told.
    pub(super) fn pick(&self, source: &str) -> Option<&str> {
        match self.kind {
            Kind::Geo if self.is_whole => self.pick_network(source),
            Kind::Map if self.is_whole => Some(self.pick_row(source)),
            Kind::Geo | Kind::Map | Kind::SplitClients => None,
        }
    }

    /// `ngx_http_map_find`: exact keys in any case, wildcards if they are host names, then patterns in order.
    fn pick_row(&self, source: &str) -> &str {
        let own = if self.hostnames { source.strip_suffix('.').unwrap_or(source) } else { source };
        let lower = own.to_ascii_lowercase();
        let plain = || self.rows.iter().filter(|(key, _)| !key.starts_with('~'));
        let key_of = |key: &str| key.strip_prefix('\\').unwrap_or(key).to_ascii_lowercase();
        if let Some((_, value)) = plain().find(|(key, _)| key_of(key) == lower) {
            return value;
        }
        if self.hostnames {
            let fits = plain().filter_map(|(key, value)| Some((wildcard_rank(&key_of(key), &lower)?, value)));
            if let Some((_, value)) = fits.min_by_key(|(rank, _)| *rank) {
                return value;
            }
        }
        let pattern = |key: &str| {
            let text = key.strip_prefix('~')?;
            match text.strip_prefix('*') {
                Some(text) => Pattern::compile(text, Case::Ignored),
                None => Pattern::compile(text, Case::Kept),
            }
            .ok()
        };
        let matching =
            |(key, _): &&(String, String)| pattern(key).is_some_and(|own| own.is_match(source.as_bytes()));
        self.rows.iter().find(matching).map_or(self.default.as_str(), |(_, value)| value)
    }

    fn pick_network(&self, source: &str) -> Option<&str> {
        let address: IpAddr = source.parse().ok()?;
        let fits =
            self.rows.iter().filter_map(|(key, value)| Some((network::contains(key, address)?, value)));
        Some(fits.max_by_key(|(length, _)| *length).map_or(self.default.as_str(), |(_, value)| value))
    }
}

/// Leading wildcards come before trailing ones, longer before shorter.
fn wildcard_rank(key: &str, host: &str) -> Option<(u8, usize)> {
    let rank = |part: &str| usize::MAX - part.len();
    if let Some(rest) = key.strip_prefix("*.") {
        return host.strip_suffix(rest).filter(|head| head.ends_with('.')).map(|_| (0, rank(rest)));
    }
    if let Some(rest) = key.strip_prefix('.') {
        let fits = host.strip_suffix(rest).filter(|head| head.is_empty() || head.ends_with('.'));
        return fits.map(|_| (0, rank(rest)));
    }
    let head = key.strip_suffix(".*")?;
    host.strip_prefix(head).filter(|tail| tail.starts_with('.')).map(|_| (1, rank(head)))
}
