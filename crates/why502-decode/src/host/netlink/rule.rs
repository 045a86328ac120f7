//! The rules of policy routing, and whether a packet fits.

use super::kind_of;
use netlink_packet_route::route::RouteType;
use netlink_packet_route::rule::{RuleAction as KernelAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use std::net::SocketAddr;
use why502_facts::{LinkAddress, PolicyRule, RuleAction};

/// A packet of the gateway to a peer, not yet bound to a device.
pub(super) struct Packet {
    pub(super) target: SocketAddr,
    /// The user who sends it, if the question was asked as that user.
    pub(super) uid: Option<u32>,
    pub(super) mark: u32,
}

/// Whether rules of IPv4 and of IPv6 lead to other tables than the three that always are, or choose packets at all.
pub(in crate::host) fn policy_families(rules: &[u8]) -> (bool, bool) {
    let (mut ipv4, mut ipv6) = (false, false);
    for message in super::messages(rules).filter_map(super::inner_message) {
        let RouteNetlinkMessage::NewRule(rule) = &message else { continue };
        if is_usual(rule) {
            continue;
        }
        match rule.header.family {
            AddressFamily::Inet => ipv4 = true,
            AddressFamily::Inet6 => ipv6 = true,
            _ => {}
        }
    }
    (ipv4, ipv6)
}

/// `from all lookup local`, `main` or `default` (net/ipv4/fib_rules.c, `fib_default_rules_init`).
fn is_usual(rule: &RuleMessage) -> bool {
    let header = &rule.header;
    let is_plain = |attribute: &RuleAttribute| match attribute {
        RuleAttribute::Table(table) => (253..=255).contains(table),
        RuleAttribute::Priority(_) | RuleAttribute::Protocol(_) => true,
        // `UINT_MAX`: none is suppressed.
        RuleAttribute::SuppressPrefixLen(length) => *length == u32::MAX,
        _ => false,
    };
    header.action == KernelAction::ToTable
        && header.tos == 0
        && !header.flags.contains(RuleFlags::Invert)
        && rule.attributes.iter().all(is_plain)
}

/// What one selector asks for, in the words of ip-rule(8), and whether a packet fits.
type Selector = (String, Option<bool>);

pub(super) fn decode(message: &RouteNetlinkMessage, packet: &Packet) -> Option<PolicyRule> {
    let RouteNetlinkMessage::NewRule(RuleMessage { header, attributes, .. }) = message else { return None };
    let (mut priority, mut table) = (0, u32::from(header.table));
    let (mut mark, mut mask) = (None, u32::MAX);
    let mut selectors: Vec<Selector> = Vec::new();
    for attribute in attributes {
        match attribute {
            RuleAttribute::Priority(own) => priority = *own,
            RuleAttribute::Table(own) => table = *own,
            RuleAttribute::FwMark(own) => mark = Some(*own),
            RuleAttribute::FwMask(own) => mask = *own,
            RuleAttribute::Destination(to) => {
                let network = LinkAddress { device: 0, address: *to, prefix_length: header.dst_len };
                let fits = network.holds(packet.target.ip());
                selectors.push((format!("to {to}/{}", header.dst_len), Some(fits)));
            }
            // The source is chosen by the very look-up, and by then asked for again.
            RuleAttribute::Source(from) => {
                selectors.push((format!("from {from}/{}", header.src_len), None));
            }
            RuleAttribute::Iifname(device) => {
                selectors.push((format!("iif {device}"), Some(device == "lo")));
            }
            RuleAttribute::Oifname(device) => selectors.push((format!("oif {device}"), Some(false))),
            RuleAttribute::UidRange(range) => {
                let fits = packet.uid.map(|uid| (range.start..=range.end).contains(&uid));
                selectors.push((format!("uidrange {}-{}", range.start, range.end), fits));
            }
            RuleAttribute::IpProtocol(protocol) => {
                let number = i32::from(*protocol);
                selectors.push((format!("ipproto {number}"), Some(number == 6)));
            }
            RuleAttribute::DestinationPortRange(range) => {
                let fits = (range.start..=range.end).contains(&packet.target.port());
                selectors.push((format!("dport {}-{}", range.start, range.end), Some(fits)));
            }
            RuleAttribute::SourcePortRange(range) => {
                selectors.push((format!("sport {}-{}", range.start, range.end), None));
            }
            RuleAttribute::L3MDev(true) => selectors.push(("l3mdev".to_owned(), None)),
            RuleAttribute::TunId(id) if *id != 0 => selectors.push((format!("tun_id {id}"), Some(false))),
            // The others choose no packets: where to go on, who made the rule, which routes do not count.
            _ => {}
        }
    }
    if let Some(mark) = mark.filter(|mark| (*mark, mask) != (0, 0)) {
        selectors.push((format!("fwmark {mark:#x}/{mask:#x}"), Some(packet.mark & mask == mark)));
    }
    if header.tos != 0 {
        selectors.push((format!("tos {:#x}", header.tos), None));
    }
    let words: Vec<&str> = selectors.iter().map(|(words, _)| words.as_str()).collect();
    let all = selectors.iter().try_fold(true, |all, (_, fits)| match fits {
        Some(false) => Err(false),
        Some(true) => Ok(all),
        None => Ok(false),
    });
    let fits = match all {
        Ok(true) => Some(true),
        Ok(false) => None,
        Err(_) => Some(false),
    };
    let is_inverted = header.flags.contains(RuleFlags::Invert);
    Some(PolicyRule {
        priority,
        action: match header.action {
            KernelAction::ToTable => RuleAction::Table(table),
            KernelAction::Blackhole => RuleAction::Refuse(kind_of(RouteType::BlackHole)),
            KernelAction::Unreachable => RuleAction::Refuse(kind_of(RouteType::Unreachable)),
            KernelAction::Prohibit => RuleAction::Refuse(kind_of(RouteType::Prohibit)),
            _ => RuleAction::Other,
        },
        selectors: match (words.is_empty(), is_inverted) {
            (true, _) => "from all".to_owned(),
            (false, false) => words.join(" "),
            (false, true) => format!("not {}", words.join(" ")),
        },
        fits: if is_inverted { fits.map(|fits| !fits) } else { fits },
    })
}
