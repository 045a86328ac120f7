//! The verdict of a report.

use super::run::Judged;
use crate::case::{Case, FailureId};
use crate::finding::{Confidence, Finding};
use crate::report::Verdict;
use std::collections::BTreeSet;

/// How many requests of the window failed: connections that were closed before one was read, those that are failures
/// whatever made them, and those that a likely cause makes failures.
pub(crate) fn n_failed(case: &Case<'_>, judged: &Judged) -> u64 {
    let likely = judged.findings.iter().filter(|finding| finding.confidence >= Confidence::Likely);
    let explained: BTreeSet<FailureId> =
        likely.flat_map(|finding| finding.explains.iter().copied()).collect();
    let failed = case
        .failures()
        .filter(|(id, failure)| case.counts(*id) || (explained.contains(id) && !failure.is_hidden()));
    let dropped = case.dropped.iter().map(|record| record.weight);
    failed.map(|(_, failure)| failure.weight).chain(dropped).sum()
}

/// Whether nobody can say that nothing fails: there are logs, and not one line of them could be read, or the time was up
/// before one of them was, or nobody was allowed to read any, or on this host a part of the configuration could not be
/// read, or there is no log of requests at all and no peer answered one, or a peer left a request without an answer that
/// the logs know no other of.
fn is_blind(case: &Case<'_>) -> bool {
    let is_unseen =
        !case.facts.manifest.invocation.offline && !case.has_read_log() && !case.has_answered_probe();
    if case.has_unread_log()
        || case.has_unread_config()
        || (is_unseen && case.passes_anything())
        || case.silent_peers().next().is_some()
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
        // What failed then was hidden from clients, or was written into no log: a worker that crashed.
        (false, false) if all_gone => Verdict::Recovered,
        (false, false) => Verdict::AtRisk,
        (false, true) if cases.iter().any(is_blind) => Verdict::Inconclusive,
        (false, true) => Verdict::Healthy,
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture::Fixture;

    const QUIET: &str = r"
#- nginx.conf
events {}
http {
    server { listen 80; server_name a; location / { proxy_pass http://127.0.0.1:3000; } }
}
#- error.log
#- access.log
#- listeners
127.0.0.1:3000 node
#- probe 127.0.0.1:3000
answers
HTTP/1.1 200 OK

";

    #[test]
    fn what_nobody_could_read_is_not_well() {
        let quiet = Fixture::new(QUIET);
        assert_eq!(quiet.summary(), "Healthy\n");
        assert_eq!(quiet.without("access.log").summary(), "Healthy\n", "one log tells of requests");
        // The logs that the binary was built with are quiet, and the configuration may name others.
        assert_eq!(quiet.without("nginx.conf").summary(), "Inconclusive\n");
        // The peer answers, and what nginx makes of its answers nobody could see.
        let offline = |name: &str, text: &str| {
            Fixture::new(&format!("#- {name}\n{text}\n#- options\noffline\n")).summary()
        };
        assert_eq!(offline("access.log", "\u{1}\u{2}\u{3}\nno log at all\n\u{4}"), "Inconclusive\n");
        let dropped = "2026/11/21 02:28:30 [alert] 1#1: 1024 worker_connections are not enough";
        assert!(offline("error.log", dropped).starts_with("Broken\nConfirmed gateway-worker-connections"));
        let unread = quiet.without("access.log").without("error.log");
        assert_eq!(unread.with("options", "url=http://a/").summary(), "Inconclusive\n");
    }
}
