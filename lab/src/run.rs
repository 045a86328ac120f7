//! One scenario, from an empty directory to what is wrong with the report.

mod backends;
mod client;
mod engine;
mod files;
mod gateway;
mod listening;
mod product;
mod snapshot;
mod steps;
mod withhold;

pub(crate) use engine::Engine;
pub(crate) use files::{chown, prepare};
pub(crate) use gateway::Nginx;
pub(crate) use product::{ProductCall, report_of_bundle};

use crate::judge::{self, Kind, Miss, Outcome};
use crate::place::{Place, find_marker};
use crate::replay::Recorder;
use crate::scenario::{Need, Scenario};
use anyhow::{Context as _, Result, bail};
use backends::Backends;
use product::Product;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steps::Background;

/// The comment in a configuration that marks the line to change.
const MARKER: &str = "# <- here";

/// What the orchestrator tells a run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The scenario's file.
    pub file: PathBuf,
    /// Its directory, empty.
    pub dir: PathBuf,
    /// The program under test.
    pub why502: PathBuf,
    /// Whether the run has namespaces of its own.
    pub isolated: bool,
    /// Whether the run's bundle is kept in the directory.
    pub record: bool,
    /// Whether it is diagnosed from a bare host as well.
    pub bare: bool,
}

/// The scenario while it runs.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) place: Place,
    pub(crate) scenario: Scenario,
    pub(crate) backends: Backends,
    pub(crate) nginx: Nginx,
    pub(crate) background: Background,
    /// Behind the backends: it ends when these have ended.
    pub(crate) engine: Option<Engine>,
}

/// Runs a scenario. What goes wrong before the diagnosis is a miss of its own kind.
pub fn run(order: &Order, scenario: &Scenario) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(error) = try_run(order, scenario, &mut outcome) {
        outcome.misses.push(Miss::new(Kind::Setup, format!("{error:#}")));
    }
    outcome
}

fn try_run(order: &Order, scenario: &Scenario, outcome: &mut Outcome) -> Result<()> {
    let dir = if order.isolated { own_directory(&order.dir)? } else { order.dir.clone() };
    let mut place = Place::new(dir, order.isolated);
    place.ports.prefer(&scenario.ports);
    let scenario = place.expand_all(scenario)?;
    prepare(&place, &scenario)?;
    let nginx = Nginx::new(&place, &scenario.nginx)?;
    let backends = Backends::new(scenario.backend.clone());
    let mut stage =
        Stage { place, scenario, backends, nginx, background: Background::default(), engine: None };
    show_symptom(&mut stage)?;
    diagnose(order, &stage, outcome)
}

/// The directory at a place of its own: the same in every run, and short.
fn own_directory(dir: &Path) -> Result<PathBuf> {
    let own = PathBuf::from("/srv");
    run_program("mount", &["--bind", &dir.display().to_string(), "/srv"])?;
    Ok(own)
}

/// Brings the system into its state, and proves that it is in it.
fn show_symptom(stage: &mut Stage) -> Result<()> {
    if stage.place.isolated {
        run_program("ip", &["link", "set", "lo", "up"])?;
        run_program("hostname", &["web1"])?;
    }
    if stage.scenario.needs.contains(&Need::Engine) {
        stage.engine = Some(Engine::start(&stage.place.dir)?);
    }
    for (target, source) in stage.scenario.mounts.clone() {
        let source = stage.place.path(&source).display().to_string();
        run_program("mount", &["--bind", &source, &target])?;
    }
    let (prepare, step) = (stage.scenario.prepare.clone(), stage.scenario.step.clone());
    steps::take(stage, &prepare).context("while preparing")?;
    stage.backends.start_all(&mut stage.place)?;
    if !stage.scenario.nginx.manual {
        stage.nginx.start(&mut stage.place)?;
    }
    steps::take(stage, &step)?;
    steps::settle(stage);
    let log = stage.nginx.error_log_text();
    match stage.scenario.log.iter().find(|phrase| !log.contains(phrase.as_str())) {
        None => Ok(()),
        Some(phrase) => bail!("the error log does not hold {phrase:?}:\n{}", tail(&log, 6)),
    }
}

/// Runs why502 in all its ways, and judges each.
fn diagnose(order: &Order, stage: &Stage, outcome: &mut Outcome) -> Result<()> {
    let product = Product::new(order, stage);
    outcome.log_texts = crate::twins::texts(&stage.nginx.error_log_text());
    let before = snapshot::take(&stage.place.dir, &stage.scenario.why502.may_change)?;
    // On the host's loopback others come to listen at any time.
    let watch = stage.place.isolated.then(snapshot::Watch::begin);
    let live = product.live()?;
    outcome.misses.extend(watch.into_iter().flat_map(snapshot::Watch::end));
    outcome.misses.extend(before.compare(&stage.place.dir, &stage.scenario.why502.may_change)?);
    outcome.micros = u64::try_from(live.elapsed.as_micros()).unwrap_or(u64::MAX);
    let files: Vec<String> = stage.scenario.files.keys().cloned().collect();
    let marked = find_marker(&stage.place.dir, &files, MARKER);
    outcome.got = live.report.summary();
    outcome.misses.extend(judge::contract(&live));
    outcome.misses.extend(judge::live(&stage.scenario.expect, &marked, &live));
    let bundle = product.collect()?;
    if order.record {
        let Scenario { title, expect, .. } = &stage.scenario;
        Recorder::of(&order.dir).keep(&bundle, title, &marked, expect)?;
    }
    outcome.misses.extend(product.agreement(&live, &bundle)?);
    outcome.head = product.text(&bundle, &mut outcome.misses)?;
    outcome.misses.extend(product.offline()?);
    for withheld in &stage.scenario.withhold {
        outcome.misses.extend(withhold::judge(&product, stage, withheld)?);
    }
    if order.bare {
        outcome.misses.extend(withhold::judge_bare(&product, stage)?);
    }
    Ok(())
}

/// Whether a container engine runs here.
pub fn try_engine(dir: &Path) -> Result<()> {
    Engine::try_out(&own_directory(dir)?)
}

/// Runs a program of the system that must succeed.
pub(crate) fn run_program(name: &str, arguments: &[&str]) -> Result<()> {
    let mut command = std::process::Command::new(crate::process::find_program(name)?);
    let finished = crate::process::run_bounded(command.args(arguments), Duration::from_secs(20))?;
    if !finished.status.is_some_and(|status| status.success()) {
        bail!("{name} {}: {}", arguments.join(" "), finished.complaint());
    }
    Ok(())
}

/// The last lines of a text.
fn tail(text: &str, n_lines: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(n_lines)..].join("\n")
}
