//! # upstream-still-starting
//!
//! ## What happens
//!
//! The backend's process is up and does not listen yet: it loads its code, migrates a database, warms a cache. Until it listens
//! nginx's connections are refused. True for every version of nginx.
//!
//! ## What you see
//!
//! After a deploy or a restart `connect() failed (111: Connection refused) while connecting to upstream`, a 502 at once, and
//! then all is well by itself.
//!
//! ## How we know
//!
//! Confirmed: a process younger than five minutes, whose command line or service names the peer's address, runs, and neither
//! it nor a process that it started listens anywhere. Likely: its environment alone names the address, which workers in the
//! background share; or its program is not known to be a server (`python3 app.py --port 3000` may connect to that port); or
//! the process that listens now was started before the
//! failures, and so was up without listening; or the name of its service alone ties it to the upstream, nobody knows the
//! service's process, or its supervisor keeps no record of deaths. Possible: whose some listeners are may not be seen.
//!
//! ## What would disprove it
//!
//! A process that dies before it listens (`upstream-crash-looping`), or listens elsewhere.
//!
//! ## What to do
//!
//! Wait; then have the start not be felt: a socket unit that queues, a second instance, or `Type=notify` with traffic only after
//! it.
//!
//! ## Not to be confused with
//!
//! `upstream-service-stopped` (no process), `upstream-crash-looping`, `upstream-not-listening` (nothing names the address).
//!
//! ## References
//!
//! systemd.service(5) on `Type=notify`, systemd.socket(5).

mod young;

use self::young::{Young, delayed_listener, young_process};
use super::outages::outage;
use super::services::{How, Judged, judged};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::Supervisor;

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-still-starting",
    layer: Layer::Connect,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502, 503],
    scope: Scope::Peer,
    supersedes: &["unix-socket-missing", "unix-socket-stale", "upstream-not-listening"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_still_starting.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    if let Some(judged) = judged(case, subject)? {
        let How::Starting(_) = judged.verdict.how else { return Ok(Ruling::NoSign) };
        return Ok(Ruling::found(by_service(case, &judged, subject)));
    }
    let Some(outage) = outage(case, subject)? else { return Ok(Ruling::NoSign) };
    let young =
        if outage.is_gone() { delayed_listener(case, &outage) } else { young_process(case, &outage)? };
    let Some(young) = young else { return Ok(Ruling::NoSign) };
    let Young { from, to, strength, .. } = young;
    let holds = |at| from <= at && to.is_none_or(|to| at <= to);
    let fits = outage.failures.is_empty() || outage.failures.iter().any(|(_, at)| holds(*at));
    if !fits || (outage.is_gone() && outage.failures.is_empty()) {
        return Ok(Ruling::NoSign);
    }
    let still_failing = if outage.is_gone() { Some(false) } else { outage.stands(case).then_some(true) };
    // What refused before is seen no more.
    let confidence = if still_failing == Some(true) { strength } else { strength.min(Confidence::Likely) };
    let finding = outage
        .finding(case, &CAUSE, confidence, subject, holds)
        .still_failing(still_failing)
        .with([Evidence::supporting(young.says, young.origin)])
        .open(young.open);
    Ok(Ruling::found(finding))
}

fn by_service(case: &Case<'_>, judged: &Judged<'_>, subject: &Subject) -> Finding {
    let mut finding = judged.finding(case, &CAUSE, subject);
    // runit and engines tell the last start alone: whoever dies at once is always young.
    if matches!(judged.history.service.supervisor, Supervisor::Engine | Supervisor::Runit) {
        finding.confidence = finding.confidence.min(Confidence::Likely);
    }
    finding
}

fn explain(_case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let title = if finding.confidence == Confidence::Possible {
        format!("perhaps the backend of {address} is up and does not listen yet")
    } else if finding.still_failing == Some(false) {
        format!("the backend of {address} was up and did not listen yet")
    } else {
        format!("the backend of {address} is up and does not listen yet")
    };
    let mut wont_help = vec!["raising proxy_connect_timeout: a refusal does not wait".to_owned()];
    // Where another process may be the backend, starting that is what helps.
    if finding.confidence == Confidence::Confirmed || finding.still_failing == Some(false) {
        wont_help.insert(0, "restarting the backend: it begins from the start again".to_owned());
    }
    Explanation {
        title,
        why: "The process was started and has not opened its listening socket yet. The kernel refuses nginx's connections at \
              once, and nginx answers 502 until it has."
            .to_owned(),
        wont_help,
    }
}

