//! The addresses that a gateway may pass requests to, as subjects.

use super::lookup::passes;
use super::{Failure, PeerSubject};
use std::collections::{BTreeMap, BTreeSet};
use why502_facts::PeerAddress;
use why502_model::{Gateway, GroupId, Pass, RouteId, Target};

/// The addresses that the configuration leads to, and those that failures name.
pub(super) fn peers(gateway: &Gateway, failures: &[Failure]) -> Vec<PeerSubject> {
    let routes = routes_by_group(gateway);
    let mut found: BTreeMap<(Option<GroupId>, PeerAddress), PeerSubject> = BTreeMap::new();
    for (group, routes) in &routes {
        // What is marked as down is not dialled; a failure of the time before that may still name it.
        let dialled = gateway.group(*group).peers.iter().enumerate().filter(|(_, peer)| !peer.down);
        for (place, peer) in dialled {
            for address in peer.addresses.as_ref().known().into_iter().flatten() {
                let subject = PeerSubject {
                    group: Some(*group),
                    place: Some(place),
                    address: address.clone(),
                    routes: routes.iter().copied().collect(),
                };
                found.entry((Some(*group), address.clone())).or_insert(subject);
            }
        }
    }
    for failure in failures {
        for symptom in &failure.symptoms {
            let Some(address) = &symptom.peer else { continue };
            let route = symptom.route.or(failure.route);
            let group = route.and_then(|route| group_of(gateway, route, address));
            let subject = found.entry((group, address.clone())).or_insert_with(|| PeerSubject {
                group,
                place: group.and_then(|group| place_of(gateway, group, address)),
                address: address.clone(),
                routes: Vec::new(),
            });
            if let Some(route) = route
                && !subject.routes.contains(&route)
            {
                subject.routes.push(route);
                subject.routes.sort();
            }
        }
    }
    found.into_values().collect()
}

/// The groups that routes pass to, with these routes.
fn routes_by_group(gateway: &Gateway) -> BTreeMap<GroupId, BTreeSet<RouteId>> {
    let mut groups: BTreeMap<GroupId, BTreeSet<RouteId>> = BTreeMap::new();
    for (id, route) in gateway.routes() {
        for group in passes(route).filter_map(group_of_pass) {
            groups.entry(group).or_default().insert(id);
        }
    }
    groups
}

/// The group that a pass names.
pub(super) fn group_of_pass(pass: &Pass) -> Option<GroupId> {
    if let Target::Group(group) = pass.target { Some(group) } else { None }
}

/// The group of a route that an address belongs to, or once belonged to: the one that has it, else the only one.
fn group_of(gateway: &Gateway, route: RouteId, address: &PeerAddress) -> Option<GroupId> {
    let route = gateway.route(route);
    let groups: BTreeSet<GroupId> = passes(route).filter_map(group_of_pass).collect();
    let has_it = |group: &GroupId| place_of(gateway, *group, address).is_some();
    if let Some(own) = groups.iter().copied().find(has_it) {
        return Some(own);
    }
    let by_variable = |pass: &Pass| matches!(pass.target, Target::Unresolved(_));
    if passes(route).any(by_variable) {
        let mut named = gateway.groups().map(|(id, _)| id).filter(has_it);
        return named.next().filter(|_| named.next().is_none());
    }
    if groups.len() == 1 { groups.first().copied() } else { None }
}

/// The place of an address among the peers of a group.
fn place_of(gateway: &Gateway, group: GroupId, address: &PeerAddress) -> Option<usize> {
    let has_it = |addresses: &Vec<PeerAddress>| addresses.contains(address);
    gateway.group(group).peers.iter().position(|peer| peer.addresses.as_ref().known().is_some_and(has_it))
}
