//! The text report, in the manner of rustc: three lines that stand alone, then the argument, then what to do.

use super::changes;
use super::command::command_line;
use super::escape::terminal;
use super::lines::{cut, grouped, shorten, wrap, wrap_at_most, wrap_command};
use super::snippet;
use anstyle::{AnsiColor, Style};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;
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
/// The most lines of a note.
const MAX_NOTE_LINES: usize = 3;

/// How the text report looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TextStyle<'a> {
    /// Whether it is coloured.
    pub(crate) color: bool,
    /// The command that would see what was denied; `None` where none would.
    pub(crate) rerun: Option<&'a str>,
    /// Whether everything is told.
    pub(crate) verbose: bool,
}

/// The text report.
pub(crate) fn text(report: &Report, style: TextStyle<'_>) -> String {
    let mut page = Page { style, text: String::new() };
    match report.findings.split_first() {
        Some((first, others)) => {
            page.first_finding(report, first);
            for finding in others {
                page.further_finding(finding);
            }
        }
        None => page.headline(report.verdict, &summary(report), &[]),
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

struct Page<'a> {
    style: TextStyle<'a>,
    text: String,
}

impl Page<'_> {
    fn first_finding(&mut self, report: &Report, finding: &FindingInfo) {
        let begin = self.n_lines();
        self.headline(report.verdict, &finding.title, &finding.peers);
        for line in hit_lines(report, finding).iter().chain(&todo_lines(finding)) {
            self.whole_line(line);
        }
        self.text.push('\n');
        if let Some(place) = finding.r#where.first() {
            let label = if finding.acts_on == why502_diagnose::ActsOn::Config { "change this" } else { "" };
            self.block(&snippet::draw(place, label, self.style.color));
        }
        let help = self.help_lines(finding);
        let room = (begin + MAX_LINES).saturating_sub(self.n_lines() + help.len());
        self.notes(&notes(report, finding, self.style.verbose), room);
        for line in &help {
            self.whole_line(line);
        }
    }

    /// Two lines.
    fn further_finding(&mut self, finding: &FindingInfo) {
        let confidence = confidence(finding);
        self.text.push('\n');
        let kind = if finding.root { "also" } else { "note" };
        let what = format!(" ({}, {confidence})", finding.cause);
        let room = WIDTH.saturating_sub(kind.len() + 2 + what.len());
        let title = shorten(&terminal(&finding.title), room, &finding.peers);
        let title = if self.style.verbose { title } else { cut(&title, room) };
        self.line(&format!("{kind}: {title}{what}"));
        match todo_lines(finding).as_slice() {
            [line] => self.line(line),
            lines if self.style.verbose => lines.iter().for_each(|line| self.line(line)),
            // Half a command is worse than none.
            _ => self.line(&format!("  why: why502 explain {}", finding.cause)),
        }
        if self.style.verbose {
            let evidence: Vec<_> = finding.evidence.iter().map(evidence).collect();
            self.notes(&evidence, evidence.len());
            for line in self.help_lines(finding) {
                self.whole_line(&line);
            }
        }
    }

    fn help_lines(&self, finding: &FindingInfo) -> Vec<String> {
        let n_remedies = if self.style.verbose { finding.remedies.len() } else { 1 };
        let mut lines = Vec::new();
        for remedy in finding.remedies.iter().take(n_remedies) {
            let title = format!("help: {} ({})", terminal(&remedy.title), risk(remedy));
            lines.extend(hanging(&wrap(&title, WIDTH - 6), "", "      "));
            for step in &remedy.steps {
                lines.extend(step_lines(step));
            }
            if let Some(advice) = &remedy.advice {
                lines.extend(indented(&wrap(&terminal(advice), WIDTH - 6)));
            }
        }
        if !self.style.verbose && lines.len() > MAX_HELP_LINES {
            lines.truncate(MAX_HELP_LINES - 1);
            lines.push("      … the rest with --verbose".to_owned());
        }
        lines
    }

    /// What was left out, what was sent, and what could not be seen.
    fn closing(&mut self, report: &Report) {
        if report.unexplained.requests > 0 {
            let number = report.unexplained.requests;
            let requests = if number == 1 { "request" } else { "requests" };
            let number = grouped(number);
            self.line(&format!("unexplained: {number} failed {requests} that nothing here accounts for"));
            let n_examples = if self.style.verbose { 3 } else { 1 };
            for example in report.unexplained.examples.iter().take(n_examples) {
                self.line(&format!("  {}", cut(example, MAX_EXAMPLE)));
            }
        }
        if !changes::is_of_first_finding(report) {
            for (label, says) in changes::notes(report, self.style.verbose) {
                let says = terminal(&format!("{label}: {says}"));
                let most = if self.style.verbose { usize::MAX } else { MAX_NOTE_LINES };
                for line in hanging(&wrap_at_most(&says, WIDTH - 2, most), "", "  ") {
                    self.whole_line(&line);
                }
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
        let is_denied = telling.iter().any(|gap| gap.why == GapWhy::Denied);
        if let Some(command) = self.style.rerun.filter(|_| is_denied) {
            let told = format!("as root it would be seen: {}", terminal(command));
            for line in hanging(&wrap_command(&told, WIDTH - 4), "  ", "    ") {
                self.whole_line(&line);
            }
        }
    }

    /// The verdict and what it comes to, on one line or, if it must be, on two.
    fn headline(&mut self, verdict: Verdict, says: &str, keep: &[String]) {
        let style = match verdict {
            Verdict::Broken => AnsiColor::Red.on_default().bold(),
            Verdict::Inconclusive | Verdict::AtRisk => AnsiColor::Yellow.on_default().bold(),
            Verdict::Healthy | Verdict::Recovered => AnsiColor::Green.on_default().bold(),
        };
        let name = word(verdict);
        let says = terminal(says);
        let full = format!("{name}: {says}");
        let lines = if full.width() <= WIDTH {
            vec![full]
        } else if self.style.verbose {
            wrap(&full, WIDTH - 4)
        } else {
            let short = shorten(&full, WIDTH, keep);
            if short.width() <= WIDTH { vec![short] } else { wrap_at_most(&short, WIDTH - 4, 2) }
        };
        for (at, line) in lines.iter().enumerate() {
            let bold = |text: &str| self.paint(text, Style::new().bold());
            let painted = match line.strip_prefix(name).filter(|_| at == 0) {
                Some(rest) => self.paint(name, style) + &bold(rest),
                None => format!("    {}", bold(line)),
            };
            let _ = writeln!(self.text, "{painted}");
        }
    }

    /// The argument, in so many lines: each note has one, and what is left goes to those that need more.
    fn notes(&mut self, notes: &[(&'static str, String)], room: usize) {
        let is_whole = self.style.verbose || notes.len() <= room;
        let n_shown = if is_whole { notes.len() } else { room.saturating_sub(1) };
        let mut spare = room.saturating_sub(notes.len());
        for (name, says) in &notes[..n_shown] {
            let label = format!("   = {name}: ");
            let says = terminal(says);
            let width = WIDTH - label.width();
            let lines = if self.style.verbose {
                wrap(&says, width)
            } else {
                let lines = wrap_at_most(&says, width, 1 + spare.min(MAX_NOTE_LINES - 1));
                lines.iter().map(|line| cut(line, width)).collect()
            };
            spare -= spare.min(lines.len().saturating_sub(1));
            let painted = self.paint(&label, Style::new().bold());
            for line in hanging(&lines, &painted, &" ".repeat(label.width())) {
                self.text.push_str(line.trim_end());
                self.text.push('\n');
            }
        }
        if !is_whole && room > 0 {
            self.line(&format!("   = and {} more with --verbose", notes.len() - n_shown));
        }
    }

    fn line(&mut self, line: &str) {
        let safe = terminal(line);
        let line = if self.style.verbose { safe } else { cut(&safe, WIDTH) };
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A line that was fitted already, or that must not be cut.
    fn whole_line(&mut self, line: &str) {
        self.text.push_str(terminal(line).trim_end());
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
    let place = route(finding);
    let failures = failures(report, finding);
    if place.is_empty() { failures } else { format!("{place}: {failures}") }
}

/// The same on one line: the place goes to the end, where something must be cut.
fn hit_lines(report: &Report, finding: &FindingInfo) -> Vec<String> {
    let width = WIDTH - 2;
    let whole = terminal(&hit(report, finding));
    if whole.width() <= width {
        return vec![format!("  {whole}")];
    }
    let place = terminal(&route(finding));
    vec![format!("  {}", cut(&format!("{}: {place}", failures(report, finding)), width))]
}

/// The server and the location of the chief route.
fn route(finding: &FindingInfo) -> String {
    let server = finding.server.as_deref().filter(|server| !server.is_empty());
    let parts: Vec<&str> = server.into_iter().chain(finding.location.as_deref()).collect();
    parts.join(" ")
}

fn failures(report: &Report, finding: &FindingInfo) -> String {
    let mut line = String::new();
    let explains = &finding.explains;
    if explains.requests > 0 {
        let statuses: Vec<String> = finding.statuses.iter().map(|status| format!("{status:03}")).collect();
        let requests = if explains.requests == 1 { "request" } else { "requests" };
        let _ = write!(line, "{} {requests} failed ({})", grouped(explains.requests), statuses.join(", "));
    } else if report.verdict == Verdict::AtRisk {
        line.push_str("no request failed for a client");
    } else {
        line.push_str(match report.window.failed {
            None => "no log could be read",
            Some(0) => "no failed request in the window",
            Some(_) => "seen now, in no request of the logs",
        });
    }
    if let Some(first) = &explains.first_seen {
        let _ = write!(line, " since {}", short_stamp(first, &report.window.to));
    }
    match explains.still_failing {
        // What nobody has met yet does not fail still.
        Some(true) if explains.requests == 0 => line.push_str(", and it stands now"),
        Some(true) => line.push_str(", still failing"),
        Some(false) => line.push_str(", mended since"),
        None => {}
    }
    line
}

/// The command to run, or where to look: never cut.
fn todo_lines(finding: &FindingInfo) -> Vec<String> {
    let width = WIDTH - 4;
    if let Some(commands) = commands(finding) {
        let line = terminal(&format!("run: {commands}"));
        return hanging(&wrap_command(&line, width), "  ", "    ");
    }
    // What is only to be shown is nothing to do without a look first.
    let to_apply = finding.remedies.iter().filter(|remedy| remedy.risk != Risk::ShowOnly);
    let edits = to_apply.flat_map(|remedy| &remedy.steps).any(|step| matches!(step, StepInfo::Edit { .. }));
    if let Some(place) = finding.r#where.first().filter(|_| edits) {
        let edit = terminal(&format!("edit: {}:{}", place.file, place.line));
        let whole = format!("{edit}, then nginx -t and nginx -s reload");
        let lines = if whole.width() <= WIDTH - 2 {
            vec![whole]
        } else {
            vec![edit, "then: nginx -t && nginx -s reload".to_owned()]
        };
        return hanging(&lines, "  ", "  ");
    }
    let advice = match finding.remedies.first() {
        Some(remedy) => format!("do: {}", remedy.title),
        None => format!("why: why502 explain {}", finding.cause),
    };
    let advice = shorten(&terminal(&advice), WIDTH - 2, &finding.peers);
    let lines = if advice.width() <= WIDTH - 2 { vec![advice] } else { wrap(&advice, width) };
    hanging(&lines, "  ", "    ")
}

/// The commands of the first remedy that has some.
fn commands(finding: &FindingInfo) -> Option<String> {
    let of_remedy = |remedy: &RemedyInfo| {
        let lines: Vec<String> = remedy
            .steps
            .iter()
            .filter_map(|step| match step {
                StepInfo::Command { argv, .. } => Some(command_line(argv)),
                StepInfo::Edit { .. } => None,
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join(" && "))
    };
    finding.remedies.iter().find_map(of_remedy)
}

/// Lines behind a first one.
fn hanging(lines: &[String], first: &str, others: &str) -> Vec<String> {
    let begin = |at: usize| if at == 0 { first } else { others };
    lines.iter().enumerate().map(|(at, line)| format!("{}{line}", begin(at))).collect()
}

/// Lines below a heading.
fn indented(lines: &[String]) -> Vec<String> {
    hanging(lines, "      ", "      ")
}

/// The argument: evidence, what is open, what was ruled out, what will not help.
fn notes(report: &Report, finding: &FindingInfo, verbose: bool) -> Vec<(&'static str, String)> {
    let mut notes: Vec<(&'static str, String)> = Vec::new();
    notes.push(("cause", format!("{}, {}", finding.cause, confidence(finding))));
    notes.extend(finding.evidence.iter().map(evidence));
    if changes::is_of_first_finding(report) {
        notes.extend(changes::notes(report, verbose));
    }
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
    // Nobody needs to be kept from mending what is mended.
    if finding.explains.still_failing != Some(false) {
        notes.extend(finding.wont_help.iter().take(n_other).map(|advice| ("won't help", advice.clone())));
    }
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
        StepInfo::Command { argv, .. } => {
            let command = terminal(&command_line(argv));
            hanging(&wrap_command(&command, WIDTH - 8), "      ", "        ")
        }
        StepInfo::Edit { diff, .. } => diff_lines(diff),
    }
}

/// The changed lines of a diff, without the indentation that they share.
fn diff_lines(diff: &str) -> Vec<String> {
    // The heading is the snippet's, and hunk marks tell a person nothing.
    let changed: Vec<(&str, String)> = diff
        .lines()
        .filter(|line| !line.starts_with("---") && !line.starts_with("+++"))
        .filter(|line| line.starts_with(['+', '-']))
        .map(|line| (&line[..1], terminal(&line[1..])))
        .collect();
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let shared = changed.iter().filter(|(_, line)| !line.is_empty()).map(|(_, line)| indent(line)).min();
    let rest = |line: &str| line.get(shared.unwrap_or(0)..).unwrap_or_default().to_owned();
    changed.iter().map(|(mark, line)| cut(&format!("    {mark} {}", rest(line)), WIDTH)).collect()
}

/// What was sent, in one line.
fn sent(report: &Report) -> Option<String> {
    let count = |kind: ActionKind| {
        report.actions.iter().filter(|action| action.kind == kind).map(|action| action.count).sum::<u64>()
    };
    let parts = [
        (ActionKind::Resolve, "name resolved", "names resolved"),
        (ActionKind::Connect, "connection", "connections"),
        (ActionKind::Tls, "TLS handshake", "TLS handshakes"),
        (ActionKind::Request, "HEAD request to a peer", "HEAD requests to peers"),
        (ActionKind::Icmp, "ICMP echo", "ICMP echoes"),
    ];
    let told: Vec<String> = parts
        .into_iter()
        .map(|(kind, one, many)| (count(kind), one, many))
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| format!("{} {}", grouped(number), if number == 1 { one } else { many }))
        .collect();
    (!told.is_empty()).then(|| format!("sent: {}", told.join(", ")))
}

fn summary(report: &Report) -> String {
    let window = &report.window;
    let mut line = match (window.requests, window.failed) {
        (_, None) => "no log was read".to_owned(),
        (Some(requests), Some(failed)) => {
            format!("{} requests, {} failed", grouped(requests), grouped(failed))
        }
        (None, Some(failed)) => format!("{} failed requests", grouped(failed)),
    };
    if let Some(from) = window.from.as_ref().filter(|_| window.failed.is_some()) {
        let _ = write!(line, " since {}", short_stamp(from, &window.to));
    }
    if report.verdict == Verdict::Healthy {
        line.push_str(&well_peers(report));
    }
    if let Some(last) = window.last_failure.as_ref().filter(|_| window.failed == Some(0)) {
        let _ = write!(line, "; last failure {last}: why502 --around {last}");
    }
    line
}

/// The peers of a healthy gateway: those that answered a request, and those that merely took a connection.
fn well_peers(report: &Report) -> String {
    let is_to_peer = |kind| matches!(kind, ActionKind::Connect | ActionKind::Tls | ActionKind::Request);
    let to_peers = || report.actions.iter().filter(|action| is_to_peer(action.kind));
    let all = to_peers().map(|action| action.target.as_str()).collect::<BTreeSet<_>>().len();
    let answers = to_peers().filter(|action| action.kind == ActionKind::Request && action.answered > 0);
    let answering = answers.map(|action| action.target.as_str()).collect::<BTreeSet<_>>().len();
    let verb = |number: usize, one: &str| if number == 1 { format!("{one}s") } else { one.to_owned() };
    match (all, answering) {
        (0, _) => String::new(),
        (all, 0) => format!("; {all} of {all} peers {}", verb(all, "connect")),
        (all, answering) if all == answering => format!("; {all} of {all} peers {}", verb(all, "answer")),
        (all, answering) => {
            format!("; {all} of {all} peers connect, {answering} {}", verb(answering, "answer"))
        }
    }
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
    fn the_date_is_left_out_on_the_same_day() {
        assert_eq!(short_stamp("2026-11-21T02:28:30Z", "2026-11-21T03:00:00Z"), "02:28:30Z");
        assert_eq!(short_stamp("2026-11-20T02:28:30Z", "2026-11-21T03:00:00Z"), "2026-11-20T02:28:30Z");
    }
}
