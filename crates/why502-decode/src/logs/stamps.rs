//! The stamps of log lines.

use why502_facts::{Civil, Stamp};

/// The length of an error log's stamp, `2026/11/21 02:28:30`.
pub(crate) const ERROR_STAMP_LEN: usize = 19;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The stamp with which an error-log line begins; `None` for a continuation line.
///
/// It is the local time of the host, whole seconds, without a zone (`ngx_time_update`, `ngx_cached_err_log_time`).
pub fn stamp_of_error_line(line: &[u8]) -> Option<Civil> {
    let stamp = line.get(..ERROR_STAMP_LEN)?;
    if stamp[4] != b'/' || stamp[7] != b'/' || stamp[10] != b' ' {
        return None;
    }
    civil(&stamp[..4], number(&stamp[5..7])?, &stamp[8..10], &stamp[11..])
}

/// `$time_local`: `21/Nov/2026:02:28:30 +0000`.
pub(crate) fn time_local(text: &[u8]) -> Option<Stamp> {
    let (date, zone) = (text.get(..20)?, text.get(20..)?);
    if date[2] != b'/' || date[6] != b'/' || date[11] != b':' || zone.first() != Some(&b' ') {
        return None;
    }
    let month = MONTHS.iter().position(|name| name.as_slice() == &date[3..6])?;
    let civil = civil(&date[7..11], i8::try_from(month).ok()? + 1, &date[..2], &date[12..20])?;
    Some(civil.at_offset(zone_offset(&zone[1..])?))
}

/// `$time_iso8601`: `2026-11-21T02:28:30+00:00`; also with a fraction or `Z`, as other writers have it.
pub(crate) fn time_iso8601(text: &[u8]) -> Option<Stamp> {
    let civil = date_time(text)?;
    let (millis, zone) = fraction(text.get(19..)?)?;
    let offset = if zone == b"Z" { 0 } else { zone_offset(zone)? };
    Some(Stamp(civil.at_offset(offset).0 + i64::from(millis)))
}

/// `2026-11-21 02:28:30`, the begin of a text, without a zone.
pub(crate) fn date_time(text: &[u8]) -> Option<Civil> {
    let date = text.get(..19)?;
    if date[4] != b'-' || date[7] != b'-' || !matches!(date[10], b'T' | b' ') {
        return None;
    }
    civil(&date[..4], number(&date[5..7])?, &date[8..10], &date[11..])
}

/// The first stamp in a line of an application server, and where it stands in the line.
///
/// gunicorn begins a line with `[2026-11-21 02:28:30 +0000]`, PHP-FPM with `[21-Nov-2026 02:28:30]`; uWSGI has ctime(3),
/// `Sat Nov 21 02:28:30 2026`, at the begin of a line or in brackets within it.
pub(crate) fn server_stamp(line: &[u8]) -> Option<(Reading, std::ops::Range<usize>)> {
    let line = &line[..line.len().min(MAX_SEARCHED)];
    let begins = std::iter::once(0).chain(memchr::memchr_iter(b'[', line).map(|at| at + 1));
    begins.into_iter().find_map(|begin| {
        let (reading, length) = reading(&line[begin..])?;
        Some((reading, begin..begin + length))
    })
}

/// How much of a line is searched for a stamp, in bytes.
const MAX_SEARCHED: usize = 1024;

/// A stamp as it stands in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Of an unknown zone.
    Local(Civil),
    /// With its zone.
    Zoned(Stamp),
}

/// The stamp with which a text begins, and its length.
fn reading(text: &[u8]) -> Option<(Reading, usize)> {
    let month = |name: &[u8]| {
        let place = MONTHS.iter().position(|month| month.as_slice() == name)?;
        i8::try_from(place).ok().map(|place| place + 1)
    };
    match text {
        [_, _, _, _, b'-', _, _, b'-', _, _, b' ' | b'T', ..] => {
            let date = text.get(..19)?;
            let civil = civil(&date[..4], number(&date[5..7])?, &date[8..10], &date[11..])?;
            let zone = text.get(19..25).and_then(|zone| zone_offset(zone.strip_prefix(b" ")?));
            Some(zone.map_or((Reading::Local(civil), 19), |zone| (Reading::Zoned(civil.at_offset(zone)), 25)))
        }
        [_, _, b'-', _, _, _, b'-', ..] => {
            let date = text.get(..20)?;
            let civil = civil(&date[7..11], month(&date[3..6])?, &date[..2], &date[12..])?;
            Some((Reading::Local(civil), 20))
        }
        [_, _, _, b' ', _, _, _, b' ', ..] => {
            let date = text.get(..24)?;
            // The day is padded with a space.
            let day = [if date[8] == b' ' { b'0' } else { date[8] }, date[9]];
            let civil = civil(&date[20..], month(&date[4..7])?, &day, &date[11..19])?;
            Some((Reading::Local(civil), 24))
        }
        _ => None,
    }
}

