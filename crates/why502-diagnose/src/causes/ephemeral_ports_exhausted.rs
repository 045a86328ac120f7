//! # ephemeral-ports-exhausted
//!
//! ## What happens
//!
//! A connection is told by both its ends: towards one address and port of an upstream, one local address has as many connections as
//! there are local ports (`net.ipv4.ip_local_port_range` without `net.ipv4.ip_local_reserved_ports`, 28 232 by default). Each
//! closed connection keeps its port for 60 s (TIME_WAIT) where this end closed first. Without kept connections every request takes a
//! port of its own, and a busy gateway runs out of them. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() to 10.0.0.7:8080 failed (99: Cannot assign requested address)` (level `crit`; musl: `Address not available`) and a
//! 502 in no time, under load and in bursts; other upstreams work on.
//!
//! ## How we know
//!
//! Confirmed: a connection in nginx's place fails in the same way, or nine tenths of the ports towards that address are taken when it
//! is looked at. Likely: the message, with an address of IPv4 for which connect(2) knows no other reason.
//!
//! ## What would disprove it
//!
//! An address of IPv6 that no address of this host can reach; `bind()` that fails instead of `connect()` (`proxy_bind` with an
//! address that is not of this host).
//!
//! ## What to do
//!
//! Keep connections open (`keepalive` in the upstream, `proxy_http_version 1.1`, an empty `Connection` header): then a port serves
//! many requests. A wider range only moves the limit.
//!
//! ## Not to be confused with
//!
//! `address-family-mismatch` (99 towards IPv6), `gateway-fd-limit` and `gateway-worker-connections` (other limits of connections),
//! `network-unreachable` (101).
//!
//! ## References
//!
//! connect(2) (`EADDRNOTAVAIL`), ip(7); Linux: `__inet_hash_connect` (net/ipv4/inet_hashtables.c),
//! Documentation/networking/ip-sysctl.rst; nginx: `ngx_event_connect_peer`, `ngx_http_upstream_keepalive_module`.

mod mend;

use self::mend::remedies;
use crate::case::{Case, Failure, FailureId, PeerSubject, Reach, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use std::net::SocketAddr;
use why502_facts::{Errno, NetworkLimits, Observed, SocketState};

pub(super) static CAUSE: Cause = Cause {
    id: "ephemeral-ports-exhausted",
    layer: Layer::Connect,
    acts_on: ActsOn::Host,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("ephemeral_ports_exhausted.rs"),
};

/// The sockets that have a peer as their other end, and the ports that there are for them.
struct Ports<'c> {
    peer: &'c PeerSubject,
    target: SocketAddr,
    symptoms: Vec<(FailureId, &'c Failure, &'c Symptom)>,
    reach: Observed<Reach>,
    limits: Observed<&'c NetworkLimits>,
    /// How many sockets have that other end, and how many of them only wait for late packets.
    used: Option<(u64, u64)>,
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(found) = ports(case, subject)? else { return Ok(Ruling::NoSign) };
    let fails_now = found.reach == Observed::Known(Reach::Failed(Errno::AddressNotAvailable));
    // Of IPv6 the error says more often that no address of this host reaches the other one.
    let is_told = found.target.is_ipv4();
    if !is_told && !found.is_full() {
        return Ok(Ruling::NoSign);
    }
    let is_seen = found.is_full() || fails_now && is_told;
    let confidence = if is_seen { Confidence::Confirmed } else { Confidence::Likely };
    let says = |n| format!("{} found no local port", count(n, "connection attempt"));
    let last = found.symptoms.iter().map(|(_, failure, _)| failure.at).max();
    let gap = found.limits.gap().or_else(|| found.reach.gap()).cloned();
    let is_now = fails_now || found.is_full();
    let is_changed = case.gateway.loaded > last && keeps_alive(case, found.peer);
    let probed = fails_now.then(|| {
        let says = format!("a connection to {} fails with the same error now", found.target);
        Evidence::supporting(says, case.probe_origin(found.peer))
    });
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(found.symptoms.iter().map(|(id, ..)| *id))
        .still_failing(if is_now { Some(true) } else { is_changed.then_some(false) })
        .with(Case::lines_evidence(found.symptoms.iter().copied(), says))
        .with(probed)
        .with(found.evidence(case))
        .open(gap.filter(|_| confidence < Confidence::Confirmed).map(|gap| {
            Case::open(gap, "how many local ports there are, and how many are taken towards that address")
        }))
        .at(case.pass_to(found.peer).map(|pass| pass.at.clone()));
    finding.fails_clients_now = fails_now && case.is_felt(found.peer);
    Ok(Ruling::found(finding))
}

