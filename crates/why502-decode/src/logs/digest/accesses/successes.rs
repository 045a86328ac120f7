//! The last success of each route and peer.

use super::record::{Scribe, Seen};
use crate::logs::digest::line_place::{KeptPlace, LinePlace};
use crate::logs::digest::routes::{RouteId, at_route};
use crate::logs::digest::smallest::Smallest;
use crate::logs::format::AccessFormat;
use std::ops::Range;
use why502_facts::AccessRecord;

/// So many peers of a route are remembered.
const MAX_PEERS: usize = 64;
/// A longer line is no example of a success.
const MAX_LINE: usize = 8192;

/// Remembers lines, and reads them again at the end. Of lines that were pushed together, only the last ones are copied.
#[derive(Debug, Default)]
pub(super) struct Successes {
    per_route: Vec<Smallest<Box<[u8]>, Success>>,
    /// The routes with lines that were not copied yet, each perhaps several times.
    unsettled: Vec<RouteId>,
}

#[derive(Debug)]
struct Success {
    place: KeptPlace,
    line: Vec<u8>,
    /// Where the line stands among those that were pushed with it, until it is copied.
    unsettled: Option<Range<usize>>,
}

impl Successes {
    /// Remembers a line by where it stands among those that were pushed with it, which [`Self::settle`] is told next;
    /// `peer` is empty where the format has none.
    pub(super) fn remember(&mut self, place: LinePlace<'_>, line: Range<usize>, route: RouteId, peer: &[u8]) {
        if line.len() > MAX_LINE {
            return;
        }
        let peers = at_route(&mut self.per_route, route, || Smallest::new(MAX_PEERS));
        if let Some(last) = peers.get_mut(peer) {
            last.place.replace(place);
            if last.unsettled.replace(line).is_some() {
                return;
            }
        } else if peers.would_keep(peer) {
            let first = Success { place: place.keep(), line: Vec::new(), unsettled: Some(line) };
            peers.insert(peer.into(), first);
        } else {
            return;
        }
        if self.unsettled.last() != Some(&route) {
            self.unsettled.push(route);
        }
    }

    /// Copies what has to be kept of the lines that were pushed together.
    pub(super) fn settle(&mut self, lines: &[u8]) {
        for route in self.unsettled.drain(..) {
            for success in at_route(&mut self.per_route, route, || Smallest::new(MAX_PEERS)).values_mut() {
                if let Some(line) = success.unsettled.take() {
                    success.line.clear();
                    success.line.extend_from_slice(&lines[line]);
                }
            }
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
            for (peer, Success { place, line, .. }) in peers.into_entries() {
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