/// Month, day and time of RFC 3164's stamp, with which a line of syslog begins: `Nov 30 12:26:03`.
pub(crate) fn month_day_time(line: &[u8]) -> Option<(i8, i8, (i8, i8, i8))> {
    let stamp = line.get(..15)?;
    let place = MONTHS.iter().position(|month| month.as_slice() == &stamp[..3])?;
    // The day is padded with a space.
    let day = number(stamp[4..6].trim_ascii_start())?;
    let time = (number(&stamp[7..9])?, number(&stamp[10..12])?, number(&stamp[13..15])?);
    Some((i8::try_from(place).ok()? + 1, day, time))
}

/// `$msec`: seconds since the epoch with three decimals.
pub(crate) fn msec(text: &[u8]) -> Option<Stamp> {
    let (seconds, fraction) = text.split_at(memchr::memchr(b'.', text)?);
    if seconds.len() > 11 || fraction.len() != 4 {
        return None;
    }
    let seconds: i64 = digits(seconds)?.try_into().ok()?;
    let millis: i64 = digits(&fraction[1..])?.try_into().ok()?;
    Some(Stamp(seconds * 1000 + millis))
}

/// The value of a run of digits; `None` if there is none, another byte, or more than fits.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter()
        .try_fold(0_u64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')))
}

fn civil(year: &[u8], month: i8, day: &[u8], time: &[u8]) -> Option<Civil> {
    if time[2] != b':' || time[5] != b':' {
        return None;
    }
    let (year, month, day) = (i64::try_from(digits(year)?).ok()?, i64::from(month), i64::from(number(day)?));
    let (hour, minute, second) = (number(&time[..2])?, number(&time[3..5])?, number(&time[6..8])?);
    // 60 is a leap second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some(Civil(days(year, month, day)? * 86_400 + of_day))
}

/// Days since 1970-01-01, counted in years that begin with March, so that leap days end them.
///
/// Millions of stamps are read; a calendar library checks and converts more than they need.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year - 719_468)
}

fn number(two: &[u8]) -> Option<i8> {
    i8::try_from(digits(two)?).ok()
}

/// `.123` and what follows it; zero milliseconds where there is no fraction.
fn fraction(text: &[u8]) -> Option<(u16, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let n_digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let places = rest[..n_digits].iter().chain(b"000").take(3);
    let millis = places.fold(0, |millis, digit| millis * 10 + u16::from(digit - b'0'));
    (n_digits > 0).then_some((millis, &rest[n_digits..]))
}

/// `+0130` or `+01:30`, in seconds ahead of UTC.
fn zone_offset(zone: &[u8]) -> Option<i32> {
    let (sign, hours, minutes) = match zone {
        [sign, h1, h2, b':', m1, m2] | [sign, h1, h2, m1, m2] => (sign, [*h1, *h2], [*m1, *m2]),
        _ => return None,
    };
    let seconds = i32::from(number(&hours)?) * 3600 + i32::from(number(&minutes)?) * 60;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_a_moment_means_the_same() {
        let moment = Some(Stamp(1_795_228_110_000));
        assert_eq!(time_local(b"21/Nov/2026:02:28:30 +0000"), moment);
        assert_eq!(time_local(b"20/Nov/2026:20:58:30 -0530"), moment);
        assert_eq!(time_iso8601(b"2026-11-21T02:28:30+00:00"), moment);
        assert_eq!(time_iso8601(b"2026-11-21T02:28:30Z"), moment);
        assert_eq!(time_iso8601(b"2026-11-21T03:28:30.0009+01:00"), moment);
        assert_eq!(msec(b"1795228110.000"), moment);
        assert_eq!(stamp_of_error_line(b"2026/11/21 02:28:30 [error] 1#1: x"), Some(Civil(1_795_228_110)));
    }

    #[test]
    fn every_day_is_the_calendars() {
        for year in [1969i16, 1970, 1999, 2000, 2023, 2024, 2100, 2400] {
            for (month, day) in (1i8..=12).flat_map(|month| (1i8..=31).map(move |day| (month, day))) {
                let line = format!("{year:04}/{month:02}/{day:02} 23:59:60 ");
                let expected = Civil::from_parts((year, month, day), (23, 59, 60));
                assert_eq!(stamp_of_error_line(line.as_bytes()), expected, "{line}");
            }
        }
    }

    #[test]
    fn other_texts_are_no_moments() {
        for text in
            ["", "-", "21/Nov/2026:02:28:30", "21/Foo/2026:02:28:30 +0000", "32/Nov/2026:02:28:30 +0000"]
        {
            assert_eq!(time_local(text.as_bytes()), None, "{text}");
        }
        for text in ["2026-11-21T02:28:30", "2026-11-21T02:28:30.Z", "2026-11-21T02:28:3a+00:00"] {
            assert_eq!(time_iso8601(text.as_bytes()), None, "{text}");
        }
        for text in ["1795228110", "1795228110.00", ".000", "99999999999999.000"] {
            assert_eq!(msec(text.as_bytes()), None, "{text}");
        }
        assert_eq!(stamp_of_error_line(b"    at line 3 of 2026/11/21 02:28:30"), None);
        assert_eq!(stamp_of_error_line(b"2026/11/21 02:28"), None);
    }
}
