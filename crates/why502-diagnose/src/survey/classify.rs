//! Who made an error, and by what kind of failure: from the messages of the error log, and where that is silent from what
//! the access log tells of the last attempt.

use super::{Family, Maker};
use crate::case::{Case, Failure, Symptom};
use why502_facts::{Errno, ErrorLevel, Outcome, Phase, Phrase};

/// Who made the answer that the client got, or took the blame for it.
pub(super) fn maker(case: &Case<'_>, failure: &Failure) -> Maker {
    if failure.status == Some(499) || is_of_client(failure) {
        return Maker::Client;
    }
    if is_cached(failure) {
        return Maker::Cache;
    }
    let Some(last) = failure.attempts().next_back() else {
        return match failure.last() {
            Some(last) if last.phrase.is_some() => Maker::NoAttempt,
            _ if failure.tries_logged || is_limited(failure) => Maker::NoAttempt,
            _ => Maker::NotTold,
        };
    };
    if last.answered() {
        return Maker::Upstream;
    }
    if last.phrase.is_some_and(|phrase| !is_beside(phrase)) {
        return Maker::Gateway;
    }
    match &last.tried {
        // nginx writes only 502 and 504 (and nothing) into the state of an attempt by itself.
        Some(tried) => match tried.status {
            // A header that came has a time, where the format has it.
            Some(502 | 504) | None if last.logged.header => Maker::Gateway,
            Some(502 | 504) | None if case.error_log_covers(failure) => Maker::Upstream,
            Some(502 | 504) | None => Maker::NotTold,
            Some(_) => Maker::Upstream,
        },
        None => Maker::NotTold,
    }
}

/// The kind of a failure.
pub(super) fn family(failure: &Failure, maker: Maker) -> Family {
    let is_own_file = failure.last().is_some_and(|last| last.phrase == Some(Phrase::FileOperationFailed));
    if failure.outcome == Outcome::Truncated && !is_own_file {
        return Family::CutOff;
    }
    match maker {
        Maker::Client => return Family::ClientLeft,
        Maker::Cache => return Family::Cached,
        Maker::Upstream => return Family::UpstreamAnswer,
        Maker::Gateway | Maker::NoAttempt | Maker::NotTold => {}
    }
    if is_limited(failure) {
        return Family::Limited;
    }
    match failure.last() {
        Some(last) => {
            last.phrase.and_then(|phrase| by_phrase(phrase, last)).unwrap_or_else(|| by_times(failure, last))
        }
        None if maker == Maker::NoAttempt => Family::OwnAnswer,
        None => Family::NotTold,
    }
}

