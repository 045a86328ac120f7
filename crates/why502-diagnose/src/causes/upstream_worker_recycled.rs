//! # upstream-worker-recycled
//!
//! ## What happens
//!
//! The application server replaces its workers on purpose and does not let them finish: PHP-FPM ends its children at once when
//! it is reloaded (`process_control_timeout` is 0 unless set), gunicorn and uWSGI wait for a while (`--graceful-timeout`,
//! `--worker-reload-mercy`) and then cut what still runs, and a worker that has served its share of requests
//! (`--max-requests`) closes the connections that nginx keeps to it. Between the end of a server and the start of its
//! successor nobody listens. True for every version of nginx.
//!
//! ## What you see
//!
//! A handful of `upstream prematurely closed connection` or `recv() failed (104: Connection reset by peer)` within a
//! second or two, or `connect() failed (111: Connection refused)` for the time of a restart, and a 502; then nothing more until
//! the next deploy. In the server's own log `Reloading in progress`, `Handling signal: hup`, `Autorestarting worker`,
//! `...gracefully killing workers...`.
//!
//! ## How we know
//!
//! Confirmed: the server's own log, read from the file that its process holds open, tells of the reload, the restart or the
//! end of a worker at the moment of the failures; where connections were refused, the server answers again. Likely: the
//! same between lines that lie far apart, or of a worker that has served its share, where nginx keeps no connections. Possible: it replaces workers all the time, or most failures came at other moments.
//!
//! ## What would disprove it
//!
//! Words of another time or pool; a worker that timed out or crashed at that moment.
//!
//! ## What to do
//!
//! Give running requests time to end before their worker does, and reload instead of restarting.
//!
//! ## Not to be confused with
//!
//! `upstream-worker-timeout` (ended over a limit), `upstream-worker-crashed` (it died by itself), `keepalive-race` (idle
//! connections that are closed after a time), `upstream-not-listening` (it did not come back).
//!
//! ## References
//!
//! PHP: `fpm_pctl_action_next`, `process_control_timeout`; gunicorn: `arbiter.py`, `reload` and `stop`, `max_requests`; uWSGI:
//! `uwsgi_master_check_mercy` (`core/master_checks.c`); nginx: `ngx_http_upstream_process_header`.

use super::app_server::{
    SLACK, Server, is_narrow, is_program, open_log, server_behind, word_at, word_evidence,
};
use super::unanswered::{Unanswered, attempts};
use super::upstream_closed_before_response::is_closed;
use super::upstream_reset_before_response::is_reset;
use super::upstream_worker_crashed::is_crash;
use crate::case::{Case, Failure, FailureId, Reach, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use crate::remedy::{Remedy, Risk};
use std::time::Duration;
use why502_facts::{Errno, Observed, ProbeOutcome, ServerEvent, ServerWord, Stamp};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-worker-recycled",
    layer: Layer::Response,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[
        "keepalive-race",
        "unix-socket-missing",
        "unix-socket-stale",
        "upstream-closed-before-response",
        "upstream-not-listening",
        "upstream-reset-before-response",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_worker_recycled.rs"),
};

/// The longest time without a listener that a restart explains.
const MAX_RESTART: Duration = Duration::from_mins(1);
/// How long a server that was started takes until it listens.
const MAX_BOOT: Duration = Duration::from_secs(10);
/// So many workers that were replaced tell how often that happens.
const MIN_OFTEN: usize = 5;

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let fits = |symptom: &Symptom| is_cut(symptom) || is_refused(symptom);
    let Some(mut ended) = attempts(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    let Some(server) = server_behind(case, ended.peer) else { return Ok(Ruling::NoSign) };
    let told = server.words(case)?;
    let of = |wanted: fn(&ServerWord) -> bool| {
        told.words.iter().copied().filter(move |word| wanted(word)).collect::<Vec<&ServerWord>>()
    };
    // Before the first line with a stamp anything may have happened at any time.
    let words = of(|word| is_on_purpose(word) && word.from.is_some());
    let others = of(|word| word.event == ServerEvent::TimedOut || is_crash(word));
    let restarts: Vec<&ServerWord> =
        words.iter().copied().filter(|word| word.event == ServerEvent::Restarted).collect();
    let is_well = case.reach(ended.peer) == Observed::Known(Reach::Connected) || ended.is_served_since(case);
    let word_of = |(_, failure, symptom): &(FailureId, &Failure, &Symptom)| {
        if is_cut(symptom) {
            return word_at(&words, failure).filter(|_| word_at(&others, failure).is_none());
        }
        restart_before(&restarts, &server, failure.at).filter(|_| is_well)
    };
    let n_ended = ended.symptoms.len();
    ended.symptoms.retain(|attempt| word_of(attempt).is_some());
    let found: Vec<&ServerWord> = ended.symptoms.iter().filter_map(word_of).collect();
    let Some(word) = found.iter().find(|word| is_narrow(word)).or_else(|| found.first()).copied() else {
        return Ok(Ruling::NoSign);
    };
    // Among many that ended otherwise, or where workers are replaced all the time, it is chance that the two meet.
    let is_rule = ended.symptoms.len() * 2 >= n_ended;
    let is_chance = !is_rule || word.event == ServerEvent::Recycled && are_often(&words);
    // A worker that has served its share ends after its request, and cuts a connection that is kept.
    let keeps_alive = case.pass_to(ended.peer).is_some_and(|pass| pass.keeps_alive);
    let cuts = word.event != ServerEvent::Recycled || keeps_alive;
    let confidence = match (is_chance, is_narrow(word) && cuts) {
        (true, _) => Confidence::Possible,
        (false, true) => Confidence::Confirmed,
        (false, false) => Confidence::Likely,
    };
    let says = |n| format!("{} ended without an answer", count(n, "attempt"));
    let still_failing = still_failing(case, &ended, word);
    let mut finding = ended
        .finding(case, &CAUSE, confidence, subject, says)
        .with([word_evidence(word)])
        .open(open_log(told.gap).filter(|_| confidence < Confidence::Confirmed))
        .still_failing(still_failing);
    finding.fails_clients_now = still_failing == Some(true) && case.is_felt(ended.peer);
    Ok(Ruling::found(finding))
}

/// Whether a connection was cut before an answer came.
fn is_cut(symptom: &Symptom) -> bool {
    is_closed(symptom) || is_reset(symptom) || symptom.is_quietly_unanswered()
}

/// Whether nobody listened, or a server had taken its socket away.
fn is_refused(symptom: &Symptom) -> bool {
    symptom.connect_failed(Errno::ConnectionRefused) || symptom.connect_failed(Errno::NoEntry)
}

/// Whether a server tells that it ended workers on purpose.
fn is_on_purpose(word: &ServerWord) -> bool {
    matches!(word.event, ServerEvent::Recycled | ServerEvent::Restarted)
}

/// The word of a restart that was under way at a moment: until the server that serves now had started.
fn restart_before<'w>(restarts: &[&'w ServerWord], server: &Server<'_>, at: Stamp) -> Option<&'w ServerWord> {
    restarts.iter().copied().find(|word| {
        let until = server
            .master
            .started
            .map_or(word.to, |started| started.after(MAX_BOOT).min(word.to.after(MAX_RESTART)))
            .max(word.to.after(SLACK));
        is_narrow(word) && word.from.is_some_and(|from| from.before(SLACK) <= at) && at <= until
    })
}

