//! # upstream-not-listening
//!
//! ## What happens
//!
//! nginx opens a TCP connection to the peer and the answer is a reset: on the address and port that it dials nobody
//! listens. The kernel answers at once, so no timeout is involved. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() failed (111: Connection refused) while connecting to upstream` in the error log, a 502 for the client at
//! once, `$upstream_connect_time` `-`.
//!
//! ## How we know
//!
//! Confirmed: the address belongs to this host, the listening sockets of nginx's network namespace were read, and none
//! of them takes a connection to it. Where a rule of a packet filter leads the connection to another address (a published
//! port), or where the address is that of another network namespace of this host, the sockets there tell. Likely: only the
//! refusal was seen, in the log or by a probe; a packet filter that rejects looks the same.
//!
//! ## What would disprove it
//!
//! A socket that listens on the address, or a connection that nginx's user can open to it.
//!
//! ## What to do
//!
//! Start the backend, or find out why it does not come up. If it listens elsewhere on purpose, point nginx, or the rule that
//! leads there, to it.
//!
//! ## Not to be confused with
//!
//! `upstream-wrong-interface` (it listens on the port, on another address), `upstream-wrong-port`,
//! `upstream-tcp-unix-mismatch`, `unix-socket-stale` (a refusal by a unix socket), `address-family-mismatch`,
//! `firewall-rejected`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_test_connect` in `src/http/ngx_http_upstream.c`, `ngx_event_connect_peer` in
//! `src/event/ngx_event_connect.c`. Linux: connect(2), `ECONNREFUSED`.

use super::config_not_reloaded::{is_foreign, newer_source};
use super::refused::{Refusal, refusal};
use super::ties::hidden_owners;
use crate::case::{Case, PeerSubject, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use std::net::SocketAddr;
use why502_facts::PeerAddress;

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-not-listening",
    layer: Layer::Connect,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_not_listening.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(refusal) = refusal(case, subject)? else { return Ok(Ruling::NoSign) };
    // An address that the loaded configuration does not have is dialled no longer, whatever it does.
    let is_left =
        case.gateway.master.is_some() && is_foreign(case, refusal.peer) && newer_source(case).is_none();
    if refusal.is_gone() || is_left {
        return Ok(Ruling::found(
            refusal.finding(case, &CAUSE, Confidence::Likely, subject).still_failing(Some(false)),
        ));
    }
    if let Some(finding) = beyond(case, &refusal, subject) {
        return Ok(Ruling::found(finding));
    }
    if refusal.nobody_listens(case) {
        let says = format!("no socket listens on {}", refusal.address);
        // A name that stands for other addresses now may be the root.
        let is_left_by_name = refusal.peer.place.is_none() && refusal.peer.group.is_some();
        let hidden = hidden_owners(case, refusal.peer);
        let confidence =
            if is_left_by_name || hidden.is_some() { Confidence::Likely } else { Confidence::Confirmed };
        let finding =
            refusal.finding(case, &CAUSE, confidence, subject).still_failing(Some(true)).open(hidden);
        return Ok(Ruling::found(finding.with([Evidence::supporting(says, case.sockets_origin())])));
    }
    let stands = refusal.stands().then_some(true);
    // Somebody listens there and is not reached: something on the way refuses.
    let is_held =
        case.sockets().known().is_some_and(|table| table.listens(&refusal.peer.address) == Some(true));
    let confidence = if is_held && case.is_local(&refusal.peer.address) {
        Confidence::Possible
    } else {
        Confidence::Likely
    };
    let finding = refusal.finding(case, &CAUSE, confidence, subject).still_failing(stands);
    let gap = case.sockets().gap().cloned();
    Ok(Ruling::found(finding.open(gap.map(|gap| Case::open(gap, "whether something listens there")))))
}

