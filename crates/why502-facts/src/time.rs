//! Moments: absolute ones ([`Stamp`]) and those whose zone is not known ([`Civil`]).

use jiff::SignedDuration;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A moment in milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub i64);

impl Stamp {
    /// The moment `by` earlier, saturating.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }

    /// The moment `by` later, saturating.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// The time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Stamp {
    /// RFC 3339 in UTC with whole seconds: `2026-11-21T03:10:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", Civil(self.0.div_euclid(1000)))
    }
}

/// A wall-clock reading in seconds since 1970-01-01T00:00:00 of an unknown zone, as nginx's error log prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Civil(pub i64);

impl Civil {
    /// Builds the reading from a date and a time of day; `None` if one of them is out of range.
    pub fn from_parts(date: (i16, i8, i8), time: (i8, i8, i8)) -> Option<Self> {
        let (year, month, day) = date;
        let (hour, minute, second) = time;
        // 60 is a leap second; it is read as the following second.
        let leap = i8::from(second == 60);
        let moment = DateTime::new(year, month, day, hour, minute, second - leap, 0).ok()?;
        Some(Self(moment.duration_since(EPOCH).as_secs() + i64::from(leap)))
    }

    /// The moment that this reading means where local time is `offset_seconds` ahead of UTC.
    pub fn at_offset(self, offset_seconds: i32) -> Stamp {
        Stamp((self.0.saturating_sub(i64::from(offset_seconds))).saturating_mul(1000))
    }

    /// The reading that a clock `offset_seconds` ahead of UTC shows at `stamp`.
    pub fn of(stamp: Stamp, offset_seconds: i32) -> Self {
        Self(stamp.0.div_euclid(1000) + i64::from(offset_seconds))
    }

    fn date_time(self) -> DateTime {
        EPOCH.saturating_add(SignedDuration::from_secs(self.0))
    }
}

impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.date_time().strftime("%Y-%m-%dT%H:%M:%S").fmt(f)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments_are_printed_in_utc() {
        assert_eq!(Stamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Stamp(1_795_230_600_000).to_string(), "2026-11-21T03:10:00Z");
        assert_eq!(Stamp(-1).to_string(), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn a_zone_shifts_the_reading_and_not_the_moment() {
        let reading = Civil::from_parts((2026, 11, 21), (2, 28, 30)).unwrap();
        assert_eq!(reading.at_offset(3600).to_string(), "2026-11-21T01:28:30Z");
        assert_eq!(Civil::of(reading.at_offset(-19_800), -19_800), reading);
    }

    #[test]
    fn impossible_dates_are_refused() {
        assert_eq!(Civil::from_parts((2026, 2, 29), (0, 0, 0)), None);
        assert_eq!(Civil::from_parts((2024, 13, 1), (0, 0, 0)), None);
        assert_eq!(Civil::from_parts((2024, 1, 1), (24, 0, 0)), None);
        assert!(Civil::from_parts((2024, 2, 29), (23, 59, 60)).is_some());
    }

    proptest! {
        #[test]
        fn a_reading_is_printed_as_it_was_built(days in 0i16..365, second in 0i32..86_400) {
            let reading = Civil(i64::from(days) * 86_400 + i64::from(second));
            let printed: DateTime = reading.to_string().parse().unwrap();
            let date = (printed.year(), printed.month(), printed.day());
            let time = (printed.hour(), printed.minute(), printed.second());
            prop_assert_eq!(Civil::from_parts(date, time), Some(reading));
        }
    }
}
