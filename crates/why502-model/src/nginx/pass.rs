//! How a route passes requests on: `proxy_pass` and its siblings with all that is in force for them.

mod settings;
mod target;

use super::config::{Config, NodeId};
use super::parameters::Levels;
use super::pattern::Pattern;
use super::script::Script;
use super::upstreams::Groups;
use super::variables::{Book, Expression};
use crate::{CacheKey, Pass, Protocol, Setting, Target, Timeouts, Version};
use std::sync::Arc;
use std::time::Duration;

/// The default of the three timeouts.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
/// The version that keeps connections to peers open by default and speaks HTTP/1.1 to them (CHANGES 1.29.7).
pub(super) const KEEPS_BY_DEFAULT: Version = Version(1, 29, 7);

/// The directives that pass requests on, with their protocols.
const PASS_DIRECTIVES: &[(&str, Protocol)] = &[
    ("proxy_pass", Protocol::Http),
    ("fastcgi_pass", Protocol::FastCgi),
    ("uwsgi_pass", Protocol::Uwsgi),
    ("scgi_pass", Protocol::Scgi),
    ("grpc_pass", Protocol::Grpc),
    ("memcached_pass", Protocol::Memcached),
];

/// Other directives that take a location over: the last one of all wins (`clcf->handler`).
const OTHER_HANDLERS: [&str; 15] = [
    "content_by_lua",
    "content_by_lua_block",
    "content_by_lua_file",
    "drizzle_pass",
    "echo",
    "empty_gif",
    "flv",
    "js_content",
    "memc_pass",
    "mp4",
    "perl",
    "rds_json_ret",
    "redis2_pass",
    "redis_pass",
    "stub_status",
];

/// A place in which a pass stands.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) levels: Levels<'a>,
    pub(crate) book: &'a Arc<Book>,
    /// What runs before: the server's directives, then the location's.
    pub(crate) scripts: &'a [Arc<Script>],
    /// The location's pattern.
    pub(crate) pattern: Option<&'a Pattern>,
    /// The `if`s that it stands in.
    pub(crate) assumed: &'a [NodeId],
    pub(crate) version: Option<Version>,
}

impl Place<'_> {
    /// A text with variables, with all that decides it here.
    fn expression(&self, text: &str) -> Expression {
        Expression {
            text: text.to_owned(),
            book: Arc::clone(self.book),
            scripts: self.scripts.to_vec(),
            pattern: self.pattern.cloned(),
            assumed: self.assumed.to_vec(),
        }
    }
}

/// The directive that takes a block over, if it passes requests on.
pub(crate) fn handler_of(config: &Config, block: NodeId) -> Option<(NodeId, Protocol)> {
    let protocol_of =
        |name: &str| PASS_DIRECTIVES.iter().find(|(own, _)| *own == name).map(|(_, protocol)| *protocol);
    let children = config.children(Some(block)).iter().rev();
    let is_handler = |id: &&NodeId| {
        let name = config.node(**id).name.as_str();
        protocol_of(name).is_some() || OTHER_HANDLERS.contains(&name)
    };
    let last = children.into_iter().find(is_handler)?;
    Some((*last, protocol_of(&config.node(*last).name)?))
}

/// Whether a block passes requests on, whatever else it does.
pub(crate) fn passes_on(config: &Config, block: NodeId) -> bool {
    PASS_DIRECTIVES.iter().any(|(name, _)| config.named(Some(block), name).next().is_some())
}

/// The protocol that a directive of that name speaks.
pub(crate) fn protocol_of(name: &str) -> Option<Protocol> {
    PASS_DIRECTIVES.iter().find(|(own, _)| *own == name).map(|(_, protocol)| *protocol)
}

pub(crate) use target::{settle, split_url};

