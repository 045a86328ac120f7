//! Every rule on every subject of its scope.

use super::{merge::merge, rank::rank, supersede::supersede};
use crate::case::{Case, Subject};
use crate::cause::{Asks, Cause, Detect, Scope};
use crate::causes::CAUSES;
use crate::finding::{Confidence, Evidence, Finding, Ruling};
use std::panic::{AssertUnwindSafe, catch_unwind};
use why502_facts::{Gap, GapReason, Observed};

/// What the rules say of a case.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// The findings in the order of the report.
    pub(crate) findings: Vec<Finding>,
    /// What is ruled out, and by what.
    pub(crate) ruled_out: Vec<(&'static Cause, Vec<Evidence>)>,
    /// What could not be decided, and for want of what.
    pub(crate) undecided: Vec<(&'static Cause, Vec<Gap>)>,
    /// Rules that crashed: a bug that must not cost the other findings.
    pub(crate) crashed: Vec<&'static str>,
    /// What the rules still want to know.
    pub(crate) wanted: Asks,
}

/// Runs all rules on a case.
pub(crate) fn judge(case: &Case<'_>) -> Judged {
    let mut judged = Judged::default();
    let mut found = Vec::new();
    for cause in CAUSES {
        if let Detect::Alone(detect) = cause.detect {
            for subject in subjects(case, cause.scope) {
                judged.take(case, cause, &mut found, || detect(case, &subject));
            }
        }
    }
    let first = merge(case, found);
    let mut over = Vec::new();
    for cause in CAUSES {
        if let Detect::Over(detect) = cause.detect {
            for subject in subjects(case, cause.scope) {
                judged.take(case, cause, &mut over, || detect(case, &subject, &first));
            }
        }
    }
    let mut findings = supersede(case, first, merge(case, over));
    for finding in &mut findings {
        finding.evidence.extend(case.hops_evidence(&finding.explains));
        if case.may_be_elsewhere() && finding.evidence.iter().any(Evidence::is_seen_from_here) {
            finding.confidence = finding.confidence.min(Confidence::Likely);
        }
    }
    judged.findings = rank(case, findings);
    judged.tidy();
    judged
}

impl Judged {
    fn take(
        &mut self,
        case: &Case<'_>,
        cause: &'static Cause,
        found: &mut Vec<Finding>,
        rule: impl FnOnce() -> Result<Ruling, Asks>,
    ) {
        match catch_unwind(AssertUnwindSafe(rule)) {
            Ok(Ok(Ruling::NoSign)) => {}
            Ok(Ok(Ruling::RuledOut(evidence))) => self.ruled_out.push((cause, evidence)),
            Ok(Ok(Ruling::Found(finding))) => found.push(*finding),
            Ok(Err(asks)) => self.miss(case, cause, asks),
            Err(_) => self.crashed.push(cause.id),
        }
    }

    /// What was not asked for yet is wanted; what cannot be had leaves the cause undecided.
    fn miss(&mut self, case: &Case<'_>, cause: &'static Cause, asks: Asks) {
        let mut gaps = Vec::new();
        for ask in asks {
            match case.facts.look(&ask) {
                Observed::Unknown(gap) if gap.why == GapReason::NotYet => self.wanted.push(ask),
                Observed::Unknown(gap) => gaps.push(gap),
                Observed::Absent | Observed::Known(_) => {}
            }
        }
        if !gaps.is_empty() {
            self.undecided.push((cause, gaps));
        }
    }

    /// One entry per cause; what is found is neither ruled out nor undecided.
    fn tidy(&mut self) {
        let found: Vec<&str> = self
            .findings
            .iter()
            .flat_map(|finding| std::iter::once(finding.cause.id).chain(finding.effects.iter().copied()))
            .collect();
        self.ruled_out.retain(|(cause, _)| !found.contains(&cause.id));
        self.ruled_out.sort_by_key(|(cause, _)| (cause.layer, cause.id));
        self.ruled_out.dedup_by_key(|(cause, _)| cause.id);
        self.undecided.retain(|(cause, _)| !found.contains(&cause.id));
        self.undecided.sort_by(|a, b| (a.0.layer, a.0.id, &a.1).cmp(&(b.0.layer, b.0.id, &b.1)));
        self.undecided.dedup_by_key(|(cause, _)| cause.id);
        self.wanted.sort();
        self.wanted.dedup();
    }
}

/// The subjects of a scope; with a URL those that its request meets.
fn subjects(case: &Case<'_>, scope: Scope) -> Vec<Subject> {
    match scope {
        Scope::Gateway => vec![Subject::Gateway],
        Scope::Group => {
            let groups = case.gateway.groups().map(|(id, _)| id).filter(|id| case.concerns_group(*id));
            groups.map(Subject::Group).collect()
        }
        Scope::Peer => peers(case).collect(),
        Scope::PeerOrGateway => peers(case).chain([Subject::Gateway]).collect(),
        Scope::PeerOrRoute => peers(case).chain(subjects(case, Scope::Route)).collect(),
        Scope::Route => {
            let has_unrouted = case.failures.iter().any(|failure| failure.route.is_none());
            let nowhere = has_unrouted.then_some(Subject::Nowhere);
            let routes = case.gateway.routes().map(|(id, _)| id).filter(|id| case.concerns(*id));
            routes.map(Subject::Route).chain(nowhere).collect()
        }
    }
}

fn peers(case: &Case<'_>) -> impl Iterator<Item = Subject> {
    case.peers.iter().filter(|peer| case.concerns_peer(peer)).cloned().map(Subject::Peer)
}
