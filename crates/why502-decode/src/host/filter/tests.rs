use super::decode_packet_filter;
use proptest::prelude::*;
use why502_facts::{
    Blob, FilterListing, FilterOutput, FilterRecord, FilterStatement, FilterTool, FilterVerdict, Hook,
    PacketFilter,
};

fn decoded(listings: &[(FilterListing, &str)]) -> PacketFilter {
    let known = |text: &str| FilterOutput::Known(Blob::from(text));
    let listings = listings.iter().map(|(listing, text)| (*listing, known(text))).collect();
    decode_packet_filter(&FilterRecord { listings, ..FilterRecord::default() })
}

const JSON: &str = r#"{"nftables": [
{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
{"table": {"family": "ip", "name": "filter", "handle": 1}},
{"chain": {"family": "ip", "table": "filter", "name": "OUTPUT", "handle": 1, "type": "filter", "hook": "output", "prio": 0, "policy": "accept"}},
{"rule": {"family": "ip", "table": "filter", "chain": "OUTPUT", "handle": 2, "expr": [{"xt": {"type": "match", "name": "multiport"}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}},
{"table": {"family": "netdev", "name": "edge", "handle": 2}},
{"chain": {"family": "netdev", "table": "edge", "name": "in", "handle": 1, "type": "filter", "hook": "ingress", "prio": -5, "policy": "drop"}},
{"rule": {"family": "netdev", "table": "edge", "chain": "in", "handle": 3, "expr": [{"counter": {"packets": 1, "bytes": 60}}, {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}, {"drop": null}]}}
]}"#;

const TEXT: &str = "table ip filter { # handle 1\n\tchain OUTPUT { # handle 1\n\t\ttype filter hook output priority filter; policy accept;\n\t}\n}\ntable netdev edge { # handle 2\n\tchain in { # handle 1\n\t\ttype filter hook ingress device \"eth0\" priority filter - 5; policy drop;\n\t\tcounter packets 1 bytes 60 ip daddr { 10.0.0.1,\n\t\t\t     10.0.0.2 } drop # handle 3\n\t}\n}\n";

#[test]
fn text_adds_words_and_interfaces() {
    let filter = decoded(&[(FilterListing::NftJson, JSON), (FilterListing::NftText, TEXT)]);
    let chain = &filter.tables[1].chains[0];
    let base = chain.base.as_ref().unwrap();
    assert_eq!((base.hook, base.priority, base.drops), (Hook::Ingress, -5, true));
    assert_eq!(base.devices, Some(vec!["eth0".to_owned()]));
    assert_eq!(chain.rules[0].text, "counter packets 1 bytes 60 ip daddr { 10.0.0.1, 10.0.0.2 } drop");
    // What was counted before a condition is not what the rule takes.
    assert_eq!(chain.rules[0].counted, None);
}

#[test]
fn tables_of_iptables_are_read_in_its_own_words() {
    let save = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [5:300]\n[7:420] -A OUTPUT -p tcp -m multiport --dports 1,2 -j DROP\nCOMMIT\n";
    let filter = decoded(&[(FilterListing::NftJson, JSON), (FilterListing::IptablesNft, save)]);
    let tables: Vec<_> = filter.tables.iter().map(|table| (table.tool, &*table.name)).collect();
    assert_eq!(tables, [(FilterTool::IptablesNft, "filter"), (FilterTool::Nft, "edge")]);
    let rule = &filter.tables[0].chains[1].rules[0];
    assert_eq!(rule.counted, Some((7, 420)));
    assert_eq!(rule.statements.last(), Some(&FilterStatement::Verdict(FilterVerdict::Drop)));
}

#[test]
fn without_them_a_foreign_match_is_not_understood() {
    let filter = decoded(&[(FilterListing::NftJson, JSON)]);
    let statements = &filter.tables[0].chains[0].rules[0].statements;
    assert!(matches!(statements[0], FilterStatement::UnknownCondition(_)), "{statements:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let listings = vec![(FilterListing::NftText, FilterOutput::Known(bytes.clone().into()))];
        let blob = || Blob::from(bytes.as_slice().to_vec());
        decode_packet_filter(&FilterRecord {
            listings,
            fib_trie: blob(),
            if_inet6: blob(),
            route: blob(),
            ipv6_route: blob(),
            policy: blob(),
        });
    }
}
