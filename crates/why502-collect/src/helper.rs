//! The helper process: it looks at the world from the place of another process.
//!
//! One helper is started per standing, as `/proc/self/exe __helper` with a `Job` on its standard input. It
//! enters the network and mount namespaces of the process that it stands in for, drops to its user and groups, and only
//! then starts threads for its tasks: `setns` of a mount namespace fails in a threaded process, and credentials are set per
//! thread. It answers with one line of JSON per task. When the parent dies it dies too.

use crate::echo::EchoSockets;
use crate::namespace::Namespace;
use crate::probe::TlsFiles;
use crate::resolve::NameFiles;
use crate::root::keep_own_descriptors;
use crate::{filters, probe, resolve, route};
use rustix::process::{Gid, Signal, Uid};
use rustix::thread::LinkNameSpaceType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use why502_facts::{
    Answer, FactBody, GapReason, PeerAddress, ProbeContext, ProbeOutcome, ProbeSpec, Resolver, Security,
};

/// The argument that makes the program a helper.
pub const ARGUMENT: &str = "__helper";

/// How long starting, entering and the last reply take at most beyond the tasks' own time: on a host that is short of processor
/// time, which is when somebody looks, a process needs seconds to start.
const STARTING: Duration = Duration::from_secs(4);
/// So many tasks are done at once: enough that silent peers do not hold up the others, and fewer descriptors than a
/// process is allowed by default (1024).
const MAX_AT_ONCE: usize = 256;

/// What one helper does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Whose place it takes, and how far.
    pub(crate) standing: Standing,
    /// Its tasks, each with how long it may take; a connection that is held open afterwards is beside that.
    pub(crate) tasks: Vec<(Task, Duration)>,
}

/// Whose place a helper takes, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// The network namespace alone: rights, files and programs stay those of this host.
    Network(Security),
    /// All of it: network and mount namespace, user and groups.
    Whole(Security),
}

/// One look.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Lists the packet filters of the network namespace.
    ListFilters,
    /// Sends ICMP echo requests.
    Echo {
        /// The address.
        target: IpAddr,
        /// The sizes of the packets.
        sizes: Vec<u16>,
    },
    /// Connects to a peer.
    Probe {
        /// The peer.
        target: PeerAddress,
        /// What is said.
        spec: Box<ProbeSpec>,
        /// Where it comes from, if it is certain.
        source: Option<IpAddr>,
    },
    /// Resolves a name.
    Resolve {
        /// The name.
        name: String,
        /// By whom.
        resolver: Resolver,
    },
    /// Looks up the way to an address.
    Route {
        /// The address.
        target: SocketAddr,
        /// Where packets come from, if it is certain.
        source: Option<IpAddr>,
        /// The mark that they get.
        mark: Option<u32>,
    },
}

impl Task {
    fn spec(&self) -> Option<&ProbeSpec> {
        match self {
            Self::Probe { spec, .. } => Some(spec),
            Self::Echo { .. } | Self::ListFilters | Self::Resolve { .. } | Self::Route { .. } => None,
        }
    }

    /// The same with no longer a hold of a connection than that.
    pub(crate) fn with_idle_at_most(self, most: Duration) -> Self {
        match self {
            Self::Probe { target, spec, source } => {
                Self::Probe { target, spec: Box::new(spec.with_idle_at_most(most)), source }
            }
            Self::Echo { .. } | Self::ListFilters | Self::Resolve { .. } | Self::Route { .. } => self,
        }
    }

    /// How long it takes at most beyond its own time.
    fn idle(&self) -> Duration {
        self.spec().and_then(ProbeSpec::idle).unwrap_or_default()
    }
}

/// Where a helper stands once it took the place of a process.
#[derive(Debug)]
pub(crate) struct Place {
    /// What is told with every probe.
    pub(crate) context: ProbeContext,
    /// Whether the files are those of another mount namespace: nothing of them may be executed.
    pub(crate) foreign_files: bool,
    /// The files that say how names are resolved there.
    pub(crate) names: NameFiles,
    /// The certificates and keys that probes need.
    pub(crate) files: TlsFiles,
    /// The sockets for echo requests.
    echo: EchoSockets,
}

#[derive(Debug, Serialize, Deserialize)]
struct Reply {
    task: usize,
    answer: Answer,
    /// How long the task took, in microseconds.
    micros: Option<u64>,
}

/// What came of a task, and how long it took, in microseconds.
pub(crate) type Performed = (Answer, Option<u64>);

