//! Limits for backends: control groups of their own, so that the kernel kills or stops these and nobody else.

use crate::scenario::Backend;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Where the unified hierarchy is mounted, and below it those of version 1.
const ROOT: &str = "/sys/fs/cgroup";
/// How the names of all groups of the lab begin.
const PREFIX: &str = "why502-lab-";
/// How often a group is removed that its last process has not left yet.
const MAX_TRIES: u32 = 100;
/// The period of a limit of processor time, in microseconds.
const PERIOD: u32 = 100_000;

/// What is limited.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Controller {
    /// Memory.
    Memory,
    /// Time on a processor.
    Processor,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processor => "cpu",
        }
    }

    /// The file of the limit in version 1, and in the unified hierarchy.
    fn files(self) -> (&'static str, &'static str) {
        match self {
            Self::Memory => ("memory.limit_in_bytes", "memory.max"),
            Self::Processor => ("cpu.cfs_quota_us", "cpu.max"),
        }
    }

    /// The hierarchy whose groups have such limits, with the name of the file of the limit.
    fn hierarchy(self) -> Option<(PathBuf, &'static str)> {
        let (first, unified) = self.files();
        let own = Path::new(ROOT).join(self.name());
        let found = if own.join(first).exists() {
            (own, first)
        } else {
            let root = PathBuf::from(ROOT);
            let controllers = fs::read_to_string(root.join("cgroup.subtree_control")).ok()?;
            controllers.split_ascii_whitespace().any(|own| own == self.name()).then_some((root, unified))?
        };
        rustix::fs::access(&found.0, rustix::fs::Access::WRITE_OK).is_ok().then_some(found)
    }
}

/// Why no process can be limited so here; `None` if one can.
pub(crate) fn lacks_limits(controller: Controller) -> Option<String> {
    controller.hierarchy().is_none().then(|| {
        format!("needs the {} controller of control groups, and the right to make some", controller.name())
    })
}

/// The same command in control groups of its own, whose processes together may not take more than its backend says. It never
/// starts outside of them. `owner` is the process whose [`remove_groups`] takes the groups away.
pub(crate) fn limited(command: Command, backend: &Backend, owner: u32) -> Result<Command> {
    let quota = backend.processor_percent.map(|percent| percent * (PERIOD / 100));
    let wanted = [
        (Controller::Memory, backend.memory.clone()),
        (Controller::Processor, quota.map(|own| own.to_string())),
    ];
    let mut groups: Vec<PathBuf> = Vec::new();
    for (controller, value) in wanted {
        let Some(value) = value else { continue };
        let (root, limit) = controller.hierarchy().context("no process can be limited here")?;
        let group = root.join(format!("{}{}", prefix(owner), backend.name));
        fs::create_dir_all(&group).with_context(|| format!("cannot make {}", group.display()))?;
        fs::write(group.join(limit), &value)?;
        let set = fs::read_to_string(group.join(limit))?;
        if set.split_whitespace().next().is_none_or(|set| set.parse::<u64>().is_err()) {
            bail!("{} has no limit", group.display());
        }
        groups.push(group.join("cgroup.procs"));
    }
    if groups.is_empty() {
        return Ok(command);
    }
    groups.dedup();
    let mut inside = Command::new("/bin/sh");
    inside.args([
        "-c",
        "while [ \"$1\" != -- ]; do echo $$ > \"$1\" || exit; shift; done; shift; exec \"$@\"",
        "sh",
    ]);
    inside.args(groups).arg("--").arg(command.get_program()).args(command.get_args());
    Ok(inside)
}

/// Removes the groups that were made for a process, once nothing runs in them.
pub(crate) fn remove_groups(owner: u32) {
    let prefix = prefix(owner);
    for (root, _) in [Controller::Memory, Controller::Processor].into_iter().filter_map(Controller::hierarchy)
    {
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
        own.for_each(|entry| remove(&entry.path()));
    }
}

fn remove(group: &Path) {
    for _ in 0..MAX_TRIES {
        if fs::remove_dir(group).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// In a PID namespace of its own every owner has the same id; the mount namespace tells them apart.
fn prefix(owner: u32) -> String {
    let namespace = fs::read_link("/proc/self/ns/mnt").unwrap_or_else(|_| PathBuf::new());
    let digits: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("{PREFIX}{digits}-{owner}-")
}
