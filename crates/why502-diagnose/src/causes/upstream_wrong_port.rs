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
//! Confirmed: the container engine says that the dialled port is the one on which the host publishes another port of this very
//! container, and a connection is refused now. Confirmed as well: nobody listens on the dialled port, and exactly one listener of the host is this upstream's: its unit or
//! command bears the upstream's name, or its command line names that listener and an application of the name. Likely: only
//! a directory or path bears the name, or it is the only one that speaks the route's protocol, and nothing speaks against
//! it; or the failures name an address that the group no longer has, and its successor in the group answers. Possible: a
//! listener that has another name of its own, or an application server that nothing ties to this upstream, or one
//! that was up already when the dialled port answered: then it is another port of the same service, its metrics perhaps, and
//! what listened on the dialled one is gone. A debugger, a monitor or a database is never meant.
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

mod published;

use self::published::published;
use super::config_not_reloaded::newer_source;
use super::refused::refusal;
use super::ties::{Candidate, Tie, candidates, dial, listens_on, meant};
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
    if let Some(published) = published(case, refusal.peer)? {
        let confidence = if refusal.stands() { Confidence::Confirmed } else { Confidence::Likely };
        let finding = refusal.finding(case, &CAUSE, confidence, subject);
        let finding = finding.still_failing(refusal.stands().then_some(true)).with([published.evidence()]);
        return Ok(Ruling::found(finding));
    }
    if !refusal.nobody_listens(case) {
        return Ok(Ruling::NoSign);
    }
    let Some((confidence, other)) = other(case, refusal.peer)? else { return Ok(Ruling::NoSign) };
    let nobody = format!("no socket listens on {}", refusal.address);
    let evidence = [nobody, other.says(case)].map(|says| Evidence::supporting(says, case.sockets_origin()));
    let finding = refusal.finding(case, &CAUSE, confidence, subject).still_failing(Some(true)).with(evidence);
    Ok(Ruling::found(finding))
}

/// The TCP listener on another port that takes connections to the peer's address and is what was meant, as far as that can
/// be told.
fn other(case: &Case<'_>, peer: &PeerSubject) -> Result<Option<(Confidence, Candidate)>, Asks> {
    let Some(dialled) = peer.address.inet() else { return Ok(None) };
    let reachable = |candidate: &Candidate| {
        candidate.address.inet().is_some_and(|own| {
            own.port() != dialled.port()
                && (own.ip().is_unspecified() || own.ip() == dialled.ip() || own.ip().is_loopback())
        })
    };
    let mut others: Vec<Candidate> = candidates(case, peer)?.into_iter().filter(reachable).collect();
    for other in &mut others {
        if let Some(tie) = other.tie.take() {
            let was_beside = was_beside(case, peer, other);
            let beside =
                if was_beside { ", but it was up already when the dialled port answered" } else { "" };
            let strength = if was_beside { Confidence::Possible } else { tie.strength };
            other.tie = Some(Tie { says: format!("{}{beside}", tie.says), strength });
        }
    }
    Ok(meant(case, peer, others))
}

/// Whether the dialled port answered while a listener was up already: it did not take that port's place. A name or a unit ties
/// a process, and not each of its ports.
fn was_beside(case: &Case<'_>, peer: &PeerSubject, other: &Candidate) -> bool {
    let started = other.pids.iter().filter_map(|pid| case.listed(*pid)?.started).min();
    started.is_some() && case.last_success(peer).is_some_and(|(at, _)| Some(at) > started)
}

