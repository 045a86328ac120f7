//! What keeps a server from answering anything, by the state of its processes.

use crate::case::{Case, PeerSubject, Reach, count};
use crate::causes::app_server::Server;
use crate::finding::{Evidence, Origin};
use crate::remedy::{Remedy, Risk};
use std::net::SocketAddr;
use why502_facts::{Observed, Process, ProcessWaits, ThreadWait, WaitsFor};

/// The most processes of a server that are looked at.
const MAX_PROCESSES: usize = 16;
/// A thread that runs at both looks, and for so much of the time between them, does nothing else: others may want the
/// processors as well. In percent.
const BUSY: u64 = 20;
/// Where the kernel keeps tasks of a frozen control group (`kernel/cgroup/freezer.c`, `kernel/freezer.c`).
const FROZEN: [&str; 2] = ["do_freezer_trap", "__refrigerator"];

/// What keeps a server from answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stuck<'c> {
    /// Its control group is frozen: a paused container.
    Frozen(&'c Process),
    /// It holds connections, and nothing in it runs.
    Idle(&'c Process, Vec<SocketAddr>),
    /// All threads wait for locks.
    Locked(&'c Process),
    /// Connections wait, and nobody who could take them does.
    NotAccepting(&'c Process),
    /// It waits for an answer on a connection of its own.
    Receiving(&'c Process, SocketAddr),
    /// It runs without a pause.
    Spinning(&'c Process),
    /// It was stopped by a signal, or a debugger holds it.
    Stopped(Vec<&'c Process>, char),
    /// It sleeps where no signal reaches it, in that function of the kernel.
    Uninterruptible(&'c Process, Option<String>),
}

/// The processes that serve: the workers, or the only one.
pub(super) fn serving(server: &Server<'_>) -> Vec<u32> {
    let workers = server.workers.iter().map(|worker| worker.pid);
    let pids: Vec<u32> = if server.workers.is_empty() { vec![server.master.pid] } else { workers.collect() };
    pids.into_iter().take(MAX_PROCESSES).collect()
}

/// What keeps a server from answering; `None` where that is not so, or not seen.
pub(super) fn stuck<'c>(
    case: &'c Case<'_>,
    peer: &PeerSubject,
    server: &Server<'c>,
    waits: &[ProcessWaits],
) -> Option<Stuck<'c>> {
    let pids = serving(server);
    let processes: Vec<&'c Process> = std::iter::once(server.master)
        .chain(server.workers.iter().copied())
        .filter(|process| pids.contains(&process.pid))
        .collect();
    let first = *processes.first()?;
    let of = |process: &Process| waits.iter().find(|own| own.pid == process.pid);
    let all = |wanted: &dyn Fn(&Process) -> bool| processes.iter().all(|process| wanted(process));
    // What two looks show says more than the one at all processes.
    let in_state = |process: &Process, states: &[char]| match of(process) {
        Some(own) => !own.threads.is_empty() && own.threads.iter().all(|thread| thread.stays(states)),
        None => states.contains(&process.state),
    };
    let is_frozen = |process: &Process| {
        of(process).is_some_and(|own| {
            let trapped = |thread: &ThreadWait| {
                let is_trapped = |wchan: &String| FROZEN.iter().any(|name| wchan.starts_with(name));
                thread.busy_millis == 0 && thread.wchan.as_ref().is_some_and(is_trapped)
            };
            !own.threads.is_empty() && own.threads.iter().all(trapped)
        })
    };
    if all(&|process| in_state(process, &['T', 't'])) {
        return Some(Stuck::Stopped(processes, first.state));
    }
    if all(&is_frozen) {
        return Some(Stuck::Frozen(first));
    }
    let main = |process: &Process| of(process)?.threads.iter().find(|thread| thread.tid == process.pid);
    if all(&|process| main(process).is_some_and(|thread| thread.stays(&['D']))) {
        return Some(Stuck::Uninterruptible(first, main(first).and_then(|thread| thread.wchan.clone())));
    }
    let threads = || processes.iter().filter_map(|process| of(process)).flat_map(|own| &own.threads);
    if threads().next().is_none() || processes.iter().any(|process| of(process).is_none()) {
        return None;
    }
    let spins = |process: &Process| {
        of(process).is_some_and(|own| {
            own.threads
                .iter()
                .any(|thread| thread.states == ['R', 'R'] && thread.busy_millis * 100 >= own.millis * BUSY)
        })
    };
    if all(&spins) {
        return Some(Stuck::Spinning(first));
    }
    if threads().any(|thread| thread.busy_millis > 0) {
        return None;
    }
    let observed = case.sockets();
    let table = observed.known().filter(|table| !table.owners_hidden)?;
    let n_held: u64 = processes.iter().map(|process| table.accepted_by(&peer.address, process.pid)).sum();
    let is_whole = waits.iter().all(|own| own.is_whole);
    if is_whole && threads().all(|thread| matches!(thread.waits_for, WaitsFor::Lock | WaitsFor::FileLock)) {
        return Some(Stuck::Locked(first));
    }
    let is_taking = |thread: &ThreadWait| matches!(thread.waits_for, WaitsFor::Accept | WaitsFor::Events);
    if table.queue(&peer.address) > 0 && n_held == 0 && is_whole && !threads().any(is_taking) {
        // A queue without room is listen-backlog-full: that nobody accepts is what it says.
        let is_full = case.reach(peer) == Observed::Known(Reach::Silent);
        return (!is_full).then_some(Stuck::NotAccepting(first));
    }
    let remote = |thread: &ThreadWait| match thread.waits_for {
        WaitsFor::Receive(remote) => remote.filter(|remote| !is_client(*remote, peer, waits)),
        _ => None,
    };
    let waits_for_others = |thread: &ThreadWait| remote(thread).is_some();
    // One that listens to a queue of messages, as always, while others wait for something else, tells nothing.
    if threads().all(|thread| is_taking(thread) || waits_for_others(thread))
        && let Some(remote) = threads().find_map(remote)
    {
        return Some(Stuck::Receiving(first, remote));
    }
    // Whoever sleeps for a while, or reads what a client sends, may go on.
    let rests = |thread: &ThreadWait| {
        matches!(thread.waits_for, WaitsFor::Lock | WaitsFor::FileLock)
            || is_taking(thread)
            || waits_for_others(thread)
    };
    (n_held > 0 && is_whole && threads().all(rests)).then(|| Stuck::Idle(first, outgoing(peer, waits)))
}

/// Whether the other end of a connection is a client of the peer.
fn is_client(remote: SocketAddr, peer: &PeerSubject, waits: &[ProcessWaits]) -> bool {
    let port = peer.address.inet().map(|address| address.port());
    let mut own = waits.iter().flat_map(|own| &own.connections);
    own.any(|connection| connection.remote == remote && Some(connection.local.port()) == port)
}

/// The other ends of the connections that a server opened itself.
fn outgoing(peer: &PeerSubject, waits: &[ProcessWaits]) -> Vec<SocketAddr> {
    let port = peer.address.inet().map(|address| address.port());
    let own = waits.iter().flat_map(|own| &own.connections);
    let mut remotes: Vec<SocketAddr> =
        own.filter(|own| Some(own.local.port()) != port).map(|own| own.remote).collect();
    remotes.sort();
    remotes.dedup();
    remotes
}

impl Stuck<'_> {
    /// Whether the kernel itself says that nothing of it can run.
    pub(super) fn cannot_run(&self) -> bool {
        matches!(self, Self::Frozen(_) | Self::Stopped(..))
    }

    /// Whether nobody in it works on anything, or takes anything up.
    pub(super) fn serves_nobody(&self) -> bool {
        matches!(self, Self::Locked(_) | Self::NotAccepting(_))
    }

    /// Whether it shows why nothing is answered, and not only that nothing is.
    pub(super) fn is_mechanism(&self) -> bool {
        match self {
            Self::Frozen(_)
            | Self::Locked(_)
            | Self::NotAccepting(_)
            | Self::Receiving(..)
            | Self::Stopped(..)
            | Self::Uninterruptible(..) => true,
            Self::Idle(..) | Self::Spinning(_) => false,
        }
    }

    fn process(&self) -> Option<&Process> {
        match self {
            Self::Frozen(process)
            | Self::Idle(process, _)
            | Self::Locked(process)
            | Self::NotAccepting(process)
            | Self::Receiving(process, _)
            | Self::Spinning(process)
            | Self::Uninterruptible(process, _) => Some(process),
            Self::Stopped(processes, _) => processes.first().copied(),
        }
    }

    /// What its processes show.
    pub(super) fn evidence(&self) -> Evidence {
        let pid = self.process().map_or(0, |process| process.pid);
        let (says, file) = match self {
            Self::Frozen(_) => ("its processes are frozen with their control group".to_owned(), "wchan"),
            Self::Idle(_, remotes) if remotes.is_empty() => (
                "it holds connections, and none of its threads did anything between two looks".to_owned(),
                "task",
            ),
            Self::Idle(_, remotes) => (
                format!(
                    "it holds connections, and none of its threads did anything between two looks; it has open {}",
                    list(remotes)
                ),
                "task",
            ),
            Self::Locked(_) => ("all of its threads wait for locks".to_owned(), "task"),
            Self::NotAccepting(_) => {
                ("connections wait, and none of its threads waits for one or runs".to_owned(), "task")
            }
            Self::Receiving(_, remote) => {
                (format!("it waits for an answer from {remote} on a connection of its own"), "syscall")
            }
            Self::Spinning(_) => {
                ("a thread of it runs without a pause, and answers nothing".to_owned(), "stat")
            }
            Self::Stopped(processes, state) => {
                let number = count(processes.len() as u64, "process").replace("processs", "processes");
                (format!("{number} that serve there: state {state} at both looks"), "stat")
            }
            Self::Uninterruptible(_, wchan) => {
                let place = wchan.as_ref().map(|wchan| format!(" in {wchan}")).unwrap_or_default();
                (format!("it is in uninterruptible sleep (state D){place} at both looks"), "stat")
            }
        };
        Evidence::supporting(says, Origin::Host(format!("/proc/{pid}/{file}")))
    }

    /// The end of a title.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Frozen(_) => "is frozen and answers nothing".to_owned(),
            Self::Idle(_, remotes) if remotes.len() == 1 => {
                format!("answers nothing on any route; it has a connection to {}", list(remotes))
            }
            Self::Idle(..) => "answers nothing on any route, and nothing in it runs".to_owned(),
            Self::Locked(_) => "answers nothing: all of its threads wait for locks".to_owned(),
            Self::NotAccepting(_) => "takes no connections any more".to_owned(),
            Self::Receiving(_, remote) => format!("answers nothing: it waits for {remote}"),
            Self::Spinning(_) => "answers nothing: it runs without a pause".to_owned(),
            Self::Stopped(_, 't') => "is held by a debugger and answers nothing".to_owned(),
            Self::Stopped(..) => "is stopped (state T) and answers nothing".to_owned(),
            Self::Uninterruptible(..) => {
                "sleeps where no signal reaches it (state D) and answers nothing".to_owned()
            }
        }
    }

    /// What to do; `restart` is what helps where nothing better does.
    pub(super) fn remedy(&self, restart: Remedy) -> Vec<Remedy> {
        match self {
            Self::Stopped(processes, 't') => {
                let pid = processes.first().map_or(0, |process| process.pid);
                vec![
                    Remedy::new("Let the debugger go", Risk::ShowOnly)
                        .advice(format!("TracerPid in /proc/{pid}/status names who holds it: detach it"))
                        .verify("requests of all routes are answered again"),
                    restart,
                ]
            }
            Self::Stopped(processes, _) => {
                let mut go_on = Remedy::new("Let it go on", Risk::Review)
                    .advice("somebody or something stopped it (SIGSTOP, Ctrl-Z, a backup or a debugger): ask who before")
                    .verify("requests of all routes are answered again");
                for process in processes {
                    let pid = process.pid.to_string();
                    go_on = go_on.command(&["kill", "-CONT", &pid], &[&["kill", "-STOP", &pid]]);
                }
                vec![go_on]
            }
            Self::Frozen(process) => vec![
                Remedy::new("Thaw its control group", Risk::ShowOnly)
                    .advice(format!(
                        "it was paused: docker unpause, podman unpause, systemctl thaw, or cgroup.freeze of the group \
                         that /proc/{}/cgroup names",
                        process.pid
                    ))
                    .verify("requests of all routes are answered again"),
            ],
            Self::Uninterruptible(process, _) => vec![
                Remedy::new("Find what the kernel waits for", Risk::ShowOnly)
                    .advice(format!(
                        "cat /proc/{}/stack, and dmesg for a disk or a network file system that does not answer; no signal \
                         ends such a process before that does",
                        process.pid
                    ))
                    .verify("requests of all routes are answered again"),
            ],
            Self::Receiving(_, remote) => vec![
                Remedy::new(format!("Find why {remote} does not answer"), Risk::ShowOnly)
                    .advice(format!(
                        "the backend waits for {remote} without a limit: look at what listens there (locks, load, a network \
                         between), and give the backend's client a timeout"
                    ))
                    .verify("requests of all routes are answered again"),
                restart,
            ],
            Self::Idle(..) | Self::Locked(_) | Self::NotAccepting(_) | Self::Spinning(_) => vec![restart],
        }
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let words: Vec<String> = addresses.iter().take(3).map(SocketAddr::to_string).collect();
    words.join(", ")
}
