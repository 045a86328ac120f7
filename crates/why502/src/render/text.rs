//! The text report, in the manner of rustc: three lines that stand alone, then the argument, then what to do.

use super::escape::terminal;
use super::snippet;
use anstyle::{AnsiColor, Style};
use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};
use why502_diagnose::{
    ActionKind, Confidence, EvidenceInfo, FindingInfo, GapInfo, GapWhy, OriginInfo, RemedyInfo, Report, Risk,
    Role, StepInfo, Verdict,
};

/// So many columns of a log line are shown where it is only an example.
const MAX_EXAMPLE: usize = 200;

/// The width that every line keeps to.
const WIDTH: usize = 80;
/// The most lines for the first finding.
const MAX_LINES: usize = 24;
/// The most lines of a remedy.
const MAX_HELP_LINES: usize = 9;

/// How the text report looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TextStyle {
    /// Whether it is coloured.
    pub(crate) color: bool,
    /// Whether everything is told.
    pub(crate) verbose: bool,
}

/// The text report.
pub(crate) fn text(report: &Report, style: TextStyle) -> String {
    let mut page = Page { style, text: String::new() };
    match report.findings.split_first() {
        Some((first, others)) => {
            page.first_finding(report, first);
            for finding in others {
                page.further_finding(finding);
            }
        }
        None => page.headline(report.verdict, &summary(report)),
    }
    page.closing(report);
    page.text
}

/// One line for a chat.
pub(crate) fn oneline(report: &Report) -> String {
    let line = match report.findings.first() {
        Some(finding) => {
            format!(
                "{}: {} ({}, {}): {}",
                word(report.verdict),
                finding.title,
                finding.cause,
                confidence(finding),
                hit(report, finding)
            )
        }
        None => format!("{}: {}", word(report.verdict), summary(report)),
    };
    terminal(&line) + "\n"
}

struct Page {
    style: TextStyle,
    text: String,
}

