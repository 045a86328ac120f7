//! What became of a target for people: each step as a bar in time, in 80 columns.

use super::escape::terminal;
use super::lines::{cut, grouped, wrap};
use anstyle::{AnsiColor, Style};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;
use why502_diagnose::{
    ActionKind, Conversation, StepTimes, StepVerdict, TargetInfo, TargetKind, TargetPeer, TargetReport,
    TargetStep,
};

/// The width that every line keeps to.
const WIDTH: usize = 80;
/// The width of the bars.
const BARS: usize = 16;
/// Where the words of a step begin.
const WORDS_AT: usize = 42;
/// So many peers are shown step by step, unless everything is wanted.
const MAX_IN_FULL: usize = 4;
/// The widest that a column of addresses becomes.
const MAX_ADDRESS: usize = 28;

/// How the page looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProbeStyle {
    /// Whether it is coloured.
    pub(crate) color: bool,
    /// Whether every conversation is shown.
    pub(crate) verbose: bool,
}

/// The page.
pub(crate) fn probe_text(report: &TargetReport, style: ProbeStyle) -> String {
    let mut page = Page { style, text: String::new() };
    page.headline(report);
    if report.peers.len() > MAX_IN_FULL && !style.verbose {
        page.list(&report.peers);
    } else {
        for peer in &report.peers {
            page.peer(peer);
        }
    }
    if !report.notes.is_empty() {
        page.line("");
    }
    for note in &report.notes {
        page.wrapped("note: ", note);
    }
    let sent = sent(report);
    if !sent.is_empty() {
        page.wrapped("sent: ", &sent);
    }
    page.text
}

struct Page {
    style: ProbeStyle,
    text: String,
}

impl Page {
    fn headline(&mut self, report: &TargetReport) {
        let color = match report.verdict {
            StepVerdict::Ok => AnsiColor::Green,
            StepVerdict::Unknown => AnsiColor::Yellow,
            StepVerdict::Fail => AnsiColor::Red,
        };
        let headline = format!("{}: {}", terminal(&report.target.text), outcome(report));
        self.styled(&cut(&headline, WIDTH), Style::new().bold().fg_color(Some(color.into())));
        if let Some(what) = understood(&report.target) {
            self.wrapped("  ", &what);
        }
        self.wrapped("  ", &report.place.says);
    }

    /// One line per peer.
    fn list(&mut self, peers: &[TargetPeer]) {
        self.line("");
        let names: Vec<String> = peers.iter().map(name).collect();
        let width = names.iter().map(|name| name.width()).max().unwrap_or(0).min(MAX_ADDRESS);
        for (peer, name) in peers.iter().zip(&names) {
            let name = cut(name, width);
            let pad = width.saturating_sub(name.width());
            let line = format!(" {name}{}  {}{}", " ".repeat(pad), terminal(&peer.says), role(peer));
            let mark = self.mark(peer.verdict);
            self.line(&format!("  {mark}{}", cut(&line, WIDTH - 3)));
        }
    }

    /// A peer step by step.
    fn peer(&mut self, peer: &TargetPeer) {
        self.line("");
        let mark = self.mark(peer.verdict);
        let line = format!(" {}{}", name(peer), role(peer));
        self.line(&format!("{mark}{}", cut(&line, WIDTH - 1)));
        if peer.conversations.is_empty() {
            self.wrapped("  ", &peer.says);
            return;
        }
        for conversation in shown(peer, self.style.verbose) {
            if self.style.verbose && peer.conversations.len() > 1 {
                self.line(&format!("  {}", title(conversation)));
            }
            self.waterfall(conversation);
        }
        // One conversation says it all by itself.
        if peer.verdict == StepVerdict::Fail && peer.conversations.len() > 1 {
            self.wrapped("  = ", &peer.says);
        }
        if peer.times.iter().any(|times| times.runs > 1) {
            self.times(&peer.times);
        }
    }

    fn waterfall(&mut self, conversation: &Conversation) {
        let end = |step: &TargetStep| step.start_micros + step.micros.unwrap_or(0);
        let total = conversation.steps.iter().map(end).max().unwrap_or(0);
        for step in &conversation.steps {
            let time = step.micros.map(milliseconds).unwrap_or_default();
            let bar = step.micros.map(|micros| bar(step.start_micros, micros, total)).unwrap_or_default();
            let begin = format!("  {:<9}{time:>9}  {bar:<BARS$}  ", step.kind.name());
            let mark = self.mark(step.verdict);
            let mut words = wrap(&terminal(&step.says), WIDTH - WORDS_AT).into_iter();
            let first = words.next().unwrap_or_default();
            let _ = writeln!(
                self.text,
                "{}",
                format!("{begin}{mark} {}", cut(&first, WIDTH - WORDS_AT)).trim_end()
            );
            for more in words {
                self.line(&format!("{}{}", " ".repeat(WORDS_AT), cut(&more, WIDTH - WORDS_AT)));
            }
        }
    }

    fn times(&mut self, times: &[StepTimes]) {
        self.line(&format!("  {:<9}{:>9}  {:>9}  {:>9}  runs", "", "fastest", "median", "slowest"));
        for own in times {
            let [min, median, max] = [own.min_micros, own.median_micros, own.max_micros].map(milliseconds);
            let line = format!("  {:<9}{min:>9}  {median:>9}  {max:>9}  {}", own.kind.name(), own.runs);
            self.line(&line);
        }
    }

    fn mark(&self, verdict: StepVerdict) -> String {
        let (mark, color) = match verdict {
            StepVerdict::Ok => ('✓', AnsiColor::Green),
            StepVerdict::Unknown => ('?', AnsiColor::Yellow),
            StepVerdict::Fail => ('✗', AnsiColor::Red),
        };
        let style = Style::new().bold().fg_color(Some(color.into()));
        if self.style.color { format!("{style}{mark}{style:#}") } else { mark.to_string() }
    }

