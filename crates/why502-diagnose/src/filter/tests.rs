mod connections;

use super::packet::{ESTABLISHED, End, Interface, NEW, Packet, Place};
use super::walk::{Ending, pass};
use super::{Namespace, Way, World, answer, send};
use proptest::prelude::*;
use std::net::SocketAddr;
use why502_decode::load;
use why502_facts::{
    Answer, Ask, Blob, Bundle, Fact, FactBody, FilterListing, FilterMoment, FilterOutput, FilterRecord, Hook,
    Invocation, Manifest, PacketFilter, Stamp,
};

fn decoded(record: FilterRecord) -> PacketFilter {
    let manifest = Manifest {
        format: why502_facts::FORMAT_VERSION,
        tool_version: String::new(),
        captured_at: Stamp(0),
        invocation: Invocation::default(),
    };
    let mut bundle = Bundle::new(manifest);
    let ask = Ask::PacketFilter { pid: None, moment: FilterMoment::Before };
    let answer = Answer::known(FactBody::PacketFilter(record));
    bundle.facts.push(Fact { ask, at: Stamp(0), answer, micros: None });
    load(&bundle).packet_filter(None, FilterMoment::Before).known().unwrap().clone()
}

fn filter(listing: FilterListing, text: &str) -> PacketFilter {
    let listings = vec![(listing, FilterOutput::Known(Blob::from(text)))];
    decoded(FilterRecord { listings, ..FilterRecord::default() })
}

/// A chain of a base hook, and a second one, with rules of nftables as their expressions.
fn nft(policy: &str, rules: &[(&str, &str)]) -> PacketFilter {
    let mut objects = vec![
        r#"{"table": {"family": "inet", "name": "t", "handle": 1}}"#.to_owned(),
        format!(
            r#"{{"chain": {{"family": "inet", "table": "t", "name": "base", "type": "filter", "hook": "output", "prio": 0, "policy": "{policy}"}}}}"#
        ),
        r#"{"chain": {"family": "inet", "table": "t", "name": "other"}}"#.to_owned(),
        r#"{"set": {"family": "inet", "table": "t", "name": "net", "type": "ipv4_addr", "elem": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, {"range": ["192.168.1.5", "192.168.1.9"]}]}}"#.to_owned(),
        r#"{"map": {"family": "inet", "table": "t", "name": "vm", "type": "inet_service", "map": "verdict", "elem": [[{"range": [2990, 3010]}, {"drop": null}], [80, {"accept": null}]]}}"#.to_owned(),
    ];
    for (chain, rule) in rules {
        objects.push(format!(
            r#"{{"rule": {{"family": "inet", "table": "t", "chain": "{chain}", "handle": 1, "expr": [{rule}]}}}}"#
        ));
    }
    filter(FilterListing::NftJson, &format!(r#"{{"nftables": [{}]}}"#, objects.join(",")))
}

fn packet() -> Packet {
    Packet {
        from: End::of_client("10.0.0.1".parse().ok()),
        to: End::of_server(SocketAddr::new("10.0.0.2".parse().unwrap(), 3000)),
        is_ipv6: false,
        input: Interface::None,
        output: Interface::Named("eth0".to_owned()),
        user: Some(33),
        group: Some(33),
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
        kinds: (Some("local"), Some("unicast")),
    }
}

/// What becomes of the packet at its output: an ending that is certain, or `None` where one is possible.
fn fate(filter: &PacketFilter) -> Option<Ending> {
    let fate = pass(filter, Hook::Output, &mut packet(), true);
    match fate.ended {
        Some(ruled) => Some(ruled.ending),
        None if fate.possible.is_empty() => Some(Ending::Accept),
        None => None,
    }
}

const DROP: &str = r#"{"drop": null}"#;
const PORT: &str =
    r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 3000}}"#;
const UNKNOWN: &str = r#"{"match": {"op": "==", "left": {"osf": {"key": "name"}}, "right": "x"}}"#;

