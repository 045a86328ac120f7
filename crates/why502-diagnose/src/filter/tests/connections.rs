//! What is known of connections, and whose an address on a link is.

use super::super::packet::{ESTABLISHED, End, Interface, Packet};
use super::super::walk::{Ending, pass};
use super::super::{Journey, Namespace, World, answer, follow, send};
use super::{DROP, decoded, filter, packet};
use why502_facts::{Blob, FilterListing, FilterOutput, FilterRecord, Hook, PacketFilter};

/// A namespace with these addresses, routes (`/proc/net/route`) and rules of iptables.
fn namespace(addresses: &[&str], routes: &str, rules: &str) -> PacketFilter {
    let leaf = |address: &&str| format!("     |-- {address}\n        /32 host LOCAL\n");
    let fib_trie: String = addresses.iter().map(leaf).collect();
    decoded(FilterRecord {
        listings: vec![(FilterListing::IptablesLegacy, FilterOutput::Known(Blob::from(rules)))],
        fib_trie: Blob::from(&*fib_trie),
        route: Blob::from(routes),
        ..FilterRecord::default()
    })
}

/// 10.0.0.0/24 on the link of an interface.
fn link(interface: &str) -> String {
    format!("{interface}\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n")
}

fn reply() -> Packet {
    Packet { state: Some(ESTABLISHED), is_reply: true, flags: 18, ..packet() }
}

/// The way from the first of these to the address of the second, and back.
fn both_ways(filters: &[PacketFilter], strangers: &[Option<u32>]) -> (Journey, Journey) {
    let numbers = 0..u32::try_from(filters.len()).unwrap();
    let namespaces: Vec<Namespace<'_>> =
        numbers.zip(filters).map(|(pid, filter)| Namespace { pid: Some(pid), filter }).collect();
    let world = World { namespaces: &namespaces, ways: &[], strangers };
    let there = send(world, packet());
    let back = answer(world, &there, reply());
    (there, back)
}

fn pair(server: &str) -> [PacketFilter; 2] {
    [namespace(&["10.0.0.1"], &link("g0"), ""), namespace(&["10.0.0.2"], &link("s0"), server)]
}

/// What a chain of nftables at a priority does to the first packet: `None` where that is not certain.
fn at(priority: i64, state: &str) -> Option<Ending> {
    let list = format!(
        r#"{{"nftables": [{{"table": {{"family": "inet", "name": "t", "handle": 1}}}},
        {{"chain": {{"family": "inet", "table": "t", "name": "base", "type": "filter", "hook": "output", "prio": {priority}, "policy": "accept"}}}},
        {{"rule": {{"family": "inet", "table": "t", "chain": "base", "handle": 1, "expr": [{{"match": {{"op": "in", "left": {{"ct": {{"key": "state"}}}}, "right": "{state}"}}}}, {DROP}]}}}}]}}"#
    );
    let fate = pass(&filter(FilterListing::NftJson, &list), Hook::Output, &mut packet(), true);
    match fate.ended {
        Some(ruled) => Some(ruled.ending),
        None if fate.possible.is_empty() => Some(Ending::Accept),
        None => None,
    }
}

#[test]
fn before_connection_tracking_nobody_knows_the_state() {
    assert_eq!((at(-300, "new"), at(-300, "invalid")), (None, None));
    assert_eq!((at(-200, "new"), at(-200, "invalid")), (None, None));
    assert_eq!((at(-150, "new"), at(-150, "invalid")), (Some(Ending::Drop), Some(Ending::Accept)));
}

