//! # upstream-oom-killed
//!
//! ## What happens
//!
//! Memory was short, and the kernel killed the backend or a worker of it: because the host had none left, or because the
//! control group of its service or container had reached its limit. The process gets SIGKILL and cannot finish anything;
//! what it held of connections is closed at once. True for every version of nginx.
//!
//! ## What you see
//!
//! `upstream prematurely closed connection while reading response header from upstream`, or `recv() failed (104: Connection
//! reset by peer)`, at one moment, then often `connect() failed (111: Connection refused)` until somebody starts it again.
//! The kernel's log has `oom-kill:constraint=…` and `Out of memory: Killed process 77 (node)`, or `Memory cgroup out of
//! memory: Killed process …`; systemd says `Result=oom-kill`, Docker `OOMKilled`.
//!
//! ## How we know
//!
//! Confirmed: the kernel's log tells of a process that was killed so, it is of the server behind this peer (by its control
//! group, or because the server itself names that worker), and requests broke off at that moment or were refused from it
//! on. Likely: its name is that of the server's processes, or a request broke off at that very moment and nobody listens since. Possible: the
//! server says that a worker got SIGKILL, and the kernel's log may not be read.
//!
//! ## What would disprove it
//!
//! The killed process belongs to another service; the failures began long after it, or requests were answered in between; a
//! kernel log that reaches back to the failures and tells of no kill.
//!
//! ## What to do
//!
//! Find what takes the memory: a leak, one huge request, too many workers for the limit. Fewer workers, or a higher limit
//! where the host has that memory.
//!
//! ## Not to be confused with
//!
//! `upstream-worker-crashed` (its own fault: SIGSEGV, SIGABRT), `upstream-worker-timeout` (gunicorn's `WORKER TIMEOUT` also
//! ends in SIGKILL, and its `Perhaps out of memory?` is a guess), `upstream-service-stopped` (somebody stopped it),
//! `upstream-not-listening` (nobody knows why nothing listens).
//!
//! ## References
//!
//! Linux: `oom_kill_process` and `dump_oom_victim` (`mm/oom_kill.c`), Documentation/admin-guide/cgroup-v2.rst
//! (`memory.max`, `memory.oom.group`); systemd.exec(5), `OOMPolicy=` in systemd.service(5).

mod victim;

use super::app_server::{SLACK, Server, server_behind};
use super::unanswered::{Unanswered, attempts};
use super::upstream_closed_before_response::is_closed;
use super::upstream_reset_before_response::is_reset;
use crate::case::{Case, FailureId, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Explanation, Finding, Origin, Ruling};
use crate::remedy::{Remedy, Risk};
use std::collections::BTreeSet;
use std::time::Duration;
use victim::{Belongs, belongs};
use why502_facts::{
    Errno, KernelEvent, KernelLog, KernelWord, Observed, OomKill, Phase, Phrase, ServerEvent, Stamp,
};

pub(super) static CAUSE: Cause = Cause {
    id: "upstream-oom-killed",
    layer: Layer::Connect,
    acts_on: ActsOn::Upstream,
    effect: false,
    statuses: &[502],
    scope: Scope::Peer,
    supersedes: &[
        "response-body-truncated",
        "unix-socket-stale",
        "upstream-closed-before-response",
        "upstream-not-listening",
        "upstream-reset-before-response",
        "upstream-worker-crashed",
    ],
    detect: Detect::Alone(detect),
    explain,
    remedies,
    manual: manual!("upstream_oom_killed.rs"),
};

