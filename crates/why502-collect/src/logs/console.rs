//! Logs that are links to the standard streams of a container: there they are what the engine keeps of its output.
//!
//! Images of nginx link their logs to `/dev/stdout` and `/dev/stderr`. What is written there goes through a pipe to the
//! container's engine, and with its usual driver into a file of the host: Docker's `json-file` in
//! `DATA-ROOT/containers/ID/ID-json.log` (`daemon/logger/jsonfilelog`), Podman's `k8s-file`, which has the form of CRI, in
//! `overlay-containers/ID/userdata/ctr.log`. Where the engine keeps no file, the journal may have it; outside of a container, what
//! the streams of the process lead to: a file, or a socket of the journal. Both streams stand in one place, so a log's lines are
//! told by their form.

mod journal;

use crate::files::{read_whole, unreadable};
use crate::processes::process_ids;
use crate::root::{RootDir, Walk, open_handle};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::Instant;
use why502_decode::logs::{Envelope, Unwrapper, stamp_of_error_line};
use why502_facts::{Answer, GapReason, LogKind, Root, Stamp};

/// What a link to a standard stream leads to, before it is resolved for whoever asks.
const STREAMS: [&str; 6] =
    ["/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/1", "/proc/self/fd/2"];
/// Where engines keep what they have, unless they are told otherwise.
const DOCKER: &str = "/var/lib/docker";
const PODMAN: &str = "/var/lib/containers/storage";
/// The length of a container's id.
const ID: usize = 64;

/// Where the lines of a log are.
pub(super) struct Located {
    pub(super) directory: RootDir,
    pub(super) path: String,
    /// What stands around its lines; `None`: nothing.
    pub(super) envelope: Option<Envelope>,
    /// What was read of it already, or an open file that its path may not lead to.
    kept: Option<File>,
    /// Whether it had older lines that are wanted and were not read.
    is_cut: bool,
}

/// What of a log is wanted, where it has to be asked for.
pub(super) struct Wanted {
    /// From when on.
    pub(super) from: Option<Stamp>,
    /// So many of the newest lines.
    pub(super) n_lines: u32,
    /// Until when there is time.
    pub(super) deadline: Instant,
}

impl Located {
    /// A file of the log: itself, or a rotated sibling.
    pub(super) fn open(&self, path: &str) -> Result<(File, Stat), Errno> {
        let Some(kept) = self.kept.as_ref().filter(|_| path == self.path) else {
            return self.directory.open_file(path);
        };
        let file = kept.try_clone().map_err(|error| super::errno(&error))?;
        let stat = rustix::fs::fstat(&file)?;
        Ok((file, stat))
    }

    /// Whether it had older lines that are wanted and were not read.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether it is no file with rotated siblings.
    pub(super) fn is_alone(&self) -> bool {
        self.kept.is_some()
    }
}

/// Finds a log: in the root that it belongs to, or what an engine or the journal keeps of it.
pub(super) fn locate(root: Root, path: &str, wanted: &Wanted) -> Result<Located, Answer> {
    let directory = RootDir::open(root).map_err(|errno| unreadable(errno, path))?;
    let Some(stream) = stream_of(path, &directory.walk(path)) else {
        return Ok(Located { directory, path: path.to_owned(), envelope: None, kept: None, is_cut: false });
    };
    let unknown = |says: String| Answer::unknown(GapReason::Unsupported, says);
    let Root::Process(pid) = root else {
        return Err(unknown(format!("{path} leads to a standard stream of whoever opens it")));
    };
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let Some(id) = container_id(&cgroup) else {
        return of_process(directory, path, (pid, stream), &cgroup, wanted);
    };
    let host = || RootDir::open(Root::Host).map_err(|errno| unreadable(errno, path));
    for (file, envelope) in kept_files(&id) {
        let directory = host()?;
        match directory.open_file(&file) {
            Ok(_) => {
                let envelope = Some(envelope);
                return Ok(Located { directory, path: file, envelope, kept: None, is_cut: false });
            }
            Err(Errno::ACCESS | Errno::PERM) => {
                let says = format!("{path} leads to the output of its container, and {file} may not be read");
                return Err(Answer::unknown(GapReason::Denied, says));
            }
            Err(_) => {}
        }
    }
    // Docker and Podman both set that field.
    let matches = [format!("CONTAINER_ID_FULL={id}")];
    if let Ok(Some(kept)) = journal::entries(&matches, wanted) {
        return Ok(of_journal(directory, path, kept));
    }
    Err(unknown(format!(
        "{path} leads to the output of the container {}, which its engine keeps in no file that is known here (`docker logs` shows it)",
        &id[..12]
    )))
}

