//! The rounds: ask, collect, and ask again, until nothing more is wanted.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use why502_collect::{Collector, RouteOfOwner};
use why502_decode::{Loader, load};
use why502_diagnose::{Report, diagnose, wanted};
use why502_facts::{Ask, Bundle, Fact, Facts, GapReason, Observed, RequestKey, View};
use why502_model::Model;

/// How often the line of a run that takes long is written again.
const REFRESH: Duration = Duration::from_millis(250);
/// The most rounds: the nesting of includes decides how many are needed.
const MAX_ROUNDS: usize = 80;

/// Collects everything that the model and the causes want into a bundle; the model as it is then.
pub(crate) fn collect(bundle: &mut Bundle, collector: &Collector) -> Arc<Model> {
    collect_wanted(bundle, collector, wanted)
}

/// Collects what the model alone wants: the logs, and the configuration that tells how to read them.
pub(crate) fn collect_logs(bundle: &mut Bundle, answer: &Answerer<'_>) -> Arc<Model> {
    pump(bundle, |_, _| Vec::new(), answer)
}

/// Collects what the model wants, and then what is wanted besides.
pub(crate) fn collect_wanted(
    bundle: &mut Bundle,
    collector: &Collector,
    wanted: impl Fn(&Facts, &Model) -> Vec<Ask>,
) -> Arc<Model> {
    pump(bundle, wanted, &|asks, route| collector.answer(asks, route))
}

/// Answers asks with facts.
pub(crate) type Answerer<'a> = dyn Fn(&[Ask], &Arc<RouteOfOwner>) -> Vec<Fact> + 'a;

fn pump(
    bundle: &mut Bundle,
    wanted: impl Fn(&Facts, &Model) -> Vec<Ask>,
    answer: &Answerer<'_>,
) -> Arc<Model> {
    let mut asked: BTreeSet<Ask> = bundle.facts.iter().map(|fact| fact.ask.clone()).collect();
    let mut loader = Loader::default();
    for _ in 0..MAX_ROUNDS {
        let facts = loader.load(bundle);
        let model = Arc::new(Model::build(&facts));
        let mut asks = model.asks.clone();
        if asks.is_empty() {
            asks = wanted(&facts, &model);
        }
        asks.retain(|ask| asked.insert(ask.clone()));
        if asks.is_empty() {
            return model;
        }
        let route: Arc<RouteOfOwner> = Arc::new(move |owner: &str, key: &RequestKey<'_>| {
            let gateway = model.gateways.iter().find(|gateway| gateway.owner() == owner)?;
            gateway.attribute(key).map(|id| Arc::from(gateway.route(id).key()))
        });
        bundle.facts.extend(answer(&asks, &route));
    }
    Arc::new(Model::build(&loader.load(bundle)))
}

/// The report of a bundle, or of the part of its window that is wanted: the same for the same bundle, wherever it is made.
pub(crate) fn report(bundle: &Bundle, view: Option<View>) -> Report {
    let mut facts = load(bundle);
    facts.view = view;
    facts.sealed = true;
    let model = Model::build(&facts);
    diagnose(&facts, &model)
}

/// Whether a bundle, of which the model is given, tells of anything that could be judged.
pub(crate) fn has_anything(bundle: &Bundle, model: &Model) -> bool {
    let facts = load(bundle);
    let reads =
        |ask: &Ask| !matches!(facts.look(ask), Observed::Unknown(gap) if gap.why != GapReason::NotYet);
    model.gateways.iter().any(|gateway| {
        gateway.master.is_some()
            || !gateway.sources.is_empty()
            || Model::log_tails(&facts, gateway).iter().any(reads)
    })
}

/// Whether a process is the master of a gateway that was found.
pub(crate) fn is_master(model: &Model, pid: u32) -> bool {
    model.gateways.iter().any(|gateway| gateway.master == Some(pid))
}

/// Whether processes of other users are hidden: then a gateway may run that was not seen.
pub(crate) fn hides_processes(bundle: &Bundle) -> bool {
    load(bundle).processes().known().is_some_and(|list| list.hidden)
}

/// Runs something that may take long, with a line on stderr once it takes more than a second: what is told of it then,
/// after so long.
pub(crate) fn with_progress<T>(what: &(dyn Fn(Duration) -> String + Sync), run: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return run();
    }
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let begin = Instant::now();
            let mut wait = Duration::from_secs(1);
            while is_done.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                let _ = write!(io::stderr(), "\r\x1b[2Kwhy502: {} …", what(begin.elapsed()));
                wait = REFRESH;
            }
            // The line is wiped, so that it does not stay between the prompt and the result.
            if wait == REFRESH {
                let _ = write!(io::stderr(), "\r\x1b[2K");
            }
        });
        let result = run();
        drop(done);
        result
    })
}