/// The address that took the place of one that is dialled no longer: the same host, another port, and it connects.
fn successor(case: &Case<'_>, peer: &PeerSubject) -> Option<SocketAddr> {
    if peer.place.is_some() || peer.group.is_none() || newer_source(case).is_some() {
        return None;
    }
    let dialled = peer.address.inet()?;
    let mut siblings = case.peers_of(peer.group).filter(|other| other.place.is_some());
    siblings.find_map(|other| {
        let address =
            other.address.inet().filter(|own| own.ip() == dialled.ip() && own.port() != dialled.port())?;
        (case.reach(other) == Observed::Known(Reach::Connected)).then_some(address)
    })
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.peer();
    let other = peer.and_then(|peer| other(case, peer).ok()?);
    let published = peer.and_then(|peer| Some(published(case, peer).ok()??.address()));
    let address = published.as_ref().or(other.as_ref().map(|(_, other)| &other.address));
    let title = match (peer, address) {
        (Some(peer), _) if finding.still_failing == Some(false) => {
            format!("{} was dialled, and the backend was on another port", peer.address)
        }
        (Some(peer), Some(address)) => listens_on(&peer.address, address, finding.confidence),
        _ => "the backend listens on another port".to_owned(),
    };
    let mut wont_help = vec!["raising timeouts: the refusal comes at once, no timer fired".to_owned()];
    if finding.confidence == Confidence::Confirmed {
        wont_help.insert(0, "restarting the backend: it runs, and would take the same port again".to_owned());
    }
    Explanation {
        title,
        why: "Nothing listens on the port that nginx dials, so the kernel answers with a reset and nginx with 502. What \
              seems to be the backend runs, on another port."
            .to_owned(),
        wont_help,
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(peer) = finding.peer().filter(|_| finding.still_failing != Some(false)) else {
        return Vec::new();
    };
    if let Some(published) = published(case, peer).ok().flatten() {
        let target = published.target();
        let verify = format!("a connection to {target} opens and the failing request answers");
        let remedy = Remedy::new(format!("Dial {target}, the container's own port"), Risk::Review)
            .advice(format!(
                "the published port of {} is for those outside of its networks",
                published.container
            ))
            .verify(verify);
        return case.redial_to(remedy, finding, &target).into_iter().collect();
    }
    let other = other(case, peer).ok().flatten();
    let target = other.and_then(|(_, other)| {
        let (dialled, own) = (peer.address.inet()?, other.address.inet()?);
        let ip = if own.ip().is_unspecified() { dialled.ip() } else { own.ip() };
        Some(PeerAddress::Inet(SocketAddr::new(ip, own.port())))
    });
    let Some(target) = target else { return Vec::new() };
    let remedy = dial(&target, &peer.address, finding.confidence)
        .verify(format!("a connection to {target} opens and the failing request answers"));
    case.redial(remedy, finding, &target).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;
    use crate::remedy::Risk;

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

    /// What is said where that listens, with the address 127.0.0.1:3001.
    fn with_listener(process: &str) -> String {
        Fixture::new(HIT).with("listeners", &format!("127.0.0.1:3001 {process}")).summary()
    }

    #[test]
    fn hit_the_unit_bears_the_name() {
        insta::assert_snapshot!(with_listener("python3 unit=shop.service server.py"), @"
        Broken
        Confirmed upstream-wrong-port -> upstream-not-listening: 127.0.0.1:3000 is dialled, and the backend listens on 127.0.0.1:3001 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_command_line_names_the_listener_and_the_application() {
        insta::assert_snapshot!(with_listener("gunicorn -w 2 -b 127.0.0.1:3001 shop.wsgi:app"), @"
        Broken
        Confirmed upstream-wrong-port -> upstream-not-listening: 127.0.0.1:3000 is dialled, and the backend listens on 127.0.0.1:3001 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_a_directory_of_the_name_is_likely() {
        insta::assert_snapshot!(with_listener("node cwd=/srv/shop server.js"), @"
        Broken
        Likely upstream-wrong-port -> upstream-not-listening: 127.0.0.1:3000 is dialled, and the backend likely listens on 127.0.0.1:3001 [1 requests, still failing]
        ");
        insta::assert_snapshot!(with_listener("python3 /srv/shop/manage.py runserver 3001"), @"
        Broken
        Likely upstream-wrong-port -> upstream-not-listening: 127.0.0.1:3000 is dialled, and the backend likely listens on 127.0.0.1:3001 [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_another_program_of_the_same_directory() {
        insta::assert_snapshot!(with_listener("python3 cwd=/srv/shop report.py"), @"
        Broken
        Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
        Possible upstream-wrong-port (not a root): 127.0.0.1:3000 is dialled; perhaps the backend listens on 127.0.0.1:3001 [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_metrics_and_debuggers_are_never_meant() {
        let alone = with_listener("postgres");
        insta::assert_snapshot!(alone, @"
        Broken
        Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
        ");
        for side_door in [
            "python3 /srv/shop/metrics.py",
            "node --inspect=127.0.0.1:3001 /srv/shop/server.js",
            "uwsgi cwd=/srv/shop --stats 127.0.0.1:3001",
            "prober unit=shop-exporter.service --watch shop",
            "ssh -p 3000 shop",
        ] {
            assert_eq!(with_listener(side_door), alone, "{side_door}");
        }
    }

    #[test]
    fn near_miss_a_port_that_is_dialled_by_the_other_is_none_that_it_listens_on() {
        let summary = with_listener("python3 app.py --target-port 3000");
        assert!(!summary.contains("Likely upstream-wrong-port"), "{summary}");
        let told = with_listener("python3 app.py --port 3000");
        assert!(told.contains("Likely upstream-wrong-port"), "{told}");
    }

    #[test]
    fn gap_listeners_of_nobody_who_may_be_seen_make_a_likely_one_possible() {
        let hidden = Fixture::new(HIT)
            .with("listeners", "127.0.0.1:3001 node cwd=/srv/shop server.js\n127.0.0.1:4000 hidden");
        insta::assert_snapshot!(hidden.summary(), @"
        Broken
        Likely upstream-not-listening: connections to 127.0.0.1:3000 are refused [1 requests, still failing]
          open: whether the backend listens elsewhere: whose 127.0.0.1:4000 is may not be seen (1 such listener)
        Possible upstream-wrong-port (not a root): 127.0.0.1:3000 is dialled; perhaps the backend listens on 127.0.0.1:3001 [1 requests, still failing]
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
    fn near_miss_another_port_of_a_service_whose_dialled_port_answered() {
        let answered = "10.0.0.9 - - [21/Nov/2026:02:20:00 +0000] \"GET /a HTTP/1.1\" 200 157 \"-\" \"curl/8\"\n10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 502 157 \"-\" \"curl/8\"";
        let started = |moment: &str| {
            let listener = format!("127.0.0.1:3001 shop-server started={moment}");
            Fixture::new(HIT).with("access.log", answered).with("listeners", &listener)
        };
        let metrics = started("2026-11-21T02:10:00Z");
        insta::assert_snapshot!(metrics.summary(), @"
        Broken
        Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
        Possible upstream-wrong-port (not a root): 127.0.0.1:3000 is dialled; perhaps the backend listens on 127.0.0.1:3001 [1 requests, still failing]
        ");
        let findings = metrics.report().findings;
        let mut remedies = findings.iter().flat_map(|finding| &finding.remedies);
        assert!(remedies.all(|remedy| remedy.steps.is_empty()), "nothing is led to that port: {findings:?}");
        let moved = started("2026-11-21T02:25:00Z");
        assert!(moved.summary().contains("Confirmed upstream-wrong-port"), "{}", moved.summary());
    }

    #[test]
    fn near_miss_an_untied_application_is_a_hint() {
        insta::assert_snapshot!(Fixture::new(HIT).with("listeners", "127.0.0.1:3001 node").summary(), @"
        Broken
        Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
        Possible upstream-wrong-port (not a root): 127.0.0.1:3000 is dialled; perhaps the backend listens on 127.0.0.1:3001 [1 requests, still failing]
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
    fn only_a_proven_port_is_one_to_write() {
        let risk = |process: &str| {
            let listener = format!("127.0.0.1:3001 {process}");
            let report = Fixture::new(HIT).with("listeners", &listener).report();
            let is_it = |finding: &&crate::FindingInfo| finding.cause == "upstream-wrong-port";
            let remedy = report.findings.iter().find(is_it).unwrap().remedies[0].clone();
            (remedy.risk, remedy.steps.len())
        };
        assert_eq!(risk("shop-server"), (Risk::Review, 1));
        assert_eq!(risk("node cwd=/srv/shop server.js"), (Risk::ShowOnly, 1));
        assert_eq!(risk("node"), (Risk::ShowOnly, 0), "a possibility has no steps");
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
