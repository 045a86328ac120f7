//! `why502 diagnose [URL]`.

use super::rerun;
use crate::exit::{self, FailOn};
use crate::failure::Failure;
use crate::options::{self, Since};
use crate::output::{Color, write_result};
use crate::{render, rounds};
use clap::ValueHint;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use why502_collect::{Collector, Policy};
use why502_facts::{
    AccessLogFormat, Bundle, BundleError, FORMAT_VERSION, FormatEscape, Invocation, Manifest, Stamp, View,
    lossy, mask_secrets,
};

/// How far back failures count, unless it is said otherwise.
pub(super) const DEFAULT_SINCE: Duration = Duration::from_hours(1);
/// The bound of a run, unless it is said otherwise.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is looked at.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Scope {
    /// The nginx.conf to use (default: the running master's).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// The nginx prefix for relative paths.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) prefix: Option<PathBuf>,
    /// The nginx binary.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::ExecutablePath)]
    pub(crate) nginx: Option<PathBuf>,
    /// The master process, where several run.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// An error log, instead of those that the configuration names (repeatable).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) error_log: Vec<PathBuf>,
    /// An access log, instead of those that the configuration names (repeatable).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) access_log: Vec<PathBuf>,
    /// The log_format of access logs that the configuration does not describe.
    #[arg(long, value_name = "STRING")]
    pub(crate) log_format: Option<String>,
    /// How far back failures count: a duration, or `all`.
    ///
    /// From now on, from the newest stamp in the files with --offline, from the recording with --bundle [default: 1h, or
    /// what the bundle was recorded with].
    #[arg(long, value_name = "DURATION", value_parser = options::parse_since, conflicts_with = "around")]
    pub(crate) since: Option<Since>,
    /// The failures around a moment, whatever came after: 02:10, 2026-11-21T02:10Z.
    #[arg(long, value_name = "TIME", value_parser = options::parse_moment)]
    pub(crate) around: Option<Stamp>,
    /// Use only the files given: no processes, no sockets, no probes, nothing of this host.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Look at this host, send nothing.
    #[arg(long)]
    pub(crate) no_probe: bool,
    /// Send the failing request through nginx once more, as a HEAD, beside the same one straight to its upstreams, and say who
    /// made the answer.
    #[arg(long, conflicts_with_all = ["offline", "no_probe"])]
    pub(crate) replay: bool,
    /// The bound of the whole run.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = options::parse_duration)]
    pub(crate) timeout: Duration,
}

/// The options of `diagnose`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The URL or path that fails: begins with http://, https:// or /.
    #[arg(value_parser = options::parse_url, value_hint = ValueHint::Url)]
    url: Option<String>,
    #[command(flatten)]
    scope: Scope,
    /// Diagnose a recorded bundle instead of this host.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath,
          conflicts_with_all = ["config", "prefix", "nginx", "pid", "error_log", "access_log", "log_format", "offline", "no_probe", "replay", "timeout"])]
    bundle: Option<PathBuf>,
    /// From which verdict on the exit code is 1.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = FailOn::Broken)]
    fail_on: FailOn,
    /// The form of the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// One line.
    #[arg(long)]
    oneline: bool,
    /// Everything that is known.
    #[arg(long)]
    verbose: bool,
    /// When to use colour.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
    /// Where the result goes (default: stdout).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

/// The forms of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: `why502.report/1`.
    Json,
}

/// Diagnoses and prints.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (bundle, view) = match &args.bundle {
        Some(file) => {
            let mut bundle = read_bundle(file)?;
            if args.url.is_some() {
                bundle.manifest.invocation.url = args.url.as_deref().map(masked);
            }
            (bundle, view(&args.scope))
        }
        None => (record(&args.scope, args.url.as_deref())?, None),
    };
    let report = rounds::report(&bundle, view);
    let text = match (args.format, args.oneline) {
        (Format::Json, _) => render::json(&report)?,
        (Format::Text, true) => render::oneline(&report),
        (Format::Text, false) => {
            let rerun = rerun::as_root(&bundle);
            let style = render::TextStyle {
                color: args.color.applies(args.output.as_deref()),
                rerun: rerun.as_deref(),
                verbose: args.verbose,
            };
            render::text(&report, style)
        }
    };
    write_result(&text, args.output.as_deref())?;
    Ok(exit::code(report.verdict, args.fail_on))
}

/// The part of a bundle's window that the options want.
fn view(scope: &Scope) -> Option<View> {
    let since = scope.since.map(|since| match since {
        Since::All => View::Since(None),
        Since::Last(duration) => View::Since(Some(duration)),
    });
    scope.around.map(View::Around).or(since)
}

/// Looks at the world as the options say.
pub(crate) fn record(scope: &Scope, url: Option<&str>) -> Result<Bundle, Failure> {
    let invocation = invocation(scope, url)?;
    let policy = policy(&invocation);
    let collector = Collector::new(policy, scope.timeout);
    let manifest = Manifest {
        format: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        captured_at: now(),
        invocation,
    };
    let mut bundle = Bundle::new(manifest);
    let model = rounds::with_progress(&|_| "looking at logs, processes and upstreams".to_owned(), || {
        rounds::collect(&mut bundle, &collector)
    });
    if let Some(pid) = scope.pid.filter(|pid| !rounds::is_master(&model, *pid)) {
        return Err(Failure::no_master(pid, rounds::hides_processes(&bundle)));
    }
    if !rounds::has_anything(&bundle, &model) {
        let hides_processes = rounds::hides_processes(&bundle);
        return Err(Failure::no_gateway("and no file to look at", hides_processes).hint(
            "name what there is: --config, --error-log, --access-log, with --offline for files of another host",
        ));
    }
    Ok(bundle)
}

