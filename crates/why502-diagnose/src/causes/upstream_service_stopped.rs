//! # upstream-service-stopped
//!
//! ## What happens
//!
//! The service that should listen on the peer's address does not run: it was stopped, never started, masked, or ended as soon
//! as it was started. nginx's connection is refused, or its socket is not there. True for every version of nginx.
//!
//! ## What you see
//!
//! `connect() failed (111: Connection refused) while connecting to upstream`; for a unix socket (2: No such file or
//! directory) or (111). A 502 at once. Of a container that nginx dials by its own address also (113: No route to host), or a
//! timeout while connecting.
//!
//! ## How we know
//!
//! Confirmed: the definition of a service of this host (a unit of systemd, a program of supervisord, a service of runit, an
//! application in PM2's list) names the address: in its socket unit, its command, its variables, or a file that its command
//! names; or it is a container that a port of the host is published for. Whoever supervises it says that it does not run, and
//! nobody listens. Confirmed as well: the container whose fixed address or whose name is dialled does not run. A container that its
//! restart policy would have started again, and that stays down, was stopped. Likely: the name of the service alone ties it to the
//! upstream, or several services fit. Only failures since it was stopped are explained.
//!
//! ## What would disprove it
//!
//! A process that listens on the address; a service that was stopped after the failures.
//!
//! ## What to do
//!
//! Start it, and enable it so that it comes up after a reboot. If it failed at start, its last line says why.
//!
//! ## Not to be confused with
//!
//! `upstream-crashed` (it ran and died by itself), `upstream-crash-looping` (it dies again and again),
//! `upstream-still-starting` (it runs and does not listen yet), `upstream-not-listening` (nobody knows why).
//!
//! ## References
//!
//! systemctl(1), systemd.service(5), systemd.unit(5) on masking; supervisord: "Process States"; runit: sv(8);
//! Docker: "Start containers automatically" (restart policies); PM2: "Persistent Applications".

