//! Which lines become records.

use why502_facts::{Errno, ErrorLevel, Phase, Phrase};

/// What a line is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It tells of a failed attempt or request: one record each, as long as there is room.
    Failure,
    /// It goes with a failure or tells of the gateway's life: one record each, in a room of its own, so that a flood of
    /// them costs no failure its record.
    Aside,
    /// It matters as one of many: the first ones stay, the rest is counted.
    Summary,
    /// It is counted with its level only.
    Nothing,
}

/// What an error-log line is worth.
pub(super) fn of_error_line(
    phrase: Phrase,
    phase: Option<Phase>,
    level: ErrorLevel,
    errno: Option<Errno>,
) -> Worth {
    match phrase {
        Phrase::Noise => Worth::Nothing,
        Phrase::FastCgiStderr
        | Phrase::HealthCheck
        | Phrase::ProcessEvent
        | Phrase::ScriptMessage
        | Phrase::ConfigurationRefused => Worth::Aside,
        Phrase::BufferedToFile
        | Phrase::CacheTrouble
        | Phrase::ClientBodyTooLarge
        | Phrase::ClientRequestInvalid
        | Phrase::ClientTimedOut
        | Phrase::ConfigurationWarning
        | Phrase::IdleTimeout
        | Phrase::LimitDryRun
        | Phrase::LimitingRequestsDelayed
        | Phrase::LogLinesDropped
        | Phrase::MoreDataThanAnnounced
        | Phrase::RefusedLocally
        | Phrase::VariableUninitialised
        | Phrase::WorkerConnectionsLow => Worth::Summary,
        // Static files that are not there: every scanner makes hundreds of these.
        Phrase::FileOperationFailed
            if level >= ErrorLevel::Error
                && matches!(errno, Some(Errno::NoEntry | Errno::NotDirectory | Errno::IsDirectory)) =>
        {
            Worth::Summary
        }
        Phrase::Unrecognised => {
            if level > ErrorLevel::Warn {
                Worth::Nothing
            } else {
                Worth::Summary
            }
        }
        // A client that leaves between two requests fails nothing.
        Phrase::ClientClosed if phase == Some(Phase::ClientSide) => Worth::Nothing,
        Phrase::ReceiveFailed
        | Phrase::SendFailed
        | Phrase::TlsHandshakeFailed
        | Phrase::TlsPeerClosed
        | Phrase::TlsTransferFailed
            if matches!(phase, Some(Phase::ClientSide | Phase::SendingToClient)) =>
        {
            Worth::Summary
        }
        _ => Worth::Failure,
    }
}

/// What an access-log line is worth, by its status and whether an attempt failed or a limit refused it.
pub(super) fn of_access_line(status: u16, trouble: Trouble) -> Worth {
    match (status, trouble) {
        (0 | 9 | 499 | 500.., _) | (_, Trouble::Some) => Worth::Failure,
        // Sessions of upgraded connections: their lengths tell whether a timer cuts them.
        (101, Trouble::None) => Worth::Aside,
        (400..500, Trouble::None) => Worth::Summary,
        _ => Worth::Nothing,
    }
}

/// Whether anything but the status tells that a request did not go as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    Some,
}
