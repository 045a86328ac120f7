//! # resolver-missing
//!
//! ## What happens
//!
//! A `*_pass` with variables holds a host name, and no `resolver` is in force there. A name that is built from variables
//! is resolved when a request comes, by nginx's own resolver only; without one nginx cannot. True for every version.
//!
//! ## What you see
//!
//! `no resolver defined to resolve varnish` without an `upstream:` field, and a 502.
//!
//! ## How we know
//!
//! Confirmed: nginx's own message names it.
//!
//! ## What would disprove it
//!
//! Nothing: the message has this one meaning. If the name should have been a group's, `upstream-undefined` is the cause.
//!
//! ## What to do
//!
//! Set `resolver` for http, server or location, or write the name without variables: then the system resolves it when the
//! configuration is loaded.
//!
//! ## Not to be confused with
//!
//! `dns-name-not-found` (a resolver answered), `upstream-undefined` (the name of a group, mistyped).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_init_request`.

use super::names::{Unresolved, unresolved};
use crate::case::{Case, Subject, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Observed, Phrase, lossy};

pub(super) static CAUSE: Cause = Cause {
    id: "resolver-missing",
    layer: Layer::Resolve,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("resolver_missing.rs"),
};

const RESOLV_CONF: &str = "/etc/resolv.conf";

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let found = without_resolver(case, subject);
    if found.is_empty() {
        return Ok(Ruling::NoSign);
    }
    // The remedy names the servers that the system itself asks.
    or_ask(case.facts.file(case.gateway.root, RESOLV_CONF))?;
    let pass = subject.route().and_then(|route| case.pass_of(route, None));
    let mut finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
        .still_failing(case.gateway.master.is_some().then_some(true))
        .at(pass.map(|pass| pass.at.clone()));
    for name in found {
        finding = finding.explaining(name.failures.clone()).with(name.evidence());
    }
    Ok(Ruling::found(finding))
}

fn without_resolver(case: &Case<'_>, subject: &Subject) -> Vec<Unresolved> {
    unresolved(case, subject).into_iter().filter(|name| name.phrase == Phrase::NoResolver).collect()
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let names: Vec<String> = finding
        .subjects
        .iter()
        .flat_map(|subject| without_resolver(case, subject))
        .map(|name| name.name)
        .collect();
    Explanation {
        title: format!("a *_pass with variables names {}, and no resolver is in force", names.join(", ")),
        why: "A name that is built from variables is resolved when a request comes, by nginx's own resolver, and none is \
              configured there. nginx has no address to dial and answers 502."
            .to_owned(),
        wont_help: vec![
            "/etc/hosts or /etc/resolv.conf: nginx's own resolver reads neither".to_owned(),
            "restarting the backend: it is never dialled".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let pass = finding.subjects.iter().find_map(Subject::route).and_then(|route| case.pass_of(route, None));
    let servers = name_servers(case);
    let verify = "the failing request answers";
    let (Some(pass), Some(server)) = (pass, servers.first()) else {
        let advice = "set `resolver` (the name servers of /etc/resolv.conf; 127.0.0.11 inside Docker) in the http block, and reload";
        return vec![Remedy::new("Set a resolver", Risk::ShowOnly).advice(advice).verify(verify)];
    };
    let wanted = [("resolver".to_owned(), vec![server.clone(), "valid=30s".to_owned()], None)];
    let mut remedy = Remedy::new("Set a resolver", Risk::Review)
        .advice(
            "it asks this server for the exact name: entries of /etc/hosts and the search list are not used",
        )
        .verify(verify);
    for (at, text) in case.gateway.set_directives(&pass.at, &wanted) {
        remedy = remedy.edit(at, text);
    }
    vec![remedy]
}

/// The name servers of the host, as nginx's `resolver` writes them.
fn name_servers(case: &Case<'_>) -> Vec<String> {
    let Observed::Known(file) = case.facts.file(case.gateway.root, RESOLV_CONF) else { return Vec::new() };
    let text = lossy(file.content.as_slice());
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")).map(str::trim);
    servers
        .map(|server| if server.contains(':') { format!("[{server}]") } else { server.to_owned() })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use crate::fixture::Fixture;

    pub(in crate::causes) const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server {
        listen 80;
        server_name api.example.com;
        set $backend http://varnish:80;
        location / {
            proxy_pass $backend;
        }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 no resolver defined to resolve varnish, client: 10.0.0.9, server: api.example.com, request: "GET /a HTTP/1.1", host: "api.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- /etc/resolv.conf
search example.com
nameserver 10.0.0.2
#- listeners
#- resolve varnish
10.0.0.30
"#;

    #[test]
    fn hit_by_the_message() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed resolver-missing: a *_pass with variables names varnish, and no resolver is in force [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_from_the_files_alone() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "offline").summary(), @"
        Broken
        Confirmed resolver-missing: a *_pass with variables names varnish, and no resolver is in force [1 requests]
        ");
    }

    #[test]
    fn near_miss_a_resolver_that_does_not_know_the_name() {
        let log = HIT.replace(
            "no resolver defined to resolve varnish",
            "varnish could not be resolved (3: Host not found)",
        );
        let summary = Fixture::new(&log).summary();
        assert!(!summary.contains("resolver-missing"), "{summary}");
    }

    #[test]
    fn gap_the_configuration_cannot_be_read() {
        insta::assert_snapshot!(Fixture::new(HIT).without("nginx.conf").summary(), @"
        Broken
        Confirmed resolver-missing: a *_pass with variables names varnish, and no resolver is in force [1 requests, still failing]
        ");
    }

    #[test]
    fn the_remedy_asks_the_systems_own_server() {
        insta::assert_snapshot!(crate::fixture::first_diff(&Fixture::new(HIT).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -7,4 +7,5 @@
                 location / {
                     proxy_pass $backend;
        +            resolver 10.0.0.2 valid=30s;
                 }
             }
        ");
    }
}
