//! Words for tools and refusals.

use crate::filter::Ending;
use why502_facts::{Errno, FilterTool, Icmpx, PacketFilter, RejectKind, RulePlace};

/// The command of iptables that holds a table.
pub(in crate::causes) fn tool_name(tool: FilterTool, is_ipv6: bool) -> &'static str {
    match (tool, is_ipv6) {
        (FilterTool::Nft, _) => "nft",
        (FilterTool::IptablesNft, false) => "iptables-nft",
        (FilterTool::IptablesNft, true) => "ip6tables-nft",
        (FilterTool::IptablesLegacy, false) => "iptables-legacy",
        (FilterTool::IptablesLegacy, true) => "ip6tables-legacy",
    }
}

/// Where a rule stands, in words.
pub(super) fn place_words(filter: &PacketFilter, place: &RulePlace, is_ipv6: bool) -> String {
    let table = match place.tool {
        FilterTool::Nft => format!("table {} {}", place.family.name(), place.table),
        FilterTool::IptablesNft | FilterTool::IptablesLegacy => {
            format!("{}, table {}", tool_name(place.tool, is_ipv6), place.table)
        }
    };
    let handle = filter.rule(place).and_then(|rule| rule.handle);
    let rule = match (place.rule, handle) {
        (None, _) => "its policy".to_owned(),
        (Some(_), Some(handle)) => format!("handle {handle}"),
        (Some(at), None) => format!("rule {}", at + 1),
    };
    format!("{table}, chain {}, {rule}", place.chain)
}

/// What connect(2) fails with where a first packet is refused so (net/ipv4/icmp.c, `icmp_err_convert`; net/ipv6/icmp.c,
/// `tab_unreach`).
pub(super) fn errno(kind: RejectKind, is_ipv6: bool) -> Option<Errno> {
    let kind = match (kind, is_ipv6) {
        (RejectKind::Icmpx(Icmpx::NoRoute), false) => RejectKind::Icmp(0),
        (RejectKind::Icmpx(Icmpx::HostUnreachable), false) => RejectKind::Icmp(1),
        (RejectKind::Icmpx(Icmpx::PortUnreachable), false) => RejectKind::Icmp(3),
        (RejectKind::Icmpx(Icmpx::AdminProhibited), false) => RejectKind::Icmp(13),
        (RejectKind::Icmpx(Icmpx::NoRoute), true) => RejectKind::Icmp6(0),
        (RejectKind::Icmpx(Icmpx::AdminProhibited), true) => RejectKind::Icmp6(1),
        (RejectKind::Icmpx(Icmpx::HostUnreachable), true) => RejectKind::Icmp6(3),
        (RejectKind::Icmpx(Icmpx::PortUnreachable), true) => RejectKind::Icmp6(4),
        (kind, _) => kind,
    };
    match kind {
        RejectKind::TcpReset | RejectKind::Icmp(3) | RejectKind::Icmp6(4) => Some(Errno::ConnectionRefused),
        RejectKind::Icmp(0 | 9) | RejectKind::Icmp6(0) => Some(Errno::NetworkUnreachable),
        RejectKind::Icmp(1 | 10 | 13) | RejectKind::Icmp6(2 | 3) => Some(Errno::HostUnreachable),
        RejectKind::Icmp(2) => Some(Errno::ProtocolNotAvailable),
        RejectKind::Icmp6(1 | 5 | 6) => Some(Errno::AccessDenied),
        RejectKind::Icmp(_) | RejectKind::Icmp6(_) | RejectKind::Icmpx(_) => None,
    }
}

/// How a refusal is sent, in words.
pub(in crate::causes) fn refusal_words(ending: Ending) -> &'static str {
    match ending {
        Ending::Reject(RejectKind::TcpReset) => "a reset of TCP",
        Ending::Reject(
            RejectKind::Icmp(1) | RejectKind::Icmp6(3) | RejectKind::Icmpx(Icmpx::HostUnreachable),
        ) => "the ICMP message \"host unreachable\"",
        Ending::Reject(
            RejectKind::Icmp(3) | RejectKind::Icmp6(4) | RejectKind::Icmpx(Icmpx::PortUnreachable),
        ) => "the ICMP message \"port unreachable\"",
        Ending::Reject(
            RejectKind::Icmp(9 | 10 | 13) | RejectKind::Icmp6(1) | RejectKind::Icmpx(Icmpx::AdminProhibited),
        ) => "the ICMP message \"administratively prohibited\"",
        Ending::Reject(_) => "an ICMP message \"unreachable\"",
        Ending::Accept | Ending::Drop | Ending::Open => "silence",
    }
}
