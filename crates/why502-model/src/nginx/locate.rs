//! Which server and which location serve a request, by nginx's own search.

mod arrive;
mod attribute;
mod entrance;
mod locations;
mod names;
mod reach;
mod serve;
mod uri;

pub use arrive::Arrival;
pub(crate) use entrance::Entrance;
pub(crate) use locations::{Level, LocationName, Passes};
pub(crate) use names::NameTable;
pub use serve::{Served, Step, Stop};
pub(crate) use uri::{Slashes, parse_target, valid_host};

use super::config::Config;
use super::pattern::Captures;
use super::routes::Routes;
use super::script::Script;
use super::variables::Book;
use crate::{Gateway, RouteId, Server};
use locations::Static;
use names::Fit;
use std::collections::BTreeMap;
use std::sync::Arc;
use why502_facts::PeerAddress;

/// Everything that the search needs, made ready once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locator {
    /// The locations directly in a server or location, by the route that they stand in.
    levels: BTreeMap<RouteId, Level>,
    /// The route of each server itself.
    server_routes: Vec<RouteId>,
    /// The directives of `ngx_http_rewrite_module` of each route.
    scripts: Vec<Script>,
    /// Whether each server merges slashes.
    slashes: Vec<Slashes>,
    /// The addresses on which servers listen, with their names.
    entrances: Vec<Entrance>,
    /// The names of all servers together: for where it is not known on which address a request came in.
    names: NameTable,
    /// The names of each server by itself.
    own_names: Vec<NameTable>,
    /// The name of each route's location; `None` for servers.
    location_names: Vec<Option<LocationName>>,
    /// The variables that the configuration defines.
    pub(crate) book: Arc<Book>,
    /// The configuration itself, for places.
    pub(crate) config: Arc<Config>,
    /// The block of each route.
    pub(crate) blocks: Vec<super::config::NodeId>,
}

/// How the search for a location ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    route: RouteId,
    end: End,
    /// What the last pattern captured.
    captures: Option<Captures>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// An exact location or a pattern: nothing outer may overrule it.
    Final,
    Nothing,
    Prefix,
    /// Answered with a redirect to the path with a slash.
    Redirect,
}

impl Locator {
    pub(crate) fn new(config: Arc<Config>, book: Arc<Book>, routes: &Routes) -> Self {
        let mut locator = Self { book, ..Self::default() };
        for (at, (route, block)) in routes.routes.iter().zip(&routes.blocks).enumerate() {
            locator.scripts.push(Script::read(&config, *block));
            match (&routes.locations[at], route.parent) {
                (Some(name), Some(parent)) => {
                    let passes =
                        if super::pass::passes_on(&config, *block) { Passes::On } else { Passes::Not };
                    locator.levels.entry(parent).or_default().add(RouteId(at), name, passes);
                }
                _ => locator.server_routes.push(RouteId(at)),
            }
        }
        locator.slashes.clone_from(&routes.slashes);
        locator.entrances = Entrance::all(&routes.servers);
        locator.names = NameTable::new(routes.servers.iter().enumerate());
        let alone = |(at, server)| NameTable::new([(at, server)].into_iter());
        locator.own_names = routes.servers.iter().enumerate().map(alone).collect();
        locator.location_names.clone_from(&routes.locations);
        locator.blocks.clone_from(&routes.blocks);
        locator.config = config;
        locator
    }

    /// The location of a server that serves a path.
    fn serves(&self, server: RouteId, path: &str) -> RouteId {
        self.find(server, path.as_bytes()).route
    }

