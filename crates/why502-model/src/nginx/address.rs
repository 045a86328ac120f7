//! Addresses as `ngx_parse_url` reads them: `host`, `host:port`, `[v6]:port`, `unix:path`, and a URI behind them.

use crate::Host;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most bytes of a unix socket's path (`sun_path`, with the byte that ends it).
const MAX_UNIX_PATH: usize = 108;

/// What an address is for: nginx reads each a little differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A `listen`: a port or a range of ports alone will do.
    Listen,
    /// A peer: nothing but an address.
    Peer,
    /// A target that may have a URI behind it (`uri_part`).
    Target,
}

/// An address as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The host.
    pub(crate) host: Host,
    /// The host as written, brackets included.
    pub(crate) host_text: String,
    /// The port; `None` if none is written.
    pub(crate) port: Option<u16>,
    /// The last port of a range.
    pub(crate) last_port: Option<u16>,
    /// The URI, from its `/` or `?` on; behind the second colon of a unix address.
    pub(crate) uri: Option<String>,
}

/// Reads an address, or gives nginx's words for what is wrong with it.
pub(crate) fn parse_url(text: &str, purpose: Use) -> Result<Address, &'static str> {
    if let Some(path) = strip_prefix_ignore_case(text, "unix:") {
        return parse_unix(path, purpose);
    }
    match text.strip_prefix('[') {
        Some(rest) => parse_v6(rest, purpose),
        None => parse_inet(text, purpose),
    }
}

/// `ngx_parse_unix_domain_url`.
fn parse_unix(path: &str, purpose: Use) -> Result<Address, &'static str> {
    let (path, uri) = match path.split_once(':') {
        Some((path, uri)) if purpose == Use::Target => (path, Some(uri.to_owned())),
        _ => (path, None),
    };
    if path.is_empty() {
        return Err("no path in the unix domain socket");
    }
    if path.len() + 1 > MAX_UNIX_PATH {
        return Err("too long path in the unix domain socket");
    }
    let host = Host::Unix(path.to_owned());
    Ok(Address { host, host_text: path.to_owned(), port: None, last_port: None, uri })
}

/// `ngx_parse_inet_url`.
fn parse_inet(text: &str, purpose: Use) -> Result<Address, &'static str> {
    let (authority, uri) = split_uri(text, 0, purpose)?;
    if purpose == Use::Listen
        && !authority.contains(':')
        && let Some((port, last_port)) = bare_ports(authority)?
    {
        let host = Host::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        return Ok(Address { host, host_text: "*".to_owned(), port: Some(port), last_port, uri });
    }
    let (host, ports) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(parse_ports(port, purpose)?)),
        None => (authority, None),
    };
    if host.is_empty() {
        return Err("no host");
    }
    let (port, last_port) = ports.map_or((None, None), |(port, last)| (Some(port), last));
    let ip = if purpose == Use::Listen && host == "*" { Some(Ipv4Addr::UNSPECIFIED) } else { parse_v4(host) };
    let parsed = ip.map_or_else(|| Host::Name(host.to_owned()), |ip| Host::Ip(IpAddr::V4(ip)));
    Ok(Address { host: parsed, host_text: host.to_owned(), port, last_port, uri })
}

/// `ngx_parse_inet6_url`; `rest` is what follows the opening bracket.
fn parse_v6(rest: &str, purpose: Use) -> Result<Address, &'static str> {
    let close = rest.find(']').ok_or("invalid host")?;
    let (authority, uri) = split_uri(rest, close, purpose)?;
    let ports = match &authority[close + 1..] {
        "" => None,
        port => Some(parse_ports(port.strip_prefix(':').ok_or("invalid host")?, purpose)?),
    };
    let host = &rest[..close];
    if host.is_empty() {
        return Err("no host");
    }
    let ip: Ipv6Addr = host.parse().map_err(|_| "invalid IPv6 address")?;
    let (port, last_port) = ports.map_or((None, None), |(port, last)| (Some(port), last));
    Ok(Address { host: Host::Ip(IpAddr::V6(ip)), host_text: format!("[{host}]"), port, last_port, uri })
}

/// Cuts the URI off, which only a target may have; for IPv6 it begins with a `/` behind the bracket.
fn split_uri(text: &str, from: usize, purpose: Use) -> Result<(&str, Option<String>), &'static str> {
    let marks: &[char] = if from == 0 { &['/', '?'] } else { &['/'] };
    let Some(start) = text[from..].find(marks) else { return Ok((text, None)) };
    if purpose != Use::Target {
        return Err("invalid host");
    }
    Ok((&text[..from + start], Some(text[from + start..].to_owned())))
}

