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
    attempts: PeerTimes,
    peers: Smallest<Box<[u8]>, PeerTimes>,
}

impl Default for Times {
    fn default() -> Self {
        let peers = Smallest::new(MAX_PEERS);
        Self { request: Histogram::default(), attempts: PeerTimes::default(), peers }
    }
}

impl Times {
    pub(super) fn count(&mut self, parsed: &AccessLine<'_>) {
        if let Some(milliseconds) = parsed.request_ms() {
            self.request.add(milliseconds);
        }
        parsed.each_attempt(&mut |peer, times| {
            add(&mut self.attempts, times);
            // An attempt that died before a peer was chosen is nobody's.
            let peer = &peer[..peer.len().min(MAX_NAME)];
            if peer.is_empty() {
                return;
            }
            if let Some(known) = self.peers.get_mut(peer) {
                add(known, times);
            } else if self.peers.would_keep(peer) {
                let mut first = PeerTimes::default();
                add(&mut first, times);
                self.peers.insert(peer.into(), first);
            }
        });
    }

    /// Adds those of another part.
    pub(super) fn append(&mut self, other: Self) {
        self.request.append(&other.request);
        self.attempts.append(&other.attempts);
        for (peer, times) in other.peers.into_entries() {
            match self.peers.get_mut(&*peer) {
                Some(known) => known.append(&times),
                None => self.peers.insert(peer, times),
            }
        }
    }

    pub(super) fn read(self) -> AccessTimes {
        let peers = self.peers.into_entries().into_iter();
        AccessTimes {
            request: self.request,
            attempts: self.attempts,
            peers: peers.map(|(peer, times)| (shown(&peer).into(), times)).collect(),
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
