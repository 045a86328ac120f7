//! What is sent, and to whom: few probes, bounded, as the gateway itself would speak.
//!
//! Every address that the gateway dials gets exactly one probe: a mere connection, a TLS handshake where the gateway
//! speaks TLS, and one `HEAD` of a failing path where a route that leads to it failed (or a URL was given), in the
//! protocol of the route. A listener of this gateway gets no request: that would be a request to the gateway itself; only
//! where a replay is asked for, the failing request is sent to it once. A peer that fails a request with an upgrade that the
//! route asks for with all of them is asked once more without it. A probe comes from the address that the gateway binds
//! (`proxy_bind`); where no probe can come from there, none is made.

mod cgi;
mod further;
mod replay;
mod tls;

pub(crate) use cgi::asked_script;
#[cfg(test)]
pub(crate) use further::asks_upgrade;
pub(crate) use further::{
    announced_spec, elsewhere_spec, peeks, plain_spec, reused_spec, sized_spec, upgrade_spec, without_upgrade,
};
pub(crate) use replay::{Replay, name_ask as replay_name, replay};
pub(crate) use tls::{deep_spec, named_specs, open_spec, tls_spec, wide_spec};

use crate::case::{Case, Failure, FailureId, PeerSubject, Reuse, Source};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;
use why502_facts::{Ask, HttpRequestSpec, PeerAddress, ProbeSpec, TlsSpec};
use why502_model::{GroupId, Host, Pass, Peer, Protocol, RouteId, Version};

/// The most peers that are probed.
const MAX_PEERS: usize = 64;
/// How many of the newest failures of a peer are looked through for one that is worth repeating.
const MAX_FAILURES: usize = 256;
/// For how long a connection is held open at most, to see when the peer closes it.
const MAX_IDLE: Duration = Duration::from_mins(2);
/// How much longer it is held than the gateway keeps it: a peer that closes later than that loses no request.
const IDLE_MARGIN: Duration = Duration::from_secs(1);
/// How a probe names itself.
pub(crate) const USER_AGENT: &str = concat!("why502/", env!("CARGO_PKG_VERSION"), " (probe)");

/// The probes and looks that every case begins with.
pub(crate) fn asks(case: &Case<'_>) -> Vec<Ask> {
    let mut asks = Vec::new();
    for peer in case.peers.iter().filter(|peer| is_worth_a_probe(case, peer)).take(MAX_PEERS) {
        if case.source(peer) != Source::Other {
            asks.push(case.probe_ask(peer, &spec_of(case, peer)));
        }
        if let PeerAddress::Unix(path) = &peer.address {
            asks.push(Ask::PathWalk { root: case.gateway.root, path: path.clone() });
        }
    }
    asks.extend(replay(case).and_then(Result::ok).map(|replay| replay.ask));
    asks.extend(replay_name(case));
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
    /// The path that the gateway sent to the peer then, if the log tells it.
    sent: Option<String>,
    /// How long the connection is held open afterwards.
    idle: Option<Duration>,
}

/// The failing request that a peer is asked again; none to a listener of this gateway.
fn wanted_request<'c>(case: &'c Case<'_>, peer: &PeerSubject) -> Option<Wanted<'c>> {
    if is_own_listener(case, &peer.address) {
        return None;
    }
    let Failing { route, path, sent, host } = failing_path(case, peer)?;
    let pass = case.pass_of(route, peer.group)?;
    Some(Wanted { route, pass, path, sent, host, idle: idle(case, peer, pass) })
}

/// How long the connection to a peer is held open behind the answer: where requests were lost on connections that may have
/// been used before, it matters whether the peer or the gateway closes idle ones first.
fn idle(case: &Case<'_>, peer: &PeerSubject, pass: &Pass) -> Option<Duration> {
    let group = peer.group.filter(|_| pass.keeps_alive)?;
    let mut losses = case.losses(peer);
    losses.any(|(.., reuse)| reuse > Reuse::Excluded).then(|| {
        let kept = case.keeps_idle(group).unwrap_or(MAX_IDLE);
        kept.saturating_add(IDLE_MARGIN).min(MAX_IDLE)
    })
}

/// One `HEAD` of a failing path without its query, in the protocol of the route. A memcached is asked for its version: its
/// keys are left alone.
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
        Protocol::Memcached => Some(ProbeSpec::MemcachedVersion),
    }
}

/// What a route would send for a path, to whomever it passes to; where a request cannot be made up, the least that its
/// protocol has.
pub(crate) fn spec_of_route(case: &Case<'_>, route: RouteId, pass: &Pass, path: &str) -> ProbeSpec {
    let tls = pass.tls.then(|| tls_spec(case, pass));
    let host = server_name(case, route);
    let wanted = Wanted { route, pass, path: path.to_owned(), sent: None, host, idle: None };
    if let Some(spec) = request_spec(case, &wanted, tls.clone()) {
        return spec;
    }
    match (pass.protocol, tls) {
        (_, Some(tls)) => ProbeSpec::Tls(tls),
        (Protocol::FastCgi, None) => ProbeSpec::FastCgiValues,
        (Protocol::Uwsgi, None) => ProbeSpec::UwsgiPing,
        (Protocol::Memcached, None) => ProbeSpec::MemcachedVersion,
        (Protocol::Grpc | Protocol::Http | Protocol::Scgi, None) => ProbeSpec::Connect,
    }
}

