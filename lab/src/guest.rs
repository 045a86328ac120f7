//! The guest lab: what only another kernel shows, or a systemd of one's own.
//!
//! SELinux, AppArmor, units and cgroups of their own need a machine of their own. `scripts/guest-image` builds a small
//! Debian and `scripts/guest-boot` boots it on User-mode Linux. Scenarios are data (`lab/guest/**/*.toml`); all that want
//! the same security module share one boot. This program is linked statically, goes into the guest with the one under
//! test, and there (`inside`) makes each scenario happen, asks why502, judges its report, takes the remedy's own steps
//! and sees whether the requests succeed.

pub(crate) mod inside;
mod remedy;
mod scenario;

pub use scenario::{Boot, Guest, find};

use crate::output::{complain, say};
use crate::process::{find_program, run_bounded};
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

/// How long a boot may take without its scenarios.
const BOOT_BOUND: Duration = Duration::from_secs(150);
/// What each scenario may add to it.
const SCENARIO_BOUND: Duration = Duration::from_mins(2);
/// Says that this machine can do what the lab needs.
const PROMISE: &str = "WHY502_LAB_NAMESPACES";

/// What is run, and how.
#[derive(Debug)]
pub struct Order {
    /// Parts of names; any fits. Nothing said: all.
    pub filter: Vec<String>,
    /// Only those that `make test` runs.
    pub quick: bool,
    /// The folder of scenarios.
    pub scenarios: PathBuf,
    /// The program under test, linked statically.
    pub why502: PathBuf,
    /// The program `why502-lab`, linked statically.
    pub lab: PathBuf,
    /// The folder of `guest-boot`.
    pub scripts: PathBuf,
    /// Where reports, logs and consoles are kept.
    pub keep: Option<PathBuf>,
}

/// What became of a scenario: one line of what the program inside prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) misses: Vec<String>,
    pub(crate) got: String,
    pub(crate) seconds: u64,
}

/// Runs the scenarios, one boot for each security module, and prints a line for each scenario.
pub fn run(order: &Order) -> Result<ExitCode> {
    let mut guests = find(&order.scenarios)?;
    guests.retain(|guest| {
        order.filter.is_empty() || order.filter.iter().any(|part| guest.name.contains(part.as_str()))
    });
    guests.retain(|guest| guest.scenario.quick || !order.quick);
    if !rustix::process::geteuid().is_root() {
        if std::env::var_os(PROMISE).is_some() {
            bail!("{PROMISE} is set, and only root can boot the guest");
        }
        say(&format!("0 passed, 0 failed, {} skipped: only root can boot the guest", guests.len()));
        return Ok(ExitCode::SUCCESS);
    }
    let boots: Vec<(Boot, Vec<Guest>)> = [Boot::Apparmor, Boot::Selinux]
        .into_iter()
        .map(|boot| (boot, guests.iter().filter(|guest| guest.scenario.boot == boot).cloned().collect()))
        .filter(|(_, guests): &(Boot, Vec<Guest>)| !guests.is_empty())
        .collect();
    let lines: Vec<Line> = thread::scope(|scope| {
        let boots: Vec<_> =
            boots.iter().map(|(boot, guests)| scope.spawn(|| boot_with(order, *boot, guests))).collect();
        boots.into_iter().flat_map(|boot| boot.join().unwrap_or_default()).collect()
    });
    let n_failed = lines.iter().filter(|line| !line.misses.is_empty()).count();
    for line in &lines {
        let fate = if line.misses.is_empty() { "ok  " } else { "MISS" };
        say(&format!("{fate} {:<58} {:>3} s  {}", line.name, line.seconds, line.got));
        for miss in &line.misses {
            say(&format!("     {miss}"));
        }
    }
    say(&format!("{} passed, {n_failed} failed", lines.len() - n_failed));
    Ok(if n_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One boot with these scenarios; where it fails, so do those that it owes a result.
fn boot_with(order: &Order, boot: Boot, guests: &[Guest]) -> Vec<Line> {
    let mut lines = Vec::new();
    let end = try_boot(order, boot, guests, &mut lines);
    for guest in guests {
        if !lines.iter().any(|line| line.name == guest.name) {
            let why = match &end {
                Ok(()) => "the guest did not come to it".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            lines.push(Line { name: guest.name.clone(), misses: vec![why], got: String::new(), seconds: 0 });
        }
    }
    lines
}

fn try_boot(order: &Order, boot: Boot, guests: &[Guest], lines: &mut Vec<Line>) -> Result<()> {
    let job = tempfile::Builder::new().prefix("why502-guest-").tempdir_in("/tmp")?;
    let input = job.path().join("in");
    fs::create_dir_all(input.join("scenarios"))?;
    for (program, name) in [(&order.why502, "why502"), (&order.lab, "why502-lab")] {
        stripped(program, &input.join(name)).with_context(|| program.display().to_string())?;
    }
    for guest in guests {
        let file = input.join("scenarios").join(&guest.name).with_extension("toml");
        fs::create_dir_all(file.parent().unwrap_or(&input))?;
        fs::copy(&guest.file, file)?;
    }
    let run = input.join("run");
    fs::write(&run, "#!/bin/sh\nexec ./why502-lab __guest scenarios ./why502 /guest/host/out\n")?;
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
    let n_guests = u32::try_from(guests.len()).unwrap_or(u32::MAX);
    let bound = BOOT_BOUND + SCENARIO_BOUND.saturating_mul(n_guests);
    complain(&format!("booting a guest with {} for {n_guests} scenarios", boot.name()));
    let mut command = Command::new(order.scripts.join("guest-boot"));
    command.arg(boot.name()).arg(job.path()).arg(bound.as_secs().to_string());
    // The image may have to be built first.
    let finished = run_bounded(&mut command, bound + Duration::from_mins(15))?;
    let results = fs::read_to_string(job.path().join("out/results")).unwrap_or_default();
    for line in results.lines() {
        lines.push(serde_json::from_str(line).with_context(|| format!("result {line:?}"))?);
    }
    if let Some(folder) = &order.keep {
        keep(job.path(), &folder.join(boot.name()))?;
    }
    if !finished.status.is_some_and(|status| status.success()) {
        let own = fs::read_to_string(job.path().join("out/stderr")).unwrap_or_default();
        bail!("the guest failed: {}", if own.is_empty() { finished.complaint() } else { own });
    }
    Ok(())
}

/// Copies a program without what only a debugger reads: the guest reads it through its kernel's calls to this one.
fn stripped(program: &Path, copy: &Path) -> Result<()> {
    let mut command = Command::new(find_program("strip")?);
    let finished = run_bounded(command.arg("-o").arg(copy).arg(program), Duration::from_mins(1))?;
    if !finished.status.is_some_and(|status| status.success()) {
        bail!("strip: {}", finished.complaint());
    }
    Ok(())
}

/// Copies what a guest left behind.
fn keep(job: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::copy(job.join("console"), folder.join("console"))?;
    for entry in fs::read_dir(job.join("out"))? {
        let entry = entry?;
        fs::copy(entry.path(), folder.join(entry.file_name()))?;
    }
    Ok(())
}
