//! The model of a bundle: its gateways, their logs and windows, and what is still wanted.

use crate::nginx::{build_gateway, find_instances, title};
use crate::{Gateway, LogContent, LogSink, LogTarget};
use std::time::Duration;
use why502_facts::{
    AccessWriting, Ask, Facts, FailedRequest, GapReason, LogClock, LogClockSource, LogKind, LogSlice,
    Observed, Outcome, Stamp, View,
};

/// How far failures around a moment count, on either side.
const AROUND: Duration = Duration::from_mins(30);

/// What the facts tell of the gateways.
#[derive(Clone, Debug)]
pub struct Model {
    /// The gateways to judge.
    pub gateways: Vec<Gateway>,
    /// What is still wanted: once these are answered, the model is built again.
    pub asks: Vec<Ask>,
    /// The window in which failures count.
    pub window: Window,
    /// The window that the logs were read for.
    pub recorded: Window,
    /// Remarks for the report: other instances, how options were understood.
    pub notes: Vec<String>,
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The begin; `None`: as far back as there is anything.
    pub from: Option<Stamp>,
    /// The end.
    pub to: Stamp,
}

impl Window {
    /// The window around a moment.
    fn around(moment: Stamp) -> Self {
        Self { from: Some(moment.before(AROUND)), to: moment.after(AROUND) }
    }

    /// Whether it reaches as far as another one.
    fn holds(self, other: Self) -> bool {
        let reaches_back = match (self.from, other.from) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own <= other,
        };
        reaches_back && other.to <= self.to
    }
}

impl Model {
    /// Builds the model as far as the facts go.
    pub fn build(facts: &Facts) -> Self {
        let found = find_instances(facts);
        let mut asks = found.asks;
        let mut gateways = Vec::new();
        for instance in found.instances {
            let (gateway, wanted) = build_gateway(facts, instance);
            asks.extend(wanted);
            gateways.push(gateway);
        }
        let mut notes = found.notes;
        if asks.is_empty() {
            notes.extend(keep_serving(facts, &mut gateways));
        }
        let recorded = window(facts, &gateways);
        let window = facts.view.map_or(recorded, |view| seen(facts, recorded, view));
        if !recorded.holds(window) {
            notes.push(match recorded.from {
                Some(from) => format!("the bundle holds the logs from {from} to {} only", recorded.to),
                None => format!("the bundle holds the logs up to {} only", recorded.to),
            });
        }
        let mut model = Self { gateways, asks, window, recorded, notes };
        let wanted: Vec<Ask> =
            model.gateways.iter().flat_map(|gateway| model.wanted_of(facts, gateway)).collect();
        model.asks.extend(wanted);
        model.asks.sort();
        model.asks.dedup();
        model
    }

    /// The logs of a gateway: those that the options name, or those of its configuration, of another host's files only
    /// where a prefix was given.
    pub fn logs(facts: &Facts, gateway: &Gateway) -> Vec<(String, LogKind)> {
        let invocation = &facts.manifest.invocation;
        // Offline a configured path is another host's, unless it lies in the prefix that was given with it.
        let is_here = |path: &str| {
            let within = || path.strip_prefix(invocation.prefix.as_deref()?.trim_end_matches('/'));
            !invocation.offline || within().is_some_and(|rest| rest.starts_with('/'))
        };
        let of_config = |wanted: fn(&LogContent) -> bool| {
            let sinks = gateway.logs.iter().filter(move |sink| wanted(&sink.content));
            sinks.filter_map(log_of_sink).filter(|(path, _)| is_here(path)).collect::<Vec<_>>()
        };
        let mut logs: Vec<(String, LogKind)> = match invocation.error_logs.as_slice() {
            [] => of_config(|content| matches!(content, LogContent::Error { .. })),
            given => given.iter().map(|path| (path.clone(), LogKind::Error)).collect(),
        };
        match invocation.access_logs.as_slice() {
            [] => logs.extend(of_config(|content| matches!(content, LogContent::Access { .. }))),
            given => {
                logs.extend(given.iter().map(|path| (path.clone(), given_access_kind(facts, gateway, path))));
            }
        }
        logs.sort();
        logs.dedup();
        logs
    }