/// What a message says, if it is about what failed.
fn by_phrase(phrase: Phrase, symptom: &Symptom) -> Option<Family> {
    Some(match phrase {
        Phrase::ConnectFailed | Phrase::ConnectToFailed => match symptom.errno {
            Some(Errno::ConnectionRefused) => Family::Refused,
            Some(Errno::TimedOut) => Family::ConnectTimedOut,
            Some(Errno::ConnectionReset) => Family::Reset,
            _ => Family::ConnectFailed,
        },
        Phrase::UpstreamTimedOut => match symptom.phase {
            Some(Phase::Connecting | Phase::TlsHandshake) => Family::ConnectTimedOut,
            Some(Phase::SendingRequest) => Family::SendTimedOut,
            Some(Phase::ReadingBody | Phase::SendingToClient | Phase::Upgraded | Phase::Forwarding) => {
                Family::CutOff
            }
            _ => Family::AnswerTimedOut,
        },
        Phrase::PrematureClose
        | Phrase::FastCgiClosedEarly
        | Phrase::Http2Goaway
        | Phrase::Http2Rejected
        | Phrase::Http2StreamClosedEarly => Family::Closed,
        Phrase::ReceiveFailed | Phrase::SendFailed => Family::Reset,
        Phrase::TooBigHeader => Family::HeaderTooBig,
        Phrase::InvalidHeader
        | Phrase::InvalidStatus
        | Phrase::InvalidTrailer
        | Phrase::NoValidHttpHeader
        | Phrase::InvalidChunkedResponse
        | Phrase::FastCgiInvalid
        | Phrase::MemcachedInvalid
        | Phrase::MoreDataThanAnnounced
        | Phrase::Http2Violation
        | Phrase::Http2TooLargeFrame => Family::AnswerInvalid,
        Phrase::TlsSetupFailed
        | Phrase::TlsHandshakeFailed
        | Phrase::TlsNameMismatch
        | Phrase::TlsPeerClosed
        | Phrase::TlsTransferFailed
        | Phrase::TlsVerifyFailed => Family::TlsFailed,
        Phrase::NoLiveUpstreams => Family::NoPeerLeft,
        Phrase::NameNotResolved
        | Phrase::NoResolver
        | Phrase::NoPortInUpstream
        | Phrase::InvalidUrlPrefix
        | Phrase::DnsTrouble => Family::NoTarget,
        Phrase::LimitingConnections | Phrase::LimitingRequests => Family::Limited,
        Phrase::WorkerConnections => Family::OutOfConnections,
        Phrase::SocketFailed | Phrase::FileOperationFailed
            if matches!(symptom.errno, Some(Errno::TooManyFiles | Errno::TooManyFilesInSystem)) =>
        {
            Family::OutOfFiles
        }
        Phrase::FileOperationFailed
            if matches!(symptom.errno, Some(Errno::NoSpace | Errno::QuotaExceeded)) =>
        {
            Family::DiskFull
        }
        Phrase::FileOperationFailed if symptom.level < Some(ErrorLevel::Error) => Family::FileNotWritable,
        Phrase::BindFailed
        | Phrase::SocketFailed
        | Phrase::SocketOptionFailed
        | Phrase::FileLimit
        | Phrase::FileOperationFailed
        | Phrase::MemoryExhausted
        | Phrase::SharedMemoryFull
        | Phrase::RefusedLocally
        | Phrase::GatewayFault
        | Phrase::RequestNotBuilt => Family::LocalTrouble,
        Phrase::AuthRequestUnexpectedStatus | Phrase::NamedLocationMissing | Phrase::RedirectCycle => {
            Family::OwnAnswer
        }
        _ => return None,
    })
}

/// Without a message: how far the last attempt came (reference, section 4.2, rule 2).
fn by_times(failure: &Failure, last: &Symptom) -> Family {
    let Some(tried) = last.tried.as_ref() else {
        return if last.group.is_some() { Family::NoPeerLeft } else { Family::NotTold };
    };
    if last.group.is_some() {
        return Family::NoPeerLeft;
    }
    match (tried.status.or(failure.status), tried.connect_ms.is_some(), last.logged.connect) {
        (Some(504), true, _) => Family::AnswerTimedOut,
        (Some(504), false, true) => Family::ConnectTimedOut,
        (Some(502), true, _) => Family::NoUsableAnswer,
        (Some(502), false, true) => Family::ConnectFailed,
        _ => Family::NotTold,
    }
}

/// Lines that stand beside the one that tells what happened.
fn is_beside(phrase: Phrase) -> bool {
    matches!(phrase, Phrase::ServerTemporarilyDisabled | Phrase::FastCgiStderr | Phrase::BufferedToFile)
}

fn is_limited(failure: &Failure) -> bool {
    failure.limit_status.as_deref() == Some("REJECTED")
        || failure
            .symptoms
            .iter()
            .any(|symptom| symptom.is(Phrase::LimitingConnections) || symptom.is(Phrase::LimitingRequests))
}

fn is_of_client(failure: &Failure) -> bool {
    let says = |phrase| failure.symptoms.iter().any(|symptom| symptom.phrase == Some(phrase));
    failure.attempts().next().is_none()
        && (says(Phrase::ClientClosed)
            || says(Phrase::ClientTimedOut)
            || says(Phrase::ClientRequestInvalid)
            || says(Phrase::ClientBodyTooLarge))
}

fn is_cached(failure: &Failure) -> bool {
    matches!(failure.cache_status.as_deref(), Some("HIT" | "STALE" | "UPDATING" | "REVALIDATED"))
        && failure.attempts().next().is_none()
}
