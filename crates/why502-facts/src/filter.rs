//! Packet filters of a network namespace: raw as the tools list them, and decoded.

mod statement;

pub use self::statement::{
    FilterCondition, FilterItem, FilterOperand, FilterStatement, FilterVerdict, Icmpx, PacketField,
    RejectKind, Translation,
};
use crate::{Blob, GapReason};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// When a packet filter is listed, as seen from the probes of the run: counters of two lists tell what ours met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterMoment {
    /// Before anything else of its round is asked or sent.
    Before,
    /// In a later round.
    After,
}

/// Who lists rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterListing {
    /// `nft -j list ruleset`: with handles and counters.
    NftJson,
    /// `nft -a list ruleset`: the rules as they are written.
    NftText,
    /// `iptables-nft-save -c`: rules of nftables in the words of iptables.
    IptablesNft,
    /// `ip6tables-nft-save -c`.
    Ip6tablesNft,
    /// `iptables-legacy-save -c`: rules that nftables does not list.
    IptablesLegacy,
    /// `ip6tables-legacy-save -c`.
    Ip6tablesLegacy,
}

/// What one tool listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterOutput {
    /// The kernel has no rules of this kind in this namespace.
    Absent,
    /// What it printed.
    Known(Blob),
    /// It could not be asked.
    Unknown {
        /// Why not.
        why: GapReason,
        /// In words: a lower-case fragment.
        says: String,
    },
}

/// The packet filters of a network namespace, and what its packets' addresses and interfaces follow from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRecord {
    /// The lists.
    pub listings: Vec<(FilterListing, FilterOutput)>,
    /// `/proc/net/fib_trie`: local addresses.
    pub fib_trie: Blob,
    /// `/proc/net/if_inet6`.
    pub if_inet6: Blob,
    /// `/proc/net/route`; empty where it is too long to be kept.
    pub route: Blob,
    /// `/proc/net/ipv6_route`; empty where it is too long to be kept.
    pub ipv6_route: Blob,
    /// The rules of policy routing of both families, as rtnetlink(7) tells them.
    #[serde(default)]
    pub policy: Blob,
}

/// The packet filters of a network namespace, decoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PacketFilter {
    /// Tables with their chains and rules.
    pub tables: Vec<FilterTable>,
    /// What could not be listed: lower-case fragments.
    pub unread: Vec<String>,
    /// Local addresses of the namespace.
    pub addresses: Vec<IpAddr>,
    /// Where its packets go, the narrowest first: the main table alone.
    pub routes: Vec<TableRoute>,
    /// Whether rules of policy routing lead some packets of IPv4 to other tables, or nowhere.
    pub has_policy_ipv4: bool,
    /// The same of IPv6.
    pub has_policy_ipv6: bool,
}

impl PacketFilter {
    /// Whether an address belongs to this namespace.
    pub fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&address)
    }

    /// Whether the main table alone does not tell where packets of a family go.
    pub fn has_policy(&self, is_ipv6: bool) -> bool {
        if is_ipv6 { self.has_policy_ipv6 } else { self.has_policy_ipv4 }
    }

    /// The route to an address that is not local; `None` where the main table does not tell.
    pub fn route_to(&self, address: IpAddr) -> Option<&TableRoute> {
        if self.has_policy(address.is_ipv6()) {
            return None;
        }
        self.routes.iter().find(|route| route.holds(address))
    }

    /// The interface that has an address in the network of a link.
    pub fn interface_of(&self, address: IpAddr) -> Option<&str> {
        let mut links = self.routes.iter().filter(|route| route.sources.contains(&address));
        let interface = links.next()?.interface.as_str();
        links.all(|route| route.interface == interface).then_some(interface)
    }

    /// The address that packets bear which leave by an interface, if it has just one.
    pub fn single_source(&self, interface: &str, is_ipv6: bool) -> Option<IpAddr> {
        let is_of_it =
            |route: &&TableRoute| route.interface == interface && route.network.is_ipv6() == is_ipv6;
        let of_it = self.routes.iter().filter(is_of_it);
        let mut sources: Vec<IpAddr> = of_it.flat_map(|route| route.sources.iter().copied()).collect();
        sources.sort();
        sources.dedup();
        if let [source] = sources[..] { Some(source) } else { None }
    }

    /// The address that packets to another one bear, as far as the routes tell.
    pub fn source_to(&self, address: IpAddr) -> Option<IpAddr> {
        match address {
            // The whole network is local, and one address of it is the host's own.
            IpAddr::V4(own) if own.is_loopback() => return Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            local if self.is_local(local) => return Some(local),
            _ => {}
        }
        let route = self.route_to(address)?;
        let on_link = match route.gateway {
            None => route,
            Some(gateway) => self.routes.iter().find(|own| own.gateway.is_none() && own.holds(gateway))?,
        };
        if let [source] = on_link.sources[..] { Some(source) } else { None }
    }

    /// The rule at a place; `None` for a policy.
    pub fn rule(&self, place: &RulePlace) -> Option<&FilterRule> {
        self.chain(place)?.rules.get(place.rule?)
    }

    /// The chain of a place.
    pub fn chain(&self, place: &RulePlace) -> Option<&FilterChain> {
        self.table(place)?.chains.iter().find(|chain| chain.name == place.chain)
    }

    /// The table of a place.
    pub fn table(&self, place: &RulePlace) -> Option<&FilterTable> {
        self.tables
            .iter()
            .find(|table| (table.tool, table.family, &table.name) == (place.tool, place.family, &place.table))
    }
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRoute {
    /// The network's address.
    pub network: IpAddr,
    /// The length of its prefix.
    pub length: u8,
    /// The next router; `None`: on the link.
    pub gateway: Option<IpAddr>,
    /// The interface that packets leave by.
    pub interface: String,
    /// The local addresses in that network, of a route on the link.
    pub sources: Vec<IpAddr>,
}

