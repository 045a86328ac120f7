//! What `journalctl` writes of a journal: `-o json` and its kin, `-o export`, `-o verbose`.
//!
//! The formats are systemd's, "Journal Export Formats" (`docs/JOURNAL_EXPORT_FORMATS.md`): fields in any order; in the
//! export a value that is no plain text comes behind its length. The forms of `-o short` are syslog's.

mod pretty;
mod verbose;

pub(super) use self::pretty::{Pretty, is_pretty};
pub(super) use self::verbose::{Verbose, is_verbose};

use super::json::{self, Value};
use super::partial::hold;
use super::{MAX_LINE, Peeled, UnwrapSummary};

/// No field is longer (`DATA_SIZE_MAX` in `journal-importer.h`): a greater length is none.
const MAX_FIELD: u64 = 768 << 20;
/// The longest name of a program that is kept.
const MAX_PROGRAM: usize = 256;

/// Whether a line is an entry as JSON.
pub(super) fn is_object(line: &[u8]) -> bool {
    let Some(fields) = json::fields(bare(line)) else { return false };
    let (mut has_message, mut has_time) = (false, false);
    for (key, _) in fields {
        has_message |= key == b"MESSAGE";
        has_time |= key == b"__REALTIME_TIMESTAMP";
    }
    has_message && has_time
}

/// The object without the mark that `-o json-seq` (RFC 7464) or `-o json-sse` (server-sent events) puts before it.
fn bare(line: &[u8]) -> &[u8] {
    let marks: [&[u8]; 2] = [b"\x1e", b"data: "];
    marks.iter().find_map(|mark| line.strip_prefix(*mark)).unwrap_or(line)
}

/// Shows the lines of an entry's message with its program; false if there is no message to show.
pub(super) fn object(line: &[u8], scratch: &mut Vec<u8>, see: &mut dyn FnMut(&[u8], &[u8])) -> bool {
    // Events end with an empty line.
    if line.is_empty() {
        return true;
    }
    let Some(fields) = json::fields(bare(line)) else { return false };
    let (mut message, mut identifier, mut command) = (None, None, None);
    for (key, value) in fields {
        match (key, value) {
            (b"MESSAGE", value) => message = Some(value),
            (b"SYSLOG_IDENTIFIER", Value::Text(name)) => identifier = Some(name),
            (b"_COMM", Value::Text(name)) => command = Some(name),
            _ => {}
        }
    }
    let text = match message {
        Some(Value::Text(text)) => json::unescape(text, scratch),
        Some(Value::Other(array)) if bytes(array, scratch).is_some() => scratch,
        _ => return false,
    };
    // A name that is escaped is compared as it is written.
    let program = identifier.or(command).unwrap_or_default();
    text.split(|byte| *byte == b'\n').for_each(|line| see(program, line));
    true
}

/// `[104,105]`: how a message that is no UTF-8 is written.
fn bytes(array: &[u8], found: &mut Vec<u8>) -> Option<()> {
    found.clear();
    let inner = array.strip_prefix(b"[")?.strip_suffix(b"]")?;
    for number in inner.split(|byte| *byte == b',') {
        let number = number.trim_ascii();
        let value = number.iter().try_fold(0_u16, |value, digit| {
            (digit.is_ascii_digit() && value < 256).then(|| value * 10 + u16::from(digit - b'0'))
        });
        if number.is_empty() {
            return None;
        }
        found.push(u8::try_from(value?).ok()?);
    }
    Some(())
}

/// Whether lines are those of an export: half of them are fields, one of them a field that every entry has.
pub(super) fn is_export(lines: &[&[u8]]) -> bool {
    let is_field = |line: &&&[u8]| field(line).is_some_and(|(_, value)| value.is_some());
    let is_every =
        |line: &&[u8]| line.starts_with(b"__REALTIME_TIMESTAMP=") || line.starts_with(b"__CURSOR=");
    lines.iter().any(is_every) && lines.iter().filter(is_field).count() * 2 >= lines.len()
}

/// A field's name and its value, which a binary field has on the next line.
fn field(line: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let is_name = |name: &[u8]| {
        (1..=64).contains(&name.len())
            && name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
    };
    let (name, value) = match memchr::memchr(b'=', line) {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    };
    is_name(name).then_some((name, value))
}

