//! Servers and locations.

mod fallbacks;
mod limits;
mod listen;

use super::config::{Config, NodeId};
use super::locate::{LocationName, Slashes};
use super::parameters::Levels;
use super::pass::{Place, handler_of, read_pass, settle};
use super::pattern::Pattern;
use super::script::Script;
use super::upstreams::Groups;
use super::variables::Book;
use crate::{Action, Conditional, ConditionalKind, Return, Route, RouteId, Server, ServerName, Version};
use fallbacks::{read_fallbacks, read_own_fallbacks};
use limits::read_limits;
use listen::read_listens;
use std::sync::Arc;

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
    /// The name of each route's location; `None` for servers, and for locations that nginx refuses.
    pub(crate) locations: Vec<Option<LocationName>>,
    /// Whether each server merges slashes.
    pub(crate) slashes: Vec<Slashes>,
}

/// What decides how servers are read, beside their blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) config: &'a Config,
    pub(crate) book: &'a Arc<Book>,
    pub(crate) version: Option<Version>,
    /// Whether the master is root; `None` where that is not known.
    pub(crate) is_root: Option<bool>,
}

/// Reads all servers with their locations.
pub(crate) fn read_routes(setup: Setup<'_>, groups: &mut Groups<'_>) -> Routes {
    let mut reader = Reader { setup, groups, script: Arc::default(), found: Routes::default() };
    for http in setup.config.named(None, "http") {
        for id in setup.config.named(Some(http), "server") {
            reader.read_server(id);
        }
    }
    let mut found = reader.found;
    for route in &mut found.routes {
        let conditional = route.conditionals.iter_mut().filter_map(|own| own.action.as_mut());
        for action in std::iter::once(&mut route.action).chain(conditional) {
            if let Action::Pass(pass) = action {
                settle(pass, groups);
            }
        }
    }
    found
}

struct Reader<'a, 'f> {
    setup: Setup<'a>,
    groups: &'a mut Groups<'f>,
    /// The directives of the server that is being read.
    script: Arc<Script>,
    found: Routes,
}

/// A block that is being read.
#[derive(Clone)]
struct Scene {
    block: NodeId,
    scripts: Vec<Arc<Script>>,
    pattern: Option<Pattern>,
}

impl Reader<'_, '_> {
    fn read_server(&mut self, id: NodeId) {
        let config = self.setup.config;
        let server = self.found.servers.len();
        self.script = Arc::new(Script::read(config, id));
        let listens = read_listens(config, id, self.setup.is_root, self.groups);
        self.found.servers.push(Server { listens, names: read_names(config, id), at: config.span(id) });
        let merges = Levels::of(config, id).flag("merge_slashes", true).value;
        self.found.slashes.push(if merges { Slashes::Merged } else { Slashes::Kept });
        let scene = Scene { block: id, scripts: vec![Arc::clone(&self.script)], pattern: None };
        let own = self.read_route(&scene, server, None);
        self.read_locations(id, server, own);
    }

    fn read_locations(&mut self, block: NodeId, server: usize, parent: RouteId) {
        let config = self.setup.config;
        for id in config.named(Some(block), "location") {
            let values: Vec<&str> = config.node(id).values().collect();
            let name = LocationName::parse(&values).ok();
            let pattern = match &name {
                Some(LocationName::Pattern(text, case)) => Pattern::compile(text, *case).ok(),
                _ => None,
            };
            let scripts = vec![Arc::clone(&self.script), Arc::new(Script::read(config, id))];
            let scene = Scene { block: id, scripts, pattern };
            let route = self.read_route(&scene, server, Some((values.join(" "), name, parent)));
            self.read_locations(id, server, route);
        }
    }

    fn read_route(
        &mut self,
        scene: &Scene,
        server: usize,
        location: Option<(String, Option<LocationName>, RouteId)>,
    ) -> RouteId {
        let config = self.setup.config;
        let levels = Levels::of(config, scene.block);
        let action = self.action(scene, scene.block, &[]).unwrap_or(Action::Local);
        let (location, name, parent) = match location {
            Some((text, name, parent)) => (Some(text), name, Some(parent)),
            None => (None, None, None),
        };
        let route = Route {
            server,
            location,
            parent,
            at: config.span(scene.block),
            conditionals: self.conditionals(scene, scene.block, &[]),
            fallbacks: read_fallbacks(&levels, scene.block, &action),
            intercepts_errors: intercepts_errors(&levels, &action),
            limits: read_limits(&levels),
            action,
        };
        self.found.routes.push(route);
        self.found.blocks.push(scene.block);
        self.found.locations.push(name);
        RouteId(self.found.routes.len() - 1)
    }

