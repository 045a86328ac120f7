//! Requests that follow each other and are alike, counted together.

use super::record::Seen;
use why502_facts::Stamp;

/// In milliseconds.
pub(super) const MINUTE: i64 = 60_000;

/// Requests of one route, status and minute that followed each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// The first of them in the log.
    pub(super) seen: Seen,
    /// The begin of their minute.
    pub(super) begin: i64,
    pub(super) n_requests: u64,
    /// The earliest of them.
    pub(super) first: Stamp,
    /// The latest of them.
    pub(super) last: Stamp,
}

impl Run {
    /// A run of one request.
    pub(super) fn of(seen: Seen) -> Self {
        let begin = seen.at.0.saturating_sub(seen.at.0.rem_euclid(MINUTE));
        Self { seen, begin, n_requests: 1, first: seen.at, last: seen.at }
    }

    /// Takes the next request, if it is like the others.
    pub(super) fn take(&mut self, seen: Seen) -> bool {
        let is_alike = seen.status == self.seen.status
            && seen.route == self.seen.route
            && (0..MINUTE).contains(&seen.at.0.wrapping_sub(self.begin));
        if is_alike {
            self.n_requests += 1;
            self.first = self.first.min(seen.at);
            self.last = self.last.max(seen.at);
        }
        is_alike
    }
}
