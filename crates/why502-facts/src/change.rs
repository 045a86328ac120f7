//! What was changed on a host, and when: files, and packages by the logs of those who install them.

use crate::{Blob, FileKind, GapReason, Stamp};
use serde::{Deserialize, Serialize};

/// When a file or a directory was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTimes {
    /// Its path as it was asked for.
    pub path: String,
    /// What was seen of it.
    pub times: PathTimes,
}

/// What was seen of the times of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathTimes {
    /// It is not there.
    Absent,
    /// It is there.
    Known {
        /// What it is, links followed.
        kind: FileKind,
        /// When its content was written last (`st_mtime`, inode(7)); who copies or unpacks a file may set it. Of a directory:
        /// when an entry of it was added, removed or renamed.
        modified: Stamp,
        /// When its status was changed last: its content, its owner, its mode, its name (`st_ctime`). Nobody can set it.
        changed: Stamp,
        /// When the newest of the links on the way to it was made, if there are any.
        linked: Option<Stamp>,
    },
    /// It could not be looked at.
    Unknown {
        /// Why not.
        why: GapReason,
        /// What stood in the way, in words.
        says: String,
    },
}

/// A program that installs packages and keeps a log of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageManager {
    /// DNF of version 4: `/var/log/dnf.rpm.log`.
    Dnf,
    /// dpkg, whoever calls it: `/var/log/dpkg.log`.
    Dpkg,
    /// pacman: `/var/log/pacman.log`.
    Pacman,
    /// yum of version 3: `/var/log/yum.log`.
    Yum,
    /// zypper: `/var/log/zypp/history`.
    Zypper,
}

impl PackageManager {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Dnf, Self::Dpkg, Self::Pacman, Self::Yum, Self::Zypper];

    /// The log that it writes.
    pub fn log(self) -> &'static str {
        match self {
            Self::Dnf => "/var/log/dnf.rpm.log",
            Self::Dpkg => "/var/log/dpkg.log",
            Self::Pacman => "/var/log/pacman.log",
            Self::Yum => "/var/log/yum.log",
            Self::Zypper => "/var/log/zypp/history",
        }
    }
}

/// The end of a package manager's log, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageLogRecord {
    /// The lines that tell of a package, the oldest first.
    pub lines: Blob,
    /// The oldest line that was looked at, as far as its stamp.
    pub oldest: Blob,
    /// Whether nothing older is kept: neither more of the file nor a rotated one.
    pub is_whole: bool,
    /// When the file was written last: what the year of a stamp without one is told by.
    pub modified: Option<Stamp>,
}

/// What a package manager did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageLog {
    /// When the oldest line was written that was looked at; `None` where no line tells.
    pub reaches_back: Option<Stamp>,
    /// Whether nothing older is kept.
    pub is_whole: bool,
    /// What it did, by time.
    pub changes: Vec<PackageChange>,
}

/// What was done to a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageChange {
    /// When, to the second.
    pub at: Stamp,
    /// What.
    pub action: PackageAction,
    /// Its name, without its architecture.
    pub name: String,
    /// The version that was there before, where that is told.
    pub old: Option<String>,
    /// The version that is there since, where that is told.
    pub new: Option<String>,
}

/// What may be done to a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackageAction {
    /// An older version took its place.
    Downgraded,
    /// It is new.
    Installed,
    /// The same version was unpacked again.
    Reinstalled,
    /// It is gone.
    Removed,
    /// Another version took its place.
    Upgraded,
}
