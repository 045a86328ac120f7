//! Where a target leads: to which addresses, in whose place they are dialled, and as which route speaks to them.

use super::text::Form;
use super::{TargetKind, TargetQuestion};
use crate::case::{Case, passes};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use why502_facts::{Ask, Facts, Gap, GapReason, Observed, PeerAddress, Resolver, Security};
use why502_model::{Group, GroupId, Host, Model, Pass, Peer, RouteId, Span, Target};

/// Where a target leads.
pub(super) struct Found<'c> {
    pub(super) kind: TargetKind,
    /// The case of the gateway that dials it; `None`: it is dialled as this program itself.
    pub(super) case: Option<&'c Case<'c>>,
    pub(super) group: Option<GroupId>,
    /// The route whose settings are used.
    pub(super) route: Option<RouteId>,
    /// Where the group or the address is written.
    pub(super) at: Option<Span>,
    pub(super) peers: Vec<FoundPeer<'c>>,
    pub(super) notes: Vec<String>,
}

/// A place that a target leads to: an address as written, or a name that stands for several.
pub(super) struct FoundPeer<'c> {
    pub(super) text: String,
    /// The ask for its addresses, if it is a name.
    pub(super) name: Option<Ask>,
    pub(super) addresses: Observed<Vec<PeerAddress>>,
    pub(super) down: bool,
    pub(super) backup: bool,
    /// The route that leads to it, with its pass.
    pub(super) way: Option<(RouteId, &'c Pass)>,
}

/// A target that the configuration does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchTarget {
    /// What is not there.
    pub says: String,
    /// The names of what is there, if the target may be one of them mistyped.
    pub known: Vec<String>,
}

/// Finds a target.
pub(super) fn find<'c>(
    facts: &Facts,
    model: &Model,
    cases: &'c [Case<'c>],
    question: &TargetQuestion,
) -> Result<Found<'c>, NoSuchTarget> {
    let inet = |host: &str, port| free_peer(facts, model, cases, host, port);
    match &question.target.form {
        Form::Name(name) => find_group(cases, name).ok_or_else(|| no_group(cases, name)),
        Form::Path(path) => find_route(cases).ok_or_else(|| no_route(cases, path)),
        Form::Unix(path) | Form::UrlToUnix { socket: path, .. } => {
            let address = PeerAddress::Unix(path.clone());
            Ok(find_address(cases, address.to_string(), None, Observed::Known(vec![address])))
        }
        Form::Address { host, port } => Ok(inet(host, *port)),
        Form::Url { scheme, host, port, .. } => {
            if let Some(found) = find_group(cases, host).filter(|_| port.is_none()) {
                return Ok(found);
            }
            let port = port.or(scheme.port).ok_or_else(|| NoSuchTarget {
                says: format!("{} names no port, and its scheme has no usual one", question.target.text),
                known: Vec::new(),
            })?;
            if question.target.served_url().is_some()
                && cases.iter().any(|case| case.gateway.serves_by_name(host, port))
                && let Some(found) = find_route(cases)
            {
                return Ok(found);
            }
            Ok(inet(host, port))
        }
    }
}

/// The group of that name.
fn find_group<'c>(cases: &'c [Case<'c>], name: &str) -> Option<Found<'c>> {
    let named = |case: &Case<'_>| {
        case.gateway.groups().find(|(_, group)| group.name.as_deref() == Some(name)).map(|(id, _)| id)
    };
    let mut found = cases.iter().filter_map(|case| Some((case, named(case)?)));
    let (case, id) = found.next()?;
    let group = case.gateway.group(id);
    let way = way_to(case, id);
    let mut notes = Vec::new();
    let n_others = found.count();
    if n_others > 0 {
        notes.push(format!("{n_others} more nginx here has an upstream {name}: --pid or --config chooses"));
    }
    if group.managed {
        notes
            .push("what runs in nginx may have given the group other peers than its server lines".to_owned());
    }
    Some(Found {
        kind: TargetKind::Group,
        case: Some(case),
        group: Some(id),
        route: way.map(|(route, _)| route),
        at: Some(group.at.clone()),
        peers: group.peers.iter().map(|peer| configured_peer(case, peer, way)).collect(),
        notes,
    })
}

/// The peers that the request of the URL of a run may be passed to.
fn find_route<'c>(cases: &'c [Case<'c>]) -> Option<Found<'c>> {
    let found = cases.iter().find_map(|case| {
        let (entry, _) = case.asked_route()?;
        let ways = ways(case, entry);
        (!ways.is_empty()).then_some((case, entry, ways))
    });
    let (case, entry, ways) = found?;
    let mut notes = Vec::new();
    let mut peers = Vec::new();
    let mut group = None;
    for (route, pass) in &ways {
        match &pass.target {
            Target::Group(id) => {
                group = group.or(Some(*id));
                let own = &case.gateway.group(*id).peers;
                peers.extend(own.iter().map(|peer| configured_peer(case, peer, Some((*route, pass)))));
            }
            Target::Unresolved(_) => notes.push(format!(
                "whom {}:{} passes to is only known when a request comes ({}): name the address itself",
                pass.at.file, pass.at.line, pass.text
            )),
        }
    }
    let (route, pass) = *ways.first()?;
    if route != entry {
        let location = |route| case.gateway.route(route).location.as_deref().unwrap_or("the server itself");
        notes.push(format!(
            "a request comes to {} first, and may go on to {}",
            location(entry),
            location(route)
        ));
    }
    Some(Found {
        kind: TargetKind::Route,
        case: Some(case),
        group,
        route: Some(route),
        at: Some(pass.at.clone()),
        peers,
        notes,
    })
}

/// The passes that a request of a route may come to, that of the route itself first, each group once.
fn ways<'c>(case: &'c Case<'c>, entry: RouteId) -> Vec<(RouteId, &'c Pass)> {
    let reachable = case.gateway.reachable(entry);
    let routes = std::iter::once(entry).chain(reachable.into_iter().filter(|route| *route != entry));
    let mut seen = BTreeSet::new();
    let all = routes.flat_map(|route| passes(case.gateway.route(route)).map(move |pass| (route, pass)));
    all.filter(|(_, pass)| match pass.target {
        Target::Group(group) => seen.insert(group),
        Target::Unresolved(_) => true,
    })
    .collect()
}