/// What a standard stream of a process leads to.
fn of_process(
    directory: RootDir,
    path: &str,
    (pid, stream): (u32, u32),
    cgroup: &str,
    wanted: &Wanted,
) -> Result<Located, Answer> {
    let link = format!("/proc/{pid}/fd/{stream}");
    // The very file that the process writes: no path is looked up, and nothing is touched before it is known what it is.
    let handle = rustix::fs::open(&link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| unreadable(errno, &link))?;
    let stat = rustix::fs::fstat(&handle).map_err(|errno| unreadable(errno, &link))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let file = open_handle(&handle).map_err(|errno| unreadable(errno, &link))?;
            let envelope = Some(Envelope::Plain);
            let (path, kept) = (path.to_owned(), Some(File::from(file)));
            Ok(Located { directory, path, envelope, kept, is_cut: false })
        }
        FileType::Socket => {
            let nobody = || {
                let says = format!(
                    "{path} leads to a socket of process {pid}, whose output the journal does not have"
                );
                Answer::unknown(GapReason::Unsupported, says)
            };
            let unit = unit_of(cgroup).ok_or_else(nobody)?;
            let matches = [format!("_SYSTEMD_UNIT={unit}"), "_TRANSPORT=stdout".to_owned()];
            let kept = journal::entries(&matches, wanted)?.ok_or_else(nobody)?;
            Ok(of_journal(directory, path, kept))
        }
        _ => {
            let says = format!(
                "{path} leads to a standard stream of process {pid}, which goes to somebody who keeps it elsewhere"
            );
            Err(Answer::unknown(GapReason::Unsupported, says))
        }
    }
}

fn of_journal(directory: RootDir, path: &str, (kept, is_cut): (File, bool)) -> Located {
    let (path, envelope) = (path.to_owned(), Some(Envelope::JournalJson));
    Located { directory, path, envelope, kept: Some(kept), is_cut }
}

/// The standard stream that a path leads to: 1 or 2.
fn stream_of(path: &str, walk: &Walk) -> Option<u32> {
    let links = walk.steps.iter().filter_map(|step| step.link.as_deref());
    let stream = std::iter::once(path).chain(links).find(|link| STREAMS.contains(link))?;
    Some(if stream.ends_with("stdout") || stream.ends_with('1') { 1 } else { 2 })
}

/// The service that a cgroup path names.
fn unit_of(cgroup: &str) -> Option<&str> {
    cgroup.lines().flat_map(|line| line.rsplit('/')).find(|part| part.ends_with(".service"))
}

/// The files in which engines keep the output of a container, and their form.
fn kept_files(id: &str) -> Vec<(String, Envelope)> {
    let docker = data_roots()
        .into_iter()
        .map(|root| (format!("{root}/containers/{id}/{id}-json.log"), Envelope::DockerJson));
    let podman = (format!("{PODMAN}/overlay-containers/{id}/userdata/ctr.log"), Envelope::Cri);
    docker.chain([podman]).collect()
}

/// Where the Docker engines of this host keep what they have, by their command lines and their usual configuration file.
fn data_roots() -> BTreeSet<String> {
    let mut roots = BTreeSet::from([DOCKER.to_owned()]);
    let configured = read_whole("/etc/docker/daemon.json");
    let configured = configured.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    roots.extend(configured.as_ref().and_then(|own| own.get("data-root")?.as_str()).map(str::to_owned));
    for pid in process_ids().unwrap_or_default() {
        if fs::read(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == b"dockerd\n") {
            roots.extend(fs::read(format!("/proc/{pid}/cmdline")).ok().as_deref().and_then(data_root));
        }
    }
    roots.retain(|root| root.starts_with('/'));
    roots
}

/// `--data-root PATH`, `--data-root=PATH`, `-g PATH` of an argument vector.
fn data_root(cmdline: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(cmdline).into_owned();
    let arguments: Vec<&str> = text.split('\0').collect();
    let joined = arguments
        .iter()
        .find_map(|own| own.strip_prefix("--data-root=").or_else(|| own.strip_prefix("--graph=")));
    let next = || {
        let at = arguments.iter().position(|own| matches!(*own, "--data-root" | "--graph" | "-g"))?;
        arguments.get(at + 1).copied()
    };
    joined.or_else(next).map(|path| path.trim_end_matches('/').to_owned())
}

/// The container's id in a cgroup path.
fn container_id(cgroup: &str) -> Option<String> {
    let is_id = |part: &&str| part.len() == ID && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    cgroup.rsplit(|letter: char| !letter.is_ascii_alphanumeric()).find(is_id).map(str::to_owned)
}

/// Takes lines out of their wrapping, those of a log's kind.
pub(super) struct Peeler {
    unwrapper: Unwrapper,
    is_error_log: bool,
}

impl Peeler {
    pub(super) fn new(envelope: Envelope, kind: &LogKind) -> Self {
        Self { unwrapper: Unwrapper::new(envelope), is_error_log: matches!(kind, LogKind::Error) }
    }

