//! How long requests and attempts took.

use crate::logs::digest::intern::shown;
use crate::logs::digest::smallest::Smallest;
use crate::logs::digest::window::MAX_NAME;
use crate::logs::format::{AccessLine, AttemptTimes};
use why502_facts::{AccessTimes, Histogram, PeerTimes};

/// The times of so many peers are kept apart.
const MAX_PEERS: usize = 64;

/// Collects the times of requests and of attempts per peer.
#[derive(Debug)]
pub(super) struct Times {
    request: Histogram,
    peers: Smallest<Box<[u8]>, PeerTimes>,
    /// Attempts that are nobody's, or whose peer is not kept apart.
    others: PeerTimes,
}

impl Default for Times {
    fn default() -> Self {
        let peers = Smallest::new(MAX_PEERS);
        Self { request: Histogram::default(), peers, others: PeerTimes::default() }
    }
}

impl Times {
    pub(super) fn count(&mut self, parsed: &AccessLine<'_>) {
        if let Some(milliseconds) = parsed.request_ms() {
            self.request.add(milliseconds);
        }
        parsed.each_attempt(&mut |peer, times| {
            let peer = &peer[..peer.len().min(MAX_NAME)];
            if let Some(known) = self.peers.get_mut(peer) {
                add(known, times);
            } else if peer.is_empty() || !self.peers.would_keep(peer) {
                // An attempt that died before a peer was chosen is nobody's.
                add(&mut self.others, times);
            } else {
                let mut first = PeerTimes::default();
                add(&mut first, times);
                self.insert(peer.into(), first);
            }
        });
    }

    /// Adds those of another part.
    pub(super) fn append(&mut self, other: Self) {
        self.request.append(&other.request);
        self.others.append(&other.others);
        for (peer, times) in other.peers.into_entries() {
            match self.peers.get_mut(&*peer) {
                Some(known) => known.append(&times),
                None => self.insert(peer, times),
            }
        }
    }

    pub(super) fn read(self) -> AccessTimes {
        let (mut attempts, peers) = (self.others, self.peers.into_entries());
        for times in peers.values() {
            attempts.append(times);
        }
        AccessTimes {
            request: self.request,
            attempts,
            peers: peers.into_iter().map(|(peer, times)| (shown(&peer).into(), times)).collect(),
        }
    }

    fn insert(&mut self, peer: Box<[u8]>, times: PeerTimes) {
        if let Some(crowded_out) = self.peers.insert_and_evict(peer, times) {
            self.others.append(&crowded_out);
        }
    }
}

fn add(known: &mut PeerTimes, times: AttemptTimes) {
    known.n_attempts += 1;
    let histograms = [&mut known.connect, &mut known.header, &mut known.response];
    for (histogram, milliseconds) in histograms.into_iter().zip([times.connect, times.header, times.response])
    {
        if let Some(milliseconds) = milliseconds {
            histogram.add(milliseconds);
        }
    }
}
