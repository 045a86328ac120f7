//! # localhost-inside-container
//!
//! ## What happens
//!
//! nginx runs in a container or a network namespace of its own and dials 127.0.0.1, `localhost` or ::1. That is its own
//! loopback, and the backend listens on the host or in another container, where this address does not lead. The kernel
//! answers with a reset. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() failed (111: Connection refused) while connecting to upstream`, a 502 at once; `curl localhost:PORT` on the
//! host works.
//!
//! ## How we know
//!
//! nginx's network namespace is not the host's, nothing listens on that port in it, and somebody listens on that port in
//! another network namespace of this host. Confirmed: only one does, and something ties it to nginx: its process bears the
//! upstream's name, or the engine says that both containers are of one project or share a network. Likely: only one does,
//! and nothing speaks against it; that it speaks the route's protocol is no tie, since every PHP-FPM does. Possible: several
//! do, its process bears another name, or the engine says that its container has neither a project nor a network in common
//! with nginx's: then it may be another project's, and no remedy is one to apply.
//!
//! ## What would disprove it
//!
//! A request that this address answered to this nginx: then the backend was inside, and is gone. A socket on that port in
//! nginx's own namespace, on whatever address (`upstream-wrong-interface`).
//!
//! ## What to do
//!
//! Dial the backend's container by its name on a network that both are attached to; dial a backend on the host by
//! `host.docker.internal` with `extra_hosts: host-gateway`, and let it listen on more than its own loopback: FastCGI and uwsgi
//! never on all addresses, since whoever reaches such a port runs what they like.
//!
//! ## Not to be confused with
//!
//! `upstream-not-listening` (nobody listens anywhere), `upstream-wrong-interface` (it listens in the same namespace),
//! `container-network-mismatch` (another container's name or address is dialled, and no network is shared).
//!
//! ## References
//!
//! Linux: network_namespaces(7). Docker: "Networking overview", `--add-host host.docker.internal:host-gateway`. nginx:
//! `ngx_http_upstream_test_connect`.

mod mend;

