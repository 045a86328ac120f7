//! Limits of memory for backends: control groups of their own, so that the kernel kills these and nobody else.

use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// The hierarchy of the memory controller of version 1, and the unified one.
const HIERARCHIES: [(&str, &str); 2] =
    [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
/// How the names of all groups of the lab begin.
const PREFIX: &str = "why502-lab-";
/// How often a group is removed that its last process has not left yet.
const MAX_TRIES: u32 = 100;

/// Why no process can be limited here; `None` if one can.
pub(crate) fn lacks_limits() -> Option<String> {
    let is_there = find_hierarchy().is_some();
    (!is_there)
        .then(|| "needs the memory controller of control groups, and the right to make some".to_owned())
}

/// The hierarchy whose groups have limits of memory, with the name of the file of the limit.
fn find_hierarchy() -> Option<(&'static Path, &'static str)> {
    HIERARCHIES.iter().map(|(root, limit)| (Path::new(*root), *limit)).find(|(root, limit)| {
        let has_it = match *limit {
            "memory.max" => fs::read_to_string(root.join("cgroup.subtree_control"))
                .is_ok_and(|controllers| controllers.split_ascii_whitespace().any(|own| own == "memory")),
            limit => root.join(limit).exists(),
        };
        has_it && rustix::fs::access(*root, rustix::fs::Access::WRITE_OK).is_ok()
    })
}

/// The same command in a control group of its own, whose processes together may not take more than so many bytes. It never
/// starts outside of it. `owner` is the process whose [`remove_groups`] takes the group away.
pub(crate) fn limited(command: &Command, name: &str, bytes: &str, owner: u32) -> Result<Command> {
    let (root, limit) = find_hierarchy().context("no process can be limited here")?;
    let group = root.join(format!("{}{name}", prefix(owner)));
    fs::create_dir_all(&group).with_context(|| format!("cannot make {}", group.display()))?;
    fs::write(group.join(limit), bytes)?;
    let set = fs::read_to_string(group.join(limit))?;
    if set.trim().parse::<u64>().is_err() {
        bail!("{} has no limit", group.display());
    }
    let mut inside = Command::new("/bin/sh");
    inside.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(group.join("cgroup.procs"));
    inside.arg(command.get_program()).args(command.get_args());
    Ok(inside)
}

/// Removes the groups that were made for a process, once nothing runs in them.
pub(crate) fn remove_groups(owner: u32) {
    let Some((root, _)) = find_hierarchy() else { return };
    let prefix = prefix(owner);
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    own.for_each(|entry| remove(&entry.path()));
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
