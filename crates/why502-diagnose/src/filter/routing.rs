//! Where packets go: by the main table of a namespace, or, where rules of policy routing choose among tables, by what the kernel
//! itself was asked. Where neither tells, it is not known.

use super::packet::{Interface, Packet};
use std::net::IpAddr;
use why502_facts::PacketFilter;

/// A network namespace of this host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namespace<'f> {
    /// A process in it; `None`: it is that of this program.
    pub(crate) pid: Option<u32>,
    pub(crate) filter: &'f PacketFilter,
}

/// What the kernel says of the way of packets that a namespace sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The namespace.
    pub(crate) pid: Option<u32>,
    /// Where they are sent to, and with which mark.
    pub(crate) asked: (IpAddr, u64),
    /// By which interface they leave, and to which router; `None`: that could not be learned.
    pub(crate) hop: Option<(String, Option<IpAddr>)>,
}

/// The namespaces, that of the sender first, and what the kernel says of its ways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World<'w, 'f> {
    pub(crate) namespaces: &'w [Namespace<'f>],
    pub(crate) ways: &'w [Way],
    /// Processes of namespaces that have an address which the sender's link has as well, and that are not on that link.
    pub(crate) strangers: &'w [Option<u32>],
}

/// Who has an address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// That namespace.
    At(usize),
    /// None that is known.
    Nobody,
    /// Several have it, or one that need not be on the link: containers of different networks have the same addresses.
    Unclear,
}

/// Where a packet goes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// To a socket of its own namespace.
    Local,
    /// Nobody knows; where the kernel may be asked, with this address and mark.
    Unknown(Option<(IpAddr, u64)>),
    /// Out by an interface, to an address on its link.
    Via(String, IpAddr),
}

impl<'f> World<'_, 'f> {
    pub(super) fn filter(&self, at: usize) -> &'f PacketFilter {
        self.namespaces[at].filter
    }

    pub(super) fn pid(&self, at: usize) -> Option<u32> {
        self.namespaces[at].pid
    }

    /// Where a packet goes from a namespace.
    pub(super) fn hop(&self, at: usize, packet: &Packet) -> Hop {
        let filter = self.filter(at);
        let Some(to) = packet.to.address else { return Hop::Unknown(None) };
        if filter.is_local(to) {
            return Hop::Local;
        }
        if !filter.has_policy(to.is_ipv6()) {
            return match filter.route_to(to) {
                Some(route) => Hop::Via(route.interface.clone(), route.gateway.unwrap_or(to)),
                None => Hop::Unknown(None),
            };
        }
        // What the kernel was asked is of packets that its own sockets send.
        let Some(mark) = packet.routing_mark.filter(|_| packet.has_socket) else { return Hop::Unknown(None) };
        let asked = (to, mark);
        match self.ways.iter().find(|way| way.pid == self.pid(at) && way.asked == asked) {
            Some(Way { hop: Some((interface, gateway)), .. }) => {
                Hop::Via(interface.clone(), gateway.unwrap_or(to))
            }
            Some(_) => Hop::Unknown(None),
            None => Hop::Unknown(Some(asked)),
        }
    }

    /// The namespace that has an address on a link of another.
    pub(super) fn holder(&self, at: usize, interface: &str, address: IpAddr) -> Holder {
        let is_stranger = |own: usize| at == 0 && self.strangers.contains(&self.pid(own));
        let has_it =
            |own: &usize| *own != at && self.filter(*own).addresses.contains(&address) && !is_stranger(*own);
        let holders: Vec<usize> = (0..self.namespaces.len()).filter(has_it).collect();
        let mut linked = holders.iter().filter(|own| self.may_be_linked(at, interface, **own, address));
        match (linked.next(), linked.next()) {
            (Some(holder), None) => Holder::At(*holder),
            (None, _) if holders.is_empty() => Holder::Nobody,
            _ => Holder::Unclear,
        }
    }

    /// Whether a namespace that has an address may be the one that has it on a link of another: then it has the address on an
    /// interface with a network, as the other end has, or the other end has a route for just that address.
    fn may_be_linked(&self, at: usize, interface: &str, holder: usize, address: IpAddr) -> bool {
        if matches!(address, IpAddr::V6(own) if own.is_unicast_link_local()) {
            return true;
        }
        let routes = &self.filter(at).routes;
        let leaving = routes
            .iter()
            .find(|route| route.gateway.is_none() && route.interface == interface && route.holds(address));
        let whole = if address.is_ipv6() { 128 } else { 32 };
        leaving.is_some_and(|route| route.length == whole)
            || self.filter(holder).interface_of(address).is_some_and(|own| own != "lo")
    }
}

impl Hop {
    /// The interface by which the packet leaves.
    pub(super) fn interface(&self) -> Interface {
        match self {
            Self::Local => lo(),
            Self::Unknown(_) => Interface::Unknown,
            Self::Via(interface, _) => Interface::Named(interface.clone()),
        }
    }
}

pub(super) fn lo() -> Interface {
    Interface::Named("lo".to_owned())
}

/// The interface that a packet comes by: that which has the address of the hop that it was sent to, else that of the way back.
pub(super) fn come_in(packet: &mut Packet, filter: &PacketFilter, hop: IpAddr) {
    if let Some(interface) = filter.interface_of(hop) {
        packet.input = Interface::Named(interface.to_owned());
        packet.has_way_back = goes_back(packet, filter);
    } else {
        packet.input = way_back(packet, filter);
        packet.has_way_back = None;
    }
}

/// Whether packets to where one comes from leave by the interface that it came by.
pub(super) fn goes_back(packet: &Packet, filter: &PacketFilter) -> Option<bool> {
    match (&packet.input, way_back(packet, filter)) {
        (Interface::Named(input), Interface::Named(output)) => Some(*input == output),
        _ => None,
    }
}

/// The interface by which packets to where one comes from leave.
fn way_back(packet: &Packet, filter: &PacketFilter) -> Interface {
    match packet.from.address {
        Some(from) if filter.is_local(from) => lo(),
        Some(from) => match filter.route_to(from) {
            Some(route) => Interface::Named(route.interface.clone()),
            None => Interface::Unknown,
        },
        None => Interface::Unknown,
    }
}
