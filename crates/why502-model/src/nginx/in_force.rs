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

/// What runs code of the operator's own that may answer a request: the beginnings of directives.
const ANSWERING: [&str; 8] = [
    "access_by_lua",
    "content_by_lua",
    "header_filter_by_lua",
    "js_access",
    "js_content",
    "js_header_filter",
    "precontent_by_lua",
    "rewrite_by_lua",
];
/// Somebody else's directives that leave the status of an answer alone: their beginnings.
const HARMLESS: [&str; 21] = [
    "balancer_",
    "body_filter_by_lua",
    "brotli",
    "exit_worker_",
    "geoip2",
    "init_",
    "js_",
    "log_by_lua",
    "lua_",
    "metric",
    "more_",
    "opentelemetry",
    "opentracing",
    "otel_",
    "proxy_ssl_",
    "security_headers",
    "set_",
    "ssl_",
    "subs_",
    "vhost_traffic_status",
    "zstd",
];

impl Gateway {
    /// The nearest directive by which a script, or a module that is not nginx's own, may answer a request of a route in an
    /// upstream's place, by its name.
    pub fn own_code(&self, route: RouteId) -> Option<Setting<String>> {
        let block = self.locator.blocks.get(route.0)?;
        let levels = Levels::of(&self.locator.config, *block);
        let config = levels.config;
        let inner = config.named(Some(*block), "if").map(Some);
        let blocks: Vec<_> = inner.chain(levels.blocks.iter().copied()).collect();
        let found = blocks.into_iter().flat_map(|block| config.children(block)).find(|id| {
            let name = config.node(**id).name.as_str();
            let begins = |beginnings: &[&str]| beginnings.iter().any(|begin| name.starts_with(begin));
            name == "perl" || begins(&ANSWERING) || (specs_of(name).is_empty() && !begins(&HARMLESS))
        })?;
        Some(Setting { value: config.node(*found).name.clone(), at: Some(config.span(*found)) })
    }

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

    /// Whether a server of that name listens on a port.
    pub fn serves_by_name(&self, authority: &str, port: u16) -> bool {
        self.serves(authority, port) == 2
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
    fn code_that_may_answer_is_told() {
        let code = |location: &str| {
            let http = format!(
                "brotli on; lua_package_path x; server {{ location / {{ {location} proxy_pass http://127.0.0.1; }} }}"
            );
            World::http(&http).gateway().own_code(RouteId(1)).map(|own| own.value)
        };
        assert_eq!(code("more_set_headers x; set_by_lua_block $a { }"), None);
        for name in ["access_by_lua_block", "js_header_filter", "perl", "made_by_somebody"] {
            let directive =
                if name.ends_with("block") { format!("{name} {{ }}") } else { format!("{name} x;") };
            assert_eq!(code(&directive).as_deref(), Some(name));
            assert_eq!(code(&format!("if ($a) {{ {directive} }}")).as_deref(), Some(name));
        }
    }

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
