//! Running many scenarios.

use crate::isolate::Isolation;
use crate::judge::{Kind, Miss, Outcome};
use crate::limits::{Controller, lacks_limits};
use crate::output::complain;
use crate::process::wait_until;
use crate::replay::Recorder;
use crate::scenario::{Named, Need};
use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// How long a scenario may take.
const BOUND: Duration = Duration::from_secs(90);

/// What is run, and how.
#[derive(Debug)]
pub struct Plan {
    /// The scenarios in order.
    pub scenarios: Vec<Named>,
    /// The program under test.
    pub why502: PathBuf,
    /// The program `why502-lab`, which plays the children.
    pub lab: PathBuf,
    /// How many at once.
    pub jobs: usize,
    /// How they are kept apart.
    pub isolation: Isolation,
    /// Where bundles are recorded.
    pub record: Option<PathBuf>,
    /// Whether each is diagnosed from a bare host as well.
    pub bare: bool,
    /// Whether the directories stay.
    pub keep: bool,
    /// What does not count.
    pub ignored: Vec<Kind>,
}

/// What became of a scenario.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It was run.
    Run(Outcome),
    /// It was not, and why.
    Skipped(String),
}

/// A scenario with what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub result: Fate,
}

/// The program under test: `WHY502_BIN`, or beside the program `why502-lab`.
pub fn find_why502(lab: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("WHY502_BIN") {
        return Ok(PathBuf::from(path));
    }
    let beside = lab.with_file_name("why502");
    if !beside.is_file() {
        bail!(
            "{} is not there: build it (cargo build -p why502), or name another in WHY502_BIN",
            beside.display()
        );
    }
    Ok(beside)
}

/// The ids that the program under test knows.
pub fn known_ids(why502: &Path) -> Result<BTreeSet<String>> {
    let output = Command::new(why502).args(["explain", "--list"]).output();
    let output = output.with_context(|| format!("cannot run {}", why502.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.split_ascii_whitespace().next()).map(str::to_owned).collect())
}

/// Runs all, calling `tell` in the order of the plan.
pub fn run_all(plan: &Plan, mut tell: impl FnMut(&Named, &Done)) -> Vec<Done> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let mut done: Vec<Option<Done>> = vec![None; plan.scenarios.len()];
    thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                while let Some(named) = plan.scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = run_one(plan, named);
                    if let Ok(sender) = sender.lock() {
                        // Nobody who hears it, nobody to tell.
                        let _ = sender.send((named.name.clone(), result));
                    }
                }
            });
        }
        let mut n_told = 0;
        for (name, result) in receiver.iter().take(plan.scenarios.len()) {
            if let Some(at) = plan.scenarios.iter().position(|named| named.name == name) {
                done[at] = Some(Done { name, result });
            }
            while let Some(Some(ready)) = done.get(n_told) {
                tell(&plan.scenarios[n_told], ready);
                n_told += 1;
            }
        }
    });
    done.into_iter().flatten().collect()
}

/// Why a scenario cannot be run here, if it cannot.
pub fn reason_to_skip(named: &Named, isolation: &Isolation) -> Option<String> {
    let is_root = rustix::process::geteuid().is_root();
    named.scenario.needs.iter().find_map(|need| match (need, isolation) {
        (Need::Engine, Isolation::Namespaces(_)) => reason_without_engine(isolation),
        (Need::MemoryLimit, _) => lacks_limits(Controller::Memory),
        (Need::ProcessorLimit, _) => lacks_limits(Controller::Processor),
        (Need::Engine | Need::OwnHost, Isolation::None(why)) => {
            Some(format!("needs namespaces of its own: {why}"))
        }
        (Need::Root, Isolation::None(_)) => (!is_root).then(|| "needs root".to_owned()),
        (Need::OwnHost | Need::Root, Isolation::Namespaces(_)) => None,
    })
}

/// Why no container engine runs here, if none does: tried out once.
fn reason_without_engine(isolation: &Isolation) -> Option<String> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    REASON
        .get_or_init(|| {
            try_engine(isolation).err().map(|error| format!("needs a container engine: {error:#}"))
        })
        .clone()
}

fn try_engine(isolation: &Isolation) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("w5-").rand_bytes(5).tempdir_in("/tmp")?;
    let mut command = isolation.command(&std::env::current_exe()?)?;
    command.arg("__guard").arg("__engine").arg(dir.path()).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let stderr = read_all(child.stderr.take());
    let in_time = wait_until(BOUND, || child.try_wait().is_ok_and(|status| status.is_some()));
    end(&mut child);
    if in_time && child.wait()?.success() {
        return Ok(());
    }
    bail!("{}", String::from_utf8_lossy(&stderr.join().unwrap_or_default()).trim());
}

fn run_one(plan: &Plan, named: &Named) -> Fate {
    if let Some(why) = reason_to_skip(named, &plan.isolation) {
        return Fate::Skipped(why);
    }
    let mut outcome = try_run(plan, named).unwrap_or_else(|error| Outcome {
        misses: vec![Miss::new(Kind::Setup, format!("{error:#}"))],
        ..Outcome::default()
    });
    outcome.misses.retain(|miss| !plan.ignored.contains(&miss.kind));
    Fate::Run(outcome)
}

fn try_run(plan: &Plan, named: &Named) -> Result<Outcome> {
    // Paths of unix sockets have at most 107 bytes.
    let mut dir = tempfile::Builder::new().prefix("w5-").rand_bytes(5).tempdir_in("/tmp")?;
    dir.disable_cleanup(plan.keep);
    if plan.keep {
        complain(&format!("{} stays in {}", named.name, dir.path().display()));
    }
    let mut command = plan.isolation.command(&plan.lab)?;
    command.arg("__guard").arg("__scenario").arg(&named.file).arg(dir.path()).arg(&plan.why502);
    if matches!(plan.isolation, Isolation::Namespaces(_)) {
        command.arg("--isolated");
    }
    if plan.record.is_some() {
        command.arg("--record");
    }
    if plan.bare {
        command.arg("--bare");
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    let in_time = wait_until(BOUND, || child.try_wait().is_ok_and(|status| status.is_some()));
    end(&mut child);
    let text = stdout.join().unwrap_or_default();
    if !in_time {
        bail!("no end within {BOUND:?}");
    }
    let outcome: Outcome = serde_json::from_slice(&text).with_context(|| {
        let words = stderr.join().unwrap_or_default();
        format!("the run ended without a result: {}", String::from_utf8_lossy(&words).trim())
    })?;
    if let Some(corpus) = &plan.record
        && !outcome.misses_in(Kind::Setup)
    {
        Recorder::of(dir.path()).take_to(corpus, &named.name)?;
    }
    Ok(outcome)
}

/// Closes its input, which ends it in good order, and kills it if that does not help.
fn end(child: &mut Child) {
    drop(child.stdin.take());
    if !wait_until(Duration::from_secs(8), || child.try_wait().is_ok_and(|status| status.is_some())) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn read_all(pipe: Option<impl std::io::Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}
