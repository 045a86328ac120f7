//! Processes: `/proc/PID/{stat,cmdline,cgroup,status}` (proc(5)).

use why502_facts::{Descriptors, Process, ProcessList, ProcessRecord, ProcessTable, Stamp, lossy};

/// Clock ticks per second that `/proc/PID/stat` counts in: `USER_HZ`, 100 on every architecture that Linux still has.
const TICKS_PER_SECOND: i64 = 100;

/// Decodes the table of all processes; `booted` turns start times into moments.
pub fn decode_processes(table: &ProcessTable, booted: Option<Stamp>) -> ProcessList {
    let mut processes: Vec<_> =
        table.processes.iter().filter_map(|record| decode_process(record, booted)).collect();
    processes.sort_by_key(|process| process.pid);
    ProcessList { processes, hidden: table.hidden }
}

/// Decodes one process; `None` if its stat line is cut (it died while it was read).
pub fn decode_process(record: &ProcessRecord, booted: Option<Stamp>) -> Option<Process> {
    let stat = parse_stat(record.stat.as_slice())?;
    let (exe, exe_deleted) = split_deleted(record.exe.as_deref());
    let cgroup = String::from_utf8_lossy(record.cgroup.as_slice());
    let status = record.status.as_ref().map(|blob| String::from_utf8_lossy(blob.as_slice()).into_owned());
    let ids = |name: &str| status.as_deref().map(|text| status_ids(text, name)).unwrap_or_default();
    Some(Process {
        pid: record.pid,
        own_pid: ids("NSpid").last().copied(),
        parent: stat.parent,
        comm: stat.comm,
        state: stat.state,
        started: booted.map(|booted| Stamp(booted.0 + stat.start_ticks * 1000 / TICKS_PER_SECOND)),
        argv: parse_cmdline(record.cmdline.as_slice()),
        exe,
        exe_deleted,
        cwd: record.cwd.clone(),
        uid: ids("Uid").get(1).copied().unwrap_or(record.uid),
        gid: ids("Gid").get(1).copied(),
        groups: ids("Groups"),
        memory_cgroup: memory_cgroup(&cgroup),
        unit: unit_of(&cgroup),
        container: container_of(&cgroup),
        net_namespace: record.net_namespace,
        mount_namespace: record.mount_namespace,
        same_root: record.same_root,
        listens: record
            .listens
            .iter()
            .filter_map(|variable| variable.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        tz: record.tz.clone(),
        descriptors: descriptors(record, status.as_deref()),
        seccomp: ids("Seccomp").first().copied(),
    })
}

/// The bit of `CAP_SYS_RESOURCE` in a set of capabilities (`linux/capability.h`).
const CAP_SYS_RESOURCE: u64 = 1 << 24;

fn descriptors(record: &ProcessRecord, status: Option<&str>) -> Descriptors {
    let limits = record.limits.as_ref().map(|blob| String::from_utf8_lossy(blob.as_slice()).into_owned());
    let (limit, hard_limit) = limits.as_deref().and_then(open_file_limits).unzip();
    let capabilities = status.and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    Descriptors {
        limit,
        hard_limit,
        may_raise: capabilities.map(|own| own & CAP_SYS_RESOURCE != 0),
        count: record.descriptors,
    }
}

/// The soft and the hard limit of `Max open files            1024                 524288               files`.
fn open_file_limits(limits: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let number = |word: &str| if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() };
    let mut words = line.split_ascii_whitespace();
    Some((number(words.next()?)?, number(words.next()?)?))
}

struct Stat {
    comm: String,
    state: char,
    parent: u32,
    start_ticks: i64,
}

