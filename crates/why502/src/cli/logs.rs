//! `why502 logs [FILE…]`.

use super::diagnose::now;
use crate::exit;
use crate::failure::Failure;
use crate::options::{self, Since};
use crate::output::{Color, complain, write_result};
use crate::{render, rounds};
use clap::ValueHint;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use why502_collect::{Collector, LogSet, LogSurveyor, Policy, RouteOfOwner, open_logs};
use why502_decode::{load, logs::LogContent};
use why502_diagnose::{GroupBy, Selection, StatusRange, survey, survey_requests};
use why502_facts::{
    AccessLogFormat, Ask, Bundle, FORMAT_VERSION, Fact, FormatEscape, Invocation, Manifest, Observed, Stamp,
};

/// The bound of the little that is read besides the logs: the configuration.
const CONFIG_TIMEOUT: Duration = Duration::from_secs(10);

/// The exit code of a program that Ctrl-C ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// The options of `logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Access and error logs, in any order, plain or compressed, with their rotated siblings; globs, directories; - for
    /// stdin; journal:UNIT, or a file of the journal, for what journalctl shows.
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath, required = true)]
    files: Vec<String>,
    /// The nginx.conf that describes the logs: formats, routes, groups.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// The nginx prefix for relative paths.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    prefix: Option<PathBuf>,
    /// The log_format of the access logs, in nginx's notation.
    #[arg(long, value_name = "STRING")]
    log_format: Option<String>,
    /// How far back from the end failures count: a duration, or `all`.
    #[arg(long, value_name = "DURATION", value_parser = options::parse_since, default_value = "all", conflicts_with = "around")]
    since: Since,
    /// The end of the window (default: the newest entry): 02:10, 2026-11-21T02:10Z.
    #[arg(long, value_name = "TIME", value_parser = options::parse_moment, conflicts_with = "around")]
    until: Option<Stamp>,
    /// The half hours before and after a moment.
    #[arg(long, value_name = "TIME", value_parser = options::parse_moment)]
    around: Option<Stamp>,
    /// Only these statuses: 502, 5xx, 500-504 (repeatable, or with commas).
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<StatusRange>,
    /// Only failures on that group or address.
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Only failures whose route (server and location) or path holds this text.
    #[arg(long, value_name = "TEXT")]
    route: Option<String>,
    /// What failures are grouped by, with commas [default: family,route,upstream,peer].
    #[arg(long, value_name = "KEYS", value_enum, value_delimiter = ',')]
    group_by: Vec<Key>,
    /// How many rows the lists of the most frequent have.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// The form of the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// All rows of every list.
    #[arg(long)]
    verbose: bool,
    /// When to use colour.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
    /// Where the result goes (default: stdout).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

/// What failures can be grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Key {
    /// The client's address.
    Client,
    /// The kind of failure.
    Family,
    /// The address that was dialled last.
    Peer,
    /// The server and location.
    Route,
    /// The status.
    Status,
    /// The upstream group.
    Upstream,
}

impl From<Key> for GroupBy {
    fn from(key: Key) -> Self {
        match key {
            Key::Client => Self::Client,
            Key::Family => Self::Family,
            Key::Peer => Self::Peer,
            Key::Route => Self::Route,
            Key::Status => Self::Status,
            Key::Upstream => Self::Upstream,
        }
    }
}

/// The forms of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For a browser: one page with the timeline as a picture.
    Html,
    /// For programs: `why502.logs/1`.
    Json,
    /// The failed requests one by one, each a JSON object on a line.
    Ndjson,
}

