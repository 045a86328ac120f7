//! What is sent to a target: as the route sends it that leads there, or as it was asked for, or a question who speaks there.

use super::TargetQuestion;
use super::find::{Found, FoundPeer};
use super::text::{Form, Scheme, SpokenProtocol};
use crate::plan;
use why502_facts::{
    CgiRequestSpec, FirstBytes, HttpRequestSpec, ProbeReport, ProbeSpec, TlsSpec, websocket_request,
};
use why502_model::{Pass, Protocol, RequestVars};

/// All that the library has, the weakest included: who speaks there is to be seen, not how well.
const EVERYTHING: &str = "ALL:@SECLEVEL=0";
/// What TLS names HTTP/2 (RFC 9113, section 3.2).
const HTTP2: &str = "h2";
/// What a header of the gateway's that only concerns its own connection is called.
const OF_CONNECTION: [&str; 2] = ["Connection", "Upgrade"];

/// The conversation that is wanted with a peer.
pub(super) fn spec(found: &Found<'_>, peer: &FoundPeer<'_>, question: &TargetQuestion) -> ProbeSpec {
    let mut spec = match (wanted_protocol(question), of_route(found, peer, question)) {
        (None, Some(spec)) => spec,
        (None, None) if question.server_name.is_some() => free_spec(question, SpokenProtocol::Http),
        (None, None) => ProbeSpec::WhoSpeaks(free_request(question)),
        (Some(protocol), Some(spec)) if is_in(&spec, protocol) => with_tls(spec, question),
        (Some(SpokenProtocol::Grpc), Some(ProbeSpec::Http2 { tls, request })) => {
            with_tls(ProbeSpec::GrpcHealth { tls, headers: request.headers }, question)
        }
        (Some(SpokenProtocol::Http2), Some(ProbeSpec::Http { tls, request })) => {
            with_tls(ProbeSpec::Http2 { tls, request: in_http2(request) }, question)
        }
        (Some(SpokenProtocol::WebSocket), Some(ProbeSpec::Http { tls, request })) => {
            let is_own = |name: &str| OF_CONNECTION.iter().any(|own| name.eq_ignore_ascii_case(own));
            let headers = request.headers.into_iter().filter(|(name, _)| !is_own(name)).collect();
            with_tls(
                ProbeSpec::WebSocket { tls, request: websocket_request(&request.target, headers) },
                question,
            )
        }
        (Some(SpokenProtocol::ProxyProtocol(header)), Some(ProbeSpec::Http { tls, request })) => {
            with_tls(ProbeSpec::ProxyProtocol { header, tls, request }, question)
        }
        (Some(SpokenProtocol::Tls), Some(spec)) if spec.tls().is_some() => {
            ProbeSpec::Tls(spec.tls().cloned().unwrap_or_default())
        }
        (Some(protocol), _) => free_spec(question, protocol),
    };
    if let Some(host) = &question.host {
        set_host(&mut spec, host);
    }
    if let Some(name) = &question.server_name {
        set_server_name(&mut spec, name);
    }
    if let ProbeSpec::GrpcHealth { tls: Some(tls), .. } | ProbeSpec::Http2 { tls: Some(tls), .. } = &mut spec
    {
        tls.alpn = vec![HTTP2.to_owned()];
    }
    spec
}

/// The protocol that was asked for, by an option or by the scheme of a URL that is no route's.
fn wanted_protocol(question: &TargetQuestion) -> Option<SpokenProtocol> {
    question.protocol.map(|wanted| wanted.protocol).or_else(|| scheme(question).map(|scheme| scheme.protocol))
}

fn scheme(question: &TargetQuestion) -> Option<Scheme> {
    match &question.target.form {
        Form::Url { scheme, .. } | Form::UrlToUnix { scheme, .. } => Some(*scheme),
        Form::Address { .. } | Form::Name(_) | Form::Path(_) | Form::Unix(_) => None,
    }
}

/// Whether TLS is to be spoken: as the option says, else as the scheme does; `None` where nobody said.
fn wants_tls(question: &TargetQuestion) -> Option<bool> {
    let by_option = question.protocol.and_then(|wanted| wanted.tls);
    let by_name = question.server_name.is_some().then_some(true);
    by_option.or(by_name).or_else(|| scheme(question).map(|scheme| scheme.tls))
}

