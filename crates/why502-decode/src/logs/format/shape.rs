//! The shapes of values: how far a value can reach, and whether a text can be one.

use memchr::{memchr, memchr2, memchr3, memmem};

/// The shape of a variable's value. Every value may also be empty, or `-` for a variable that is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Addresses, one per attempt.
    AddressList,
    /// A moment in the notation of ISO 8601.
    Clock,
    /// Digits with a fraction.
    Decimal,
    /// Digits.
    Digits,
    /// A name or address without a slash.
    Host,
    /// Numbers, one per attempt.
    NumberList,
    /// Anything.
    Text,
    /// `21/Nov/2026:02:28:30 +0000`.
    TimeLocal,
    /// Anything without a space or a quote.
    Word,
}

impl Shape {
    /// How far a value that begins here can reach.
    #[inline]
    pub(super) fn reach(self, rest: &[u8]) -> usize {
        match self {
            Self::AddressList => memchr(b'"', rest).unwrap_or(rest.len()),
            Self::Host => memchr3(b' ', b'"', b'/', rest).unwrap_or(rest.len()),
            Self::Clock | Self::NumberList => {
                rest.iter().position(|&byte| !self.may_hold(byte)).unwrap_or(rest.len())
            }
            Self::Decimal | Self::Digits => {
                match rest.iter().take_while(|byte| byte.is_ascii_digit()).count() {
                    0 => usize::from(rest.starts_with(b"-")),
                    n_digits if self == Self::Decimal && rest.get(n_digits) == Some(&b'.') => {
                        n_digits
                            + 1
                            + rest[n_digits + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count()
                    }
                    n_digits => n_digits,
                }
            }
            Self::Text => rest.len(),
            Self::TimeLocal => "21/Nov/2026:02:28:30 +0000".len().min(rest.len()),
            Self::Word => memchr2(b' ', b'"', rest).unwrap_or(rest.len()),
        }
    }

    /// Whether a value that this shape reaches over can hold a byte.
    pub(super) fn may_hold(self, byte: u8) -> bool {
        match self {
            Self::AddressList => byte != b'"',
            Self::Clock => byte.is_ascii_digit() || b"T:+-.Z".contains(&byte),
            Self::Decimal => byte.is_ascii_digit() || matches!(byte, b'.' | b'-'),
            Self::Digits => byte.is_ascii_digit() || byte == b'-',
            Self::Host => !matches!(byte, b' ' | b'"' | b'/'),
            Self::NumberList => byte.is_ascii_digit() || b".,: -".contains(&byte),
            Self::Text | Self::TimeLocal => true,
            Self::Word => !matches!(byte, b' ' | b'"'),
        }
    }

    /// Whether a value has one element per attempt, joined by `, ` and ` : `.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::AddressList | Self::NumberList)
    }

    /// Whether the value's end follows from the value alone.
    pub(super) fn ends_itself(self) -> bool {
        matches!(self, Self::Clock | Self::Decimal | Self::Digits | Self::TimeLocal)
    }

    /// Whether a text within reach can be a value.
    pub(super) fn fits(self, value: &[u8]) -> bool {
        match self {
            // One element is the rule, and needs no search for others.
            Self::AddressList if !value.contains(&b' ') => !value.ends_with(b","),
            Self::NumberList if !value.contains(&b' ') => is_number(value),
            Self::AddressList => {
                elements(value).all(|(element, _)| !element.contains(&b' ') && !element.ends_with(b","))
            }
            Self::NumberList => elements(value).all(|(element, _)| is_number(element)),
            _ => true,
        }
    }
}

/// The elements of a value with one per attempt, each with whether an internal redirect stands before it.
///
/// Attempts are joined by `, `, and by ` : ` across a redirect (`ngx_http_upstream_addr_variable` and its siblings).
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let mut rest = Some((value, false));
    std::iter::from_fn(move || {
        let (text, redirected) = rest?;
        let (first, after) = first_element(text);
        rest = after;
        Some((first, redirected))
    })
}

/// The first element, and what follows it if there are more, with whether an internal redirect stands between.
pub(super) fn first_element(text: &[u8]) -> (&[u8], Option<(&[u8], bool)>) {
    if !text.contains(&b' ') {
        return (text, None);
    }
    let comma = memmem::find(text, b", ").map(|at| (at, 2, false));
    let colon = memmem::find(text, b" : ").map(|at| (at, 3, true));
    let end = match (comma, colon) {
        (Some(comma), Some(colon)) => Some(comma.min(colon)),
        (comma, colon) => comma.or(colon),
    };
    let after = end.map(|(at, width, redirect)| (&text[at + width..], redirect));
    (end.map_or(text, |(at, _, _)| &text[..at]), after)
}

fn is_number(element: &[u8]) -> bool {
    matches!(element, b"" | b"-") || element.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_remember_the_redirect_before_them() {
        let list: Vec<_> = elements(b"a, b : c").collect();
        assert_eq!(list, [(b"a".as_slice(), false), (b"b", false), (b"c", true)]);
        assert_eq!(elements(b"").collect::<Vec<_>>(), [(b"".as_slice(), false)]);
        // A redirect whose target died before a peer was chosen.
        assert_eq!(elements(b"a : ").collect::<Vec<_>>(), [(b"a".as_slice(), false), (b"", true)]);
    }

    #[test]
    fn shapes_reach_as_far_as_they_can() {
        assert_eq!(Shape::Decimal.reach(b"0.004, 1"), 5);
        assert_eq!(Shape::Decimal.reach(b"- x"), 1);
        assert_eq!(Shape::Digits.reach(b"12.5"), 2);
        assert_eq!(Shape::Word.reach(b"/a,b c"), 4);
        assert_eq!(Shape::Host.reach(b"a.test:80/b"), 9);
        assert!(Shape::AddressList.fits(b"127.0.0.1:80, unix:/a : g"));
        assert!(!Shape::AddressList.fits(b"127.0.0.1:80,"));
        assert!(!Shape::NumberList.fits(b"502, x"));
    }
}
