//! Any bytes as a bundle: as the archive, and as its entries. What can be read can be decoded, and written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use why502_facts::Bundle;

/// What stands between two entries.
const MARK: &[u8] = b"\n#- ";

fuzz_target!(|text: &[u8]| {
    drop(Bundle::read_archive(text));
    let Ok(bundle) = Bundle::from_entries(&entries(text)) else { return };
    why502_decode::load(&bundle);
    let again = bundle.to_entries().expect("what was read can be written");
    assert_eq!(Bundle::from_entries(&again).expect("and read again"), bundle);
});

/// `\n#- NAME\n` begins an entry.
fn entries(text: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some(begin) = rest.windows(MARK.len()).position(|part| part == MARK) {
        rest = &rest[begin + MARK.len()..];
        let name_end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let (name, content) = rest.split_at(name_end);
        let content = content.strip_prefix(b"\n").unwrap_or(content);
        let end = content.windows(MARK.len()).position(|part| part == MARK).unwrap_or(content.len());
        found.insert(String::from_utf8_lossy(name).into_owned(), content[..end].to_vec());
        rest = &content[end..];
    }
    found
}
