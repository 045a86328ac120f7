//! The network namespaces of this host: which are looked at, what was not read of their filters, and what lies between them.

use crate::case::{Case, PeerSubject, or_ask};
use crate::cause::Asks;
use crate::filter::{Journey, Namespace};
use crate::plan;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use why502_facts::{
    Ask, FilterFamily, FilterMoment, Gap, GapReason, Hook, NeighbourState, Observed, PacketFilter, PathToPeer,
};

/// So many network namespaces beside the gateway's are looked at.
const MAX_NAMESPACES: usize = 8;

/// A process of each network namespace beside the gateway's, and the gap where there are too many to look at all.
pub(super) fn other_namespaces(case: &Case<'_>) -> (Vec<Option<u32>>, Option<Gap>) {
    let Observed::Known(list) = case.facts.processes() else { return (Vec::new(), None) };
    let own = case.gateway.master.and_then(|pid| list.get(pid)).and_then(|process| process.net_namespace);
    if own.is_none() {
        return (Vec::new(), None);
    }
    let mut seen: BTreeSet<Option<u64>> = [None, own].into();
    let others = list.processes.iter().filter(|process| seen.insert(process.net_namespace));
    let mut pids: Vec<u32> = others.map(|process| process.pid).collect();
    let further = pids.split_off(pids.len().min(MAX_NAMESPACES));
    let gap = further.first().map(|first| {
        let says =
            format!("the packet filters of {} further network namespaces were not listed", further.len());
        Gap { ask: ask(Some(*first), FilterMoment::Before), why: GapReason::NotAsked, says }
    });
    (pids.into_iter().map(Some).collect(), gap)
}

pub(super) fn ask(pid: Option<u32>, moment: FilterMoment) -> Ask {
    Ask::PacketFilter { pid, moment }
}

/// The packet filters of these namespaces, as far as they can be read, and what of them cannot.
pub(super) fn read<'c>(
    case: &'c Case<'_>,
    peer: &PeerSubject,
    pids: &[Option<u32>],
    address: SocketAddr,
    unread: &mut Vec<Gap>,
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
        // By which neighbour the link leads to another namespace.
        let path = case.path_to(peer, address);
        asks.extend(path.gap().filter(|gap| is_unasked(gap) && pids.len() > 1).map(|gap| gap.ask.clone()));
        return Err(asks);
    }
    *unread = pids.iter().filter_map(|pid| look(*pid).gap().cloned()).collect();
    let known: Vec<Namespace<'c>> =
        pids.iter().filter_map(|pid| Some(Namespace { pid: *pid, filter: look(*pid).known()? })).collect();
    for own in &known {
        let place = match own.pid.filter(|pid| Some(*pid) != case.gateway.master) {
            Some(pid) => format!("the packet filter of process {pid}'s network namespace"),
            None => "the packet filter of the gateway's network namespace".to_owned(),
        };
        unread.extend(own.filter.unread.iter().map(|what| Gap {
            ask: ask(own.pid, FilterMoment::Before),
            why: GapReason::Unsupported,
            says: format!("{place} was not read in full: {what}"),
        }));
    }
    Ok(known)
}

/// Whose an address on the gateway's link is: containers of different networks have the same ones.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// Processes of namespaces that have the address and are not on the link.
    pub(super) strangers: Vec<Option<u32>>,
    /// Why that could not be seen of the one that has it.
    pub(super) unseen: Option<Gap>,
}

