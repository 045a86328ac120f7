//! # address-family-mismatch
//!
//! ## What happens
//!
//! The upstream's name resolves to an IPv4 and an IPv6 address, nginx takes both as peers, and only one of them works:
//! `localhost` as `::1` with an application that listens on 127.0.0.1 only, or an AAAA record on a host without IPv6.
//! True for every version of nginx; an address that was refused is left out for `fail_timeout`, then tried again.
//!
//! ## What you see
//!
//! Failures of one family only: `connect() failed (111: Connection refused)` (or 101, 99) with `upstream:
//! "http://[::1]:8080/…"`, while other requests of the same route succeed; a retry usually hides it.
//!
//! ## How we know
//!
//! Confirmed: both addresses were probed in nginx's place, one connects and the other fails. Likely: the log shows
//! failures of one family of a name, and the same route succeeded.
//!
//! ## What would disprove it
//!
//! Failures of both families, or a target that is written as an address.
//!
//! ## What to do
//!
//! Write the address that works, or make the backend listen on both families.
//!
//! ## Not to be confused with
//!
//! `upstream-wrong-interface` (a literal address), `upstream-not-listening` (neither works), `network-unreachable`.
//!
//! ## References
//!
//! nginx: `ngx_inet_resolve_host` (IPv4 first, then IPv6); getaddrinfo(3), RFC 6724.

