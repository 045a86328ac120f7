//! A packet on its way through the network namespaces of this host.

use super::packet::{Doubt, ESTABLISHED, End, Interface, NEW, Packet};
use super::walk::{Ending, Fate, Ruled, pass};
use std::net::IpAddr;
use why502_facts::{Hook, PacketFilter, RulePlace};

/// So many routers are followed at most.
const MAX_HOPS: usize = 5;

/// A network namespace of this host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namespace<'f> {
    /// A process in it; `None`: it is that of this program.
    pub(crate) pid: Option<u32>,
    pub(crate) filter: &'f PacketFilter,
}

/// A rule that ends a packet, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) pid: Option<u32>,
    pub(crate) hook: Hook,
    pub(crate) place: RulePlace,
    pub(crate) ending: Ending,
    /// Why it is not certain; `None`: it is.
    pub(crate) doubt: Option<Doubt>,
}

/// Where a packet comes to a socket of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// A process in that network namespace; `None`: it is that of this program.
    pub(crate) pid: Option<u32>,
}

/// The way of a packet.
#[derive(Debug, Default)]
pub(crate) struct Journey {
    /// What ends it, or may: the certain one last.
    pub(crate) stops: Vec<Stop>,
    /// Where it arrives; `None`: it leaves this host, or is ended before.
    pub(crate) arrived: Option<Arrival>,
    legs: Vec<Leg>,
}

impl Journey {
    /// What certainly ends it.
    pub(crate) fn end(&self) -> Option<&Stop> {
        self.stops.iter().find(|stop| stop.doubt.is_none())
    }

    /// Where it arrives.
    pub(crate) fn destination(&self) -> Option<End> {
        self.legs.last().filter(|_| self.arrived.is_some()).map(|leg| leg.inside.1)
    }

    /// Whether it keeps its ends all the way.
    pub(crate) fn is_plain(&self) -> bool {
        self.legs.iter().all(|leg| leg.before == leg.inside && leg.inside == leg.after)
    }

    /// Takes up what a hook did; whether it goes on.
    fn take(&mut self, pid: Option<u32>, hook: Hook, fate: Fate) -> bool {
        let stop = |ruled: Ruled, doubt| Stop { pid, hook, place: ruled.place, ending: ruled.ending, doubt };
        self.stops.extend(fate.possible.into_iter().map(|(ruled, doubt)| stop(ruled, Some(doubt))));
        let goes_on = fate.ended.is_none();
        self.stops.extend(fate.ended.map(|ruled| stop(ruled, None)));
        goes_on
    }
}

/// The part of a way in one namespace, with both ends as they are before, between and after translations.
#[derive(Debug)]
struct Leg {
    at: usize,
    input: Interface,
    output: Interface,
    before: (End, End),
    inside: (End, End),
    after: (End, End),
}