impl TableRoute {
    /// Whether an address lies in its network.
    pub fn holds(&self, address: IpAddr) -> bool {
        prefix_range(self.network, self.length)
            .is_some_and(|(low, high)| low.is_ipv4() == address.is_ipv4() && (low..=high).contains(&address))
    }
}

/// The first and the last address of a prefix.
pub fn prefix_range(address: IpAddr, length: u8) -> Option<(IpAddr, IpAddr)> {
    match address {
        IpAddr::V4(own) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            let low = own.to_bits() & mask;
            Some((IpAddr::V4(low.into()), IpAddr::V4((low | !mask).into())))
        }
        IpAddr::V6(own) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            let low = own.to_bits() & mask;
            Some((IpAddr::V6(low.into()), IpAddr::V6((low | !mask).into())))
        }
        _ => None,
    }
}

/// Whose rules a table holds, and so who changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilterTool {
    /// nft(8).
    Nft,
    /// iptables(8) over nftables: `iptables-nft`.
    IptablesNft,
    /// iptables(8) over its own part of the kernel.
    IptablesLegacy,
}

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilterFamily {
    /// ARP: never a packet of TCP.
    Arp,
    /// Frames that a bridge hands on.
    Bridge,
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Whatever an interface receives or sends.
    Netdev,
}

impl FilterFamily {
    /// As nft(8) writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Netdev => "netdev",
        }
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterTable {
    /// Who changes it.
    pub tool: FilterTool,
    /// Which packets it sees.
    pub family: FilterFamily,
    /// Its name.
    pub name: String,
    /// Whether it is switched off (`flags dormant`).
    pub dormant: bool,
    /// Its chains.
    pub chains: Vec<FilterChain>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterChain {
    /// Its name.
    pub name: String,
    /// Where the kernel enters it; `None`: only other rules do.
    pub base: Option<BaseChain>,
    /// Its rules in order.
    pub rules: Vec<FilterRule>,
}

/// Where the kernel enters a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseChain {
    /// The hook.
    pub hook: Hook,
    /// Chains of a hook run from the lowest priority on.
    pub priority: i64,
    /// Whether only the first packet of a connection is shown to it (`type nat`).
    pub is_nat: bool,
    /// Whether the kernel chooses the way of a packet anew if this chain changes its mark (`type route`).
    pub is_route: bool,
    /// What becomes of a packet that no rule decides on: accepted, unless dropped.
    pub drops: bool,
    /// The interfaces that it is bound to; `None` where that is not told.
    pub devices: Option<Vec<String>>,
}

/// The hooks of netfilter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the kernel's own")]
pub enum Hook {
    Egress,
    Forward,
    Ingress,
    Input,
    Output,
    Postrouting,
    Prerouting,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterRule {
    /// What names it in its table; iptables has none.
    pub handle: Option<u64>,
    /// As its tool writes it.
    pub text: String,
    /// How many packets and bytes it counted, if it counts what all of its conditions hold for.
    pub counted: Option<(u64, u64)>,
    /// What it does, in order.
    pub statements: Vec<FilterStatement>,
}

/// Where a rule stands; without a rule the policy of its chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RulePlace {
    /// Who changes it.
    pub tool: FilterTool,
    /// The family of its table.
    pub family: FilterFamily,
    /// The name of its table.
    pub table: String,
    /// The name of its chain.
    pub chain: String,
    /// Its place in the chain, from 0 on.
    pub rule: Option<usize>,
}
