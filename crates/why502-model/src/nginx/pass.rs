//! How a route passes requests on: `proxy_pass` and its siblings with all that is in force for them.

use super::address::strip_prefix_ignore_case;
use super::config::NodeId;
use super::parameters::Levels;
use super::upstreams::Groups;
use super::values::{parse_flag, parse_size, parse_time};
use super::variables::{evaluate, variables_of};
use crate::{
    Buffers, Host, Pass, Protocol, ResponseCache, Retry, Setting, Span, Target, Timeouts, TlsSettings,
    Unresolved, Version,
};
use std::time::Duration;

/// A page of memory, in bytes: what buffers are as large as by default.
const PAGE: u64 = 4096;
/// The default of the three timeouts.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// The directives that pass requests on, with their protocols.
pub(crate) const PASS_DIRECTIVES: &[(&str, Protocol)] = &[
    ("proxy_pass", Protocol::Http),
    ("fastcgi_pass", Protocol::FastCgi),
    ("uwsgi_pass", Protocol::Uwsgi),
    ("scgi_pass", Protocol::Scgi),
    ("grpc_pass", Protocol::Grpc),
    ("memcached_pass", Protocol::Memcached),
];

/// Reads the `*_pass` directive `id` as it works at a place.
pub(crate) fn read_pass(
    id: NodeId,
    protocol: Protocol,
    levels: &Levels<'_>,
    groups: &mut Groups<'_>,
    version: Option<Version>,
) -> Option<Pass> {
    let text = levels.config.node(id).arg(0)?;
    let at = levels.config.arg_span(id, 0);
    let has_variables = text.contains('$');
    let url = split_url(protocol, text);
    let target = if has_variables {
        Target::Unresolved(unresolved(text, levels))
    } else {
        Target::Group(groups.of_pass(url.host, url.default_port, &at)?)
    };
    let prefix = protocol.prefix();
    let name = |rest: &str| format!("{prefix}_{rest}");
    let http_version = http_version(protocol, levels, version);
    let headers = request_headers(protocol, levels);
    let keeps_alive = keeps_alive(protocol, &target, groups, &http_version, &headers, levels, version);
    Some(Pass {
        protocol,
        tls: url.tls,
        target: shortcut(target, protocol, groups, &at),
        text: text.to_owned(),
        path: (!has_variables).then_some(url.path).flatten().map(str::to_owned),
        at,
        headers,
        http_version,
        keeps_alive,
        timeouts: Timeouts {
            connect: levels.time(&name("connect_timeout"), DEFAULT_TIMEOUT),
            send: levels.time(&name("send_timeout"), DEFAULT_TIMEOUT),
            read: levels.time(&name("read_timeout"), DEFAULT_TIMEOUT),
        },
        buffers: buffers(protocol, levels),
        retry: retry(prefix, levels),
        tls_settings: TlsSettings {
            sends_name: levels.flag(&name("ssl_server_name"), false),
            name: levels.text(&name("ssl_name"), &format!("${prefix}_host")),
            verifies: levels.flag(&name("ssl_verify"), false),
        },
        cache: cache(prefix, levels),
    })
}

/// The parts of a target.
struct Url<'a> {
    tls: bool,
    host: &'a str,
    path: Option<&'a str>,
    default_port: Option<u16>,
}

/// Takes the scheme off, and the path that only `proxy_pass` may have.
fn split_url(protocol: Protocol, text: &str) -> Url<'_> {
    let schemes: &[(&str, bool, Option<u16>)] = match protocol {
        Protocol::Http => &[("http://", false, Some(80)), ("https://", true, Some(443))],
        Protocol::Grpc => &[("grpc://", false, Some(80)), ("grpcs://", true, Some(443))],
        Protocol::Uwsgi => &[("uwsgi://", false, None), ("suwsgi://", true, None)],
        Protocol::FastCgi | Protocol::Scgi | Protocol::Memcached => &[],
    };
    let matched = schemes.iter().find_map(|(scheme, tls, port)| {
        strip_prefix_ignore_case(text, scheme).map(|rest| (rest, *tls, *port))
    });
    let (rest, tls, default_port) = matched.unwrap_or((text, false, None));
    if protocol != Protocol::Http {
        return Url { tls, host: rest, path: None, default_port };
    }
    // A unix path ends at the colon before the URI (`ngx_parse_unix_domain_url`).
    let end = match strip_prefix_ignore_case(rest, "unix:") {
        Some(path) => path.find(':').map(|colon| ("unix:".len() + colon, 1)),
        None => rest.find(['/', '?']).map(|slash| (slash, 0)),
    };
    match end {
        Some((end, skip)) => Url { tls, host: &rest[..end], path: Some(&rest[end + skip..]), default_port },
        None => Url { tls, host: rest, path: None, default_port },
    }
}

fn unresolved(text: &str, levels: &Levels<'_>) -> Unresolved {
    let evaluated = evaluate(text, levels, &|_| None);
    let resolver = levels.last("resolver").map(|id| {
        let servers = levels.config.node(id).values().filter(|value| !value.contains('='));
        Setting { value: servers.map(str::to_owned).collect(), at: Some(levels.at(id)) }
    });
    Unresolved {
        values: evaluated.values,
        complete: evaluated.complete,
        variables: variables_of(text),
        resolver,
    }
}

