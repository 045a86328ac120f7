//! Whole lines of a file, plain or compressed.

use super::packing::Packing;
use super::read_range;
use rustix::fs::Stat;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;
use why502_facts::Stamp;

/// How much is read at once.
pub(super) const BLOCK: usize = 256 * 1024;
/// A longer line is cut: nothing that a gateway logs comes near it.
pub(super) const MAX_LINE: usize = 1 << 20;

/// A file of a log.
pub(super) struct Source {
    file: File,
    size: u64,
    packing: Packing,
}

impl Source {
    pub(super) fn of(file: File, stat: &Stat) -> Result<Self, Errno> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let packing = packing_of(&file).map_err(|error| super::errno(&error))?;
        Ok(Self { file, size, packing })
    }

    /// The size of the file as it is stored.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The file itself, if its offsets are those of its content.
    pub(super) fn plain(&mut self) -> Option<&mut File> {
        (self.packing == Packing::Plain).then_some(&mut self.file)
    }

    /// The stamp of the first line that has one, among the first lines.
    pub(super) fn first_stamp(&self, stamp: &dyn Fn(&[u8]) -> Option<Stamp>) -> io::Result<Option<Stamp>> {
        let mut begin = Vec::new();
        self.content(0, Arc::default())?.take(BLOCK as u64).read_to_end(&mut begin)?;
        Ok(begin.split(|byte| *byte == b'\n').find_map(stamp))
    }

    /// The content from an offset on, which only a plain file can have; what is read of the file is counted.
    pub(super) fn content(&self, begin: u64, n_read: Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(if self.packing == Packing::Plain { begin } else { 0 }))?;
        self.packing.unpack(file, n_read)
    }
}

/// How a file is packed, told by its first bytes.
pub(super) fn packing_of(file: &File) -> io::Result<Packing> {
    let mut magic = [0; Packing::MAGIC];
    let length = file.read_at(&mut magic, 0)?;
    Ok(Packing::of(&magic[..length]))
}

/// Whole lines of a stream, with bounded memory.
///
/// A line that is longer than [`MAX_LINE`] is cut off there. A last line without an end is a line too: files that people
/// send are cut like that. A cut archive gives what it holds.
pub(super) struct LineReader<R> {
    reader: R,
    buffer: Vec<u8>,
    held: usize,
    /// Where what is held begins.
    offset: u64,
    /// Whether the line's begin has been shown.
    is_skipping: bool,
    n_cut: u64,
    is_archive_cut: bool,
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more.
    Again,
    /// It was the last.
    End,
    /// Who sees the lines wants no more.
    Stopped,
}

impl<R: Read> LineReader<R> {
    pub(super) fn new(reader: R, offset: u64) -> Self {
        let buffer = vec![0; BLOCK];
        Self { reader, buffer, held: 0, offset, is_skipping: false, n_cut: 0, is_archive_cut: false }
    }

    /// How many lines were cut.
    pub(super) fn n_cut(&self) -> u64 {
        self.n_cut
    }

    /// The offset up to which all has been read.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.held as u64
    }

    /// Whether the archive ended before its end.
    pub(super) fn is_archive_cut(&self) -> bool {
        self.is_archive_cut
    }

    /// Reads once, and shows the lines that are whole by now, without their line feeds, with their offsets.
    pub(super) fn step(&mut self, mut see: impl FnMut(u64, &[u8]) -> ControlFlow<()>) -> io::Result<Step> {
        if self.held == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let length = match self.reader.read(&mut self.buffer[self.held..]) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Step::Again),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.is_archive_cut = true;
                0
            }
            Err(error) => return Err(error),
        };
        if length == 0 {
            if self.held > 0 && !self.is_skipping {
                let flow = see(self.offset, &self.buffer[..self.held]);
                self.offset += std::mem::take(&mut self.held) as u64;
                return Ok(if flow.is_break() { Step::Stopped } else { Step::End });
            }
            return Ok(Step::End);
        }
        self.held += length;
        Ok(self.show(&mut see))
    }

    fn show(&mut self, see: &mut impl FnMut(u64, &[u8]) -> ControlFlow<()>) -> Step {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &self.buffer[..self.held]) {
            let is_rest = std::mem::take(&mut self.is_skipping);
            if !is_rest && see(self.offset + start as u64, &self.buffer[start..end]).is_break() {
                return Step::Stopped;
            }
            start = end + 1;
        }
        if start == 0 && !self.is_skipping && self.held >= MAX_LINE {
            self.n_cut += 1;
            self.is_skipping = true;
            if see(self.offset, &self.buffer[..MAX_LINE]).is_break() {
                return Step::Stopped;
            }
        }
        if self.is_skipping {
            start = self.held;
        }
        self.buffer.copy_within(start..self.held, 0);
        self.held -= start;
        self.offset += start as u64;
        Step::Again
    }
}

