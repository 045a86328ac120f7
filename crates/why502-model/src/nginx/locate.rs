//! Which server and which location serve a request, by nginx's own search.

use crate::{Action, FallbackKind, Gateway, Listen, Pass, Route, RouteId, Server, Target};
use pcre2::bytes::{Regex, RegexBuilder};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use why502_facts::RequestKey;

/// The regular expressions and levels of all locations and server names, compiled once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locator {
    /// The locations directly in a server or location, by the route that they stand in.
    levels: BTreeMap<RouteId, Vec<(RouteId, Matcher)>>,
    /// The route of each server itself.
    server_routes: Vec<RouteId>,
    /// The names of each server.
    names: Vec<Vec<NameMatcher>>,
}

/// How a location matches a path.
#[derive(Clone, Debug)]
enum Matcher {
    Exact(String),
    Named(String),
    Prefix {
        path: String,
        stops_regexes: bool,
    },
    Pattern(Regex),
    /// A pattern that does not compile here.
    Broken,
}

/// How a name of a server matches a Host header.
#[derive(Clone, Debug)]
enum NameMatcher {
    Exact(String),
    /// `*.example.com` and `.example.com`: the part behind the star, and whether the bare name matches too.
    Suffix {
        suffix: String,
        bare: bool,
    },
    /// `www.example.*`: the part before the star.
    Prefix(String),
    Pattern(Regex),
}

impl Locator {
    pub(crate) fn new(servers: &[Server], routes: &[Route]) -> Self {
        let mut locator = Self { names: servers.iter().map(name_matchers).collect(), ..Self::default() };
        for (at, route) in routes.iter().enumerate() {
            match (&route.location, route.parent) {
                (Some(location), Some(parent)) => {
                    locator.levels.entry(parent).or_default().push((RouteId(at), matcher(location)));
                }
                _ => locator.server_routes.push(RouteId(at)),
            }
        }
        locator
    }

    /// `ngx_http_core_find_location`: the longest prefix, then its nested locations, then the patterns in order.
    fn find(&self, level: RouteId, path: &str) -> (RouteId, Found) {
        let empty = Vec::new();
        let locations = self.levels.get(&level).unwrap_or(&empty);
        let (mut result, mut stops) = ((level, Found::Nothing), false);
        if let Some((id, exact, no_regexes)) = longest_prefix(locations, path) {
            if exact {
                return (id, Found::Final);
            }
            stops = no_regexes;
            result = match self.find(id, path) {
                (nested, Found::Final) => return (nested, Found::Final),
                (nested, _) => (nested, Found::Prefix),
            };
        }
        if stops {
            return result;
        }
        let matches = |matcher: &Matcher| matches!(matcher, Matcher::Pattern(regex) if is_match(regex, path));
        if let Some((id, _)) = locations.iter().find(|(_, matcher)| matches(matcher)) {
            return (self.find(*id, path).0, Found::Final);
        }
        result
    }

    fn named(&self, server: RouteId, name: &str) -> Option<RouteId> {
        let locations = self.levels.get(&server)?;
        let found =
            locations.iter().find(|(_, matcher)| matches!(matcher, Matcher::Named(own) if own == name));
        found.map(|(id, _)| *id)
    }
}

/// How a search in one level ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Prefix,
    /// An exact location or a pattern: nothing outer may overrule it.
    Final,
}

fn longest_prefix(locations: &[(RouteId, Matcher)], path: &str) -> Option<(RouteId, bool, bool)> {
    let mut best: Option<(usize, RouteId, bool)> = None;
    for (id, matcher) in locations {
        match matcher {
            Matcher::Exact(own) if own == path => return Some((*id, true, true)),
            Matcher::Prefix { path: own, stops_regexes }
                if path.starts_with(own) && best.is_none_or(|(length, ..)| own.len() >= length) =>
            {
                best = Some((own.len(), *id, *stops_regexes));
            }
            _ => {}
        }
    }
    best.map(|(_, id, stops_regexes)| (id, false, stops_regexes))
}

