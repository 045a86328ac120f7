//! The failing request once more, through the gateway: at its own listening address, in its own namespace, with the host of
//! the request in place of what DNS would say.

use super::server_name;
use crate::case::{Case, Failure};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use why502_facts::{Ask, HttpRequestSpec, PeerAddress, ProbeSpec, Resolver, TlsSpec};
use why502_model::{Listen, RouteId, Server};

/// How the replay names itself: what is logged of it is no failure.
const USER_AGENT: &str = concat!("why502/", env!("CARGO_PKG_VERSION"), " (replay)");
/// The only method that is replayed.
const METHOD: &str = "HEAD";

/// A request that is replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    /// The route that it comes to first.
    pub(crate) route: RouteId,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) ask: Ask,
}

/// What is to be replayed through the gateway, if that was asked for; an error says why nothing can be.
pub(crate) fn replay(case: &Case<'_>) -> Option<Result<Replay, String>> {
    case.facts.manifest.invocation.replay.then(|| made(case))
}

/// The name of a given URL, which DNS may lead elsewhere.
pub(crate) fn name_ask(case: &Case<'_>) -> Option<Ask> {
    let url = &case.asked.as_ref().filter(|_| case.facts.manifest.invocation.replay)?.url;
    let name = url.host.clone().filter(|_| url.address().is_none())?;
    Some(Ask::Resolve { security: case.gateway.security, name, resolver: Resolver::System })
}

fn made(case: &Case<'_>) -> Result<Replay, String> {
    if case.gateway.master.is_none() {
        return Err("no running nginx was found to replay a request through".to_owned());
    }
    let wanted = match &case.asked {
        Some(asked) => asked.route.map(|route| (route, asked.url.path.clone(), asked.url.host.clone())),
        None => newest(case),
    };
    let (route, path, host) = wanted.ok_or("no failing GET or HEAD is known that could be replayed")?;
    let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| server_name(case, route));
    let server = case.gateway.server_of(case.gateway.route(route));
    let port = case.asked.as_ref().and_then(|asked| asked.url.port);
    let listen = listen(server, port).ok_or("nginx listens nowhere that a request could be replayed to")?;
    let target = address(listen).ok_or("nginx listens nowhere that a request could be replayed to")?;
    let headers = [("Host", host.as_str()), ("User-Agent", USER_AGENT), ("Connection", "close")];
    let request = HttpRequestSpec {
        method: METHOD.to_owned(),
        target: path.clone(),
        version: "1.1".to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        idle: None,
        again: false,
        segment: None,
    };
    let is_name = !host.is_empty() && host.parse::<IpAddr>().is_err();
    let server_name = is_name.then(|| host.split(':').next().unwrap_or(&host).to_owned());
    let tls = listen.tls.then(|| TlsSpec { server_name, ..TlsSpec::default() });
    let spec = Box::new(ProbeSpec::Http { tls, request });
    Ok(Replay {
        route,
        path,
        host,
        ask: Ask::Probe { security: case.gateway.security, target, spec, source: None },
    })
}

/// The newest failure of a request that reads only.
fn newest(case: &Case<'_>) -> Option<(RouteId, String, Option<String>)> {
    let reads = |failure: &&Failure| matches!(failure.method.as_deref(), Some("GET" | "HEAD"));
    case.failures.iter().rev().filter(reads).find_map(|failure| {
        let path = failure.path.clone().filter(|path| path.starts_with('/'))?;
        Some((failure.entry.or(failure.route)?, path, failure.host.clone()))
    })
}

/// Where the request is sent: on the port of the URL, else where the server listens first; not where a proxy must stand
/// before it.
fn listen(server: &Server, port: Option<u16>) -> Option<&Listen> {
    let open = || server.listens.iter().filter(|listen| !listen.proxy_protocol);
    let on_port = |listen: &&Listen| port.is_some() && listen.address.map(|own| own.port()) == port;
    open().find(on_port).or_else(|| open().next())
}

fn address(listen: &Listen) -> Option<PeerAddress> {
    let Some(address) = listen.address else { return listen.path.clone().map(PeerAddress::Unix) };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Some(PeerAddress::Inet(SocketAddr::new(ip, address.port())))
}
