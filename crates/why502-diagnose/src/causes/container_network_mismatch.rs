//! # container-network-mismatch
//!
//! ## What happens
//!
//! nginx and the backend run in containers that share no network, or nginx dials an address of a network that it is not
//! attached to. The engine's name server then does not know the backend's name, or packets have no way: engines keep their
//! networks apart. True for every version of nginx.
//!
//! ## What you see
//!
//! `host not found in upstream`, `could not be resolved`; or `upstream timed out (110: …) while connecting to upstream`,
//! `connect() … failed (101: Network is unreachable)` or `(113: No route to host)`, although the container runs and its
//! own log is quiet.
//!
//! ## How we know
//!
//! Confirmed: the engine says that the dialled name or address is a running container's that shares no network with
//! nginx's, and nginx cannot resolve it or a probe in nginx's place gets no connection now. Without the engine's word: the
//! dialled address is one of another network namespace of this host, where somebody listens on it, and a probe finds no
//! way; that is confirmed where the kernel says that there is no route, and likely where it is silent.
//!
//! ## What would disprove it
//!
//! A network that both are attached to: then the container is down or renamed, or a rule stands between. A refusal: then
//! packets arrive.
//!
//! ## What to do
//!
//! Attach both containers to one network, and dial the backend by its name there.
//!
//! ## Not to be confused with
//!
//! `localhost-inside-container` (nginx dials its own loopback), `dns-name-not-found` (no container has the name, or it is
//! down), `upstream-connect-timeout`, `network-unreachable`, `firewall-dropped` (a rule that is not the engine's own).
//!
//! ## References
//!
//! Docker: "Networking overview", "Packet filtering and firewalls" (the chains DOCKER-ISOLATION-STAGE-1 and -2), embedded DNS
//! server 127.0.0.11. Linux: network_namespaces(7).

use super::names::{not_loaded, unresolved};
use crate::case::{Case, Engines, FailureId, PeerSubject, Reach, Subject, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::net::{IpAddr, SocketAddr};
use why502_facts::{Ask, Container, Errno, NamespaceSockets, Observed, Phase, Phrase};
use why502_model::Span;

pub(super) static CAUSE: Cause = Cause {
    id: "container-network-mismatch",
    layer: Layer::Connect,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502, 504],
    scope: Scope::PeerOrRoute,
    supersedes: &[
        "connect-timeout-too-short",
        "dns-name-not-found",
        "dns-server-unreachable",
        "firewall-dropped",
        "firewall-rejected",
        "host-unreachable",
        "network-unreachable",
        "resolver-ignores-system-names",
        "resolver-wrong-server",
        "upstream-connect-timeout",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("container_network_mismatch.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    match subject {
        Subject::Peer(peer) => detect_address(case, subject, peer),
        Subject::Route(_) | Subject::Nowhere => detect_name(case, subject),
        Subject::Gateway | Subject::Group(_) => Ok(Ruling::NoSign),
    }
}

/// A name that nginx cannot resolve, and the failures that say so.
struct Unknown {
    name: String,
    at: Option<Span>,
    failures: Vec<FailureId>,
    evidence: Option<Evidence>,
}

fn unknown_names(case: &Case<'_>, subject: &Subject) -> Vec<Unknown> {
    let pass = subject.route().and_then(|route| case.pass_of(route, None));
    // Without name servers of its own the engine's answers that it failed, and with them that there is no such name.
    let for_requests =
        unresolved(case, subject).into_iter().filter(|name| name.phrase == Phrase::NameNotResolved);
    let for_requests = for_requests.map(|name| Unknown {
        evidence: name.evidence(),
        at: pass.map(|pass| pass.at.clone()),
        name: name.name,
        failures: name.failures,
    });
    let at_load = subject.route().map(|route| not_loaded(case, route)).unwrap_or_default();
    let at_load = at_load.into_iter().filter(|name| name.may_be_host).map(|name| Unknown {
        evidence: Some(Evidence::supporting(
            format!("{:?} is resolved when the configuration is loaded, and is not known then", name.name),
            Origin::File(name.at.clone()),
        )),
        name: name.name,
        at: Some(name.at),
        failures: Vec::new(),
    });
    for_requests.chain(at_load).collect()
}

fn detect_name(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let names = unknown_names(case, subject);
    if names.is_empty() || case.gateway_process().is_none_or(|own| own.container.is_none()) {
        return Ok(Ruling::NoSign);
    }
    let engines = case.engines()?;
    let Some(own) = case.own_container(&engines) else { return Ok(Ruling::NoSign) };
    for name in names {
        let Some((socket, theirs)) = called(&engines, own, &name.name) else { continue };
        if !theirs.is_running() {
            return ended(case, socket, theirs);
        }
        if own.shared_networks(theirs).next().is_some()
            || (own.meets(theirs) && theirs.user_networks().next().is_none())
        {
            continue;
        }
        let finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
            .explaining(name.failures)
            .still_failing(Some(true))
            .with(name.evidence)
            .with([apart(socket, own, theirs)])
            .at(name.at);
        return Ok(Ruling::found(finding));
    }
    Ok(Ruling::NoSign)
}

/// The other container that the engine's name server would call so: one that runs before one that does not.
fn called<'e>(engines: &'e Engines<'_>, own: &Container, name: &str) -> Option<(&'e str, &'e Container)> {
    let others = engines.containers().filter(|(_, other)| other.id != own.id && other.is_called(name));
    others.max_by_key(|(_, other)| {
        (other.is_running(), other.project.is_some() && other.project == own.project)
    })
}

