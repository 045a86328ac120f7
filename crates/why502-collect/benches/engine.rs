//! How fast whole files are digested: `cargo bench -p why502-collect --bench engine -- [--threads N] (--access FORMAT|--error) FILE…`.
//!
//! `--access guess` recognises the format from the begin of the first file. What is printed: seconds, megabytes (10^6 bytes)
//! per second, and what was found, so that a fast nonsense is seen to be one.

use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use why502_collect::{Engine, LogPart};
use why502_decode::logs::{AccessFormat, AccessSource, DigestOptions, Extent, guess_format};
use why502_facts::{AccessLogFormat, FormatEscape, LogClock, LogClockSource};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench").peekable();
    let mut n_threads = NonZeroUsize::MIN.saturating_add(1);
    let mut format = None;
    let mut files = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--threads" => n_threads = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(n_threads),
            "--access" => format = arguments.next(),
            "--error" => format = None,
            _ => files.push(argument),
        }
    }
    let Some(first) = files.first() else { return Ok(()) };
    let format = format.map(|text| compile(&text, first)).transpose()?;
    let begin = Instant::now();
    let (n_bytes, told) = digest(n_threads, format.as_ref(), &files);
    report(n_bytes, begin.elapsed().as_secs_f64(), &told);
    Ok(())
}

fn compile(text: &str, first: &str) -> std::io::Result<AccessFormat> {
    let source = if text == "guess" {
        let mut begin = Vec::new();
        File::open(first)?.take(64 << 10).read_to_end(&mut begin)?;
        let lines: Vec<&[u8]> = begin.split(|byte| *byte == b'\n').collect();
        guess_format(&lines).map(|(format, ..)| format)
    } else {
        Some(AccessLogFormat { text: text.to_owned(), escape: FormatEscape::Default })
    };
    let compiled = source.and_then(|source| AccessFormat::compile(&source).ok());
    compiled.ok_or_else(|| std::io::Error::other("no such format"))
}

fn digest(n_threads: NonZeroUsize, format: Option<&AccessFormat>, files: &[String]) -> (u64, String) {
    let stop = AtomicBool::new(false);
    let engine = Engine { n_threads, progress: &|_| (), stop: &stop };
    let parts = files.iter().filter_map(|path| {
        let part: LogPart = (path.as_str().into(), Box::new(File::open(path).ok()?));
        Some(part)
    });
    let options = DigestOptions {
        log: &files[0],
        from: None,
        to: None,
        max_records: 100_000,
        route: None,
        extent: Extent::Survey,
    };
    if let Some(format) = format {
        let digested = engine.digest_accesses(parts, options, AccessSource { format, guessed: false });
        let digest = digested.digester.finish();
        let totals: Vec<_> = digest.totals.iter().map(|total| (total.status, total.n_requests)).collect();
        let (n_records, n_unparsed) = (digest.records.len(), digest.coverage.n_unparsed);
        let text = &format.source().text;
        return (digested.n_bytes, format!("{totals:?}, {n_records} records, {n_unparsed} unparsed, {text}"));
    }
    let clock = LogClock { offset_seconds: 0, source: LogClockSource::Assumed };
    let digested = engine.digest_errors(parts, options, clock);
    let digest = digested.digester.finish();
    (digested.n_bytes, format!("{:?}, {} records", digest.levels, digest.records.len()))
}

#[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn report(n_bytes: u64, seconds: f64, told: &str) {
    #[expect(clippy::cast_precision_loss, reason = "a rate for humans")]
    let rate = n_bytes as f64 / seconds / 1e6;
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = peak.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default().to_owned();
    println!("{seconds:.3} s, {rate:.0} MB/s, {peak}: {told}");
}
