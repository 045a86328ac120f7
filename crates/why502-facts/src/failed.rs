//! Failed requests: error-log and access-log lines of one request, joined.

use crate::{Errno, ErrorLevel, LineRef, PeerAddress, Phase, Phrase, RequestLine, Stamp, Try};
use std::sync::Arc;

/// A client's request that failed, or that a retry, a fallback or a stale answer saved.
///
/// It is joined from the error-log lines and the access-log line of one request; where one of the logs does not tell,
/// it stands on the other alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRequest {
    /// When it ended: the access log's stamp, else the last error line's.
    pub at: Stamp,
    /// The status sent to the client, if an access log tells it; 0 where none was sent.
    pub status: Option<u16>,
    /// The status that the failure makes by itself, where no access log tells (reference, section 0).
    pub derived_status: Option<u16>,
    /// Whether the client did not notice: its status is below 500 and neither 499 nor 0, and the answer was whole.
    pub hidden: bool,
    /// The server's first name.
    pub server: Option<Arc<str>>,
    /// The Host header.
    pub host: Option<Arc<str>>,
    /// The client's address.
    pub client: Option<Arc<str>>,
    /// The request line.
    pub request: Option<RequestLine>,
    /// The route, as the caller's `route` function named it.
    pub route: Option<Arc<str>>,
    /// The attempts in order; messages that belong to no attempt (a limit, a name that does not resolve) are attempts
    /// without a peer.
    pub attempts: Vec<Attempt>,
    /// Whether the access log tells the attempts: without any, none was made.
    pub tries_logged: bool,
    /// The access-log line.
    pub access_line: Option<LineRef>,
    /// How long it took, in milliseconds.
    pub request_ms: Option<u32>,
    /// Bytes of the body sent to the client.
    pub body_bytes: Option<u64>,
    /// What the cache did (`HIT`, `STALE`, …).
    pub cache_status: Option<Arc<str>>,
    /// What a limit did (`REJECTED`, …).
    pub limit_status: Option<Arc<str>>,
    /// How many requests it stands for.
    pub weight: u64,
}

/// One attempt on an upstream, or a message about the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// The address dialled.
    pub peer: Option<PeerAddress>,
    /// The group's name, where no peer could be chosen.
    pub group: Option<Arc<str>>,
    /// The scheme of the upstream.
    pub scheme: Option<Arc<str>>,
    /// What the error log says of it.
    pub phrase: Option<Phrase>,
    /// What the phrase's placeholder held.
    pub detail: Option<Arc<str>>,
    /// The system's error code.
    pub errno: Option<Errno>,
    /// What the gateway was doing.
    pub phase: Option<Phase>,
    /// The severity of the line.
    pub level: Option<ErrorLevel>,
    /// The error-log line.
    pub line: Option<LineRef>,
    /// The URI of the subrequest that failed.
    pub subrequest: Option<Arc<str>>,
    /// What the access log tells of it.
    pub tried: Option<Try>,
}
