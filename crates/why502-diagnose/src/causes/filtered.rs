//! What packet filters of this host do to the packets between the gateway and a peer.

mod met;
mod namespaces;
mod words;

pub(super) use self::met::{Counted, Led, Met, is_elsewhere};
use self::namespaces::{Link, ask, link, may_be_bridged, other_namespaces, read};
pub(super) use self::words::{refusal_words, tool_name};
use crate::case::{Case, PeerSubject, or_ask};
use crate::cause::Asks;
use crate::filter::{
    self, Arrival, ESTABLISHED, End, Interface, Journey, NEW, Namespace, Packet, Place, Stop, Way, World,
};
use crate::finding::{Confidence, Open};
use crate::plan;
use std::net::{IpAddr, SocketAddr};
use why502_facts::{FilterMoment, Gap, Observed, PacketFilter, PathToPeer, PeerAddress, SocketTable, Stamp};

/// So many ways the kernel is asked about.
const MAX_WAYS: usize = 4;

/// What of a conversation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The connection was not made.
    Connecting,
    /// It was, and then nothing came.
    Talking,
}

/// A packet of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// The client's first packet (SYN).
    First,
    /// The server's answer to it (SYN, ACK).
    Acceptance,
    /// What the client sends then.
    Request,
    /// What the server sends then.
    Response,
}

impl Carried {
    /// Whether it goes to the gateway.
    pub(super) fn is_answer(self) -> bool {
        matches!(self, Self::Acceptance | Self::Response)
    }

    fn words(self, address: SocketAddr) -> String {
        match self {
            Self::First => format!("the first packet to {address}"),
            Self::Acceptance => format!("the answer of {address} to the first packet"),
            Self::Request => format!("a packet with a request to {address}"),
            Self::Response => format!("a packet with an answer from {address}"),
        }
    }
}

/// What there is on the way to a peer and back.
#[derive(Debug, Default)]
pub(super) struct OnTheWay<'c> {
    pub(super) met: Vec<Met<'c>>,
    /// Whether everything was read and understood and the packets arrive on this host.
    pub(super) is_clear: bool,
    /// The mark by which the kernel chooses the way of the first packet, where a rule of the gateway's packet filter gives it one.
    pub(super) mark: Option<u32>,
    /// Whether the first packet leaves this host.
    pub(super) leaves: bool,
    /// Whether somebody listens where the first packet arrives, or would.
    pub(super) listens: Option<bool>,
    /// Where the first packet arrives beyond the gateway's network namespace, if the link is known to lead there: a process there,
    /// its sockets, and the address.
    pub(super) inside: Option<Inside<'c>>,
    /// Where a rule that is certain to be met leads the first packet instead.
    pub(super) led: Option<Led<'c>>,
    /// What could not be read: whole filters, parts of them, and namespaces that were not looked at.
    pub(super) unread: Vec<Gap>,
    /// Where a namespace of this host has the address that the first packet is handed to, and nobody could see that the link
    /// leads there: why not.
    unseen_link: Option<Gap>,
}

impl OnTheWay<'_> {
    /// The confidence in a rule that is met, where a link was not seen which leads to it.
    pub(super) fn cap(&self, case: &Case<'_>, met: &Met<'_>, confidence: Confidence) -> Confidence {
        if self.has_seen(case, met) { confidence } else { confidence.min(Confidence::Likely) }
    }

    /// Whether every link was seen that leads to a rule.
    pub(super) fn has_seen(&self, case: &Case<'_>, met: &Met<'_>) -> bool {
        self.unseen_link_to(case, met).is_none()
    }

    /// What would make it certain that a rule is met, or that there is no other one.
    pub(super) fn open(&self, case: &Case<'_>, met: Option<&Met<'_>>, confidence: Confidence) -> Vec<Open> {
        let link = met.and_then(|met| self.unseen_link_to(case, met)).cloned();
        let link = link.map(|gap| Case::open(gap, "whether the link leads to that network namespace"));
        let unread = self.unread.iter().filter(|_| confidence < Confidence::Confirmed);
        let unread = unread.map(|gap| Case::open(gap.clone(), "whether a rule is met that was not read"));
        link.into_iter().chain(unread).collect()
    }

    fn unseen_link_to(&self, case: &Case<'_>, met: &Met<'_>) -> Option<&Gap> {
        let is_beyond = met.stop.pid != case.gateway.master || met.carried.is_answer();
        self.unseen_link.as_ref().filter(|_| is_beyond)
    }
}

