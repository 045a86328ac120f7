//! What the causes of a worker's limits have in common: what each worker may have open, and what it has.

use crate::case::{Case, or_ask};
use crate::cause::Asks;
use crate::finding::{Evidence, Origin};
use why502_facts::{Ask, Descriptors, Observed, Process, Root, Stamp, lossy};

/// So many workers are looked at.
const MAX_WORKERS: usize = 32;
/// The kernel's bound of any process's limit of open files (proc_sys_fs(5)).
const NR_OPEN: &str = "/proc/sys/fs/nr_open";
/// What that is on nearly every host: 1024 × 1024.
const DEFAULT_NR_OPEN: u64 = 1 << 20;

/// The workers, and their master, as far as they can be seen.
pub(super) struct Workers<'c> {
    seen: Vec<&'c Process>,
    master: Option<&'c Process>,
    /// How high a limit of open files may be at all.
    nr_open: u64,
}

/// Looks at the workers; an error asks for what is not known yet.
pub(super) fn workers<'c>(case: &'c Case<'_>) -> Result<Workers<'c>, Asks> {
    let mut asks = Vec::new();
    let mut seen = |pid: u32| match or_ask(case.facts.process(pid)) {
        Ok(process) => process.known(),
        Err(wanted) => {
            asks.extend(wanted);
            None
        }
    };
    let workers = case.gateway.workers.iter().take(MAX_WORKERS).filter_map(|pid| seen(*pid)).collect();
    let master = case.gateway.master.and_then(&mut seen);
    let nr_open = match case.gateway.master.map(|_| or_ask(case.facts.file(Root::Host, NR_OPEN))) {
        Some(Ok(Observed::Known(file))) => lossy(file.content.as_slice()).trim().parse().ok(),
        Some(Err(wanted)) => {
            asks.extend(wanted);
            None
        }
        Some(Ok(Observed::Absent | Observed::Unknown(_))) | None => None,
    };
    if asks.is_empty() {
        Ok(Workers { seen: workers, master, nr_open: nr_open.unwrap_or(DEFAULT_NR_OPEN) })
    } else {
        Err(asks)
    }
}

impl Workers<'_> {
    /// How many files each worker may have open: the smallest limit.
    pub(super) fn limit(&self) -> Option<u64> {
        self.seen.iter().filter_map(|worker| worker.descriptors.limit).min()
    }

    /// How far nginx itself can raise that limit: as far as it likes where its master has the right to, else to the hard limit.
    /// A worker sets it before it gives up the user root (`ngx_worker_process_init`).
    pub(super) fn reach(&self) -> Option<u64> {
        let Descriptors { may_raise, hard_limit, .. } = self.master?.descriptors;
        match may_raise {
            Some(true) => Some(self.nr_open),
            Some(false) => hard_limit,
            None => None,
        }
    }

    /// The bound of every limit of open files on this host.
    pub(super) fn nr_open(&self) -> u64 {
        self.nr_open
    }

    /// The worker with the most descriptors open, and how many those are.
    pub(super) fn most_open(&self) -> Option<(u32, u64)> {
        let open = |worker: &&Process| Some((worker.pid, worker.descriptors.count?.open));
        self.seen.iter().filter_map(open).max_by_key(|(_, open)| *open)
    }

    /// The worker with the most sockets open, and how many those are: nearly each has a slot of `worker_connections`.
    pub(super) fn most_sockets(&self) -> Option<(u32, u64)> {
        let sockets = |worker: &&Process| Some((worker.pid, worker.descriptors.count?.sockets));
        self.seen.iter().filter_map(sockets).max_by_key(|(_, sockets)| *sockets)
    }

    /// The limit of open files as evidence.
    pub(super) fn limit_evidence(&self) -> Option<Evidence> {
        let worker = self.seen.iter().min_by_key(|worker| worker.descriptors.limit.unwrap_or(u64::MAX))?;
        let limit = worker.descriptors.limit?;
        let open = worker.descriptors.count.map(|count| format!(", and has {} now", count.open));
        let says =
            format!("worker {} may have {limit} descriptors open{}", worker.pid, open.unwrap_or_default());
        Some(Evidence::context(says, Origin::Host(format!("/proc/{}/limits", worker.pid))))
    }

    /// The unit that runs the gateway, if its cgroup names a service.
    pub(super) fn unit(&self) -> Option<&str> {
        self.master?.unit.as_deref().filter(|unit| unit.ends_with(".service"))
    }

    /// Whether the gateway runs in a container.
    pub(super) fn is_contained(&self) -> bool {
        self.master.is_some_and(|master| master.container.is_some())
    }

    /// The ask whose answer would tell what a worker has open.
    pub(super) fn ask(case: &Case<'_>) -> Option<Ask> {
        case.gateway.workers.first().map(|pid| Ask::Process { pid: *pid })
    }
}

/// Whether the workers were started after a moment of the log, which has whole seconds.
pub(super) fn is_loaded_since(case: &Case<'_>, last: Option<Stamp>) -> bool {
    case.gateway.loaded.zip(last).is_some_and(|(loaded, last)| loaded.0 > last.0 + 1000)
}

/// How the limit of open files is raised from outside, where nginx may not do it itself.
pub(super) fn raise_from_outside(workers: &Workers<'_>, wanted: u64) -> String {
    match workers.unit() {
        Some(unit) => format!(
            "`systemctl edit {unit}` with `[Service]` and `LimitNOFILE={wanted}`, then `systemctl restart {unit}`: a reload of nginx keeps the old limit"
        ),
        None if workers.is_contained() => format!(
            "start the container with `--ulimit nofile={wanted}:{wanted}` (compose: `ulimits: nofile:`): a process without CAP_SYS_RESOURCE cannot go beyond its hard limit"
        ),
        None => format!(
            "raise the hard limit where nginx is started (`LimitNOFILE={wanted}` of its unit, `--ulimit nofile={wanted}` of its container, `ulimit -n {wanted}` of its script) and restart it"
        ),
    }
}
