//! What the kernel says: raw as it was read, and decoded.

use crate::{Blob, Denial, Stamp};
use serde::{Deserialize, Serialize};

/// The lines of the kernel's log that tell of deaths, refusals and shortages, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelLogRecord {
    /// Where they stood.
    pub source: KernelLogSource,
    /// Those lines, each in the form of the source, cut to 1 KiB.
    pub lines: Blob,
    /// The oldest line of all, whatever it says, cut to its stamp: before it nobody knows what the kernel said.
    pub oldest: Blob,
}

/// Where the kernel's messages were read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelLogSource {
    /// A file that syslog writes: the lines of the kernel in it.
    File {
        /// Its path.
        path: String,
        /// When it was written last: its stamps have no year.
        modified: Stamp,
    },
    /// systemd's journal, as `journalctl -o short-unix` prints it.
    Journal,
    /// The kernel's own ring buffer (`/dev/kmsg`), whose stamps count from its boot.
    Ring {
        /// The earliest moment that they may count from.
        from: Stamp,
        /// The latest one: the clock of the stamps stands still while the host sleeps, and nobody sets it.
        to: Stamp,
    },
}

/// The kernel's log, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLog {
    /// Where it was read: `/dev/kmsg`, `the journal`, or a file's path.
    pub source: String,
    /// From when on it holds what the kernel said; `None` if that is not known. What it does not hold since then was
    /// not said, unless [`KernelEvent::Suppressed`] tells of lines that were left out.
    pub reaches_back: Option<Stamp>,
    /// Up to when it holds that; `None`: until it was read.
    pub ends: Option<Stamp>,
    /// What it says, oldest first.
    pub words: Vec<KernelWord>,
}

impl KernelLog {
    /// Whether the absence of a word between two moments means that it was not said.
    pub fn covers(&self, from: Stamp, to: Stamp) -> bool {
        let is_suppressed = |word: &KernelWord| {
            matches!(word.event, KernelEvent::Suppressed { .. }) && word.to >= from && word.from <= to
        };
        let is_within =
            self.reaches_back.is_some_and(|begin| begin <= from) && self.ends.is_none_or(|end| to <= end);
        is_within && !self.words.iter().any(is_suppressed)
    }
}

/// One thing that the kernel said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelWord {
    /// What happened.
    pub event: KernelEvent,
    /// The earliest moment.
    pub from: Stamp,
    /// The latest moment.
    pub to: Stamp,
    /// The message, without its stamp.
    pub line: String,
}

/// What the kernel said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// A record of the audit subsystem that tells of a refusal, of AppArmor (`apparmor="DENIED"`) or SELinux
    /// (`avc:  denied`).
    Denied(Box<Denial>),
    /// The table of tracked connections was full, and a packet was dropped.
    ConntrackFull,
    /// A process ended by a signal that is no kill from outside: a fault, an abort, a forbidden system call.
    Crashed(Crash),
    /// A task slept for long without taking any signal.
    Hung {
        /// Its id.
        pid: u32,
        /// The name of its command.
        comm: String,
        /// For how long, in seconds.
        seconds: u64,
    },
    /// Memory was short, and a process was killed for it.
    OomKill(OomKill),
    /// The queue of half-open connections of a listener was full.
    SynFlood {
        /// The port.
        port: u16,
        /// Whether connections were refused, since no cookies are sent.
        is_dropping: bool,
    },
    /// So many messages were left out.
    Suppressed {
        /// How many.
        count: u64,
    },
}

/// A process that the kernel saw crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Its id in the kernel's first namespace.
    pub pid: u32,
    /// The name of its command.
    pub comm: String,
    /// The signal.
    pub signal: u32,
    /// The file whose code ran, where the kernel says so: the program, or a library or module of it.
    pub module: Option<String>,
}

/// A process that the kernel killed because memory was short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OomKill {
    /// Its id in the kernel's first namespace.
    pub pid: u32,
    /// The name of its command.
    pub comm: String,
    /// The control group whose limit was reached; `None`: the host itself ran out of memory.
    pub limited_cgroup: Option<String>,
    /// The control group of the killed process, where the kernel says so.
    pub cgroup: Option<String>,
    /// The limit that was reached, in KiB, where the kernel says so.
    pub limit_kib: Option<u64>,
    /// What the process itself held of memory, in KiB.
    pub anonymous_kib: Option<u64>,
    /// The user id of the process.
    pub uid: Option<u32>,
}
