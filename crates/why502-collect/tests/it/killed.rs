//! A process that follows a log, and is killed again and again while the log is written and rotated.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use why502_collect::{Checkpoint, FollowFrom, Follower};

/// The argument with which this program is the follower.
pub(crate) const ARGUMENT: &str = "follow";

const N_ROUNDS: u32 = 36;
const N_LINES: u32 = 400;

/// Follows until it is killed; what it made of the lines are their numbers.
pub(crate) fn follow() -> ExitCode {
    let mut arguments = std::env::args().skip(2);
    let (Some(log), Some(file)) = (arguments.next(), arguments.next()) else { return ExitCode::FAILURE };
    match follow_into(&log, Path::new(&file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => panic!("{error}"),
    }
}

fn follow_into(log: &str, file: &Path) -> io::Result<()> {
    let saved = Checkpoint::<Vec<u32>>::load(file)?;
    let (from, mut numbers) = saved
        .map_or((FollowFrom::Begin, Vec::new()), |saved| (FollowFrom::Saved(saved.position), saved.state));
    let mut follower = Follower::open(log, from)?;
    // From here on nothing may be lost.
    Checkpoint { position: follower.position(), state: numbers.clone() }.save(file)?;
    loop {
        let mut n_left = 37;
        let summary = follower.poll(&mut |_, _, line| {
            numbers
                .push(std::str::from_utf8(line).ok().and_then(|line| line.parse().ok()).unwrap_or(u32::MAX));
            n_left -= 1;
            if n_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        assert_eq!(summary.n_gaps, 0);
        if summary.n_lines == 0 {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        Checkpoint { position: follower.position(), state: numbers.clone() }.save(file)?;
    }
}

pub(crate) fn a_follower_that_is_killed_loses_nothing_and_counts_nothing_twice() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let (log, saved) = (folder.path().join("a.log"), folder.path().join("saved"));
    File::create(&log)?;
    let start = || -> io::Result<Child> {
        Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .arg(&log)
            .arg(&saved)
            .stdin(Stdio::null())
            .spawn()
    };
    let mut child = start()?;
    while !saved.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    child.wait()?;
    let mut next = 0;
    let mut n_kills = 0;
    for round in 0..N_ROUNDS {
        let mut child = start()?;
        // Killed before it has read anything, in the middle, and after it has.
        let half = next + N_LINES / 2;
        write(&log, &mut next, half)?;
        std::thread::sleep(Duration::from_millis(u64::from(round % 7) * 4));
        if round % 3 == 0 {
            rotate(folder.path(), round)?;
        }
        write(&log, &mut next, half + N_LINES / 2)?;
        std::thread::sleep(Duration::from_millis(u64::from(round % 5) * 7));
        child.kill()?;
        let status = child.wait()?;
        assert!(status.code().is_none(), "it ended by itself: {status}");
        n_kills += 1;
        if round % 4 == 1 {
            rotate(folder.path(), round)?;
        }
    }
    let mut child = start()?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut found = Vec::new();
    while found.len() < next as usize && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        found = Checkpoint::<Vec<u32>>::load(&saved)?.map(|saved| saved.state).unwrap_or_default();
    }
    // What would be counted twice has the time to be.
    std::thread::sleep(Duration::from_millis(200));
    found = Checkpoint::<Vec<u32>>::load(&saved)?.map(|saved| saved.state).unwrap_or(found);
    child.kill()?;
    child.wait()?;
    let first_wrong = found.iter().zip(0..next).find(|(found, expected)| **found != *expected);
    assert_eq!(first_wrong, None, "{n_kills} kills, {} of {next} lines", found.len());
    assert_eq!(found.len(), next as usize);
    Ok(())
}

/// Appends numbered lines, some of them in two parts.
fn write(log: &Path, next: &mut u32, end: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(log)?;
    while *next < end {
        let line = format!("{next}\n");
        let (one, other) = line.split_at(usize::from(next.is_multiple_of(5)));
        file.write_all(one.as_bytes())?;
        file.write_all(other.as_bytes())?;
        *next += 1;
    }
    Ok(())
}

/// Renames all files by one, and then renames, copies and truncates, or packs the log.
fn rotate(folder: &Path, round: u32) -> io::Result<()> {
    let name = |number: u32, packing: &str| -> PathBuf { folder.join(format!("a.log.{number}{packing}")) };
    for number in (1..30).rev() {
        for packing in ["", ".gz"] {
            if name(number, packing).exists() {
                fs::rename(name(number, packing), name(number + 1, packing))?;
            }
        }
    }
    let log = folder.join("a.log");
    if round.is_multiple_of(2) {
        fs::rename(&log, name(1, ""))?;
        File::create(&log)?;
    } else {
        fs::copy(&log, name(1, ""))?;
        OpenOptions::new().write(true).truncate(true).open(&log)?;
    }
    if round % 3 == 1 {
        assert!(Command::new("gzip").arg(name(1, "")).status()?.success());
    }
    Ok(())
}
