//! A packet in the chains of a hook.

use super::packet::{
    DESTINATION_TRANSLATED, Doubt, End, Holds, Interface, NEW, Packet, Place, SOURCE_TRANSLATED, UNTRACKED,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use why502_facts::{
    BaseChain, FilterChain, FilterFamily, FilterRule, FilterStatement, FilterTable, FilterVerdict, Hook,
    PacketField, PacketFilter, RejectKind, RulePlace, Translation,
};

/// So many rules are looked at for one packet at a hook at most; the kernel refuses loops, a list that was made up may have one.
const MAX_STEPS: usize = 200_000;
/// Chains jump so deep at most (include/net/netfilter/nf_tables.h, `NFT_JUMP_STACK_SIZE`).
const MAX_DEPTH: usize = 16;
/// Chains up to here run before connection tracking (include/uapi/linux/netfilter_ipv4.h, `NF_IP_PRI_CONNTRACK`).
const TRACKING: i64 = -200;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Accept,
    Drop,
    /// A program decides, or nobody knows.
    Open,
    Reject(RejectKind),
}

/// What becomes of a packet, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruled {
    pub(super) ending: Ending,
    pub(super) place: RulePlace,
}

/// What a hook does to a packet.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// What certainly ends it.
    pub(super) ended: Option<Ruled>,
    /// What may end it.
    pub(super) possible: Vec<(Ruled, Doubt)>,
    /// By whom it was sent elsewhere.
    pub(super) translated: Option<RulePlace>,
}

/// Leads a packet through the chains of a hook, in the order of their priorities.
pub(super) fn pass(filter: &PacketFilter, hook: Hook, packet: &mut Packet, may_translate: bool) -> Fate {
    let mut chains: Vec<(&FilterTable, &FilterChain, &BaseChain)> = Vec::new();
    for table in filter.tables.iter().filter(|table| !table.dormant && sees(table.family, packet)) {
        let based = table.chains.iter().filter_map(|chain| Some((table, chain, chain.base.as_ref()?)));
        chains.extend(based.filter(|(.., base)| base.hook == hook));
    }
    chains.sort_by_key(|(.., base)| base.priority);
    let mut fate = Fate::default();
    for (table, chain, base) in chains {
        let is_first = packet.state == Some(NEW) && !packet.is_reply;
        if base.is_nat && !(may_translate && is_first && fate.translated.is_none()) {
            continue;
        }
        let bound = is_bound(base, hook, packet);
        if bound == Holds::No {
            continue;
        }
        packet.place =
            if is_before_tracking(hook, base) { Place::BeforeTracking } else { Place::BehindTracking };
        let mark = packet.mark;
        let mut walk = Walk { filter, table, packet, steps: 0, possible: Vec::new(), translated: None };
        let flow = walk.chain(chain, None, 0);
        let (mut possible, translated) = (walk.possible, walk.translated);
        // nft(8), "type route": the kernel looks the way up again.
        if base.is_route && packet.mark != mark {
            packet.routing_mark = packet.mark;
        }
        fate.translated = fate.translated.or(translated);
        let ruled = match flow {
            Flow::End(ruled) => ruled,
            Flow::Return => {
                let ending = if base.drops { Ending::Drop } else { Ending::Accept };
                Ruled { ending, place: place(table, chain, None) }
            }
        };
        let accepting = possible.iter().find(|(own, _)| own.ending == Ending::Accept).cloned();
        possible.retain(|(own, _)| own.ending != Ending::Accept);
        fate.possible.extend(possible);
        let doubt = match bound {
            Holds::Maybe(doubt) => Some(doubt),
            Holds::Yes | Holds::No => accepting.map(|(_, doubt)| doubt),
        };
        match (ruled.ending, doubt) {
            (Ending::Accept, _) => {}
            (Ending::Open, doubt) => {
                let doubt = doubt.unwrap_or_else(|| {
                    Doubt::Unclear("what it does is not understood, or a program decides".to_owned())
                });
                fate.possible.push((ruled, doubt));
            }
            (_, Some(doubt)) => fate.possible.push((ruled, doubt)),
            (_, None) => {
                fate.ended = Some(ruled);
                return fate;
            }
        }
    }
    fate
}

/// Whether tables of a family see a packet of IP. Those of bridges see frames between their ports, which come by no hook of IP.
fn sees(family: FilterFamily, packet: &Packet) -> bool {
    match family {
        FilterFamily::Arp | FilterFamily::Bridge => false,
        FilterFamily::Inet | FilterFamily::Netdev => true,
        FilterFamily::Ip => !packet.is_ipv6,
        FilterFamily::Ip6 => packet.is_ipv6,
    }
}

/// Whether a chain may be shown packets that connection tracking has not seen: then nobody knows what a rule about their connection
/// comes to. What goes over loopback has been seen before, which is not made use of.
pub(crate) fn is_before_tracking(hook: Hook, base: &BaseChain) -> bool {
    match hook {
        Hook::Ingress | Hook::Egress => true,
        Hook::Prerouting | Hook::Output => base.priority <= TRACKING,
        Hook::Forward | Hook::Input | Hook::Postrouting => false,
    }
}

