//! Whence the gateway's connections to a peer come (`proxy_bind` and its like): a probe from another address tells nothing of
//! whether these arrive.

use super::{Case, PeerSubject};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use why502_facts::PeerAddress;
use why502_model::{Gateway, GroupId, Pass};

/// Where connections come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The system's choice.
    Any,
    /// One address, with any port.
    Fixed(IpAddr),
    /// What no probe can take: an address that a request decides, one of somebody else (`transparent`), one port, or several of
    /// these.
    Other,
}

impl Source {
    /// Where the connections of a pass come from.
    pub(crate) fn of(gateway: &Gateway, pass: &Pass) -> Self {
        let Some(bind) = &pass.bind else { return Self::Any };
        // What stands behind the address, up to the end of the directive.
        let rest = bind.at.as_ref().and_then(|at| {
            let text = gateway.source(&at.file)?.text.get(usize::try_from(at.end).ok()?..)?;
            text.split(|byte| *byte == b';').next().map(<[u8]>::trim_ascii)
        });
        let is_alone = rest.is_none_or(|rest| matches!(rest, b"" | b"\"" | b"'"));
        let address = literal(&bind.value).filter(|address| is_alone && address.port() == 0);
        address.map_or(Self::Other, |address| Self::Fixed(address.ip()))
    }

    /// The address that a probe takes.
    pub(crate) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Fixed(address) => Some(address),
            Self::Any | Self::Other => None,
        }
    }
}

/// The address and the port of a value that is one (`ngx_parse_addr_port`); without a port it is 0, which stands for any.
fn literal(value: &str) -> Option<SocketAddr> {
    let bare = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value);
    let without_port = bare.parse().ok().map(|address| SocketAddr::new(address, 0));
    without_port.or_else(|| value.parse().ok())
}

impl Case<'_> {
    /// The address that the configuration binds for connections to a peer, whatever else it says of them.
    pub(crate) fn bound_address(&self, peer: &PeerSubject) -> Option<IpAddr> {
        let bind = self.pass_to(peer)?.bind.as_ref()?;
        Some(literal(bind.value.split_ascii_whitespace().next()?)?.ip())
    }

    /// Where the gateway's connections to a peer come from.
    pub(crate) fn source(&self, peer: &PeerSubject) -> Source {
        if self.sources.is_empty() {
            return Source::Any;
        }
        self.sources.get(&(peer.group, peer.address.clone())).copied().unwrap_or(Source::Any)
    }
}

/// The sources of all peers that have one: thousands of routes may lead to one peer, so they are looked through once.
pub(super) fn sources(case: &Case<'_>) -> HashMap<(Option<GroupId>, PeerAddress), Source> {
    let of = |peer: &PeerSubject| Some(((peer.group, peer.address.clone()), source_of(case, peer)?));
    case.peers.iter().filter_map(of).collect()
}

/// The source of a peer, if it is not the system's choice: by the routes that failed, if any did.
fn source_of(case: &Case<'_>, peer: &PeerSubject) -> Option<Source> {
    let sources = |is_wanted: &dyn Fn(why502_model::RouteId) -> bool| -> BTreeSet<Source> {
        let routes = peer.routes.iter().filter(|route| is_wanted(**route));
        let passes = routes.filter_map(|route| case.pass_of(*route, peer.group));
        passes.map(|pass| Source::of(case.gateway, pass)).collect()
    };
    let all = sources(&|_| true);
    if all.iter().all(|source| *source == Source::Any) {
        return None;
    }
    let failed = sources(&|route| case.failures_of(route).next().is_some());
    let wanted = if failed.is_empty() { all } else { failed };
    if wanted.len() == 1 { wanted.into_iter().next() } else { Some(Source::Other) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use why502_decode::load;
    use why502_facts::Ask;
    use why502_model::Model;

    /// A backend that refused once.
    fn refused(directives: &str) -> Fixture {
        let text = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        location / { BIND proxy_pass http://10.0.0.7:3000; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: , request: "GET / HTTP/1.1", upstream: "http://10.0.0.7:3000/", host: "a"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET / HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
#- probe 10.0.0.7:3000
answers
HTTP/1.1 200 OK

"#;
        Fixture::new(&text.replace("BIND", directives))
    }

    /// Where the backend's probe comes from, as it was asked for; none where nobody asked.
    fn probed_from(fixture: &Fixture) -> Vec<Option<IpAddr>> {
        let bundle = fixture.bundle();
        let asked = bundle.facts.iter().filter_map(|fact| match &fact.ask {
            Ask::Probe { source, .. } => Some(*source),
            _ => None,
        });
        asked.collect()
    }

    #[test]
    fn a_probe_comes_from_the_address_that_is_bound() {
        let bound: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(probed_from(&refused("")), [None]);
        for directive in ["proxy_bind 192.0.2.1;", "proxy_bind '192.0.2.1' ;", "proxy_bind 192.0.2.1:0;"] {
            assert_eq!(probed_from(&refused(directive)), [Some(bound)], "{directive}");
        }
        assert_eq!(probed_from(&refused("proxy_bind [2001:db8::1];")), ["2001:db8::1".parse().ok()]);
        assert_eq!(probed_from(&refused("proxy_bind off;")), [None]);
        assert!(refused("proxy_bind 192.0.2.1;").summary().starts_with("Recovered"));
    }

    #[test]
    fn near_miss_an_address_that_no_probe_can_take() {
        for directive in [
            "proxy_bind $remote_addr transparent;",
            "proxy_bind 192.0.2.1 transparent;",
            "proxy_bind 192.0.2.1:7000;",
            "proxy_bind $server_addr;",
        ] {
            let fixture = refused(directive);
            assert_eq!(probed_from(&fixture), [], "{directive}");
            assert!(!fixture.summary().contains("mended"), "{directive} {}", fixture.summary());
            assert!(!fixture.summary().starts_with("Recovered"), "{directive} {}", fixture.summary());
        }
    }

    #[test]
    fn of_several_sources_that_of_the_failing_route_counts() {
        let two = refused("proxy_bind 192.0.2.1; proxy_pass http://10.0.0.7:3000; } location /b {");
        let bundle = two.bundle();
        let facts = load(&bundle);
        let model = Model::build(&facts);
        let case = Case::new(&facts, &model, 0);
        assert_eq!(case.source(&case.peers[0]), Source::Fixed("192.0.2.1".parse().unwrap()));
    }
}
