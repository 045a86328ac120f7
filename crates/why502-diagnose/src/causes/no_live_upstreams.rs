//! # no-live-upstreams
//!
//! ## What happens
//!
//! Every peer of the group is marked unavailable: each failed `max_fails` times (1 by default) within `fail_timeout`
//! (10 s), and until that time is over nginx does not even try. Since 1.11.5 there is no quick recovery. A symptom: what
//! made the peers fail is the cause.
//!
//! ## What you see
//!
//! `no live upstreams while connecting to upstream`, with the group's name in place of an address, and a 502 at once.
//!
//! ## How we know
//!
//! Confirmed: nginx's own message names it, or `$upstream_addr` holds the group's name in place of an address.
//!
//! ## What would disprove it
//!
//! Nothing: the message has this one meaning. Why the peers were taken out is another question.
//!
//! ## What to do
//!
//! Mend what made the peers fail; look at the lines before the first of these.
//!
//! ## Not to be confused with
//!
//! `all-servers-down` (marked so in the configuration), `connection-limited` (`max_conns`), `passive-ejection` (healthy
//! peers taken out by what counts as a failure).
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_connect` (`NGX_BUSY`), `ngx_http_upstream_get_peer`.

use crate::case::{Case, Failure, FailureId, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::Phrase;
use why502_model::{Group, GroupId};

pub(super) static CAUSE: Cause = Cause {
    id: "no-live-upstreams",
    layer: Layer::Select,
    acts_on: ActsOn::Upstream,
    effect: true,
    statuses: &[502],
    scope: Scope::Group,
    supersedes: &[],
    detect: Detect::Over(detect),
    explain,
    remedies,
    manual: manual!("no_live_upstreams.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject, _found: &[Finding]) -> Result<Ruling, Asks> {
    let Some(id) = subject.group() else { return Ok(Ruling::NoSign) };
    let group = case.gateway.group(id);
    let without = without_peers(case, id);
    let Some(origin) = Case::line_of(&without) else { return Ok(Ruling::NoSign) };
    let says = format!(
        "{} found every peer of {name} marked unavailable",
        count(Case::weigh(&without), "request"),
        name = name_of(group)
    );
    let offline = case.facts.manifest.invocation.offline;
    let finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
        .explaining(without.iter().map(|(id, _)| *id))
        .still_failing((!offline && answers_again(case, id, &without)).then_some(false))
        .with([Evidence::supporting(says, origin)])
        .at([group.at.clone()]);
    Ok(Ruling::found(finding))
}

/// Whether a request that came after all of them was answered by the group.
fn answers_again(case: &Case<'_>, id: GroupId, without: &[(FailureId, &Failure)]) -> bool {
    let last = without.iter().map(|(_, failure)| failure.at).max();
    case.routes_to(id).flat_map(|route| case.successes_of(route)).any(|success| Some(success.at) > last)
}

/// The requests for which no peer of a group was left.
pub(super) fn without_peers<'c>(case: &'c Case<'_>, id: GroupId) -> Vec<(FailureId, &'c Failure)> {
    let name = name_of(case.gateway.group(id));
    let says_so = |failure: &Failure| {
        failure.symptoms.iter().any(|symptom| {
            (symptom.is(Phrase::NoLiveUpstreams) || names_a_group(symptom))
                && symptom.group.as_deref().is_none_or(|own| own.eq_ignore_ascii_case(&name))
        })
    };
    case.failures_of_group(id).filter(|(_, failure)| says_so(failure)).collect()
}

/// Whether the access log has a group's name in place of an address: none was chosen (reference, section 4.2, rule 4).
fn names_a_group(symptom: &Symptom) -> bool {
    let status = symptom.tried.as_ref().and_then(|tried| tried.status);
    symptom.phrase.is_none() && symptom.group.is_some() && status == Some(502)
}

/// The name of a group as the log tells it: an implicit group is named after the host that was written.
fn name_of(group: &Group) -> String {
    group.name.clone().or_else(|| group.peers.first().map(|peer| peer.text.clone())).unwrap_or_default()
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let group =
        finding.subjects.iter().find_map(Subject::group).and_then(|id| case.gateway.group(id).name.clone());
    Explanation {
        title: format!("every peer of {} is marked unavailable", group.unwrap_or_else(|| "the upstream".to_owned())),
        why: "Each peer failed often enough to be left out for a while, and none is left to try. nginx answers 502 without \
              dialling anybody."
            .to_owned(),
        wont_help: vec!["restarting nginx: it forgets the failures, and the peers fail again".to_owned()],
    }
}

fn remedies(_case: &Case<'_>, _finding: &Finding) -> Vec<Remedy> {
    vec![
        Remedy::new("Find what made the peers fail", Risk::ShowOnly)
            .advice("look at the error-log lines of the same group before the first of these; at level warn nginx also logs `upstream server temporarily disabled`")
            .verify("no new lines of this kind"),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use crate::fixture::Fixture;

    pub(in crate::causes) const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream backend { server 127.0.0.1:3000; server 127.0.0.1:3001; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://backend; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3001/a", host: "shop.example.com"
2026/11/21 02:28:31 [error] 101#101: *4 no live upstreams while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /b HTTP/1.1", upstream: "http://backend/b", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:31 +0000] "GET /b HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
0.0.0.0:80 nginx
#- probe 127.0.0.1:3000
refused
#- probe 127.0.0.1:3001
refused
"#;

    #[test]
    fn hit_it_is_the_effect_of_what_took_the_peers_out() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed upstream-not-listening -> no-live-upstreams: nothing listens on 127.0.0.1:3000, 127.0.0.1:3001 [2 requests, still failing]
        ");
    }

    #[test]
    fn hit_alone_it_is_all_that_is_known() {
        let lines: Vec<&str> = HIT.lines().filter(|line| !line.contains("GET /a ")).collect();
        insta::assert_snapshot!(Fixture::new(&lines.join("\n")).with("options", "offline").summary(), @"
        Broken
        Confirmed no-live-upstreams: every peer of backend is marked unavailable [1 requests]
        ");
    }

    #[test]
    fn hit_by_the_access_log_alone() {
        let told = HIT
            .replace("http {", "http {\n    log_format up '$remote_addr [$time_local] \"$request\" $status us=$upstream_status ua=$upstream_addr';\n    access_log /var/log/nginx/access.log up;")
            .replace(" - - [", " [")
            .replace("502 157 \"-\" \"curl/8\"", "502 us=502 ua=backend");
        let alone = Fixture::new(&told).without("error.log").with("options", "offline");
        insta::assert_snapshot!(alone.summary(), @"
        Broken
        Confirmed no-live-upstreams: every peer of backend is marked unavailable [2 requests]
        ");
    }

    #[test]
    fn near_miss_another_group_has_its_own_peers() {
        let two = HIT
            .replace("server {", "upstream other { server 127.0.0.1:4000; server 127.0.0.1:4001; } server {");
        let summary = Fixture::new(&two).summary();
        assert_eq!(summary.matches("no-live-upstreams").count(), 1, "{summary}");
    }

    #[test]
    fn gap_without_the_error_log_there_is_no_sign() {
        let summary = Fixture::new(HIT).without("error.log").summary();
        assert!(!summary.contains("no-live-upstreams"), "{summary}");
    }
}
