//! Numbers and names of a finding: impact, places, keys.

use super::{Explains, Impact, Place, RouteInfo};
use crate::case::{Case, Failure, PeerSubject, Subject, Symptom};
use crate::cause::ActsOn;
use crate::finding::Finding;
use std::collections::BTreeSet;
use why502_facts::{Stamp, lossy, mask_secrets};
use why502_model::{Group, RouteId, Span};

/// The routes that a finding touches: those where its failures were made, those of its subjects, and those that clients
/// came to.
pub(super) fn routes(case: &Case<'_>, finding: &Finding) -> Vec<RouteId> {
    let of_failures: BTreeSet<RouteId> =
        finding.explains.iter().filter_map(|id| case.failure(*id).route).collect();
    let of_subjects: BTreeSet<RouteId> = finding
        .subjects
        .iter()
        .flat_map(|subject| match subject {
            Subject::Gateway | Subject::Nowhere => Vec::new(),
            Subject::Group(group) => case
                .gateway
                .routes()
                .filter(|(id, _)| case.pass_of(*id, Some(*group)).is_some())
                .map(|(id, _)| id)
                .collect(),
            Subject::Peer(peer) => peer.routes.clone(),
            Subject::Route(route) => vec![*route],
        })
        .collect();
    let mut routes: Vec<RouteId> = of_failures.iter().copied().collect();
    routes.extend(of_subjects.difference(&of_failures));
    // The chief one is that of the URL that was asked for, else that with the most failures.
    let weight = |route: &RouteId| {
        let ids = finding.explains.iter().filter(|id| case.failure(**id).route == Some(*route));
        (case.asked_route().is_some_and(|(asked, _)| asked == *route), case.n_requests(ids))
    };
    let entries = finding.explains.iter().filter_map(|id| case.failure(*id).entry);
    let others: BTreeSet<RouteId> = entries.filter(|entry| !routes.contains(entry)).collect();
    routes.sort_by_cached_key(|route| (std::cmp::Reverse(weight(route)), *route));
    routes.extend(others);
    routes
}

/// The addresses that a finding touches, the chief one first: those that it is about, else those that its failed requests
/// were passed to.
pub(super) fn peers(case: &Case<'_>, finding: &Finding) -> Vec<String> {
    let own: Vec<String> =
        finding.subjects.iter().filter_map(Subject::peer).map(|peer| peer.address.to_string()).collect();
    if !own.is_empty() {
        return own;
    }
    let mut dialled: Vec<String> = Vec::new();
    for address in
        attempts(case, finding).filter_map(|attempt| attempt.peer.as_ref()).map(ToString::to_string)
    {
        if !dialled.contains(&address) {
            dialled.push(address);
        }
    }
    // Without upstream fields a route's only address is the one that answered.
    if dialled.is_empty() && finding.cause.acts_on == ActsOn::Upstream {
        let routes: Vec<RouteId> = finding.subjects.iter().filter_map(Subject::route).collect();
        let is_of_it = |peer: &&PeerSubject| peer.routes.iter().any(|route| routes.contains(route));
        let mut addresses = case.peers.iter().filter(is_of_it).map(|peer| peer.address.to_string());
        if let (Some(only), None) = (addresses.next(), addresses.next()) {
            dialled.push(only);
        }
    }
    dialled
}

/// The group that a finding touches: the one that it is about, else the one that its failed requests were passed to.
pub(super) fn group<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<&'c Group> {
    let own = finding.subjects.iter().find_map(Subject::group);
    let of_attempt = || {
        let by_name = attempts(case, finding).find_map(|attempt| match (&attempt.peer, &attempt.group) {
            (Some(address), _) => case.peers.iter().find(|peer| peer.address == *address)?.group,
            (None, Some(name)) => {
                let mut groups = case.gateway.groups();
                groups.find(|(_, group)| group.name.as_ref() == Some(name)).map(|(id, _)| id)
            }
            (None, None) => None,
        });
        let by_peer = || {
            let only = peers(case, finding).into_iter().next()?;
            case.peers.iter().find(|peer| peer.address.to_string() == only)?.group
        };
        by_name.or_else(by_peer)
    };
    own.or_else(of_attempt).map(|id| case.gateway.group(id))
}