impl Page {
    fn first_finding(&mut self, report: &Report, finding: &FindingInfo) {
        let begin = self.n_lines();
        self.headline(report.verdict, &finding.title);
        self.line(&format!("  {}", hit(report, finding)));
        self.line(&format!("  {}", todo(finding)));
        self.text.push('\n');
        if let Some(place) = finding.r#where.first() {
            let label = if finding.acts_on == why502_diagnose::ActsOn::Config { "change this" } else { "" };
            self.block(&snippet::draw(place, label, self.style.color));
        }
        let help = self.help_lines(finding);
        let room = (begin + MAX_LINES).saturating_sub(self.n_lines() + help.len().min(MAX_HELP_LINES) + 1);
        let notes = notes(report, finding, self.style.verbose);
        let n_shown = if self.style.verbose { notes.len() } else { notes.len().min(room) };
        for (name, says) in &notes[..n_shown] {
            self.note(name, says);
        }
        let n_help = if self.style.verbose { help.len() } else { help.len().min(MAX_HELP_LINES) };
        for line in &help[..n_help] {
            self.line(line);
        }
    }

    /// Two lines.
    fn further_finding(&mut self, finding: &FindingInfo) {
        let confidence = confidence(finding);
        self.text.push('\n');
        let kind = if finding.root { "also" } else { "note" };
        self.line(&format!("{kind}: {} ({}, {confidence})", finding.title, finding.cause));
        self.line(&format!("  {}", todo(finding)));
        if self.style.verbose {
            for (name, says) in finding.evidence.iter().map(evidence) {
                self.note(name, &says);
            }
            for line in self.help_lines(finding) {
                self.line(&line);
            }
        }
    }

    fn help_lines(&self, finding: &FindingInfo) -> Vec<String> {
        let n_remedies = if self.style.verbose { finding.remedies.len() } else { 1 };
        let mut lines = Vec::new();
        for remedy in finding.remedies.iter().take(n_remedies) {
            lines.push(format!("help: {} ({})", remedy.title, risk(remedy)));
            for step in &remedy.steps {
                lines.extend(step_lines(step));
            }
            if let Some(advice) = &remedy.advice {
                lines.extend(
                    wrap(&terminal(advice), WIDTH - 6).into_iter().map(|line| format!("      {line}")),
                );
            }
        }
        lines
    }

    /// What was left out, what was sent, and what could not be seen.
    fn closing(&mut self, report: &Report) {
        if report.unexplained.requests > 0 {
            let number = grouped(report.unexplained.requests);
            self.line(&format!("unexplained: {number} failed requests that nothing here accounts for"));
            let n_examples = if self.style.verbose { 3 } else { 1 };
            for example in report.unexplained.examples.iter().take(n_examples) {
                self.line(&format!("  {}", cut(example, MAX_EXAMPLE)));
            }
        }
        for note in &report.notes {
            self.line(&format!("note: {note}"));
        }
        if let Some(sent) = sent(report) {
            self.line(&sent);
        }
        let telling = report.gaps.iter().filter(|gap| self.style.verbose || gap.why != GapWhy::NotAsked);
        let telling: Vec<&GapInfo> = telling.collect();
        let n_shown = if self.style.verbose { telling.len() } else { telling.len().min(3) };
        for gap in &telling[..n_shown] {
            self.line(&format!("not seen: {} ({})", gap.says, gap.topic));
        }
        if telling.len() > n_shown {
            self.line(&format!("not seen: {} more (--verbose)", telling.len() - n_shown));
        }
        if telling.iter().any(|gap| gap.why == GapWhy::Denied) {
            self.line("  as root it would be seen: sudo why502");
        }
    }

    fn headline(&mut self, verdict: Verdict, says: &str) {
        let style = match verdict {
            Verdict::Broken => AnsiColor::Red.on_default().bold(),
            Verdict::Inconclusive | Verdict::AtRisk => AnsiColor::Yellow.on_default().bold(),
            Verdict::Healthy | Verdict::Recovered => AnsiColor::Green.on_default().bold(),
        };
        let name = word(verdict);
        let rest = cut(&format!(": {}", terminal(says)), WIDTH - name.width());
        let painted = self.paint(name, style);
        let bold = self.paint(&rest, Style::new().bold());
        let _ = writeln!(self.text, "{painted}{bold}");
    }

    fn note(&mut self, name: &str, says: &str) {
        let label = format!("   = {name}: ");
        let says = terminal(says);
        let room = WIDTH - label.width();
        let lines = if self.style.verbose { wrap(&says, room) } else { vec![cut(&says, room)] };
        let indent = " ".repeat(label.width());
        let painted = self.paint(&label, Style::new().bold());
        for (at, line) in lines.iter().enumerate() {
            let _ = writeln!(self.text, "{}{line}", if at == 0 { &painted } else { &indent });
        }
    }

    fn line(&mut self, line: &str) {
        let safe = terminal(line);
        let line = if self.style.verbose { safe } else { cut(&safe, WIDTH) };
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Lines that are drawn already.
    fn block(&mut self, block: &str) {
        for line in block.lines() {
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
    }

    fn paint(&self, text: &str, style: Style) -> String {
        if self.style.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn n_lines(&self) -> usize {
        self.text.lines().count()
    }
}

/// Who is hit, how hard, since when, and whether it goes on.
fn hit(report: &Report, finding: &FindingInfo) -> String {
    let mut line = String::new();
    let place = match (finding.server.as_deref().filter(|server| !server.is_empty()), &finding.location) {
        (Some(server), Some(location)) => format!("{server} {location}"),
        (Some(server), None) => server.to_owned(),
        (None, Some(location)) => location.clone(),
        (None, None) => String::new(),
    };
    if !place.is_empty() {
        line.push_str(&place);
        line.push_str(": ");
    }
    let explains = &finding.explains;
    if explains.requests > 0 {
        let statuses: Vec<String> = finding.statuses.iter().map(|status| format!("{status:03}")).collect();
        let requests = if explains.requests == 1 { "request" } else { "requests" };
        let _ = write!(line, "{} {requests} failed ({})", grouped(explains.requests), statuses.join(", "));
    } else if report.verdict == Verdict::AtRisk {
        line.push_str("no request failed for a client");
    } else {
        line.push_str("no failed request in the window");
    }
    if let Some(first) = &explains.first_seen {
        let _ = write!(line, " since {}", short_stamp(first, &report.window.to));
    }
    match explains.still_failing {
        Some(true) => line.push_str(", still failing"),
        Some(false) => line.push_str(", mended since"),
        None => {}
    }
    line
}

/// The command to run, or where to look.
fn todo(finding: &FindingInfo) -> String {
    let commands = finding.remedies.iter().flat_map(|remedy| &remedy.steps).find_map(|step| match step {
        StepInfo::Command { argv, .. } => Some(format!("run: {}", argv.join(" "))),
        StepInfo::Edit { .. } => None,
    });
    let edit = || {
        let edits = finding
            .remedies
            .iter()
            .any(|remedy| remedy.steps.iter().any(|step| matches!(step, StepInfo::Edit { .. })));
        let place = finding.r#where.first()?;
        edits.then(|| format!("edit: {}:{}, then nginx -t and nginx -s reload", place.file, place.line))
    };
    let advice = || finding.remedies.first().map(|remedy| format!("do: {}", remedy.title));
    let explain = || format!("why: why502 explain {}", finding.cause);
    commands.or_else(edit).or_else(advice).unwrap_or_else(explain)
}

/// The argument: evidence, what is open, what was ruled out, what will not help.
fn notes(report: &Report, finding: &FindingInfo, verbose: bool) -> Vec<(&'static str, String)> {
    let mut notes: Vec<(&'static str, String)> = Vec::new();
    notes.push(("cause", format!("{}, {}", finding.cause, confidence(finding))));
    notes.extend(finding.evidence.iter().map(evidence));
    if verbose {
        notes.push(("why", finding.why.clone()));
    }
    notes.extend(finding.open.iter().map(|gap| ("open", gap.says.clone())));
    if !finding.effects.is_empty() {
        notes.push(("leads to", finding.effects.join(", ")));
    }
    let n_other = if verbose { usize::MAX } else { 2 };
    notes.extend(
        report
            .ruled_out
            .iter()
            .take(n_other)
            .map(|other| ("not", format!("{}: {}", other.cause, other.says))),
    );
    notes.extend(finding.wont_help.iter().take(n_other).map(|advice| ("won't help", advice.clone())));
    notes
}

fn evidence(evidence: &EvidenceInfo) -> (&'static str, String) {
    let says = &evidence.says;
    let (name, text) = match &evidence.origin {
        OriginInfo::Derived => ("so", says.clone()),
        OriginInfo::File { file, line, .. } => ("config", format!("{says} ({file}:{line})")),
        OriginInfo::Host { .. } => ("host", says.clone()),
        OriginInfo::Log { text: Some(text), .. } => ("log", format!("{says}: {text}")),
        OriginInfo::Log { file, .. } => ("log", format!("{says} ({file})")),
        OriginInfo::Probe { .. } => ("probe", says.clone()),
    };
    (if evidence.role == Role::Against { "but" } else { name }, text)
}

fn step_lines(step: &StepInfo) -> Vec<String> {
    match step {
        StepInfo::Command { argv, .. } => vec![format!("      {}", argv.join(" "))],
        StepInfo::Edit { diff, .. } => diff
            .lines()
            // The heading is the snippet's, and hunk marks tell a person nothing.
            .filter(|line| !line.starts_with("---") && !line.starts_with("+++") && !line.starts_with("@@"))
            .filter(|line| line.starts_with(['+', '-']))
            .map(|line| format!("    {line}"))
            .collect(),
    }
}

/// What was sent, in one line.
fn sent(report: &Report) -> Option<String> {
    let count = |kind: ActionKind| {
        report.actions.iter().filter(|action| action.kind == kind).map(|action| action.count).sum::<u64>()
    };
    let parts = [
        (ActionKind::Resolve, "names resolved"),
        (ActionKind::Connect, "connections"),
        (ActionKind::Tls, "TLS handshakes"),
        (ActionKind::Request, "HEAD requests to peers"),
    ];
    let told: Vec<String> = parts
        .into_iter()
        .map(|(kind, what)| (count(kind), what))
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    (!told.is_empty()).then(|| format!("sent: {}", told.join(", ")))
}

fn summary(report: &Report) -> String {
    let window = &report.window;
    let mut line = match window.requests {
        Some(requests) => format!("{} requests, {} failed", grouped(requests), grouped(window.failed)),
        None => format!("{} failed requests", grouped(window.failed)),
    };
    if let Some(from) = &window.from {
        let _ = write!(line, " since {}", short_stamp(from, &window.to));
    }
    let connects = report
        .actions
        .iter()
        .filter(|action| matches!(action.kind, ActionKind::Connect | ActionKind::Tls | ActionKind::Request));
    let peers = connects.count();
    if report.verdict == Verdict::Healthy && peers > 0 {
        let _ = write!(line, "; {peers} of {peers} peers answer");
    }
    if let Some(last) = window.last_failure.as_ref().filter(|_| window.failed == 0) {
        let _ = write!(line, "; last failure {last}: why502 --around {last}");
    }
    line
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::AtRisk => "at-risk",
        Verdict::Broken => "broken",
        Verdict::Healthy => "healthy",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Recovered => "recovered",
    }
}

fn confidence(finding: &FindingInfo) -> &'static str {
    match finding.confidence {
        Confidence::Confirmed => "confirmed",
        Confidence::Likely => "likely",
        Confidence::Possible => "possible",
    }
}

fn risk(remedy: &RemedyInfo) -> &'static str {
    match remedy.risk {
        Risk::Safe => "safe",
        Risk::Review => "review first",
        Risk::ShowOnly => "by hand",
    }
}

