//! The last success of each route and peer.

use super::record::{Scribe, Seen};
use crate::logs::digest::line_place::{KeptPlace, LinePlace};
use crate::logs::digest::routes::{RouteId, at_route};
use crate::logs::digest::smallest::Smallest;
use crate::logs::format::AccessFormat;
use why502_facts::AccessRecord;

/// So many peers of a route are remembered.
const MAX_PEERS: usize = 64;
/// A longer line is no example of a success.
const MAX_LINE: usize = 8192;

/// Remembers lines, and reads them again at the end: a success that is not the last one costs a copy of its bytes.
#[derive(Debug, Default)]
pub(super) struct Successes {
    per_route: Vec<Smallest<Box<[u8]>, Success>>,
}

#[derive(Debug)]
struct Success {
    place: KeptPlace,
    line: Vec<u8>,
}

impl Successes {
    /// Remembers a line; `peer` is empty where the format has none.
    pub(super) fn remember(&mut self, place: LinePlace<'_>, line: &[u8], route: RouteId, peer: &[u8]) {
        if line.len() > MAX_LINE {
            return;
        }
        let peers = at_route(&mut self.per_route, route, || Smallest::new(MAX_PEERS));
        if let Some(last) = peers.get_mut(peer) {
            last.place.replace(place);
            last.line.clear();
            last.line.extend_from_slice(line);
        } else if peers.would_keep(peer) {
            peers.insert(peer.into(), Success { place: place.keep(), line: line.to_vec() });
        }
    }

    /// Adds those of a later part, whose routes have other places.
    pub(super) fn append(&mut self, later: Self, routes: &[RouteId], n_before: u64) {
        for (peers, &route) in later.per_route.into_iter().zip(routes) {
            let mine = at_route(&mut self.per_route, route, || Smallest::new(MAX_PEERS));
            for (peer, mut success) in peers.into_entries() {
                success.place.seq += n_before;
                match mine.get_mut(&*peer) {
                    Some(known) => *known = success,
                    None => mine.insert(peer, success),
                }
            }
        }
    }

    /// Reads the lines, ordered by route and peer.
    pub(super) fn read(self, format: &AccessFormat, scribe: &mut Scribe<'_>) -> Vec<AccessRecord> {
        let mut read = Vec::new();
        for (idx, peers) in self.per_route.into_iter().enumerate() {
            let name = scribe.route_names()[idx].clone();
            for (peer, Success { place, line }) in peers.into_entries() {
                let Some(parsed) = format.parse(&line) else { continue };
                let (Some(at), Some(status)) = (parsed.stamp(), parsed.status()) else { continue };
                let seen = Seen { at, status, route: scribe.route(&parsed) };
                read.push((
                    (name.clone(), peer),
                    scribe.record(&parsed, seen, place.place().quote(&format.masked(&line))),
                ));
            }
        }
        read.sort_by(|(one, _), (other, _)| one.cmp(other));
        read.into_iter().map(|(_, record)| record).collect()
    }
}
