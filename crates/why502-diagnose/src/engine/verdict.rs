//! The verdict of a report.

use super::run::Judged;
use crate::case::{Case, FailureId};
use crate::finding::{Confidence, Finding};
use crate::report::Verdict;
use std::collections::BTreeSet;

/// How many requests of the window failed: those that are failures whatever made them, and those that a likely cause
/// makes failures.
pub(crate) fn n_failed(case: &Case<'_>, judged: &Judged) -> u64 {
    let likely = judged.findings.iter().filter(|finding| finding.confidence >= Confidence::Likely);
    let explained: BTreeSet<FailureId> =
        likely.flat_map(|finding| finding.explains.iter().copied()).collect();
    let failed = case
        .failures()
        .filter(|(id, failure)| case.counts(*id) || (explained.contains(id) && !failure.is_hidden()));
    failed.map(|(_, failure)| failure.weight).sum()
}

/// Whether nobody can say that nothing fails: there are logs, and not one line of them could be read, or the time was up
/// before one of them was, or on this host there is no log of requests at all and no peer answered one, or a peer left a
/// request without an answer that the logs know no other of.
fn is_blind(case: &Case<'_>) -> bool {
    let is_unseen =
        !case.facts.manifest.invocation.offline && !case.has_read_log() && !case.has_answered_probe();
    if case.has_unread_log() || (is_unseen && case.passes_anything()) || case.silent_peers().next().is_some()
    {
        return true;
    }
    let mut any = false;
    for coverage in case.log_coverages().map(|(_, coverage)| coverage) {
        if coverage.n_lines > coverage.n_unparsed {
            return false;
        }
        any |= coverage.n_lines > 0;
    }
    any
}

/// Whether a finding is known by requests, and none of their clients noticed: a retry, a fallback or an old answer helps.
fn is_hidden(case: &Case<'_>, finding: &Finding) -> bool {
    !finding.explains.is_empty() && finding.explains.iter().all(|id| case.failure(*id).is_hidden())
}

/// The verdict over all gateways.
pub(crate) fn verdict(cases: &[Case<'_>], judged: &[Judged]) -> Verdict {
    let failed_in_window = cases.iter().zip(judged).any(|(case, judged)| n_failed(case, judged) > 0);
    let hidden_in_window = cases.iter().any(|case| !case.failures.is_empty());
    let findings: Vec<&Finding> = judged.iter().flat_map(|judged| &judged.findings).collect();
    let roots: Vec<&&Finding> =
        findings.iter().filter(|finding| finding.root && finding.confidence >= Confidence::Likely).collect();
    let fails_now = cases.iter().zip(judged).any(|(case, judged)| {
        judged.findings.iter().any(|finding| finding.fails_clients_now && !is_hidden(case, finding))
    });
    let all_gone = !roots.is_empty() && roots.iter().all(|root| root.still_failing == Some(false));
    match (failed_in_window || fails_now, roots.is_empty()) {
        (true, true) => Verdict::Inconclusive,
        (true, false) if all_gone && !fails_now => Verdict::Recovered,
        (true, false) => Verdict::Broken,
        (false, false) if all_gone && hidden_in_window => Verdict::Recovered,
        (false, false) => Verdict::AtRisk,
        (false, true) if cases.iter().any(is_blind) => Verdict::Inconclusive,
        (false, true) => Verdict::Healthy,
    }
}
