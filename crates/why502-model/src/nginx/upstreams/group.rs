//! The `upstream` block.

use super::{Groups, own_setting};
use crate::nginx::address::{Address, Use, parse_url};
use crate::nginx::config::{Config, NodeId};
use crate::nginx::directives::specs_of;
use crate::nginx::parameters::Levels;
use crate::nginx::pass::KEEPS_BY_DEFAULT;
use crate::nginx::values::{TimeUnit, parse_time, parse_time_in};
use crate::{Balancing, Group, Host, Peer, Reuse, Setting, Version};
use std::time::Duration;

/// Directives of other hands that choose among the peers as they are written.
const KEEPS_PEERS: [&str; 9] = [
    "check",
    "check_fastcgi_param",
    "check_http_expect_alive",
    "check_http_send",
    "check_keepalive_requests",
    "consistent_hash",
    "fair",
    "ntlm",
    "queue",
];
/// Directives that open an interface for the peers of shared groups.
const INTERFACES: [&str; 5] =
    ["api", "docker_endpoint", "dynamic_upstream", "dyups_interface", "upstream_conf"];
/// How many connections a worker keeps by default, from that version on.
const DEFAULT_KEEPALIVE: u32 = 32;
/// The version since which a kept connection serves a thousand requests (CHANGES 1.19.10).
const SERVES_THOUSAND: Version = Version(1, 19, 10);

impl Groups<'_> {
    pub(super) fn read_group(&mut self, config: &Config, id: NodeId, name: &str) -> Group {
        let servers: Vec<NodeId> = config.named(Some(id), "server").collect();
        let peers = servers.into_iter().filter_map(|server| self.read_peer(config, server)).collect();
        let keepalive = own_setting(config, id, "keepalive", |text| text.parse().ok());
        let keeps = self.version.is_some_and(|version| version >= KEEPS_BY_DEFAULT);
        let by_default = keeps.then(|| Setting::default_of(DEFAULT_KEEPALIVE));
        let shared = config.named(Some(id), "zone").next().is_some();
        Group {
            name: Some(name.to_owned()),
            at: config.arg_span(id, 0),
            peers,
            balancing: balancing(config, id),
            keepalive: keepalive.or(by_default).filter(|keepalive| keepalive.value > 0),
            reuse: self.reuse(config, id),
            resolver: resolver(config, id),
            shared,
            managed: is_managed(config, id) || (shared && has_interface(config)),
        }
    }

    fn reuse(&self, config: &Config, id: NodeId) -> Reuse {
        let time = |name: &str, seconds| {
            own_setting(config, id, name, parse_time)
                .unwrap_or_else(|| Setting::default_of(Duration::from_secs(seconds)))
        };
        let is_old = self.version.is_some_and(|version| version < SERVES_THOUSAND);
        let requests = own_setting(config, id, "keepalive_requests", |text| text.parse().ok());
        Reuse {
            timeout: time("keepalive_timeout", 60),
            requests: requests.unwrap_or_else(|| Setting::default_of(if is_old { 100 } else { 1000 })),
            time: time("keepalive_time", 3600),
        }
    }

    fn read_peer(&mut self, config: &Config, id: NodeId) -> Option<Peer> {
        let node = config.node(id);
        let text = node.arg(0)?.to_owned();
        let address = parse_url(&text, Use::Peer).ok()?;
        // The default port of a peer is 80 whatever the protocol (`ngx_http_upstream_server`).
        let port = address.port.or((!matches!(address.host, Host::Unix(_))).then_some(80));
        let service = node.parameter("service").map(str::to_owned);
        let mut peer = self.new_peer(text, Address { port, ..address }, config.arg_span(id, 0));
        if let (Some(_), Host::Name(name)) = (&service, &peer.host) {
            peer.addresses = self.unsupported(name);
        }
        peer.service = service;
        let number = |value: &str| value.parse().ok();
        for parameter in node.values().skip(1) {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("down", _) => peer.down = true,
                ("backup", _) => peer.backup = true,
                ("resolve", _) => peer.resolve = true,
                ("weight", value) => peer.weight = number(value).unwrap_or(peer.weight),
                ("max_fails", value) => peer.max_fails = number(value).unwrap_or(peer.max_fails),
                ("max_conns", value) => peer.max_conns = number(value).unwrap_or(0),
                ("fail_timeout", value) => {
                    peer.fail_timeout = parse_time_in(value, TimeUnit::Seconds).unwrap_or(peer.fail_timeout);
                }
                _ => {}
            }
        }
        Some(peer)
    }
}