/// Stamps of logs are cut to the second.
const SECOND: Duration = Duration::from_secs(1);
/// Who is refused for the first time so long after a kill is refused for another reason, as far as anybody knows.
const MAX_QUIET: Duration = Duration::from_mins(10);
/// Without anything else that ties a kill to a peer, its time must: so close are the last answer and the first refusal.
const MAX_COINCIDENCE: Duration = Duration::from_secs(30);

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let fits = |symptom: &Symptom| is_sudden(symptom) || is_refused(symptom);
    let Some(mut found) = attempts(case, subject, fits)? else { return Ok(Ruling::NoSign) };
    if !case.is_local(&found.peer.address) {
        return Ok(Ruling::NoSign);
    }
    let server = server_behind(case, found.peer);
    let log = match or_ask(case.facts.kernel_log())? {
        Observed::Known(log) => log,
        Observed::Absent => return Ok(Ruling::NoSign),
        Observed::Unknown(gap) => return suspected(case, subject, found, server.as_ref(), &gap),
    };
    let scene = Scene { case, found: &found, server: server.as_ref() };
    let mut judged: Vec<Death<'_>> = Vec::new();
    for word in &log.words {
        if let KernelEvent::OomKill(kill) = &word.event {
            judged.extend(scene.judge(word, kill)?);
        }
    }
    let Some(best) = judged.iter().max_by_key(|death| (death.confidence, death.explains.len())) else {
        return Ok(Ruling::NoSign);
    };
    let confidence = best.confidence;
    let explains: BTreeSet<FailureId> = judged
        .iter()
        .filter(|death| death.confidence == confidence)
        .flat_map(|death| death.explains.iter().copied())
        .collect();
    let evidence = [kill_evidence(log, best.word, best.kill), best.tie.clone()];
    found.symptoms.retain(|(id, ..)| explains.contains(id));
    let is_down =
        case.sockets().known().is_some_and(|table| table.listens(&found.peer.address) == Some(false));
    let still_failing = if is_down { Some(true) } else { found.still_failing(case, false) };
    let says = |n| format!("{} broke off or was refused", count(n, "attempt"));
    let mut finding =
        found.finding(case, &CAUSE, confidence, subject, says).with(evidence).still_failing(still_failing);
    finding.fails_clients_now = still_failing == Some(true) && case.is_felt(found.peer);
    Ok(Ruling::found(finding))
}

/// Whether an attempt ended because whoever had it was gone at once.
pub(super) fn is_sudden(symptom: &Symptom) -> bool {
    let is_cut = symptom.is(Phrase::PrematureClose) && symptom.phase == Some(Phase::ReadingBody);
    is_closed(symptom) || is_reset(symptom) || is_cut || symptom.is_quietly_unanswered()
}

fn is_refused(symptom: &Symptom) -> bool {
    symptom.connect_failed(Errno::ConnectionRefused)
}

/// A kill, and what it explains of a peer's failures.
struct Death<'c> {
    word: &'c KernelWord,
    kill: &'c OomKill,
    confidence: Confidence,
    explains: Vec<FailureId>,
    /// What ties it to the peer.
    tie: Evidence,
}

/// What all kills are judged by.
struct Scene<'s, 'c> {
    case: &'c Case<'c>,
    found: &'s Unanswered<'c>,
    server: Option<&'s Server<'c>>,
}

