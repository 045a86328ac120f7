//! # keepalive-race
//!
//! ## What happens
//!
//! nginx keeps connections to the backend open for further requests, and the backend closes idle ones earlier than nginx
//! does. When a request goes out over one at the very moment at which the backend closes it, there is no answer. nginx
//! repeats the request on another connection, unless its method may not be repeated (POST, LOCK, PATCH) or it is told not
//! to: then the client gets a 502. Connections are kept by `keepalive` in an `upstream` block with HTTP/1.1, and since
//! nginx 1.29.7 by default.
//!
//! ## What you see
//!
//! Sporadic `upstream prematurely closed connection` or `recv() failed (104: Connection reset by peer)` while nginx reads
//! the response header, after no time at all; `502, 200` and the same address twice in the access log where the request was
//! repeated. Mostly POSTs are lost. The application's log knows nothing of them.
//!
//! ## How we know
//!
//! Confirmed: the backend closes idle connections no later than nginx does (it was seen to, its answers say so, or it was
//! started with such a limit), and nginx itself repeated a request on the same single address, as it does only for a
//! connection that was used before. Likely: one of these was not seen, and few requests are lost, at moments apart, or others of them were
//! repeated with success. Possible: nothing but lost POSTs.
//!
//! ## What would disprove it
//!
//! A backend that keeps idle connections longer than nginx, or keeps none; requests that fail although nginx would have
//! repeated them; failures that take time.
//!
//! ## What to do
//!
//! Let nginx close idle connections first: `keepalive_timeout` in the `upstream` block (since 1.15.3) below the backend's
//! idle timeout; or raise that above nginx's.
//!
//! ## Not to be confused with
//!
//! `upstream-closed-before-response` and `upstream-reset-before-response` (new connections fail too), `nat-idle-expiry` (a
//! box in between forgets the connection), `upstream-worker-crashed`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_keepalive_close_handler`, `ngx_http_upstream_next` (`u->peer.cached`); RFC 9112, section 9.3.1;
//! Node.js, `server.keepAliveTimeout`; gunicorn, `keepalive`; Uvicorn, `--timeout-keep-alive`; Apache, `KeepAliveTimeout`.

mod evidence;
mod mend;

