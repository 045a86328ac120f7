//! # upstream-crash-looping
//!
//! ## What happens
//!
//! The backend dies, its supervisor starts it again, and it dies again. Requests that fall into the gaps are refused; in between
//! some may be answered. After enough deaths the supervisor gives up. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() failed (111: Connection refused) while connecting to upstream` in bursts, perhaps `upstream prematurely closed
//! connection` before each; 502 and 200 in turns.
//!
//! ## How we know
//!
//! Confirmed: whoever supervises the service recorded two deaths or more shortly before and during the failures (the journal,
//! systemd's or a container engine's counter of restarts, supervisord's or PM2's log), and its definition names the peer's address. Likely: its name alone ties
//! it to the upstream.
//!
//! ## What would disprove it
//!
//! Ends that somebody asked for: a deploy that restarts it several times.
//!
//! ## What to do
//!
//! Read its last lines before a death, mend that, and start it once.
//!
//! ## Not to be confused with
//!
//! `upstream-crashed` (it died once), `upstream-service-stopped` (a single start that failed), `upstream-worker-recycled` (a
//! master that replaces its workers), `upstream-oom-killed`.
//!
//! ## References
//!
//! systemd.service(5) on `Restart=`, systemd.unit(5) on `StartLimitIntervalSec=`; supervisord: `startretries`;
//! Docker: restart policies; PM2: `max_restarts`, `min_uptime`.

use super::services::{Event, How, Judged, judged, judged_again};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-crash-looping",
    layer: Layer::Connect,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[
        "response-body-truncated",
        "unix-socket-missing",
        "unix-socket-stale",
        "upstream-closed-before-response",
        "upstream-not-listening",
        "upstream-reset-before-response",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_crash_looping.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let judged = judged(case, subject)?.filter(|judged| last_death(judged).is_some());
    Ok(judged.map_or(Ruling::NoSign, |judged| Ruling::found(judged.finding(case, &CAUSE, subject))))
}

