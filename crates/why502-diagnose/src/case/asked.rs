//! The request of a given URL or path: what it meets, and nothing else is judged.

use super::{Case, Failure, PeerSubject};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use why502_facts::Facts;
use why502_model::{Gateway, GroupId, RouteId};

/// A digest keeps so much of a path, in bytes.
const MAX_PATH: usize = 512;

/// A given URL, or a path alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// The host as written, without brackets; `None` for a path alone.
    pub(crate) host: Option<String>,
    /// The port, that of the scheme included; `None` for a path alone.
    pub(crate) port: Option<u16>,
    /// The path without the query.
    pub(crate) path: String,
    /// Whether it has a query.
    pub(crate) has_query: bool,
}

impl Url {
    /// The URL that a run was given.
    pub(crate) fn of(facts: &Facts) -> Option<Self> {
        facts.manifest.invocation.url.as_deref().map(Self::parse)
    }

    fn parse(text: &str) -> Self {
        let (scheme, rest) = match text.split_once("://").filter(|_| !text.starts_with('/')) {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let path_at = if scheme.is_some() { rest.find(['/', '?', '#']).unwrap_or(rest.len()) } else { 0 };
        let (authority, target) = rest.split_at(path_at);
        let has_query = target.split('#').next().is_some_and(|target| target.contains('?'));
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        let Some(scheme) = scheme else { return Self { host: None, port: None, path, has_query } };
        let authority = authority.rsplit('@').next().unwrap_or(authority);
        let host_end = authority.rfind(']').unwrap_or(0);
        let usual = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
        let (host, port) = match authority[host_end..].find(':') {
            // A colon without a number means the usual port (RFC 3986, 3.2.3).
            Some(at) if host_end + at + 1 == authority.len() => (&authority[..host_end + at], Some(usual)),
            Some(at) => (&authority[..host_end + at], authority[host_end + at + 1..].parse().ok()),
            None => (authority, Some(usual)),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { host: Some(host), port, path, has_query }
    }

    /// The address, if the host is one.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.as_deref()?.parse().ok()?;
        Some(SocketAddr::new(ip, self.port?))
    }

    /// Whether its host tells where to connect to and not which site is meant.
    fn is_an_address(&self) -> bool {
        self.address().is_some()
            || self.host.as_deref().is_none_or(|host| host.eq_ignore_ascii_case("localhost"))
    }

    /// Whether the gateway itself listens on its port, so that nothing in front need have passed the request on.
    pub(crate) fn is_served_by(&self, gateway: &Gateway) -> bool {
        let listens = gateway.servers.iter().flat_map(|server| &server.listens);
        let mut ports = listens.filter_map(|own| own.address).map(|own| own.port());
        self.port.is_none_or(|port| ports.any(|own| own == port))
    }

    /// The server that takes the request: at that very address, else on that port, else by its name alone, because what
    /// stands in front may listen on another port.
    fn server(&self, gateway: &Gateway, failures: &[Failure]) -> Option<usize> {
        let Some(host) = self.host.as_deref() else {
            return self.server_where_it_failed(gateway, failures).or_else(|| gateway.find_server("", None));
        };
        let host = host.to_ascii_lowercase();
        if let Some(server) = self.address().and_then(|address| gateway.find_server(&host, Some(address))) {
            return Some(server);
        }
        let listens = gateway.servers.iter().flat_map(|server| &server.listens);
        let on_port = listens.filter_map(|own| own.address).filter(|own| Some(own.port()) == self.port);
        let found: Vec<usize> =
            on_port.filter_map(|address| gateway.find_server(&host, Some(address))).collect();
        let named = found.iter().find(|server| gateway.has_name(**server, &host));
        named.or(found.first()).copied().or_else(|| gateway.find_server(&host, None))
    }

    /// A path alone means the server where it failed last.
    fn server_where_it_failed(&self, gateway: &Gateway, failures: &[Failure]) -> Option<usize> {
        let failed = failures.iter().rev().find(|failure| failure.path.as_deref() == Some(&*self.path))?;
        Some(gateway.route(failed.entry.or(failed.route)?).server)
    }
}

/// What the request of a given URL meets.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) url: Url,
    /// The server that takes it; `None` without a configuration.
    pub(crate) server: Option<usize>,
    /// The route that it comes to first.
    pub(crate) route: Option<RouteId>,
    /// The routes that it may come to; empty where no configuration tells them.
    routes: BTreeSet<RouteId>,
    /// How many requests failed that are others.
    pub(crate) n_others: u64,
}