/// Sends a packet from the first of the namespaces.
pub(crate) fn send(namespaces: &[Namespace<'_>], mut packet: Packet) -> Journey {
    let mut journey = Journey::default();
    let Some(first) = namespaces.first() else { return journey };
    let mut at = 0;
    let before = (packet.from, packet.to);
    packet.output = leaves_by(first.filter, packet.to.address);
    set_kinds(&mut packet, first.filter);
    packet.has_socket = true;
    if !step(&mut journey, namespaces, at, Hook::Output, &mut packet, true) {
        return journey;
    }
    packet.output = leaves_by(first.filter, packet.to.address);
    let inside = (packet.from, packet.to);
    if !depart(&mut journey, namespaces, at, &mut packet) {
        return journey;
    }
    let (output, after) = (packet.output.clone(), (packet.from, packet.to));
    journey.legs.push(Leg { at, input: Interface::None, output, before, inside, after });
    packet.has_socket = false;
    for _ in 0..MAX_HOPS {
        let is_local = is_own(namespaces[at].filter, packet.to.address);
        let Some(next) = next_namespace(namespaces, at, packet.to.address) else { return journey };
        let is_loop = next == at;
        packet.input = if is_loop { lo() } else { comes_by(namespaces[next].filter, packet.from.address) };
        packet.output = Interface::None;
        at = next;
        let filter = namespaces[at].filter;
        if !is_loop {
            enter(&mut packet);
        }
        set_kinds(&mut packet, filter);
        let before = (packet.from, packet.to);
        // What comes back over loopback was translated when it left.
        let may_translate = !is_local;
        if !step(&mut journey, namespaces, at, Hook::Ingress, &mut packet, false)
            || !step(&mut journey, namespaces, at, Hook::Prerouting, &mut packet, may_translate)
        {
            return journey;
        }
        set_kinds(&mut packet, filter);
        let inside = (packet.from, packet.to);
        if is_own(filter, packet.to.address) {
            if step(&mut journey, namespaces, at, Hook::Input, &mut packet, may_translate) {
                journey.arrived = Some(Arrival { pid: namespaces[at].pid });
            }
            let input = packet.input.clone();
            journey.legs.push(Leg { at, input, output: Interface::None, before, inside, after: inside });
            return journey;
        }
        packet.output = leaves_by(filter, packet.to.address);
        if !step(&mut journey, namespaces, at, Hook::Forward, &mut packet, true)
            || !depart(&mut journey, namespaces, at, &mut packet)
        {
            return journey;
        }
        let (input, output) = (packet.input.clone(), packet.output.clone());
        journey.legs.push(Leg { at, input, output, before, inside, after: (packet.from, packet.to) });
    }
    journey
}

/// Sends the answer to a packet that arrived, on the same way back.
pub(crate) fn answer(namespaces: &[Namespace<'_>], there: &Journey, mut packet: Packet) -> Journey {
    let mut journey = Journey::default();
    let turn = |packet: &mut Packet, ends: (End, End)| (packet.from, packet.to) = (ends.1, ends.0);
    let mut legs = there.legs.iter().rev();
    let Some(last) = legs.next().filter(|_| there.arrived.is_some()) else { return journey };
    let mut at = last.at;
    turn(&mut packet, last.inside);
    packet.output = last.input.clone();
    packet.has_socket = true;
    set_kinds(&mut packet, namespaces[at].filter);
    if !step(&mut journey, namespaces, at, Hook::Output, &mut packet, false) {
        return journey;
    }
    turn(&mut packet, last.before);
    if !depart(&mut journey, namespaces, at, &mut packet) {
        return journey;
    }
    packet.has_socket = false;
    for leg in legs {
        if leg.at != at {
            enter(&mut packet);
        }
        at = leg.at;
        packet.input = leg.output.clone();
        packet.output = Interface::None;
        turn(&mut packet, leg.after);
        set_kinds(&mut packet, namespaces[at].filter);
        if !step(&mut journey, namespaces, at, Hook::Ingress, &mut packet, false)
            || !step(&mut journey, namespaces, at, Hook::Prerouting, &mut packet, false)
        {
            return journey;
        }
        if leg.input == Interface::None {
            turn(&mut packet, leg.before);
            if step(&mut journey, namespaces, at, Hook::Input, &mut packet, false) {
                journey.arrived = Some(Arrival { pid: namespaces[at].pid });
            }
            return journey;
        }
        turn(&mut packet, leg.inside);
        packet.output = leg.input.clone();
        if !step(&mut journey, namespaces, at, Hook::Forward, &mut packet, false) {
            return journey;
        }
        turn(&mut packet, leg.before);
        if !depart(&mut journey, namespaces, at, &mut packet) {
            return journey;
        }
    }
    journey
}

fn depart(journey: &mut Journey, namespaces: &[Namespace<'_>], at: usize, packet: &mut Packet) -> bool {
    let may_translate = !packet.is_reply;
    step(journey, namespaces, at, Hook::Postrouting, packet, may_translate)
        && step(journey, namespaces, at, Hook::Egress, packet, false)
}

fn step(
    journey: &mut Journey,
    namespaces: &[Namespace<'_>],
    at: usize,
    hook: Hook,
    packet: &mut Packet,
    may_translate: bool,
) -> bool {
    let fate = pass(namespaces[at].filter, hook, packet, may_translate);
    journey.take(namespaces[at].pid, hook, fate)
}

/// Marks and states are those of one namespace.
fn enter(packet: &mut Packet) {
    packet.mark = Some(0);
    packet.connection_mark = Some(0);
    packet.state = Some(if packet.is_reply || packet.flags != SYN { ESTABLISHED } else { NEW });
}

/// The flags of the first packet of a connection.
pub(super) const SYN: u64 = 2;

fn lo() -> Interface {
    Interface::Named("lo".to_owned())
}

fn is_own(filter: &PacketFilter, address: Option<IpAddr>) -> bool {
    address.is_some_and(|address| filter.is_local(address))
}

/// The interface that a packet to an address leaves by.
fn leaves_by(filter: &PacketFilter, to: Option<IpAddr>) -> Interface {
    match to {
        Some(to) if filter.is_local(to) => lo(),
        Some(to) => {
            filter.route_to(to).map_or(Interface::Unknown, |route| Interface::Named(route.interface.clone()))
        }
        None => Interface::Unknown,
    }
}

/// The interface that a packet from an address comes by, if the way back is the same.
fn comes_by(filter: &PacketFilter, from: Option<IpAddr>) -> Interface {
    from.and_then(|from| filter.route_to(from))
        .map_or(Interface::Unknown, |route| Interface::Named(route.interface.clone()))
}

fn set_kinds(packet: &mut Packet, filter: &PacketFilter) {
    let kind = |address: Option<IpAddr>| {
        address.map(|address| if filter.is_local(address) { "local" } else { "unicast" })
    };
    packet.kinds = (kind(packet.from.address), kind(packet.to.address));
}

/// The namespace that has the address, or that of the next router; `None` if it is not of this host, or several are.
fn next_namespace(namespaces: &[Namespace<'_>], at: usize, to: Option<IpAddr>) -> Option<usize> {
    let to = to?;
    let here = namespaces[at].filter;
    if here.is_local(to) {
        return Some(at);
    }
    let next = here.route_to(to)?.gateway.unwrap_or(to);
    let mut holders =
        (0..namespaces.len()).filter(|own| *own != at && namespaces[*own].filter.addresses.contains(&next));
    holders.next().filter(|_| holders.next().is_none())
}
