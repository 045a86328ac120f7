//! What threads do, or wait for: two looks at them, a moment apart.

use crate::processes::thread_ids;
use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};
use why502_decode::host::tcp_line;
use why502_facts::{Answer, Blob, FactBody, SocketState, WaitingProcess, WaitingRecord, WaitingThread};

/// The most processes that are looked at.
const MAX_PROCESSES: usize = 16;
/// The most threads of each.
const MAX_THREADS: usize = 64;
/// The most descriptors of each that are looked at for connections.
const MAX_DESCRIPTORS: usize = 4096;
/// The most connections of each that are kept.
const MAX_CONNECTIONS: usize = 256;
/// The largest table of connections that is read, in bytes.
const MAX_TABLE: usize = 16 << 20;
/// Between the looks: several ticks of the kernel's clock for a process's time.
const PAUSE: Duration = Duration::from_millis(150);

/// Looks twice at the threads of processes.
pub(crate) fn read_waiting(pids: &[u32]) -> Answer {
    let begin = Instant::now();
    let mut processes: Vec<WaitingProcess> =
        pids.iter().take(MAX_PROCESSES).filter_map(|pid| first_look(*pid)).collect();
    if processes.is_empty() {
        return Answer::Absent;
    }
    thread::sleep(PAUSE);
    processes.iter_mut().for_each(second_look);
    Answer::known(FactBody::Waiting(WaitingRecord {
        processes,
        millis: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        machine: std::env::consts::ARCH.to_owned(),
    }))
}

/// `None` if the process is gone.
fn first_look(pid: u32) -> Option<WaitingProcess> {
    let tids = thread_ids(pid).ok().filter(|tids| !tids.is_empty())?;
    let look = |tid: u32| WaitingThread { tid, first: read(pid, tid, "stat"), ..WaitingThread::default() };
    let n_threads = tids.len() as u64;
    let threads = tids.into_iter().take(MAX_THREADS).map(look).collect();
    Some(WaitingProcess { pid, threads, n_threads, tcp: Blob::default() })
}

fn second_look(process: &mut WaitingProcess) {
    let pid = process.pid;
    for thread in &mut process.threads {
        thread.second = read(pid, thread.tid, "stat");
        thread.wchan = fs::read(format!("/proc/{pid}/task/{}/wchan", thread.tid)).ok().map(Into::into);
        let call = fs::read_to_string(format!("/proc/{pid}/task/{}/syscall", thread.tid)).ok();
        thread.descriptor = call.as_deref().and_then(first_argument).and_then(|descriptor| {
            let target = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).ok()?;
            Some(target.to_string_lossy().into_owned())
        });
        thread.syscall = call.map(|call| Blob::from(call.as_str()));
    }
    process.tcp = own_connections(pid);
}

fn read(pid: u32, tid: u32, name: &str) -> Blob {
    fs::read(format!("/proc/{pid}/task/{tid}/{name}")).unwrap_or_default().into()
}

/// The first argument of a system call, where it may be a descriptor: `45 0x5 0x7f… …`.
fn first_argument(call: &str) -> Option<u32> {
    let argument = call.split(' ').nth(1)?.strip_prefix("0x")?;
    u32::from_str_radix(argument.trim(), 16).ok()
}

/// The lines of the tables of connections about those of a process.
fn own_connections(pid: u32) -> Blob {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Blob::default() };
    let inode = |entry: std::io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
    };
    let inodes: BTreeSet<u64> = entries.take(MAX_DESCRIPTORS).filter_map(inode).collect();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for table in ["tcp", "tcp6"] {
        let Ok(mut bytes) = fs::read(format!("/proc/{pid}/net/{table}")) else { continue };
        bytes.truncate(MAX_TABLE);
        let is_own = |line: &&[u8]| {
            tcp_line(line)
                .is_some_and(|line| line.state != SocketState::Listen && inodes.contains(&line.inode))
        };
        kept.extend(bytes.split(|byte| *byte == b'\n').filter(is_own).map(<[u8]>::to_vec));
    }
    kept.truncate(MAX_CONNECTIONS);
    kept.join(&b'\n').into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use why502_decode::host::decode_waiting;

    #[test]
    fn two_looks_are_taken_and_own_connections_are_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _stream = TcpStream::connect(address).unwrap();
        let Answer::Known(body) = read_waiting(&[std::process::id(), u32::MAX]) else {
            panic!("nothing seen")
        };
        let FactBody::Waiting(record) = *body else { panic!("another answer") };
        let waits = decode_waiting(&record);
        assert_eq!(waits.len(), 1);
        assert!(!waits[0].threads.is_empty() && waits[0].millis >= 150);
        assert!(waits[0].connections.iter().any(|own| own.remote == address), "{waits:?}");
        assert_eq!(read_waiting(&[u32::MAX]), Answer::Absent);
    }

    #[test]
    fn the_first_argument_of_a_call_may_be_a_descriptor() {
        assert_eq!(first_argument("45 0x5 0x7f 0x0 0x0 0x0 0x0 0x7ffd 0x7f\n"), Some(5));
        assert_eq!(first_argument("running\n"), None);
        assert_eq!(first_argument("-1 0x7ffd 0x7f\n"), Some(0x7ffd));
    }
}
