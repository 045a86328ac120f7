//! What the causes that lie on the way to a peer have in common.

use crate::case::{Case, PeerSubject};
use crate::finding::{Evidence, Origin};
use std::net::{IpAddr, SocketAddr};
use why502_facts::{
    Ask, EchoRecord, Errno, IcmpError, IcmpMeaning, Neighbour, NeighbourState, Observed, PathToPeer,
    PeerAddress, Security,
};

/// The size of an echo request that fits through everything (`ping` sends as much).
const SMALL: u16 = 84;

impl Case<'_> {
    /// The way to a peer, as the kernel tells it to the gateway.
    pub(super) fn path_to(&self, peer: &PeerSubject, target: SocketAddr) -> Observed<&PathToPeer> {
        self.facts.route(self.gateway.security, target, self.bound_address(peer), None)
    }

    /// The way of packets that the gateway sends with a mark, from an address.
    pub(super) fn path_marked(
        &self,
        target: SocketAddr,
        source: Option<IpAddr>,
        mark: Option<u32>,
    ) -> Observed<&PathToPeer> {
        self.facts.route(self.gateway.security, target, source, mark)
    }

    /// The way to an address, as the kernel tells it in the network namespace of a process; `None`: in this program's own.
    pub(super) fn path_from(&self, pid: Option<u32>, target: SocketAddr) -> Observed<&PathToPeer> {
        let security = if pid == self.gateway.master {
            self.gateway.security
        } else {
            pid.map_or(Security::Own, Security::Process)
        };
        self.facts.route(security, target, None, None)
    }

    /// What answers a small ICMP echo request to a peer's address.
    pub(super) fn echo_of(&self, target: IpAddr) -> Observed<&EchoRecord> {
        self.facts.echo(self.gateway.security, target, &[SMALL])
    }

    /// Where echo requests of some sizes stand in a report.
    pub(super) fn echo_origin(&self, target: IpAddr, sizes: &[u16]) -> Origin {
        Origin::Probe(Ask::Echo { security: self.gateway.security, target, sizes: sizes.to_vec() })
    }

    /// Where the small echo request stands in a report.
    pub(super) fn small_echo_origin(&self, target: IpAddr) -> Origin {
        self.echo_origin(target, &[SMALL])
    }

    /// Whether an address is one of this host.
    pub(super) fn is_own(&self, ip: IpAddr) -> bool {
        self.is_local(&PeerAddress::Inet(SocketAddr::new(ip, 0)))
    }

    /// An error of a certain meaning that somebody on the way said of packets to a peer: neither this host nor the peer itself, of
    /// which only a packet filter says that it is not to be reached.
    pub(super) fn said_on_the_way(
        &self,
        target: IpAddr,
        errors: impl IntoIterator<Item = IcmpError>,
        meaning: IcmpMeaning,
    ) -> Option<(IpAddr, IcmpError)> {
        errors.into_iter().filter(|error| error.meaning() == meaning).find_map(|error| {
            let router = error.offender.filter(|ip| *ip != target && !self.is_own(*ip))?;
            Some((router, error))
        })
    }
}

/// Where the kernel's look-up of a route can be repeated.
pub(super) fn route_origin(target: SocketAddr) -> Origin {
    Origin::Host(format!("ip route get {} ipproto tcp dport {}", target.ip(), target.port()))
}

/// The neighbour that packets to an address go to first, where it was asked for and does not answer.
pub(super) fn silent_neighbour(path: &PathToPeer, target: IpAddr) -> Option<&Neighbour> {
    let neighbour = path.next_neighbour(target)?;
    matches!(neighbour.state, NeighbourState::Failed | NeighbourState::Incomplete).then_some(neighbour)
}

/// The evidence that a neighbour does not answer.
pub(super) fn neighbour_evidence(path: &PathToPeer, neighbour: &Neighbour) -> Evidence {
    let device = path.link(neighbour.device).map_or("its device", |link| link.name.as_str());
    let says = format!(
        "{} was asked for on {device} and does not answer: its entry is {}",
        neighbour.address,
        neighbour.state.word()
    );
    Evidence::supporting(says, Origin::Host(format!("ip neighbour show to {}", neighbour.address)))
}

/// `EHOSTUNREACH (113: No route to host)`.
pub(super) fn errno_words(errno: Errno) -> String {
    format!("{} ({}: {})", errno.name(), errno.number(), errno.words())
}
