//! Processes, as `/proc` shows them.

use rustix::fs::AtFlags;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use why502_facts::{Answer, DescriptorCount, FactBody, GapReason, ProcessRecord, ProcessTable};

/// The most processes that are kept.
const MAX_PROCESSES: usize = 65_536;
/// The most descriptors of one process that are counted: `fs.nr_open` by default.
const MAX_DESCRIPTORS: usize = 1 << 20;
/// The most bytes of an argument vector that are kept.
const MAX_CMDLINE: usize = 4096;
/// The most threads that look at processes.
const MAX_THREADS: usize = 4;
/// Fewer processes than that are not worth a thread of their own.
const MIN_PART: usize = 256;
/// How much of a small file is read at once, in bytes.
const SMALL: usize = 2048;
/// Beyond that no small file is read.
const MAX_SMALL: usize = 256 << 10;
/// The most variables of an environment that are kept.
const MAX_VARIABLES: usize = 16;
/// The longest value of one.
const MAX_VARIABLE: usize = 120;

/// All processes that can be seen, kernel threads left out.
pub(crate) fn read_processes() -> Answer {
    let pids = match process_ids() {
        Ok(pids) => pids,
        Err(error) => return Answer::unknown(GapReason::Failed, format!("/proc: {error}")),
    };
    // Process 1 is always there: if it cannot be seen, `hidepid` hides other users' processes.
    let hidden = !pids.contains(&1);
    let own = FileView::of("self");
    let seen = pids.get(..MAX_PROCESSES).unwrap_or(&pids);
    let is_program = |record: &ProcessRecord| !record.cmdline.as_slice().is_empty();
    let processes = in_parts(seen, |pid| read_record(pid, &own).filter(is_program));
    Answer::known(FactBody::Processes(ProcessTable { processes, hidden }))
}

/// One process in detail.
pub(crate) fn read_process(pid: u32) -> Answer {
    let Some(mut record) = read_record(pid, &FileView::of("self")) else { return Answer::Absent };
    record.status = fs::read(format!("/proc/{pid}/status")).ok().map(Into::into);
    record.limits = fs::read(format!("/proc/{pid}/limits")).ok().map(Into::into);
    record.descriptors = count_descriptors(pid);
    record.cwd = link(&format!("/proc/{pid}/cwd"));
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    record.tz = time_zone(&environ);
    record.listens = listen_variables(&environ);
    Answer::known(FactBody::Process(record))
}

/// How many descriptors a process has open; `None` where that may not be read.
fn count_descriptors(pid: u32) -> Option<DescriptorCount> {
    let mut count = DescriptorCount::default();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.take(MAX_DESCRIPTORS) {
        // One that was closed meanwhile is none.
        let Ok(target) = entry.and_then(|entry| fs::read_link(entry.path())) else { continue };
        count.open += 1;
        count.sockets += u64::from(target.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
    }
    Some(count)
}

/// The ids of all processes that can be seen, in order.
pub(crate) fn process_ids() -> std::io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

/// A process with its argument vector.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) pid: u32,
    pub(crate) argv: Vec<String>,
}

/// All processes that can be seen with their argument vectors, by their ids, kernel threads left out.
pub(crate) fn running_programs() -> std::io::Result<Vec<Program>> {
    let program = |pid: u32| Some(Program { pid, argv: argv_of(pid)? });
    Ok(in_parts(&process_ids()?, program))
}

/// The argument vector of a process; `None` if it is gone, or a kernel thread.
fn argv_of(pid: u32) -> Option<Vec<String>> {
    let mut cmdline = read_small(&format!("/proc/{pid}/cmdline")).ok()?;
    cmdline.truncate(MAX_CMDLINE);
    let argv =
        cmdline.strip_suffix(b"\0").unwrap_or(&cmdline).split(|byte| *byte == 0).map(why502_facts::lossy);
    (!cmdline.is_empty()).then(|| argv.collect())
}

