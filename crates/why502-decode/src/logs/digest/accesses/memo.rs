//! Stamps, read by the one before.

use crate::logs::format::{AccessLine, Field};
use crate::logs::stamps;
use why502_facts::Stamp;

/// The longest notation of a moment that is remembered.
const MAX_LEN: usize = 40;

/// The moment of the line before: within a minute only two digits of a stamp change, and the rest need not be read again.
#[derive(Debug)]
pub(super) struct StampMemo {
    text: [u8; MAX_LEN],
    length: usize,
    /// Where the two digits of the seconds stand.
    seconds: usize,
    /// The begin of the minute, with the fraction of the second.
    minute: i64,
}

impl Default for StampMemo {
    fn default() -> Self {
        Self { text: [0; MAX_LEN], length: 0, seconds: 0, minute: 0 }
    }
}

impl StampMemo {
    /// The stamp of a line, as [`AccessLine::stamp`] tells it.
    pub(super) fn stamp(&mut self, parsed: &AccessLine<'_>) -> Option<Stamp> {
        if parsed.raw(Field::Msec).is_some() {
            return parsed.stamp();
        }
        let (text, seconds) = match parsed.raw(Field::TimeIso8601) {
            Some(text) => (text, "2026-11-21T02:28:".len()),
            None => (parsed.raw(Field::TimeLocal)?, "21/Nov/2026:02:28:".len()),
        };
        if let Some(second) = self.second(text, seconds) {
            return Some(Stamp(self.minute + second * 1000));
        }
        let read =
            if parsed.raw(Field::TimeIso8601).is_some() { stamps::time_iso8601 } else { stamps::time_local };
        let Some(stamp) = read(text) else {
            // The other notation, if the line has both.
            return parsed.stamp();
        };
        self.remember(text, seconds, stamp);
        Some(stamp)
    }

    /// The seconds of a moment, if it differs from the remembered one in nothing else.
    fn second(&self, text: &[u8], seconds: usize) -> Option<i64> {
        if self.length == 0 || text.len() != self.length || seconds != self.seconds {
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
        self.seconds = seconds;
        self.minute = stamp.0 - (i64::from(tens - b'0') * 10 + i64::from(ones - b'0')) * 1000;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::AccessFormat;
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
                let mut memo = StampMemo::default();
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
