//! What a peer is asked beyond its one probe: the request in another guise, or who it is.

use super::{
    USER_AGENT, Wanted, is_own_listener, names_upgrade, request_spec, spec_of, spec_of_route, wanted_request,
};
use crate::case::{Case, PeerSubject};
use std::time::Duration;
use why502_facts::{HttpRequestSpec, ProbeSpec, ProxyHeader};
use why502_model::{Pass, Protocol, RouteId};

/// A plain request to a peer that TLS is spoken to, where the handshake ended before any request was sent.
pub(crate) fn plain_spec(case: &Case<'_>, peer: &PeerSubject) -> Option<ProbeSpec> {
    request_spec(case, &Wanted { idle: None, ..wanted_request(case, peer)? }, None)
}

/// The request of a peer's probe behind a header of the PROXY protocol.
pub(crate) fn announced_spec(case: &Case<'_>, peer: &PeerSubject, header: ProxyHeader) -> Option<ProbeSpec> {
    let (ProbeSpec::Http { tls, request } | ProbeSpec::Http2 { tls, request }) = spec_of(case, peer) else {
        return None;
    };
    Some(ProbeSpec::ProxyProtocol {
        header,
        tls,
        request: HttpRequestSpec { idle: None, again: false, ..request },
    })
}

/// The request of a peer's probe on a connection that the peer is asked to keep, held open without a word for so long, and then
/// the same once more; `None` where that is no request of HTTP/1.
pub(crate) fn reused_spec(case: &Case<'_>, peer: &PeerSubject, idle: Duration) -> Option<ProbeSpec> {
    let ProbeSpec::Http { tls, mut request } = spec_of(case, peer) else { return None };
    request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Connection"));
    if request.version == "1.0" {
        request.headers.push(("Connection".to_owned(), "keep-alive".to_owned()));
    }
    let request = HttpRequestSpec { idle: Some(idle), again: true, ..request };
    Some(ProbeSpec::Http { tls, request })
}

/// The request of a peer's probe with a header line that fills a packet of a size, and goes in packets that carry no more than so
/// many bytes; `None` where that is no request of HTTP/1.
pub(crate) fn sized_spec(
    case: &Case<'_>,
    peer: &PeerSubject,
    size: u16,
    segment: Option<u16>,
) -> Option<ProbeSpec> {
    let ProbeSpec::Http { tls, mut request } = spec_of(case, peer) else { return None };
    request.headers.push(("X-Padding".to_owned(), "p".repeat(usize::from(size))));
    Some(ProbeSpec::Http { tls, request: HttpRequestSpec { idle: None, again: false, segment, ..request } })
}

/// The request of a peer that asks for an upgrade as a route does with all of its requests: its one probe, if that does. The
/// newest failing path is asked for.
pub(crate) fn upgrade_spec(
    case: &Case<'_>,
    peer: &PeerSubject,
    route: RouteId,
    pass: &Pass,
) -> Option<ProbeSpec> {
    if is_own_listener(case, &peer.address) {
        return None;
    }
    let planned = spec_of(case, peer);
    if asks_upgrade(&planned) {
        return Some(planned);
    }
    let paths = case.failures_of(route).filter_map(|(_, failure)| failure.path.as_deref());
    let path = paths.filter(|path| path.starts_with('/')).last()?;
    Some(spec_of_route(case, route, pass, path)).filter(asks_upgrade)
}

/// Whether a probe is a request for an upgrade that a route asks for with all of its requests.
pub(crate) fn asks_upgrade(spec: &ProbeSpec) -> bool {
    let ProbeSpec::Http { request, .. } = spec else { return false };
    request
        .headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("Connection") && names_upgrade(value))
}

/// The same request as a client makes it that wants no upgrade.
pub(crate) fn without_upgrade(spec: &ProbeSpec) -> ProbeSpec {
    let mut other = spec.clone();
    if let ProbeSpec::Http { request, .. } = &mut other {
        request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Upgrade"));
        for (name, value) in &mut request.headers {
            if name.eq_ignore_ascii_case("Connection") {
                "close".clone_into(value);
            }
        }
        (request.idle, request.again) = (None, false);
    }
    other
}

/// Pages that hardly anybody has: who answers at all refuses them at once.
const ELSEWHERE: [&str; 2] = ["/favicon.ico", "/robots.txt"];

/// A request for another page of a peer that left its one probe without an answer.
pub(crate) fn elsewhere_spec(case: &Case<'_>, peer: &PeerSubject) -> Option<ProbeSpec> {
    if is_own_listener(case, &peer.address) {
        return None;
    }
    let mut spec = without_upgrade(&spec_of(case, peer));
    let (ProbeSpec::Http { request, .. } | ProbeSpec::Http2 { request, .. }) = &mut spec else { return None };
    let other = ELSEWHERE.into_iter().find(|other| *other != request.target)?;
    other.clone_into(&mut request.target);
    request.idle = None;
    Some(spec)
}

/// A question to a peer itself whether it speaks a protocol: no request, and no application is called.
pub(crate) fn peeks(case: &Case<'_>, peer: &PeerSubject) -> Vec<ProbeSpec> {
    if is_own_listener(case, &peer.address) {
        return Vec::new();
    }
    let of_itself = [ProbeSpec::FastCgiValues, ProbeSpec::UwsgiPing, ProbeSpec::MemcachedVersion];
    http_question(case, peer).into_iter().chain(of_itself).collect()
}

/// One `HEAD` of the failing path to a peer that is spoken to in a protocol of applications: what listens there may be a web
/// server.
fn http_question(case: &Case<'_>, peer: &PeerSubject) -> Option<ProbeSpec> {
    let wanted = wanted_request(case, peer)?;
    if matches!(wanted.pass.protocol, Protocol::Grpc | Protocol::Http) {
        return None;
    }
    let host = if wanted.host.is_empty() { "localhost" } else { &wanted.host };
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Some(ProbeSpec::WhoSpeaks(HttpRequestSpec {
        method: "HEAD".to_owned(),
        target: wanted.path.clone(),
        version: "1.1".to_owned(),
        headers: vec![header("Host", host), header("Connection", "close"), header("User-Agent", USER_AGENT)],
        idle: None,
        again: false,
        segment: None,
    }))
}