/// A finding about another network namespace that the connection comes to, or another address that it is led to.
fn beyond(case: &Case<'_>, refusal: &Refusal<'_>, subject: &Subject) -> Option<Finding> {
    let inside = refusal.inside.as_ref();
    let to = inside.map(|own| own.address).or(refusal.led.as_ref().map(|led| led.to))?;
    let listens = inside.and_then(|own| own.table.listens(&PeerAddress::Inet(own.address)));
    let confidence = match listens {
        Some(false) if refusal.stands() => Confidence::Confirmed,
        // Somebody listens and is not reached: something on the way refuses.
        Some(true) if refusal.stands() => Confidence::Possible,
        _ => Confidence::Likely,
    };
    let nobody = inside.filter(|_| listens == Some(false)).map(|own| {
        let says = format!("no socket listens on {to} in the network namespace of process {}", own.pid);
        Evidence::supporting(says, Case::other_sockets_origin(own.pid))
    });
    let others = inside.filter(|_| listens == Some(false)).and_then(|own| {
        let others = own.table.listeners.iter().filter(|other| !other.address.ip().is_loopback());
        let words: Vec<String> = others.take(3).map(|other| case.listener(other)).collect();
        let says = format!("on other ports there: {}", words.join(", "));
        (!words.is_empty()).then(|| Evidence::context(says, Case::other_sockets_origin(own.pid)))
    });
    let finding = refusal
        .finding(case, &CAUSE, confidence, subject)
        .still_failing(refusal.stands().then_some(true))
        .with(refusal.led.as_ref().map(|led| led.evidence(case)))
        .with(nobody)
        .with(others);
    Some(finding)
}

