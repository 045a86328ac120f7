//! Groups, and the names that passes lead to (`ngx_http_upstream_add`).

use super::Checker;
use crate::nginx::address::{Address, Use, parse_url};
use crate::nginx::config::NodeId;
use crate::nginx::parameters::Levels;
use crate::nginx::values::{TimeUnit, parse_number, parse_time_in};
use crate::{Host, ProblemKind, Version};
use std::collections::HashMap;
use std::sync::Arc;
use why502_facts::Observed;

/// The version since which names in groups may be resolved again (CHANGES 1.27.3).
const RESOLVES: Version = Version(1, 27, 3);
/// The version since which peers have routes and may be drained (CHANGES 1.29.6).
const ROUTES: Version = Version(1, 29, 6);

/// The groups in the order in which they are named first.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    entries: Vec<Entry>,
    /// The places of the entries of a host: nginx tells them apart by port as well.
    by_host: HashMap<String, Vec<usize>>,
    /// Whether `backup` may stand behind the servers that follow.
    no_backup: bool,
}

#[derive(Debug)]
struct Entry {
    address: Option<Address>,
    port: Option<u16>,
    has_port: bool,
    /// The `upstream` block.
    block: Option<NodeId>,
    /// The pass or block that named it.
    origin: Origin,
}

/// Where a group is named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) id: NodeId,
    pub(super) arg: usize,
}

/// How a group is named.
#[derive(Clone, Copy, Debug)]
pub(super) enum Naming {
    /// By an `upstream` block.
    Block,
    /// By a pass.
    Passed { default_port: Option<u16> },
}

impl Checker<'_, '_> {
    pub(super) fn upstream(&mut self, id: NodeId) {
        let name = self.arg(id, 0);
        let address = Address {
            host: Host::Name(name.to_owned()),
            host_text: name.to_owned(),
            port: None,
            last_port: None,
            uri: None,
        };
        self.upstreams.no_backup = false;
        self.add_upstream(Origin { id, arg: 0 }, &address, Naming::Block);
    }

    /// Names a group; whether nginx would go on.
    pub(super) fn add_upstream(&mut self, origin: Origin, address: &Address, naming: Naming) -> bool {
        let host = address.host_text.to_ascii_lowercase();
        let (is_block, port) = match naming {
            Naming::Block => (true, None),
            Naming::Passed { default_port } => (false, address.port.or(default_port)),
        };
        let has_port = address.port.is_some();
        for at in self.upstreams.by_host.get(&host).cloned().unwrap_or_default() {
            let entry = &self.upstreams.entries[at];
            if is_block && entry.block.is_some() {
                self.refuse_arg(origin.id, 0, format!("duplicate upstream \"{}\"", address.host_text));
                return false;
            }
            if entry.block.is_some() && has_port {
                let port = address.port.unwrap_or(0);
                let words = format!("upstream \"{}\" may not have port {port}", address.host_text);
                self.refuse_arg(origin.id, origin.arg, words);
                return false;
            }
            if is_block && entry.has_port {
                let (port, earlier) = (entry.port.unwrap_or(0), entry.origin);
                let words = format!("upstream \"{}\" may not have port {port}", address.host_text);
                self.refuse_arg(earlier.id, earlier.arg, words);
                return false;
            }
            if let (Some(own), Some(port)) = (entry.port, port)
                && own != port
            {
                continue;
            }
            if is_block {
                let entry = &mut self.upstreams.entries[at];
                entry.block = Some(origin.id);
                entry.port = None;
            }
            return true;
        }
        self.upstreams.by_host.entry(host).or_default().push(self.upstreams.entries.len());
        self.upstreams.entries.push(Entry {
            address: (!is_block).then(|| address.clone()),
            port,
            has_port,
            block: is_block.then_some(origin.id),
            origin,
        });
        true
    }

    /// What stands in an `upstream` block.
    pub(super) fn upstream_directive(&mut self, id: NodeId) {
        let words = self.words(id);
        match self.config.node(id).name.as_str() {
            "server" => self.peer(id),
            "zone" => self.group_zone(id),
            "ip_hash" => self.upstreams.no_backup = true,
            "hash" => {
                self.upstreams.no_backup = true;
                if words.get(1).is_some_and(|second| *second != "consistent") {
                    self.invalid_parameter(id, 1);
                }
                self.texts(id);
            }
            "random" => {
                self.upstreams.no_backup = true;
                if words.first().is_some_and(|first| *first != "two") {
                    self.invalid_parameter(id, 0);
                } else if words.get(1).is_some_and(|second| *second != "least_conn") {
                    self.invalid_parameter(id, 1);
                }
            }
            "least_conn" => self.upstreams.no_backup = false,
            "keepalive" => {
                let number = words.first().copied().unwrap_or_default();
                let may_be_none =
                    self.modules.version.is_none_or(|own| own >= crate::nginx::pass::KEEPS_BY_DEFAULT);
                let is_right = parse_number(number).is_some_and(|number| number > 0 || may_be_none);
                if !is_right {
                    self.refuse_arg(id, 0, format!("invalid value \"{number}\" in \"keepalive\" directive"));
                }
            }
            "resolver" => self.resolver(id),
            _ => {}
        }
    }

