//! What a kill for want of memory means, and what to do.

use super::recorded::{events, is_known, limit_kib};
use super::{kill_of, size};
use crate::case::Case;
use crate::causes::services::{Judged, judged_again};
use crate::finding::{Explanation, Finding};
use crate::remedy::{Remedy, Risk};

pub(super) fn explain(case: &Case<'_>, finding: &Finding) -> Explanation {
    let address = finding.address();
    let kill = kill_of(case, finding);
    let title = match kill {
        Some(kill) => {
            let of = if kill.limited_cgroup.is_some() { "its memory limit" } else { "the host's memory" };
            format!("the kernel killed {} (pid {}) behind {address}: {of} was exhausted", kill.comm, kill.pid)
        }
        None => match service_of(case, finding) {
            Some(judged) => {
                format!("{}, which serves {address}, was killed for want of memory", judged.name())
            }
            None if is_known(finding) => format!("a process behind {address} was killed for want of memory"),
            None => format!("a worker behind {address} was killed, perhaps for want of memory"),
        },
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

/// The service that a finding is about, if its supervisor recorded the kill.
fn service_of<'c>(case: &'c Case<'_>, finding: &'c Finding) -> Option<Judged<'c>> {
    judged_again(case, finding).filter(|judged| events(judged).is_some())
}

pub(super) fn remedies(case: &Case<'_>, finding: &Finding) -> Vec<Remedy> {
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
    let service = service_of(case, finding);
    let start = service.as_ref().filter(|_| finding.still_failing == Some(true)).map(|judged| {
        judged
            .started_by(Remedy::new("Start it again", Risk::Review), judged.history.has_given_up())
            .advice("it may be killed again of the same thing")
            .verify(format!("a connection to {} opens", finding.address()))
    });
    let by_kernel = kill.and_then(|kill| Some((kill.limited_cgroup.as_deref()?, kill.limit_kib)));
    let unit = service.as_ref().and_then(|judged| judged.history.unit);
    let by_unit = unit.and_then(|unit| Some((unit.name.as_str(), Some(limit_kib(unit)?))));
    let raise = by_kernel.or(by_unit).map(|(group, limit_kib)| raised(group, limit_kib));
    start.into_iter().chain([find]).chain(raise).collect()
}

/// The remedy that raises the limit of a control group.
fn raised(group: &str, limit_kib: Option<u64>) -> Remedy {
    let limit = limit_kib.map(|kib| format!(" (now {})", size(kib))).unwrap_or_default();
    let unit = group
        .rsplit('/')
        .next()
        .filter(|name| [".service", ".slice"].iter().any(|ending| name.ends_with(ending)));
    let raise = Remedy::new("Raise the limit, if the host has that memory", Risk::Review);
    let raise = match unit {
        Some(unit) => raise
            .command(&["systemctl", "show", "-p", "MemoryMax,MemoryPeak,MemoryCurrent", unit], &[])
            .advice(format!("set a higher MemoryMax= for {unit}{limit}: systemctl edit {unit}")),
        None => raise.advice(format!(
            "give the control group {group} a higher limit of memory{limit}, where it is set: the unit, the container \
             (docker update --memory), the orchestrator"
        )),
    };
    raise.verify("its peak of memory stays below the limit under load")
}
