//! What is sent, and to whom: few probes, bounded, as the gateway itself would speak.
//!
//! Every address that the gateway dials gets exactly one probe: a mere connection, a TLS handshake where the gateway
//! speaks TLS, and one `HEAD` of a failing path where a route that leads to it failed (or a URL was given), in the
//! protocol of the route. A listener of this gateway gets no request: that would be a request to the gateway itself.

mod cgi;
mod tls;

pub(crate) use cgi::asked_script;
pub(crate) use tls::{deep_spec, named_specs, open_spec, tls_spec, wide_spec};

use crate::case::{Case, Failure, FailureId, PeerSubject};
use std::cmp::Reverse;
use std::collections::HashMap;
use why502_facts::{Ask, HttpRequestSpec, PeerAddress, ProbeSpec, TlsSpec};
use why502_model::{GroupId, Pass, Protocol, RouteId, Version};

/// The most peers that are probed.
const MAX_PEERS: usize = 64;
/// How many of the newest failures of a peer are looked through for one that is worth repeating.
const MAX_FAILURES: usize = 256;
/// How a probe names itself.
const USER_AGENT: &str = concat!("why502/", env!("CARGO_PKG_VERSION"), " (probe)");

/// The probes and looks that every case begins with.
pub(crate) fn asks(case: &Case<'_>) -> Vec<Ask> {
    let mut asks = Vec::new();
    for peer in case.peers.iter().filter(|peer| is_worth_a_probe(case, peer)).take(MAX_PEERS) {
        asks.push(case.probe_ask(peer, &spec_of(case, peer)));
        if let PeerAddress::Unix(path) = &peer.address {
            asks.push(Ask::PathWalk { root: case.gateway.root, path: path.clone() });
        }
    }
    asks
}

/// Only what the gateway would dial is probed: a peer that is configured and not marked as down.
fn is_worth_a_probe(case: &Case<'_>, peer: &PeerSubject) -> bool {
    !peer.routes.is_empty()
        && case.concerns_peer(peer)
        && case.configured(peer).is_none_or(|configured| !configured.down)
}

/// The one probe of a peer.
pub(crate) fn spec_of(case: &Case<'_>, peer: &PeerSubject) -> ProbeSpec {
    case.planned(peer).cloned().unwrap_or_else(|| made_spec(case, peer))
}

/// The one probe of every peer: thousands of routes may lead to one, so it is made up once.
pub(crate) fn specs(case: &Case<'_>) -> HashMap<(Option<GroupId>, PeerAddress), ProbeSpec> {
    let spec = |peer: &PeerSubject| ((peer.group, peer.address.clone()), made_spec(case, peer));
    case.peers.iter().map(spec).collect()
}

fn made_spec(case: &Case<'_>, peer: &PeerSubject) -> ProbeSpec {
    let Some(pass) = case.pass_to(peer) else { return ProbeSpec::Connect };
    let tls = pass.tls.then(|| tls_spec(case, pass));
    if let Some(wanted) = wanted_request(case, peer)
        && let Some(spec) = request_spec(case, &wanted, tls.clone())
    {
        return spec;
    }
    tls.map_or(ProbeSpec::Connect, ProbeSpec::Tls)
}

/// A request that failed on the way to a peer, and that is worth repeating.
struct Wanted<'c> {
    route: RouteId,
    pass: &'c Pass,
    path: String,
    host: String,
}

/// The failing request that a peer is asked again; none to a listener of this gateway.
fn wanted_request<'c>(case: &'c Case<'_>, peer: &PeerSubject) -> Option<Wanted<'c>> {
    if is_own_listener(case, &peer.address) {
        return None;
    }
    let (route, path, host) = failing_path(case, peer)?;
    Some(Wanted { route, pass: case.pass_of(route, peer.group)?, path, host })
}

