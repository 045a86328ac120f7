//! Asks in, facts out.

use crate::helper::{Job, Standing, Task, out_of_time, run_job};
use crate::{
    access_control, changes, control_groups, engine, file_systems, files, host, kernel_log, logs,
    network_limits, processes, server_logs, services, sockets, units, waiting,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use why502_decode::logs::AccessFormat;
use why502_decode::wire::GREETING;
use why502_facts::{
    Answer, Ask, Fact, FactBody, FilterMoment, GapReason, LogKind, PeerAddress, ProbeOutcome, ProbeSpec,
    RequestKey, Root, Security, Stamp, StepKind, Transcript,
};

/// Names the route of a request in a log of an owner.
pub type RouteOfOwner = dyn Fn(&str, &RequestKey<'_>) -> Option<Arc<str>> + Send + Sync;

/// What the options of a run allow.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Nothing of this host but the files below these directories and files (`--offline`); `None`: all of it.
    pub only_files: Option<Vec<PathBuf>>,
    /// Whether anything may be sent.
    pub may_probe: bool,
    /// Whether logs are read.
    pub reads_logs: bool,
}

/// Answers asks from the world.
#[derive(Debug)]
pub struct Collector {
    policy: Policy,
    /// When whatever can stop by itself stops.
    stop: Instant,
    /// When nothing is waited for any longer.
    end: Instant,
    probe_timeout: Duration,
    /// How long the peers took that answered a probe or closed by themselves.
    paces: Mutex<BTreeMap<(Security, PeerAddress), Duration>>,
}

/// How long one probe may take at most: a peer on a network answers within it, a silent one shows in it. A connection
/// whose first packets are lost is made when Linux repeats them, after 1 s and after 3 s (tcp(7), `tcp_syn_retries`).
const PROBE_TIMEOUT: Duration = Duration::from_millis(3500);
/// How much of a run's time is kept for handing over what was found until then.
const HANDING_OVER: Duration = Duration::from_millis(500);
/// How long a further probe of a peer may take at least that ended the first one by itself.
const FURTHER_PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How many times as long as the first one it may take.
const FURTHER_PROBE_FACTOR: u32 = 10;

impl Collector {
    /// A collector whose answers are all in within `timeout`, whatever is looked at.
    pub fn new(policy: Policy, timeout: Duration) -> Self {
        let begin = Instant::now();
        Self {
            policy,
            stop: begin + timeout.saturating_sub(HANDING_OVER.min(timeout / 10)),
            end: begin + timeout,
            probe_timeout: PROBE_TIMEOUT.min(timeout),
            paces: Mutex::default(),
        }
    }

    /// The same, with so much time for one probe or name.
    #[must_use]
    pub fn with_probe_timeout(mut self, probe_timeout: Duration) -> Self {
        self.probe_timeout = probe_timeout;
        self
    }

    /// Forgets how soon peers react, so that a probe that is repeated may take as long as the first one.
    pub fn forget_paces(&self) {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Answers every ask with a fact. `route` names the routes of log lines.
    pub fn answer(&self, asks: &[Ask], route: &Arc<RouteOfOwner>) -> Vec<Fact> {
        let (tasks, looks): (Vec<&Ask>, Vec<&Ask>) = asks.iter().partition(|ask| task(ask).is_some());
        let (first, tasks): (Vec<&Ask>, Vec<&Ask>) = tasks.into_iter().partition(|ask| is_before_all(ask));
        thread::scope(|scope| {
            let helpers = scope.spawn(|| {
                let mut facts = self.perform(&first);
                facts.extend(self.perform(&tasks));
                facts
            });
            let mut facts = self.look_at_all(&looks, route);
            // A panic in a helper's thread is a bug and must not be swallowed.
            facts.extend(helpers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            facts
        })
    }

    /// Looks in a thread that is left behind when the time is up: a file system that hangs cannot be interrupted.
    fn look_at_all(&self, asks: &[&Ask], route: &Arc<RouteOfOwner>) -> Vec<Fact> {
        let (sender, answers) = mpsc::channel();
        let (todo, route, stop) = (self.allowed(asks), Arc::clone(route), self.stop);
        let looker = thread::spawn(move || {
            for (ask, refusal) in todo {
                let answer = refusal.unwrap_or_else(|| look(&ask, &*route, stop));
                if sender.send(fact(&ask, answer)).is_err() {
                    break;
                }
            }
        });
        let mut facts = Vec::with_capacity(asks.len());
        while let Ok(fact) = answers.recv_timeout(self.end.saturating_duration_since(Instant::now())) {
            facts.push(fact);
        }
        if looker.is_finished()
            && let Err(panic) = looker.join()
        {
            std::panic::resume_unwind(panic);
        }
        facts.extend(asks[facts.len()..].iter().map(|ask| fact(ask, out_of_time())));
        facts
    }

    /// The asks, each with the gap that the options make of it.
    fn allowed(&self, asks: &[&Ask]) -> Vec<(Ask, Option<Answer>)> {
        asks.iter().map(|&ask| (ask.clone(), self.refuse(ask))).collect()
    }

    /// The gap that the options make of an ask.
    fn refuse(&self, ask: &Ask) -> Option<Answer> {
        if !self.policy.reads_logs && matches!(ask, Ask::Log(_) | Ask::LogTail { .. }) {
            return Some(Answer::unknown(GapReason::NotAsked, "not looked at: no log is read for this"));
        }
        let allowed = match (&self.policy.only_files, ask) {
            (
                None,
                Ask::Container { .. }
                | Ask::Echo { .. }
                | Ask::Engine { .. }
                | Ask::Probe { .. }
                | Ask::Resolve { .. },
            ) => self.policy.may_probe,
            (None, _) => true,
            (
                Some(files),
                Ask::File { root, path }
                | Ask::Log(why502_facts::LogSlice { root, path, .. })
                | Ask::LogTail { root, path, .. },
            ) => *root == Root::Host && is_below(path, files),
            (Some(files), Ask::Glob { root, pattern }) => *root == Root::Host && is_below(pattern, files),
            (Some(_), _) => false,
        };
        let option = if self.policy.only_files.is_some() { "--offline" } else { "--no-probe" };
        (!allowed).then(|| Answer::unknown(GapReason::NotAsked, format!("not looked at: {option}")))
    }

    /// Probes, names and packet filters go to one helper per standing.
    fn perform(&self, asks: &[&Ask]) -> Vec<Fact> {
        let mut facts = Vec::new();
        let mut jobs: BTreeMap<Standing, Vec<&Ask>> = BTreeMap::new();
        for &ask in asks {
            match (self.refuse(ask), task(ask)) {
                (Some(refusal), _) => facts.push(fact(ask, refusal)),
                (None, Some((standing, _))) => jobs.entry(standing).or_default().push(ask),
                (None, None) => {}
            }
        }
        let done = thread::scope(|scope| {
            let helpers: Vec<_> = jobs
                .into_iter()
                .map(|(standing, asks)| scope.spawn(move || self.perform_as(standing, &asks)))
                .collect();
            let join = |helper: thread::ScopedJoinHandle<'_, Vec<Fact>>| {
                helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            helpers.into_iter().flat_map(join).collect::<Vec<Fact>>()
        });
        facts.extend(done);
        facts
    }

    /// The tasks of one standing.
    fn perform_as(&self, standing: Standing, asks: &[&Ask]) -> Vec<Fact> {
        let left = self.stop.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return asks.iter().map(|ask| fact(ask, out_of_time())).collect();
        }
        // What is held open leaves the time that other looks may still need.
        let idle = left.saturating_sub(self.probe_timeout);
        let timed = |ask: &&Ask| Some((task(ask)?.1.with_idle_at_most(idle), left.min(self.patience(ask))));
        let job = Job { standing, tasks: asks.iter().filter_map(timed).collect() };
        let performed = run_job(&job, self.end);
        for (ask, (answer, _)) in asks.iter().zip(&performed) {
            self.learn(ask, answer);
        }
        let timed = |(ask, (answer, micros)): (&&Ask, _)| Fact { micros, ..fact(ask, answer) };
        asks.iter().zip(performed).map(timed).collect()
    }

    /// How long a task may take. A peer that ended a probe by itself shows by its pace how soon it reacts: only what it
    /// has no answer to keeps it silent for many times as long.
    fn patience(&self, ask: &Ask) -> Duration {
        let Ask::Probe { security, target, spec, .. } = ask else { return self.probe_timeout };
        // Who is given the time to speak first reacts only after it.
        let greeting = if matches!(**spec, ProbeSpec::WhoSpeaks(_)) { GREETING } else { Duration::ZERO };
        let paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let further = paces.get(&(*security, target.clone())).map(|pace| *pace * FURTHER_PROBE_FACTOR);
        further.map_or(self.probe_timeout, |further| {
            (further.max(FURTHER_PROBE_TIMEOUT) + greeting).min(self.probe_timeout)
        })
    }

    fn learn(&self, ask: &Ask, answer: &Answer) {
        let (Ask::Probe { security, target, .. }, Answer::Known(body)) = (ask, answer) else { return };
        let FactBody::Probe(transcript) = &**body else { return };
        if let Some(pace) = pace(transcript) {
            let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
            paces.insert((*security, target.clone()), pace);
        }
    }
}

/// How long a peer took to answer what was sent, or to end the conversation; `None` if it did neither.
fn pace(transcript: &Transcript) -> Option<Duration> {
    // How long the connection was held open afterwards is no pace.
    let spoken =
        || transcript.steps.iter().filter(|step| !matches!(step.kind, StepKind::Idle | StepKind::Again));
    let last = spoken().next_back()?;
    let reacted = matches!(last.kind, StepKind::Handshake | StepKind::Receive)
        && last.outcome != ProbeOutcome::TimedOut;
    reacted.then(|| Duration::from_micros(spoken().map(|step| step.micros).sum()))
}

/// Looks, unless it is too late.
fn look(ask: &Ask, route: &RouteOfOwner, stop: Instant) -> Answer {
    if Instant::now() >= stop {
        return out_of_time();
    }
    match ask {
        Ask::Audit { from, marks } => access_control::read_audit(*from, marks),
        Ask::Confinement { pid } => access_control::read_confinement(*pid),
        Ask::Decision { subject, object, class, permission } => {
            access_control::read_decision(subject, object, class, permission)
        }
        Ask::Container { socket, id } => engine::read_container(socket, id),
        Ask::ControlGroups { pids } => control_groups::read_control_groups(pids),
        Ask::Engine { socket } => engine::read_engine(socket),
        Ask::File { root, path } => files::read_file(*root, path),
        Ask::FileSystem { root, path } => {
            let (root, path) = (*root, path.clone());
            file_systems::within(stop, move || file_systems::read_file_system(root, &path))
        }
        Ask::FileTimes { root, paths } => {
            let (root, paths) = (*root, paths.clone());
            file_systems::within(stop, move || changes::read_file_times(root, &paths))
        }
        Ask::Glob { root, pattern } => files::list_matches(*root, pattern),
        Ask::Host => host::read_host(),
        Ask::KernelLog => kernel_log::read_kernel_log(stop),
        Ask::Log(slice) => {
            let route_of = |key: &RequestKey<'_>| route(&slice.owner, key);
            logs::read_slice(slice, &route_of, stop)
        }
        Ask::NetworkLimits { pid, .. } => network_limits::read_network_limits(*pid),
        Ask::PathWalk { root, path } => {
            let (root, path) = (*root, path.clone());
            file_systems::within(stop, move || files::walk_path(root, &path))
        }
        Ask::LogTail { root, path, kind, .. } => logs::read_tail(*root, path, kind),
        Ask::OtherSockets { pid } => sockets::read_other_sockets(*pid),
        Ask::PackageLog { manager } => changes::read_package_log(*manager),
        Ask::Process { pid } => processes::read_process(*pid),
        Ask::Processes => processes::read_processes(),
        Ask::ServerLogs { pid } => server_logs::read_server_logs(*pid),
        Ask::Services { marks } => services::read_services(marks, stop),
        Ask::Sockets { pid } => sockets::read_sockets(*pid),
        Ask::Strings { root, path, marks } => files::find_strings(*root, path, marks),
        Ask::Waiting { pids } => waiting::read_waiting(pids),
        Ask::Unit { name } => units::read_unit(name, stop),
        Ask::UnitJournal { unit, from, to } => units::read_unit_journal(unit, *from, *to, stop),
        Ask::Echo { .. }
        | Ask::PacketFilter { .. }
        | Ask::Probe { .. }
        | Ask::Resolve { .. }
        | Ask::Route { .. } => Answer::unknown(GapReason::Failed, "not a look"),
    }
}

/// The task of a helper that an ask is, with whose place it takes.
fn task(ask: &Ask) -> Option<(Standing, Task)> {
    match ask {
        Ask::PacketFilter { pid, .. } => {
            Some((Standing::Network(pid.map_or(Security::Own, Security::Process)), Task::ListFilters))
        }
        Ask::Echo { security, target, sizes } => {
            Some((Standing::Whole(*security), Task::Echo { target: *target, sizes: sizes.clone() }))
        }
        Ask::Probe { security, target, spec, source } => {
            let task = Task::Probe { target: target.clone(), spec: spec.clone(), source: *source };
            Some((Standing::Whole(*security), task))
        }
        Ask::Resolve { security, name, resolver } => {
            Some((Standing::Whole(*security), Task::Resolve { name: name.clone(), resolver: *resolver }))
        }
        Ask::Route { security, target, source, mark } => {
            let task = Task::Route { target: *target, source: *source, mark: *mark };
            Some((Standing::Whole(*security), task))
        }
        _ => None,
    }
}

/// Whether it is asked what there is before anything is sent.
fn is_before_all(ask: &Ask) -> bool {
    matches!(ask, Ask::PacketFilter { moment: FilterMoment::Before, .. })
}

/// A fact of this moment, masked.
pub(crate) fn fact(ask: &Ask, answer: Answer) -> Fact {
    Fact { ask: ask.clone(), at: now(), answer: without_secret_values(ask, answer), micros: None }.masked()
}

/// Masks in the end of an access log what its format says is a secret.
fn without_secret_values(ask: &Ask, mut answer: Answer) -> Answer {
    if let Ask::LogTail { kind: LogKind::Access { format: Some(format), .. }, .. } = ask
        && let Answer::Known(body) = &mut answer
        && let FactBody::LogTail(tail) = &mut **body
        && let Ok(format) = AccessFormat::compile(format)
        && let Cow::Owned(masked) = format.masked_lines(tail.bytes.as_slice())
    {
        tail.bytes = masked.into();
    }
    answer
}

/// The wall clock.
fn now() -> Stamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp(i64::try_from(since_epoch.as_millis()).unwrap_or(0))
}

fn is_below(path: &str, allowed: &[PathBuf]) -> bool {
    allowed.iter().any(|root| Path::new(path).starts_with(root))
}

#[cfg(test)]
mod tests;
