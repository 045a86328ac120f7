//! # host-unreachable
//!
//! ## What happens
//!
//! Packets leave for the peer, and the last hop finds nobody there: the host is down, or its address is on no machine any more. On
//! the gateway's own network that hop is the gateway's host, which asks for the address (ARP, or neighbour discovery with
//! IPv6) three times, a second apart; elsewhere it is a router, which says so by ICMP. True for every version.
//!
//! ## What you see
//!
//! `connect() failed (113: No route to host)` and a 502 after about three seconds; where `proxy_connect_timeout` is shorter than
//! that, `upstream timed out (110: Connection timed out) while connecting to upstream` and a 504.
//!
//! ## How we know
//!
//! Confirmed: a connection attempt in nginx's place fails, and the entry of the next hop is FAILED or INCOMPLETE, or a router says
//! host-unreachable after having asked for it. Where a rule of a packet filter leads the connection to another address (a
//! published port), it is that address which nobody has, and the rule is named; where a mark of the filter has the kernel choose
//! another router, it is that router. Likely: nginx's 113 alone, or a router that says so at once, as a filter would.
//!
//! ## What would disprove it
//!
//! An answer of the host to anything: a reset, an ICMP echo. Silence from another network proves nothing: packets may be dropped on
//! the way.
//!
//! ## What to do
//!
//! Start the host, or find the address that it has now. The application and nginx's timeouts have no part in it.
//!
//! ## Not to be confused with
//!
//! `firewall-rejected` (the peer itself, or a filter, says that it is prohibited); `network-unreachable` (no packet leaves);
//! `dns-stale-address` (the name has left that address); `upstream-connect-timeout` (silence, and no more is known).
//!
//! ## References
//!
//! Linux: `neigh_timer_handler`, `arp_error_report`, arp(7) (`mcast_solicit`, `retrans_time_ms`), `tcp_v4_err`; RFC 792, RFC 4443
//! (section 3.1); nginx: `ngx_event_connect_peer`.

use super::filtered::{Led, Stage, on_the_way};
use super::ways::{neighbour_evidence, silent_neighbour};
use crate::case::{Case, PeerSubject, Reach, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use why502_facts::{
    Errno, GapReason, IcmpError, IcmpMeaning, Observed, PathToPeer, Phase, Phrase, ProbeReport, StepKind,
};

pub(super) static CAUSE: Cause = Cause {
    id: "host-unreachable",
    layer: Layer::Connect,
    acts_on: ActsOn::Network,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["connect-timeout-too-short", "upstream-connect-timeout"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("host_unreachable.rs"),
};

/// A router that has asked for a host took at least so long to say that it is not there; a filter says so at once.
const ASKED_FOR: Duration = Duration::from_millis(900);

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((peer, target)) = subject.peer().and_then(|peer| Some((peer, peer.address.inet()?))) else {
        return Ok(Ruling::NoSign);
    };
    let failed: Vec<_> = case.symptoms_of(peer).filter(|(_, _, symptom)| is_unreached(symptom)).collect();
    let reach = or_ask(case.reach(peer))?;
    let fails_now = reach == Observed::Known(Reach::Failed(Errno::HostUnreachable));
    if failed.is_empty() && !fails_now {
        return Ok(Ruling::NoSign);
    }
    if is_prohibited(case, peer) {
        return Ok(Ruling::NoSign);
    }
    let led = led(case, peer, target)?;
    if led.is_none() && case.is_local(&peer.address) {
        return Ok(Ruling::NoSign);
    }
    let is_told = failed.iter().any(|(_, _, symptom)| symptom.connect_failed(Errno::HostUnreachable));
    let is_unreached_now = fails_now || reach == Observed::Known(Reach::Silent);
    let (mut proof, mut gap) = (None, reach.gap().filter(|gap| gap.why != GapReason::NotYet).cloned());
    if is_unreached_now {
        let path = match &led {
            Some(led) => case.path_from(led.pid, led.to),
            None => case.path_to(peer, target),
        };
        match or_ask(path)? {
            // No packet leaves.
            Observed::Known(path) if path.refusal().is_some() => return Ok(Ruling::NoSign),
            Observed::Known(path) => match find_proof(case, peer, target, led.as_ref(), path)? {
                Look::Proof(found) => proof = Some(found),
                Look::Disproof(evidence) => return Ok(Ruling::RuledOut(vec![evidence])),
                Look::Nothing => {}
            },
            Observed::Unknown(unknown) => gap = Some(unknown),
            Observed::Absent => {}
        }
    }
    if proof.is_none() && !is_told && !fails_now {
        return Ok(Ruling::NoSign);
    }
    let connects = reach == Observed::Known(Reach::Connected);
    // What only timed out belongs here if it is seen why.
    let failed: Vec<_> = failed
        .into_iter()
        .filter(|(_, _, symptom)| proof.is_some() || symptom.connect_failed(Errno::HostUnreachable))
        .collect();
    let confidence = proof.as_ref().map_or(Confidence::Likely, |(confidence, _)| *confidence);
    let line = Case::lines_evidence(failed.iter().copied(), |n| {
        format!("{} did not reach the host", count(n, "connection attempt"))
    });
    let now = fails_now.then(|| {
        Evidence::supporting(
            "a connection attempt fails now with EHOSTUNREACH (113)",
            case.probe_origin(peer),
        )
    });
    let mended = connects
        .then(|| Evidence::context(format!("{target} accepts connections now"), case.probe_origin(peer)));
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(failed.iter().map(|(id, ..)| *id))
        .with(line)
        .with(now)
        .with(led.as_ref().map(|led| led.evidence(case)))
        .with(proof.map(|(_, evidence)| evidence))
        .with(chosen_by(case, peer, target))
        .with(mended)
        .open(gap.map(|gap| Case::open(gap, "whether the host answers now, and who says that it does not")))
        .still_failing(is_unreached_now.then_some(true).or(connects.then_some(false)))
        .at(case.written_at(peer));
    finding.fails_clients_now = is_unreached_now && case.is_felt(peer);
    Ok(Ruling::found(finding))
}

/// Where a rule leads the connections to a peer instead: looked for where the address is this host's own, or says itself that it is
/// not to be reached. An error asks for the packet filters.
fn led<'c>(case: &'c Case<'_>, peer: &PeerSubject, target: SocketAddr) -> Result<Option<Led<'c>>, Asks> {
    let says_so_itself = || errors(case, peer).iter().any(|error| error.offender == Some(target.ip()));
    if !case.is_local(&peer.address) && !says_so_itself() {
        return Ok(None);
    }
    Ok(on_the_way(case, peer, target, Stage::Connecting)?.led)
}

/// Whether an attempt may have ended because nobody is there.
fn is_unreached(symptom: &Symptom) -> bool {
    let timed_out = symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::Connecting);
    timed_out || [Errno::HostUnreachable, Errno::TimedOut].iter().any(|own| symptom.connect_failed(*own))
}