impl Asked {
    /// What the URL of a run asks for; failures of other requests are taken out of `failures`.
    pub(super) fn narrow(facts: &Facts, gateway: &Gateway, failures: &mut Vec<Failure>) -> Option<Self> {
        let url = Url::of(facts)?;
        let server = url.server(gateway, failures);
        let route = server.and_then(|server| gateway.find_route(server, &url.path));
        let mut asked = Self { url, server, route, routes: BTreeSet::new(), n_others: 0 };
        let others = asked.keep_own(gateway, failures);
        asked.n_others =
            others.iter().filter(|failure| failure.counts_by_itself()).map(|failure| failure.weight).sum();
        let passed = failures.iter().flat_map(|failure| [failure.entry, failure.route]).flatten();
        asked.routes = route.into_iter().flat_map(|route| gateway.reachable(route)).chain(passed).collect();
        Some(asked)
    }

    /// Keeps the failures of the request and gives back the others.
    pub(super) fn keep_own(&self, gateway: &Gateway, failures: &mut Vec<Failure>) -> Vec<Failure> {
        let (own, others) = failures.drain(..).partition(|failure| self.is_of(gateway, failure));
        *failures = own;
        others
    }

    /// Whether nginx answers 400 to its path before it looks for a location.
    pub(crate) fn is_malformed(&self) -> bool {
        self.server.is_some() && self.route.is_none()
    }

    fn is_of(&self, gateway: &Gateway, failure: &Failure) -> bool {
        let server = failure.entry.or(failure.route).map(|route| gateway.route(route).server);
        let same_server = match (self.server, server) {
            (Some(own), Some(server)) => {
                own == server && (self.url.is_an_address() || self.has_host_of(failure))
            }
            _ => self.has_host_of(failure),
        };
        same_server
            && match failure.path.as_deref() {
                Some(path) => {
                    path == self.url.path || (path.len() >= MAX_PATH && self.url.path.starts_with(path))
                }
                // A line that was cut does not tell its request.
                None => failure.entry.is_some() && failure.entry == self.route,
            }
    }

    fn has_host_of(&self, failure: &Failure) -> bool {
        let (Some(own), Some(host)) = (&self.url.host, &failure.host) else { return true };
        let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        name.map_or(host.as_str(), |(name, _)| name).trim_matches(['[', ']']).eq_ignore_ascii_case(own)
    }
}

impl Case<'_> {
    /// Whether a route is one that is judged: with a URL only what its request may come to.
    pub(crate) fn concerns(&self, route: RouteId) -> bool {
        if self.asked.as_ref().is_some_and(Asked::is_malformed) {
            return false;
        }
        let routes = self.asked.as_ref().map(|asked| &asked.routes);
        routes.is_none_or(|routes| routes.is_empty() || routes.contains(&route))
    }

    /// Whether a peer is one that is judged.
    pub(crate) fn concerns_peer(&self, peer: &PeerSubject) -> bool {
        let is_malformed = self.asked.as_ref().is_some_and(Asked::is_malformed);
        (peer.routes.is_empty() && !is_malformed) || peer.routes.iter().any(|route| self.concerns(*route))
    }

    /// Whether a group is one that is judged.
    pub(crate) fn concerns_group(&self, group: GroupId) -> bool {
        let Some(asked) = &self.asked else { return true };
        if asked.routes.is_empty() {
            return !asked.is_malformed();
        }
        asked.routes.iter().any(|route| self.pass_of(*route, Some(group)).is_some())
    }

    /// The route of the given URL, with its path.
    pub(crate) fn asked_route(&self) -> Option<(RouteId, &str)> {
        let asked = self.asked.as_ref()?;
        Some((asked.route?, &asked.url.path))
    }
}

#[cfg(test)]
mod tests {
    use super::Url;
    use crate::fixture::Fixture;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |text| {
            let url = Url::parse(text);
            (url.host.unwrap_or_default(), url.port, url.path)
        };
        for (text, host, port, path) in [
            ("http://a/b?c=/d", "a", Some(80), "/b"),
            ("HTTPS://a", "a", Some(443), "/"),
            ("http://a?b", "a", Some(80), "/"),
            ("http://a:/b", "a", Some(80), "/b"),
            ("http://me:pw@a:8080/", "a", Some(8080), "/"),
            ("http://[::1]:8080/x#y", "::1", Some(8080), "/x"),
            ("http://[::1]/", "::1", Some(80), "/"),
            ("http://a:99999/", "a", None, "/"),
            ("/x?y=http://z/", "", None, "/x"),
        ] {
            assert_eq!(parts(text), (host.to_owned(), port, path.to_owned()), "{text}");
        }
    }

    const TWO: &str = r#"
