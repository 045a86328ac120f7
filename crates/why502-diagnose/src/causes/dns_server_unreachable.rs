//! # dns-server-unreachable
//!
//! ## What happens
//!
//! A target with a variable is looked up while nginx runs, by nginx's own resolver at the servers of its `resolver` line.
//! None of them answers usefully: it is silent, refuses, or fails. The system's own name servers are not asked. True for
//! every version of nginx.
//!
//! ## What you see
//!
//! `NAME could not be resolved (110: Operation timed out)`, `(2: Server failure)` or `(5: Operation refused)` and a 502;
//! `recv() failed (111: Connection refused) while resolving, resolver: ADDRESS` where nothing listens.
//!
//! ## How we know
//!
//! Confirmed: every server of the line was asked for just that name, from where nginx asks, and none gave an answer.
//! Likely: nginx's message, and the line has one server that nobody could ask.
//!
//! ## What would disprove it
//!
//! A server of the line answers; the code is 3: then a server said that there is no such name.
//!
//! ## What to do
//!
//! Let `resolver` name a server that this host reaches: in a container network the engine's (127.0.0.11 inside Docker
//! alone), on a plain host those of resolv.conf.
//!
//! ## Not to be confused with
//!
//! `resolver-dead-member` (some servers of the line answer), `dns-name-not-found` and `resolver-wrong-server` (a server
//! answers that there is no such name), `resolver-missing` (there is no line).
//!
//! ## References
//!
//! nginx: `ngx_resolver_send_query`, `ngx_resolver_resend_handler`, `ngx_resolver_strerror`.

use super::resolvers::{NXDOMAIN, Reply, asked};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::NameReply;

pub(super) static CAUSE: Cause = Cause {
    id: "dns-server-unreachable",
    layer: Layer::Resolve,
    acts_on: ActsOn::Network,
    effect: false,
    statuses: &[502],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("dns_server_unreachable.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    for asked in asked(case, subject)?.into_iter().filter(|asked| asked.name.code != Some(NXDOMAIN)) {
        let is_dead = asked.is_whole() && asked.silent().count() == asked.replies.len();
        let is_unseen = asked.replies.is_empty() && asked.gaps.len() == 1;
        let confidence = match (is_dead, is_unseen) {
            (true, _) => Confidence::Confirmed,
            (false, true) => Confidence::Likely,
            (false, false) => continue,
        };
        let finding = asked.finding(&CAUSE, confidence, subject);
        return Ok(Ruling::found(finding.still_failing(is_dead.then_some(true))));
    }
    Ok(Ruling::NoSign)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let servers = servers_of(case, finding);
    Explanation {
        title: format!("no server of nginx's resolver answers usefully{servers}"),
        why: "The target has a variable, so nginx looks the name up for requests, at these servers alone. None of them says \
              what the name stands for, and nginx answers 502."
            .to_owned(),
        wont_help: vec![
            "mending /etc/resolv.conf or /etc/hosts: nginx's resolver reads neither".to_owned(),
            "raising resolver_timeout: clients wait longer for the same 502".to_owned(),
        ],
    }
}

/// `: 10.0.0.53:53`.
fn servers_of(case: &Case<'_>, finding: &Finding) -> String {
    let subject = finding.subjects.first();
    let found = subject.and_then(|subject| asked(case, subject).ok()).unwrap_or_default();
    let names: Vec<String> =
        found.first().map(|asked| asked.silent().map(told).collect()).unwrap_or_default();
    if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) }
}

/// A server, and what it says where that is not silence.
fn told(reply: &Reply<'_>) -> String {
    match reply.says {
        NameReply::Refused(code) => format!("{} ({code})", reply.server),
        _ => reply.server.to_string(),
    }
}

fn remedies(_case: &Case<'_>, _finding: &Finding) -> Vec<Remedy> {
    vec![
        Remedy::new("Let `resolver` name a server that answers here", Risk::ShowOnly)
            .advice(
                "those of /etc/resolv.conf do, if the system resolves the name; 127.0.0.11 exists inside containers of Docker \
                 alone; look whether a firewall drops UDP port 53",
            )
            .verify("the failing request gets an answer"),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use crate::fixture::Fixture;

    pub(in crate::causes) const HIT: &str = r#"
#- nginx.conf
events {}
http {
    resolver 10.0.0.53 ipv6=off;
    server {
        listen 80;
        server_name shop.example.com;
        location / { set $app app.internal; proxy_pass http://$app:3000; }
    }
}
#- error.log
2026/11/21 02:40:30 [error] 101#101: *5 app.internal could not be resolved (110: Operation timed out), client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:40:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- resolve app.internal
10.1.0.3
#- ask 10.0.0.53:53 app.internal
silent
#- listeners
"#;

    #[test]
    fn hit_its_server_is_silent() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed dns-server-unreachable: no server of nginx's resolver answers usefully: 10.0.0.53:53 [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_its_server_refuses() {
        let summary = Fixture::new(HIT).with("ask 10.0.0.53:53 app.internal", "REFUSED").summary();
        assert!(summary.contains("answers usefully: 10.0.0.53:53 (REFUSED)"), "{summary}");
    }

    #[test]
    fn near_miss_a_server_answers() {
        let summary = Fixture::new(HIT).with("ask 10.0.0.53:53 app.internal", "10.1.0.3").summary();
        assert!(!summary.contains("dns-server-unreachable"), "{summary}");
    }

    #[test]
    fn near_miss_the_other_server_answers() {
        let two = HIT.replace("resolver 10.0.0.53 ", "resolver 10.0.0.53 10.0.0.54 ");
        let summary = Fixture::new(&two).with("ask 10.0.0.54:53 app.internal", "10.1.0.3").summary();
        assert!(!summary.contains("dns-server-unreachable"), "{summary}");
    }

    #[test]
    fn gap_nobody_could_ask_it() {
        insta::assert_snapshot!(Fixture::new(HIT).without("ask 10.0.0.53:53 app.internal").summary(), @"
        Broken
        Likely dns-server-unreachable: no server of nginx's resolver answers usefully [1 requests]
          open: what that name server says: the fixture does not tell
        ");
    }
}
