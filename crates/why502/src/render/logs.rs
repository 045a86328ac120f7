//! The survey of logs for people: a page of 80 columns.

mod html;

pub(crate) use self::html::logs_html;

use super::escape::terminal;
use super::lines::{cut, grouped, shorten, wrap};
use anstyle::{AnsiColor, Style};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;
use why502_diagnose::{
    Burst, Cluster, Count, Ejection, Family, Group, LogInfo, LogInfoKind, LogsReport, Maker, Percentiles,
    StatusCount, Timeline,
};

/// The width that every line keeps to.
const WIDTH: usize = 80;
/// So many rows of each list are shown, unless everything is wanted.
const MAX_ROWS: usize = 10;
/// The heights of a column of the timeline.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How the page looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogsStyle {
    /// Whether it is coloured.
    pub(crate) color: bool,
    /// Whether all rows are shown.
    pub(crate) verbose: bool,
}

/// The page.
pub(crate) fn logs_text(report: &LogsReport, style: LogsStyle) -> String {
    let mut page = Page { style, text: String::new() };
    page.headline(report);
    for log in &report.logs {
        page.log(log);
    }
    page.list(
        "made by",
        report.made_by.iter().map(|count| {
            vec![format!(
                "{:>9}  {}  {}",
                grouped(count.requests),
                maker(count.maker),
                statuses(&count.statuses)
            )]
        }),
    );
    page.timeline(&report.timeline);
    page.list("groups", report.groups.iter().map(group_lines));
    page.list("a timer ends them", report.clusters.iter().map(cluster_lines));
    page.list("bursts", report.bursts.iter().map(|burst| vec![burst_line(burst)]));
    page.list("peers taken out", report.ejections.iter().map(|ejection| vec![ejection_line(ejection)]));
    page.list("hidden from clients", hidden_lines(report).into_iter().map(|line| vec![line]));
    for (title, counts) in [
        ("top routes", &report.top.routes),
        ("top paths", &report.top.paths),
        ("top peers", &report.top.peers),
        ("top clients", &report.top.clients),
        ("top user agents", &report.top.user_agents),
    ] {
        page.list(title, counts.iter().map(|count| vec![count_line(count)]));
    }
    for note in &report.notes {
        page.wrapped(&format!("note: {note}"));
    }
    page.text
}

struct Page {
    style: LogsStyle,
    text: String,
}

impl Page {
    fn headline(&mut self, report: &LogsReport) {
        let headline = headline(report);
        let bold = Style::new().bold().fg_color((report.failed > 0).then_some(AnsiColor::Red.into()));
        self.styled(&headline, bold);
        if let (Some(from), Some(to)) = (&report.from, &report.to) {
            self.line(&format!("  from {from} to {to}"));
        }
    }

    fn log(&mut self, log: &LogInfo) {
        let name = log.files.last().map_or("", String::as_str);
        let others = match log.files.len() {
            0 | 1 => String::new(),
            n => format!(" and {} older", n - 1),
        };
        let kind = match log.kind {
            LogInfoKind::Access => "access",
            LogInfoKind::Error => "error",
        };
        let size = format!(": {} lines, {}", grouped(log.lines), bytes(log.bytes));
        self.line(&shorten(&format!("  {kind} log {}{others}{size}", terminal(name)), WIDTH, &[]));
        if let (Some(format), true) = (&log.format, log.guessed) {
            self.line(&cut(&format!("    format recognised: {}", terminal(format)), WIDTH));
        }
        if log.unparsed > 0 {
            self.line(&format!("    {} lines do not fit it, such as", grouped(log.unparsed)));
            for example in log.unparsed_examples.iter().take(if self.style.verbose { 5 } else { 1 }) {
                self.line(&cut(&format!("      {}", terminal(example)), WIDTH));
            }
        }
        if log.sampled {
            self.line("    too many failures to keep each: alike ones are counted together");
        }
    }

    fn timeline(&mut self, timeline: &Timeline) {
        let Some(from) = &timeline.from else { return };
        let most = timeline.failed.iter().copied().max().unwrap_or(0);
        self.title(&format!(
            "when (a column is {}, the highest {}; from {from})",
            width(timeline.seconds),
            grouped(most)
        ));
        let bars = |counts: &[u64], most| counts.iter().map(|count| bar(*count, most)).collect::<String>();
        self.line(&format!("  {}", bars(&timeline.failed, most)));
        if let Some(requests) = &timeline.requests {
            let most = requests.iter().copied().max().unwrap_or(0);
            self.line(&format!("  {}", bars(requests, most)));
            self.line(&format!("  (all requests, the highest {})", grouped(most)));
        }
    }

