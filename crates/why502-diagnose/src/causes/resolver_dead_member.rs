//! # resolver-dead-member
//!
//! ## What happens
//!
//! `resolver` lists several servers, and one of them does not answer. nginx spreads its questions over the list and does
//! not fall back in order: a share of them goes to the dead one first and waits for five seconds, and where
//! `resolver_timeout` is not longer, the request fails. True for every version of nginx.
//!
//! ## What you see
//!
//! `NAME could not be resolved (110: Operation timed out)` for some requests and none for others; requests that take just
//! over five seconds.
//!
//! ## How we know
//!
//! Confirmed: every server of the line was asked for just that name, from where nginx asks; some answer, and some do not.
//!
//! ## What would disprove it
//!
//! All of them answer, or none does.
//!
//! ## What to do
//!
//! Take the dead server out of the line: a second one is no fallback.
//!
//! ## Not to be confused with
//!
//! `dns-server-unreachable` (none answers), `dns-name-not-found` (they answer that there is no such name).
//!
//! ## References
//!
//! nginx: `ngx_resolver_send_query` (`last_connection`), `ngx_resolver_resend` (`resend_timeout`, 5 s).

use super::resolvers::{NXDOMAIN, asked};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};

pub(super) static CAUSE: Cause = Cause {
    id: "resolver-dead-member",
    layer: Layer::Resolve,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502, 504],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("resolver_dead_member.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    for asked in asked(case, subject)?.into_iter().filter(|asked| asked.name.code != Some(NXDOMAIN)) {
        let n_silent = asked.silent().count();
        if asked.is_whole() && n_silent > 0 && n_silent < asked.replies.len() {
            let finding = asked.finding(&CAUSE, Confidence::Confirmed, subject);
            return Ok(Ruling::found(finding.still_failing(Some(true))));
        }
    }
    Ok(Ruling::NoSign)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let subject = finding.subjects.first();
    let found = subject.and_then(|subject| asked(case, subject).ok()).unwrap_or_default();
    let silent: Vec<String> =
        found.iter().flat_map(|asked| asked.silent().map(|reply| reply.server.to_string())).collect();
    Explanation {
        title: format!("{} of nginx's resolver does not answer, the others do", silent.join(", ")),
        why: "nginx spreads its questions over all servers of the line. Those that go to the dead one wait for five seconds, and \
              fail where no more time is left."
            .to_owned(),
        wont_help: vec![
            "listing a further server as a fallback: nginx does not fall back in order".to_owned(),
            "restarting the backend: its name was not even resolved".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let place = finding.at.first().map_or_else(String::new, |at| format!(" at {}:{}", at.file, at.line));
    let title = explain(case, finding).title;
    vec![
        Remedy::new("Take the dead server out of the line, or mend it", Risk::ShowOnly)
            .advice(format!("{title}: leave only servers that answer in `resolver`{place}"))
            .verify("all of the line's servers answer"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::dns_server_unreachable::tests::HIT as DEAD;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let two = DEAD.replace("resolver 10.0.0.53 ", "resolver 10.0.0.53 10.0.0.54 ");
        Fixture::new(&two).with("ask 10.0.0.54:53 app.internal", "10.1.0.3")
    }

    #[test]
    fn hit_one_of_two_is_silent() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed resolver-dead-member: 10.0.0.53:53 of nginx's resolver does not answer, the others do [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_both_are_silent() {
        let summary = hit().with("ask 10.0.0.54:53 app.internal", "silent").summary();
        assert!(!summary.contains("resolver-dead-member"), "{summary}");
    }

    #[test]
    fn near_miss_both_answer() {
        let summary = hit().with("ask 10.0.0.53:53 app.internal", "10.1.0.3").summary();
        assert!(!summary.contains("resolver-dead-member"), "{summary}");
    }

    #[test]
    fn gap_nobody_could_ask_the_other() {
        let summary = hit().without("ask 10.0.0.54:53 app.internal").summary();
        assert!(!summary.contains("resolver-dead-member"), "{summary}");
    }
}
