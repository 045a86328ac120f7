//! What changed shortly before the first failure: context for whoever reads the report, never proof of anything.
//!
//! Nothing here touches a verdict, a finding or its confidence. Only where something failed is anything asked, and only once
//! no rule wants to know anything more: a look that hangs must not cost a diagnosis. What is told counts back from the first
//! failure, never from now, so that a bundle tells the same tomorrow.

mod files;
mod first_failure;
mod packages;
mod processes;
mod units;

pub(crate) use first_failure::{FirstFailure, first_failure};

use crate::case::{Case, Failure, PeerSubject, Subject};
use crate::engine::Judged;
use crate::report::{ChangeKind, Verdict};
use std::time::Duration;
use why502_facts::{Ask, Gap, GapReason, Observed, Stamp};

/// How long before the first failure a change is told of.
const BEFORE: Duration = Duration::from_hours(1);
/// Logs and systemd tell whole seconds: what bears the second of the failure may have come before it.
const SECOND: Duration = Duration::from_millis(999);
/// How far two accounts of one event may lie apart.
const AT_ONCE: Duration = Duration::from_secs(2);
/// So many changes are told; the nearest.
const MAX_CHANGES: usize = 50;
/// So many are told in a short report.
const MAX_CHIEF: usize = 3;
/// So many peers are looked at.
const MAX_PEERS: usize = 16;

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: Stamp,
    pub(crate) kind: ChangeKind,
    /// What changed: a path, a package, a unit, a process.
    pub(crate) subject: String,
    /// What became of it, with the subject: a lower-case fragment.
    pub(crate) says: String,
    /// The file or the command that tells of it.
    pub(crate) source: String,
    /// Whether it may matter by itself, and is not only one of many or a trace of something else.
    pub(crate) is_telling: bool,
    /// Whether a short report tells of it.
    pub(crate) is_chief: bool,
    /// The unit that it happened to, or to a process of.
    unit: Option<String>,
}

impl Change {
    fn new(at: Stamp, kind: ChangeKind, subject: impl Into<String>, says: impl Into<String>) -> Self {
        Self {
            at,
            kind,
            subject: subject.into(),
            says: says.into(),
            source: String::new(),
            is_telling: true,
            is_chief: false,
            unit: None,
        }
    }

    fn told_by(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    fn of_unit(mut self, unit: Option<&str>) -> Self {
        self.unit = unit.map(str::to_owned);
        self
    }

    fn beside(mut self) -> Self {
        self.is_telling = false;
        self
    }
}

/// What changed before the first failure.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The failure that they are told before; `None` where nothing failed.
    pub(crate) first: Option<FirstFailure>,
    /// The nearest to it first.
    pub(crate) list: Vec<Change>,
    /// What could not be seen of it, beside the gaps of the facts themselves.
    pub(crate) gaps: Vec<Gap>,
}

/// The span before a failure.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Stamp,
    to: Stamp,
}

impl Span {
    fn before(failure: Stamp) -> Self {
        Self { from: failure.before(BEFORE), to: failure.after(SECOND) }
    }

    fn holds(self, at: Stamp) -> bool {
        self.from <= at && at <= self.to
    }
}

