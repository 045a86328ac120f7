//! The attempts on upstreams, from the variables that hold one value for each.

use super::line::AccessLine;
use super::shape::{elements, first_element};
use super::variable::Field;
use crate::logs::stamps::digits;
use std::sync::Arc;
use why502_facts::Try;

/// No gateway tries more often; a longer list is hostile or broken.
const MAX_TRIES: usize = 64;

impl AccessLine<'_> {
    /// The attempts; empty where none was made, `None` where the format does not tell.
    ///
    /// All lists are aligned by position. An internal redirect whose target died before a peer was chosen leaves an
    /// empty last element: the attempt is there, nothing else of it is known.
    pub fn tries(&self, mut intern: impl FnMut(&[u8]) -> Arc<str>) -> Option<Vec<Try>> {
        let columns = Field::TRIES.map(|field| self.list(field));
        let length = columns.iter().flatten().map(|list| elements(list).count()).max();
        let Some(length) = length else {
            return self.format().has_upstream().then(Vec::new);
        };
        let mut tries = vec![Try::default(); length.min(MAX_TRIES)];
        for (field, list) in Field::TRIES.into_iter().zip(columns) {
            let Some(list) = list else { continue };
            for (one, (element, redirected)) in tries.iter_mut().zip(elements(list)) {
                one.redirected |= redirected;
                fill(one, field, element, &mut intern);
            }
        }
        Some(tries)
    }

    /// Shows the peer and the times of each attempt; the peer is empty where none is told.
    pub(crate) fn each_attempt(&self, see: &mut impl FnMut(&[u8], AttemptTimes)) {
        if !self.format().has_upstream() || !self.any_attempt() {
            return;
        }
        let fields = [
            Field::UpstreamAddr,
            Field::UpstreamConnectTime,
            Field::UpstreamHeaderTime,
            Field::UpstreamResponseTime,
            Field::UpstreamStatus,
        ];
        let mut lists = fields.map(|field| self.raw(field));
        for _ in 0..MAX_TRIES {
            let [peer, connect, header, response, _] = lists.each_mut().map(next_element);
            let [connect, header, response] = [connect, header, response].map(milliseconds);
            see(peer, AttemptTimes { connect, header, response });
            if lists.iter().all(Option::is_none) {
                return;
            }
        }
    }

    /// The value of a list, unless it says that no attempt was made.
    fn list(&self, field: Field) -> Option<&[u8]> {
        if !self.any_attempt() {
            return None;
        }
        self.raw(field)
    }
}

/// How long an attempt took, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptTimes {
    pub(crate) connect: Option<u32>,
    pub(crate) header: Option<u32>,
    pub(crate) response: Option<u32>,
}

fn fill(one: &mut Try, field: Field, element: &[u8], intern: &mut impl FnMut(&[u8]) -> Arc<str>) {
    match field {
        Field::UpstreamAddr => one.peer = (!element.is_empty()).then(|| intern(element)),
        Field::UpstreamStatus => one.status = digits(element).and_then(|status| u16::try_from(status).ok()),
        Field::UpstreamConnectTime => one.connect_ms = milliseconds(element),
        Field::UpstreamHeaderTime => one.header_ms = milliseconds(element),
        Field::UpstreamResponseTime => one.response_ms = milliseconds(element),
        Field::UpstreamBytesReceived => one.bytes_received = digits(element),
        Field::UpstreamBytesSent => one.bytes_sent = digits(element),
        _ => {}
    }
}

/// Takes the first element of what is left of a list; nothing is left of none.
fn next_element<'a>(rest: &mut Option<&'a [u8]>) -> &'a [u8] {
    let (element, after) = rest.map_or((b"".as_slice(), None), first_element);
    *rest = after.map(|(rest, _)| rest);
    element
}

/// `S.mmm` in milliseconds.
pub(crate) fn milliseconds(text: &[u8]) -> Option<u32> {
    // Nearly all are so short.
    if let [seconds @ b'0'..=b'9', b'.', tenths @ b'0'..=b'9', hundredths @ b'0'..=b'9', last @ b'0'..=b'9'] =
        text
    {
        let digit = |byte: &u8| u32::from(byte - b'0');
        return Some(digit(seconds) * 1000 + digit(tenths) * 100 + digit(hundredths) * 10 + digit(last));
    }
    let (seconds, fraction) = match memchr::memchr(b'.', text) {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, b"0".as_slice()),
    };
    let scale = 10_u64.pow(3_u32.checked_sub(u32::try_from(fraction.len()).ok()?)?);
    u32::try_from(digits(seconds)?.checked_mul(1000)? + digits(fraction)? * scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::AccessFormat;
    use why502_facts::{AccessLogFormat, FormatEscape};

    const LIST: &str =
        "us=$upstream_status|ua=$upstream_addr|uct=$upstream_connect_time|urt=$upstream_response_time";

    fn tries(text: &str, escape: FormatEscape, line: &str) -> Vec<Try> {
        let format = AccessFormat::compile(&AccessLogFormat { text: text.to_owned(), escape }).unwrap();
        let parsed = format.parse(line.as_bytes()).unwrap();
        parsed.tries(|text| why502_facts::lossy(text).into()).unwrap()
    }

    #[test]
    fn columns_are_aligned() {
        let line = "us=502, 504 : 200|ua=127.0.0.1:1, unix:/a : 127.0.0.1:2|uct=-, 0.001 : 0.002|urt=0.000, 2.002 : 1.5";
        let tries = tries(LIST, FormatEscape::Default, line);
        assert_eq!(tries.iter().map(|one| one.status).collect::<Vec<_>>(), [Some(502), Some(504), Some(200)]);
        assert_eq!(tries[1].peer.as_deref(), Some("unix:/a"));
        assert_eq!((tries[0].connect_ms, tries[1].connect_ms), (None, Some(1)));
        assert_eq!((tries[1].response_ms, tries[2].response_ms), (Some(2002), Some(1500)));
        assert_eq!(tries.iter().map(|one| one.redirected).collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn no_attempt_and_one_that_died_early_are_apart() {
        assert!(tries(LIST, FormatEscape::Default, "us=-|ua=-|uct=-|urt=-").is_empty());
        let died = tries(LIST, FormatEscape::Default, "us=-|ua=|uct=-|urt=0.000");
        assert_eq!((died.len(), died[0].peer.as_deref(), died[0].response_ms), (1, None, Some(0)));
        assert!(tries(LIST, FormatEscape::Json, "us=|ua=|uct=|urt=").is_empty());
        assert_eq!(tries(LIST, FormatEscape::Json, "us=-|ua=|uct=-|urt=0.000").len(), 1);
        let gone = tries(LIST, FormatEscape::Default, "us=-|ua=127.0.0.1:1|uct=0.000|urt=0.455");
        assert_eq!((gone[0].status, gone[0].peer.as_deref()), (None, Some("127.0.0.1:1")));
    }

    #[test]
    fn times_are_read_in_milliseconds() {
        assert_eq!(milliseconds(b"1.5"), Some(1500));
        assert_eq!(milliseconds(b"60"), Some(60_000));
        assert_eq!(milliseconds(b"0.0001"), None);
        assert_eq!(milliseconds(b"-"), None);
    }
}
