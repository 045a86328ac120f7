//! What logs hold, digested while they are read.
//!
//! A digest keeps one record per failed or retried attempt, up to a cap; beyond it, records of the same kind within the
//! same minute are merged into one with a `weight`, so that counts stay exact and only single moments are lost.

use crate::{
    AccessTimes, AccessWriting, Blob, Civil, Errno, PeerAddress, Phase, Phrase, RouteAnswers, Stamp, Timeline,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where a log line stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LineRef {
    /// The file, one of the log's rotated siblings included.
    pub file: Arc<str>,
    /// The byte offset of its first byte (in the decompressed content).
    pub offset: u64,
    /// Its text without the line end, at most 2 KiB; `None` where the line was one of many alike.
    pub text: Option<Arc<str>>,
}

/// What is known of a request when its route is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestKey<'a> {
    /// The path of the log in which it stands.
    pub log: &'a str,
    /// The server's first name (of an error log), or its name by an access log's variable.
    pub server: Option<&'a str>,
    /// The Host header.
    pub host: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The request target without its query; that of the subrequest where the line is about one.
    pub path: &'a str,
    /// The scheme of the upstream, where the line tells it.
    pub scheme: Option<&'a str>,
    /// The upstream's address or group, where the line tells it; the last attempt's.
    pub peer: Option<&'a str>,
    /// The path that was sent there, where the line tells it.
    pub sent: Option<&'a str>,
}

/// Names the route that serves a request; `None` where it cannot be told.
pub type RouteOf<'a> = dyn Fn(&RequestKey<'_>) -> Option<Arc<str>> + Sync + 'a;

/// Which part of a log was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The files that were read, oldest first.
    pub files: Vec<Arc<str>>,
    /// How many bytes of them were looked at.
    pub bytes: u64,
    /// The number of lines of the window.
    pub n_lines: u64,
    /// The number of those that did not fit the grammar or format.
    pub n_unparsed: u64,
    /// Up to five lines that did not fit.
    pub unparsed: Vec<LineRef>,
    /// Whether the window's begin was reached (the log, or a sibling, goes back that far).
    pub complete: bool,
    /// The stamp of the first entry read, as far as the clock is known.
    pub first: Option<Stamp>,
    /// The stamp of the last entry read.
    pub last: Option<Stamp>,
    /// Whether records were merged because there were too many.
    pub sampled: bool,
}

/// The severity of an error-log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorLevel {
    /// The gateway cannot go on.
    Emerg,
    /// Must be mended at once.
    Alert,
    /// A critical condition.
    Crit,
    /// An error.
    Error,
    /// A warning.
    Warn,
    /// Worth a note.
    Notice,
    /// Information.
    Info,
    /// Debugging output.
    Debug,
}

/// The digest of an error log's window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDigest {
    /// What was read.
    pub coverage: Coverage,
    /// How many lines there were of each level.
    pub levels: Vec<(ErrorLevel, u64)>,
    /// Lines that tell of a failure, a limit, or the gateway's own life, in the order of the file.
    pub records: Vec<ErrorRecord>,
    /// Per kind of failure that the window holds, the first line of it that a bounded look before the window found.
    pub before: Vec<ErrorRecord>,
}

/// One line of an error log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRecord {
    /// The stamp as written.
    pub at: Civil,
    /// The severity.
    pub level: ErrorLevel,
    /// The worker's process id.
    pub pid: u32,
    /// The serial number of the client's connection, if the line has one.
    pub connection: Option<u64>,
    /// What it says.
    pub phrase: Phrase,
    /// What the phrase's placeholder held.
    pub detail: Option<Arc<str>>,
    /// The system's error code.
    pub errno: Option<Errno>,
    /// What the gateway was doing.
    pub phase: Option<Phase>,
    /// The request that it is about.
    pub context: ErrorContext,
    /// The route, as the caller's `route` function named it.
    pub route: Option<Arc<str>>,
    /// Where it stands.
    pub line: LineRef,
    /// How many lines this record stands for.
    pub weight: u64,
}

impl ErrorRecord {
    /// The name that could not be resolved, and the resolver's code (2: server failure, 3: not found, 110: timeout).
    pub fn unresolved(&self) -> Option<(&str, u32)> {
        if self.phrase != Phrase::NameNotResolved {
            return None;
        }
        let (name, rest) = self.detail.as_deref()?.split_once(" could not be resolved (")?;
        Some((name, rest.split_once(':')?.0.parse().ok()?))
    }
}

/// The request that an error-log line is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorContext {
    /// The client's address.
    pub client: Option<Arc<str>>,
    /// The first name of the server, or its listen address before a request was read.
    pub server: Option<Arc<str>>,
    /// The request line.
    pub request: Option<RequestLine>,
    /// The URI of the subrequest that failed.
    pub subrequest: Option<Arc<str>>,
    /// The upstream.
    pub upstream: Option<UpstreamField>,
    /// The Host header.
    pub host: Option<Arc<str>>,
}

/// A request line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestLine {
    /// The method.
    pub method: Arc<str>,
    /// The request target without its query: a path, `*`, or an absolute URI; at most 512 bytes.
    pub path: Arc<str>,
    /// Whether it had a query.
    pub has_query: bool,
    /// `HTTP/1.1` and the like; empty where the line was cut.
    pub version: Arc<str>,
}

