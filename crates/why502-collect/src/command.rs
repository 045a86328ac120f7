//! Programs of the host that are asked for what no file tells: `systemctl show`, `journalctl`.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use why502_facts::{Answer, GapReason, lossy};

/// Where programs are searched, whatever the environment says.
const DIRECTORIES: [&str; 6] =
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];
/// So much of what a program complains of is read, in bytes.
const MAX_COMPLAINT: u64 = 2000;
/// How long a program may take to end once its output has.
const PAUSE: Duration = Duration::from_millis(2);

/// What a program wrote.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its standard output, as far as it was read.
    pub(crate) stdout: Vec<u8>,
    /// Whether there was more.
    pub(crate) truncated: bool,
    /// The first line of its standard error.
    pub(crate) complaint: String,
    /// Whether it ended with success; false also where it was ended because its output was too long.
    pub(crate) success: bool,
}

/// Why a program told nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommandError {
    /// It is not installed.
    NotThere,
    /// It could not be started, or read.
    Failed(String),
    /// It did not end in time.
    TimedOut,
}

impl CommandError {
    /// The gap that it is.
    pub(crate) fn gap(&self, program: &str) -> Answer {
        match self {
            Self::NotThere => Answer::unknown(GapReason::Unsupported, format!("there is no {program} here")),
            Self::Failed(says) => Answer::unknown(GapReason::Failed, format!("{program}: {says}")),
            Self::TimedOut => {
                Answer::unknown(GapReason::TimedOut, format!("{program} did not answer in time"))
            }
        }
    }
}

/// Runs a program of the host with arguments, without a shell, in the C locale and in UTC; it is ended by its process id
/// at `deadline`, or once it has written more than `max_bytes`.
pub(crate) fn run(
    program: &str,
    arguments: &[&str],
    max_bytes: u64,
    deadline: Instant,
) -> Result<Output, CommandError> {
    let failed = |error: &io::Error| CommandError::Failed(error.to_string());
    let paths = DIRECTORIES.iter().map(|directory| format!("{directory}/{program}"));
    let Some(path) = paths.into_iter().find(|path| Path::new(path).is_file()) else {
        return Err(CommandError::NotThere);
    };
    let mut command = Command::new(path);
    command
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("PATH", DIRECTORIES.join(":"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let read = read_both(&mut child, max_bytes, deadline);
    let (stdout, complaint) = match read {
        Some(read) => read,
        None => {
            end(&mut child);
            return Err(CommandError::TimedOut);
        }
    };
    let stdout = stdout.map_err(|error| {
        end(&mut child);
        failed(&error)
    })?;
    let truncated = stdout.len() as u64 > max_bytes;
    let success = if truncated {
        end(&mut child);
        false
    } else {
        wait(&mut child, deadline)?.success()
    };
    let mut stdout = stdout;
    stdout.truncate(usize::try_from(max_bytes).unwrap_or(usize::MAX));
    let complaint = complaint.lines().next().unwrap_or_default().trim().to_owned();
    Ok(Output { stdout, truncated, complaint, success })
}

/// Both outputs of a child, each read in a thread of its own, so that neither waits for the other; `None` if the time is up.
fn read_both(child: &mut Child, max_bytes: u64, deadline: Instant) -> Option<(io::Result<Vec<u8>>, String)> {
    let stdout = read_aside(child.stdout.take(), max_bytes + 1);
    let stderr = read_aside(child.stderr.take(), MAX_COMPLAINT);
    let left = || deadline.saturating_duration_since(Instant::now());
    let stdout = stdout.recv_timeout(left()).ok()?;
    let is_full = stdout.as_ref().is_ok_and(|bytes| bytes.len() as u64 > max_bytes);
    // Whoever is cut off has not closed the other output either.
    let complaint = if is_full { None } else { Some(stderr.recv_timeout(left()).ok()?) };
    Some((stdout, complaint.and_then(Result::ok).map(|bytes| lossy(&bytes)).unwrap_or_default()))
}

fn read_aside(stream: Option<impl Read + Send + 'static>, limit: u64) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stream.map_or(Ok(0), |stream| stream.take(limit).read_to_end(&mut bytes));
        // Nobody waits any longer where the time was up.
        let _ = sender.send(read.map(|_| bytes));
    });
    receiver
}

fn wait(child: &mut Child, deadline: Instant) -> Result<ExitStatus, CommandError> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(PAUSE),
            Ok(None) => {
                end(child);
                return Err(CommandError::TimedOut);
            }
            Err(error) => return Err(CommandError::Failed(error.to_string())),
        }
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn output_complaint_and_success_are_told() {
        let output = run("sh", &["-c", "echo out; echo err >&2; exit 3"], 100, soon()).unwrap();
        assert_eq!((output.stdout.as_slice(), output.complaint.as_str()), (b"out\n".as_slice(), "err"));
        assert!(!output.success && !output.truncated);
        assert!(run("sh", &["-c", "test \"$LC_ALL$TZ\" = CUTC"], 100, soon()).unwrap().success);
    }

    #[test]
    fn whoever_writes_without_end_is_cut_off() {
        let output = run("yes", &[], 100, soon()).unwrap();
        assert_eq!((output.stdout.len(), output.truncated), (100, true));
    }

    #[test]
    fn whoever_takes_too_long_is_ended() {
        let begin = Instant::now();
        let ended = run("sleep", &["60"], 100, begin + Duration::from_millis(100));
        assert_eq!(ended.err(), Some(CommandError::TimedOut));
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_is_searched_in_fixed_directories_alone() {
        assert_eq!(run("no-such-program", &[], 100, soon()).err(), Some(CommandError::NotThere));
        assert_eq!(run("../../bin/no", &[], 100, soon()).err(), Some(CommandError::NotThere));
    }
}
