//! # upstream-wrong-interface
//!
//! ## What happens
//!
//! The backend listens on the right port, but on another address than the one that nginx dials: on 127.0.0.1 only while
//! nginx dials the host's own address, on one interface of several, or on one address family. The kernel answers the
//! connection attempt with a reset. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() failed (111: Connection refused) while connecting to upstream`, a 502 at once; `curl localhost:PORT` on
//! the host works.
//!
//! ## How we know
//!
//! The dialled address belongs to this host, no socket takes a connection to it, and exactly one other socket listens on
//! the same port of another address. Confirmed: it is bound to all addresses of the other family or to `localhost` of the
//! other family, or something ties its process to this upstream. Likely: nothing does, and nothing speaks against it: the
//! port of a bridge, of 127.0.0.7 or of another interface may be another service's. Possible: its process bears another
//! name. A listener of nginx itself, one that is another peer of the configuration, a debugger or a database is none.
//! Confirmed as well: the connection comes to another network namespace of this host (a container, perhaps behind a published
//! port), is refused there now, and one socket listens on that very port of the namespace's own loopback.
//!
//! ## What would disprove it
//!
//! A socket that listens on the dialled address, or nothing on that port at all.
//!
//! ## What to do
//!
//! Bind the backend to the dialled address, or dial the one that it is bound to. Inside of a container bind it to 0.0.0.0: what
//! comes from outside comes by its interface, not by its loopback.
//!
//! ## Not to be confused with
//!
//! `upstream-not-listening` (nothing on that port), `address-family-mismatch` (a name was resolved to an address of the
//! wrong family), `localhost-inside-container` (the listener is in another network namespace).
//!
//! ## References
//!
//! Linux: bind(2), ip(7), ipv6(7) on `IPV6_V6ONLY`. nginx: `ngx_http_upstream_test_connect`.

use super::filtered::Inside;
use super::refused::{Refusal, refusal};
use super::ties::{dial, listens_on, strength_at};
use crate::case::{Case, PeerSubject, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use why502_facts::{Listener, Observed, PeerAddress, SocketTable};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-wrong-interface",
    layer: Layer::Connect,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["upstream-not-listening"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_wrong_interface.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(refusal) = refusal(case, subject)?.filter(|refusal| !refusal.is_gone()) else {
        return Ok(Ruling::NoSign);
    };
    let (peer, address) = (refusal.peer, refusal.address);
    if refusal.inside.is_some() || refusal.led.is_some() {
        return Ok(within(case, &refusal, subject).map_or(Ruling::NoSign, Ruling::found));
    }
    let Observed::Known(table) = case.sockets() else { return Ok(Ruling::NoSign) };
    if !case.is_local(&peer.address) || table.accepting(address).next().is_some() {
        return Ok(Ruling::NoSign);
    }
    let Some((confidence, listener)) = elsewhere(case, peer, address, table)? else {
        return Ok(Ruling::NoSign);
    };
    // An IPv6 wildcard may take IPv4 as well: that it does not is known only if a connection is refused now.
    if table.perhaps_accepting(address).next().is_some() && !refusal.stands() {
        return Ok(Ruling::NoSign);
    }
    let says = format!("no socket listens on {address}, but {}", case.listener(listener));
    let finding = refusal
        .finding(case, &CAUSE, confidence, subject)
        .still_failing(Some(true))
        .with([Evidence::supporting(says, case.sockets_origin())]);
    Ok(Ruling::found(finding))
}

/// A finding about another network namespace that the connection comes to.
fn within(case: &Case<'_>, refusal: &Refusal<'_>, subject: &Subject) -> Option<Finding> {
    let (inside, listener) = on_its_loopback(refusal)?;
    let confidence = if refusal.stands() { Confidence::Confirmed } else { Confidence::Likely };
    let says = format!(
        "in the network namespace of process {} no socket listens on {}, but {}",
        inside.pid,
        inside.address,
        case.listener(listener)
    );
    let finding = refusal
        .finding(case, &CAUSE, confidence, subject)
        .still_failing(refusal.stands().then_some(true))
        .with(refusal.led.as_ref().map(|led| led.evidence(case)))
        .with([Evidence::supporting(says, Case::other_sockets_origin(inside.pid))]);
    Some(finding)
}

/// The only listener on the port that a connection comes to in another network namespace, where it is bound to the loopback there.
fn on_its_loopback<'c>(refusal: &Refusal<'c>) -> Option<(Inside<'c>, &'c Listener)> {
    let inside = refusal.inside?;
    let is_closed = inside.table.listens(&PeerAddress::Inet(inside.address)) == Some(false);
    let mut on_port = inside.table.on_port(inside.address.port()).filter(|_| is_closed);
    let listener = on_port.next().filter(|own| own.address.ip().is_loopback())?;
    on_port.all(|other| other.address.ip().is_loopback()).then_some((inside, listener))
}

