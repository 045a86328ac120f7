//! The status that a message leads to, where no access log tells it.
//!
//! `ngx_http_upstream_next` is the one place that turns a failed attempt into a status: a timeout is 504, a response's own
//! status stays, everything else is 502. `ngx_http_upstream_finalize_request` is called with 500 for whatever fails inside
//! the gateway. Once the header is sent, neither can change what the client got.

use why502_facts::{Errno, ErrorLevel, ErrorRecord, Phase, Phrase};

/// The status that the client gets if nothing comes after this message: no retry, no `error_page`, no stale answer.
///
/// `None` where the message decides nothing: a warning, a text of the application, a failure after the header was sent, or
/// one of a subrequest. 9 is what an access log writes for HTTP/0.9.
pub fn implied_status(record: &ErrorRecord) -> Option<u16> {
    let is_stream = record.context.upstream.as_ref().is_some_and(|upstream| upstream.scheme.is_empty());
    if is_stream || record.context.client.is_none() || record.context.subrequest.is_some() {
        return None;
    }
    match record.phase {
        // The header is sent: `u->header_sent`.
        Some(Phase::ReadingBody | Phase::Upgraded | Phase::Forwarding | Phase::Resolving) => None,
        // After the attempts are over only redirects and subrequests are decided (`ngx_http_upstream_finalize_request`
        // sets this action first).
        Some(Phase::SendingToClient) => of_request(record.phrase),
        Some(Phase::ClientSide) => of_client(record.phrase),
        _ => of_attempt(record.phrase)
            .or_else(|| of_request(record.phrase))
            .or_else(|| client_left(record))
            .or_else(|| of_client(record.phrase))
            .or_else(|| refused(record)),
    }
}

/// Failures of an attempt: `ngx_http_upstream_next` and what returns `NGX_ERROR` to `ngx_http_upstream_connect`.
fn of_attempt(phrase: Phrase) -> Option<u16> {
    Some(match phrase {
        Phrase::UpstreamTimedOut => 504,
        Phrase::ConnectFailed
        | Phrase::ConnectToFailed
        | Phrase::FastCgiClosedEarly
        | Phrase::FastCgiInvalid
        | Phrase::Http2Goaway
        | Phrase::Http2Rejected
        | Phrase::Http2StreamClosedEarly
        | Phrase::Http2TooLargeFrame
        | Phrase::Http2Violation
        | Phrase::InvalidHeader
        | Phrase::InvalidStatus
        | Phrase::MemcachedInvalid
        | Phrase::NoLiveUpstreams
        | Phrase::PrematureClose
        | Phrase::PrematurelySentResponse
        | Phrase::ReceiveFailed
        | Phrase::SendFailed
        | Phrase::TlsHandshakeFailed
        | Phrase::TlsNameMismatch
        | Phrase::TlsPeerClosed
        | Phrase::TlsTransferFailed
        | Phrase::TlsVerifyFailed
        | Phrase::TooBigHeader => 502,
        // `ngx_event_connect_peer` returns NGX_ERROR, `ngx_http_upstream_ssl_init_connection` likewise.
        Phrase::BindFailed
        | Phrase::SocketFailed
        | Phrase::SocketOptionFailed
        | Phrase::TlsSetupFailed
        | Phrase::WorkerConnections => 500,
        // `ngx_http_proxy_process_status_line`: passed on as HTTP/0.9.
        Phrase::NoValidHttpHeader => 9,
        _ => return None,
    })
}

/// Failures of the request as a whole.
fn of_request(phrase: Phrase) -> Option<u16> {
    Some(match phrase {
        // `ngx_http_upstream_init_request` and `…_resolve_handler` finalize with 502, a timeout of DNS included.
        Phrase::NameNotResolved | Phrase::NoResolver => 502,
        Phrase::AuthRequestUnexpectedStatus
        | Phrase::CacheZoneFull
        | Phrase::CacheZoneUnknown
        | Phrase::GatewayFault
        | Phrase::InvalidUpstreamValue
        | Phrase::InvalidUrlPrefix
        | Phrase::MemoryExhausted
        | Phrase::NamedLocationMissing
        | Phrase::NoPortInUpstream
        | Phrase::RedirectCycle
        | Phrase::RequestNotBuilt
        | Phrase::ScriptFailed
        | Phrase::SubrequestTrouble
        | Phrase::VariableTrouble => 500,
        // `limit_req_status` and `limit_conn_status` may say otherwise.
        Phrase::LimitingConnections | Phrase::LimitingRequests => 503,
        _ => return None,
    })
}