/// `ngx_http_core_location`: the modifier is an argument of its own, or the begin of the only one.
fn matcher(location: &str) -> Matcher {
    let prefix = |path: &str, stops_regexes| Matcher::Prefix { path: path.to_owned(), stops_regexes };
    let split =
        |modifier: &str| location.strip_prefix(modifier).map(|rest| rest.strip_prefix(' ').unwrap_or(rest));
    if location.starts_with('@') {
        return Matcher::Named(location.to_owned());
    }
    if let Some(path) = split("^~") {
        return prefix(path, true);
    }
    if let Some(pattern) = split("~*") {
        return compile(pattern, true).map_or(Matcher::Broken, Matcher::Pattern);
    }
    if let Some(pattern) = split("~") {
        return compile(pattern, false).map_or(Matcher::Broken, Matcher::Pattern);
    }
    match split("=") {
        Some(path) => Matcher::Exact(path.to_owned()),
        None => prefix(location, false),
    }
}

fn compile(pattern: &str, caseless: bool) -> Option<Regex> {
    RegexBuilder::new().caseless(caseless).build(pattern).ok()
}

/// A pattern that runs into a limit of the library matches nothing; nginx answers 500 then.
fn is_match(regex: &Regex, text: &str) -> bool {
    regex.is_match(text.as_bytes()).unwrap_or(false)
}

fn name_matchers(server: &Server) -> Vec<NameMatcher> {
    let matcher = |text: &str| {
        let lower = text.to_ascii_lowercase();
        if let Some(pattern) = text.strip_prefix('~') {
            return compile(pattern, true).map(NameMatcher::Pattern);
        }
        Some(match (lower.strip_prefix("*."), lower.strip_prefix('.'), lower.strip_suffix(".*")) {
            (Some(rest), ..) => NameMatcher::Suffix { suffix: rest.to_owned(), bare: false },
            (_, Some(rest), _) => NameMatcher::Suffix { suffix: rest.to_owned(), bare: true },
            (.., Some(rest)) => NameMatcher::Prefix(rest.to_owned()),
            _ => NameMatcher::Exact(lower),
        })
    };
    server.names.iter().filter_map(|name| matcher(&name.text)).collect()
}

/// How well a server's names fit a host: exact names win over leading stars, these over trailing ones, patterns come
/// last, in order (`ngx_hash_find_combined`, `ngx_http_find_virtual_server`).
fn name_rank(names: &[NameMatcher], host: &str) -> Option<(u8, usize)> {
    let rank = |name: &NameMatcher| match name {
        NameMatcher::Exact(own) => (own == host).then_some((0, 0)),
        NameMatcher::Suffix { suffix, bare } => {
            let fits = host
                .strip_suffix(suffix.as_str())
                .is_some_and(|rest| rest.ends_with('.') || (*bare && rest.is_empty()));
            fits.then_some((1, usize::MAX - suffix.len()))
        }
        NameMatcher::Prefix(prefix) => {
            let fits = host.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('.'));
            fits.then_some((2, usize::MAX - prefix.len()))
        }
        NameMatcher::Pattern(regex) => is_match(regex, host).then_some((3, 0)),
    };
    names.iter().filter_map(rank).min()
}

impl Gateway {
    /// The server for a host, among those that listen where the request came in; all of them if that is not known.
    pub fn find_server(&self, host: &str, address: Option<SocketAddr>) -> Option<usize> {
        let listening: Vec<usize> = self.listening_on(address);
        let host = normal_host(host);
        let named =
            listening.iter().copied().filter_map(|at| Some((name_rank(&self.locator.names[at], &host)?, at)));
        named.min().map(|(_, at)| at).or_else(|| self.default_among(&listening, address))
    }

    /// The servers that listen on an address, the most specific listeners only; all servers for `None`.
    fn listening_on(&self, address: Option<SocketAddr>) -> Vec<usize> {
        let Some(address) = address else { return (0..self.servers.len()).collect() };
        let on = |exact: bool| -> Vec<usize> {
            let fits = |listen: &Listen| listen.address.is_some_and(|own| takes(own, address, exact));
            let servers = self.servers.iter().enumerate();
            servers.filter(|(_, server)| server.listens.iter().any(fits)).map(|(at, _)| at).collect()
        };
        let exact = on(true);
        if exact.is_empty() { on(false) } else { exact }
    }