#[test]
fn the_mark_of_a_connection_stays_with_it() {
    let list = r#"{"nftables": [{"table": {"family": "inet", "name": "f", "handle": 1}},
        {"chain": {"family": "inet", "table": "f", "name": "remember", "type": "filter", "hook": "output", "prio": -150, "policy": "accept"}},
        {"chain": {"family": "inet", "table": "f", "name": "in", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
        {"rule": {"family": "inet", "table": "f", "chain": "remember", "handle": 1, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}, {"mangle": {"key": {"ct": {"key": "mark"}}, "value": 16}}]}},
        {"rule": {"family": "inet", "table": "f", "chain": "in", "handle": 2, "expr": [{"match": {"op": "==", "left": {"ct": {"key": "mark"}}, "right": 16}}, {"accept": null}]}}]}"#;
    let own = filter(FilterListing::NftJson, list);
    let namespaces = [Namespace { pid: Some(1), filter: &own }];
    let world = World { namespaces: &namespaces, ways: &[], strangers: &[] };
    let loopback = "127.0.0.1".parse().unwrap();
    let first = Packet {
        from: End::of_client(Some(loopback)),
        to: End::of_server(std::net::SocketAddr::new(loopback, 3000)),
        output: Interface::None,
        ..packet()
    };
    let mut there = send(world, first.clone());
    assert!(there.has_marked && there.stops.is_empty(), "{there:?}");
    let back = answer(world, &there, Packet { state: Some(ESTABLISHED), is_reply: true, ..first.clone() });
    assert!(back.stops.is_empty() && back.arrived.is_some() && !back.has_marked, "{back:?}");
    let request = Packet { state: Some(ESTABLISHED), flags: 24, ..first };
    let later = follow(world, &there, request.clone());
    assert!(later.stops.is_empty() && later.arrived.is_some(), "{later:?}");
    // Where the mark is not known any more nothing is certain.
    there.forget_marks();
    let later = follow(world, &there, request);
    assert!(!later.stops.is_empty() && later.end().is_none(), "{later:?}");
}

#[test]
fn what_answers_an_untracked_packet_may_be_invalid() {
    let raw = "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport 3000 -j CT --notrack\nCOMMIT\n";
    let output = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n";
    let (there, back) = both_ways(&pair(&format!("{raw}{output}")), &[]);
    assert!(there.arrived.is_some());
    assert!(back.end().is_none() && !back.stops.is_empty(), "{back:?}");
    let (_, back) = both_ways(&pair(output), &[]);
    assert!(back.stops.is_empty() && back.arrived.is_some(), "{back:?}");
}

#[test]
fn near_miss_another_network_has_the_same_address() {
    let drops = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n";
    let [gateway, server] = pair("");
    let filters = [gateway, server, namespace(&["10.0.0.2"], &link("d0"), drops)];
    let (there, _) = both_ways(&filters, &[]);
    assert!(there.is_lost && there.end().is_none() && there.arrived.is_none(), "{there:?}");
    // Who is not on the link is passed over; then it is the other one, or nobody of this host.
    let (there, _) = both_ways(&filters, &[Some(2)]);
    assert_eq!(there.arrived.map(|own| own.pid), Some(Some(1)));
    let (there, _) = both_ways(&filters, &[Some(1)]);
    assert_eq!(there.end().map(|stop| stop.pid), Some(Some(2)));
    let (there, _) = both_ways(&filters, &[Some(1), Some(2)]);
    assert!(!there.is_lost && there.end().is_none() && there.arrived.is_none(), "{there:?}");
}

#[test]
fn near_miss_the_address_is_on_no_link() {
    let drops = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n";
    let own = namespace(&["10.0.0.1"], &link("g0"), "");
    let (there, _) = both_ways(&[own, namespace(&["10.0.0.2"], "", drops)], &[]);
    assert!(there.is_lost && there.end().is_none(), "{there:?}");
    // The route to a single container is for just its address, and it has no network of its own.
    let single = namespace(&["10.0.0.1"], "c0\t0200000A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\n", "");
    let (there, _) = both_ways(&[single, namespace(&["10.0.0.2"], "", drops)], &[]);
    assert_eq!(there.end().map(|stop| stop.pid), Some(Some(1)));
}
