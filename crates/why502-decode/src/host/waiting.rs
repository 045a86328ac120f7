//! What threads do, or wait for: `/proc/PID/task/TID/{stat,wchan,syscall}` (proc(5)).

use super::sockets::tcp_line;
use std::collections::BTreeMap;

use why502_facts::{
    Connection, ProcessWaits, SocketState, ThreadWait, WaitingProcess, WaitingRecord, WaitingThread,
    WaitsFor, lossy,
};

/// The kernel counts a process's time in hundredths of a second (`USER_HZ`).
const TICK_MILLIS: u64 = 10;
/// The longest file of such a thread that is looked at, in bytes.
const MAX_STAT: usize = 4096;

/// What the threads of processes did between two looks.
pub fn decode_waiting(record: &WaitingRecord) -> Vec<ProcessWaits> {
    record.processes.iter().map(|process| decode_process(process, record)).collect()
}

fn decode_process(process: &WaitingProcess, record: &WaitingRecord) -> ProcessWaits {
    let lines = process.tcp.as_slice().split(|byte| *byte == b'\n').filter_map(tcp_line);
    let sockets: BTreeMap<u64, (SocketState, Connection)> = lines
        .map(|line| (line.inode, (line.state, Connection { local: line.local, remote: line.remote })))
        .collect();
    let threads: Vec<ThreadWait> = process
        .threads
        .iter()
        .filter_map(|thread| decode_thread(thread, &sockets, &record.machine))
        .collect();
    let is_open = |state: SocketState| matches!(state, SocketState::Established | SocketState::SynSent);
    let mut connections: Vec<Connection> =
        sockets.values().filter(|(state, _)| is_open(*state)).map(|(_, connection)| *connection).collect();
    connections.sort();
    ProcessWaits {
        pid: process.pid,
        is_whole: threads.len() as u64 == process.n_threads,
        threads,
        connections,
        millis: record.millis,
    }
}

/// `None` for a thread that ended meanwhile.
fn decode_thread(
    thread: &WaitingThread,
    sockets: &BTreeMap<u64, (SocketState, Connection)>,
    machine: &str,
) -> Option<ThreadWait> {
    let (first, second) = (stat(thread.first.as_slice())?, stat(thread.second.as_slice())?);
    let word = |blob: &Option<why502_facts::Blob>| {
        let text = lossy(blob.as_ref()?.as_slice()).trim().to_owned();
        // Who may not look sees a zero.
        (!text.is_empty() && text != "0").then_some(text)
    };
    let wchan = word(&thread.wchan);
    let call = word(&thread.syscall).and_then(|text| text.split(' ').next()?.parse::<u32>().ok());
    let remote = || {
        let inode =
            thread.descriptor.as_deref()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        sockets.get(&inode).map(|(_, connection)| connection.remote)
    };
    let by_call = call.map_or(WaitsFor::Unknown, |call| waits_by_call(call, machine));
    let waits_for = if by_call == WaitsFor::Unknown {
        wchan.as_deref().map_or(WaitsFor::Unknown, waits_by_function)
    } else {
        by_call
    };
    let waits_for =
        if let WaitsFor::Receive(_) = waits_for { WaitsFor::Receive(remote()) } else { waits_for };
    Some(ThreadWait {
        tid: thread.tid,
        states: [first.0, second.0],
        busy_millis: second.1.saturating_sub(first.1).saturating_mul(TICK_MILLIS),
        waits_for,
        wchan,
    })
}

/// The state and the time on a processor, in ticks.
fn stat(stat: &[u8]) -> Option<(char, u64)> {
    let text = lossy(&stat[..stat.len().min(MAX_STAT)]);
    // The command may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let (user, system): (u64, u64) = (fields.nth(10)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((state, user.saturating_add(system)))
}

/// What a system call waits for, by its number: `arch/x86/entry/syscalls/syscall_64.tbl`,
/// `include/uapi/asm-generic/unistd.h`.
fn waits_by_call(call: u32, machine: &str) -> WaitsFor {
    match (machine, call) {
        ("x86_64", 43 | 288) | ("aarch64", 202 | 242) => WaitsFor::Accept,
        ("x86_64", 61 | 247) | ("aarch64", 95 | 260) => WaitsFor::Child,
        ("x86_64", 7 | 23 | 232 | 270 | 271 | 281 | 441) | ("aarch64", 22 | 72 | 73 | 441) => {
            WaitsFor::Events
        }
        ("x86_64", 72 | 73) | ("aarch64", 25 | 32) => WaitsFor::FileLock,
        ("x86_64", 202) | ("aarch64", 98) => WaitsFor::Lock,
        ("x86_64", 0 | 45 | 47) | ("aarch64", 63 | 207 | 212) => WaitsFor::Receive(None),
        ("x86_64", 35 | 230) | ("aarch64", 101 | 115) => WaitsFor::Time,
        _ => WaitsFor::Unknown,
    }
}