/// Runs a job in a helper process and collects its answers, one per task, those that come until `end`.
pub(crate) fn run_job(job: &Job, end: Instant) -> Vec<Performed> {
    let mut answers = vec![(out_of_time(), None); job.tasks.len()];
    let mut child = match start(job) {
        Ok(child) => child,
        Err(error) => {
            let says = format!("the helper process cannot be started: {error}");
            return vec![(Answer::unknown(GapReason::Failed, says), None); job.tasks.len()];
        }
    };
    let lanes = lanes(&job.tasks);
    let time = |at: &usize| job.tasks[*at].1 + job.tasks[*at].0.idle();
    let longest: Duration = lanes.iter().map(|lane| lane.iter().map(time).sum()).max().unwrap_or_default();
    let n_turns = u32::try_from(lanes.len().div_ceil(MAX_AT_ONCE)).unwrap_or(u32::MAX);
    let patience = longest.saturating_mul(n_turns).saturating_add(STARTING);
    let deadline = Instant::now().checked_add(patience).map_or(end, |own| own.min(end));
    let (sender, replies) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(reply) = serde_json::from_str::<Reply>(&line) else { continue };
                if sender.send(reply).is_err() {
                    break;
                }
            }
        });
    }
    let mut n_missing = answers.len();
    while n_missing > 0 {
        let Ok(reply) = replies.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
            break;
        };
        if let Some(answer) = answers.get_mut(reply.task) {
            *answer = (reply.answer, reply.micros);
            n_missing -= 1;
        }
    }
    stop(&mut child);
    answers
}

/// The answer to what the run's time did not suffice for.
pub(crate) fn out_of_time() -> Answer {
    Answer::unknown(GapReason::TimedOut, "the time of the run was up: --timeout raises it")
}

fn start(job: &Job) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    // Nothing of the caller's environment (proxies, TLS settings, locale) may change what is seen.
    command.arg(ARGUMENT).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(job)?)?;
    }
    Ok(child)
}

fn stop(child: &mut Child) {
    // The helper may be gone already; there is nothing left to do about it then.
    let _ = child.kill();
    let _ = child.wait();
}

/// The helper's own main: reads a job, takes the place of its process, answers.
pub fn run_helper() -> ExitCode {
    // Without a parent nobody reads the answers.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let mut input = Vec::new();
    if io::stdin().read_to_end(&mut input).is_err() {
        return ExitCode::from(2);
    }
    let Ok(job) = serde_json::from_slice::<Job>(&input) else { return ExitCode::from(2) };
    // The library reads its own configuration once; that must be this host's, not a container's.
    openssl::init();
    let place = match enter(&job) {
        Ok(place) => place,
        Err(error) => {
            let says = format!("cannot take the place of the process: {error}");
            let refused = (0..job.tasks.len()).map(|task| Reply {
                task,
                answer: Answer::unknown(GapReason::Denied, &says),
                micros: None,
            });
            refused.for_each(|reply| send(&reply));
            return ExitCode::SUCCESS;
        }
    };
    let (lanes, next) = (lanes(&job.tasks), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..lanes.len().min(MAX_AT_ONCE) {
            scope.spawn(|| {
                while let Some(lane) = lanes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    follow(lane, &job.tasks, &place);
                }
            });
        }
    });
    ExitCode::SUCCESS
}

/// The tasks by their places, those of one lane to be done one after the other: the only worker of a server that waits for the
/// rest of one question leaves the next one lying. Requests come first, and what holds its connection open comes last.
fn lanes(tasks: &[(Task, Duration)]) -> Vec<Vec<usize>> {
    let mut of_peers: BTreeMap<&PeerAddress, Vec<usize>> = BTreeMap::new();
    let mut lanes = Vec::new();
    for (at, (task, _)) in tasks.iter().enumerate() {
        match task {
            Task::Probe { target, .. } => of_peers.entry(target).or_default().push(at),
            Task::Echo { .. } | Task::ListFilters | Task::Resolve { .. } | Task::Route { .. } => {
                lanes.push(vec![at]);
            }
        }
    }
    for lane in of_peers.values_mut() {
        let is_request = |at: usize| tasks[at].0.spec().is_some_and(ProbeSpec::is_request);
        lane.sort_by_key(|at| (tasks[*at].0.idle(), !is_request(*at)));
    }
    lanes.extend(of_peers.into_values());
    lanes
}

/// Does the tasks of a lane. Once a peer stayed silent, or the lane took as long as a silent one would, nothing is gained by
/// waiting: the others are done at once, and so are those that hold their connections open.
fn follow(lane: &[usize], tasks: &[(Task, Duration)], place: &Place) {
    let begin = Instant::now();
    let mut rest = lane.iter().peekable();
    while let Some(at) = rest.next_if(|at| tasks[**at].0.idle().is_zero()) {
        if settle(*at, tasks, place) || begin.elapsed() >= tasks[*at].1 {
            break;
        }
    }
    thread::scope(|scope| {
        for at in rest {
            scope.spawn(|| settle(*at, tasks, place));
        }
    });
}

