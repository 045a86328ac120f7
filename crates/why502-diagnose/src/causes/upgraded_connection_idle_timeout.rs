//! # upgraded-connection-idle-timeout
//!
//! ## What happens
//!
//! A WebSocket or an event stream has nothing to say for `proxy_read_timeout` (60 s unless set), and nginx cuts it: for
//! nginx it is an answer that does not go on. The client connects again, and loses it again. True for every version of
//! nginx.
//!
//! ## What you see
//!
//! Sessions of status 101 in the access log that last as long as the timer, or a little longer than their last message;
//! at level `info` `upstream timed out (110: Connection timed out) while proxying upgraded connection`. For event streams
//! the same words at level `error` `while reading upstream`.
//!
//! ## How we know
//!
//! Confirmed: nginx says that its timer ended upgraded connections. Likely: most sessions of the route lasted just as
//! long as the timer that is in force (within 2 %), or the peer answers a probe with an event stream and nginx's timer
//! ended it.
//!
//! ## What would disprove it
//!
//! Sessions of another constant length: that timer is the application's own, or stands in front of nginx.
//!
//! ## What to do
//!
//! Let the application send a ping more often than the timer, or raise `proxy_read_timeout` for this route alone.
//!
//! ## Not to be confused with
//!
//! `upstream-slow` and `read-timeout-too-short` (no header came), `response-body-truncated` (a body that has an end),
//! `client-gave-up`.
//!
//! ## References
//!
//! nginx: `ngx_http_upstream_process_upgraded`, `u->conf->read_timeout`; RFC 6455, section 5.5.2.

use super::response_body_truncated::{is_event_stream, is_stalled};
use super::unanswered::attempts;
use crate::case::{Case, Failure, FailureId, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::durations::{play, seconds};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Phase, Phrase};
use why502_model::Pass;

pub(super) static CAUSE: Cause = Cause {
    id: "upgraded-connection-idle-timeout",
    layer: Layer::Response,
    acts_on: ActsOn::Config,
    effect: false,
    statuses: &[101, 200, 504],
    scope: Scope::Route,
    supersedes: &[],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upgraded_connection_idle_timeout.rs"),
};

/// Fewer sessions of one length may be chance.
const MIN_SESSIONS: u64 = 3;
/// So many in a hundred of a route's sessions.
const MIN_SHARE: u64 = 50;
/// So long a silence keeps most connections of this kind: pings are sent more often.
const LONG_SECONDS: u64 = 3600;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let Some(pass) = subject.route().and_then(|route| case.pass_of(route, None)) else {
        return Ok(Ruling::NoSign);
    };
    let (sessions, told): (Vec<_>, Vec<_>) = case
        .failures_at(subject)
        .filter(|(_, failure)| failure.status == Some(101))
        .partition(|(_, failure)| !failure.symptoms.iter().any(is_cut));
    if !told.is_empty() {
        return Ok(Ruling::found(finding(subject, pass, Confidence::Confirmed, &told)));
    }
    let limit = milliseconds(pass);
    let is_of_timer = |failure: &Failure| {
        failure.request_ms.is_some_and(|ms| ms + 20 >= limit && ms <= limit.saturating_add(play(limit)))
    };
    let cut: Vec<_> = sessions.iter().filter(|(_, failure)| is_of_timer(failure)).copied().collect();
    let (n_cut, n_all) = (Case::weigh(&cut), Case::weigh(&sessions));
    if n_cut >= MIN_SESSIONS && n_cut * 100 >= n_all * MIN_SHARE {
        return Ok(Ruling::found(finding(subject, pass, Confidence::Likely, &cut)));
    }
    let streams = event_streams(case, subject)?;
    if streams.is_empty() {
        return Ok(Ruling::NoSign);
    }
    Ok(Ruling::found(finding(subject, pass, Confidence::Likely, &streams)))
}

