//! What is known of the host: raw as it was read, and decoded.

use crate::{Blob, Stamp};
use serde::{Deserialize, Serialize};

/// The host as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// The host's name.
    pub name: Option<String>,
    /// `PRETTY_NAME` of os-release(5).
    pub os: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// When it was booted.
    pub booted: Option<Stamp>,
    /// The user id that looked.
    pub uid: u32,
    /// The host's time zone.
    pub zone: ZoneOffsets,
}

/// The offsets of a time zone around the time of recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneOffsets(
    /// Oldest first; an offset holds from its moment until the next one.
    pub Vec<ZoneOffset>,
);

/// From when on a clock is how far ahead of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneOffset {
    /// The first moment.
    pub from: Stamp,
    /// Seconds ahead of UTC.
    pub offset_seconds: i32,
}

impl ZoneOffsets {
    /// The offset in force at a moment; that of the oldest entry before it.
    pub fn at(&self, moment: Stamp) -> Option<i32> {
        let newest = self.0.iter().rev().find(|offset| offset.from <= moment);
        newest.or_else(|| self.0.first()).map(|offset| offset.offset_seconds)
    }
}

/// All processes, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessTable {
    /// The processes, by id.
    pub processes: Vec<ProcessRecord>,
    /// Whether other users' processes are hidden (`hidepid`), so that absence proves nothing.
    pub hidden: bool,
}

/// One process, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Its id.
    pub pid: u32,
    /// `/proc/PID/stat`.
    pub stat: Blob,
    /// `/proc/PID/cmdline`.
    pub cmdline: Blob,
    /// `/proc/PID/cgroup`.
    pub cgroup: Blob,
    /// `/proc/PID/status`; only where one process was asked for.
    pub status: Option<Blob>,
    /// `/proc/PID/limits`; only where one process was asked for.
    pub limits: Option<Blob>,
    /// How many entries `/proc/PID/fd` has; only where one process was asked for, and `None` where it may not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptors: Option<DescriptorCount>,
    /// The value of `TZ` in its environment; only where one process was asked for.
    pub tz: Option<String>,
    /// The variables of its environment that say where to listen (`PORT=3000`); only where one process was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listens: Vec<String>,
    /// The target of `/proc/PID/exe`; `None` where it may not be read.
    pub exe: Option<String>,
    /// The target of `/proc/PID/cwd`; only where one process was asked for.
    pub cwd: Option<String>,
    /// The inode of its network namespace.
    pub net_namespace: Option<u64>,
    /// The inode of its mount namespace.
    pub mount_namespace: Option<u64>,
    /// Whether it sees the same files as this program: the same root directory in the same mount namespace. `None` if
    /// that may not be known.
    pub same_root: Option<bool>,
    /// The effective user id.
    pub uid: u32,
}

/// How many descriptors a process has open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorCount {
    /// All of them.
    pub open: u64,
    /// Those of sockets.
    pub sockets: u64,
}

/// What a process may have open, and what it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// How many descriptors it may have open (`RLIMIT_NOFILE`, getrlimit(2)): the soft limit.
    pub limit: Option<u64>,
    /// How far it may raise that limit by itself.
    pub hard_limit: Option<u64>,
    /// Whether it may raise the hard limit too (`CAP_SYS_RESOURCE`, capabilities(7)).
    pub may_raise: Option<bool>,
    /// How many it has open.
    pub count: Option<DescriptorCount>,
}

/// One process, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its id as it sees itself, in its own namespace, where the process was asked for: what it writes into its logs.
    pub own_pid: Option<u32>,
    /// Its parent's id.
    pub parent: u32,
    /// The name of its command (at most 15 bytes).
    pub comm: String,
    /// Its state (`R`, `S`, `D`, `T`, `Z`, …).
    pub state: char,
    /// When it was started.
    pub started: Option<Stamp>,
    /// Its argument vector; a process that set its title has one argument.
    pub argv: Vec<String>,
    /// The path of its executable, without ` (deleted)`.
    pub exe: Option<String>,
    /// Whether its executable was removed or replaced since it was started.
    pub exe_deleted: bool,
    /// Its current directory.
    pub cwd: Option<String>,
    /// The effective user id.
    pub uid: u32,
    /// The effective group id, where the process was asked for.
    pub gid: Option<u32>,
    /// The supplementary groups, where the process was asked for.
    pub groups: Vec<u32>,
    /// The control group whose memory limits are in force for it.
    pub memory_cgroup: Option<String>,
    /// The systemd unit that its cgroup names.
    pub unit: Option<String>,
    /// The container id that its cgroup names.
    pub container: Option<String>,
    /// The inode of its network namespace.
    pub net_namespace: Option<u64>,
    /// The inode of its mount namespace.
    pub mount_namespace: Option<u64>,
    /// Whether it sees the same files as this program: the same root directory in the same mount namespace. `None` if
    /// that may not be known.
    pub same_root: Option<bool>,
    /// The variables of its environment that say where to listen, where the process was asked for.
    pub listens: Vec<(String, String)>,
    /// The value of `TZ` in its environment, where the process was asked for.
    pub tz: Option<String>,
    /// Its open files and their limit, where the process was asked for.
    pub descriptors: Descriptors,
    /// How its system calls are filtered, where the process was asked for: 0 not at all, 1 strictly, 2 by a filter
    /// (`Seccomp` in proc_pid_status(5)).
    pub seccomp: Option<u32>,
}

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A device or a pipe.
    Other,
    /// A socket.
    Socket,
}

/// The status of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Its kind.
    pub kind: FileKind,
    /// The permission bits with set-id and sticky bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The owner's name, where the host knows it.
    pub owner: Option<String>,
    /// The group's name.
    pub group: Option<String>,
    /// The size in bytes.
    pub size: u64,
    /// When its content was changed.
    pub modified: Stamp,
    /// The POSIX access ACL, where it has one.
    pub acl: Vec<AclEntry>,
}

/// An entry of a POSIX access ACL (acl(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclEntry {
    /// The tag: 1 owner, 2 user, 4 owning group, 8 group, 16 mask, 32 others.
    pub tag: u16,
    /// The permissions: read 4, write 2, search or execute 1.
    pub permissions: u16,
    /// The user's or group's id, for the tags 2 and 8.
    pub id: u32,
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileContent {
    /// The bytes.
    pub content: Blob,
    /// The status.
    pub status: FileStatus,
    /// Whether the file is larger than what was read.
    pub truncated: bool,
}

/// The components of a path, from the root on, links resolved as the kernel does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathWalk {
    /// The components that were looked at; one that is missing or may not be read is the last.
    pub components: Vec<PathComponent>,
    /// Whether the walk reached the end of the path.
    pub complete: bool,
    /// What stopped it, if it may not be read: a lower-case fragment.
    pub denied: Option<String>,
}

impl PathWalk {
    /// The last component, if the walk reached it.
    pub fn target(&self) -> Option<&PathComponent> {
        if self.complete { self.components.last() } else { None }
    }
}

/// One component of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathComponent {
    /// Its absolute path.
    pub path: String,
    /// Its status.
    pub status: FileStatus,
    /// Where it leads, if it is a link.
    pub link: Option<String>,
    /// Its context of SELinux, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Which file it is; `None` in a bundle that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<FileIdentity>,
}

/// Which file a path leads to: two paths of two processes are one file only if these are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device that holds it.
    pub device: u64,
    /// Its inode on that device.
    pub inode: u64,
}
