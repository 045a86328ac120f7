//! A busy host: thousands of processes and tens of thousands of sockets, all of them real.

use crate::process::find_program;
use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

/// How many processes there are beside the gateway.
pub(super) const N_PROCESSES: usize = 5_000;
/// How many sockets are open: two for each connection over the loopback.
pub(super) const N_SOCKETS: usize = 50_000;
/// How many connections one process holds: both ends are fewer descriptors than a process may have by default.
const PER_PROCESS: usize = 500;
/// The command of this program that holds connections.
const HOLDER: &str = "__hold";

/// Processes that sleep, and processes that hold connections; they end with this.
pub(super) struct Crowd {
    processes: Vec<Child>,
}

impl Crowd {
    /// Starts them all, and waits until every connection stands.
    pub(super) fn gather() -> Result<Self> {
        let mut crowd = Self { processes: Vec::new() };
        let program = std::env::current_exe()?;
        for _ in 0..N_SOCKETS / 2 / PER_PROCESS {
            let mut command = Command::new(&program);
            command.args([HOLDER, &PER_PROCESS.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut holder = command.spawn().context("a process that holds connections")?;
            let mut line = String::new();
            if let Some(stdout) = holder.stdout.take() {
                BufReader::new(stdout).read_line(&mut line)?;
            }
            crowd.processes.push(holder);
            if line.trim() != "ready" {
                bail!("a process could not open {PER_PROCESS} connections");
            }
        }
        let sleep = find_program("sleep")?;
        while crowd.processes.len() < N_PROCESSES {
            let mut command = Command::new(&sleep);
            command.arg("86400").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            crowd.processes.push(command.spawn().context("a process that sleeps")?);
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

/// Opens so many connections to itself, says that they stand, and holds them until nobody holds its standard input.
pub fn hold(n_connections: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut ends: Vec<(TcpStream, TcpStream)> = Vec::with_capacity(n_connections);
    for _ in 0..n_connections {
        let client = TcpStream::connect(address)?;
        ends.push((client, listener.accept()?.0));
    }
    std::io::stdout().write_all(b"ready\n")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(ends);
    Ok(())
}