/// The command stands in parentheses and may itself hold parentheses and spaces, so the last one closes it.
fn parse_stat(stat: &[u8]) -> Option<Stat> {
    let text = String::from_utf8_lossy(stat);
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let comm = text.get(open + 1..close)?.to_owned();
    let fields: Vec<&str> = text.get(close + 1..)?.split_ascii_whitespace().collect();
    // Field 3 of proc(5) is the first one here; the start time is field 22.
    Some(Stat {
        comm,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// Arguments end with NUL; a process that overwrote its arguments (nginx's title) leaves padding behind.
fn parse_cmdline(cmdline: &[u8]) -> Vec<String> {
    let trimmed = cmdline.iter().rposition(|byte| *byte != 0).map_or(&[][..], |last| &cmdline[..=last]);
    if trimmed.is_empty() { Vec::new() } else { trimmed.split(|byte| *byte == 0).map(lossy).collect() }
}

fn split_deleted(exe: Option<&str>) -> (Option<String>, bool) {
    match exe.map(|path| path.strip_suffix(" (deleted)").map_or((path, false), |path| (path, true))) {
        Some((path, deleted)) => (Some(path.to_owned()), deleted),
        None => (None, false),
    }
}

fn status_ids(status: &str, name: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(|ids| ids.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect())
        .unwrap_or_default()
}

/// The systemd unit of a cgroup path: its last component that is a service or a scope.
fn unit_of(cgroup: &str) -> Option<String> {
    let path = cgroup_path(cgroup)?;
    let is_unit = |part: &&str| matches!(part.rsplit_once('.'), Some((_, "service" | "scope")));
    let unit = path.rsplit('/').find(is_unit)?;
    Some(unescape_unit(unit))
}

/// The path of the unified hierarchy, or of systemd's own on a host with version 1.
fn cgroup_path(cgroup: &str) -> Option<&str> {
    let of = |wanted: fn(&str) -> bool| {
        cgroup.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            (wanted(controllers) && path != "/").then_some(path)
        })
    };
    of(|controllers| controllers == "name=systemd").or_else(|| of(str::is_empty)).or_else(|| of(|_| true))
}

/// The control group that the limits of memory are in force for: of the controller of version 1, else the unified one.
fn memory_cgroup(cgroup: &str) -> Option<String> {
    let of = |wanted: fn(&str) -> bool| {
        cgroup.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            wanted(controllers).then(|| path.to_owned())
        })
    };
    of(|controllers| controllers.split(',').any(|own| own == "memory")).or_else(|| of(str::is_empty))
}

/// systemd.unit(5): a name begins with its prefix, and `\x2d` stands for a dash that is no separator.
fn unescape_unit(unit: &str) -> String {
    unit.replace("\\x2d", "-")
}