fn parse_ports(text: &str, purpose: Use) -> Result<(u16, Option<u16>), &'static str> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) if purpose == Use::Listen => {
            (first, Some(parse_port(last).ok_or("invalid port")?))
        }
        _ => (text, None),
    };
    let first = parse_port(first).ok_or("invalid port")?;
    if last.is_some_and(|last| first > last) {
        return Err("invalid port range");
    }
    Ok((first, last))
}

/// A `listen` without a host: a number, or two; anything else is a host.
fn bare_ports(text: &str) -> Result<Option<(u16, Option<u16>)>, &'static str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_ports =
        text.split_once('-').map_or(is_number(text), |(first, last)| is_number(first) && is_number(last));
    if is_ports { parse_ports(text, Use::Listen).map(Some) } else { Ok(None) }
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}

/// `ngx_inet_addr`: four numbers, of which a leading zero means nothing, and one that is left out is 0.
pub(crate) fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = part.trim_start_matches('0');
        *octet = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    }
    let address = Ipv4Addr::from(octets);
    (parts.next().is_none() && address != Ipv4Addr::BROADCAST).then_some(address)
}

/// The rest after a prefix in any case.
pub(crate) fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str, purpose: Use) -> Result<String, &'static str> {
        let address = parse_url(text, purpose)?;
        let host = match address.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => format!("name {name}"),
            Host::Unix(path) => format!("unix {path}"),
        };
        let number = |port: Option<u16>| port.map_or("-".to_owned(), |port| port.to_string());
        Ok(format!(
            "{host} {} {} {}",
            number(address.port),
            number(address.last_port),
            address.uri.unwrap_or_default()
        ))
    }

    #[test]
    fn peers_are_read_as_nginx_reads_them() {
        let peer = |text| shape(text, Use::Peer);
        assert_eq!(peer("127.0.0.1:80").as_deref(), Ok("127.0.0.1 80 - "));
        assert_eq!(peer("010.0.0.1").as_deref(), Ok("10.0.0.1 - - "));
        assert_eq!(peer("[::1]:80").as_deref(), Ok("::1 80 - "));
        assert_eq!(peer("[::1]").as_deref(), Ok("::1 - - "));
        assert_eq!(peer("app:8080").as_deref(), Ok("name app 8080 - "));
        assert_eq!(peer("UNIX:/run/a.sock").as_deref(), Ok("unix /run/a.sock - - "));
        assert_eq!(peer("127.0.0.1.1").as_deref(), Ok("name 127.0.0.1.1 - - "));
    }

    #[test]
    fn what_nginx_refuses_is_refused_in_its_words() {
        for (text, words) in [
            ("", "no host"),
            (":80", "no host"),
            ("app:", "invalid port"),
            ("app:0", "invalid port"),
            ("app:99999", "invalid port"),
            ("app:80x", "invalid port"),
            ("::1", "invalid port"),
            ("app/x", "invalid host"),
            ("[::1", "invalid host"),
            ("[::1]80", "invalid host"),
            ("[]:80", "no host"),
            ("[x]:80", "invalid IPv6 address"),
            ("unix:", "no path in the unix domain socket"),
        ] {
            assert_eq!(shape(text, Use::Peer).as_deref(), Err(&words), "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        assert_eq!(shape(&long, Use::Peer).as_deref(), Err(&"too long path in the unix domain socket"));
    }

    #[test]
    fn targets_have_a_uri() {
        let target = |text| shape(text, Use::Target);
        assert_eq!(target("app:80/x?y").as_deref(), Ok("name app 80 - /x?y"));
        assert_eq!(target("app?a=/b:1").as_deref(), Ok("name app - - ?a=/b:1"));
        assert_eq!(target("app/b:1").as_deref(), Ok("name app - - /b:1"));
        assert_eq!(target("[::1]:8/x").as_deref(), Ok("::1 8 - /x"));
        assert_eq!(target("unix:/run/a:/x").as_deref(), Ok("unix /run/a - - /x"));
    }

    #[test]
    fn a_listen_may_be_ports_alone() {
        let listen = |text| shape(text, Use::Listen);
        assert_eq!(listen("80").as_deref(), Ok("0.0.0.0 80 - "));
        assert_eq!(listen("8000-8002").as_deref(), Ok("0.0.0.0 8000 8002 "));
        assert_eq!(listen("*:80").as_deref(), Ok("0.0.0.0 80 - "));
        assert_eq!(listen("*").as_deref(), Ok("0.0.0.0 - - "));
        assert_eq!(listen("localhost").as_deref(), Ok("name localhost - - "));
        assert_eq!(listen("[::]:80-81").as_deref(), Ok(":: 80 81 "));
        assert_eq!(listen("99999").as_deref(), Err(&"invalid port"));
        assert_eq!(listen("82-80").as_deref(), Err(&"invalid port range"));
        assert_eq!(listen("a-b").as_deref(), Ok("name a-b - - "));
    }
}
