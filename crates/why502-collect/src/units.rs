//! Units as systemd knows them, through `systemctl show`, and their journal, through `journalctl`: the bus and the files of
//! the journal have formats that only systemd's own programs promise to read.

use crate::command::{Output, run};
use std::path::Path;
use std::time::{Duration, Instant};
use why502_facts::{Answer, Blob, FactBody, GapReason, JournalRecord, Stamp};

/// What is asked of a unit: its state, its last run, its files, its limits, its sandbox.
const PROPERTIES: &str = "Id,Names,Description,LoadState,LoadError,ActiveState,SubState,Result,UnitFileState,UnitFilePreset,\
FragmentPath,DropInPaths,NeedDaemonReload,Type,Restart,RestartUSec,StartLimitBurst,StartLimitIntervalUSec,NRestarts,\
MainPID,ControlGroup,ExecMainCode,ExecMainStatus,ExecMainStartTimestamp,ExecMainExitTimestamp,StateChangeTimestamp,\
ActiveEnterTimestamp,ActiveExitTimestamp,InactiveEnterTimestamp,InactiveExitTimestamp,ConditionResult,AssertResult,\
TimeoutStartUSec,TimeoutStopUSec,WatchdogUSec,Triggers,TriggeredBy,Requires,After,User,Group,DynamicUser,\
LimitNOFILE,LimitNOFILESoft,LimitCORE,TasksMax,MemoryMax,MemoryHigh,MemoryCurrent,CPUQuotaPerSecUSec,OOMPolicy,\
PrivateTmp,PrivateNetwork,PrivateDevices,PrivateUsers,PrivateMounts,ProtectHome,ProtectSystem,ProtectProc,\
InaccessiblePaths,ReadOnlyPaths,ReadWritePaths,NoExecPaths,ExecPaths,TemporaryFileSystem,BindPaths,BindReadOnlyPaths,\
RootDirectory,RootImage,RuntimeDirectory,RuntimeDirectoryMode,RuntimeDirectoryPreserve,UMask,WorkingDirectory,\
RestrictAddressFamilies,IPAddressAllow,IPAddressDeny,RestrictNetworkInterfaces,SocketBindAllow,SocketBindDeny,\
SystemCallFilter,SystemCallErrorNumber,CapabilityBoundingSet,AmbientCapabilities,NoNewPrivileges,\
NetworkNamespacePath,JoinsNamespaceOf,SELinuxContext,AppArmorProfile,Listen";
/// The longest answer of `systemctl show`, in bytes: a filter of system calls has hundreds of names.
const MAX_PROPERTIES: u64 = 256 << 10;
/// The newest entries of a window that are read.
const MAX_ENTRIES: usize = 2000;
/// The most bytes of these.
const MAX_JOURNAL: u64 = 4 << 20;
/// How long either program may take: it waits for process 1, or reads many files.
const PATIENCE: Duration = Duration::from_secs(4);
/// What is there where systemd is process 1 (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// What systemd knows of a unit.
pub(crate) fn read_unit(name: &str, stop: Instant) -> Answer {
    if !Path::new(BOOTED).is_dir() {
        return Answer::unknown(GapReason::Unsupported, "systemd is not process 1 here");
    }
    let properties = format!("--property={PROPERTIES}");
    let deadline = stop.min(Instant::now() + PATIENCE);
    let shown = run("systemctl", &["show", "--no-pager", &properties, "--", name], MAX_PROPERTIES, deadline);
    match shown {
        Ok(output) if output.success => Answer::known(FactBody::Unit(Blob::from(output.stdout))),
        Ok(output) => complaint("systemctl", &output),
        Err(error) => error.gap("systemctl"),
    }
}

/// What the journal holds of a unit in a window.
pub(crate) fn read_unit_journal(unit: &str, from: Stamp, to: Stamp, stop: Instant) -> Answer {
    let since = format!("--since=@{}", from.0.div_euclid(1000));
    // The end is the last second that is shown.
    let until = format!("--until=@{}", to.0.div_euclid(1000) + 1);
    let (unit, lines) = (format!("--unit={unit}"), format!("--lines={MAX_ENTRIES}"));
    let fields = "--output-fields=MESSAGE,_PID,_COMM,SYSLOG_IDENTIFIER,UNIT,_SYSTEMD_UNIT,PRIORITY,JOB_TYPE,JOB_RESULT";
    let arguments =
        ["--no-pager", "--quiet", "--all", "--output=json", fields, &lines, &since, &until, &unit];
    let deadline = stop.min(Instant::now() + PATIENCE);
    match run("journalctl", &arguments, MAX_JOURNAL, deadline) {
        Ok(output) if output.success || output.truncated => {
            // It says so where it may not read the system's journal, and shows what is left.
            if output.stdout.is_empty() && !output.complaint.is_empty() {
                return complaint("journalctl", &output);
            }
            let n_entries = output.stdout.iter().filter(|byte| **byte == b'\n').count();
            let truncated = output.truncated || n_entries >= MAX_ENTRIES;
            Answer::known(FactBody::UnitJournal(JournalRecord { entries: output.stdout.into(), truncated }))
        }
        Ok(output) => complaint("journalctl", &output),
        Err(error) => error.gap("journalctl"),
    }
}

fn complaint(program: &str, output: &Output) -> Answer {
    let says = output.complaint.as_str();
    let why = match says {
        _ if says.contains("not been booted with systemd")
            || says.contains("No journal files were found") =>
        {
            GapReason::Unsupported
        }
        _ if says.contains("ermission") || says.contains("ccess denied") => GapReason::Denied,
        _ => GapReason::Failed,
    };
    Answer::unknown(why, format!("{program}: {says}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(says: &str) -> Option<GapReason> {
        let output =
            Output { stdout: Vec::new(), truncated: false, complaint: says.to_owned(), success: false };
        match complaint("systemctl", &output) {
            Answer::Unknown { why, .. } => Some(why),
            Answer::Absent | Answer::Known(_) => None,
        }
    }

    #[test]
    fn complaints_say_why_nothing_is_known() {
        let not_booted = "System has not been booted with systemd as init system (PID 1). Can't operate.";
        assert_eq!(gap(not_booted), Some(GapReason::Unsupported));
        assert_eq!(gap("No journal files were found."), Some(GapReason::Unsupported));
        assert_eq!(gap("Failed to get properties: Access denied"), Some(GapReason::Denied));
        assert_eq!(gap("Failed to connect to bus: Connection refused"), Some(GapReason::Failed));
    }

    #[test]
    fn a_host_without_the_unit_or_systemd_is_no_error() {
        let stop = Instant::now() + Duration::from_secs(20);
        let unit = read_unit("why502-no-such-unit.service", stop);
        assert!(!matches!(unit, Answer::Absent), "systemctl says itself that it is not found");
        read_unit_journal("why502-no-such-unit.service", Stamp(0), Stamp(1_000), stop);
    }
}