use self::mend::remedies;
use super::refused::{Refusal, refusal};
use super::ties::{speaks_otherwise, strength_of};
use crate::case::{Case, Engines, Subject, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use std::net::{IpAddr, SocketAddr};
use why502_facts::{Container, Listener, NamespaceSockets, Observed, PeerAddress};

pub(super) static CAUSE: Cause = Cause {
    id: "localhost-inside-container",
    layer: Layer::Connect,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["upstream-not-listening"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("localhost_inside_container.rs"),
};

/// The programs with which engines publish a port of a container on the host: what listens behind them is meant.
const PUBLISHERS: [&str; 4] = ["docker-proxy", "pasta", "rootlessport", "slirp4netns"];

/// Who listens on the dialled port in another network namespace.
struct Elsewhere<'c> {
    namespace: &'c NamespaceSockets,
    listener: &'c Listener,
    /// The container of its process, as the engine tells it.
    container: Option<&'c Container>,
    strength: Confidence,
    /// What ties its container to nginx's.
    tie: Option<String>,
    /// Whether the engine knows both containers, and nothing that they have in common.
    is_strange: bool,
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(refusal) = refusal(case, subject)? else { return Ok(Ruling::NoSign) };
    let Some(is_apart_seen) = is_sign(case, &refusal) else { return Ok(Ruling::NoSign) };
    let found = elsewhere(case, &refusal)?;
    let Some(first) = found.first() else { return Ok(Ruling::NoSign) };
    if let Some((_, line)) = case.last_success(refusal.peer) {
        let says = format!("{} answered this nginx, so the backend was inside", refusal.address);
        return Ok(Ruling::RuledOut(vec![Evidence::against(says, Origin::Log(line.clone()))]));
    }
    let is_only = found.iter().filter(|other| other.rank() == first.rank()).count() == 1;
    let confidence = match first.rank() {
        _ if !is_only => Confidence::Possible,
        Confidence::Confirmed if !is_apart_seen => Confidence::Likely,
        strength => strength,
    };
    let port = refusal.address.port();
    let own = case.gateway.master.unwrap_or_default();
    let place = case.place_of(own);
    let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
    let apart = format!(
        "nginx is in a network namespace of its own{place}: {} is its own loopback",
        refusal.address.ip()
    );
    let nobody = format!("nothing listens on port {port} in it");
    let finding = refusal
        .finding(case, &CAUSE, confidence, subject)
        .still_failing(Some(true))
        .with([
            Evidence::supporting(apart, Origin::Host(format!("/proc/{own}/ns/net"))),
            Evidence::supporting(nobody, case.sockets_origin()),
        ])
        .with(found.iter().take(3).map(|other| other.evidence(case)));
    // What ties containers to each other only their engine tells.
    let open = case.engines()?.gap.filter(|_| confidence < Confidence::Confirmed);
    Ok(Ruling::found(finding.open(open.map(|gap| Case::open(gap, "what the engine says of the containers")))))
}

/// Whether a refusal is one of nginx's own loopback in a namespace of its own, where nothing listens on that port: then
/// whether that namespace was seen to be its own.
fn is_sign(case: &Case<'_>, refusal: &Refusal<'_>) -> Option<bool> {
    let is_closed = case.sockets().known()?.on_port(refusal.address.port()).next().is_none();
    let is_apart = case.is_apart();
    let is_contained = || case.gateway_process().is_some_and(|own| own.container.is_some());
    let is_sign = refusal.address.ip().is_loopback()
        && refusal.led.is_none()
        && is_closed
        && !refusal.is_gone()
        && is_apart.unwrap_or_else(is_contained);
    is_sign.then_some(is_apart.is_some())
}

/// Who listens on that port in other namespaces, the surest first.
fn elsewhere<'c>(case: &'c Case<'_>, refusal: &Refusal<'_>) -> Result<Vec<Elsewhere<'c>>, Asks> {
    let Observed::Known(others) = or_ask(case.other_sockets())? else { return Ok(Vec::new()) };
    let port = refusal.address.port();
    let all: Vec<(&NamespaceSockets, &Listener)> = others
        .namespaces
        .iter()
        .flat_map(|own| own.table.on_port(port).map(move |listener| (own, listener)))
        .filter(|(_, own)| !is_published(case, own) && !speaks_otherwise(case, refusal.peer, &own.pids))
        .collect();
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let engines = case.engines()?;
    let own = case.own_container(&engines);
    let (mut found, mut asks): (Vec<Elsewhere<'_>>, _) = (Vec::new(), Asks::new());
    for (namespace, listener) in all {
        let address = PeerAddress::Inet(listener.address);
        match strength_of(case, refusal.peer, &address, &listener.pids) {
            Err(more) => asks.extend(more),
            Ok(None) => {}
            Ok(Some(strength)) => {
                let container = container_of(case, &engines, namespace, listener);
                let both = own.zip(container);
                let tie = both.and_then(|(own, theirs)| tie(own, theirs));
                let is_strange = both.is_some_and(|(own, theirs)| are_strangers(own, theirs));
                let known = found.iter_mut().find(|known| known.namespace.namespace == namespace.namespace);
                match known {
                    // One service listens on both families.
                    Some(known) if known.strength >= strength => {}
                    Some(known) => (known.listener, known.strength) = (listener, strength),
                    None => {
                        found.push(Elsewhere { namespace, listener, container, strength, tie, is_strange });
                    }
                }
            }
        }
    }
    if !asks.is_empty() {
        return Err(asks);
    }
    found.sort_by_key(|other| (std::cmp::Reverse(other.rank()), other.namespace.namespace));
    Ok(found)
}

fn is_published(case: &Case<'_>, listener: &Listener) -> bool {
    let is_publisher =
        |pid: &u32| case.listed(*pid).is_some_and(|own| PUBLISHERS.contains(&own.comm.as_str()));
    listener.pids.iter().any(is_publisher)
}

/// The container of a listener: that of its process, else of any process of its namespace.
fn container_of<'e>(
    case: &Case<'_>,
    engines: &Engines<'e>,
    namespace: &NamespaceSockets,
    listener: &Listener,
) -> Option<&'e Container> {
    let mut pids = listener.pids.iter().chain([&namespace.pid]);
    pids.find_map(|pid| case.container_of(engines, *pid))
}

/// What ties two containers to each other.
fn tie(own: &Container, theirs: &Container) -> Option<String> {
    if let Some(project) = own.project.as_ref().filter(|project| Some(*project) == theirs.project.as_ref()) {
        return Some(format!("the engine says that both are of the project {project}"));
    }
    let network = own.shared_networks(theirs).next()?;
    Some(format!("the engine says that both are attached to the network {network}"))
}

