//! `listen` and `server_name`.

use super::Checker;
use crate::nginx::address::{Use, parse_url};
use crate::nginx::config::NodeId;
use crate::nginx::locate::NameTable;
use crate::nginx::pattern::{Case, Pattern};
use crate::nginx::values::{TimeUnit, parse_number, parse_size, parse_time_in};
use crate::{Host, ProblemKind, Server, ServerName, Version};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use why502_facts::{Observed, PeerAddress};

/// The listening addresses, in the order in which they come first.
#[derive(Debug, Default)]
pub(super) struct Listens {
    pub(super) addresses: Vec<Listening>,
}

#[derive(Debug)]
pub(super) struct Listening {
    address: PeerAddress,
    pub(super) servers: Vec<NodeId>,
    has_default: bool,
    /// The server for hosts that no name fits.
    pub(super) default: NodeId,
    /// Whether options of the socket were given.
    has_options: bool,
    pub(super) tls: bool,
}

/// What a `listen` says of its socket.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    is_default: bool,
    is_set: bool,
    tls: bool,
}

impl Checker<'_, '_> {
    /// `ngx_http_core_listen`.
    pub(super) fn listen(&mut self, id: NodeId) {
        let text = self.arg(id, 0);
        let address = match parse_url(text, Use::Listen) {
            Ok(address) => address,
            Err(words) => {
                return self.refuse_arg(id, 0, format!("{words} in \"{text}\" of the \"listen\" directive"));
            }
        };
        let ips: Vec<IpAddr> = match &address.host {
            Host::Unix(_) => Vec::new(),
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => match self.groups.resolve(name) {
                Observed::Known(ips) => ips,
                Observed::Absent => {
                    let at = self.config.arg_span(id, 0);
                    let node = self.config.node(id);
                    let printed = Some((Arc::clone(&at.file), node.line));
                    let kind = ProblemKind::HostNotFound { name: name.clone() };
                    let words = format!("host not found in \"{text}\" of the \"listen\" directive");
                    return self.add(kind, words, at, printed);
                }
                Observed::Unknown(_) => Vec::new(),
            },
        };
        let Some(options) = self.listen_options(id) else { return };
        let first = address.port.unwrap_or(80);
        let mut sockets: Vec<PeerAddress> = match &address.host {
            Host::Unix(path) => vec![PeerAddress::Unix(path.clone())],
            Host::Ip(_) | Host::Name(_) => Vec::new(),
        };
        let ports = first..=address.last_port.unwrap_or(first);
        sockets.extend(
            ips.into_iter()
                .flat_map(|ip| ports.clone().map(move |port| PeerAddress::Inet(SocketAddr::new(ip, port)))),
        );
        for socket in sockets {
            if !self.add_listen(id, socket, options) {
                return;
            }
        }
    }

    fn listen_options(&mut self, id: NodeId) -> Option<Options> {
        let mut options = Options::default();
        let words = self.words(id);
        for (at, word) in words.iter().enumerate().skip(1) {
            match self.listen_option(word, &mut options) {
                Ok(()) => {}
                Err(message) => {
                    self.refuse_arg(id, at, message);
                    return None;
                }
            }
        }
        Some(options)
    }

    fn listen_option(&self, word: &str, options: &mut Options) -> Result<(), String> {
        let since = |version: Version| self.modules.version.is_none_or(|own| own >= version);
        match word {
            "default_server" | "default" => options.is_default = true,
            "bind" | "deferred" | "reuseport" => options.is_set = true,
            "multipath" if since(Version(1, 29, 7)) => options.is_set = true,
            "ssl" => options.tls = true,
            "http2" | "proxy_protocol" => {}
            "quic" if since(Version(1, 25, 0)) => options.tls = true,
            _ => {
                let Some((name, value)) = word.split_once('=') else {
                    return Err(format!("invalid parameter \"{word}\""));
                };
                let is_right = match name {
                    "ipv6only" if value.starts_with('o') && !matches!(value, "on" | "off") => {
                        return Err(format!("invalid ipv6only flags \"{value}\""));
                    }
                    "ipv6only" if value.starts_with('o') => true,
                    "backlog" => parse_number(value).is_some_and(|number| number > 0),
                    "rcvbuf" | "sndbuf" => parse_size(value).is_some(),
                    // For FreeBSD only: a binary that was looked into is one for Linux.
                    "setfib" if self.modules.options.is_some() => {
                        return Err(format!("invalid parameter \"{word}\""));
                    }
                    "fastopen" | "setfib" => parse_number(value).is_some(),
                    "so_keepalive" if !is_keepalive(value) => {
                        return Err(format!("invalid so_keepalive value: \"{value}\""));
                    }
                    "so_keepalive" | "accept_filter" => true,
                    _ => return Err(format!("invalid parameter \"{word}\"")),
                };
                if !is_right {
                    return Err(format!("invalid {name} \"{word}\""));
                }
                options.is_set = true;
            }
        }
        Ok(())
    }

    /// `ngx_http_add_listen`; whether nginx would go on.
    fn add_listen(&mut self, id: NodeId, address: PeerAddress, options: Options) -> bool {
        let Some(server) = self.config.node(id).parent else { return true };
        let text = address.to_string();
        let Some(known) = self.listens.addresses.iter_mut().find(|own| own.address == address) else {
            self.listens.addresses.push(Listening {
                address,
                servers: vec![server],
                has_default: options.is_default,
                default: server,
                has_options: options.is_set,
                tls: options.tls,
            });
            return true;
        };
        let words = if known.servers.contains(&server) {
            Some(format!("a duplicate listen {text}"))
        } else if options.is_set && known.has_options {
            Some(format!("duplicate listen options for {text}"))
        } else if options.is_default && known.has_default {
            Some(format!("a duplicate default server for {text}"))
        } else {
            None
        };
        if let Some(words) = words {
            self.refuse(id, words);
            return false;
        }
        known.servers.push(server);
        known.has_options |= options.is_set;
        known.has_default |= options.is_default;
        known.tls |= options.tls;
        if options.is_default {
            known.default = server;
        }
        true
    }

