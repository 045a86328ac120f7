//! `journalctl -o json-pretty`: objects over several lines.

use crate::logs::envelope::partial::hold;
use crate::logs::envelope::{MAX_LINE, UnwrapSummary};

/// The longest object that is put together: a message that is no text takes seven bytes for one.
const MAX_OBJECT: usize = 8 * MAX_LINE;

/// Whether lines are those of such objects.
pub(in super::super) fn is_pretty(lines: &[&[u8]]) -> bool {
    let is_of_object = |line: &&&[u8]| line.starts_with(b"\t") || **line == b"{" || **line == b"}";
    let is_every = |line: &&[u8]| line.starts_with(b"\t\"__REALTIME_TIMESTAMP\" : ");
    lines.iter().any(is_every) && lines.iter().filter(is_of_object).count() * 2 >= lines.len()
}

/// The object that is being read.
#[derive(Debug, Default)]
pub(in super::super) struct Pretty {
    /// Where it begins.
    began: Option<u64>,
    text: Vec<u8>,
}

impl Pretty {
    /// Takes a line, and shows an object when it is whole: where it begins, and itself. Whether the line belongs to one.
    pub(in super::super) fn push(
        &mut self,
        offset: u64,
        line: &[u8],
        summary: &mut UnwrapSummary,
        see: &mut dyn FnMut(u64, &[u8]) -> bool,
    ) -> bool {
        if line == b"{" {
            self.text.clear();
            self.began = Some(offset);
        }
        // What stands before the first object is the rest of one that was cut.
        let Some(began) = self.began else { return line.starts_with(b"\t") || line == b"}" };
        let fits = hold(&mut self.text, line, MAX_OBJECT);
        if line != b"}" {
            return true;
        }
        self.began = None;
        summary.n_cut += u64::from(!fits);
        see(began, &self.text)
    }
}
