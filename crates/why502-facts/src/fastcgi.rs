//! The records of FastCGI in bytes that came: decoding needs them, and so does masking, which must leave them whole.

use std::ops::Range;

/// The length of a record's header, in bytes (FastCGI 1.0, section 3.3).
const HEADER_LENGTH: usize = 8;
/// The types of records that carry a stream of an application (section 8).
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// One record, as far as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastCgiRecord {
    /// Its type.
    pub kind: u8,
    /// Where its content stands, without the padding.
    pub content: Range<usize>,
    /// Whether its content and padding came in full.
    pub complete: bool,
}

/// The records that some bytes begin with; ends at the first bytes that are no header of version 1.
#[derive(Clone, Debug)]
pub struct FastCgiRecords<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> FastCgiRecords<'a> {
    /// The records of an application's answer.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl Iterator for FastCgiRecords<'_> {
    type Item = FastCgiRecord;

    fn next(&mut self) -> Option<FastCgiRecord> {
        let rest = self.bytes.get(self.at..)?;
        let &[1, kind, _, _, high, low, padding, _, ..] = rest else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let begin = self.at + HEADER_LENGTH;
        let end = begin + length + usize::from(padding);
        self.at = end;
        Some(FastCgiRecord {
            kind,
            content: begin..(begin + length).min(self.bytes.len()),
            complete: end <= self.bytes.len(),
        })
    }
}

/// Replaces what `mask` replaces in the streams of an application; the records stay as they are, and a text that is cut by
/// one is masked as a whole. Bytes that are no FastCGI are masked as they stand.
pub(crate) fn mask_streams(bytes: &mut [u8], mask: impl Fn(&[u8]) -> Vec<u8>) {
    let records: Vec<FastCgiRecord> = FastCgiRecords::new(bytes).collect();
    let known_end = records.last().map_or(0, |record| record.content.end);
    for kind in [STDOUT, STDERR] {
        let spans =
            || records.iter().filter(|record| record.kind == kind).map(|record| record.content.clone());
        let text: Vec<u8> = spans().flat_map(|span| bytes[span].to_vec()).collect();
        let masked = mask(&text);
        let mut rest = masked.as_slice();
        for span in spans() {
            let (own, others) = rest.split_at(span.len().min(rest.len()));
            bytes[span].copy_from_slice(own);
            rest = others;
        }
    }
    let masked = mask(&bytes[known_end..]);
    bytes[known_end..].copy_from_slice(&masked);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask_secrets;

    fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let mut bytes = vec![1, kind, 0, 1, high, low, padding, 0];
        bytes.extend(content);
        bytes.extend(vec![0; usize::from(padding)]);
        bytes
    }

    #[test]
    fn records_are_told_apart() {
        let bytes = [record(STDERR, b"oops", 4), record(STDOUT, b"", 0), record(3, &[0; 8], 0)].concat();
        let found: Vec<_> =
            FastCgiRecords::new(&bytes).map(|own| (own.kind, own.content.len(), own.complete)).collect();
        assert_eq!(found, [(STDERR, 4, true), (STDOUT, 0, true), (3, 8, true)]);
        let cut: Vec<_> = FastCgiRecords::new(&bytes[..14]).map(|own| (own.content, own.complete)).collect();
        assert_eq!(cut, [(8..12, false)]);
        assert_eq!(FastCgiRecords::new(b"HTTP/1.1 200 OK").count(), 0);
    }

    #[test]
    fn a_secret_that_records_cut_is_masked_and_the_records_stay() {
        let mask = |text: &[u8]| mask_secrets(text).into_owned();
        let mut bytes = [
            record(STDOUT, b"Set-Cookie: sid=abc", 5),
            record(STDERR, b"note", 0),
            record(STDOUT, b"def\r\n\r\nbody", 0),
        ]
        .concat();
        let kinds = |bytes: &[u8]| FastCgiRecords::new(bytes).map(|own| own.kind).collect::<Vec<_>>();
        let (before, length) = (kinds(&bytes), bytes.len());
        mask_streams(&mut bytes, mask);
        assert_eq!((kinds(&bytes), bytes.len()), (before, length));
        let text = crate::lossy(&bytes);
        assert!(!text.contains("abc") && !text.contains("def") && text.contains("note"), "{text}");
    }

    #[test]
    fn what_is_no_fastcgi_is_masked_as_it_stands() {
        let mut bytes = b"Set-Cookie: sid=abc\r\n".to_vec();
        mask_streams(&mut bytes, |text| mask_secrets(text).into_owned());
        assert!(!crate::lossy(&bytes).contains("abc"));
    }
}