/// Pushes every line that begins in a range, without its end, with its offset. Whether there was time for all of them.
pub(super) fn read_lines(
    source: &Source,
    range: Range<u64>,
    deadline: Instant,
    mut push: impl FnMut(u64, &[u8]),
) -> io::Result<bool> {
    let mut reader = LineReader::new(source.content(range.start, Arc::default())?, range.start);
    let mut see = |offset, line: &[u8]| {
        if offset >= range.end {
            return ControlFlow::Break(());
        }
        push(offset, trim(line));
        ControlFlow::Continue(())
    };
    while Instant::now() < deadline {
        if reader.step(&mut see)? != Step::Again {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The begin of the line that an offset falls into, or of the next one.
pub(super) fn line_start(file: &mut File, offset: u64) -> io::Result<u64> {
    if offset == 0 {
        return Ok(0);
    }
    // One byte earlier: if it ends a line, the offset begins one.
    let mut at = offset - 1;
    loop {
        let bytes = read_range(file, at, BLOCK as u64)?;
        if bytes.is_empty() {
            return Ok(at);
        }
        if let Some(end) = memchr::memchr(b'\n', &bytes) {
            return Ok(at + end as u64 + 1);
        }
        at += bytes.len() as u64;
    }
}

fn trim(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::time::Duration;

    fn lines(text: &[u8], begin: u64) -> Vec<(u64, String)> {
        lines_of(text, begin..u64::MAX)
    }

    fn lines_of(text: &[u8], range: Range<u64>) -> Vec<(u64, String)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let source = Source { file, size: text.len() as u64, packing: Packing::Plain };
        let mut found = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        let push = |offset, line: &[u8]| found.push((offset, String::from_utf8_lossy(line).into_owned()));
        assert!(read_lines(&source, range, deadline, push).unwrap());
        found
    }

    #[test]
    fn lines_come_with_their_offsets_and_the_last_without_an_end_too() {
        let expected =
            [(0, "one"), (4, ""), (5, "three"), (12, "cut")].map(|(at, line)| (at, line.to_owned()));
        assert_eq!(lines(b"one\n\nthree\r\ncut", 0), expected);
        assert_eq!(lines(b"one\n\nthree\r\ncut", 5), expected[2..]);
        assert_eq!(lines_of(b"one\n\nthree\r\ncut", 0..5), expected[..2]);
    }

    #[test]
    fn a_line_longer_than_a_block_is_one_line_and_an_endless_one_is_cut() {
        let long = vec![b'a'; BLOCK + 10];
        assert_eq!(lines(&[&long[..], b"\nb\n"].concat(), 0).len(), 2);
        let endless = vec![b'a'; MAX_LINE + 10];
        let found = lines(&endless, 0);
        assert_eq!(found.iter().map(|(_, line)| line.len()).collect::<Vec<_>>(), [MAX_LINE]);
        let found = lines(&[&endless[..], b"\nnext"].concat(), 0);
        assert_eq!(found[1..], [(endless.len() as u64 + 1, "next".to_owned())]);
    }

    /// Gives a few bytes at a time, as a pipe does, and is interrupted now and then.
    struct Dripping<'a> {
        rest: &'a [u8],
        length: usize,
        n_reads: usize,
    }

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.n_reads += 1;
            if self.n_reads.is_multiple_of(5) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let length = self.length.min(self.rest.len()).min(buffer.len());
            let (begin, rest) = self.rest.split_at(length);
            buffer[..length].copy_from_slice(begin);
            self.rest = rest;
            Ok(length)
        }
    }

    #[test]
    fn lines_do_not_depend_on_how_much_is_read_at_once() {
        let endless = [b"a\n".as_slice(), &vec![b'y'; MAX_LINE + 3], b"\n\nend"].concat();
        for (text, lengths) in [
            (b"one\n\ntwo\r\n\nthree".as_slice(), 1..20),
            (b"\n", 1..3),
            (b"", 1..2),
            (&endless, BLOCK - 3..BLOCK),
        ] {
            let expected: Vec<(u64, Vec<u8>)> = {
                let mut offset = 0;
                let whole = text.split_inclusive(|byte| *byte == b'\n').map(|line| {
                    let begin = offset;
                    offset += line.len() as u64;
                    let line = line.strip_suffix(b"\n").unwrap_or(line);
                    (begin, line[..line.len().min(MAX_LINE)].to_vec())
                });
                whole.collect()
            };
            for length in lengths {
                let mut found = Vec::new();
                let mut reader = LineReader::new(Dripping { rest: text, length, n_reads: 0 }, 0);
                let mut see = |offset, line: &[u8]| {
                    found.push((offset, line.to_vec()));
                    ControlFlow::Continue(())
                };
                while reader.step(&mut see).unwrap() != Step::End {}
                assert_eq!(reader.end(), text.len() as u64);
                assert!(found == expected, "{length} bytes at a time");
            }
        }
    }

    #[test]
    fn packed_files_are_unpacked_whatever_their_names_are() {
        let text = b"one\ntwo\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text).unwrap();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log.1").display().to_string();
        for bytes in [gzip.finish().unwrap(), zstd, text.to_vec()] {
            std::fs::write(&path, bytes).unwrap();
            let root = crate::root::RootDir::open(why502_facts::Root::Host).unwrap();
            let (file, stat) = root.open_file(&path).unwrap();
            let source = Source::of(file, &stat).unwrap();
            let mut n_lines = 0;
            let deadline = Instant::now() + Duration::from_secs(10);
            assert!(read_lines(&source, 0..u64::MAX, deadline, |_, _| n_lines += 1).unwrap());
            assert_eq!(n_lines, 2);
        }
    }

    #[test]
    fn the_start_of_a_line_is_found_from_within() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one\ntwo\nthree").unwrap();
        let starts: Vec<u64> = (0..9).map(|offset| line_start(&mut file, offset).unwrap()).collect();
        assert_eq!(starts, [0, 4, 4, 4, 4, 8, 8, 8, 8]);
    }
}
