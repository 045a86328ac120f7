//! The survey of logs as a page for a browser: one file, no scripts, nothing fetched, the timeline as a picture.

use super::{
    bytes, cluster_lines, ejection_line, family_words, grouped, maker, percentiles_words, share, statuses,
    terminal, width,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use why502_diagnose::{Count, Group, LogInfo, LogInfoKind, LogsReport, Timeline};

/// The width of a column of the timeline, with the gap behind it, in pixels.
const COLUMN: usize = 14;
const GAP: usize = 2;
/// The height of the picture.
const HEIGHT: u64 = 120;

const STYLE: &str = "\
    body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}\
    h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2rem 0 .4rem}\
    table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.15rem .8rem .15rem 0}\
    th{font-weight:600;border-bottom:1px solid #bbb}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
    code,pre{font:13px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}pre{white-space:pre-wrap;margin:.2rem 0}\
    svg{width:100%;height:auto;max-width:60rem}.failed{fill:#c0392b}.all{fill:#d5d8dc}.dim{color:#666}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}.all{fill:#3a3f44}.failed{fill:#e06c5f}.dim{color:#999}}";

/// The page.
pub(crate) fn logs_html(report: &LogsReport) -> String {
    let headline = super::headline(report);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "why502 logs: " (headline) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (headline) }
                @if let (Some(from), Some(to)) = (&report.from, &report.to) {
                    p.dim { "from " (from) " to " (to) }
                }
                @for log in &report.logs { (log_lines(log)) }
                (timeline(&report.timeline))
                (made_by(report))
                (groups(&report.groups))
                (lines("A timer ends them", report.clusters.iter().flat_map(cluster_lines)))
                (lines("Bursts", report.bursts.iter().map(super::burst_line)))
                (lines("Peers taken out", report.ejections.iter().map(ejection_line)))
                (lines("Hidden from clients", super::hidden_lines(report).into_iter()))
                (counts("Top routes", &report.top.routes))
                (counts("Top paths", &report.top.paths))
                (counts("Top peers", &report.top.peers))
                (counts("Top clients", &report.top.clients))
                (counts("Top user agents", &report.top.user_agents))
                @for note in &report.notes { p { "Note: " (shown(note)) } }
                p.dim { (report.tool.name) " " (report.tool.version) ", " (report.schema) }
            }
        }
    }
    .into_string()
}

/// A text of strangers, without what a terminal or a browser would obey.
fn shown(text: &str) -> String {
    terminal(text)
}

fn log_lines(log: &LogInfo) -> Markup {
    let kind = match log.kind {
        LogInfoKind::Access => "access log",
        LogInfoKind::Error => "error log",
    };
    html! {
        p {
            (kind) " "
            @for (place, file) in log.files.iter().enumerate() {
                @if place > 0 { ", " }
                code { (shown(file)) }
            }
            ": " (grouped(log.lines)) " lines, " (bytes(log.bytes))
            @if let Some(format) = log.format.as_ref().filter(|_| log.guessed) {
                br; "format recognised: " code { (shown(format)) }
            }
            @if log.sampled { br; "too many failures to keep each: alike ones are counted together" }
            @if log.unparsed > 0 { br; (grouped(log.unparsed)) " lines do not fit it, such as" }
        }
        @for example in &log.unparsed_examples { pre { (shown(example)) } }
    }
}

/// The failures over the requests of each column, each scaled by itself: failures are few.
fn timeline(timeline: &Timeline) -> Markup {
    let Some(from) = &timeline.from else { return html! {} };
    let most = timeline.failed.iter().copied().max().unwrap_or(0);
    let all = timeline.requests.as_deref().unwrap_or_default();
    let most_of_all = all.iter().copied().max().unwrap_or(0);
    let view = format!("0 0 {} {HEIGHT}", timeline.failed.len() * COLUMN);
    html! {
        h2 { "When" }
        svg viewBox=(view) role="img" aria-label="failed requests over time" preserveAspectRatio="none" {
            @for (place, count) in timeline.failed.iter().enumerate() {
                @let requests = all.get(place).copied();
                @if let Some(requests) = requests { (column(place, requests, most_of_all, "all", None)) }
                @let title = match requests {
                    Some(requests) => format!("{} of {} failed", grouped(*count), grouped(requests)),
                    None => format!("{} failed", grouped(*count)),
                };
                (column(place, *count, most, "failed", Some(&title)))
            }
        }
        p.dim {
            "A column is " (width(timeline.seconds)) ", the highest has " (grouped(most)) " failures"
            @if most_of_all > 0 { " (red) and " (grouped(most_of_all)) " requests (grey)" }
            "; the first begins at " (from) "."
        }
    }
}

