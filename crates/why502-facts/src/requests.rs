//! Requests that did not go as they should, put together from both kinds of logs.

use crate::{Errno, ErrorLevel, LineRef, PeerAddress, Phase, Phrase, RequestLine, Stamp, Try};
use std::sync::Arc;

/// A client's request that failed, was retried, or was answered with an error.
///
/// It is joined from the error-log lines and the access-log line of one request; where one of the logs does not tell,
/// it stands on the other alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRequest {
    /// When it ended: the access log's stamp, else that of its last line in the error log.
    pub at: Stamp,
    /// What became of it.
    pub outcome: Outcome,
    /// The status sent to the client, 0 where none was; `None` where no access log tells.
    pub status: Option<u16>,
    /// The status that its lines in the error log lead to by themselves, as far as they tell.
    pub implied_status: Option<u16>,
    /// The client's address.
    pub client: Option<Arc<str>>,
    /// The server's first name, if a log has it.
    pub server: Option<Arc<str>>,
    /// The Host header.
    pub host: Option<Arc<str>>,
    /// The request line.
    pub request: Option<RequestLine>,
    /// The route, as the caller's `route` function named it.
    pub route: Option<Arc<str>>,
    /// The attempts on upstreams, in order, those of subrequests among them. None was made where the gateway refused by
    /// itself (`return`, a limit), or could not choose an upstream at all (a name that does not resolve).
    pub attempts: Vec<Attempt>,
    /// Whether the access log tells the attempts: without any of the request's own, none was made.
    pub tries_logged: bool,
    /// Messages about the request that belong to no attempt, in the order of the log.
    pub messages: Vec<RequestMessage>,
    /// Its line in the access log.
    pub access_line: Option<LineRef>,
    /// How long it took, in milliseconds.
    pub request_ms: Option<u32>,
    /// Bytes of the body sent to the client.
    pub body_bytes: Option<u64>,
    /// The User-Agent header, if an access log tells it.
    pub user_agent: Option<Arc<str>>,
    /// The X-Forwarded-For header, if an access log tells it.
    pub forwarded: Option<Arc<str>>,
    /// What the cache did (`HIT`, `STALE`, …).
    pub cache_status: Option<Arc<str>>,
    /// What a limit did (`REJECTED`, …).
    pub limit_status: Option<Arc<str>>,
    /// How many requests this one stands for.
    pub weight: u64,
}

impl FailedRequest {
    /// All its lines: those of the error log in order, then that of the access log.
    pub fn lines(&self) -> impl Iterator<Item = &LineRef> {
        let of_attempts = self.attempts.iter().flat_map(|attempt| &attempt.messages);
        let mut said: Vec<&LineRef> =
            of_attempts.chain(&self.messages).map(|message| &message.line).collect();
        said.sort_by(|one, other| (&one.file, one.offset).cmp(&(&other.file, other.offset)));
        said.into_iter().chain(&self.access_line)
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The client got a 4xx: an answer, and a failure only where a cause of the catalogue made it.
    Answered,
    /// The client got a 5xx, something that is no HTTP, or nothing; or it left before the answer.
    Failed,
    /// A retry, a fallback or the cache saved it, or only a subrequest failed: the client got an answer.
    Hidden,
    /// The header was sent, and the response or the upgraded connection was cut off afterwards.
    Truncated,
    /// An upgraded connection that ended: a failure only where it ended because a timer of the gateway cut it.
    Upgraded,
}

/// One attempt on an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// The address, or the group's name where no peer could be chosen; `None` where the attempt died before that.
    pub peer: Option<Arc<str>>,
    /// The scheme (`http`, `fastcgi`, …), if the error log tells it.
    pub scheme: Option<Arc<str>>,
    /// The path that was sent, if the error log tells it.
    pub path: Option<Arc<str>>,
    /// The URI of the subrequest that made it; its attempts are not among the access log's.
    pub subrequest: Option<Arc<str>>,
    /// The key of the route that it was made in, if the error log tells it.
    pub route: Option<Arc<str>>,
    /// What the error log says of it: first the line that ended it, then the others in the order of the log (what a
    /// FastCGI application wrote to its error stream, `temporarily disabled`).
    pub messages: Vec<RequestMessage>,
    /// What the access log says of it.
    pub result: Option<Try>,
}

impl Attempt {
    /// The address, unless the peer is a group's name.
    pub fn address(&self) -> Option<PeerAddress> {
        self.peer.as_deref()?.parse().ok()
    }

    /// The group's name, unless the peer is an address.
    pub fn group(&self) -> Option<&str> {
        self.peer.as_deref().filter(|_| self.address().is_none())
    }
}

/// What a line of the error log says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestMessage {
    /// What it says.
    pub phrase: Phrase,
    /// What the phrase's placeholder held.
    pub detail: Option<Arc<str>>,
    /// The system's error code.
    pub errno: Option<Errno>,
    /// What the gateway was doing.
    pub phase: Option<Phase>,
    /// The severity.
    pub level: ErrorLevel,
    /// The worker that wrote it, by its process id.
    pub pid: u32,
    /// Where it stands.
    pub line: LineRef,
}