/// A stamp without its date where the window ends on the same day.
fn short_stamp(stamp: &str, to: &str) -> String {
    match (stamp.split_once('T'), to.split_once('T')) {
        (Some((day, time)), Some((today, _))) if day == today => time.to_owned(),
        _ => stamp.to_owned(),
    }
}

/// Digits in groups of three: `48 312`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Cuts a line to a width.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 0;
    for character in text.chars() {
        let columns = character.width().unwrap_or(0);
        if taken + columns + 1 > width {
            break;
        }
        kept.push(character);
        taken += columns;
    }
    kept + "…"
}

/// Breaks a text at spaces into lines of a width; a longer word is cut where it must be.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let mut rest = word;
        loop {
            let last = lines.last_mut().map_or(0, |line| line.width());
            let gap = usize::from(last > 0);
            if last + gap + rest.width() <= width {
                if let Some(line) = lines.last_mut() {
                    if gap == 1 {
                        line.push(' ');
                    }
                    line.push_str(rest);
                }
                break;
            }
            if last > 0 {
                lines.push(String::new());
                continue;
            }
            let end = rest.char_indices().nth(width).map_or(rest.len(), |(at, _)| at);
            lines.pop();
            lines.push(rest[..end].to_owned());
            lines.push(String::new());
            rest = &rest[end..];
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [1, 999, 1000, 48_312, 1_234_567].map(grouped),
            ["1", "999", "1 000", "48 312", "1 234 567"]
        );
    }

    #[test]
    fn lines_keep_to_their_width() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(wrap("a bb ccc dddd", 5), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
    }

    #[test]
    fn the_date_is_left_out_on_the_same_day() {
        assert_eq!(short_stamp("2026-11-21T02:28:30Z", "2026-11-21T03:00:00Z"), "02:28:30Z");
        assert_eq!(short_stamp("2026-11-20T02:28:30Z", "2026-11-21T03:00:00Z"), "2026-11-20T02:28:30Z");
    }
}