/// The conversation as the route has it that leads to a peer.
fn of_route(found: &Found<'_>, peer: &FoundPeer<'_>, question: &TargetQuestion) -> Option<ProbeSpec> {
    let (case, (route, pass)) = (found.case?, peer.way?);
    let asked = case.asked_route().map(|(_, path)| path.to_owned());
    let typed = path(question).map(|path| path.split('?').next().unwrap_or(path).to_owned());
    if pass.protocol == Protocol::Memcached {
        return Some(memcached_spec(pass, asked.or(typed).as_deref()));
    }
    let is_typed = asked.is_none() && typed.is_some();
    let path = asked.or(typed).unwrap_or_else(|| plan::path_of_location(case, route));
    // A path that was typed is asked for, whether the route would pass it on or not.
    Some(plan::spec_of_route(case, route, pass, &path)).filter(|spec| spec.is_request() || !is_typed)
}

/// A memcached is asked for the key that the route makes of a path; for its version, where nothing makes one.
fn memcached_spec(pass: &Pass, path: Option<&str>) -> ProbeSpec {
    let request = path.map(|path| RequestVars::of_request("GET", path, None));
    let key = request.and_then(|request| pass.key.as_ref()?.of(&request));
    key.map_or(ProbeSpec::MemcachedVersion, ProbeSpec::MemcachedGet)
}

/// Whether a conversation is one in a protocol.
fn is_in(spec: &ProbeSpec, protocol: SpokenProtocol) -> bool {
    match spec {
        ProbeSpec::FastCgi(_) | ProbeSpec::FastCgiValues => protocol == SpokenProtocol::FastCgi,
        ProbeSpec::Http { .. } => protocol == SpokenProtocol::Http,
        ProbeSpec::Http2 { .. } => protocol == SpokenProtocol::Http2,
        ProbeSpec::MemcachedGet(_) | ProbeSpec::MemcachedVersion => protocol == SpokenProtocol::Memcached,
        ProbeSpec::Scgi(_) => protocol == SpokenProtocol::Scgi,
        ProbeSpec::Uwsgi { .. } | ProbeSpec::UwsgiPing => protocol == SpokenProtocol::Uwsgi,
        _ => false,
    }
}

/// The same through TLS or plain, where that was said.
fn with_tls(mut spec: ProbeSpec, question: &TargetQuestion) -> ProbeSpec {
    let wanted = wants_tls(question);
    if let ProbeSpec::GrpcHealth { tls, .. }
    | ProbeSpec::Http { tls, .. }
    | ProbeSpec::Http2 { tls, .. }
    | ProbeSpec::ProxyProtocol { tls, .. }
    | ProbeSpec::Uwsgi { tls, .. }
    | ProbeSpec::WebSocket { tls, .. } = &mut spec
    {
        match wanted {
            Some(false) => *tls = None,
            Some(true) => *tls = Some(tls.take().unwrap_or_else(|| free_tls(question))),
            None => {}
        }
    }
    spec
}

/// A conversation that no route tells how to lead.
fn free_spec(question: &TargetQuestion, protocol: SpokenProtocol) -> ProbeSpec {
    let is_tls = wants_tls(question) == Some(true);
    let tls = is_tls.then(|| free_tls(question));
    match protocol {
        SpokenProtocol::FastCgi if path(question).is_none() => ProbeSpec::FastCgiValues,
        SpokenProtocol::FastCgi => ProbeSpec::FastCgi(free_cgi(question)),
        SpokenProtocol::Grpc => ProbeSpec::GrpcHealth { tls, headers: free_headers(question) },
        SpokenProtocol::Http => ProbeSpec::Http { tls, request: free_request(question) },
        SpokenProtocol::Http2 => ProbeSpec::Http2 { tls, request: in_http2(free_request(question)) },
        // As `set $memcached_key $uri` names keys.
        SpokenProtocol::Memcached => path(question)
            .map_or(ProbeSpec::MemcachedVersion, |path| ProbeSpec::MemcachedGet(path.to_owned())),
        SpokenProtocol::ProxyProtocol(header) => {
            ProbeSpec::ProxyProtocol { header, tls, request: free_request(question) }
        }
        SpokenProtocol::Scgi => ProbeSpec::Scgi(free_cgi(question)),
        SpokenProtocol::Tcp => ProbeSpec::Connect,
        SpokenProtocol::Tls => ProbeSpec::Tls(free_tls(question)),
        SpokenProtocol::Uwsgi => ProbeSpec::Uwsgi { tls, modifiers: [0, 0], request: free_cgi(question) },
        SpokenProtocol::WebSocket => {
            let headers = free_headers(question);
            ProbeSpec::WebSocket { tls, request: websocket_request(path(question).unwrap_or("/"), headers) }
        }
    }
}

