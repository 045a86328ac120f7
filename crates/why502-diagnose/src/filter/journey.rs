//! A packet on its way through the network namespaces of this host.

use super::packet::{Doubt, ESTABLISHED, End, Interface, NEW, Packet};
use super::routing::{Hop, World, come_in, goes_back, lo};
use super::walk::{Ending, Fate, Ruled, pass};
use std::net::IpAddr;
use why502_facts::{Hook, PacketFilter, RulePlace};

/// So many routers are followed at most.
const MAX_HOPS: usize = 5;

/// A rule that ends a packet, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) pid: Option<u32>,
    pub(crate) hook: Hook,
    pub(crate) place: RulePlace,
    pub(crate) ending: Ending,
    /// Why it is not certain; `None`: it is.
    pub(crate) doubt: Option<Doubt>,
    /// The ends of the packet there, from and to: translations may have changed them.
    pub(crate) ends: (End, End),
}

/// A rule that sends a packet to another destination than the one that it was sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) pid: Option<u32>,
    pub(crate) place: RulePlace,
    /// Where it goes from there on.
    pub(crate) to: End,
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
    /// Which rules send it elsewhere.
    pub(crate) turns: Vec<Turn>,
    /// Whether it leaves a namespace of this host and nobody knows where to.
    pub(crate) is_lost: bool,
    /// The address and the mark by which the sender's kernel would tell.
    pub(crate) unasked: Option<(IpAddr, u64)>,
    /// The mark that the sender's kernel chooses its way by in the end; `None`: it is not known.
    pub(crate) mark: Option<u64>,
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
    fn take(&mut self, pid: Option<u32>, hook: Hook, fate: Fate, packet: &Packet) -> bool {
        let ends = (packet.from, packet.to);
        let stop =
            |ruled: Ruled, doubt| Stop { pid, hook, place: ruled.place, ending: ruled.ending, doubt, ends };
        if matches!(hook, Hook::Output | Hook::Prerouting) {
            self.turns.extend(fate.translated.map(|place| Turn { pid, place, to: packet.to }));
        }
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
    /// What was translated of the connection there.
    status: Option<u64>,
}

/// Sends a packet from the first of the namespaces.
pub(crate) fn send(world: World<'_, '_>, mut packet: Packet) -> Journey {
    let mut journey = Journey::default();
    if world.namespaces.is_empty() {
        return journey;
    }
    let mut at = 0;
    let before = (packet.from, packet.to);
    packet.has_socket = true;
    packet.output = world.hop(at, &packet).interface();
    set_kinds(&mut packet, world.filter(at));
    if !step(&mut journey, world, at, Hook::Output, &mut packet, true) {
        return journey;
    }
    let mut hop = world.hop(at, &packet);
    packet.output = hop.interface();
    journey.mark = packet.routing_mark;
    let inside = (packet.from, packet.to);
    if !depart(&mut journey, world, at, &mut packet) {
        return journey;
    }
    let (output, after) = (packet.output.clone(), (packet.from, packet.to));
    let status = packet.status;
    journey.legs.push(Leg { at, input: Interface::None, output, before, inside, after, status });
    packet.has_socket = false;
    for _ in 0..MAX_HOPS {
        let is_local = hop == Hop::Local;
        let filter = match hop {
            Hop::Local => {
                (packet.input, packet.has_way_back) = (lo(), Some(true));
                world.filter(at)
            }
            Hop::Via(_, next) => {
                let Some(holder) = world.holder(at, next) else { return journey };
                at = holder;
                come_in(&mut packet, world.filter(at), next);
                enter(&mut packet);
                world.filter(at)
            }
            Hop::Unknown(asked) => {
                (journey.is_lost, journey.unasked) = (true, asked);
                return journey;
            }
        };
        packet.output = Interface::None;
        set_kinds(&mut packet, filter);
        let before = (packet.from, packet.to);
        // What comes back over loopback was translated when it left.
        let may_translate = !is_local;
        if !step(&mut journey, world, at, Hook::Ingress, &mut packet, false)
            || !step(&mut journey, world, at, Hook::Prerouting, &mut packet, may_translate)
        {
            return journey;
        }
        set_kinds(&mut packet, filter);
        let inside = (packet.from, packet.to);
        hop = world.hop(at, &packet);
        if hop == Hop::Local {
            if step(&mut journey, world, at, Hook::Input, &mut packet, may_translate) {
                journey.arrived = Some(Arrival { pid: world.pid(at) });
            }
            let (input, status) = (packet.input.clone(), packet.status);
            let output = Interface::None;
            journey.legs.push(Leg { at, input, output, before, inside, after: inside, status });
            return journey;
        }
        packet.output = hop.interface();
        if !step(&mut journey, world, at, Hook::Forward, &mut packet, true)
            || !depart(&mut journey, world, at, &mut packet)
        {
            return journey;
        }
        let (input, output, status) = (packet.input.clone(), packet.output.clone(), packet.status);
        let after = (packet.from, packet.to);
        journey.legs.push(Leg { at, input, output, before, inside, after, status });
    }
    journey
}