/// One `HEAD` of a failing path without its query, in the protocol of the route; `None` where that is one without such.
fn request_spec(case: &Case<'_>, wanted: &Wanted<'_>, tls: Option<TlsSpec>) -> Option<ProbeSpec> {
    match wanted.pass.protocol {
        Protocol::Http if !speaks_http2(wanted.pass) => {
            Some(ProbeSpec::Http { tls, request: http_request(case, wanted) })
        }
        Protocol::Grpc | Protocol::Http => {
            let mut request = http_request(case, wanted);
            "2".clone_into(&mut request.version);
            Some(ProbeSpec::Http2 { tls, request })
        }
        Protocol::FastCgi => Some(ProbeSpec::FastCgi(cgi::request(case, wanted)?.request)),
        Protocol::Scgi => Some(ProbeSpec::Scgi(cgi::request(case, wanted)?.request)),
        Protocol::Uwsgi => {
            let cgi::Made { request, modifiers } = cgi::request(case, wanted)?;
            Some(ProbeSpec::Uwsgi { tls, modifiers, request })
        }
        Protocol::Memcached => None,
    }
}

/// A plain request to a peer that TLS is spoken to, where the handshake ended before any request was sent.
pub(crate) fn plain_spec(case: &Case<'_>, peer: &PeerSubject) -> Option<ProbeSpec> {
    request_spec(case, &wanted_request(case, peer)?, None)
}

/// A question to a peer itself whether it speaks a protocol: no request, and no application is called.
pub(crate) fn peeks(case: &Case<'_>, peer: &PeerSubject) -> Vec<ProbeSpec> {
    if is_own_listener(case, &peer.address) {
        return Vec::new();
    }
    vec![ProbeSpec::FastCgiValues, ProbeSpec::UwsgiPing]
}

/// Whether a pass speaks HTTP/2: `grpc_pass`, and `proxy_http_version 2` since 1.29.4.
pub(crate) fn speaks_http2(pass: &Pass) -> bool {
    pass.protocol == Protocol::Grpc
        || (pass.protocol == Protocol::Http && pass.http_version.value.starts_with('2'))
}

fn http_request(case: &Case<'_>, wanted: &Wanted<'_>) -> HttpRequestSpec {
    let Wanted { route, pass, path, host } = wanted;
    request(case, pass, &upstream_path(case, *route, pass, path), host)
}

/// A request as the gateway would send it; headers whose values only a request decides are left out.
fn request(case: &Case<'_>, pass: &Pass, path: &str, host: &str) -> HttpRequestSpec {
    let newer = case.gateway.is_at_least(Version(1, 29, 7)) == Some(true);
    let mut headers = vec![("Host".to_owned(), host_header(case, pass, host))];
    for header in &pass.headers {
        let (name, value) = &header.value;
        let constant = !value.contains('$') && !value.is_empty();
        if constant
            && !name.eq_ignore_ascii_case("Host")
            && !name.eq_ignore_ascii_case("Connection")
            && !value.contains('*')
        {
            headers.push((name.clone(), value.clone()));
        }
    }
    // One request and no more: whatever the gateway would keep open, a probe closes.
    headers.push(("Connection".to_owned(), "close".to_owned()));
    headers.push(("User-Agent".to_owned(), USER_AGENT.to_owned()));
    let version =
        if pass.http_version.at.is_none() && newer { "1.1" } else { pass.http_version.value.as_str() };
    HttpRequestSpec {
        method: "HEAD".to_owned(),
        target: path.to_owned(),
        version: version.to_owned(),
        headers,
    }
}

/// The newest failing request of a route that leads to the peer: the route, the path and the host.
fn failing_path(case: &Case<'_>, peer: &PeerSubject) -> Option<(RouteId, String, String)> {
    if let Some((route, path)) = case.asked_route()
        && peer.is_of(route)
    {
        return Some((route, path.to_owned(), server_name(case, route)));
    }
    let mut failing: Vec<(FailureId, &Failure)> = peer
        .routes
        .iter()
        .flat_map(|route| case.failures_of(*route))
        .filter(|(_, failure)| failure.path.as_ref().is_some_and(|path| path.starts_with('/')))
        .collect();
    failing.sort_unstable_by_key(|(id, _)| Reverse(*id));
    failing.truncate(MAX_FAILURES);
    // A path that is asked for with GET is better than one that takes a POST.
    failing.sort_by_key(|(_, failure)| !matches!(failure.method.as_deref(), Some("GET" | "HEAD")));
    let (_, failure) = failing.first()?;
    let route = failure.route?;
    let host = failure.host.clone().unwrap_or_else(|| server_name(case, route));
    Some((route, failure.path.clone()?, host))
}

