//! Failed requests, and what was seen of each attempt.

use why502_facts::{Errno, ErrorLevel, LineRef, Outcome, PeerAddress, Phase, Phrase, Stamp, Try};
use why502_model::RouteId;

/// Which failure of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FailureId(pub(crate) usize);

/// A request that failed, was answered with an error, or was saved by a retry or fallback.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) at: Stamp,
    pub(crate) outcome: Outcome,
    /// The status sent to the client, 0 where none was: from the access log, or what its error lines lead to.
    pub(crate) status: Option<u16>,
    /// Whether the status stands in an access log.
    pub(crate) status_logged: bool,
    /// Where it failed: the route of its last attempt, which may be that of a subrequest.
    pub(crate) route: Option<RouteId>,
    /// The route of the client's request.
    pub(crate) entry: Option<RouteId>,
    pub(crate) method: Option<String>,
    /// The path without its query.
    pub(crate) path: Option<String>,
    pub(crate) has_query: bool,
    pub(crate) host: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) user_agent: Option<String>,
    /// The X-Forwarded-For header.
    pub(crate) forwarded: Option<String>,
    /// What was seen of each attempt, in order, then the messages about the request as a whole: these have no peer.
    pub(crate) symptoms: Vec<Symptom>,
    /// The access-log line, if there is one.
    pub(crate) access_line: Option<LineRef>,
    /// Whether the access log tells the attempts: without any, none was made.
    pub(crate) tries_logged: bool,
    pub(crate) request_ms: Option<u32>,
    pub(crate) cache_status: Option<String>,
    pub(crate) limit_status: Option<String>,
    /// How many requests it stands for.
    pub(crate) weight: u64,
}

/// What was seen of one attempt, or of the request as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Symptom {
    /// The address dialled.
    pub(crate) peer: Option<PeerAddress>,
    /// The group's name, where no peer could be chosen.
    pub(crate) group: Option<String>,
    pub(crate) scheme: Option<String>,
    /// What the error log says of it: of several lines the one that tells the failure.
    pub(crate) phrase: Option<Phrase>,
    pub(crate) detail: Option<String>,
    pub(crate) errno: Option<Errno>,
    pub(crate) phase: Option<Phase>,
    pub(crate) level: Option<ErrorLevel>,
    /// The error-log line.
    pub(crate) line: Option<LineRef>,
    /// The process that wrote it.
    pub(crate) writer: Option<u32>,
    /// What else its lines say, with their details.
    pub(crate) also: Vec<(Phrase, Option<String>)>,
    /// What the access log tells of the attempt.
    pub(crate) tried: Option<Try>,
    /// What the format of that log tells of attempts.
    pub(crate) logged: Logged,
    /// The path that was sent, without its query, if the error log tells it.
    pub(crate) sent: Option<String>,
    /// The path of the subrequest that made it.
    pub(crate) subrequest: Option<String>,
    /// The route that made it, if the error log tells it.
    pub(crate) route: Option<RouteId>,
    /// Whether it is an attempt, and not a message about the request as a whole.
    pub(crate) is_attempt: bool,
}

/// What the format of an access log tells of attempts: what it does not tell is not missing from an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Logged {
    /// Anything at all.
    pub(crate) tries: bool,
    /// `$upstream_connect_time`.
    pub(crate) connect: bool,
    /// `$upstream_header_time`.
    pub(crate) header: bool,
}

impl Failure {
    /// Whether the client did not notice.
    pub(crate) fn is_hidden(&self) -> bool {
        self.outcome == Outcome::Hidden
    }