/// What a look at each of many processes gives, in their order: by several threads, since most of it is the kernel's work.
pub(crate) fn in_parts<T: Send>(pids: &[u32], look: impl Fn(u32) -> Option<T> + Sync) -> Vec<T> {
    let n_threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let size = pids.len().div_ceil(n_threads).max(MIN_PART);
    let look = &look;
    thread::scope(|scope| {
        let parts: Vec<_> = pids
            .chunks(size)
            .map(|part| scope.spawn(move || part.iter().filter_map(|pid| look(*pid)).collect::<Vec<T>>()))
            .collect();
        // A panic in a thread of ours is a bug and must not be swallowed.
        let join = |part: thread::ScopedJoinHandle<'_, Vec<T>>| {
            part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        parts.into_iter().flat_map(join).collect()
    })
}

/// The content of a small file of the kernel that it makes as a whole and that has no size to ask for, with as few reads as can be.
pub(crate) fn read_small(path: &str) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut content = vec![0; SMALL];
    let mut length = 0;
    loop {
        length += file.read(content.get_mut(length..).unwrap_or_default())?;
        // The kernel gives all that there is, as far as there is room: to ask once more costs as much again.
        if length < content.len() || length > MAX_SMALL {
            break;
        }
        content.resize(length * 2, 0);
    }
    content.truncate(length);
    content.shrink_to_fit();
    Ok(content)
}

/// The ids of the threads of a process, in order.
pub(crate) fn thread_ids(pid: u32) -> std::io::Result<Vec<u32>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        if let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

/// `None` if the process is gone.
fn read_record(pid: u32, own: &FileView) -> Option<ProcessRecord> {
    let stat = read_small(&format!("/proc/{pid}/stat")).ok()?;
    let mut cmdline = read_small(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
    cmdline.truncate(MAX_CMDLINE);
    let view = FileView::of(&pid.to_string());
    Some(ProcessRecord {
        pid,
        stat: stat.into(),
        cmdline: cmdline.into(),
        cgroup: read_small(&format!("/proc/{pid}/cgroup")).unwrap_or_default().into(),
        exe: link(&format!("/proc/{pid}/exe")),
        net_namespace: namespace(&format!("/proc/{pid}/ns/net")),
        mount_namespace: view.namespace,
        same_root: view.is_that_of(own),
        uid: fs::metadata(format!("/proc/{pid}")).map_or(0, |metadata| metadata.uid()),
        ..ProcessRecord::default()
    })
}

/// What decides which file a path leads a process to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileView {
    /// The device and inode of its root directory.
    root: Option<(u64, u64)>,
    /// The inode of its mount namespace.
    namespace: Option<u64>,
    /// The id of the mount that it sees at `/`.
    mount: Option<u64>,
}

impl FileView {
    /// The view of `/proc/PROCESS`.
    fn of(process: &str) -> Self {
        let root = root_identity(&format!("/proc/{process}/root"));
        let namespace = namespace(&format!("/proc/{process}/ns/mnt"));
        // The root and the namespace tell only who may trace the process; its mounts anybody (proc_pid_mountinfo(5)).
        let is_hidden = root.is_none() || namespace.is_none();
        let mounts = |()| fs::read(format!("/proc/{process}/mountinfo")).ok();
        let is_own = process == "self";
        let mount = (is_hidden || is_own).then_some(()).and_then(mounts).as_deref().and_then(root_mount);
        Self { root, namespace, mount }
    }

    /// Whether both see the same files: a private mount namespace (`PrivateTmp=`, `ip netns exec`) may hide or replace
    /// any of them behind the same root. `None` if that may not be known.
    fn is_that_of(&self, own: &Self) -> Option<bool> {
        let roots = self.root.zip(own.root);
        let namespaces = self.namespace.zip(own.namespace);
        match (roots, namespaces) {
            (Some((root, own_root)), Some((namespace, own_namespace))) => {
                Some(root == own_root && namespace == own_namespace)
            }
            // No two mounts of any namespaces share an id.
            _ => self.mount.zip(own.mount).map(|(mount, own_mount)| mount == own_mount),
        }
    }
}

