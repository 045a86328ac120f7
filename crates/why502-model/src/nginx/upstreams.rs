//! Groups of peers: `upstream` blocks, and the implicit group of every address that is passed to directly.

use super::address::{Address, parse_address};
use super::config::{Config, NodeId};
use super::values::parse_time;
use crate::{Group, GroupId, Host, Peer, Setting, Span, Version};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use why502_facts::{Ask, Facts, GapReason, Observed, PeerAddress, Security};

/// `max_fails` and `fail_timeout` of a peer that sets neither (`ngx_http_upstream_server`).
const DEFAULT_MAX_FAILS: u32 = 1;
const DEFAULT_FAIL_TIMEOUT: Duration = Duration::from_secs(10);

/// The groups of a configuration, as they are found.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "the groups are what it holds")]
pub(crate) struct Groups<'a> {
    facts: &'a Facts,
    security: Security,
    /// The groups.
    pub(crate) groups: Vec<Group>,
    by_name: BTreeMap<String, GroupId>,
    implicit: BTreeMap<String, GroupId>,
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
            groups: Vec::new(),
            by_name: BTreeMap::new(),
            implicit: BTreeMap::new(),
            asks: Vec::new(),
        };
        let Some(http) = config.http() else { return groups };
        for id in config.named(Some(http), "upstream") {
            let Some(name) = config.node(id).arg(0) else { continue };
            let group = groups.read_group(config, id, name, version);
            groups.by_name.insert(name.to_ascii_lowercase(), GroupId(groups.groups.len()));
            groups.groups.push(group);
        }
        groups
    }

    /// The group of that name; nginx compares names without regard to case.
    pub(crate) fn named(&self, name: &str) -> Option<GroupId> {
        self.by_name.get(&name.to_ascii_lowercase()).copied()
    }

    /// The group that `host[:port]` of a `*_pass` leads to: a named one, or an implicit one for that address.
    ///
    /// Routes that pass to the same address share one implicit group and its state.
    pub(crate) fn of_pass(&mut self, text: &str, default_port: Option<u16>, at: &Span) -> Option<GroupId> {
        let address = parse_address(text)?;
        if let (Host::Name(name), None) = (&address.host, address.port)
            && let Some(id) = self.named(name)
        {
            return Some(id);
        }
        let port = address.port.or(default_port);
        let key = format!("{:?}:{port:?}", address.host);
        if let Some(id) = self.implicit.get(&key) {
            return Some(*id);
        }
        let peer = self.new_peer(text, Address { port, ..address }, at.clone());
        let id = GroupId(self.groups.len());
        self.groups.push(Group {
            name: None,
            at: at.clone(),
            peers: vec![peer],
            keepalive: None,
            shared: false,
        });
        self.implicit.insert(key, id);
        Some(id)
    }

    fn read_group(&mut self, config: &Config, id: NodeId, name: &str, version: Option<Version>) -> Group {
        let servers: Vec<_> = config.named(Some(id), "server").collect();
        let peers = servers.into_iter().filter_map(|server| self.read_peer(config, server)).collect();
        let keepalive = config.named(Some(id), "keepalive").last().and_then(|keepalive| {
            let value = config.node(keepalive).arg(0)?.parse().ok()?;
            Some(Setting { value, at: Some(config.arg_span(keepalive, 0)) })
        });
        // Since 1.29.7 every `upstream` block keeps 32 connections (CHANGES 1.29.7).
        let by_default =
            version.is_some_and(|version| version >= Version(1, 29, 7)).then(|| Setting::default_of(32));
        Group {
            name: Some(name.to_owned()),
            at: config.arg_span(id, 0),
            peers,
            keepalive: keepalive.or(by_default).filter(|keepalive| keepalive.value > 0),
            shared: config.named(Some(id), "zone").next().is_some(),
        }
    }

    fn read_peer(&mut self, config: &Config, id: NodeId) -> Option<Peer> {
        let text = config.node(id).arg(0)?.to_owned();
        let address = parse_address(&text)?;
        // The default port of a peer is 80 whatever the protocol (`ngx_http_upstream_server`).
        let port = address.port.or((!matches!(address.host, Host::Unix(_))).then_some(80));
        let mut peer = self.new_peer(&text, Address { port, ..address }, config.arg_span(id, 0));
        let number = |value: &str| value.parse().ok();
        for parameter in config.node(id).values().skip(1) {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("down", _) => peer.down = true,
                ("backup", _) => peer.backup = true,
                ("resolve", _) => peer.resolve = true,
                ("max_fails", value) => peer.max_fails = number(value).unwrap_or(peer.max_fails),
                ("max_conns", value) => peer.max_conns = number(value).unwrap_or(0),
                ("fail_timeout", value) => peer.fail_timeout = parse_time(value).unwrap_or(peer.fail_timeout),
                _ => {}
            }
        }
        Some(peer)
    }

    fn new_peer(&mut self, text: &str, address: Address, at: Span) -> Peer {
        let addresses = self.addresses(&address);
        Peer {
            text: text.to_owned(),
            host: address.host,
            port: address.port,
            at,
            down: false,
            backup: false,
            resolve: false,
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
            Host::Name(name) => {
                let found = self.facts.addresses(self.security, name);
                if let Observed::Unknown(gap) = &found
                    && gap.why == GapReason::NotYet
                {
                    self.asks.push(gap.ask.clone());
                }
                found.map(|ips| {
                    let (v4, v6): (Vec<_>, Vec<_>) = ips.iter().partition(|ip| ip.is_ipv4());
                    v4.into_iter().chain(v6).map(|ip| PeerAddress::Inet(SocketAddr::new(ip, port))).collect()
                })
            }
        }
    }
}
