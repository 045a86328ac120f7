use super::*;
use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use why502_facts::{Blob, RuleAction};

/// The bytes of a message of a kind.
fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `RTM_NEWROUTE`.
fn route(kind: u8, length: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![2, length, 0, 0, 254, 3, 0, kind, 0, 0, 0, 0];
    body.extend(attributes.iter().flatten());
    message(24, &body)
}

fn rule(action: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![2, 0, 0, 0, 0, 0, 0, action, 0, 0, 0, 0];
    body.extend(attributes.iter().flatten());
    message(32, &body)
}

fn target() -> SocketAddr {
    "10.1.2.3:80".parse().unwrap()
}

#[test]
fn a_look_up_is_a_route_or_an_error() {
    let gateway = attribute(5, &[10, 0, 0, 1]);
    let device = attribute(4, &7_u32.to_ne_bytes());
    let metrics = attribute(8, &attribute(2, &1280_u32.to_ne_bytes()));
    let bytes = route(1, 16, &[attribute(1, &[10, 1, 0, 0]), gateway, device, metrics]);
    let Some(Lookup::Route(found)) = lookup(&bytes) else { panic!("no route") };
    assert_eq!(found.to_string(), "10.1.0.0/16 via 10.0.0.1");
    assert_eq!((found.device, found.mtu, found.table), (Some(7), Some(1280), 254));
    assert!(found.holds(target().ip()));
    let error = message(2, &[(-13_i32).to_ne_bytes().to_vec(), vec![0; 16]].concat());
    assert_eq!(lookup(&error), Some(Lookup::Refused(Errno::AccessDenied)));
    assert_eq!(told(&error), Told::End);
}

#[test]
fn a_rule_is_judged_by_all_that_it_asks_for() {
    let decoded = |bytes: &[u8], uid| {
        let packet = rule::Packet { target: target(), uid, mark: 0 };
        rule::decode(&inner_message(bytes).unwrap(), &packet).unwrap()
    };
    let range = |from: u32, to: u32| attribute(20, &[from.to_ne_bytes(), to.to_ne_bytes()].concat());
    let own = decoded(&rule(8, &[range(33, 33)]), Some(33));
    assert_eq!((own.fits, own.selectors.as_str()), (Some(true), "uidrange 33-33"));
    assert_eq!(own.action, RuleAction::Refuse(RouteKind::Prohibit));
    assert_eq!(decoded(&rule(8, &[range(0, 0)]), Some(33)).fits, Some(false));
    assert_eq!(decoded(&rule(8, &[range(0, 0)]), None).fits, None);
    let marked = decoded(&rule(7, &[attribute(10, &1_u32.to_ne_bytes())]), Some(33));
    assert_eq!(marked.fits, Some(false), "nothing marks the gateway's packets");
    let all = decoded(&rule(1, &[attribute(15, &254_u32.to_ne_bytes())]), Some(33));
    assert_eq!((all.fits, all.action), (Some(true), RuleAction::Table(254)));
}

#[test]
fn questions_are_messages() {
    let source = "10.1.0.1".parse().ok();
    assert_eq!(messages(&route_request(target(), source, None)).count(), 1);
    for table in [Table::Addresses, Table::Links, Table::Neighbours, Table::Routes, Table::Rules] {
        let bytes = dump_request(table, target().ip());
        assert_eq!(messages(&bytes).map(<[u8]>::len).collect::<Vec<_>>(), [bytes.len()]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_the_parsers_panic(
        kind in 16_u16..36,
        body in proptest::collection::vec(any::<u8>(), 0..160),
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        for text in [message(kind, &body), bytes, message(2, &body)] {
            let blob = Blob::from(text.clone());
            let record = RouteRecord {
                answer: blob.clone(),
                routes: blob.clone(),
                rules: blob.clone(),
                addresses: blob.clone(),
                links: blob.clone(),
                neighbours: blob,
                ..RouteRecord::default()
            };
            let path = decode_path(&record, target(), None);
            prop_assert!(path.routes.len() <= text.len());
            messages(&text).for_each(|message| drop(told(message)));
        }
    }

    #[test]
    fn no_attributes_make_the_parsers_panic(
        kind in 16_u16..36,
        header in proptest::collection::vec(any::<u8>(), 4..20),
        attributes in proptest::collection::vec((0_u16..64, proptest::collection::vec(any::<u8>(), 0..24)), 0..6),
    ) {
        let mut body = header;
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)));
        told(&message(kind, &body));
    }
}