#- nginx.conf
events {}
http {
    server { listen 80; server_name a; location / { proxy_pass http://127.0.0.1:3000; } location /other/ { proxy_pass http://127.0.0.1:3001; } }
    server { listen 81; server_name b; location / { proxy_pass http://127.0.0.1:3002; } }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 upstream prematurely closed connection while reading response header from upstream, client: 10.0.0.9, server: a, request: "GET /bad HTTP/1.1", upstream: "http://127.0.0.1:3000/bad", host: "a"
2026/11/21 02:28:31 [error] 101#101: *5 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: a, request: "GET /other/x HTTP/1.1", upstream: "http://127.0.0.1:3001/other/x", host: "a"
2026/11/21 02:28:32 [error] 101#101: *7 upstream prematurely closed connection while reading response header from upstream, client: 10.0.0.9, server: b, request: "GET /same HTTP/1.1", upstream: "http://127.0.0.1:3002/same", host: "b"
#- listeners
0.0.0.0:80 nginx
0.0.0.0:81 nginx
127.0.0.1:3000 node
127.0.0.1:3002 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

#- probe 127.0.0.1:3001
refused
#- probe 127.0.0.1:3002
answers
HTTP/1.1 200 OK

"#;

    /// Cause and path of what is found, and the notes.
    fn told(url: &str) -> (Vec<String>, u64, Vec<String>) {
        let report = Fixture::new(TWO).with("options", &format!("url={url}")).report();
        let found = report.findings.iter().map(|finding| finding.cause.clone()).collect();
        (found, report.window.failed.unwrap(), report.notes)
    }

    #[test]
    fn only_what_the_url_meets_is_told() {
        let (found, failed, notes) = told("http://a/fine");
        assert_eq!((found, failed), (Vec::new(), 0), "{notes:?}");
        assert_eq!(notes, ["3 requests failed that are others: without the URL they are judged too"]);
        let (found, failed, _) = told("http://a/other/y");
        assert_eq!((found, failed), (vec!["upstream-not-listening".to_owned()], 0));
        let (found, failed, _) = told("http://127.0.0.1/bad");
        assert_eq!((found, failed), (vec!["upstream-closed-before-response".to_owned()], 1));
    }

    #[test]
    fn the_port_decides_before_the_name_and_the_name_alone_where_nobody_listens() {
        assert_eq!(told("http://127.0.0.1:81/same").1, 1);
        assert_eq!(told("http://127.0.0.1:80/same").1, 0);
        let (_, failed, notes) = told("https://b:8443/same");
        assert_eq!(failed, 1);
        assert!(notes.contains(&"no server listens on port 8443: it was taken as a request that something in front passes to server b".to_owned()), "{notes:?}");
    }

    #[test]
    fn a_path_that_nginx_refuses_comes_to_no_location() {
        for path in ["/%", "/../../x", "/%zz"] {
            let (found, failed, notes) = told(&format!("http://a{path}"));
            assert_eq!((found, failed), (Vec::new(), 0), "{path}");
            let says = format!("nginx answers 400 to {path}: it is no valid path, and no location gets it");
            assert!(notes.contains(&says), "{notes:?}");
        }
        assert_eq!(told("http://a/x/../other/y").0, ["upstream-not-listening"]);
    }

    #[test]
    fn what_another_host_of_the_same_server_failed_with_is_not_this_requests() {
        let both = TWO.replace("server_name a;", "server_name a c;");
        let told = |url: &str| {
            let report = Fixture::new(&both).with("options", &format!("url={url}")).report();
            (report.window.failed.unwrap(), report.findings.len())
        };
        assert_eq!(told("http://a/bad"), (1, 1));
        assert_eq!(told("http://A:80/bad"), (1, 1));
        assert_eq!(told("http://c/bad"), (0, 0));
    }

    #[test]
    fn a_path_alone_means_the_server_where_it_failed_last() {
        let (_, failed, notes) = told("/same");
        assert_eq!(failed, 1);
        assert!(
            notes.contains(&"/same was taken as a request to server b, where it failed last".to_owned()),
            "{notes:?}"
        );
        let (_, failed, notes) = told("/none");
        assert_eq!(failed, 0);
        assert!(
            notes.contains(&"/none was taken as a request to server a, the default".to_owned()),
            "{notes:?}"
        );
    }

    #[test]
    fn without_a_configuration_the_host_and_the_path_tell() {
        let fixture = Fixture::new(TWO).without("nginx.conf");
        let failed = |url: &str| {
            fixture.with("options", &format!("offline\nurl={url}")).report().window.failed.unwrap()
        };
        assert_eq!((failed("http://b/same"), failed("http://a/same"), failed("/bad")), (1, 0, 1));
    }
}