    /// A list of rows, each of one line or more.
    fn list(&mut self, title: &str, rows: impl Iterator<Item = Vec<String>>) {
        let rows: Vec<Vec<String>> = rows.collect();
        if rows.is_empty() {
            return;
        }
        self.title(title);
        let shown = if self.style.verbose { rows.len() } else { MAX_ROWS };
        for line in rows.iter().take(shown).flatten() {
            self.line(&cut(&terminal(line), WIDTH));
        }
        if rows.len() > shown {
            self.line(&format!("  … {} more with --verbose", rows.len() - shown));
        }
    }

    fn title(&mut self, title: &str) {
        self.text.push('\n');
        self.styled(title, Style::new().bold());
    }

    fn wrapped(&mut self, text: &str) {
        for (place, line) in wrap(text, WIDTH - 2).iter().enumerate() {
            if place == 0 {
                self.text.push('\n');
            }
            self.line(&format!("{}{line}", if place == 0 { "" } else { "  " }));
        }
    }

    fn styled(&mut self, text: &str, style: Style) {
        if self.style.color {
            let _ = writeln!(self.text, "{style}{text}{style:#}");
        } else {
            self.line(text);
        }
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }
}

/// How many requests failed, and of how many.
fn headline(report: &LogsReport) -> String {
    let of = match report.requests {
        Some(all) if all >= report.failed => {
            format!("of {} requests failed{}", grouped(all), share(report.failed, all))
        }
        // An error log may reach further back.
        Some(all) => format!("requests failed; the access log has {}", grouped(all)),
        None => "requests failed, of how many no access log tells".to_owned(),
    };
    format!("{} {of}", grouped(report.failed))
}

fn group_lines(group: &Group) -> Vec<String> {
    let mut what: Vec<String> =
        group.family.map(|family| family_words(family).to_owned()).into_iter().collect();
    what.extend(group.status.map(|status| status.to_string()));
    what.extend([&group.route, &group.upstream, &group.peer, &group.client].into_iter().flatten().cloned());
    let head = format!("{:>9}  ", grouped(group.requests));
    let share = group.of.map_or_else(String::new, |of| share(group.requests, of));
    let tail = format!(
        "{}{}",
        share,
        if group.family.is_none() { format!("  {}", statuses(&group.statuses)) } else { String::new() }
    );
    let room = WIDTH.saturating_sub(head.width() + tail.width());
    let mut lines = vec![format!("{head}{}{tail}", cut(&what.join("  "), room))];
    let span = if group.first == group.last {
        group.first.clone()
    } else {
        format!("{} – {}", group.first, group.last)
    };
    lines.push(format!("           {span}"));
    if let Some((name, percentiles)) = group.times.named().next_back() {
        lines.push(format!("           {name} {}", percentiles_words(percentiles)));
    }
    lines
}

fn percentiles_words(percentiles: Percentiles) -> String {
    format!(
        "p50 {} p95 {} p99 {}",
        milliseconds(percentiles.p50_ms),
        milliseconds(percentiles.p95_ms),
        milliseconds(percentiles.p99_ms)
    )
}

fn cluster_lines(cluster: &Cluster) -> Vec<String> {
    let route = cluster.route.as_deref().unwrap_or("several routes");
    let head = format!(
        "{:>9}  of {} took {}: {}  {route}",
        grouped(cluster.requests),
        grouped(cluster.of),
        milliseconds(cluster.ms),
        family_words(cluster.family)
    );
    let timers = cluster.timers.iter().flat_map(|timer| wrap(timer, WIDTH - 13).into_iter().enumerate());
    let indented = timers
        .map(|(place, line)| format!("{}{line}", if place == 0 { "           " } else { "             " }));
    std::iter::once(head).chain(indented).collect()
}

fn burst_line(burst: &Burst) -> String {
    let after = burst.after.as_ref().map_or_else(String::new, |after| format!("  after {after}"));
    format!("{:>9}  {} – {}{after}", grouped(burst.requests), burst.from, burst.to)
}

fn ejection_line(ejection: &Ejection) -> String {
    let how = if ejection.told { "said by nginx" } else { "as its failures tell" };
    let scope = if ejection.per_worker { ", in some workers" } else { "" };
    format!("  {}  {} – {} ({how}{scope})", ejection.peer, ejection.from, ejection.to)
}

