//! A format in the first line, and lines of an access log behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use why502_decode::logs::{AccessFormat, guess_format};
use why502_facts::{AccessLogFormat, FormatEscape};

fuzz_target!(|text: &[u8]| {
    let mut lines = text.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let lines: Vec<&[u8]> = lines.collect();
    guess_format(&lines);
    for escape in [FormatEscape::Default, FormatEscape::Json, FormatEscape::None] {
        let Ok(format) = AccessFormat::compile(&AccessLogFormat { text: first.clone(), escape }) else {
            continue;
        };
        for line in &lines {
            format.stamp(line);
            if let Some(parsed) = format.parse(line) {
                parsed.stamp();
                parsed.status();
                parsed.request_ms();
            }
        }
    }
});
