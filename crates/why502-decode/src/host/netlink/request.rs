//! Questions to the kernel.

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage};
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::{IpAddr, SocketAddr};

/// What a dump is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The addresses of this host.
    Addresses,
    /// The devices.
    Links,
    /// The neighbours.
    Neighbours,
    /// The routes of all tables.
    Routes,
    /// The rules that choose a table.
    Rules,
}

/// The protocol of the packets that are asked about (`IPPROTO_TCP`).
const TCP: u8 = 6;

/// Asks which way a TCP packet takes, sent by the user who asks. The answer names the route's table.
pub fn route_request(target: SocketAddr, source: Option<IpAddr>, mark: Option<u32>) -> Vec<u8> {
    let mut message = RouteMessage::default();
    let host = if target.is_ipv4() { 32 } else { 128 };
    message.header.address_family = family(target.ip());
    message.header.destination_prefix_length = host;
    message.header.flags = RouteFlags::LookupTable;
    message.attributes.push(RouteAttribute::Destination(target.ip().into()));
    message.attributes.push(RouteAttribute::IpProto(TCP));
    message.attributes.push(RouteAttribute::Dport(target.port()));
    message.attributes.extend(mark.map(RouteAttribute::Mark));
    if let Some(source) = source.filter(|source| source.is_ipv4() == target.is_ipv4()) {
        message.header.source_prefix_length = host;
        message.attributes.push(RouteAttribute::Source(source.into()));
    }
    bytes(RouteNetlinkMessage::GetRoute(message), NLM_F_REQUEST)
}

/// Asks for all entries of a table that are of an address's family.
pub fn dump_request(table: Table, target: IpAddr) -> Vec<u8> {
    let message = match table {
        Table::Addresses => {
            let mut message = AddressMessage::default();
            message.header.family = family(target);
            RouteNetlinkMessage::GetAddress(message)
        }
        Table::Links => RouteNetlinkMessage::GetLink(LinkMessage::default()),
        Table::Neighbours => {
            let mut message = NeighbourMessage::default();
            message.header.family = family(target);
            RouteNetlinkMessage::GetNeighbour(message)
        }
        Table::Routes => {
            let mut message = RouteMessage::default();
            message.header.address_family = family(target);
            RouteNetlinkMessage::GetRoute(message)
        }
        Table::Rules => {
            let mut message = RuleMessage::default();
            message.header.family = family(target);
            RouteNetlinkMessage::GetRule(message)
        }
    };
    bytes(message, NLM_F_REQUEST | NLM_F_DUMP)
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn bytes(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = 1;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}
