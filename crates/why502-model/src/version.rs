//! Versions of the gateway, as far as behaviour depends on them.

use std::fmt;
use std::str::FromStr;

/// A version of three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16, pub u16, pub u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAVersion;

impl FromStr for Version {
    type Err = NotAVersion;

    /// Reads the first three numbers: `1.22.1`, `1.21.4.1` (OpenResty) and `1.25.3-dev` are versions.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split('.').map(|part| {
            let digits = part.split(|character: char| !character.is_ascii_digit()).next();
            digits.and_then(|digits| digits.parse().ok())
        });
        match (numbers.next().flatten(), numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), Some(minor), Some(patch)) => Ok(Self(major, minor, patch)),
            _ => Err(NotAVersion),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_flavours_are_read_and_ordered() {
        assert_eq!("1.22.1".parse(), Ok(Version(1, 22, 1)));
        assert_eq!("1.21.4.1".parse(), Ok(Version(1, 21, 4)));
        assert_eq!("1.31.5-dev".parse(), Ok(Version(1, 31, 5)));
        assert_eq!("x".parse::<Version>(), Err(NotAVersion));
        assert!(Version(1, 9, 13) < Version(1, 22, 0));
    }
}