/// The container of that name does not run: that, and no network, keeps its name from being known.
fn ended(case: &Case<'_>, socket: &str, theirs: &Container) -> Result<Ruling, Asks> {
    let id = theirs.id.chars().take(12).collect::<String>();
    let ask = Ask::Container { socket: socket.to_owned(), id: id.clone() };
    let how = match or_ask(case.facts.container(socket, &id))? {
        Observed::Known(detail) => {
            let code = detail.exit_code.map(|code| format!(" with code {code}")).unwrap_or_default();
            let memory = if detail.oom_killed { ", killed for its memory limit" } else { "" };
            let at = detail.finished.map(|at| format!(" at {at}")).unwrap_or_default();
            format!("{code}{memory}{at}")
        }
        Observed::Absent | Observed::Unknown(_) => String::new(),
    };
    let says = format!(
        "the container {} is {}{how}: its name is known only while it runs",
        theirs.name, theirs.state
    );
    Ok(Ruling::RuledOut(vec![Evidence::against(says, origin(&ask))]))
}

fn origin(ask: &Ask) -> Origin {
    let socket = match ask {
        Ask::Container { socket, .. } | Ask::Engine { socket } => socket.as_str(),
        _ => "",
    };
    Origin::Host(socket.to_owned())
}

fn apart(socket: &str, own: &Container, theirs: &Container) -> Evidence {
    let networks = |container: &Container| {
        let names: Vec<&str> = container.attachments.iter().map(|own| own.network.as_str()).collect();
        if names.is_empty() { "no network".to_owned() } else { names.join(", ") }
    };
    let says = format!(
        "the engine says that {} is attached to {}, and nginx's container {} to {}",
        theirs.name,
        networks(theirs),
        own.name,
        networks(own)
    );
    Evidence::supporting(says, origin(&Ask::Engine { socket: socket.to_owned() }))
}

/// What a dialled address leads to.
enum Owner<'c> {
    /// A container of the engine behind a socket, and nginx's own.
    Container(String, &'c Container, &'c Container),
    /// A network namespace that has this address, where somebody listens.
    Namespace(&'c NamespaceSockets),
}

