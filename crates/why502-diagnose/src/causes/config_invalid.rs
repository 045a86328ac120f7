//! # config-invalid
//!
//! ## What happens
//!
//! nginx refuses the configuration on disk: a syntax error, an unknown directive, a missing file. It cannot start with it;
//! if it runs, reloads are ignored and the old configuration keeps serving. True for every version of nginx.
//!
//! ## What you see
//!
//! `nginx: [emerg] unknown directive "prox_pass" in /etc/nginx/conf.d/app.conf:12` at start or reload, and the same line in
//! the error log.
//!
//! ## How we know
//!
//! Confirmed: nginx itself logged the refusal of this very line. Likely: read by nginx's rules the configuration is
//! refused, and nobody saw nginx say so. `nginx -t` is not run: it creates files and opens sockets.
//!
//! ## What would disprove it
//!
//! `nginx -t` that accepts it.
//!
//! ## What to do
//!
//! Correct the line, see that `nginx -t` accepts it, reload.
//!
//! ## Not to be confused with
//!
//! `dns-name-not-found`, `upstream-undefined` (a name that does not resolve at load: then that is the root),
//! `config-not-reloaded` (the configuration is valid).
//!
//! ## References
//!
//! nginx: `ngx_conf_parse`, `ngx_conf_handler` in `src/core/ngx_conf_file.c`; `ngx_init_cycle`.

use super::names::refusal_naming;
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::ErrorRecord;
use why502_model::Problem;

pub(super) static CAUSE: Cause = Cause {
    id: "config-invalid",
    layer: Layer::Gateway,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[],
    scope: Scope::Gateway,
    supersedes: &["config-not-reloaded", "gateway-not-running"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("config_invalid.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(problem) = case.gateway.problems.first() else { return Ok(Ruling::NoSign) };
    let said = said(case, problem);
    let confidence = if said.is_some() { Confidence::Confirmed } else { Confidence::Likely };
    let written = Evidence::supporting(problem.message.clone(), Origin::File(problem.at.clone()));
    let logged =
        said.map(|record| Evidence::supporting("nginx refused it", Origin::Log(record.line.clone())));
    let mut finding = Finding::new(&CAUSE, confidence, subject)
        .still_failing((!case.facts.manifest.invocation.offline).then_some(true))
        .with([written])
        .with(logged)
        .at([problem.at.clone()]);
    // An older configuration that is loaded keeps serving.
    finding.fails_clients_now = case.gateway.master.is_none() && !case.facts.manifest.invocation.offline;
    Ok(Ruling::found(finding))
}

/// The line in which nginx itself refuses that very place.
fn said<'c>(case: &'c Case<'_>, problem: &Problem) -> Option<&'c ErrorRecord> {
    refusal_naming(case, &format!("{}:{}", problem.at.file, problem.at.line))
}

fn explain(case: &Case<'_>, _finding: &Finding) -> Explanation {
    let problem = case.gateway.problems.first();
    let title = problem.map_or("nginx refuses its configuration".to_owned(), |problem| {
        format!("nginx refuses its configuration: {}", problem.message)
    });
    let why = if case.gateway.master.is_some() {
        "nginx goes on with the configuration that it loaded before, and ignores every reload. What was changed since is not in \
         force."
    } else {
        "nginx does not start with this configuration. Nobody accepts connections in its place."
    };
    Explanation {
        title,
        why: why.to_owned(),
        wont_help: vec!["reloading or restarting nginx: it refuses the same line again; a restart would even stop what still serves".to_owned()],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let place = finding.at.first().map_or(String::new(), |at| format!("{}:{}", at.file, at.line));
    vec![
        Remedy::new("Correct the line", Risk::ShowOnly)
            .advice(format!("mend {place}, see that `nginx -t` accepts the configuration, then reload"))
            .verify("`nginx -t` accepts the configuration"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    server { listen 80; server_name shop.example.com; location / { proxy_pass http://127.0.0.1:3000 } }
}
#- error.log
2026/11/21 02:28:30 [emerg] 100#100: unexpected "}" in /etc/nginx/nginx.conf:3
#- access.log
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
connected
"#;

    #[test]
    fn hit_nginx_said_so() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @r#"
        AtRisk
        Confirmed config-invalid: nginx refuses its configuration: unexpected "}" [0 requests, still failing]
        "#);
    }

    #[test]
    fn hit_it_does_not_start() {
        insta::assert_snapshot!(Fixture::new(HIT).with("options", "not-running").summary(), @r#"
        Broken
        Confirmed config-invalid -> gateway-not-running: nginx refuses its configuration: unexpected "}" [0 requests, still failing]
        "#);
    }

    #[test]
    fn near_miss_an_old_refusal_of_a_line_that_is_mended() {
        let mended = HIT.replace("http://127.0.0.1:3000 }", "http://127.0.0.1:3000; }");
        insta::assert_snapshot!(Fixture::new(&mended).summary(), @"Healthy");
    }

    #[test]
    fn gap_nobody_saw_nginx_refuse_it() {
        insta::assert_snapshot!(Fixture::new(HIT).without("error.log").summary(), @r#"
        AtRisk
        Likely config-invalid: nginx refuses its configuration: unexpected "}" [0 requests, still failing]
        "#);
    }
}
