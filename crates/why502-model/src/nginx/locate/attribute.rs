//! From a log line to the route that the request was failing in.

use super::LocationName;
use crate::{Action, Gateway, GroupId, Host, LogTarget, Pass, Peer, Protocol, RequestVars, RouteId, Target};
use why502_facts::{Observed, PeerAddress, RequestKey};

/// How well a route fits the upstream of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It speaks the protocol, and to others.
    Protocol,
    /// It may be: the target is built at run time, or a name of it may have had that address.
    Perhaps,
    /// It passes to that very peer.
    Surely,
}

impl Gateway {
    /// The route that a request of a log line was failing in.
    ///
    /// The request line names the location that it came to first; where the line names an upstream, the route that it
    /// went on to and that passes to that upstream is meant.
    pub fn attribute(&self, key: &RequestKey<'_>) -> Option<RouteId> {
        let servers = self.candidate_servers(key);
        let request = RequestVars::of_request(key.method, key.path, key.host);
        let first = |server: usize| self.first_route(server, &request);
        if key.peer.is_none() && key.scheme.is_none() {
            return match servers.as_slice() {
                [server] => first(*server),
                _ => None,
            };
        }
        let path = request.get("uri");
        let firsts: Vec<RouteId> = servers.iter().filter_map(|server| first(*server)).collect();
        let reached: Vec<RouteId> = firsts.iter().flat_map(|id| self.reachable_with(*id, path)).collect();
        let others = || self.routes().filter(|(_, route)| servers.contains(&route.server)).map(|(id, _)| id);
        let first_of = || reached.iter().copied();
        let came_with = |id: &RouteId| path.filter(|_| firsts.contains(id));
        let may_send = |id: &RouteId| key.sent.is_none_or(|sent| self.may_send(*id, sent, came_with(id)));
        self.best_fit(first_of().filter(may_send), key, &request, Fit::Perhaps)
            .or_else(|| self.best_fit(others().filter(may_send), key, &request, Fit::Surely))
            .or_else(|| self.best_fit(first_of(), key, &request, Fit::Perhaps))
            .or_else(|| self.best_fit(others(), key, &request, Fit::Surely))
            // An answer may send a request on to a location that no directive leads to, and whose target a variable decides.
            .or_else(|| {
                self.best_fit(
                    others().filter(|id| self.is_open(*id) && may_send(id)),
                    key,
                    &request,
                    Fit::Perhaps,
                )
            })
            // The configuration was another one then: the location is all that can be told.
            .or_else(|| self.best_fit(first_of(), key, &request, Fit::Protocol))
            .or_else(|| self.best_fit(others(), key, &request, Fit::Perhaps))
    }

    /// Whether a route can have sent a path to its upstream: the one that came to the location, or its own in place of the
    /// location's. `path` is the request's own, where it came to the route with that.
    fn may_send(&self, id: RouteId, sent: &str, path: Option<&str>) -> bool {
        let route = self.route(id);
        let Action::Pass(pass) = &route.action else { return true };
        let changes = pass.text.contains('$') || !route.conditionals.is_empty() || self.rewrites(id);
        if changes || pass.protocol != Protocol::Http {
            return true;
        }
        let decoded = RequestVars::of_request("", sent, None);
        let Some(sent) = decoded.get("uri") else { return true };
        let name = self.locator.name_of(id);
        let prefix = match name {
            Some(LocationName::Exact(prefix) | LocationName::Prefix { path: prefix, .. }) => prefix,
            Some(LocationName::Named(_) | LocationName::Pattern(..)) | None => "",
        };
        let server = self.locator.server_routes[route.server];
        match (&pass.path, path.filter(|_| !self.rewrites(server))) {
            (Some(own), Some(path)) => path
                .strip_prefix(prefix)
                .and_then(|rest| sent.strip_prefix(own.as_str()).map(|sent| sent == rest))
                .unwrap_or(false),
            (Some(own), None) => sent.starts_with(own.as_str()),
            (None, Some(path)) => sent == path,
            (None, None) => {
                matches!(name, Some(LocationName::Named(_)) | None) || self.locator.serves(server, sent) == id
            }
        }
    }

    /// Whether a route is for requests that the gateway sends on, and only such a request decides its target.
    fn is_open(&self, id: RouteId) -> bool {
        let is_unresolved = |pass: &Pass| matches!(pass.target, Target::Unresolved(_));
        self.route(id).action.pass().is_some_and(is_unresolved) && self.is_internal(id)
    }

