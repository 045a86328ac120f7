//! Entries of more than one line.
//!
//! What FastCGI applications, Lua and PROXY protocol peers send may hold newlines, and the gateway writes them as they
//! are. The context then stands at the end of the last line, so an entry that lacks it waits for the lines after it.

use super::line_place::{KeptPlace, LinePlace};
use memchr::memmem;

/// The gateway cuts an entry here at the latest (`NGX_MAX_ERROR_STR` of OpenResty; nginx at 2048).
const MAX_ENTRY: usize = 4096;

/// An entry whose end was not seen yet.
#[derive(Clone, Debug)]
pub(super) struct OpenEntry {
    pub(super) place: KeptPlace,
    pub(super) text: Vec<u8>,
}

impl OpenEntry {
    /// Takes a line that has no stamp; whether it was taken, and whether the entry is whole now.
    pub(super) fn take(&mut self, line: &[u8]) -> Taken {
        if self.text.len() + 1 + line.len() > MAX_ENTRY {
            return Taken::No;
        }
        self.text.push(b'\n');
        self.text.extend_from_slice(line);
        if memmem::find(line, b", client: ").is_some() { Taken::AndWhole } else { Taken::Yes }
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    AndWhole,
    No,
    Yes,
}

/// Lines without a stamp before the first one that has one: they belong to an entry of the part before, if there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct LooseLines {
    lines: Vec<(KeptPlace, Vec<u8>)>,
    n_bytes: usize,
    overflowed: bool,
}

impl LooseLines {
    /// Keeps a line; `false` if it cannot belong to an entry any more, because so many stood before it.
    pub(super) fn keep(&mut self, place: LinePlace<'_>, line: &[u8]) -> bool {
        self.overflowed |= self.n_bytes + line.len() + 1 > MAX_ENTRY;
        if !self.overflowed {
            self.n_bytes += line.len() + 1;
            self.lines.push((place.keep(), line.to_vec()));
        }
        !self.overflowed
    }

    /// The lines, and whether there were more.
    pub(super) fn into_lines(self) -> (Vec<(KeptPlace, Vec<u8>)>, bool) {
        (self.lines, self.overflowed)
    }

    pub(super) fn set_overflowed(&mut self) {
        self.overflowed = true;
    }
}

/// Whether a line without a stamp is the inside of a stack trace, which belongs to no grammar.
pub(super) fn is_trace(line: &[u8]) -> bool {
    line.is_empty()
        || line.starts_with(b"\t")
        || line.starts_with(b" ")
        || line.starts_with(b"stack traceback:")
        || line.starts_with(b"coroutine ")
}
