//! Groups of peers.

use crate::{Setting, Span};
use std::time::Duration;
use why502_facts::{Observed, PeerAddress};

/// Which group of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub usize);

/// Which peer of a gateway: the group, and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    /// The group.
    pub group: GroupId,
    /// The place in it.
    pub peer: usize,
}

/// Peers among which the gateway chooses.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name; `None` for the implicit group of a literal address or host name.
    pub name: Option<String>,
    /// Where it is defined, or where its address is written.
    pub at: Span,
    /// Its peers, in the order of the configuration.
    pub peers: Vec<Peer>,
    /// How the gateway chooses.
    pub balancing: Setting<Balancing>,
    /// How many idle connections a worker keeps open to it; `None`: none.
    pub keepalive: Option<Setting<u32>>,
    /// How long, how often and how long in all such a connection is used.
    pub reuse: Reuse,
    /// The name servers that resolve its peers again; `None` where none are set for the group itself or around it.
    pub resolver: Option<Setting<Vec<String>>>,
    /// Whether the peers' state is shared among the workers.
    pub shared: bool,
    /// Whether something else than its `server` lines may choose or change its peers while the gateway runs: a script, a
    /// file of their state, an interface for it, or a directive of somebody else's module.
    pub managed: bool,
}

impl Group {
    /// Whether it is known to come to one address: such a group is never ejected (`ngx_http_upstream_round_robin.c`,
    /// `single`).
    pub fn has_one_address(&self) -> bool {
        let mut count = 0;
        self.peers.iter().all(|peer| {
            count += peer.addresses.as_ref().known().map_or(2, Vec::len);
            count <= 1
        }) && count == 1
    }
}

/// How a gateway chooses among peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// By a hash of a key, as written; `consistent` as Ketama does.
    Hash {
        /// The key.
        key: String,
        /// Whether few keys move when peers come and go.
        consistent: bool,
    },
    /// By a hash of the client's address.
    IpHash,
    /// The one with the fewest connections.
    LeastConnections,
    /// Something else: its name.
    Other(String),
    /// At random.
    Random,
    /// One after the other.
    RoundRobin,
}

/// How long idle connections to peers are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// How long one stays open without a request.
    pub timeout: Setting<Duration>,
    /// How many requests one serves.
    pub requests: Setting<u64>,
    /// How long one lives at most.
    pub time: Setting<Duration>,
}

/// One peer of a group, as written: a host name may stand for several addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// As written.
    pub text: String,
    /// The host.
    pub host: Host,
    /// The port; `None` for a unix socket.
    pub port: Option<u16>,
    /// Where it is written.
    pub at: Span,
    /// Marked as down.
    pub down: bool,
    /// Used only when no other can be.
    pub backup: bool,
    /// Resolved again while the gateway runs.
    pub resolve: bool,
    /// The service whose SRV records name the addresses.
    pub service: Option<String>,
    /// How often it is chosen compared to the others.
    pub weight: u32,
    /// Failures within `fail_timeout` that take it out; 0: never.
    pub max_fails: u32,
    /// How long failures count, and how long it stays out.
    pub fail_timeout: Duration,
    /// The most concurrent connections; 0: any number.
    pub max_conns: u32,
    /// The addresses that the gateway dials: those of a literal address, or what its name resolves to now.
    pub addresses: Observed<Vec<PeerAddress>>,
}

/// The host of a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// An IP address.
    Ip(std::net::IpAddr),
    /// A name.
    Name(String),
    /// The path of a unix socket.
    Unix(String),
}
