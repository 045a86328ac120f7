//! The lab in `make test`: one test per scenario that is quick, one per recorded bundle.
//!
//! A scenario that this machine cannot run is ignored, and its kind says why; where namespaces are promised
//! (`WHY502_LAB_NAMESPACES=1`) their absence is a failure of its own.

use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use why502_lab::isolate::Isolation;
use why502_lab::orchestrate::{self, Fate, Plan};
use why502_lab::scenario::{self, Named};
use why502_lab::{judge, replay};

/// The program that plays the children of a run; the one under test is built beside it.
const LAB: &str = env!("CARGO_BIN_EXE_why502-lab");
/// Says that namespaces are promised.
const PROMISE: &str = "WHY502_LAB_NAMESPACES";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = match trials() {
        Ok(trials) => trials,
        Err(error) => {
            let words = format!("{error:#}");
            vec![Trial::test("lab", move || Err(Failed::from(words)))]
        }
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials() -> anyhow::Result<Vec<Trial>> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let isolation = Arc::new(Isolation::find());
    let mut trials = vec![promise(&isolation)];
    for named in scenario::find(&project.join("lab/scenarios"))? {
        if named.scenario.quick {
            trials.push(scenario_trial(named, &isolation));
        }
    }
    for kept in replay::find(&project.join("corpus/lab"))? {
        trials.push(Trial::test(format!("replay/{}", kept.name), move || {
            let why502 = why502()?;
            let replayed = kept.replay(&why502)?;
            verdict(&replayed.got, &replayed.misses)
        }));
    }
    Ok(trials)
}

/// The promise of namespaces is kept, where it was made.
fn promise(isolation: &Isolation) -> Trial {
    let broken = match isolation {
        Isolation::None(why) if std::env::var_os(PROMISE).is_some() => Some(why.clone()),
        Isolation::None(_) | Isolation::Namespaces(_) => None,
    };
    Trial::test("namespaces_are_there_where_they_are_promised", move || match broken {
        Some(why) => Err(Failed::from(format!("{PROMISE} is set, and there are none: {why}"))),
        None => Ok(()),
    })
}

fn scenario_trial(named: Named, isolation: &Arc<Isolation>) -> Trial {
    let name = format!("scenario/{}", named.name);
    if let Some(why) = orchestrate::reason_to_skip(&named, isolation) {
        return Trial::test(name, || Ok(())).with_kind(why).with_ignored_flag(true);
    }
    let isolation = Arc::clone(isolation);
    Trial::test(name, move || run(named, &isolation))
}

fn run(named: Named, isolation: &Isolation) -> Result<(), Failed> {
    let why502 = why502()?;
    known(&named, &orchestrate::known_ids(&why502)?)?;
    let plan = Plan {
        scenarios: vec![named],
        why502,
        lab: PathBuf::from(LAB),
        jobs: 1,
        isolation: isolation.clone(),
        record: None,
        bare: false,
        keep: false,
        ignored: Vec::new(),
    };
    match orchestrate::run_all(&plan, |_, _| {}).pop().map(|done| done.result) {
        Some(Fate::Run(outcome)) => {
            let words = |judge::Miss { kind, says }: &judge::Miss| format!("{kind:?}: {says}");
            verdict(&outcome.got, &outcome.misses.iter().map(words).collect::<Vec<_>>())
        }
        Some(Fate::Skipped(why)) => Err(Failed::from(format!("skipped: {why}"))),
        None => Err(Failed::from("it was not run")),
    }
}

/// A scenario that `make test` runs is of causes that the program knows.
fn known(named: &Named, ids: &BTreeSet<String>) -> Result<(), Failed> {
    match named.scenario.expect.ids().find(|id| !ids.contains(*id)) {
        Some(id) => Err(Failed::from(format!("why502 does not know {id:?}"))),
        None => Ok(()),
    }
}

fn verdict(got: &str, misses: &[String]) -> Result<(), Failed> {
    if misses.is_empty() {
        return Ok(());
    }
    Err(Failed::from(format!("got {got}\n{}", misses.join("\n"))))
}

/// The program under test. Cargo builds it with the tests of its own package: `cargo nextest run --workspace`.
fn why502() -> Result<PathBuf, Failed> {
    Ok(std::fs::canonicalize(orchestrate::find_why502(Path::new(LAB))?)?)
}
