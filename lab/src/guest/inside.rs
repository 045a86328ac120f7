//! Scenarios in the guest, one after the other: each leaves the guest as it found it.

use super::scenario::{Guest, GuestRequest, GuestStep};
use super::{Line, find, remedy};
use crate::judge;
use crate::judge::report::Got;
use crate::process::{Finished, find_program, run_bounded};
use crate::run::ProductCall;
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How long a script may take: a policy of SELinux is rebuilt in half a minute here.
const SCRIPT_BOUND: Duration = Duration::from_secs(90);
/// How long a run of the program under test may take: a guest on a busy machine is slow.
const TIMEOUT: &str = "25s";
/// How long a client waits, in seconds.
const PATIENCE: &str = "10";
/// nginx's logs, which begin empty in each scenario.
const LOGS: &str = "/var/log/nginx";

/// Runs all scenarios of a folder and appends a line for each to `results` in the folder of results.
pub(crate) fn main(scenarios: &Path, why502: &Path, results: &Path) -> Result<ExitCode> {
    let why502 = fs::canonicalize(why502)?;
    let mut file = File::create(results.join("results"))?;
    for guest in find(scenarios)? {
        let begin = Instant::now();
        let mut line = Line { name: guest.name.clone(), misses: Vec::new(), got: String::new(), seconds: 0 };
        let run = Run { guest: &guest, why502: &why502, results };
        if let Err(error) = run.all(&mut line) {
            line.misses.push(format!("setup: {error:#}"));
        }
        line.seconds = begin.elapsed().as_secs();
        writeln!(file, "{}", serde_json::to_string(&line)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One scenario.
struct Run<'r> {
    guest: &'r Guest,
    why502: &'r Path,
    results: &'r Path,
}

impl Run<'_> {
    /// From its files to its cleaning up, which is done whatever went wrong before.
    fn all(&self, line: &mut Line) -> Result<()> {
        let mut files = Files::default();
        let done = files.put(self.guest).and_then(|()| self.break_and_mend(line));
        if !line.misses.is_empty() || done.is_err() {
            self.keep_traces();
        }
        let stopped = shell("systemctl stop nginx");
        let cleaned = shell(&self.guest.scenario.cleanup).context("while cleaning up");
        files.take_back()?;
        done.and(stopped).and(cleaned)
    }

    fn break_and_mend(&self, line: &mut Line) -> Result<()> {
        let scenario = &self.guest.scenario;
        // Units of this one, and those that the one before took away.
        shell(&format!("rm -f {LOGS}/*.log; systemctl daemon-reload; systemctl reset-failed"))?;
        shell(&scenario.setup).context("in its setup")?;
        if !scenario.manual {
            shell("systemctl start nginx").context("nginx")?;
        }
        take(&scenario.step)?;
        let log = fs::read_to_string(format!("{LOGS}/error.log")).unwrap_or_default();
        if let Some(phrase) = scenario.log.iter().find(|phrase| !log.contains(phrase.as_str())) {
            bail!("the error log does not hold {phrase:?}:\n{log}");
        }
        let got = self.diagnose()?;
        line.got = got.report.summary();
        let misses = judge::contract(&got).into_iter().chain(judge::live(&scenario.expect, &[], &got));
        line.misses.extend(misses.map(|miss| format!("{:?}: {}", miss.kind, miss.says)));
        if !line.misses.is_empty() {
            fs::write(self.trace("json"), got.report.pretty())?;
        }
        if let Some(test) = &scenario.remedy
            && line.misses.is_empty()
        {
            let first = got.report.findings().into_iter().next().context("nothing found, nothing to mend")?;
            let mended = remedy::apply(first, test.index).and_then(|()| take(&test.step));
            line.misses.extend(mended.err().map(|error| format!("the remedy does not help: {error:#}")));
        }
        Ok(())
    }

    /// Asks the program under test, and keeps what it collected.
    fn diagnose(&self) -> Result<Got> {
        let mut arguments: Vec<String> =
            ["diagnose", "--format", "json", "--timeout", TIMEOUT].map(str::to_owned).into();
        arguments.extend(self.guest.scenario.args.iter().cloned());
        ProductCall::new(arguments).report(self.why502)
    }

    /// What a person wants to see of a scenario that failed.
    fn keep_traces(&self) {
        let bundle = self.trace("tar.zst").display().to_string();
        // The miss is told; what cannot be kept of it is not a second one.
        let _ = ProductCall::new(["collect", "-o", &bundle]).run(self.why502);
        if let Ok(text) = ProductCall::new(["diagnose", "--color", "never"]).run(self.why502) {
            let _ = fs::write(self.trace("text"), text.stdout);
        }
        let traces = "tail -n 30 /var/log/nginx/error.log /var/log/audit/audit.log; journalctl -n 40 --no-pager; \
                      systemctl status nginx --no-pager; for pid in $(pidof nginx); do cat /proc/$pid/attr/current; done";
        if let Ok(finished) = sh(traces) {
            let _ = fs::write(self.trace("traces"), finished.stdout);
        }
    }

    /// The file in which something of this scenario is kept.
    fn trace(&self, ending: &str) -> PathBuf {
        self.results.join(format!("{}.{ending}", self.guest.name.replace('/', "-")))
    }
}

/// Takes steps; the first that does not go as it should is an error.
fn take(steps: &[GuestStep]) -> Result<()> {
    for step in steps {
        match step {
            GuestStep::Run(script) => shell(script)?,
            GuestStep::Request(request) => send(request)?,
        }
    }
    Ok(())
}

fn send(request: &GuestRequest) -> Result<()> {
    let url = match request.url.strip_prefix('/') {
        Some(path) => format!("http://127.0.0.1/{path}"),
        None => request.url.clone(),
    };
    for _ in 0..request.count {
        let mut curl = Command::new(find_program("curl")?);
        curl.args(["-sk", "-o", "/dev/null", "-m", PATIENCE, "-w", "%{http_code}", &url]);
        let finished = run_bounded(&mut curl, SCRIPT_BOUND)?;
        let got = String::from_utf8_lossy(&finished.stdout);
        if got.parse::<u16>().ok() != Some(request.status) {
            bail!("{url} is answered {got}, not {}", request.status);
        }
    }
    Ok(())
}

/// Runs a script that must succeed.
pub(super) fn shell(script: &str) -> Result<()> {
    let finished = sh(script)?;
    if !finished.status.is_some_and(|status| status.success()) {
        bail!("{:?} of {script:?}: {}", finished.status, finished.complaint());
    }
    Ok(())
}

fn sh(script: &str) -> Result<Finished> {
    run_bounded(Command::new(find_program("sh")?).args(["-euc", script]).current_dir("/"), SCRIPT_BOUND)
}

/// The files of a scenario, and what was there before.
#[derive(Debug, Default)]
struct Files {
    before: Vec<(PathBuf, Option<Vec<u8>>)>,
    folders: Vec<PathBuf>,
}

impl Files {
    fn put(&mut self, guest: &Guest) -> Result<()> {
        for (path, text) in &guest.scenario.files {
            let path = PathBuf::from(path);
            let missing = path.ancestors().skip(1).take_while(|folder| !folder.exists());
            self.folders.extend(missing.map(Path::to_path_buf));
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            self.before.push((path.clone(), fs::read(&path).ok()));
            fs::write(&path, text).with_context(|| path.display().to_string())?;
            if find_program("restorecon").is_ok() {
                shell(&format!("restorecon {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Puts everything back as it was.
    fn take_back(&self) -> Result<()> {
        for (path, before) in &self.before {
            match before {
                Some(bytes) => fs::write(path, bytes)?,
                None => drop(fs::remove_file(path)),
            }
        }
        for folder in &self.folders {
            // One that is not empty was used by somebody else as well.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }
}
