//! Deaths for want of memory that the service manager recorded. systemd looks at the control group of a unit itself, so that it
//! knows of a kill where the kernel's log may not be read, or has lost it.

use super::scene::{Death, Scene};
use super::{CAUSE, Told, kill_evidence, size};
use crate::case::{Case, Subject, or_ask};
use crate::cause::Asks;
use crate::causes::app_server::SLACK;
use crate::causes::services::{Event, How, Judged, judged};
use crate::finding::{Confidence, Evidence, Finding, Origin};
use why502_facts::{JournalEntry, KernelEvent, KernelLog, Observed, Stamp, Unit, UnitEvent};

/// The service behind a peer that nobody listens for, or listened for, if it was ended for want of memory. An error asks for
/// its definition, its state and its journal.
pub(super) fn shortage<'c>(case: &'c Case<'_>, subject: &'c Subject) -> Result<Option<Judged<'c>>, Asks> {
    Ok(judged(case, subject)?.filter(|judged| events(judged).is_some()))
}

pub(super) fn events<'j>(judged: &'j Judged<'_>) -> Option<&'j [Event]> {
    if let How::OutOfMemory(events) = &judged.verdict.how { Some(events) } else { None }
}

/// A finding by what the service manager recorded, with what the kernel tells of the same.
pub(super) fn finding(
    case: &Case<'_>,
    subject: &Subject,
    judged: &Judged<'_>,
    told: Option<Told>,
) -> Finding {
    let mut finding = judged.finding(case, &CAUSE, subject);
    finding.evidence.extend(judged.history.unit.and_then(limit_evidence));
    let is_same = |from: Stamp, to: Stamp| {
        events(judged).unwrap_or_default().iter().any(|event| {
            event.from.before(SLACK) <= to.after(SLACK) && event.to.after(SLACK) >= from.before(SLACK)
        })
    };
    match told {
        Some(told) if told.killed.is_some_and(|(from, to)| is_same(from, to)) => {
            finding.confidence = finding.confidence.max(told.finding.confidence);
            finding.explains.extend(told.finding.explains);
            finding.evidence.extend(told.finding.evidence);
            finding.open.extend(told.finding.open);
            return finding;
        }
        Some(told) if told.finding.confidence > finding.confidence => return told.finding,
        _ => {}
    }
    // Nothing else may tie the kernel's word to the peer: the service does.
    let observed = case.facts.kernel_log();
    let log = observed.as_ref().known();
    let is_own = |group: &str| group.split('/').any(|part| part == judged.history.service.name);
    let kill = log.iter().flat_map(|log| &log.words).find_map(|word| match &word.event {
        KernelEvent::OomKill(kill) if is_same(word.from, word.to) => {
            kill.cgroup.as_deref().is_some_and(is_own).then_some((word, kill))
        }
        _ => None,
    });
    finding.evidence.extend(kill.map(|(word, kill)| {
        let source = log.map_or("", |log| &log.source);
        kill_evidence(source, word, kill)
    }));
    finding.open.extend(
        observed.gap().map(|gap| {
            Case::open(gap.clone(), "which process the kernel killed, and how much memory it held")
        }),
    );
    finding
}

/// What the journal of the unit whose process listens for a peer tells of processes that it lost, where the kernel's log does not
/// reach. An error asks for it.
pub(super) fn losses(scene: &Scene<'_, '_>, log: Option<&KernelLog>) -> Result<Vec<Death>, Asks> {
    let case = scene.case;
    let moments = scene.found.symptoms.iter().map(|(_, failure, _)| failure.at);
    let (Some(first), Some(last)) = (moments.clone().min(), moments.max()) else { return Ok(Vec::new()) };
    let gateway = case.gateway_process().and_then(|own| own.unit.as_deref());
    let unit = scene.server.and_then(|server| Some((server.master.pid, server.master.unit.as_deref()?)));
    let is_told = log.is_some_and(|log| log.covers(first.before(SLACK), last.after(SLACK)));
    let Some((pid, unit)) = unit.filter(|(_, unit)| !is_told && Some(*unit) != gateway) else {
        return Ok(Vec::new());
    };
    let (from, to) = (first.before(SLACK * 2), case.facts.manifest.captured_at);
    let Observed::Known(entries) = or_ask(case.facts.unit_journal(unit, from, to))? else {
        return Ok(Vec::new());
    };
    let is_loss = |event: UnitEvent| matches!(event, UnitEvent::OutOfMemory | UnitEvent::ProcessOutOfMemory);
    let losses = entries.iter().filter(|entry| entry.event.is_some_and(is_loss));
    let death = |entry: &JournalEntry| {
        let says = format!("{}: {}", entry.at, entry.message);
        let told = Evidence::supporting(says, Origin::Host(format!("journalctl --unit={unit}")));
        let says = format!("the process that listens there (pid {pid}) is of {unit}");
        let tie = Evidence::supporting(says, Origin::Host(format!("/proc/{pid}/cgroup")));
        scene.lost((entry.at, entry.at), vec![told, tie])
    };
    Ok(losses.filter_map(death).collect())
}

/// The limit of memory that a unit's definition sets, if it sets one.
pub(super) fn limit_kib(unit: &Unit) -> Option<u64> {
    Some(unit.property("MemoryMax")?.parse::<u64>().ok().filter(|bytes| *bytes < u64::MAX)? / 1024)
}

fn limit_evidence(unit: &Unit) -> Option<Evidence> {
    let says = format!("its limit of memory is {} (MemoryMax)", size(limit_kib(unit)?));
    Some(Evidence::context(says, Origin::Host(format!("systemctl show {}", unit.name))))
}

/// Whether a finding rests on more than a guess of the server.
pub(super) fn is_known(finding: &Finding) -> bool {
    finding.confidence > Confidence::Possible
}
