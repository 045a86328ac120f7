//! The verdict of a report.

use super::run::Judged;
use crate::case::Case;
use crate::finding::{Confidence, Finding};
use crate::report::Verdict;

/// The verdict over all gateways.
pub(crate) fn verdict(cases: &[Case<'_>], judged: &[Judged]) -> Verdict {
    let failed_in_window = cases.iter().any(|case| case.failures.iter().any(|failure| !failure.is_hidden()));
    let hidden_in_window = cases.iter().any(|case| !case.failures.is_empty());
    let findings: Vec<&Finding> = judged.iter().flat_map(|judged| &judged.findings).collect();
    let roots: Vec<&&Finding> =
        findings.iter().filter(|finding| finding.root && finding.confidence >= Confidence::Likely).collect();
    let fails_now = findings.iter().any(|finding| finding.fails_clients_now);
    let all_gone = !roots.is_empty() && roots.iter().all(|root| root.still_failing == Some(false));
    match (failed_in_window || fails_now, roots.is_empty()) {
        (true, true) => Verdict::Inconclusive,
        (true, false) if all_gone && !fails_now => Verdict::Recovered,
        (true, false) => Verdict::Broken,
        (false, false) if all_gone && hidden_in_window => Verdict::Recovered,
        (false, false) => Verdict::AtRisk,
        (false, true) => Verdict::Healthy,
    }
}