/// Another network namespace of this host, which the first packet comes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inside<'c> {
    /// A process in it.
    pub(super) pid: u32,
    /// Its sockets.
    pub(super) table: &'c SocketTable,
    /// What the packet is sent to there.
    pub(super) address: SocketAddr,
}

/// Follows the packets between the gateway and a peer. An error asks for the packet filters, and for the peer's probe, so that
/// their counters are known from before it.
pub(super) fn on_the_way<'c>(
    case: &'c Case<'_>,
    peer: &PeerSubject,
    address: SocketAddr,
    stage: Stage,
) -> Result<OnTheWay<'c>, Asks> {
    let mut pids = vec![case.gateway.master];
    let (others, mut further) = other_namespaces(case);
    if !case.is_local(&peer.address) {
        pids.extend(&others);
    }
    let mut way = OnTheWay::default();
    let mut namespaces = read(case, peer, &pids, address, &mut way.unread)?;
    let Some(own) = namespaces.first().filter(|own| own.pid == case.gateway.master) else { return Ok(way) };
    let mut ways = Vec::new();
    if own.filter.has_policy(address.is_ipv6()) {
        ways.push(way_of(case, peer, address)?);
    }
    let first = first_packet(case, peer, address, own.filter);
    // All that is wanted is asked at once: a run has little time.
    let mut wanted = Asks::new();
    let mut strangers = Vec::new();
    let mut there = ask_ways(case, &first, &namespaces, &mut ways, &strangers)?;
    if there.arrived.is_none() && there.end().is_none() && pids.len() == 1 {
        pids.extend(&others);
        namespaces = read(case, peer, &pids, address, &mut way.unread)?;
        there = ask_ways(case, &first, &namespaces, &mut ways, &strangers)?;
    }
    if let Some(hop) = there.handed_to {
        let turned = there.turns.iter().rfind(|turn| turn.pid == case.gateway.master);
        let sent_to = turned.and_then(|turn| turn.to.socket()).unwrap_or(address);
        let mark = there.mark.and_then(|mark| u32::try_from(mark).ok()).filter(|mark| *mark != 0);
        let path = if mark.is_none() && sent_to == address {
            case.path_to(peer, address)
        } else {
            case.path_marked(sent_to, first.from.address, mark)
        };
        let link = link(case, path, sent_to, (first.from.address, hop), &namespaces).unwrap_or_else(|asks| {
            wanted.extend(asks);
            Link::default()
        });
        if !link.strangers.is_empty() {
            strangers = link.strangers;
            there = ask_ways(case, &first, &namespaces, &mut ways, &strangers)?;
        }
        way.unseen_link = link.unseen;
    } else if there.end().is_some() || pids.len() == 1 {
        // It stays in the gateway's own namespace: there is no more to look at.
        further = None;
    }
    let has_all = way.unread.is_empty() && further.is_none();
    way.unread.extend(further);
    let world = World { namespaces: &namespaces, ways: &ways, strangers: &strangers };
    way.leaves = has_all && there.arrived.is_none() && there.end().is_none() && !there.is_lost;
    way.mark = there.mark.and_then(|mark| u32::try_from(mark).ok()).filter(|mark| *mark != 0);
    way.led = there.turns.last().and_then(|turn| {
        let own = namespaces.iter().find(|own| own.pid == turn.pid)?;
        let to = turn.to.socket().filter(|to| *to != address)?;
        Some(Led { to, pid: turn.pid, place: turn.place.clone(), filter: own.filter })
    });
    let table = receiver(case, &there).unwrap_or_else(|asks| {
        wanted.extend(asks);
        None
    });
    let to = there.destination().and_then(End::socket);
    way.listens = match (table, to) {
        // Of a namespace that may be another one.
        _ if way.unseen_link.is_some() => None,
        (Some(table), Some(to)) => table.listens(&PeerAddress::Inet(to)),
        _ => case
            .sockets()
            .known()
            .filter(|_| case.is_local(&peer.address))
            .and_then(|own| own.listens(&peer.address)),
    };
    way.inside = there.arrived.and_then(|arrival| {
        let is_beyond = arrival.pid != case.gateway.master && way.unseen_link.is_none();
        let pid = arrival.pid.filter(|_| is_beyond)?;
        Some(Inside { pid, table: table?, address: to? })
    });
    let server =
        table.zip(to).and_then(|(table, to)| table.accepting(to).next()).map(|listener| listener.uid);
    let reply = |flags| Packet {
        user: server,
        group: None,
        state: Some(ESTABLISHED),
        is_reply: true,
        flags,
        ..first.clone()
    };
    let is_bridged = may_be_bridged(&there, &namespaces, address.is_ipv6());
    let journeys = match stage {
        Stage::Connecting => {
            let back = filter::answer(world, &there, reply(SYN | ACK));
            vec![(Carried::First, there), (Carried::Acceptance, back)]
        }
        // Behind a translation the packets that follow are not led anew.
        Stage::Talking if there.arrived.is_none() || !there.is_plain() => Vec::new(),
        Stage::Talking => {
            let request = Packet { state: Some(ESTABLISHED), flags: PUSH | ACK, ..first.clone() };
            // Each packet may leave another mark on the connection for those that follow.
            if filter::answer(world, &there, reply(SYN | ACK)).has_marked {
                there.forget_marks();
            }
            let forth = filter::follow(world, &there, request);
            if forth.has_marked {
                there.forget_marks();
            }
            let back = filter::answer(world, &there, reply(PUSH | ACK));
            vec![(Carried::Request, forth), (Carried::Response, back)]
        }
    };
    way.is_clear = !journeys.is_empty()
        && way.unread.is_empty()
        && way.unseen_link.is_none()
        && !is_bridged
        && journeys.iter().all(|(_, journey)| journey.stops.is_empty() && journey.arrived.is_some());
    for (carried, journey) in journeys {
        for stop in journey.stops {
            let Some(own) = namespaces.iter().find(|own| own.pid == stop.pid) else { continue };
            match counted(case, peer, &stop, own.filter) {
                Ok(counted) => {
                    let end = if carried.is_answer() { stop.ends.0 } else { stop.ends.1 };
                    let there = end.socket().unwrap_or(address);
                    way.met.push(Met { stop, carried, filter: own.filter, counted, address, there });
                }
                Err(asks) => wanted.extend(asks),
            }
        }
    }
    if wanted.is_empty() { Ok(way) } else { Err(wanted) }
}