/// A target with variables that can only become one group or literal address is that: nginx looks a value up among its
/// groups before it asks a resolver (`ngx_http_upstream_init_request`).
fn shortcut(target: Target, protocol: Protocol, groups: &mut Groups<'_>, at: &Span) -> Target {
    let Target::Unresolved(unresolved) = &target else { return target };
    let ([value], true) = (unresolved.values.as_slice(), unresolved.complete) else { return target };
    let url = split_url(protocol, value);
    let is_literal = match super::address::parse_address(url.host) {
        Some(address) => match address.host {
            Host::Name(name) => address.port.is_none() && groups.named(&name).is_some(),
            Host::Ip(_) | Host::Unix(_) => true,
        },
        None => false,
    };
    match is_literal.then(|| groups.of_pass(url.host, url.default_port, at)).flatten() {
        Some(group) => Target::Group(group),
        None => target,
    }
}

/// Since 1.29.7 the default is 1.1, before it was 1.0; gRPC is HTTP/2.
fn http_version(protocol: Protocol, levels: &Levels<'_>, version: Option<Version>) -> Setting<String> {
    match protocol {
        Protocol::Grpc => Setting::default_of("2".to_owned()),
        Protocol::Http => {
            let newer = version.is_some_and(|version| version >= Version(1, 29, 7));
            levels.text("proxy_http_version", if newer { "1.1" } else { "1.0" })
        }
        _ => Setting::default_of("1.0".to_owned()),
    }
}

fn request_headers(protocol: Protocol, levels: &Levels<'_>) -> Vec<Setting<(String, String)>> {
    let directive = match protocol {
        Protocol::Http => "proxy_set_header",
        Protocol::Grpc => "grpc_set_header",
        Protocol::FastCgi => "fastcgi_param",
        Protocol::Uwsgi => "uwsgi_param",
        Protocol::Scgi => "scgi_param",
        Protocol::Memcached => return Vec::new(),
    };
    let header = |id: NodeId| {
        let node = levels.config.node(id);
        let value = (node.arg(0)?.to_owned(), node.arg(1)?.to_owned());
        Some(Setting { value, at: Some(levels.config.arg_span(id, 0)) })
    };
    levels.nearest(directive).into_iter().filter_map(header).collect()
}

/// Whether connections are reused: the group keeps some, and nothing tells the peer to close.
fn keeps_alive(
    protocol: Protocol,
    target: &Target,
    groups: &Groups<'_>,
    http_version: &Setting<String>,
    headers: &[Setting<(String, String)>],
    levels: &Levels<'_>,
    version: Option<Version>,
) -> bool {
    let Target::Group(id) = target else { return false };
    if groups.groups[id.0].keepalive.is_none() {
        return false;
    }
    match protocol {
        Protocol::Http => {
            let connection = headers.iter().find(|header| header.value.0.eq_ignore_ascii_case("Connection"));
            let closes = match connection {
                Some(header) => header.value.1.eq_ignore_ascii_case("close"),
                None => version.is_none_or(|version| version < Version(1, 29, 7)),
            };
            http_version.value != "1.0" && !closes
        }
        Protocol::FastCgi => levels.flag("fastcgi_keep_conn", false).value,
        Protocol::Grpc | Protocol::Memcached => true,
        Protocol::Scgi | Protocol::Uwsgi => false,
    }
}

fn buffers(protocol: Protocol, levels: &Levels<'_>) -> Buffers {
    let name = |rest: &str| format!("{}_{rest}", protocol.prefix());
    let has_body_buffers = !matches!(protocol, Protocol::Grpc | Protocol::Memcached);
    let numbers = name("buffers");
    let body = levels.last(&numbers).and_then(|id| {
        let node = levels.config.node(id);
        let value = (node.arg(0)?.parse().ok()?, parse_size(node.arg(1)?)?);
        Some(Setting { value, at: Some(levels.at(id)) })
    });
    Buffers {
        header: levels.size(&name("buffer_size"), PAGE),
        body: has_body_buffers.then(|| body.unwrap_or_else(|| Setting::default_of((8, PAGE)))),
        busy: levels.last(&name("busy_buffers_size")).and_then(|id| {
            Some(Setting { value: parse_size(levels.config.node(id).arg(0)?)?, at: Some(levels.at(id)) })
        }),
        buffering: levels.setting(&name("buffering"), parse_flag, true),
    }
}

fn retry(prefix: &str, levels: &Levels<'_>) -> Retry {
    let conditions = levels.last(&format!("{prefix}_next_upstream")).map_or_else(
        || Setting::default_of(vec!["error".to_owned(), "timeout".to_owned()]),
        |id| Setting {
            value: levels.config.node(id).values().map(str::to_owned).collect(),
            at: Some(levels.at(id)),
        },
    );
    Retry {
        conditions,
        tries: levels.setting(&format!("{prefix}_next_upstream_tries"), |text| text.parse().ok(), 0),
        timeout: levels.time(&format!("{prefix}_next_upstream_timeout"), Duration::ZERO),
    }
}

fn cache(prefix: &str, levels: &Levels<'_>) -> Option<ResponseCache> {
    let zone = levels.text(&format!("{prefix}_cache"), "off");
    if zone.value == "off" {
        return None;
    }
    let valid = levels.nearest(&format!("{prefix}_cache_valid")).into_iter().filter_map(|id| {
        let values: Vec<&str> = levels.config.node(id).values().collect();
        let (time, statuses) = values.split_last()?;
        let statuses = match statuses {
            // Without statuses these three are meant (`ngx_http_file_cache_valid_set_slot`).
            [] => vec![200, 301, 302],
            statuses => statuses
                .iter()
                .filter_map(|status| if *status == "any" { Some(0) } else { status.parse().ok() })
                .collect(),
        };
        Some(Setting { value: (statuses, parse_time(time)?), at: Some(levels.at(id)) })
    });
    Some(ResponseCache { zone, valid: valid.collect() })
}
