//! # upstream-worker-timeout
//!
//! ## What happens
//!
//! The application server has a limit of its own for a request and ends the worker that exceeds it: gunicorn `--timeout`
//! (30 s unless set), PHP-FPM `request_terminate_timeout`, uWSGI `harakiri`. With the worker its connections go, and
//! nginx, which would have waited longer, gets no answer. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream prematurely closed connection while reading response header from upstream`, or `recv() failed (104:
//! Connection reset by peer)`, and a 502, always after about the same time, below `proxy_read_timeout`. In the server's own
//! log `WORKER TIMEOUT`, `execution timed out … terminating`, or `HARAKIRI`.
//!
//! ## How we know
//!
//! Confirmed: the server's own log, read from the file that its process holds open, says so at the moment of the failures.
//! Likely: the same between lines that lie far apart; or the attempts ended just after the limit that the command line of
//! the server sets, or gunicorn's default.
//!
//! ## What would disprove it
//!
//! Failures long before the limit; the words of a crash at these moments.
//!
//! ## What to do
//!
//! Make the request quicker, or move the work into the background; else raise the server's own limit, and keep it below
//! nginx's, so that the server still says what it ended.
//!
//! ## Not to be confused with
//!
//! `upstream-worker-crashed` (it died by itself), `upstream-slow` (nginx's own timer ended the wait),
//! `upstream-closed-before-response` (nobody knows why it closed).
//!
//! ## References
//!
//! gunicorn: `arbiter.py`, `murder_workers`; PHP: `fpm_request_check_timed_out`; uWSGI: `uwsgi_master_check_workers_deadline`;
//! nginx: `ngx_http_upstream_process_header`.