use crate::case::{Case, PeerSubject, Reach, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use std::net::SocketAddr;
use why502_facts::{Errno, Observed, PeerAddress, Phrase};
use why502_model::Host;

pub(super) static CAUSE: Cause = Cause {
    id: "address-family-mismatch",
    layer: Layer::Resolve,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[
        "network-unreachable",
        "upstream-not-listening",
        "upstream-wrong-interface",
        "upstream-wrong-port",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("address_family_mismatch.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((peer, address)) = subject.peer().and_then(|peer| Some((peer, peer.address.inet()?))) else {
        return Ok(Ruling::NoSign);
    };
    let Some(name) = name_of(case, peer) else { return Ok(Ruling::NoSign) };
    let failed: Vec<_> =
        case.symptoms_of(peer).filter(|(_, _, symptom)| is_family_trouble(symptom)).collect();
    let reach = or_ask(case.reach(peer))?;
    let fails_now = matches!(reach, Observed::Known(Reach::Failed(errno)) if is_family_errno(errno));
    if failed.is_empty() && !fails_now {
        return Ok(Ruling::NoSign);
    }
    let sibling = case.peers_of(peer.group).find(|other| is_sibling(case, peer, address, other));
    let sibling_connects = match sibling {
        Some(sibling) => or_ask(case.reach(sibling))? == Observed::Known(Reach::Connected),
        None => false,
    };
    let confidence = if fails_now && sibling_connects {
        Confidence::Confirmed
    } else if reach.gap().is_some() && one_family_alone(case, peer, address) {
        Confidence::Likely
    } else {
        return Ok(Ruling::NoSign);
    };
    let failures: Vec<_> = failed.iter().map(|(id, ..)| *id).collect();
    let logged =
        Case::lines_evidence(failed, |n| format!("{} to {address} failed", count(n, "connection attempt")));
    let probed = sibling.filter(|_| sibling_connects).map(|sibling| {
        Evidence::supporting(
            format!("{name} is also {}, which accepts connections", sibling.address),
            case.probe_origin(sibling),
        )
    });
    let now = fails_now.then(|| {
        Evidence::supporting(format!("a connection to {address} fails now"), case.probe_origin(peer))
    });
    let succeeded = (confidence == Confidence::Likely).then(|| success(case, peer)).flatten();
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(failures)
        .still_failing(fails_now.then_some(true))
        .with(logged.into_iter().chain(now).chain(probed).chain(succeeded))
        .at(case.written_at(peer).or_else(|| case.pass_to(peer).map(|pass| pass.at.clone())));
    Ok(Ruling::found(finding))
}

/// The name that an address stands for: that of its peer, or of an address that the group no longer has, that of the
/// group's peer with the same port.
fn name_of(case: &Case<'_>, peer: &PeerSubject) -> Option<String> {
    let group = case.gateway.group(peer.group?);
    let is_it = |configured: &&why502_model::Peer| {
        configured.port == peer.address.port() && matches!(configured.host, Host::Name(_))
    };
    match &case.configured(peer).or_else(|| group.peers.iter().find(is_it))?.host {
        Host::Name(name) => Some(name.clone()),
        Host::Ip(_) | Host::Unix(_) => None,
    }
}

/// Whether another peer is the same name's address of the other family.
fn is_sibling(case: &Case<'_>, peer: &PeerSubject, address: SocketAddr, other: &PeerSubject) -> bool {
    other.group == peer.group
        && other
            .address
            .inet()
            .is_some_and(|own| own.is_ipv4() != address.is_ipv4() && own.port() == address.port())
        && name_of(case, other).is_some()
        && name_of(case, other) == name_of(case, peer)
}

/// What the wrong family ends with: refused, no route, no source address.
fn is_family_errno(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ConnectionRefused
            | Errno::NetworkUnreachable
            | Errno::AddressNotAvailable
            | Errno::AddressFamilyNotSupported
    )
}

fn is_family_trouble(symptom: &Symptom) -> bool {
    matches!(symptom.phrase, Some(Phrase::ConnectFailed | Phrase::ConnectToFailed))
        && symptom.errno.is_some_and(is_family_errno)
}

/// Whether only one family of the name failed, and its route succeeded as well: from the files alone.
fn one_family_alone(case: &Case<'_>, peer: &PeerSubject, address: SocketAddr) -> bool {
    let other_failed = case.failures().flat_map(|(_, failure)| failure.attempts()).any(|attempt| {
        attempt
            .peer
            .as_ref()
            .and_then(PeerAddress::inet)
            .is_some_and(|own| own.port() == address.port() && own.is_ipv4() != address.is_ipv4())
            && is_family_trouble(attempt)
    });
    !other_failed && success(case, peer).is_some()
}

fn success(case: &Case<'_>, peer: &PeerSubject) -> Option<Evidence> {
    let of_route = peer.routes.iter().flat_map(|route| case.successes_of(*route));
    let last = of_route.max_by_key(|success| success.at)?;
    Some(Evidence::supporting("the same route succeeded", crate::finding::Origin::Log(last.line.clone())))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.peer();
    let name = peer.and_then(|peer| name_of(case, peer)).unwrap_or_default();
    let address = peer.map_or(String::new(), |peer| peer.address.to_string());
    Explanation {
        title: format!("{name:?} stands for two addresses, and {address} does not work"),
        why: "nginx takes every address of the name as a peer and dials them in turn. The backend listens on the other family \
              only, so this share of the attempts fails."
            .to_owned(),
        wont_help: vec![
            "restarting the backend: it listens, on the other family".to_owned(),
            "raising timeouts: the failure comes at once, no timer fired".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let found = finding.peer().and_then(|peer| {
        let address = peer.address.inet()?;
        let sibling = case.peers_of(peer.group).find(|other| is_sibling(case, peer, address, other));
        // `localhost` has a known other address even where nobody could look.
        let loopback: SocketAddr =
            if address.is_ipv6() { ([127, 0, 0, 1], address.port()).into() } else { return None };
        let target = sibling.map_or_else(|| PeerAddress::Inet(loopback), |sibling| sibling.address.clone());
        let is_local = address.ip().is_loopback() || sibling.is_some();
        is_local.then_some(target)
    });
    let Some(target) = found else { return Vec::new() };
    let remedy = Remedy::new(format!("Write the address that works, {target}"), Risk::Review)
        .advice("or make the backend listen on both families")
        .verify("no further failures of the other family in the error log");
    case.redial(remedy, finding, &target).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name login.example.com;
        location / { proxy_pass http://localhost:7781; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: login.example.com, request: "POST /login HTTP/1.1", upstream: "http://[::1]:7781/login", host: "login.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "POST /login HTTP/1.1" 502 157 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:34 +0000] "GET /login HTTP/1.1" 200 2044 "-" "curl/8"
#- resolve localhost
127.0.0.1 ::1
#- listeners
127.0.0.1:7781 node
#- probe 127.0.0.1:7781
answers
HTTP/1.1 200 OK

#- probe [::1]:7781
refused
"#;

    #[test]
    fn hit_one_of_both_connects() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @r#"
        Broken
        Confirmed address-family-mismatch -> upstream-not-listening, some-peers-failing: "localhost" stands for two addresses, and [::1]:7781 does not work [1 requests, still failing]
        "#);
    }

    #[test]
    fn hit_from_the_logs_alone_is_likely() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline").summary(), @r#"
        Broken
        Likely address-family-mismatch -> upstream-not-listening: "localhost" stands for two addresses, and [::1]:7781 does not work [1 requests]
        "#);
    }

    #[test]
    fn near_miss_neither_works() {
        let neither = Fixture::new(HIT).with("listeners", "").with("probe 127.0.0.1:7781", "refused");
        let summary = neither.summary();
        assert!(!summary.contains("address-family-mismatch"), "{summary}");
    }

    #[test]
    fn near_miss_a_literal_address() {
        let literal = HIT.replace("localhost:7781", "[::1]:7781");
        let summary = Fixture::new(&literal).summary();
        assert!(!summary.contains("address-family-mismatch"), "{summary}");
    }

    #[test]
    fn gap_the_other_address_cannot_be_probed() {
        insta::assert_snapshot!(Fixture::new(HIT).without("probe 127.0.0.1:7781").without("listeners").summary(), @"
        Broken
        Likely upstream-not-listening: connections to [::1]:7781 are refused [1 requests, still failing]
          open: whether something listens there: the fixture does not tell
        ");
    }
}