/// The same by the function of the kernel that sleeps.
fn waits_by_function(function: &str) -> WaitsFor {
    let begins = |names: &[&str]| names.iter().any(|name| function.starts_with(name));
    if begins(&["inet_csk_accept", "unix_accept", "skb_wait_for_more_packets", "__skb_wait_for_more_packets"])
    {
        WaitsFor::Accept
    } else if begins(&["do_wait"]) {
        WaitsFor::Child
    } else if begins(&[
        "ep_poll",
        "do_poll",
        "do_epoll_wait",
        "do_sys_poll",
        "do_select",
        "poll_schedule_timeout",
    ]) {
        WaitsFor::Events
    } else if begins(&["flock_lock_inode", "locks_lock_inode", "fcntl_setlk", "posix_lock_inode"]) {
        WaitsFor::FileLock
    } else if begins(&["futex_"]) {
        WaitsFor::Lock
    } else if begins(&[
        "wait_woken",
        "sk_wait_data",
        "tcp_recvmsg",
        "unix_stream_read",
        "unix_stream_data_wait",
    ]) {
        WaitsFor::Receive(None)
    } else if begins(&["hrtimer_nanosleep", "do_nanosleep", "common_nsleep"]) {
        WaitsFor::Time
    } else {
        WaitsFor::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::SocketAddr;
    use why502_facts::Blob;

    fn stat_of(state: char, ticks: u64) -> Blob {
        Blob::from(format!("7 (a) b) {state} 1 1 1 0 -1 0 0 0 0 0 {ticks} 3 0 0 20 0 1 0 250 9").as_str())
    }

    fn decoded(thread: WaitingThread) -> ProcessWaits {
        let tcp = "   1: 0100007F:C350 0100007F:1538 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1\n";
        let process = WaitingProcess { pid: 7, threads: vec![thread], n_threads: 1, tcp: tcp.into() };
        let record = WaitingRecord { processes: vec![process], millis: 150, machine: "x86_64".to_owned() };
        decode_waiting(&record).remove(0)
    }

    #[test]
    fn a_read_from_a_database_is_told_with_its_address() {
        let waits = decoded(WaitingThread {
            tid: 7,
            first: stat_of('S', 5),
            second: stat_of('S', 5),
            wchan: Some("wait_woken".into()),
            syscall: Some("45 0x5 0x7f 0x2000 0x0 0x0 0x0 0x7ffd 0x7f\n".into()),
            descriptor: Some("socket:[4711]".to_owned()),
        });
        let database: SocketAddr = "127.0.0.1:5432".parse().unwrap();
        assert_eq!(waits.threads[0].waits_for, WaitsFor::Receive(Some(database)));
        assert_eq!(waits.connections.iter().map(|own| own.remote).collect::<Vec<_>>(), [database]);
        assert!(waits.is_whole && waits.threads[0].stays(&['S']) && !waits.threads[0].stays(&['T']));
    }

    #[test]
    fn without_the_right_to_trace_the_kernel_s_function_tells() {
        let waits = decoded(WaitingThread {
            tid: 7,
            first: stat_of('R', 5),
            second: stat_of('S', 19),
            wchan: Some("futex_wait_queue".into()),
            ..WaitingThread::default()
        });
        let thread = &waits.threads[0];
        assert_eq!((thread.waits_for, thread.busy_millis, thread.states), (WaitsFor::Lock, 140, ['R', 'S']));
        let hidden = decoded(WaitingThread {
            tid: 7,
            first: stat_of('S', 5),
            second: stat_of('S', 5),
            wchan: Some("0".into()),
            ..WaitingThread::default()
        });
        assert_eq!((hidden.threads[0].waits_for, &hidden.threads[0].wchan), (WaitsFor::Unknown, &None));
    }

    #[test]
    fn a_thread_that_ended_is_left_out() {
        let waits = decoded(WaitingThread { tid: 7, first: stat_of('S', 5), ..WaitingThread::default() });
        assert!(waits.threads.is_empty() && !waits.is_whole);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(stat in any::<Vec<u8>>(), other in any::<Vec<u8>>(), text in any::<String>()) {
            let thread = WaitingThread {
                tid: 7,
                first: stat.clone().into(),
                second: stat.into(),
                wchan: Some(other.clone().into()),
                syscall: Some(other.clone().into()),
                descriptor: Some(text),
            };
            let process = WaitingProcess { pid: 7, threads: vec![thread], n_threads: 1, tcp: other.into() };
            decode_waiting(&WaitingRecord { processes: vec![process], millis: 1, machine: "x86_64".to_owned() });
        }
    }
}