/// Reads the `*_pass` directive `id` as it works at a place.
pub(crate) fn read_pass(
    id: NodeId,
    protocol: Protocol,
    place: &Place<'_>,
    groups: &mut Groups<'_>,
) -> Option<Pass> {
    let levels = &place.levels;
    let text = levels.config.node(id).arg(0)?;
    let at = levels.config.arg_span(id, 0);
    let aim = target::aim(text, protocol, place, groups, &at)?;
    let http_version = http_version(protocol, levels, place.version);
    let headers = request_headers(protocol, levels);
    let settings = settings::Reader { protocol, levels, version: place.version };
    Some(Pass {
        protocol,
        tls: aim.tls,
        keeps_alive: keeps_alive(protocol, &aim.target, groups, place, &http_version, &headers),
        target: aim.target,
        text: text.to_owned(),
        path: aim.path,
        key: (protocol == Protocol::Memcached)
            .then(|| CacheKey { expression: place.expression("$memcached_key") }),
        at,
        headers,
        optional_headers: optional_headers(protocol, levels),
        http_version,
        timeouts: Timeouts {
            connect: settings.time("connect_timeout", DEFAULT_TIMEOUT),
            send: settings.time("send_timeout", DEFAULT_TIMEOUT),
            read: settings.time("read_timeout", DEFAULT_TIMEOUT),
        },
        buffers: settings.buffers(),
        retry: settings.retry(),
        tls_settings: settings.tls(),
        cache: settings.cache(),
        bind: settings.optional("bind").filter(|bind| bind.value != "off"),
        ignores_client_abort: settings.flag("ignore_client_abort", false),
        buffers_request: settings.flag("request_buffering", true),
    })
}

/// Since 1.29.7 the default is 1.1, before it was 1.0; gRPC is HTTP/2.
fn http_version(protocol: Protocol, levels: &Levels<'_>, version: Option<Version>) -> Setting<String> {
    match protocol {
        Protocol::Grpc => Setting::default_of("2".to_owned()),
        Protocol::Http => {
            let newer = version.is_some_and(|version| version >= KEEPS_BY_DEFAULT);
            levels.text("proxy_http_version", if newer { "1.1" } else { "1.0" })
        }
        _ => Setting::default_of("1.0".to_owned()),
    }
}

/// The directive that sets header lines or parameters of a request.
fn header_directive(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::Http => Some("proxy_set_header"),
        Protocol::Grpc => Some("grpc_set_header"),
        Protocol::FastCgi => Some("fastcgi_param"),
        Protocol::Uwsgi => Some("uwsgi_param"),
        Protocol::Scgi => Some("scgi_param"),
        Protocol::Memcached => None,
    }
}

fn request_headers(protocol: Protocol, levels: &Levels<'_>) -> Vec<Setting<(String, String)>> {
    let header = |id: NodeId| {
        let node = levels.config.node(id);
        let value = (node.arg(0)?.to_owned(), node.arg(1)?.to_owned());
        Some(Setting { value, at: Some(levels.config.arg_span(id, 0)) })
    };
    let found = header_directive(protocol).map(|directive| levels.nearest(directive)).unwrap_or_default();
    found.into_iter().filter_map(header).collect()
}

fn optional_headers(protocol: Protocol, levels: &Levels<'_>) -> Vec<String> {
    let found = header_directive(protocol).map(|directive| levels.nearest(directive)).unwrap_or_default();
    let nodes = found.into_iter().map(|id| levels.config.node(id));
    let optional = nodes.filter(|node| node.arg(2) == Some("if_not_empty"));
    optional.filter_map(|node| node.arg(0).map(str::to_owned)).collect()
}

