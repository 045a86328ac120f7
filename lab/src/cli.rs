//! The commands of the program.

use crate::bench::{self, Bench};
use crate::guest;
use crate::isolate::{self, Isolation};
use crate::judge::Kind;
use crate::orchestrate::{self, Plan};
use crate::output::{complain, say};
use crate::run::{self, Order};
use crate::scenario::{self, Named};
use crate::table::Table;
use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where recorded bundles are kept.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/lab");

/// The size of the small log of `bench`.
const SMALL_LOG: u64 = 10_000_000;

/// Breaks a real nginx and checks that why502 names the cause.
#[derive(Debug, Parser)]
#[command(name = "why502-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the scenarios with what they count for.
    List(Select),
    /// Runs scenarios and prints how often the diagnosis was right.
    Run(RunArgs),
    /// Measures how long a diagnosis takes, as ratios.
    Bench(BenchArgs),
    /// Runs the scenarios that need a guest with a kernel and a systemd of its own.
    Guest(GuestArgs),
    /// Diagnoses the recorded bundles again.
    Replay {
        /// The folder of bundles.
        #[arg(long, default_value = CORPUS)]
        corpus: PathBuf,
    },
    /// Runs scenarios in the guest (started there by the program itself).
    #[command(name = "__guest", hide = true)]
    Inside { scenarios: PathBuf, why502: PathBuf, results: PathBuf },
    /// Holds connections for the benchmark (started by the program itself).
    #[command(name = "__hold", hide = true)]
    Hold {
        /// How many.
        n_connections: usize,
    },
    /// Keeps watch over one run (started by the program itself).
    #[command(name = "__guard", hide = true)]
    Guard {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Tries whether a container engine runs here (started by the program itself).
    #[command(name = "__engine", hide = true)]
    Engine { dir: PathBuf },
    /// Runs one scenario in this process (started by the program itself).
    #[command(name = "__scenario", hide = true)]
    Scenario {
        file: PathBuf,
        dir: PathBuf,
        why502: PathBuf,
        #[arg(long)]
        isolated: bool,
        #[arg(long)]
        record: bool,
        #[arg(long)]
        bare: bool,
    },
}

/// Which scenarios.
#[derive(Debug, clap::Args)]
struct Select {
    /// Parts of names; any fits. Nothing said: all.
    filter: Vec<String>,
    /// Only scenarios that count for one of these causes.
    #[arg(long, value_delimiter = ',')]
    causes: Vec<String>,
    /// Also scenarios of causes that the program under test does not know yet.
    #[arg(long)]
    unknown: bool,
    /// Only those that `make test` runs.
    #[arg(long)]
    quick: bool,
    /// The folder of scenarios.
    #[arg(long, default_value_os_t = scenarios())]
    scenarios: PathBuf,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    select: Select,
    /// How many at once.
    #[arg(long, short, default_value_t = 2)]
    jobs: usize,
    /// Keeps each run's bundle, in corpus/lab or elsewhere.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, require_equals = true, default_missing_value = CORPUS)]
    record: Option<PathBuf>,
    #[command(flatten)]
    surroundings: Surroundings,
    /// Writes all results there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Ends well whatever is missed.
    #[arg(long)]
    allow_misses: bool,
    /// Leaves the directories of the runs in /tmp.
    #[arg(long)]
    keep: bool,
    /// Kinds of misses that do not count: read-only, offline, ….
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    ignore: Vec<Kind>,
}

/// In what surroundings the program under test looks.
#[derive(Debug, clap::Args)]
struct Surroundings {
    /// Looks once more in every scenario, from a bare host: as nobody, from whom /proc hides others, without /sys, journal and
    /// tools. What is confirmed then must be what it is.
    #[arg(long)]
    bare: bool,
    /// On the host's loopback, even where namespaces of its own are allowed.
    #[arg(long)]
    no_namespaces: bool,
}

#[derive(Debug, clap::Args)]
struct BenchArgs {
    /// The size of the large log.
    #[arg(long, default_value = "10G", value_parser = bench::parse_size)]
    size: u64,
    /// Where the logs are built; they are removed at the end.
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// How often each is measured.
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Measures only a part.
    #[arg(long, value_name = "PART")]
    only: Option<bench::Part>,
}

#[derive(Debug, clap::Args)]
struct GuestArgs {
    /// Parts of names; any fits. Nothing said: all.
    filter: Vec<String>,
    /// Only those that `make test` runs.
    #[arg(long)]
    quick: bool,
    /// The folder of scenarios.
    #[arg(long, default_value_os_t = project().join("lab/guest"))]
    scenarios: PathBuf,
    /// Keeps consoles, and of scenarios that are missed their bundle, text and logs.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// Runs what was asked for.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::List(select) => list(&select),
        Command::Run(args) => run_all(&args),
        Command::Bench(args) => measure(args),
        Command::Guest(args) => run_guests(args),
        Command::Inside { scenarios, why502, results } => guest::inside::main(&scenarios, &why502, &results),
        Command::Replay { corpus } => replay(&corpus),
        Command::Hold { n_connections } => bench::hold(n_connections).map(|()| ExitCode::SUCCESS),
        Command::Guard { arguments } => isolate::guard(&arguments),
        Command::Engine { dir } => run::try_engine(&dir).map(|()| ExitCode::SUCCESS),
        Command::Scenario { file, dir, why502, isolated, record, bare } => {
            run_one(&Order { file, dir, why502, isolated, record, bare })
        }
    };
    result.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        ExitCode::from(2)
    })
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

