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
//! on. The same where systemd recorded it of the unit behind the peer (`Result=oom-kill`, or its words in the journal): the unit whose
//! definition names the address, or whose process listens there; and of a container that a port of the host is published for
//! (`OOMKilled`). Likely: its name is that of the server's processes or the unit's name
//! alone ties it to the upstream, or a request broke off at that very moment and nobody listens since. Likely as well, where the
//! kernel's log may not be read: the server says that a worker got SIGKILL when requests broke off, and its control group counts
//! kills for want of memory (`oom_kill` in `memory.events`). Possible: only one of both.
//!
//! ## What would disprove it
//!
//! The killed process belongs to another service; the failures began long after it, or requests were answered in between; a
//! kernel log that reaches back to the failures and tells of no kill; a unit that was killed so before and served again since.
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
//! (`memory.max`, `memory.oom.group`); systemd: `OOMPolicy=` in systemd.service(5), `unit_check_oom` (`src/core/unit.c`),
//! systemd-oomd.service(8).

mod mend;
mod recorded;
mod scene;
mod victim;

use self::mend::{explain, remedies};
use self::scene::{Death, Scene};
use super::app_server::{Server, server_behind};
use super::pressure;
use super::unanswered::{Unanswered, attempts};
use super::upstream_closed_before_response::is_closed;
use super::upstream_reset_before_response::is_reset;
use crate::case::{Case, FailureId, Subject, Symptom, count, or_ask};
use crate::cause::{ActsOn, Asks, Cause, Detect, Layer, Scope, manual};
use crate::finding::{Confidence, Evidence, Finding, Origin, Ruling};
use std::collections::BTreeSet;
use why502_facts::{
    ControlGroup, Errno, Gap, KernelEvent, KernelWord, OomKill, Phase, Phrase, ServerEvent, Stamp,
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

fn detect(case: &Case<'_>, subject: &Subject) -> Result<Ruling, Asks> {
    let fits = |symptom: &Symptom| is_sudden(symptom) || is_refused(symptom);
    let (found, recorded) = match (attempts(case, subject, fits), recorded::shortage(case, subject)) {
        (Ok(found), Ok(recorded)) => (found, recorded),
        (found, recorded) => {
            return Err(found.err().into_iter().chain(recorded.err()).flatten().collect());
        }
    };
    let found = found.filter(|found| case.is_local(&found.peer.address));
    let told = found.map(|found| told(case, subject, found)).transpose()?.flatten();
    let finding = match recorded {
        Some(judged) => Some(recorded::finding(case, subject, &judged, told)),
        None => told.map(|told| told.finding),
    };
    Ok(finding.map_or(Ruling::NoSign, Ruling::found))
}

/// What the kernel, or a unit's journal, tells of a peer's failures.
struct Told {
    finding: Finding,
    /// When the last of the kills was: the earliest and the latest moment.
    killed: Option<(Stamp, Stamp)>,
}

fn told(case: &Case<'_>, subject: &Subject, mut found: Unanswered<'_>) -> Result<Option<Told>, Asks> {
    let server = server_behind(case, found.peer);
    let observed = or_ask(case.facts.kernel_log())?;
    let log = observed.as_ref().known();
    let scene = Scene { case, found: &found, server: server.as_ref() };
    let mut judged: Vec<Death> = Vec::new();
    for word in log.iter().flat_map(|log| &log.words) {
        if let KernelEvent::OomKill(kill) = &word.event {
            judged.extend(scene.judge(log.map_or("", |log| &log.source), word, kill)?);
        }
    }
    if judged.iter().all(|death| death.confidence < Confidence::Confirmed) {
        judged.extend(recorded::losses(&scene, log.copied())?);
    }
    let Some(best) = judged.iter().max_by_key(|death| (death.confidence, death.explains.len())) else {
        let Some(gap) = observed.gap() else { return Ok(None) };
        return suspected(case, subject, found, server.as_ref(), gap);
    };
    let (confidence, evidence, killed) = (best.confidence, best.evidence.clone(), best.at);
    let explains: BTreeSet<FailureId> = judged
        .iter()
        .filter(|death| death.confidence == confidence)
        .flat_map(|death| death.explains.iter().copied())
        .collect();
    found.symptoms.retain(|(id, ..)| explains.contains(id));
    let is_down =
        case.sockets().known().is_some_and(|table| table.listens(&found.peer.address) == Some(false));
    let still_failing = if is_down { Some(true) } else { found.still_failing(case, false) };
    let says = |n| format!("{} broke off or was refused", count(n, "attempt"));
    let mut finding =
        found.finding(case, &CAUSE, confidence, subject, says).with(evidence).still_failing(still_failing);
    finding.fails_clients_now = still_failing == Some(true) && case.is_felt(found.peer);
    Ok(Some(Told { finding, killed: Some(killed) }))
}

/// Whether an attempt ended because whoever had it was gone at once.
pub(super) fn is_sudden(symptom: &Symptom) -> bool {
    let is_cut = symptom.is(Phrase::PrematureClose) && symptom.phase == Some(Phase::ReadingBody);
    is_closed(symptom) || is_reset(symptom) || is_cut || symptom.is_quietly_unanswered()
}

fn is_refused(symptom: &Symptom) -> bool {
    symptom.connect_failed(Errno::ConnectionRefused)
}

/// Where the kernel's log may not be read: what the server says of a worker that got SIGKILL, and how many processes of its
/// control group were killed for want of memory, which everybody may read but which has no moment.
fn suspected(
    case: &Case<'_>,
    subject: &Subject,
    mut found: Unanswered<'_>,
    server: Option<&Server<'_>>,
    gap: &Gap,
) -> Result<Option<Told>, Asks> {
    found.symptoms.retain(|(.., symptom)| is_sudden(symptom));
    if found.symptoms.is_empty() {
        return Ok(None);
    }
    let told = server.map(|server| server.words(case)).transpose()?;
    let killed = |at: Stamp| {
        told.iter().flat_map(|told| told.words.iter().copied()).find(|word| {
            word.event == ServerEvent::Killed(victim::SIGKILL) && super::app_server::is_within(word, at, at)
        })
    };
    let word = found.symptoms.iter().find_map(|(_, failure, _)| killed(failure.at));
    let counted = pressure::groups_of(case, found.peer)?.iter().find_map(counted_kills);
    let confidence = match (word, &counted) {
        (Some(_), Some(_)) => Confidence::Likely,
        (None, None) => return Ok(None),
        _ => Confidence::Possible,
    };
    if word.is_some() {
        found.symptoms.retain(|(_, failure, _)| killed(failure.at).is_some());
    }
    let says = |n| format!("{} broke off", count(n, "attempt"));
    let open = if word.is_some() {
        "whether the kernel killed that worker for want of memory"
    } else {
        "when the kernel killed for want of memory"
    };
    let finding = found
        .finding(case, &CAUSE, confidence, subject, says)
        .with(word.map(super::app_server::word_evidence))
        .with(counted)
        .open([Case::open(gap.clone(), open)]);
    Ok(Some(Told { finding, killed: None }))
}

/// That processes of a server's own control group were killed for want of memory.
fn counted_kills(group: &ControlGroup) -> Option<Evidence> {
    let limit = group.memory.first()?;
    let n_killed = limit.n_killed.filter(|n_killed| *n_killed > 0)?;
    let says = format!(
        "the kernel killed {} of its control group {} for want of memory since that was made",
        if n_killed == 1 { "a process".to_owned() } else { format!("{n_killed} processes") },
        pressure::name(&limit.group)
    );
    Some(Evidence::supporting(says, Origin::Host(limit.group.clone())))
}

/// The kernel's words about a kill.
pub(super) fn kill_evidence(source: &str, word: &KernelWord, kill: &OomKill) -> Evidence {
    let says = format!("{}: the kernel killed {} (pid {}){}", word.from, kill.comm, kill.pid, shortage(kill));
    Evidence::supporting(says, Origin::Host(source.to_owned()))
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
            let own = kill_evidence(&log.source, word, kill).says;
            finding.evidence.iter().any(|evidence| evidence.says == own).then_some(kill)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests;
