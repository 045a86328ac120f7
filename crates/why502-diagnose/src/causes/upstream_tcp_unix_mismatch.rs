//! # upstream-tcp-unix-mismatch
//!
//! ## What happens
//!
//! nginx dials a TCP port while the backend listens on a unix socket, or the other way round. php-fpm's packages listen
//! on a socket by default, and many guides write `fastcgi_pass 127.0.0.1:9000`. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() failed (111: Connection refused)` for TCP, `connect() to unix:… failed (2: No such file or directory)` for
//! a socket; a 502 at once.
//!
//! ## How we know
//!
//! Confirmed: nobody listens on what is dialled, and exactly one listener of the other kind is this upstream's: the unit or
//! command of its process bears the upstream's name, or its command line names that listener and an application of the
//! name. Likely: it is the only one that speaks the route's protocol or whose directory bears the name, and nothing speaks
//! against it. Possible: it also bears another name; or from the files alone, where a commented-out line beside the address
//! names the other kind.
//!
//! ## What would disprove it
//!
//! A listener on the dialled address.
//!
//! ## What to do
//!
//! Make both sides name the same: point nginx to the socket or the port that the backend has.
//!
//! ## Not to be confused with
//!
//! `upstream-not-listening`, `unix-socket-missing`, `upstream-wrong-port` (both are TCP), `unix-socket-wrong-path` (both
//! are sockets).
//!
//! ## References
//!
//! nginx: `ngx_event_connect_peer`. php-fpm: `listen` in the pool's configuration.