    /// Whether the answer broke off after its header was sent.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.outcome == Outcome::Truncated
    }

    /// Whether it is a failure whatever made it: a 502, 503 or 504, a 500 of the gateway's own making, or an answer that
    /// is no HTTP, or one whose body the upstream broke off or left unfinished. A 4xx, a 499, or a 500 of the application is one
    /// only where a cause explains it.
    pub(crate) fn counts_by_itself(&self) -> bool {
        match (self.outcome, self.status) {
            (Outcome::Failed, None | Some(502..=504 | 9)) => true,
            (Outcome::Failed, Some(500)) => self.is_made_here(),
            // nginx itself calls it an error that an answer broke off; a client that went away is none.
            (Outcome::Truncated, _) => self.symptoms.iter().any(|symptom| {
                let is_end = symptom.is(Phrase::PrematureClose)
                    || symptom.is(Phrase::SliceInvalid)
                    || symptom.is(Phrase::InvalidChunkedResponse)
                    || symptom.is(Phrase::UpstreamTimedOut) && symptom.phase == Some(Phase::ReadingBody);
                is_end && symptom.level >= Some(ErrorLevel::Error)
            }),
            _ => false,
        }
    }

    /// Whether the gateway made the error: something was said in its log, or the last attempt got no valid header.
    fn is_made_here(&self) -> bool {
        match self.attempts().last() {
            // nginx itself never writes a 500 into the state of an attempt.
            Some(last) if last.answered() || last.sent(500) => false,
            Some(last) => last.phrase.is_some() || last.tried.is_some(),
            None => self.symptoms.iter().any(|symptom| symptom.phrase.is_some()),
        }
    }

    /// The attempts on upstreams, in order.
    pub(crate) fn attempts(&self) -> impl DoubleEndedIterator<Item = &Symptom> {
        self.symptoms.iter().filter(|symptom| symptom.is_attempt)
    }

    /// The symptom of the last attempt: what made the answer; else the last message.
    pub(crate) fn last(&self) -> Option<&Symptom> {
        self.attempts().next_back().or(self.symptoms.last())
    }

    /// The attempt of a subrequest that it is about, if it is about one.
    pub(crate) fn subrequest(&self) -> Option<&Symptom> {
        self.attempts().next_back().filter(|last| last.subrequest.is_some() && last.route == self.route)
    }

    /// A line that shows it: the error log's, else the access log's.
    pub(crate) fn line(&self) -> Option<&LineRef> {
        self.symptoms.iter().rev().find_map(|symptom| symptom.line.as_ref()).or(self.access_line.as_ref())
    }
}

impl Symptom {
    /// Whether a line of it says that.
    pub(crate) fn is(&self, phrase: Phrase) -> bool {
        self.phrase == Some(phrase) || self.also.iter().any(|(also, _)| *also == phrase)
    }

    /// Whether the connection attempt ended with that error.
    pub(crate) fn connect_failed(&self, errno: Errno) -> bool {
        matches!(self.phrase, Some(Phrase::ConnectFailed | Phrase::ConnectToFailed))
            && self.errno == Some(errno)
    }

    /// Whether only the access log tells of it: a connection was made, and no header came over it.
    pub(crate) fn is_quietly_unanswered(&self) -> bool {
        let tried = self.tried.as_ref().filter(|_| self.phrase.is_none() && self.logged.header);
        tried.is_some_and(|tried| {
            tried.status == Some(502) && tried.connect_ms.is_some() && tried.header_ms.is_none()
        })
    }

    /// Whether only the access log tells that it failed: nginx's own status, and no header came.
    pub(crate) fn is_quietly_failed(&self) -> bool {
        let tried = self.tried.as_ref().filter(|_| self.phrase.is_none() && self.logged.header);
        tried.is_some_and(|tried| matches!(tried.status, Some(502 | 504)) && tried.header_ms.is_none())
    }

    /// Whether the access log tells that status of the attempt.
    fn sent(&self, status: u16) -> bool {
        self.tried.as_ref().is_some_and(|tried| tried.status == Some(status))
    }

    /// Whether this attempt delivered a complete, valid response header (reference, section 4.2, rule 1).
    pub(crate) fn answered(&self) -> bool {
        self.tried.as_ref().is_some_and(|tried| tried.header_ms.is_some())
    }
}
