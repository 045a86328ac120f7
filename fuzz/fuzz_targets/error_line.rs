//! Any bytes as a line of an error log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use why502_decode::logs::{classify_start_up, parse_error_line, stamp_of_error_line};

fuzz_target!(|text: &[u8]| {
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(parsed) = parse_error_line(line) {
            parsed.classify();
        }
        classify_start_up(line);
        stamp_of_error_line(line);
    }
});