    /// `ngx_http_core_find_location`: the longest prefix, then its nested locations, then the patterns in order.
    fn find(&self, level: RouteId, path: &[u8]) -> Found {
        let nothing = Found { route: level, end: End::Nothing, captures: None };
        let Some(locations) = self.levels.get(&level) else { return nothing };
        let (mut result, mut stops) = (nothing, false);
        match locations.find_static(path) {
            Static::Exact(route) => return Found { route, end: End::Final, captures: None },
            Static::Redirect(route) => return Found { route, end: End::Redirect, captures: None },
            Static::Nothing => {}
            Static::Prefix { route, stops_patterns } => {
                stops = stops_patterns;
                let nested = self.find(route, path);
                if matches!(nested.end, End::Final | End::Redirect) {
                    return nested;
                }
                result = Found { end: End::Prefix, ..nested };
            }
        }
        if stops {
            return result;
        }
        match locations.find_pattern(path) {
            Some((pattern, route)) => {
                let nested = self.find(route, path);
                let captures = nested.captures.or_else(|| pattern.captures(path));
                // A redirect out of a nested location is lost here: only errors come through (`NGX_OK` otherwise).
                Found { route: nested.route, end: End::Final, captures }
            }
            None => result,
        }
    }

    fn name_of(&self, route: RouteId) -> Option<&LocationName> {
        self.location_names.get(route.0)?.as_ref()
    }

    fn named(&self, server: RouteId, name: &str) -> Option<RouteId> {
        self.levels.get(&server)?.named(name)
    }
}

impl Gateway {
    /// The server for a host, among those that listen where the request came in; among all of them if that is not known.
    ///
    /// Nobody for an address on which nothing listens; the default server for a host that the gateway answers with 400.
    pub fn find_server(&self, host: &str, address: Option<std::net::SocketAddr>) -> Option<usize> {
        match address {
            Some(address) => self.find_server_at(host, &PeerAddress::Inet(address)),
            None => self.find_server_anywhere(host),
        }
    }

    /// The server for a host at a listening address or unix socket.
    pub fn find_server_at(&self, host: &str, address: &PeerAddress) -> Option<usize> {
        let entrance = Entrance::of(&self.locator.entrances, address)?;
        let named = valid_host(host).and_then(|host| entrance.names.find(&host));
        Some(named.map_or(entrance.default, |(_, server)| server))
    }

    fn find_server_anywhere(&self, host: &str) -> Option<usize> {
        let named = valid_host(host).and_then(|host| self.locator.names.find(&host));
        named.map(|(_, server)| server).or_else(|| self.default_server())
    }

    /// The server that takes what no name fits, where it is not known on which address a request came in: that of the
    /// first address.
    fn default_server(&self) -> Option<usize> {
        let marked = |server: &Server| server.listens.iter().any(|listen| listen.is_default);
        let first = self.locator.entrances.first().map(|entrance| entrance.default);
        self.servers.iter().position(marked).or(first).or_else(|| (!self.servers.is_empty()).then_some(0))
    }

    /// How well a server's names fit a host.
    fn fits_host(&self, server: usize, host: &str) -> Option<Fit> {
        self.locator.own_names.get(server)?.find(host).map(|(fit, _)| fit)
    }

    /// Whether a server has a name that fits a host, in small letters.
    pub fn has_name(&self, server: usize, host: &str) -> bool {
        self.fits_host(server, host).is_some()
    }

    /// Whether directives of a route itself change the path of a request.
    fn rewrites(&self, route: RouteId) -> bool {
        let block = self.locator.blocks.get(route.0).copied();
        let mut names =
            self.locator.config.children(block).iter().map(|id| self.locator.config.node(*id).name.as_str());
        block.is_some()
            && names.any(|name| {
                matches!(name, "rewrite" | "try_files") || name.contains("_by_lua") || name.starts_with("js_")
            })
    }

    /// The route that a path of a server comes to first: after the server's own rewrites, before any internal redirect.
    ///
    /// `None` for a path that the gateway answers with 400. A name with `@` is a named location.
    pub fn find_route(&self, server: usize, path: &str) -> Option<RouteId> {
        if path.starts_with('@') {
            return self.locator.named(*self.locator.server_routes.get(server)?, path);
        }
        let request = crate::RequestVars::of_request("GET", path, None);
        self.first_route(server, &request)
    }
}