use super::ended_containers::{End, ended, ended_again};
use super::services::{How, Judged, StopKind, judged, judged_again};
use crate::case::{Case, Subject};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-service-stopped",
    layer: Layer::Connect,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[
        "connect-timeout-too-short",
        "host-unreachable",
        "unix-socket-missing",
        "unix-socket-stale",
        "upstream-connect-timeout",
        "upstream-not-listening",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_service_stopped.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let judged = judged(case, subject)?.filter(|judged| matches!(judged.verdict.how, How::Stopped(_)));
    if let Some(judged) = judged {
        return Ok(Ruling::found(judged.finding(case, &CAUSE, subject)));
    }
    let ended = ended(case, subject)?.filter(|ended| ended.end == End::Stopped);
    Ok(ended.map_or(Ruling::NoSign, |ended| Ruling::found(ended.finding(case, &CAUSE, subject))))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let judged = judged_again(case, finding);
    let container = ended_again(case, finding).filter(|_| judged.is_none());
    let container = container.map(|ended| format!("the container {}", ended.container.name));
    let name = judged.as_ref().map(Judged::name).or(container).unwrap_or_else(|| address.clone());
    let title = match judged.as_ref().map(|judged| &judged.verdict.how) {
        _ if finding.still_failing == Some(false) => format!("{name}, which serves {address}, was stopped"),
        Some(How::Stopped(StopKind::Masked)) => format!("{name}, which serves {address}, is masked"),
        Some(How::Stopped(StopKind::FailedAtStart(_))) => {
            format!("{name}, which serves {address}, fails when it is started")
        }
        Some(How::Stopped(StopKind::NotStarted)) => {
            format!("{name}, which serves {address}, is not started")
        }
        _ => format!("{name}, which serves {address}, is stopped"),
    };
    Explanation {
        title,
        why: "No process of the service runs, so nobody listens where nginx connects to. The kernel refuses at once, or finds nobody \
              at a container's address, and nginx answers 502."
            .to_owned(),
        wont_help: vec![
            "restarting or reloading nginx: it finds nobody there again".to_owned(),
            "raising proxy_connect_timeout: the refusal comes at once".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    if finding.still_failing == Some(false) {
        return Vec::new();
    }
    let Some(judged) = judged_again(case, finding) else {
        return ended_again(case, finding)
            .map(|ended| start_container(finding, &ended.container.name))
            .into_iter()
            .collect();
    };
    let How::Stopped(kind) = &judged.verdict.how else { return Vec::new() };
    let name = judged.history.service.name.as_str();
    let verify = format!("a connection to {} opens", finding.address());
    match kind {
        StopKind::FailedAtStart(death) => {
            let last = death.as_ref().and_then(|death| judged.history.last_words(death.to));
            let wrote = last.map(|line| format!("; before it ended it wrote: {line}")).unwrap_or_default();
            let remedy = Remedy::new("Mend what makes it end, then start it", Risk::Review)
                .advice(format!("starting it alone ends the same way{wrote}"));
            vec![judged.started_by(remedy, true).verify(verify)]
        }
        StopKind::Masked => {
            let remedy = Remedy::new("Unmask the service and start it", Risk::Review)
                .advice("somebody masked it on purpose: find out why first")
                .command(&["systemctl", "unmask", name], &[&["systemctl", "mask", name]]);
            vec![judged.started_by(remedy, false).verify(verify)]
        }
        StopKind::NotStarted | StopKind::Stopped => {
            let remedy = judged
                .started_by(Remedy::new("Start the service", Risk::Review), false)
                .advice_also(judged.comes_back())
                .advice_also(["somebody may have stopped it on purpose".to_owned()])
                .verify(verify);
            let is_disabled =
                judged.history.unit.and_then(|unit| unit.property("UnitFileState")) == Some("disabled");
            let enable = is_disabled.then(|| {
                Remedy::new("Have it started at boot", Risk::Review)
                    .command(&["systemctl", "enable", name], &[&["systemctl", "disable", name]])
                    .advice("it is disabled, so that a reboot leaves it stopped")
                    .verify(format!("systemctl is-enabled {name} says enabled"))
            });
            std::iter::once(remedy).chain(enable).collect()
        }
    }
}

fn start_container(finding: &Finding, name: &str) -> Remedy {
    Remedy::new("Start the container", Risk::Review)
        .command(&["docker", "start", name], &[&["docker", "stop", name]])
        .advice(
            "somebody may have stopped it on purpose; with `--restart unless-stopped` the engine starts it after a reboot. Where nginx \
             dials its name, reload nginx then: it may get another address",
        )
        .verify(format!("a connection to {} opens", finding.address()))
}

#[cfg(test)]
pub(super) mod tests {
    use crate::fixture::Fixture;

    pub(in super::super) const HIT: &str = r#"
#- nginx.conf
events {}
http {
    upstream backend { server 127.0.0.1:3000; }
    server {
        listen 80;
        server_name shop.example.com;
        location /api/ { proxy_pass http://backend; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *3 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /api/a HTTP/1.1", upstream: "http://127.0.0.1:3000/api/a", host: "shop.example.com"
2026/11/21 02:28:31 [error] 101#101: *5 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: shop.example.com, request: "POST /api/b HTTP/1.1", upstream: "http://127.0.0.1:3000/api/b", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /api/a HTTP/1.1" 502 157 "-" "curl/8"
10.0.0.9 - - [21/Nov/2026:02:28:31 +0000] "POST /api/b HTTP/1.1" 502 157 "-" "curl/8"
#- listeners
0.0.0.0:80 nginx
#- probe 127.0.0.1:3000
refused
#- unit-file /etc/systemd/system/orders.service
[Service]
Environment=PORT=3000
ExecStart=/usr/bin/node /srv/orders/server.js
#- unit orders.service
LoadState=loaded
ActiveState=inactive
SubState=dead
Result=success
UnitFileState=disabled
ExecMainCode=2
ExecMainStatus=15
ExecMainStartTimestamp=Fri 2026-11-20 02:00:00 UTC
ExecMainExitTimestamp=Sat 2026-11-21 02:28:00 UTC
#- journal orders.service
2026-11-21T02:28:00Z systemd Stopping orders.service - Orders...
2026-11-21T02:28:00Z systemd orders.service: Deactivated successfully.
2026-11-21T02:28:00Z systemd Stopped orders.service - Orders.
"#;

    #[test]
    fn hit_it_was_stopped() {
        let report = Fixture::new(HIT).report();
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed upstream-service-stopped -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, is stopped [2 requests, still failing]
        ");
        let text = format!("{:?}", report.findings[0].remedies);
        assert!(text.contains("start") && text.contains("enable"), "{text}");
    }

    #[test]
    fn hit_masked_never_started_or_failed_at_start() {
        let masked = Fixture::new(HIT)
            .with(
                "unit orders.service",
                "LoadState=masked\nActiveState=inactive\nSubState=dead\nUnitFileState=masked",
            )
            .with("journal orders.service", "");
        insta::assert_snapshot!(masked.summary(), @"
        Broken
        Confirmed upstream-service-stopped -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, is masked [2 requests, still failing]
        ");
        let fresh = masked.with(
            "unit orders.service",
            "LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled",
        );
        insta::assert_snapshot!(fresh.summary(), @"
        Broken
        Confirmed upstream-service-stopped -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, is not started [2 requests, still failing]
        ");
        let failed = masked
            .with("unit orders.service", "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainCode=1\nExecMainStatus=3\nExecMainStartTimestamp=Sat 2026-11-21 02:28:00 UTC\nExecMainExitTimestamp=Sat 2026-11-21 02:28:01 UTC")
            .with("journal orders.service", "2026-11-21T02:28:00Z systemd Started orders.service - Orders.\n2026-11-21T02:28:01Z node Error: Cannot find module 'express'\n2026-11-21T02:28:01Z systemd orders.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED\n2026-11-21T02:28:01Z systemd orders.service: Failed with result 'exit-code'.\n");
        insta::assert_snapshot!(failed.summary(), @"
        Broken
        Confirmed upstream-service-stopped -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, fails when it is started [2 requests, still failing]
        ");
        let text = format!("{:?}", failed.report().findings[0].remedies);
        assert!(text.contains("Cannot find module") && text.contains("reset-failed"), "{text}");
    }

    #[test]
    fn hit_a_program_of_supervisord() {
        let program = Fixture::new(HIT)
            .without("unit-file /etc/systemd/system/orders.service")
            .with("program orders", "command=gunicorn -b 127.0.0.1:3000 orders.wsgi:app\n")
            .with("server-log", "2026-11-21 02:00:00,123 INFO spawned: 'orders' with pid 12\n2026-11-21 02:28:00,123 INFO stopped: orders (exit status 0)\n");
        insta::assert_snapshot!(program.summary(), @"
        Broken
        Confirmed upstream-service-stopped -> upstream-not-listening: supervisord's program orders, which serves 127.0.0.1:3000, is stopped [2 requests, still failing]
        ");
        let runit = Fixture::new(HIT).without("unit-file /etc/systemd/system/orders.service").with(
            "run-script orders",
            "# state=down since=2026-11-21T02:28:00Z\nexport PORT=3000\nexec node server.js\n",
        );
        insta::assert_snapshot!(runit.summary(), @"
        Broken
        Confirmed upstream-service-stopped -> upstream-not-listening: runit's service orders, which serves 127.0.0.1:3000, is stopped [2 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_a_variable_may_tell_a_client_whom_to_ask() {
        let client = Fixture::new(&HIT.replace("Environment=PORT=3000", "Environment=ORDERS_PORT=3000"));
        assert!(client.summary().contains("Likely upstream-service-stopped"), "{}", client.summary());
        let own = Fixture::new(&HIT.replace("Environment=PORT=3000", "Environment=APP_HTTP_PORT=3000"));
        assert!(own.summary().contains("Confirmed upstream-service-stopped"), "{}", own.summary());
    }

    #[test]
    fn hit_a_name_alone_is_likely() {
        let text =
            HIT.replace("upstream backend", "upstream orders").replace("http://backend", "http://orders");
        let named = Fixture::new(&text).with(
            "unit-file /etc/systemd/system/orders.service",
            "[Service]\nExecStart=/usr/bin/node /srv/app/server.js\n",
        );
        assert!(named.summary().contains("Likely upstream-service-stopped"), "{}", named.summary());
    }

    #[test]
    fn near_miss_it_was_stopped_after_the_failures_or_is_another() {
        let later = Fixture::new(HIT)
            .with("unit orders.service", "LoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nExecMainCode=2\nExecMainStatus=15\nExecMainExitTimestamp=Sat 2026-11-21 02:40:00 UTC")
            .with("journal orders.service", "2026-11-21T02:40:00Z systemd Stopping orders.service - Orders...\n");
        assert!(!later.summary().contains("upstream-service-stopped"), "{}", later.summary());
        for definition in [
            "[Service]\nExecStart=/usr/bin/node server.js --port 3001\n",
            "[Service]\nTimeoutStartSec=3000\nExecStart=/usr/bin/node server.js --timeout 3000\n",
            "[Service]\nExecStart=/usr/bin/curl http://127.0.0.1:3000/health\n",
        ] {
            let other = Fixture::new(HIT).with("unit-file /etc/systemd/system/orders.service", definition);
            assert!(
                !other.summary().contains("upstream-service-stopped"),
                "{definition}: {}",
                other.summary()
            );
        }
    }

    #[test]
    fn near_miss_it_publishes_another_port_or_only_does_something_once() {
        for definition in [
            "[Service]\nExecStart=/usr/bin/docker run -p 127.0.0.1:18080:3000 ghost\n",
            "[Service]\nExecStart=/usr/bin/gunicorn -b 10.0.0.9:3000 app:app\n",
            "[Service]\nType=oneshot\nEnvironment=PORT=3000\nExecStart=/usr/bin/node migrate.js\n",
        ] {
            let other = Fixture::new(HIT).with("unit-file /etc/systemd/system/orders.service", definition);
            assert!(
                !other.summary().contains("upstream-service-stopped"),
                "{definition}: {}",
                other.summary()
            );
        }
        let published = Fixture::new(HIT).with(
            "unit-file /etc/systemd/system/orders.service",
            "[Service]\nExecStart=/usr/bin/docker run -p 127.0.0.1:3000:80 ghost\n",
        );
        assert!(
            published.summary().contains("Confirmed upstream-service-stopped"),
            "{}",
            published.summary()
        );
    }

    #[test]
    fn near_miss_a_line_of_a_program_says_what_it_may_do() {
        let line = "7:app.listen(process.env.PORT || 3000)\n";
        let elsewhere = Fixture::new(&HIT.replace("PORT=3000", "PORT=14000"))
            .with("named orders.service /srv/orders/server.js", line);
        assert!(!elsewhere.summary().contains("upstream-service-stopped"), "{}", elsewhere.summary());
        let alone = Fixture::new(&HIT.replace("Environment=PORT=3000\n", ""))
            .with("named orders.service /srv/orders/server.js", line);
        assert!(alone.summary().contains("Likely upstream-service-stopped"), "{}", alone.summary());
    }

    #[test]
    fn near_miss_its_supervisor_is_in_another_network() {
        let other = Fixture::new(HIT).with("options", "net=7");
        assert!(!other.summary().contains("upstream-service-stopped"), "{}", other.summary());
    }

    #[test]
    fn near_miss_another_program_has_a_longer_name() {
        let words = "2026-11-21 02:00:00,123 INFO spawned: 'web' with pid 200\n\
            2026-11-21 02:00:00,124 INFO spawned: 'web_2' with pid 201\n\
            2026-11-21 02:28:00,123 INFO stopped: web_2 (exit status 0)\n";
        let web = Fixture::new(HIT)
            .without("unit-file /etc/systemd/system/orders.service")
            .with("program web", "command=node server.js --port 3000\n")
            .with("server-log", words);
        assert!(!web.summary().contains("upstream-service-stopped"), "{}", web.summary());
        let numbered = web.with(
            "program web",
            "command=node server.js --port 3000\nprocess_name=%(program_name)s_%(process_num)d\nnumprocs=3\n",
        );
        assert!(numbered.summary().contains("Confirmed upstream-service-stopped"), "{}", numbered.summary());
    }

    #[test]
    fn near_miss_it_runs_for_long_and_nobody_listens() {
        let running = Fixture::new(HIT)
            .with("unit orders.service", "LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=700\nExecMainStartTimestamp=Fri 2026-11-20 02:00:00 UTC")
            .with("journal orders.service", "");
        assert!(running.summary().contains("Confirmed upstream-not-listening"), "{}", running.summary());
    }

    #[test]
    fn gap_systemd_may_not_be_asked() {
        let blind = Fixture::new(HIT).without("unit orders.service").without("journal orders.service");
        assert!(blind.summary().contains("Confirmed upstream-not-listening"), "{}", blind.summary());
        let no_journal = Fixture::new(HIT).without("journal orders.service");
        insta::assert_snapshot!(no_journal.summary(), @"
        Broken
        Confirmed upstream-service-stopped -> upstream-not-listening: orders.service, which serves 127.0.0.1:3000, is stopped [2 requests, still failing]
          open: what the service wrote before it ended: the fixture does not tell
        ");
    }
}