/// Whether two containers have nothing in common that their engine knows of: neither a project nor a network.
pub(super) fn are_strangers(own: &Container, theirs: &Container) -> bool {
    let is_one_project = own.project.is_some() && own.project == theirs.project;
    own.id != theirs.id && !is_one_project && !own.meets(theirs)
}

impl Elsewhere<'_> {
    /// How sure it is at most that it is meant.
    fn rank(&self) -> Confidence {
        if self.is_strange {
            Confidence::Possible
        } else if self.tie.is_some() && self.strength >= Confidence::Likely {
            Confidence::Confirmed
        } else {
            self.strength
        }
    }

    fn evidence(&self, case: &Case<'_>) -> Evidence {
        let strange =
            "; the engine knows neither a project nor a network that its container shares with nginx's";
        let tie = match &self.tie {
            Some(tie) => format!("; {tie}"),
            None if self.is_strange => strange.to_owned(),
            None => String::new(),
        };
        let says = format!("in {}, {} listens{tie}", self.place(case), case.listener(self.listener));
        Evidence::supporting(says, Case::other_sockets_origin(self.namespace.pid))
    }

    /// Where it is: a container, the host, or just another namespace.
    fn place(&self, case: &Case<'_>) -> String {
        if let Some(container) = self.container {
            return format!("the container {}", container.name);
        }
        let pid = self.listener.pids.first().copied().unwrap_or(self.namespace.pid);
        let is_host = case.listed(1).and_then(|init| init.net_namespace) == Some(self.namespace.namespace);
        match case.listed(pid).and_then(|process| process.container.as_ref()) {
            Some(container) => format!("the container {container}"),
            None if is_host => "the host's network namespace".to_owned(),
            None => format!("the network namespace of process {pid}"),
        }
    }

    /// Whether it can only be reached from inside of its namespace.
    fn is_bound_to_loopback(&self) -> bool {
        self.listener.address.ip().is_loopback()
    }

    /// An address of its namespace that lies next to one of nginx's, which packets from there may reach.
    fn reachable(&self, case: &Case<'_>) -> Option<IpAddr> {
        let own = &case.sockets().known()?.addresses;
        // Addresses of one link (fe80::) are alike everywhere, and nginx cannot dial them without naming the link.
        let is_dialled = |ip: &&IpAddr| match ip {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        };
        let theirs = self.namespace.table.addresses.iter().filter(is_dialled);
        theirs
            .copied()
            .max_by_key(|ip| own.iter().map(|own| shared_bits(*own, *ip)).max())
            .filter(|ip| own.iter().any(|own| shared_bits(*own, *ip) >= 16))
    }
}

/// How many bits two addresses begin with in common.
fn shared_bits(one: IpAddr, other: IpAddr) -> u32 {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => 0,
    }
}

/// What a finding is about, seen again.
fn found<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<(SocketAddr, Elsewhere<'c>)> {
    let subject = finding.subjects.iter().find(|subject| subject.peer().is_some())?;
    let refusal = refusal(case, subject).ok()??;
    let mut found = elsewhere(case, &refusal).ok()?;
    (!found.is_empty()).then(|| (refusal.address, found.swap_remove(0)))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let place = found(case, finding).map(|(_, other)| other.place(case));
    let place = place.unwrap_or_else(|| "another namespace".to_owned());
    let listens = match finding.confidence {
        Confidence::Confirmed => format!("the backend listens in {place}"),
        Confidence::Likely => format!("the backend likely listens in {place}"),
        Confidence::Possible => format!("perhaps the backend listens in {place}"),
    };
    let inside = if case.gateway_process().is_some_and(|own| own.container.is_some()) {
        "nginx's own container"
    } else {
        "nginx's own network namespace"
    };
    let mut wont_help = vec![
        "publishing its port (-p, ports:): that opens it on the host's addresses, not on this loopback"
            .to_owned(),
        "`curl localhost` on the host as a proof: that is the host's loopback".to_owned(),
    ];
    // Where another backend may be meant, one that died inside, starting that is what helps.
    if finding.confidence == Confidence::Confirmed {
        let restart = "restarting the backend: it runs, and listens where this address does not lead";
        wont_help.insert(0, restart.to_owned());
    }
    Explanation {
        title: format!("{} is {inside}, and {listens}", finding.address()),
        why: "Every container and every network namespace has a loopback of its own, and on nginx's nothing listens on that \
              port. The kernel answers with a reset, and nginx with a 502 at once."
            .to_owned(),
        wont_help,
    }
}

#[cfg(test)]
mod tests;
