//! Messages of rtnetlink(7): those that ask for the way to an address, and what the kernel says of it.
//!
//! Everything is kept as the kernel wrote it; a message that does not fit is passed over, because kernels add kinds and
//! attributes.

mod request;
mod rule;

pub use request::{Table, dump_request, route_request};
pub(super) use rule::policy_families;

use netlink_packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState as KernelState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteNextHop, RouteType, RouteVia,
};
use std::net::{IpAddr, SocketAddr};
use why502_facts::{
    Errno, Link, LinkAddress, Lookup, Neighbour, NeighbourState, PathToPeer, Route, RouteKind, RouteRecord,
};

/// The length of a message's header (`NLMSG_HDRLEN`).
const HEADER: usize = 16;

/// What a message of a dump is about, as far as it matters here.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// An address of this host.
    Address(LinkAddress),
    /// There are no more messages, or the kernel refuses.
    End,
    /// A device.
    Link(Link),
    /// A neighbour.
    Neighbour(Neighbour),
    /// A route.
    Route(Route),
    /// A rule that chooses a table.
    Rule,
    /// Anything else.
    Other,
}

/// Decodes what is known of the way to an address, of packets with a mark.
pub fn decode_path(record: &RouteRecord, target: SocketAddr, mark: Option<u32>) -> PathToPeer {
    let inner = |blob: &why502_facts::Blob| -> Vec<RouteNetlinkMessage> {
        messages(blob.as_slice()).filter_map(inner_message).collect()
    };
    let uid = record.context.as_user.then_some(record.context.uid);
    let packet = rule::Packet { target, uid, mark: mark.unwrap_or(0) };
    PathToPeer {
        context: record.context.clone(),
        lookup: messages(record.answer.as_slice()).find_map(lookup),
        routes: inner(&record.routes).iter().filter_map(route_of).collect(),
        rules: inner(&record.rules).iter().filter_map(|message| rule::decode(message, &packet)).collect(),
        addresses: inner(&record.addresses).iter().filter_map(address_of).collect(),
        links: inner(&record.links).iter().filter_map(link_of).collect(),
        neighbours: inner(&record.neighbours).iter().filter_map(neighbour_of).collect(),
        truncated: record.truncated,
    }
}

/// The messages in some bytes, each with its header; what is cut short is left out.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk::<4>()?);
        let length = usize::try_from(length).ok().filter(|length| *length >= HEADER)?;
        let message = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// What a message tells.
pub fn told(message: &[u8]) -> Told {
    /// `NLMSG_ERROR` and `NLMSG_DONE`.
    const ENDS: [u16; 2] = [2, 3];
    let kind = message.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
    if kind.is_some_and(|kind| ENDS.contains(&kind)) {
        return Told::End;
    }
    let Some(inner) = inner_message(message) else { return Told::Other };
    let told = match &inner {
        RouteNetlinkMessage::NewAddress(_) => address_of(&inner).map(Told::Address),
        RouteNetlinkMessage::NewLink(_) => link_of(&inner).map(Told::Link),
        RouteNetlinkMessage::NewNeighbour(_) => neighbour_of(&inner).map(Told::Neighbour),
        RouteNetlinkMessage::NewRoute(_) => route_of(&inner).map(Told::Route),
        RouteNetlinkMessage::NewRule(_) => Some(Told::Rule),
        _ => None,
    };
    told.unwrap_or(Told::Other)
}

/// What became of a look-up.
pub fn lookup(message: &[u8]) -> Option<Lookup> {
    match payload(message)? {
        NetlinkPayload::Error(error) => {
            Some(Lookup::Refused(Errno::from_linux(error.code?.get().checked_neg()?)))
        }
        NetlinkPayload::InnerMessage(inner) => route_of(&inner).map(Lookup::Route),
        _ => None,
    }
}

