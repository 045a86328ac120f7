//! Shapes of stamps.

/// What follows the shape at the text's begin: `0` is a digit, `_` a digit or a space, `A` a letter, all else itself.
pub(super) fn behind<'a>(text: &'a [u8], shape: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(shape.len())?;
    let fits = |(byte, mark): (&u8, &u8)| match mark {
        b'0' => byte.is_ascii_digit(),
        b'_' => byte.is_ascii_digit() || *byte == b' ',
        b'A' => byte.is_ascii_alphabetic(),
        mark => byte == mark,
    };
    head.iter().zip(shape).all(fits).then_some(rest)
}

/// What follows a fraction of a second, and how many digits it has; none where there is no fraction.
pub(super) fn behind_fraction(text: &[u8]) -> (usize, &[u8]) {
    let Some(rest) = text.strip_prefix(b".").or_else(|| text.strip_prefix(b",")) else { return (0, text) };
    let n_digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if n_digits == 0 { (0, text) } else { (n_digits, &rest[n_digits..]) }
}

/// What follows `2026-11-21T02:28:30.123Z`, and how many digits its fraction has.
pub(super) fn behind_iso(text: &[u8]) -> Option<(usize, &[u8])> {
    let (n_digits, rest) = behind_fraction(behind(text, b"0000-00-00T00:00:00")?);
    let zones: [&[u8]; 5] = [b"Z", b"+00:00", b"-00:00", b"+0000", b"-0000"];
    zones.iter().find_map(|zone| behind(rest, zone)).map(|rest| (n_digits, rest))
}

/// The bytes up to the first space, and what follows it; `None` if there is no space or nothing before it.
pub(super) fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', text).filter(|end| *end > 0)?;
    Some((&text[..end], &text[end + 1..]))
}
