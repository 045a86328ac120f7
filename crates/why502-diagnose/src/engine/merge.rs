//! Equal rulings over the peers of a group and the routes of a server are one finding.

use crate::case::{Case, Subject};
use crate::finding::Finding;
use why502_model::GroupId;

/// What findings must share to be one.
#[derive(PartialEq, Eq)]
enum Place {
    Gateway,
    Group(GroupId),
    /// A target that only a request decides: by its routes' server.
    Server(usize),
}

/// Merges findings of one cause about one group or server that are equally sure and equally alive.
pub(super) fn merge(case: &Case<'_>, findings: Vec<Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    for finding in findings {
        let same = merged.iter_mut().find(|known| {
            known.cause.id == finding.cause.id
                && known.confidence == finding.confidence
                && known.still_failing == finding.still_failing
                && place(case, known) == place(case, &finding)
        });
        match same {
            Some(known) => absorb(known, finding),
            None => merged.push(finding),
        }
    }
    merged
}

fn place(case: &Case<'_>, finding: &Finding) -> Place {
    match finding.subjects.first() {
        None | Some(Subject::Gateway | Subject::Nowhere) => Place::Gateway,
        Some(Subject::Group(group)) => Place::Group(*group),
        Some(Subject::Route(route)) => Place::Server(case.gateway.route(*route).server),
        Some(Subject::Peer(peer)) => match (peer.group, peer.routes.first()) {
            (Some(group), _) => Place::Group(group),
            (None, Some(route)) => Place::Server(case.gateway.route(*route).server),
            (None, None) => Place::Gateway,
        },
    }
}

fn absorb(known: &mut Finding, other: Finding) {
    known.subjects.extend(other.subjects);
    known.explains.extend(other.explains);
    known.fails_clients_now |= other.fails_clients_now;
    for evidence in other.evidence {
        if !known.evidence.contains(&evidence) {
            known.evidence.push(evidence);
        }
    }
    for open in other.open {
        if !known.open.contains(&open) {
            known.open.push(open);
        }
    }
    for at in other.at {
        if !known.at.contains(&at) {
            known.at.push(at);
        }
    }
}