    fn default_among(&self, servers: &[usize], address: Option<SocketAddr>) -> Option<usize> {
        let is_default = |at: &usize| {
            let mut listens = self.servers[*at].listens.iter();
            listens.any(|listen| {
                listen.is_default
                    && address
                        .is_none_or(|address| listen.address.is_some_and(|own| takes(own, address, false)))
            })
        };
        servers.iter().copied().find(is_default).or_else(|| servers.first().copied())
    }

    /// The route that a path of a server comes to first: before any internal redirect.
    pub fn find_route(&self, server: usize, path: &str) -> Option<RouteId> {
        let own = *self.locator.server_routes.get(server)?;
        if matches!(self.route(own).action, Action::Return(_)) {
            return Some(own);
        }
        if path.starts_with('@') {
            return self.locator.named(own, path);
        }
        Some(self.locator.find(own, &normal_path(path)).0)
    }

    /// The routes that a request of a route may go on to, the nearest first, the route itself included.
    pub fn reachable(&self, from: RouteId) -> Vec<RouteId> {
        let mut seen = BTreeSet::from([from]);
        let mut queue = VecDeque::from([from]);
        let mut order = Vec::new();
        while let Some(id) = queue.pop_front() {
            order.push(id);
            let route = self.route(id);
            for fallback in &route.fallbacks {
                // The script of a rewrite or index is looked up as a path; captures in it are not known.
                let path = fallback.to.split('$').next().filter(|path| !path.is_empty()).unwrap_or("/");
                let path = if fallback.to.starts_with('@') { fallback.to.as_str() } else { path };
                if let Some(next) = self.find_route(route.server, path)
                    && seen.insert(next)
                {
                    queue.push_back(next);
                }
            }
        }
        order
    }

    /// The route that a request of a log line was failing in.
    ///
    /// The request line names the location that it came to first; where the line names an upstream, the route that it
    /// went on to and that passes to that upstream is meant.
    pub fn attribute(&self, key: &RequestKey<'_>) -> Option<RouteId> {
        let servers = self.candidate_servers(key);
        let first = |server: usize| self.find_route(server, path_of(key.path));
        if key.peer.is_none() && key.scheme.is_none() {
            return match servers.as_slice() {
                [server] => first(*server),
                _ => None,
            };
        }
        let reached = servers.iter().filter_map(|server| first(*server)).flat_map(|id| self.reachable(id));
        self.best_fit(reached, key).or_else(|| {
            let in_candidates = self.routes().filter(|(_, route)| servers.contains(&route.server));
            self.best_fit(in_candidates.map(|(id, _)| id), key)
        })
    }

    /// The first of the routes that fit the upstream of a log line best.
    fn best_fit(&self, routes: impl Iterator<Item = RouteId>, key: &RequestKey<'_>) -> Option<RouteId> {
        let mut best: Option<(u8, RouteId)> = None;
        for id in routes {
            let fit = self.fits(id, key);
            if fit > 0 && best.is_none_or(|(known, _)| fit > known) {
                best = Some((fit, id));
            }
        }
        best.map(|(_, id)| id)
    }

    fn candidate_servers(&self, key: &RequestKey<'_>) -> Vec<usize> {
        let all: Vec<usize> = (0..self.servers.len()).collect();
        let keep = |servers: Vec<usize>, wanted: &dyn Fn(usize) -> bool| {
            let kept: Vec<usize> = servers.iter().copied().filter(|at| wanted(*at)).collect();
            if kept.is_empty() { servers } else { kept }
        };
        let mut servers = self.writers_of(key.log).map_or(all, |writers| writers);
        if let Some(name) = key.server {
            servers = keep(servers, &|at| {
                self.servers[at].name() == name
                    || self.servers[at].listens.iter().any(|listen| listen.text == name)
            });
        }
        if let Some(host) = key.host.filter(|_| servers.len() > 1) {
            let host = normal_host(host);
            let best = servers.iter().filter_map(|at| name_rank(&self.locator.names[*at], &host)).min();
            if best.is_some() {
                servers.retain(|at| name_rank(&self.locator.names[*at], &host) == best);
            } else if let Some(default) = self.default_among(&servers, None).filter(|_| key.server.is_none())
            {
                servers = vec![default];
            }
        }
        servers
    }

