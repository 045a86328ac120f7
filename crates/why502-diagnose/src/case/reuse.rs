//! Attempts on connections that may have been used before, and were lost.

use super::{Case, Failure, FailureId, PeerSubject, Symptom};
use std::time::Duration;
use why502_facts::{Errno, Phase, Phrase};
use why502_model::{GroupId, Pass, Protocol, Version};

/// The version since which the gateway itself ends idle connections to peers (CHANGES 1.15.3).
const ENDS_IDLE: Version = Version(1, 15, 3);
/// A peer that is slower than that, in milliseconds, took the request: the end of an idle connection is seen within one
/// turn of the network.
const MAX_TURN: u32 = 500;

/// Whether the connection of an attempt that got no answer had been used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reuse {
    /// It had not, or the peer worked on the request.
    Excluded,
    /// Nothing tells.
    Open,
    /// The gateway repeated the request at the same address, as it does only then.
    Shown,
}

impl Case<'_> {
    /// The attempts on a peer that ended without an answer, each with whether its connection had been used before; none
    /// where the gateway keeps no connections to it.
    pub(crate) fn losses<'s>(
        &'s self,
        peer: &'s PeerSubject,
    ) -> impl Iterator<Item = (FailureId, &'s Failure, &'s Symptom, Reuse)> {
        let lost = self.symptoms_of(peer).filter(|(_, _, symptom)| is_lost(symptom));
        lost.filter_map(move |(id, failure, symptom)| {
            let pass = self.kept_pass(peer, failure)?;
            Some((id, failure, symptom, self.reuse(peer, pass, failure, symptom)))
        })
    }

    /// For how long the gateway keeps an idle connection to a peer of a group; `None`: for ever.
    pub(crate) fn keeps_idle(&self, group: GroupId) -> Option<Duration> {
        let ends = self.gateway.is_at_least(ENDS_IDLE) != Some(false);
        ends.then_some(self.gateway.group(group).reuse.timeout.value)
    }

    /// The pass of a failed attempt, if it keeps connections open.
    fn kept_pass(&self, peer: &PeerSubject, failure: &Failure) -> Option<&Pass> {
        let pass = match failure.route {
            Some(route) => self.pass_of(route, peer.group)?,
            None => self.pass_to(peer)?,
        };
        pass.keeps_alive.then_some(pass)
    }

    fn reuse(&self, peer: &PeerSubject, pass: &Pass, failure: &Failure, symptom: &Symptom) -> Reuse {
        let tried = symptom.tried.as_ref();
        // Of a kept connection the time to connect is that of no turn at all (`ngx_http_upstream_connect`, NGX_DONE).
        let is_new = tried.is_some_and(|tried| tried.connect_ms.is_some_and(|ms| ms > 0));
        let took = tried.and_then(|tried| tried.response_ms).or_else(|| {
            // The time of the request is that of its only attempt.
            failure.request_ms.filter(|_| failure.attempts().count() == 1 && !failure.is_hidden())
        });
        if is_new || took.is_some_and(|ms| ms > MAX_TURN) {
            return Reuse::Excluded;
        }
        let mut later = failure.attempts().skip_while(|own| !std::ptr::eq(*own, symptom)).skip(1);
        let repeated = later.next();
        if repeated.is_some_and(|next| next.peer == symptom.peer && !is_elsewhere(next)) {
            return Reuse::Shown;
        }
        if repeated.is_some() {
            return Reuse::Open;
        }
        if failure.is_hidden() {
            // What saved it was another attempt, and there is one address for it alone.
            let is_only_way = !failure.tries_logged
                && self.is_single(peer)
                && pass.cache.is_none()
                && failure.route.is_some_and(|route| self.gateway.route(route).fallbacks.is_empty());
            return if is_only_way { Reuse::Shown } else { Reuse::Open };
        }
        // A client that has gone is sent nothing more; without an access log nobody knows how the request ended.
        let is_final = failure.status_logged && failure.status != Some(499);
        if is_final && may_repeat(pass, failure) { Reuse::Excluded } else { Reuse::Open }
    }
}

/// Whether an attempt ended after it was begun to be sent, and before an answer came.
fn is_lost(symptom: &Symptom) -> bool {
    let is_broken = matches!(symptom.phrase, Some(Phrase::ReceiveFailed | Phrase::SendFailed))
        && matches!(symptom.errno, Some(Errno::ConnectionReset | Errno::BrokenPipe));
    let is_closed = symptom.is(Phrase::PrematureClose) || symptom.is(Phrase::FastCgiClosedEarly);
    let is_sent = matches!(symptom.phase, Some(Phase::SendingRequest | Phase::ReadingHeader));
    ((is_broken || is_closed) && is_sent) || symptom.is_quietly_unanswered()
}

/// Whether an attempt was made in another place than the one before it.
fn is_elsewhere(attempt: &Symptom) -> bool {
    attempt.subrequest.is_some() || attempt.tried.as_ref().is_some_and(|tried| tried.redirected)
}

/// Whether the gateway repeats a request that failed on a kept connection, which costs none of its tries
/// (`ngx_http_upstream_next`: `u->peer.cached`).
fn may_repeat(pass: &Pass, failure: &Failure) -> bool {
    let conditions = &pass.retry.conditions;
    let names = |condition: &str| conditions.value.iter().any(|own| own == condition);
    let is_named = !names("off") && (conditions.at.is_none() || names("error"));
    let by_method = match failure.method.as_deref() {
        Some("GET" | "HEAD" | "OPTIONS") => true,
        // What was read from the client only once cannot be sent twice.
        Some("PUT" | "DELETE") => pass.buffers_request.value,
        _ => false,
    };
    // Of gRPC nothing is repeated whose stream the peer may have seen.
    is_named && by_method && pass.retry.timeout.value.is_zero() && pass.protocol != Protocol::Grpc
}
