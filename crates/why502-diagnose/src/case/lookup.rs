//! What a case has, by what rules ask for: a host with thousands of servers has as many subjects, and no rule may walk
//! all failures, peers or routes for each of them.

use super::{Failure, FailureId, PeerSubject, Success};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use why502_facts::PeerAddress;
use why502_model::{Action, Gateway, GroupId, Pass, Route, RouteId, Target};

/// Places in the lists of a case, each in the order of its list.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    pub(super) failures_of_route: HashMap<Option<RouteId>, Vec<FailureId>>,
    /// By the addresses that attempts went to.
    pub(super) failures_of_address: HashMap<PeerAddress, Vec<FailureId>>,
    pub(super) peers_of_route: HashMap<RouteId, Vec<usize>>,
    pub(super) peers_of_group: HashMap<Option<GroupId>, Vec<usize>>,
    pub(super) peers_of_address: HashMap<PeerAddress, Vec<usize>>,
    pub(super) successes_of_route: HashMap<RouteId, Vec<usize>>,
    /// Those whose address the log tells.
    pub(super) successes_of_address: HashMap<PeerAddress, Vec<usize>>,
    /// The routes that pass, or may pass, to a group.
    pub(super) routes_of_group: HashMap<GroupId, Vec<RouteId>>,
    /// The addresses that the gateway listens on, by port.
    pub(super) listens_of_port: HashMap<u16, Vec<IpAddr>>,
    /// The paths of the unix sockets that it listens on.
    pub(super) listen_paths: HashSet<String>,
    /// The requests of the window per route; empty where no access log tells.
    pub(super) totals_of_route: HashMap<RouteId, u64>,
}

impl Lookup {
    pub(super) fn new(
        gateway: &Gateway,
        failures: &[Failure],
        peers: &[PeerSubject],
        successes: &[Success],
        totals: Option<&BTreeMap<(Option<RouteId>, u16), u64>>,
    ) -> Self {
        let mut lookup = Self { routes_of_group: routes_of_group(gateway), ..Self::default() };
        for listen in gateway.servers.iter().flat_map(|server| &server.listens) {
            if let Some(address) = listen.address {
                let own = lookup.listens_of_port.entry(address.port()).or_default();
                if !own.contains(&address.ip()) {
                    own.push(address.ip());
                }
            }
            lookup.listen_paths.extend(listen.path.clone());
        }
        for (at, failure) in failures.iter().enumerate() {
            let id = FailureId(at);
            lookup.failures_of_route.entry(failure.route).or_default().push(id);
            for address in failure.symptoms.iter().filter_map(|symptom| symptom.peer.as_ref()) {
                let ids = lookup.failures_of_address.entry(address.clone()).or_default();
                if ids.last() != Some(&id) {
                    ids.push(id);
                }
            }
        }
        for (at, peer) in peers.iter().enumerate() {
            lookup.peers_of_group.entry(peer.group).or_default().push(at);
            lookup.peers_of_address.entry(peer.address.clone()).or_default().push(at);
            for route in &peer.routes {
                lookup.peers_of_route.entry(*route).or_default().push(at);
            }
        }
        for (at, success) in successes.iter().enumerate() {
            if let Some(route) = success.route {
                lookup.successes_of_route.entry(route).or_default().push(at);
            }
            if let Some(address) = &success.peer {
                lookup.successes_of_address.entry(address.clone()).or_default().push(at);
            }
        }
        for ((route, _), count) in totals.into_iter().flatten() {
            if let Some(route) = route {
                *lookup.totals_of_route.entry(*route).or_default() += count;
            }
        }
        lookup
    }
}

/// The passes of a route: its own, and those of its conditions.
pub(crate) fn passes(route: &Route) -> impl Iterator<Item = &Pass> {
    let conditional = route.conditionals.iter().filter_map(|conditional| conditional.action.as_ref());
    std::iter::once(&route.action).chain(conditional).filter_map(Action::pass)
}

/// The name of the group that a value of a variable target would choose: `http://NAME`, or `NAME` alone.
pub(super) fn group_name(value: &str) -> &str {
    value.rsplit("//").next().unwrap_or(value)
}

fn routes_of_group(gateway: &Gateway) -> HashMap<GroupId, Vec<RouteId>> {
    let mut by_name: HashMap<&str, Vec<GroupId>> = HashMap::new();
    for (id, group) in gateway.groups() {
        if let Some(name) = &group.name {
            by_name.entry(name.as_str()).or_default().push(id);
        }
    }
    let mut routes: HashMap<GroupId, Vec<RouteId>> = HashMap::new();
    for (id, route) in gateway.routes() {
        for pass in passes(route) {
            let groups = match &pass.target {
                Target::Group(group) => vec![*group],
                Target::Unresolved(unresolved) => {
                    let named = |value: &String| by_name.get(group_name(value)).cloned().unwrap_or_default();
                    unresolved.values.iter().flat_map(named).collect()
                }
            };
            for group in groups {
                let routes = routes.entry(group).or_default();
                if routes.last() != Some(&id) {
                    routes.push(id);
                }
            }
        }
    }
    routes
}