/// The container of a cgroup path: the 64 hexadecimal digits that Docker, containerd, CRI-O and Podman name it by.
fn container_of(cgroup: &str) -> Option<String> {
    let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = cgroup.rsplit(|character: char| !character.is_ascii_alphanumeric());
    parts.find(is_id).map(|id| id[..12].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use why502_facts::Blob;

    const STAT: &str = "1234 (ng) (inx) S 1 1234 1234 0 -1 4194368 1 2 3 4 5 6 7 8 20 0 1 0 250 9 9 9";

    fn record(stat: &str) -> ProcessRecord {
        ProcessRecord { pid: 1234, stat: Blob::from(stat), ..ProcessRecord::default() }
    }

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let process = decode_process(&record(STAT), Some(Stamp(1_000_000))).unwrap();
        assert_eq!((process.comm.as_str(), process.state, process.parent), ("ng) (inx", 'S', 1));
        assert_eq!(process.started, Some(Stamp(1_002_500)));
    }

    #[test]
    fn a_cut_stat_line_is_no_process() {
        assert_eq!(decode_process(&record("1234 (nginx) S 1"), None), None);
        assert_eq!(decode_process(&record(""), None), None);
    }

    #[test]
    fn arguments_and_titles_are_read() {
        assert_eq!(
            parse_cmdline(b"node\0server.js\0--port\x003000\0"),
            ["node", "server.js", "--port", "3000"]
        );
        assert_eq!(parse_cmdline(b"nginx: worker process\0\0\0\0"), ["nginx: worker process"]);
        assert_eq!(parse_cmdline(b""), Vec::<String>::new());
    }

    #[test]
    fn the_id_in_its_own_namespace_is_the_last_one() {
        let mut record = ProcessRecord {
            pid: 4711,
            stat: "4711 (nginx) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1000 0".into(),
            ..ProcessRecord::default()
        };
        assert_eq!(decode_process(&record, None).unwrap().own_pid, None);
        record.status = Some("Name:\tnginx\nNSpid:\t4711\t7\n".into());
        assert_eq!(decode_process(&record, None).unwrap().own_pid, Some(7));
    }

    #[test]
    fn effective_ids_and_groups_come_from_the_status() {
        let mut record = record(STAT);
        record.status =
            Some(Blob::from("Name:\tnginx\nUid:\t33\t34\t33\t33\nGid:\t33\t35\t33\t33\nGroups:\t33 4 \n"));
        let process = decode_process(&record, None).unwrap();
        assert_eq!((process.uid, process.gid, process.groups), (34, Some(35), vec![33, 4]));
    }

    #[test]
    fn the_limit_of_open_files_and_the_right_to_raise_it_are_read() {
        let mut record = record(STAT);
        assert_eq!(decode_process(&record, None).unwrap().descriptors, Descriptors::default());
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \nMax processes             9                    9                    processes \nMax open files            1024                 524288               files     \n";
        record.limits = Some(Blob::from(limits));
        record.status = Some(Blob::from("CapPrm:\t000001ffffffffff\nCapEff:\t00000000a80425fb\n"));
        let found = decode_process(&record, None).unwrap().descriptors;
        assert_eq!(
            (found.limit, found.hard_limit, found.may_raise),
            (Some(1024), Some(524_288), Some(false))
        );
        record.status = Some(Blob::from("CapEff:\t000001ffffffffff\n"));
        record.limits = Some(Blob::from("Max open files unlimited unlimited files\n"));
        let found = decode_process(&record, None).unwrap().descriptors;
        assert_eq!((found.limit, found.may_raise), (Some(u64::MAX), Some(true)));
    }

    #[test]
    fn units_and_containers_are_read_from_cgroups() {
        assert_eq!(unit_of("0::/system.slice/app.service\n").as_deref(), Some("app.service"));
        assert_eq!(
            unit_of("0::/system.slice/system-my\\x2dapp.slice/my\\x2dapp@1.service").as_deref(),
            Some("my-app@1.service")
        );
        assert_eq!(
            unit_of("4:memory:/x\n1:name=systemd:/system.slice/php8.2-fpm.service").as_deref(),
            Some("php8.2-fpm.service")
        );
        assert_eq!(unit_of("0::/\n"), None);
        assert_eq!(memory_cgroup("4:memory:/x\n0::/y\n").as_deref(), Some("/x"));
        assert_eq!(
            memory_cgroup("0::/system.slice/app.service\n").as_deref(),
            Some("/system.slice/app.service")
        );
        let id = "0123456789abcdef".repeat(4);
        for cgroup in [
            format!("0::/docker/{id}"),
            format!("0::/system.slice/docker-{id}.scope"),
            format!("0::/kubepods/besteffort/pod1/{id}"),
        ] {
            assert_eq!(container_of(&cgroup).as_deref(), Some("0123456789ab"));
        }
    }

    #[test]
    fn a_replaced_executable_is_told() {
        assert_eq!(
            split_deleted(Some("/usr/sbin/nginx (deleted)")),
            (Some("/usr/sbin/nginx".to_owned()), true)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(stat in any::<Vec<u8>>(), cmdline in any::<Vec<u8>>(), cgroup in any::<Vec<u8>>()) {
            let mut record = record("");
            record.stat = stat.into();
            record.cmdline = cmdline.into();
            record.status = Some(cgroup.clone().into());
            record.limits = Some(cgroup.clone().into());
            record.cgroup = cgroup.into();
            let _ = decode_process(&record, Some(Stamp(0)));
        }
    }
}
