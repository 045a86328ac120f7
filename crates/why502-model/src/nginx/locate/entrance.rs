//! Listening addresses, and which servers share them (`ngx_http_add_listen`, `ngx_http_init_listening`).

use super::names::NameTable;
use crate::{Listen, Server};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use why502_facts::PeerAddress;

/// A listening address with its servers.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    pub(crate) address: PeerAddress,
    /// Whether an IPv6 wildcard takes IPv4 connections as well.
    takes_v4: bool,
    /// The server for hosts that no name fits.
    pub(super) default: usize,
    pub(super) names: NameTable,
    /// The servers, in the order of the configuration.
    pub(crate) servers: Vec<usize>,
}

impl Entrance {
    /// The listening addresses of servers, in the order in which they come first.
    pub(crate) fn all(servers: &[Server]) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for (at, server) in servers.iter().enumerate() {
            for listen in &server.listens {
                let Some(address) = address_of(listen) else { continue };
                let place = found.iter().position(|entrance| entrance.address == address);
                let place = place.unwrap_or_else(|| {
                    let (names, servers) = (NameTable::default(), Vec::new());
                    found.push(Self { address, takes_v4: false, default: at, names, servers });
                    found.len() - 1
                });
                let entrance = &mut found[place];
                entrance.takes_v4 |= listen.ipv6_only == Some(false);
                if listen.is_default {
                    entrance.default = at;
                }
                if !entrance.servers.contains(&at) {
                    entrance.servers.push(at);
                }
            }
        }
        for entrance in &mut found {
            entrance.names = NameTable::new(entrance.servers.iter().map(|at| (*at, &servers[*at])));
        }
        found
    }

    /// The entrance for a connection that came in at an address: that very address, else the wildcard of its family.
    pub(super) fn of<'a>(all: &'a [Self], address: &PeerAddress) -> Option<&'a Self> {
        let exact = all.iter().find(|entrance| entrance.address == *address);
        exact.or_else(|| {
            let PeerAddress::Inet(address) = address else { return None };
            let wildcard = |ip: IpAddr| PeerAddress::Inet(SocketAddr::new(ip, address.port()));
            let find = |ip: IpAddr| all.iter().find(move |entrance| entrance.address == wildcard(ip));
            let any_v6 = find(Ipv6Addr::UNSPECIFIED.into());
            match address.ip() {
                IpAddr::V4(_) => {
                    find(Ipv4Addr::UNSPECIFIED.into()).or_else(|| any_v6.filter(|entrance| entrance.takes_v4))
                }
                IpAddr::V6(_) => any_v6,
            }
        })
    }
}

fn address_of(listen: &Listen) -> Option<PeerAddress> {
    match (&listen.path, listen.address) {
        (Some(path), _) => Some(PeerAddress::Unix(path.clone())),
        (None, address) => address.map(PeerAddress::Inet),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::World;
    use why502_facts::PeerAddress;

    fn server(http: &str, host: &str, address: &str) -> Option<String> {
        let gateway = World::http(http).gateway();
        let address: PeerAddress = address.parse().unwrap();
        gateway.find_server_at(host, &address).map(|at| gateway.servers[at].name().to_owned())
    }

    const SERVERS: &str = "
        server { listen 80; server_name a; }
        server { listen 80 default_server; server_name b; }
        server { listen 127.0.0.1:80; server_name c; }
        server { listen [::]:80 ipv6only=off; server_name d; }
        server { listen [::]:81; server_name e; }
        server { listen unix:/run/n.sock; server_name f; }
        server { listen 82; listen 83; server_name g; }";

    #[test]
    fn the_address_decides_before_the_name() {
        for (host, address, name) in [
            ("a", "192.0.2.1:80", Some("a")),
            ("x", "192.0.2.1:80", Some("b")),
            ("a", "127.0.0.1:80", Some("c")),
            ("a", "[::1]:80", Some("d")),
            ("e", "[::1]:81", Some("e")),
            ("e", "192.0.2.1:81", None),
            ("a", "unix:/run/n.sock", Some("f")),
            ("a", "192.0.2.1:83", Some("g")),
            ("a", "192.0.2.1:99", None),
        ] {
            assert_eq!(server(SERVERS, host, address).as_deref(), name, "{host} at {address}");
        }
    }

    #[test]
    fn an_ipv6_wildcard_takes_ipv4_only_if_told_so() {
        let servers = "server { listen [::]:80 ipv6only=off; server_name d; } server { listen [::]:81; server_name e; }";
        assert_eq!(server(servers, "x", "192.0.2.1:80").as_deref(), Some("d"));
        assert_eq!(server(servers, "x", "192.0.2.1:81"), None);
    }

    #[test]
    fn without_an_address_all_names_count() {
        let gateway = World::http(SERVERS).gateway();
        let name = |host| gateway.find_server(host, None).map(|at| gateway.servers[at].name());
        assert_eq!(
            (name("f"), name("E"), name("nobody"), name("a..b")),
            (Some("f"), Some("e"), Some("b"), Some("b"))
        );
    }
}
