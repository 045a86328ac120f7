//! # upstream-crashed
//!
//! ## What happens
//!
//! The backend's process ran and died by itself: it exited, or a signal ended it. From then on nobody listens, and nginx's
//! connection is refused. True for every version of nginx.
//!
//! ## What you see
//!
//! At the moment of the death perhaps `upstream prematurely closed connection`; from then on `connect() failed (111:
//! Connection refused) while connecting to upstream`, and a 502 at once.
//!
//! ## How we know
//!
//! Confirmed: whoever supervises the process recorded its death (the journal, systemd's own memory of the unit, supervisord's
//! or PM2's log, runit's status, a container engine), at or before the failures, and its definition names the peer's address, or a
//! container has that address for good or is called as nginx dials. Likely: its name alone ties
//! it to the upstream. A process that is merely younger than the failures proves no
//! death. Requests that broke off without an answer at the very moment of the death are its consequence as well.
//!
//! ## What would disprove it
//!
//! Somebody stopped it (`upstream-service-stopped`), or the kernel killed it for want of memory (`upstream-oom-killed`).
//!
//! ## What to do
//!
//! Find out why it died, by its last lines or a core dump; then start it, and have its supervisor start it again by itself.
//!
//! ## Not to be confused with
//!
//! `upstream-crash-looping` (two deaths or more), `upstream-worker-crashed` (its master lives on), `unix-socket-stale` (what a
//! death leaves behind), `upstream-service-stopped` (it never served, or was stopped).
//!
//! ## References
//!
//! systemd.service(5) on `Restart=`, systemd.exec(5) on exit codes; signal(7); coredumpctl(1).

use super::core_dump;
use super::ended_containers::{End, ended, ended_again};
use super::services::{Event, How, Judged, What, judged, judged_again};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::Exit;

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-crashed",
    layer: Layer::Connect,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[
        "connect-timeout-too-short",
        "host-unreachable",
        "response-body-truncated",
        "unix-socket-missing",
        "unix-socket-stale",
        "upstream-closed-before-response",
        "upstream-connect-timeout",
        "upstream-not-listening",
        "upstream-reset-before-response",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_crashed.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let judged = judged(case, subject)?.filter(|judged| death(judged).is_some());
    if let Some(judged) = judged {
        if death(&judged).is_some_and(is_of_a_fault) {
            core_dump::look(case)?;
        }
        return Ok(Ruling::found(judged.finding(case, &CAUSE, subject)));
    }
    let ended = ended(case, subject)?.filter(|ended| matches!(ended.end, End::Died(_)));
    Ok(ended.map_or(Ruling::NoSign, |ended| Ruling::found(ended.finding(case, &CAUSE, subject))))
}

fn death<'j>(judged: &'j Judged<'_>) -> Option<&'j Event> {
    if let How::Crashed(death) = &judged.verdict.how { Some(death) } else { None }
}

