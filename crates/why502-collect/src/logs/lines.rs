//! Whole lines of a file, plain or compressed.

use super::read_range;
use super::rotation::Rotated;
use crate::root::RootDir;
use flate2::read::MultiGzDecoder;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::ops::Range;
use std::time::Instant;
use why502_facts::Stamp;

const BLOCK: usize = 256 * 1024;
/// A longer line is cut: nothing that a gateway logs comes near it.
const MAX_LINE: usize = 1 << 20;
/// The most bytes that a compressed file may unpack to.
const MAX_UNPACKED: u64 = 16 << 30;

/// A file of a log.
pub(super) struct Source {
    file: File,
    size: u64,
    packing: Packing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Plain,
    Zstd,
}

impl Source {
    pub(super) fn open(directory: &RootDir, file: &Rotated) -> Result<Self, Errno> {
        let packing = match file.extension() {
            "gz" => Packing::Gzip,
            "zst" => Packing::Zstd,
            _ => Packing::Plain,
        };
        let (file, stat) = directory.open_file(&file.path)?;
        Ok(Self { file, size: u64::try_from(stat.st_size).unwrap_or(0), packing })
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
        self.unpacked(0)?.take(BLOCK as u64).read_to_end(&mut begin)?;
        Ok(begin.split(|byte| *byte == b'\n').find_map(stamp))
    }

    fn unpacked(&self, begin: u64) -> io::Result<Box<dyn Read>> {
        let mut file = self.file.try_clone()?;
        Ok(match self.packing {
            Packing::Plain => {
                file.seek(SeekFrom::Start(begin))?;
                Box::new(file)
            }
            Packing::Gzip => {
                file.rewind()?;
                Box::new(MultiGzDecoder::new(file).take(MAX_UNPACKED))
            }
            Packing::Zstd => {
                file.rewind()?;
                Box::new(zstd::Decoder::new(file)?.take(MAX_UNPACKED))
            }
        })
    }
}

/// Pushes every line that begins in a range, without its end, with its offset. Whether there was time for all of them.
///
/// A last line without an end is pushed too: files that people send are cut like that.
pub(super) fn read_lines(
    source: &Source,
    range: Range<u64>,
    deadline: Instant,
    mut push: impl FnMut(u64, &[u8]),
) -> io::Result<bool> {
    let mut reader = source.unpacked(range.start)?;
    let mut buffer = vec![0; BLOCK];
    let mut held = 0;
    let mut offset = range.start;
    while offset < range.end {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        if held == buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
        let length = match reader.read(&mut buffer[held..]) {
            Ok(length) => length,
            // A cut archive gives what it holds.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error),
        };
        if length == 0 {
            if held > 0 {
                push(offset, trim(&buffer[..held]));
            }
            return Ok(true);
        }
        held += length;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &buffer[..held]) {
            if offset + start as u64 >= range.end {
                return Ok(true);
            }
            push(offset + start as u64, trim(&buffer[start..end]));
            start = end + 1;
        }
        if start == 0 && held >= MAX_LINE {
            push(offset, trim(&buffer[..held]));
            start = held;
        }
        buffer.copy_within(start..held, 0);
        held -= start;
        offset += start as u64;
    }
    Ok(true)
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
        assert_eq!(found.len(), 2);
        assert_eq!(found.iter().map(|(_, line)| line.len()).sum::<usize>(), endless.len());
    }

    #[test]
    fn packed_files_are_unpacked() {
        let text = b"one\ntwo\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text).unwrap();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        for (bytes, packing) in [(gzip.finish().unwrap(), Packing::Gzip), (zstd, Packing::Zstd)] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let source = Source { file, size: bytes.len() as u64, packing };
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
