//! Running masters, and the binaries behind them.

use crate::Version;
use why502_facts::{
    Ask, Facts, GapReason, Invocation, Observed, Process, ProcessList, Root, Security, Stamp,
};

/// The strings of a binary that tell its version and how it was built (`ngx_show_version_info`).
const MARKS: [&str; 2] = [" version: ", "configure arguments:"];
/// Where binaries are looked for when none runs.
const BINARIES: [&str; 6] = [
    "/usr/sbin/nginx",
    "/usr/local/sbin/nginx",
    "/usr/local/nginx/sbin/nginx",
    "/usr/local/openresty/nginx/sbin/nginx",
    "/usr/sbin/angie",
    "/usr/bin/nginx",
];

/// What a binary was built with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CompiledIn {
    /// `--prefix`.
    pub(crate) prefix: Option<String>,
    /// `--conf-path`.
    pub(crate) config: Option<String>,
    /// `--error-log-path`.
    pub(crate) error_log: Option<String>,
    /// `--http-log-path`.
    pub(crate) access_log: Option<String>,
}

/// A gateway before its configuration is read.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) flavour: String,
    pub(crate) version: Option<Version>,
    pub(crate) version_text: Option<String>,
    pub(crate) master: Option<u32>,
    pub(crate) workers: Vec<u32>,
    pub(crate) loaded: Option<Stamp>,
    pub(crate) binary: Option<String>,
    pub(crate) compiled: CompiledIn,
    pub(crate) config: String,
    pub(crate) prefix: String,
    pub(crate) root: Root,
    pub(crate) security: Security,
}

/// The instances to look at, and what is still wanted to know them.
pub(crate) fn find_instances(facts: &Facts) -> (Vec<Instance>, Vec<Ask>) {
    let invocation = &facts.manifest.invocation;
    let mut finder = Finder { facts, invocation, asks: Vec::new() };
    let instances = if invocation.offline { finder.given() } else { finder.on_this_host() };
    (instances, finder.asks)
}

struct Finder<'a> {
    facts: &'a Facts,
    invocation: &'a Invocation,
    asks: Vec<Ask>,
}

impl Finder<'_> {
    /// Of another host there is what the options name.
    fn given(&mut self) -> Vec<Instance> {
        let config = self.invocation.config.clone().unwrap_or_default();
        let directory = config.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
        let prefix = self.invocation.prefix.clone().unwrap_or(directory);
        vec![Instance {
            flavour: "nginx".to_owned(),
            version: None,
            version_text: None,
            master: None,
            workers: Vec::new(),
            loaded: None,
            binary: None,
            compiled: CompiledIn::default(),
            config,
            prefix,
            root: Root::Host,
            security: Security::Own,
        }]
    }

    fn on_this_host(&mut self) -> Vec<Instance> {
        self.want(&Ask::Host);
        let list = match self.facts.processes() {
            Observed::Known(list) => list.clone(),
            Observed::Unknown(gap) if gap.why == GapReason::NotYet => {
                self.asks.push(gap.ask);
                return Vec::new();
            }
            Observed::Absent | Observed::Unknown(_) => ProcessList::default(),
        };
        let masters: Vec<&Process> =
            list.processes.iter().filter(|process| is_master(process, &list)).collect();
        let running: Vec<Instance> = masters.into_iter().map(|master| self.running(master, &list)).collect();
        let wanted: Vec<Instance> = running.into_iter().filter(|instance| self.is_wanted(instance)).collect();
        if wanted.is_empty() && self.asks.is_empty() { self.not_running() } else { wanted }
    }

    /// With `--config` or `--pid` only that instance is judged.
    fn is_wanted(&self, instance: &Instance) -> bool {
        self.invocation.pid.is_none_or(|pid| instance.master == Some(pid))
            && self.invocation.config.as_ref().is_none_or(|config| *config == instance.config)
    }

    fn running(&mut self, master: &Process, list: &ProcessList) -> Instance {
        let root = if master.same_root == Some(false) { Root::Process(master.pid) } else { Root::Host };
        let binary = master.exe.clone();
        let strings = binary.as_ref().and_then(|path| self.strings(root, path));
        let build = strings.as_deref().map(read_build).unwrap_or_default();
        let options = Options::of(master);
        let prefix =
            options.prefix.or(build.compiled.prefix.clone()).unwrap_or_else(|| "/usr/local/nginx".to_owned());
        let config =
            options.config.or(build.compiled.config.clone()).unwrap_or_else(|| "conf/nginx.conf".to_owned());
        let workers: Vec<&Process> =
            list.processes.iter().filter(|process| is_worker(process, master.pid)).collect();
        // A worker has the user and the groups that connections are made with.
        let place = workers.first().map_or(master.pid, |worker| worker.pid);
        self.want(&Ask::Process { pid: place });
        Instance {
            flavour: build.flavour,
            version: build.version,
            version_text: build.version_text,
            master: Some(master.pid),
            loaded: workers.iter().filter_map(|worker| worker.started).min().or(master.started),
            workers: workers.iter().map(|worker| worker.pid).collect(),
            binary,
            compiled: build.compiled,
            config: absolute(&config, &prefix),
            prefix,
            root,
            security: Security::Process(place),
        }
    }

    /// Nothing runs: what a binary would use, or what the options name.
    fn not_running(&mut self) -> Vec<Instance> {
        let candidates: Vec<String> = match &self.invocation.binary {
            Some(binary) => vec![binary.clone()],
            None => BINARIES.iter().map(|path| (*path).to_owned()).collect(),
        };
        let found = candidates.into_iter().find_map(|path| {
            let build = read_build(&self.strings(Root::Host, &path)?);
            Some((path, build))
        });
        let (binary, build) = found.map_or((None, Build::default()), |(path, build)| (Some(path), build));
        let given = self.invocation.config.clone();
        let Some(config) = given.or_else(|| build.compiled.config.clone()) else { return Vec::new() };
        let prefix = self.invocation.prefix.clone().or(build.compiled.prefix.clone());
        let prefix = prefix
            .unwrap_or_else(|| config.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned());
        vec![Instance {
            flavour: build.flavour,
            version: build.version,
            version_text: build.version_text,
            master: None,
            workers: Vec::new(),
            loaded: None,
            binary,
            compiled: build.compiled,
            config: absolute(&config, &prefix),
            prefix,
            root: Root::Host,
            security: Security::Own,
        }]
    }

    fn strings(&mut self, root: Root, path: &str) -> Option<Vec<String>> {
        match self.facts.strings(root, path, &MARKS) {
            Observed::Known(strings) => Some(strings.clone()),
            Observed::Absent => None,
            Observed::Unknown(gap) => {
                if gap.why == GapReason::NotYet {
                    self.asks.push(gap.ask);
                }
                None
            }
        }
    }

    fn want(&mut self, ask: &Ask) {
        if let Observed::Unknown(gap) = self.facts.look(ask)
            && gap.why == GapReason::NotYet
        {
            self.asks.push(gap.ask);
        }
    }
}