/// Whether workers are replaced so often that one in four moments has such a word beside it.
fn are_often(words: &[&ServerWord]) -> bool {
    let single = || words.iter().filter(|word| word.event == ServerEvent::Recycled);
    let Some((first, last)) =
        single().filter_map(|word| word.from).min().zip(single().map(|word| word.to).max())
    else {
        return false;
    };
    let n_words = u32::try_from(single().count()).unwrap_or(u32::MAX);
    let covered = SLACK.saturating_mul(2).saturating_mul(n_words);
    single().count() >= MIN_OFTEN && covered.saturating_mul(4) >= last.since(first)
}

/// A reload is over once the peer answers again; workers with a share of requests are replaced again and again.
fn still_failing(case: &Case<'_>, ended: &Unanswered<'_>, word: &ServerWord) -> Option<bool> {
    let answers = ended.report().is_some_and(|report| report.good_answer().is_some());
    let is_over = word.event == ServerEvent::Restarted && (answers || ended.is_served_since(case));
    let ends_so =
        ended.ended_so(ProbeOutcome::Closed) || ended.ended_so(ProbeOutcome::Failed(Errno::ConnectionReset));
    if is_over { Some(false) } else { ended.still_failing(case, ends_so) }
}

/// The server of a finding.
fn server<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<Server<'c>> {
    server_behind(case, finding.peer()?)
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let name = server(case, finding).map_or_else(|| finding.address(), |server| server.name(case));
    Explanation {
        title: format!("{name} replaced its workers on purpose and did not let their requests end"),
        why: "A reload, a restart or a limit of requests per worker ended the process that had the request, with its \
              connection, or nobody listened until the next one had started. nginx got no answer and sends 502."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout: the connection was cut, nginx did not wait too long".to_owned(),
            "restarting the server once more: that cuts the requests that run then".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let Some(server) = server(case, finding) else { return Vec::new() };
    let advice = if is_program(server.master, "php-fpm") {
        "set process_control_timeout in the [global] section of PHP-FPM's configuration, which is 0 unless set, to what the \
         longest request takes, and reload (SIGUSR2) instead of restarting"
    } else if is_program(server.master, "gunicorn") {
        "set gunicorn's --graceful-timeout above what the longest request takes, and the time that its supervisor waits \
         (TimeoutStopSec of systemd) above that; reload with SIGHUP instead of restarting; with --max-requests add \
         --max-requests-jitter, and let nginx close idle connections first"
    } else if is_program(server.master, "uwsgi") {
        "set uWSGI's worker-reload-mercy and reload-mercy above what the longest request takes, and reload one worker \
         after the other (touch-chain-reload with lazy-apps)"
    } else {
        "let the server finish running requests before it ends their worker, and reload instead of restarting"
    };
    vec![
        Remedy::new("Let running requests end before their worker does", Risk::ShowOnly)
            .advice(advice)
            .verify("a reload under load fails no request"),
        Remedy::new("Keep the address open over a restart", Risk::ShowOnly).advice(
            "let systemd hold the listening socket (socket activation), so that connections wait instead of being refused; \
             or take one server after the other out of the upstream group while it restarts",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    const RELOAD: &str = "[21-Nov-2026 02:28:29] NOTICE: Reloading in progress ...\n";
    const MAX_REQUESTS: &str =
        "[2026-11-21 02:28:30 +0000] [15] [INFO] Autorestarting worker after current request.\n";

    /// A closed connection; the peer answers by now.
    fn with_words(words: &str) -> Fixture {
        Fixture::new(CLOSED)
            .with("probe 127.0.0.1:3000", "answers\nHTTP/1.1 200 OK\n\n")
            .with("server-log", words)
    }

    /// Refused connections at 02:28:30, of a server that was started anew two seconds later.
    fn refused(words: &str) -> Fixture {
        let closed = with_words(words);
        let log = closed.section("error.log").replace(
            "upstream prematurely closed connection while reading response header from upstream",
            "connect() failed (111: Connection refused) while connecting to upstream",
        );
        closed.with("error.log", &log)
    }

    #[test]
    fn hit_it_was_reloaded_at_that_moment() {
        insta::assert_snapshot!(with_words(RELOAD).summary(), @"
        Recovered
        Confirmed upstream-worker-recycled -> upstream-closed-before-response: node (pid 200) replaced its workers on purpose and did not let their requests end [1 requests, mended]
        ");
    }

    #[test]
    fn hit_a_worker_had_served_its_share() {
        insta::assert_snapshot!(with_words(MAX_REQUESTS).summary(), @"
        Broken
        Likely upstream-worker-recycled -> upstream-closed-before-response: node (pid 200) replaced its workers on purpose and did not let their requests end [1 requests]
        ");
    }

    #[test]
    fn hit_refused_while_it_restarted() {
        insta::assert_snapshot!(refused("[2026-11-21 02:28:29 +0000] [13] [INFO] Shutting down: Master\n").summary(), @"
        Recovered
        Confirmed upstream-worker-recycled -> upstream-not-listening: node (pid 200) replaced its workers on purpose and did not let their requests end [1 requests, mended]
        ");
    }

    #[test]
    fn hit_without_a_stamp_near_it_is_likely() {
        let words = "[Sat Nov 21 02:28:00 2026] GET /\n...gracefully killing workers...\n[Sat Nov 21 02:29:00 2026] GET /\n";
        let summary = with_words(words).summary();
        assert!(summary.contains("Likely upstream-worker-recycled"), "{summary}");
    }

    #[test]
    fn near_miss_words_of_another_time_or_of_something_else() {
        for words in [
            RELOAD.replace("02:28:29", "02:20:29").as_str(),
            "[21-Nov-2026 02:28:30] NOTICE: [pool www] child 14 exited with code 0 after 1.3 seconds from start\n[21-Nov-2026 02:28:30] NOTICE: [pool blog] child 15 exited with code 0 after 1.3 seconds from start\n",
            "[2026-11-21 02:28:30 +0000] [15] [INFO] Worker exiting (pid: 15)\n",
            "[21-Nov-2026 02:28:30] NOTICE: [pool www] child 15 started\n",
        ] {
            let summary = with_words(words).summary();
            assert!(!summary.contains("upstream-worker-recycled"), "{summary}");
        }
    }

    #[test]
    fn near_miss_it_timed_out_or_crashed() {
        for words in [
            "[2026-11-21 02:28:30 +0000] [13] [CRITICAL] WORKER TIMEOUT (pid:15)\n",
            "[21-Nov-2026 02:28:30] WARNING: child 14 exited on signal 11 (SIGSEGV) after 1.3 seconds from start\n",
        ] {
            let summary = with_words(&format!("{MAX_REQUESTS}{words}")).summary();
            assert!(!summary.contains("upstream-worker-recycled"), "{summary}");
        }
    }

    #[test]
    fn near_miss_workers_are_replaced_all_the_time() {
        let words: String =
            (0..40).map(|at| MAX_REQUESTS.replace("02:28:30", &format!("02:28:{:02}", 10 + at))).collect();
        let summary = with_words(&words).summary();
        assert!(summary.contains("Likely upstream-closed-before-response"), "{summary}");
        assert!(!summary.contains("Confirmed"), "{summary}");
    }

    #[test]
    fn near_miss_it_is_still_refused() {
        let gone = refused("[2026-11-21 02:28:29 +0000] [13] [INFO] Shutting down: Master\n")
            .with("listeners", "")
            .with("probe 127.0.0.1:3000", "refused");
        let summary = gone.summary();
        assert!(summary.contains("Confirmed upstream-not-listening"), "{summary}");
        assert!(!summary.contains("upstream-worker-recycled"), "{summary}");
    }

    #[test]
    fn gap_the_log_may_not_be_read() {
        let summary = with_words(RELOAD).without("server-log").summary();
        assert!(!summary.contains("upstream-worker-recycled"), "{summary}");
    }
}