fn detect_address(case: &Case<'_>, subject: &Subject, peer: &PeerSubject) -> Result<Ruling, Asks> {
    let Some(address) = peer.address.inet().filter(|own| !own.ip().is_loopback()) else {
        return Ok(Ruling::NoSign);
    };
    let logged: Vec<_> = case
        .symptoms_of(peer)
        .filter(|(_, _, symptom)| {
            symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::Connecting)
                || WITHOUT_WAY.iter().any(|errno| symptom.connect_failed(*errno))
        })
        .collect();
    let failures: Vec<FailureId> = logged.iter().map(|(id, ..)| *id).collect();
    let reach = or_ask(case.reach(peer))?;
    let now = match reach {
        Observed::Known(Reach::Silent) => true,
        Observed::Known(Reach::Failed(errno)) => WITHOUT_WAY.contains(&errno),
        _ => false,
    };
    let is_gone = matches!(reach, Observed::Known(Reach::Connected | Reach::Failed(_))) && !now;
    if (logged.is_empty() && !now)
        || is_gone
        || case.is_apart() == Some(false)
        || case.is_local(&peer.address)
    {
        return Ok(Ruling::NoSign);
    }
    let Some(owner) = owner(case, address)? else { return Ok(Ruling::NoSign) };
    let no_route = matches!(reach, Observed::Known(Reach::Failed(Errno::NetworkUnreachable)));
    let confidence = match owner {
        Owner::Container(..) if now => Confidence::Confirmed,
        Owner::Namespace(_) if no_route => Confidence::Confirmed,
        _ => Confidence::Likely,
    };
    let line = Case::lines_evidence(logged, |n| format!("{} found no way", count(n, "connection attempt")));
    let probed = now.then(|| {
        let says = match reach {
            Observed::Known(Reach::Failed(errno)) => {
                format!("a connection fails now ({})", errno.words().to_lowercase())
            }
            _ => "a connection attempt gets no answer now".to_owned(),
        };
        Evidence::supporting(says, case.probe_origin(peer))
    });
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(failures)
        .still_failing(now.then_some(true))
        .with(line.into_iter().chain(probed))
        .with([whose(case, &owner, address)])
        .at(case.written_at(peer));
    finding.fails_clients_now = now && case.is_felt(peer);
    Ok(Ruling::found(finding))
}

/// The errors of a connection attempt for which there is no way.
const WITHOUT_WAY: [Errno; 3] = [Errno::HostUnreachable, Errno::NetworkUnreachable, Errno::TimedOut];

/// Whose address is dialled, if it is one of a network that nginx is not attached to.
fn owner<'c>(case: &'c Case<'_>, address: SocketAddr) -> Result<Option<Owner<'c>>, Asks> {
    let engines = case.engines()?;
    if let Some(own) = case.own_container(&engines) {
        let mut theirs =
            engines.containers().filter(|(_, other)| other.is_running() && other.has_address(address.ip()));
        if let Some((socket, theirs)) = theirs.next() {
            // On a common network something else stands between.
            return Ok((!own.meets(theirs)).then(|| Owner::Container(socket.to_owned(), own, theirs)));
        }
        if engines.gap.is_none() {
            return Ok(None);
        }
    }
    let Observed::Known(others) = or_ask(case.other_sockets())? else { return Ok(None) };
    let own = case.sockets().known().map(|table| table.addresses.as_slice()).unwrap_or_default();
    let is_near = own.iter().any(|own| may_be_one_network(*own, address.ip()));
    let is_there = |other: &&NamespaceSockets| {
        other.table.addresses.contains(&address.ip()) && other.table.accepting(address).next().is_some()
    };
    Ok(others.namespaces.iter().find(is_there).filter(|_| !is_near).map(Owner::Namespace))
}

/// Whether two addresses may be of one network: engines give networks of 16 bits from 172.16.0.0/12, and smaller ones else.
fn may_be_one_network(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let [first, second, ..] = one.octets();
            let length = if first == 172 && (16..32).contains(&second) { 16 } else { 24 };
            (one.to_bits() ^ other.to_bits()).leading_zeros() >= length
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= 64,
        _ => false,
    }
}