/// An address or a name that was typed.
fn free_peer<'c>(facts: &Facts, model: &Model, cases: &'c [Case<'c>], host: &str, port: u16) -> Found<'c> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        let address = PeerAddress::Inet(SocketAddr::new(ip, port));
        return find_address(cases, address.to_string(), None, Observed::Known(vec![address]));
    }
    let security = security_of(model);
    let ask = Ask::Resolve { security, name: host.to_owned(), resolver: Resolver::System };
    let addresses = facts.addresses(security, host).map(|found| {
        found.iter().map(|ip| PeerAddress::Inet(SocketAddr::new(*ip, port))).collect::<Vec<_>>()
    });
    find_address(cases, format!("{host}:{port}"), Some(ask), addresses)
}

/// In whose place a target is dialled that no gateway names: that of the first one that runs.
fn security_of(model: &Model) -> Security {
    let running = model.gateways.iter().map(|gateway| gateway.security);
    running.into_iter().find(|security| *security != Security::Own).unwrap_or(Security::Own)
}

/// A target outside of all groups; where it is an address that a gateway passes to, it is spoken to as there.
fn find_address<'c>(
    cases: &'c [Case<'c>],
    text: String,
    name: Option<Ask>,
    addresses: Observed<Vec<PeerAddress>>,
) -> Found<'c> {
    let typed = addresses.as_ref().known().cloned().unwrap_or_default();
    let is_it = |peer: &Peer| {
        let own = peer.addresses.as_ref().known();
        peer.text == text || own.is_some_and(|own| own.iter().any(|address| typed.contains(address)))
    };
    let named = cases.iter().find_map(|case| {
        let (id, group) = case.gateway.groups().find(|(_, group)| group.peers.iter().any(is_it))?;
        Some((case, id, group, group.peers.iter().find(|peer| is_it(peer))?))
    });
    let running = || cases.iter().find(|case| case.gateway.security != Security::Own);
    let way = named.and_then(|(case, id, ..)| way_to(case, id));
    let peer = FoundPeer {
        text,
        name,
        addresses,
        down: named.is_some_and(|(.., peer)| peer.down),
        backup: named.is_some_and(|(.., peer)| peer.backup),
        way,
    };
    Found {
        kind: TargetKind::Address,
        case: named.map(|(case, ..)| case).or_else(running),
        group: named.map(|(_, id, ..)| id),
        route: way.map(|(route, _)| route),
        at: named.map(|(.., peer)| peer.at.clone()),
        peers: vec![peer],
        notes: Vec::new(),
    }
}

/// The first route that passes to a group, with its pass.
fn way_to<'c>(case: &'c Case<'c>, group: GroupId) -> Option<(RouteId, &'c Pass)> {
    case.routes_to(group).find_map(|route| Some((route, case.pass_of(route, Some(group))?)))
}

fn configured_peer<'c>(case: &Case<'_>, peer: &Peer, way: Option<(RouteId, &'c Pass)>) -> FoundPeer<'c> {
    let name = match &peer.host {
        Host::Name(name) => Some(Ask::Resolve {
            security: case.gateway.security,
            name: name.clone(),
            resolver: Resolver::System,
        }),
        Host::Ip(_) | Host::Unix(_) => None,
    };
    FoundPeer {
        text: peer.text.clone(),
        name,
        addresses: peer.addresses.clone(),
        down: peer.down,
        backup: peer.backup,
        way,
    }
}

fn no_group(cases: &[Case<'_>], name: &str) -> NoSuchTarget {
    let names = |group: &Group| group.name.clone();
    let mut known: Vec<String> =
        cases.iter().flat_map(|case| case.gateway.groups().filter_map(|(_, group)| names(group))).collect();
    known.sort();
    known.dedup();
    NoSuchTarget { says: format!("no upstream is called {name}"), known }
}

fn no_route(cases: &[Case<'_>], path: &str) -> NoSuchTarget {
    let route = cases.iter().find_map(|case| {
        let (route, _) = case.asked_route()?;
        Some(case.gateway.route(route))
    });
    let says = match route {
        Some(route) => format!(
            "{path} is served by {} at {}:{}, which passes nothing on",
            route
                .location
                .as_deref()
                .map_or("the server".to_owned(), |location| format!("location {location}")),
            route.at.file,
            route.at.line
        ),
        None => format!("no location serves {path}"),
    };
    NoSuchTarget { says, known: Vec::new() }
}

/// What is still to be asked before the addresses of a typed name are known.
pub(super) fn name_to_ask(facts: &Facts, found: &Found<'_>) -> Option<Ask> {
    let ask = found.peers.iter().find_map(|peer| match &peer.addresses {
        Observed::Unknown(Gap { why: GapReason::NotYet, .. }) => peer.name.clone(),
        _ => None,
    })?;
    matches!(facts.look(&ask), Observed::Unknown(Gap { why: GapReason::NotYet, .. })).then_some(ask)
}
