//! How TLS is spoken to a peer: the settings in force, as far as they are constant.

use super::{host_header, host_of, speaks_http2};
use crate::case::{Case, PeerSubject};
use std::collections::BTreeSet;
use std::net::IpAddr;
use why502_facts::{ProbeSpec, TlsSpec, TlsVerifySpec};
use why502_model::{Pass, RouteId};

/// All that the library has, the weakest included.
const EVERYTHING: &str = "ALL:@SECLEVEL=0";
/// The newest version in which the request for a certificate is not encrypted.
const NEWEST_OPEN: &str = "TLSv1.2";
/// A depth that no chain comes to: what OpenSSL itself takes by default (`verify_depth` of 100).
const ANY_DEPTH: u32 = 100;
/// The most names that are tried where none is sent.
const MAX_NAMES: usize = 2;

/// The TLS settings of a pass.
pub(crate) fn tls_spec(case: &Case<'_>, pass: &Pass) -> TlsSpec {
    let settings = &pass.tls_settings;
    let name = name_of(case, pass);
    let verify = settings.trusted_certificate.as_ref().filter(|_| settings.verifies.value);
    // `ngx_http_grpc_set_ssl`, and the HTTP/2 of `ngx_http_proxy_module`.
    let alpn = if speaks_http2(pass) { vec!["h2".to_owned()] } else { Vec::new() };
    let own = settings.certificate.as_ref().zip(settings.certificate_key.as_ref());
    TlsSpec {
        // An IP address is never sent as a server name (`ngx_http_upstream_ssl_name`).
        alpn,
        server_name: name.clone().filter(|name| settings.sends_name.value && !is_address(name)),
        protocols: settings.protocols.value.clone(),
        ciphers: Some(settings.ciphers.value.clone()),
        verify: verify.and_then(|trusted| {
            let trusted = absolute(case, &trusted.value)?;
            Some(TlsVerifySpec { trusted, depth: settings.verify_depth.value, name })
        }),
        certificate: own.and_then(|(certificate, key)| {
            Some((absolute(case, &certificate.value)?, absolute(case, &key.value)?))
        }),
    }
}

/// The same with everything offered that the library has, and nothing verified.
pub(crate) fn wide_spec(spec: &TlsSpec) -> ProbeSpec {
    ProbeSpec::Tls(TlsSpec {
        protocols: Vec::new(),
        ciphers: Some(EVERYTHING.to_owned()),
        verify: None,
        ..spec.clone()
    })
}

/// The same verified to any depth.
pub(crate) fn deep_spec(spec: &TlsSpec) -> ProbeSpec {
    let verify = spec.verify.clone().map(|verify| TlsVerifySpec { depth: ANY_DEPTH, ..verify });
    ProbeSpec::Tls(TlsSpec { verify, ..spec.clone() })
}

/// The same in a version that shows whether a certificate is asked for.
pub(crate) fn open_spec(spec: &TlsSpec) -> ProbeSpec {
    ProbeSpec::Tls(TlsSpec { protocols: vec![NEWEST_OPEN.to_owned()], ..spec.clone() })
}

/// The same with each of the names that the configuration has for a peer, where none is sent.
pub(crate) fn named_specs(case: &Case<'_>, peer: &PeerSubject, spec: &TlsSpec) -> Vec<(String, ProbeSpec)> {
    let Some(pass) = case.pass_to(peer) else { return Vec::new() };
    let server = |route: &RouteId| super::server_name(case, *route);
    let of_server = peer.routes.first().map(server);
    let of_header = of_server.as_deref().map(|host| host_header(case, pass, host));
    let candidates = [name_of(case, pass), of_header, of_server];
    let mut names: Vec<String> =
        candidates.into_iter().flatten().map(|name| without_port(&name).to_owned()).collect();
    names.retain(|name| name.contains('.') && !name.contains('$') && !is_address(name));
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names.truncate(MAX_NAMES);
    let named = |name: String| {
        let tls = TlsSpec { server_name: Some(name.clone()), ..spec.clone() };
        (name, ProbeSpec::Tls(tls))
    };
    names.into_iter().map(named).collect()
}

/// The name that is sent and verified, without a port; `None` where only a request decides it.
fn name_of(case: &Case<'_>, pass: &Pass) -> Option<String> {
    let name = pass.tls_settings.name.value.as_str();
    let of_target = matches!(name, "$proxy_host" | "$grpc_host" | "$uwsgi_host");
    let name = if of_target { host_of(case, pass)? } else { name.to_owned() };
    let name = without_port(&name);
    (!name.is_empty() && !name.contains('$')).then(|| name.to_owned())
}

fn without_port(name: &str) -> &str {
    if let Some(inner) = name.strip_prefix('[') {
        return inner.split(']').next().unwrap_or(inner);
    }
    match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.contains(':') => host,
        _ => name,
    }
}

fn is_address(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok()
}

/// A path of the configuration, relative to its directory (`ngx_conf_full_name`); `None` for what is no file: a variable, a
/// key of an engine or of a store.
fn absolute(case: &Case<'_>, path: &str) -> Option<String> {
    if path.is_empty() || path.contains(['$', ':']) {
        return None;
    }
    if path.starts_with('/') {
        return Some(path.to_owned());
    }
    let directory = case.gateway.config.rsplit_once('/').map_or("", |(directory, _)| directory);
    Some(format!("{directory}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn names_lose_their_port() {
        for (name, expected) in [
            ("a.example:8443", "a.example"),
            ("[::1]:443", "::1"),
            ("::1", "::1"),
            ("a.example", "a.example"),
        ] {
            assert_eq!(without_port(name), expected);
        }
    }
}
