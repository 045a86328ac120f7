//! Where a server listens (`ngx_http_core_listen`).

use crate::Listen;
use crate::nginx::address::{Address, Use, parse_url};
use crate::nginx::config::{Config, NodeId};
use crate::nginx::upstreams::Groups;
use crate::{Host, Span};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The most ports of a range that are listed.
const MAX_PORTS: u16 = 1000;

/// The listens of a server. One without any listens on port 80, or on 8000 where the master is not root
/// (`ngx_http_core_server`).
pub(super) fn read_listens(
    config: &Config,
    server: NodeId,
    is_root: Option<bool>,
    groups: &mut Groups<'_>,
) -> Vec<Listen> {
    let mut listens = Vec::new();
    for id in config.named(Some(server), "listen") {
        listens.extend(read_listen(config, id, groups));
    }
    if listens.is_empty() && config.named(Some(server), "listen").next().is_none() {
        let port = if is_root == Some(false) { 8000 } else { 80 };
        let address = Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        listens.push(Listen { text: port.to_string(), address, ..Listen::blank(None) });
    }
    listens
}

fn read_listen(config: &Config, id: NodeId, groups: &mut Groups<'_>) -> Vec<Listen> {
    let node = config.node(id);
    let Some(text) = node.arg(0) else { return Vec::new() };
    let Ok(address) = parse_url(text, Use::Listen) else { return Vec::new() };
    let has = |name: &str| node.values().skip(1).any(|value| value == name);
    let listen = Listen {
        text: text.to_owned(),
        is_default: has("default_server") || has("default"),
        tls: has("ssl") || has("quic"),
        proxy_protocol: has("proxy_protocol"),
        ..Listen::blank(Some(config.arg_span(id, 0)))
    };
    if let Host::Unix(path) = &address.host {
        return vec![Listen { path: Some(path.clone()), ..listen }];
    }
    let first = address.port.unwrap_or(80);
    let last = address.last_port.unwrap_or(first).min(first.saturating_add(MAX_PORTS));
    let ipv6_only = node.parameter("ipv6only") != Some("off");
    let at = |ip: IpAddr, port: u16| Listen {
        address: Some(SocketAddr::new(ip, port)),
        ipv6_only: ip.is_ipv6().then_some(ipv6_only),
        ..listen.clone()
    };
    let ips = addresses(&address, groups);
    if ips.is_empty() {
        return vec![listen];
    }
    ips.into_iter()
        .flat_map(|ip| (first..=last).map(move |port| (ip, port)))
        .map(|(ip, port)| at(ip, port))
        .collect()
}

/// The addresses of a host; none where a name is not known.
fn addresses(address: &Address, groups: &mut Groups<'_>) -> Vec<IpAddr> {
    match &address.host {
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) => match groups.resolve(name).known() {
            Some(ips) => ips,
            None if name == "localhost" => vec![Ipv4Addr::LOCALHOST.into()],
            None => Vec::new(),
        },
        Host::Unix(_) => Vec::new(),
    }
}

impl Listen {
    fn blank(at: Option<Span>) -> Self {
        Self {
            text: String::new(),
            address: None,
            path: None,
            is_default: false,
            tls: false,
            proxy_protocol: false,
            ipv6_only: None,
            at,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    fn listens(directives: &str) -> Vec<String> {
        let mut world = World::http(&format!("server {{ {directives} }}"));
        world.name("front", &["192.0.2.1", "2001:db8::1"]);
        world.name("localhost", &["127.0.0.1"]);
        let gateway = world.gateway();
        let name = |listen: &crate::Listen| {
            let address = listen.address.map(|address| address.to_string());
            let path = listen.path.as_ref().map(|path| format!("unix:{path}"));
            let flags = [
                (listen.is_default, " default"),
                (listen.tls, " tls"),
                (listen.ipv6_only == Some(false), " both"),
            ];
            let flags: String = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, text)| *text).collect();
            format!("{}{flags}", address.or(path).unwrap_or_else(|| format!("{}?", listen.text)))
        };
        gateway.servers[0].listens.iter().map(name).collect()
    }

    #[test]
    fn listens_are_read_in_all_their_forms() {
        for (directives, expected) in [
            ("", &["0.0.0.0:80"][..]),
            ("listen 8080 default_server;", &["0.0.0.0:8080 default"]),
            ("listen *:80; listen 443 ssl http2;", &["0.0.0.0:80", "0.0.0.0:443 tls"]),
            ("listen 127.0.0.1;", &["127.0.0.1:80"]),
            ("listen [::]:80 ipv6only=off;", &["[::]:80 both"]),
            ("listen unix:/run/n.sock;", &["unix:/run/n.sock"]),
            ("listen 9000-9002;", &["0.0.0.0:9000", "0.0.0.0:9001", "0.0.0.0:9002"]),
            ("listen localhost:81;", &["127.0.0.1:81"]),
            ("listen front:82;", &["192.0.2.1:82", "[2001:db8::1]:82"]),
            ("listen nobody:83;", &["nobody:83?"]),
        ] {
            assert_eq!(listens(directives), expected, "{directives}");
        }
    }
}