    /// `ngx_http_upstream_server`.
    fn peer(&mut self, id: NodeId) {
        for (at, word) in self.words(id).into_iter().enumerate().skip(1) {
            match self.peer_parameter(word) {
                Some(true) => {}
                Some(false) => {
                    let words = format!("balancing method does not support parameter \"{word}\"");
                    return self.refuse_arg(id, at, words);
                }
                None => return self.invalid_parameter(id, at),
            }
        }
        let text = self.arg(id, 0);
        let has_service = self.config.node(id).parameter("service").is_some();
        match parse_url(text, Use::Peer) {
            Err(words) => self.refuse_arg(id, 0, format!("{words} in upstream \"{text}\"")),
            Ok(Address { host: Host::Name(name), .. }) if !has_service => self.look_up(id, 0, &name, text),
            Ok(_) => {}
        }
    }

    /// Whether the balancing method supports a parameter; `None` for one that nginx does not know.
    fn peer_parameter(&self, word: &str) -> Option<bool> {
        let since = |version: Version| self.modules.version.is_none_or(|own| own >= version);
        let number = |text: &str| parse_number(text);
        match word.split_once('=') {
            None => match word {
                "backup" => Some(!self.upstreams.no_backup),
                "down" => Some(true),
                "resolve" if since(RESOLVES) => Some(true),
                "drain" if since(ROUTES) => Some(true),
                _ => None,
            },
            Some((name, value)) => {
                let is_right = match name {
                    "weight" => number(value).is_some_and(|weight| weight > 0),
                    "max_conns" | "max_fails" => number(value).is_some(),
                    "fail_timeout" => parse_time_in(value, TimeUnit::Seconds).is_some(),
                    "service" => since(RESOLVES) && !value.is_empty(),
                    "route" => since(ROUTES) && !value.is_empty(),
                    _ => false,
                };
                is_right.then_some(true)
            }
        }
    }

    /// A name that the system does not know when the configuration is loaded.
    fn look_up(&mut self, id: NodeId, arg: usize, name: &str, shown: &str) {
        let is_resolved_later = self.config.node(id).values().any(|word| word == "resolve");
        if !is_resolved_later && matches!(self.groups.resolve(name), Observed::Absent) {
            let at = self.config.arg_span(id, arg);
            let printed = Some((Arc::clone(&at.file), self.config.node(id).line));
            let kind = ProblemKind::HostNotFound { name: name.to_owned() };
            self.add(kind, format!("host not found in upstream \"{shown}\""), at, printed);
        }
    }

    pub(super) fn end_upstream(&mut self, id: NodeId) {
        if self.config.named(Some(id), "server").next().is_none() && self.config.is_complete() {
            let at = self.config.span(id);
            self.refuse_at_end(id, at, "no servers are inside upstream");
        }
    }

    /// `ngx_http_upstream_init_main_conf`: the groups, in the order in which they were named.
    pub(super) fn init_upstreams(&mut self) {
        for entry in std::mem::take(&mut self.upstreams.entries) {
            match (entry.block, &entry.address) {
                (Some(block), _) => self.init_group(block, &entry),
                (None, Some(address)) => self.init_implicit(&entry, address),
                (None, None) => {}
            }
        }
    }

    /// `ngx_http_upstream_init_round_robin` for an `upstream` block.
    ///
    /// nginx keeps the place where the group was named first, be it by a pass.
    fn init_group(&mut self, block: NodeId, entry: &Entry) {
        let config = self.config;
        let servers: Vec<NodeId> = config.named(Some(block), "server").collect();
        let has = |id: &NodeId, word: &str| config.node(*id).values().any(|own| own == word);
        let resolved_later = servers.iter().any(|id| has(id, "resolve"));
        let name = config.node(block).arg(0).unwrap_or_default().to_owned();
        if resolved_later && config.named(Some(block), "zone").next().is_none() {
            let words = format!("resolving names at run time requires upstream \"{name}\"");
            return self.refuse_with_place(block, entry.origin, &words, "to be in shared memory");
        }
        if resolved_later && Levels::of(config, block).last("resolver").is_none() {
            let words = format!("no resolver defined to resolve names at run time in upstream \"{name}\"");
            return self.refuse_group(block, entry.origin, words);
        }
        if !servers.is_empty() && servers.iter().all(|id| has(id, "backup")) {
            self.refuse_group(block, entry.origin, format!("no servers in upstream \"{name}\""));
        }
    }

    fn refuse_group(&mut self, block: NodeId, first: Origin, message: String) {
        let node = self.config.node(first.id);
        let printed = Some((Arc::clone(&self.config.files[node.file].path), node.line));
        self.add(ProblemKind::Refused, message, self.config.span(block), printed);
    }