/// The last attempts of the requests that a finding explains.
fn attempts<'c>(case: &'c Case<'_>, finding: &Finding) -> impl Iterator<Item = &'c Symptom> {
    finding.explains.iter().filter_map(|id| case.failure(*id).attempts().next_back())
}

/// A route as a report tells it.
pub(super) fn route_info(case: &Case<'_>, id: RouteId) -> RouteInfo {
    let route = case.gateway.route(id);
    RouteInfo {
        server: case.gateway.server_of(route).name().to_owned(),
        location: route.location.clone(),
        file: route.at.file.to_string(),
        line: route.at.line,
    }
}

/// A place with its line.
pub(super) fn place(case: &Case<'_>, at: &Span) -> Place {
    Place {
        file: at.file.to_string(),
        line: at.line,
        column: at.column,
        text: case.source_line(at).map(|line| masked(&line)),
        length: at.end.saturating_sub(at.begin).max(1),
    }
}

/// A text without its secrets.
pub(super) fn masked(text: &str) -> String {
    lossy(&mask_secrets(text.as_bytes()))
}

/// The first failure that a finding explains; its onset may lie before the window.
pub(crate) fn first_seen(case: &Case<'_>, finding: &Finding) -> Option<Stamp> {
    let failures: Vec<&Failure> = finding.explains.iter().map(|id| case.failure(*id)).collect();
    let onset =
        case.earlier.iter().filter(|earlier| failures.iter().any(|failure| same_kind(failure, earlier)));
    failures.iter().copied().chain(onset).map(|failure| failure.at).min()
}

/// What a finding explains.
pub(super) fn explains(case: &Case<'_>, finding: &Finding) -> Explains {
    let last = finding.explains.iter().map(|id| case.failure(*id).at).max();
    Explains {
        requests: case.n_requests(&finding.explains),
        first_seen: first_seen(case, finding).map(|at| at.to_string()),
        last_seen: last.map(|at| at.to_string()),
        still_failing: finding.still_failing,
    }
}

/// Whether two failures are of one kind: the same route and the same last symptom on the same peer.
fn same_kind(one: &Failure, other: &Failure) -> bool {
    let symptom = |failure: &Failure| {
        failure
            .last()
            .map(|last| (last.phrase, last.errno, last.phase, last.peer.clone(), last.group.clone()))
    };
    one.route == other.route && symptom(one) == symptom(other)
}

/// How much of the traffic of the routes that clients came to fails, from the finding's first failure on.
pub(super) fn impact(case: &Case<'_>, finding: &Finding) -> Option<Impact> {
    let failed = case.n_requests(&finding.explains);
    if failed == 0 {
        return None;
    }
    let entries: BTreeSet<RouteId> =
        finding.explains.iter().filter_map(|id| case.failure(*id).entry).collect();
    let total: u64 = entries.into_iter().map(|route| case.n_total(route)).sum::<Option<u64>>()?;
    match failed.saturating_mul(100) / total.max(failed) {
        90.. => Some(Impact::Outage),
        5..90 => Some(Impact::Partial),
        _ => Some(Impact::Sporadic),
    }
}

/// The statuses that clients saw.
pub(super) fn statuses(case: &Case<'_>, finding: &Finding) -> Vec<u16> {
    let seen: BTreeSet<u16> = finding
        .explains
        .iter()
        .map(|id| case.failure(*id))
        .filter(|failure| !failure.is_hidden())
        .filter_map(|failure| failure.status)
        .collect();
    // An answer that broke off had a good status.
    let mut visible =
        finding.explains.iter().map(|id| case.failure(*id)).filter(|failure| !failure.is_hidden());
    let is_cut =
        visible.next().is_some_and(|first| std::iter::once(first).chain(visible).all(Failure::is_cut_off));
    match seen.is_empty() {
        true if is_cut => vec![200],
        true => finding.cause.statuses.to_vec(),
        false => seen.into_iter().collect(),
    }
}