const SYN: u64 = 2;
const PUSH: u64 = 8;
const ACK: u64 = 16;

/// Sends a packet, and asks the kernel about the ways that it takes. An error is such a question.
fn ask_ways(
    case: &Case<'_>,
    first: &Packet,
    namespaces: &[Namespace<'_>],
    ways: &mut Vec<Way>,
    strangers: &[Option<u32>],
) -> Result<Journey, Asks> {
    loop {
        let there = filter::send(World { namespaces, ways, strangers }, first.clone());
        let Some((to, mark)) = there.unasked.filter(|_| ways.len() < MAX_WAYS) else { return Ok(there) };
        let port = there.turns.last().map_or(first.to, |turn| turn.to).ports.map_or(0, |(port, _)| port);
        let mark = u32::try_from(mark).ok().filter(|mark| *mark != 0);
        // The address that it comes from was chosen before it got a mark.
        let path = case.path_marked(SocketAddr::new(to, port), first.from.address, mark);
        ways.push(way(case, to, mark, or_ask(path)?));
    }
}

/// The way to a peer, as the kernel tells it of packets as a worker sends them.
fn way_of(case: &Case<'_>, peer: &PeerSubject, address: SocketAddr) -> Result<Way, Asks> {
    Ok(way(case, address.ip(), None, or_ask(case.path_to(peer, address))?))
}

fn way(case: &Case<'_>, to: IpAddr, mark: Option<u32>, path: Observed<&PathToPeer>) -> Way {
    // Who asks elsewhere is told of other ways.
    let path = path.known().filter(|path| path.context.in_network);
    let hop = path.and_then(|path| {
        let route = path.route()?;
        Some((path.link(route.device?)?.name.clone(), route.gateway))
    });
    Way { pid: case.gateway.master, asked: (to, mark.unwrap_or(0).into()), hop }
}

/// The first packet that a worker sends to a peer.
fn first_packet(case: &Case<'_>, peer: &PeerSubject, address: SocketAddr, own: &PacketFilter) -> Packet {
    let bind = case.pass_to(peer).and_then(|pass| pass.bind.as_ref());
    let source: Option<IpAddr> = match bind {
        Some(_) => case.bound_address(peer),
        None if own.has_policy(address.is_ipv6()) => {
            let path = case.path_to(peer, address);
            path.known().and_then(|path| path.route()?.source)
        }
        None => own.source_to(address.ip()),
    };
    let worker = case.worker();
    Packet {
        from: End::of_client(source),
        to: End::of_server(address),
        is_ipv6: address.is_ipv6(),
        input: Interface::None,
        output: Interface::None,
        user: worker.as_ref().map(|worker| worker.uid),
        group: worker.as_ref().and_then(|worker| worker.gid),
        has_socket: true,
        state: Some(NEW),
        is_reply: false,
        flags: SYN,
        mark: Some(0),
        routing_mark: Some(0),
        connection_mark: Some(0),
        status: Some(0),
        place: Place::BehindTracking,
        has_way_back: None,
        kinds: (None, None),
    }
}

/// The sockets of the namespace where a packet arrives.
fn receiver<'c>(case: &'c Case<'_>, there: &Journey) -> Result<Option<&'c SocketTable>, Asks> {
    let Some(Arrival { pid }) = there.arrived else { return Ok(None) };
    let table = or_ask(case.facts.sockets(pid))?;
    Ok(table.known())
}

/// What the counter of a rule tells. An error asks for a second look, where a probe ran after the first.
fn counted(case: &Case<'_>, peer: &PeerSubject, stop: &Stop, before: &PacketFilter) -> Result<Counted, Asks> {
    let Some((rule, (packets, _))) = before.rule(&stop.place).and_then(|rule| Some((rule, rule.counted?)))
    else {
        return Ok(Counted::Nothing);
    };
    let probe = case.probe_ask(peer, &plan::spec_of(case, peer));
    let begun = || {
        let micros = case.facts.micros(&probe).unwrap_or(0);
        Some(Stamp(case.facts.at(&probe)?.0 - i64::try_from(micros / 1000).ok()?))
    };
    let is_before = case.facts.at(&ask(stop.pid, FilterMoment::Before)) <= begun();
    if or_ask(case.probe(peer))?.gap().is_some() || !is_before {
        return Ok(Counted::Once(packets));
    }
    let after = or_ask(case.facts.packet_filter(stop.pid, FilterMoment::After))?.known();
    let same = after
        .and_then(|after| after.rule(&stop.place))
        .filter(|own| own.handle == rule.handle && own.statements == rule.statements);
    let counted = same.and_then(|own| own.counted);
    Ok(counted.map_or(Counted::Once(packets), |(after, _)| Counted::Twice(packets, after)))
}
