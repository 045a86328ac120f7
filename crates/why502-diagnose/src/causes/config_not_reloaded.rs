//! # config-not-reloaded
//!
//! ## What happens
//!
//! The file on disk is right, and the running workers still serve the configuration that was loaded before it was changed:
//! nobody reloaded, or the last reload failed. True for every version of nginx.
//!
//! ## What you see
//!
//! Failures that name an address that the file does not have (any more).
//!
//! ## How we know
//!
//! Confirmed: the file was changed after the workers were started, and since the change nginx dials an address for the
//! group that the file does not have; or a worker that still serves dialled it before. Possible: the file is newer than the workers, and a failing route stands in it.
//!
//! ## What would disprove it
//!
//! Workers that were started after the file was changed.
//!
//! ## What to do
//!
//! See that `nginx -t` accepts the configuration, then reload.
//!
//! ## Not to be confused with
//!
//! `config-invalid` (the reload is refused), `dns-stale-address` (a name that moved, the file did not change).
//!
//! ## References
//!
//! nginx: `ngx_master_process_cycle` (`ngx_reconfigure`), `ngx_init_cycle`.

use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::Stamp;
use why502_model::{Host, Peer, Source};

pub(super) static CAUSE: Cause = Cause {
    id: "config-not-reloaded",
    layer: Layer::Gateway,
    acts_on: ActsOn::Gateway,
    effect: false,
    statuses: &[502, 504],
    scope: Scope::Gateway,
    supersedes: &[
        "unix-socket-missing",
        "unix-socket-permission",
        "unix-socket-stale",
        "unix-socket-unlinked",
        "unix-socket-wrong-path",
        "upstream-closed-before-response",
        "upstream-connect-timeout",
        "upstream-not-listening",
        "upstream-reset-before-response",
        "upstream-tcp-unix-mismatch",
        "upstream-wrong-interface",
        "upstream-wrong-port",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("config_not_reloaded.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some((source, loaded)) = newer_source(case) else { return Ok(Ruling::NoSign) };
    let changed = Evidence::supporting(
        format!("{} was changed at {}, the workers were started at {loaded}", source.path, source.modified),
        Origin::Host(source.path.to_string()),
    );
    let foreign: Vec<(FailureId, &Failure)> = case
        .failures()
        .filter(|(_, failure)| {
            let is_since = failure.at >= source.modified;
            dials_foreign(case, failure, |attempt| is_since || case.is_of_serving_worker(attempt))
        })
        .collect();
    if let Some(origin) = Case::line_of(&foreign) {
        let says = format!(
            "{} dialled an address that the file does not have",
            count(Case::weigh(&foreign), "request")
        );
        let mut finding = Finding::new(&CAUSE, Confidence::Confirmed, subject)
            .explaining(foreign.iter().map(|(id, _)| *id))
            .still_failing(Some(true))
            .with([changed, Evidence::supporting(says, origin)])
            .at(foreign
                .iter()
                .filter_map(|(_, failure)| Some(case.pass_of(failure.route?, None)?.at.clone()))
                .take(1));
        finding.fails_clients_now = foreign.iter().any(|(_, failure)| !failure.is_hidden());
        return Ok(Ruling::found(finding));
    }
    let routes_in_it: Vec<FailureId> = case
        .failures()
        .filter(|(id, failure)| {
            case.counts(*id)
                && failure.route.is_some_and(|route| case.gateway.route(route).at.file == source.path)
        })
        .map(|(id, _)| id)
        .collect();
    if routes_in_it.is_empty() {
        return Ok(Ruling::NoSign);
    }
    Ok(Ruling::found(
        Finding::new(&CAUSE, Confidence::Possible, subject).explaining(routes_in_it).with([changed]),
    ))
}

/// The newest file that was changed after the running configuration was loaded.
///
/// When the workers were started tells when that was at the latest: a worker that died is replaced without a reload. So a
/// worker that dials what no file has shows as well that the files were changed since.
pub(super) fn newer_source<'c>(case: &'c Case<'_>) -> Option<(&'c Source, Stamp)> {
    case.gateway.master?;
    let loaded = case.gateway.loaded?;
    // Start times are known to a hundredth of a second, stamps of the log to a second.
    let is_newer = |source: &&Source| source.modified.0 > loaded.0 + 100;
    let dials_old = case
        .failures()
        .any(|(_, failure)| failure.at.0 > loaded.0 + 1000 && dials_foreign(case, failure, |_| true));
    let newest = case.gateway.sources.iter().max_by_key(|source| source.modified)?;
    (is_newer(&newest) || dials_old).then_some((newest, loaded))
}

/// Whether one of the attempts that count went to an address that no file has.
fn dials_foreign(case: &Case<'_>, failure: &Failure, counts: impl Fn(&Symptom) -> bool) -> bool {
    failure
        .attempts()
        .filter(|attempt| counts(attempt))
        .filter_map(|attempt| attempt.peer.as_ref())
        .any(|address| case.peers_at(address).any(|peer| is_foreign(case, peer)))
}

/// Whether an address is dialled that no peer of its group has, in a group that is written with addresses only
/// and that nothing else changes.
pub(super) fn is_foreign(case: &Case<'_>, peer: &PeerSubject) -> bool {
    let literal = |group: why502_model::GroupId| {
        // A placeholder stands where a program picks the address (ingress-nginx).
        let is_literal =
            |peer: &Peer| !matches!(peer.host, Host::Name(_)) && !peer.text.starts_with("0.0.0.1");
        let group = case.gateway.group(group);
        !group.managed && group.peers.iter().all(is_literal)
    };
    peer.place.is_none() && peer.group.is_some_and(literal)
}

fn explain(case: &Case<'_>, _finding: &Finding) -> Explanation {
    let file = newer_source(case).map_or(String::new(), |(source, _)| source.path.to_string());
    Explanation {
        title: format!("nginx still serves the configuration from before {file} was changed"),
        why: "The workers keep the configuration that they were started with until a reload. They still dial what the file no \
              longer says."
            .to_owned(),
        wont_help: vec!["editing the file again: without a reload nobody reads it".to_owned()],
    }
}

fn remedies(case: &Case<'_>, _finding: &Finding) -> Vec<Remedy> {
    let Some(pid) = case.gateway.master else { return Vec::new() };
    let pid = pid.to_string();
    vec![
        Remedy::new("Reload nginx", Risk::Review)
            .command(&["nginx", "-t", "-c", &case.gateway.config], &[])
            .command(&["kill", "-HUP", &pid], &[])
            .advice("a reload activates everything that was changed since, not only this")
            .verify("the workers are new and the failing request answers"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream backend { server 127.0.0.1:3001; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://backend; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
127.0.0.1:3001 node
#- probe 127.0.0.1:3000
refused
#- probe 127.0.0.1:3001
connected
#- options
modified=2026-11-21T02:20:00Z
"#;

    #[test]
    fn hit_an_address_that_the_file_does_not_have() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed config-not-reloaded -> upstream-not-listening: nginx still serves the configuration from before /etc/nginx/nginx.conf was changed [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_a_worker_that_still_serves_dialled_it_before_the_file_was_changed() {
        let options = "modified=2026-11-21T02:40:00Z";
        let before = Fixture::new(HIT).with("options", options);
        insta::assert_snapshot!(before.summary(), @"
        Broken
        Confirmed config-not-reloaded -> upstream-not-listening: nginx still serves the configuration from before /etc/nginx/nginx.conf was changed [1 requests, still failing]
        ");
        // Whatever a worker that is gone dialled: it may have had another configuration.
        let gone = Fixture::new(&HIT.replace("101#101", "77#77"))
            .with("options", &format!("{options}\nloaded=2026-11-21T02:35:00Z"));
        let report = gone.report();
        insta::assert_snapshot!(crate::fixture::summary(&report), @"
        Broken
        Likely upstream-not-listening: connections to 127.0.0.1:3000 are refused [1 requests, still failing]
        Possible config-not-reloaded (not a root): nginx still serves the configuration from before /etc/nginx/nginx.conf was changed [1 requests]
        ");
        assert!(report.findings[0].remedies.is_empty(), "nobody is to start what the file no longer has");
    }

    #[test]
    fn near_miss_reloaded_since() {
        let reloaded = Fixture::new(HIT).with("options", "loaded=2026-11-21T02:30:00Z");
        let summary = reloaded.summary();
        assert!(!summary.contains("config-not-reloaded"), "{summary}");
    }

    #[test]
    fn hit_a_worker_that_was_replaced_is_no_reload() {
        let respawned =
            Fixture::new(HIT).with("options", "modified=2026-11-21T02:20:00Z\nloaded=2026-11-21T02:25:00Z");
        let summary = respawned.summary();
        assert!(summary.contains("Confirmed config-not-reloaded"), "{summary}");
    }

    #[test]
    fn near_miss_a_script_or_an_interface_picks_the_address() {
        let peers = "upstream backend { server 127.0.0.1:3001; }";
        for managed in [
            "upstream backend { server 127.0.0.1:3001; balancer_by_lua_block { pick() } }",
            "upstream backend { zone b 64k; state /var/lib/nginx/backend.conf; }",
            "upstream backend { zone b 64k; server 127.0.0.1:3001; } server { listen 81; location /api { api write=on; } }",
        ] {
            let summary = Fixture::new(&HIT.replace(peers, managed)).summary();
            assert!(!summary.contains("Confirmed config-not-reloaded"), "{summary}");
        }
    }

    #[test]
    fn near_miss_a_line_of_another_instance_in_the_same_log() {
        let foreign = Fixture::new(&HIT.replace("101#101", "77#77")).with("access.log", "");
        let report = foreign.report();
        insta::assert_snapshot!(crate::fixture::summary(&report), @"Healthy");
        insta::assert_snapshot!(report.notes.join("\n"), @"not counted: 1 failed request in the error log by process 77, which is none of this instance's");
    }

    #[test]
    fn near_miss_a_line_of_another_master_s_worker_that_can_be_seen() {
        // Soon after a reload, whoever else writes may be a worker of before it.
        let options = "modified=2026-11-21T02:20:00Z\nloaded=2026-11-21T02:28:20Z";
        let foreign = Fixture::new(&HIT.replace("101#101", "77#77")).with("access.log", "");
        let foreign = foreign.with("/b.conf", "error_log /b.log; events {} http { access_log off; }");
        let alone = foreign.with("options", options).summary();
        assert!(alone.contains("Confirmed config-not-reloaded"), "{alone}");
        let beside = foreign.with("b.log", "").with("options", &format!("{options}\nother-worker=77"));
        assert_eq!(beside.summary(), "Healthy\n");
    }

    #[test]
    fn gap_a_log_with_ids_of_another_namespace_tells_of_nobody() {
        let contained = Fixture::new(&HIT.replace("101#101", "7#7"))
            .with("options", "modified=2026-11-21T02:20:00Z\nown-pid=7");
        let summary = contained.summary();
        assert!(summary.contains("Confirmed config-not-reloaded"), "{summary}");
    }

    #[test]
    fn near_miss_a_line_of_a_worker_before_the_reload_is_its_own() {
        let options = "modified=2026-11-21T02:20:00Z\nloaded=2026-11-21T02:25:00Z";
        let before = Fixture::new(&HIT.replace("101#101", "77#77")).with("options", options);
        let summary = before.summary();
        assert!(summary.contains("Confirmed config-not-reloaded"), "{summary}");
    }

    #[test]
    fn near_miss_a_newer_file_alone_is_a_hint() {
        let same = HIT.replace("server 127.0.0.1:3001;", "server 127.0.0.1:3000;");
        insta::assert_snapshot!(Fixture::new(&same).summary(), @"
        Broken
        Confirmed upstream-not-listening: nothing listens on 127.0.0.1:3000 [1 requests, still failing]
        Possible config-not-reloaded (not a root): nginx still serves the configuration from before /etc/nginx/nginx.conf was changed [1 requests]
        Possible upstream-wrong-port (not a root): 127.0.0.1:3000 is dialled; perhaps the backend listens on 127.0.0.1:3001 [1 requests, still failing]
        ");
    }

    #[test]
    fn gap_of_another_hosts_files_nothing_is_said() {
        let summary = Fixture::new(HIT).with("options", "offline\nmodified=2026-11-21T02:20:00Z").summary();
        assert!(!summary.contains("config-not-reloaded"), "{summary}");
    }
}