fn scenarios() -> PathBuf {
    project().join("lab/scenarios")
}

/// The scenarios that are meant, and how many of them the program under test does not know.
fn select(select: &Select, known: &BTreeSet<String>) -> Result<(Vec<Named>, usize)> {
    let mut found = scenario::find(&select.scenarios)?;
    found.retain(|named| {
        let is_named =
            select.filter.is_empty() || select.filter.iter().any(|part| named.name.contains(part.as_str()));
        let is_covered = select.causes.is_empty()
            || named.scenario.covered().any(|id| select.causes.iter().any(|cause| cause == id));
        is_named && is_covered && (!select.quick || named.scenario.quick)
    });
    let n_all = found.len();
    if !select.unknown {
        found.retain(|named| named.scenario.expect.ids().all(|id| known.contains(id)));
    }
    let n_left_out = n_all - found.len();
    Ok((found, n_left_out))
}

fn list(args: &Select) -> Result<ExitCode> {
    let known = orchestrate::known_ids(&orchestrate::find_why502(&std::env::current_exe()?)?)?;
    let (found, n_left_out) = select(args, &known)?;
    for named in &found {
        let ids: Vec<&str> = named.scenario.covered().collect();
        say(&format!(
            "{:<58} {}",
            named.name,
            if ids.is_empty() { "healthy".to_owned() } else { ids.join(" ") }
        ));
    }
    say(&format!("{} scenarios, {n_left_out} of unknown causes left out", found.len()));
    Ok(ExitCode::SUCCESS)
}

fn run_all(args: &RunArgs) -> Result<ExitCode> {
    let why502 = fs::canonicalize(orchestrate::find_why502(&std::env::current_exe()?)?)?;
    let known = orchestrate::known_ids(&why502)?;
    let (scenarios, n_left_out) = select(&args.select, &known)?;
    let isolation = if args.surroundings.no_namespaces {
        Isolation::None("--no-namespaces".to_owned())
    } else {
        Isolation::find()
    };
    if let Isolation::None(why) = &isolation {
        complain(&format!("on the host's loopback, without namespaces of their own: {why}"));
    }
    let plan = Plan {
        scenarios,
        why502,
        lab: std::env::current_exe()?,
        jobs: args.jobs,
        isolation,
        record: args.record.clone(),
        bare: args.surroundings.bare,
        keep: args.keep,
        ignored: args.ignore.clone(),
    };
    let done = orchestrate::run_all(&plan, |named, done| say(&crate::table::line(named, done)));
    let table = Table::new(&plan.scenarios, &done, n_left_out);
    for line in table.lines() {
        say(&line);
    }
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_vec_pretty(&done)?).with_context(|| file.display().to_string())?;
    }
    Ok(if table.n_failed() == 0 || args.allow_misses { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(args: BenchArgs) -> Result<ExitCode> {
    bench::run(&Bench {
        why502: fs::canonicalize(orchestrate::find_why502(&std::env::current_exe()?)?)?,
        dir: args.dir,
        large: args.size,
        small: SMALL_LOG,
        n_runs: args.runs.max(1),
        only: args.only,
    })?;
    Ok(ExitCode::SUCCESS)
}

fn run_guests(args: GuestArgs) -> Result<ExitCode> {
    let lab = std::env::current_exe()?;
    guest::run(&guest::Order {
        filter: args.filter,
        quick: args.quick,
        scenarios: args.scenarios,
        why502: orchestrate::find_why502(&lab)?,
        lab,
        scripts: project().join("scripts"),
        keep: args.keep,
    })
}

fn run_one(order: &Order) -> Result<ExitCode> {
    let named = scenario::read(&order.file)?;
    let outcome = run::run(order, &named);
    say(&serde_json::to_string(&outcome)?);
    Ok(ExitCode::SUCCESS)
}

fn replay(corpus: &Path) -> Result<ExitCode> {
    let why502 = orchestrate::find_why502(&std::env::current_exe()?)?;
    let known = orchestrate::known_ids(&why502)?;
    let (mut n_passed, mut n_failed, mut n_skipped) = (0, 0, 0);
    for kept in crate::replay::find(corpus)? {
        if !kept.ids().all(|id| known.contains(id)) {
            n_skipped += 1;
            continue;
        }
        let replayed = kept.replay(&why502)?;
        if replayed.misses.is_empty() {
            n_passed += 1;
        } else {
            n_failed += 1;
            say(&format!("MISS {}: {} ({})", kept.name, replayed.got, replayed.misses.join("; ")));
        }
    }
    say(&format!("{n_passed} passed, {n_failed} failed, {n_skipped} skipped"));
    Ok(if n_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
