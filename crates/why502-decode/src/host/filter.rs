//! Packet filters: what nft(8) and iptables-save(8) list, as tables, chains and rules.
//!
//! What is not understood stays in the rule as such: as a condition that may hold, or an effect that may be anything. It is
//! never passed over, because a rule without one of its conditions is another rule.

mod iptables;
mod iptables_rule;
mod nft;
mod nft_match;
mod nft_sets;
mod nft_text;
mod routes;
mod words;

#[cfg(test)]
mod tests;

use super::netlink::policy_families;
use why502_facts::{FilterFamily, FilterListing, FilterOutput, FilterRecord, FilterTool, PacketFilter};

/// Decodes the packet filters of a namespace.
pub fn decode_packet_filter(record: &FilterRecord) -> PacketFilter {
    let mut filter = PacketFilter {
        unread: record.listings.iter().filter_map(|(_, output)| unread(output)).collect(),
        addresses: routes::addresses(record),
        ..PacketFilter::default()
    };
    filter.unread.sort();
    filter.unread.dedup();
    filter.routes = routes::routes(record, &filter.addresses);
    (filter.has_policy_ipv4, filter.has_policy_ipv6) = policy_families(record.policy.as_slice());
    for (listing, family, tool) in [
        (FilterListing::IptablesLegacy, FilterFamily::Ip, FilterTool::IptablesLegacy),
        (FilterListing::Ip6tablesLegacy, FilterFamily::Ip6, FilterTool::IptablesLegacy),
        (FilterListing::IptablesNft, FilterFamily::Ip, FilterTool::IptablesNft),
        (FilterListing::Ip6tablesNft, FilterFamily::Ip6, FilterTool::IptablesNft),
    ] {
        filter.tables.extend(iptables::parse(output(record, listing), family, tool));
    }
    match nft::parse(output(record, FilterListing::NftJson), output(record, FilterListing::NftText)) {
        Ok(tables) => {
            for table in tables {
                let of_iptables = filter.tables.iter().position(|own| {
                    own.tool == FilterTool::IptablesNft
                        && own.family == table.family
                        && own.name == table.name
                });
                // The words of iptables tell what nft prints as a foreign match; a table that nft(8) itself added chains to
                // is read as nft prints it.
                match of_iptables {
                    Some(_) if nft::is_of_iptables(&table) => {}
                    Some(at) => filter.tables[at] = table,
                    None => filter.tables.push(table),
                }
            }
        }
        Err(says) => filter.unread.push(says),
    }
    filter
}

fn output(record: &FilterRecord, listing: FilterListing) -> &[u8] {
    let found = record.listings.iter().find(|(own, _)| *own == listing);
    match found {
        Some((_, FilterOutput::Known(blob))) => blob.as_slice(),
        _ => &[],
    }
}

fn unread(output: &FilterOutput) -> Option<String> {
    match output {
        FilterOutput::Unknown { says, .. } => Some(says.clone()),
        FilterOutput::Absent | FilterOutput::Known(_) => None,
    }
}
