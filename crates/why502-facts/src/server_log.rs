//! What an application server writes of itself.

use crate::{Blob, Stamp};
use serde::{Deserialize, Serialize};

/// The end of a file that a process holds open to append to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerLogRecord {
    /// The file's path, as `/proc/PID/fd` names it.
    pub path: String,
    /// When it was written last.
    pub modified: Stamp,
    /// The lines of its last 256 KiB in which a server speaks of its own workers; of the others the stamps beside them
    /// alone, so that nothing of what an application writes is kept.
    pub lines: Blob,
}

/// What an application server says of its own workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerWord {
    /// What happened.
    pub event: ServerEvent,
    /// The worker, by the id that the server knows.
    pub pid: Option<u32>,
    /// The pool, where the server names one; the program of a supervisor.
    pub pool: Option<String>,
    /// The earliest moment: that of the line, else that of the last line before it with a stamp.
    pub from: Option<Stamp>,
    /// The latest moment: that of the line, else that of the next line with a stamp, else of the last write.
    pub to: Stamp,
    /// The line.
    pub line: String,
    /// The file.
    pub path: String,
}

/// What happened to a worker, or to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerEvent {
    /// It ended by itself with that exit code, or nobody says how.
    Exited(Option<u32>),
    /// Its supervisor starts it no more, because it ended too often.
    GaveUp,
    /// A signal ended it.
    Killed(u32),
    /// All of them were busy: its queue of connections was full, or it may start no more of them.
    PoolFull,
    /// It was ended on purpose, to be replaced by another one.
    Recycled,
    /// The server as a whole was told to reload or to end.
    Restarted,
    /// Its supervisor started it.
    Started,
    /// Its supervisor was told to end it.
    Stopped,
    /// The server ended it because it took too long.
    TimedOut,
}
