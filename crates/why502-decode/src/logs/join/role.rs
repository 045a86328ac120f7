//! What a line of the error log is in the story of a request.

use crate::logs::status::implied_status;
use why502_facts::{ErrorRecord, LogClock, Phase, Phrase, RequestMessage, Stamp};

/// What a line tells of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It goes with another line, and fails nothing by itself.
    Aside,
    /// It ends an attempt.
    Attempt,
    /// It ends a response whose header was sent.
    Body,
    /// It ends the request.
    Request,
}

/// A line about a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'d> {
    pub(super) record: &'d ErrorRecord,
    pub(super) at: Stamp,
    pub(super) role: Role,
    pub(super) implied: Option<u16>,
}

impl<'d> Line<'d> {
    /// The line, unless it is about no request of a client.
    pub(super) fn new(record: &'d ErrorRecord, clock: LogClock) -> Option<Self> {
        record.context.client.as_ref()?;
        record.context.request.as_ref()?;
        let at = record.at.at_offset(clock.offset_seconds);
        Some(Self { record, at, role: role(record), implied: implied_status(record) })
    }

    pub(super) fn peer(&self) -> Option<&'d str> {
        self.record.context.upstream.as_ref().map(|upstream| &*upstream.peer)
    }

    /// Whether it is about a subrequest: authorisation, a mirror, a part of a page.
    pub(super) fn is_of_subrequest(&self) -> bool {
        self.record.context.subrequest.is_some()
    }

    /// Whether nothing of the same selection of peers can follow.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.record.phrase, Phrase::NoLiveUpstreams | Phrase::ClientClosed)
            || self.role == Role::Request
    }

    pub(super) fn message(&self) -> RequestMessage {
        let ErrorRecord { phrase, detail, errno, phase, level, pid, line, .. } = self.record;
        RequestMessage {
            phrase: *phrase,
            detail: detail.clone(),
            errno: *errno,
            phase: *phase,
            level: *level,
            pid: *pid,
            line: line.clone(),
        }
    }
}

fn role(record: &ErrorRecord) -> Role {
    match record.phrase {
        Phrase::BufferedToFile
        | Phrase::CacheTrouble
        | Phrase::FastCgiStderr
        | Phrase::HealthCheck
        | Phrase::LimitDryRun
        | Phrase::LimitingRequestsDelayed
        | Phrase::LogLinesDropped
        | Phrase::MoreDataThanAnnounced
        | Phrase::ScriptMessage
        | Phrase::ServerTemporarilyDisabled
        | Phrase::Unrecognised
        | Phrase::VariableUninitialised
        | Phrase::WorkerConnectionsLow => Role::Aside,
        _ if record.context.upstream.is_none() => Role::Request,
        _ => match record.phase {
            Some(Phase::Connecting | Phase::TlsHandshake | Phase::SendingRequest | Phase::ReadingHeader) => {
                Role::Attempt
            }
            Some(Phase::ReadingBody | Phase::Upgraded) => Role::Body,
            // After the end of an attempt its upstream is still printed.
            _ => Role::Request,
        },
    }
}
