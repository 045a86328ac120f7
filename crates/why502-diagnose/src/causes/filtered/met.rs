//! Rules on the way of a packet: those that end it, and those that lead it elsewhere.

use super::Carried;
use super::words::{errno, place_words, tool_name};
use crate::case::Case;
use crate::filter::{Doubt, Ending, Stop};
use crate::finding::{Evidence, Origin};
use std::net::SocketAddr;
use why502_facts::{Errno, FilterTool, Observed, PacketFilter, RulePlace};

/// What the counter of a rule tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::causes) enum Counted {
    /// It has none.
    Nothing,
    /// So many packets, and nobody looked again after a probe.
    Once(u64),
    /// So many packets before and after a probe.
    Twice(u64, u64),
}

impl Counted {
    /// Whether it counted something while the probe ran.
    pub(in crate::causes) fn has_moved(self) -> bool {
        matches!(self, Self::Twice(before, after) if after > before)
    }

    /// Whether it ever counted something.
    pub(in crate::causes) fn is_met(self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Once(packets) | Self::Twice(_, packets) => packets > 0,
        }
    }
}

/// A rule that ends one of the packets, or may.
#[derive(Debug)]
pub(in crate::causes) struct Met<'c> {
    pub(in crate::causes) stop: Stop,
    pub(in crate::causes) carried: Carried,
    pub(in crate::causes) filter: &'c PacketFilter,
    pub(in crate::causes) counted: Counted,
    /// The address that is dialled.
    pub(in crate::causes) address: SocketAddr,
    /// The server's address as the packet bears it at the rule: translations may have changed it.
    pub(in crate::causes) there: SocketAddr,
}

/// Where the packets to a peer are led instead of the address that is dialled.
#[derive(Debug)]
pub(in crate::causes) struct Led<'c> {
    /// The address.
    pub(in crate::causes) to: SocketAddr,
    /// A process in the network namespace whose rule does it; `None`: that of this program.
    pub(in crate::causes) pid: Option<u32>,
    pub(in crate::causes) place: RulePlace,
    pub(in crate::causes) filter: &'c PacketFilter,
}

impl Met<'_> {
    /// Whether the gateway hears nothing where it applies: what refuses an answer tells the server so.
    pub(in crate::causes) fn silences(&self) -> bool {
        match self.stop.ending {
            Ending::Drop => true,
            Ending::Reject(_) => self.carried.is_answer(),
            Ending::Accept | Ending::Open => false,
        }
    }

    /// What the gateway's connection attempt fails with where it applies.
    pub(in crate::causes) fn refuses_with(&self) -> Option<Errno> {
        match self.stop.ending {
            Ending::Reject(kind) if self.carried == Carried::First => errno(kind, self.address.is_ipv6()),
            _ => None,
        }
    }

    /// The rule as its tool writes it; `None` for a policy.
    pub(in crate::causes) fn text(&self) -> Option<&str> {
        self.filter.rule(&self.stop.place).map(|rule| rule.text.as_str())
    }

    /// Where it stands.
    pub(in crate::causes) fn place_words(&self) -> String {
        place_words(self.filter, &self.stop.place, self.address.is_ipv6())
    }

    /// What meets what, and what was counted.
    pub(in crate::causes) fn evidence(&self, case: &Case<'_>) -> Vec<Evidence> {
        let what = self.carried.words(self.address);
        let meets = if self.stop.doubt.is_none() { "meets" } else { "may meet" };
        let rule = match self.text() {
            Some(text) => format!("the rule `{text}`"),
            None => "the end of a chain".to_owned(),
        };
        let says = format!("{what} {meets} {rule} ({})", self.place_words());
        let mut evidence = vec![Evidence::supporting(says, self.origin(case))];
        evidence.extend(match self.counted {
            Counted::Twice(before, after) if after > before => Some(Evidence::supporting(
                format!("while a connection was attempted its counter went from {before} to {after} packets"),
                self.origin(case),
            )),
            Counted::Twice(before, _) => Some(Evidence::against(
                format!("its counter stayed at {before} packets while a connection was attempted"),
                self.origin(case),
            )),
            Counted::Once(packets) => {
                Some(Evidence::context(format!("it has counted {packets} packets"), self.origin(case)))
            }
            Counted::Nothing => None,
        });
        if let Some(Doubt::Sometimes(what) | Doubt::Unclear(what)) = &self.stop.doubt {
            evidence.push(Evidence::context(
                format!("whether it applies is not certain: {what}"),
                self.origin(case),
            ));
        }
        evidence
    }

    fn origin(&self, case: &Case<'_>) -> Origin {
        rules_origin(case, self.stop.pid, self.stop.place.tool, self.address.is_ipv6())
    }
}

impl Led<'_> {
    /// Which rule leads where.
    pub(in crate::causes) fn evidence(&self, case: &Case<'_>) -> Evidence {
        let rule = self.filter.rule(&self.place).map_or_else(String::new, |rule| format!("`{}` ", rule.text));
        let says = format!("the rule {rule}({}) leads the connection on to {}", self.place_words(), self.to);
        Evidence::supporting(says, rules_origin(case, self.pid, self.place.tool, self.to.is_ipv6()))
    }

    /// Where the rule stands.
    pub(in crate::causes) fn place_words(&self) -> String {
        place_words(self.filter, &self.place, self.to.is_ipv6())
    }
}

fn rules_origin(case: &Case<'_>, pid: Option<u32>, tool: FilterTool, is_ipv6: bool) -> Origin {
    let command = match tool {
        FilterTool::Nft => "nft -a list ruleset".to_owned(),
        tool => format!("{}-save -c", tool_name(tool, is_ipv6)),
    };
    let place = match pid.filter(|pid| is_elsewhere(case, *pid)) {
        Some(pid) => format!(" in the network namespace of process {pid}"),
        None => String::new(),
    };
    Origin::Host(format!("{command}{place}"))
}

/// Whether the network namespace of a process is another one than the host's first.
pub(in crate::causes) fn is_elsewhere(case: &Case<'_>, pid: u32) -> bool {
    let Observed::Known(list) = case.facts.processes() else { return false };
    let namespace = |pid| list.get(pid).and_then(|process| process.net_namespace);
    namespace(pid).is_some() && namespace(1).is_some() && namespace(pid) != namespace(1)
}