    /// The asks for the ends of a gateway's logs.
    pub fn log_tails(facts: &Facts, gateway: &Gateway) -> Vec<Ask> {
        let tail = |(path, kind): (String, LogKind)| {
            let root = gateway.root_of_log(&path);
            Ask::LogTail { root, path, owner: gateway.owner(), kind }
        };
        Self::logs(facts, gateway).into_iter().map(tail).collect()
    }

    /// The asks for the window of a gateway's logs.
    pub fn log_slices(&self, facts: &Facts, gateway: &Gateway) -> Vec<Ask> {
        let invocation = &facts.manifest.invocation;
        let to = invocation.around.or(invocation.until).map(|_| self.recorded.to);
        Self::slices(facts, gateway, (self.recorded.from, to))
    }

    /// The asks for what a gateway's logs hold before a window without failures.
    fn look_back(facts: &Facts, gateway: &Gateway, window: &[Ask]) -> Vec<Ask> {
        if facts.manifest.invocation.around.is_some() {
            return Vec::new();
        }
        let is_read = |ask: &&Ask| facts.look(ask).known().is_some();
        let is_open =
            |ask: &Ask| matches!(facts.look(ask), Observed::Unknown(gap) if gap.why == GapReason::NotYet);
        let is_failed = |request: &FailedRequest| request.outcome == Outcome::Failed;
        if window.iter().any(is_open) || facts.failed_requests(&gateway.owner()).iter().any(is_failed) {
            return Vec::new();
        }
        let before = window.iter().filter(is_read).filter_map(|ask| match ask {
            Ask::Log(slice) => slice.look_back().map(Ask::Log),
            _ => None,
        });
        before.collect()
    }

    fn slices(facts: &Facts, gateway: &Gateway, (from, to): (Option<Stamp>, Option<Stamp>)) -> Vec<Ask> {
        let owner = gateway.owner();
        let clock =
            facts.clock(&owner).unwrap_or(LogClock { offset_seconds: 0, source: LogClockSource::Assumed });
        let slice = |(path, kind): (String, LogKind)| {
            let (root, owner) = (gateway.root_of_log(&path), owner.clone());
            Ask::Log(LogSlice { root, path, owner, kind, from, to, clock, max_bytes: None })
        };
        Self::logs(facts, gateway).into_iter().map(slice).collect()
    }

    fn wanted_of(&self, facts: &Facts, gateway: &Gateway) -> Vec<Ask> {
        let is_wanted =
            |ask: &Ask| matches!(facts.look(ask), Observed::Unknown(gap) if gap.why == GapReason::NotYet);
        // A configuration that is still being read may name further logs.
        if !self.asks.iter().all(|ask| !matches!(ask, Ask::File { .. } | Ask::Glob { .. })) {
            return Vec::new();
        }
        let mut wanted = Vec::new();
        wanted.push(Ask::Sockets { pid: gateway.master });
        let tails = Self::log_tails(facts, gateway);
        let slices = if tails.iter().any(is_wanted) { Vec::new() } else { self.log_slices(facts, gateway) };
        wanted.extend(Self::look_back(facts, gateway, &slices));
        wanted.extend(tails);
        wanted.extend(slices);
        wanted.retain(is_wanted);
        wanted
    }
}

