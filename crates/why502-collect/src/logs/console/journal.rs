//! Output that the journal keeps: of a container whose engine hands it over (Docker's driver `journald`, Podman's of the same name),
//! or of a unit whose standard streams are sockets of systemd-journald.

use super::Wanted;
use crate::command::run;
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};
use why502_facts::{Answer, GapReason};

/// How long `journalctl` may take: it reads many files.
const PATIENCE: Duration = Duration::from_secs(4);
/// The most bytes of its output. An entry has some hundred beside its message.
const MAX_BYTES: u64 = 32 << 20;

/// The newest entries that match, one line of JSON each, in a file in memory, and whether there may be older ones that are
/// wanted; `None` if there are none.
pub(super) fn entries(matches: &[String], wanted: &Wanted) -> Result<Option<(File, bool)>, Answer> {
    let mut arguments = vec![
        "--no-pager".to_owned(),
        "--quiet".to_owned(),
        "--all".to_owned(),
        "--output=json".to_owned(),
        "--output-fields=MESSAGE".to_owned(),
        format!("--lines={}", wanted.n_lines),
    ];
    arguments.extend(wanted.from.map(|from| format!("--since=@{}", from.0.div_euclid(1000))));
    arguments.extend_from_slice(matches);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let deadline = wanted.deadline.min(Instant::now() + PATIENCE);
    let output =
        run("journalctl", &arguments, MAX_BYTES, deadline).map_err(|error| error.gap("journalctl"))?;
    if output.stdout.is_empty() {
        let complaint = output.complaint;
        let is_denied = complaint.contains("ermission") || complaint.contains("not seeing messages");
        if is_denied {
            return Err(Answer::unknown(GapReason::Denied, format!("journalctl: {complaint}")));
        }
        return Ok(None);
    }
    let failed = |error: &dyn std::fmt::Display| {
        Answer::unknown(GapReason::Failed, format!("the output of journalctl cannot be kept: {error}"))
    };
    let handle = rustix::fs::memfd_create("journal", MemfdFlags::CLOEXEC).map_err(|errno| failed(&errno))?;
    let mut file = File::from(handle);
    file.write_all(&output.stdout).map_err(|error| failed(&error))?;
    let n_lines = output.stdout.split(|byte| *byte == b'\n').count().saturating_sub(1);
    let is_cut = output.truncated || u32::try_from(n_lines).is_ok_and(|n_lines| n_lines >= wanted.n_lines);
    Ok(Some((file, is_cut)))
}
