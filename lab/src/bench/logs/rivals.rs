//! Tools that tell something of the same kind.

use super::super::measure::{Sample, measure};
use super::survey;
use crate::process::find_program;
use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The format of the logs, as lnav wants it described.
const LNAV_FORMAT: &str = include_str!("lnav.json");

/// A tool, and the job that it is given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rival {
    /// Failures by status and upstream, with percentiles of their times.
    AngleGrinder,
    /// Its whole report, as JSON.
    GoAccess,
    /// Unpacks the log and counts its lines.
    Gzip,
    /// Failures by status and upstream, with quartiles of their times.
    Lnav,
}

impl Rival {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AngleGrinder => "angle-grinder: parse, count and p95 by status",
            Self::GoAccess => "GoAccess: its report",
            Self::Gzip => "zcat | wc -l, of the log packed",
            Self::Lnav => "lnav: parse, count and quartiles by status",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::AngleGrinder | Self::Lnav => "at least 10 × as long",
            Self::GoAccess => "at least 20 × as long",
            Self::Gzip => "at least 0.9 × as long",
        }
    }

    /// How often both are measured, one after the other: GoAccess takes a minute each time.
    fn n_pairs(self) -> usize {
        match self {
            Self::GoAccess => 3,
            Self::AngleGrinder | Self::Gzip | Self::Lnav => super::N_PAIRS,
        }
    }

    /// Measures the tool and why502 on the same log, on all cores.
    pub(super) fn compare(self, why502: &Path, dir: &Path, log: &Path) -> Result<String> {
        let packed = dir.join("engine.log.gz");
        let log = match self {
            Self::Gzip => {
                pack(log, &packed)?;
                packed.as_path()
            }
            _ => log,
        };
        let (mut own, mut theirs) = (Sample::default(), Sample::default());
        for _ in 0..self.n_pairs() {
            own.add(&survey(why502, dir, log)?);
            let measured = measure(&mut self.command(dir, log)?, &dir.join("rival"))?;
            if measured.exit != Some(0) {
                bail!("{} ends with {:?}", self.name(), measured.exit);
            }
            theirs.add(&measured);
        }
        let [own, theirs] = [own, theirs].map(|sample| sample.median().as_secs_f64());
        let ratio = theirs / own;
        Ok(format!(
            "  {:<46} {theirs:>7.3} s, why502 {own:>6.3} s: {ratio:>6.2} ×  {}",
            self.name(),
            self.target()
        ))
    }

    fn command(self, dir: &Path, log: &Path) -> Result<Command> {
        let mut command;
        match self {
            Self::AngleGrinder => {
                command = Command::new(find_cargo_program("agrind")?);
                command.arg(
                    "* | parse \"\\\" * * \\\"\" as status, bytes | parse \"rt=* \" as time \
                     | parse \"ua=\\\"*\\\"\" as peer | count, p95(time) by status, peer",
                );
                command.arg("--file").arg(log);
            }
            Self::GoAccess => {
                command = Command::new(find_program("goaccess")?);
                command.arg(log).args(["--no-global-config", "--date-format=%d/%b/%Y", "--time-format=%T"]);
                command.arg("--log-format=%h - %e [%d:%t %^] \"%r\" %s %b \"%R\" \"%u\" rt=%T %^");
                command.arg("-o").arg(dir.join("goaccess.json"));
            }
            Self::Gzip => {
                command = Command::new(find_program("sh")?);
                command.args(["-c", "zcat \"$0\" | wc -l"]).arg(log);
            }
            Self::Lnav => {
                let formats = dir.join("formats/installed");
                std::fs::create_dir_all(&formats)?;
                std::fs::write(formats.join("upstream.json"), LNAV_FORMAT)?;
                command = Command::new(find_program("lnav")?);
                command.args(["-n", "-N", "-I"]).arg(dir).arg("-c").arg(
                    ";SELECT sc_status, ua, count(*), median(rt), upper_quartile(rt) FROM upstream_log \
                     GROUP BY sc_status, ua",
                );
                command.arg(log);
            }
        }
        Ok(command)
    }
}

fn pack(log: &Path, packed: &Path) -> Result<()> {
    let mut command = Command::new(find_program("gzip")?);
    let status = command.arg("-c").arg(log).stdin(Stdio::null()).stdout(File::create(packed)?).status()?;
    if !status.success() {
        bail!("gzip: {status}");
    }
    Ok(())
}

/// A program that `cargo install` put where it puts them.
fn find_cargo_program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let homes = [
        std::env::var_os("CARGO_HOME").map(PathBuf::from),
        std::env::home_dir().map(|home| home.join(".cargo")),
    ];
    let mut folders =
        std::env::split_paths(&path).chain(homes.into_iter().flatten().map(|home| home.join("bin")));
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()));
    found.with_context(|| format!("{name} is not installed; run scripts/setup bench"))
}
