//! The way of packets to an address: what the kernel would do with them, and what answers them.

mod prefix;

pub(crate) use self::prefix::is_in;

use crate::{Blob, Errno, ProbeContext};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// What the kernel tells of the way to an address: messages of rtnetlink(7), raw, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    /// In whose place it was asked.
    pub context: ProbeContext,
    /// The answer to the question which way such a packet takes (`RTM_GETROUTE`): a route, or an error.
    pub answer: Blob,
    /// The routes of all tables whose prefix holds the address.
    pub routes: Blob,
    /// The rules that choose a table (ip-rule(8)), in their order.
    pub rules: Blob,
    /// The addresses of this host whose network holds the address.
    pub addresses: Blob,
    /// The devices that the answer, the routes and the addresses name.
    pub links: Blob,
    /// What is known of the neighbours that the address is reached by (`ip neighbour`).
    pub neighbours: Blob,
    /// Whether there was more of it than is read.
    pub truncated: bool,
}

/// The way to an address, decoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathToPeer {
    /// In whose place it was asked.
    pub context: ProbeContext,
    /// What became of the look-up; `None`: the kernel's answer is none that is understood.
    pub lookup: Option<Lookup>,
    /// The routes of all tables whose prefix holds the address.
    pub routes: Vec<Route>,
    /// The rules that choose a table, in their order.
    pub rules: Vec<PolicyRule>,
    /// The addresses of this host whose network holds the address.
    pub addresses: Vec<LinkAddress>,
    /// The devices.
    pub links: Vec<Link>,
    /// The neighbours that the address is reached by.
    pub neighbours: Vec<Neighbour>,
    /// Whether there was more of it than was read.
    pub truncated: bool,
}

impl PathToPeer {
    /// The route that packets to the address take, if they take one.
    pub fn route(&self) -> Option<&Route> {
        match &self.lookup {
            Some(Lookup::Route(route)) => Some(route),
            Some(Lookup::Refused(_)) | None => None,
        }
    }

    /// What a connection attempt fails with by the look-up alone (`connect(2)`).
    pub fn refusal(&self) -> Option<Errno> {
        match &self.lookup {
            Some(Lookup::Refused(errno)) => Some(*errno),
            Some(Lookup::Route(route)) => route.kind.errno(),
            None => None,
        }
    }

    /// The device of that index.
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// Who gets packets to the address first: the gateway of its route, or the address itself.
    pub fn next_hop(&self, target: IpAddr) -> Option<IpAddr> {
        let route = self.route()?;
        Some(route.gateway.unwrap_or(target))
    }

    /// What is known of who gets packets to the address first, on the device of its route.
    pub fn next_neighbour(&self, target: IpAddr) -> Option<&Neighbour> {
        let (hop, device) = (self.next_hop(target)?, self.route()?.device?);
        self.neighbours.iter().find(|neighbour| neighbour.address == hop && neighbour.device == device)
    }
}

/// What became of the look-up of a route.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// A route was found; it may be one that refuses.
    Route(Route),
    /// The look-up ended with an error.
    Refused(Errno),
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it does.
    pub kind: RouteKind,
    /// The network, and the length of its prefix; `None`: the default route.
    pub to: Option<(IpAddr, u8)>,
    /// The table (254 is `main`, 255 `local`).
    pub table: u32,
    /// The metric: the lowest wins.
    pub metric: u32,
    /// The device.
    pub device: Option<u32>,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// The source address that is preferred.
    pub source: Option<IpAddr>,
    /// The largest packet that is sent this way, if it is not the device's: a setting, or what a router said (RFC 1191).
    pub mtu: Option<u32>,
}

impl Route {
    /// Whether it is for just that address, or a network that holds it.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.to.is_none_or(|(network, length)| is_in(address, network, length))
    }

    /// How many bits of an address it decides by.
    pub fn prefix_length(&self) -> u8 {
        self.to.map_or(0, |(_, length)| length)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteKind::Unicast => {}
            kind => write!(f, "{} ", kind.word())?,
        }
        match self.to {
            Some((network, length)) => write!(f, "{network}/{length}")?,
            None => f.write_str("default")?,
        }
        match self.gateway {
            Some(gateway) => write!(f, " via {gateway}"),
            None => Ok(()),
        }
    }
}

/// What a route does with a packet (`rtm_type`, rtnetlink(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// It throws it away without a word.
    Blackhole,
    /// It is for this host.
    Local,
    /// Anything else.
    Other,
    /// It says that it is prohibited.
    Prohibit,
    /// It sends the search on to the next table.
    Throw,
    /// It sends it out.
    Unicast,
    /// It says that the host is not to be reached.
    Unreachable,
}

impl RouteKind {
    /// What `ip route` calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blackhole => "blackhole",
            Self::Local => "local",
            Self::Other => "other",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
            Self::Unicast => "unicast",
            Self::Unreachable => "unreachable",
        }
    }

    /// What a connection attempt over it fails with (`fib_props`, net/ipv4/fib_semantics.c).
    pub fn errno(self) -> Option<Errno> {
        match self {
            Self::Blackhole => Some(Errno::InvalidArgument),
            Self::Prohibit => Some(Errno::AccessDenied),
            Self::Unreachable => Some(Errno::HostUnreachable),
            Self::Local | Self::Other | Self::Throw | Self::Unicast => None,
        }
    }
}

