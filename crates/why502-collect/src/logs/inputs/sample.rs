//! Some lines of a log, and what they tell of it.

use crate::logs::packing::Packing;
use crate::logs::read_range;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use why502_decode::logs::{Envelope, LogContent, Unwrapper};

/// How much is read at a file's begin, and at its end if it is not packed.
pub(super) const LENGTH: u64 = 256 * 1024;
/// How many lines of each are looked at.
const MAX_LINES: usize = 500;

/// Some lines.
#[derive(Debug, Default)]
pub(super) struct Sample {
    lines: Vec<Vec<u8>>,
}

/// What a sample tells.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) envelope: Envelope,
    /// The programs whose lines are the gateway's; `None` if there are no others.
    pub(super) programs: Option<BTreeSet<Vec<u8>>>,
    pub(super) content: LogContent,
    /// The gateway's lines, without their wrapping.
    pub(super) lines: Vec<Vec<u8>>,
}

impl Sample {
    pub(super) fn of_file(mut file: File, packing: Packing, size: u64) -> io::Result<Self> {
        let mut begin = Vec::new();
        read_begin(&mut packing.unpack(&mut file, Arc::default())?, &mut begin)?;
        let mut sample = Self::default();
        sample.add(&begin, packing == Packing::Plain && size <= LENGTH);
        if packing == Packing::Plain && size > LENGTH {
            let end = read_range(&mut file, (size - LENGTH).max(LENGTH) - 1, LENGTH + 1)?;
            // The first line may be cut.
            let first = memchr::memchr(b'\n', &end).map_or(end.len(), |at| at + 1);
            let lines: Vec<&[u8]> = end[first..].split(|byte| *byte == b'\n').collect();
            let newest = lines.len().saturating_sub(MAX_LINES);
            sample.lines.extend(lines[newest..].iter().map(|line| line.to_vec()));
        }
        Ok(sample)
    }

    /// Also gives back all that the stream holds, unpacked.
    pub(super) fn of_stream(
        mut stream: Box<dyn Read + Send>,
        n_read: Arc<AtomicU64>,
    ) -> io::Result<(Self, Box<dyn Read + Send>)> {
        let mut magic = Vec::new();
        stream.by_ref().take(Packing::MAGIC as u64).read_to_end(&mut magic)?;
        let packing = Packing::of(&magic);
        let mut content = packing.unpack(io::Cursor::new(magic).chain(stream), n_read)?;
        let mut begin = Vec::new();
        read_begin(&mut content, &mut begin)?;
        let mut sample = Self::default();
        sample.add(&begin, (begin.len() as u64) < LENGTH);
        Ok((sample, Box::new(io::Cursor::new(begin).chain(content))))
    }

    fn add(&mut self, bytes: &[u8], is_all: bool) {
        self.lines.extend(whole_lines(bytes, is_all).take(MAX_LINES).map(<[u8]>::to_vec));
    }

    /// Adds all lines, of entries that have several lines each.
    pub(super) fn add_all(&mut self, bytes: &[u8], is_all: bool) {
        self.lines.extend(whole_lines(bytes, is_all).map(<[u8]>::to_vec));
    }

    /// Puts the lines of an older file before those that are here.
    pub(super) fn prepend(&mut self, mut older: Self) {
        older.lines.append(&mut self.lines);
        self.lines = older.lines;
    }

    /// Whether there is no line at all.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.iter().all(Vec::is_empty)
    }

    /// Whether older files need not be asked.
    pub(super) fn is_enough(&self) -> bool {
        self.lines.len() >= MAX_LINES
    }

    pub(super) fn tell(&self) -> Told {
        let lines: Vec<&[u8]> = self.lines.iter().map(Vec::as_slice).collect();
        let envelope = Envelope::guess(&lines);
        let mut of_programs: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        let mut see = |peeled: why502_decode::logs::Peeled<'_>| {
            of_programs.entry(peeled.program.to_vec()).or_default().push(peeled.line.to_vec());
        };
        let mut unwrapper = Unwrapper::new(envelope);
        for line in lines {
            unwrapper.push(0, line, &mut see);
        }
        unwrapper.finish(&mut see);
        // What no program's name stands before is everybody's.
        let (ours, others): (Vec<_>, Vec<_>) = of_programs
            .iter()
            .partition(|(program, lines)| program.is_empty() || is_gateways(&tell(lines.iter())));
        let names: BTreeSet<Vec<u8>> =
            ours.iter().map(|(program, _)| *program).filter(|program| !program.is_empty()).cloned().collect();
        if names.is_empty() || others.is_empty() {
            let content = tell(of_programs.values().flatten());
            return Told {
                envelope,
                programs: None,
                content,
                lines: of_programs.into_values().flatten().collect(),
            };
        }
        let lines: Vec<Vec<u8>> = ours.into_iter().flat_map(|(_, lines)| lines).cloned().collect();
        Told { envelope, programs: Some(names), content: tell(lines.iter()), lines }
    }
}

/// The lines without the last one, unless that is the end of all.
fn whole_lines(bytes: &[u8], is_all: bool) -> impl Iterator<Item = &[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if !is_all && lines.len() > 1 {
        lines.pop();
    }
    lines.into_iter()
}

fn read_begin(content: &mut dyn Read, begin: &mut Vec<u8>) -> io::Result<()> {
    match content.take(LENGTH).read_to_end(begin) {
        // A cut archive tells by what it holds.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(()),
    }
}

fn tell<'a>(lines: impl Iterator<Item = &'a Vec<u8>>) -> LogContent {
    LogContent::tell(&lines.map(Vec::as_slice).collect::<Vec<_>>())
}

fn is_gateways(content: &LogContent) -> bool {
    matches!(
        content,
        LogContent::Error | LogContent::Mixed { .. } | LogContent::Access { format: Some(_), .. }
    )
}
