//! Lines that a runtime wrote in parts, put together.

use super::{MAX_LINE, Peeled, UnwrapSummary};

/// A part of a line, or a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// 0 for standard output, 1 for standard error: the parts of both may alternate.
    pub(super) stream: usize,
    /// The text, without the line's end.
    pub(super) text: &'a [u8],
    /// Whether the line ends here.
    pub(super) is_last: bool,
}

/// The number of a stream.
pub(super) fn stream(name: &[u8]) -> Option<usize> {
    match name {
        b"stdout" => Some(0),
        b"stderr" => Some(1),
        _ => None,
    }
}

/// A line of which some parts are there.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// Where its first part stands; `None` between two lines.
    began: Option<u64>,
    held: Vec<u8>,
    is_cut: bool,
}

impl Partial {
    pub(super) fn add(
        &mut self,
        offset: u64,
        part: Part<'_>,
        summary: &mut UnwrapSummary,
        see: &mut dyn FnMut(Peeled<'_>),
    ) {
        if self.began.is_none() && part.is_last && part.text.len() <= MAX_LINE {
            see(Peeled { offset, program: b"", line: part.text });
            return;
        }
        self.began.get_or_insert(offset);
        self.is_cut |= !hold(&mut self.held, part.text, MAX_LINE);
        if part.is_last {
            self.finish(summary, see);
        }
    }

    pub(super) fn finish(&mut self, summary: &mut UnwrapSummary, see: &mut dyn FnMut(Peeled<'_>)) {
        let Some(offset) = self.began.take() else { return };
        see(Peeled { offset, program: b"", line: &self.held });
        summary.n_cut += u64::from(self.is_cut);
        self.is_cut = false;
        self.held.clear();
    }
}

/// Appends text as far as there is room; whether there was room for all.
pub(super) fn hold(held: &mut Vec<u8>, text: &[u8], room: usize) -> bool {
    let fits = text.len().min(room.saturating_sub(held.len()));
    held.extend_from_slice(&text[..fits]);
    fits == text.len()
}
