//! Whether a user may connect to a unix socket, or make a file, by the modes and ACLs along the path.

use std::fmt;
use why502_facts::{AclEntry, FileKind, FileStatus, PathWalk, Process};

/// What stands in a user's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    /// The component that denies.
    pub(super) path: String,
    status: FileStatus,
    need: Need,
    worker: u32,
}

/// What a user needs of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// To search a directory.
    Search,
    /// To write a socket, or to make a file in a directory.
    Write,
}

impl Need {
    fn bit(self) -> u32 {
        match self {
            Self::Search => 1,
            Self::Write => 2,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Search => "search",
            Self::Write => "write",
        })
    }
}

/// The first component that denies a process what it needs; an error if the walk could not see them all.
pub(super) fn denial(walk: &PathWalk, worker: &Process) -> Result<Option<Denial>, ()> {
    // The capability to pass over modes (CAP_DAC_OVERRIDE) goes with user 0.
    if worker.uid == 0 {
        return if walk.complete { Ok(None) } else { Err(()) };
    }
    for component in &walk.components {
        let need = match component.status.kind {
            FileKind::Directory => Need::Search,
            FileKind::Link => continue,
            FileKind::File | FileKind::Other | FileKind::Socket => Need::Write,
        };
        if !allows(&component.status, worker, need.bit()) {
            let path = component.path.clone();
            return Ok(Some(Denial { path, status: component.status.clone(), need, worker: worker.uid }));
        }
    }
    if walk.complete { Ok(None) } else { Err(()) }
}

/// What keeps a process from making a file in the last directory that a walk reached: it must search all of them, and write that
/// one; an error if the walk could not see them all.
pub(super) fn creation_denial(walk: &PathWalk, worker: &Process) -> Result<Option<Denial>, ()> {
    if worker.uid == 0 {
        return if walk.denied.is_none() { Ok(None) } else { Err(()) };
    }
    let directories =
        || walk.components.iter().filter(|component| component.status.kind == FileKind::Directory);
    let last = directories().next_back().filter(|_| walk.denied.is_none());
    let needs = directories().map(|component| (component, Need::Search));
    for (component, need) in needs.chain(last.map(|component| (component, Need::Write))) {
        if !allows(&component.status, worker, need.bit()) {
            let path = component.path.clone();
            return Ok(Some(Denial { path, status: component.status.clone(), need, worker: worker.uid }));
        }
    }
    if walk.denied.is_none() { Ok(None) } else { Err(()) }
}

/// acl(5), "Access check algorithm": the owner, named users, the groups, the others; the mask bounds all but the first and
/// the last.
fn allows(status: &FileStatus, worker: &Process, bit: u32) -> bool {
    let class = |shift: u32| status.mode >> shift & bit != 0;
    let is_member = |gid: u32| worker.gid == Some(gid) || worker.groups.contains(&gid);
    if worker.uid == status.uid {
        return class(6);
    }
    if status.acl.is_empty() {
        return if is_member(status.gid) { class(3) } else { class(0) };
    }
    let grants = |entry: &AclEntry| u32::from(entry.permissions) & bit != 0;
    let mask = status.acl.iter().find(|entry| entry.tag == ACL_MASK).is_none_or(grants);
    if let Some(entry) = status.acl.iter().find(|entry| entry.tag == ACL_USER && entry.id == worker.uid) {
        return grants(entry) && mask;
    }
    let of_groups: Vec<&AclEntry> = status
        .acl
        .iter()
        .filter(|entry| match entry.tag {
            ACL_GROUP_OBJ => is_member(status.gid),
            ACL_GROUP => is_member(entry.id),
            _ => false,
        })
        .collect();
    if of_groups.is_empty() { class(0) } else { of_groups.into_iter().any(grants) && mask }
}

/// The tags of `linux/posix_acl.h`.
const ACL_USER: u16 = 2;
const ACL_GROUP_OBJ: u16 = 4;
const ACL_GROUP: u16 = 8;
const ACL_MASK: u16 = 16;

impl Denial {
    /// What is denied, to whom, by what.
    pub(super) fn says(&self) -> String {
        let owner = self.status.owner.clone().unwrap_or_else(|| self.status.uid.to_string());
        let group = self.status.group.clone().unwrap_or_else(|| self.status.gid.to_string());
        let acl = if self.status.acl.is_empty() { "" } else { ", with an ACL" };
        format!(
            "user {} may not {} {} (mode {:04o}, owner {owner}, group {group}{acl})",
            self.worker, self.need, self.path, self.status.mode
        )
    }

    /// How to let the user through, so that it lasts.
    pub(super) fn advice(&self, socket: &str) -> String {
        let group = self.status.group.clone().unwrap_or_else(|| self.status.gid.to_string());
        match self.need {
            Need::Search => format!(
                "let the worker's user search {}: `setfacl -m u:{}:x {}`, or move {socket} to a directory of its own under /run",
                self.path, self.worker, self.path
            ),
            Need::Write => format!(
                "make the backend create {socket} so that the worker may write it: php-fpm `listen.owner`/`listen.group`, gunicorn `--umask` and group, uwsgi `chmod-socket`/`chown-socket`, systemd `SocketGroup`; or add the worker's user to group {group}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use why502_facts::{Descriptors, Stamp};

    fn worker(uid: u32, gid: u32, groups: &[u32]) -> Process {
        Process {
            pid: 1,
            own_pid: None,
            parent: 0,
            comm: String::new(),
            state: 'S',
            started: None,
            argv: Vec::new(),
            exe: None,
            exe_deleted: false,
            cwd: None,
            uid,
            gid: Some(gid),
            groups: groups.to_vec(),
            memory_cgroup: None,
            unit: None,
            container: None,
            net_namespace: None,
            mount_namespace: None,
            same_root: None,
            listens: Vec::new(),
            tz: None,
            descriptors: Descriptors::default(),
            seccomp: None,
        }
    }

    fn status(mode: u32, acl: &[(u16, u16, u32)]) -> FileStatus {
        let acl = acl.iter().map(|&(tag, permissions, id)| AclEntry { tag, permissions, id }).collect();
        FileStatus {
            kind: FileKind::Socket,
            mode,
            uid: 10,
            gid: 20,
            owner: None,
            group: None,
            size: 0,
            modified: Stamp(0),
            acl,
        }
    }

    #[test]
    fn the_first_class_that_fits_decides() {
        let write = |mode, worker| allows(&status(mode, &[]), &worker, 2);
        assert!(write(0o200, worker(10, 0, &[])));
        assert!(!write(0o022, worker(10, 20, &[])), "the owner's class decides for the owner");
        assert!(write(0o020, worker(33, 33, &[20])));
        assert!(!write(0o002, worker(33, 33, &[20])), "the group's class decides for members");
        assert!(write(0o002, worker(33, 33, &[])));
    }

    #[test]
    fn an_acl_grants_within_its_mask() {
        let named = [(1, 6, 0), (2, 6, 33), (4, 4, 0), (16, 6, 0), (32, 0, 0)];
        assert!(allows(&status(0o660, &named), &worker(33, 33, &[]), 2));
        let masked = [(1, 6, 0), (2, 6, 33), (4, 4, 0), (16, 4, 0), (32, 0, 0)];
        assert!(!allows(&status(0o640, &masked), &worker(33, 33, &[]), 2));
        let group = [(1, 6, 0), (4, 0, 0), (8, 2, 33), (16, 6, 0), (32, 0, 0)];
        assert!(allows(&status(0o660, &group), &worker(34, 33, &[]), 2));
        assert!(!allows(&status(0o660, &group), &worker(34, 34, &[]), 2));
    }
}