/// Where the connections of a finding are led, and by which rule.
fn led_to(case: &Case<'_>, finding: &Finding) -> Option<(SocketAddr, String)> {
    let subject = finding.subjects.iter().find(|subject| subject.peer().is_some())?;
    let led = refusal(case, subject).ok()??.led?;
    Some((led.to, led.place_words()))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let addresses: Vec<String> =
        finding.subjects.iter().filter_map(Subject::peer).map(|peer| peer.address.to_string()).collect();
    let led = led_to(case, finding).filter(|_| finding.still_failing != Some(false));
    let title = match (finding.confidence, finding.still_failing, &led) {
        (_, Some(false), _) => format!("nothing listened on {}", addresses.join(", ")),
        (Confidence::Confirmed, _, Some((to, _))) => {
            format!("nothing listens on {to}, where a rule leads what is sent to {}", addresses.join(", "))
        }
        (Confidence::Confirmed, _, None) => format!("nothing listens on {}", addresses.join(", ")),
        _ => format!("connections to {} are refused", addresses.join(", ")),
    };
    Explanation {
        title,
        why: "The kernel answers nginx's connection attempt with a reset, because no socket takes it. nginx has no peer \
              left to try and answers 502 at once."
            .to_owned(),
        wont_help: vec![
            "raising proxy_connect_timeout or proxy_read_timeout: the refusal comes at once, no timer fired".to_owned(),
            "setsebool or chmod: a denial is errno 13, this is 111".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    if finding.still_failing == Some(false) {
        return Vec::new();
    }
    // Whoever listened on an address that the file no longer has may be gone for good.
    let is_dropped = |peer: &PeerSubject| case.gateway.master.is_some() && is_foreign(case, peer);
    let Some(peer) = finding.peer().filter(|peer| !is_dropped(peer)) else { return Vec::new() };
    if let Some((to, place)) = led_to(case, finding) {
        let advice = format!(
            "a rule ({place}) leads what is sent to {} on to {to}: start the service that should listen there, or write the address and \
             port that it has now into what makes the rule",
            peer.address
        );
        return vec![
            Remedy::new("Have the rule and the backend name the same address", Risk::ShowOnly)
                .advice(advice)
                .verify(format!("a connection to {} opens", peer.address)),
        ];
    }
    let place = if case.is_local(&peer.address) { "on this host" } else { "on its host" };
    let advice = format!(
        "start the service that should listen on {} {place}, and read its log if it does not stay up",
        peer.address
    );
    vec![
        Remedy::new("Start the backend", Risk::ShowOnly)
            .advice(advice)
            .verify(format!("a connection to {} opens", peer.address)),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream backend { server 127.0.0.1:3000; }
    server {
        listen 80;
        server_name shop.example.com;
        location /api/ { proxy_pass http://backend; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /api/a HTTP/1.1", upstream: "http://127.0.0.1:3000/api/a", host: "shop.example.com"
2026/11/21 02:28:31 [error] 101#101: *5 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "POST /api/b HTTP/1.1", upstream: "http://127.0.0.1:3000/api/b", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /api/a HTTP/1.1" 502 157 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:31 +0000] "POST /api/b HTTP/1.1" 502 157 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:32 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/8"
#- listeners
0.0.0.0:80 nginx
127.0.0.1:5432 postgres
#- probe 127.0.0.1:3000
refused
"#;

    #[test]
    fn hit_nobody_listens() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [2 requests, still failing]
        ");
    }

    #[test]
    fn hit_a_rule_leads_elsewhere() {
        let rule = "*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -m tcp --dport 3000 -j DNAT --to-destination 10.9.0.7:80\nCOMMIT\n";
        let report = Fixture::new(HIT).with("iptables", rule).report();
        let finding = &report.findings[0];
        let evidence: Vec<&str> = finding.evidence.iter().map(|own| own.says.as_str()).collect();
        assert_eq!(finding.cause, "upstream-not-listening");
        assert!(
            evidence.iter().any(|says| says.ends_with("leads the connection on to 10.9.0.7:80")),
            "{evidence:?}"
        );
        assert!(!evidence.contains(&"no socket listens on 127.0.0.1:3000"), "{evidence:?}");
    }

    #[test]
    fn hit_seen_by_the_probe_alone() {
        let quiet = Fixture::new(HIT).with("error.log", "").with("access.log", "");
        insta::assert_snapshot!(quiet.summary(), @"
        Broken
        Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [0 requests, still failing]
        ");
    }

    #[test]
    fn hit_foreseen_for_a_url_that_nothing_may_be_sent_for() {
        let quiet = Fixture::new(HIT).with("error.log", "").with("access.log", "");
        let asked = |options: &str| quiet.without("probe 127.0.0.1:3000").with("options", options);
        insta::assert_snapshot!(asked("no-probe\nurl=/api/a").summary(), @"
        Broken
        Likely upstream-not-listening: connections to 127.0.0.1:3000 are refused [0 requests, still failing]
        ");
        assert_eq!(asked("no-probe\nurl=/").summary(), "Healthy\n");
        assert_eq!(asked("no-probe").summary(), "Healthy\n", "nobody asked for it");
        // Another peer of the group takes the request.
        let two = HIT.replace("server 127.0.0.1:3000;", "server 127.0.0.1:3000; server 127.0.0.1:5432;");
        let two = Fixture::new(&two).with("error.log", "").with("access.log", "");
        let two = two.without("probe 127.0.0.1:3000").with("options", "no-probe\nurl=/api/a");
        assert!(!two.summary().contains("upstream-not-listening"), "{}", two.summary());
    }

    #[test]
    fn near_miss_it_listens_again() {
        let again = Fixture::new(HIT)
            .with("listeners", "127.0.0.1:3000 node")
            .with("probe 127.0.0.1:3000", "connected");
        insta::assert_snapshot!(again.summary(), @"
        Recovered
        Likely upstream-not-listening: nothing listened on 127.0.0.1:3000 [2 requests, mended]
        ");
    }

    #[test]
    fn near_miss_a_timeout_is_no_refusal() {
        let log = "2026/11/21 02:28:30 [error] 101#101: *3 upstream timed out (110: Connection timed out) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: \"GET /api/a HTTP/1.1\", upstream: \"http://127.0.0.1:3000/api/a\", host: \"shop.example.com\"";
        let access =
            "10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /api/a HTTP/1.1\" 504 167 \"-\" \"curl/8\"\n";
        let silent = Fixture::new(HIT)
            .with("error.log", log)
            .with("access.log", access)
            .with("probe 127.0.0.1:3000", "silent");
        insta::assert_snapshot!(silent.summary(), @"
        Broken
        Confirmed upstream-connect-timeout: connection attempts to 127.0.0.1:3000 get no answer within 60 s [1 requests, still failing]
        ");
    }

    #[test]
    fn gap_the_listeners_cannot_be_seen() {
        insta::assert_snapshot!(Fixture::new(HIT).without("listeners").summary(), @"
        Broken
        Likely upstream-not-listening: connections to 127.0.0.1:3000 are refused [2 requests, still failing]
          open: whether something listens there: the fixture does not tell
        ");
    }

    #[test]
    fn gap_only_the_files_are_there() {
        let files = Fixture::new(HIT).with("options", "offline");
        insta::assert_snapshot!(files.summary(), @"
        Broken
        Likely upstream-not-listening: connections to 127.0.0.1:3000 are refused [2 requests]
          open: whether something listens there: not looked at: --offline
        ");
    }

    #[test]
    fn a_bsd_log_is_read_by_its_words() {
        let log = "2026/11/21 02:28:30 [error] 101#101: *3 kevent() reported that connect() failed (61: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: \"GET /api/a HTTP/1.1\", upstream: \"http://127.0.0.1:3000/api/a\", host: \"shop.example.com\"";
        let files = Fixture::new(HIT).with("error.log", log).without("access.log").with("options", "offline");
        insta::assert_snapshot!(files.summary(), @"
        Broken
        Likely upstream-not-listening: connections to 127.0.0.1:3000 are refused [1 requests]
          open: whether something listens there: not looked at: --offline
        ");
    }
}