    /// Words in the middle of which nginx names the place.
    fn refuse_with_place(&mut self, block: NodeId, first: Origin, before: &str, behind: &str) {
        let node = self.config.node(first.id);
        let (file, line) = (&self.config.files[node.file].path, node.line);
        let at = self.config.span(block);
        self.refuse_unplaced(at, format!("{before} in {file}:{line} {behind}"));
    }

    /// The same for a group that a pass implies.
    fn init_implicit(&mut self, entry: &Entry, address: &Address) {
        let Origin { id, arg } = entry.origin;
        match &address.host {
            Host::Unix(_) => {}
            _ if entry.port.is_none() => {
                self.refuse_arg(id, arg, format!("no port in upstream \"{}\"", address.host_text));
            }
            Host::Ip(_) => {}
            Host::Name(name) => self.look_up(id, arg, name, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::first;
    use crate::testing::World;
    use crate::{Problem, ProblemKind};

    #[test]
    fn groups_are_looked_at() {
        for (http, words) in [
            ("upstream u {\n}", "no servers are inside upstream :2"),
            (
                "upstream u { server 10.0.0.1; } upstream U { server 10.0.0.2; }",
                "duplicate upstream \"U\" :1",
            ),
            ("upstream u { server 10.0.0.1 backup; }", "no servers in upstream \"u\" :1"),
            (
                "upstream u { ip_hash; server 10.0.0.1; server 10.0.0.2 backup; }",
                "balancing method does not support parameter \"backup\" :1",
            ),
            ("upstream u { server 10.0.0.1 weight=0; }", "invalid parameter \"weight=0\" :1"),
            ("upstream u { server 10.0.0.1 slow_start=5s; }", "invalid parameter \"slow_start=5s\" :1"),
            ("upstream u { server known resolve; }", "invalid parameter \"resolve\" :1"),
            ("upstream u { server http://10.0.0.1; }", "invalid host in upstream \"http://10.0.0.1\" :1"),
            ("upstream u { server 10.0.0.1:0; }", "invalid port in upstream \"10.0.0.1:0\" :1"),
            ("upstream u { server nowhere:80; }", "host not found in upstream \"nowhere:80\" :1"),
            (
                "upstream u { server 10.0.0.1; keepalive 0; }",
                "invalid value \"0\" in \"keepalive\" directive :1",
            ),
            ("upstream u { hash $uri consistant; server 10.0.0.1; }", "invalid parameter \"consistant\" :1"),
            (
                "server { location / { proxy_pass http://u:81; } } upstream u { server 10.0.0.1; }",
                "upstream \"u\" may not have port 81 :1",
            ),
        ] {
            assert_eq!(first(http).as_deref(), Some(words), "{http}");
        }
        let sound = "upstream u { least_conn; server known:80 weight=2 max_conns=3; server 10.0.0.2 backup down; keepalive 8; }
            server { location /a { proxy_pass http://u; } location /b { proxy_pass https://u/x; } }
            server { location / { proxy_pass http://v; } } upstream v { server unix:/s; }";
        assert_eq!(first(sound), None);
    }

    fn of_version(version: &str, http: &str) -> Vec<Problem> {
        let mut world = World::live(version, &format!("#- /n\nevents {{}} http {{ {http} }}"));
        world.name("known", &["10.0.0.1"]);
        world.gateway().problems
    }

    #[test]
    fn newer_versions_know_more() {
        let http = "resolver 10.0.0.1; upstream u { zone z 64k; server nowhere resolve; keepalive 2; }";
        assert_eq!(of_version("1.27.3", http), []);
        let no_zone = of_version("1.27.3", "upstream u { server known resolve; }");
        assert_eq!(
            no_zone[0].words(),
            "resolving names at run time requires upstream \"u\" in /n:1 to be in shared memory"
        );
        let no_resolver = of_version("1.27.3", "upstream u { zone z 64k; server known resolve; }");
        assert_eq!(
            no_resolver[0].words(),
            "no resolver defined to resolve names at run time in upstream \"u\" in /n:1"
        );
        assert_eq!(of_version("1.29.7", "upstream u { server 10.0.0.1 drain route=a; keepalive 0; }"), []);
    }

    #[test]
    fn a_name_that_nobody_knows_is_told_apart() {
        let found = of_version("1.22.1", "server { location / { proxy_pass http://nowhere; } }");
        assert_eq!(found[0].kind, ProblemKind::HostNotFound { name: "nowhere".to_owned() });
        let mut world = World::offline(
            "#- /tmp/c/nginx.conf\nevents {} http { server { location / { proxy_pass http://nowhere; } } }",
        );
        world.invocation.offline = true;
        // Offline nobody looks names up, whatever the world would answer.
        assert!(world.gateway().problems.len() <= 1);
    }
}
