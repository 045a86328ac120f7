//! How a port serves more than one request.

use super::{Ports, keeps_alive, ports};
use crate::case::Case;
use crate::finding::Finding;
use crate::remedy::{Remedy, Risk};
use why502_model::{Pass, Protocol, Span};

/// The widest range that is advised: below it are ports that services are registered for.
const WIDE: (u64, u64) = (10_240, 65_535);

pub(super) fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let found = finding.subjects.first().and_then(|subject| ports(case, subject).ok().flatten());
    let Some(found) = found.filter(|_| finding.still_failing != Some(false)) else { return Vec::new() };
    let mut remedies = Vec::new();
    if !keeps_alive(case, found.peer) {
        remedies.extend(keep_connections(case, &found));
    }
    remedies.extend(widen(case, &found));
    remedies.extend(reuse_waiting(case, &found));
    remedies.push(
        Remedy::new("Give the upstream more addresses or ports", Risk::ShowOnly)
            .advice("the limit holds per address and port of the upstream, and per local address: a second server line (another port or address of it), or proxy_bind with several local addresses (split_clients), each bring as many ports again")
            .verify("no new lines with errno 99 under the same load"),
    );
    remedies
}

/// `keepalive` in the group, and what the protocol needs for it.
fn keep_connections(case: &Case<'_>, found: &Ports<'_>) -> Option<Remedy> {
    let pass = case.pass_to(found.peer)?;
    let needs = match pass.protocol {
        Protocol::FastCgi => "fastcgi_keep_conn on;",
        Protocol::Http => "proxy_http_version 1.1; proxy_set_header Connection \"\";",
        Protocol::Grpc | Protocol::Memcached => "",
        // Their protocols end with the connection.
        Protocol::Scgi | Protocol::Uwsgi => return None,
    };
    let verify = "ss -tn state established shows few connections to it that stay, and ss -tn state time-wait few others";
    let group = found.peer.group.map(|id| case.gateway.group(id)).filter(|group| group.name.is_some());
    let Some(group) = group else {
        let prefix = pass.protocol.prefix();
        let advice = format!(
            "an upstream block is where connections are kept: `upstream app {{ server {}; keepalive 32; }}` in http, pass to it \
             ({prefix}_pass to the name app), and beside the pass: {needs}",
            found.target
        );
        return Some(
            Remedy::new("Keep connections to the upstream open", Risk::Review).advice(advice).verify(verify),
        );
    };
    let mut remedy = Remedy::new("Keep connections to the upstream open", Risk::Review)
        .advice("32 is how many idle ones each worker keeps: about as many as it has requests at once; the upstream must keep them longer than nginx does (keepalive_timeout)")
        .verify(verify);
    if group.keepalive.is_none() {
        let (at, text) = case.gateway.insert_last(&group.at, "keepalive 32;")?;
        remedy = remedy.edit(at, text);
    }
    for (at, text) in case.gateway.set_directives(&pass.at, &wanted(pass)) {
        remedy = remedy.edit(at, text);
    }
    Some(remedy)
}

/// What beside the pass lets connections be kept, with where it is set now.
fn wanted(pass: &Pass) -> Vec<(String, Vec<String>, Option<Span>)> {
    match pass.protocol {
        Protocol::FastCgi => vec![("fastcgi_keep_conn".to_owned(), vec!["on".to_owned()], None)],
        Protocol::Http => {
            let mut wanted = Vec::new();
            if !pass.http_version.value.starts_with("1.1") && !pass.http_version.value.starts_with('2') {
                let at = pass.http_version.at.clone();
                wanted.push(("proxy_http_version".to_owned(), vec!["1.1".to_owned()], at));
            }
            let connection = pass.header("Connection");
            if connection.is_none_or(|header| !header.value.1.is_empty()) {
                let at = connection.and_then(|header| header.at.clone());
                wanted.push((
                    "proxy_set_header".to_owned(),
                    vec!["Connection".to_owned(), String::new()],
                    at,
                ));
            }
            wanted
        }
        Protocol::Grpc | Protocol::Memcached | Protocol::Scgi | Protocol::Uwsgi => Vec::new(),
    }
}

/// A wider range of local ports.
fn widen(case: &Case<'_>, found: &Ports<'_>) -> Option<Remedy> {
    let (first, last) = found.limits.as_ref().known()?.local_port_range()?;
    let wide = (first.min(WIDE.0), last.max(WIDE.1));
    let name = "net.ipv4.ip_local_port_range";
    let (n_now, n_then) = (last + 1 - first, wide.1 + 1 - wide.0);
    if n_then * 4 < n_now * 5 {
        return None;
    }
    let (value, before) = (format!("{} {}", wide.0, wide.1), format!("{first} {last}"));
    let remedy = command(case, "Widen the range of local ports", (name, &value), &before);
    let advice = format!(
        "from {n_now} ports to {n_then}: it moves the limit; keep back the ports that services of this host listen on \
         (net.ipv4.ip_local_reserved_ports); for good it stands in /etc/sysctl.d"
    );
    Some(remedy.advice(advice).verify("no new lines with errno 99 under the same load"))
}

/// Ports that only wait for late packets may be used again for outgoing connections (RFC 6191).
fn reuse_waiting(case: &Case<'_>, found: &Ports<'_>) -> Option<Remedy> {
    let (used, waiting) = found.used?;
    let now = found.limits.as_ref().known()?.number("net.ipv4.tcp_tw_reuse")?;
    // 2 is the same for loopback alone.
    let is_on = now == 1 || now == 2 && found.target.ip().is_loopback();
    if is_on || waiting * 2 < used || waiting == 0 {
        return None;
    }
    let (name, before) = ("net.ipv4.tcp_tw_reuse", now.to_string());
    let remedy = command(case, "Use ports in TIME_WAIT again for outgoing connections", (name, "1"), &before);
    Some(remedy.advice("safe towards hosts with TCP timestamps, which all of today have: a port is used again after one second").verify("no new lines with errno 99 under the same load"))
}

/// A setting where the gateway dials from.
fn command(case: &Case<'_>, title: &str, setting: (&str, &str), before: &str) -> Remedy {
    let (argv, undo) = case.sysctl(case.gateway.master, setting, Some(before));
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let undo: Vec<Vec<&str>> = undo.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
    let undo: Vec<&[&str]> = undo.iter().map(Vec::as_slice).collect();
    Remedy::new(title, Risk::Review).command(&argv, &undo)
}
