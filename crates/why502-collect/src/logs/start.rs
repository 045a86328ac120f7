//! Where a window begins in a file, by bisection over the stamps of its lines.

use super::read_range;
use std::fs::File;
use std::io;
use std::time::Duration;
use why502_facts::Stamp;

/// How much is read to find a line with a stamp.
const BLOCK: u64 = 64 * 1024;
/// Lines are written when requests end, and by several workers: their stamps may be this much out of order.
const DISORDER: Duration = Duration::from_mins(1);

/// The offset from which on a file must be read for a window that begins at `from`, and whether the file reaches back
/// beyond it. Lines before the offset are older than `from`.
pub(super) fn find_start(
    file: &mut File,
    size: u64,
    from: Stamp,
    stamp: &dyn Fn(&[u8]) -> Option<Stamp>,
) -> io::Result<(u64, bool)> {
    let wanted = from.before(DISORDER);
    let (mut low, mut high) = (0, size);
    let mut reached = false;
    while high - low > BLOCK {
        let middle = low + (high - low) / 2;
        match first_stamp(file, middle, high, stamp)? {
            Some((at, found)) if found < wanted => {
                low = at;
                reached = true;
            }
            // No stamp up to the end of the range: what is wanted lies before it.
            _ => high = middle,
        }
    }
    if !reached {
        reached = first_stamp(file, low, size, stamp)?.is_some_and(|(_, first)| first < from);
    }
    Ok((low, reached))
}

/// The offset after which no line of a file is as old as `to`.
pub(super) fn find_end(
    file: &mut File,
    size: u64,
    to: Stamp,
    stamp: &dyn Fn(&[u8]) -> Option<Stamp>,
) -> io::Result<u64> {
    let (start, _) = find_start(file, size, to.after(2 * DISORDER), stamp)?;
    Ok(start.saturating_add(BLOCK).min(size))
}

/// The first line at or after an offset that has a stamp: where it begins, and its stamp.
fn first_stamp(
    file: &mut File,
    begin: u64,
    end: u64,
    stamp: &dyn Fn(&[u8]) -> Option<Stamp>,
) -> io::Result<Option<(u64, Stamp)>> {
    let mut at = begin;
    while at < end {
        let bytes = read_range(file, at, BLOCK)?;
        let mut offset = 0;
        // The line that the offset falls into is cut, unless the file begins here.
        let mut is_whole = at == 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let found = if is_whole && line.ends_with(b"\n") { stamp(line.trim_ascii_end()) } else { None };
            if let Some(found) = found {
                return Ok(Some((at + offset, found)));
            }
            is_whole = true;
            offset += line.len() as u64;
        }
        if bytes.is_empty() {
            break;
        }
        // The last line of the block may be cut: the next block begins with it.
        let last = bytes.iter().rposition(|byte| *byte == b'\n').map_or(bytes.len(), |at| at.max(1));
        at += u64::try_from(last).unwrap_or(BLOCK);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn stamp(line: &[u8]) -> Option<Stamp> {
        std::str::from_utf8(line.get(..8)?).ok()?.parse().ok().map(Stamp)
    }

    /// Lines of rising stamps, one per second, padded; some lines have no stamp.
    fn log(n_lines: i64) -> File {
        let mut file = tempfile::tempfile().unwrap();
        for second in 0..n_lines {
            writeln!(file, "{:08} {}", second * 1000, "x".repeat(100)).unwrap();
            if second % 7 == 0 {
                writeln!(file, "continuation of the line before").unwrap();
            }
        }
        file
    }

    #[test]
    fn the_start_is_before_the_window_and_not_far_before() {
        let n_lines = 20_000;
        let mut file = log(n_lines);
        let size = file.metadata().unwrap().len();
        for second in [100, 5000, 12_345, 19_999] {
            let from = Stamp(second * 1000);
            let (start, reached) = find_start(&mut file, size, from, &stamp).unwrap();
            let (_, found) = first_stamp(&mut file, start, size, &stamp).unwrap().unwrap();
            assert!(reached && found < from, "{second}: {found:?}");
            assert!(second - found.0 / 1000 < 60 + 2 * 64 * 1024 / 110, "{second}: {found:?}");
        }
    }

    #[test]
    fn nothing_of_the_window_lies_behind_its_end_and_little_else_before_it() {
        let mut file = log(20_000);
        let size = file.metadata().unwrap().len();
        let end = find_end(&mut file, size, Stamp(5_000_000), &stamp).unwrap();
        let (_, behind) = first_stamp(&mut file, end, size, &stamp).unwrap().unwrap();
        assert!((5_060_000..7_000_000).contains(&behind.0), "{behind:?}");
        assert_eq!(find_end(&mut file, size, Stamp(19_999_000), &stamp).unwrap(), size);
    }

    #[test]
    fn a_window_before_the_file_begins_at_its_start() {
        let mut file = log(5000);
        let size = file.metadata().unwrap().len();
        assert_eq!(find_start(&mut file, size, Stamp(-1), &stamp).unwrap(), (0, false));
    }

    #[test]
    fn a_file_without_stamps_is_read_whole() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'a'; 300_000]).unwrap();
        assert_eq!(find_start(&mut file, 300_000, Stamp(5), &stamp).unwrap(), (0, false));
    }
}
