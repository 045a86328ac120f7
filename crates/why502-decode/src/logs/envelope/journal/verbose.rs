//! `journalctl -o verbose`: a line with the time and the cursor, and the fields below it.

use super::{Export, Wanted, field};
use crate::logs::envelope::{Peeled, UnwrapSummary, pattern};

/// How far fields are indented.
const INDENT: &[u8] = b"    ";

/// Whether lines are those of such entries.
pub(in super::super) fn is_verbose(lines: &[&[u8]]) -> bool {
    let is_indented = |line: &&&[u8]| line.starts_with(INDENT);
    lines.iter().any(|line| is_head(line)) && lines.iter().filter(is_indented).count() * 2 >= lines.len()
}

/// Whether a line begins an entry: `Sat 2026-11-21 02:28:30.123456 UTC [s=31ac…;i=1;…]`.
fn is_head(line: &[u8]) -> bool {
    let Some(rest) = pattern::behind(line, b"AAA 0000-00-00 00:00:00.000000 ") else { return false };
    pattern::word(rest).is_some_and(|(_zone, cursor)| cursor.starts_with(b"[s="))
}

/// The entry that is being read.
#[derive(Debug, Default)]
pub(in super::super) struct Verbose {
    fields: Export,
    /// The field to which further lines belong, and how far they are indented.
    last: Option<(Wanted, usize)>,
}

impl Verbose {
    /// Whether the line belongs to an entry.
    pub(in super::super) fn push(
        &mut self,
        offset: u64,
        line: &[u8],
        summary: &mut UnwrapSummary,
        see: &mut dyn FnMut(Peeled<'_>),
    ) -> bool {
        if line.is_empty() || is_head(line) {
            self.finish(summary, see);
            return true;
        }
        if let Some((wanted, width)) = self.last
            && let Some((head, more)) = line.split_at_checked(width)
            && head.iter().all(|byte| *byte == b' ')
        {
            self.fields.hold(wanted, b"\n");
            self.fields.hold(wanted, more);
            return true;
        }
        let Some((name, Some(_))) = line.strip_prefix(INDENT).and_then(field) else {
            // Whatever it is, it stands behind the entry.
            self.finish(summary, see);
            return false;
        };
        self.last = Some((Wanted::of(name), INDENT.len() + name.len() + 1));
        self.fields.push(offset, &line[INDENT.len()..], summary, see)
    }

    pub(in super::super) fn finish(&mut self, summary: &mut UnwrapSummary, see: &mut dyn FnMut(Peeled<'_>)) {
        self.last = None;
        self.fields.finish(summary, see);
    }
}
