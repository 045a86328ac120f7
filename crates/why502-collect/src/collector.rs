//! Asks in, facts out.

use crate::helper::{Job, Task, run_job};
use crate::{files, host, logs, processes, sockets};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use why502_facts::{Answer, Ask, Fact, GapReason, RequestKey, Resolver, Root, Security, Stamp};

/// Names the route of a request in a log of an owner.
pub type RouteOfOwner<'a> = dyn Fn(&str, &RequestKey<'_>) -> Option<std::sync::Arc<str>> + Sync + 'a;

/// What the options of a run allow.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Nothing of this host but the files below these directories and files (`--offline`); `None`: all of it.
    pub only_files: Option<Vec<PathBuf>>,
    /// Whether anything may be sent.
    pub may_probe: bool,
}

/// Answers asks from the world.
#[derive(Debug)]
pub struct Collector {
    policy: Policy,
    deadline: Instant,
    probe_timeout: Duration,
}

/// How long one probe may take at most: a peer on a network answers within it, a silent one shows in it.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

impl Collector {
    /// A collector whose answers are all in within `timeout`.
    pub fn new(policy: Policy, timeout: Duration) -> Self {
        Self { policy, deadline: Instant::now() + timeout, probe_timeout: PROBE_TIMEOUT.min(timeout) }
    }

    /// Answers every ask with a fact. `route` names the routes of log lines.
    pub fn answer(&self, asks: &[Ask], route: &RouteOfOwner<'_>) -> Vec<Fact> {
        let (looks, tasks): (Vec<&Ask>, Vec<&Ask>) = asks.iter().partition(|ask| task(ask).is_none());
        thread::scope(|scope| {
            let helpers = scope.spawn(|| self.perform(&tasks));
            let mut facts: Vec<Fact> =
                looks.into_iter().map(|ask| fact(ask, self.look(ask, route))).collect();
            // A panic in a helper's thread is a bug and must not be swallowed.
            facts.extend(helpers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            facts
        })
    }

    fn look(&self, ask: &Ask, route: &RouteOfOwner<'_>) -> Answer {
        if let Some(refusal) = self.refuse(ask) {
            return refusal;
        }
        match ask {
            Ask::File { root, path } => files::read_file(*root, path),
            Ask::Glob { root, pattern } => files::list_matches(*root, pattern),
            Ask::Host => host::read_host(),
            Ask::Log(slice) => {
                let route_of = |key: &RequestKey<'_>| route(&slice.owner, key);
                logs::read_slice(slice, &route_of, self.deadline)
            }
            Ask::LogTail { root, path, .. } => logs::read_tail(*root, path),
            Ask::PathWalk { root, path } => files::walk_path(*root, path),
            Ask::Process { pid } => processes::read_process(*pid),
            Ask::Processes => processes::read_processes(),
            Ask::Sockets { pid } => sockets::read_sockets(*pid),
            Ask::Strings { root, path, marks } => files::find_strings(*root, path, marks),
            Ask::Probe { .. } | Ask::Resolve { .. } => Answer::unknown(GapReason::Failed, "not a look"),
        }
    }

    /// The gap that the options make of an ask.
    fn refuse(&self, ask: &Ask) -> Option<Answer> {
        let allowed = match (&self.policy.only_files, ask) {
            (None, Ask::Probe { .. } | Ask::Resolve { .. }) => self.policy.may_probe,
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

    /// Probes and names go to one helper per security context.
    fn perform(&self, asks: &[&Ask]) -> Vec<Fact> {
        let mut facts = Vec::new();
        let mut jobs: BTreeMap<Security, Vec<&Ask>> = BTreeMap::new();
        for &ask in asks {
            match (self.refuse(ask), task(ask)) {
                (Some(refusal), _) => facts.push(fact(ask, refusal)),
                (None, Some((security, _))) => jobs.entry(security).or_default().push(ask),
                (None, None) => {}
            }
        }
        let timeout = self.probe_timeout.min(self.deadline.saturating_duration_since(Instant::now()));
        for (security, asks) in jobs {
            let tasks = asks.iter().filter_map(|ask| task(ask)).map(|(_, task)| task).collect();
            let answers = run_job(&Job { security, tasks, timeout });
            facts.extend(asks.into_iter().zip(answers).map(|(ask, answer)| fact(ask, answer)));
        }
        facts
    }
}

/// The task of a helper that an ask is, with whose place it takes.
fn task(ask: &Ask) -> Option<(Security, Task)> {
    match ask {
        Ask::Probe { security, target, spec } => {
            Some((*security, Task::Probe { target: target.clone(), spec: spec.clone() }))
        }
        Ask::Resolve { security, name, resolver: Resolver::System } => {
            Some((*security, Task::Resolve { name: name.clone() }))
        }
        _ => None,
    }
}

fn fact(ask: &Ask, answer: Answer) -> Fact {
    Fact { ask: ask.clone(), at: now(), answer }.masked()
}

/// The wall clock.
fn now() -> Stamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp(i64::try_from(since_epoch.as_millis()).unwrap_or(0))
}

fn is_below(path: &str, allowed: &[PathBuf]) -> bool {
    allowed.iter().any(|root| Path::new(path).starts_with(root))
}
