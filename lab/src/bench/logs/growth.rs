//! Time and memory of logs that grow: the time shall grow with them, the memory shall not.

use super::{combined, status, survey, write_lines};
use crate::output::{complain, say};
use anyhow::Result;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// The sizes, in the unit of the others' logs: 1, 2, 4, 8 and 10 GB.
const SIZES: [u64; 5] = [1, 2, 4, 8, 10];

pub(super) fn run(why502: &Path, dir: &Path, unit: u64) -> Result<()> {
    let path = dir.join("growth.log");
    say(&format!("{:<44} {:>9} {:>9} {:>9}  target", "a log that grows", "time", "rate", "memory"));
    let (mut n, mut written) = (0, 0);
    for size in SIZES.map(|factor| factor * unit) {
        complain(&format!("a log that grows: {}", super::super::gigabytes(size)));
        let mut file = BufWriter::new(OpenOptions::new().append(true).create(true).open(&path)?);
        n = write_lines(&mut file, n, size - written, |n| combined(n, status(n)))?;
        file.flush()?;
        written = size;
        let measured = survey(why502, dir, &path)?;
        let seconds = measured.elapsed.as_secs_f64();
        let rate = f64::from(u32::try_from(size / 1_000_000)?) / seconds;
        let memory = measured.peak_kib.div_ceil(1024);
        say(&format!(
            "{:<44} {seconds:>7.3} s {rate:>4.0} MB/s {memory:>6} MiB  at most 64 MiB",
            super::super::gigabytes(size)
        ));
    }
    Ok(std::fs::remove_file(&path)?)
}
