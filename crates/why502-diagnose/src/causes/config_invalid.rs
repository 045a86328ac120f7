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
//! Confirmed: nginx itself logged the refusal of this very line; or it refused the configuration for something outside of
//! it (a certificate, a name), was not loaded since, and no file was changed since. Likely: read by nginx's rules the
//! configuration is refused, and nobody saw nginx say so; or the log of another host ends with such a refusal. `nginx -t`
//! is not run: it creates files and opens sockets.
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

use super::config_not_reloaded::is_foreign;
use super::refusals::{is_stopped, refusal_naming, standing_refusal};
use crate::case::{Case, Failure, FailureId, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{ErrorRecord, PeerAddress};
use why502_model::{Problem, Span};

pub(super) static CAUSE: Cause = Cause {
    id: "config-invalid",
    layer: Layer::Gateway,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[],
    scope: Scope::Gateway,
    supersedes: &["config-not-reloaded", "gateway-not-running", "upstream-not-listening"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("config_invalid.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let offline = case.facts.manifest.invocation.offline;
    let mut finding = if let Some(problem) = case.gateway.problems.first() {
        let said = said(case, problem);
        let confidence = if said.is_some() { Confidence::Confirmed } else { Confidence::Likely };
        let gone = missing_file(case, &problem.at);
        let origin =
            gone.map_or_else(|| Origin::File(problem.at.clone()), |file| Origin::Host(file.to_owned()));
        Finding::new(&CAUSE, confidence, subject)
            .with([Evidence::supporting(problem.message.clone(), origin)])
            .with(
                said.map(|record| Evidence::supporting("nginx refused it", Origin::Log(record.line.clone()))),
            )
            .at(gone.is_none().then(|| problem.at.clone()))
    } else {
        let Some(refusal) = standing_refusal(case)? else { return Ok(Ruling::NoSign) };
        let confidence = if offline { Confidence::Likely } else { Confidence::Confirmed };
        let line = Origin::Log(refusal.record.line.clone());
        Finding::new(&CAUSE, confidence, subject)
            .with([Evidence::supporting(
                "nginx refused the configuration, the last time that it read it",
                line,
            )])
            .at(refusal.at)
    };
    finding.still_failing = (!offline).then_some(true);
    // An older configuration that is loaded keeps serving.
    finding.fails_clients_now = is_stopped(case);
    if case.gateway.master.is_some() || offline {
        // What it dials although the files do not say so any more is what the refused reload would have changed.
        finding.explains.extend(dialling_what_is_gone(case));
        if !finding.explains.is_empty() {
            finding.effects.push("config-not-reloaded");
        }
    }
    Ok(Ruling::found(finding))
}

/// The configuration file itself, if it is not there: then there is no line to correct.
fn missing_file<'p>(case: &Case<'_>, at: &'p Span) -> Option<&'p str> {
    case.gateway.source(&at.file).is_none().then_some(&*at.file)
}

/// The line in which nginx itself refuses that very place.
fn said<'c>(case: &'c Case<'_>, problem: &Problem) -> Option<&'c ErrorRecord> {
    let printed = problem.printed.as_ref().map(|(file, line)| format!("{file}:{line}"));
    refusal_naming(case, &printed.unwrap_or_else(|| problem.message.clone()))
}

/// The failures whose last attempt went to an address that no file has any more.
fn dialling_what_is_gone(case: &Case<'_>) -> Vec<FailureId> {
    let is_gone = |address: &PeerAddress| case.peers_at(address).any(|peer| is_foreign(case, peer));
    let last_is_gone = |failure: &Failure| {
        failure.attempts().next_back().and_then(|last| last.peer.as_ref()).is_some_and(is_gone)
    };
    case.failures().filter(|(_, failure)| last_is_gone(failure)).map(|(id, _)| id).collect()
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let message = case.gateway.problems.first().map(|problem| problem.message.clone()).or_else(|| {
        let refusal = standing_refusal(case).ok().flatten()?;
        Some(refusal.says.split(" in /").next().unwrap_or(refusal.says).to_owned())
    });
    let problem = case.gateway.problems.first();
    let gone = problem.and_then(|problem| missing_file(case, &problem.at));
    let message = gone.map(|file| format!("{file} is not there")).or(message);
    let refuses = if finding.effects.contains(&"gateway-not-running") {
        "no nginx runs, and it refuses its configuration"
    } else {
        "nginx refuses its configuration"
    };
    let title = message.map_or(refuses.to_owned(), |message| format!("{refuses}: {message}"));
    let why = if case.gateway.master.is_some() {
        "nginx goes on with the configuration that it loaded before, and ignores every reload. What was changed since is not in \
         force."
    } else if finding.fails_clients_now {
        "nginx does not start with this configuration. Nobody accepts connections in its place."
    } else {
        "nginx does not start with this configuration, and ignores a reload with it."
    };
    Explanation {
        title,
        why: why.to_owned(),
        wont_help: vec!["reloading or restarting nginx: it refuses the same line again; a restart would even stop what still serves".to_owned()],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let problem = case.gateway.problems.first();
    if let Some(file) = problem.and_then(|problem| missing_file(case, &problem.at)) {
        let running = "; until then leave the running nginx alone: nothing else holds what it loaded";
        let advice = format!(
            "bring {file} back from a backup, the repository or the package, and see that `nginx -t` accepts it{}",
            if case.gateway.master.is_some() { running } else { "" }
        );
        return vec![
            Remedy::new("Restore the configuration file", Risk::ShowOnly)
                .advice(advice)
                .verify("`nginx -t` accepts the configuration"),
        ];
    }
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
        Confirmed config-invalid -> gateway-not-running: no nginx runs, and it refuses its configuration: unexpected "}" [0 requests, still failing]
        "#);
    }

    #[test]
    fn hit_the_file_of_a_running_master_is_gone() {
        let gone = Fixture::new(HIT).with("error.log", "").with("options", "config-gone");
        let report = gone.report();
        insta::assert_snapshot!(crate::fixture::summary(&report), @"
        AtRisk
        Likely config-invalid: nginx refuses its configuration: /etc/nginx/nginx.conf is not there [0 requests, still failing]
        ");
        let finding = &report.findings[0];
        assert!(finding.r#where.is_empty(), "there is no line to change");
        insta::assert_snapshot!(finding.remedies[0].title, @"Restore the configuration file");
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
