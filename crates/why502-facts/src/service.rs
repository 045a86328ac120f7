//! Services of the host and who supervises them: raw as they were read, and decoded.

use crate::{Blob, FileStatus, Stamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who starts a service, and starts it again when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supervisor {
    /// A container engine.
    Engine,
    /// PM2.
    Pm2,
    /// runit (runsv(8)).
    Runit,
    /// supervisord.
    Supervisord,
    /// systemd as process 1.
    Systemd,
}

/// A service whose definition names one of the marks, raw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Who runs it.
    pub supervisor: Supervisor,
    /// Its name: `shop.service`, the program of supervisord, the directory of runit, the application of PM2.
    pub name: String,
    /// Its definition: the unit file, then its drop-ins; the file of supervisord with its section; the run script.
    pub files: Vec<ServiceFile>,
    /// Files of variables that it names, and of the files that its command names the lines with a mark.
    pub named: Vec<ServiceFile>,
    /// Whether the first name in the order of directories leads to `/dev/null` (systemd's `mask`).
    pub masked: bool,
    /// The process that supervises it, where that is not process 1.
    pub supervisor_pid: Option<u32>,
    /// `supervise/status` of runit: 20 bytes.
    pub state: Option<Blob>,
}

/// A file that says something of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFile {
    /// Its path.
    pub path: String,
    /// What was read of it; of a file that a command names the lines with a mark, each behind its number and a colon.
    pub content: Blob,
    /// What kind of file it is.
    pub kind: ServiceFileKind,
    /// Its status.
    pub status: FileStatus,
}

/// What a file says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceFileKind {
    /// A file that its command names: settings or a program.
    Command,
    /// Its definition, or a part of it.
    Definition,
    /// Variables of its environment (`EnvironmentFile=`).
    Environment,
}

/// A service as its files define it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Who runs it.
    pub supervisor: Supervisor,
    /// Its name, with the suffix of a unit.
    pub name: String,
    /// The file that defines it.
    pub path: String,
    /// Whether it is masked.
    pub masked: bool,
    /// Whether it only does something and ends (`Type=oneshot`).
    pub is_one_shot: bool,
    /// Whether it counts as up once it has ended (`RemainAfterExit=`).
    pub remains_after_exit: bool,
    /// How supervisord names its processes, where that is not the program's name: `shop_%(process_num)02d`.
    pub process_name: Option<String>,
    /// The commands that start it, each split into arguments.
    pub commands: Vec<Vec<String>>,
    /// The variables of its environment that its definition sets.
    pub environment: Vec<(String, String)>,
    /// What a socket unit listens on: `3000`, `127.0.0.1:3000`, `/run/shop.sock`.
    pub listens: Vec<String>,
    /// The service that a socket unit starts, if it names one.
    pub starts: Option<String>,
    /// The directory that it runs in.
    pub directory: Option<String>,
    /// The names of its directories below `/run` (`RuntimeDirectory=`).
    pub runtime_directories: Vec<String>,
    /// Lines with a mark in files that its command names.
    pub mentions: Vec<Mention>,
    /// The process that supervises it, where that is not process 1 and runs.
    pub supervisor_pid: Option<u32>,
    /// What runit says of it.
    pub runit: Option<RunitState>,
}

/// A line of a file that a service's command names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The file.
    pub path: String,
    /// The line's number, from 1 on.
    pub line: u32,
    /// The line.
    pub text: String,
}

/// What runsv(8) knows of a service (`supervise/status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunitState {
    /// When the state changed last.
    pub since: Stamp,
    /// The process, if it runs.
    pub pid: Option<u32>,
    /// Whether it is wanted up (`sv up`) or down (`sv down`).
    pub wanted_up: bool,
}

/// A unit, as systemd knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// What systemd says of it, by property (systemd.directives(7), `systemctl show`).
    pub properties: BTreeMap<String, String>,
}

/// How the main process of a unit ended, by what waitid(2) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// It exited with that code.
    Code(u32),
    /// A signal ended it.
    Signal(u32),
}