fn whose(case: &Case<'_>, owner: &Owner<'_>, address: SocketAddr) -> Evidence {
    match owner {
        Owner::Container(socket, own, theirs) => apart(socket, own, theirs),
        Owner::Namespace(other) => {
            let pids: Vec<u32> = other.table.accepting(address).flat_map(|own| own.pids.clone()).collect();
            let says = format!(
                "{} is an address of another network namespace of this host, where {} listens on it",
                address.ip(),
                case.owners(&pids)
            );
            Evidence::supporting(says, Case::other_sockets_origin(other.pid))
        }
    }
}

/// The remedy that attaches nginx's container to a network of another one.
pub(super) fn connect(own: &Container, theirs: &Container) -> Remedy {
    let Some(network) = theirs.user_networks().next() else {
        let advice = format!(
            "docker network create NAME, then docker network connect NAME for {} and {}: in the default network containers do not know each other by name",
            own.name, theirs.name
        );
        return Remedy::new("Make a network for both containers", Risk::ShowOnly).advice(advice);
    };
    Remedy::new(format!("Attach {} to the network {network}", own.name), Risk::Review)
        .command(
            &["docker", "network", "connect", network, &own.name],
            &[&["docker", "network", "disconnect", network, &own.name]],
        )
        .advice(format!(
            "and keep it: name {network} under `networks:` of nginx's service, or in `docker run --network`"
        ))
}

/// What a finding is about, seen again: nginx's container and the other one, if the engine tells them, and how nginx calls
/// that.
fn pair<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<(&'c Container, &'c Container, String)> {
    if let Some(address) = finding.peer().and_then(|peer| peer.address.inet()) {
        return match owner(case, address).ok()?? {
            Owner::Container(_, own, theirs) => Some((own, theirs, address.to_string())),
            Owner::Namespace(_) => None,
        };
    }
    let engines = case.engines().ok()?;
    let own = case.own_container(&engines)?;
    let names = finding.subjects.iter().flat_map(|subject| unknown_names(case, subject));
    names.into_iter().find_map(|name| {
        let (_, theirs) = called(&engines, own, &name.name)?;
        let theirs = engines.container(&theirs.id)?;
        Some((own, theirs, name.name))
    })
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let title = match pair(case, finding) {
        Some((own, theirs, dialled)) => {
            format!(
                "{dialled} is the container {}, which shares no network with nginx's container {}",
                theirs.name, own.name
            )
        }
        None => format!(
            "{} is in another network namespace of this host, and nginx has no way to it",
            finding.address()
        ),
    };
    let why = if finding.peer().is_some() {
        "The engine keeps its networks apart: what is sent from one to an address of another gets no answer. nginx's attempt to \
         connect ends with an error or with its connect timeout."
    } else {
        "The engine's name server tells a container only the names of those that share a network with it. nginx gets no address \
         for the name and answers 502, or does not load the configuration."
    };
    Explanation {
        title,
        why: why.to_owned(),
        wont_help: vec![
            "restarting either container: its networks stay the same".to_owned(),
            "raising proxy_connect_timeout: no answer is on the way".to_owned(),
            "another `resolver`: only the engine's knows containers by name".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let verify = "the failing request answers";
    let Some((own, theirs, _)) = pair(case, finding) else {
        let advice = "attach nginx and the backend to one network (a network of the engine, a veth pair between the namespaces), and dial the backend's name or address there";
        return vec![
            Remedy::new("Bring both onto one network", Risk::ShowOnly).advice(advice).verify(verify),
        ];
    };
    let mut remedies = vec![connect(own, theirs).verify(verify)];
    if let Some(address) = finding.peer().and_then(|peer| peer.address.inet()) {
        let target = format!("{}:{}", theirs.name, address.port());
        let remedy =
            Remedy::new(format!("Then dial {target}: addresses of containers change"), Risk::ShowOnly)
                .verify(verify);
        remedies.extend(case.redial_to(remedy, finding, &target));
    }
    remedies
}

#[cfg(test)]
mod tests;