#[test]
fn a_rule_of_one_condition_ends_what_it_holds_for() {
    let holds = [
        PORT,
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "@net"}}"#,
        r#"{"match": {"op": "!=", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"range": [80, 90]}}}"#,
        r#"{"match": {"op": "==", "left": {"concat": [{"payload": {"protocol": "ip", "field": "daddr"}}, {"payload": {"protocol": "tcp", "field": "dport"}}]}, "right": {"set": [{"concat": ["10.0.0.2", {"range": [2000, 4000]}]}]}}}"#,
        r#"{"match": {"op": "==", "left": {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["fin", "syn", "rst", "ack"]]}, "right": "syn"}}"#,
        r#"{"match": {"op": "in", "left": {"payload": {"protocol": "tcp", "field": "flags"}}, "right": "syn"}}"#,
        r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["new", "related"]}}"#,
        r#"{"match": {"op": "!=", "left": {"ct": {"key": "state"}}, "right": "established"}}"#,
        r#"{"match": {"op": "==", "left": {"meta": {"key": "skuid"}}, "right": {"set": [33, 1000]}}}"#,
        r#"{"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "eth*"}}"#,
        r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": ["tcp", "udp"]}}}"#,
        r#"{"match": {"op": "==", "left": {"&": [{"payload": {"protocol": "ip", "field": "saddr"}}, "255.0.0.255"]}, "right": "10.0.0.1"}}"#,
        r#"{"match": {"op": ">", "left": {"payload": {"protocol": "tcp", "field": "sport"}}, "right": 1023}}"#,
        r#"{"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 0}}"#,
        r#"{"match": {"op": "==", "left": {"fib": {"result": "type", "flags": ["daddr"]}}, "right": "unicast"}}"#,
    ];
    for condition in holds {
        let rule = format!("{condition}, {DROP}");
        assert_eq!(fate(&nft("accept", &[("base", &rule)])), Some(Ending::Drop), "{condition}");
    }
}

#[test]
fn a_rule_whose_condition_does_not_hold_is_passed_over() {
    let fails = [
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 3000}}"#,
        r#"{"match": {"op": "!=", "left": {"payload": {"protocol": "ip6", "field": "daddr"}}, "right": "fe80::1"}}"#,
        r#"{"match": {"op": "==", "left": {"ct": {"key": "state"}}, "right": "invalid"}}"#,
        r#"{"match": {"op": "==", "left": {"meta": {"key": "skuid"}}, "right": 0}}"#,
        r#"{"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "lo"}}"#,
        r#"{"match": {"op": "<", "left": {"payload": {"protocol": "tcp", "field": "sport"}}, "right": 1024}}"#,
    ];
    for condition in fails {
        let rule = format!("{condition}, {UNKNOWN}, {DROP}");
        assert_eq!(fate(&nft("accept", &[("base", &rule)])), Some(Ending::Accept), "{condition}");
    }
}

