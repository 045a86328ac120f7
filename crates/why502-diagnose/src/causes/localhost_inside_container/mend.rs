//! What to do where a backend listens in another namespace.

use super::{Elsewhere, found};
use crate::case::Case;
use crate::causes::container_network_mismatch::connect;
use crate::finding::{Confidence, Finding};
use crate::remedy::{Remedy, Risk};
use std::net::{IpAddr, SocketAddr};
use why502_facts::Container;
use why502_model::Protocol;

pub(super) fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((address, other)) = found(case, finding) else { return Vec::new() };
    let port = address.port();
    let engines = case.engines().ok();
    let own = engines.as_ref().and_then(|engines| case.own_container(engines));
    let is_sure = finding.confidence == Confidence::Confirmed;
    if other.is_strange {
        return vec![see_whose_it_is(&other, own, address)];
    }
    let mut remedies = Vec::new();
    match (own, other.container) {
        (Some(own), Some(theirs)) => remedies.extend(by_name(case, finding, own, theirs, port)),
        _ => remedies.extend(by_address(case, finding, &other, own, port)),
    }
    if other.is_bound_to_loopback() {
        let who = case.owners(&other.listener.pids);
        let protocol = finding.peer().and_then(|peer| case.pass_to(peer)).map(|pass| pass.protocol);
        let advice = format!(
            "{who} listens on {} alone, which nobody outside of {} reaches: {}",
            other.listener.address,
            other.place(case),
            how_to_bind(protocol, other.reachable(case))
        );
        let bind = Remedy::new("Let the backend listen on an address that others reach", Risk::ShowOnly)
            .advice(advice)
            .verify("the failing request answers");
        // Without it no address helps.
        remedies.insert(0, bind);
    }
    if !is_sure {
        for remedy in &mut remedies {
            remedy.risk = Risk::ShowOnly;
        }
    }
    remedies
}

/// Where a backend may listen for others. Whoever reaches a port of FastCGI or uwsgi runs what they like there, and memcached
/// knows no password: such a port is nobody's but the gateway's.
fn how_to_bind(protocol: Option<Protocol>, reachable: Option<IpAddr>) -> String {
    match protocol {
        Some(Protocol::FastCgi | Protocol::Memcached | Protocol::Scgi | Protocol::Uwsgi) => {
            let here = reachable.map(|ip| format!(" (here {ip})")).unwrap_or_default();
            format!(
                "bind it to the address of the bridge or network that only nginx shares with it{here}, never to all addresses, or let it listen on a unix socket in a directory or volume that both see"
            )
        }
        _ => "bind it to 0.0.0.0, or to the address that nginx dials, and keep the port from strangers with the firewall"
            .to_owned(),
    }
}

/// The remedy where the engine knows nothing that ties the container to nginx's: none that leads requests to it.
fn see_whose_it_is(other: &Elsewhere<'_>, own: Option<&Container>, address: SocketAddr) -> Remedy {
    let name = |container: Option<&Container>| {
        container.map_or_else(|| "the container".to_owned(), |container| container.name.clone())
    };
    let (own, theirs) = (name(own), name(other.container));
    let advice = format!(
        "the engine knows neither a project nor a network that {own} shares with {theirs}, so {theirs} may be another project's: if the backend belongs into {own}, start it there, so that it listens on {address}; only if {theirs} is meant, attach both to one network and dial it there by its name"
    );
    Remedy::new(format!("See whose backend {theirs} is before anything is led to it"), Risk::ShowOnly)
        .advice(advice)
        .verify("the failing request answers")
}

/// By the name that the engine's name server knows on a network of both.
fn by_name(
    case: &Case<'_>,
    finding: &Finding,
    own: &Container,
    theirs: &Container,
    port: u16,
) -> Vec<Remedy> {
    let name = theirs.service.as_deref().filter(|_| own.project == theirs.project).unwrap_or(&theirs.name);
    let verify = format!("{name} resolves in {} and the failing request answers", own.name);
    let dial = Remedy::new(format!("Dial {name}:{port}, the backend's container by its name"), Risk::Review)
        .advice("nginx resolves the name when it loads its configuration: reload it when the container gets another address")
        .verify(verify.clone());
    let mut remedies: Vec<Remedy> =
        case.redial_to(dial, finding, &format!("{name}:{port}")).into_iter().collect();
    if own.shared_networks(theirs).next().is_none() {
        remedies.insert(0, connect(own, theirs).verify(verify));
    }
    remedies
}

/// By an address: the host's, as a container reaches it, or one of the other namespace.
fn by_address(
    case: &Case<'_>,
    finding: &Finding,
    other: &Elsewhere<'_>,
    own: Option<&Container>,
    port: u16,
) -> Option<Remedy> {
    let is_host = case.listed(1).and_then(|init| init.net_namespace) == Some(other.namespace.namespace);
    let is_contained = own.is_some() || case.gateway_process().is_some_and(|own| own.container.is_some());
    if is_host && is_contained {
        let gateway = own.and_then(Container::gateway).or_else(|| other.reachable(case));
        let gateway = gateway.map(|ip| format!(" (here {ip})")).unwrap_or_default();
        let remedy = Remedy::new(format!("Dial the host as host.docker.internal:{port}"), Risk::ShowOnly)
            .advice(format!("start nginx's container with `--add-host host.docker.internal:host-gateway` (Compose: `extra_hosts: [\"host.docker.internal:host-gateway\"]`): that is the host's address on the container's network{gateway}, and the backend must listen on it"))
            .verify("the failing request answers");
        return case.redial_to(remedy, finding, &format!("host.docker.internal:{port}"));
    }
    let verify = "the failing request answers";
    if let Some(ip) = other.reachable(case) {
        let target = SocketAddr::new(ip, port);
        let remedy = Remedy::new(format!("Dial {target}, an address of {}", other.place(case)), Risk::Review)
            .advice("the backend must listen on it")
            .verify(verify);
        case.redial_to(remedy, finding, &target.to_string())
    } else {
        let advice = format!(
            "bring nginx and {} onto one network (a network of the engine that both are attached to, a veth pair between the namespaces), and dial the backend's name or address there on port {port}",
            other.place(case)
        );
        Some(Remedy::new("Dial the backend where it is", Risk::ShowOnly).advice(advice).verify(verify))
    }
}
