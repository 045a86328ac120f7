//! A format in the first line, and a log behind it: cut in two anywhere, its digests make that of the whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use why502_decode::logs::{AccessDigester, AccessFormat, AccessSource, DigestOptions, ErrorDigester, Extent, guess_format};
use why502_facts::{AccessLogFormat, FormatEscape, LogClock, LogClockSource};

const OPTIONS: DigestOptions<'static> =
    DigestOptions { log: "log", from: None, to: None, max_records: 3, route: None, extent: Extent::Survey };
const CLOCK: LogClock = LogClock { offset_seconds: 0, source: LogClockSource::Assumed };

fuzz_target!(|text: &[u8]| {
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else { return };
    let (first, log) = (String::from_utf8_lossy(&text[..end]).into_owned(), &text[end + 1..]);
    let middle = log[log.len() / 2..].iter().position(|byte| *byte == b'\n').map_or(log.len(), |at| log.len() / 2 + at + 1);
    let file: Arc<str> = "log".into();
    let errors = |cut: usize| {
        let mut whole = ErrorDigester::new(OPTIONS, CLOCK);
        whole.lines(&file, 0, &log[..cut]);
        let mut later = ErrorDigester::with_room(OPTIONS, CLOCK, whole.room());
        later.lines(&file, cut as u64, &log[cut..]);
        whole.merge(later);
        whole.finish()
    };
    assert_eq!(errors(middle), errors(log.len()));
    let lines: Vec<&[u8]> = log.split(|byte| *byte == b'\n').collect();
    let named = [FormatEscape::Default, FormatEscape::Json, FormatEscape::None]
        .map(|escape| AccessLogFormat { text: first.clone(), escape });
    for format in named.into_iter().chain(guess_format(&lines).map(|(format, ..)| format)) {
        let Ok(format) = AccessFormat::compile(&format) else { continue };
        let source = AccessSource { format: &format, guessed: false };
        let accesses = |cut: usize| {
            let mut whole = AccessDigester::new(OPTIONS, source);
            whole.lines(&file, 0, &log[..cut]);
            let mut later = AccessDigester::with_room(OPTIONS, source, whole.room());
            later.lines(&file, cut as u64, &log[cut..]);
            whole.merge(later);
            whole.finish()
        };
        assert_eq!(accesses(middle), accesses(log.len()));
    }
});