fn column(place: usize, count: u64, most: u64, class: &str, title: Option<&str>) -> Markup {
    // What is there is seen, however little it is.
    let height = (count * HEIGHT).div_ceil(most.max(1)).min(HEIGHT);
    html! {
        rect.(class) x=(place * COLUMN) y=(HEIGHT - height) width=(COLUMN - GAP) height=(height) {
            @if let Some(title) = title { title { (title) } }
        }
    }
}

fn made_by(report: &LogsReport) -> Markup {
    html! {
        @if !report.made_by.is_empty() {
            h2 { "Made by" }
            table {
                @for count in &report.made_by {
                    tr { td.n { (grouped(count.requests)) } td { (maker(count.maker)) } td { (statuses(&count.statuses)) } }
                }
            }
        }
    }
}

fn groups(groups: &[Group]) -> Markup {
    html! {
        @if !groups.is_empty() {
            h2 { "Groups" }
            table {
                tr { th.n { "requests" } th { "what" } th { "where" } th { "status" } th { "first – last" } th { "times" } }
                @for group in groups { (group_row(group)) }
            }
        }
    }
}

fn group_row(group: &Group) -> Markup {
    let places = [&group.route, &group.upstream, &group.peer, &group.client];
    html! {
        tr {
            td.n { (grouped(group.requests)) @if let Some(of) = group.of { br; span.dim { (share(group.requests, of).trim()) } } }
            td { @if let Some(family) = group.family { (family_words(family)) } }
            td { @for place in places.into_iter().flatten() { code { (shown(place)) } br; } }
            td { (statuses(&group.statuses)) }
            td { (group.first) @if group.last != group.first { br; (group.last) } }
            td {
                @for (name, percentiles) in group.times.named() { (name) " " (percentiles_words(percentiles)) br; }
            }
        }
        @if let Some(text) = group.example.as_ref().and_then(|example| example.text.as_ref()) {
            tr { td {} td colspan="5" { pre.dim { (shown(text)) } } }
        }
    }
}

fn lines(title: &str, lines: impl Iterator<Item = String>) -> Markup {
    let lines: Vec<String> = lines.collect();
    html! {
        @if !lines.is_empty() {
            h2 { (title) }
            pre { @for line in &lines { (shown(line)) "\n" } }
        }
    }
}

fn counts(title: &str, counts: &[Count]) -> Markup {
    html! {
        @if !counts.is_empty() {
            h2 { (title) }
            table {
                @for count in counts { tr { td.n { (grouped(count.requests)) } td { code { (shown(&count.name)) } } } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_is_text() {
        let row = counts(
            "Top paths",
            &[Count { name: "/<script>alert(1)</script>\u{1b}[2J&".to_owned(), requests: 3 }],
        );
        let row = row.into_string();
        assert!(row.contains("/&lt;script&gt;alert(1)&lt;/script&gt;"), "{row}");
        assert!(!row.contains('\u{1b}') && row.contains("&amp;"), "{row}");
    }

    #[test]
    fn every_column_is_drawn_and_named() {
        let drawn = timeline(&Timeline {
            seconds: 60,
            from: Some("2026-11-21T02:28:00Z".to_owned()),
            failed: vec![0, 5, 1],
            requests: Some(vec![10, 1000, 20]),
        });
        let drawn = drawn.into_string();
        assert_eq!(
            (drawn.matches("class=\"failed\"").count(), drawn.matches("class=\"all\"").count()),
            (3, 3)
        );
        assert!(drawn.contains("5 of 1 000 failed") && drawn.contains("height=\"120\""), "{drawn}");
        assert!(drawn.contains("height=\"24\""), "{drawn}");
        assert_eq!(timeline(&Timeline::default()).into_string(), "");
    }
}
