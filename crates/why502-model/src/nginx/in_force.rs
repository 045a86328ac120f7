//! Any directive in force for a route, by nginx's rules of inheritance.

use super::directives::{Context, names, specs_of};
use super::parameters::Levels;
use crate::{Gateway, RouteId, Setting};

/// Directives that hold only where they stand: no module merges them.
const NOT_INHERITED: [&str; 19] = [
    "break",
    "content_by_lua",
    "content_by_lua_block",
    "content_by_lua_file",
    "fastcgi_pass",
    "grpc_pass",
    "if",
    "limit_except",
    "listen",
    "location",
    "memcached_pass",
    "proxy_pass",
    "return",
    "rewrite",
    "scgi_pass",
    "server_name",
    "set",
    "try_files",
    "uwsgi_pass",
];

impl Gateway {
    /// The directives of a name that are in force for a route, with their arguments: those of the nearest level that has
    /// any, since directives that may stand several times replace those of the level above wholesale.
    pub fn in_force(&self, route: RouteId, name: &str) -> Vec<Setting<Vec<String>>> {
        let Some(block) = self.locator.blocks.get(route.0) else { return Vec::new() };
        let mut levels = Levels::of(&self.locator.config, *block);
        if NOT_INHERITED.contains(&name) {
            levels.blocks.truncate(1);
        }
        let setting = |id| Setting {
            value: levels.config.node(id).values().map(str::to_owned).collect(),
            at: Some(levels.config.span(id)),
        };
        levels.nearest(name).into_iter().map(setting).collect()
    }

    /// All directives in force for a route that may stand in a location, by name.
    pub fn all_in_force(&self, route: RouteId) -> Vec<(&'static str, Setting<Vec<String>>)> {
        let in_location = |name: &&str| {
            specs_of(name).iter().any(|spec| spec.contexts.contains(Context::Location) && !spec.is_block)
        };
        let found = names().filter(in_location).filter(|name| *name != "include");
        found.flat_map(|name| self.in_force(route, name).into_iter().map(move |own| (name, own))).collect()
    }

    /// How well a gateway serves an authority: 2 if it listens on the port and has the name, 1 if it listens there.
    pub(crate) fn serves(&self, authority: &str, port: u16) -> u8 {
        let on_port = |server: &crate::Server| {
            server.listens.iter().any(|listen| listen.address.is_some_and(|address| address.port() == port))
        };
        let host = super::valid_host(authority).unwrap_or_default();
        let servers = || self.servers.iter().enumerate().filter(|(_, server)| on_port(server));
        if servers().any(|(at, _)| self.has_name(at, &host)) {
            return 2;
        }
        u8::from(servers().next().is_some())
    }
}

#[cfg(test)]
mod tests {
    use crate::RouteId;
    use crate::testing::World;

    #[test]
    fn the_nearest_level_is_in_force() {
        let gateway = World::http(
            "add_header A 1; add_header B 2; set_real_ip_from 10.0.0.0/8; server { real_ip_header X-Forwarded-For;
             location /a { add_header C 3; proxy_pass http://127.0.0.1; location /a/b { } } }",
        )
        .gateway();
        let values = |route: usize, name: &str| {
            gateway
                .in_force(RouteId(route), name)
                .into_iter()
                .map(|own| own.value.join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(values(0, "add_header"), ["A 1", "B 2"]);
        assert_eq!(values(2, "add_header"), ["C 3"], "nested locations inherit");
        assert_eq!(values(2, "proxy_pass"), Vec::<String>::new(), "but not this");
        assert_eq!(values(1, "set_real_ip_from"), ["10.0.0.0/8"]);
        assert_eq!(values(1, "real_ip_header"), ["X-Forwarded-For"]);
        let all: Vec<&str> = gateway.all_in_force(RouteId(1)).into_iter().map(|(name, _)| name).collect();
        assert_eq!(all, ["add_header", "proxy_pass", "real_ip_header", "set_real_ip_from"]);
    }
}