/// What is wanted to tell what changed; nothing where nothing failed.
pub(crate) fn asks(cases: &[Case<'_>], judged: &[Judged], verdict: Verdict) -> Vec<Ask> {
    let Some(first) = moment(cases, judged, verdict) else { return Vec::new() };
    wanted(cases, judged, &first)
}

/// What changed before the first failure, as far as the facts tell.
pub(crate) fn changes(cases: &[Case<'_>], judged: &[Judged], verdict: Verdict) -> Changes {
    let Some(first) = moment(cases, judged, verdict) else { return Changes::default() };
    let span = Span::before(first.at);
    let mut list = Vec::new();
    let mut gaps: Vec<Gap> = unasked(cases, &wanted(cases, judged, &first)).into_iter().collect();
    if let Some(case) = cases.first().filter(|case| is_of_this_host(case)) {
        list.extend(boot(case, span));
        list.extend(units::changes(case, span));
        list.extend(files::firewall_changes(case, span));
        let peers = peers(cases, judged, &first);
        let (packages, cut) = packages::changes(case, &peers, span);
        list.extend(packages);
        gaps.extend(cut);
        list.extend(peers.into_iter().flat_map(|(case, peer)| processes::of_peer(case, peer, span)));
        for case in cases {
            list.extend(files::changes(case, span));
            list.extend(processes::of_gateway(case, span));
        }
    }
    Changes { list: arranged(list), gaps, first: Some(first) }
}

fn moment(cases: &[Case<'_>], judged: &[Judged], verdict: Verdict) -> Option<FirstFailure> {
    first_failure(cases, judged).filter(|_| verdict != Verdict::Healthy)
}

fn wanted(cases: &[Case<'_>], judged: &[Judged], first: &FirstFailure) -> Vec<Ask> {
    let Some(case) = cases.first().filter(|case| is_of_this_host(case)) else { return Vec::new() };
    let mut asks = packages::asks();
    asks.push(files::firewall_ask());
    asks.extend(cases.iter().filter_map(files::ask));
    asks.extend(units::asks(case, &peers(cases, judged, first)));
    asks
}

/// Files that were given tell nothing of the host that they are of: even their times are those of copies.
fn is_of_this_host(case: &Case<'_>) -> bool {
    !case.facts.manifest.invocation.offline
}

/// A bundle that was recorded without these asks does not say that nothing changed.
fn unasked(cases: &[Case<'_>], asks: &[Ask]) -> Option<Gap> {
    let facts = cases.first()?.facts;
    let gap = asks.iter().find_map(|ask| match facts.look(ask) {
        Observed::Unknown(gap) if gap.why == GapReason::NotAsked && facts.at(ask).is_none() => Some(gap),
        _ => None,
    })?;
    let says = "what else changed before the first failure: nobody asked when the bundle was recorded";
    Some(Gap { says: says.to_owned(), ..gap })
}

/// The peers of the finding whose first failure it is, each with its gateway; where that is about none, all of them.
fn peers<'c, 'f>(
    cases: &'c [Case<'f>],
    judged: &'c [Judged],
    first: &FirstFailure,
) -> Vec<(&'c Case<'f>, &'c PeerSubject)> {
    let case = &cases[first.gateway];
    let finding = first.finding.map(|at| &judged[first.gateway].findings[at]);
    let addresses: Vec<_> = match finding {
        Some(finding) if finding.peer().is_some() => {
            finding.subjects.iter().filter_map(Subject::peer).map(|peer| &peer.address).collect()
        }
        Some(finding) => {
            let failures = finding.explains.iter().map(|id| case.failure(*id));
            failures.flat_map(Failure::attempts).filter_map(|own| own.peer.as_ref()).collect()
        }
        None => Vec::new(),
    };
    let is_meant = |peer: &&PeerSubject| addresses.is_empty() || addresses.contains(&&peer.address);
    let mut meant: Vec<&PeerSubject> = case.peers.iter().filter(is_meant).collect();
    meant.sort_by(|a, b| a.address.cmp(&b.address));
    meant.dedup_by(|a, b| a.address == b.address);
    meant.into_iter().take(MAX_PEERS).map(|peer| (case, peer)).collect()
}

fn boot(case: &Case<'_>, span: Span) -> Option<Change> {
    let booted = case.facts.host().known()?.booted.filter(|at| span.holds(*at))?;
    Some(Change::new(booted, ChangeKind::Reboot, "the host", "the host booted").told_by("/proc/uptime"))
}

/// One account of each event, the nearest to the failure first.
fn arranged(mut list: Vec<Change>) -> Vec<Change> {
    let of_units: Vec<(Stamp, String)> = list
        .iter()
        .filter(|change| change.kind != ChangeKind::Process)
        .filter_map(|change| Some((change.at, change.unit.clone()?)))
        .collect();
    let is_told = |change: &Change| {
        change.kind == ChangeKind::Process
            && of_units.iter().any(|(at, unit)| {
                change.unit.as_ref() == Some(unit)
                    && at.since(change.at) <= AT_ONCE
                    && change.at.since(*at) <= AT_ONCE
            })
    };
    list.retain(|change| !is_told(change));
    // When a process was started is known to a few milliseconds only.
    let key = |change: &Change| {
        let second = change.at.0.div_euclid(1000);
        (std::cmp::Reverse(second), !change.is_telling, change.kind, change.subject.clone())
    };
    list.sort_by_cached_key(key);
    list.dedup_by(|a, b| a.subject == b.subject && a.says == b.says && b.at.since(a.at) <= AT_ONCE);
    list.truncate(MAX_CHANGES);
    let any_telling = list.iter().any(|change| change.is_telling);
    for change in list.iter_mut().filter(|change| change.is_telling || !any_telling).take(MAX_CHIEF) {
        change.is_chief = true;
    }
    list
}

#[cfg(test)]
mod tests;