/// Whether a chain is bound to the interface that a packet comes or leaves by.
fn is_bound(base: &BaseChain, hook: Hook, packet: &Packet) -> Holds {
    let interface = match hook {
        Hook::Ingress => &packet.input,
        Hook::Egress => &packet.output,
        _ => return Holds::Yes,
    };
    let unclear = |says: &str| Holds::Maybe(Doubt::Unclear(says.to_owned()));
    match (&base.devices, interface) {
        (None, _) => unclear("to which interface the chain is bound is not told"),
        (Some(_), Interface::Unknown) => unclear("the interface of the packet is not known"),
        (Some(_), Interface::None) => Holds::No,
        (Some(devices), Interface::Named(name)) => {
            if devices.contains(name) {
                Holds::Yes
            } else {
                Holds::No
            }
        }
    }
}

fn place(table: &FilterTable, chain: &FilterChain, rule: Option<usize>) -> RulePlace {
    RulePlace {
        tool: table.tool,
        family: table.family,
        table: table.name.clone(),
        chain: chain.name.clone(),
        rule,
    }
}

enum Flow {
    /// The base chain has an end.
    End(Ruled),
    /// The calling chain goes on.
    Return,
}

struct Walk<'w> {
    filter: &'w PacketFilter,
    table: &'w FilterTable,
    packet: &'w mut Packet,
    steps: usize,
    possible: Vec<(Ruled, Doubt)>,
    translated: Option<RulePlace>,
}

impl<'w> Walk<'w> {
    /// Leads the packet through a chain. With `doubt` it may not come through it at all: what it writes is not certain then.
    fn chain(&mut self, chain: &'w FilterChain, doubt: Option<&Doubt>, depth: usize) -> Flow {
        // Once it may have returned, nothing after that is certain.
        let mut returned: Option<Doubt> = None;
        for (at, rule) in chain.rules.iter().enumerate() {
            self.steps += 1;
            let here = place(self.table, chain, Some(at));
            if self.steps > MAX_STEPS || depth > MAX_DEPTH {
                return Flow::End(Ruled { ending: Ending::Open, place: here });
            }
            let (verdict, own) = self.rule(rule, doubt.or(returned.as_ref()));
            let unsure = own.or_else(|| returned.clone());
            match self.apply(verdict, &here, unsure.as_ref(), doubt, depth) {
                Some(Flow::Return) if unsure.is_some() => returned = unsure,
                Some(Flow::Return) => return Flow::Return,
                Some(Flow::End(ruled)) => match unsure {
                    None => return Flow::End(ruled),
                    Some(unsure) => {
                        let is_by_return = returned.as_ref() == Some(&unsure);
                        self.possible.push((ruled, unsure));
                        // Either it had returned, or this ended it.
                        if is_by_return {
                            return Flow::Return;
                        }
                    }
                },
                None => {}
            }
        }
        Flow::Return
    }

    /// What a rule's verdict does; `None`: the next rule.
    fn apply(
        &mut self,
        verdict: Option<RuleEnd>,
        here: &RulePlace,
        unsure: Option<&Doubt>,
        outer: Option<&Doubt>,
        depth: usize,
    ) -> Option<Flow> {
        let end = |ending| Some(Flow::End(Ruled { ending, place: here.clone() }));
        match verdict? {
            RuleEnd::Translated => {
                self.translated.get_or_insert_with(|| here.clone());
                end(Ending::Accept)
            }
            RuleEnd::Open => end(Ending::Open),
            RuleEnd::Verdict(verdict) => match verdict {
                FilterVerdict::Accept => end(Ending::Accept),
                FilterVerdict::Continue => None,
                FilterVerdict::Drop => end(Ending::Drop),
                FilterVerdict::Queue => end(Ending::Open),
                FilterVerdict::Reject(kind) => end(Ending::Reject(kind)),
                FilterVerdict::Return => Some(Flow::Return),
                FilterVerdict::Jump(name) => match self.called(&name, unsure.or(outer), depth) {
                    None => end(Ending::Open),
                    Some(Flow::Return) => None,
                    Some(flow) => Some(flow),
                },
                FilterVerdict::Goto(name) => match self.called(&name, unsure.or(outer), depth) {
                    None => end(Ending::Open),
                    flow => flow,
                },
            },
        }
    }

    fn called(&mut self, name: &str, doubt: Option<&Doubt>, depth: usize) -> Option<Flow> {
        let chain = self.table.chains.iter().find(|chain| chain.name == name)?;
        Some(self.chain(chain, doubt, depth + 1))
    }

