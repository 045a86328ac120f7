//! # resolver-ignores-system-names
//!
//! ## What happens
//!
//! The name resolves for the system only through /etc/hosts or the search list of resolv.conf. nginx's own resolver, which
//! looks names up while nginx runs, asks its servers for just the name that is written, and reads neither. True for every
//! version of nginx (OpenResty has `local=on`).
//!
//! ## What you see
//!
//! `NAME could not be resolved (3: Host not found)` and a 502, while `ping NAME` and `curl NAME` on the same host work.
//!
//! ## How we know
//!
//! Confirmed: all servers of the `resolver` line say that there is no such name, the system resolves it, and the system's
//! own name servers, asked for just that name, do not know it either. Likely: the system could not be asked, and the name
//! has one label.
//!
//! ## What would disprove it
//!
//! The system's name servers know the name: then nginx asks the wrong ones.
//!
//! ## What to do
//!
//! Write a name that name servers know, the whole one where a search list completes it, or an address.
//!
//! ## Not to be confused with
//!
//! `resolver-wrong-server` (other name servers know it), `dns-name-not-found` (nobody knows it), `resolver-missing`.
//!
//! ## References
//!
//! nginx: `ngx_resolver_create_name_query`, `ngx_resolver_process_a`; resolv.conf(5), nsswitch.conf(5).

use super::resolvers::{Asked, Denied, denied, name_of};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::NameReply;

pub(super) static CAUSE: Cause = Cause {
    id: "resolver-ignores-system-names",
    layer: Layer::Resolve,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Route,
    supersedes: &["dns-name-not-found"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("resolver_ignores_system_names.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let mut ruling = denied(case, subject, &Denied { cause: &CAUSE, fits: is_unknown, by_word })?;
    if let Ruling::Found(finding) = &mut ruling {
        // The name is to be changed, not the servers.
        let pass = subject.route().and_then(|route| case.pass_of(route, None));
        finding.at = pass.map(|pass| pass.at.clone()).into_iter().collect();
    }
    Ok(ruling)
}

fn is_unknown(says: &NameReply) -> bool {
    *says == NameReply::NoSuchName
}

/// A name of one label: the search list, which nginx does not use, completes such names.
fn by_word(asked: &Asked<'_>) -> Option<String> {
    let name = &asked.name.name;
    let says = || {
        format!(
            "{name:?} has one label: the system completes such names by its search list, and nginx does not"
        )
    };
    (!asked.asks_the_public() && !name.contains('.')).then(says)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let name = name_of(case, finding);
    let title = match finding.confidence {
        Confidence::Confirmed => format!(
            "{name} is known to the system alone (/etc/hosts or its search list), and nginx's resolver asks name servers"
        ),
        _ => format!(
            "nginx's resolver asks for {name} as it stands: it uses neither /etc/hosts nor the search list"
        ),
    };
    Explanation {
        title,
        why: "nginx asks the servers of its resolver line for just this name, and they do not have it. The hosts file and the search list \
              are the system's, and nginx's resolver reads neither."
            .to_owned(),
        wont_help: vec![
            "restarting the backend or nginx: the name stays unknown to these servers".to_owned(),
            "another public server in `resolver`: none of them knows a name of /etc/hosts".to_owned(),
        ],
    }
}

fn remedies(_case: &Case<'_>, _finding: &Finding) -> Vec<Remedy> {
    vec![
        Remedy::new("Write a name that name servers know, or let the system look it up", Risk::ShowOnly)
            .advice(
                "write the whole name where a search list completes it; a name of /etc/hosts works in `proxy_pass` without a variable and in \
                 `server` of a group, where the system looks it up when nginx is loaded",
            )
            .verify("the failing request gets an answer"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::dns_server_unreachable::tests::HIT as DEAD;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let denied = DEAD.replace("(110: Operation timed out)", "(3: Host not found)");
        Fixture::new(&denied)
            .with("ask 10.0.0.53:53 app.internal", "absent")
            .with("ask system app.internal", "absent")
    }

    #[test]
    fn hit_the_system_knows_it_by_itself() {
        insta::assert_snapshot!(hit().summary(), @r#"
        Broken
        Confirmed resolver-ignores-system-names: app.internal is known to the system alone (/etc/hosts or its search list), and nginx's resolver asks name servers [1 requests, still failing]
        not dns-name-not-found: the system's resolver knows "app.internal": 10.1.0.3
        "#);
    }

    #[test]
    fn near_miss_its_name_servers_know_it() {
        let summary = hit().with("ask system app.internal", "10.1.0.3").summary();
        assert!(!summary.contains("resolver-ignores-system-names"), "{summary}");
    }

    #[test]
    fn near_miss_nobody_knows_the_name() {
        let summary = hit().with("resolve app.internal", "absent").summary();
        assert!(!summary.contains("resolver-ignores-system-names"), "{summary}");
    }

    #[test]
    fn gap_nobody_could_ask_the_system_s_servers() {
        let summary = hit().without("ask system app.internal").summary();
        assert!(!summary.contains("resolver-ignores-system-names"), "{summary}");
    }

    #[test]
    fn hit_a_name_of_one_label_is_likely() {
        let short =
            DEAD.replace("app.internal", "app").replace("(110: Operation timed out)", "(3: Host not found)");
        insta::assert_snapshot!(Fixture::new(&short).with("options", "offline").summary(), @"
        Broken
        Likely resolver-ignores-system-names -> dns-name-not-found: nginx's resolver asks for app as it stands: it uses neither /etc/hosts nor the search list [1 requests]
          open: what that name server says: not looked at: --offline
          open: whether the system knows the name: not looked at: --offline
        ");
    }
}
