//! What a rule of a packet filter does and asks.

use std::net::IpAddr;
use std::sync::Arc;

/// A part of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterStatement {
    /// It goes on only if this holds.
    Condition(FilterCondition),
    /// It goes on for some packets and not for others: a rate limit, chance, a quota.
    Sometimes(String),
    /// It goes on under a condition that is not understood.
    UnknownCondition(String),
    /// It does something that is not understood.
    UnknownEffect(String),
    /// It decides.
    Verdict(FilterVerdict),
    /// It decides by a table.
    VerdictMap {
        /// What is looked up.
        operands: Vec<FilterOperand>,
        /// What is found.
        entries: Arc<Vec<(Vec<FilterItem>, FilterVerdict)>>,
    },
    /// It sends the connection elsewhere, and ends the chain.
    Translate(Translation),
    /// It sets the mark of the packet or of its connection.
    SetMark {
        /// Which of the two.
        field: PacketField,
        /// To what; `None`: that is not known.
        value: Option<u64>,
    },
    /// It keeps the packet from being tracked.
    Untrack,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterVerdict {
    /// This chain lets it pass.
    Accept,
    /// The next rule.
    Continue,
    /// It vanishes.
    Drop,
    /// Another chain goes on, and does not come back.
    Goto(String),
    /// Another chain goes on, and comes back.
    Jump(String),
    /// A program decides.
    Queue,
    /// It is answered with a refusal.
    Reject(RejectKind),
    /// Back to the chain that it came from.
    Return,
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectKind {
    /// An ICMP message "destination unreachable" (type 3) of that code.
    Icmp(u8),
    /// An ICMPv6 message "destination unreachable" (type 1) of that code.
    Icmp6(u8),
    /// The same for both families, as nft(8)'s `icmpx` names it.
    Icmpx(Icmpx),
    /// A TCP reset.
    TcpReset,
}

/// The codes that both families have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are nft's own")]
pub enum Icmpx {
    AdminProhibited,
    HostUnreachable,
    NoRoute,
    PortUnreachable,
}

/// A condition: the operands are, or are not, among the items.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterCondition {
    /// What is looked at; several are looked up together.
    pub operands: Vec<FilterOperand>,
    /// Whether it holds where they are not among them.
    pub is_negated: bool,
    /// Each with one item per operand.
    pub items: Arc<Vec<Vec<FilterItem>>>,
}

/// What is looked at of a packet, perhaps through a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterOperand {
    /// What.
    pub field: PacketField,
    /// The bits of it that count; `None`: all.
    pub mask: Option<u128>,
}

/// What rules look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PacketField {
    /// The mark of the connection.
    ConnectionMark,
    /// The state of the connection, as the bits of `enum ip_conntrack_info`: invalid 1, established 2, related 4, new 8,
    /// untracked 64.
    ConnectionState,
    /// What is known of the connection, as the bits of `enum ip_conntrack_status`, of which only two are looked at: its source was
    /// translated 16, its destination 32.
    ConnectionStatus,
    /// The direction of the packet in it: original 0, reply 1.
    Direction,
    /// Its destination.
    DestinationAddress,
    /// The kind of its destination's address (`local`, `unicast`, …).
    DestinationKind,
    /// Its destination's port.
    DestinationPort,
    /// 4 or 6.
    Family,
    /// The group of the socket that sends it.
    Group,
    /// The interface that it came by.
    InputInterface,
    /// Its mark.
    Mark,
    /// The interface that it leaves by.
    OutputInterface,
    /// To whom the frame was sent: 0 to us, 1 to all, 2 to several.
    PacketType,
    /// The protocol: 6 for TCP.
    Protocol,
    /// Its source.
    SourceAddress,
    /// The kind of its source's address.
    SourceKind,
    /// Its source's port.
    SourcePort,
    /// Whether packets to its source would leave by the interface that it came by: 1, else 0.
    SourceRoute,
    /// Its flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
    TcpFlags,
    /// The user of the socket that sends it.
    User,
}

/// What an operand is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterItem {
    /// Addresses from one to another.
    Addresses(IpAddr, IpAddr),
    /// Whatever it is.
    Any,
    /// A name; with a `*` at its end the beginning of one.
    Name(String),
    /// Numbers from one to another.
    Numbers(u64, u64),
}

/// Where a connection is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Translation {
    /// To another destination; what is `None` stays.
    Destination(Option<IpAddr>, Option<u16>),
    /// To somewhere that is not known.
    DestinationUnknown,
    /// From the address of the interface that it leaves by.
    Masquerade,
    /// To this host itself.
    Redirect(Option<u16>),
    /// From another address; `None`: it is not known.
    Source(Option<IpAddr>),
}