    /// The servers that write to a log; `None` if all do, or the log is none of this gateway's.
    fn writers_of(&self, log: &str) -> Option<Vec<usize>> {
        let sink = self
            .logs
            .iter()
            .find(|sink| matches!(&sink.target, crate::LogTarget::File(path) if path == log))?;
        (!sink.servers.is_empty()).then(|| sink.servers.clone())
    }

    /// How well a route fits the upstream of a log line: 0 not, 1 perhaps, 2 surely.
    fn fits(&self, id: RouteId, key: &RequestKey<'_>) -> u8 {
        let route = self.route(id);
        let conditional = route.conditionals.iter().filter_map(|conditional| conditional.action.as_ref());
        let passes = std::iter::once(&route.action).chain(conditional).filter_map(Action::pass);
        passes.map(|pass| self.pass_fits(pass, key)).max().unwrap_or(0)
    }

    fn pass_fits(&self, pass: &Pass, key: &RequestKey<'_>) -> u8 {
        let scheme_fits = key.scheme.is_none_or(|scheme| {
            // The scheme of a target with variables is part of what they hold.
            scheme == pass.protocol.scheme(pass.tls) || matches!(pass.target, Target::Unresolved(_))
        });
        if !scheme_fits {
            return 0;
        }
        let Some(peer) = key.peer else { return 1 };
        match &pass.target {
            Target::Unresolved(_) => 1,
            Target::Group(group) => self.group_fits(*group, peer),
        }
    }

    /// Whether a log's peer is one of a group: its name, an address of it, or one that a name of it once had.
    fn group_fits(&self, group: crate::GroupId, peer: &str) -> u8 {
        let group = self.group(group);
        if group.name.as_deref() == Some(peer) {
            return 2;
        }
        let Ok(address) = peer.parse::<why502_facts::PeerAddress>() else { return 0 };
        let fit = |own: &crate::Peer| match (&own.addresses, &own.host) {
            (why502_facts::Observed::Known(addresses), _) if addresses.contains(&address) => 2,
            (_, crate::Host::Name(_)) if own.port == address.port() => 1,
            _ => 0,
        };
        group.peers.iter().map(fit).max().unwrap_or(0)
    }

    /// The first fallback of a route that takes over a status.
    pub fn error_page(&self, route: RouteId, status: u16) -> Option<&crate::Fallback> {
        let takes = |kind: &FallbackKind| matches!(kind, FallbackKind::ErrorPage { statuses, .. } if statuses.contains(&status));
        self.route(route).fallbacks.iter().find(|fallback| takes(&fallback.kind))
    }
}

fn takes(own: SocketAddr, address: SocketAddr, exact: bool) -> bool {
    if own.port() != address.port() {
        return false;
    }
    let is_any = |ip: IpAddr| ip.is_unspecified();
    if exact {
        own.ip() == address.ip()
    } else {
        own.ip() == address.ip() || is_any(own.ip()) || is_any(address.ip())
    }
}

/// The host without its port and final point, in lower case (`ngx_http_validate_host`).
fn normal_host(host: &str) -> String {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    without_port.trim_end_matches('.').to_ascii_lowercase()
}

/// The path of a request target: an absolute URI has one behind its authority.
fn path_of(target: &str) -> &str {
    match target.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    }
}

/// The path as locations see it: decoded, without `.`, `..` and doubled slashes (`ngx_http_parse_complex_uri`).
pub(crate) fn normal_path(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or("");
    let decoded = decode_percent(path);
    let ends_in_directory = decoded.ends_with('/') || decoded.ends_with("/.") || decoded.ends_with("/..");
    let mut parts: Vec<&str> = Vec::new();
    for part in decoded.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut normal = format!("/{}", parts.join("/"));
    if ends_in_directory && normal.len() > 1 {
        normal.push('/');
    }
    normal
}

fn decode_percent(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (bytes[at], pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    why502_facts::lossy(&decoded)
}