fn last_death<'j>(judged: &'j Judged<'_>) -> Option<&'j Event> {
    if let How::Looping(deaths) = &judged.verdict.how { deaths.last() } else { None }
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let judged = judged_again(case, finding);
    let name = judged.as_ref().map_or_else(|| address.clone(), Judged::name);
    let how = judged.as_ref().and_then(last_death).map(|death| death.what.words()).unwrap_or_default();
    let verb = if finding.still_failing == Some(false) { "died" } else { "dies" };
    Explanation {
        title: format!("{name}, which serves {address}, {verb} again and again{how}"),
        why: "Between a death and the next start nobody listens, and the kernel refuses nginx's connections at once. nginx \
              answers 502 to whatever comes in such a gap."
            .to_owned(),
        wont_help: vec![
            "a higher StartLimitBurst or startretries: it is started more often and dies as often".to_owned(),
            "starting it by hand: it dies of the same thing".to_owned(),
            "max_fails or proxy_next_upstream: with one peer nobody else can answer".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(judged) = judged_again(case, finding) else { return Vec::new() };
    let Some(death) = last_death(&judged) else { return Vec::new() };
    let log = judged.log();
    let wrote = judged.history.last_words(death.to);
    let wrote = wrote.map(|line| format!("; before the last death it wrote: {line}")).unwrap_or_default();
    let find = Remedy::new("Mend what it dies of", Risk::ShowOnly)
        .advice(format!("look at {} in {log}{wrote}", death.from))
        .verify("it stays up");
    if !judged.history.has_given_up() || finding.still_failing == Some(false) {
        return vec![find];
    }
    let again = Remedy::new("Start it once that is mended", Risk::Review)
        .advice("its supervisor has given up and does not start it any more")
        .verify(format!("a connection to {} opens and stays", finding.address()));
    vec![find, judged.started_by(again, true)]
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_service_stopped::tests::HIT as STOPPED;
    use crate::fixture::Fixture;

    const JOURNAL: &str = "2026-11-21T02:28:20Z systemd Started orders.service - Orders.\n\
        2026-11-21T02:28:21Z node Error: no such database\n\
        2026-11-21T02:28:21Z systemd orders.service: Main process exited, code=exited, status=1/FAILURE\n\
        2026-11-21T02:28:22Z systemd orders.service: Scheduled restart job, restart counter is at 1.\n\
        2026-11-21T02:28:22Z systemd Started orders.service - Orders.\n\
        2026-11-21T02:28:29Z systemd orders.service: Main process exited, code=exited, status=1/FAILURE\n";

    fn hit() -> Fixture {
        Fixture::new(STOPPED)
            .with("unit orders.service", "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=exit-code\nNRestarts=1\nExecMainCode=1\nExecMainStatus=1\nExecMainStartTimestamp=Sat 2026-11-21 02:28:22 UTC\nExecMainExitTimestamp=Sat 2026-11-21 02:28:29 UTC")
            .with("journal orders.service", JOURNAL)
    }

    #[test]
    fn hit_it_died_twice_and_waits() {
        insta::assert_snapshot!(hit().summary(), @"
        Broken
        Confirmed upstream-crash-looping -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, dies again and again: exit code 1 [2 requests, still failing]
        ");
    }

    #[test]
    fn hit_supervisord_gave_up() {
        let words = "2026-11-21 02:28:00,123 INFO spawned: 'orders' with pid 12\n\
            2026-11-21 02:28:01,123 INFO exited: orders (exit status 1; not expected)\n\
            2026-11-21 02:28:02,123 INFO spawned: 'orders' with pid 13\n\
            2026-11-21 02:28:03,123 INFO exited: orders (exit status 1; not expected)\n\
            2026-11-21 02:28:04,123 INFO gave up: orders entered FATAL state, too many start retries too quickly\n";
        let program = Fixture::new(STOPPED)
            .without("unit-file /etc/systemd/system/orders.service")
            .with("program orders", "command=node server.js\nenvironment=PORT=\"3000\"\n")
            .with("server-log", words);
        insta::assert_snapshot!(program.summary(), @"
        Broken
        Confirmed upstream-crash-looping -> upstream-not-listening: supervisord's program orders, which serves 127.0.0.1:3000, dies again and again: exit code 1 [2 requests, still failing]
        ");
        let text = format!("{:?}", program.report().findings[0].remedies);
        assert!(text.contains("supervisorctl"), "{text}");
    }

    #[test]
    fn near_miss_it_runs_after_two_failed_starts() {
        let words = "2026-11-21 02:28:00,123 INFO spawned: 'orders' with pid 12\n\
            2026-11-21 02:28:01,123 INFO exited: orders (exit status 1; not expected)\n\
            2026-11-21 02:28:02,123 INFO spawned: 'orders' with pid 13\n\
            2026-11-21 02:28:03,123 INFO exited: orders (exit status 1; not expected)\n\
            2026-11-21 02:28:04,123 INFO spawned: 'orders' with pid 200\n";
        let soon = Fixture::new(STOPPED)
            .without("unit-file /etc/systemd/system/orders.service")
            .with("program orders", "command=node server.js\nenvironment=PORT=\"3000\"\n")
            .with("server-log", words)
            .with("options", "now=2026-11-21T02:28:40Z")
            .with("listeners", "127.0.0.1:9 node parent=300 mute server.js\n");
        assert!(soon.summary().contains("Confirmed upstream-crash-looping"), "{}", soon.summary());
        let elsewhere = soon.with("listeners", "[::1]:3000 node parent=300 server.js\n");
        assert!(!elsewhere.summary().contains("upstream-crash-looping"), "{}", elsewhere.summary());
        let later = soon.with("options", "now=2026-11-21T02:29:40Z");
        assert!(!later.summary().contains("upstream-crash-looping"), "{}", later.summary());
    }

    #[test]
    fn hit_the_counter_tells_without_a_journal() {
        let counted = hit()
            .with("unit orders.service", "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nNRestarts=4\nExecMainCode=1\nExecMainStatus=1\nExecMainStartTimestamp=Sat 2026-11-21 02:28:22 UTC\nExecMainExitTimestamp=Sat 2026-11-21 02:28:22 UTC")
            .without("journal orders.service");
        assert!(counted.summary().contains("Confirmed upstream-crash-looping"), "{}", counted.summary());
    }

    #[test]
    fn near_miss_somebody_restarted_it_twice() {
        let deploy = "2026-11-21T02:28:20Z systemd Stopping orders.service - Orders...\n\
            2026-11-21T02:28:20Z systemd orders.service: Main process exited, code=exited, status=143/n/a\n\
            2026-11-21T02:28:20Z systemd Stopped orders.service - Orders.\n\
            2026-11-21T02:28:22Z systemd Started orders.service - Orders.\n\
            2026-11-21T02:28:25Z systemd Stopping orders.service - Orders...\n\
            2026-11-21T02:28:25Z systemd orders.service: Main process exited, code=exited, status=143/n/a\n\
            2026-11-21T02:28:25Z systemd Stopped orders.service - Orders.\n";
        let stopped = Fixture::new(STOPPED).with("journal orders.service", deploy);
        assert!(!stopped.summary().contains("upstream-crash-looping"), "{}", stopped.summary());
    }

    #[test]
    fn near_miss_another_unit_loops() {
        let other = hit().with(
            "unit-file /etc/systemd/system/orders.service",
            "[Service]\nExecStart=/usr/bin/node metrics.js --port 9100\n",
        );
        assert!(!other.summary().contains("upstream-crash-looping"), "{}", other.summary());
    }

    #[test]
    fn gap_nobody_may_ask_systemd() {
        let blind = hit().without("unit orders.service").without("journal orders.service");
        assert!(!blind.summary().contains("upstream-crash-looping"), "{}", blind.summary());
    }
}
