//! # dns-name-not-found
//!
//! ## What happens
//!
//! The upstream's host name does not exist for anybody. A name without variables is resolved by the system when the
//! configuration is loaded: nginx does not start, or a reload is ignored. A name with variables is resolved by nginx's
//! `resolver` when a request comes. True for every version of nginx.
//!
//! ## What you see
//!
//! `host not found in upstream "app" in /etc/nginx/nginx.conf:12` at load; `app could not be resolved (3: Host not
//! found)` and a 502 at run time.
//!
//! ## How we know
//!
//! Confirmed: nginx could not resolve it, and the system's resolver, asked in nginx's place, says that it does not exist.
//! Possible: from the files alone, since a name that only the system knows looks the same.
//!
//! ## What would disprove it
//!
//! The system's resolver knows the name: then nginx's resolver asks the wrong server, or ignores hosts file and search
//! list.
//!
//! ## What to do
//!
//! Correct the name, or bring it into being.
//!
//! ## Not to be confused with
//!
//! `upstream-undefined` (it should be a group's name), `resolver-wrong-server`, `resolver-ignores-system-names`,
//! `dns-server-unreachable` (no server answers), `resolver-missing`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_init_round_robin`, `ngx_http_upstream_resolve_handler`, `ngx_inet_resolve_host`.

use super::names::{not_loaded, unresolved};
use super::refusals::refusal_naming;
use super::resolvers::NXDOMAIN;
use crate::case::{Case, FailureId, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Ask, GapReason, Observed, Phrase, Resolver};
use why502_model::Span;