/// `ngx_http_upstream_check_broken_connection` ends in 499; a client that leaves while it still sends its body gets 400.
fn client_left(record: &ErrorRecord) -> Option<u16> {
    (record.phrase == Phrase::ClientClosed).then(|| if record.phase.is_some() { 499 } else { 400 })
}

/// What the gateway's own rules and files say: `ngx_http_access_module`, `ngx_http_auth_basic_module`,
/// `ngx_http_static_handler` (which logs what is critical where it answers 500).
fn refused(record: &ErrorRecord) -> Option<u16> {
    let detail = record.detail.as_deref().unwrap_or_default();
    Some(match (record.phrase, record.errno) {
        (Phrase::RefusedLocally, _) if detail.starts_with("user ") || detail.starts_with("no user") => 401,
        (Phrase::RefusedLocally, _) if detail == "no handler found" => 404,
        (Phrase::FileOperationFailed, _) if record.level < ErrorLevel::Error => 500,
        (Phrase::FileOperationFailed, Some(Errno::NoEntry | Errno::NotDirectory)) => 404,
        (Phrase::RefusedLocally, _) | (Phrase::FileOperationFailed, Some(Errno::AccessDenied)) => 403,
        _ => return None,
    })
}

/// What the client itself did.
fn of_client(phrase: Phrase) -> Option<u16> {
    Some(match phrase {
        Phrase::ClientRequestInvalid => 400,
        Phrase::ClientTimedOut => 408,
        Phrase::ClientBodyTooLarge => 413,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use why502_facts::{Civil, ErrorContext, LineRef, UpstreamField};

    fn record(phrase: Phrase, phase: Option<Phase>) -> ErrorRecord {
        let upstream = UpstreamField { scheme: "http".into(), peer: "127.0.0.1:1".into(), path: None };
        ErrorRecord {
            at: Civil(0),
            level: ErrorLevel::Error,
            pid: 1,
            connection: Some(1),
            phrase,
            detail: None,
            errno: None,
            phase,
            context: ErrorContext {
                client: Some("::1".into()),
                upstream: Some(upstream),
                ..ErrorContext::default()
            },
            route: None,
            line: LineRef { file: Arc::from("e"), offset: 0, text: None },
            weight: 1,
        }
    }

    /// The rows that V22, V28 and V31 were seen to answer (`nginx-errors.md`, sections 0 and 4.2).
    #[test]
    fn measured_statuses_are_derived() {
        let cases = [
            (Phrase::ConnectFailed, Some(Phase::Connecting), Some(502)),
            (Phrase::UpstreamTimedOut, Some(Phase::Connecting), Some(504)),
            (Phrase::UpstreamTimedOut, Some(Phase::TlsHandshake), Some(504)),
            (Phrase::UpstreamTimedOut, Some(Phase::ReadingHeader), Some(504)),
            (Phrase::UpstreamTimedOut, Some(Phase::ReadingBody), None),
            (Phrase::UpstreamTimedOut, Some(Phase::Upgraded), None),
            (Phrase::PrematureClose, Some(Phase::ReadingHeader), Some(502)),
            (Phrase::PrematureClose, Some(Phase::ReadingBody), None),
            (Phrase::BindFailed, Some(Phase::Connecting), Some(500)),
            (Phrase::WorkerConnections, Some(Phase::Connecting), Some(500)),
            (Phrase::NoValidHttpHeader, Some(Phase::ReadingHeader), Some(9)),
            (Phrase::NameNotResolved, None, Some(502)),
            (Phrase::InvalidUpstreamValue, None, Some(500)),
            (Phrase::AuthRequestUnexpectedStatus, Some(Phase::SendingToClient), Some(500)),
            (Phrase::NamedLocationMissing, Some(Phase::SendingToClient), Some(500)),
            (Phrase::LimitingRequests, None, Some(503)),
            (Phrase::ClientClosed, Some(Phase::SendingRequest), Some(499)),
            (Phrase::ClientClosed, None, Some(400)),
            (Phrase::FastCgiStderr, Some(Phase::ReadingHeader), None),
            (Phrase::ServerTemporarilyDisabled, Some(Phase::Connecting), None),
        ];
        for (phrase, phase, status) in cases {
            assert_eq!(implied_status(&record(phrase, phase)), status, "{phrase:?} {phase:?}");
        }
    }

    #[test]
    fn what_is_no_request_of_a_client_has_no_status() {
        let mut subrequest = record(Phrase::ConnectFailed, Some(Phase::Connecting));
        subrequest.context.subrequest = Some("/m".into());
        assert_eq!(implied_status(&subrequest), None);
        let mut background = record(Phrase::NameNotResolved, None);
        background.context = ErrorContext::default();
        assert_eq!(implied_status(&background), None);
    }
}
