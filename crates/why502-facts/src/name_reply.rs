//! What name servers say of a name.

use crate::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// What a name server, or the first of several that gives an answer, says of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameReply {
    /// The name's addresses, of both families.
    Addresses(Vec<IpAddr>),
    /// There is no such name, or it has no address.
    NoSuchName,
    /// It will not or cannot say: the code's mnemonic (`SERVFAIL`, `REFUSED`; RFC 1035, section 4.1.1).
    Refused(String),
    /// It gave no answer in time.
    Silent,
    /// The question could not be sent, or the host of the server refused it.
    Unreachable(Errno),
    /// Its bytes are no answer.
    Unusable,
}

impl NameReply {
    /// Whether it says something about the name.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Addresses(_) | Self::NoSuchName)
    }
}

impl fmt::Display for NameReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "says {}", addresses.join(", "))
            }
            Self::NoSuchName => f.write_str("says that there is no such name"),
            Self::Refused(code) => write!(f, "answers {code}"),
            Self::Silent => f.write_str("gives no answer in time"),
            Self::Unreachable(errno) => write!(f, "cannot be asked ({})", errno.name()),
            Self::Unusable => f.write_str("sends no usable answer"),
        }
    }
}
