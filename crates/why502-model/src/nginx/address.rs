//! Addresses as nginx reads them (`ngx_parse_url`): `host`, `host:port`, `[v6]:port`, `unix:path`.

use crate::Host;
use std::net::IpAddr;

/// An address as written: the host, and the port if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The host.
    pub(crate) host: Host,
    /// The port; `None` if none is written.
    pub(crate) port: Option<u16>,
}

/// Reads an address; `None` if nginx would refuse it.
pub(crate) fn parse_address(text: &str) -> Option<Address> {
    if let Some(path) = strip_prefix_ignore_case(text, "unix:") {
        return (!path.is_empty()).then(|| Address { host: Host::Unix(path.to_owned()), port: None });
    }
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']')?;
        (&text[1..end], text[end + 1..].strip_prefix(':'))
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    if host.is_empty() {
        return None;
    }
    let host = match host.parse::<IpAddr>() {
        Ok(ip) => Host::Ip(ip),
        Err(_) if text.starts_with('[') => return None,
        Err(_) => Host::Name(host.to_owned()),
    };
    Some(Address { host, port })
}

/// The rest after a prefix in any case.
pub(crate) fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_nginx_reads_them() {
        let ip = |text: &str, port| Some(Address { host: Host::Ip(text.parse().unwrap()), port });
        let name = |text: &str, port| Some(Address { host: Host::Name(text.to_owned()), port });
        assert_eq!(parse_address("127.0.0.1:80"), ip("127.0.0.1", Some(80)));
        assert_eq!(parse_address("[::1]:80"), ip("::1", Some(80)));
        assert_eq!(parse_address("[::1]"), ip("::1", None));
        assert_eq!(parse_address("app:8080"), name("app", Some(8080)));
        assert_eq!(parse_address("backend"), name("backend", None));
        let unix = Some(Address { host: Host::Unix("/run/a.sock".to_owned()), port: None });
        assert_eq!(parse_address("unix:/run/a.sock"), unix);
        for refused in ["", ":80", "app:", "app:0", "app:99999", "[::1", "[x]:80", "unix:"] {
            assert_eq!(parse_address(refused), None, "{refused}");
        }
    }
}
