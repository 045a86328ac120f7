//! Servers and locations.

use super::config::{Config, NodeId};
use super::parameters::Levels;
use super::pass::{PASS_DIRECTIVES, read_pass};
use super::upstreams::Groups;
use crate::{
    Action, Conditional, Fallback, FallbackKind, Limit, LimitKind, Listen, Return, Route, RouteId, Server,
    ServerName, Version,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The servers and routes of a configuration, with the blocks that they were read from.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the routes are what it holds")]
pub(crate) struct Routes {
    /// The servers.
    pub(crate) servers: Vec<Server>,
    /// The routes: each server's own before those of its locations.
    pub(crate) routes: Vec<Route>,
    /// The block of each route.
    pub(crate) blocks: Vec<NodeId>,
}

/// Reads all servers with their locations.
pub(crate) fn read_routes(config: &Config, groups: &mut Groups<'_>, version: Option<Version>) -> Routes {
    let mut reader = Reader { config, groups, version, found: Routes::default() };
    if let Some(http) = config.http() {
        for id in config.named(Some(http), "server") {
            reader.read_server(id);
        }
    }
    reader.found
}

struct Reader<'a, 'f> {
    config: &'a Config,
    groups: &'a mut Groups<'f>,
    version: Option<Version>,
    found: Routes,
}

impl Reader<'_, '_> {
    fn read_server(&mut self, id: NodeId) {
        let server = self.found.servers.len();
        self.found.servers.push(Server {
            listens: read_listens(self.config, id),
            names: read_names(self.config, id),
            at: self.config.span(id),
        });
        let own = self.read_route(id, server, None, None);
        self.read_locations(id, server, own);
    }

    fn read_locations(&mut self, block: NodeId, server: usize, parent: RouteId) {
        for id in self.config.named(Some(block), "location") {
            let values: Vec<&str> = self.config.node(id).values().collect();
            let location = values.join(" ");
            let route = self.read_route(id, server, Some(location), Some(parent));
            self.read_locations(id, server, route);
        }
    }

    fn read_route(
        &mut self,
        id: NodeId,
        server: usize,
        location: Option<String>,
        parent: Option<RouteId>,
    ) -> RouteId {
        let levels = Levels::of(self.config, id);
        let route = Route {
            server,
            location,
            parent,
            at: self.config.span(id),
            action: self.action(id).unwrap_or(Action::Local),
            conditionals: self.conditionals(id),
            fallbacks: read_fallbacks(&levels, id),
            intercepts_errors: intercepts_errors(&levels),
            limits: read_limits(&levels),
        };
        self.found.routes.push(route);
        self.found.blocks.push(id);
        RouteId(self.found.routes.len() - 1)
    }

    /// What a block does with a request: `return` answers in the rewrite phase, before any handler.
    fn action(&mut self, id: NodeId) -> Option<Action> {
        if let Some(answer) = self.config.named(Some(id), "return").next() {
            return read_return(self.config, answer).map(Action::Return);
        }
        let levels = Levels::of(self.config, id);
        for (directive, protocol) in PASS_DIRECTIVES {
            if let Some(pass) = self.config.named(Some(id), directive).next() {
                let pass = read_pass(pass, *protocol, &levels, self.groups, self.version)?;
                return Some(Action::Pass(Box::new(pass)));
            }
        }
        None
    }

    fn conditionals(&mut self, id: NodeId) -> Vec<Conditional> {
        let blocks: Vec<NodeId> = self.config.named(Some(id), "if").collect();
        let read = |block: NodeId| {
            let text = self.config.node(block).values().collect::<Vec<_>>().join(" ");
            let condition = text.trim_start_matches('(').trim_end_matches(')').trim().to_owned();
            Conditional { condition, at: self.config.span(block), action: self.action(block) }
        };
        blocks.into_iter().map(read).collect()
    }
}

fn read_return(config: &Config, id: NodeId) -> Option<Return> {
    // One argument that is no number is a redirect (302).
    let status = config.node(id).arg(0)?.parse().unwrap_or(302);
    Some(Return { status, at: config.arg_span(id, 0) })
}

fn read_names(config: &Config, server: NodeId) -> Vec<ServerName> {
    let mut names = Vec::new();
    for id in config.named(Some(server), "server_name") {
        for (at, text) in config.node(id).values().enumerate() {
            names.push(ServerName { text: text.to_owned(), at: Some(config.arg_span(id, at)) });
        }
    }
    names
}

/// A server without `listen` listens on port 80, or 8000 without root (`ngx_http_core_server`).
fn read_listens(config: &Config, server: NodeId) -> Vec<Listen> {
    let listens: Vec<Listen> =
        config.named(Some(server), "listen").filter_map(|id| read_listen(config, id)).collect();
    if !listens.is_empty() {
        return listens;
    }
    vec![Listen {
        text: "80".to_owned(),
        address: Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80))),
        path: None,
        is_default: false,
        tls: false,
        proxy_protocol: false,
        at: None,
    }]
}

fn read_listen(config: &Config, id: NodeId) -> Option<Listen> {
    let node = config.node(id);
    let text = node.arg(0)?.to_owned();
    let has = |name: &str| node.values().skip(1).any(|value| value == name);
    Some(Listen {
        address: listen_address(&text),
        path: text.strip_prefix("unix:").map(str::to_owned),
        is_default: has("default_server") || has("default"),
        tls: has("ssl") || has("quic"),
        proxy_protocol: has("proxy_protocol"),
        at: Some(config.arg_span(id, 0)),
        text,
    })
}