/// The only listener on the same port of another address that may be the backend, and how sure that is: none of nginx's
/// own, no other peer, and nobody's who is known to be something else.
fn elsewhere<'t>(
    case: &Case<'_>,
    peer: &PeerSubject,
    address: SocketAddr,
    table: &'t SocketTable,
) -> Result<Option<(Confidence, &'t Listener)>, Asks> {
    let mut others = Vec::new();
    for listener in table.on_port(address.port()) {
        let own = PeerAddress::Inet(listener.address);
        if let Some(strength) = strength_at(case, peer, &own, &listener.pids)? {
            let is_twin = is_twin(address.ip(), listener.address.ip()) && !listener.pids.is_empty();
            let is_sure = strength > Confidence::Likely || (strength == Confidence::Likely && is_twin);
            others.push((if is_sure { Confidence::Confirmed } else { strength }, listener));
        }
    }
    let strongest = others.iter().map(|(strength, _)| *strength).max();
    let mut best = others.into_iter().filter(|(strength, _)| Some(*strength) == strongest);
    let only = best.next();
    Ok(only.filter(|_| best.next().is_none()))
}

/// Whether an address is all addresses, or `localhost`, of the other family: nobody else's can be meant there.
fn is_twin(dialled: IpAddr, own: IpAddr) -> bool {
    let is_localhost =
        |ip: IpAddr| ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(Ipv6Addr::LOCALHOST);
    dialled.is_ipv4() != own.is_ipv4()
        && (own.is_unspecified() || (is_localhost(dialled) && is_localhost(own)))
}

/// The address that a connection to the listener would have to name.
fn dialled(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let found = found(case, finding);
    let inside = found_within(case, finding);
    let title = match (inside, found) {
        (Some((peer, inside, listener)), _)
            if inside.address == peer.address.inet().unwrap_or(inside.address) =>
        {
            format!("{} is dialled, and there the backend listens on {} only", peer.address, listener.address)
        }
        (Some((peer, inside, listener)), _) => format!(
            "{} leads to {}, and there the backend listens on {} only",
            peer.address, inside.address, listener.address
        ),
        (None, Some((peer, listener))) => {
            listens_on(&peer.address, &PeerAddress::Inet(listener.address), finding.confidence)
        }
        (None, None) => "the backend listens on another address".to_owned(),
    };
    let mut wont_help = vec!["raising timeouts: the refusal comes at once, no timer fired".to_owned()];
    if finding.confidence == Confidence::Confirmed {
        let restart = "restarting the backend: it runs, and would bind to the same address again";
        wont_help.insert(0, restart.to_owned());
    }
    Explanation {
        title,
        why: "The kernel answers nginx's connection attempt with a reset, because the socket on that port is bound to \
              another address. nginx has no peer left to try and answers 502 at once."
            .to_owned(),
        wont_help,
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    if let Some((peer, inside, listener)) = found_within(case, finding) {
        let advice = format!(
            "bind it to 0.0.0.0:{} or [::]:{}, by its own setting for host or interface: {} is reached from inside of its own \
             namespace alone",
            listener.address.port(),
            listener.address.port(),
            listener.address
        );
        let remedy = Remedy::new(format!("Bind the backend to {}", inside.address), Risk::ShowOnly);
        return vec![remedy.advice(advice).verify(format!("a connection to {} opens", peer.address))];
    }
    let Some((peer, listener)) = found(case, finding) else { return Vec::new() };
    let target = PeerAddress::Inet(dialled(listener.address));
    let mut remedies = Vec::new();
    let remedy = dial(&target, &peer.address, finding.confidence)
        .verify(format!("a connection to {target} opens and the failing request answers"));
    remedies.extend(case.redial(remedy, finding, &target));
    let advice = format!("or bind the backend to {} (its own setting for host or interface)", peer.address);
    remedies.push(
        Remedy::new("Bind the backend to the dialled address", Risk::ShowOnly)
            .advice(advice)
            .verify(format!("a connection to {} opens", peer.address)),
    );
    remedies
}

fn found_within<'f>(
    case: &'f Case<'_>,
    finding: &'f Finding,
) -> Option<(&'f PeerSubject, Inside<'f>, &'f Listener)> {
    let subject = finding.subjects.iter().find(|subject| subject.peer().is_some())?;
    let refusal = refusal(case, subject).ok()??;
    let (inside, listener) = on_its_loopback(&refusal)?;
    Some((refusal.peer, inside, listener))
}