/// A path that comes to a route, as far as its location names one.
pub(crate) fn path_of_location(case: &Case<'_>, route: RouteId) -> String {
    let location = case.gateway.route(route).location.as_deref().unwrap_or("/");
    let prefix = location.trim_start_matches(['=', '^', '~', ' ']);
    let is_pattern = location.starts_with('~') || !prefix.starts_with('/');
    if is_pattern { "/".to_owned() } else { prefix.to_owned() }
}

/// Whether a pass speaks HTTP/2: `grpc_pass`, and `proxy_http_version 2` since 1.29.4.
pub(crate) fn speaks_http2(pass: &Pass) -> bool {
    pass.protocol == Protocol::Grpc
        || (pass.protocol == Protocol::Http && pass.http_version.value.starts_with('2'))
}

/// A request as the gateway would send it; headers whose values only a request decides are left out.
fn http_request(case: &Case<'_>, wanted: &Wanted<'_>) -> HttpRequestSpec {
    let Wanted { route, pass, path, sent, host, idle } = wanted;
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
    headers.extend(connection(case, pass, *idle).map(|value| ("Connection".to_owned(), value.to_owned())));
    headers.push(("User-Agent".to_owned(), USER_AGENT.to_owned()));
    let version =
        if pass.http_version.at.is_none() && newer { "1.1" } else { pass.http_version.value.as_str() };
    HttpRequestSpec {
        method: "HEAD".to_owned(),
        target: sent.clone().unwrap_or_else(|| upstream_path(case, *route, pass, path)),
        version: version.to_owned(),
        headers,
        idle: *idle,
        again: idle.is_some(),
        segment: None,
    }
}

/// What the `Connection` header of a probe says. One request and no more: whatever the gateway would keep open, a probe
/// closes, unless the connection is to be held. An upgrade that the gateway asks for with every request, of whatever kind,
/// is asked for by the probe too: the peer may refuse just that.
fn connection<'c>(case: &'c Case<'_>, pass: &'c Pass, idle: Option<Duration>) -> Option<&'c str> {
    match usual_connection(case, pass) {
        Some(value) if idle.is_some() || names_upgrade(value) => Some(value),
        _ => idle.is_none().then_some("close"),
    }
}

/// The `Connection` header that a route sends for a client that asks for no upgrade, if it sets one and no request decides it:
/// a table without an entry for nothing has its default for such clients.
pub(crate) fn usual_connection<'c>(case: &'c Case<'_>, pass: &'c Pass) -> Option<&'c str> {
    let own = pass.header("Connection")?.value.1.as_str();
    let table = case.upgrade_tables.iter().find(|table| table.name == own);
    let value = table.map_or(Some(own), |table| table.of_nothing());
    value.filter(|value| !value.contains(['$', '*']) && !value.is_empty())
}

/// Whether the value of a `Connection` header asks for an upgrade.
pub(crate) fn names_upgrade(value: &str) -> bool {
    value.split(',').any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

/// A failing request that is worth repeating.
struct Failing {
    route: RouteId,
    /// The path with which it came to the route.
    path: String,
    /// The path that was sent to the peer, if the log tells it.
    sent: Option<String>,
    host: String,
}

/// The newest failing request of a route that leads to the peer.
fn failing_path(case: &Case<'_>, peer: &PeerSubject) -> Option<Failing> {
    if let Some((route, path)) = case.asked_route()
        && peer.is_of(route)
    {
        return Some(Failing { route, path: path.to_owned(), sent: None, host: server_name(case, route) });
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
    let path =
        failure.subrequest().and_then(|own| own.subrequest.clone()).or_else(|| failure.path.clone())?;
    let to_peer = failure.attempts().rev().find(|attempt| attempt.peer.as_ref() == Some(&peer.address));
    let sent = to_peer.and_then(|attempt| attempt.sent.clone()).filter(|sent| is_sendable(sent));
    Some(Failing { route, path, sent, host })
}

/// Whether a path of a log can be sent as it is: no secret in it was masked.
fn is_sendable(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*')
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
    match pass.header("Host").map(|header| header.value.1.as_str()) {
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
            group.name.clone().or_else(|| group.peers.first().map(literal_host))
        }
        why502_model::Target::Unresolved(unresolved) => unresolved.values.first().cloned(),
    }
}

/// What a literal address is called: a unix socket has the name of this host (`ngx_http_proxy_set_vars`).
fn literal_host(peer: &Peer) -> String {
    if matches!(peer.host, Host::Unix(_)) { "localhost".to_owned() } else { peer.text.clone() }
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
