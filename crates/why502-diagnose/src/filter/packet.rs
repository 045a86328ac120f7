//! A packet as rules look at it, and whether their conditions hold for it.

use std::net::{IpAddr, SocketAddr};
use why502_facts::{FilterCondition, FilterItem, FilterOperand, PacketField};

/// The states of a connection, as bits: see [`PacketField::ConnectionState`].
pub(crate) const ESTABLISHED: u64 = 2;
pub(crate) const NEW: u64 = 8;
pub(super) const UNTRACKED: u64 = 64;

/// The bits of a connection's status: see [`PacketField::ConnectionStatus`].
pub(super) const SOURCE_TRANSLATED: u64 = 16;
pub(super) const DESTINATION_TRANSLATED: u64 = 32;

/// The ports that Linux takes for its own ends of connections unless it is told otherwise (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: (u16, u16) = (32_768, 60_999);

/// An end of a connection, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) address: Option<IpAddr>,
    /// The lowest and the highest port that it may be.
    pub(crate) ports: Option<(u16, u16)>,
}

impl End {
    /// Nginx's own end: any port that the kernel takes.
    pub(crate) fn of_client(address: Option<IpAddr>) -> Self {
        Self { address, ports: Some(EPHEMERAL) }
    }

    pub(crate) fn of_server(address: SocketAddr) -> Self {
        Self { address: Some(address.ip()), ports: Some((address.port(), address.port())) }
    }

    /// Its address and port, if both are known.
    pub(crate) fn socket(self) -> Option<SocketAddr> {
        let (low, high) = self.ports?;
        Some(SocketAddr::new(self.address?, low)).filter(|_| low == high)
    }
}

/// An interface that a packet comes by, or leaves by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    Named(String),
    /// It has none at this hook.
    None,
    Unknown,
}

/// Where a packet is, of connection tracking in its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has not been seen yet: rules that ask for its connection find none.
    BeforeTracking,
    BehindTracking,
}

/// A packet of TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) is_ipv6: bool,
    pub(crate) input: Interface,
    pub(crate) output: Interface,
    /// The user and the group of the socket that sends it, at the hooks of its sender.
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    /// Whether the sender's socket is at hand: only then rules can ask for its user.
    pub(crate) has_socket: bool,
    /// The state of its connection; `None`: it is not known.
    pub(crate) state: Option<u64>,
    pub(crate) is_reply: bool,
    pub(crate) flags: u64,
    pub(crate) mark: Option<u64>,
    /// The mark that the kernel chooses its way by: it looks again only where a chain of the type `route` changed the mark.
    pub(crate) routing_mark: Option<u64>,
    pub(crate) connection_mark: Option<u64>,
    /// What was translated of its connection in the namespace where it is: see [`PacketField::ConnectionStatus`].
    pub(crate) status: Option<u64>,
    /// Where it is: set by each chain that it comes to.
    pub(crate) place: Place,
    /// Whether packets to its source would leave by the interface that it came by.
    pub(crate) has_way_back: Option<bool>,
    /// The kinds of the two addresses in the namespace where it is (`local`, `unicast`).
    pub(crate) kinds: (Option<&'static str>, Option<&'static str>),
}

/// Whether a condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Yes,
    No,
    Maybe(Doubt),
}

/// Why it is not certain what a rule does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    /// It does it to some packets, and to others not.
    Sometimes(String),
    /// It is not understood, or the packet is not known so well.
    Unclear(String),
}

/// What a field of the packet is.
enum Value {
    Address(IpAddr),
    /// What a field is that a packet does not have here.
    Missing,
    Name(String),
    Numbers(u64, u64),
    Unknown,
}

impl Packet {
    /// Whether a condition holds for it.
    pub(super) fn holds(&self, condition: &FilterCondition) -> Holds {
        let is_ownerless = !self.has_socket
            && condition
                .operands
                .iter()
                .any(|operand| matches!(operand.field, PacketField::User | PacketField::Group));
        if is_ownerless {
            // nftables breaks off, iptables takes a negation for true.
            let says = || "a user, where no socket sends it".to_owned();
            return if condition.is_negated { Holds::Maybe(Doubt::Unclear(says())) } else { Holds::No };
        }
        let values: Vec<Value> = condition.operands.iter().map(|operand| self.value(*operand)).collect();
        let mut doubt = None;
        for items in condition.items.iter() {
            match are_among(&values, items, &condition.operands) {
                Some(true) if condition.is_negated => return Holds::No,
                Some(true) => return Holds::Yes,
                Some(false) => {}
                None => doubt = doubt.or_else(|| Some(unknown_field(&condition.operands))),
            }
        }
        match doubt {
            Some(doubt) => Holds::Maybe(doubt),
            None if condition.is_negated => Holds::Yes,
            None => Holds::No,
        }
    }

