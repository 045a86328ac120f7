//! Stamps that are put before a line by whatever keeps the output of a service.
//!
//! | writer | form |
//! |---|---|
//! | `docker logs -t`, `kubectl logs --timestamps` | `2026-11-21T02:28:30.123456789Z` |
//! | `multilog t`, `svlogd -t`, `s6-log t` | TAI64N: `@400000006b02401005e0e3f4` |
//! | `svlogd -tt`, `-ttt` | `2026-11-21_02:28:30.12345`, `2026-11-21T02:28:30.12345` |
//! | `s6-log T`, `tai64nlocal` | `2026-11-21 02:28:30.123456789` |
//! | `ts` (moreutils) | `Nov 21 02:28:30`, or what strftime(3) makes of its argument |

use super::pattern;
use crate::logs::content::LogContent;

/// A stamp with fewer decimals may be the gateway's own: `$msec` has three of them.
const MIN_DECIMALS: usize = 5;
/// The runtimes' stamps have at least so many.
const MIN_DECIMALS_OF_RUNTIME: usize = 6;

/// A runtime hands on lines in parts of this length (`defaultBufSize` in Docker's `daemon/logger/copier.go`).
const PART: usize = 16 * 1024;

/// What follows a stamp.
pub(super) fn behind<'a>(line: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let text = behind_strong(line).or_else(|| behind_weak(line))?;
    Some(joined(line, text, scratch))
}

/// A line behind its stamp, in one piece: the stamp stands again before each of the parts in which it came.
pub(super) fn joined<'a>(line: &'a [u8], text: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let stamp = &line[..line.len() - text.len()];
    let is_again = |rest: &[u8]| rest.get(PART..).is_some_and(|rest| rest.starts_with(stamp));
    if stamp.is_empty() || !is_again(text) {
        return text;
    }
    scratch.clear();
    let mut rest = text;
    while is_again(rest) {
        scratch.extend_from_slice(&rest[..PART]);
        rest = &rest[PART + stamp.len()..];
    }
    scratch.extend_from_slice(rest);
    scratch
}

/// What follows a container runtime's stamp.
pub(super) fn of_runtime(line: &[u8]) -> Option<&[u8]> {
    let (n_decimals, rest) = pattern::behind_iso(line)?;
    rest.strip_prefix(b" ").filter(|_| n_decimals >= MIN_DECIMALS_OF_RUNTIME)
}

/// What follows a stamp that no gateway writes by itself.
pub(super) fn behind_strong(line: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = line.strip_prefix(b"@") {
        let (label, rest) = rest.split_at_checked(24)?;
        return rest.strip_prefix(b" ").filter(|_| label.iter().all(u8::is_ascii_hexdigit));
    }
    if let Some(rest) = of_runtime(line) {
        return Some(rest);
    }
    let rest = match pattern::behind(line, b"0000-00-00") {
        Some(rest) if rest.starts_with(b"_") || rest.starts_with(b"T") || rest.starts_with(b" ") => {
            pattern::behind(&rest[1..], b"00:00:00")?
        }
        _ => pattern::behind(line, b"0000000000")?,
    };
    let (n_decimals, rest) = pattern::behind_fraction(rest);
    let rest = rest.strip_prefix(b" ").filter(|_| n_decimals >= MIN_DECIMALS)?;
    // s6-log writes two spaces.
    Some(rest.strip_prefix(b" ").unwrap_or(rest))
}

/// What follows a stamp that may as well be the begin of another form.
fn behind_weak(line: &[u8]) -> Option<&[u8]> {
    let shapes: [&[u8]; 3] = [b"AAA _0 00:00:00 ", b"0000-00-00T00:00:00 ", b"0000-00-00 00:00:00 "];
    shapes.iter().find_map(|shape| pattern::behind(line, shape))
}

/// Whether half of the lines have a stamp of any form, and what follows reads as a gateway's log.
pub(super) fn is_weakly_before(lines: &[&[u8]]) -> bool {
    let behind: Vec<&[u8]> = lines.iter().filter_map(|line| behind_weak(line)).collect();
    behind.len() * 2 >= lines.len()
        && !behind.is_empty()
        && !matches!(LogContent::tell(&behind), LogContent::Access { format: None, .. } | LogContent::Binary)
}
