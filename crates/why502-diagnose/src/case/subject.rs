//! What a ruling is about.

use why502_facts::PeerAddress;
use why502_model::{GroupId, RouteId};

/// What one ruling is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The gateway as a whole.
    Gateway,
    /// A group of peers.
    Group(GroupId),
    /// The failures whose route is not known: without a configuration, or because a log does not tell.
    Nowhere,
    /// An address that is dialled.
    Peer(PeerSubject),
    /// A route.
    Route(RouteId),
}

impl Subject {
    /// The peer, if it is one. Rules of that scope are only called with one.
    pub(crate) fn peer(&self) -> Option<&PeerSubject> {
        if let Self::Peer(peer) = self { Some(peer) } else { None }
    }

    /// The route, if it is one.
    pub(crate) fn route(&self) -> Option<RouteId> {
        if let Self::Route(route) = self { Some(*route) } else { None }
    }

    /// The group: itself, or that of the peer.
    pub(crate) fn group(&self) -> Option<GroupId> {
        match self {
            Self::Group(group) => Some(*group),
            Self::Peer(peer) => peer.group,
            Self::Gateway | Self::Nowhere | Self::Route(_) => None,
        }
    }
}

/// An address that the gateway dials, or dialled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerSubject {
    /// The group; `None` for a target that only a request decides.
    pub(crate) group: Option<GroupId>,
    /// The place in the group; `None` if the address is none of the group's (any more).
    pub(crate) place: Option<usize>,
    pub(crate) address: PeerAddress,
    /// The routes that pass to it, sorted.
    pub(crate) routes: Vec<RouteId>,
}

impl PeerSubject {
    /// Whether a route passes to it.
    pub(crate) fn is_of(&self, route: RouteId) -> bool {
        self.routes.binary_search(&route).is_ok()
    }
}
