//! Failed requests, and what was seen of each attempt.

use why502_facts::{Errno, ErrorLevel, LineRef, PeerAddress, Phase, Phrase, Stamp, Try};
use why502_model::RouteId;

/// Which failure of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FailureId(pub(crate) usize);

/// A request that failed, or that a retry or fallback saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) at: Stamp,
    /// The status sent to the client: from the access log, or what this failure makes; `None` if neither tells.
    pub(crate) status: Option<u16>,
    /// Whether the status stands in an access log.
    pub(crate) status_logged: bool,
    /// Whether the client did not notice: a retry, a fallback or a stale answer hid it.
    pub(crate) hidden: bool,
    pub(crate) route: Option<RouteId>,
    pub(crate) method: Option<String>,
    /// The path without its query.
    pub(crate) path: Option<String>,
    pub(crate) has_query: bool,
    pub(crate) host: Option<String>,
    pub(crate) client: Option<String>,
    /// What was seen of each attempt, in order; one without a peer where none was made.
    pub(crate) symptoms: Vec<Symptom>,
    /// The access-log line, if there is one.
    pub(crate) access_line: Option<LineRef>,
    /// Whether the access log tells the attempts (an empty list then means: none was made).
    pub(crate) tries_logged: bool,
    pub(crate) request_ms: Option<u32>,
    pub(crate) body_bytes: Option<u64>,
    pub(crate) cache_status: Option<String>,
    pub(crate) limit_status: Option<String>,
    /// How many requests it stands for.
    pub(crate) weight: u64,
}

/// What was seen of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Symptom {
    /// The address dialled.
    pub(crate) peer: Option<PeerAddress>,
    /// The group's name, where no peer could be chosen.
    pub(crate) group: Option<String>,
    pub(crate) scheme: Option<String>,
    pub(crate) phrase: Option<Phrase>,
    pub(crate) detail: Option<String>,
    pub(crate) errno: Option<Errno>,
    pub(crate) phase: Option<Phase>,
    pub(crate) level: Option<ErrorLevel>,
    /// The error-log line.
    pub(crate) line: Option<LineRef>,
    /// What the access log tells of the attempt.
    pub(crate) tried: Option<Try>,
    /// Whether a subrequest failed, and its path.
    pub(crate) subrequest: Option<String>,
}

impl Failure {
    /// The symptom of the last attempt: what made the answer.
    pub(crate) fn last(&self) -> Option<&Symptom> {
        self.symptoms.last()
    }

    /// A line that shows it: the error log's, else the access log's.
    pub(crate) fn line(&self) -> Option<&LineRef> {
        self.symptoms.iter().rev().find_map(|symptom| symptom.line.as_ref()).or(self.access_line.as_ref())
    }
}

impl Symptom {
    /// Whether it is that phrase.
    pub(crate) fn is(&self, phrase: Phrase) -> bool {
        self.phrase == Some(phrase)
    }

    /// Whether the connection attempt ended with that error.
    pub(crate) fn connect_failed(&self, errno: Errno) -> bool {
        matches!(self.phrase, Some(Phrase::ConnectFailed | Phrase::ConnectToFailed))
            && self.errno == Some(errno)
    }

    /// Whether this attempt delivered a complete, valid response header (reference, section 4.2, rule 1).
    pub(crate) fn answered(&self) -> bool {
        self.tried.as_ref().is_some_and(|tried| tried.header_ms.is_some())
    }
}
