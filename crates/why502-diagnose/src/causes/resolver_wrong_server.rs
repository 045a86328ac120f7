//! # resolver-wrong-server
//!
//! ## What happens
//!
//! nginx's `resolver` line names servers that do not know the zone, such as a public server for a private name, while the
//! system's own name servers do. True for every version of nginx.
//!
//! ## What you see
//!
//! `NAME could not be resolved (3: Host not found)` and a 502, while `dig NAME` and `curl NAME` on the same host work.
//!
//! ## How we know
//!
//! Confirmed: all servers of the line say that there is no such name, and the system's own name servers, asked for just
//! that name, have its addresses. Likely: the system could not be asked, the name can exist in a private network only, and
//! all servers of the line are public ones.
//!
//! ## What would disprove it
//!
//! The system's name servers do not know the name by itself: then the hosts file or the search list makes it known.
//!
//! ## What to do
//!
//! Let `resolver` name the servers that know the zone, as resolv.conf does.
//!
//! ## Not to be confused with
//!
//! `resolver-ignores-system-names` (no name server knows it), `dns-name-not-found` (nobody does),
//! `dns-server-unreachable` (the server does not answer at all).
//!
//! ## References
//!
//! nginx: `ngx_resolver_create_name_query`, `ngx_resolver_process_a`; resolv.conf(5), nsswitch.conf(5).

use super::resolvers::{Asked, Denied, denied, is_private_name, name_of};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::NameReply;

pub(super) static CAUSE: Cause = Cause {
    id: "resolver-wrong-server",
    layer: Layer::Resolve,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Route,
    supersedes: &["dns-name-not-found"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("resolver_wrong_server.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    denied(case, subject, &Denied { cause: &CAUSE, fits: is_known, by_word })
}

fn is_known(says: &NameReply) -> bool {
    matches!(says, NameReply::Addresses(_))
}

/// A name that can exist in a private network only, asked of public servers alone.
fn by_word(asked: &Asked<'_>) -> Option<String> {
    let name = &asked.name.name;
    let says = || format!("{name:?} can exist in a private network only, and its servers are public ones");
    (asked.asks_the_public() && is_private_name(name)).then(says)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let name = name_of(case, finding);
    let title = match finding.confidence {
        Confidence::Confirmed => {
            format!("nginx's resolver asks servers that do not know {name}, and the system's own do")
        }
        _ => format!("nginx's resolver asks public servers for {name}, a name of a private network"),
    };
    Explanation {
        title,
        why: "nginx asks the servers of its resolver line, and they say that there is no such name. Those that the system asks know it, but \
              nginx does not ask them."
            .to_owned(),
        wont_help: vec![
            "mending /etc/hosts: nginx's resolver does not read it".to_owned(),
            "listing the right server beside the wrong one: nginx spreads its questions over both".to_owned(),
        ],
    }
}

fn remedies(_case: &Case<'_>, _finding: &Finding) -> Vec<Remedy> {
    vec![
        Remedy::new("Let `resolver` name the servers that know the zone", Risk::ShowOnly)
            .advice(
                "replace the servers of the `resolver` line by the nameserver lines of /etc/resolv.conf; beside them no other server may stand, \
                 because nginx spreads its questions over all",
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
            .with("ask system app.internal", "10.1.0.3")
    }

    #[test]
    fn hit_the_system_s_servers_know_it() {
        insta::assert_snapshot!(hit().summary(), @r#"
        Broken
        Confirmed resolver-wrong-server: nginx's resolver asks servers that do not know app.internal, and the system's own do [1 requests, still failing]
        not dns-name-not-found: the system's resolver knows "app.internal": 10.1.0.3
        "#);
    }

    #[test]
    fn near_miss_no_name_server_knows_it() {
        let summary = hit().with("ask system app.internal", "absent").summary();
        assert!(!summary.contains("resolver-wrong-server"), "{summary}");
    }

    #[test]
    fn near_miss_nobody_knows_the_name() {
        let summary = hit().with("resolve app.internal", "absent").summary();
        assert!(!summary.contains("resolver-wrong-server"), "{summary}");
    }

    #[test]
    fn gap_nobody_could_ask_the_system_s_servers() {
        let summary = hit().without("ask system app.internal").summary();
        assert!(!summary.contains("resolver-wrong-server"), "{summary}");
    }

    #[test]
    fn hit_a_private_name_asked_of_the_public_is_likely() {
        let public = DEAD
            .replace("resolver 10.0.0.53 ", "resolver 8.8.8.8 ")
            .replace("(110: Operation timed out)", "(3: Host not found)");
        insta::assert_snapshot!(Fixture::new(&public).with("options", "offline").summary(), @"
        Broken
        Likely resolver-wrong-server -> dns-name-not-found: nginx's resolver asks public servers for app.internal, a name of a private network [1 requests]
          open: what that name server says: not looked at: --offline
          open: whether the system knows the name: not looked at: --offline
        ");
    }
}
