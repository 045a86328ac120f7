//! A packet on its way through the network namespaces of this host.

use super::packet::{Doubt, ESTABLISHED, End, Interface, NEW, Packet, UNTRACKED};
use super::routing::{Holder, Hop, World, come_in, goes_back, lo};
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
    /// To which address on its link the sender hands it.
    pub(crate) handed_to: Option<IpAddr>,
    /// Whether rules change, or may change, the mark of its connection.
    pub(crate) has_marked: bool,
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

    /// Whether it goes from one namespace to another.
    pub(crate) fn crosses_links(&self) -> bool {
        self.legs.windows(2).any(|legs| legs[0].at != legs[1].at)
    }

    /// Whether it comes through a namespace.
    pub(crate) fn visits(&self, at: usize) -> bool {
        self.legs.iter().any(|leg| leg.at == at)
    }

    /// The marks of its connection are not known any more: later packets of it may have changed them.
    pub(crate) fn forget_marks(&mut self) {
        for leg in &mut self.legs {
            leg.kept.mark = None;
        }
    }

    /// What the namespace of a leg keeps of the connection once the packet has gone on from there.
    fn kept(&self, leg: usize) -> Kept {
        let legs = self.legs.get(leg..).unwrap_or_default();
        let same = legs.iter().take_while(|own| Some(own.at) == legs.first().map(|first| first.at));
        same.last().map_or(Kept::default(), |last| last.kept)
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

/// What a namespace keeps of a connection. The default: nothing is known of it.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    /// Its mark.
    mark: Option<u64>,
    /// What was translated of it.
    status: Option<u64>,
    /// Whether it is certain that there is an entry for it at all.
    is_tracked: bool,
}

impl Kept {
    /// Of a connection that begins.
    const NEW: Self = Self { mark: Some(0), status: Some(0), is_tracked: true };

    /// As a packet leaves it behind.
    fn of(packet: &Packet) -> Self {
        let is_tracked = packet.state.is_some_and(|state| state != UNTRACKED);
        Self { mark: packet.connection_mark, status: packet.status, is_tracked }
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
    kept: Kept,
}

/// Sends the first packet of a connection from the first of the namespaces.
pub(crate) fn send(world: World<'_, '_>, packet: Packet) -> Journey {
    travel(world, None, packet)
}

/// Sends a later packet of a connection after the first one.
pub(crate) fn follow(world: World<'_, '_>, first: &Journey, packet: Packet) -> Journey {
    travel(world, Some(first), packet)
}

fn travel(world: World<'_, '_>, earlier: Option<&Journey>, mut packet: Packet) -> Journey {
    let mut journey = Journey::default();
    if world.namespaces.is_empty() {
        return journey;
    }
    let kept = |leg: usize, at: usize| match earlier {
        None => Kept::NEW,
        Some(earlier) if earlier.legs.get(leg).is_some_and(|own| own.at == at) => earlier.kept(leg),
        Some(_) => Kept::default(),
    };
    let mut at = 0;
    enter(&mut packet, kept(0, at));
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
    let own = Kept::of(&packet);
    journey.legs.push(Leg { at, input: Interface::None, output, before, inside, after, kept: own });
    packet.has_socket = false;
    for _ in 0..MAX_HOPS {
        let is_local = hop == Hop::Local;
        let filter = match hop {
            Hop::Local => {
                (packet.input, packet.has_way_back) = (lo(), Some(true));
                world.filter(at)
            }
            Hop::Via(interface, next) => {
                if journey.legs.len() == 1 {
                    journey.handed_to = Some(next);
                }
                at = match world.holder(at, &interface, next) {
                    Holder::At(holder) => holder,
                    Holder::Nobody => return journey,
                    Holder::Unclear => {
                        journey.is_lost = true;
                        return journey;
                    }
                };
                come_in(&mut packet, world.filter(at), next);
                enter(&mut packet, kept(journey.legs.len(), at));
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
            let (input, output) = (packet.input.clone(), Interface::None);
            let kept = Kept::of(&packet);
            journey.legs.push(Leg { at, input, output, before, inside, after: inside, kept });
            return journey;
        }
        packet.output = hop.interface();
        if !step(&mut journey, world, at, Hook::Forward, &mut packet, true)
            || !depart(&mut journey, world, at, &mut packet)
        {
            return journey;
        }
        let (input, output) = (packet.input.clone(), packet.output.clone());
        let (after, kept) = ((packet.from, packet.to), Kept::of(&packet));
        journey.legs.push(Leg { at, input, output, before, inside, after, kept });
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
    enter(&mut packet, last.kept);
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
        // In one namespace it is one entry, which the packet itself may have changed.
        if leg.at != at {
            enter(&mut packet, leg.kept);
        }
        at = leg.at;
        packet.input = leg.output.clone();
        packet.output = Interface::None;
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
    let mark = packet.connection_mark;
    let fate = pass(world.filter(at), hook, packet, may_translate);
    journey.has_marked |= packet.connection_mark != mark;
    journey.take(world.pid(at), hook, fate, packet)
}

/// Marks and states are those of one namespace.
fn enter(packet: &mut Packet, kept: Kept) {
    packet.mark = Some(0);
    (packet.connection_mark, packet.status) = (kept.mark, kept.status);
    let state = if packet.is_reply || packet.flags != SYN { ESTABLISHED } else { NEW };
    // Of a connection whose first packet was not tracked the next one may be anything: new, invalid, not tracked either.
    packet.state = kept.is_tracked.then_some(state);
}

/// The flags of the first packet of a connection.
pub(super) const SYN: u64 = 2;

fn set_kinds(packet: &mut Packet, filter: &PacketFilter) {
    let kind = |address: Option<IpAddr>| {
        address.map(|address| if filter.is_local(address) { "local" } else { "unicast" })
    };
    packet.kinds = (kind(packet.from.address), kind(packet.to.address));
}
