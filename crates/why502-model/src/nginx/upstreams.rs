//! Groups of peers: `upstream` blocks, and the implicit group of every address that is passed to directly.

mod group;

use super::address::Address;
use super::config::{Config, NodeId};
use crate::{Balancing, Group, GroupId, Host, Peer, Reuse, Setting, Span, Version};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use why502_facts::{Ask, Facts, Gap, GapReason, Observed, PeerAddress, Resolver, Security};

/// `max_fails` and `fail_timeout` of a peer that sets neither (`ngx_http_upstream_server`).
const DEFAULT_MAX_FAILS: u32 = 1;
const DEFAULT_FAIL_TIMEOUT: Duration = Duration::from_secs(10);

/// The groups of a configuration, as they are found.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "the groups are what it holds")]
pub(crate) struct Groups<'a> {
    facts: &'a Facts,
    security: Security,
    version: Option<Version>,
    /// The groups.
    pub(crate) groups: Vec<Group>,
    by_name: BTreeMap<String, GroupId>,
    /// Those of addresses: host, port, group.
    implicit: Vec<(String, Option<u16>, GroupId)>,
    /// Names that are still to be resolved.
    pub(crate) asks: Vec<Ask>,
}

impl<'a> Groups<'a> {
    /// Reads the `upstream` blocks of a configuration.
    pub(crate) fn read(
        config: &Config,
        facts: &'a Facts,
        security: Security,
        version: Option<Version>,
    ) -> Self {
        let mut groups = Self {
            facts,
            security,
            version,
            groups: Vec::new(),
            by_name: BTreeMap::new(),
            implicit: Vec::new(),
            asks: Vec::new(),
        };
        for http in config.named(None, "http") {
            for id in config.named(Some(http), "upstream") {
                let Some(name) = config.node(id).arg(0) else { continue };
                let group = groups.read_group(config, id, name);
                // nginx refuses a second group of the same name; the first one stays.
                groups.by_name.entry(name.to_ascii_lowercase()).or_insert(GroupId(groups.groups.len()));
                groups.groups.push(group);
            }
        }
        groups
    }

    /// The group of that name; nginx compares names without regard to case.
    pub(crate) fn named(&self, name: &str) -> Option<GroupId> {
        self.by_name.get(&name.to_ascii_lowercase()).copied()
    }

    /// The group that an address of a `*_pass` leads to: a named one, or an implicit one for that address.
    ///
    /// Routes that pass to the same address share one implicit group and its state (`ngx_http_upstream_add`).
    pub(crate) fn of_pass(&mut self, address: Address, default_port: Option<u16>, at: &Span) -> GroupId {
        if let (Host::Name(name), None) = (&address.host, address.port)
            && let Some(id) = self.named(name)
        {
            return id;
        }
        let host = host_key(&address);
        let port = if matches!(address.host, Host::Unix(_)) { None } else { address.port.or(default_port) };
        if let Some(id) = self.find_implicit(&host, port) {
            return id;
        }
        let text = written(&address);
        let peer = self.new_peer(text, Address { port, ..address }, at.clone());
        let id = GroupId(self.groups.len());
        self.groups.push(Group {
            name: None,
            at: at.clone(),
            peers: vec![peer],
            balancing: Setting::default_of(Balancing::RoundRobin),
            keepalive: None,
            reuse: Reuse {
                timeout: Setting::default_of(Duration::ZERO),
                requests: Setting::default_of(0),
                time: Setting::default_of(Duration::ZERO),
            },
            resolver: None,
            shared: false,
            managed: false,
        });
        self.implicit.push((host, port, id));
        id
    }

    /// Whether some pass leads to that very address.
    pub(crate) fn has_implicit(&self, address: &Address, default_port: Option<u16>) -> bool {
        self.find_implicit(&host_key(address), address.port.or(default_port)).is_some()
    }

    /// An address without a port, where no port is the default, is the first one of that host.
    fn find_implicit(&self, host: &str, port: Option<u16>) -> Option<GroupId> {
        let fits = |own: Option<u16>| own.is_none() || port.is_none() || own == port;
        self.implicit.iter().find(|(own, own_port, _)| own == host && fits(*own_port)).map(|(.., id)| *id)
    }

    fn new_peer(&mut self, text: String, address: Address, at: Span) -> Peer {
        let addresses = self.addresses(&address);
        Peer {
            text,
            host: address.host,
            port: address.port,
            at,
            down: false,
            backup: false,
            resolve: false,
            service: None,
            weight: 1,
            max_fails: DEFAULT_MAX_FAILS,
            fail_timeout: DEFAULT_FAIL_TIMEOUT,
            max_conns: 0,
            addresses,
        }
    }

    /// What the gateway dials for an address: for a name, what the system resolver says now, IPv4 first
    /// (`ngx_inet_resolve_host`).
    fn addresses(&mut self, address: &Address) -> Observed<Vec<PeerAddress>> {
        let port = address.port.unwrap_or(0);
        match &address.host {
            Host::Unix(path) => Observed::Known(vec![PeerAddress::Unix(path.clone())]),
            Host::Ip(ip) => Observed::Known(vec![PeerAddress::Inet(SocketAddr::new(*ip, port))]),
            Host::Name(name) => self.resolve(name).map(|ips| {
                let (v4, v6): (Vec<_>, Vec<_>) = ips.into_iter().partition(IpAddr::is_ipv4);
                v4.into_iter().chain(v6).map(|ip| PeerAddress::Inet(SocketAddr::new(ip, port))).collect()
            }),
        }
    }

    /// The addresses that the system gives for a name; asks for them where nobody has.
    pub(crate) fn resolve(&mut self, name: &str) -> Observed<Vec<IpAddr>> {
        if name.contains("*@") {
            // A user and a password stood before it and were masked: such a name is asked of nobody.
            let ask =
                Ask::Resolve { security: self.security, name: name.to_owned(), resolver: Resolver::System };
            let says = format!("{name:?} is no name of a host");
            return Observed::Unknown(Gap { ask, why: GapReason::Unsupported, says });
        }
        let found = self.facts.addresses(self.security, name);
        if let Observed::Unknown(gap) = &found
            && gap.why == GapReason::NotYet
        {
            self.asks.push(gap.ask.clone());
        }
        found.map(Clone::clone)
    }

    /// The gap of a peer whose addresses only SRV records tell.
    fn unsupported(&self, name: &str) -> Observed<Vec<PeerAddress>> {
        let ask = Ask::Resolve { security: self.security, name: name.to_owned(), resolver: Resolver::System };
        let says = format!("the addresses of {name} are in SRV records, which are not looked up");
        Observed::Unknown(Gap { ask, why: GapReason::Unsupported, says })
    }
}

/// The first value of a directive of a group.
fn own_setting<T>(
    config: &Config,
    block: NodeId,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<Setting<T>> {
    let id = config.named(Some(block), name).last()?;
    Some(Setting { value: parse(config.node(id).arg(0)?)?, at: Some(config.arg_span(id, 0)) })
}

/// Hosts are compared in any case, the paths of sockets too.
fn host_key(address: &Address) -> String {
    let is_unix = matches!(address.host, Host::Unix(_));
    format!("{}{}", if is_unix { "unix:" } else { "" }, address.host_text.to_ascii_lowercase())
}

/// The address as it was written, without its URI.
fn written(address: &Address) -> String {
    match (&address.host, address.port) {
        (Host::Unix(path), _) => format!("unix:{path}"),
        (_, Some(port)) => format!("{}:{port}", address.host_text),
        (_, None) => address.host_text.clone(),
    }
}