/// Whether nginx says that its timer ended an upgraded connection.
fn is_cut(symptom: &Symptom) -> bool {
    symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::Upgraded)
}

/// The answers of a route that the timer ended, where the peer sends event streams.
fn event_streams<'c>(case: &'c Case<'_>, subject: &Subject) -> Result<Vec<(FailureId, &'c Failure)>, Asks> {
    let Some(route) = subject.route() else { return Ok(Vec::new()) };
    let mut ids = std::collections::BTreeSet::new();
    for peer in case.peers_behind(route) {
        let peer = Subject::Peer(peer.clone());
        if let Some(stalled) = attempts(case, &peer, is_stalled)?
            && is_event_stream(&stalled)
        {
            ids.extend(stalled.symptoms.iter().map(|(id, ..)| *id));
        }
    }
    let own = case.failures_of(route).filter(|(id, _)| ids.contains(id));
    Ok(own.collect())
}

fn finding(subject: &Subject, pass: &Pass, confidence: Confidence, cut: &[(FailureId, &Failure)]) -> Finding {
    let limit = seconds(milliseconds(pass));
    let name = format!("{}_read_timeout", pass.protocol.prefix());
    let says = format!("{} ended by nginx's timer", count(Case::weigh(cut), "connection"));
    let timer = match &pass.timeouts.read.at {
        Some(at) => {
            Evidence::supporting(format!("{name} {limit} is in force here"), Origin::File(at.clone()))
        }
        None => Evidence::supporting(format!("no {name} is set here: {limit} by default"), Origin::Derived),
    };
    Finding::new(&CAUSE, confidence, subject)
        .explaining(cut.iter().map(|(id, _)| *id))
        .with(Case::line_of(cut).map(|line| Evidence::supporting(says, line)))
        .with([timer])
        .at(Some(pass.timeouts.read.at.clone().unwrap_or_else(|| pass.at.clone())))
}

fn milliseconds(pass: &Pass) -> u32 {
    u32::try_from(pass.timeouts.read.value.as_millis()).unwrap_or(u32::MAX)
}