/// Whether a group has a directive of another hand, which may choose or change its peers.
fn is_managed(config: &Config, id: NodeId) -> bool {
    let is_foreign = |id: &NodeId| {
        let name = config.node(*id).name.as_str();
        name == "state" || (specs_of(name).is_empty() && !KEEPS_PEERS.contains(&name))
    };
    config.children(Some(id)).iter().any(is_foreign)
}

/// Whether the gateway has an interface that changes the peers of shared groups.
fn has_interface(config: &Config) -> bool {
    INTERFACES.iter().any(|name| config.everywhere(name).next().is_some())
}

/// The balancing method: the last directive that sets one.
fn balancing(config: &Config, id: NodeId) -> Setting<Balancing> {
    let method = |id: &NodeId| {
        let node = config.node(*id);
        let has = |word: &str| node.values().any(|value| value == word);
        let method = match node.name.as_str() {
            "hash" => Balancing::Hash { key: node.arg(0)?.to_owned(), consistent: has("consistent") },
            "ip_hash" => Balancing::IpHash,
            "least_conn" => Balancing::LeastConnections,
            "random" => Balancing::Random,
            name @ ("least_time" | "fair" | "sticky" | "balancer_by_lua_block" | "balancer_by_lua_file") => {
                Balancing::Other(name.to_owned())
            }
            _ => return None,
        };
        Some(Setting { value: method, at: Some(config.span(*id)) })
    };
    let last = config.children(Some(id)).iter().rev().find_map(method);
    last.unwrap_or_else(|| Setting::default_of(Balancing::RoundRobin))
}

/// A group's own resolver (since 1.27.3), or that of the level around it.
fn resolver(config: &Config, id: NodeId) -> Option<Setting<Vec<String>>> {
    let levels = Levels::of(config, id);
    let found = levels.last("resolver")?;
    let servers = config.node(found).values().filter(|value| !value.contains('='));
    Some(Setting { value: servers.map(str::to_owned).collect(), at: Some(levels.at(found)) })
}

#[cfg(test)]
mod tests {
    use crate::testing::World;
    use crate::{Balancing, Gateway, Group};
    use why502_facts::Observed;

    fn gateway(version: &str, http: &str) -> Gateway {
        let mut world =
            World::live(version, &format!("#- /etc/nginx/nginx.conf\nevents {{}} http {{ {http} }}"));
        world.name("app", &["::1", "10.0.0.7"]);
        world.gateway()
    }

    fn group(version: &str, inner: &str) -> Group {
        gateway(version, &format!("upstream u {{ {inner} }}")).groups.remove(0)
    }

    #[test]
    fn peers_come_with_their_parameters() {
        let group = group(
            "1.22.1",
            "server app:8080 weight=3 max_fails=0 fail_timeout=1m max_conns=7; server 10.0.0.1 down;
             server unix:/run/a.sock backup; server gone;",
        );
        let [app, plain, unix, gone] = &group.peers[..] else { panic!("four peers") };
        assert_eq!((app.weight, app.max_fails, app.max_conns, app.fail_timeout.as_secs()), (3, 0, 7, 60));
        let addresses: Vec<String> =
            app.addresses.as_ref().known().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.0.0.7:8080", "[::1]:8080"], "IPv4 first");
        assert!(plain.down && plain.port == Some(80) && unix.backup && unix.port.is_none());
        assert_eq!(gone.addresses, Observed::Absent);
    }