    /// The first entry of a map that its fields are found under; an error where that is not certain.
    pub(super) fn find<'m, T>(
        &self,
        operands: &[FilterOperand],
        entries: &'m [(Vec<FilterItem>, T)],
    ) -> Result<Option<&'m T>, Doubt> {
        let values: Vec<Value> = operands.iter().map(|operand| self.value(*operand)).collect();
        // Where nothing else is found, an element for whatever there is.
        let is_for_all = |items: &[FilterItem]| items.iter().all(|item| *item == FilterItem::Any);
        let (usual, others): (Vec<_>, Vec<_>) = entries.iter().partition(|(items, _)| is_for_all(items));
        for (items, found) in others.into_iter().chain(usual) {
            match are_among(&values, items, operands) {
                Some(true) => return Ok(Some(found)),
                Some(false) => {}
                None => return Err(unknown_field(operands)),
            }
        }
        Ok(None)
    }

    /// Whether it is certain that the kernel has an entry for its connection by now.
    pub(super) fn is_tracked(&self) -> bool {
        self.place == Place::BehindTracking && self.state.is_some_and(|state| state != UNTRACKED)
    }

    fn value(&self, operand: FilterOperand) -> Value {
        let number = |number: Option<u64>| number.map_or(Value::Unknown, |own| Value::Numbers(own, own));
        let address = |end: &End| end.address.map_or(Value::Unknown, Value::Address);
        let ports = |end: &End| {
            end.ports.map_or(Value::Unknown, |(low, high)| Value::Numbers(low.into(), high.into()))
        };
        let interface = |own: &Interface| match own {
            Interface::Named(name) => Value::Name(name.clone()),
            Interface::None => Value::Missing,
            Interface::Unknown => Value::Unknown,
        };
        let kind = |kind: Option<&str>| kind.map_or(Value::Unknown, |kind| Value::Name(kind.to_owned()));
        match operand.field {
            PacketField::ConnectionMark => number(self.connection_mark.filter(|_| self.is_tracked())),
            PacketField::ConnectionState => {
                let is_told = self.is_tracked() || self.state == Some(UNTRACKED);
                number(self.state.filter(|_| is_told))
            }
            PacketField::ConnectionStatus => number(self.status.filter(|_| self.is_tracked())),
            PacketField::DestinationAddress => address(&self.to),
            PacketField::DestinationKind => kind(self.kinds.1),
            PacketField::DestinationPort => ports(&self.to),
            PacketField::Direction => number(self.is_tracked().then_some(u64::from(self.is_reply))),
            PacketField::Family => number(Some(if self.is_ipv6 { 6 } else { 4 })),
            PacketField::Group => number(self.group.map(u64::from)),
            PacketField::InputInterface => interface(&self.input),
            PacketField::Mark => number(self.mark),
            PacketField::OutputInterface => interface(&self.output),
            PacketField::PacketType => number(Some(0)),
            PacketField::Protocol => number(Some(6)),
            PacketField::SourceAddress => address(&self.from),
            PacketField::SourceKind => kind(self.kinds.0),
            PacketField::SourcePort => ports(&self.from),
            PacketField::SourceRoute => number(self.has_way_back.map(u64::from)),
            PacketField::TcpFlags => number(Some(self.flags)),
            PacketField::User => number(self.user.map(u64::from)),
        }
    }
}

fn unknown_field(operands: &[FilterOperand]) -> Doubt {
    let what = match operands.first().map(|operand| operand.field) {
        Some(PacketField::SourceAddress) => "the address that the packet comes from is not known",
        Some(PacketField::SourcePort | PacketField::DestinationPort) => "a port of the packet is not known",
        Some(PacketField::InputInterface | PacketField::OutputInterface) => {
            "the interface of the packet is not known"
        }
        Some(PacketField::User | PacketField::Group) => "the user who sends the packet is not known",
        Some(
            PacketField::ConnectionMark
            | PacketField::ConnectionState
            | PacketField::ConnectionStatus
            | PacketField::Direction,
        ) => "what is known of the connection where the packet meets the rule is not certain",
        _ => "something that the rule asks for is not known of the packet",
    };
    Doubt::Unclear(what.to_owned())
}

/// Whether values are the items, one by one; `None` if that is not known.
fn are_among(values: &[Value], items: &[FilterItem], operands: &[FilterOperand]) -> Option<bool> {
    let mut is_known = true;
    for ((value, item), operand) in values.iter().zip(items).zip(operands) {
        match is_among(value, item, operand.mask) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => is_known = false,
        }
    }
    is_known.then_some(true)
}

fn is_among(value: &Value, item: &FilterItem, mask: Option<u128>) -> Option<bool> {
    match (value, item) {
        (_, FilterItem::Any) => Some(true),
        (Value::Missing, _) => Some(false),
        (Value::Address(address), FilterItem::Addresses(low, high)) => {
            let address = masked(*address, mask);
            Some(address.is_ipv4() == low.is_ipv4() && (*low..=*high).contains(&address))
        }
        (Value::Name(name), FilterItem::Name(wanted)) => Some(match wanted.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == wanted,
        }),
        (Value::Numbers(own_low, own_high), FilterItem::Numbers(low, high)) => match mask {
            Some(mask) if own_low == own_high => {
                let own = u128::from(*own_low) & mask;
                Some((u128::from(*low)..=u128::from(*high)).contains(&own))
            }
            None if own_high < low || high < own_low => Some(false),
            None if low <= own_low && own_high <= high => Some(true),
            _ => None,
        },
        // What is not known, or of another kind.
        _ => None,
    }
}

fn masked(address: IpAddr, mask: Option<u128>) -> IpAddr {
    let Some(mask) = mask else { return address };
    match address {
        IpAddr::V4(own) => IpAddr::V4(
            (own.to_bits() & u32::try_from(mask & u128::from(u32::MAX)).unwrap_or(u32::MAX)).into(),
        ),
        IpAddr::V6(own) => IpAddr::V6((own.to_bits() & mask).into()),
    }
}