/// Does a task and tells what came of it; whether its peer stayed silent.
fn settle(at: usize, tasks: &[(Task, Duration)], place: &Place) -> bool {
    let (task, timeout) = &tasks[at];
    let begin = Instant::now();
    let answer = perform(task, place, *timeout);
    let micros = u64::try_from(begin.elapsed().as_micros()).ok();
    let is_silent = is_silent(&answer);
    send(&Reply { task: at, answer, micros });
    is_silent
}

fn is_silent(answer: &Answer) -> bool {
    let Answer::Known(body) = answer else { return false };
    let FactBody::Probe(transcript) = &**body else { return false };
    transcript.steps.last().is_some_and(|step| step.outcome == ProbeOutcome::TimedOut)
}

fn send(reply: &Reply) {
    if let Ok(mut line) = serde_json::to_vec(reply) {
        line.push(b'\n');
        // The parent stops listening when its time is up.
        let _ = io::stdout().lock().write_all(&line);
    }
}

fn perform(task: &Task, place: &Place, timeout: Duration) -> Answer {
    match task {
        Task::ListFilters => filters::list(place, timeout),
        Task::Echo { target, sizes } => place.echo.run(*target, sizes, &place.context, timeout),
        Task::Probe { target, spec, source } => {
            probe::run(target, spec, *source, &place.context, &place.files, timeout)
        }
        Task::Resolve { name, resolver } => resolve::look_up(name, *resolver, place, timeout),
        Task::Route { target, source, mark } => {
            route::look_up(*target, *source, *mark, &place.context, timeout)
        }
    }
}

/// Takes the place of a process, as far as the rights go; what could not be taken over is told in the context.
fn enter(job: &Job) -> io::Result<Place> {
    let mut context = ProbeContext { label: own_label(), ..ProbeContext::default() };
    let specs = || job.tasks.iter().filter_map(|(task, _)| task.spec());
    let echoed = || {
        job.tasks
            .iter()
            .filter_map(|(task, _)| if let Task::Echo { target, .. } = task { Some(*target) } else { None })
    };
    let read = || (NameFiles::read(), TlsFiles::read(specs()), EchoSockets::open(echoed()));
    let (foreign_files, (names, files, echo)) = match job.standing {
        Standing::Network(security) => {
            context.in_network = match security {
                Security::Own => true,
                Security::Process(pid) => Namespace::of(pid, "net", LinkNameSpaceType::Network).enter(),
            };
            (false, (NameFiles::default(), TlsFiles::read(specs()), EchoSockets::default()))
        }
        Standing::Whole(Security::Own) => {
            (context.as_user, context.in_network, context.in_mount) = (true, true, true);
            (false, read())
        }
        Standing::Whole(Security::Process(pid)) => take_place(pid, &mut context, read)?,
    };
    context.uid = rustix::process::geteuid().as_raw();
    // Nothing that a task starts may win rights back.
    let _ = rustix::thread::set_no_new_privs(true);
    Ok(Place { context, foreign_files, names, files, echo })
}

/// Whether the files are those of another mount namespace or root afterwards, and those that `read` reads there.
fn take_place<T>(pid: u32, context: &mut ProbeContext, read: impl FnOnce() -> T) -> io::Result<(bool, T)> {
    // All is read and opened before the first namespace is entered: `/proc` may be another one afterwards.
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    keep_own_descriptors();
    let network = Namespace::of(pid, "net", LinkNameSpaceType::Network);
    let mount = Namespace::of(pid, "mnt", LinkNameSpaceType::Mount);
    context.in_network = network.enter();
    let foreign_files = !matches!(mount, Namespace::Same);
    context.in_mount = mount.enter();
    // While the rights last that let a file be read without touching it.
    let files = read();
    context.as_user = become_user(&status);
    Ok((foreign_files, files))
}

/// Drops to the effective user, group and groups of a process; whether we are that user afterwards.
fn become_user(status: &str) -> bool {
    let ids = |name: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|ids| ids.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect())
            .unwrap_or_default()
    };
    let (Some(&uid), Some(&gid)) = (ids("Uid").get(1), ids("Gid").get(1)) else { return false };
    if rustix::process::geteuid().as_raw() != 0 {
        return rustix::process::geteuid().as_raw() == uid;
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let groups: Vec<Gid> = ids("Groups").into_iter().map(Gid::from_raw).collect();
    rustix::thread::set_thread_groups(&groups).is_ok()
        && rustix::thread::set_thread_res_gid(gid, gid, gid).is_ok()
        && rustix::thread::set_thread_res_uid(uid, uid, uid).is_ok()
}

/// The security label of this process, where the kernel has labels.
fn own_label() -> Option<String> {
    let label = fs::read_to_string("/proc/self/attr/current").ok()?;
    let label = label.trim_matches(['\0', '\n']).to_owned();
    (!label.is_empty()).then_some(label)
}
