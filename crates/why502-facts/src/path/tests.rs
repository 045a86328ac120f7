use super::*;

#[test]
fn networks_hold_their_addresses() {
    let holds = |address: &str, network: &str, length| {
        is_in(address.parse().unwrap(), network.parse().unwrap(), length)
    };
    assert!(holds("10.1.2.3", "10.1.2.0", 24));
    assert!(holds("10.1.2.130", "10.1.2.128", 25));
    assert!(!holds("10.1.2.3", "10.1.2.128", 25));
    assert!(!holds("10.1.3.3", "10.1.2.0", 24));
    assert!(holds("fd00::1:2", "fd00::1:0", 112));
    assert!(!holds("fd00::2:2", "fd00::1:0", 112));
    assert!(holds("10.9.9.9", "0.0.0.0", 0));
    assert!(!holds("::1", "0.0.0.0", 0));
    assert!(holds("10.0.0.1", "10.0.0.1", 200));
}

#[test]
fn errors_have_their_meaning_in_both_protocols() {
    let error =
        |origin, kind, code| IcmpError { origin, kind, code, errno: 113, info: 0, offender: None }.meaning();
    assert_eq!(error(2, 3, 1), IcmpMeaning::HostUnreachable);
    assert_eq!(error(3, 1, 3), IcmpMeaning::HostUnreachable);
    assert_eq!(error(2, 3, 13), IcmpMeaning::Prohibited);
    assert_eq!(error(3, 1, 1), IcmpMeaning::Prohibited);
    assert_eq!(error(3, 1, 0), IcmpMeaning::NetworkUnreachable);
    assert_eq!(error(1, 3, 1), IcmpMeaning::Other);
}
