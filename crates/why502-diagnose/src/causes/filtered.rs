//! What packet filters of this host do to the packets between the gateway and a peer.

mod words;

use self::words::errno;
pub(super) use self::words::{refusal_words, tool_name};
use crate::case::{Case, PeerSubject, or_ask};
use crate::cause::Asks;
use crate::filter::{
    self, Arrival, Doubt, ESTABLISHED, End, Ending, Interface, Journey, NEW, Namespace, Packet, Stop,
};
use crate::finding::{Evidence, Origin};
use crate::plan;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use why502_facts::{
    Ask, Errno, FilterMoment, FilterTool, Gap, GapReason, Observed, PacketFilter, PeerAddress, SocketTable,
    Stamp,
};

/// So many network namespaces beside the gateway's are looked at.
const MAX_NAMESPACES: usize = 8;

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

/// What the counter of a rule tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// It has none.
    Nothing,
    /// So many packets, and nobody looked again after a probe.
    Once(u64),
    /// So many packets before and after a probe.
    Twice(u64, u64),
}

impl Counted {
    /// Whether it counted something while the probe ran.
    pub(super) fn has_moved(self) -> bool {
        matches!(self, Self::Twice(before, after) if after > before)
    }

    /// Whether it ever counted something.
    pub(super) fn is_met(self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Once(packets) | Self::Twice(_, packets) => packets > 0,
        }
    }
}

/// A rule that ends one of the packets, or may.
#[derive(Debug)]
pub(super) struct Met<'c> {
    pub(super) stop: Stop,
    pub(super) carried: Carried,
    pub(super) filter: &'c PacketFilter,
    pub(super) counted: Counted,
    pub(super) address: SocketAddr,
}

/// What there is on the way to a peer and back.
#[derive(Debug, Default)]
pub(super) struct OnTheWay<'c> {
    pub(super) met: Vec<Met<'c>>,
    /// Whether everything was read and understood and the packets arrive on this host.
    pub(super) is_clear: bool,
    /// Whether the first packet leaves this host.
    pub(super) leaves: bool,
    /// Whether somebody listens where the first packet arrives, or would.
    pub(super) listens: Option<bool>,
    /// What could not be read.
    pub(super) unread: Vec<Gap>,
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
    if !case.is_local(&peer.address) {
        pids.extend(other_namespaces(case));
    }
    let mut way = OnTheWay::default();
    let mut namespaces = read(case, peer, &pids, &mut way)?;
    let Some(own) = namespaces.first().filter(|own| own.pid == case.gateway.master) else { return Ok(way) };
    let first = first_packet(case, peer, address, own.filter);
    let mut there = filter::send(&namespaces, first.clone());
    if there.arrived.is_none() && there.end().is_none() && pids.len() == 1 {
        pids.extend(other_namespaces(case));
        namespaces = read(case, peer, &pids, &mut way)?;
        there = filter::send(&namespaces, first.clone());
    }
    way.leaves = there.arrived.is_none() && there.end().is_none();
    // All that is wanted is asked at once: a run has little time.
    let mut wanted = Asks::new();
    let table = receiver(case, &there).unwrap_or_else(|asks| {
        wanted.extend(asks);
        None
    });
    let to = there.destination().and_then(|end| Some(SocketAddr::new(end.address?, end.ports?.0)));
    way.listens = match (table, to) {
        (Some(table), Some(to)) => table.listens(&PeerAddress::Inet(to)),
        _ => case
            .sockets()
            .known()
            .filter(|_| case.is_local(&peer.address))
            .and_then(|own| own.listens(&peer.address)),
    };
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
    let journeys = match stage {
        Stage::Connecting => {
            let back = filter::answer(&namespaces, &there, reply(SYN | ACK));
            vec![(Carried::First, there), (Carried::Acceptance, back)]
        }
        // Behind a translation the packets that follow are not led anew.
        Stage::Talking if there.arrived.is_none() || !there.is_plain() => Vec::new(),
        Stage::Talking => {
            let request = Packet { state: Some(ESTABLISHED), flags: PUSH | ACK, ..first.clone() };
            let forth = filter::send(&namespaces, request);
            let back = filter::answer(&namespaces, &there, reply(PUSH | ACK));
            vec![(Carried::Request, forth), (Carried::Response, back)]
        }
    };
    way.is_clear = !journeys.is_empty()
        && way.unread.is_empty()
        && namespaces.iter().all(|own| own.filter.unread.is_empty())
        && journeys.iter().all(|(_, journey)| journey.stops.is_empty() && journey.arrived.is_some());
    for (carried, journey) in journeys {
        for stop in journey.stops {
            let Some(own) = namespaces.iter().find(|own| own.pid == stop.pid) else { continue };
            match counted(case, peer, &stop, own.filter) {
                Ok(counted) => way.met.push(Met { stop, carried, filter: own.filter, counted, address }),
                Err(asks) => wanted.extend(asks),
            }
        }
    }
    if wanted.is_empty() { Ok(way) } else { Err(wanted) }
}

const SYN: u64 = 2;
const PUSH: u64 = 8;
const ACK: u64 = 16;

/// A process of each network namespace beside the gateway's.
fn other_namespaces(case: &Case<'_>) -> Vec<Option<u32>> {
    let Observed::Known(list) = case.facts.processes() else { return Vec::new() };
    let own = case.gateway.master.and_then(|pid| list.get(pid)).and_then(|process| process.net_namespace);
    if own.is_none() {
        return Vec::new();
    }
    let mut seen: BTreeSet<Option<u64>> = [None, own].into();
    let others = list.processes.iter().filter(|process| seen.insert(process.net_namespace));
    others.map(|process| Some(process.pid)).take(MAX_NAMESPACES).collect()
}