/// nginx titles its master `nginx: master process COMMAND LINE`; a single process keeps its own arguments.
fn is_master(process: &Process, list: &ProcessList) -> bool {
    let title = process.argv.first().map_or("", String::as_str);
    if title.contains(": master process") {
        return is_gateway_name(title.split(':').next().unwrap_or(""));
    }
    let is_titled = title.contains(": worker process")
        || title.contains(": cache ")
        || title.contains("is shutting down");
    let parent_is_gateway = list.get(process.parent).is_some_and(|parent| is_gateway_name(&parent.comm));
    !is_titled && !parent_is_gateway && is_gateway_name(&process.comm) && !is_short_lived(process)
}

/// `nginx -t`, `-T`, `-s reload`, `-v`: a command and no server.
fn is_short_lived(process: &Process) -> bool {
    process.argv.iter().skip(1).any(|argument| {
        matches!(argument.as_str(), "-t" | "-T" | "-v" | "-V" | "-h" | "-?" | "-s")
            || argument.starts_with("-s")
    })
}

fn is_gateway_name(name: &str) -> bool {
    matches!(name, "nginx" | "openresty" | "angie" | "tengine" | "freenginx" | "nginx-debug")
}

fn is_worker(process: &Process, master: u32) -> bool {
    let title = process.argv.first().map_or("", String::as_str);
    process.parent == master && title.contains(": worker process") && !title.contains("shutting down")
}

/// The options of a master's command line.
#[derive(Debug, Default)]
struct Options {
    config: Option<String>,
    prefix: Option<String>,
}

impl Options {
    fn of(master: &Process) -> Self {
        let title = master.argv.first().map_or("", String::as_str);
        // The title holds the arguments joined by spaces (`ngx_master_process_cycle`).
        let arguments: Vec<&str> = match title.split_once(": master process ") {
            Some((_, command)) => command.split(' ').collect(),
            None => master.argv.iter().map(String::as_str).collect(),
        };
        let value_of = |option: &str| {
            let at = arguments.iter().position(|argument| argument.starts_with(option))?;
            let glued = &arguments[at][option.len()..];
            let value = if glued.is_empty() { arguments.get(at + 1).copied() } else { Some(glued) };
            value.map(str::to_owned)
        };
        Self { config: value_of("-c"), prefix: value_of("-p") }
    }
}

/// What a binary's strings tell.
#[derive(Debug, Default)]
struct Build {
    flavour: String,
    version: Option<Version>,
    version_text: Option<String>,
    compiled: CompiledIn,
}

fn read_build(strings: &[String]) -> Build {
    let mut build = Build { flavour: "nginx".to_owned(), ..Build::default() };
    for text in strings {
        // `nginx version: nginx/1.22.1`, `nginx version: openresty/1.25.3.1`, `Angie version: Angie/1.13.0`.
        if let Some((_, version)) = text.split_once(" version: ")
            && let Some((flavour, number)) = version.lines().next().unwrap_or("").trim().split_once('/')
        {
            let number = number.split_ascii_whitespace().next().unwrap_or("");
            build.flavour = flavour.to_ascii_lowercase();
            build.version_text = Some(number.to_owned());
            // Angie numbers its own way: which nginx it behaves as cannot be read from that.
            build.version = if build.flavour == "angie" { None } else { number.parse().ok() };
        }
        if let Some((_, arguments)) = text.split_once("configure arguments:") {
            build.compiled = read_arguments(arguments);
        }
    }
    build
}

fn read_arguments(arguments: &str) -> CompiledIn {
    let value_of = |option: &str| {
        let found = arguments
            .split_ascii_whitespace()
            .find_map(|argument| argument.strip_prefix(option)?.strip_prefix('='));
        found.map(|value| value.trim_matches('\'').to_owned())
    };
    let prefix = value_of("--prefix").unwrap_or_else(|| "/usr/local/nginx".to_owned());
    let path = |option: &str, default: &str| {
        let value = value_of(option).unwrap_or_else(|| default.to_owned());
        Some(if value == "stderr" { value } else { absolute(&value, &prefix) })
    };
    CompiledIn {
        config: path("--conf-path", "conf/nginx.conf"),
        error_log: path("--error-log-path", "logs/error.log"),
        access_log: path("--http-log-path", "logs/access.log"),
        prefix: Some(prefix.clone()),
    }
}

/// A path relative to the prefix (`ngx_get_full_name`).
fn absolute(path: &str, prefix: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", prefix.trim_end_matches('/')) }
}
