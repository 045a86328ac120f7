//! What was read of the logs, and what nobody could read.

use super::{Case, Failure, PeerSubject};
use std::collections::BTreeSet;
use why502_facts::{
    Ask, Coverage, Datum, ErrorDigest, ErrorLevel, ErrorRecord, GapReason, LogKind, LogSlice, Observed,
    ProbeOutcome, StepKind,
};
use why502_model::{LogContent, LogSink, LogTarget, Span};

/// A kind of log, as the topic of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogTopic {
    Access,
    Error,
}

impl LogTopic {
    /// As gaps call it: see [`why502_facts::TOPICS`].
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Access => "access-log",
            Self::Error => "error-log",
        }
    }

    /// The directive that names such logs.
    pub(crate) fn directive(self) -> &'static str {
        match self {
            Self::Access => "access_log",
            Self::Error => "error_log",
        }
    }

    fn is_of(self, sink: &LogSink) -> bool {
        matches!(sink.content, LogContent::Error { .. }) == (self == Self::Error)
    }
}

impl Case<'_> {
    /// The lines of its error logs that are not seen to be another instance's.
    pub(crate) fn error_records(&self) -> impl Iterator<Item = &ErrorRecord> {
        let records = self.error_logs.iter().flat_map(|digest| &digest.records);
        records.filter(|record| !self.strangers.contains_key(&record.pid))
    }

    /// Whether the error logs of a failure's server were read over its time at a level that tells errors, so that their
    /// silence says something.
    pub(crate) fn error_log_covers(&self, failure: &Failure) -> bool {
        self.error_log_tells(failure, ErrorLevel::Error)
    }

    /// The same of lines of a lower severity.
    pub(crate) fn error_log_tells(&self, failure: &Failure, severity: ErrorLevel) -> bool {
        let server = failure.route.map(|route| self.gateway.route(route).server);
        let is_told = |digest: &ErrorDigest| {
            let coverage = &digest.coverage;
            let begins_before = coverage.complete || coverage.first.is_some_and(|first| first <= failure.at);
            begins_before && self.tells(digest, severity)
        };
        let all_are_files = self.error_sinks(server).all(|sink| matches!(sink.target, LogTarget::File(_)));
        all_are_files && !self.error_logs.is_empty() && self.error_logs.iter().all(|digest| is_told(digest))
    }

    /// Whether the time of the run was up before a log was read, or nobody was allowed to read any that tells of requests,
    /// or one that an option names tells nothing.
    pub(crate) fn has_unread_log(&self) -> bool {
        let (is_kept_back, own) = (!self.has_read_log(), self.gateway.owner());
        let invocation = &self.facts.manifest.invocation;
        let is_named =
            |path: &String| invocation.access_logs.contains(path) || invocation.error_logs.contains(path);
        self.facts.iter().any(|(ask, answer)| {
            let (path, is_window) = match ask {
                Ask::Log(slice) if slice.max_bytes.is_none() && slice.owner == own => (&slice.path, true),
                Ask::LogTail { path, owner, .. } if *owner == own => (path, false),
                _ => return false,
            };
            let Observed::Unknown(gap) = answer else { return false };
            match gap.why {
                GapReason::NotYet => false,
                GapReason::TimedOut if is_window => true,
                GapReason::Denied if is_kept_back => true,
                _ => is_named(path),
            }
        })
    }

    /// Whether a part of this host's configuration could not be read: servers that stand there may log elsewhere.
    pub(crate) fn has_unread_config(&self) -> bool {
        let is_part = |ask: &Ask| matches!(ask, Ask::File { .. } | Ask::Glob { .. });
        !self.facts.manifest.invocation.offline
            && (self.gateway.sources.is_empty() || self.gateway.unread.iter().any(|gap| is_part(&gap.ask)))
    }

    /// What was read of every log, with its ask.
    pub(crate) fn log_coverages(&self) -> impl Iterator<Item = (&LogSlice, &Coverage)> {
        self.facts.iter().filter_map(|(ask, answer)| match (ask, answer) {
            (Ask::Log(slice), Observed::Known(Datum::ErrorLog(digest))) => Some((slice, &digest.coverage)),
            (Ask::Log(slice), Observed::Known(Datum::AccessLog(digest))) => Some((slice, &digest.coverage)),
            _ => None,
        })
    }

    /// Whether some log that tells of requests was read, be it an empty one.
    pub(crate) fn has_read_log(&self) -> bool {
        let invocation = &self.facts.manifest.invocation;
        let tells = |slice: &LogSlice| {
            let given = match slice.kind {
                LogKind::Access { .. } => &invocation.access_logs,
                LogKind::Error => &invocation.error_logs,
            };
            !given.is_empty()
                || self.gateway.logs.iter().any(|sink| {
                    sink.tells_requests
                        && matches!(&sink.target, LogTarget::File(path) if *path == slice.path)
                })
        };
        let owner = self.gateway.owner();
        self.log_coverages().any(|(slice, coverage)| {
            let is_readable = coverage.n_lines == 0 || coverage.n_lines > coverage.n_unparsed;
            slice.max_bytes.is_none() && slice.owner == owner && is_readable && tells(slice)
        })
    }

    /// Whether a peer answered the request of a probe, and not with an error of its own.
    pub(crate) fn has_answered_probe(&self) -> bool {
        self.facts.iter().any(|(_, answer)| {
            let Observed::Known(Datum::Probe(report)) = answer else { return false };
            report.answer.as_ref().is_some_and(|answer| answer.status < 500)
        })
    }

    /// The peers that took the request of a probe and were silent, where no log tells of a request that they answered.
    pub(crate) fn silent_peers(&self) -> impl Iterator<Item = &PeerSubject> {
        let judged = self.peers.iter().filter(|peer| self.concerns_peer(peer));
        let silent = judged.filter(|peer| {
            self.probe(peer)
                .known()
                .is_some_and(|report| report.outcome(StepKind::Receive) == Some(ProbeOutcome::TimedOut))
        });
        silent.filter(|peer| self.last_success(peer).is_none())
    }

    /// Whether the gateway passes requests to anybody.
    pub(crate) fn passes_anything(&self) -> bool {
        self.gateway.routes().any(|(id, _)| self.pass_of(id, None).is_some())
    }

    /// Where the configuration sends the logs of servers that pass requests, and nobody can read any of the kind.
    pub(crate) fn unreadable_sinks(&self) -> BTreeSet<(LogTopic, &LogTarget, Option<&Span>)> {
        let mut found = BTreeSet::new();
        let invocation = &self.facts.manifest.invocation;
        if invocation.offline {
            return found;
        }
        let passing: BTreeSet<usize> = self
            .gateway
            .routes()
            .filter(|(id, _)| self.concerns(*id) && self.pass_of(*id, None).is_some())
            .map(|(_, route)| route.server)
            .collect();
        for topic in [LogTopic::Access, LogTopic::Error] {
            let given = match topic {
                LogTopic::Access => &invocation.access_logs,
                LogTopic::Error => &invocation.error_logs,
            };
            let sinks = self.gateway.logs.iter().filter(|sink| topic.is_of(sink) && sink.tells_requests);
            let sinks: Vec<&LogSink> = sinks.filter(|_| given.is_empty()).collect();
            for server in &passing {
                let own =
                    || sinks.iter().filter(|sink| sink.servers.is_empty() || sink.servers.contains(server));
                if !own().any(|sink| matches!(sink.target, LogTarget::File(_))) {
                    found.extend(own().map(|sink| (topic, &sink.target, sink.at.as_ref())));
                }
            }
        }
        found
    }

    /// The error logs that requests of a server are told in.
    fn error_sinks(&self, server: Option<usize>) -> impl Iterator<Item = &LogSink> {
        let sinks = self.gateway.logs.iter().filter(|sink| matches!(sink.content, LogContent::Error { .. }));
        sinks.filter(move |sink| {
            sink.servers.is_empty() || server.is_some_and(|server| sink.servers.contains(&server))
        })
    }

    /// Whether a log's level lets lines of a severity through: as configured; of a log that no configuration describes, if
    /// it has any.
    fn tells(&self, digest: &ErrorDigest, severity: ErrorLevel) -> bool {
        let has_some = || digest.levels.iter().any(|(level, count)| *level >= severity && *count > 0);
        let configured = self.gateway.logs.iter().find_map(|sink| match (&sink.target, &sink.content) {
            (LogTarget::File(path), LogContent::Error { level }) => {
                digest.coverage.files.iter().any(|file| **file == **path).then_some(*level)
            }
            _ => None,
        });
        configured.map_or_else(has_some, |level| level >= severity)
    }
}