/// Sends the answer to a packet that arrived, on the same way back.
pub(crate) fn answer(world: World<'_, '_>, there: &Journey, mut packet: Packet) -> Journey {
    let mut journey = Journey::default();
    let turn = |packet: &mut Packet, ends: (End, End)| (packet.from, packet.to) = (ends.1, ends.0);
    let mut legs = there.legs.iter().rev();
    let Some(last) = legs.next().filter(|_| there.arrived.is_some()) else { return journey };
    let mut at = last.at;
    turn(&mut packet, last.inside);
    packet.output = last.input.clone();
    packet.status = last.status;
    packet.has_socket = true;
    set_kinds(&mut packet, world.filter(at));
    if !step(&mut journey, world, at, Hook::Output, &mut packet, false) {
        return journey;
    }
    turn(&mut packet, last.before);
    if !depart(&mut journey, world, at, &mut packet) {
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
        packet.status = leg.status;
        turn(&mut packet, leg.after);
        packet.has_way_back = goes_back(&packet, world.filter(at));
        set_kinds(&mut packet, world.filter(at));
        if !step(&mut journey, world, at, Hook::Ingress, &mut packet, false)
            || !step(&mut journey, world, at, Hook::Prerouting, &mut packet, false)
        {
            return journey;
        }
        if leg.input == Interface::None {
            turn(&mut packet, leg.before);
            if step(&mut journey, world, at, Hook::Input, &mut packet, false) {
                journey.arrived = Some(Arrival { pid: world.pid(at) });
            }
            return journey;
        }
        turn(&mut packet, leg.inside);
        packet.output = leg.input.clone();
        if !step(&mut journey, world, at, Hook::Forward, &mut packet, false) {
            return journey;
        }
        turn(&mut packet, leg.before);
        if !depart(&mut journey, world, at, &mut packet) {
            return journey;
        }
    }
    journey
}

fn depart(journey: &mut Journey, world: World<'_, '_>, at: usize, packet: &mut Packet) -> bool {
    let may_translate = !packet.is_reply;
    step(journey, world, at, Hook::Postrouting, packet, may_translate)
        && step(journey, world, at, Hook::Egress, packet, false)
}

fn step(
    journey: &mut Journey,
    world: World<'_, '_>,
    at: usize,
    hook: Hook,
    packet: &mut Packet,
    may_translate: bool,
) -> bool {
    let fate = pass(world.filter(at), hook, packet, may_translate);
    journey.take(world.pid(at), hook, fate, packet)
}

/// Marks and states are those of one namespace.
fn enter(packet: &mut Packet) {
    packet.mark = Some(0);
    packet.connection_mark = Some(0);
    packet.status = Some(0);
    packet.state = Some(if packet.is_reply || packet.flags != SYN { ESTABLISHED } else { NEW });
}

/// The flags of the first packet of a connection.
pub(super) const SYN: u64 = 2;

fn set_kinds(packet: &mut Packet, filter: &PacketFilter) {
    let kind = |address: Option<IpAddr>| {
        address.map(|address| if filter.is_local(address) { "local" } else { "unicast" })
    };
    packet.kinds = (kind(packet.from.address), kind(packet.to.address));
}