fn pass_of<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<&'c Pass> {
    let route = finding.subjects.iter().find_map(Subject::route)?;
    case.pass_of(route, None)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let timer = pass_of(case, finding).map_or_else(
        || "the read timeout".to_owned(),
        |pass| format!("{}_read_timeout of {}", pass.protocol.prefix(), seconds(milliseconds(pass))),
    );
    Explanation {
        title: format!("{timer} cuts connections that have nothing to say for so long"),
        why: "An upgraded connection or an event stream stays open between its messages. nginx takes the silence for an answer \
              that does not go on, and closes both sides when its read timeout is up."
            .to_owned(),
        wont_help: vec![
            "raising keepalive_timeout: it is about connections between requests".to_owned(),
            "restarting the backend: it did not close".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(pass) = pass_of(case, finding) else { return Vec::new() };
    let name = format!("{}_read_timeout", pass.protocol.prefix());
    let ping = Remedy::new("Let the application send a ping more often than that", Risk::ShowOnly)
        .advice("a ping of the WebSocket, or a comment line in an event stream, every 20 to 30 seconds also keeps what stands in front of nginx from closing")
        .verify("connections last longer than the timer");
    let value = format!("{LONG_SECONDS}s");
    if pass.timeouts.read.value.as_secs() >= LONG_SECONDS {
        return vec![ping];
    }
    let mut raise = Remedy::new(format!("Raise {name} to {value} for this route"), Risk::Review)
        .verify("connections last longer than the timer was");
    let own = finding.subjects.iter().find_map(Subject::route).map(|route| &case.gateway.route(route).at);
    let is_own = |at: &why502_model::Span| own.is_some_and(|own| case.gateway.is_directly_in(at, own));
    let at = pass.timeouts.read.at.clone().filter(is_own);
    for (at, text) in case.gateway.set_directives(&pass.at, &[(name, vec![value], at)]) {
        raise = raise.edit(at, text);
    }
    vec![raise, ping]
}

#[cfg(test)]
mod tests {
    use crate::causes::response_body_truncated::tests::stalled;
    use crate::fixture::{Fixture, first_diff};
    use std::fmt::Write as _;

    const CONFIG: &str = r#"
#- nginx.conf
events {}
http {
    log_format timed '$remote_addr [$time_local] "$request" $status rt=$request_time ua=$upstream_addr us=$upstream_status';
    access_log /var/log/nginx/access.log timed;
    server {
        listen 80;
        server_name chat.example.com;
        location /ws/ {
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_pass http://127.0.0.1:3000;
        }
    }
}
#- error.log
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 426 Upgrade Required

#- access.log
"#;

    fn sessions(lengths: &[&str]) -> Fixture {
        let mut log = String::new();
        for (second, length) in lengths.iter().enumerate() {
            let _ = writeln!(
                log,
                "10.0.0.9 [21/Nov/2026:02:28:{second:02} +0000] \"GET /ws/a HTTP/1.1\" 101 rt={length} ua=127.0.0.1:3000 us=101",
            );
        }
        Fixture::new(&format!("{CONFIG}{log}"))
    }

    #[test]
    fn hit_sessions_as_long_as_the_timer() {
        insta::assert_snapshot!(sessions(&["60.001", "60.040", "60.002", "7.000"]).summary(), @"
        Broken
        Likely upgraded-connection-idle-timeout: proxy_read_timeout of 60 s cuts connections that have nothing to say for so long [3 requests]
        ");
    }

    #[test]
    fn hit_nginx_says_so() {
        let line = "2026/11/21 02:28:00 [info] 101#101: *3 upstream timed out (110: Connection timed out) while proxying upgraded connection, client: 10.0.0.9, server: chat.example.com, request: \"GET /ws/a HTTP/1.1\", upstream: \"http://127.0.0.1:3000/ws/a\", host: \"chat.example.com\"\n";
        insta::assert_snapshot!(sessions(&["91.001"]).with("error.log", line).summary(), @"
        Broken
        Confirmed upgraded-connection-idle-timeout: proxy_read_timeout of 60 s cuts connections that have nothing to say for so long [1 requests]
        ");
    }

    #[test]
    fn hit_an_event_stream() {
        let stream = "answers\nHTTP/1.1 200 OK\nContent-Type: text/event-stream\n\n";
        insta::assert_snapshot!(stalled().with("probe 127.0.0.1:3000", stream).summary(), @"
        Broken
        Likely upgraded-connection-idle-timeout: proxy_read_timeout of 60 s cuts connections that have nothing to say for so long [1 requests]
        ");
    }

    #[test]
    fn near_miss_sessions_of_another_length() {
        insta::assert_snapshot!(sessions(&["30.001"; 6]).summary(), @"Healthy");
    }

    #[test]
    fn near_miss_most_sessions_live_longer() {
        let lengths = [["60.001"; 3].as_slice(), &["900.0"; 9]].concat();
        insta::assert_snapshot!(sessions(&lengths).summary(), @"Healthy");
    }

    #[test]
    fn gap_without_the_configuration_no_timer_is_known() {
        let summary = sessions(&["60.001"; 4]).without("nginx.conf").summary();
        assert!(!summary.contains("upgraded-connection-idle-timeout"), "{summary}");
    }

    #[test]
    fn the_remedy_raises_the_timer_of_this_route() {
        insta::assert_snapshot!(first_diff(&sessions(&["60.001"; 4]).report()), @"
        --- a/etc/nginx/nginx.conf
        +++ b/etc/nginx/nginx.conf
        @@ -11,4 +11,5 @@
                     proxy_set_header Connection upgrade;
                     proxy_pass http://127.0.0.1:3000;
        +            proxy_read_timeout 3600s;
                 }
             }
        ");
    }
}
