//! What speaks for the race and against it.

use super::Lost;
use crate::case::{Case, PeerSubject};
use crate::causes::idle_timeouts::millis;
use crate::durations::seconds;
use crate::finding::{Evidence, Origin};
use std::collections::BTreeSet;
use why502_facts::{Blob, ProbeOutcome, StepKind};
use why502_model::GroupId;

/// Of a hundred requests of its routes a race loses no more than that.
const MAX_SHARE: u64 = 10;
/// So many of them in one second may be chance.
const MAX_AT_ONCE: u64 = 2;

/// That the gateway repeated a request where nothing but a kept connection lets it.
pub(super) fn repeated(lost: &[Lost<'_>]) -> Option<Evidence> {
    let line = lost.iter().rev().find_map(|(_, failure, _)| failure.access_line.clone())?;
    let says =
        "nginx repeated a request at the only address, which it does for a connection that was used before";
    Some(Evidence::supporting(says, Origin::Log(line)))
}

/// For how long the gateway keeps idle connections.
pub(super) fn kept(case: &Case<'_>, group: GroupId) -> Evidence {
    match (case.keeps_idle(group), &case.gateway.group(group).reuse.timeout.at) {
        (None, _) => {
            Evidence::supporting("this version of nginx keeps idle connections for ever", Origin::Derived)
        }
        (Some(kept), Some(at)) => {
            let says = format!("keepalive_timeout {} is in force for the group", seconds(millis(kept)));
            Evidence::supporting(says, Origin::File(at.clone()))
        }
        (Some(kept), None) => {
            let says =
                format!("no keepalive_timeout is set for the group: {} by default", seconds(millis(kept)));
            Evidence::supporting(says, Origin::Derived)
        }
    }
}

/// Whether few of the requests of a peer's routes were lost so, as far as an access log tells their number.
pub(super) fn are_few(case: &Case<'_>, peer: &PeerSubject, lost: &[Lost<'_>]) -> bool {
    let total: u64 = peer.routes.iter().filter_map(|route| case.n_total(*route)).sum();
    total > 0 && n_requests(lost) * 100 <= total * MAX_SHARE
}

/// Whether they were lost at moments apart: an idle connection that is closed takes no more than one request with it.
pub(super) fn are_apart(lost: &[Lost<'_>]) -> bool {
    let moments: BTreeSet<i64> = lost.iter().map(|(_, failure, _)| failure.at.0 / 1000).collect();
    n_requests(lost) <= MAX_AT_ONCE * moments.len() as u64
}

fn n_requests(lost: &[Lost<'_>]) -> u64 {
    lost.iter().map(|(_, failure, _)| failure.weight).sum()
}

/// That the peer gives no answer on a new connection either.
pub(super) fn fails_anew(case: &Case<'_>, peer: &PeerSubject) -> Option<Evidence> {
    let report = case.probe(peer).known()?;
    let ended = matches!(report.outcome(StepKind::Receive)?, ProbeOutcome::Closed | ProbeOutcome::Failed(_));
    let says = "asked directly on a new connection, the peer gives no answer either";
    (ended && report.received == Blob::default()).then(|| Evidence::against(says, case.probe_origin(peer)))
}