/// The id of the mount at `/`: of several, the last one lies on top.
fn root_mount(mountinfo: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(mountinfo);
    let mut mounts = text.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let id = fields.next()?;
        // Parent, device, root of the mount, mount point.
        (fields.nth(3)? == "/").then_some(id)
    });
    mounts.next_back()?.parse().ok()
}

fn link(path: &str) -> Option<String> {
    fs::read_link(path).ok().map(|target| target.to_string_lossy().into_owned())
}

/// `net:[4026531840]` names a namespace by its inode.
pub(crate) fn namespace(path: &str) -> Option<u64> {
    link(path)?.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

/// The device and inode of a root directory; unreadable without rights over the process.
fn root_identity(path: &str) -> Option<(u64, u64)> {
    let stat = rustix::fs::statat(rustix::fs::CWD, path, AtFlags::empty()).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// The variables that say where to listen.
fn listen_variables(environ: &[u8]) -> Vec<String> {
    let entries = environ.split(|byte| *byte == 0).map(why502_facts::lossy);
    let is_wanted =
        |entry: &String| entry.split_once('=').is_some_and(|(name, value)| is_listen_variable(name, value));
    entries.filter(is_wanted).take(MAX_VARIABLES).collect()
}

/// Whether a variable says where to listen, by its name and as far as it is no longer than an address or a path.
pub(crate) fn is_listen_variable(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let words = ["PORT", "LISTEN", "BIND", "ADDR", "SOCKET"];
    value.len() <= MAX_VARIABLE && words.iter().any(|word| name.contains(word))
}

fn time_zone(environ: &[u8]) -> Option<String> {
    let value = environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"TZ="))?;
    Some(String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_with_its_namespaces() {
        let Answer::Known(body) = read_processes() else { panic!("no processes") };
        let FactBody::Processes(table) = *body else { panic!("another answer") };
        let own = table.processes.iter().find(|record| record.pid == std::process::id()).unwrap();
        assert!(own.net_namespace.is_some() && own.exe.is_some());
        assert_eq!(own.same_root, Some(true));
    }

    #[test]
    fn another_mount_namespace_on_the_same_root_is_another_view() {
        let own = FileView { root: Some((1, 2)), namespace: Some(10), mount: Some(27) };
        assert_eq!(own.is_that_of(&own), Some(true));
        assert_eq!(FileView { namespace: Some(11), ..own }.is_that_of(&own), Some(false));
        assert_eq!(FileView { root: Some((1, 3)), ..own }.is_that_of(&own), Some(false));
        let hidden = FileView { root: None, namespace: None, mount: Some(27) };
        assert_eq!(hidden.is_that_of(&own), Some(true));
        assert_eq!(FileView { mount: Some(99), ..hidden }.is_that_of(&own), Some(false));
        assert_eq!(FileView { mount: None, ..hidden }.is_that_of(&own), None, "nobody could look");
    }

    #[test]
    fn the_mount_at_the_root_is_found() {
        let mounts = b"22 27 0:21 / /proc rw - proc proc rw\n27 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n30 27 0:5 / / rw - tmpfs t rw\n";
        assert_eq!(root_mount(mounts), Some(30));
        assert_eq!(root_mount(b"22 27 0:21 / /proc rw - proc proc rw\n"), None, "a chroot below a mount");
    }

    #[test]
    fn a_process_that_is_gone_is_absent() {
        assert_eq!(read_process(u32::MAX), Answer::Absent);
    }

    #[test]
    fn variables_that_say_where_to_listen_are_taken() {
        let environ = b"HOME=/root\0PORT=3000\0SHOP_BIND=0.0.0.0:1\0TOKEN=x\0";
        assert_eq!(listen_variables(environ), ["PORT=3000", "SHOP_BIND=0.0.0.0:1"]);
    }

    #[test]
    fn the_time_zone_is_taken_from_the_environment() {
        assert_eq!(time_zone(b"A=1\0TZ=Europe/Berlin\0").as_deref(), Some("Europe/Berlin"));
        assert_eq!(time_zone(b"ATZ=1\0"), None);
    }
}