/// The name that a route's server is asked for by, where it has one that is no pattern.
fn server_name(case: &Case<'_>, route: RouteId) -> String {
    let name = case.gateway.server_of(case.gateway.route(route)).name();
    let is_pattern = name.starts_with(['~', '*', '.', '_']) || name.ends_with('*') || name.contains('$');
    if is_pattern { String::new() } else { name.to_owned() }
}

/// The path that the peer sees: the location's prefix is replaced where the pass has a path of its own.
pub(crate) fn upstream_path(case: &Case<'_>, route: RouteId, pass: &Pass, path: &str) -> String {
    let Some(own) = pass.path.as_deref().filter(|own| !own.is_empty()) else { return path.to_owned() };
    let location = case.gateway.route(route).location.as_deref().unwrap_or("");
    let prefix = location.trim_start_matches(['=', '^', '~', ' ']);
    match path.strip_prefix(prefix) {
        Some(rest) => format!("{own}{rest}"),
        None => path.to_owned(),
    }
}

pub(crate) fn host_header(case: &Case<'_>, pass: &Pass, host: &str) -> String {
    let of_target = || host_of(case, pass).unwrap_or_default();
    let set = pass.headers.iter().find(|header| header.value.0.eq_ignore_ascii_case("Host"));
    match set.map(|header| header.value.1.as_str()) {
        None | Some("$proxy_host") => of_target(),
        // An empty Host would be answered with 400.
        Some("$host" | "$http_host") if host.is_empty() => of_target(),
        Some("$host") => host.split(':').next().unwrap_or(host).to_owned(),
        Some("$http_host") => host.to_owned(),
        Some(value) if !value.contains('$') => value.to_owned(),
        Some(_) if host.is_empty() => of_target(),
        Some(_) => host.to_owned(),
    }
}

/// The host and port of a pass's target as written (`$proxy_host`).
fn host_of(case: &Case<'_>, pass: &Pass) -> Option<String> {
    match &pass.target {
        why502_model::Target::Group(id) => {
            let group = case.gateway.group(*id);
            group.name.clone().or_else(|| group.peers.first().map(|peer| peer.text.clone()))
        }
        why502_model::Target::Unresolved(unresolved) => unresolved.values.first().cloned(),
    }
}

/// Whether an address is a listener of this gateway.
pub(crate) fn is_own_listener(case: &Case<'_>, address: &PeerAddress) -> bool {
    match address {
        PeerAddress::Unix(path) => case.listens_on_path(path),
        PeerAddress::Inet(inet) => case
            .listens_on_port(inet.port())
            .any(|own| own == inet.ip() || (own.is_unspecified() && case.is_local(address))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use why502_decode::load;
    use why502_model::Model;

    /// What is made up anew for each of a peer's routes takes time by their square.
    #[test]
    fn the_probe_of_a_peer_is_made_up_with_the_case() {
        let text = r#"
#- nginx.conf
events {}
http {
    server {
        location / { proxy_pass http://127.0.0.1:3000; }
        location ~ ^/b { proxy_pass http://127.0.0.1:3000; }
        location /s/ { proxy_pass https://127.0.0.1:3001; }
    }
}
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /b/x HTTP/1.1" 503 197 "-" "curl/8"
"#;
        let bundle = Fixture::new(text).bundle();
        let facts = load(&bundle);
        let model = Model::build(&facts);
        let case = Case::new(&facts, &model, 0);
        let planned: Vec<&ProbeSpec> = case.peers.iter().map(|peer| case.planned(peer).unwrap()).collect();
        let [ProbeSpec::Http { tls: None, request }, ProbeSpec::Tls(_)] = planned.as_slice() else {
            panic!("{planned:?}")
        };
        assert_eq!(request.target, "/b/x");
    }
}