    /// The first of the routes that fit the upstream of a log line best, and at least so well.
    fn best_fit(
        &self,
        routes: impl Iterator<Item = RouteId>,
        key: &RequestKey<'_>,
        request: &RequestVars,
        least: Fit,
    ) -> Option<RouteId> {
        let mut best: Option<(Fit, RouteId)> = None;
        for id in routes {
            if let Some(fit) = self.fits(id, key, request).filter(|fit| *fit >= least)
                && best.is_none_or(|(known, _)| fit > known)
            {
                best = Some((fit, id));
            }
        }
        best.map(|(_, id)| id)
    }

    fn candidate_servers(&self, key: &RequestKey<'_>) -> Vec<usize> {
        let mut servers = self.writers_of(key.log).unwrap_or_else(|| (0..self.servers.len()).collect());
        if let Some(name) = key.server {
            let is_it = |at: usize| {
                printed_name(self.servers[at].name()) == name
                    || self.servers[at].listens.iter().any(|listen| listens_as(listen, name))
            };
            keep(&mut servers, is_it);
        }
        if let Some(host) = key.host.filter(|_| servers.len() > 1) {
            let host = super::valid_host(host).unwrap_or_default();
            let fits: Vec<_> = servers.iter().map(|at| self.fits_host(*at, &host)).collect();
            match fits.iter().flatten().min().copied() {
                Some(best) => {
                    let mut fits = fits.into_iter();
                    servers.retain(|_| fits.next().flatten() == Some(best));
                }
                None if key.server.is_none() => {
                    let defaults: Vec<usize> = self.locator.entrances.iter().map(|own| own.default).collect();
                    keep(&mut servers, |at| defaults.contains(&at));
                }
                None => {}
            }
        }
        servers
    }

    /// The servers that write to a log; `None` if all do, or the log is none of this gateway's.
    fn writers_of(&self, log: &str) -> Option<Vec<usize>> {
        let is_it = |target: &LogTarget| matches!(target, LogTarget::File(path) if path == log);
        let sinks = || self.logs.iter().filter(|sink| is_it(&sink.target));
        if sinks().next().is_none() || sinks().any(|sink| sink.servers.is_empty()) {
            return None;
        }
        let mut servers: Vec<usize> = sinks().flat_map(|sink| sink.servers.iter().copied()).collect();
        servers.sort_unstable();
        servers.dedup();
        Some(servers)
    }

    fn fits(&self, id: RouteId, key: &RequestKey<'_>, request: &RequestVars) -> Option<Fit> {
        let route = self.route(id);
        let conditional = route.conditionals.iter().filter_map(|conditional| conditional.action.as_ref());
        let passes = std::iter::once(&route.action).chain(conditional).filter_map(Action::pass);
        passes.filter_map(|pass| self.pass_fits(pass, key, request)).max()
    }

    fn pass_fits(&self, pass: &Pass, key: &RequestKey<'_>, request: &RequestVars) -> Option<Fit> {
        let scheme_fits = key.scheme.is_none_or(|scheme| match &pass.target {
            // The scheme of a target with variables may be part of what they hold.
            Target::Unresolved(_) => {
                let is_secure = scheme == pass.protocol.scheme(true);
                is_secure || scheme == pass.protocol.scheme(false)
            }
            Target::Group(_) => scheme == pass.protocol.scheme(pass.tls),
        });
        if !scheme_fits {
            return None;
        }
        let Some(peer) = key.peer else { return Some(Fit::Perhaps) };
        Some(match &pass.target {
            Target::Unresolved(unresolved) => {
                let values = unresolved.values_for(request);
                match values.values.as_slice() {
                    [] => Fit::Perhaps,
                    values if values.iter().any(|value| authority(value) == peer) => Fit::Surely,
                    _ => Fit::Perhaps,
                }
            }
            Target::Group(group) => self.group_fits(*group, peer),
        })
    }

    /// Whether a log's peer is one of a group: its name, an address of it, or one that a name of it may once have had.
    fn group_fits(&self, group: GroupId, peer: &str) -> Fit {
        let group = self.group(group);
        // An implicit group is called by the host that it was made for.
        let is_named =
            |own: &Peer| group.name.is_none() && matches!(&own.host, Host::Name(name) if name == peer);
        if group.name.as_deref() == Some(peer) || group.peers.iter().any(is_named) {
            return Fit::Surely;
        }
        let Ok(address) = peer.parse::<PeerAddress>() else { return Fit::Protocol };
        let fit = |own: &Peer| match (&own.addresses, &own.host) {
            (Observed::Known(addresses), _) if addresses.contains(&address) => Fit::Surely,
            (_, Host::Name(_)) if own.port == address.port() => Fit::Perhaps,
            _ => Fit::Protocol,
        };
        group.peers.iter().map(fit).max().unwrap_or(Fit::Protocol)
    }
}

