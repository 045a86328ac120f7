//! The names that nft(8) and iptables(8) have for numbers.

use why502_facts::{Icmpx, RejectKind};

/// The bit of a state of a connection (include/uapi/linux/netfilter/nf_conntrack_common.h, `NF_CT_STATE_BIT`).
pub(super) fn state(name: &str) -> Option<u64> {
    Some(match name.to_ascii_lowercase().as_str() {
        "invalid" => 1,
        "established" => 2,
        "related" => 4,
        "new" => 8,
        "untracked" => 64,
        _ => return None,
    })
}

/// The bit of what is known of a connection, as far as it can be told of a packet (include/uapi/linux/netfilter/nf_conntrack_common.h,
/// `enum ip_conntrack_status`).
pub(super) fn status(name: &str) -> Option<u64> {
    Some(match name.to_ascii_lowercase().as_str() {
        "snat" => 16,
        "dnat" => 32,
        _ => return None,
    })
}

/// The bit of a flag of TCP (RFC 9293, section 3.1); `ALL` and `NONE` are iptables' words.
pub(super) fn tcp_flag(name: &str) -> Option<u64> {
    Some(match name.to_ascii_lowercase().as_str() {
        "none" => 0,
        "fin" => 1,
        "syn" => 2,
        "rst" => 4,
        "psh" => 8,
        "ack" => 16,
        "urg" => 32,
        "ecn" | "ece" => 64,
        "cwr" => 128,
        "all" => 63,
        _ => return None,
    })
}

/// The number of a protocol above IP, as far as rules are often written with its name.
pub(super) fn protocol(name: &str) -> Option<u64> {
    Some(match name {
        "icmp" => 1,
        "igmp" => 2,
        "tcp" => 6,
        "udp" => 17,
        "dccp" => 33,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "icmpv6" | "ipv6-icmp" => 58,
        "comp" | "ipcomp" => 108,
        "sctp" => 132,
        "udplite" => 136,
        other => return number(other),
    })
}

/// The version of IP, by the names of `meta nfproto` and `meta protocol`.
pub(super) fn family(name: &str) -> Option<u64> {
    match name {
        "ip" | "ipv4" => Some(4),
        "ip6" | "ipv6" => Some(6),
        // Neither is ever a packet of TCP.
        "arp" | "vlan" => Some(0),
        _ => None,
    }
}

/// `0x2a` or `42`.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A kind of refusal, by the kind of message and the name of its code: nft's names, or iptables' without `icmp-`, `icmp6-`.
pub(super) fn reject(kind: &str, code: &str) -> Option<RejectKind> {
    Some(match kind {
        "tcp reset" => RejectKind::TcpReset,
        "icmp" => RejectKind::Icmp(match code {
            "net-unreachable" => 0,
            "host-unreachable" => 1,
            "prot-unreachable" | "proto-unreachable" => 2,
            "port-unreachable" => 3,
            "net-prohibited" => 9,
            "host-prohibited" => 10,
            "admin-prohibited" => 13,
            _ => return None,
        }),
        "icmpv6" => RejectKind::Icmp6(match code {
            "no-route" => 0,
            "admin-prohibited" | "adm-prohibited" => 1,
            "addr-unreachable" => 3,
            "port-unreachable" => 4,
            "policy-fail" => 5,
            "reject-route" => 6,
            _ => return None,
        }),
        "icmpx" => RejectKind::Icmpx(match code {
            "no-route" => Icmpx::NoRoute,
            "port-unreachable" => Icmpx::PortUnreachable,
            "host-unreachable" => Icmpx::HostUnreachable,
            "admin-prohibited" => Icmpx::AdminProhibited,
            _ => return None,
        }),
        _ => return None,
    })
}
