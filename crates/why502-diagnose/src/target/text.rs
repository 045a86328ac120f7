//! A target as it is typed.

use why502_facts::{ProxyHeader, lossy, mask_secrets};

/// A target as it is typed: an address, a URL, the path of a unix socket, the name of a group, or a path that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeTarget {
    /// The text, secrets masked.
    pub(super) text: String,
    pub(super) form: Form,
}

/// The forms of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `host:port`.
    Address { host: String, port: u16 },
    /// The name of an upstream group.
    Name(String),
    /// A path that the configuration serves.
    Path(String),
    /// `unix:/path`.
    Unix(String),
    /// Anything with a scheme.
    Url { scheme: Scheme, host: String, port: Option<u16>, path: Option<String> },
    /// `http://unix:/path:/uri`, as nginx writes it.
    UrlToUnix { scheme: Scheme, socket: String, path: Option<String> },
}

/// What is spoken to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpokenProtocol {
    /// FastCGI.
    FastCgi,
    /// gRPC: a call of its health service.
    Grpc,
    /// HTTP/1.
    Http,
    /// HTTP/2.
    Http2,
    /// memcached's text protocol.
    Memcached,
    /// HTTP/1 behind a header of the PROXY protocol.
    ProxyProtocol(ProxyHeader),
    /// SCGI.
    Scgi,
    /// Nothing: the connection alone.
    Tcp,
    /// Nothing but a handshake.
    Tls,
    /// uwsgi.
    Uwsgi,
    /// HTTP/1 with a request to change to WebSocket.
    WebSocket,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scheme {
    pub(super) protocol: SpokenProtocol,
    pub(super) tls: bool,
    /// The usual port, where there is one.
    pub(super) port: Option<u16>,
}

/// The schemes that are understood.
const SCHEMES: &[(&str, SpokenProtocol, bool, Option<u16>)] = &[
    ("fastcgi", SpokenProtocol::FastCgi, false, None),
    ("grpc", SpokenProtocol::Grpc, false, None),
    ("grpcs", SpokenProtocol::Grpc, true, None),
    ("http", SpokenProtocol::Http, false, Some(80)),
    ("https", SpokenProtocol::Http, true, Some(443)),
    ("memcached", SpokenProtocol::Memcached, false, None),
    ("scgi", SpokenProtocol::Scgi, false, None),
    ("suwsgi", SpokenProtocol::Uwsgi, true, None),
    ("tcp", SpokenProtocol::Tcp, false, None),
    ("tls", SpokenProtocol::Tls, true, Some(443)),
    ("uwsgi", SpokenProtocol::Uwsgi, false, None),
    ("ws", SpokenProtocol::WebSocket, false, Some(80)),
    ("wss", SpokenProtocol::WebSocket, true, Some(443)),
];

impl ProbeTarget {
    /// Reads a target; an error says what it could be.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { text: lossy(&mask_secrets(text.as_bytes())), form: Form::parse(text)? })
    }

    /// As typed, secrets masked.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The part that the configuration may serve: a path, or a URL of the web.
    pub fn served_url(&self) -> Option<&str> {
        match &self.form {
            Form::Path(_) => Some(&self.text),
            Form::Url { scheme, .. } => (scheme.protocol == SpokenProtocol::Http).then_some(&*self.text),
            Form::Address { .. } | Form::Name(_) | Form::Unix(_) | Form::UrlToUnix { .. } => None,
        }
    }

    /// Whether it can only be found in a configuration.
    pub fn needs_configuration(&self) -> bool {
        matches!(self.form, Form::Name(_) | Form::Path(_))
    }
}