    /// Shows the lines of the log's kind that are whole by now, with their offsets.
    pub(super) fn push(&mut self, offset: u64, line: &[u8], see: &mut dyn FnMut(u64, &[u8])) {
        let is_error_log = self.is_error_log;
        self.unwrapper.push(offset, line, &mut |peeled| {
            if stamp_of_error_line(peeled.line).is_some() == is_error_log {
                see(peeled.offset, peeled.line);
            }
        });
    }
}

/// Some whole lines of a wrapped log, unwrapped.
pub(super) fn peel(envelope: Envelope, kind: &LogKind, bytes: &[u8]) -> Vec<u8> {
    let (mut peeler, mut bare) = (Peeler::new(envelope, kind), Vec::new());
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        peeler.push(0, line, &mut |_, line| {
            bare.extend_from_slice(line);
            bare.push(b'\n');
        });
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const KEPT: &str = concat!(
        r#"{"log":"/docker-entrypoint.sh: ready\n","stream":"stdout","time":"2026-11-21T02:28:29.1Z"}"#,
        "\n",
        r#"{"log":"10.0.0.9 - - [21/Nov/2026:02:28:30 +0000] \"GET /a HTTP/1.1\" 502 157 \"-\" \"curl/8\"\n","stream":"stdout","time":"2026-11-21T02:28:30.2Z"}"#,
        "\n",
        r#"{"log":"2026/11/21 02:28:30 [error] 7#7: *3 connect() failed (111: Connection refused) while connecting to upstream\n","stream":"stderr","time":"2026-11-21T02:28:30.1Z"}"#,
        "\n"
    );

    #[test]
    fn both_logs_are_taken_from_one_file() {
        let text =
            |kind: &LogKind| String::from_utf8(peel(Envelope::DockerJson, kind, KEPT.as_bytes())).unwrap();
        let errors = text(&LogKind::Error);
        assert!(
            errors.starts_with("2026/11/21 02:28:30 [error] 7#7") && errors.lines().count() == 1,
            "{errors}"
        );
        let accesses = text(&LogKind::Access { format: None, writing: why502_facts::AccessWriting::AtOnce });
        assert!(accesses.contains("\"GET /a HTTP/1.1\" 502") && !accesses.contains("[error]"), "{accesses}");
    }

    #[test]
    fn a_link_to_a_stream_never_leads_to_our_own() {
        let directory = tempfile::tempdir().unwrap();
        for target in ["/dev/stdout", "/proc/self/fd/2"] {
            let link = directory.path().join("access.log");
            let _ = fs::remove_file(&link);
            symlink(target, &link).unwrap();
            for root in [Root::Host, Root::Process(std::process::id())] {
                let wanted = Wanted { from: None, n_lines: 10, deadline: Instant::now() };
                let located = locate(root, &link.display().to_string(), &wanted);
                match (root, located) {
                    // What a process's own stream leads to, is the very file that it writes.
                    (Root::Process(_), Ok(located)) => assert!(located.is_alone(), "{target}"),
                    (_, Err(Answer::Unknown { .. } | Answer::Absent)) => {}
                    _ => panic!("{target} leads to a stream of this program's own"),
                }
            }
        }
    }

    #[test]
    fn the_stream_of_a_process_is_the_file_that_it_writes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let line = "2026/11/21 02:28:30 [error] 7#7: *3 connect() failed\n";
        fs::write(&path, line).unwrap();
        let out = fs::OpenOptions::new().append(true).open(&path).unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("20")
            .stdout(out)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let wanted = || Wanted { from: None, n_lines: 10, deadline: Instant::now() };
        let locate = |path: &str| locate(Root::Process(child.id()), path, &wanted());
        let located = locate("/dev/stdout").map_err(|_| ()).unwrap();
        let (file, stat) = located.open("/dev/stdout").unwrap();
        assert_eq!((stat.st_size, io_text(file)), (i64::try_from(line.len()).unwrap(), line.to_owned()));
        let piped = locate("/dev/stderr");
        assert!(matches!(piped, Err(Answer::Unknown { why: GapReason::Unsupported, .. })));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn io_text(mut file: File) -> String {
        use std::io::{Read as _, Seek as _};
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn units_are_named_by_control_groups() {
        assert_eq!(unit_of("1:name=systemd:/system.slice/nginx.service\n0::/x\n"), Some("nginx.service"));
        assert_eq!(unit_of("0::/user.slice/session-1.scope\n"), None);
    }

    #[test]
    fn engines_tell_where_they_keep_what_they_have() {
        assert_eq!(data_root(b"dockerd\0--data-root\0/d/\0").as_deref(), Some("/d"));
        assert_eq!(data_root(b"dockerd\0--data-root=/e\0-H\0x\0").as_deref(), Some("/e"));
        assert_eq!(data_root(b"dockerd\0-H\0fd://\0"), None);
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(container_id(&format!("4:memory:/docker/{id}\n")), Some(id.clone()));
        assert_eq!(container_id("0::/system.slice/nginx.service\n"), None);
        assert!(kept_files(&id).iter().all(|(file, _)| file.contains(&id)));
    }
}