/// Whether a fault of its own ended it, and not its own exit: then the kernel may have left a core dump.
fn is_of_a_fault(death: &Event) -> bool {
    matches!(death.what, What::Died(Some(Exit::Signal(signal))) if core_dump::is_fault(signal))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let judged = judged_again(case, finding);
    let container = ended_again(case, finding).filter(|_| judged.is_none());
    let code = match container.as_ref().map(|ended| ended.end) {
        Some(End::Died(code)) => format!(": exit code {code}"),
        _ => String::new(),
    };
    let container = container.map(|ended| format!("the container {}", ended.container.name));
    let name = judged.as_ref().map(Judged::name).or(container).unwrap_or_else(|| address.clone());
    let how = judged.as_ref().and_then(death).map_or(code, |death| death.what.words());
    Explanation {
        title: format!("{name}, which serves {address}, died{how}"),
        why: "The process ended by itself, and its listening socket went with it. The kernel refuses nginx's connections at \
              once, and nginx answers 502."
            .to_owned(),
        wont_help: vec![
            "raising proxy_connect_timeout or proxy_read_timeout: the refusal comes at once".to_owned(),
            "restarting nginx: the process that died is the backend's".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(judged) = judged_again(case, finding) else {
        return ended_again(case, finding)
            .map(|ended| of_container(finding, &ended.container.name))
            .unwrap_or_default();
    };
    let Some(death) = death(&judged) else { return Vec::new() };
    let wrote = judged.history.last_words(death.to);
    let wrote = wrote.map(|line| format!("; before it ended it wrote: {line}")).unwrap_or_default();
    let log = judged.log();
    let core = is_of_a_fault(death).then(|| format!(", and for {}", core_dump::place(case, None)));
    let core = core.unwrap_or_default();
    let find = Remedy::new("Find out why it died", Risk::ShowOnly)
        .advice(format!("look at {} in {log}{core}{wrote}", death.from))
        .verify("the cause of its end is known");
    if finding.still_failing == Some(false) {
        return vec![find];
    }
    let advice = judged.comes_back().unwrap_or_else(|| "it may die again of the same thing".to_owned());
    let has_failed = judged.history.has_given_up();
    let start = judged
        .started_by(Remedy::new("Start it again", Risk::Review), has_failed)
        .advice(advice)
        .verify(format!("a connection to {} opens", finding.address()));
    vec![start, find]
}

fn of_container(finding: &Finding, name: &str) -> Vec<Remedy> {
    let find = Remedy::new("Find out why it died", Risk::ShowOnly)
        .command(&["docker", "logs", "--tail", "50", name], &[])
        .verify("the cause of its end is known");
    let start = Remedy::new("Start it again", Risk::Review)
        .command(&["docker", "start", name], &[&["docker", "stop", name]])
        .advice("it may die again of the same thing; `--restart on-failure` has the engine start it again")
        .verify(format!("a connection to {} opens", finding.address()));
    vec![start, find]
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_service_stopped::tests::HIT as STOPPED;
    use crate::fixture::Fixture;

    fn hit() -> Fixture {
        Fixture::new(STOPPED)
            .with("unit orders.service", "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=signal\nRestart=no\nExecMainCode=2\nExecMainStatus=11\nExecMainStartTimestamp=Fri 2026-11-20 02:00:00 UTC\nExecMainExitTimestamp=Sat 2026-11-21 02:28:20 UTC")
            .with("journal orders.service", "2026-11-21T02:28:20Z systemd orders.service: Main process exited, code=killed, status=11/SEGV\n2026-11-21T02:28:20Z systemd orders.service: Failed with result 'signal'.\n")
    }

    #[test]
    fn hit_a_signal_ended_it() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed upstream-crashed -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, died: signal 11 (SIGSEGV) [2 requests, still failing]
        ");
    }

    const BROKEN_OFF: &str = r#"2026/11/21 02:28:20 [error] 101#101: *1 upstream prematurely closed connection while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /api/z HTTP/1.1", upstream: "http://127.0.0.1:3000/api/z", host: "shop.example.com"
"#;

    /// The same with a request that broke off at a moment.
    fn with_broken_off(at: &str) -> Fixture {
        let log = format!("{}\n{}", BROKEN_OFF.replace("02:28:20", at), section("error.log"));
        let access = format!(
            "10.0.0.9 - - [21/Nov/2026:{at} +0000] \"GET /api/z HTTP/1.1\" 502 157 \"-\" \"curl/8\"\n{}",
            section("access.log")
        );
        hit().with("error.log", &log).with("access.log", &access)
    }

    /// A section of what is stopped.
    fn section(name: &str) -> &'static str {
        let begin = STOPPED.split_once(&format!("#- {name}\n")).unwrap().1;
        begin.split("#- ").next().unwrap()
    }

    #[test]
    fn hit_what_broke_off_at_its_death_is_its_consequence() {
        let summary = with_broken_off("02:28:20").summary();
        let says = "Confirmed upstream-crashed -> upstream-not-listening, upstream-closed-before-response: orders.service, which serves 127.0.0.1:3000, died: signal 11 (SIGSEGV) [3 requests, still failing]";
        assert!(summary.contains(says) && summary.lines().count() == 2, "{summary}");
    }

    #[test]
    fn near_miss_what_broke_off_at_another_time_is_another_matter() {
        let summary = with_broken_off("02:27:00").summary();
        let is_apart = summary.contains("[2 requests, still failing]")
            && summary.contains("Likely upstream-closed-before-response: ");
        assert!(is_apart, "{summary}");
    }

    #[test]
    fn hit_it_was_started_again() {
        let back = hit()
            .with("listeners", "127.0.0.1:3000 node\n")
            .with("probe 127.0.0.1:3000", "connected")
            .with("unit orders.service", "LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=1\nMainPID=200\nExecMainStartTimestamp=Sat 2026-11-21 02:28:40 UTC")
            .with("journal orders.service", "2026-11-21T02:28:20Z systemd orders.service: Main process exited, code=exited, status=1/FAILURE\n2026-11-21T02:28:40Z systemd orders.service: Scheduled restart job, restart counter is at 1.\n2026-11-21T02:28:40Z systemd Started orders.service - Orders.\n");
        insta::assert_snapshot!(back.summary(), @"
        Recovered
        Confirmed upstream-crashed -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, died: exit code 1 [2 requests, mended]
        ");
    }

    #[test]
    fn near_miss_it_was_killed_for_want_of_memory() {
        let killed = hit().with("unit orders.service", "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=oom-kill\nExecMainCode=2\nExecMainStatus=9\nExecMainExitTimestamp=Sat 2026-11-21 02:28:20 UTC");
        assert!(!killed.summary().contains("upstream-crashed"), "{}", killed.summary());
    }

    #[test]
    fn near_miss_a_migration_of_the_same_environment_ended_well() {
        let both = Fixture::new(STOPPED)
            .without("unit-file /etc/systemd/system/orders.service")
            .with("program orders", "command=node server.js\nenvironment=PORT=\"3000\"\n")
            .with("program schema", "command=node schema.js\nenvironment=PORT=\"3000\"\n")
            .with(
                "server-log",
                "2026-11-21 02:28:00,123 INFO spawned: 'orders' with pid 200\n\
                2026-11-21 02:28:00,124 INFO spawned: 'schema' with pid 12\n\
                2026-11-21 02:28:01,123 INFO exited: schema (exit status 0; expected)\n",
            )
            .with("listeners", "[::1]:3000 node parent=300 server.js\n");
        assert!(!both.summary().contains("upstream-crashed"), "{}", both.summary());
        assert!(!both.summary().contains("upstream-service-stopped"), "{}", both.summary());
    }

    #[test]
    fn near_miss_it_died_after_the_failures() {
        let later = hit()
            .with("unit orders.service", "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=signal\nExecMainCode=2\nExecMainStatus=11\nExecMainStartTimestamp=Fri 2026-11-20 02:00:00 UTC\nExecMainExitTimestamp=Sat 2026-11-21 02:40:00 UTC")
            .with("journal orders.service", "2026-11-21T02:40:00Z systemd orders.service: Main process exited, code=killed, status=11/SEGV\n");
        assert!(later.summary().contains("upstream-not-listening"), "{}", later.summary());
        assert!(!later.summary().contains("upstream-crashed"), "{}", later.summary());
    }

    #[test]
    fn near_miss_a_younger_process_alone_is_no_death() {
        let younger = hit()
            .with("listeners", "127.0.0.1:3000 node\n")
            .with("probe 127.0.0.1:3000", "connected")
            .with("unit orders.service", "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=200\nExecMainStartTimestamp=Sat 2026-11-21 02:28:40 UTC")
            .without("journal orders.service");
        assert!(!younger.summary().contains("upstream-crashed"), "{}", younger.summary());
    }

    #[test]
    fn gap_the_journal_may_not_be_read() {
        insta::assert_snapshot!(hit().without("journal orders.service").summary(), @"
        Broken
        Confirmed upstream-crashed -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, died: signal 11 (SIGSEGV) [2 requests, still failing]
          open: what the service wrote before it ended: the fixture does not tell
        ");
        let blind = hit().without("journal orders.service").without("unit orders.service");
        assert!(!blind.summary().contains("upstream-crashed"), "{}", blind.summary());
    }
}
