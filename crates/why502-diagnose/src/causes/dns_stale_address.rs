//! # dns-stale-address
//!
//! ## What happens
//!
//! nginx resolves the names in `proxy_pass` and `server` once, when it loads its configuration, and dials these addresses
//! until it is reloaded. Meanwhile the name has moved: a container was started anew, a cloud load balancer changed its
//! addresses, a database failed over. The old address is gone, or belongs to somebody else. True for every version of
//! nginx; since 1.27.3 `server … resolve` follows the name.
//!
//! ## What you see
//!
//! `connect() failed (111: Connection refused)`, `(113: No route to host)` or a timeout while connecting to an address
//! that the name no longer has; `curl` of the name from the same host works.
//!
//! ## How we know
//!
//! Confirmed: connections to an address fail that none of the group's names has by now, nginx was loaded before that, and
//! an address that the name has now takes connections. Likely: the same without the last.
//!
//! ## What would disprove it
//!
//! The name still has the address; nginx was reloaded after the failures; the address is written out in the configuration.
//!
//! ## What to do
//!
//! Reload nginx now. For good: `resolver` with a variable in `proxy_pass`, or `server NAME resolve;` in a group with a
//! `zone`.
//!
//! ## Not to be confused with
//!
//! `upstream-not-listening` (the name still has that address), `config-not-reloaded` (the file names another target),
//! `dns-name-not-found` (the name has no address at all).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_init_round_robin`, `ngx_inet_resolve_host`, `ngx_http_upstream_zone_resolve_timer`.

use super::unanswered::attempts;
use crate::case::{Case, PeerSubject, Reach, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::time::Duration;
use why502_facts::{Ask, Observed, PeerAddress, Phase, Phrase, Resolver, Stamp};
use why502_model::{Host, Peer};

pub(super) static CAUSE: Cause = Cause {
    id: "dns-stale-address",
    layer: Layer::Resolve,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502, 504],
    scope: Scope::Peer,
    supersedes: &[
        "host-unreachable",
        "network-unreachable",
        "upstream-connect-timeout",
        "upstream-not-listening",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("dns_stale_address.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(peer) = subject.peer() else { return Ok(Ruling::NoSign) };
    let Some(moved) = moved_name(case, peer) else { return Ok(Ruling::NoSign) };
    let Some(failed) = attempts(case, subject, is_unconnected)? else { return Ok(Ruling::NoSign) };
    let first = failed.symptoms.iter().map(|(_, failure, _)| failure.at).min();
    let last = failed.symptoms.iter().map(|(_, failure, _)| failure.at).max();
    let loaded = case.gateway.loaded;
    let mut takes = None;
    for other in case.peers_of(peer.group).filter(|other| other.place == Some(moved.place)) {
        or_ask(case.probe(other))?;
        if case.reach(other) == Observed::Known(Reach::Connected) {
            takes = Some(other);
        }
    }
    // Stamps of a log are cut to the second.
    let is_before = |loaded: Stamp, at: Stamp| loaded < at.after(Duration::from_secs(1));
    let is_loaded_before = loaded.zip(first).is_some_and(|(loaded, first)| is_before(loaded, first));
    let confidence = match takes {
        Some(_) if is_loaded_before => Confidence::Confirmed,
        _ => Confidence::Likely,
    };
    let name = Ask::Resolve {
        security: case.gateway.security,
        name: moved.name.to_owned(),
        resolver: Resolver::System,
    };
    let now: Vec<String> = moved.addresses.iter().map(ToString::to_string).collect();
    let resolves = Evidence::supporting(
        format!("{} stands for {} now, and not for {}", moved.name, now.join(", "), peer.address),
        Origin::Probe(name),
    );
    let answers = takes.map(|other| {
        Evidence::supporting(format!("{} takes connections", other.address), case.probe_origin(other))
    });
    // Workers of a later reload resolved the name anew.
    let stands = loaded.zip(last).map(|(loaded, last)| is_before(loaded, last));
    let says = |n| format!("{} to {} failed", count(n, "connection attempt"), peer.address);
    let mut finding = failed
        .finding(case, &CAUSE, confidence, subject, says)
        .still_failing(stands)
        .with([resolves])
        .with(answers);
    finding.at = vec![moved.at];
    Ok(Ruling::found(finding))
}

/// Whether no connection came about.
fn is_unconnected(symptom: &Symptom) -> bool {
    matches!(symptom.phrase, Some(Phrase::ConnectFailed | Phrase::ConnectToFailed))
        || (symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::Connecting))
}

/// A name of a group, and what it stands for now.
struct Moved<'c> {
    name: &'c str,
    place: usize,
    addresses: Vec<&'c PeerAddress>,
    at: why502_model::Span,
}

