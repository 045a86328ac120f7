//! A line's columns.

/// A value, and what is written around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<'l> {
    /// What stands between it and the column before.
    pub(super) lead: &'l str,
    pub(super) open: &'static str,
    pub(super) value: &'l str,
    pub(super) close: &'static str,
}

impl<'l> Column<'l> {
    fn bare(lead: &'l str, value: &'l str) -> Self {
        Self { lead, open: "", value, close: "" }
    }

    /// What lines of one format have in common.
    pub(super) fn frame(&self) -> String {
        format!("{}{}\0", self.lead, self.open)
    }
}

/// The columns of a line; `None` if there are too few for an access log.
pub(super) fn split(line: &str) -> Option<Vec<Column<'_>>> {
    const MIN_COLUMNS: usize = 3;
    let columns = if line.matches('\t').count() >= MIN_COLUMNS {
        between(line, "\t")
    } else if line.matches(" | ").count() >= MIN_COLUMNS {
        between(line, " | ")
    } else if line.matches('|').count() >= MIN_COLUMNS {
        between(line, "|")
    } else {
        between_spaces(line)?
    };
    (columns.len() > MIN_COLUMNS).then_some(columns)
}

fn between<'l>(line: &'l str, separator: &'static str) -> Vec<Column<'l>> {
    let columns = line.split(separator).enumerate().map(|(place, text)| {
        let lead = if place == 0 { "" } else { separator };
        enclosed(text)
            .filter(|(_, rest)| rest.is_empty())
            .map_or(Column::bare(lead, text), |(column, _)| Column { lead, ..column })
    });
    columns.collect()
}

fn between_spaces(line: &str) -> Option<Vec<Column<'_>>> {
    let mut columns = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let begin = rest.find(|letter| letter != ' ')?;
        let (lead, text) = rest.split_at(begin);
        let (column, after) = enclosed(text).unwrap_or_else(|| bare(text));
        if !(after.is_empty() || after.starts_with(' ')) {
            return None;
        }
        columns.push(Column { lead, ..column });
        rest = after;
    }
    Some(columns)
}

/// A value between quotes or brackets, and what follows it.
fn enclosed(text: &str) -> Option<(Column<'_>, &str)> {
    let (open, close) = match text.as_bytes().first()? {
        b'"' => ("\"", "\""),
        b'[' => ("[", "]"),
        _ => return None,
    };
    let inner = &text[1..];
    let mut is_escaped = false;
    let end = inner.bytes().position(|byte| {
        let ends = byte == close.as_bytes()[0] && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })?;
    Some((Column { lead: "", open, value: &inner[..end], close }, &inner[end + 1..]))
}

/// A value up to the next space, and what follows it; lists have spaces between their elements.
fn bare(text: &str) -> (Column<'_>, &str) {
    let mut end = 0;
    loop {
        end += text[end..].find(' ').unwrap_or(text.len() - end);
        let goes_on = text[..end].ends_with(',') && end < text.len();
        if goes_on {
            end += 1;
        } else if text[end..].starts_with(" : ") {
            end += " : ".len();
        } else {
            return (Column::bare("", &text[..end]), &text[end..]);
        }
    }
}