/// Whether a filter says that it does not let our own attempt through.
fn is_prohibited(case: &Case<'_>, peer: &PeerSubject) -> bool {
    errors(case, peer).iter().any(|error| error.meaning() == IcmpMeaning::Prohibited)
}

/// What came back of the probe's packets.
fn errors<'c>(case: &'c Case<'_>, peer: &PeerSubject) -> &'c [IcmpError] {
    case.probe(peer).known().map_or(&[], |probe| probe.errors.as_slice())
}

/// What a look on the way to a peer shows that does not answer.
enum Look {
    /// Who finds nobody there, and how sure that is.
    Proof((Confidence, Evidence)),
    /// The host is there.
    Disproof(Evidence),
    /// Nothing.
    Nothing,
}

fn find_proof(
    case: &Case<'_>,
    peer: &PeerSubject,
    target: SocketAddr,
    led: Option<&Led<'_>>,
    path: &PathToPeer,
) -> Result<Look, Asks> {
    let ip = target.ip();
    if let Some(neighbour) = silent_neighbour(path, led.map_or(ip, |led| led.to.ip())) {
        let confidence = if path.context.in_network { Confidence::Confirmed } else { Confidence::Likely };
        return Ok(Look::Proof((confidence, neighbour_evidence(path, neighbour))));
    }
    if let Some(own) = marked(case, peer, target, path)?.filter(|_| led.is_none())
        && let Some(neighbour) = silent_neighbour(own, ip)
    {
        let confidence = if own.context.in_network { Confidence::Confirmed } else { Confidence::Likely };
        return Ok(Look::Proof((confidence, neighbour_evidence(own, neighbour))));
    }
    let said = errors(case, peer);
    // What is said of the address that is dialled is said of the other one.
    if led.is_some() {
        return Ok(Look::Nothing);
    }
    if said.iter().any(|error| error.offender == Some(ip)) {
        let says = format!("{ip} itself says that it is not to be reached: a filter there does");
        return Ok(Look::Disproof(Evidence::against(says, case.probe_origin(peer))));
    }
    if let Some((router, error)) =
        case.said_on_the_way(ip, said.iter().copied(), IcmpMeaning::HostUnreachable)
    {
        let took = case.probe(peer).known().and_then(connecting).unwrap_or_default();
        let evidence = Evidence::supporting(
            format!(
                "{router} says after {:.1} s that {ip} is not there ({})",
                took.as_secs_f64(),
                error.name()
            ),
            case.probe_origin(peer),
        );
        let confidence = if took >= ASKED_FOR && path.context.in_network {
            Confidence::Confirmed
        } else {
            Confidence::Likely
        };
        return Ok(Look::Proof((confidence, evidence)));
    }
    let echo = or_ask(case.echo_of(ip))?;
    let Observed::Known(echo) = echo else { return Ok(Look::Nothing) };
    if echo.is_answered() {
        let says = format!("{ip} answers an ICMP echo request: the host is there");
        return Ok(Look::Disproof(Evidence::against(says, case.small_echo_origin(ip))));
    }
    let said = case.said_on_the_way(ip, echo.errors().copied(), IcmpMeaning::HostUnreachable);
    Ok(said.map_or(Look::Nothing, |(router, error)| {
        let says = format!("{router} says of an ICMP echo request that {ip} is not there ({})", error.name());
        Look::Proof((Confidence::Likely, Evidence::supporting(says, case.small_echo_origin(ip))))
    }))
}

