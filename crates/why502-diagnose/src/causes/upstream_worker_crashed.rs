//! # upstream-worker-crashed
//!
//! ## What happens
//!
//! A worker of the application server dies while it serves: a segmentation fault in an extension, an abort, a fatal error
//! that ends the process. Its master lives on and starts another one. With the worker its connections go. True for every
//! version of nginx.
//!
//! ## What you see
//!
//! `upstream prematurely closed connection while reading response header from upstream`, or `recv() failed (104:
//! Connection reset by peer)`, and a 502 at no constant time. In the server's own log `exited on signal 11 (SIGSEGV)`,
//! `was terminated due to signal 6`, `DAMN ! worker 1 (pid: 7) died`.
//!
//! ## How we know
//!
//! Confirmed: the server's own log, read from the file that its process holds open, tells of a worker that died, at the
//! moment of the failures. Likely: the same between lines that lie far apart.
//!
//! ## What would disprove it
//!
//! The server ended the worker itself, over a limit or at a reload; SIGKILL, which is somebody else's.
//!
//! ## What to do
//!
//! Find what crashes: the failing request, the last deployed extension or library, a core dump (`coredumpctl`).
//!
//! ## Not to be confused with
//!
//! `upstream-worker-timeout` (the server ended it over its own limit), `upstream-oom-killed` (SIGKILL for want of memory),
//! `upstream-closed-before-response` (nobody knows why it closed), `gateway-worker-crashed` (nginx's own worker).
//!
//! ## References
//!
//! signal(7); gunicorn: `arbiter.py`, `reap_workers`; PHP: `fpm_children_bury`; uWSGI: `uwsgi_master_loop`.

use super::app_server::{is_narrow, server_behind, word_at, word_evidence};
use super::core_dump;
use super::unanswered::{attempts, read_its_log};
use super::upstream_closed_before_response::is_closed;
use super::upstream_reset_before_response::is_reset;
use crate::case::{Case, Subject, Symptom, count};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Explanation, Finding, Ruling};
use crate::remedy::Remedy;
use why502_facts::{Errno, ProbeOutcome, ServerEvent, ServerWord};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-worker-crashed",
    layer: Layer::Response,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &["upstream-closed-before-response", "upstream-reset-before-response"],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_worker_crashed.rs"),
};

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let fits = |symptom: &Symptom| is_closed(symptom) || is_reset(symptom) || symptom.is_quietly_unanswered();
    let Some(mut ended) = attempts(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    let Some(server) = server_behind(case, ended.peer) else { return Ok(Ruling::NoSign) };
    let told = server.words(case)?;
    let (deaths, others): (Vec<&ServerWord>, Vec<&ServerWord>) =
        told.words.iter().partition(|word| is_crash(word));
    let limits: Vec<&ServerWord> =
        others.into_iter().filter(|word| word.event == ServerEvent::TimedOut).collect();
    let n_ended = ended.symptoms.len();
    ended
        .symptoms
        .retain(|(_, failure, _)| word_at(&deaths, failure).is_some() && word_at(&limits, failure).is_none());
    let word_of = |wants: fn(&ServerWord) -> bool| {
        ended.symptoms.iter().find_map(|(_, failure, _)| word_at(&deaths, failure).filter(|word| wants(word)))
    };
    let Some(word) = word_of(is_narrow).or_else(|| word_of(|_| true)) else { return Ok(Ruling::NoSign) };
    // Among many that ended otherwise, one that ends when another worker dies is chance.
    let is_rule = ended.symptoms.len() * 2 >= n_ended;
    let confidence = if is_narrow(word) && is_rule { Confidence::Confirmed } else { Confidence::Likely };
    if matches!(word.event, ServerEvent::Killed(_)) {
        core_dump::look(case)?;
    }
    let says = |n| format!("{} ended without an answer", count(n, "attempt"));
    let ends_so =
        ended.ended_so(ProbeOutcome::Closed) || ended.ended_so(ProbeOutcome::Failed(Errno::ConnectionReset));
    let still_failing = ended.still_failing(case, ends_so);
    let mut finding = ended
        .finding(case, &CAUSE, confidence, subject, says)
        .with([word_evidence(word)])
        .still_failing(still_failing);
    finding.fails_clients_now = still_failing == Some(true) && case.is_felt(ended.peer);
    Ok(Ruling::found(finding))
}

