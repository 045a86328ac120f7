//! Any bytes as a log that something else wrapped: what is told of it, and what is left when the wrapping is taken off.
#![no_main]

use libfuzzer_sys::fuzz_target;
use why502_decode::logs::{Envelope, LogContent, Unwrapper};

fuzz_target!(|text: &[u8]| {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    Envelope::guess(&lines);
    LogContent::tell(&lines);
    for envelope in Envelope::ALL {
        let mut n_bytes = 0;
        let mut unwrapper = Unwrapper::new(envelope);
        let mut offset = 0;
        for line in &lines {
            unwrapper.push(offset, line, &mut |peeled| n_bytes += peeled.line.len());
            offset += line.len() as u64 + 1;
        }
        unwrapper.finish(&mut |peeled| n_bytes += peeled.line.len());
        // A code point that is spelt in six bytes takes three at most.
        assert!(n_bytes <= 3 * text.len() + 3, "{envelope:?} makes {n_bytes} of {}", text.len());
    }
});