impl<'c> Scene<'_, 'c> {
    /// What a kill explains; `None` if nothing. An error asks for what the server says itself.
    fn judge(&self, word: &'c KernelWord, kill: &'c OomKill) -> Result<Option<Death<'c>>, Asks> {
        let sudden = self.sudden_at(word);
        let refused = self.refused_since(word);
        if sudden.is_empty() && refused.is_empty() {
            return Ok(None);
        }
        let (owner, tie) = belongs(self.case, self.server, word, kill)?;
        // Whoever was there before the kill and still is refuses nobody.
        let is_survived = self
            .server
            .is_some_and(|server| server.master.started.is_some_and(|started| started < word.from));
        let refused = if is_survived { Vec::new() } else { refused };
        let n_sudden = self.found.symptoms.iter().filter(|(_, _, symptom)| is_sudden(symptom)).count();
        // Among many that broke off at other times, one that does so at a kill may be chance.
        let is_rule = sudden.len() * 2 >= n_sudden;
        let is_at_once = !sudden.is_empty() && is_rule;
        let is_soon = self.is_between(word);
        let confidence = match owner {
            Belongs::Own if is_at_once || !refused.is_empty() => Confidence::Confirmed,
            Belongs::Own | Belongs::Alike if !sudden.is_empty() || !refused.is_empty() => Confidence::Likely,
            Belongs::Perhaps | Belongs::Doubtful if !refused.is_empty() && is_at_once => Confidence::Likely,
            // Several services may die in the same minute.
            Belongs::Perhaps if !refused.is_empty() && is_soon => Confidence::Possible,
            _ => return Ok(None),
        };
        let mut explains = sudden;
        explains.extend(refused);
        Ok(Some(Death { word, kill, confidence, explains, tie }))
    }

    /// The attempts that broke off when somebody was killed.
    fn sudden_at(&self, word: &KernelWord) -> Vec<FailureId> {
        let is_then = |at: Stamp| at.after(SECOND) >= word.from.before(SLACK) && at <= word.to.after(SLACK);
        let symptoms = self.found.symptoms.iter();
        let own = symptoms.filter(|(_, failure, symptom)| is_sudden(symptom) && is_then(failure.at));
        own.map(|(id, ..)| *id).collect()
    }

    /// The refusals from a kill on, before any request was answered again.
    fn refused_since(&self, word: &KernelWord) -> Vec<FailureId> {
        let is_quiet = |first: Stamp| first <= word.to.after(MAX_QUIET);
        if !self.first_refused_after(word).is_some_and(is_quiet) {
            return Vec::new();
        }
        let answered = self.first_answer_after(word);
        let refused =
            self.refusals_after(word).filter(|(_, at)| answered.is_none_or(|answered| *at < answered));
        refused.map(|(id, _)| id).collect()
    }

    fn first_refused_after(&self, word: &KernelWord) -> Option<Stamp> {
        let first = self.refusals_after(word).map(|(_, at)| at).min()?;
        // Whoever was refused before it already was not refused because of it.
        let answered = self.case.last_success(self.found.peer).map(|(at, _)| at);
        let is_refused_before = self.found.symptoms.iter().any(|(_, failure, symptom)| {
            is_refused(symptom)
                && failure.at.after(SECOND) < word.from.before(SLACK)
                && answered.is_none_or(|answered| answered < failure.at)
        });
        (!is_refused_before).then_some(first)
    }

    /// Whether a kill lies between an answer and a refusal that follow each other closely.
    fn is_between(&self, word: &KernelWord) -> bool {
        let answered = self.case.last_success(self.found.peer).map(|(at, _)| at);
        let refused = self.first_refused_after(word);
        answered.zip(refused).is_some_and(|(answered, refused)| {
            answered <= word.to.after(SECOND) && refused.since(answered) <= MAX_COINCIDENCE
        })
    }

    fn refusals_after(&self, word: &KernelWord) -> impl Iterator<Item = (FailureId, Stamp)> {
        let begin = word.from.before(SECOND);
        let refused = self.found.symptoms.iter().filter(|(_, _, symptom)| is_refused(symptom));
        refused.filter(move |(_, failure, _)| failure.at >= begin).map(|(id, failure, _)| (*id, failure.at))
    }

    /// When the peer answered for the first time after a kill, as far as the logs tell.
    fn first_answer_after(&self, word: &KernelWord) -> Option<Stamp> {
        let routes = self.found.peer.routes.iter();
        let answers =
            routes.flat_map(|route| self.case.successes_of(*route)).filter(|success| match &success.peer {
                Some(peer) => *peer == self.found.peer.address,
                None => self.case.is_single(self.found.peer),
            });
        answers.map(|success| success.at).filter(|at| *at > word.to.after(SECOND)).min()
    }
}

/// Where the kernel's log may not be read: what the server says of a worker that got SIGKILL.
fn suspected(
    case: &Case<'_>,
    subject: &Subject,
    mut found: Unanswered<'_>,
    server: Option<&Server<'_>>,
    gap: &why502_facts::Gap,
) -> Result<Ruling, Asks> {
    let Some(server) = server else { return Ok(Ruling::NoSign) };
    let told = server.words(case)?;
    let killed = |at: Stamp| {
        told.words.iter().find(|word| {
            word.event == ServerEvent::Killed(victim::SIGKILL) && super::app_server::is_within(word, at, at)
        })
    };
    found.symptoms.retain(|(_, failure, symptom)| is_sudden(symptom) && killed(failure.at).is_some());
    let Some(word) = found.symptoms.first().and_then(|(_, failure, _)| killed(failure.at)) else {
        return Ok(Ruling::NoSign);
    };
    let says = |n| format!("{} broke off", count(n, "attempt"));
    let finding = found
        .finding(case, &CAUSE, Confidence::Possible, subject, says)
        .with([super::app_server::word_evidence(word)])
        .open([Case::open(gap.clone(), "whether the kernel killed that worker for want of memory")]);
    Ok(Ruling::found(finding))
}

