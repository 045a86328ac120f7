//! # all-servers-down
//!
//! ## What happens
//!
//! Every server of the group is marked `down` in the configuration, or only backups are left that are. nginx has nobody
//! to choose, whatever runs behind them. True for every version of nginx.
//!
//! ## What you see
//!
//! `no live upstreams while connecting to upstream` for every request, from the first after a reload on, and a 502.
//!
//! ## How we know
//!
//! Confirmed: the configuration marks all of them, and requests found nobody.
//!
//! ## What would disprove it
//!
//! One server of the group that is not marked.
//!
//! ## What to do
//!
//! Take the mark off the servers that are back.
//!
//! ## Not to be confused with
//!
//! `no-live-upstreams` (taken out by failures), `connection-limited` (`max_conns`).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_init_round_robin`, `ngx_http_upstream_get_peer`.

use crate::case::{Case, Failure, FailureId, Subject, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::Phrase;
use why502_model::{Group, Span};

pub(super) static CAUSE: Cause = Cause {
    id: "all-servers-down",
    layer: Layer::Select,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[502],
    scope: Scope::Group,
    supersedes: &["no-live-upstreams"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("all_servers_down.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(id) = subject.group().filter(|id| is_down(case.gateway.group(*id))) else {
        return Ok(Ruling::NoSign);
    };
    let group = case.gateway.group(id);
    let without: Vec<(FailureId, &Failure)> = case
        .failures_of_group(id)
        .filter(|(_, failure)| failure.route.is_some())
        .filter(|(_, failure)| is_unserved(failure))
        .collect();
    let is_used = case.routes_to(id).next().is_some();
    let logged = Case::line_of(&without).map(|origin| {
        let says = format!("{} found no server to choose", count(Case::weigh(&without), "request"));
        Evidence::supporting(says, origin)
    });
    // Where nobody asked yet, the configuration alone tells what will happen.
    if logged.is_none() && !is_used {
        return Ok(Ruling::NoSign);
    }
    let marked = group.peers.iter().map(|peer| {
        Evidence::supporting(format!("{} is marked down", peer.text), Origin::File(peer.at.clone()))
    });
    let mut finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
        .explaining(without.iter().map(|(id, _)| *id))
        .still_failing(case.gateway.master.is_some().then_some(true))
        .with(logged)
        .with(marked.take(4))
        .at(group.peers.iter().map(|peer| peer.at.clone()));
    finding.fails_clients_now = case.gateway.master.is_some() && !without.is_empty();
    Ok(Ruling::found(finding))
}

fn is_down(group: &Group) -> bool {
    !group.peers.is_empty() && group.peers.iter().all(|peer| peer.down)
}

/// A request for which nobody was chosen: nginx says so, or the attempt has the group's name for an address.
fn is_unserved(failure: &Failure) -> bool {
    failure
        .symptoms
        .iter()
        .any(|symptom| symptom.is(Phrase::NoLiveUpstreams) || (symptom.is_attempt && symptom.group.is_some()))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let group = finding.subjects.iter().find_map(Subject::group).map(|id| case.gateway.group(id));
    let name = group.and_then(|group| group.name.clone()).unwrap_or_default();
    let number = group.map_or(0, |group| group.peers.len() as u64);
    Explanation {
        title: format!("all of {name}'s {} marked down in the configuration", if number == 1 { "servers (1) are".to_owned() } else { format!("{number} servers are") }),
        why: "The configuration takes every server of the group out of use. nginx has nobody to choose and answers 502 without \
              dialling anybody."
            .to_owned(),
        wont_help: vec!["restarting the backends: nginx does not dial them while they are marked".to_owned()],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let group = finding.subjects.iter().find_map(Subject::group).map(|id| case.gateway.group(id));
    let splices: Vec<Span> = group
        .into_iter()
        .flat_map(|group| &group.peers)
        .filter_map(|peer| case.gateway.parameter(&peer.at, "down"))
        .collect();
    let mut remedy = Remedy::new("Take the mark off the servers that are back", Risk::Review)
        .advice("only those that really run again: a dead one behind a lone name makes every request fail")
        .verify("the failing request answers");
    for at in splices {
        remedy = remedy.edit(at, "");
    }
    vec![remedy]
}

#[cfg(test)]
mod tests {
    use crate::causes::no_live_upstreams::tests::HIT as LIVE;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        let down = LIVE
            .replace("127.0.0.1:3000;", "127.0.0.1:3000 down;")
            .replace("127.0.0.1:3001;", "127.0.0.1:3001 down;");
        let lines: Vec<&str> = down.lines().filter(|line| !line.contains("GET /a ")).collect();
        Fixture::new(&lines.join("\n"))
    }

    #[test]
    fn hit_all_are_marked() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed all-servers-down -> no-live-upstreams: all of backend's 2 servers are marked down in the configuration [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_from_the_files_alone() {
        insta::assert_snapshot!(hit().with("options", "offline").summary(), @"
        Broken
        Confirmed all-servers-down -> no-live-upstreams: all of backend's 2 servers are marked down in the configuration [1 requests]
        ");
    }

    #[test]
    fn near_miss_one_is_not_marked() {
        let one = LIVE.replace("127.0.0.1:3000;", "127.0.0.1:3000 down;");
        let summary = Fixture::new(&one).summary();
        assert!(!summary.contains("all-servers-down"), "{summary}");
    }

    #[test]
    fn near_miss_nobody_asked() {
        let quiet = hit().with("error.log", "").with("access.log", "");
        insta::assert_snapshot!(quiet.summary(), @"
        AtRisk
        Confirmed all-servers-down: all of backend's 2 servers are marked down in the configuration [0 requests, still failing]
        ");
    }

    #[test]
    fn gap_without_logs_there_is_no_sign() {
        insta::assert_snapshot!(hit().without("error.log").without("access.log").summary(), @"
        AtRisk
        Confirmed all-servers-down: all of backend's 2 servers are marked down in the configuration [0 requests, still failing]
        ");
    }

    #[test]
    fn the_remedy_takes_the_marks_off() {
        insta::assert_snapshot!(crate::fixture::first_diff(&hit().report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -1,5 +1,5 @@
         events {}
         http {
        -    upstream backend { server 127.0.0.1:3000 down; server 127.0.0.1:3001 down; }
        +    upstream backend { server 127.0.0.1:3000; server 127.0.0.1:3001; }
             server {
                 listen 80;
        ");
    }
}
