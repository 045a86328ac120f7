//! What rules of nftables look at, and what they compare it with (libnftables-json(5), "STATEMENTS", "EXPRESSIONS").

use super::nft_sets::{Entries, Scope, strings};
use super::words;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;
use why502_facts::{FilterCondition, FilterItem, FilterOperand, FilterStatement, PacketField, prefix_range};

/// What an expression looks at.
pub(super) enum Read {
    /// These, and what must hold for them to be there.
    Operands(Vec<FilterOperand>, Vec<FilterStatement>),
    /// What no packet of TCP has.
    Never,
    /// Chance.
    Sometimes,
    /// Something that is not understood.
    Unknown,
}

/// The conditions of a match.
pub(super) fn conditions(value: &Value, sets: &Scope<'_, '_>) -> Vec<FilterStatement> {
    match key_operands(&value["left"]) {
        Read::Never => vec![never()],
        Read::Sometimes => vec![FilterStatement::Sometimes(value.to_string())],
        Read::Unknown => vec![FilterStatement::UnknownCondition(value.to_string())],
        Read::Operands(operands, mut implied) => {
            let condition = compare(value["op"].as_str().unwrap_or("=="), operands, &value["right"], sets);
            implied.push(match condition {
                Some(condition) => FilterStatement::Condition(condition),
                None => FilterStatement::UnknownCondition(value.to_string()),
            });
            implied
        }
    }
}

/// A condition that holds for no packet of TCP.
pub(super) fn never() -> FilterStatement {
    condition(PacketField::Protocol, 0)
}

fn condition(field: PacketField, number: u64) -> FilterStatement {
    FilterStatement::Condition(FilterCondition {
        operands: vec![FilterOperand { field, mask: None }],
        is_negated: false,
        items: Arc::new(vec![vec![FilterItem::Numbers(number, number)]]),
    })
}

/// What a map of verdicts holds, by what is looked up.
pub(super) fn map_entries(data: &Value, operands: &[FilterOperand], sets: &Scope<'_, '_>) -> Option<Entries> {
    sets.entries(data, operands)
}

/// What is looked at, alone or several things together.
pub(super) fn key_operands(left: &Value) -> Read {
    let Some(parts) = left.get("concat").and_then(Value::as_array) else { return operand(left) };
    let (mut operands, mut implied) = (Vec::new(), Vec::new());
    for part in parts {
        match operand(part) {
            Read::Operands(own, of_own) => {
                operands.extend(own);
                implied.extend(of_own);
            }
            other => return other,
        }
    }
    Read::Operands(operands, implied)
}

fn operand(left: &Value) -> Read {
    if let Some(masked) = left.get("&").and_then(Value::as_array) {
        let [left, mask] = masked.as_slice() else { return Read::Unknown };
        return match operand(left) {
            Read::Operands(operands, implied) => {
                let [FilterOperand { field, mask: None }] = operands[..] else { return Read::Unknown };
                let Some(mask) = mask_bits(mask, field) else { return Read::Unknown };
                Read::Operands(vec![FilterOperand { field, mask: Some(mask) }], implied)
            }
            other => other,
        };
    }
    if left.get("numgen").is_some() {
        return Read::Sometimes;
    }
    let Some((kind, value)) = left.as_object().and_then(|object| object.iter().next()) else {
        return Read::Unknown;
    };
    let plain = |field| Read::Operands(vec![FilterOperand { field, mask: None }], Vec::new());
    let key = value["key"].as_str().unwrap_or_default();
    match kind.as_str() {
        "payload" => payload(value),
        "meta" => match key {
            "l4proto" => plain(PacketField::Protocol),
            "nfproto" | "protocol" => plain(PacketField::Family),
            "mark" => plain(PacketField::Mark),
            "skuid" => plain(PacketField::User),
            "skgid" => plain(PacketField::Group),
            "iif" | "iifname" => plain(PacketField::InputInterface),
            "oif" | "oifname" => plain(PacketField::OutputInterface),
            "pkttype" => plain(PacketField::PacketType),
            _ => Read::Unknown,
        },
        "ct" if value.get("dir").is_none() => match key {
            "state" => plain(PacketField::ConnectionState),
            "direction" => plain(PacketField::Direction),
            "mark" => plain(PacketField::ConnectionMark),
            "status" => plain(PacketField::ConnectionStatus),
            _ => Read::Unknown,
        },
        // A header of IPv6 that no packet of TCP here has; whether it is there at all is a question of its own.
        "exthdr" if value.get("field").is_some() => Read::Never,
        "fib" if value["result"] == "type" => match strings(&value["flags"]).collect::<Vec<_>>()[..] {
            ["daddr"] => plain(PacketField::DestinationKind),
            ["saddr"] => plain(PacketField::SourceKind),
            _ => Read::Unknown,
        },
        "fib" if value["result"] == "oif" => {
            let flags: Vec<&str> = strings(&value["flags"]).collect();
            if flags.contains(&"saddr") && flags.contains(&"iif") {
                plain(PacketField::SourceRoute)
            } else {
                Read::Unknown
            }
        }
        _ => Read::Unknown,
    }
}

/// A field of a header. Naming one implies that the packet has that header.
fn payload(value: &Value) -> Read {
    let (Some(protocol), Some(field)) = (value["protocol"].as_str(), value["field"].as_str()) else {
        return Read::Unknown;
    };
    let family = match protocol {
        "ip" => Some(4),
        "ip6" => Some(6),
        "tcp" | "th" => None,
        "udp" | "udplite" | "icmp" | "icmpv6" | "igmp" | "sctp" | "dccp" | "esp" | "ah" | "comp" | "arp" => {
            return Read::Never;
        }
        _ => return Read::Unknown,
    };
    let field = match field {
        "saddr" => PacketField::SourceAddress,
        "daddr" => PacketField::DestinationAddress,
        "protocol" | "nexthdr" => PacketField::Protocol,
        "sport" => PacketField::SourcePort,
        "dport" => PacketField::DestinationPort,
        "flags" if protocol == "tcp" => PacketField::TcpFlags,
        _ => return Read::Unknown,
    };
    let implied = family.map(|family| condition(PacketField::Family, family));
    Read::Operands(vec![FilterOperand { field, mask: None }], implied.into_iter().collect())
}