    /// A server without a `listen` has one (`ngx_http_core_server`).
    pub(super) fn end_server(&mut self, server: NodeId) {
        if self.config.named(Some(server), "listen").next().is_none() {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
            let known =
                self.listens.addresses.iter_mut().find(|own| own.address == PeerAddress::Inet(address));
            match known {
                Some(known) => known.servers.push(server),
                None => self.listens.addresses.push(Listening {
                    address: PeerAddress::Inet(address),
                    servers: vec![server],
                    has_default: false,
                    default: server,
                    has_options: false,
                    tls: false,
                }),
            }
        }
    }

    /// `ngx_http_core_server_name`.
    pub(super) fn server_name(&mut self, id: NodeId) {
        for (at, name) in self.words(id).into_iter().enumerate() {
            let is_wrong =
                (name.starts_with('*') && (name.len() < 3 || !name.starts_with("*."))) || name == ".";
            if is_wrong {
                return self.refuse_arg(id, at, format!("server name \"{name}\" is invalid"));
            }
            let Some(pattern) = name.strip_prefix('~') else { continue };
            if pattern.is_empty() {
                return self.refuse_arg(id, at, format!("empty regex in server name \"{name}\""));
            }
            match Pattern::compile(pattern, Case::Ignored) {
                Ok(pattern) => self.define_groups(&pattern),
                Err(words) => return self.refuse_arg(id, at, words),
            }
        }
    }

    /// Names that cannot be put into a table (`ngx_http_server_names`); a server alone at its address needs none.
    pub(super) fn name_tables(&mut self) {
        let config = self.config;
        let names = |server: NodeId| {
            let names = config.named(Some(server), "server_name").flat_map(|id| config.node(id).values());
            let names = names.map(|text| ServerName { text: text.to_owned(), at: None }).collect();
            Server { listens: Vec::new(), names, at: config.span(server) }
        };
        let mut found = Vec::new();
        for listening in self.listens.addresses.iter().filter(|own| own.servers.len() > 1) {
            let servers: Vec<Server> = listening.servers.iter().map(|server| names(*server)).collect();
            if let Some((at, name)) = NameTable::new(servers.iter().enumerate()).invalid {
                let words = format!("invalid server name or wildcard \"{name}\" on {}", listening.address);
                found.push((servers[at].at.clone(), words));
            }
        }
        for (at, words) in found {
            self.refuse_unplaced(at, words);
        }
    }
}

/// `on`, `off`, or `idle:interval:count`, of which not all may be left out.
fn is_keepalive(value: &str) -> bool {
    if matches!(value, "on" | "off") {
        return true;
    }
    let mut parts = value.splitn(3, ':');
    let mut seconds = || match parts.next().unwrap_or_default() {
        "" => Some(0),
        time => parse_time_in(time, TimeUnit::Seconds).map(|time| time.as_secs()),
    };
    let (Some(idle), Some(interval)) = (seconds(), seconds()) else { return false };
    let count = match parts.next().unwrap_or_default() {
        "" => Some(0),
        count => parse_number(count),
    };
    count.is_some_and(|count| idle + interval + count > 0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::first;

    #[test]
    fn listens_are_looked_at() {
        for (http, words) in [
            ("server { listen 99999; }", "invalid port in \"99999\" of the \"listen\" directive :1"),
            (
                "server { listen nowhere:80; }",
                "host not found in \"nowhere:80\" of the \"listen\" directive :1",
            ),
            ("server { listen 80 defaultserver; }", "invalid parameter \"defaultserver\" :1"),
            ("server { listen 80 backlog=0; }", "invalid backlog \"backlog=0\" :1"),
            ("server { listen 80 quic; }", "invalid parameter \"quic\" :1"),
            ("server { listen 80;\nlisten *:80; }", "a duplicate listen 0.0.0.0:80 :2"),
            (
                "server { listen 80 default_server; } server {\nlisten 80 default_server; }",
                "a duplicate default server for 0.0.0.0:80 :2",
            ),
            (
                "server { listen 80 backlog=9; } server { listen 80 bind; }",
                "duplicate listen options for 0.0.0.0:80 :1",
            ),
            ("server { listen [::]:80; listen [::]:80; }", "a duplicate listen [::]:80 :1"),
            (
                "server {\nlisten 443 ssl; }",
                "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive :1",
            ),
        ] {
            assert_eq!(first(http).as_deref(), Some(words), "{http}");
        }
        let sound = "server { listen 80; listen [::]:80; listen unix:/run/s; } server { listen 80 default_server backlog=5; }
            server { listen 443 ssl; ssl_reject_handshake on; } server { listen known:8080 so_keepalive=on; }";
        assert_eq!(first(sound), None);
    }

    #[test]
    fn server_names_are_looked_at() {
        for (http, words) in [
            ("server { server_name *a; }", "server name \"*a\" is invalid :1"),
            ("server { server_name .; }", "server name \".\" is invalid :1"),
            ("server { server_name ~; }", "empty regex in server name \"~\" :1"),
            ("server { server_name ~(; }", "pcre2_compile() failed: missing closing parenthesis in \"(\" :1"),
            (
                "server { } server { server_name a..b; }",
                "invalid server name or wildcard \"a..b\" on 0.0.0.0:80",
            ),
        ] {
            assert_eq!(first(http).as_deref(), Some(words), "{http}");
        }
        assert_eq!(first("server { server_name a..b; }"), None, "alone at its address");
    }
}
