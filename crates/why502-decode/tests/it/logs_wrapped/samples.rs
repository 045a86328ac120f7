//! What `scripts/record-wrapped` recorded.

use why502_decode::logs::Envelope;

/// A file that a real program wrote around the lines of a real nginx.
pub(crate) struct Sample {
    pub(crate) file: &'static str,
    pub(crate) envelope: Envelope,
    /// What the wrapping calls the gateway; nothing where it names nobody.
    pub(crate) programs: &'static [&'static str],
    pub(crate) holds: Holds,
    /// How many lines the program wrote about itself in a form of their own.
    pub(crate) n_foreign: u64,
}

/// What a sample holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// nginx's lines.
    Lines,
    /// And one that is longer than runtimes write at once.
    Long,
    /// And, in their order, another program's line, a message that is no text, and one of two lines.
    Journal,
}

const fn sample(file: &'static str, envelope: Envelope) -> Sample {
    Sample { file, envelope, programs: &["nginx"], holds: Holds::Lines, n_foreign: 0 }
}

const fn stamped(file: &'static str) -> Sample {
    Sample { programs: &[""], ..sample(file, Envelope::Stamped) }
}

const fn journal(file: &'static str, envelope: Envelope) -> Sample {
    Sample { holds: Holds::Journal, ..sample(file, envelope) }
}

const fn container(file: &'static str, envelope: Envelope) -> Sample {
    Sample { programs: &[""], holds: Holds::Long, ..sample(file, envelope) }
}

const fn composed(file: &'static str) -> Sample {
    // Which containers it attaches to.
    Sample { programs: &["edge_1"], n_foreign: 1, ..container(file, Envelope::Compose) }
}

pub(crate) const SAMPLES: [Sample; 43] = [
    // It tells of its own start and end.
    Sample { n_foreign: 2, ..sample("busybox-syslogd", Envelope::Syslog) },
    Sample { n_foreign: 1, ..sample("busybox-syslogd-small", Envelope::Syslog) },
    container("conmon", Envelope::Cri),
    composed("docker-compose"),
    composed("docker-compose-t"),
    container("docker-json-file", Envelope::DockerJson),
    container("docker-logs-t", Envelope::Stamped),
    Sample { programs: &[""], ..journal("journalctl-cat", Envelope::Plain) },
    journal("journalctl-export", Envelope::JournalExport),
    journal("journalctl-json", Envelope::JournalJson),
    journal("journalctl-json-pretty", Envelope::JournalPretty),
    journal("journalctl-json-seq", Envelope::JournalJson),
    journal("journalctl-json-sse", Envelope::JournalJson),
    journal("journalctl-short", Envelope::Syslog),
    journal("journalctl-short-delta", Envelope::Syslog),
    journal("journalctl-short-full", Envelope::Syslog),
    journal("journalctl-short-iso", Envelope::Syslog),
    journal("journalctl-short-iso-precise", Envelope::Syslog),
    journal("journalctl-short-monotonic", Envelope::Syslog),
    journal("journalctl-short-no-hostname", Envelope::Syslog),
    journal("journalctl-short-precise", Envelope::Syslog),
    journal("journalctl-short-unix", Envelope::Syslog),
    journal("journalctl-verbose", Envelope::JournalVerbose),
    Sample { programs: &["nginx.service"], ..journal("journalctl-with-unit", Envelope::Syslog) },
    sample("logger-rfc5424", Envelope::Syslog),
    stamped("multilog-t"),
    Sample { programs: &["edge", "nginx"], ..sample("nginx-syslog", Envelope::Syslog) },
    sample("rsyslog-file", Envelope::Syslog),
    sample("rsyslog-forward", Envelope::Syslog),
    sample("rsyslog-rfc5424", Envelope::Syslog),
    sample("rsyslog-traditional", Envelope::Syslog),
    sample("rsyslog-traditional-forward", Envelope::Syslog),
    stamped("s6-log-iso"),
    stamped("s6-log-t"),
    Sample { programs: &[""], ..sample("supervisord", Envelope::Plain) },
    stamped("svlogd-t"),
    stamped("svlogd-tt"),
    stamped("svlogd-ttt"),
    stamped("tai64nlocal"),
    stamped("ts"),
    stamped("ts-epoch"),
    stamped("ts-iso"),
    stamped("ts-iso-fraction"),
];
