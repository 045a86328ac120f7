//! # upstream-wrong-port
//!
//! ## What happens
//!
//! nginx dials a port on which nothing listens, while the backend that is meant listens on another port of the same
//! host: a port was changed on one side only, or a published port was taken for the container's own. The kernel answers
//! with a reset. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() failed (111: Connection refused) while connecting to upstream`, a 502 at once.
//!
//! ## How we know
//!
//! Confirmed: nobody listens on the dialled port, and exactly one listener of the host is tied to this upstream: its
//! unit, command, command line or directory bears the upstream's name, or it speaks the route's protocol. Likely: the
//! failures name an address that the group no longer has, and its successor in the group answers. Possible: an application
//! server listens elsewhere and nothing ties it to this upstream.
//!
//! ## What would disprove it
//!
//! A listener on the dialled port, or another reason for the other listener to be there.
//!
//! ## What to do
//!
//! Make both sides name the same port.
//!
//! ## Not to be confused with
//!
//! `upstream-not-listening` (nothing is tied to this upstream), `upstream-wrong-interface` (the right port),
//! `proxy-pass-variable-invalid` (a variable that loses the port), `upstream-tcp-unix-mismatch`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_test_connect`. Linux: proc(5).

use super::config_not_reloaded::newer_source;
use super::refused::refusal;
use super::ties::{Candidate, candidates};
use crate::case::{Case, PeerSubject, Reach, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use std::net::SocketAddr;
use why502_facts::{Observed, PeerAddress};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-wrong-port",
    layer: Layer::Connect,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["upstream-not-listening"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_wrong_port.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(refusal) = refusal(case, subject)?.filter(|refusal| !refusal.is_gone()) else {
        return Ok(Ruling::NoSign);
    };
    if let Some(successor) = successor(case, refusal.peer) {
        let says = format!("{} is dialled no longer, and {successor} answers in its place", refusal.address);
        let finding = refusal.finding(case, &CAUSE, Confidence::Likely, subject).still_failing(Some(false));
        return Ok(Ruling::found(
            finding.with([Evidence::supporting(says, case.probe_origin(refusal.peer))]),
        ));
    }
    if !refusal.nobody_listens(case) {
        return Ok(Ruling::NoSign);
    }
    let others = others(case, refusal.peer)?;
    let (confidence, other) = match others.as_slice() {
        [only] if only.tie.is_some() => (Confidence::Confirmed, only),
        [first, second, ..] if first.tie.is_some() && second.tie.is_none() => (Confidence::Confirmed, first),
        [only] => (Confidence::Possible, only),
        _ => return Ok(Ruling::NoSign),
    };
    let tie = other.tie.as_ref().map(|tie| format!(": {tie}")).unwrap_or_default();
    let says = format!("{} is held by {}{tie}", other.address, case.owners(&other.pids));
    let nobody = format!("no socket listens on {}", refusal.address);
    let evidence = [nobody, says].map(|says| Evidence::supporting(says, case.sockets_origin()));
    let finding = refusal.finding(case, &CAUSE, confidence, subject).still_failing(Some(true)).with(evidence);
    Ok(Ruling::found(finding))
}

/// The TCP listeners on other ports that take connections to the peer's address and may be what was meant.
fn others(case: &Case<'_>, peer: &PeerSubject) -> Result<Vec<Candidate>, Asks> {
    let Some(dialled) = peer.address.inet() else { return Ok(Vec::new()) };
    let reachable = |candidate: &Candidate| {
        candidate.address.inet().is_some_and(|own| {
            own.port() != dialled.port()
                && (own.ip().is_unspecified() || own.ip() == dialled.ip() || own.ip().is_loopback())
        })
    };
    Ok(candidates(case, peer)?.into_iter().filter(reachable).collect())
}

/// The address that took the place of one that is dialled no longer: the same host, another port, and it connects.
fn successor(case: &Case<'_>, peer: &PeerSubject) -> Option<SocketAddr> {
    if peer.place.is_some() || peer.group.is_none() || newer_source(case).is_some() {
        return None;
    }
    let dialled = peer.address.inet()?;
    let mut siblings = case.peers.iter().filter(|other| other.group == peer.group && other.place.is_some());
    siblings.find_map(|other| {
        let address =
            other.address.inet().filter(|own| own.ip() == dialled.ip() && own.port() != dialled.port())?;
        (case.reach(other) == Observed::Known(Reach::Connected)).then_some(address)
    })
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.subjects.iter().find_map(Subject::peer);
    let other = peer.and_then(|peer| others(case, peer).ok()?.into_iter().next());
    let title = match (peer, other) {
        (Some(peer), _) if finding.still_failing == Some(false) => {
            format!("{} was dialled, and the backend was on another port", peer.address)
        }
        (Some(peer), Some(other)) => {
            format!("{} is dialled, and the backend listens on {}", peer.address, other.address)
        }
        _ => "the backend listens on another port".to_owned(),
    };
    Explanation {
        title,
        why: "Nothing listens on the port that nginx dials, so the kernel answers with a reset and nginx with 502. The \
              backend runs, on another port."
            .to_owned(),
        wont_help: vec![
            "restarting the backend: it runs, and would take the same port again".to_owned(),
            "raising timeouts: the refusal comes at once, no timer fired".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(peer) =
        finding.subjects.iter().find_map(Subject::peer).filter(|_| finding.still_failing != Some(false))
    else {
        return Vec::new();
    };
    let other = others(case, peer).ok().and_then(|others| others.into_iter().next());
    let target = other.as_ref().and_then(|other| {
        let dialled = peer.address.inet()?;
        Some(PeerAddress::Inet(SocketAddr::new(dialled.ip(), other.address.port()?)))
    });
    let Some((target, (at, text))) =
        target.and_then(|target| Some((target.clone(), case.replace_address(peer, &target)?)))
    else {
        return Vec::new();
    };
    let risk = if finding.confidence == Confidence::Confirmed { Risk::Review } else { Risk::ShowOnly };
    vec![
        Remedy::new(format!("Dial {target}, where the backend listens"), risk)
            .edit(at, text)
            .advice(format!("or make the backend listen on {} again", peer.address))
            .verify(format!("a connection to {target} opens and the failing request answers")),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream shop { server 127.0.0.1:3000; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://shop; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
0.0.0.0:80 nginx
127.0.0.1:5432 postgres
127.0.0.1:3001 shop-server
#- probe 127.0.0.1:3000
refused
"#;

    #[test]
    fn hit_the_command_bears_the_name() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed upstream-wrong-port -> upstream-not-listening: 127.0.0.1:3000 is dialled, and the backend listens on 127.0.0.1:3001 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_corrected_since() {
        let corrected = HIT.replace("server 127.0.0.1:3000;", "server 127.0.0.1:3001;");
        let corrected = Fixture::new(&corrected)
            .with("probe 127.0.0.1:3001", "connected")
            .with("options", "loaded=2026-11-21T02:30:00Z");
        insta::assert_snapshot!(corrected.summary(), @"
        Recovered
        Likely upstream-wrong-port -> upstream-not-listening: 127.0.0.1:3000 was dialled, and the backend was on another port [1 requests, mended]
        ");
    }

    #[test]
    fn near_miss_an_untied_application_is_a_hint() {
        insta::assert_snapshot!(Fixture::new(HIT).with("listeners", "127.0.0.1:3001 node").summary(), @"
        Broken
        Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
        Possible upstream-wrong-port (not a root): 127.0.0.1:3000 is dialled, and the backend listens on 127.0.0.1:3001 [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_two_tied_listeners_say_nothing() {
        let two = Fixture::new(HIT).with("listeners", "127.0.0.1:3001 shop-a\n127.0.0.1:3002 shop-b");
        insta::assert_snapshot!(two.summary(), @"
        Broken
        Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
        ");
    }

    #[test]
    fn gap_the_listeners_cannot_be_seen() {
        insta::assert_snapshot!(Fixture::new(HIT).without("listeners").summary(), @"
        Broken
        Likely upstream-not-listening: connections to 127.0.0.1:3000 are refused [1 requests, still failing]
          open: whether something listens there: the fixture does not tell
        ");
    }

    #[test]
    fn the_remedy_names_the_port_of_the_backend() {
        insta::assert_snapshot!(crate::fixture::first_diff(&Fixture::new(HIT).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -1,5 +1,5 @@
         events {}
         http {
        -    upstream shop { server 127.0.0.1:3000; }
        +    upstream shop { server 127.0.0.1:3001; }
             server {
                 listen 80;
        ");
    }
}
