//! A port that an engine publishes on the host, dialled at the container's own address, where only the inner one is open.

use crate::case::{Case, PeerSubject};
use crate::cause::Asks;
use crate::finding::{Evidence, Origin};
use std::net::SocketAddr;
use why502_facts::PeerAddress;
use why502_model::Host;

/// What is open in place of a published port.
pub(super) struct Published {
    /// The container's name.
    pub(super) container: String,
    dialled: SocketAddr,
    inner: u16,
    /// The name that is dialled, if it is one.
    name: Option<String>,
    socket: String,
}

/// The port inside of the container that a peer's address belongs to, if the dialled one is that on which the host publishes
/// it; an error asks for the engines.
pub(super) fn published(case: &Case<'_>, peer: &PeerSubject) -> Result<Option<Published>, Asks> {
    let Some(dialled) = peer.address.inet().filter(|_| !case.is_local(&peer.address)) else {
        return Ok(None);
    };
    let engines = case.engines()?;
    let mut owners =
        engines.containers().filter(|(_, own)| own.is_running() && own.has_address(dialled.ip()));
    let Some((socket, container)) = owners.next() else { return Ok(None) };
    let is_inner = container.ports.iter().any(|port| port.inner == dialled.port());
    let outer = container
        .ports
        .iter()
        .find(|port| port.published.is_some_and(|published| published.port() == dialled.port()));
    let Some(port) = outer.filter(|_| !is_inner) else { return Ok(None) };
    let name = case.configured(peer).and_then(|own| match &own.host {
        Host::Name(name) => Some(name.clone()),
        _ => None,
    });
    let container = container.name.clone();
    Ok(Some(Published { container, dialled, inner: port.inner, name, socket: socket.to_owned() }))
}

impl Published {
    /// The address that is open.
    pub(super) fn address(&self) -> PeerAddress {
        PeerAddress::Inet(SocketAddr::new(self.dialled.ip(), self.inner))
    }

    /// What is to be written in place of what is dialled.
    pub(super) fn target(&self) -> String {
        match &self.name {
            Some(name) => format!("{name}:{}", self.inner),
            None => self.address().to_string(),
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        let says = format!(
            "the engine says that port {} of the host leads to port {} of the container {}, whose own address is dialled",
            self.dialled.port(),
            self.inner,
            self.container
        );
        Evidence::supporting(says, Origin::Host(self.socket.clone()))
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, first_diff};

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://172.18.0.3:8080; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://172.18.0.3:8080/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- options
net=7
container=ab
#- addresses
172.18.0.2
#- listeners
0.0.0.0:80 nginx
#- engine
ab web running net=shop:172.18.0.2
cd app running net=shop:172.18.0.3 publish=8080:3000
#- probe 172.18.0.3:8080
refused
"#;

    #[test]
    fn hit_the_published_port_is_dialled_inside() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed upstream-wrong-port -> upstream-not-listening: 172.18.0.3:8080 is dialled, and the backend listens on 172.18.0.3:3000 [1 requests, still failing]
        ");
        let diff = first_diff(&Fixture::new(HIT).report());
        assert!(diff.contains("+        location / { proxy_pass http://172.18.0.3:3000; }"), "{diff}");
    }

    #[test]
    fn near_miss_another_container_publishes_that_port() {
        let other = "ab web running net=shop:172.18.0.2\ncd app running net=shop:172.18.0.3\nef b running publish=8080:3000";
        let summary = Fixture::new(HIT).with("engine", other).summary();
        assert!(!summary.contains("upstream-wrong-port"), "{summary}");
    }

    #[test]
    fn gap_the_engine_may_not_be_asked() {
        let summary = Fixture::new(HIT).without("engine").summary();
        assert!(summary.contains("Likely upstream-not-listening"), "{summary}");
    }
}
