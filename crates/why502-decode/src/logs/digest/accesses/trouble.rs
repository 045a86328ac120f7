//! What of a line tells that a request did not go as it should, whatever its status.

use crate::logs::digest::worth::Trouble;
use crate::logs::format::{AccessFormat, AccessLine, Field};
use memchr::memmem;

/// Whether a request is one of this program's: `why502/VERSION (probe)` or `(replay)`.
pub(super) fn is_own(parsed: &AccessLine<'_>) -> bool {
    parsed.raw(Field::UserAgent).is_some_and(|agent| {
        agent.starts_with(b"why502/") && (agent.ends_with(b" (probe)") || agent.ends_with(b" (replay)"))
    })
}

/// Whether lines of a format can tell that an attempt failed, or that a limit refused the request.
pub(super) fn tells_trouble(format: &AccessFormat) -> bool {
    format.has_upstream() || format.has(Field::LimitReqStatus) || format.has(Field::LimitConnStatus)
}

/// Whether an attempt failed, was repeated, or a limit refused the request.
pub(super) fn trouble(parsed: &AccessLine<'_>) -> Trouble {
    let limits = [Field::LimitReqStatus, Field::LimitConnStatus];
    let rejected = limits.iter().any(|&field| parsed.raw(field) == Some(b"REJECTED"));
    if rejected || attempts_failed(parsed) { Trouble::Some } else { Trouble::None }
}

fn attempts_failed(parsed: &AccessLine<'_>) -> bool {
    let Some(statuses) = parsed.raw(Field::UpstreamStatus) else {
        // More than one peer of one selection: the first one failed.
        return parsed.raw(Field::UpstreamAddr).is_some_and(|peers| memmem::find(peers, b", ").is_some());
    };
    match statuses {
        // The one attempt was answered.
        [b'1'..=b'4', _, _] => false,
        b"" | b"-" => parsed.any_attempt(),
        _ => {
            let failed = |status: &[u8]| matches!(status, b"" | b"-" | [b'5', _, _]);
            memmem::find(statuses, b", ").is_some() || statuses.split(|&byte| byte == b' ').any(failed)
        }
    }
}