fn remedies(_case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let title = "Have its start not be felt";
    let advice = "start the new instance beside the old one and switch once it answers, or let a socket unit hold connections \
                  until it accepts them; a reload of nginx or a deploy that goes on must wait for its readiness";
    vec![
        Remedy::new(title, Risk::ShowOnly)
            .advice(advice)
            .verify(format!("a connection to {} opens through a restart", finding.address())),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_service_stopped::tests::HIT as STOPPED;
    use crate::fixture::Fixture;

    fn without_services() -> Fixture {
        Fixture::new(STOPPED)
            .without("unit-file /etc/systemd/system/orders.service")
            .with("unit-file none", "")
    }

    fn hit() -> Fixture {
        without_services().with("options", "now=2026-11-21T02:28:40Z").with(
            "listeners",
            "0.0.0.0:80 nginx\n127.0.0.1:9 node started=2026-11-21T02:28:20Z mute --port 3000 server.js\n",
        )
    }

    #[test]
    fn hit_a_young_process_names_the_port() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed upstream-still-starting -> upstream-not-listening: the backend of 127.0.0.1:3000 is up and does not listen yet [2 requests, still failing]
        ");
    }

    #[test]
    fn hit_a_script_that_may_be_a_client_is_likely() {
        let script = "127.0.0.1:9 python3 started=2026-11-21T02:28:20Z mute app.py --port 3000\n";
        let likely = hit().with("listeners", script);
        assert!(likely.summary().contains("Likely upstream-still-starting"), "{}", likely.summary());
        let report = likely.report();
        let found =
            report.findings.iter().find(|finding| finding.cause == "upstream-still-starting").unwrap();
        assert!(!found.wont_help.iter().any(|told| told.contains("restarting")), "{:?}", found.wont_help);
    }

    #[test]
    fn near_miss_a_script_of_a_deploy_waits_for_the_server() {
        for command in [
            "wait_for_port.py --host 127.0.0.1 --port 3000",
            "wait_for_port.py --host 10.9.9.9 --port 3000",
            "server.py --host 10.9.9.9 --port 3000",
            "healthcheck.py --port 3000",
            "manage.py migrate --port 3000",
        ] {
            let line = format!("127.0.0.1:9 python3 started=2026-11-21T02:28:20Z mute {command}\n");
            let other = hit().with("listeners", &line);
            assert!(!other.summary().contains("upstream-still-starting"), "{command}: {}", other.summary());
        }
    }

    #[test]
    fn near_miss_a_young_client_is_told_whom_to_ask() {
        let client = hit().with(
            "listeners",
            "127.0.0.1:9 node started=2026-11-21T02:28:20Z mute env=ORDERS_PORT=3000 server.js\n",
        );
        assert!(!client.summary().contains("upstream-still-starting"), "{}", client.summary());
    }

    #[test]
    fn hit_a_variable_or_a_unit_names_it() {
        let variable = hit().with(
            "listeners",
            "127.0.0.1:9 node started=2026-11-21T02:28:20Z mute env=PORT=3000 server.js\n",
        );
        assert!(variable.summary().contains("Likely upstream-still-starting"), "{}", variable.summary());
        let unit = Fixture::new(STOPPED)
            .with("options", "now=2026-11-21T02:28:40Z")
            .with("unit orders.service", "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=700\nExecMainStartTimestamp=Sat 2026-11-21 02:28:20 UTC")
            .with("journal orders.service", "2026-11-21T02:28:20Z systemd Started orders.service - Orders.\n")
            .with("listeners", "127.0.0.1:9 node unit=orders.service mute server.js\n");
        assert!(unit.summary().contains("Confirmed upstream-still-starting"), "{}", unit.summary());
        let elsewhere = unit.with("listeners", "127.0.0.1:3001 node unit=orders.service server.js\n");
        assert!(!elsewhere.summary().contains("upstream-still-starting"), "{}", elsewhere.summary());
    }

    #[test]
    fn near_miss_a_worker_has_the_environment_of_the_server() {
        for command in [
            "python3 started=2026-11-21T02:28:20Z mute env=PORT=3000 worker.py",
            "sleep started=2026-11-21T02:28:20Z mute env=PORT=3000 5",
        ] {
            let worker = hit().with("listeners", &format!("127.0.0.1:9 {command}\n"));
            assert!(!worker.summary().contains("upstream-still-starting"), "{}", worker.summary());
        }
    }

    #[test]
    fn near_miss_what_a_wrapper_runs_listens_elsewhere() {
        for listens in ["[::1]:3000", "127.0.0.1:9229"] {
            let wrapped = hit().with(
                "listeners",
                &format!("0.0.0.0:80 nginx\n127.0.0.1:9 python3 started=2026-11-21T02:28:20Z mute npx.py vite --port 3000\n{listens} node parent=201 server.js\n"),
            );
            assert!(!wrapped.summary().contains("upstream-still-starting"), "{}", wrapped.summary());
        }
        let in_background = hit().with(
            "listeners",
            "127.0.0.1:9 python3 started=2026-11-21T02:28:20Z unit=web.service mute run.py --port 3000\n[::1]:3000 node unit=web.service server.js\n",
        );
        assert!(!in_background.summary().contains("upstream-still-starting"), "{}", in_background.summary());
    }

    #[test]
    fn near_miss_a_client_is_told_a_port() {
        for client in [
            "mysql -P 3000",
            "psql -p 3000",
            "nmap -p 3000 10.0.0.1",
            "wait-for --port 3000",
            "ssh -p 3000 host",
        ] {
            let (name, rest) = client.split_once(' ').unwrap();
            let other = hit()
                .with("listeners", &format!("127.0.0.1:9 {name} started=2026-11-21T02:28:20Z mute {rest}\n"));
            assert!(!other.summary().contains("upstream-still-starting"), "{client}: {}", other.summary());
        }
    }

    #[test]
    fn gap_whose_listeners_are_may_not_be_seen() {
        let young = "127.0.0.1:9 node started=2026-11-21T02:28:20Z mute --port 3000 server.js\n";
        let elsewhere = hit().with("listeners", &format!("{young}127.0.0.1:4000 hidden\n"));
        let summary = elsewhere.summary();
        assert!(
            !summary.contains("Confirmed upstream-still") && !summary.contains("Likely upstream-still"),
            "{summary}"
        );
        let there = hit().with("listeners", &format!("{young}[::1]:3000 hidden\n"));
        assert!(!there.summary().contains("upstream-still-starting"), "{}", there.summary());
    }

    fn supervised(pid: u32) -> Fixture {
        without_services()
            .with("program orders", "command=node server.js --port 3000\n")
            .with("server-log", &format!("2026-11-21 02:28:20,123 INFO spawned: 'orders' with pid {pid}\n"))
            .with("options", "now=2026-11-21T02:28:40Z")
            .with("listeners", "127.0.0.1:9 node parent=300 mute server.js --port 3000\n")
    }

    #[test]
    fn hit_a_program_of_supervisord_is_known_by_its_process() {
        let young = supervised(200);
        assert!(young.summary().contains("Confirmed upstream-still-starting"), "{}", young.summary());
        let unknown = supervised(999);
        assert!(unknown.summary().contains("Likely upstream-still-starting"), "{}", unknown.summary());
    }

    #[test]
    fn near_miss_a_program_of_supervisord_listens_elsewhere() {
        let elsewhere =
            supervised(200).with("listeners", "[::1]:3000 node parent=300 server.js --port 3000\n");
        assert!(!elsewhere.summary().contains("upstream-still-starting"), "{}", elsewhere.summary());
        let child = supervised(200).with(
            "listeners",
            "127.0.0.1:9 sh parent=300 mute run.sh\n[::1]:3000 node parent=200 server.js\n",
        );
        assert!(!child.summary().contains("upstream-still-starting"), "{}", child.summary());
    }

    #[test]
    fn hit_it_listens_by_now() {
        let later = without_services()
            .with("probe 127.0.0.1:3000", "connected")
            .with("listeners", "127.0.0.1:3000 node started=2026-11-21T02:28:20Z server.js\n");
        insta::assert_snapshot!(later.summary(), @"
        Recovered
        Likely upstream-still-starting -> upstream-not-listening: the backend of 127.0.0.1:3000 was up and did not listen yet [2 requests, mended]
        ");
    }

    #[test]
    fn near_miss_it_is_old_or_names_another_port_or_was_started_later() {
        for listeners in [
            "127.0.0.1:9 node started=2026-11-21T02:08:20Z mute --port 3000 server.js\n",
            "127.0.0.1:9 node started=2026-11-21T02:28:20Z mute --port 3001 server.js\n",
            "127.0.0.1:9 node started=2026-11-21T02:28:20Z mute --timeout 3000 server.js\n",
            "127.0.0.1:9 curl started=2026-11-21T02:28:20Z mute http://127.0.0.1:3000\n",
            "127.0.0.1:9 node started=2026-11-21T02:28:20Z --port 3000 server.js\n",
        ] {
            let other = hit().with("listeners", listeners);
            assert!(!other.summary().contains("upstream-still-starting"), "{listeners}: {}", other.summary());
        }
        let later = without_services()
            .with("probe 127.0.0.1:3000", "connected")
            .with("listeners", "127.0.0.1:3000 node started=2026-11-21T02:28:33Z server.js\n");
        assert!(!later.summary().contains("upstream-still-starting"), "{}", later.summary());
    }

    #[test]
    fn gap_the_listeners_cannot_be_seen() {
        let blind = hit().without("listeners").with("listeners", "127.0.0.1:9 hidden\n");
        assert!(!blind.summary().contains("upstream-still-starting"), "{}", blind.summary());
    }
}