/// The kernel's words about a kill.
pub(super) fn kill_evidence(log: &KernelLog, word: &KernelWord, kill: &OomKill) -> Evidence {
    let says = format!("{}: the kernel killed {} (pid {}){}", word.from, kill.comm, kill.pid, shortage(kill));
    Evidence::supporting(says, Origin::Host(log.source.clone()))
}

/// What was short.
fn shortage(kill: &OomKill) -> String {
    let limit = kill.limit_kib.map(|kib| format!(" of {}", size(kib))).unwrap_or_default();
    match kill.limited_cgroup.as_deref() {
        None => ", because the host was out of memory".to_owned(),
        Some("") => format!(", because its control group had reached its limit{limit} of memory"),
        Some(group) => format!(", because the control group {group} had reached its limit{limit} of memory"),
    }
}

/// `64 MiB`.
fn size(kib: u64) -> String {
    if kib >= 1024 { format!("{} MiB", kib / 1024) } else { format!("{kib} KiB") }
}

/// The kill that a finding is about: the newest that its evidence can have been made from.
fn kill_of<'c>(case: &'c Case<'_>, finding: &Finding) -> Option<&'c OomKill> {
    let log = case.facts.kernel_log().known()?;
    log.words.iter().rev().find_map(|word| match &word.event {
        KernelEvent::OomKill(kill) => {
            let own = kill_evidence(log, word, kill).says;
            finding.evidence.iter().any(|evidence| evidence.says == own).then_some(kill)
        }
        _ => None,
    })
}

fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let kill = kill_of(case, finding);
    let title = match kill {
        Some(kill) => {
            let of = if kill.limited_cgroup.is_some() { "its memory limit" } else { "the host's memory" };
            format!("the kernel killed {} (pid {}) behind {address}: {of} was exhausted", kill.comm, kill.pid)
        }
        None => format!("a worker behind {address} was killed, perhaps for want of memory"),
    };
    Explanation {
        title,
        why: "Memory was short and the kernel ended the process at once. Its connections went with it, and until somebody \
              starts it again nothing answers: nginx has no response to pass on and sends 502."
            .to_owned(),
        wont_help: vec![
            "raising proxy_read_timeout or proxy_buffers: whoever had the request is dead".to_owned(),
            "only restarting it: the memory grows again, and so does the number of kills".to_owned(),
            "oom_score_adj=-1000 for it: the kernel then kills another process, or the host stands still".to_owned(),
        ],
    }
}

fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
    let kill = kill_of(case, finding);
    let newest = finding.explains.iter().map(|id| case.failure(*id).at).max();
    let at = newest.map_or_else(String::new, |at| format!(" around {at}"));
    let comm = kill.map_or("the server", |kill| kill.comm.as_str());
    let held = kill.and_then(|kill| kill.anonymous_kib).map(|kib| format!(", which held {}", size(kib)));
    let find = Remedy::new("Find what takes the memory", Risk::ShowOnly)
        .advice(format!(
            "look what {comm}{} did{at}: one huge request or upload, a leak that grows from request to request, more \
             workers than memory for them; fewer workers, or a limit on what one request may load",
            held.unwrap_or_default()
        ))
        .verify("its memory stays below the limit, and the kernel's log tells of no further kill");
    let Some(group) = kill.and_then(|kill| kill.limited_cgroup.as_deref()) else { return vec![find] };
    let limit = kill.and_then(|kill| kill.limit_kib).map(|kib| format!(" (now {})", size(kib)));
    let unit = group
        .rsplit('/')
        .next()
        .filter(|name| [".service", ".slice"].iter().any(|ending| name.ends_with(ending)));
    let raise = Remedy::new("Raise the limit, if the host has that memory", Risk::Review);
    let raise = match unit {
        Some(unit) => raise
            .command(&["systemctl", "show", "-p", "MemoryMax,MemoryPeak,MemoryCurrent", unit], &[])
            .advice(format!("set a higher MemoryMax= for {unit}{}: systemctl edit {unit}", limit.unwrap_or_default())),
        None => raise.advice(format!(
            "give the control group {group} a higher limit of memory{}, where it is set: the unit, the container \
             (docker update --memory), the orchestrator",
            limit.unwrap_or_default()
        )),
    };
    vec![find, raise.verify("its peak of memory stays below the limit under load")]
}

#[cfg(test)]
mod tests;
