//! Programs of this host, run for what they print.
//!
//! They are searched in fixed directories, get no input, no environment and no shell, and a bounded time; what they print is
//! bounded, too.

use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Where programs are searched.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// The most bytes that are kept of what a program complains about.
const MAX_COMPLAINT: u64 = 4096;
/// How long a program that has printed all may take to end.
const PAUSE: Duration = Duration::from_millis(2);

/// What came of running a program.
#[derive(Debug)]
pub(crate) enum Ran {
    /// It ended well, and printed this.
    Printed(Vec<u8>),
    /// It complained.
    Failed(String),
    /// It printed more than is kept.
    TooMuch,
    /// It took too long.
    TimedOut,
}

/// The path of a program.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let paths = DIRECTORIES.iter().map(|directory| PathBuf::from(format!("{directory}/{name}")));
    paths
        .into_iter()
        .find(|path| path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0))
}

/// Runs a program.
pub(crate) fn run(
    program: &PathBuf,
    arguments: &[&str],
    max_bytes: u64,
    timeout: Duration,
) -> io::Result<Ran> {
    let deadline = Instant::now() + timeout;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", DIRECTORIES.join(":"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let printed = child.stdout.take().map(|stdout| read_apart(stdout, max_bytes + 1));
    let complained = child.stderr.take().map(|stderr| read_apart(stderr, MAX_COMPLAINT));
    let printed = printed.and_then(|printed| receive(&printed, deadline));
    let Some(printed) = printed else {
        end(&mut child)?;
        return Ok(Ran::TimedOut);
    };
    if printed.len() as u64 > max_bytes {
        end(&mut child)?;
        return Ok(Ran::TooMuch);
    }
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            end(&mut child)?;
            return Ok(Ran::TimedOut);
        }
        thread::sleep(PAUSE);
    };
    if status.success() {
        return Ok(Ran::Printed(printed));
    }
    let complained = complained.and_then(|complained| receive(&complained, deadline)).unwrap_or_default();
    let complaint = String::from_utf8_lossy(&complained).into_owned();
    Ok(Ran::Failed(complaint.lines().next().unwrap_or("it failed without a word").trim().to_owned()))
}

/// Reads in a thread of its own, so that a program that prints nothing is not waited for.
fn read_apart(from: impl Read + Send + 'static, max_bytes: u64) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was printed before an error is what there is.
        let _ = from.take(max_bytes).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

fn receive(from: &Receiver<Vec<u8>>, deadline: Instant) -> Option<Vec<u8>> {
    from.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}

fn end(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(|_| ())
}

/// A file of `/proc`, whole; `None` if it is longer than that.
pub(crate) fn read_proc(path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, Errno> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(errno)?;
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(errno)?;
    Ok((bytes.len() as u64 <= max_bytes).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Duration) -> Ran {
        run(&find("sh").unwrap(), &["-c", script], 100, timeout).unwrap()
    }

    #[test]
    fn what_is_printed_is_bounded_in_size_and_time() {
        let long = Duration::from_secs(20);
        assert!(matches!(shell("echo well", long), Ran::Printed(bytes) if bytes == b"well\n"));
        assert!(matches!(shell("echo no >&2; exit 3", long), Ran::Failed(says) if says == "no"));
        assert!(matches!(shell("while :; do echo more; done", long), Ran::TooMuch));
        let begin = Instant::now();
        assert!(matches!(shell("exec sleep 60", Duration::from_millis(100)), Ran::TimedOut));
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn only_programs_of_the_system_are_found() {
        assert!(find("sh").is_some());
        assert!(find("../../tmp/none").is_none());
    }
}
