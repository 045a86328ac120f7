//! # unix-socket-missing
//!
//! ## What happens
//!
//! nginx connects to a unix socket by its path, and the path does not exist: the backend is not started, did not get as
//! far as creating it, or its runtime directory was not made. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() to unix:/run/app.sock failed (2: No such file or directory) while connecting to upstream` at level `crit`,
//! a 502 at once.
//!
//! ## How we know
//!
//! Confirmed: the path was walked as nginx sees it and ends before the socket, nobody listens on it in the kernel, and no
//! other socket of that backend is known. Likely: only the message was seen. A private `/tmp` or another mount namespace
//! looks the same from the files alone.
//!
//! ## What would disprove it
//!
//! The path exists, or a process listens on it in the kernel (`unix-socket-unlinked`).
//!
//! ## What to do
//!
//! Start the backend, and see that its runtime directory exists and it may create the socket there.
//!
//! ## Not to be confused with
//!
//! `unix-socket-wrong-path` (it is at another path), `unix-socket-unlinked` (the file was removed under a running
//! backend), `unix-socket-other-namespace` (PrivateTmp, another container), `unix-socket-stale` (errno 111).
//!
//! ## References
//!
//! nginx: `ngx_event_connect_peer` in `src/event/ngx_event_connect.c`. Linux: unix(7), connect(2).

use super::unix::missing;
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};

pub(super) static CAUSE: Cause = Cause {
    id: "unix-socket-missing",
    layer: Layer::Socket,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("unix_socket_missing.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(missing) = missing(case, subject)? else { return Ok(Ruling::NoSign) };
    if missing.is_gone() {
        return Ok(Ruling::found(
            missing.finding(case, &CAUSE, Confidence::Likely, subject).still_failing(Some(false)),
        ));
    }
    let end =
        missing.walk.clone().known().and_then(|walk| walk.components.last().map(|last| last.path.clone()));
    let walked = end.filter(|_| missing.is_absent()).map(|end| {
        Evidence::supporting(
            format!("the path ends at {end}: {} does not exist", missing.path),
            missing.path_origin(),
        )
    });
    let listens = missing.listens(case);
    let is_absent = missing.is_absent();
    let nobody = (listens == Some(false)).then(|| {
        Evidence::supporting(format!("no process listens on {}", missing.path), case.sockets_origin())
    });
    let confidence =
        if is_absent && listens == Some(false) { Confidence::Confirmed } else { Confidence::Likely };
    let mut finding = missing
        .finding(case, &CAUSE, confidence, subject)
        .still_failing(is_absent.then_some(true))
        .with(walked.into_iter().chain(nobody));
    if confidence < Confidence::Confirmed {
        let gaps = [missing.walk.gap(), case.sockets().gap()].map(Option::<&why502_facts::Gap>::cloned);
        let says = ["whether the path exists", "whether a process listens on it"];
        let open = gaps.into_iter().zip(says).filter_map(|(gap, says)| Some(Case::open(gap?, says)));
        finding = finding.open(open.collect::<Vec<_>>());
    }
    Ok(Ruling::found(finding))
}

fn explain(_case: &Case<'_>, finding: &Finding) -> Explanation {
    let paths: Vec<&str> =
        finding.subjects.iter().filter_map(|subject| subject.peer()?.address.unix_path()).collect();
    let paths = paths.join(", ");
    let title = if finding.still_failing == Some(false) {
        format!("the socket {paths} did not exist")
    } else {
        format!("the socket {paths} does not exist")
    };
    Explanation {
        title,
        why: "nginx connects to the socket by its path, and there is no such file. It has no peer left to try and answers 502 \
              at once."
            .to_owned(),
        wont_help: vec![
            "chmod or chown of the socket: a denial is errno 13, this is 2".to_owned(),
            "touching the file: only the backend can create a socket that somebody listens on".to_owned(),
        ],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let path = finding.subjects.iter().find_map(|subject| subject.peer()?.address.unix_path());
    let Some(path) = path.filter(|_| finding.still_failing != Some(false)) else { return Vec::new() };
    let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
    vec![
        Remedy::new("Start the backend", Risk::ShowOnly)
            .advice(format!("start the service that creates {path}; if it runs, see that {directory} exists, that it may write there, and that it does not run with a private /tmp"))
            .verify(format!("a connection to unix:{path} opens")),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use crate::fixture::Fixture;

    pub(in crate::causes) const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream shop { server unix:/run/shop/app.sock; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://shop; }
    }
}
#- error.log
2026/11/21 02:28:30 [crit] 101#101: *3 connect() to unix:/run/shop/app.sock failed (2: No such file or directory) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://unix:/run/shop/app.sock:/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
0.0.0.0:80 nginx
#- path /run/shop/app.sock
0755 0 0 dir /
0755 0 0 dir /run
0755 0 0 dir /run/shop
#- probe unix:/run/shop/app.sock
errno No such file or directory
"#;

    #[test]
    fn hit_nothing_is_there() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed unix-socket-missing: the socket /run/shop/app.sock does not exist [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_it_is_there_again() {
        let again = Fixture::new(HIT)
            .with("listeners", "unix:/run/shop/app.sock gunicorn")
            .with(
                "path /run/shop/app.sock",
                "0755 0 0 dir /\n0755 0 0 dir /run\n0755 0 0 dir /run/shop\n0777 0 0 sock /run/shop/app.sock",
            )
            .with("probe unix:/run/shop/app.sock", "connected");
        insta::assert_snapshot!(again.summary(), @"
        Recovered
        Likely unix-socket-missing: the socket /run/shop/app.sock did not exist [1 requests, mended]
        ");
    }

    #[test]
    fn near_miss_a_refusal_is_another_matter() {
        let log = HIT
            .replace("(2: No such file or directory)", "(111: Connection refused)")
            .replace("[crit]", "[error]");
        let summary = Fixture::new(&log).with("probe unix:/run/shop/app.sock", "refused").summary();
        assert!(!summary.contains("unix-socket-missing"), "{summary}");
    }

    #[test]
    fn gap_only_the_message_was_seen() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline").summary(), @"
        Broken
        Likely unix-socket-missing: the socket /run/shop/app.sock does not exist [1 requests]
          open: whether the path exists: not looked at: --offline
          open: whether a process listens on it: not looked at: --offline
        ");
    }

    #[test]
    fn gap_the_path_cannot_be_walked() {
        insta::assert_snapshot!(Fixture::new(HIT).without("path /run/shop/app.sock").summary(), @"
        Broken
        Likely unix-socket-missing: the socket /run/shop/app.sock does not exist [1 requests]
          open: whether the path exists: the fixture does not tell
        ");
    }
}
