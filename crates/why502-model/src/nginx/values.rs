//! Values in nginx's notation: times, sizes, numbers, flags.

use super::address::parse_v4;
use std::time::Duration;

/// What a bare number in a time counts, and how fine the time may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeUnit {
    /// Kept in milliseconds: no years and no months, but `ms`; a bare number still counts seconds.
    Milliseconds,
    /// Kept in seconds: no `ms`.
    Seconds,
}

/// The units of a time from the largest to the smallest, in milliseconds; `ms` is the last.
const UNITS: [(&str, u64); 8] = [
    ("y", 31_536_000_000),
    ("M", 2_592_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
/// The largest number that nginx counts to, in milliseconds.
const MAX: u64 = i64::MAX as u64;

/// Reads a time that is kept in milliseconds, as most are.
pub(crate) fn parse_time(text: &str) -> Option<Duration> {
    parse_time_in(text, TimeUnit::Milliseconds)
}

/// Reads a time as `ngx_parse_time` does: numbers with units in falling order (`1h 30m`, `500ms`, `60`).
pub(crate) fn parse_time_in(text: &str, unit: TimeUnit) -> Option<Duration> {
    let (mut rest, mut total) = (text.as_bytes(), 0u64);
    // The first unit that may still come.
    let mut next_unit = if unit == TimeUnit::Milliseconds { 2 } else { 0 };
    let mut has_digits = false;
    while !rest.is_empty() {
        let n_digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        has_digits |= n_digits > 0;
        let (digits, after) = rest.split_at(n_digits);
        let number: u64 =
            if digits.is_empty() { 0 } else { std::str::from_utf8(digits).ok()?.parse().ok()? };
        let (scale, length) = match after {
            [] => (1_000, 0),
            // A blank ends the seconds, and nothing but blanks may follow.
            [b' ', ..] if next_unit <= 6 => {
                next_unit = UNITS.len();
                (1_000, 1)
            }
            _ => {
                let at = unit_of(after)?;
                if at < next_unit || (at == 7 && unit == TimeUnit::Seconds) {
                    return None;
                }
                next_unit = at + 1;
                (UNITS[at].1, UNITS[at].0.len())
            }
        };
        total = total.checked_add(number.checked_mul(scale)?).filter(|total| *total <= MAX)?;
        rest = &after[length..];
        while let [b' ', tail @ ..] = rest {
            rest = tail;
        }
    }
    has_digits.then(|| Duration::from_millis(total))
}

fn unit_of(text: &[u8]) -> Option<usize> {
    if text.starts_with(b"ms") {
        return Some(7);
    }
    UNITS.iter().take(7).position(|(name, _)| text.starts_with(name.as_bytes()))
}

/// Reads a size as `ngx_parse_size` does: a number with `k` or `m`.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    match text.as_bytes().last()? {
        b'g' | b'G' => None,
        _ => parse_offset(text),
    }
}

/// Reads a size as `ngx_parse_offset` does: a number with `k`, `m` or `g`.
pub(crate) fn parse_offset(text: &str) -> Option<u64> {
    let (number, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    parse_number(number)?.checked_mul(unit).filter(|size| *size <= MAX)
}

/// Reads a number as `ngx_atoi` does: digits and nothing else.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number <= MAX)
}

/// Whether a text is an address or a network of any family (`ngx_ptocidr`).
pub(crate) fn is_network(text: &str) -> bool {
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let width = if parse_v4(address).is_some() {
        32
    } else if address.parse::<std::net::Ipv6Addr>().is_ok() {
        128
    } else {
        return false;
    };
    length.is_none_or(|length| parse_number(length).is_some_and(|length| length <= width))
}

/// Reads `on` or `off`.
pub(crate) fn parse_flag(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("on") => Some(true),
        _ if text.eq_ignore_ascii_case("off") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_nginx_reads_them() {
        let millis = |text| parse_time(text).map(|time| time.as_millis());
        assert_eq!(millis("60"), Some(60_000));
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("1h 30m"), Some(5_400_000));
        assert_eq!(millis("1m30s"), Some(90_000));
        assert_eq!(millis("1s500ms"), Some(1_500));
        assert_eq!(millis("1m 30"), Some(90_000));
        assert_eq!(millis("0"), Some(0));
        assert_eq!(millis("30 "), Some(30_000));
        for refused in ["", "x", "s", "30s1m", "1y", "1M", "99999999999999999999w", "30s 1s", "1.5s"] {
            assert_eq!(millis(refused), None, "{refused}");
        }
    }

    #[test]
    fn times_in_seconds_know_years_and_no_milliseconds() {
        let seconds = |text| parse_time_in(text, TimeUnit::Seconds).map(|time| time.as_secs());
        assert_eq!(seconds("1y"), Some(31_536_000));
        assert_eq!(seconds("1M1d"), Some(2_678_400));
        assert_eq!(seconds("10"), Some(10));
        assert_eq!(seconds("500ms"), None);
    }

    #[test]
    fn sizes_are_read_as_nginx_reads_them() {
        assert_eq!(parse_size("4k"), Some(4096));
        assert_eq!(parse_size("1M"), Some(1 << 20));
        assert_eq!(parse_size("17"), Some(17));
        assert_eq!((parse_size("1g"), parse_offset("1g")), (None, Some(1 << 30)));
        for refused in ["k", "", "+4k", "-1", "4kb", "4 k"] {
            assert_eq!(parse_size(refused), None, "{refused}");
        }
    }

    #[test]
    fn flags_are_read_in_any_case() {
        assert_eq!(
            (parse_flag("ON"), parse_flag("off"), parse_flag("true")),
            (Some(true), Some(false), None)
        );
    }
}
