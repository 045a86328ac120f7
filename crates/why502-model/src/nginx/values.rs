//! Values in nginx's notation: times, sizes, flags.

use std::time::Duration;

/// Reads a time as `ngx_parse_time` does: numbers with units in falling order (`1h 30m`, `500ms`, `60`); a bare number
/// counts seconds.
pub(crate) fn parse_time(text: &str) -> Option<Duration> {
    let bytes = text.as_bytes();
    let mut total = 0u64;
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number: u64 = text.get(at..at + digits)?.parse().ok()?;
        at += digits;
        let (unit, length) = match bytes.get(at..)? {
            [b'm', b's', ..] => (1, 2),
            [] | [b' ', ..] => (1000, 0),
            [b's', ..] => (1000, 1),
            [b'm', ..] => (60_000, 1),
            [b'h', ..] => (3_600_000, 1),
            [b'd', ..] => (86_400_000, 1),
            [b'w', ..] => (604_800_000, 1),
            [b'M', ..] => (2_592_000_000, 1),
            [b'y', ..] => (31_536_000_000, 1),
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        at += length;
        at += bytes[at..].iter().take_while(|byte| **byte == b' ').count();
    }
    (!bytes.is_empty()).then(|| Duration::from_millis(total))
}

/// Reads a size in bytes as `ngx_parse_size` and `ngx_parse_offset` do: a number with `k`, `m` or `g`.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
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
        assert_eq!(millis("0"), Some(0));
        assert_eq!(millis(""), None);
        assert_eq!(millis("x"), None);
        assert_eq!(millis("99999999999999999999y"), None);
    }

    #[test]
    fn sizes_are_read_as_nginx_reads_them() {
        assert_eq!(parse_size("4k"), Some(4096));
        assert_eq!(parse_size("1M"), Some(1 << 20));
        assert_eq!(parse_size("17"), Some(17));
        assert_eq!(parse_size("k"), None);
        assert_eq!(parse_size(""), None);
    }
}
