//! The order of the findings: integers only, and total.

use crate::case::{Case, Subject};
use crate::finding::{Confidence, Finding};
use std::cmp::Reverse;

/// Orders findings: first that the gateway itself serves nobody; those of the given URL; roots; `possible` last; decimal magnitude of the requests explained;
/// confidence; requests; id.
pub(super) fn rank(case: &Case<'_>, mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_cached_key(|finding| {
        let requests = case.n_requests(&finding.explains);
        let is_gateway_gone = finding.fails_clients_now && finding.subjects.contains(&Subject::Gateway);
        (
            Reverse(is_gateway_gone),
            Reverse(is_asked(case, finding)),
            Reverse(finding.root),
            finding.confidence == Confidence::Possible,
            Reverse(magnitude(requests)),
            Reverse(finding.confidence),
            Reverse(requests),
            finding.cause.id,
            finding.subjects.clone(),
        )
    });
    findings
}

fn is_asked(case: &Case<'_>, finding: &Finding) -> bool {
    let Some((asked, _)) = case.asked_route() else { return false };
    finding.subjects.iter().any(|subject| match subject {
        Subject::Gateway => true,
        Subject::Group(group) => case.pass_of(asked, Some(*group)).is_some(),
        Subject::Nowhere => false,
        Subject::Peer(peer) => peer.is_of(asked),
        Subject::Route(route) => *route == asked,
    })
}

/// The number of decimal digits: 0 for none, 1 for 1–9, 2 for 10–99, ….
pub(super) fn magnitude(requests: u64) -> u32 {
    requests.checked_ilog10().map_or(0, |digits| digits + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_are_decimal_digits() {
        assert_eq!([0, 1, 9, 10, 99, 100].map(magnitude), [0, 1, 1, 2, 2, 3]);
    }
}
