//! How long connections to upstreams took to be made, per route and peer.

use super::record::{Scribe, last_element};
use crate::logs::digest::intern::shown;
use crate::logs::digest::routes::{RouteId, at_route};
use crate::logs::digest::smallest::Smallest;
use crate::logs::digest::window::MAX_NAME;
use crate::logs::format::{AccessLine, Field, milliseconds};
use why502_facts::{Histogram, PeerConnects};

/// The times of so many peers of a route are kept.
const MAX_PEERS: usize = 64;

/// Collects the times of connections that requests were answered on.
#[derive(Debug, Default)]
pub(super) struct Connects {
    per_route: Vec<Smallest<Box<[u8]>, Histogram>>,
}

impl Connects {
    /// Counts a request of a route that succeeded at the first attempt, on a connection that took a while.
    pub(super) fn count(&mut self, parsed: &AccessLine<'_>, route: RouteId, peer: &[u8]) {
        let took = parsed.raw(Field::UpstreamConnectTime).map(last_element).and_then(milliseconds);
        let Some(took) = took.filter(|took| *took > 0) else { return };
        if let Some(times) = self.times(route, &peer[..peer.len().min(MAX_NAME)]) {
            times.add(took);
        }
    }

    /// The times of a route's peer; `None` where they are not kept.
    fn times(&mut self, route: RouteId, peer: &[u8]) -> Option<&mut Histogram> {
        let peers = at_route(&mut self.per_route, route, || Smallest::new(MAX_PEERS));
        if peers.get_mut(peer).is_none() {
            if !peers.would_keep(peer) {
                return None;
            }
            peers.insert(peer.into(), Histogram::default());
        }
        peers.get_mut(peer)
    }

    /// Adds those of a later part, whose routes have other places.
    pub(super) fn append(&mut self, later: Self, routes: &[RouteId]) {
        for (peers, &route) in later.per_route.into_iter().zip(routes) {
            for (peer, others) in peers.into_entries() {
                if let Some(times) = self.times(route, &peer) {
                    times.append(&others);
                }
            }
        }
    }

    /// By route and peer.
    pub(super) fn read(self, scribe: &Scribe<'_>) -> Vec<PeerConnects> {
        let mut read = Vec::new();
        for (route, peers) in scribe.route_names().iter().zip(self.per_route) {
            let told = peers.into_entries().into_iter().map(|(peer, times)| PeerConnects {
                route: route.clone(),
                peer: shown(&peer).as_ref().into(),
                times,
            });
            read.extend(told);
        }
        read.sort_by(|one, other| (&one.route, &one.peer).cmp(&(&other.route, &other.peer)));
        read
    }
}