    /// What a rule decides, and why that is not certain, if it is not.
    fn rule(&mut self, rule: &FilterRule, outer: Option<&Doubt>) -> (Option<RuleEnd>, Option<Doubt>) {
        // A condition that does not hold settles it, wherever it stands.
        let (mut doubt, mut is_sometimes) = (None::<Doubt>, false);
        for statement in &rule.statements {
            let holds = match statement {
                FilterStatement::Condition(condition) => self.packet.holds(condition),
                FilterStatement::Sometimes(what) => Holds::Maybe(Doubt::Sometimes(what.clone())),
                FilterStatement::UnknownCondition(what) => {
                    Holds::Maybe(Doubt::Unclear(format!("the condition `{what}` is not understood")))
                }
                _ => Holds::Yes,
            };
            match holds {
                Holds::Yes => {}
                Holds::No => return (None, None),
                Holds::Maybe(own) => {
                    // What is not understood weighs more than chance.
                    let is_unclear = matches!(own, Doubt::Unclear(_));
                    if doubt.is_none() || (is_sometimes && is_unclear) {
                        is_sometimes = !is_unclear;
                        doubt = Some(own);
                    }
                }
            }
        }
        let is_certain = doubt.is_none() && outer.is_none();
        let mut end = None;
        for statement in &rule.statements {
            match statement {
                FilterStatement::Condition(_)
                | FilterStatement::Sometimes(_)
                | FilterStatement::UnknownCondition(_) => {}
                FilterStatement::UnknownEffect(_) => end = Some(RuleEnd::Open),
                FilterStatement::Verdict(verdict) => end = Some(RuleEnd::Verdict(verdict.clone())),
                FilterStatement::VerdictMap { operands, entries } => {
                    match self.packet.find(operands, entries) {
                        Ok(Some(verdict)) => end = Some(RuleEnd::Verdict(verdict.clone())),
                        Ok(None) => {}
                        Err(own) => {
                            doubt.get_or_insert(own);
                            end = Some(RuleEnd::Open);
                        }
                    }
                }
                FilterStatement::Translate(to) => {
                    self.translate(to, is_certain);
                    end = Some(RuleEnd::Translated);
                }
                FilterStatement::SetMark { field, value } => {
                    let value = value.filter(|_| is_certain);
                    match field {
                        PacketField::ConnectionMark => {
                            self.packet.connection_mark = value.filter(|_| self.packet.is_tracked());
                        }
                        _ => self.packet.mark = value,
                    }
                }
                // It does nothing to what is tracked already (net/netfilter/nft_ct.c, `nft_notrack_eval`).
                FilterStatement::Untrack if self.packet.place == Place::BehindTracking => {}
                FilterStatement::Untrack => {
                    let is_looped = self.packet.input == Interface::Named("lo".to_owned());
                    self.packet.state = (is_certain && !is_looped).then_some(UNTRACKED);
                }
            }
        }
        (end, doubt)
    }

    fn translate(&mut self, to: &Translation, is_certain: bool) {
        let port = |port: u16| Some((port, port));
        let packet = &mut *self.packet;
        let before = (packet.from, packet.to);
        match to {
            Translation::Destination(..) | Translation::DestinationUnknown | Translation::Redirect(_)
                if !is_certain || *to == Translation::DestinationUnknown =>
            {
                (packet.to.address, packet.to.ports) = (None, None);
            }
            Translation::Destination(address, own) => {
                packet.to.address = address.or(packet.to.address);
                packet.to.ports = own.map_or(packet.to.ports, port);
            }
            Translation::Redirect(own) => {
                packet.to.ports = own.map_or(packet.to.ports, port);
                // Of packets of this host to its loopback, of others to the address of the interface they came by.
                let is_own = packet.input == Interface::None;
                let loopback = if packet.is_ipv6 {
                    IpAddr::V6(Ipv6Addr::LOCALHOST)
                } else {
                    IpAddr::V4(Ipv4Addr::LOCALHOST)
                };
                packet.to.address = match &packet.input {
                    Interface::Named(name) => self.filter.single_source(name, packet.is_ipv6),
                    _ => is_own.then_some(loopback),
                };
            }
            Translation::Source(address) => packet.from.address = address.filter(|_| is_certain),
            Translation::Masquerade => {
                packet.from.address = match &packet.output {
                    Interface::Named(name) if is_certain => self.filter.single_source(name, packet.is_ipv6),
                    _ => None,
                };
            }
            Translation::DestinationUnknown => {}
        }
        // What stays as it is does not count as translated (net/netfilter/nf_nat_core.c, `nf_nat_setup_info`).
        let bit = |own: End, before: End, bit| own.address.map(|_| if own == before { 0 } else { bit });
        let bits = bit(packet.from, before.0, SOURCE_TRANSLATED)
            .zip(bit(packet.to, before.1, DESTINATION_TRANSLATED))
            .map(|(from, to)| from | to);
        packet.status = packet.status.zip(bits.filter(|_| is_certain)).map(|(old, new)| old | new);
    }
}

enum RuleEnd {
    Verdict(FilterVerdict),
    Translated,
    Open,
}
