//! Running programs with a bound.

use anyhow::{Context as _, Result, bail};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Where programs are looked for: not in the PATH of whoever runs the lab, which differs.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How it ended; `None` if it was killed for being late.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) elapsed: Duration,
}

impl Finished {
    /// Its last words.
    pub(crate) fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

/// Runs a program to its end, or kills it when the time is up.
pub(crate) fn run_bounded(command: &mut Command, bound: Duration) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let begin = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    let late = begin + bound;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= late {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_micros(500));
    };
    let elapsed = begin.elapsed();
    // A program that left a child behind with its output open must not stop us.
    let patience = Duration::from_secs(1);
    let stdout = stdout.recv_timeout(patience).unwrap_or_default();
    let stderr = stderr.recv_timeout(patience).unwrap_or_default();
    Ok(Finished { status, stdout, stderr, elapsed })
}

fn read_all(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is all there is.
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

/// Waits until something holds; whether it came to hold in time.
pub(crate) fn wait_until(bound: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let late = Instant::now() + bound;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= late {
            return false;
        }
        thread::sleep(Duration::from_millis(3));
    }
}

/// The path of a program of the system.
pub(crate) fn find_program(name: &str) -> Result<PathBuf> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    match PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("{name} is not installed; run scripts/setup"),
    }
}

/// The path of PHP-FPM, whatever its version.
pub(crate) fn find_php_fpm() -> Result<PathBuf> {
    let is_fpm = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("php-fpm")
            .is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    };
    let folder = fs::read_dir("/usr/sbin")?;
    let mut found: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).filter(is_fpm).collect();
    found.sort();
    found.pop().context("php-fpm is not installed; run scripts/setup")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_are_kept() {
        let mut command = Command::new("/bin/sh");
        let finished =
            run_bounded(command.args(["-c", "echo out; echo err >&2; exit 3"]), Duration::from_secs(5))
                .unwrap();
        assert_eq!(finished.status.unwrap().code(), Some(3));
        assert_eq!((finished.stdout.as_slice(), finished.complaint().as_str()), (&b"out\n"[..], "err"));
    }

    #[test]
    fn who_is_late_is_killed() {
        let finished = run_bounded(Command::new("/bin/sleep").arg("30"), Duration::from_millis(50)).unwrap();
        assert!(finished.status.is_none() && finished.elapsed < Duration::from_secs(5));
    }
}