fn path(question: &TargetQuestion) -> Option<&str> {
    match &question.target.form {
        Form::Url { path, .. } | Form::UrlToUnix { path, .. } => path.as_deref(),
        Form::Path(path) => Some(path),
        Form::Address { .. } | Form::Name(_) | Form::Unix(_) => None,
    }
}

/// Whom a request names: the host of the target with its port, unless that is the usual one of its scheme.
fn host_of(question: &TargetQuestion) -> String {
    let bracketed = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match &question.target.form {
        Form::Address { host, port } => format!("{}:{port}", bracketed(host)),
        Form::Url { scheme, host, port, .. } => match port.filter(|port| Some(*port) != scheme.port) {
            Some(port) => format!("{}:{port}", bracketed(host)),
            None => bracketed(host),
        },
        Form::Name(name) => name.clone(),
        Form::Path(_) | Form::Unix(_) | Form::UrlToUnix { .. } => "localhost".to_owned(),
    }
}

/// TLS as a client without settings of its own speaks it: nothing is verified, as nginx does by default.
fn free_tls(question: &TargetQuestion) -> TlsSpec {
    let host = match &question.target.form {
        Form::Address { host, .. } | Form::Url { host, .. } => Some(host),
        Form::Name(_) | Form::Path(_) | Form::Unix(_) | Form::UrlToUnix { .. } => None,
    };
    let host = host.filter(|host| host.parse::<std::net::IpAddr>().is_err());
    TlsSpec { server_name: question.server_name.clone().or_else(|| host.cloned()), ..TlsSpec::default() }
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn free_headers(question: &TargetQuestion) -> Vec<(String, String)> {
    vec![header("Host", &host_of(question)), header("User-Agent", plan::USER_AGENT)]
}

fn in_http2(request: HttpRequestSpec) -> HttpRequestSpec {
    HttpRequestSpec { version: "2".to_owned(), ..request }
}

/// One `HEAD`.
fn free_request(question: &TargetQuestion) -> HttpRequestSpec {
    let mut headers = free_headers(question);
    headers.push(header("Connection", "close"));
    HttpRequestSpec {
        method: "HEAD".to_owned(),
        target: path(question).unwrap_or("/").to_owned(),
        version: "1.1".to_owned(),
        headers,
        idle: None,
        again: false,
        segment: None,
    }
}

/// One `HEAD`, with the parameters that every application needs. A script has the name of the path: PHP-FPM's own pages
/// are found by it, and whose files they are is not known here.
fn free_cgi(question: &TargetQuestion) -> CgiRequestSpec {
    let target = path(question).unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let host = host_of(question);
    let params = [
        ("REQUEST_METHOD", "HEAD"),
        ("SCRIPT_NAME", path),
        ("SCRIPT_FILENAME", path),
        ("PATH_INFO", path),
        ("REQUEST_URI", target),
        ("DOCUMENT_URI", path),
        ("QUERY_STRING", query),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_NAME", &host),
        ("HTTP_HOST", &host),
        ("HTTP_USER_AGENT", plan::USER_AGENT),
    ];
    CgiRequestSpec {
        params: params.iter().map(|(name, value)| header(name, value)).collect(),
        left_out: Vec::new(),
    }
}

fn set_host(spec: &mut ProbeSpec, host: &str) {
    match spec {
        ProbeSpec::GrpcHealth { headers, .. }
        | ProbeSpec::Http { request: HttpRequestSpec { headers, .. }, .. }
        | ProbeSpec::Http2 { request: HttpRequestSpec { headers, .. }, .. }
        | ProbeSpec::ProxyProtocol { request: HttpRequestSpec { headers, .. }, .. }
        | ProbeSpec::WebSocket { request: HttpRequestSpec { headers, .. }, .. }
        | ProbeSpec::WhoSpeaks(HttpRequestSpec { headers, .. }) => {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Host"));
            headers.insert(0, header("Host", host));
        }
        ProbeSpec::FastCgi(request) | ProbeSpec::Scgi(request) | ProbeSpec::Uwsgi { request, .. } => {
            request.params.retain(|(name, _)| name != "HTTP_HOST");
            request.params.push(header("HTTP_HOST", host));
        }
        ProbeSpec::Connect
        | ProbeSpec::FastCgiValues
        | ProbeSpec::MemcachedGet(_)
        | ProbeSpec::MemcachedVersion
        | ProbeSpec::Tls(_)
        | ProbeSpec::UwsgiPing => {}
    }
}

fn set_server_name(spec: &mut ProbeSpec, name: &str) {
    let (ProbeSpec::GrpcHealth { tls: Some(tls), .. }
    | ProbeSpec::Http { tls: Some(tls), .. }
    | ProbeSpec::Http2 { tls: Some(tls), .. }
    | ProbeSpec::ProxyProtocol { tls: Some(tls), .. }
    | ProbeSpec::Tls(tls)
    | ProbeSpec::Uwsgi { tls: Some(tls), .. }
    | ProbeSpec::WebSocket { tls: Some(tls), .. }) = spec
    else {
        return;
    };
    tls.server_name = Some(name.to_owned());
    if let Some(verify) = &mut tls.verify {
        verify.name = Some(name.to_owned());
    }
}

/// What is asked of a peer next, after a conversation with it that did not tell who speaks there; in order.
pub(super) fn asides(spec: &ProbeSpec, report: &ProbeReport, question: &TargetQuestion) -> Vec<ProbeSpec> {
    if !report.connected() || !is_unclear(spec, report) {
        return Vec::new();
    }
    let request = match spec {
        ProbeSpec::Http { request, .. } | ProbeSpec::WhoSpeaks(request) => request.clone(),
        _ => free_request(question),
    };
    let wide = TlsSpec { ciphers: Some(EVERYTHING.to_owned()), ..free_tls(question) };
    let through_tls = ProbeSpec::Http { tls: Some(wide), request: request.clone() };
    let mut asides = Vec::new();
    if !matches!(spec, ProbeSpec::WhoSpeaks(_)) && !is_plain_http(spec) {
        asides.push(ProbeSpec::WhoSpeaks(request));
    }
    if spec.tls().is_none() {
        asides.push(through_tls);
    }
    if !matches!(spec, ProbeSpec::FastCgi(_) | ProbeSpec::FastCgiValues) {
        asides.push(ProbeSpec::FastCgiValues);
    }
    // Not a ping: a server answers it only where it was built or told to.
    if !matches!(spec, ProbeSpec::Uwsgi { .. }) {
        asides.push(ProbeSpec::Uwsgi { tls: None, modifiers: [0, 0], request: free_cgi(question) });
    }
    if !matches!(spec, ProbeSpec::MemcachedGet(_) | ProbeSpec::MemcachedVersion) {
        asides.push(ProbeSpec::MemcachedVersion);
    }
    asides
}

fn is_plain_http(spec: &ProbeSpec) -> bool {
    matches!(spec, ProbeSpec::Http { tls: None, .. } | ProbeSpec::WebSocket { tls: None, .. })
}

/// Whether what came does not tell who speaks there: nothing, nothing that is known, or a complaint that TLS is wanted.
fn is_unclear(spec: &ProbeSpec, report: &ProbeReport) -> bool {
    if matches!(spec, ProbeSpec::Connect) || report.tls_stands() {
        return false;
    }
    match report.first_bytes {
        // A server of TLS answers a plain request with 400, as nginx, Apache and Go do, and one of HTTP anything else.
        FirstBytes::Http => report.answer.as_ref().is_some_and(|answer| answer.status == 400),
        FirstBytes::Tls { .. } => spec.tls().is_none(),
        FirstBytes::Nothing | FirstBytes::Other => report.answer.is_none(),
        FirstBytes::Banner(_) | FirstBytes::FastCgi | FirstBytes::Http2 | FirstBytes::Uwsgi => false,
    }
}
