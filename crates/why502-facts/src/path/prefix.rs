//! Networks.

use std::net::IpAddr;

/// Whether an address is in a network.
pub(crate) fn is_in(address: IpAddr, network: IpAddr, prefix_length: u8) -> bool {
    let same = |one: &[u8], other: &[u8]| {
        let length = usize::from(prefix_length).min(one.len() * 8);
        let (whole, rest) = (length / 8, length % 8);
        one[..whole] == other[..whole] && (rest == 0 || (one[whole] ^ other[whole]) >> (8 - rest) == 0)
    };
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => same(&one.octets(), &other.octets()),
        (IpAddr::V6(one), IpAddr::V6(other)) => same(&one.octets(), &other.octets()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}