use self::evidence::{are_apart, are_few, fails_anew, kept, repeated};
use self::mend::remedies;
use super::idle_timeouts::{IdleTimeout, idle_timeout, millis};
use crate::case::{Case, Failure, FailureId, Reuse, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::durations::seconds;
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use std::time::Duration;
use why502_model::{GroupId, Span};

pub(super) static CAUSE: Cause = Cause {
    id: "keepalive-race",
    layer: Layer::Response,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["upstream-closed-before-response", "upstream-reset-before-response"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("keepalive_race.rs"),
};

/// An attempt that may have been lost to the race.
type Lost<'c> = (FailureId, &'c Failure, &'c Symptom);

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((peer, group)) = subject.peer().and_then(|peer| Some((peer, peer.group?))) else {
        return Ok(Ruling::NoSign);
    };
    let losses: Vec<_> = case.losses(peer).collect();
    let fits = |reuse: Reuse| reuse > Reuse::Excluded;
    let lost: Vec<Lost<'_>> = losses
        .iter()
        .filter(|loss| fits(loss.3))
        .map(|(id, failure, symptom, _)| (*id, *failure, *symptom))
        .collect();
    if lost.is_empty() {
        return Ok(Ruling::NoSign);
    }
    or_ask(case.probe(peer))?;
    if let Some(evidence) = fails_anew(case, peer) {
        return Ok(Ruling::RuledOut(vec![evidence]));
    }
    let is_shown = losses.iter().any(|(.., reuse)| *reuse == Reuse::Shown);
    let is_beside = losses.iter().any(|(_, failure, _, reuse)| !fits(*reuse) && !failure.is_hidden());
    let is_repeated = is_shown || lost.iter().any(|(_, failure, _)| failure.is_hidden());
    let are_apart = are_apart(&lost);
    let is_sporadic = are_apart && (is_repeated || are_few(case, peer, &lost));
    let known = idle_timeout(case, peer, case.keeps_idle(group));
    let (confidence, idle, open) = match known {
        IdleTimeout::KeepsNone(evidence) | IdleTimeout::Longer(evidence) => {
            return Ok(Ruling::RuledOut(vec![evidence]));
        }
        IdleTimeout::Seen(_, idle) if is_shown && are_apart && !is_beside => {
            (Confidence::Confirmed, Some(idle), None)
        }
        IdleTimeout::Seen(_, idle) | IdleTimeout::Usual(_, idle) if is_sporadic => {
            (Confidence::Likely, Some(idle), None)
        }
        IdleTimeout::Seen(_, idle) | IdleTimeout::Usual(_, idle) => (Confidence::Possible, Some(idle), None),
        IdleTimeout::Unknown(open) if is_repeated && are_apart && !is_beside => {
            (Confidence::Likely, None, open)
        }
        IdleTimeout::Unknown(open) => (Confidence::Possible, None, open),
    };
    let says = |n| {
        format!(
            "{} ended without an answer on a connection that may have been used before",
            count(n, "request")
        )
    };
    let stands = (confidence == Confidence::Confirmed).then_some(true);
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(lost.iter().map(|(id, ..)| *id))
        .still_failing(stands)
        .with(Case::lines_evidence(lost.iter().copied(), says))
        .with(idle)
        .with([kept(case, group)])
        .with(is_shown.then(|| repeated(&lost)).flatten())
        .open(open)
        .at([timer(case, group)]);
    Ok(Ruling::found(finding))
}

/// Where the gateway's side of it is set: the timer, what switches it on, or the group.
fn timer(case: &Case<'_>, group: GroupId) -> Span {
    let group = case.gateway.group(group);
    let keepalive = group.keepalive.as_ref().and_then(|keepalive| keepalive.at.clone());
    group.reuse.timeout.at.clone().or(keepalive).unwrap_or_else(|| group.at.clone())
}

/// The group, for how long the gateway keeps idle connections to it, and for how long the peer does, if that is known.
fn told(case: &Case<'_>, finding: &Finding) -> Option<(GroupId, Option<Duration>, Option<Duration>)> {
    let peer = finding.peer()?;
    let group = peer.group?;
    let kept = case.keeps_idle(group);
    let idle = match idle_timeout(case, peer, kept) {
        IdleTimeout::Seen(idle, _) | IdleTimeout::Usual(idle, _) => Some(idle),
        IdleTimeout::KeepsNone(_) | IdleTimeout::Longer(_) | IdleTimeout::Unknown(_) => None,
    };
    Some((group, kept, idle))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let peer = finding.address();
    let told = told(case, finding);
    let kept = told
        .and_then(|(_, kept, _)| kept)
        .map_or_else(|| "for ever".to_owned(), |kept| format!("for {}", seconds(millis(kept))));
    let title = match told.and_then(|(.., idle)| idle) {
        Some(idle) => format!(
            "{peer} closes idle connections after {}, and nginx keeps them {kept}",
            seconds(millis(idle))
        ),
        None => {
            format!("requests are lost on kept connections to {peer}, which it closes as nginx uses them")
        }
    };
    Explanation {
        title,
        why: "nginx sends a request over a connection that the backend is just closing, so that nobody answers it. A request that \
              may not be repeated then ends as a 502."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout: nginx did not wait, the connection was gone".to_owned(),
            "proxy_next_upstream non_idempotent: a POST that did arrive may be carried out twice".to_owned(),
            "raising keepalive_timeout: the longer nginx keeps idle connections, the more are lost".to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, first_diff};

    /// A GET is repeated at the only address, and a POST is lost.
    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    log_format up '$remote_addr [$time_local] "$request" $status ua=$upstream_addr us=$upstream_status uct=$upstream_connect_time uht=$upstream_header_time urt=$upstream_response_time';
    access_log /var/log/nginx/access.log up;
    upstream app {
        server 127.0.0.1:3000;
        keepalive 16;
    }
    server {
        listen 80;
        server_name shop.example.com;
        location / {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://app;
        }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 upstream prematurely closed connection while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /cart HTTP/1.1", upstream: "http://127.0.0.1:3000/cart", host: "shop.example.com"
2026/11/21 02:29:00 [error] 101#101: *7 recv() failed (104: Connection reset by peer) while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "POST /order HTTP/1.1", upstream: "http://127.0.0.1:3000/order", host: "shop.example.com"
#- access.log
10.0.0.9 [21/Nov/2026:02:28:30 +0000] "GET /cart HTTP/1.1" 200 ua=127.0.0.1:3000, 127.0.0.1:3000 us=502, 200 uct=0.000, 0.000 uht=-, 0.002 urt=0.000, 0.002
10.0.0.9 [21/Nov/2026:02:29:00 +0000] "POST /order HTTP/1.1" 502 ua=127.0.0.1:3000 us=502 uct=0.000 uht=- urt=0.000
10.0.0.9 [21/Nov/2026:02:30:00 +0000] "GET /cart HTTP/1.1" 200 ua=127.0.0.1:3000 us=200 uct=0.000 uht=0.002 urt=0.002
#- listeners
127.0.0.1:3000 java java -jar shop.jar
#- probe 127.0.0.1:3000
answers idle=30004
HTTP/1.1 200 OK


"#;

    /// Without the GET that was repeated.
    fn posts_alone() -> Fixture {
        let is_repeated = |line: &&str| line.contains("*5 ") || line.contains("502, 200");
        let lines: Vec<&str> = HIT.lines().filter(|line| !is_repeated(line)).collect();
        Fixture::new(&(lines.join("\n") + "\n"))
    }

    #[test]
    fn hit_the_peer_was_seen_to_close_first() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed keepalive-race -> upstream-closed-before-response, upstream-reset-before-response: 127.0.0.1:3000 closes idle connections after 30 s, and nginx keeps them for 60 s [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_answer_says_how_long() {
        let named = "answers\nHTTP/1.1 200 OK\nKeep-Alive: timeout=5\n\n\n";
        insta::assert_snapshot!(Fixture::new(HIT).with("probe 127.0.0.1:3000", named).summary(), @"
        Broken
        Confirmed keepalive-race -> upstream-closed-before-response, upstream-reset-before-response: 127.0.0.1:3000 closes idle connections after 5 s, and nginx keeps them for 60 s [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_the_command_line_says_how_long() {
        let started = Fixture::new(HIT)
            .with(
                "listeners",
                "127.0.0.1:3000 gunicorn python3 /usr/bin/gunicorn --threads 4 --keep-alive 7 app:app",
            )
            .with("probe 127.0.0.1:3000", "answers held=6000\nHTTP/1.1 200 OK\n\n\n");
        insta::assert_snapshot!(started.summary(), @"
        Broken
        Confirmed keepalive-race -> upstream-closed-before-response, upstream-reset-before-response: 127.0.0.1:3000 closes idle connections after 7 s, and nginx keeps them for 60 s [1 requests, still failing]
        ");
        let usual = started.with("listeners", "127.0.0.1:3000 node node server.js");
        insta::assert_snapshot!(usual.summary(), @"
        Broken
        Likely keepalive-race -> upstream-closed-before-response, upstream-reset-before-response: 127.0.0.1:3000 closes idle connections after 5 s, and nginx keeps them for 60 s [1 requests]
        ");
    }

    #[test]
    fn hit_by_the_logs_alone_is_likely() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline").summary(), @"
        Broken
        Likely keepalive-race -> upstream-closed-before-response, upstream-reset-before-response: requests are lost on kept connections to 127.0.0.1:3000, which it closes as nginx uses them [1 requests]
          open: for how long the peer keeps idle connections: not looked at: --offline
        ");
    }

    #[test]
    fn hit_lost_posts_alone_are_likely_where_they_are_few() {
        let mut log = posts_alone().section("access.log").to_owned();
        let good = log.lines().last().unwrap().to_owned() + "\n";
        log.push_str(&good.repeat(20));
        insta::assert_snapshot!(posts_alone().with("access.log", &log).summary(), @"
        Broken
        Likely keepalive-race -> upstream-reset-before-response: 127.0.0.1:3000 closes idle connections after 30 s, and nginx keeps them for 60 s [1 requests]
        Possible upstream-rejects-request-body (not a root): 127.0.0.1:3000 closes while nginx still sends it the request's body [1 requests]
        ");
    }

    #[test]
    fn near_miss_posts_are_lost_one_after_the_other() {
        let lost = posts_alone();
        let mut log = lost.section("access.log").to_owned();
        let lines: Vec<String> = log.lines().map(|line| line.to_owned() + "\n").collect();
        log.push_str(&lines[1].repeat(40));
        let row = |name: &str, line: &str| lost.section(name).replace(line, &line.repeat(4));
        let errors = row("error.log", lost.section("error.log"));
        let bunched = lost.with("access.log", &log.replace(&lines[0], &lines[0].repeat(4)));
        let summary = bunched.with("error.log", &errors).summary();
        assert!(summary.contains("Possible keepalive-race (not a root)"), "{summary}");
    }

    #[test]
    fn near_miss_nginx_closes_first() {
        let longer =
            Fixture::new(&HIT.replace("keepalive 16;", "keepalive 16;\n        keepalive_timeout 4s;"));
        let header = "answers\nHTTP/1.1 200 OK\nKeep-Alive: timeout=60\n\n\n";
        insta::assert_snapshot!(longer.with("probe 127.0.0.1:3000", header).summary(), @"
        Broken
        Likely upstream-reset-before-response: 127.0.0.1:3000 resets connections before it answers [1 requests]
        Likely upstream-closed-before-response: 127.0.0.1:3000 takes requests and closes without an answer [0 requests]
        not keepalive-race: the peer says that it keeps idle connections for 60 s (Keep-Alive)
        ");
        let held = longer.with("probe 127.0.0.1:3000", "answers held=5000\nHTTP/1.1 200 OK\n\n\n").summary();
        assert!(held.contains("not keepalive-race"), "{held}");
    }

    #[test]
    fn near_miss_the_peer_keeps_no_connection() {
        let closes = "answers\nHTTP/1.1 200 OK\nConnection: close\n\n\n";
        let summary = Fixture::new(HIT).with("probe 127.0.0.1:3000", closes).summary();
        assert!(summary.contains("not keepalive-race"), "{summary}");
    }

    #[test]
    fn near_miss_a_get_would_have_been_repeated() {
        let gets = posts_alone();
        let gets = gets
            .with("error.log", &gets.section("error.log").replace("POST", "GET"))
            .with("access.log", &gets.section("access.log").replace("POST", "GET"));
        insta::assert_snapshot!(gets.summary(), @"
        Broken
        Likely upstream-reset-before-response: 127.0.0.1:3000 resets connections before it answers [1 requests]
        ");
    }

    #[test]
    fn near_miss_the_peer_took_its_time() {
        let slow = posts_alone();
        let slow = slow.with("access.log", &slow.section("access.log").replace("urt=0.000", "urt=1.800"));
        assert!(!slow.summary().contains("keepalive-race"), "{}", slow.summary());
        // Or the connection was a new one.
        let new = posts_alone();
        let new = new.with("access.log", &new.section("access.log").replace("uct=0.000", "uct=0.004"));
        assert!(!new.summary().contains("keepalive-race"), "{}", new.summary());
    }

    #[test]
    fn near_miss_no_connection_is_kept() {
        let closes = Fixture::new(&HIT.replace("        keepalive 16;\n", ""));
        assert!(!closes.summary().contains("keepalive-race"), "{}", closes.summary());
    }

    #[test]
    fn gap_nobody_could_ask_for_how_long() {
        insta::assert_snapshot!(Fixture::new(HIT).without("probe 127.0.0.1:3000").summary(), @"
        Broken
        Likely keepalive-race -> upstream-closed-before-response, upstream-reset-before-response: requests are lost on kept connections to 127.0.0.1:3000, which it closes as nginx uses them [1 requests]
          open: for how long the peer keeps idle connections: the fixture does not tell
        ");
        let held = "answers held=6000\nHTTP/1.1 200 OK\n\n\n";
        insta::assert_snapshot!(posts_alone().with("probe 127.0.0.1:3000", held).summary(), @"
        Broken
        Likely upstream-reset-before-response: 127.0.0.1:3000 resets connections before it answers [1 requests]
        Possible keepalive-race (not a root): requests are lost on kept connections to 127.0.0.1:3000, which it closes as nginx uses them [1 requests]
          open: for how long the peer keeps idle connections: the peer left an idle connection open for 6 s, and longer was not waited: --timeout 70s would tell more
        Possible upstream-rejects-request-body (not a root): 127.0.0.1:3000 closes while nginx still sends it the request's body [1 requests]
        ");
    }

    #[test]
    fn the_remedy_lets_nginx_close_first() {
        insta::assert_snapshot!(first_diff(&Fixture::new(HIT).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -6,4 +6,5 @@
                 server 127.0.0.1:3000;
                 keepalive 16;
        +        keepalive_timeout 28s;
             }
             server {
        ");
        let set = HIT.replace("keepalive 16;", "keepalive 16;\n        keepalive_timeout 1h;");
        insta::assert_snapshot!(first_diff(&Fixture::new(&set).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -6,5 +6,5 @@
                 server 127.0.0.1:3000;
                 keepalive 16;
        -        keepalive_timeout 1h;
        +        keepalive_timeout 28s;
             }
             server {
        ");
    }
}
