//! Addresses and routes of a namespace: `/proc/net/{fib_trie,if_inet6,route,ipv6_route}`.

use crate::host::sockets::{local_ipv4, local_ipv6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use why502_facts::{FilterRecord, Route, lossy};

/// The local addresses.
pub(super) fn addresses(record: &FilterRecord) -> Vec<IpAddr> {
    let mut addresses = local_ipv4(record.fib_trie.as_slice());
    addresses.extend(local_ipv6(record.if_inet6.as_slice()));
    addresses.sort();
    addresses.dedup();
    addresses
}

/// The routes of the main table, the narrowest first, among those of one width the cheapest.
pub(super) fn routes(record: &FilterRecord, addresses: &[IpAddr]) -> Vec<Route> {
    let (ipv4, ipv6) = (lossy(record.route.as_slice()), lossy(record.ipv6_route.as_slice()));
    let mut routes: Vec<(u32, Route)> = ipv4.lines().filter_map(ipv4_route).collect();
    routes.extend(ipv6.lines().filter_map(ipv6_route));
    routes.sort_by_key(|(metric, route)| (std::cmp::Reverse(route.length), *metric));
    let mut routes: Vec<Route> = routes.into_iter().map(|(_, route)| route).collect();
    for route in &mut routes {
        if route.gateway.is_none() {
            route.sources = addresses.iter().copied().filter(|own| route.holds(*own)).collect();
        }
    }
    routes
}

/// `eth0 00000000 0101A8C0 0003 0 0 100 00000000 …`: interface, destination, gateway, flags, two counts, metric, mask, each address in
/// the machine's own order of bytes (net/ipv4/fib_trie.c, `fib_route_seq_show`).
fn ipv4_route(line: &str) -> Option<(u32, Route)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let address = |at: usize| {
        let number = u32::from_str_radix(fields.get(at)?, 16).ok()?;
        Some(Ipv4Addr::from(number.to_ne_bytes()))
    };
    let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
    // RTF_UP, and not RTF_REJECT.
    if flags & 1 == 0 || flags & 0x200 != 0 {
        return None;
    }
    let gateway = address(2)?;
    let route = Route {
        network: IpAddr::V4(address(1)?),
        length: u8::try_from(address(7)?.to_bits().leading_ones()).ok()?,
        gateway: (!gateway.is_unspecified()).then_some(IpAddr::V4(gateway)),
        interface: (*fields.first()?).to_owned(),
        sources: Vec::new(),
    };
    Some((fields.get(6)?.parse().ok()?, route))
}

/// Destination, its length, source, its length, gateway, metric, two counts, flags, interface, all in hexadecimal digits
/// (net/ipv6/route.c, `rt6_info_route`, in newer kernels `ipv6_route_native_seq_show`).
fn ipv6_route(line: &str) -> Option<(u32, Route)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let address = |at: usize| Some(Ipv6Addr::from(u128::from_str_radix(fields.get(at)?, 16).ok()?));
    let flags = u32::from_str_radix(fields.get(8)?, 16).ok()?;
    // RTF_UP, and neither RTF_REJECT nor RTF_LOCAL nor RTF_ANYCAST.
    if flags & 1 == 0 || flags & 0x8010_0200 != 0 {
        return None;
    }
    let gateway = address(4)?;
    let route = Route {
        network: IpAddr::V6(address(0)?),
        length: u8::from_str_radix(fields.get(1)?, 16).ok()?,
        gateway: (!gateway.is_unspecified()).then_some(IpAddr::V6(gateway)),
        interface: (*fields.get(9)?).to_owned(),
        sources: Vec::new(),
    };
    Some((u32::from_str_radix(fields.get(5)?, 16).ok()?, route))
}
