//! Addresses that a gateway dials.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// An address that a gateway dials, spelled as the contract spells a peer: `127.0.0.1:3000`, `[::1]:80`,
/// `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerAddress {
    /// An IP address and a TCP port.
    Inet(SocketAddr),
    /// The path of a unix stream socket.
    Unix(String),
}

impl PeerAddress {
    /// The TCP port, if it is an IP address.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// The path, if it is a unix socket.
    pub fn unix_path(&self) -> Option<&str> {
        match self {
            Self::Inet(_) => None,
            Self::Unix(path) => Some(path),
        }
    }

    /// The IP address and port, if it is one.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// The text is no address that could be dialled: a name, a group, or no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address: {0}")]
pub struct NotAnAddress(String);

impl FromStr for PeerAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.to_owned()));
        }
        text.parse().map(Self::Inet).map_err(|_| NotAnAddress(text.to_owned()))
    }
}

impl Serialize for PeerAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_spelled_as_the_contract_says() {
        for spelling in ["127.0.0.1:3000", "[::1]:80", "unix:/run/app.sock", "unix:///tmp/u.sock"] {
            assert_eq!(spelling.parse::<PeerAddress>().map(|peer| peer.to_string()).as_deref(), Ok(spelling));
        }
        assert!("backend".parse::<PeerAddress>().is_err());
        assert!("127.0.0.1".parse::<PeerAddress>().is_err());
    }
}