fn hidden_lines(report: &LogsReport) -> Vec<String> {
    if report.hidden.requests == 0 {
        return Vec::new();
    }
    let saved =
        format!("{:>9}  saved by a retry, a fallback or a stale answer", grouped(report.hidden.requests));
    std::iter::once(saved)
        .chain(
            report
                .hidden
                .peers
                .iter()
                .map(|count| format!("{:>9}  failed on {}", grouped(count.requests), count.name)),
        )
        .collect()
}

fn count_line(count: &Count) -> String {
    format!("{:>9}  {}", grouped(count.requests), count.name)
}

fn statuses(counts: &[StatusCount]) -> String {
    let one = |count: &StatusCount| {
        let status = if count.status == 0 { "none".to_owned() } else { format!("{:03}", count.status) };
        if counts.len() == 1 { status } else { format!("{status} ×{}", grouped(count.requests)) }
    };
    counts.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn maker(maker: Maker) -> &'static str {
    match maker {
        Maker::Gateway => "nginx, since an attempt failed",
        Maker::Upstream => "the upstream itself",
        Maker::NoAttempt => "nginx, without an attempt",
        Maker::Cache => "the cache",
        Maker::Client => "the client",
        Maker::NotTold => "not told by these logs",
    }
}

fn family_words(family: Family) -> &'static str {
    match family {
        Family::AnswerInvalid => "invalid answer",
        Family::AnswerTimedOut => "no answer in time",
        Family::Cached => "cached error",
        Family::ClientLeft => "client left",
        Family::Closed => "closed before an answer",
        Family::ConnectFailed => "no connection",
        Family::ConnectTimedOut => "no connection in time",
        Family::CutOff => "answer cut off",
        Family::DiskFull => "disk full",
        Family::FileNotWritable => "file not writable",
        Family::HeaderTooBig => "header too big",
        Family::Limited => "refused by a limit",
        Family::LocalTrouble => "nginx lacked something",
        Family::NoPeerLeft => "no peer left",
        Family::NoTarget => "no address",
        Family::NoUsableAnswer => "no usable answer",
        Family::NotTold => "not told",
        Family::OutOfConnections => "no worker connection left",
        Family::OutOfFiles => "too many open files",
        Family::OwnAnswer => "nginx's own answer",
        Family::Refused => "connection refused",
        Family::Reset => "connection reset",
        Family::SendTimedOut => "not sent in time",
        Family::TlsFailed => "TLS failed",
        Family::UpstreamAnswer => "upstream's own answer",
    }
}

/// ` (1.2 %)`, with as many digits as tell something.
fn share(part: u64, all: u64) -> String {
    if all == 0 {
        return String::new();
    }
    // Integers only: per mille, rounded down, and at least said to be little.
    let per_mille = u128::from(part) * 1000 / u128::from(all);
    match per_mille {
        0 if part > 0 => " (< 0.1 %)".to_owned(),
        _ => format!(" ({}.{} %)", per_mille / 10, per_mille % 10),
    }
}

fn bar(count: u64, most: u64) -> char {
    if count == 0 {
        return ' ';
    }
    let height = (count * BARS.len() as u64).div_ceil(most.max(1)).clamp(1, BARS.len() as u64);
    BARS[usize::try_from(height - 1).unwrap_or(0)]
}

fn width(seconds: u32) -> String {
    match seconds {
        s if s < 60 => format!("{s} s"),
        s if s < 3600 => format!("{} min", s / 60),
        s if s < 24 * 3600 => format!("{} h", s / 3600),
        s => format!("{} d", s / (24 * 3600)),
    }
}

fn milliseconds(ms: u32) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{:03} s", ms / 1000, ms % 1000) }
}

/// A number of bytes in the largest unit that it fills.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let (mut tenths, mut unit) = (count / 100, 0);
    if count < 1000 {
        return format!("{count} bytes");
    }
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([bytes(999), bytes(1_500), bytes(2_100_000_000)], ["999 bytes", "1.5 kB", "2.1 GB"]);
        assert_eq!(
            [share(1, 0), share(0, 9), share(1, 9999), share(26, 1000)],
            ["", " (0.0 %)", " (< 0.1 %)", " (2.6 %)"]
        );
        assert_eq!([bar(0, 9), bar(1, 900), bar(900, 900)], [' ', '▁', '█']);
    }
}
