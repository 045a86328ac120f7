//! # network-unreachable
//!
//! ## What happens
//!
//! The gateway's own host refuses to send to the peer: no route leads there, or the route or a rule of policy routing says that
//! nothing goes that way. The kernel looks that up before it sends a packet, so `connect()` fails at once. True for every version.
//!
//! ## What you see
//!
//! A 502 within a millisecond, and `connect() failed (101: Network is unreachable)` (no route, or its device is down), `[crit]
//! connect() to … failed (22: Invalid argument)` (a `blackhole` route), `(13: Permission denied)` (a `prohibit` route or rule), or
//! `(113: No route to host)` (an `unreachable` one). With a router that knows no way it takes a round trip: 101 as well.
//!
//! ## How we know
//!
//! Confirmed: the kernel's own look-up, asked in the gateway's network namespace as its user for just such a packet, ends with the
//! error that nginx logs; the route, the rule or the device that decides is named. Likely: nginx's message alone (101, 22), or
//! a router's ICMP network-unreachable, which a packet filter may send as well. 13 alone says nothing.
//!
//! ## What would disprove it
//!
//! A look-up that finds a route out, while the connection still fails.
//!
//! ## What to do
//!
//! Take the route or the rule away, switch the device on, or add the route that is missing. Where somebody put it there on
//! purpose, ask them: it is a way to lock a network out.
//!
//! ## Not to be confused with
//!
//! `selinux-denied`, `apparmor-denied` (13 as well, and the look-up finds a route); `host-unreachable` (packets are sent, and the
//! host does not answer); `firewall-rejected`; `address-family-mismatch` (a name has another address, which works).
//!
//! ## References
//!
//! Linux: `fib_props` (net/ipv4/fib_semantics.c), `ip6_blackhole_route`; ip-route(8), ip-rule(8), rtnetlink(7); nginx:
//! `ngx_event_connect_peer`, which logs EHOSTUNREACH and its kin as `error` and all else as `crit`.