/// The only name of a peer's group that can have stood for the peer's address, if all of the group's names resolve and none
/// of them to that address.
fn moved_name<'c>(case: &'c Case<'_>, peer: &PeerSubject) -> Option<Moved<'c>> {
    let group = case.gateway.group(peer.group.filter(|_| peer.place.is_none())?);
    let is_known = |own: &Peer| own.addresses.as_ref().known().is_some_and(|known| !known.is_empty());
    if !group.peers.iter().all(is_known) {
        return None;
    }
    let port = peer.address.port()?;
    let mut names = group.peers.iter().enumerate().filter_map(|(place, own)| {
        let Host::Name(name) = &own.host else { return None };
        let addresses: Vec<&PeerAddress> = own.addresses.as_ref().known()?.iter().collect();
        let fits = addresses.iter().any(|address| address.port() == Some(port));
        fits.then(|| Moved { name, place, addresses, at: own.at.clone() })
    });
    names.next().filter(|_| names.next().is_none())
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let title = match finding.peer().and_then(|peer| moved_name(case, peer)) {
        Some(moved) => format!("nginx dials {address}, which {} does not stand for any more", moved.name),
        None => format!("nginx dials {address}, which its name does not stand for any more"),
    };
    Explanation {
        title,
        why: "nginx looked the name up when it loaded its configuration, and keeps to that address. The name has moved since, and \
              nobody takes connections at the old place."
            .to_owned(),
        wont_help: vec![
            "starting the backend anew: it may move again, and nginx does not notice".to_owned(),
            "lowering the TTL of the name: nginx asks once".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let follow = Remedy::new("Let nginx follow the name", Risk::ShowOnly)
        .advice(
            "with a `resolver`: `server NAME resolve;` in a group that has a `zone` (nginx 1.27.3 and newer), or a variable as the \
             host of proxy_pass",
        )
        .verify("the requests go on when the name moves");
    let Some(pid) = case.gateway.master.filter(|_| finding.still_failing != Some(false)) else {
        return vec![follow];
    };
    let reload = Remedy::new("Reload nginx: it looks all names up anew", Risk::Review)
        .command(&["nginx", "-t", "-c", &case.gateway.config], &[])
        .command(&["kill", "-HUP", &pid.to_string()], &[])
        .verify("the failing request answers");
    vec![reload, follow]
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
        server_name shop.example.com;
        location / { proxy_pass http://app.internal:3000; }
    }
}
#- error.log
2026/11/21 02:40:30 [error] 101#101: *5 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://172.18.0.3:3000/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:40:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- resolve app.internal
172.18.0.5
#- listeners
#- probe 172.18.0.3:3000
refused
#- probe 172.18.0.5:3000
answers
HTTP/1.1 200 OK

"#;

    #[test]
    fn hit_the_name_has_moved() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed dns-stale-address -> upstream-not-listening: nginx dials 172.18.0.3:3000, which app.internal does not stand for any more [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_the_name_still_has_the_address() {
        let summary = Fixture::new(HIT).with("resolve app.internal", "172.18.0.3 172.18.0.5").summary();
        assert!(!summary.contains("dns-stale-address"), "{summary}");
    }

    #[test]
    fn near_miss_the_address_is_written_out() {
        let written = HIT.replace("app.internal:3000; }", "172.18.0.9:3000; }");
        let summary = Fixture::new(&written).summary();
        assert!(!summary.contains("dns-stale-address"), "{summary}");
    }

    #[test]
    fn gap_nobody_knows_what_the_name_stands_for() {
        let summary = Fixture::new(HIT).without("resolve app.internal").summary();
        assert!(!summary.contains("dns-stale-address"), "{summary}");
    }
}