/// The attempts on a subject's peer that found no local port; `None` if there are none.
fn ports<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Ports<'c>>, Asks> {
    let Some((peer, target)) = subject.peer().and_then(|peer| Some((peer, peer.address.inet()?))) else {
        return Ok(None);
    };
    let is_it = |symptom: &Symptom| symptom.connect_failed(Errno::AddressNotAvailable);
    let symptoms: Vec<_> = case.symptoms_of(peer).filter(|(_, _, symptom)| is_it(symptom)).collect();
    if symptoms.is_empty() {
        return Ok(None);
    }
    let (limits, reach) = (or_ask(case.own_limits()), or_ask(case.reach(peer)));
    let (limits, reach) = match (limits, reach) {
        (Ok(limits), Ok(reach)) => (limits, reach),
        (limits, reach) => {
            let asks = [limits.err(), reach.err()];
            return Err(asks.into_iter().flatten().flatten().collect());
        }
    };
    let used = case.sockets().known().map(|table| {
        let own = || table.connected.iter().filter(|(_, remote, _)| *remote == target);
        let sum = |is: fn(SocketState) -> bool| own().filter(|own| is(own.0)).map(|own| own.2).sum::<u64>();
        (sum(|_| true), sum(|state| state == SocketState::TimeWait))
    });
    Ok(Some(Ports { peer, target, symptoms, reach, limits, used }))
}

/// Whether connections to a peer are kept open for further requests.
fn keeps_alive(case: &Case<'_>, peer: &PeerSubject) -> bool {
    case.pass_to(peer).is_some_and(|pass| pass.keeps_alive)
}

impl Ports<'_> {
    /// How many local ports there are.
    fn n_ports(&self) -> Option<u64> {
        self.limits.as_ref().known()?.n_local_ports()
    }

    /// Whether nearly all of them were taken when it was looked at: the kernel tries them one after the other, and gives up
    /// before the last where others hold one.
    fn is_full(&self) -> bool {
        let n_used = self.used.map_or(0, |(used, _)| used);
        self.n_ports().is_some_and(|n_ports| n_used > 0 && n_used * 10 >= n_ports * 9)
    }

    fn evidence(&self, case: &Case<'_>) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        let limits = self.limits.as_ref().known();
        if let Some((limits, (first, last))) = limits.and_then(|own| Some((own, own.local_port_range()?))) {
            let n_ports = limits.n_local_ports().unwrap_or_default();
            let reserved = (last + 1 - first).saturating_sub(n_ports);
            let without = match reserved {
                0 => String::new(),
                _ => format!(" without {} that ip_local_reserved_ports keeps back", count(reserved, "port")),
            };
            let says = format!(
                "net.ipv4.ip_local_port_range is {first} to {last}{without}: {} towards one address and port",
                count(n_ports, "connection")
            );
            evidence.push(Evidence::context(says, Case::setting_origin("net.ipv4.ip_local_port_range")));
        }
        if let Some((used, waiting)) = self.used {
            let says = format!(
                "{} had {} as their other end when it was looked at, {waiting} of them in TIME_WAIT",
                count(used, "socket"),
                self.target
            );
            let origin = case.sockets_origin();
            evidence.push(if self.is_full() {
                Evidence::supporting(says, origin)
            } else {
                Evidence::context(says, origin)
            });
        }
        if let Some(pass) = case.pass_to(self.peer).filter(|pass| !pass.keeps_alive) {
            let says = "nginx keeps no connections to it: each request takes a local port of its own";
            evidence.push(Evidence::supporting(says, Origin::File(pass.at.clone())));
        }
        if let Some(bind) = case.pass_to(self.peer).and_then(|pass| pass.bind.as_ref()) {
            let says = format!("they all begin at one local address, {}", bind.value);
            evidence.push(Evidence::context(says, bind.at.clone().map_or(Origin::Derived, Origin::File)));
        }
        evidence
    }
}

fn explain(_case: &Case<'_>, finding: &Finding) -> Explanation {
    Explanation {
        title: format!("no local port is left for connections to {}", finding.address()),
        why: "Each connection to one address and port needs a local port of its own, and a closed one may keep its port for a minute. \
              All of them are taken, so that the kernel refuses the next connection at once (errno 99) and nginx answers 502."
            .to_owned(),
        wont_help: vec![
            "raising worker_connections or the limit of open files: these end with other messages, and there are ports for no more \
             connections"
                .to_owned(),
            "net.ipv4.tcp_tw_recycle: it broke clients behind NAT, and Linux has not had it since 4.12".to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests;