use super::ways::{errno_words, route_origin};
use crate::case::{Case, FailureId, PeerSubject, Reach, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::net::{IpAddr, SocketAddr};
use why502_facts::{
    Errno, IcmpMeaning, Link, Observed, PathToPeer, PolicyRule, Route, RouteKind, RuleAction,
};

pub(super) static CAUSE: Cause = Cause {
    id: "network-unreachable",
    layer: Layer::Connect,
    acts_on: ActsOn::Network,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["host-unreachable"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("network_unreachable.rs"),
};

/// What a refused look-up makes of a connection attempt.
const ERRNOS: [Errno; 4] =
    [Errno::NetworkUnreachable, Errno::AccessDenied, Errno::InvalidArgument, Errno::HostUnreachable];

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((peer, target)) = subject.peer().and_then(|peer| Some((peer, peer.address.inet()?))) else {
        return Ok(Ruling::NoSign);
    };
    if needs_a_zone(target.ip()) {
        return Ok(Ruling::NoSign);
    }
    let is_logged =
        case.symptoms_of(peer).any(|(_, _, symptom)| ERRNOS.iter().any(|own| symptom.connect_failed(*own)));
    let reach = or_ask(case.reach(peer))?;
    let fails_with = match &reach {
        Observed::Known(Reach::Failed(errno)) if ERRNOS.contains(errno) => Some(*errno),
        _ => None,
    };
    if !is_logged && fails_with.is_none() {
        return Ok(Ruling::NoSign);
    }
    let failed = |errno: Errno| -> Vec<(FailureId, &_, &Symptom)> {
        case.symptoms_of(peer).filter(|(_, _, symptom)| symptom.connect_failed(errno)).collect()
    };
    let path = or_ask(case.path_to(peer, target))?;
    let refusal = path.as_ref().known().and_then(|path| Some((*path, path.refusal()?)));
    if let Some((path, errno)) = refusal {
        let symptoms = failed(errno);
        if symptoms.is_empty() && fails_with != Some(errno) {
            return Ok(Ruling::NoSign);
        }
        // Who asks elsewhere, or as somebody else, may be told something else.
        let confidence = if path.context.in_network && (path.context.as_user || !asks_for_users(path)) {
            Confidence::Confirmed
        } else {
            Confidence::Likely
        };
        let says = format!("the kernel's look-up of a route to {target} ends with {}", errno_words(errno));
        let line = Case::lines_evidence(symptoms.iter().copied(), |n| {
            format!("{} failed with {}", count(n, "connection attempt"), errno_words(errno))
        });
        let mut finding = Finding::new(&CAUSE, confidence, subject)
            .explaining(symptoms.iter().map(|(id, ..)| *id))
            .with(line)
            .with([Evidence::supporting(says, route_origin(target))])
            .with(Culprit::of(path, target, errno).evidence(path))
            .still_failing(Some(true))
            .at(case.written_at(peer));
        finding.fails_clients_now = case.is_felt(peer);
        return Ok(Ruling::found(finding));
    }
    said_by_others(case, subject, peer, target, &path, &reach)
}

/// What a router said, or nginx's own message where nobody could look, or the route is there again.
fn said_by_others(
    case: &Case<'_>,
    subject: &Subject,
    peer: &PeerSubject,
    target: SocketAddr,
    path: &Observed<&PathToPeer>,
    reach: &Observed<Reach>,
) -> Result<Ruling, Asks> {
    // 13 and 113 have other reasons as well.
    let of_this = [Errno::NetworkUnreachable, Errno::InvalidArgument];
    let symptoms: Vec<_> = case
        .symptoms_of(peer)
        .filter(|(_, _, symptom)| of_this.iter().any(|own| symptom.connect_failed(*own)))
        .collect();
    let errors = case.probe(peer).known().map(|probe| probe.errors.clone()).unwrap_or_default();
    let router = case.said_on_the_way(target.ip(), errors, IcmpMeaning::NetworkUnreachable);
    if symptoms.is_empty() && router.is_none() {
        return Ok(Ruling::NoSign);
    }
    let stands = matches!(reach, Observed::Known(Reach::Failed(errno)) if of_this.contains(errno));
    if stands && router.is_none() && path.is_known() {
        let says = format!("the kernel has a route to {target}");
        return Ok(Ruling::RuledOut(vec![Evidence::against(says, route_origin(target))]));
    }
    let said = router.map(|(router, error)| {
        let says = format!("{router} says that it knows no way to {} ({})", target.ip(), error.name());
        Evidence::supporting(says, case.probe_origin(peer))
    });
    let has_route = path.as_ref().known().and_then(|path| path.route()).map(|route| {
        Evidence::context(format!("the kernel has a route to {target} now: {route}"), route_origin(target))
    });
    let connects = *reach == Observed::Known(Reach::Connected);
    let line = Case::lines_evidence(symptoms.iter().copied(), |n| {
        format!("{} failed because no way leads there", count(n, "connection attempt"))
    });
    let open = path.gap().map(|gap| Case::open(gap.clone(), "whether the kernel knows a route"));
    let mut finding = Finding::new(&CAUSE, Confidence::Likely, subject)
        .explaining(symptoms.iter().map(|(id, ..)| *id))
        .with(line)
        .with(said)
        .with(has_route)
        .open(open)
        .still_failing(stands.then_some(true).or(connects.then_some(false)))
        .at(case.written_at(peer));
    finding.fails_clients_now = stands && case.is_felt(peer);
    Ok(Ruling::found(finding))
}

/// Whether an address means nothing without the name of a device: it fails with EINVAL by itself.
fn needs_a_zone(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Whether a rule asks who sends.
fn asks_for_users(path: &PathToPeer) -> bool {
    path.rules.iter().any(|rule| rule.selectors.contains("uidrange"))
}

/// What refuses.
enum Culprit<'p> {
    /// A rule of policy routing.
    Rule(&'p PolicyRule),
    /// A route that refuses.
    Route(&'p Route),
    /// The device that has the network is switched off.
    Down(&'p Link, String),
    /// No route leads there.
    NoRoute,
    /// Several may.
    Unknown,
}

impl<'p> Culprit<'p> {
    fn of(path: &'p PathToPeer, target: SocketAddr, errno: Errno) -> Self {
        let refuses = |kind: RouteKind| kind.errno() == Some(errno);
        let mut rules = path.rules.iter().filter(|rule| {
            rule.fits != Some(false) && matches!(rule.action, RuleAction::Refuse(kind) if refuses(kind))
        });
        let found = path.route().filter(|route| refuses(route.kind) && route.to.is_some());
        let longest = path
            .routes
            .iter()
            .filter(|route| refuses(route.kind) && route.holds(target.ip()))
            .max_by_key(|route| (route.prefix_length(), std::cmp::Reverse(route.metric)));
        match (rules.next(), rules.next(), longest.or(found)) {
            (Some(rule), None, None) => Self::Rule(rule),
            (None, None, Some(route)) => Self::Route(route),
            (None, None, None) => Self::missing(path, target),
            _ => Self::Unknown,
        }
    }

    fn missing(path: &'p PathToPeer, target: SocketAddr) -> Self {
        let down = path.addresses.iter().filter(|own| own.holds(target.ip())).find_map(|own| {
            let link = path.link(own.device).filter(|link| !link.is_up)?;
            Some((link, format!("{}/{}", own.address, own.prefix_length)))
        });
        down.map_or(Self::NoRoute, |(link, network)| Self::Down(link, network))
    }

    fn evidence(&self, path: &PathToPeer) -> Option<Evidence> {
        let (says, source) = match self {
            Self::Rule(rule) => {
                (format!("rule {}: {} {}", rule.priority, rule.selectors, word(rule)), "ip rule")
            }
            Self::Route(route) => {
                (format!("the route {route} in table {}", table(route.table)), "ip route show table all")
            }
            Self::Down(link, network) => {
                (format!("{} has {network} and is switched off", link.name), "ip address")
            }
            // Nothing was found in tables of which a part was not read.
            Self::NoRoute if path.truncated => return None,
            Self::NoRoute => ("no table has a route that leads there".to_owned(), "ip route show table all"),
            Self::Unknown => return None,
        };
        Some(Evidence::supporting(says, Origin::Host(source.to_owned())))
    }
}

fn word(rule: &PolicyRule) -> &'static str {
    if let RuleAction::Refuse(kind) = rule.action { kind.word() } else { "" }
}

fn table(number: u32) -> String {
    match number {
        253 => "default".to_owned(),
        254 => "main".to_owned(),
        255 => "local".to_owned(),
        number => number.to_string(),
    }
}

/// The way to the peer of a finding, with what refuses, if that stands.
fn refusal<'c>(case: &'c Case<'_>, finding: &'c Finding) -> Option<(&'c PathToPeer, SocketAddr, Errno)> {
    let peer = finding.peer()?;
    let target = peer.address.inet()?;
    let path = case.path_to(peer, target).known()?;
    Some((path, target, path.refusal()?))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let refusal = refusal(case, finding);
    let culprit = refusal.map(|(path, target, errno)| (Culprit::of(path, target, errno), errno));
    let title = match &culprit {
        Some((Culprit::Rule(rule), _)) => {
            format!(
                "a rule of policy routing refuses what goes to {address}: {} {}",
                rule.selectors,
                word(rule)
            )
        }
        Some((Culprit::Route(route), _)) => {
            format!("this host refuses what goes to {address}: route {route}")
        }
        Some((Culprit::Down(link, _), _)) => {
            format!("this host has no route to {address}: {} is switched off", link.name)
        }
        Some((Culprit::NoRoute, _)) => format!("this host has no route to {address}"),
        Some((Culprit::Unknown, errno)) => {
            format!("this host's routing refuses what goes to {address}: {}", errno_words(*errno))
        }
        None => format!("no way leads to {address}"),
    };
    let mut wont_help = vec![
        "raising proxy_connect_timeout: the kernel refuses at once".to_owned(),
        "restarting the backend or opening its port: no packet leaves for it".to_owned(),
    ];
    if culprit.is_some_and(|(_, errno)| errno == Errno::AccessDenied) {
        wont_help.insert(
            0,
            "setsebool or setenforce: the refusal is the routing table's, not SELinux's".to_owned(),
        );
    }
    Explanation {
        title,
        why: "connect() looks up a route before it sends anything, and that look-up fails. nginx takes the peer for failed and answers \
              502 if there is no other."
            .to_owned(),
        wont_help,
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((path, target, errno)) = refusal(case, finding) else { return Vec::new() };
    let verify = format!("`ip route get {}` shows a device", target.ip());
    let ip = if target.is_ipv4() { "-4" } else { "-6" };
    let remedy = match Culprit::of(path, target, errno) {
        Culprit::Rule(rule) => {
            let priority = rule.priority.to_string();
            let mut undo = vec!["ip", ip, "rule", "add", "priority", &priority];
            undo.extend(rule.selectors.split(' ').chain([word(rule)]));
            Remedy::new("Take the rule away", Risk::Review)
                .command(&["ip", ip, "rule", "del", "priority", &priority], &[&undo])
                .advice("find who adds it (a VPN, a kill switch, networkd or a script), or it comes back")
        }
        Culprit::Route(route) => {
            let to = route.to.map_or_else(|| "default".to_owned(), |(network, length)| format!("{network}/{length}"));
            let table = table(route.table);
            let change = |verb| vec!["ip", ip, "route", verb, route.kind.word(), &to, "table", &table];
            Remedy::new("Take the route away", Risk::Review)
                .command(&change("del"), &[&change("add")])
                .advice("find who adds it (a routing daemon, fail2ban, a script), or it comes back; without it packets take the next shorter route")
        }
        Culprit::Down(link, _) => Remedy::new("Switch the device on", Risk::Review)
            .command(&["ip", "link", "set", &link.name, "up"], &[&["ip", "link", "set", &link.name, "down"]])
            .advice("routes that were added by hand are gone with it and have to be added again"),
        Culprit::NoRoute => Remedy::new("Add the route that is missing", Risk::ShowOnly)
            .advice(format!("ip route add {} via ROUTER, and the same in the configuration of the network; or give nginx an address that this host reaches", target.ip())),
        Culprit::Unknown => Remedy::new("Find what refuses", Risk::ShowOnly)
            .advice("look through `ip rule` and `ip route show table all` for prohibit, blackhole and unreachable"),
    };
    vec![remedy.verify(verify)]
}

#[cfg(test)]
mod tests;
