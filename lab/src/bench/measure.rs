//! Time and memory of one call of a program.

use crate::process::PATH;
use anyhow::{Context as _, Result};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a running program is looked at.
const INTERVAL: Duration = Duration::from_millis(1);

/// What one call took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) elapsed: Duration,
    /// The most memory that was resident (`VmHWM`), as last seen while the program ran.
    pub(super) peak_kib: u64,
    /// Its exit code; `None` if a signal ended it.
    pub(super) exit: Option<i32>,
}

/// Runs a program to its end, its output in a file.
pub(super) fn measure(command: &mut Command, output: &Path) -> Result<Measured> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").current_dir("/");
    command.stdin(Stdio::null()).stdout(File::create(output)?).stderr(Stdio::null());
    let begin = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    loop {
        if let Some(ended) = child.try_wait()? {
            return Ok(Measured { elapsed: begin.elapsed(), peak_kib, exit: ended.code() });
        }
        // A program that has just ended has no memory any more.
        peak_kib =
            peak_kib.max(fs::read_to_string(&status).ok().as_deref().and_then(high_water).unwrap_or(0));
        thread::sleep(INTERVAL);
    }
}

/// The line `VmHWM:     1234 kB` of proc_pid_status(5).
fn high_water(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// What several calls took.
#[derive(Debug, Default)]
pub(super) struct Sample {
    times: Vec<Duration>,
    peak_kib: u64,
}

impl Sample {
    pub(super) fn add(&mut self, measured: &Measured) {
        let at = self.times.partition_point(|time| *time <= measured.elapsed);
        self.times.insert(at, measured.elapsed);
        self.peak_kib = self.peak_kib.max(measured.peak_kib);
    }

    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    pub(super) fn median(&self) -> Duration {
        self.times.get(self.times.len() / 2).copied().unwrap_or_default()
    }

    /// The time within which 95 of 100 calls end: the nearest rank.
    pub(super) fn p95(&self) -> Duration {
        let rank = (self.times.len() * 95).div_ceil(100);
        self.times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub(super) fn peak_kib(&self) -> u64 {
        self.peak_kib
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_measured() {
        let output = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("/bin/sh");
        let measured = measure(command.args(["-c", "echo out; sleep 0.1; exit 3"]), output.path()).unwrap();
        assert_eq!((measured.exit, fs::read_to_string(output.path()).unwrap().as_str()), (Some(3), "out\n"));
        assert!(measured.elapsed >= Duration::from_millis(100) && measured.peak_kib > 0);
    }

    #[test]
    fn middle_and_rank_are_those_of_the_sorted_times() {
        let mut sample = Sample::default();
        for millis in (1..=20).rev() {
            sample.add(&Measured { elapsed: Duration::from_millis(millis), peak_kib: millis, exit: Some(0) });
        }
        let [median, p95] = [sample.median(), sample.p95()].map(|time| time.as_millis());
        assert_eq!((sample.len(), median, p95, sample.peak_kib()), (20, 11, 19, 20));
        assert_eq!(Sample::default().median(), Duration::ZERO);
    }
}