fn found<'f>(case: &'f Case<'_>, finding: &'f Finding) -> Option<(&'f PeerSubject, &'f Listener)> {
    let peer = finding.peer()?;
    let (_, listener) = elsewhere(case, peer, peer.address.inet()?, case.sockets().known()?).ok()??;
    Some((peer, listener))
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream backend { server 10.0.0.5:3000; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://backend; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://10.0.0.5:3000/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- addresses
10.0.0.5
#- listeners
0.0.0.0:80 nginx
127.0.0.1:3000 node
#- probe 10.0.0.5:3000
refused
"#;

    #[test]
    fn hit_bound_to_loopback() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Likely upstream-wrong-interface -> upstream-not-listening: 10.0.0.5:3000 is dialled, and the backend likely listens on 127.0.0.1:3000 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_bound_to_the_other_family() {
        let other = Fixture::new(HIT).with("listeners", "[::1]:3000 node");
        insta::assert_snapshot!(other.summary(), @"
        Broken
        Likely upstream-wrong-interface -> upstream-not-listening: 10.0.0.5:3000 is dialled, and the backend likely listens on [::1]:3000 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_tied_to_the_upstream() {
        let shop = HIT.replace("upstream backend", "upstream shop").replace("http://backend", "http://shop");
        let tied = Fixture::new(&shop).with("listeners", "127.0.0.7:3000 node cwd=/srv/shop server.js");
        insta::assert_snapshot!(tied.summary(), @"
        Broken
        Confirmed upstream-wrong-interface -> upstream-not-listening: 10.0.0.5:3000 is dialled, and the backend listens on 127.0.0.7:3000 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_all_addresses_of_the_other_family() {
        let v6 = HIT.replace("10.0.0.5:3000", "[::1]:3000");
        let listeners = Fixture::new(&v6).with("listeners", "0.0.0.0:3000 gunicorn -b 0.0.0.0:3000 app:app");
        insta::assert_snapshot!(listeners.summary(), @"
        Broken
        Confirmed upstream-wrong-interface -> upstream-not-listening: [::1]:3000 is dialled, and the backend listens on 0.0.0.0:3000 [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_a_service_of_another_kind() {
        let loopback = Fixture::new(&HIT.replace("10.0.0.5:3000", "127.0.0.1:3000"));
        for foreign in ["127.0.0.7:3000 postgres", "127.0.0.53:3000 systemd-resolve"] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(loopback.with("listeners", foreign).summary(), @"
                Broken
                Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
                ");
            }
        }
    }

    #[test]
    fn near_miss_two_listeners_on_that_port() {
        let two = Fixture::new(HIT).with("listeners", "127.0.0.7:3000 node\n127.0.0.8:3000 node");
        insta::assert_snapshot!(two.summary(), @"
        Broken
        Confirmed upstream-not-listening: nothing listens on 10.0.0.5:3000 [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_the_listener_is_another_peer() {
        let config = Fixture::new(HIT).with(
            "nginx.conf",
            "events {}\nhttp {\nupstream backend { server 10.0.0.5:3000; server 127.0.0.1:3000; }\nserver { listen 80; server_name shop.example.com; location / { proxy_pass http://backend; } }\n}\n",
        );
        insta::assert_snapshot!(config.with("probe 127.0.0.1:3000", "connected").summary(), @"
        Broken
        Confirmed upstream-not-listening -> some-peers-failing: nothing listens on 10.0.0.5:3000 [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_the_address_is_another_hosts() {
        insta::assert_snapshot!(Fixture::new(HIT).with("addresses", "10.0.0.6").summary(), @"
        Broken
        Likely upstream-not-listening: connections to 10.0.0.5:3000 are refused [1 requests, still failing]
        ");
    }

    #[test]
    fn gap_the_listeners_cannot_be_seen() {
        insta::assert_snapshot!(Fixture::new(HIT).without("listeners").summary(), @"
        Broken
        Likely upstream-not-listening: connections to 10.0.0.5:3000 are refused [1 requests, still failing]
          open: whether something listens there: the fixture does not tell
        ");
    }

    #[test]
    fn the_remedy_dials_where_the_backend_listens() {
        let report = Fixture::new(HIT).report();
        insta::assert_snapshot!(crate::fixture::first_diff(&report), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -1,5 +1,5 @@
         events {}
         http {
        -    upstream backend { server 10.0.0.5:3000; }
        +    upstream backend { server 127.0.0.1:3000; }
             server {
                 listen 80;
        ");
    }
}
