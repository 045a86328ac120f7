//! What processes do, or wait for: raw as it was read, and decoded.

use crate::Blob;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Two looks at the threads of some processes, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRecord {
    /// The processes.
    pub processes: Vec<WaitingProcess>,
    /// The time between the looks, in milliseconds.
    pub millis: u64,
    /// The kind of machine (`x86_64`, `aarch64`), which numbers the system calls.
    pub machine: String,
}

/// One process of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingProcess {
    /// Its id.
    pub pid: u32,
    /// Its threads, at most 64 of them.
    pub threads: Vec<WaitingThread>,
    /// How many it has.
    pub n_threads: u64,
    /// The lines of `/proc/PID/net/tcp` and `tcp6` about its own open connections, at most 256 of them.
    pub tcp: Blob,
}

/// One thread of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingThread {
    /// Its id.
    pub tid: u32,
    /// Its `stat` at the first look.
    pub first: Blob,
    /// The same at the second one; empty if it had ended.
    pub second: Blob,
    /// Its `wchan`: where in the kernel it sleeps.
    pub wchan: Option<Blob>,
    /// Its `syscall`, where this program may trace it.
    pub syscall: Option<Blob>,
    /// What the descriptor that the system call is about leads to: `socket:[4711]`, a path.
    pub descriptor: Option<String>,
}

/// What the threads of a process did between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessWaits {
    /// The process.
    pub pid: u32,
    /// Its threads.
    pub threads: Vec<ThreadWait>,
    /// Whether these are all of its threads.
    pub is_whole: bool,
    /// The remote ends of connections that it holds open, with the local ends.
    pub connections: Vec<Connection>,
    /// The time between the looks, in milliseconds.
    pub millis: u64,
}

/// A connection of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// Its own end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// What a thread did between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadWait {
    /// Its id.
    pub tid: u32,
    /// Its state at both looks (`R`, `S`, `D`, `T`, …).
    pub states: [char; 2],
    /// The time on a processor between them, in milliseconds.
    pub busy_millis: u64,
    /// What it waited for at the second look.
    pub waits_for: WaitsFor,
    /// The kernel's function that it sleeps in, where the kernel says so.
    pub wchan: Option<String>,
}

impl ThreadWait {
    /// Whether it was in one of some states at both looks, and did not run between them.
    pub fn stays(&self, states: &[char]) -> bool {
        self.busy_millis == 0 && self.states.iter().all(|state| states.contains(state))
    }
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// A new connection.
    Accept,
    /// A child's end.
    Child,
    /// Any of several descriptors (`poll`, `select`, `epoll_wait`).
    Events,
    /// Another process's lock on a file.
    FileLock,
    /// A lock or a condition of its own process, or of memory that it shares (`futex`).
    Lock,
    /// Nobody knows.
    Unknown,
    /// Bytes from a connection: its remote end, if it is one of TCP that could be told.
    Receive(Option<SocketAddr>),
    /// Time.
    Time,
}