/// Reads and prints.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let sets = open_logs(&args.files).map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        Failure::usage(format!("{error}{}", source.unwrap_or_default()))
    })?;
    let invocation = invocation(args, &sets)?;
    // The configuration may include what lies beside it.
    let readable = super::diagnose::config_tree(&invocation).into_iter().collect();
    let policy = Policy { only_files: Some(readable), may_probe: false, reads_logs: true };
    let collector = Collector::new(policy, CONFIG_TIMEOUT);
    let needs_newest = invocation.since.is_some() && invocation.until.is_none();
    let stop = Arc::new(AtomicBool::new(false));
    // The first Ctrl-C ends the reading and shows what was found; the second ends the program.
    flag::register_conditional_shutdown(SIGINT, INTERRUPTED, Arc::clone(&stop))?;
    flag::register(SIGINT, Arc::clone(&stop))?;
    let surveyor = LogSurveyor::new(sets, needs_newest, invocation.config.is_some(), Arc::clone(&stop));
    let manifest = Manifest {
        format: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        captured_at: now(),
        invocation,
    };
    let mut bundle = Bundle::new(manifest);
    let answer = |asks: &[Ask], route: &Arc<RouteOfOwner>| -> Vec<Fact> {
        let (of_logs, others): (Vec<Ask>, Vec<Ask>) = asks.iter().cloned().partition(|ask| surveyor.has(ask));
        let mut facts = collector.answer(&others, route);
        facts.extend(surveyor.answer(&of_logs, route));
        facts
    };
    let model = rounds::with_progress(&|elapsed| progress(&surveyor, elapsed), || {
        rounds::collect_logs(&mut bundle, &answer)
    });
    let facts = load(&bundle);
    let troubles = surveyor.troubles();
    let is_digested = |(ask, answer): (&Ask, &Observed<_>)| {
        matches!(ask, Ask::Log(_)) && matches!(answer, Observed::Known(_))
    };
    if !troubles.is_empty() && !facts.iter().any(is_digested) {
        return Err(Failure::trouble(troubles.join("; ")));
    }
    for trouble in troubles {
        complain(&format!("why502: {trouble}"));
    }
    if stop.load(Ordering::Relaxed) {
        complain("why502: interrupted: what follows is what was read until then");
    }
    let selection = selection(args);
    let text = match args.format {
        Format::Text => {
            let style = render::LogsStyle {
                color: args.color.applies(args.output.as_deref()),
                verbose: args.verbose,
            };
            render::logs_text(&survey(&facts, &model, &selection), style)
        }
        Format::Html => render::logs_html(&survey(&facts, &model, &selection)),
        Format::Json => render::json(&survey(&facts, &model, &selection))?,
        Format::Ndjson => render::json_lines(&survey_requests(&facts, &model, &selection))?,
    };
    write_result(&text, args.output.as_deref())?;
    Ok(ExitCode::from(exit::WELL))
}

/// How far the reading is: bytes, speed, and the time that is left.
fn progress(surveyor: &LogSurveyor, elapsed: Duration) -> String {
    let (n_read, n_bytes) = surveyor.progress();
    let per_second = n_read * 1000 / u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let read = format!("{} read, {}/s", render::bytes(n_read), render::bytes(per_second));
    match n_bytes.and_then(|n_bytes| n_bytes.saturating_sub(n_read).checked_div(per_second)) {
        Some(left) => format!("reading logs: {read}, {left} s left"),
        None => format!("reading logs: {read}"),
    }
}

fn invocation(args: &Args, sets: &[LogSet]) -> Result<Invocation, Failure> {
    let names = |wanted: fn(&LogContent) -> bool| {
        sets.iter().filter(|set| wanted(set.content())).map(|set| set.name().to_owned()).collect::<Vec<_>>()
    };
    let config = args.config.as_deref().map(|path| options::existing_file(path, "--config")).transpose()?;
    Ok(Invocation {
        url: None,
        config,
        prefix: args.prefix.as_deref().map(|path| options::existing(path, "--prefix")).transpose()?,
        binary: None,
        pid: None,
        error_logs: names(|content| matches!(content, LogContent::Error | LogContent::Mixed { .. })),
        access_logs: names(|content| matches!(content, LogContent::Access { .. } | LogContent::Mixed { .. })),
        log_format: args
            .log_format
            .clone()
            .map(|text| AccessLogFormat { text, escape: FormatEscape::Default }),
        since: match args.since {
            Since::All => None,
            Since::Last(duration) => Some(duration),
        },
        until: args.until,
        around: args.around,
        offline: true,
        no_probe: true,
        replay: false,
        timeout: CONFIG_TIMEOUT,
    })
}

fn selection(args: &Args) -> Selection {
    Selection {
        statuses: args.status.clone(),
        upstream: args.upstream.clone(),
        route: args.route.clone(),
        group_by: args.group_by.iter().copied().map(GroupBy::from).collect(),
        top: args.top,
    }
}
