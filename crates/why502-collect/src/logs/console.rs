//! Logs that are links to the standard streams of a container: there they are what the engine keeps of its output.
//!
//! Images of nginx link their logs to `/dev/stdout` and `/dev/stderr`. What is written there goes through a pipe to the
//! container's engine, and with its usual driver into a file of the host: Docker's `json-file` in
//! `DATA-ROOT/containers/ID/ID-json.log` (`daemon/logger/jsonfilelog`), Podman's `k8s-file`, which has the form of CRI, in
//! `overlay-containers/ID/userdata/ctr.log`. Both streams stand in one file, so a log's lines are told by their form.

use crate::files::{read_whole, unreadable};
use crate::processes::process_ids;
use crate::root::{RootDir, Walk};
use std::collections::BTreeSet;
use std::fs;
use why502_decode::logs::{Envelope, Unwrapper, stamp_of_error_line};
use why502_facts::{Answer, GapReason, LogKind, Root};

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
}

/// Finds a log: in the root that it belongs to, or what an engine keeps of it.
pub(super) fn locate(root: Root, path: &str) -> Result<Located, Answer> {
    let directory = RootDir::open(root).map_err(|errno| unreadable(errno, path))?;
    if !leads_to_stream(&directory.walk(path)) {
        return Ok(Located { directory, path: path.to_owned(), envelope: None });
    }
    let unknown = |says: String| Answer::unknown(GapReason::Unsupported, says);
    let Root::Process(pid) = root else {
        return Err(unknown(format!("{path} leads to a standard stream of whoever opens it")));
    };
    let Some(id) = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok().as_deref().and_then(container_id)
    else {
        return Err(unknown(format!("{path} leads to a standard stream of process {pid}")));
    };
    let host = || RootDir::open(Root::Host).map_err(|errno| unreadable(errno, path));
    for (file, envelope) in kept_files(&id) {
        let directory = host()?;
        match directory.open_file(&file) {
            Ok(_) => return Ok(Located { directory, path: file, envelope: Some(envelope) }),
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => {
                let says = format!("{path} leads to the output of its container, and {file} may not be read");
                return Err(Answer::unknown(GapReason::Denied, says));
            }
            Err(_) => {}
        }
    }
    Err(unknown(format!(
        "{path} leads to the output of the container {}, which its engine keeps in no file that is known here (`docker logs` shows it)",
        &id[..12]
    )))
}

fn leads_to_stream(walk: &Walk) -> bool {
    walk.steps.iter().filter_map(|step| step.link.as_deref()).any(|link| STREAMS.contains(&link))
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
                let located = locate(root, &link.display().to_string());
                let Err(Answer::Unknown { why, .. }) = located else { panic!("{target} leads somewhere") };
                assert_eq!(why, GapReason::Unsupported);
            }
        }
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
