//! How long the incidents of `corpus/incidents` take, each from its files alone.

use super::measure::{Sample, measure};
use crate::output::say;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/incidents");

/// Options, and the files of an incident that they name.
const FILES: [(&str, &str); 3] =
    [("--config", "nginx.conf"), ("--error-log", "error.log"), ("--access-log", "access.log")];

/// Diagnoses every incident so many times, and prints how long one takes.
pub(super) fn run(why502: &Path, dir: &Path, n_runs: usize) -> Result<()> {
    let mut sample = Sample::default();
    let incidents = incidents()?;
    for incident in &incidents {
        for _ in 0..n_runs {
            let mut command = Command::new(why502);
            command.args(["diagnose", "--offline", "--since", "all", "--format", "json"]);
            for (option, file) in FILES {
                let path = incident.join(file);
                if path.exists() {
                    command.arg(option).arg(path);
                }
            }
            let measured = measure(&mut command, &dir.join("incident.json"))?;
            if measured.exit.is_none_or(|exit| exit == 2) {
                bail!("{}: why502 ends with {:?}", incident.display(), measured.exit);
            }
            sample.add(&measured);
        }
    }
    let [median, p95] = [sample.median(), sample.p95()].map(super::seconds);
    say(&format!(
        "{:<44} {median:>9} {p95:>9}  at most 0.050 s",
        format!("{} incidents, offline", incidents.len())
    ));
    Ok(())
}

fn incidents() -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(CORPUS).context(CORPUS)?;
    let mut found: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .filter(|path| path.as_ref().map_or(true, |path: &PathBuf| path.join("case.toml").exists()))
        .collect::<Result<_>>()?;
    found.sort();
    Ok(found)
}