/// Whether connections are reused: the group keeps some, and nothing tells the peer to close.
fn keeps_alive(
    protocol: Protocol,
    target: &Target,
    groups: &Groups<'_>,
    place: &Place<'_>,
    http_version: &Setting<String>,
    headers: &[Setting<(String, String)>],
) -> bool {
    let Target::Group(id) = target else { return false };
    if groups.groups[id.0].keepalive.is_none() {
        return false;
    }
    match protocol {
        Protocol::Http => {
            let connection = headers.iter().find(|header| header.value.0.eq_ignore_ascii_case("Connection"));
            let closes = match connection {
                Some(header) => header.value.1.eq_ignore_ascii_case("close"),
                None => place.version.is_none_or(|version| version < KEEPS_BY_DEFAULT),
            };
            http_version.value != "1.0" && !closes
        }
        Protocol::FastCgi => place.levels.flag("fastcgi_keep_conn", false).value,
        Protocol::Grpc | Protocol::Memcached => true,
        Protocol::Scgi | Protocol::Uwsgi => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;
    use crate::{Gateway, Pass, RequestVars};

    fn pass_in(gateway: &Gateway, route: usize) -> &Pass {
        gateway.routes[route].action.pass().expect("a pass")
    }

    fn of_version(version: &str, http: &str) -> Gateway {
        World::live(version, &format!("#- /etc/nginx/nginx.conf\nevents {{}} http {{ {http} }}")).gateway()
    }

    #[test]
    fn headers_are_replaced_wholesale() {
        let gateway = World::http(
            "proxy_set_header Host $host; proxy_set_header X-A a; server {
             location /a { proxy_pass http://127.0.0.1; }
             location /b { proxy_set_header X-B b; proxy_pass http://127.0.0.1; } }",
        )
        .gateway();
        let names = |route| {
            pass_in(&gateway, route).headers.iter().map(|own| own.value.0.clone()).collect::<Vec<_>>()
        };
        assert_eq!((names(1), names(2)), (vec!["Host".to_owned(), "X-A".to_owned()], vec!["X-B".to_owned()]));
    }

    #[test]
    fn timeouts_are_inherited_one_by_one() {
        let gateway = World::http(
            "proxy_read_timeout 5s; server { proxy_connect_timeout 100ms;
             location / { proxy_send_timeout 2m; proxy_pass http://127.0.0.1; } }",
        )
        .gateway();
        let timeouts = &pass_in(&gateway, 1).timeouts;
        let millis = [&timeouts.connect, &timeouts.send, &timeouts.read].map(|own| own.value.as_millis());
        assert_eq!(millis, [100, 120_000, 5_000]);
        assert_eq!(timeouts.read.at.as_ref().map(|at| at.line), Some(3));
    }

    #[test]
    fn connections_are_kept_as_the_version_keeps_them() {
        let group = "upstream u { server 127.0.0.1; keepalive 8; } server { location / { ";
        let bare = "upstream u { server 127.0.0.1; } server { location / { ";
        let told = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass http://u; } }";
        let plain = "proxy_pass http://u; } }";
        for (version, begin, end, keeps) in [
            ("1.22.1", group, told, true),
            ("1.22.1", group, plain, false),
            ("1.22.1", bare, told, false),
            ("1.29.7", bare, plain, true),
            ("1.29.7", "upstream u { server 127.0.0.1; keepalive 0; } server { location / { ", plain, false),
            ("1.29.7", "server { location / { ", "proxy_pass http://127.0.0.1; } }", false),
            ("1.29.7", group, "proxy_set_header Connection close; proxy_pass http://u; } }", false),
            ("1.29.7", group, "proxy_http_version 1.0; proxy_pass http://u; } }", false),
            ("1.22.1", group, "fastcgi_pass u; } }", false),
            ("1.22.1", group, "fastcgi_keep_conn on; fastcgi_pass u; } }", true),
            ("1.22.1", group, "grpc_pass u; } }", true),
            ("1.22.1", group, "uwsgi_pass u; } }", false),
        ] {
            let gateway = of_version(version, &format!("{begin}{end}"));
            assert_eq!(pass_in(&gateway, 1).keeps_alive, keeps, "{version} {begin}{end}");
        }
    }

    #[test]
    fn the_key_of_a_memcached_is_what_was_set_before() {
        let server = "server { set $prefix site; location ~ ^/p/(.*)$ { set $memcached_key $prefix:$1?$args; memcached_pass 127.0.0.1:1; } }";
        let gateway = World::http(server).gateway();
        let key = pass_in(&gateway, 1).key.as_ref().expect("a key");
        let asked = RequestVars::of_request("GET", "/p/a?b=1", None);
        assert_eq!(key.of(&asked).as_deref(), Some("site:a?b=1"));
        assert_eq!(key.of(&RequestVars::default()), None, "nothing is known of the request");
        let elsewhere =
            "server { location / { memcached_pass 127.0.0.1:1; } location /x { set $memcached_key a; } }";
        let gateway = World::http(elsewhere).gateway();
        assert_eq!(pass_in(&gateway, 1).key.as_ref().and_then(|key| key.of(&asked)), None);
    }

    #[test]
    fn the_http_version_has_its_default_by_version() {
        for (version, expected) in [("1.22.1", "1.0"), ("1.29.7", "1.1")] {
            let gateway = of_version(version, "server { location / { proxy_pass http://127.0.0.1; } }");
            assert_eq!(pass_in(&gateway, 1).http_version.value, expected);
        }
    }
}
