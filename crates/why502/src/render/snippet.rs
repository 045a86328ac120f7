//! A line of a configuration file with a caret, as rustc draws it. The seam to the library that draws.

use super::escape::terminal;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use why502_diagnose::Place;

/// The widest line that is drawn, in columns.
const WIDTH: usize = 80;

/// Draws a place; without the line's text only where it is.
pub(super) fn draw(place: &Place, label: &str, color: bool) -> String {
    let Some(line) = &place.text else {
        return format!("  --> {}:{}:{}", terminal(&place.file), place.line, place.column);
    };
    let (text, begin, end) = excerpt(line, place);
    let path = terminal(&place.file);
    // Behind a mark that reaches far to the right the label finds no room.
    let gutter = place.line.to_string().len() + " | ".len();
    let reaches = gutter + text.get(..end).map_or(WIDTH, |marked| marked.chars().count());
    let label = if reaches + 1 + label.len() > WIDTH { "" } else { label };
    let snippet = Snippet::source(text)
        .path(path)
        .line_start(usize::try_from(place.line).unwrap_or(1))
        .fold(false)
        .annotation(AnnotationKind::Primary.span(begin..end).label(label.to_owned()));
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let group = Group::with_level(Level::ERROR).element(snippet);
    renderer.term_width(WIDTH).render(&[group])
}

/// The line as it can be shown, and the span of the place in it: escaping moves columns.
fn excerpt(line: &str, place: &Place) -> (String, usize, usize) {
    let begin = usize::try_from(place.column.saturating_sub(1)).unwrap_or(0);
    let end = begin + usize::try_from(place.length).unwrap_or(1);
    let at = |offset: usize| {
        let mut offset = offset.min(line.len());
        while !line.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    };
    let (begin, end) = (at(begin), at(end));
    let (head, body, tail) = (terminal(&line[..begin]), terminal(&line[begin..end]), terminal(&line[end..]));
    let (begin, end) = (head.len(), head.len() + body.len().max(1));
    let text = head + &body + &tail;
    let end = end.min(text.len().max(begin));
    (text, begin, end)
}