/// The `upstream:` field of an error-log line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UpstreamField {
    /// The scheme: `http`, `https`, `fastcgi`, `uwsgi`, `suwsgi`, `scgi`, `grpc`, `grpcs`, `memcached`.
    pub scheme: Arc<str>,
    /// The address dialled, or the name of the group when none could be chosen.
    pub peer: Arc<str>,
    /// The path that was sent there, without its query; only HTTP's lines tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Arc<str>>,
}

impl UpstreamField {
    /// The address, unless the field holds a group's name.
    pub fn address(&self) -> Option<PeerAddress> {
        self.peer.parse().ok()
    }
}

/// The digest of an access log's window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessDigest {
    /// What was read.
    pub coverage: Coverage,
    /// The format that was used, in the gateway's notation.
    pub format: String,
    /// Whether the format was recognised from the content instead of being named.
    pub guessed: bool,
    /// Whether it has `$upstream_*` values.
    pub has_upstream: bool,
    /// Which requests stand in it, and when.
    #[serde(default)]
    pub writing: AccessWriting,
    /// Requests per route and status.
    pub totals: Vec<RouteTotal>,
    /// Requests that failed, were retried, or ended with an error status, in the order of the file.
    pub records: Vec<AccessRecord>,
    /// The last request of each route and peer that succeeded.
    pub successes: Vec<AccessRecord>,
    /// How long the successful answers of upstreams took, per route; none where the log has no times, or is surveyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<RouteAnswers>,
    /// Requests that this program itself made, as their User-Agent says: they are counted nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<OwnRequest>,
    /// How many requests ended when, and how; `None` where it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// How long requests and attempts took; `None` where it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Box<AccessTimes>>,
}

/// A request that this program made through the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRequest {
    /// When it ended.
    pub at: Stamp,
    /// The request line.
    pub request: Option<RequestLine>,
    /// The client's address.
    pub client: Option<Arc<str>>,
    /// The serial number of the client's connection, if the format has it.
    pub connection: Option<u64>,
    /// How long it took, in milliseconds.
    pub request_ms: Option<u32>,
}

/// How many requests of a route ended with a status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteTotal {
    /// The route, as the caller's `route` function named it.
    pub route: Option<Arc<str>>,
    /// The status sent to the client; 0 where none was.
    pub status: u16,
    /// How many.
    pub n_requests: u64,
    /// The first of them.
    pub first: Stamp,
    /// The last of them.
    pub last: Stamp,
}

/// One line of an access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// When the request ended.
    pub at: Stamp,
    /// The status sent to the client; 0 where none was.
    pub status: u16,
    /// The request line, if the format has one.
    pub request: Option<RequestLine>,
    /// The client's address.
    pub client: Option<Arc<str>>,
    /// The server's name, if the format has it.
    pub server: Option<Arc<str>>,
    /// The Host header, if the format has it.
    pub host: Option<Arc<str>>,
    /// The serial number of the client's connection, if the format has it.
    pub connection: Option<u64>,
    /// The attempts on upstreams; empty where none was made, `None` where the format does not tell.
    pub tries: Option<Vec<Try>>,
    /// How long the request took, in milliseconds.
    pub request_ms: Option<u32>,
    /// Bytes of the body sent to the client.
    pub body_bytes: Option<u64>,
    /// The User-Agent header, if the format has it.
    pub user_agent: Option<Arc<str>>,
    /// The X-Forwarded-For header, if the format has it.
    #[serde(default)]
    pub forwarded: Option<Arc<str>>,
    /// What the cache did (`HIT`, `STALE`, …).
    pub cache_status: Option<Arc<str>>,
    /// What the limit of requests or connections did (`REJECTED`, …).
    pub limit_status: Option<Arc<str>>,
    /// The route, as the caller's `route` function named it.
    pub route: Option<Arc<str>>,
    /// Where it stands.
    pub line: LineRef,
    /// How many requests this record stands for.
    pub weight: u64,
}

/// One attempt on an upstream, as the `$upstream_*` variables tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// The address, the group's name where no peer could be chosen, empty where it died before one was.
    pub peer: Option<Arc<str>>,
    /// `$upstream_status`.
    pub status: Option<u16>,
    /// Time to an established connection, in milliseconds.
    pub connect_ms: Option<u32>,
    /// Time to a complete, valid response header.
    pub header_ms: Option<u32>,
    /// Time to the end.
    pub response_ms: Option<u32>,
    /// Bytes received.
    pub bytes_received: Option<u64>,
    /// Bytes sent.
    pub bytes_sent: Option<u64>,
    /// Whether an internal redirect stands between this attempt and the one before it.
    pub redirected: bool,
}

/// The last lines of a log, raw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTail {
    /// Whole lines, the last 64 KiB at most.
    pub bytes: Blob,
    /// The size of the file.
    pub size: u64,
}

/// What a log's stamps mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogClock {
    /// How far the clock is ahead of UTC, in seconds.
    pub offset_seconds: i32,
    /// How that is known.
    pub source: LogClockSource,
}

/// How a log's clock is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogClockSource {
    /// Nothing tells; UTC is assumed.
    Assumed,
    /// The time zone of the host.
    HostZone,
    /// Lines of the same requests in the access log, whose stamps have a zone.
    JoinedLines,
}