#[test]
fn what_is_not_understood_is_neither_accepted_nor_dropped() {
    for unknown in [
        UNKNOWN,
        r#"{"xt": {"type": "match", "name": "string"}}"#,
        r#"{"limit": {"rate": 5, "burst": 5, "per": "second"}}"#,
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "sport"}}, "right": 40000}}"#,
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "ttl"}}, "right": 5}}"#,
    ] {
        let dropped = format!("{unknown}, {DROP}");
        assert_eq!(fate(&nft("accept", &[("base", &dropped)])), None, "{unknown}");
        let accepted = format!(r#"{unknown}, {{"accept": null}}"#);
        assert_eq!(fate(&nft("drop", &[("base", &accepted)])), None, "{unknown}");
        // Where both ways lead to the same end it does not matter.
        assert_eq!(fate(&nft("drop", &[("base", &dropped)])), Some(Ending::Drop), "{unknown}");
        assert_eq!(fate(&nft("accept", &[("base", &accepted)])), Some(Ending::Accept), "{unknown}");
    }
    assert_eq!(fate(&nft("accept", &[("base", r#"{"tproxy": {"port": 1}}"#)])), None);
}

#[test]
fn chains_are_called_and_come_back() {
    let jump = r#"{"jump": {"target": "other"}}"#;
    let goto = r#"{"goto": {"target": "other"}}"#;
    let back = r#"{"return": null}"#;
    let accept = r#"{"accept": null}"#;
    let other_drop = format!("{PORT}, {DROP}");
    assert_eq!(fate(&nft("accept", &[("base", jump), ("other", &other_drop)])), Some(Ending::Drop));
    assert_eq!(fate(&nft("accept", &[("base", jump), ("base", DROP), ("other", back)])), Some(Ending::Drop));
    assert_eq!(
        fate(&nft("accept", &[("base", goto), ("base", DROP), ("other", back)])),
        Some(Ending::Accept)
    );
    assert_eq!(fate(&nft("drop", &[("base", back), ("base", accept)])), Some(Ending::Drop));
    assert_eq!(
        fate(&nft(
            "accept",
            &[(
                "base",
                r#"{"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": "@vm"}}"#
            )]
        )),
        Some(Ending::Drop)
    );
    // A call that may happen, of a chain that ends everything.
    let maybe = format!("{UNKNOWN}, {jump}");
    assert_eq!(fate(&nft("accept", &[("base", &maybe), ("other", DROP)])), None);
    assert_eq!(
        fate(&nft("accept", &[("base", &maybe), ("base", DROP), ("other", DROP)])),
        Some(Ending::Drop)
    );
    // A return that may happen leaves open what follows it.
    let maybe_back = format!("{UNKNOWN}, {back}");
    assert_eq!(fate(&nft("accept", &[("base", jump), ("other", &maybe_back), ("other", DROP)])), None);
}

#[test]
fn a_mark_that_a_rule_sets_is_known_to_the_next_one() {
    let set = r#"{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 5}}"#;
    let drop =
        format!(r#"{{"match": {{"op": "==", "left": {{"meta": {{"key": "mark"}}}}, "right": 5}}}}, {DROP}"#);
    assert_eq!(fate(&nft("accept", &[("base", set), ("base", &drop)])), Some(Ending::Drop));
    assert_eq!(fate(&nft("accept", &[("base", &drop)])), Some(Ending::Accept));
    let maybe = format!("{UNKNOWN}, {set}");
    assert_eq!(fate(&nft("accept", &[("base", &maybe), ("base", &drop)])), None);
}

#[test]
fn rules_of_iptables_are_followed_alike() {
    let list = |rules: &str, policy: &str| {
        let text = format!(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT {policy} [0:0]\n:own - [0:0]\n{rules}\nCOMMIT\n"
        );
        fate(&filter(FilterListing::IptablesLegacy, &text))
    };
    let dropped = [
        "[3:180] -A OUTPUT -d 10.0.0.0/8 ! -o lo -p tcp -m tcp --dport 3000 -j DROP",
        "-A OUTPUT -p tcp -m multiport --dports 80,2999:3001 -m comment --comment \"a -j ACCEPT\" -j DROP",
        "-A OUTPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",
        "-A OUTPUT -m owner --uid-owner 30-40 -j DROP",
        "-A OUTPUT -m conntrack --ctstate NEW -j DROP",
        "-A OUTPUT -m state ! --state ESTABLISHED -j DROP",
        "-A OUTPUT -j own\n-A own -o eth+ -j DROP",
        "-A OUTPUT -m addrtype --dst-type UNICAST -j DROP",
        "-A OUTPUT -j MARK --set-xmark 0x7/0xffffffff\n-A OUTPUT -m mark --mark 0x3/0xb -j DROP",
    ];
    for rules in dropped {
        assert_eq!(list(rules, "ACCEPT"), Some(Ending::Drop), "{rules}");
    }
    let passed = [
        "-A OUTPUT -p udp -j DROP",
        "-A OUTPUT -p tcp -m tcp --dport 3001 -j DROP",
        "-A OUTPUT ! -d 10.0.0.0/8 -j DROP",
        "-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j DROP",
        "-A OUTPUT -m owner --uid-owner 0 -j DROP",
        "-A OUTPUT -j LOG --log-prefix \"x\"",
    ];
    for rules in passed {
        assert_eq!(list(rules, "ACCEPT"), Some(Ending::Accept), "{rules}");
    }
    assert_eq!(list("-A OUTPUT -m string --string x --algo bm -j DROP", "ACCEPT"), None);
    assert_eq!(list("-A OUTPUT -m limit --limit 5/sec -j ACCEPT", "DROP"), None);
    assert_eq!(list("-A OUTPUT -j WONDER", "ACCEPT"), None);
}

/// A gateway, a router and a server in namespaces of their own.
#[test]
fn the_way_leads_through_the_router_and_back() {
    let leaf = |address: &str| format!("     |-- {address}\n        /32 host LOCAL\n");
    let build = |addresses: &[&str], routes: &str, rules: &str| {
        let fib_trie: String = addresses.iter().copied().map(leaf).collect();
        let text = format!(
            "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}\nCOMMIT\n"
        );
        decoded(FilterRecord {
            listings: vec![(FilterListing::IptablesLegacy, FilterOutput::Known(Blob::from(&*text)))],
            fib_trie: Blob::from(&*fib_trie),
            route: Blob::from(routes),
            ..FilterRecord::default()
        })
    };
    let gateway_routes = "g0\t0100000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n".replace("0100000A", "0000000A")
        + "g0\t00000000\tFE00000A\t0003\t0\t0\t0\t00000000\n";
    let router_routes =
        "r0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\nr1\t0001000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
    let server_routes =
        "s0\t0001000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\ns0\t00000000\tFE01000A\t0003\t0\t0\t0\t00000000\n";
    let run = |router: &str, server: &str| {
        let filters = [
            build(&["10.0.0.1"], &gateway_routes, ""),
            build(&["10.0.0.254", "10.0.1.254"], router_routes, router),
            build(&["10.0.1.2"], server_routes, server),
        ];
        let namespaces: Vec<Namespace<'_>> = filters
            .iter()
            .enumerate()
            .map(|(at, filter)| Namespace { pid: Some(u32::try_from(at).unwrap()), filter })
            .collect();
        let to = End::of_server("10.0.1.2:3000".parse().unwrap());
        let world = World { namespaces: &namespaces, ways: &[], strangers: &[] };
        let there = send(world, Packet { to, ..packet() });
        let reply = Packet { state: Some(ESTABLISHED), is_reply: true, flags: 18, ..packet() };
        let back = answer(world, &there, reply);
        (
            there.arrived.map(|own| own.pid),
            there.end().map(|stop| stop.pid),
            back.arrived.map(|own| own.pid),
            back.end().map(|stop| stop.pid),
        )
    };
    assert_eq!(run("", ""), (Some(Some(2)), None, Some(Some(0)), None));
    let forward = "-A FORWARD -i r0 -o r1 -p tcp -m tcp --dport 3000 -j DROP";
    assert_eq!(run(forward, ""), (None, Some(Some(1)), None, None));
    let input = "-A INPUT -i s0 -s 10.0.0.1/32 -m conntrack --ctstate NEW -j DROP";
    assert_eq!(run("", input), (None, Some(Some(2)), None, None));
    let answers = "-A FORWARD -i r1 -p tcp -m tcp --sport 3000 -m conntrack --ctstate ESTABLISHED -j DROP";
    assert_eq!(run(answers, ""), (Some(Some(2)), None, None, Some(Some(1))));
    // Behind a masquerade the server sees the router.
    let masquerade = "COMMIT\n*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o r1 -j MASQUERADE";
    let seen = "-A INPUT -s 10.0.1.254/32 -j DROP";
    assert_eq!(run(masquerade, seen), (None, Some(Some(2)), None, None));
}

#[test]
fn where_rules_choose_the_table_only_the_kernel_tells_the_way() {
    let mangle = "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -m tcp --dport 3000 -j MARK --set-xmark 0x5/0xffffffff\nCOMMIT\n";
    let later = "*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -m tcp --dport 3000 -j MARK --set-xmark 0x5/0xffffffff\nCOMMIT\n";
    let postrouting = "*mangle\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o up1 -j DROP\nCOMMIT\n";
    let to: std::net::IpAddr = "10.0.0.2".parse().unwrap();
    let run = |rules: &str, ways: &[Way]| {
        let mut own = filter(FilterListing::IptablesLegacy, rules);
        own.has_policy_ipv4 = true;
        let namespaces = [Namespace { pid: Some(1), filter: &own }];
        send(World { namespaces: &namespaces, ways, strangers: &[] }, packet())
    };
    let way = |mark, interface: &str| Way {
        pid: Some(1),
        asked: (to, mark),
        hop: Some((interface.to_owned(), None)),
    };
    // Nothing was asked: whether it is dropped is not known.
    let blind = run(postrouting, &[]);
    assert_eq!((blind.unasked, blind.is_lost, blind.end()), (Some((to, 0)), true, None));
    assert_eq!(blind.stops.len(), 1);
    let up0 = run(postrouting, &[way(0, "up0")]);
    assert!(up0.stops.is_empty() && !up0.is_lost);
    assert!(run(postrouting, &[way(0, "up1")]).end().is_some());
    // A mark that is set where the way is looked up again, and one that comes too late for that.
    let marked = format!("{mangle}{}", postrouting.replace("*mangle", "*security"));
    assert_eq!(run(&marked, &[way(0, "up0")]).unasked, Some((to, 5)));
    let again = run(mangle, &[way(0, "up0"), way(5, "up1")]);
    assert_eq!((again.mark, again.is_lost), (Some(5), false));
    assert_eq!(run(later, &[way(0, "up0")]).mark, Some(0));
}

proptest! {
    /// Any list is survived, and so is the way through it.
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300), which in 0..3usize) {
        let listing =
            [FilterListing::NftJson, FilterListing::NftText, FilterListing::IptablesLegacy][which];
        let listings = vec![(listing, FilterOutput::Known(bytes.into()))];
        let filter = decoded(FilterRecord { listings, ..FilterRecord::default() });
        pass(&filter, Hook::Output, &mut packet(), true);
    }

    /// So are words that iptables has, in any order.
    #[test]
    fn any_words_are_survived(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "-A", "OUTPUT", "-p", "tcp", "-m", "--dport", "!", "-j", "DROP", "-s", "10.0.0.0/8", "conntrack",
                "--ctstate", "NEW", "--tcp-flags", "\"", "own", "-g", "mark", "--mark", "0x1/0x1", "3000",
            ]),
            0..20,
        ),
    ) {
        let text = format!("*filter\n:OUTPUT ACCEPT [0:0]\n:own - [0:0]\n-A OUTPUT {}\n", words.join(" "));
        pass(&filter(FilterListing::IptablesLegacy, &text), Hook::Output, &mut packet(), true);
    }
}
