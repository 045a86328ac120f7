//! Gaps, as a report tells them.

use super::{GapInfo, GapWhy};
use crate::case::{Case, LogTopic, PeerSubject};
use crate::finding::Open;
use std::collections::BTreeSet;
use why502_facts::{Ask, Facts, Gap, GapReason, Observed};
use why502_model::{LogTarget, Span};

/// A gap as a report tells it.
pub(super) fn gap_info(gap: &Gap) -> GapInfo {
    GapInfo { topic: gap.ask.topic().to_owned(), why: why(gap.why), says: gap.says.clone() }
}

/// What would make a finding certain.
pub(super) fn open_info(open: &Open) -> GapInfo {
    let mut info = gap_info(&open.gap);
    info.says = format!("{}: {}", open.says, open.gap.says);
    info
}

/// Everything that could not be looked at, once per topic and wording, with gaps that no fact of its own tells.
pub(super) fn gaps(facts: &Facts, cases: &[Case<'_>], further: &[Gap]) -> Vec<GapInfo> {
    let mut gaps: BTreeSet<GapInfo> = further.iter().map(gap_info).collect();
    for (ask, answer) in facts.iter() {
        if let Observed::Unknown(gap) = answer
            && is_worth_telling(ask)
        {
            gaps.insert(gap_info(gap));
        }
    }
    for (ask, answer) in facts.iter() {
        if let (Ask::Log(slice), Observed::Absent) = (ask, answer) {
            let says = format!("{} is not there", slice.path);
            gaps.insert(GapInfo { topic: ask.topic().to_owned(), why: GapWhy::Failed, says });
        }
    }
    for (slice, coverage) in cases.iter().flat_map(Case::log_coverages) {
        if coverage.n_lines > 0 && coverage.n_lines == coverage.n_unparsed {
            let says = format!("no line of {} can be read as one of such a log", slice.path);
            let topic = Ask::Log(slice.clone()).topic().to_owned();
            gaps.insert(GapInfo { topic, why: GapWhy::Unsupported, says });
        }
    }
    for case in cases {
        gaps.extend(case.gateway.unread.iter().map(gap_info));
        gaps.extend(case.silent_peers().map(silence_info));
        gaps.extend(
            case.unreadable_sinks().into_iter().map(|(topic, target, at)| sink_info(topic, target, at)),
        );
    }
    gaps.into_iter().collect()
}

/// A peer that takes a request and is silent may be slow, or ill.
fn silence_info(peer: &PeerSubject) -> GapInfo {
    let says =
        format!("whether {} answers: it took a request and was silent as long as was waited", peer.address);
    GapInfo { topic: "probe".to_owned(), why: GapWhy::TimedOut, says }
}

/// What the configuration keeps from everybody who would read a log.
fn sink_info(topic: LogTopic, target: &LogTarget, at: Option<&Span>) -> GapInfo {
    let (LogTarget::File(text) | LogTarget::Elsewhere(text)) = target;
    let directive = topic.directive();
    let place = at.map(|at| format!(" ({}:{})", at.file, at.line)).unwrap_or_default();
    let says = match text.as_str() {
        "off" | "/dev/null" => format!("{directive} {text}{place}: no request is told there"),
        _ => format!("{directive} {text}{place}: it cannot be read here"),
    };
    GapInfo { topic: topic.name().to_owned(), why: GapWhy::Unsupported, says }
}

/// The end of a log is only a means to its window, which has its own gap.
fn is_worth_telling(ask: &Ask) -> bool {
    !matches!(ask, Ask::LogTail { .. })
}

/// A bundle holds no ask that was not asked; if one is looked up, it was not recorded.
fn why(reason: GapReason) -> GapWhy {
    match reason {
        GapReason::Denied => GapWhy::Denied,
        GapReason::Failed => GapWhy::Failed,
        GapReason::NotAsked | GapReason::NotYet => GapWhy::NotAsked,
        GapReason::TimedOut => GapWhy::TimedOut,
        GapReason::Unsupported => GapWhy::Unsupported,
    }
}
