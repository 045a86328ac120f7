//! What an access log tells of all its requests: when they ended, and how long they took.

use crate::{Histogram, Stamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many requests ended when, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// How long a span is, in minutes: 1, or 60 or 1440 where the log has requests in too many minutes.
    pub span_minutes: u32,
    /// The requests per span and status, in ascending order; spans without a request are left out.
    pub counts: Vec<RequestCount>,
}

/// How many requests ended within a span of time with a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestCount {
    /// When the span begins: a multiple of its length since the epoch.
    pub begin: Stamp,
    /// The status sent to the client; 0 where none was.
    pub status: u16,
    /// How many.
    pub n_requests: u64,
}

/// How long requests and attempts took, all of the window, whatever became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTimes {
    /// `$request_time`: from the first byte of the client to the last byte to it.
    pub request: Histogram,
    /// All attempts.
    pub attempts: PeerTimes,
    /// The attempts per peer, in the order of their names. Of very many peers, those whose names come first are kept.
    pub peers: Vec<(Arc<str>, PeerTimes)>,
}

/// How long attempts on a peer took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerTimes {
    /// How many attempts there were, those without any time included.
    pub n_attempts: u64,
    /// `$upstream_connect_time`: to an established connection.
    pub connect: Histogram,
    /// `$upstream_header_time`: to a complete response header.
    pub header: Histogram,
    /// `$upstream_response_time`: to the end.
    pub response: Histogram,
}

impl PeerTimes {
    /// Adds those of other attempts.
    pub fn append(&mut self, other: &Self) {
        self.n_attempts += other.n_attempts;
        self.connect.append(&other.connect);
        self.header.append(&other.header);
        self.response.append(&other.response);
    }
}

/// How long the successful answers of a route's upstreams took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteAnswers {
    /// The route, as the caller's `route` function named it.
    pub route: Option<Arc<str>>,
    /// Which of the log's times tells it.
    pub measure: AnswerMeasure,
    /// The times of requests that ended with a status below 400 after one attempt each.
    pub times: Histogram,
}

/// How long connections to a peer took to be made for requests of a route that succeeded at the first attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerConnects {
    /// The route, as the caller's `route` function named it.
    pub route: Option<Arc<str>>,
    /// The peer; empty where the format does not tell it.
    pub peer: Arc<str>,
    /// `$upstream_connect_time`, with the TLS handshake. Those of less than a millisecond are left out: they are connections
    /// that were kept open.
    pub times: Histogram,
}

/// Which time of an access log tells how long an answer took, the most exact first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerMeasure {
    /// `$upstream_header_time`: what the gateway's timer for an answer waits for.
    Header,
    /// `$upstream_response_time`: with the body.
    Response,
    /// `$request_time` of short answers, which the kernel takes at once: until all was handed to it.
    Request,
    /// `$request_time` of answers of any size: with the client's own pace.
    Paced,
}