    fn wrapped(&mut self, begin: &str, text: &str) {
        let indent = " ".repeat(begin.width());
        for (at, line) in wrap(&terminal(text), WIDTH - begin.width()).iter().enumerate() {
            let begin = if at == 0 { begin } else { &indent };
            self.line(&format!("{begin}{}", cut(line, WIDTH - begin.width())));
        }
    }

    fn styled(&mut self, line: &str, style: Style) {
        if self.style.color {
            self.line(&format!("{style}{line}{style:#}"));
        } else {
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

/// What it comes to.
fn outcome(report: &TargetReport) -> String {
    let TargetReport { answered, failed, unknown, peers, .. } = report;
    match (peers.as_slice(), report.verdict) {
        ([], _) => "no address is known".to_owned(),
        ([peer], StepVerdict::Ok) => peer
            .speaks
            .as_ref()
            .map_or("connected".to_owned(), |speaks| format!("answers, {}", terminal(speaks))),
        ([peer], StepVerdict::Fail) => format!("fails: {}", terminal(&peer.says)),
        ([_], StepVerdict::Unknown) => "could not be tried".to_owned(),
        (all, _) => {
            let mut text =
                format!("{} of {} addresses answer", grouped(*answered), grouped(all.len() as u64));
            if *failed > 0 {
                let _ =
                    write!(text, ", {} {}", grouped(*failed), if *failed == 1 { "fails" } else { "fail" });
            }
            if *unknown > 0 {
                let _ = write!(text, ", {} could not be tried", grouped(*unknown));
            }
            text
        }
    }
}

/// How a target was understood, where the configuration has it.
fn understood(target: &TargetInfo) -> Option<String> {
    let (file, line) = (target.file.as_ref()?, target.line?);
    let what = match (target.kind, &target.upstream) {
        (TargetKind::Route, _) => {
            let server = target.server.as_deref().filter(|server| !server.is_empty());
            let location = target.location.as_deref().unwrap_or("the server itself");
            match server {
                Some(server) => format!("{server} {location}, passed on"),
                None => format!("{location}, passed on"),
            }
        }
        (_, Some(upstream)) => format!("upstream {upstream}"),
        (_, None) => "written".to_owned(),
    };
    Some(format!("{what} at {file}:{line}"))
}

/// The conversations that are shown: the one that counts, or the first that failed; all of them if everything is wanted.
fn shown(peer: &TargetPeer, is_verbose: bool) -> Vec<&Conversation> {
    if is_verbose {
        return peer.conversations.iter().collect();
    }
    let counted = || peer.conversations.iter().filter(|own| !own.aside);
    let failed = counted().find(|own| own.verdict == StepVerdict::Fail);
    failed.or_else(|| counted().next_back()).into_iter().collect()
}

fn title(conversation: &Conversation) -> String {
    let aside = if conversation.aside { ", to see who speaks there" } else { "" };
    format!("run {}: {}{aside}", conversation.run, terminal(&conversation.spoken))
}

/// The address, and the name behind which it stands.
fn name(peer: &TargetPeer) -> String {
    match &peer.address {
        Some(address) if *address != peer.text => format!("{} ({})", terminal(address), terminal(&peer.text)),
        Some(address) => terminal(address),
        None => terminal(&peer.text),
    }
}

fn role(peer: &TargetPeer) -> &'static str {
    match (peer.down, peer.backup) {
        (true, _) => " (down: nginx does not dial it)",
        (false, true) => " (backup)",
        (false, false) => "",
    }
}

/// A bar in time; what is too short for a column is a thin line.
fn bar(start: u64, micros: u64, total: u64) -> String {
    let columns = BARS as u64;
    let total = total.max(1);
    let begin = (start * columns / total).min(columns - 1);
    let end = ((start + micros) * columns).div_ceil(total).clamp(begin + 1, columns);
    let is_short = micros * columns < total;
    let cell =
        if is_short { "▏".to_owned() } else { "█".repeat(usize::try_from(end - begin).unwrap_or(1)) };
    format!("{}{cell}", " ".repeat(usize::try_from(begin).unwrap_or(0)))
}

/// A time in the unit that suits it.
fn milliseconds(micros: u64) -> String {
    match micros {
        0..100_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        100_000..10_000_000 => format!("{} ms", micros / 1000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

/// What was sent, summed up.
fn sent(report: &TargetReport) -> String {
    let kinds = [
        (ActionKind::Resolve, "name", "names"),
        (ActionKind::Connect, "connection", "connections"),
        (ActionKind::Tls, "TLS handshake", "TLS handshakes"),
        (ActionKind::Request, "request", "requests"),
    ];
    let parts = kinds.iter().filter_map(|(kind, one, many)| {
        let count: u64 = report.actions.iter().filter(|own| own.kind == *kind).map(|own| own.count).sum();
        (count > 0).then(|| format!("{} {}", grouped(count), if count == 1 { one } else { many }))
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_lie_where_their_time_is() {
        assert_eq!(bar(0, 100, 100), "█".repeat(BARS));
        assert_eq!(bar(50, 50, 100), format!("{}{}", " ".repeat(8), "█".repeat(8)));
        assert_eq!(bar(99, 1, 100), format!("{}▏", " ".repeat(15)));
        assert_eq!(bar(0, 0, 0), "▏");
        for (start, micros) in [(0, 1), (3, 5), (7, 93), (100, 0)] {
            assert!(bar(start, micros, 100).chars().count() <= BARS);
        }
    }
}