/// A rule that chooses a table, or refuses (ip-rule(8)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// Its place: the lowest is looked at first.
    pub priority: u32,
    /// What it does.
    pub action: RuleAction,
    /// What it asks of a packet, in the words of ip-rule(8) without its action.
    pub selectors: String,
    /// Whether a packet of the gateway to the peer fits; `None` where it asks for something that is not known here.
    pub fits: Option<bool>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleAction {
    /// It has the route looked for in a table.
    Table(u32),
    /// It refuses as a route of that kind does.
    Refuse(RouteKind),
    /// Anything else.
    Other,
}

/// An address of this host, with its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddress {
    /// The device.
    pub device: u32,
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix_length: u8,
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether somebody has switched it on (`IFF_UP`).
    pub is_up: bool,
    /// Whether it has a carrier (`IFF_LOWER_UP`).
    pub has_carrier: bool,
    /// The largest packet that it sends.
    pub mtu: u32,
}

/// What is known of a neighbour on a link (arp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// The device.
    pub device: u32,
    /// What is known.
    pub state: NeighbourState,
}

/// What is known of a neighbour (`NUD_…`, include/uapi/linux/neighbour.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeighbourState {
    /// It was asked for, and nobody answered.
    Failed,
    /// It is being asked for.
    Incomplete,
    /// It answered, some time ago or just now.
    Known,
    /// It needs no asking, or nothing is known.
    Other,
}

impl NeighbourState {
    /// What `ip neighbour` calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "FAILED",
            Self::Incomplete => "INCOMPLETE",
            Self::Known => "known",
            Self::Other => "not needed",
        }
    }
}

/// What came back of packets of a probe as an error: `sock_extended_err` of ip(7), as the kernel gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IcmpError {
    /// Where it comes from (`SO_EE_ORIGIN_…`): 1 is this host itself, 2 ICMP, 3 ICMPv6.
    pub origin: u8,
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The system error that it makes.
    pub errno: i32,
    /// What more it tells: the largest packet, of an error that says that one was too large.
    pub info: u32,
    /// Who says it.
    pub offender: Option<IpAddr>,
}

impl IcmpError {
    /// What it means.
    pub fn meaning(&self) -> IcmpMeaning {
        match (self.origin, self.kind, self.code) {
            (2, 3, 0) | (3, 1, 0) => IcmpMeaning::NetworkUnreachable,
            (2, 3, 1) | (3, 1, 3) => IcmpMeaning::HostUnreachable,
            (2, 3, 3) | (3, 1, 4) => IcmpMeaning::PortUnreachable,
            (2, 3, 4) | (3, 2, _) => IcmpMeaning::TooBig,
            (2, 3, 9 | 10 | 13) | (3, 1, 1) => IcmpMeaning::Prohibited,
            _ => IcmpMeaning::Other,
        }
    }

    /// How it is written: `ICMP 3/1`.
    pub fn name(&self) -> String {
        let protocol = if self.origin == 3 { "ICMPv6" } else { "ICMP" };
        format!("{protocol} {}/{}", self.kind, self.code)
    }
}

/// What an ICMP error means (RFC 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IcmpMeaning {
    /// The host does not answer on its own network.
    HostUnreachable,
    /// A router knows no way.
    NetworkUnreachable,
    /// Something else.
    Other,
    /// Nobody takes such packets there; a filter may say so as well.
    PortUnreachable,
    /// A filter forbids it.
    Prohibited,
    /// The packet is too large for the next link.
    TooBig,
}

/// What became of ICMP echo requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoRecord {
    /// In whose place they were sent.
    pub context: ProbeContext,
    /// What became of each, in the order in which they were asked for.
    pub echoes: Vec<Echo>,
}

impl EchoRecord {
    /// Whether any was answered.
    pub fn is_answered(&self) -> bool {
        self.echoes.iter().any(|echo| matches!(echo.outcome, EchoOutcome::Answered { .. }))
    }

    /// The errors that came back.
    pub fn errors(&self) -> impl Iterator<Item = &IcmpError> {
        self.echoes.iter().filter_map(|echo| match &echo.outcome {
            EchoOutcome::Error(error) => Some(error),
            EchoOutcome::Answered { .. } | EchoOutcome::Refused(_) | EchoOutcome::Silent => None,
        })
    }
}

/// One ICMP echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The size of the whole packet, in bytes.
    pub size: u16,
    /// What became of it.
    pub outcome: EchoOutcome,
}

/// What became of an ICMP echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EchoOutcome {
    /// It was answered.
    Answered {
        /// After so long, in microseconds.
        micros: u64,
    },
    /// An error came back.
    Error(IcmpError),
    /// It could not be sent: too large for the way as it is known here (`EMSGSIZE`), or no way.
    Refused(Errno),
    /// Nothing came back.
    Silent,
}

impl LinkAddress {
    /// Whether its network holds an address.
    pub fn holds(&self, address: IpAddr) -> bool {
        is_in(address, self.address, self.prefix_length)
    }
}

#[cfg(test)]
mod tests;