fn payload(message: &[u8]) -> Option<NetlinkPayload<RouteNetlinkMessage>> {
    // The library's own reader trusts the length of the header.
    NetlinkBuffer::new_checked(message).ok()?;
    NetlinkMessage::<RouteNetlinkMessage>::deserialize(message).ok().map(|message| message.payload)
}

fn inner_message(message: &[u8]) -> Option<RouteNetlinkMessage> {
    match payload(message)? {
        NetlinkPayload::InnerMessage(inner) => Some(inner),
        _ => None,
    }
}

fn route_of(message: &RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(RouteMessage { header, attributes, .. }) = message else { return None };
    let mut route = Route {
        kind: kind_of(header.kind),
        to: None,
        table: u32::from(header.table),
        metric: 0,
        device: None,
        gateway: None,
        source: None,
        mtu: None,
    };
    for attribute in attributes {
        match attribute {
            RouteAttribute::Destination(to) => {
                route.to = address(to).map(|to| (to, header.destination_prefix_length));
            }
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Oif(device) => route.device = Some(*device),
            RouteAttribute::Gateway(gateway) => route.gateway = address(gateway),
            RouteAttribute::Via(via) => route.gateway = via_of(via),
            RouteAttribute::PrefSource(source) => route.source = address(source),
            RouteAttribute::Metrics(metrics) => route.mtu = metrics.iter().find_map(mtu),
            // Of several ways the first is told.
            RouteAttribute::MultiPath(hops) => take_hop(&mut route, hops),
            _ => {}
        }
    }
    Some(route)
}

fn take_hop(route: &mut Route, hops: &[RouteNextHop]) {
    let Some(hop) = hops.first() else { return };
    route.device = Some(hop.interface_index);
    for attribute in &hop.attributes {
        match attribute {
            RouteAttribute::Gateway(gateway) => route.gateway = address(gateway),
            RouteAttribute::Via(via) => route.gateway = via_of(via),
            _ => {}
        }
    }
}

fn address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

fn via_of(via: &RouteVia) -> Option<IpAddr> {
    match via {
        RouteVia::Inet(ip) => Some((*ip).into()),
        RouteVia::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

fn mtu(metric: &RouteMetric) -> Option<u32> {
    if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None }
}

fn kind_of(kind: RouteType) -> RouteKind {
    match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        RouteType::Throw => RouteKind::Throw,
        _ => RouteKind::Other,
    }
}

fn address_of(message: &RouteNetlinkMessage) -> Option<LinkAddress> {
    let RouteNetlinkMessage::NewAddress(AddressMessage { header, attributes, .. }) = message else {
        return None;
    };
    // Of a point-to-point link `Address` is the far end, and `Local` ours.
    let far = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    let own = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let address = own.or(far)?;
    Some(LinkAddress { device: header.index, address, prefix_length: header.prefix_len })
}

fn link_of(message: &RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(LinkMessage { header, attributes, .. }) = message else { return None };
    let mut link = Link {
        index: header.index,
        name: String::new(),
        is_up: header.flags.contains(LinkFlags::Up),
        has_carrier: header.flags.contains(LinkFlags::LowerUp),
        mtu: 0,
    };
    for attribute in attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            _ => {}
        }
    }
    Some(link)
}

fn neighbour_of(message: &RouteNetlinkMessage) -> Option<Neighbour> {
    let RouteNetlinkMessage::NewNeighbour(NeighbourMessage { header, attributes, .. }) = message else {
        return None;
    };
    let address = attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::from(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::from(*ip)),
        _ => None,
    })?;
    let state = match header.state {
        KernelState::Failed => NeighbourState::Failed,
        KernelState::Incomplete => NeighbourState::Incomplete,
        KernelState::Reachable
        | KernelState::Stale
        | KernelState::Delay
        | KernelState::Probe
        | KernelState::Permanent => NeighbourState::Known,
        _ => NeighbourState::Other,
    };
    Some(Neighbour { address, device: header.ifindex, state })
}

#[cfg(test)]
mod tests;