/// The way of the packets that a rule of the gateway's packet filter marks, where rules of policy routing ask for marks. An error
/// asks for it.
fn marked<'c>(
    case: &'c Case<'_>,
    peer: &PeerSubject,
    target: SocketAddr,
    path: &PathToPeer,
) -> Result<Option<&'c PathToPeer>, Asks> {
    if !path.rules.iter().any(|rule| rule.selectors.contains("fwmark")) {
        return Ok(None);
    }
    let Some(mark) = on_the_way(case, peer, target, Stage::Connecting)?.mark else { return Ok(None) };
    let source = path.route().and_then(|route| route.source);
    Ok(or_ask(case.path_marked(target, source, Some(mark)))?.known())
}

/// The rule of policy routing that leads marked packets to another router.
fn chosen_by(case: &Case<'_>, peer: &PeerSubject, target: SocketAddr) -> Option<Evidence> {
    let path = case.path_to(peer, target).known()?;
    let own = marked(case, peer, target, path).ok()??;
    let rule = own.rules.iter().find(|rule| rule.fits == Some(true) && rule.selectors.contains("fwmark"))?;
    let to = own.route()?.gateway?;
    let says = format!(
        "a packet filter of this host marks these packets, and rule {}: {} leads them to {to}",
        rule.priority, rule.selectors
    );
    Some(Evidence::context(says, Origin::Host("ip rule".to_owned())))
}

/// How long the connection attempt took to fail.
fn connecting(probe: &ProbeReport) -> Option<Duration> {
    let step = probe.steps.iter().find(|step| step.kind == StepKind::Connect)?;
    Some(Duration::from_micros(step.micros))
}

/// Where a rule leads the connections of a finding, and where the rule stands.
fn led_to(case: &Case<'_>, finding: &Finding) -> Option<(SocketAddr, String)> {
    let peer = finding.peer()?;
    let led = led(case, peer, peer.address.inet()?).ok()??;
    Some((led.to, led.place_words()))
}

/// The router that does not answer, where it is not the peer itself.
fn silent_router(case: &Case<'_>, finding: &Finding) -> Option<IpAddr> {
    let peer = finding.peer()?;
    let target = peer.address.inet()?;
    if led_to(case, finding).is_some() {
        return None;
    }
    let path = case.path_to(peer, target).known()?;
    let own = marked(case, peer, target, path).ok()?;
    let silent = silent_neighbour(path, target.ip()).or_else(|| silent_neighbour(own?, target.ip()));
    let hop = silent?.address;
    (hop != target.ip()).then_some(hop)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let router = silent_router(case, finding);
    let led = led_to(case, finding).filter(|_| finding.still_failing == Some(true));
    let title = match (router, led) {
        (_, Some((to, _))) => {
            format!("nobody is there at {to}, where a rule leads what is sent to {address}")
        }
        (Some(router), None) => format!("the router {router} on the way to {address} does not answer"),
        (None, None) if finding.still_failing == Some(true) => {
            format!("nobody is there at the host of {address}")
        }
        (None, None) => format!("the host of {address} could not be reached"),
    };
    Explanation {
        title,
        why: "nginx's packets find no machine behind the address, and the kernel tells nginx so (EHOSTUNREACH) or its connect timeout is \
              up first. It answers 502, or 504 if the timeout was first."
            .to_owned(),
        wont_help: vec![
            "raising proxy_connect_timeout: nobody is there to answer".to_owned(),
            "restarting the application's service: no machine holds its address".to_owned(),
            "opening a port in a firewall: a filter does not keep a host from answering for its address".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(peer) = finding.peer().filter(|_| finding.still_failing != Some(false)) else {
        return Vec::new();
    };
    if let Some((to, place)) = led_to(case, finding) {
        let advice = format!(
            "a rule ({place}) leads what is sent to {} on to {to}, an address that nobody has: write the one that the backend has now \
             into what makes the rule, or give it its old one back",
            peer.address
        );
        return vec![
            Remedy::new("Lead the port to where the backend is", Risk::ShowOnly)
                .advice(advice)
                .verify(format!("a connection to {} opens", peer.address)),
        ];
    }
    let advice = match silent_router(case, finding) {
        Some(router) => {
            format!("bring {router} back, or route around it: `ip route replace … via` another router")
        }
        None => format!(
            "start the machine, the container or the virtual machine that has {}, or find out which address it has now and write that into \
             nginx's configuration; a second server in the group, or `backup`, keeps clients served meanwhile",
            peer.address
        ),
    };
    vec![
        Remedy::new("Bring the host back", Risk::ShowOnly)
            .advice(advice)
            .verify(format!("a connection to {} opens", peer.address)),
    ]
}

#[cfg(test)]
mod tests;