pub(super) fn is_crash(word: &ServerWord) -> bool {
    match word.event {
        ServerEvent::Exited(_) => true,
        ServerEvent::Killed(signal) => core_dump::is_fault(signal),
        ServerEvent::GaveUp
        | ServerEvent::PoolFull
        | ServerEvent::Recycled
        | ServerEvent::Restarted
        | ServerEvent::Started
        | ServerEvent::Stopped
        | ServerEvent::TimedOut => false,
    }
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let server = finding.peer().and_then(|peer| server_behind(case, peer));
    let name = server.map_or_else(|| finding.address(), |server| server.name(case));
    Explanation {
        title: format!("workers of {name} die while they serve"),
        why: "The worker that had the request died, and the kernel closed its connection. nginx got no answer and sends 502; \
              the master has started another worker since."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout: nobody is left who could answer".to_owned(),
            "restarting the server: its master replaces the worker already".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let core = core_dump::place(case, None);
    read_its_log(
        case,
        finding,
        &format!(
            "what the worker did when it died: a trace, the request; where a signal ended it, {core} tells more"
        ),
    )
}

#[cfg(test)]
mod tests {
    use crate::causes::upstream_closed_before_response::tests::HIT as CLOSED;
    use crate::fixture::Fixture;

    fn with_words(words: &str) -> Fixture {
        Fixture::new(CLOSED).with("server-log", words)
    }

    #[test]
    fn hit_the_server_tells_of_the_death() {
        let words = "[21-Nov-2026 02:28:30] WARNING: child 14 exited on signal 11 (SIGSEGV) after 1.3 seconds from start\n";
        insta::assert_snapshot!(with_words(words).summary(), @"
        Broken
        Confirmed upstream-worker-crashed -> upstream-closed-before-response: workers of node (pid 200) die while they serve [1 requests, still failing]
        ");
    }

    #[test]
    fn hit_without_a_stamp_near_it_is_likely() {
        let words =
            "[Sat Nov 21 02:20:00 2026] GET /\nDAMN ! worker 1 (pid: 39) died :( trying respawn ...\n";
        insta::assert_snapshot!(with_words(words).summary(), @"
        Broken
        Likely upstream-worker-crashed -> upstream-closed-before-response: workers of node (pid 200) die while they serve [1 requests, still failing]
        ");
    }

    #[test]
    fn near_miss_it_was_killed_or_died_at_another_time() {
        for words in [
            "[21-Nov-2026 02:28:30] WARNING: child 14 exited on signal 9 (SIGKILL) after 1.3 seconds from start\n",
            "[21-Nov-2026 02:28:30] WARNING: child 14 exited on signal 15 (SIGTERM) after 1.3 seconds from start\n",
            "[21-Nov-2026 02:10:30] WARNING: child 14 exited on signal 11 (SIGSEGV) after 1.3 seconds from start\n",
            "[2026-11-21 02:28:30 +0000] [13] [CRITICAL] WORKER TIMEOUT (pid:15)\n[2026-11-21 02:28:30 +0000] [13] [WARNING] Worker with pid 15 was terminated due to signal 6\n",
        ] {
            let summary = with_words(words).summary();
            assert!(!summary.contains("upstream-worker-crashed"), "{summary}");
        }
    }

    #[test]
    fn gap_the_log_may_not_be_read() {
        let summary = Fixture::new(CLOSED).summary();
        assert!(!summary.contains("upstream-worker-crashed"), "{summary}");
    }
}
