//! Stamps, read by the one before.

use crate::logs::format::{AccessFormat, AccessLine, Field};
use crate::logs::stamps;
use why502_facts::Stamp;

/// The longest notation of a moment that is remembered.
const MAX_LEN: usize = 40;
/// The length of `$time_local`.
const TIME_LOCAL: usize = "21/Nov/2026:02:28:30 +0000".len();
/// Where its seconds stand.
const TIME_LOCAL_SECONDS: usize = "21/Nov/2026:02:28:".len();
/// Where those of `$time_iso8601` stand.
const ISO8601_SECONDS: usize = "2026-11-21T02:28:".len();

/// The moment of the line before: within a minute only two digits of a stamp change, and the rest need not be read again.
#[derive(Debug)]
pub(super) struct StampMemo {
    /// The variable that is remembered; `None` if the format has finer stamps, or none.
    field: Option<Field>,
    /// The last `$time_local`: most lines have that of the line before.
    last: ([u8; TIME_LOCAL], Option<Stamp>),
    text: [u8; MAX_LEN],
    length: usize,
    /// The begin of the minute, with the fraction of the second.
    minute: i64,
}

impl StampMemo {
    pub(super) fn new(format: &AccessFormat) -> Self {
        let field = [Field::TimeIso8601, Field::TimeLocal].into_iter().find(|&field| format.has(field));
        let field = field.filter(|_| !format.has(Field::Msec));
        Self { field, last: ([0; TIME_LOCAL], None), text: [0; MAX_LEN], length: 0, minute: 0 }
    }

    /// The stamp of a line, as [`AccessLine::stamp`] tells it.
    #[inline]
    pub(super) fn stamp(&mut self, parsed: &AccessLine<'_>) -> Option<Stamp> {
        let Some(field) = self.field else { return parsed.stamp() };
        let text = parsed.raw(field)?;
        let moment = <&[u8; TIME_LOCAL]>::try_from(text).ok().filter(|_| field == Field::TimeLocal);
        if let Some(moment) = moment
            && is_same(moment, &self.last.0)
        {
            return self.last.1;
        }
        let stamp = self.read(parsed, field, text);
        if let Some(moment) = moment {
            self.last = (*moment, stamp);
        }
        stamp
    }

    fn read(&mut self, parsed: &AccessLine<'_>, field: Field, text: &[u8]) -> Option<Stamp> {
        let seconds = if field == Field::TimeLocal { TIME_LOCAL_SECONDS } else { ISO8601_SECONDS };
        if let Some(second) = self.second(text, seconds) {
            return Some(Stamp(self.minute + second * 1000));
        }
        let read = if field == Field::TimeLocal { stamps::time_local } else { stamps::time_iso8601 };
        let Some(stamp) = read(text) else {
            // The other notation, if the line has both.
            return parsed.stamp();
        };
        self.remember(text, seconds, stamp);
        Some(stamp)
    }

    /// The seconds of a moment, if it differs from the remembered one in nothing else.
    fn second(&self, text: &[u8], seconds: usize) -> Option<i64> {
        if self.length == 0 || text.len() != self.length {
            return None;
        }
        let known = &self.text[..self.length];
        let same = text[..seconds] == known[..seconds] && text[seconds + 2..] == known[seconds + 2..];
        let second = [text[seconds], text[seconds + 1]];
        // Up to 59 at least it is the same minute; a leap second is read like any other moment.
        match second {
            [tens @ b'0'..=b'5', ones @ b'0'..=b'9'] if same => {
                Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
            }
            _ => None,
        }
    }

    fn remember(&mut self, text: &[u8], seconds: usize, stamp: Stamp) {
        self.length = 0;
        let Some(second) = text.get(seconds..seconds + 2) else { return };
        let [tens @ b'0'..=b'5', ones @ b'0'..=b'9'] = *second else { return };
        if text.len() > MAX_LEN {
            return;
        }
        self.text[..text.len()].copy_from_slice(text);
        self.length = text.len();
        self.minute = stamp.0 - (i64::from(tens - b'0') * 10 + i64::from(ones - b'0')) * 1000;
    }
}

/// Whether two moments are the same, without a call for so few bytes.
#[inline]
fn is_same(one: &[u8; TIME_LOCAL], other: &[u8; TIME_LOCAL]) -> bool {
    let differs = |at: usize| {
        let word =
            |text: &[u8; TIME_LOCAL]| text[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        word(one) ^ word(other)
    };
    differs(0) | differs(8) | differs(16) | differs(TIME_LOCAL - 8) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use why502_facts::{AccessLogFormat, FormatEscape};

    fn moment() -> impl Strategy<Value = String> {
        let zone = prop::sample::select(vec!["+0000", "-0530", "+00:00", "Z", ""]);
        let fraction = prop::sample::select(vec!["", "", ".5", ".25"]);
        (0u32..2, 0u32..3, 0u32..62, zone, fraction, any::<bool>()).prop_map(
            |(hour, minute, second, zone, fraction, iso)| {
                if iso {
                    format!("2026-11-21T{hour:02}:{minute:02}:{second:02}{fraction}{zone}")
                } else {
                    format!("21/Nov/2026:{hour:02}:{minute:02}:{second:02} {zone}")
                }
            },
        )
    }

    proptest! {
        #[test]
        fn the_line_before_changes_no_stamp(
            moments in prop::collection::vec((moment(), moment()), 1..20), cut in 0usize..30,
        ) {
            for text in ["$time_local|$status", "$time_iso8601|$status", "\"$time_iso8601\" \"$time_local\" $status"] {
                let source = AccessLogFormat { text: text.to_owned(), escape: FormatEscape::Default };
                let format = AccessFormat::compile(&source).unwrap();
                let mut memo = StampMemo::new(&format);
                for (one, other) in &moments {
                    let cut = &one[..cut.min(one.len())];
                    for line in [
                        format!("{one}|200"), format!("{cut}|200"), format!("\"{one}\" \"{other}\" 200"),
                        format!("\"{cut}\" \"{other}\" 200"),
                    ] {
                        let Some(parsed) = format.parse(line.as_bytes()) else { continue };
                        prop_assert_eq!(memo.stamp(&parsed), parsed.stamp(), "{}", line);
                    }
                }
            }
        }
    }
}