    /// What a block does with a request: `return` answers in the rewrite phase, before any handler.
    fn action(&mut self, scene: &Scene, block: NodeId, assumed: &[NodeId]) -> Option<Action> {
        let config = self.setup.config;
        if let Some(answer) = config.named(Some(block), "return").next() {
            return read_return(config, answer).map(Action::Return);
        }
        let (id, protocol) = handler_of(config, block)?;
        let place = Place {
            levels: Levels::of(config, block),
            book: self.setup.book,
            scripts: &scene.scripts,
            pattern: scene.pattern.as_ref(),
            assumed,
            version: self.setup.version,
        };
        read_pass(id, protocol, &place, self.groups).map(|pass| Action::Pass(Box::new(pass)))
    }

    /// The blocks under a condition, those within others included, in order.
    fn conditionals(&mut self, scene: &Scene, block: NodeId, outer: &[NodeId]) -> Vec<Conditional> {
        let config = self.setup.config;
        let mut found = Vec::new();
        for id in config.children(Some(block)) {
            let node = config.node(*id);
            let kind = match node.name.as_str() {
                "if" => ConditionalKind::If,
                "limit_except" => ConditionalKind::LimitExcept,
                _ => continue,
            };
            let text = node.values().collect::<Vec<_>>().join(" ");
            let condition = match kind {
                ConditionalKind::If => {
                    text.trim_start_matches('(').strip_suffix(')').unwrap_or(&text).trim().to_owned()
                }
                ConditionalKind::LimitExcept => text,
            };
            let assumed: Vec<NodeId> = outer.iter().copied().chain([*id]).collect();
            found.push(Conditional {
                condition,
                at: config.span(*id),
                action: self.action(scene, *id, &assumed),
                kind,
                fallbacks: read_own_fallbacks(config, *id),
            });
            found.extend(self.conditionals(scene, *id, &assumed));
        }
        found
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

/// Whether the gateway's own pages replace those of the upstream, by the directive of the protocol that is spoken.
fn intercepts_errors(levels: &Levels<'_>, action: &Action) -> bool {
    let own = action.pass().map(|pass| pass.protocol.prefix());
    let prefixes = own.map_or_else(|| vec!["proxy", "fastcgi", "uwsgi", "scgi", "grpc"], |own| vec![own]);
    prefixes.iter().any(|prefix| levels.flag(&format!("{prefix}_intercept_errors"), false).value)
}

#[cfg(test)]
mod tests {
    use crate::testing::World;
    use crate::{Action, ConditionalKind, Gateway};

    fn gateway(http: &str) -> Gateway {
        World::http(http).gateway()
    }

    #[test]
    fn nested_locations_do_not_inherit_the_pass() {
        let gateway = gateway("server { location /a { proxy_pass http://127.0.0.1:1; location /a/b { } } }");
        let actions: Vec<bool> = gateway.routes.iter().map(|route| route.action.pass().is_some()).collect();
        assert_eq!(actions, [false, true, false]);
        assert_eq!(gateway.routes[2].parent, Some(crate::RouteId(1)));
    }

    #[test]
    fn the_last_handler_of_a_location_wins() {
        let gateway = gateway(
            "server { location /a { proxy_pass http://127.0.0.1:1; fastcgi_pass 127.0.0.1:2; }
                      location /b { proxy_pass http://127.0.0.1:1; stub_status; } }",
        );
        assert_eq!(gateway.routes[1].action.pass().map(|pass| pass.text.as_str()), Some("127.0.0.1:2"));
        assert_eq!(gateway.routes[2].action, Action::Local);
    }

    #[test]
    fn conditions_have_their_own_actions() {
        let gateway = gateway(
            "server { location / { if ($a = b) { proxy_pass http://127.0.0.1:1; if ($c) { return 418; } }
                      limit_except GET HEAD { proxy_pass http://127.0.0.1:2; } proxy_pass http://127.0.0.1:3; } }",
        );
        let found: Vec<(&str, ConditionalKind, bool)> = gateway.routes[1]
            .conditionals
            .iter()
            .map(|own| (&*own.condition, own.kind, own.action.is_some()))
            .collect();
        let (is, except) = (ConditionalKind::If, ConditionalKind::LimitExcept);
        assert_eq!(found, [("$a = b", is, true), ("$c", is, true), ("GET HEAD", except, true)]);
    }

    #[test]
    fn interception_is_that_of_the_protocol() {
        let gateway = gateway(
            "proxy_intercept_errors on; server { location /a { proxy_pass http://127.0.0.1:1; }
             location /b { fastcgi_pass 127.0.0.1:1; } }",
        );
        let found: Vec<bool> = gateway.routes.iter().map(|route| route.intercepts_errors).collect();
        assert_eq!(found, [true, true, false]);
    }
}