/// Looks at both ends of the gateway's link: who hears from each other knows the other as a neighbour.
pub(super) fn link(
    case: &Case<'_>,
    path: Observed<&PathToPeer>,
    target: SocketAddr,
    (source, hop): (Option<IpAddr>, IpAddr),
    namespaces: &[Namespace<'_>],
) -> Result<Link, Asks> {
    let others = namespaces.iter().filter(|own| own.pid != case.gateway.master);
    let holders: Vec<Option<u32>> =
        others.filter(|own| own.filter.addresses.contains(&hop)).map(|own| own.pid).collect();
    let mut link = Link::default();
    if holders.is_empty() {
        return Ok(link);
    }
    let forth = or_ask(path)?;
    let gap = forth.gap().cloned();
    let near =
        forth.known().filter(|path| path.context.in_network && path.next_hop(target.ip()) == Some(hop));
    let state = near.and_then(|path| Some(path.next_neighbour(target.ip())?.state));
    if matches!(state, Some(NeighbourState::Failed | NeighbourState::Incomplete)) {
        // Nobody on the link answers for it.
        link.strangers = holders;
        return Ok(link);
    }
    // Who is on the link knows the gateway by its address there, whatever the packets come from.
    let Some(source) = near.and_then(own_address).or(source) else {
        link.unseen = gap.or_else(|| Some(unseen(case, "the way there is not told")));
        return Ok(link);
    };
    let back = SocketAddr::new(source, target.port());
    let asks: Asks =
        holders.iter().filter_map(|pid| or_ask(case.path_from(*pid, back)).err()).flatten().collect();
    if !asks.is_empty() {
        return Err(asks);
    }
    for pid in holders {
        let observed = case.path_from(pid, back);
        let gap = observed.gap().cloned();
        let far = observed.known().filter(|path| path.context.in_network && is_on_link(path, source));
        let Some(far) = far else {
            link.unseen = gap.or_else(|| Some(unseen(case, "the way back is not told")));
            continue;
        };
        match (state, far.next_neighbour(source).map(|neighbour| neighbour.state)) {
            (_, Some(NeighbourState::Known)) => {}
            // Whoever was asked for its address by the gateway knows the gateway's (net/ipv4/arp.c, `arp_process`).
            (Some(NeighbourState::Known), None) | (_, Some(NeighbourState::Failed)) => {
                link.strangers.push(pid);
            }
            _ => link.unseen = Some(unseen(case, "neither end knows the other as a neighbour")),
        }
    }
    Ok(link)
}

/// The address that the gateway has on the link of a way.
fn own_address(path: &PathToPeer) -> Option<IpAddr> {
    let route = path.route()?;
    let on_link = path.addresses.iter().find(|own| Some(own.device) == route.device);
    on_link.map(|own| own.address).or(route.source)
}

/// Whether an address is on the link of a way to it.
fn is_on_link(path: &PathToPeer, address: IpAddr) -> bool {
    path.next_hop(address) == Some(address)
}

fn unseen(case: &Case<'_>, says: &str) -> Gap {
    let ask = ask(case.gateway.master, FilterMoment::Before);
    Gap { ask, why: GapReason::Unsupported, says: says.to_owned() }
}

/// Whether frames between two namespaces may meet rules that the packets of neither do: those of a bridge, which are not followed,
/// and those of IP where a bridge between them is in a third namespace that shows them its frames (`net.bridge.bridge-nf-call-iptables`,
/// which is not looked at, nor where the bridges are).
pub(super) fn may_be_bridged(there: &Journey, namespaces: &[Namespace<'_>], is_ipv6: bool) -> bool {
    let may_filter = |(at, own): (usize, &Namespace<'_>)| {
        has_chains_of_bridges(own.filter) || (!there.visits(at) && filters_on_the_way(own.filter, is_ipv6))
    };
    there.crosses_links() && namespaces.iter().enumerate().any(may_filter)
}

fn has_chains_of_bridges(filter: &PacketFilter) -> bool {
    let mut tables =
        filter.tables.iter().filter(|table| table.family == FilterFamily::Bridge && !table.dormant);
    tables.any(|table| table.chains.iter().any(|chain| chain.base.is_some()))
}

fn filters_on_the_way(filter: &PacketFilter, is_ipv6: bool) -> bool {
    let sees = |family| match family {
        FilterFamily::Arp | FilterFamily::Bridge | FilterFamily::Netdev => false,
        FilterFamily::Inet => true,
        FilterFamily::Ip => !is_ipv6,
        FilterFamily::Ip6 => is_ipv6,
    };
    let tables = filter.tables.iter().filter(|table| !table.dormant && sees(table.family));
    tables.flat_map(|table| &table.chains).any(|chain| {
        let is_on_the_way = |hook| matches!(hook, Hook::Prerouting | Hook::Forward | Hook::Postrouting);
        chain.base.as_ref().is_some_and(|base| {
            is_on_the_way(base.hook) && !base.is_nat && (base.drops || !chain.rules.is_empty())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{End, Interface, NEW, Packet, Place, World, send};
    use why502_facts::{BaseChain, FilterChain, FilterTable, FilterTool, TableRoute};

    fn chain(family: FilterFamily, hook: Hook, drops: bool) -> FilterTable {
        let base = BaseChain { hook, priority: 0, is_nat: false, is_route: false, drops, devices: None };
        let chain = FilterChain { name: "c".to_owned(), base: Some(base), rules: Vec::new() };
        let (tool, name) = (FilterTool::Nft, "t".to_owned());
        FilterTable { tool, family, name, dormant: false, chains: vec![chain] }
    }

    fn namespace(address: &str, tables: Vec<FilterTable>) -> PacketFilter {
        let address: IpAddr = address.parse().unwrap();
        let route = TableRoute {
            network: "10.0.0.0".parse().unwrap(),
            length: 24,
            gateway: None,
            interface: "eth0".to_owned(),
            sources: vec![address],
        };
        PacketFilter { tables, addresses: vec![address], routes: vec![route], ..PacketFilter::default() }
    }

    /// Whether a packet from one container to another may be bridged, where the host has these tables.
    fn is_bridged(tables: Vec<FilterTable>) -> bool {
        let filters = [
            namespace("10.0.0.1", Vec::new()),
            namespace("10.0.0.2", Vec::new()),
            namespace("10.0.0.254", tables),
        ];
        let numbered = (1..).zip(&filters);
        let namespaces: Vec<Namespace<'_>> =
            numbered.map(|(pid, filter)| Namespace { pid: Some(pid), filter }).collect();
        let packet = Packet {
            from: End::of_client("10.0.0.1".parse().ok()),
            to: End::of_server("10.0.0.2:3000".parse().unwrap()),
            is_ipv6: false,
            input: Interface::None,
            output: Interface::None,
            user: None,
            group: None,
            has_socket: true,
            state: Some(NEW),
            is_reply: false,
            flags: 2,
            mark: Some(0),
            routing_mark: Some(0),
            connection_mark: Some(0),
            status: Some(0),
            place: Place::BehindTracking,
            has_way_back: None,
            kinds: (None, None),
        };
        let there = send(World { namespaces: &namespaces, ways: &[], strangers: &[] }, packet);
        assert!(there.arrived.is_some() && there.crosses_links(), "{there:?}");
        may_be_bridged(&there, &namespaces, false)
    }

    #[test]
    fn gap_a_third_namespace_may_filter_what_its_bridge_hands_on() {
        assert!(is_bridged(vec![chain(FilterFamily::Bridge, Hook::Forward, false)]));
        assert!(is_bridged(vec![chain(FilterFamily::Ip, Hook::Forward, true)]));
        assert!(!is_bridged(Vec::new()));
        assert!(!is_bridged(vec![chain(FilterFamily::Ip, Hook::Input, true)]));
        assert!(!is_bridged(vec![chain(FilterFamily::Ip6, Hook::Forward, true)]));
    }
}
