//! What changed before the first failure, as a report tells it.

use super::OriginInfo;
use crate::changes::{Change, Changes, FirstFailure};
use crate::engine::Judged;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The failure that changes are told before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirstFailureInfo {
    /// When it was (RFC 3339, UTC).
    pub at: String,
    /// Whether the logs reach far enough back to say that none came before it.
    pub certain: bool,
    /// The finding that it belongs to, by its place in `findings`; null where none explains it.
    pub finding: Option<usize>,
}

/// Something that changed shortly before the first failure: context, and no proof of anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeInfo {
    /// When (RFC 3339, UTC).
    pub at: String,
    /// What kind of thing it is.
    pub kind: ChangeKind,
    /// What changed: a path, a package, a unit, a process.
    pub subject: String,
    /// What became of it.
    pub says: String,
    /// How long before the first failure, in whole seconds; 0: in the same second, perhaps after it.
    pub seconds_before: u64,
    /// Whether it is among the few that a short report tells.
    pub chief: bool,
    /// What tells of it.
    pub origin: OriginInfo,
}

/// The kinds of things that change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// A file that the gateway is set up by, or a directory of such files.
    ConfigFile,
    /// A packet filter: the unit that loads it, or its file.
    Firewall,
    /// A package.
    Package,
    /// A process was started.
    Process,
    /// The host was booted.
    Reboot,
    /// A unit of the service manager was started, stopped, or failed.
    Unit,
}

/// The first failure, with the place of its finding among those of all gateways.
pub(super) fn first_failure_info(first: &FirstFailure, judged: &[Judged]) -> FirstFailureInfo {
    let before: usize = judged[..first.gateway].iter().map(|judged| judged.findings.len()).sum();
    FirstFailureInfo {
        at: first.at.to_string(),
        certain: first.is_certain,
        finding: first.finding.map(|at| before + at),
    }
}

/// The changes, nearest to the first failure first.
pub(super) fn change_infos(changes: &Changes) -> Vec<ChangeInfo> {
    let Some(first) = &changes.first else { return Vec::new() };
    let info = |change: &Change| ChangeInfo {
        at: change.at.to_string(),
        kind: change.kind,
        subject: change.subject.clone(),
        says: change.says.clone(),
        seconds_before: first.at.since(change.at).as_secs(),
        chief: change.is_chief,
        origin: OriginInfo::Host { source: change.source.clone() },
    };
    changes.list.iter().map(info).collect()
}
