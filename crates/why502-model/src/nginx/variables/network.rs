//! Networks of addresses, as `geo` has them.

use std::net::IpAddr;

/// Whether an address is in a network as written (`10.0.0.0/8`, `10.0.0.1`, `2001:db8::/32`), and the network's length.
pub(super) fn contains(network: &str, address: IpAddr) -> Option<u32> {
    let (base, length) = match network.split_once('/') {
        Some((base, length)) => (base.parse::<IpAddr>().ok()?, Some(length.parse::<u32>().ok()?)),
        None => (network.parse::<IpAddr>().ok()?, None),
    };
    let (base, address, width) = match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            (u128::from(u32::from(base)), u128::from(u32::from(address)), 32)
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => (u128::from(base), u128::from(address), 128),
        _ => return None,
    };
    let length = length.unwrap_or(width).min(width);
    let differing = base ^ address;
    let is_in = length == 0 || differing >> (width - length) == 0;
    is_in.then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (network, address, length) in [
            ("10.0.0.0/8", "10.9.8.7", Some(8)),
            ("10.0.0.0/8", "11.0.0.1", None),
            ("10.0.0.1", "10.0.0.1", Some(32)),
            ("0.0.0.0/0", "1.2.3.4", Some(0)),
            ("::/0", "::1", Some(0)),
            ("2001:db8::/32", "2001:db8:1::1", Some(32)),
            ("10.0.0.0/8", "::1", None),
            ("x", "::1", None),
        ] {
            assert_eq!(contains(network, address.parse().unwrap()), length, "{network} {address}");
        }
    }
}