/// `80`, `*:80`, `127.0.0.1`, `127.0.0.1:80`, `[::]:80`, `localhost:80`.
fn listen_address(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse::<u16>() {
        return Some((Ipv4Addr::UNSPECIFIED, port).into());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (text, 80),
    };
    match host {
        "*" => Some((Ipv4Addr::UNSPECIFIED, port).into()),
        "localhost" => Some((Ipv4Addr::LOCALHOST, port).into()),
        _ => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => Some((host.parse::<Ipv6Addr>().ok()?, port).into()),
            None => Some((host.parse::<Ipv4Addr>().ok()?, port).into()),
        },
    }
}

fn intercepts_errors(levels: &Levels<'_>) -> bool {
    ["proxy", "fastcgi", "uwsgi", "scgi", "grpc"]
        .iter()
        .any(|prefix| levels.flag(&format!("{prefix}_intercept_errors"), false).value)
}

fn read_fallbacks(levels: &Levels<'_>, block: NodeId) -> Vec<Fallback> {
    let config = levels.config;
    let mut fallbacks = Vec::new();
    for id in config.named(Some(block), "rewrite") {
        let node = config.node(id);
        // `redirect`, `permanent` and an absolute URL answer; `break` stays in the location.
        let leaves = matches!(node.arg(2), None | Some("last"));
        if let Some(to) = node.arg(1).filter(|to| leaves && !to.starts_with("http")) {
            let to = to.split('?').next().unwrap_or(to).to_owned();
            fallbacks.push(Fallback { kind: FallbackKind::Rewrite, to, at: config.arg_span(id, 1) });
        }
    }
    for (directive, kind) in [("auth_request", FallbackKind::AuthRequest), ("mirror", FallbackKind::Mirror)] {
        for id in levels.nearest(directive) {
            if let Some(to) = config.node(id).arg(0).filter(|to| *to != "off") {
                fallbacks.push(Fallback { kind: kind.clone(), to: to.to_owned(), at: levels.at(id) });
            }
        }
    }
    // `try_files` is not inherited by locations; its last argument is a path, a name or `=status`.
    if let Some(id) = config.named(Some(block), "try_files").last() {
        let last = config.node(id).args.len().saturating_sub(1);
        if let Some(to) = config.node(id).arg(last).filter(|to| !to.starts_with('=')) {
            let to = to.split('?').next().unwrap_or(to).to_owned();
            fallbacks.push(Fallback { kind: FallbackKind::TryFiles, to, at: config.arg_span(id, last) });
        }
    }
    if let Some(id) = levels.last("index") {
        for (at, name) in config.node(id).values().enumerate() {
            let to = format!("/{}", name.trim_start_matches('/'));
            fallbacks.push(Fallback { kind: FallbackKind::Index, to, at: config.arg_span(id, at) });
        }
    }
    fallbacks.extend(levels.nearest("error_page").into_iter().filter_map(|id| error_page(config, id)));
    fallbacks
}

/// `error_page CODE… [=[STATUS]] URI`.
fn error_page(config: &Config, id: NodeId) -> Option<Fallback> {
    let values: Vec<&str> = config.node(id).values().collect();
    let (to, rest) = values.split_last()?;
    let becomes =
        rest.iter().find_map(|value| value.strip_prefix('=')).map(|status| status.parse().unwrap_or(0));
    let statuses = rest.iter().filter_map(|value| value.parse().ok()).collect();
    Some(Fallback {
        kind: FallbackKind::ErrorPage { statuses, becomes },
        to: (*to).to_owned(),
        at: config.arg_span(id, values.len() - 1),
    })
}

fn read_limits(levels: &Levels<'_>) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (kind, directive) in [(LimitKind::Requests, "limit_req"), (LimitKind::Connections, "limit_conn")] {
        let status = levels.setting(&format!("{directive}_status"), |text| text.parse().ok(), 503).value;
        let dry_run = levels.flag(&format!("{directive}_dry_run"), false).value;
        for id in levels.nearest(directive) {
            let node = levels.config.node(id);
            let zone = match kind {
                LimitKind::Requests => node.values().find_map(|value| value.strip_prefix("zone=")),
                LimitKind::Connections => node.arg(0),
            };
            let Some(zone) = zone else { continue };
            let (zone_id, key, rate) = find_zone(levels, directive, zone);
            let amount = match kind {
                LimitKind::Requests => rate.unwrap_or_default(),
                LimitKind::Connections => node.arg(1).unwrap_or_default().to_owned(),
            };
            limits.push(Limit {
                kind,
                zone: zone.to_owned(),
                key,
                status,
                at: levels.at(id),
                zone_at: zone_id.map(|id| levels.config.span(id)),
                amount,
                dry_run,
            });
        }
    }
    limits
}

/// The definition of a zone: `limit_req_zone KEY zone=NAME:SIZE rate=RATE`.
fn find_zone(
    levels: &Levels<'_>,
    directive: &str,
    zone: &str,
) -> (Option<NodeId>, Option<String>, Option<String>) {
    let config = levels.config;
    let Some(http) = config.http() else { return (None, None, None) };
    let defines = |id: &NodeId| {
        let mut zones = config.node(*id).values().filter_map(|value| value.strip_prefix("zone="));
        zones.any(|value| value.split(':').next() == Some(zone))
    };
    let name = format!("{directive}_zone");
    let Some(id) = config.named(Some(http), &name).find(defines) else { return (None, None, None) };
    let node = config.node(id);
    let rate = node.values().find_map(|value| value.strip_prefix("rate=")).map(str::to_owned);
    (Some(id), node.arg(0).map(str::to_owned), rate)
}