fn invocation(scope: &Scope, url: Option<&str>) -> Result<Invocation, Failure> {
    let one = |path: &Option<PathBuf>, option| {
        path.as_deref().map(|path| options::existing(path, option)).transpose()
    };
    let file = |path: &Option<PathBuf>, option| {
        path.as_deref().map(|path| options::existing_file(path, option)).transpose()
    };
    let many = |paths: &[PathBuf], option| {
        paths.iter().map(|path| options::existing_file(path, option)).collect::<Result<Vec<_>, _>>()
    };
    if scope.offline && scope.config.is_none() && scope.error_log.is_empty() && scope.access_log.is_empty() {
        return Err(Failure::usage("--offline needs a file to look at")
            .hint("name one: --config, --error-log or --access-log"));
    }
    Ok(Invocation {
        // What it looks for in logs, and what the bundle keeps, is masked as they are.
        url: url.map(masked),
        config: file(&scope.config, "--config")?,
        prefix: one(&scope.prefix, "--prefix")?,
        binary: file(&scope.nginx, "--nginx")?,
        pid: scope.pid,
        error_logs: many(&scope.error_log, "--error-log")?,
        access_logs: many(&scope.access_log, "--access-log")?,
        log_format: scope
            .log_format
            .clone()
            .map(|text| AccessLogFormat { text, escape: FormatEscape::Default }),
        since: match scope.since {
            None => Some(DEFAULT_SINCE),
            Some(Since::Last(duration)) => Some(duration),
            Some(Since::All) => None,
        },
        until: None,
        around: scope.around,
        offline: scope.offline,
        no_probe: scope.no_probe,
        replay: scope.replay,
        timeout: scope.timeout,
    })
}

/// A URL without its passwords and tokens.
pub(super) fn masked(url: &str) -> String {
    lossy(&mask_secrets(url.as_bytes()))
}

/// Offline only the files given may be read, and what lies beside the configuration, since it may include that, or in the
/// prefix.
fn policy(invocation: &Invocation) -> Policy {
    if !invocation.offline {
        return Policy { only_files: None, may_probe: !invocation.no_probe, reads_logs: true };
    }
    let mut files: Vec<PathBuf> = config_tree(invocation).into_iter().collect();
    let given = invocation.error_logs.iter().chain(&invocation.access_logs).chain(&invocation.prefix);
    files.extend(given.map(PathBuf::from));
    Policy { only_files: Some(files), may_probe: false, reads_logs: true }
}

/// The directory of the configuration, or the root of the tree that was copied with it.
pub(super) fn config_tree(invocation: &Invocation) -> Option<PathBuf> {
    let directory = Path::new(invocation.config.as_ref()?).parent().unwrap_or(Path::new("/"));
    // A tree that was copied whole keeps its own /etc/nginx.
    let home = [
        "etc/nginx",
        "usr/local/nginx/conf",
        "usr/local/openresty/nginx/conf",
        "usr/local/etc/nginx",
        "etc/angie",
    ];
    let base = home.iter().find(|home| directory.ends_with(home) && directory != Path::new("/").join(home));
    let up = base.map_or(0, |home| Path::new(home).components().count());
    Some(directory.ancestors().nth(up).unwrap_or(directory).to_path_buf())
}

fn read_bundle(file: &Path) -> Result<Bundle, Failure> {
    let failed =
        |error: BundleError| Failure::because(format!("cannot read the bundle {}", file.display()), error);
    if file.is_dir() {
        return Bundle::from_entries(&read_entries(file).map_err(failed)?).map_err(failed);
    }
    // A pipe has no end, and opening it may wait for ever.
    if fs::metadata(file).is_ok_and(|status| !status.is_file()) {
        return Err(Failure::usage(format!("--bundle {} is neither a file nor a directory", file.display())));
    }
    let opened = fs::File::open(file).map_err(|error| failed(error.into()))?;
    Bundle::read_archive(opened).map_err(failed)
}

/// The entries of a bundle that is a directory: no links, nothing that no bundle may hold.
fn read_entries(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    let mut entries = BTreeMap::new();
    let mut total = 0;
    for folder in ["", "raw"] {
        let Ok(listing) = fs::read_dir(directory.join(folder)) else { continue };
        for entry in listing {
            let entry = entry?;
            let name = Path::new(folder).join(entry.file_name()).to_string_lossy().into_owned();
            if name == "raw" && entry.file_type()?.is_dir() {
                continue;
            }
            if !entry.file_type()?.is_file() || !Bundle::allows_entry(&name) {
                return Err(BundleError::Forbidden { name });
            }
            total += entry.metadata()?.len();
            Bundle::check_limits(total, entries.len() + 1)?;
            let mut bytes = Vec::new();
            fs::File::open(entry.path())?.read_to_end(&mut bytes)?;
            entries.insert(name, bytes);
        }
    }
    Ok(entries)
}

/// This moment.
pub(super) fn now() -> Stamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Whole seconds: what is printed is what is kept.
    Stamp(i64::try_from(since_epoch.as_secs()).unwrap_or(0) * 1000)
}
