//! # upstream-undefined
//!
//! ## What happens
//!
//! A `*_pass` names an upstream group that does not exist: a typo, or the file that defines it is not included. nginx
//! takes the name for a host's, and it does not resolve. Without variables that shows when the configuration is loaded;
//! with variables when a request comes. True for every version of nginx.
//!
//! ## What you see
//!
//! `host not found in upstream "backnd" in …` at load; `no resolver defined to resolve backnd` or `backnd could not be
//! resolved (3: Host not found)` and a 502 at run time.
//!
//! ## How we know
//!
//! Confirmed: the name does not resolve (or there is nobody to resolve it), no group has it, and one has a name that
//! differs by a letter or two. Likely: whether the system knows the name could not be seen.
//!
//! ## What would disprove it
//!
//! The name is a host's and resolves.
//!
//! ## What to do
//!
//! Write the group's name.
//!
//! ## Not to be confused with
//!
//! `dns-name-not-found` (no group has such a name), `resolver-missing`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_add`, `ngx_http_upstream_init_request`.

use super::names::{near_group, not_loaded, unresolved};
use super::refusals::refusal_naming;
use crate::case::{Case, FailureId, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Ask, GapReason, Observed, Resolver};
use why502_model::Span;

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-undefined",
    layer: Layer::Select,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Route,
    supersedes: &["config-invalid", "dns-name-not-found", "resolver-missing"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_undefined.rs"),
};

/// A name that misses a group's by a letter or two.
struct Miss<'c> {
    name: String,
    /// Whether it could be a host's name as well.
    may_be_host: bool,
    group: &'c str,
    defined: &'c Span,
    at: Option<Span>,
    failures: Vec<FailureId>,
    evidence: Vec<Evidence>,
}

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(miss) = misses(case, subject).into_iter().next() else { return Ok(Ruling::NoSign) };
    let ask =
        Ask::Resolve { security: case.gateway.security, name: miss.name.clone(), resolver: Resolver::System };
    let confidence = match case.facts.addresses(case.gateway.security, &miss.name) {
        _ if !miss.may_be_host => Confidence::Confirmed,
        Observed::Known(addresses) if !addresses.is_empty() => {
            let says = format!("{:?} is a host's name: the system resolves it", miss.name);
            return Ok(Ruling::RuledOut(vec![Evidence::against(says, Origin::Probe(ask))]));
        }
        Observed::Absent | Observed::Known(_) => Confidence::Confirmed,
        Observed::Unknown(gap) if gap.why == GapReason::NotYet => return Err(vec![gap.ask]),
        Observed::Unknown(_) => Confidence::Likely,
    };
    let defined = Evidence::supporting(
        format!("a group is called {:?}", miss.group),
        Origin::File(miss.defined.clone()),
    );
    let finding = Finding::new(&CAUSE, confidence, subject)
        .explaining(miss.failures)
        .still_failing(
            (confidence == Confidence::Confirmed && !case.facts.manifest.invocation.offline).then_some(true),
        )
        .with(miss.evidence)
        .with([defined])
        .at(miss.at);
    Ok(Ruling::found(finding))
}

fn misses<'c>(case: &'c Case<'_>, subject: &Subject) -> Vec<Miss<'c>> {
    let mut found = Vec::new();
    for name in subject.route().map(|route| not_loaded(case, route)).unwrap_or_default() {
        let Some((group, defined)) = near_group(case, &name.name) else { continue };
        let said = refusal_naming(case, &name.name).map(|record| {
            Evidence::supporting("nginx refused the configuration for it", Origin::Log(record.line.clone()))
        });
        found.push(Miss {
            name: name.name,
            may_be_host: name.may_be_host,
            group,
            defined,
            at: Some(name.at),
            failures: Vec::new(),
            evidence: said.into_iter().collect(),
        });
    }
    for name in unresolved(case, subject) {
        let Some((group, defined)) = near_group(case, &name.name) else { continue };
        let pass = subject.route().and_then(|route| case.pass_of(route, None));
        let at = pass.map(|pass| pass.at.clone());
        let evidence = name.evidence().into_iter().collect();
        found.push(Miss {
            name: name.name,
            may_be_host: true,
            group,
            defined,
            at,
            failures: name.failures,
            evidence,
        });
    }
    found
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let miss = finding.subjects.iter().flat_map(|subject| misses(case, subject)).next();
    let title = match miss {
        Some(miss) => format!("no upstream group is called {:?}; {:?} is defined", miss.name, miss.group),
        None => "the upstream group does not exist".to_owned(),
    };
    Explanation {
        title,
        why: "nginx takes a name that is no group's for a host's and tries to resolve it. It has no address to dial: at load it \
              refuses the configuration, for a request it answers 502."
            .to_owned(),
        wont_help: vec!["a `resolver` or an entry in DNS: the name is a group's, mistyped".to_owned()],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(miss) = finding.subjects.iter().flat_map(|subject| misses(case, subject)).next() else {
        return Vec::new();
    };
    let remedy = Remedy::new(format!("Write the group's name, {:?}", miss.group), Risk::Review)
        .verify("the failing request answers");
    let splice = miss.at.as_ref().and_then(|at| {
        let line = case.source_text(at)?;
        let offset = u32::try_from(line.find(&miss.name)?).ok()?;
        let begin = at.begin + offset;
        let end = begin + u32::try_from(miss.name.len()).ok()?;
        Some(Span { begin, end, column: at.column + offset, ..at.clone() })
    });
    vec![match splice {
        Some(at) => remedy.edit(at, miss.group),
        // The name comes out of a variable: where it is set is for the reader to see.
        None => Remedy {
            risk: Risk::ShowOnly,
            ..remedy.advice(format!("the name {:?} comes out of a variable", miss.name))
        },
    }]
}

#[cfg(test)]
mod tests {
    use crate::causes::resolver_missing::tests::HIT as RESOLVER;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let typo = RESOLVER
            .replace(
                "events {}\nhttp {",
                "events {}\nhttp {\n    upstream varnish_pool { server 127.0.0.1:6081; }",
            )
            .replace("http://varnish:80", "http://varnish_pol")
            .replace("to resolve varnish,", "to resolve varnish_pol,");
        Fixture::new(&typo).with("resolve varnish_pol", "absent")
    }

    #[test]
    fn hit_a_letter_is_missing() {
        insta::assert_snapshot!(hit().summary(), @r#"
        Broken
        Confirmed upstream-undefined -> resolver-missing: no upstream group is called "varnish_pol"; "varnish_pool" is defined [1 requests, still failing]
        "#);
    }

    #[test]
    fn near_miss_no_group_has_such_a_name() {
        let summary = Fixture::new(RESOLVER).summary();
        assert!(!summary.contains("upstream-undefined"), "{summary}");
    }

    #[test]
    fn near_miss_it_is_a_hosts_name() {
        insta::assert_snapshot!(hit().with("resolve varnish_pol", "10.0.0.30").summary(), @r#"
        Broken
        Confirmed resolver-missing: a *_pass with variables names varnish_pol, and no resolver is in force [1 requests, still failing]
        not upstream-undefined: "varnish_pol" is a host's name: the system resolves it
        "#);
    }

    #[test]
    fn gap_the_system_cannot_be_asked() {
        insta::assert_snapshot!(hit().with("options", "offline").summary(), @r#"
        Broken
        Likely upstream-undefined -> resolver-missing: no upstream group is called "varnish_pol"; "varnish_pool" is defined [1 requests]
        "#);
    }
}