/// Of several gateways, a URL wants the one that serves it: by its name and port, else by its port alone. The others are
/// noted and left out; where none can be told apart, all stay.
fn keep_serving(facts: &Facts, gateways: &mut Vec<Gateway>) -> Vec<String> {
    let url = facts.manifest.invocation.url.as_deref().filter(|_| gateways.len() > 1);
    let Some((scheme, rest)) = url.and_then(|url| url.split_once("://")) else { return Vec::new() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let default_port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(default_port);
    let mut ranks: Vec<u8> = gateways.iter().map(|gateway| gateway.serves(authority, port)).collect();
    let best = ranks.iter().copied().max().unwrap_or(0);
    if best == 0 || ranks.iter().all(|rank| *rank == best) {
        return Vec::new();
    }
    let left_out = gateways.iter().zip(&ranks).filter(|(_, rank)| **rank < best);
    let notes = left_out.map(|(gateway, _)| {
        format!(
            "another {} runs here and does not serve the URL: {}",
            gateway.flavour,
            title(gateway.master, &gateway.config)
        )
    });
    let notes = notes.collect();
    let mut ranks = ranks.drain(..);
    gateways.retain(|_| ranks.next() == Some(best));
    notes
}

fn log_of_sink(sink: &LogSink) -> Option<(String, LogKind)> {
    let LogTarget::File(path) = &sink.target else { return None };
    Some((
        path.clone(),
        match &sink.content {
            LogContent::Access { format, writing } => {
                LogKind::Access { format: format.clone(), writing: *writing }
            }
            LogContent::Error { .. } => LogKind::Error,
        },
    ))
}

/// A given access log has the format of the options, that of the log of the same name in the configuration, or the only
/// one that the configuration has; else it is recognised.
fn given_access_kind(facts: &Facts, gateway: &Gateway, path: &str) -> LogKind {
    let kinds = |wanted: &dyn Fn(&str) -> bool| {
        let mut found: Vec<_> = gateway
            .logs
            .iter()
            .filter_map(|sink| match (&sink.target, &sink.content) {
                (LogTarget::File(own), LogContent::Access { format: Some(format), writing })
                    if wanted(own) =>
                {
                    Some((format.clone(), *writing))
                }
                // A path with variables stands for many files.
                (LogTarget::Elsewhere(text), LogContent::Access { format: Some(format), writing })
                    if text.contains('$') && wanted(text) =>
                {
                    Some((format.clone(), *writing))
                }
                _ => None,
            })
            .collect();
        found.sort();
        found.dedup();
        found
    };
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let given = name(path);
    let same_name = kinds(&|own| is_named_by(&name(own), &given));
    let candidates = if same_name.is_empty() { kinds(&|_| true) } else { same_name };
    let (format, writing) = match candidates.as_slice() {
        [(format, writing)] => (Some(format.clone()), *writing),
        _ => (None, AccessWriting::default()),
    };
    LogKind::Access { format: facts.manifest.invocation.log_format.clone().or(format), writing }
}

/// Whether a file's name is one that a configured name, which may hold variables, stands for.
fn is_named_by(configured: &str, name: &str) -> bool {
    let mut parts = configured.split('$');
    let Some(mut rest) = parts.next().and_then(|begin| name.strip_prefix(begin)) else { return false };
    let mut is_open = false;
    for part in parts {
        let end = |byte: char| !(byte.is_ascii_alphanumeric() || byte == '_');
        let constant = match part.strip_prefix('{') {
            Some(braced) => braced.split_once('}').map_or("", |(_, constant)| constant),
            None => part.find(end).map_or("", |at| &part[at..]),
        };
        let Some(at) = rest.find(constant) else { return false };
        rest = &rest[at + constant.len()..];
        is_open = constant.is_empty();
    }
    rest.is_empty() || is_open
}

/// The part of a recorded window that is wanted.
fn seen(facts: &Facts, recorded: Window, view: View) -> Window {
    let since = match view {
        View::Around(moment) => return Window::around(moment),
        View::Since(since) => since,
    };
    // What was recorded around a moment is not the last of anything.
    let to =
        if facts.manifest.invocation.around.is_some() { facts.manifest.captured_at } else { recorded.to };
    Window { from: since.map(|since| to.before(since)), to }
}

/// From now on a live host, from the newest stamp in the files of another one.
fn window(facts: &Facts, gateways: &[Gateway]) -> Window {
    let invocation = &facts.manifest.invocation;
    if let Some(moment) = invocation.around {
        return Window::around(moment);
    }
    let newest = gateways.iter().filter_map(|gateway| facts.newest(&gateway.owner())).max();
    let to = match invocation.until {
        Some(until) => until,
        None if invocation.offline => newest.unwrap_or(facts.manifest.captured_at),
        None => facts.manifest.captured_at,
    };
    Window { from: invocation.since.map(|since| to.before(since)), to }
}