impl Unit {
    /// A property, if it is set: not empty.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a property of the kind yes or no is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.property(name) == Some("yes")
    }

    /// Whether there is such a unit: loaded or masked, and not unknown to systemd.
    pub fn exists(&self) -> bool {
        matches!(self.property("LoadState"), Some("loaded" | "masked" | "bad-setting" | "error"))
    }

    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`.
    pub fn active_state(&self) -> &str {
        self.property("ActiveState").unwrap_or_default()
    }

    /// `running`, `dead`, `failed`, `auto-restart`, `start`, …
    pub fn sub_state(&self) -> &str {
        self.property("SubState").unwrap_or_default()
    }

    /// Why it ended: `success`, `exit-code`, `signal`, `core-dump`, `oom-kill`, `timeout`, `start-limit-hit`, …
    pub fn result(&self) -> &str {
        self.property("Result").unwrap_or_default()
    }

    /// Whether it is masked.
    pub fn is_masked(&self) -> bool {
        self.property("LoadState") == Some("masked")
            || self.property("UnitFileState").is_some_and(|state| state.starts_with("masked"))
    }

    /// The main process, if it runs.
    pub fn main_pid(&self) -> Option<u32> {
        self.property("MainPID")?.parse().ok().filter(|pid| *pid != 0)
    }

    /// How often systemd has started it again by itself.
    pub fn n_restarts(&self) -> u32 {
        self.property("NRestarts").and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// How its main process ended last (`ExecMainCode`, in the numbers of `si_code` in sigaction(2): 1 exited, 2 killed,
    /// 3 dumped).
    pub fn exit(&self) -> Option<Exit> {
        let status = self.property("ExecMainStatus")?.parse().ok()?;
        match self.property("ExecMainCode")? {
            "1" | "exited" => Some(Exit::Code(status)),
            "2" | "3" | "killed" | "dumped" => Some(Exit::Signal(status)),
            _ => None,
        }
    }

    /// A moment, to the second: `Mon 2026-11-30 12:24:33 UTC`.
    pub fn moment(&self, property: &str) -> Option<Stamp> {
        let text = self.property(property)?;
        let mut words = text.split(' ');
        let (_, date, time) = (words.next()?, words.next()?, words.next()?);
        let part = |text: &str, separator: char, at: usize| text.split(separator).nth(at)?.parse().ok();
        let year: i16 = date.split('-').next()?.parse().ok()?;
        let date = (year, part(date, '-', 1)?, part(date, '-', 2)?);
        let time = (part(time, ':', 0)?, part(time, ':', 1)?, part(time, ':', 2)?);
        (words.next() == Some("UTC")).then_some(())?;
        Some(crate::Civil::from_parts(date, time)?.at_offset(0))
    }

    /// When its main process was started last.
    pub fn started(&self) -> Option<Stamp> {
        self.moment("ExecMainStartTimestamp")
    }

    /// When its main process ended last.
    pub fn exited(&self) -> Option<Stamp> {
        self.moment("ExecMainExitTimestamp")
    }
}

/// What the journal holds of a unit in a window: entries as `journalctl -o json` writes them, one a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRecord {
    /// The entries, oldest first.
    pub entries: Blob,
    /// Whether the window has older entries than these.
    pub truncated: bool,
}

/// An entry of a unit's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// When it was written.
    pub at: Stamp,
    /// The process that wrote it.
    pub pid: Option<u32>,
    /// What the service manager tells with it; `None` where the unit's own processes wrote it.
    pub event: Option<UnitEvent>,
    /// Whether the service manager wrote it.
    pub by_manager: bool,
    /// The message.
    pub message: String,
}

/// What happened to a unit, by the service manager's own words (`src/core/unit.c`, `src/core/service.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitEvent {
    /// `Deactivated successfully.`
    Deactivated,
    /// `Main process exited, code=…, status=…`.
    Exited(Exit),
    /// `Failed with result '…'.`
    Failed,
    /// `Failed with result 'oom-kill'.`
    OutOfMemory,
    /// `A process of this unit has been killed by the OOM killer.`, or by systemd-oomd.
    ProcessOutOfMemory,
    /// `Scheduled restart job, restart counter is at …`.
    RestartScheduled(u32),
    /// `Started …`.
    Started,
    /// `Starting …`.
    Starting,
    /// `Start request repeated too quickly.`
    StartLimitHit,
    /// `Stopped …`.
    Stopped,
    /// `Stopping …`: somebody asked for it.
    Stopping,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_and_moments_are_utc() {
        let properties = [
            ("ExecMainCode", "2"),
            ("ExecMainStatus", "9"),
            ("ExecMainExitTimestamp", "Sat 2026-11-21 02:28:30 UTC"),
            ("ExecMainStartTimestamp", ""),
            ("MainPID", "0"),
            ("PrivateTmp", "yes"),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let unit = Unit { name: "shop.service".to_owned(), properties };
        assert_eq!(unit.exit(), Some(Exit::Signal(9)));
        assert_eq!(unit.exited(), Some(Stamp(1_795_228_110_000)));
        assert_eq!((unit.started(), unit.main_pid()), (None, None));
        assert!(unit.is_on("PrivateTmp") && !unit.is_on("PrivateNetwork") && !unit.exists());
    }
}
