//! What decides beside modes and owners: the domain or profile of a process, and what the kernel said no to.

use crate::{Blob, Stamp};
use serde::{Deserialize, Serialize};

/// How a process is confined, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfinementRecord {
    /// `/proc/PID/attr/current`: a context of SELinux, or a profile of AppArmor; `None` where no module has labels.
    pub label: Option<Blob>,
    /// `/proc/PID/attr/apparmor/current`, where AppArmor has a directory of its own.
    pub apparmor: Option<Blob>,
    /// `/sys/fs/selinux/enforce`; `None` where that file system is not to be seen.
    pub enforce: Option<Blob>,
}

/// How a process is confined by a security module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// A profile of AppArmor.
    AppArmor {
        /// The profile's name.
        profile: String,
        /// `enforce`, `complain`, ….
        mode: String,
    },
    /// No module confines it.
    None,
    /// A label of a module that is not known here.
    Other(String),
    /// A domain of SELinux.
    SeLinux {
        /// The context: user, role, type and perhaps a level.
        context: String,
        /// Whether denials have an effect; `None` if that may not be known.
        enforcing: Option<bool>,
    },
}

impl Confinement {
    /// The profile of AppArmor, if it stands in a process's way.
    pub fn enforced_profile(&self) -> Option<&str> {
        match self {
            Self::AppArmor { profile, mode } if mode == "enforce" || mode == "kill" => Some(profile),
            Self::AppArmor { .. } | Self::None | Self::Other(_) | Self::SeLinux { .. } => None,
        }
    }

    /// Whether it may deny what a process of the same user without it is allowed.
    pub fn denies(&self) -> bool {
        match self {
            Self::AppArmor { .. } => self.enforced_profile().is_some(),
            Self::None => false,
            Self::Other(_) => true,
            Self::SeLinux { enforcing, .. } => *enforcing != Some(false),
        }
    }
}

/// The type of a context of SELinux: its third part.
pub fn selinux_type(context: &str) -> &str {
    context.split(':').nth(2).unwrap_or(context)
}

/// What SELinux decides now, as `/sys/fs/selinux/access` answers, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The answer: permissions as hexadecimal vectors, a sequence number, flags (`sel_write_access` in
    /// `security/selinux/selinuxfs.c`).
    pub answer: Blob,
    /// Which bit of the vectors stands for the permission, from 1 (`/sys/fs/selinux/class/CLASS/perms/PERMISSION`).
    pub bit: Blob,
}

/// What SELinux decides now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the loaded policy allows it.
    pub allowed: bool,
    /// Whether the domain is permissive: then what is not allowed happens all the same.
    pub permissive: bool,
}

/// Records of the audit log about denials, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The log's path.
    pub path: String,
    /// The lines that were kept.
    pub lines: Blob,
    /// Whether the log was read as far back as was asked for.
    pub complete: bool,
}

/// What the audit log tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditLog {
    /// The log's path.
    pub path: String,
    /// The denials, in the log's order.
    pub denials: Vec<Denial>,
    /// Whether the log was read as far back as was asked for.
    pub complete: bool,
}

/// Something that the kernel said no to, or would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// When.
    pub at: Stamp,
    /// The number of the event: records of one event share it.
    pub serial: u64,
    /// The process.
    pub pid: Option<u32>,
    /// The name of its command.
    pub comm: Option<String>,
    /// What was denied.
    pub what: Denied,
    /// Whether it was only noted: SELinux or the domain was permissive, the profile in complain mode.
    pub only_noted: bool,
    /// The error of the system call, where a record of the same event tells it.
    pub errno: Option<i32>,
    /// The line.
    pub line: String,
}

/// What was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// By AppArmor.
    AppArmor(AppArmorDenial),
    /// By SELinux.
    SeLinux(SeLinuxDenial),
}

/// A message of AppArmor (`security/apparmor/audit.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppArmorDenial {
    /// The profile.
    pub profile: String,
    /// The operation: `create`, `connect`, `open`, ….
    pub operation: String,
    /// The path that it was about.
    pub name: Option<String>,
    /// The address family of a socket.
    pub family: Option<String>,
    /// The type of a socket.
    pub socket_type: Option<String>,
    /// What of the request was denied.
    pub mask: String,
}

/// An AVC message of SELinux (`security/selinux/avc.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeLinuxDenial {
    /// The permissions.
    pub permissions: Vec<String>,
    /// The context that wanted them.
    pub subject: String,
    /// The context of what they were wanted of.
    pub object: String,
    /// The class of that object.
    pub class: String,
    /// The port that was to be connected to.
    pub port: Option<u16>,
    /// The last component of the path that it was about.
    pub name: Option<String>,
    /// The path that it was about.
    pub path: Option<String>,
}
