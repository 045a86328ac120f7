//! The journal, read through `journalctl`: its files have a format of systemd's own, which only systemd promises to read.

use super::sample::{LENGTH, Sample};
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

/// How an argument names the host's own journal.
const PREFIX: &str = "journal:";
/// With what a journal's file begins (`HEADER_SIGNATURE` in `journal-def.h`).
const SIGNATURE: &[u8; 8] = b"LPKSHHRH";
/// How many of the newest entries are looked at.
const NEWEST: &str = "--lines=1000";
/// So much of what `journalctl` complains of is shown.
const MAX_COMPLAINT: u64 = 2000;

/// A journal, or those of its entries that are wanted.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    /// What selects the journal and its entries.
    arguments: Vec<String>,
}

impl Journal {
    /// The host's own journal, if an argument names it: `journal:` all of it, `journal:UNIT` what a unit's processes
    /// wrote, `journal:FIELD=VALUE` the entries with that field.
    pub(super) fn of_argument(argument: &str) -> Option<Self> {
        let wanted = argument.strip_prefix(PREFIX)?;
        let is_field = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let arguments = match wanted.split_once('=') {
            _ if wanted.is_empty() => Vec::new(),
            Some((name, _)) if is_field(name) => vec![wanted.to_owned()],
            _ => vec![format!("--unit={wanted}")],
        };
        Some(Self { arguments })
    }

    /// Files of a journal; `journalctl` puts their entries in order.
    pub(super) fn of_files<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
        Self { arguments: paths.map(|path| format!("--file={path}")).collect() }
    }

    /// Some of its first and of its newest lines.
    pub(super) fn sample(&self) -> io::Result<Sample> {
        let mut begin = Vec::new();
        self.export(None)?.take(LENGTH).read_to_end(&mut begin)?;
        let is_all = (begin.len() as u64) < LENGTH;
        let mut sample = Sample::default();
        sample.add_all(&begin, is_all);
        if !is_all {
            let mut end = Vec::new();
            self.export(Some(NEWEST))?.take(4 * LENGTH).read_to_end(&mut end)?;
            sample.add_all(&end, (end.len() as u64) < 4 * LENGTH);
        }
        Ok(sample)
    }

    /// Its entries, as [`why502_decode::logs::Envelope::JournalExport`] has them.
    pub(super) fn entries(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.export(None)?))
    }

    fn export(&self, which: Option<&str>) -> io::Result<Export> {
        let mut child = Command::new("journalctl")
            .args(["--no-pager", "--quiet", "--all", "--output=export"])
            // An entry has dozens of fields besides.
            .arg("--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM")
            .args(which)
            .args(&self.arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for this program, which shows what it has read by then.
            .process_group(0)
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => io::Error::new(
                    io::ErrorKind::NotFound,
                    "there is no journalctl here: where there is one, `journalctl -o export` writes what can be read",
                ),
                _ => error,
            })?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        // Read beside the entries, so that neither waits for the other.
        let complaint = stderr.map(|mut stderr| {
            std::thread::spawn(move || {
                let mut says = Vec::new();
                // What cannot be read is not shown.
                let _ = stderr.by_ref().take(MAX_COMPLAINT).read_to_end(&mut says);
                let _ = io::copy(&mut stderr, &mut io::sink());
                why502_facts::lossy(&says)
            })
        });
        Ok(Export { child, stdout, complaint })
    }
}

/// Whether a file is one of a journal.
pub(super) fn is_journal(file: &std::fs::File) -> io::Result<bool> {
    let mut begin = [0; SIGNATURE.len()];
    let length = file.read_at(&mut begin, 0)?;
    Ok(begin[..length] == *SIGNATURE)
}

/// What a running `journalctl` writes. It is ended, by its process id, when this is dropped.
struct Export {
    child: Child,
    /// Gone at its end.
    stdout: Option<ChildStdout>,
    complaint: Option<JoinHandle<String>>,
}

impl Read for Export {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stdout) = &mut self.stdout else { return Ok(0) };
        let length = stdout.read(buffer)?;
        if length > 0 || buffer.is_empty() {
            return Ok(length);
        }
        self.stdout = None;
        let status = self.child.wait()?;
        if status.success() {
            return Ok(0);
        }
        let says = self.complaint.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let says = says.lines().next().filter(|line| !line.is_empty()).map(str::to_owned);
        let says = says.unwrap_or_else(|| status.to_string());
        Err(io::Error::other(format!("journalctl: {says}")))
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_names_a_unit_a_field_or_all() {
        let arguments =
            |argument: &str| Journal::of_argument(argument).map(|journal| journal.arguments.join(" "));
        assert_eq!(arguments("journal:").as_deref(), Some(""));
        assert_eq!(arguments("journal:nginx").as_deref(), Some("--unit=nginx"));
        assert_eq!(arguments("journal:CONTAINER_NAME=edge=1").as_deref(), Some("CONTAINER_NAME=edge=1"));
        // Nothing that follows is an option.
        assert_eq!(arguments("journal:--rotate").as_deref(), Some("--unit=--rotate"));
        assert_eq!(arguments("journal:--root=/x").as_deref(), Some("--unit=--root=/x"));
        assert_eq!(arguments("./journal:nginx"), None);
    }
}