use super::app_server::{
    Server, is_narrow, is_program, open_log, server_behind, took_ms, word_at, word_evidence,
};
use super::servers::option_value;
use super::unanswered::attempts;
use super::upstream_closed_before_response::is_closed;
use super::upstream_reset_before_response::is_reset;
use crate::case::{Case, Failure, FailureId, PeerSubject, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::durations::seconds;
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use why502_facts::{Errno, ProbeOutcome, Process, ServerEvent, ServerWord};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-worker-timeout",
    layer: Layer::Response,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["upstream-closed-before-response", "upstream-reset-before-response"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_worker_timeout.rs"),
};

/// No server's limit is shorter than a second; nginx's clock is cut to milliseconds.
const MIN_LIMIT_MS: u32 = 900;
/// How long after its limit a server may take to notice: gunicorn and uWSGI look once a second.
const NOTICE_MS: u32 = 1200;
/// So many attempts must end at a limit that is only known to be the default.
const MIN_AT_DEFAULT: usize = 2;
/// gunicorn's own default.
const GUNICORN_DEFAULT_MS: u32 = 30_000;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let fits = |symptom: &Symptom| is_closed(symptom) || is_reset(symptom) || symptom.is_quietly_unanswered();
    let Some(mut ended) = attempts(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    let Some(server) = server_behind(case, ended.peer) else { return Ok(Ruling::NoSign) };
    let told = server.words(case)?;
    let words: Vec<&ServerWord> =
        told.words.into_iter().filter(|word| word.event == ServerEvent::TimedOut).collect();
    let limit = limit(server.master);
    let took = |(_, failure, symptom): &(FailureId, &Failure, &Symptom)| took_ms(failure, symptom);
    let lasted =
        |attempt: &(FailureId, &Failure, &Symptom)| took(attempt).is_none_or(|ms| ms >= MIN_LIMIT_MS);
    let is_told = |attempt: &(FailureId, &Failure, &Symptom)| word_at(&words, attempt.1).is_some();
    let is_at_limit = |attempt: &(FailureId, &Failure, &Symptom)| {
        limit.zip(took(attempt)).is_some_and(|(limit, ms)| limit.is_reached_in(ms))
    };
    let n_ended = ended.symptoms.iter().filter(|attempt| lasted(attempt)).count();
    ended.symptoms.retain(|attempt| lasted(attempt) && (is_told(attempt) || is_at_limit(attempt)));
    let n_told = ended.symptoms.iter().filter(|attempt| is_told(attempt)).count();
    let too_few = limit.is_some_and(|limit| limit.is_default) && ended.symptoms.len() < MIN_AT_DEFAULT;
    if ended.symptoms.is_empty() || n_told == 0 && too_few {
        return Ok(Ruling::NoSign);
    }
    let word = ended
        .symptoms
        .iter()
        .find_map(|(_, failure, _)| word_at(&words, failure).filter(|word| is_narrow(word)));
    let wide = ended.symptoms.iter().find_map(|(_, failure, _)| word_at(&words, failure));
    // Among many that ended otherwise, one that ends when the server speaks of another request is chance.
    let is_rule = n_told * 2 >= n_ended;
    let confidence = if word.is_some() && is_rule { Confidence::Confirmed } else { Confidence::Likely };
    let says = |n| format!("{} ended without an answer", count(n, "attempt"));
    let ends_so =
        ended.ended_so(ProbeOutcome::Closed) || ended.ended_so(ProbeOutcome::Failed(Errno::ConnectionReset));
    let still_failing = ended.still_failing(case, ends_so);
    let at_limit = ended.symptoms.iter().filter(|attempt| is_at_limit(attempt)).filter_map(took).max();
    let mut finding = ended
        .finding(case, &CAUSE, confidence, subject, says)
        .with(word.or(wide).map(word_evidence))
        .with(limit.zip(at_limit).map(|(limit, ms)| limit.evidence(&server, ms)))
        .open(open_log(told.gap).filter(|_| confidence < Confidence::Confirmed))
        .still_failing(still_failing);
    finding.fails_clients_now = still_failing == Some(true) && case.is_felt(ended.peer);
    Ok(Ruling::found(finding))
}

/// How long a server lets a request take.
#[derive(Clone, Copy)]
struct Limit {
    /// The option that sets it.
    option: &'static str,
    ms: u32,
    /// Whether nobody set it, as far as the command line tells.
    is_default: bool,
}

impl Limit {
    /// Whether an attempt that took so long may have been ended by it.
    fn is_reached_in(&self, ms: u32) -> bool {
        ms + 100 >= self.ms && ms <= self.ms.saturating_add(NOTICE_MS)
    }

    fn evidence(&self, server: &Server<'_>, ms: u32) -> Evidence {
        let whose = if self.is_default { "by default" } else { "by its command line" };
        let (limit, took) = (seconds(self.ms), seconds(ms));
        let says =
            format!("{} of the server is {limit} {whose}, and an attempt ended after {took}", self.option);
        Evidence::supporting(says, Origin::Host(format!("/proc/{}/cmdline", server.master.pid)))
    }
}

/// The limit that the command line of a server tells.
fn limit(master: &Process) -> Option<Limit> {
    let ms = |value: &str| Some(value.parse::<u32>().ok()?.saturating_mul(1000));
    if is_program(master, "gunicorn") {
        if !serves_in_its_main_thread(master) {
            return None;
        }
        let option = "--timeout";
        let set = option_value(&master.argv, option, Some("-t")).map(ms);
        let is_elsewhere = option_value(&master.argv, "--config", Some("-c")).is_some();
        let default = (!is_elsewhere).then_some(GUNICORN_DEFAULT_MS);
        let (ms, is_default) = set.map_or((default, true), |set| (set, false));
        return ms.filter(|ms| *ms > 0).map(|ms| Limit { option, ms, is_default });
    }
    if is_program(master, "uwsgi") {
        let option = "--harakiri";
        let ms = ms(option_value(&master.argv, option, Some("-t"))?)?;
        return (ms > 0).then_some(Limit { option, ms, is_default: false });
    }
    None
}

/// Whether a gunicorn's workers are of the class that serves where it tells its master that it lives: for all others
/// `--timeout` is no limit for a request.
fn serves_in_its_main_thread(master: &Process) -> bool {
    let class = option_value(&master.argv, "--worker-class", Some("-k"));
    let threads = option_value(&master.argv, "--threads", None);
    class.is_none_or(|class| class == "sync") && threads.is_none_or(|threads| threads == "1")
}

/// The server of a finding.
fn server<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<(Server<'c>, PeerSubject)> {
    let peer = finding.peer()?;
    Some((server_behind(case, peer)?, peer.clone()))
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let longest = finding.explains.iter().flat_map(|id| {
        let failure = case.failure(*id);
        failure.attempts().filter_map(move |symptom| took_ms(failure, symptom))
    });
    let after = longest.max().map_or_else(String::new, |ms| format!(" after {}", seconds(ms)));
    let name = server(case, finding).map_or_else(|| finding.address(), |(server, _)| server.name(case));
    Explanation {
        title: format!("{name} ends its own workers{after}: its limit for a request, not nginx's"),
        why: "The application server gave up the request and ended the worker that served it, with its connection. nginx was \
              still waiting, got no answer, and sends 502."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout: nginx waited longer than the server already".to_owned(),
            "more workers: each of them is ended after the same time".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some((server, _)) = server(case, finding) else { return Vec::new() };
    let option = if is_program(server.master, "gunicorn") {
        "gunicorn's --timeout"
    } else if is_program(server.master, "uwsgi") {
        "uWSGI's harakiri"
    } else if is_program(server.master, "php-fpm") {
        "request_terminate_timeout of the PHP-FPM pool"
    } else {
        "the server's own limit for a request"
    };
    vec![
        Remedy::new("Make these requests quicker, or raise the server's own limit", Risk::ShowOnly)
            .advice(format!("find what takes so long in these requests; where they need the time, raise {option} and keep it below nginx's read timeout"))
            .verify("these requests are answered"),
    ]
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const HIT: &str = r#"
#- nginx.conf
events {}
http {
    log_format up '$remote_addr - - [$time_local] "$request" $status $body_bytes_sent $upstream_addr $upstream_status $upstream_connect_time $upstream_header_time $upstream_response_time';
    access_log /var/log/nginx/access.log up;
    upstream backend { server 127.0.0.1:3000; }
    server {
        listen 80;
        server_name shop.example.com;
        location / { proxy_pass http://backend; }
    }
}
#- error.log
2026/11/21 02:28:30 [error] 101#101: *5 upstream prematurely closed connection while reading response header from upstream, client: 10.0.0.9, server: shop.example.com, request: "GET /a HTTP/1.1", upstream: "http://127.0.0.1:3000/a", host: "shop.example.com"
#- access.log
10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] "GET /a HTTP/1.1" 502 157 127.0.0.1:3000 502 0.000 - 12.400
#- listeners
127.0.0.1:3000 gunicorn --timeout 12 app:app
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

#- probe 127.0.0.1:3000 tls
closed
#- server-log
[2026-11-21 02:28:30 +0000] [13] [CRITICAL] WORKER TIMEOUT (pid:15)
"#;

    #[test]
    fn hit_the_server_says_so() {
        insta::assert_snapshot!(Fixture::new(HIT).summary(), @"
        Broken
        Confirmed upstream-worker-timeout -> upstream-closed-before-response: gunicorn (pid 200) ends its own workers after 12.400 s: its limit for a request, not nginx's [1 requests]
        ");
    }

    #[test]
    fn hit_by_the_limit_of_the_command_line_is_likely() {
        insta::assert_snapshot!(Fixture::new(HIT).with("server-log", "").summary(), @"
        Broken
        Likely upstream-worker-timeout -> upstream-closed-before-response: gunicorn (pid 200) ends its own workers after 12.400 s: its limit for a request, not nginx's [1 requests]
        ");
    }

    #[test]
    fn near_miss_it_closes_long_before_its_limit() {
        let early = Fixture::new(&HIT.replace("12.400", "4.400")).with("server-log", "");
        assert!(!early.summary().contains("upstream-worker-timeout"), "{}", early.summary());
        // Without a word it is nobody's limit.
        let other = Fixture::new(&HIT.replace("gunicorn --timeout 12", "node")).with("server-log", "");
        assert!(!other.summary().contains("upstream-worker-timeout"), "{}", other.summary());
    }

    #[test]
    fn near_miss_the_timeout_is_no_limit_for_a_request() {
        for other in ["gunicorn -k gevent --timeout 12 app:app", "gunicorn --threads 4 --timeout 12 app:app"]
        {
            let threaded = HIT.replace("gunicorn --timeout 12 app:app", other);
            let summary = Fixture::new(&threaded).with("server-log", "").summary();
            assert!(!summary.contains("upstream-worker-timeout"), "{summary}");
        }
    }

    #[test]
    fn near_miss_the_words_are_of_another_time_or_request() {
        let words = "[2026-11-21 02:20:00 +0000] [13] [CRITICAL] WORKER TIMEOUT (pid:15)\n";
        let other = Fixture::new(&HIT.replace("gunicorn --timeout 12", "gunicorn --timeout 60"));
        assert!(!other.with("server-log", words).summary().contains("upstream-worker-timeout"));
        let quick = Fixture::new(&HIT.replace("12.400", "0.004"));
        assert!(!quick.summary().contains("upstream-worker-timeout"), "{}", quick.summary());
    }

    #[test]
    fn gap_the_log_may_not_be_read() {
        insta::assert_snapshot!(Fixture::new(HIT).without("server-log").summary(), @"
        Broken
        Likely upstream-worker-timeout -> upstream-closed-before-response: gunicorn (pid 200) ends its own workers after 12.400 s: its limit for a request, not nginx's [1 requests]
          open: what the server itself says of its workers at that time: the fixture does not tell
        ");
    }
}