/// The entry of an export that is being read.
#[derive(Debug, Default)]
pub(super) struct Export {
    /// Where the entry's first field stands.
    began: Option<u64>,
    message: Vec<u8>,
    has_message: bool,
    is_cut: bool,
    identifier: Vec<u8>,
    command: Vec<u8>,
    binary: Option<Binary>,
}

/// A value that comes behind its length, and may hold line feeds.
#[derive(Debug)]
struct Binary {
    wanted: Wanted,
    /// How much of the length has been read, and what it is so far, the lowest byte first.
    n_length_bytes: u32,
    left: u64,
}

/// The fields of which something is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Command,
    Identifier,
    Message,
    Nothing,
}

impl Wanted {
    fn of(name: &[u8]) -> Self {
        match name {
            b"MESSAGE" => Self::Message,
            b"SYSLOG_IDENTIFIER" => Self::Identifier,
            b"_COMM" => Self::Command,
            _ => Self::Nothing,
        }
    }
}

impl Export {
    /// Whether the line belongs to an entry.
    pub(super) fn push(
        &mut self,
        offset: u64,
        line: &[u8],
        summary: &mut UnwrapSummary,
        see: &mut dyn FnMut(Peeled<'_>),
    ) -> bool {
        if let Some(binary) = self.binary.take() {
            self.go_on(binary, line);
            return true;
        }
        if line.is_empty() {
            self.finish(summary, see);
            return true;
        }
        let Some((name, value)) = field(line) else { return false };
        self.began.get_or_insert(offset);
        let wanted = Wanted::of(name);
        self.begin(wanted);
        match value {
            Some(value) => self.hold(wanted, value),
            None => self.binary = Some(Binary { wanted, n_length_bytes: 0, left: 0 }),
        }
        true
    }

    pub(super) fn finish(&mut self, summary: &mut UnwrapSummary, see: &mut dyn FnMut(Peeled<'_>)) {
        self.binary = None;
        let Some(offset) = self.began.take() else { return };
        if self.has_message {
            let program = if self.identifier.is_empty() { &self.command } else { &self.identifier };
            for line in self.message.split(|byte| *byte == b'\n') {
                see(Peeled { offset, program, line });
            }
        }
        summary.n_cut += u64::from(self.is_cut);
        (self.has_message, self.is_cut) = (false, false);
        self.message.clear();
        self.identifier.clear();
        self.command.clear();
    }

    /// A field that is there twice has its last value.
    fn begin(&mut self, wanted: Wanted) {
        match wanted {
            Wanted::Command => self.command.clear(),
            Wanted::Identifier => self.identifier.clear(),
            Wanted::Message => {
                self.message.clear();
                self.has_message = true;
            }
            Wanted::Nothing => {}
        }
    }

    fn hold(&mut self, wanted: Wanted, text: &[u8]) {
        match wanted {
            Wanted::Command => _ = hold(&mut self.command, text, MAX_PROGRAM),
            Wanted::Identifier => _ = hold(&mut self.identifier, text, MAX_PROGRAM),
            Wanted::Message => self.is_cut |= !hold(&mut self.message, text, MAX_LINE),
            Wanted::Nothing => {}
        }
    }

    /// The next line of a binary value; the line feed that ended it belongs to the value as well.
    fn go_on(&mut self, mut binary: Binary, line: &[u8]) {
        for piece in [line, b"\n"] {
            let mut rest = piece;
            while let Some((byte, after)) = rest.split_first()
                && binary.n_length_bytes < 8
            {
                binary.left |= u64::from(*byte) << (8 * binary.n_length_bytes);
                binary.n_length_bytes += 1;
                rest = after;
            }
            if binary.n_length_bytes < 8 {
                continue;
            }
            if binary.left > MAX_FIELD {
                // No length: what follows is read as fields again.
                return;
            }
            let length = usize::try_from(binary.left).map_or(rest.len(), |left| left.min(rest.len()));
            self.hold(binary.wanted, &rest[..length]);
            binary.left -= length as u64;
            if length < rest.len() {
                // The line feed behind the value; anything else is not the format, and the next field is searched.
                return;
            }
        }
        self.binary = Some(binary);
    }
}