/// Keeps those that are wanted, unless that would be none.
fn keep(servers: &mut Vec<usize>, wanted: impl Fn(usize) -> bool) {
    let kept: Vec<usize> = servers.iter().copied().filter(|at| wanted(*at)).collect();
    if !kept.is_empty() {
        *servers = kept;
    }
}

/// The name of a server as logs have it: in lower case, a leading point left out (`ngx_http_core_merge_srv_conf`).
fn printed_name(name: &str) -> String {
    if name.starts_with('~') {
        return name.to_owned();
    }
    let name = name.to_ascii_lowercase();
    name.strip_prefix('.').map_or(name.clone(), str::to_owned)
}

/// Before a request is read, the listening address stands for the server.
fn listens_as(listen: &crate::Listen, text: &str) -> bool {
    let address = listen.address.map(|address| address.to_string());
    let path = listen.path.as_ref().map(|path| format!("unix:{path}"));
    listen.text == text || address.as_deref() == Some(text) || path.as_deref() == Some(text)
}

/// What stands between the scheme and the path.
fn authority(value: &str) -> &str {
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn attributed(world: &World, key: &RequestKey<'_>) -> Option<String> {
        let gateway = world.gateway();
        let id = gateway.attribute(key)?;
        let route = gateway.route(id);
        let location = route.location.as_deref().unwrap_or("server");
        Some(format!("{} {location}", gateway.server_of(route).name()))
    }

    fn key<'a>(server: Option<&'a str>, host: Option<&'a str>, path: &'a str) -> RequestKey<'a> {
        RequestKey {
            log: "/var/log/nginx/error.log",
            server,
            host,
            method: "GET",
            path,
            scheme: None,
            peer: None,
            sent: None,
        }
    }

    fn with_peer<'a>(key: RequestKey<'a>, scheme: &'a str, peer: &'a str) -> RequestKey<'a> {
        RequestKey { scheme: Some(scheme), peer: Some(peer), ..key }
    }

    const SHOP: &str = "
        upstream app { server 10.0.0.1:80; server 10.0.0.2:80; }
        server { listen 80; server_name .Shop.example; return 301 https://$host$request_uri; }
        server {
            listen 443 ssl; server_name .Shop.example;
            index index.php;
            location / { try_files $uri @app; }
            location ~ \\.php$ { fastcgi_pass unix:/run/php.sock; }
            location @app { proxy_pass http://app; error_page 502 /sorry; }
            location /sorry { proxy_pass http://127.0.0.1:9; }
            location /if { if ($arg_x) { proxy_pass http://10.0.0.3:80; } proxy_pass http://10.0.0.4:80; }
            location /dyn { proxy_pass http://$arg_to; }
        }
        server { listen 443 ssl; server_name ~^(www\\.)?other; location / { proxy_pass http://other.internal:8000; } }";

    #[test]
    fn the_upstream_decides_among_where_a_request_may_have_gone() {
        let mut world = World::http(SHOP);
        world.name("other.internal", &["10.9.9.9"]);
        let shop = |path| key(Some("shop.example"), Some("www.shop.example"), path);
        for (key, expected) in [
            (with_peer(shop("/a"), "http", "10.0.0.2:80"), Some(".Shop.example @app")),
            (with_peer(shop("/a"), "http", "app"), Some(".Shop.example @app")),
            (with_peer(shop("/a"), "http", "127.0.0.1:9"), Some(".Shop.example /sorry")),
            (with_peer(shop("/"), "fastcgi", "unix:/run/php.sock"), Some(".Shop.example ~ \\.php$")),
            (with_peer(shop("/if?x=1"), "http", "10.0.0.3:80"), Some(".Shop.example /if")),
            (with_peer(shop("/dyn"), "http", "192.0.2.7:80"), Some(".Shop.example /dyn")),
            (with_peer(shop("/if"), "http", "192.0.2.7:80"), Some(".Shop.example /if")),
            (with_peer(shop("/sorry"), "https", "192.0.2.7:443"), Some(".Shop.example /dyn")),
            (with_peer(shop("/a"), "uwsgi", "10.0.0.2:80"), None),
            (
                with_peer(key(Some("~^(www\\.)?other"), None, "/x"), "http", "10.1.1.1:8000"),
                Some("~^(www\\.)?other /"),
            ),
        ] {
            assert_eq!(attributed(&world, &key).as_deref(), expected, "{key:?}");
        }
    }

    #[test]
    fn without_an_upstream_the_location_counts_if_the_server_is_known() {
        let world = World::http(SHOP);
        let other = key(Some("~^(www\\.)?other"), None, "/x");
        assert_eq!(attributed(&world, &other).as_deref(), Some("~^(www\\.)?other /"));
        assert_eq!(attributed(&world, &key(Some("shop.example"), None, "/x")), None, "one of two");
        let by_host = key(None, Some("www.other.example"), "/x");
        assert_eq!(attributed(&world, &by_host).as_deref(), Some("~^(www\\.)?other /"));
    }

    #[test]
    fn an_address_that_is_no_longer_configured_stays_with_its_location() {
        let world = World::http(
            "server { location /a { proxy_pass http://10.0.0.1:80; } location / { return 204; } }",
        );
        let gone = with_peer(key(Some(""), None, "/a/x"), "http", "10.0.0.9:81");
        assert_eq!(attributed(&world, &gone).as_deref(), Some(" /a"));
        assert_eq!(attributed(&world, &with_peer(key(Some(""), None, "/b"), "http", "10.0.0.9:81")), None);
    }

    #[test]
    fn the_log_s_writers_are_the_candidates() {
        let world = World::http(
            "server { access_log /l/a; server_name a; location / { proxy_pass http://10.0.0.1; } }
             server { access_log /l/b; server_name b; location / { proxy_pass http://10.0.0.1; } }",
        );
        let in_log = |log| RequestKey { log, ..with_peer(key(None, None, "/"), "http", "10.0.0.1:80") };
        assert_eq!(attributed(&world, &in_log("/l/a")).as_deref(), Some("a /"));
        assert_eq!(attributed(&world, &in_log("/l/b")).as_deref(), Some("b /"));
    }

    #[test]
    fn the_listening_address_stands_for_a_server_without_a_request() {
        let world = World::http("server { listen 80; server_name a; } server { listen 81; server_name b; }");
        assert_eq!(attributed(&world, &key(Some("0.0.0.0:81"), None, "/")).as_deref(), Some("b server"));
    }

    #[test]
    fn a_subrequest_is_served_by_its_own_location() {
        let world = World::http(
            "server { location / { auth_request /auth; proxy_pass http://10.0.0.1; }
                      location = /auth { internal; proxy_pass http://10.0.0.2/check; } }",
        );
        let line = with_peer(key(Some(""), None, "/auth"), "http", "10.0.0.2:80");
        assert_eq!(attributed(&world, &line).as_deref(), Some(" = /auth"));
        let main = with_peer(key(Some(""), None, "/page"), "http", "10.0.0.2:80");
        assert_eq!(
            attributed(&world, &main).as_deref(),
            Some(" = /auth"),
            "the main request's line names no subrequest"
        );
    }

    const FILES: &str = "
        server {
            location / { proxy_pass http://10.0.0.1; }
            location /keep/ { internal; proxy_pass http://10.0.0.1; }
            location /protected/ { internal; proxy_pass http://10.0.0.1/blobs/; }
            location ~ ^/s3/(.*)$ { internal; proxy_pass http://$1; }
            location /moved/ { internal; rewrite ^/moved/(.*)$ /x/$1 break; proxy_pass http://10.0.0.1; }
        }";

    #[test]
    fn the_path_that_was_sent_tells_routes_to_one_peer_apart() {
        let world = World::http(FILES);
        for (sent, expected) in [
            ("/download/7", " /"),
            ("/keep/a%20b", " /keep/"),
            ("/blobs/7", " /protected/"),
            ("/x/7", " /moved/"),
        ] {
            let line = with_peer(key(Some(""), None, "/download/7"), "http", "10.0.0.1:80");
            let line = RequestKey { sent: Some(sent), ..line };
            assert_eq!(attributed(&world, &line).as_deref(), Some(expected), "{sent}");
        }
    }

    #[test]
    fn a_peer_that_no_configuration_names_is_that_of_an_internal_location_with_variables() {
        let world = World::http(FILES);
        let line = with_peer(key(Some(""), None, "/download/7"), "http", "192.0.2.7:80");
        let line = RequestKey { sent: Some("/bucket/7"), ..line };
        assert_eq!(attributed(&world, &line).as_deref(), Some(" ~ ^/s3/(.*)$"));
    }
}
