//! A busy host: thousands of processes and tens of thousands of sockets, all of them real.

use crate::process::find_program;
use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

/// How many processes sleep beside the gateway.
pub(super) const N_PROCESSES: usize = 5_000;
/// How many sockets are open: two for each connection over the loopback.
pub(super) const N_SOCKETS: usize = 50_000;
/// A destination has no more connections than there are local ports.
const MAX_PER_LISTENER: usize = 5_000;
/// Descriptors for everything else.
const SPARE: u64 = 256;

/// Processes that sleep, and connections that are open; they end with this.
pub(super) struct Crowd {
    processes: Vec<Child>,
    /// Both ends of each connection, with their listeners.
    connections: Vec<(TcpStream, TcpStream)>,
    listeners: Vec<TcpListener>,
}

impl Crowd {
    /// Starts the processes and opens the connections.
    pub(super) fn gather() -> Result<Self> {
        allow_descriptors(u64::try_from(N_SOCKETS + N_SOCKETS / MAX_PER_LISTENER)? + SPARE)?;
        let mut crowd = Self { processes: Vec::new(), connections: Vec::new(), listeners: Vec::new() };
        let sleep = find_program("sleep")?;
        for _ in 0..N_PROCESSES {
            let mut command = Command::new(&sleep);
            command.arg("86400").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            crowd.processes.push(command.spawn().context("a process that sleeps")?);
        }
        while crowd.connections.len() < N_SOCKETS / 2 {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            for _ in 0..MAX_PER_LISTENER.min(N_SOCKETS / 2 - crowd.connections.len()) {
                let client = TcpStream::connect(address).context("a connection over the loopback")?;
                crowd.connections.push((client, listener.accept()?.0));
            }
            crowd.listeners.push(listener);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // One that has ended already needs no end.
            let _ = process.kill();
        }
        for process in &mut self.processes {
            let _ = process.wait();
        }
    }
}

/// Raises how many descriptors this process may have; beyond the hard limit only root may.
fn allow_descriptors(wanted: u64) -> Result<()> {
    let now = rustix::process::getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = now.maximum.map(|maximum| maximum.max(wanted));
    let limit = Rlimit { current: Some(wanted), maximum };
    rustix::process::setrlimit(Resource::Nofile, limit)
        .with_context(|| format!("{wanted} descriptors (ulimit -n) are not allowed; as root they are"))
}
