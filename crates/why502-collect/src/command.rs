//! Programs of the host that are run for what they print: with a deadline, without a shell, from fixed directories.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where programs are searched, in this order: `PATH` is the caller's.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// What a program printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Printed {
    /// Its standard output, as far as it came.
    pub(crate) output: Vec<u8>,
    /// Whether it ended by itself, and that without an error.
    pub(crate) is_whole: bool,
}

/// Where a program is; `None` if the host has none.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// Runs a program in the C locale until it ends, has printed `max_bytes`, or the time is up; then it is ended.
pub(crate) fn run(
    program: &Path,
    arguments: &[&str],
    deadline: Instant,
    max_bytes: usize,
) -> io::Result<Printed> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let printed = read_until(&mut child, deadline, max_bytes);
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
    printed
}

fn read_until(child: &mut Child, deadline: Instant, max_bytes: usize) -> io::Result<Printed> {
    let mut printed = Printed::default();
    let Some(mut stdout) = child.stdout.take() else { return Ok(printed) };
    let mut buffer = vec![0; 64 << 10];
    while printed.output.len() < max_bytes {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !is_readable(&stdout, left)? {
            return Ok(printed);
        }
        let length = stdout.read(&mut buffer)?;
        if length == 0 {
            printed.is_whole = ends_well(child, deadline)?;
            return Ok(printed);
        }
        printed.output.extend_from_slice(&buffer[..length]);
    }
    Ok(printed)
}

fn is_readable(stdout: &std::process::ChildStdout, within: Duration) -> io::Result<bool> {
    let mut ready = [PollFd::new(stdout, PollFlags::IN)];
    let timeout = Timespec::try_from(within).ok();
    match poll(&mut ready, timeout.as_ref()) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Who has closed its output is about to end.
fn ends_well(child: &mut Child, deadline: Instant) -> io::Result<bool> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_and_bounded() {
        let deadline = Instant::now() + Duration::from_secs(20);
        let echo = find_program("echo").unwrap();
        let printed = run(&echo, &["a", "b"], deadline, 1 << 20).unwrap();
        assert_eq!((printed.output.as_slice(), printed.is_whole), (&b"a b\n"[..], true));
        let endless = run(&find_program("yes").unwrap(), &[], deadline, 100_000).unwrap();
        assert!(endless.output.len() >= 100_000 && !endless.is_whole);
    }

    #[test]
    fn who_hangs_is_ended() {
        let begin = Instant::now();
        let deadline = begin + Duration::from_millis(100);
        let printed = run(&find_program("sleep").unwrap(), &["60"], deadline, 1024).unwrap();
        assert_eq!(printed, Printed::default());
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert_eq!(find_program("no-such-program-of-why502"), None);
    }
}