fn ask(pid: Option<u32>, moment: FilterMoment) -> Ask {
    Ask::PacketFilter { pid, moment }
}

/// The packet filters of these namespaces, as far as they can be read.
fn read<'c>(
    case: &'c Case<'_>,
    peer: &PeerSubject,
    pids: &[Option<u32>],
    way: &mut OnTheWay<'c>,
) -> Result<Vec<Namespace<'c>>, Asks> {
    let is_unasked = |gap: &Gap| gap.why == GapReason::NotYet;
    let look = |pid| case.facts.packet_filter(pid, FilterMoment::Before);
    let mut asks: Asks = pids
        .iter()
        .filter(|pid| look(**pid).gap().is_some_and(is_unasked))
        .map(|pid| ask(*pid, FilterMoment::Before))
        .collect();
    if !asks.is_empty() {
        if case.probe(peer).gap().is_some_and(is_unasked) {
            asks.push(case.probe_ask(peer, &plan::spec_of(case, peer)));
        }
        return Err(asks);
    }
    way.unread = pids.iter().filter_map(|pid| look(*pid).gap().cloned()).collect();
    Ok(pids.iter().filter_map(|pid| Some(Namespace { pid: *pid, filter: look(*pid).known()? })).collect())
}

/// The first packet that a worker sends to a peer.
fn first_packet(case: &Case<'_>, peer: &PeerSubject, address: SocketAddr, own: &PacketFilter) -> Packet {
    let bind = case.pass_to(peer).and_then(|pass| pass.bind.as_ref());
    let source: Option<IpAddr> = match bind {
        Some(bind) => bind.value.parse().ok(),
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
        connection_mark: Some(0),
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

impl Met<'_> {
    /// Whether the gateway hears nothing where it applies: what refuses an answer tells the server so.
    pub(super) fn silences(&self) -> bool {
        match self.stop.ending {
            Ending::Drop => true,
            Ending::Reject(_) => self.carried.is_answer(),
            Ending::Accept | Ending::Open => false,
        }
    }

    /// What the gateway's connection attempt fails with where it applies.
    pub(super) fn refuses_with(&self) -> Option<Errno> {
        match self.stop.ending {
            Ending::Reject(kind) if self.carried == Carried::First => errno(kind, self.address.is_ipv6()),
            _ => None,
        }
    }

    /// The rule as its tool writes it; `None` for a policy.
    pub(super) fn text(&self) -> Option<&str> {
        self.filter.rule(&self.stop.place).map(|rule| rule.text.as_str())
    }

    /// Where it stands.
    pub(super) fn place_words(&self) -> String {
        let place = &self.stop.place;
        let table = match place.tool {
            FilterTool::Nft => format!("table {} {}", place.family.name(), place.table),
            FilterTool::IptablesNft | FilterTool::IptablesLegacy => {
                format!("{}, table {}", tool_name(place.tool, self.address.is_ipv6()), place.table)
            }
        };
        let handle = self.filter.rule(place).and_then(|rule| rule.handle);
        let rule = match (place.rule, handle) {
            (None, _) => "its policy".to_owned(),
            (Some(_), Some(handle)) => format!("handle {handle}"),
            (Some(at), None) => format!("rule {}", at + 1),
        };
        format!("{table}, chain {}, {rule}", place.chain)
    }

    /// What meets what, and what was counted.
    pub(super) fn evidence(&self, case: &Case<'_>) -> Vec<Evidence> {
        let what = self.carried.words(self.address);
        let meets = if self.stop.doubt.is_none() { "meets" } else { "may meet" };
        let rule = match self.text() {
            Some(text) => format!("the rule `{text}`"),
            None => "the end of a chain".to_owned(),
        };
        let says = format!("{what} {meets} {rule} ({})", self.place_words());
        let mut evidence = vec![Evidence::supporting(says, self.origin(case))];
        evidence.extend(match self.counted {
            Counted::Twice(before, after) if after > before => Some(Evidence::supporting(
                format!("while a connection was attempted its counter went from {before} to {after} packets"),
                self.origin(case),
            )),
            Counted::Twice(before, _) => Some(Evidence::against(
                format!("its counter stayed at {before} packets while a connection was attempted"),
                self.origin(case),
            )),
            Counted::Once(packets) => {
                Some(Evidence::context(format!("it has counted {packets} packets"), self.origin(case)))
            }
            Counted::Nothing => None,
        });
        if let Some(Doubt::Sometimes(what) | Doubt::Unclear(what)) = &self.stop.doubt {
            evidence.push(Evidence::context(
                format!("whether it applies is not certain: {what}"),
                self.origin(case),
            ));
        }
        evidence
    }

    fn origin(&self, case: &Case<'_>) -> Origin {
        let command = match self.stop.place.tool {
            FilterTool::Nft => "nft -a list ruleset".to_owned(),
            tool => format!("{}-save -c", tool_name(tool, self.address.is_ipv6())),
        };
        let place = match self.stop.pid.filter(|pid| is_elsewhere(case, *pid)) {
            Some(pid) => format!(" in the network namespace of process {pid}"),
            None => String::new(),
        };
        Origin::Host(format!("{command}{place}"))
    }
}

/// Whether the network namespace of a process is another one than the host's first.
pub(super) fn is_elsewhere(case: &Case<'_>, pid: u32) -> bool {
    let Observed::Known(list) = case.facts.processes() else { return false };
    let namespace = |pid| list.get(pid).and_then(|process| process.net_namespace);
    namespace(pid).is_some() && namespace(1).is_some() && namespace(pid) != namespace(1)
}
