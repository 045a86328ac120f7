//! Where on this host a peer lives, and what the kernel allows there.

use super::{Case, PeerSubject};
use crate::cause::Asks;
use crate::finding::Origin;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use why502_facts::{
    Gap, GapReason, Neighbour, NeighbourState, NetworkLimits, Observed, PeerAddress, SocketTable,
};

/// The most other network namespaces of this host that are looked into.
const MAX_NAMESPACES: usize = 16;

/// The network namespace of this host that a peer's address belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home<'c> {
    /// A process in it; `None`: that of this program.
    pub(crate) pid: Option<u32>,
    /// Its sockets, where they may be seen.
    pub(crate) table: Option<&'c SocketTable>,
}

impl Home<'_> {
    /// The processes that hold a socket which takes connections to a peer.
    pub(crate) fn holders(&self, peer: &PeerAddress) -> Vec<u32> {
        self.table.map_or_else(Vec::new, |table| table.holders(peer))
    }
}

impl Case<'_> {
    /// The network namespace of this host that a peer's address belongs to: the gateway's own, or that of a container beside it.
    /// `None` where it is none, or none that may be seen. An error asks for the sockets of other namespaces.
    pub(crate) fn home_of<'c>(&'c self, peer: &PeerSubject) -> Result<Option<Home<'c>>, Asks> {
        if self.is_local(&peer.address) {
            return Ok(Some(Home { pid: self.gateway.master, table: self.sockets().known() }));
        }
        let PeerAddress::Inet(target) = &peer.address else { return Ok(None) };
        let (mut asks, mut homes) = (Vec::new(), Vec::new());
        for pid in self.other_namespaces() {
            match self.facts.sockets(Some(pid)) {
                Observed::Unknown(Gap { ask, why: GapReason::NotYet, .. }) => asks.push(ask),
                Observed::Known(table) if table.addresses.contains(&target.ip()) => {
                    homes.push(Home { pid: Some(pid), table: Some(table) });
                }
                Observed::Known(_) | Observed::Absent | Observed::Unknown(_) => {}
            }
        }
        if !asks.is_empty() {
            return Err(asks);
        }
        // Containers of different networks have the same addresses: which of several is the peer nobody knows.
        let [home] = homes[..] else { return Ok(None) };
        Ok(Some(home).filter(|_| !self.is_elsewhere(*target)))
    }

    /// Whether the gateway's own link has an address and nobody there answers for it, as far as it was asked: then a namespace that
    /// has the same address is another one.
    fn is_elsewhere(&self, target: SocketAddr) -> bool {
        let path = self.facts.route(self.gateway.security, target, None, None);
        path.known().is_some_and(|path| {
            let neighbour = path.next_neighbour(target.ip());
            let is_gone = |neighbour: &Neighbour| neighbour.state == NeighbourState::Failed;
            path.next_hop(target.ip()) == Some(target.ip()) && neighbour.is_some_and(is_gone)
        })
    }

    /// A process of every other network namespace of this host, as far as they may be seen.
    fn other_namespaces(&self) -> Vec<u32> {
        let Some(list) = self.facts.processes().known() else { return Vec::new() };
        let own = self.gateway.master.and_then(|pid| list.get(pid)?.net_namespace);
        // Without our own we could not tell which ones are others.
        let Some(own) = own else { return Vec::new() };
        let mut first: BTreeMap<u64, u32> = BTreeMap::new();
        for process in &list.processes {
            if let Some(namespace) = process.net_namespace.filter(|namespace| *namespace != own) {
                first.entry(namespace).or_insert(process.pid);
            }
        }
        let mut pids: Vec<u32> = first.into_values().collect();
        pids.sort_unstable();
        pids.truncate(MAX_NAMESPACES);
        pids
    }

    /// What the kernel allows where the gateway dials from.
    pub(crate) fn own_limits(&self) -> Observed<&NetworkLimits> {
        self.facts.network_limits(self.gateway.master, false)
    }

    /// A setting of a network namespace as the origin of what it tells.
    pub(crate) fn setting_origin(name: &str) -> Origin {
        Origin::Host(format!("/proc/sys/{}", name.replace('.', "/")))
    }

    /// The command that sets a value in the network namespace of a process, and the one that takes it back.
    pub(crate) fn sysctl(
        &self,
        pid: Option<u32>,
        setting: (&str, &str),
        before: Option<&str>,
    ) -> (Vec<String>, Vec<Vec<String>>) {
        let (name, value) = setting;
        let list = self.facts.processes().known();
        let namespace_of = |pid: u32| list.and_then(|list| list.get(pid)?.net_namespace);
        // Settings of a container's namespace are set from within it.
        let inside = pid.filter(|pid| {
            let (own, first) = (namespace_of(*pid), namespace_of(1));
            own.is_some() && first.is_some() && own != first
        });
        let command = |value: &str| {
            let enter =
                inside.map(|pid| ["nsenter".to_owned(), "--net".to_owned(), format!("--target={pid}")]);
            let set = ["sysctl".to_owned(), "-w".to_owned(), format!("{name}={value}")];
            enter.into_iter().flatten().chain(set).collect::<Vec<String>>()
        };
        (command(value), before.map(command).into_iter().collect())
    }
}