    #[test]
    fn what_else_may_change_the_peers_is_told() {
        for (inner, managed) in [
            ("server 10.0.0.1;", false),
            ("zone u 64k; server 10.0.0.1; least_conn; keepalive 4;", false),
            ("server 0.0.0.1; balancer_by_lua_block { pick() }", true),
            ("zone u 64k; state /var/lib/nginx/u.conf;", true),
            ("upsync consul:8500/v1/kv/u; server 10.0.0.1;", true),
        ] {
            assert_eq!(group("1.27.4", inner).managed, managed, "{inner}");
        }
        let api = |inner: &str| {
            let http = format!("upstream u {{ {inner} }} server {{ location /api {{ api write=on; }} }}");
            gateway("1.27.4", &http).groups.remove(0).managed
        };
        assert!(api("zone u 64k; server 10.0.0.1;"));
        assert!(!api("server 10.0.0.1;"), "only shared ones can be changed");
    }

    #[test]
    fn the_balancing_method_is_the_last_one() {
        for (inner, method) in [
            ("", Balancing::RoundRobin),
            ("ip_hash;", Balancing::IpHash),
            ("hash $uri consistent;", Balancing::Hash { key: "$uri".to_owned(), consistent: true }),
            ("ip_hash; least_conn;", Balancing::LeastConnections),
            ("random two least_conn;", Balancing::Random),
            ("sticky;", Balancing::Other("sticky".to_owned())),
        ] {
            assert_eq!(group("1.22.1", &format!("server 10.0.0.1; {inner}")).balancing.value, method);
        }
    }

    #[test]
    fn kept_connections_have_their_defaults_by_version() {
        let own =
            group("1.22.1", "server 10.0.0.1; keepalive 4; keepalive_timeout 30s; keepalive_requests 5;");
        assert_eq!(
            (own.keepalive.map(|own| own.value), own.reuse.timeout.value.as_secs(), own.reuse.requests.value),
            (Some(4), 30, 5)
        );
        assert!(group("1.22.1", "server 10.0.0.1;").keepalive.is_none());
        assert_eq!(group("1.29.7", "server 10.0.0.1;").keepalive.map(|own| own.value), Some(32));
        assert_eq!(group("1.18.0", "server 10.0.0.1;").reuse.requests.value, 100);
        assert_eq!(group("1.22.1", "server 10.0.0.1;").reuse.time.value.as_secs(), 3600);
    }

    #[test]
    fn names_that_are_resolved_again_have_a_resolver() {
        let gateway = gateway(
            "1.27.3",
            "resolver 10.0.0.53; upstream a { zone a 64k; server app resolve; }
             upstream b { zone b 64k; resolver 10.0.0.54; server app service=http resolve; }",
        );
        let resolver = |at: usize| gateway.groups[at].resolver.as_ref().map(|own| own.value.join(","));
        assert_eq!((resolver(0).as_deref(), resolver(1).as_deref()), (Some("10.0.0.53"), Some("10.0.0.54")));
        assert!(gateway.groups[0].shared && gateway.groups[0].peers[0].resolve);
        let service = &gateway.groups[1].peers[0];
        assert_eq!(service.service.as_deref(), Some("http"));
        assert!(service.addresses.gap().is_some());
    }

    #[test]
    fn addresses_that_are_passed_to_directly_share_a_group() {
        let gateway = gateway(
            "1.22.1",
            "server { location /a { proxy_pass http://10.0.0.1:80/x; } location /b { proxy_pass http://10.0.0.1; }
             location /c { fastcgi_pass 10.0.0.1:80; } location /d { proxy_pass https://10.0.0.1; }
             location /e { proxy_pass http://unix:/run/a.sock:/x; } location /f { fastcgi_pass unix:/run/a.sock; } }",
        );
        let names: Vec<&str> = gateway.groups.iter().map(|group| group.peers[0].text.as_str()).collect();
        assert_eq!(
            names,
            ["10.0.0.1:80", "10.0.0.1", "unix:/run/a.sock"],
            "one of port 80, one of port 443, one socket"
        );
    }
}