impl Form {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some((scheme, rest)) = text.split_once("://") {
            return Self::parse_url(scheme, rest);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return parse_socket(path).map(Self::Unix);
        }
        if text.starts_with('/') {
            return Ok(Self::Path(text.to_owned()));
        }
        match split_authority(text)? {
            (host, Some(port)) => Ok(Self::Address { host, port }),
            (host, None) if is_address(&host) => Err(format!("{text} has no port: try {text}:80")),
            (host, None) if host.is_empty() || host.contains(['/', '?', ' ']) => Err(format!(
                "{text} is no target: write host:port, a URL, unix:/path, the name of an upstream or a /path"
            )),
            (host, None) => Ok(Self::Name(host)),
        }
    }

    fn parse_url(name: &str, rest: &str) -> Result<Self, String> {
        let known = SCHEMES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        let Some((_, protocol, tls, port)) = known else {
            let names: Vec<String> = SCHEMES.iter().map(|(known, ..)| format!("{known}://")).collect();
            return Err(format!("{name}:// is no scheme that can be spoken: {}", names.join(" ")));
        };
        let scheme = Scheme { protocol: *protocol, tls: *tls, port: *port };
        if let Some(rest) = rest.strip_prefix("unix:") {
            let (socket, path) =
                rest.split_once(':').map_or((rest, None), |(socket, path)| (socket, Some(path)));
            let path = path.filter(|path| !path.is_empty()).map(str::to_owned);
            return Ok(Self::UrlToUnix { scheme, socket: parse_socket(socket)?, path });
        }
        let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(path_at);
        let authority = authority.rsplit('@').next().unwrap_or(authority);
        let (host, port) = split_authority(authority)?;
        if host.is_empty() {
            return Err("the URL names no host".to_owned());
        }
        let target = target.split('#').next().unwrap_or_default();
        let path = match target {
            "" => None,
            target if target.starts_with('/') => Some(target.to_owned()),
            query => Some(format!("/{query}")),
        };
        Ok(Self::Url { scheme, host, port, path })
    }
}

/// The path of a socket, which must be absolute.
fn parse_socket(path: &str) -> Result<String, String> {
    // What follows a second colon is a path of the application's, as nginx writes it.
    let path = path.split(':').next().unwrap_or(path);
    if path.starts_with('/') { Ok(path.to_owned()) } else { Err(format!("unix:{path} is no absolute path")) }
}

/// The host, without brackets, and the port.
fn split_authority(text: &str) -> Result<(String, Option<u16>), String> {
    let host_end = text.rfind(']').unwrap_or(0);
    let plain = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
    // More than one colon without brackets is an address of IPv6 alone.
    if host_end == 0 && text.matches(':').count() > 1 {
        return Ok((text.to_owned(), None));
    }
    let Some(at) = text[host_end..].find(':').map(|at| at + host_end) else { return Ok((plain(text), None)) };
    match &text[at + 1..] {
        "" => Ok((plain(&text[..at]), None)),
        port => match port.parse::<u16>() {
            Ok(port) if port > 0 && at > 0 => Ok((plain(&text[..at]), Some(port))),
            Ok(port) if port > 0 => Err(format!("{text} names no host")),
            _ => Err(format!("{port} is no port: it is a number from 1 to 65535")),
        },
    }
}

/// Whether a host is an address or surely a name of the network, and no group.
fn is_address(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        ProbeTarget::parse(text).unwrap().form
    }

    #[test]
    fn every_form_is_read() {
        let address = |host: &str, port| Form::Address { host: host.to_owned(), port };
        assert_eq!(form("127.0.0.1:3000"), address("127.0.0.1", 3000));
        assert_eq!(form("[::1]:80"), address("::1", 80));
        assert_eq!(form("app.internal:8443"), address("app.internal", 8443));
        assert_eq!(form("unix:/run/app.sock"), Form::Unix("/run/app.sock".to_owned()));
        assert_eq!(form("backend"), Form::Name("backend".to_owned()));
        assert_eq!(form("/cart?x=1"), Form::Path("/cart?x=1".to_owned()));
        let Form::Url { scheme, host, port, path } = form("HTTPS://me:pw@[::1]:8443/a?b#c") else { panic!() };
        assert!(scheme.tls && scheme.protocol == SpokenProtocol::Http);
        assert_eq!((host.as_str(), port, path.as_deref()), ("::1", Some(8443), Some("/a?b")));
        let Form::UrlToUnix { socket, path, .. } = form("http://unix:/run/a.sock:/x") else { panic!() };
        assert_eq!((socket.as_str(), path.as_deref()), ("/run/a.sock", Some("/x")));
    }

    #[test]
    fn what_is_no_target_gets_a_suggestion() {
        for (text, hint) in [
            ("10.0.0.1", "10.0.0.1:80"),
            ("::1", "has no port"),
            ("a:0", "1 to 65535"),
            ("a:http", "1 to 65535"),
            ("ftp://a/", "https://"),
            ("unix:app.sock", "absolute"),
            (":80", "no host"),
            ("http:///x", "no host"),
            ("a/b", "host:port"),
            ("", "host:port"),
        ] {
            let says = ProbeTarget::parse(text).unwrap_err();
            assert!(says.contains(hint), "{text}: {says}");
        }
    }

    #[test]
    fn secrets_in_a_url_are_masked() {
        let target = ProbeTarget::parse("http://me:hunter2@a/?token=abcdef123456").unwrap();
        assert!(!target.text.contains("hunter2"), "{}", target.text);
    }
}