use super::refused::refusal;
use super::ties::{Candidate, candidates, dial, listens_on, meant};
use super::unix::missing;
use crate::case::{Case, PeerSubject, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::Remedy;
use why502_facts::PeerAddress;

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-tcp-unix-mismatch",
    layer: Layer::Connect,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["upstream-not-listening", "unix-socket-missing"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_tcp_unix_mismatch.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(peer) = subject.peer() else { return Ok(Ruling::NoSign) };
    let (finding, nobody) = match refusal(case, subject)? {
        Some(refusal) if refusal.is_gone() => return Ok(Ruling::NoSign),
        Some(refusal) => {
            (refusal.finding(case, &CAUSE, Confidence::Confirmed, subject), refusal.nobody_listens(case))
        }
        None => match missing(case, subject)? {
            Some(missing) if missing.is_gone() => return Ok(Ruling::NoSign),
            Some(missing) => {
                (missing.finding(case, &CAUSE, Confidence::Confirmed, subject), missing.is_absent())
            }
            None => return Ok(Ruling::NoSign),
        },
    };
    if !nobody {
        return Ok(hint(case, peer, finding));
    }
    let Some((confidence, other)) = other(case, peer)? else { return Ok(hint(case, peer, finding)) };
    let evidence = [Evidence::supporting(other.says(case), case.sockets_origin())];
    let finding = Finding { confidence, ..finding };
    Ok(Ruling::found(finding.still_failing(Some(true)).with(evidence)))
}

/// The listener of the other kind that is this upstream's, as far as that can be told. What nothing ties to it is none.
fn other(case: &Case<'_>, peer: &PeerSubject) -> Result<Option<(Confidence, Candidate)>, Asks> {
    let is_unix = peer.address.unix_path().is_some();
    let is_other =
        |candidate: &Candidate| candidate.tie.is_some() && candidate.address.unix_path().is_some() != is_unix;
    let others = candidates(case, peer)?.into_iter().filter(is_other).collect();
    Ok(meant(case, peer, others))
}

/// A commented-out line of the group that names the other kind is a hint, and no more.
fn hint(case: &Case<'_>, peer: &PeerSubject, mut finding: Finding) -> Ruling {
    let Some(at) = commented_out(case, peer) else { return Ruling::NoSign };
    finding.confidence = Confidence::Possible;
    finding.fails_clients_now = false;
    let says = "a commented-out line beside the address names the other kind of listener";
    Ruling::found(finding.with([Evidence::supporting(says, Origin::File(at))]))
}

fn commented_out(case: &Case<'_>, peer: &PeerSubject) -> Option<why502_model::Span> {
    let at = case.written_at(peer)?;
    let is_unix = peer.address.unix_path().is_some();
    let is_other = |text: &str| {
        let names_socket = text.contains("unix:");
        let is_directive = text.contains("server ") || text.contains("_pass ");
        is_directive && (names_socket != is_unix)
    };
    case.gateway.comments_near(&at).into_iter().find(|(text, _)| is_other(text)).map(|(_, at)| at)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.peer();
    let other = peer.and_then(|peer| other(case, peer).ok()?);
    let title = match (peer, &other) {
        (Some(peer), Some((_, other))) => listens_on(&peer.address, &other.address, finding.confidence),
        (Some(peer), None) if peer.address.unix_path().is_some() => {
            format!("{} is dialled; perhaps the backend listens on a TCP port", peer.address)
        }
        (Some(peer), None) => {
            format!("{} is dialled; perhaps the backend listens on a unix socket", peer.address)
        }
        _ => "nginx and the backend name different kinds of sockets".to_owned(),
    };
    let restart = "restarting the backend: it runs, and would listen on the same socket again".to_owned();
    Explanation {
        title,
        why: "Nothing listens on what nginx dials, so the kernel refuses at once and nginx answers 502. What seems to be the \
              backend runs, on the other kind of socket."
            .to_owned(),
        wont_help: (finding.confidence == Confidence::Confirmed).then_some(restart).into_iter().collect(),
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let peer = finding.peer();
    let other = peer.and_then(|peer| Some((peer, other(case, peer).ok()??.1.address)));
    let Some((peer, address)) = other else { return Vec::new() };
    let target = match address {
        PeerAddress::Inet(own) if own.ip().is_unspecified() => {
            PeerAddress::Inet(([127, 0, 0, 1], own.port()).into())
        }
        other => other,
    };
    let remedy = dial(&target, &peer.address, finding.confidence).verify("the failing request answers");
    let is_proven_socket = target.unix_path().is_some() && finding.confidence == Confidence::Confirmed;
    let remedy = if is_proven_socket {
        remedy.advice("nginx's worker user must be allowed to write the socket")
    } else {
        remedy
    };
    case.redial(remedy, finding, &target).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream php-handler {
        server 127.0.0.1:9000;
        #server unix:/run/php/php8.2-fpm.sock;
    }
    server {
        listen 80;
        server_name cloud.example.com;
        root /var/www;
        location ~ \.php$ { fastcgi_pass php-handler; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: cloud.example.com, request: "GET /index.php HTTP/1.1", upstream: "fastcgi://127.0.0.1:9000", host: "cloud.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /index.php HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
0.0.0.0:80 nginx
unix:/run/php/php8.2-fpm.sock php-fpm8.2
#- probe 127.0.0.1:9000
refused
"#;

    const SOCKET: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name cloud.example.com;
        root /var/www;
        location ~ \.php$ { fastcgi_pass unix:/run/php/php-fpm.sock; }
    }
}
#- error.log
2026/11/21 02:28:30 [crit] 101#101: *3 connect() to unix:/run/php/php-fpm.sock failed (2: No such file or directory) while connecting to upstream, client: 10.0.0.9, server: cloud.example.com, request: "GET /index.php HTTP/1.1", upstream: "fastcgi://unix:/run/php/php-fpm.sock:", host: "cloud.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /index.php HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:9000 php-fpm8.2
#- path /run/php/php-fpm.sock
0755 0 0 dir /
0755 0 0 dir /run
0755 0 0 dir /run/php
#- probe unix:/run/php/php-fpm.sock
errno No such file or directory
"#;

    #[test]
    fn hit_tcp_is_dialled_and_a_socket_listens() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Likely upstream-tcp-unix-mismatch -> upstream-not-listening: 127.0.0.1:9000 is dialled, and the backend likely listens on unix:/run/php/php8.2-fpm.sock [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_a_socket_is_dialled_and_tcp_listens() {
        insta::assert_snapshot!(Fixture::new(SOCKET).summary(), @"
        Broken
        Likely upstream-tcp-unix-mismatch -> unix-socket-missing: unix:/run/php/php-fpm.sock is dialled, and the backend likely listens on 127.0.0.1:9000 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_unit_bears_the_name() {
        let named = HIT.replace("php-handler", "cloud");
        let unit = "unix:/run/php/php8.2-fpm.sock php-fpm8.2 unit=cloud.service";
        insta::assert_snapshot!(Fixture::new(&named).with("listeners", unit).summary(), @"
        Broken
        Confirmed upstream-tcp-unix-mismatch -> upstream-not-listening: 127.0.0.1:9000 is dialled, and the backend listens on unix:/run/php/php8.2-fpm.sock [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_the_pool_is_another_sites() {
        let pool =
            Fixture::new(SOCKET).with("listeners", "127.0.0.1:9000 php-fpm8.2 title=php-fpm:_pool_shop");
        insta::assert_snapshot!(pool.summary(), @"
        Broken
        Confirmed unix-socket-missing: the socket /run/php/php-fpm.sock does not exist [1 requests, still failing]
        Possible upstream-tcp-unix-mismatch (not a root): unix:/run/php/php-fpm.sock is dialled; perhaps the backend listens on 127.0.0.1:9000 [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_nothing_that_speaks_fastcgi_listens() {
        let other = HIT.replace("        #server unix:/run/php/php8.2-fpm.sock;\n", "");
        insta::assert_snapshot!(Fixture::new(&other).with("listeners", "unix:/run/docker.sock dockerd").summary(), @"
        Broken
        Confirmed upstream-not-listening: nothing listens on 127.0.0.1:9000 [1 requests, still failing]
        ");
    }

    #[test]
    fn gap_the_comment_alone_is_a_hint() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline").summary(), @"
        Broken
        Likely upstream-not-listening: connections to 127.0.0.1:9000 are refused [1 requests]
          open: whether something listens there: not looked at: --offline
        Possible upstream-tcp-unix-mismatch (not a root): 127.0.0.1:9000 is dialled; perhaps the backend listens on a unix socket [1 requests]
        ");
    }

    #[test]
    fn the_remedy_points_to_the_socket() {
        insta::assert_snapshot!(crate::fixture::first_diff(&Fixture::new(HIT).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -2,5 +2,5 @@
         http {
             upstream php-handler {
        -        server 127.0.0.1:9000;
        +        server unix:/run/php/php8.2-fpm.sock;
                 #server unix:/run/php/php8.2-fpm.sock;
             }
        ");
    }
}