pub(super) static CAUSE: Cause = Cause {
    id: "dns-name-not-found",
    layer: Layer::Resolve,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Route,
    supersedes: &["config-invalid"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("dns_name_not_found.rs"),
};

/// A name, where it stands, and what speaks for it.
struct Wanted {
    name: String,
    at: Option<Span>,
    failures: Vec<FailureId>,
    evidence: Vec<Evidence>,
    at_load: bool,
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let names = names(case, subject);
    let asks: Asks = names
        .iter()
        .map(|name| ask(case, &name.name))
        .filter(|ask| matches!(case.facts.look(ask), Observed::Unknown(gap) if gap.why == GapReason::NotYet))
        .collect();
    if !asks.is_empty() {
        return Err(asks);
    }
    let mut ruling = Ruling::NoSign;
    for name in names {
        match case.facts.addresses(case.gateway.security, &name.name) {
            Observed::Absent => {
                let says = format!("the system's resolver has no address of {:?} either", name.name);
                let asked = Evidence::supporting(says, Origin::Probe(ask(case, &name.name)));
                return Ok(Ruling::found(
                    finding(subject, name, Confidence::Confirmed).still_failing(Some(true)).with([asked]),
                ));
            }
            Observed::Known(addresses) if !addresses.is_empty() => {
                let says = format!("the system's resolver knows {:?}: {}", name.name, addresses[0]);
                ruling =
                    Ruling::RuledOut(vec![Evidence::against(says, Origin::Probe(ask(case, &name.name)))]);
            }
            Observed::Known(_) => {}
            Observed::Unknown(gap) => {
                let confidence = if name.at_load { Confidence::Likely } else { Confidence::Possible };
                let open = Case::open(gap, "whether the system knows the name");
                return Ok(Ruling::found(finding(subject, name, confidence).open([open])));
            }
        }
    }
    Ok(ruling)
}

fn finding(subject: &Subject, name: Wanted, confidence: Confidence) -> Finding {
    Finding::new(&CAUSE, confidence, subject).explaining(name.failures).with(name.evidence).at(name.at)
}

fn names(case: &Case<'_>, subject: &Subject) -> Vec<Wanted> {
    let pass = subject.route().and_then(|route| case.pass_of(route, None));
    let at_run_time = unresolved(case, subject)
        .into_iter()
        .filter(|name| name.phrase == Phrase::NameNotResolved && name.code == Some(NXDOMAIN))
        .map(|name| Wanted {
            evidence: name.evidence().into_iter().collect(),
            at: pass.map(|pass| pass.at.clone()),
            name: name.name,
            failures: name.failures,
            at_load: false,
        });
    let of_route = subject.route().map(|route| not_loaded(case, route)).unwrap_or_default();
    let at_load = of_route.into_iter().filter(|name| name.may_be_host).map(|name| {
        let said = refusal_naming(case, &name.name).map(|record| {
            Evidence::supporting("nginx refused the configuration for it", Origin::Log(record.line.clone()))
        });
        let written = Evidence::supporting(
            format!("{:?} is resolved when the configuration is loaded", name.name),
            Origin::File(name.at.clone()),
        );
        Wanted {
            name: name.name,
            at: Some(name.at),
            failures: Vec::new(),
            evidence: said.into_iter().chain([written]).collect(),
            at_load: true,
        }
    });
    at_load.chain(at_run_time).collect()
}

fn ask(case: &Case<'_>, name: &str) -> Ask {
    Ask::Resolve { security: case.gateway.security, name: name.to_owned(), resolver: Resolver::System }
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let mut found: Vec<Wanted> = finding.subjects.iter().flat_map(|subject| names(case, subject)).collect();
    found.sort_by_key(|name| !case.facts.addresses(case.gateway.security, &name.name).is_absent());
    let (name, at_load) =
        found.first().map_or((String::new(), false), |name| (name.name.clone(), name.at_load));
    let why = if at_load {
        "nginx resolves the name when it loads its configuration, and there is no such name. It does not start with it, or goes \
         on with the configuration that it had."
    } else {
        "nginx resolves the name when a request comes, and there is no such name. It has no address to dial and answers 502."
    };
    Explanation {
        title: format!("the host name {name:?} does not exist"),
        why: why.to_owned(),
        wont_help: vec![
            "another `resolver`: the system's own servers do not know the name either".to_owned(),
        ],
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let place = finding.at.first().map_or(String::new(), |at| format!(" at {}:{}", at.file, at.line));
    vec![
        Remedy::new("Correct the name, or bring it into being", Risk::ShowOnly)
            .advice(format!("the name stands{place}; is the service renamed, or its container not started?"))
            .verify("the name resolves and the failing request answers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::resolver_missing::tests::HIT as RESOLVER;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let log = RESOLVER
            .replace(
                "no resolver defined to resolve varnish",
                "varnish could not be resolved (3: Host not found)",
            )
            .replace("set $backend", "resolver 10.0.0.2; set $backend");
        Fixture::new(&log).with("resolve varnish", "absent")
    }

    #[test]
    fn hit_at_run_time() {
        insta::assert_snapshot!(hit().summary(), @r#"
        Broken
        Confirmed dns-name-not-found: the host name "varnish" does not exist [1 requests, still failing]
        "#);
    }

    #[test]
    fn near_miss_the_system_knows_it() {
        insta::assert_snapshot!(hit().with("resolve varnish", "10.0.0.30").summary(), @r#"
        Inconclusive
        not dns-name-not-found: the system's resolver knows "varnish": 10.0.0.30
        unexplained: 1
        "#);
    }

    #[test]
    fn near_miss_a_server_that_fails_is_no_answer() {
        let log = RESOLVER
            .replace(
                "no resolver defined to resolve varnish",
                "varnish could not be resolved (2: Server failure)",
            )
            .replace("set $backend", "resolver 10.0.0.2; set $backend");
        let summary = Fixture::new(&log).with("resolve varnish", "absent").summary();
        assert!(!summary.contains("dns-name-not-found"), "{summary}");
    }

    #[test]
    fn gap_from_the_files_alone_it_is_a_possibility() {
        insta::assert_snapshot!(hit().with("options", "offline").summary(), @"
        Broken
        Likely resolver-ignores-system-names -> dns-name-not-found: nginx's resolver asks for varnish as it stands: it uses neither /etc/hosts nor the search list [1 requests]
          open: what that name server says: not looked at: --offline
          open: whether the system knows the name: not looked at: --offline
        ");
    }
}