fn compare(
    operator: &str,
    mut operands: Vec<FilterOperand>,
    right: &Value,
    sets: &Scope<'_, '_>,
) -> Option<FilterCondition> {
    let first = operands.first()?.field;
    // `in`: any of these bits is set; `!`: none is.
    let of_bits = matches!(operator, "in" | "!") && is_bits(first) && right.get("set").is_none();
    if of_bits {
        let [FilterOperand { mask: None, .. }] = operands[..] else { return None };
        operands[0].mask = Some(u128::from(bits(right, first)?));
        let items = Arc::new(vec![vec![FilterItem::Numbers(0, 0)]]);
        return Some(FilterCondition { operands, is_negated: operator == "in", items });
    }
    let numbers = |low: Option<u64>, high: Option<u64>| {
        let (low, high) = (low?, high?);
        // Where nothing is less than the least.
        let items = if low > high { Vec::new() } else { vec![vec![FilterItem::Numbers(low, high)]] };
        Some(Arc::new(items))
    };
    let value = || right.as_u64();
    let (is_negated, items) = match operator {
        "==" | "in" => (false, sets.elements(right, &operands)?),
        "!=" => (true, sets.elements(right, &operands)?),
        "<" => match value()? {
            0 => (false, Arc::new(Vec::new())),
            limit => (false, numbers(Some(0), Some(limit - 1))?),
        },
        "<=" => (false, numbers(Some(0), value())?),
        ">" => (true, numbers(Some(0), value())?),
        ">=" => (false, numbers(value(), Some(u64::MAX))?),
        _ => return None,
    };
    Some(FilterCondition { operands, is_negated, items })
}

fn is_bits(field: PacketField) -> bool {
    matches!(field, PacketField::ConnectionState | PacketField::ConnectionStatus | PacketField::TcpFlags)
}

fn mask_bits(mask: &Value, field: PacketField) -> Option<u128> {
    if let Some(number) = mask.as_u64() {
        return Some(number.into());
    }
    if is_bits(field) {
        return bits(mask, field).map(u128::from);
    }
    match mask.as_str()?.parse().ok()? {
        IpAddr::V4(mask) => Some(mask.to_bits().into()),
        IpAddr::V6(mask) => Some(mask.to_bits()),
    }
}

/// The bits of a name, of several, or of an expression such as `syn | ack`.
fn bits(value: &Value, field: PacketField) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let list = value.get("|").unwrap_or(value);
    if let Some(list) = list.as_array() {
        return list.iter().map(|part| bits(part, field)).try_fold(0, |all, own| Some(all | own?));
    }
    let name = list.as_str()?;
    match field {
        PacketField::TcpFlags => words::tcp_flag(name),
        PacketField::ConnectionStatus => words::status(name),
        _ => words::state(name),
    }
}

/// What one operand is compared with.
pub(super) fn item(value: &Value, field: PacketField) -> Option<FilterItem> {
    if let Some(range) = value.get("range").and_then(Value::as_array) {
        let [low, high] = range.as_slice() else { return None };
        return match (item(low, field)?, item(high, field)?) {
            (FilterItem::Addresses(low, _), FilterItem::Addresses(high, _)) => {
                Some(FilterItem::Addresses(low, high))
            }
            (FilterItem::Numbers(low, _), FilterItem::Numbers(high, _)) => {
                Some(FilterItem::Numbers(low, high))
            }
            _ => None,
        };
    }
    if let Some(prefix) = value.get("prefix") {
        let length = u8::try_from(prefix["len"].as_u64()?).ok()?;
        let (low, high) = prefix_range(prefix["addr"].as_str()?.parse().ok()?, length)?;
        return Some(FilterItem::Addresses(low, high));
    }
    let one = |number| Some(FilterItem::Numbers(number, number));
    match field {
        PacketField::SourceAddress | PacketField::DestinationAddress => {
            let address = value.as_str()?.parse().ok()?;
            Some(FilterItem::Addresses(address, address))
        }
        PacketField::InputInterface
        | PacketField::OutputInterface
        | PacketField::SourceKind
        | PacketField::DestinationKind => Some(FilterItem::Name(value.as_str()?.to_owned())),
        PacketField::ConnectionState | PacketField::ConnectionStatus | PacketField::TcpFlags => {
            one(bits(value, field)?)
        }
        PacketField::SourceRoute => one(u64::from(value.as_bool()?)),
        _ => match (value.as_u64(), value.as_str()) {
            (Some(number), _) => one(number),
            (None, Some(word)) => one(named_number(word, field)?),
            (None, None) => None,
        },
    }
}

fn named_number(word: &str, field: PacketField) -> Option<u64> {
    match field {
        PacketField::Protocol => words::protocol(word),
        PacketField::Family => words::family(word),
        PacketField::Direction => match word {
            "original" => Some(0),
            "reply" => Some(1),
            _ => None,
        },
        PacketField::PacketType => match word {
            "host" | "unicast" => Some(0),
            "broadcast" => Some(1),
            "multicast" => Some(2),
            _ => None,
        },
        PacketField::User | PacketField::Group if word == "root" => Some(0),
        _ => words::number(word),
    }
}
