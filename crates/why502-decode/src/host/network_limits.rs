//! Limits and counters of a network namespace: `net/netstat`, `net/stat/nf_conntrack`, settings, queues of listening sockets.

use std::collections::BTreeMap;
use why502_facts::{ConntrackCounters, ListenQueue, NetworkLimits, NetworkLimitsRecord, PeerAddress, lossy};

/// Decodes the limits of a namespace.
pub fn decode_network_limits(record: &NetworkLimitsRecord) -> NetworkLimits {
    let setting = |(name, value): &(String, why502_facts::Blob)| {
        (name.clone(), lossy(value.as_slice()).trim().to_owned())
    };
    NetworkLimits {
        counters: parse_netstat(&lossy(record.netstat.as_slice())),
        conntrack: record.conntrack.as_ref().and_then(|blob| parse_conntrack(&lossy(blob.as_slice()))),
        settings: record.settings.iter().map(setting).collect(),
        queues: record.queues.as_ref().map(|blob| {
            let mut queues: Vec<_> = lossy(blob.as_slice()).lines().filter_map(parse_queue).collect();
            queues.sort();
            queues
        }),
        hidden: record.hidden.clone(),
    }
}

/// Two lines per group, names and values in the same order (net/ipv4/proc.c, `netstat_seq_show`). Names that several groups
/// have are those of the first: `TcpExt`.
fn parse_netstat(text: &str) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (mut names, mut values) = (names.split_ascii_whitespace(), values.split_ascii_whitespace());
        if names.next() != values.next() {
            break;
        }
        for (name, value) in names.zip(values) {
            if let Ok(value) = value.parse() {
                counters.entry(name.to_owned()).or_insert(value);
            }
        }
    }
    counters
}

/// A heading, then a line per processor in hexadecimal digits (net/netfilter/nf_conntrack_standalone.c, `ct_cpu_seq_show`).
fn parse_conntrack(text: &str) -> Option<ConntrackCounters> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_ascii_whitespace().collect();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split_ascii_whitespace().collect()).collect();
    let sum = |name: &str| {
        let at = names.iter().position(|own| *own == name)?;
        let values = rows.iter().filter_map(|row| u64::from_str_radix(row.get(at)?, 16).ok());
        Some(values.fold(0_u64, u64::saturating_add))
    };
    Some(ConntrackCounters { drop: sum("drop")?, early_drop: sum("early_drop")? })
}

/// `tcp WAITING LIMIT DROPS ADDRESS`, `unix WAITING LIMIT - PATH`.
fn parse_queue(line: &str) -> Option<ListenQueue> {
    let mut fields = line.splitn(5, ' ');
    let kind = fields.next()?;
    let (waiting, limit) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let drops = fields.next()?.parse().ok();
    let address = fields.next()?;
    let address = match kind {
        "tcp" => PeerAddress::Inet(address.parse().ok()?),
        "unix" => PeerAddress::Unix(address.to_owned()),
        _ => return None,
    };
    Some(ListenQueue { address, waiting, limit, drops })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use why502_facts::Blob;

    const NETSTAT: &str = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 7 9\nIpExt: InNoRoutes ListenDrops\nIpExt: 1 2\n";
    const CONNTRACK: &str = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart
0000000a  00000000 00000000 00000000 00000003 00000000 00000000 00000000 00000000 00000001 0000000f 00000002 00000000  00000000 00000000 00000000 00000000
0000000a  00000000 00000000 00000000 00000003 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000  00000000 00000000 00000000 00000000
";
    const QUEUES: &str = "tcp 2 1 4 127.0.0.1:8080\ntcp 0 511 - [::]:80\nunix 3 2 - /run/my app.sock\nunix 0 5 - @abstract\nsctp 1 1 1 x\n";

    fn record() -> NetworkLimitsRecord {
        NetworkLimitsRecord {
            netstat: Blob::from(NETSTAT),
            conntrack: Some(Blob::from(CONNTRACK)),
            settings: vec![("net.core.somaxconn".to_owned(), Blob::from("128\n"))],
            queues: Some(Blob::from(QUEUES)),
            hidden: None,
        }
    }

    #[test]
    fn counters_settings_and_queues_are_read() {
        let limits = decode_network_limits(&record());
        assert_eq!(limits.counters.get("ListenOverflows"), Some(&7));
        assert_eq!(limits.counters.get("ListenDrops"), Some(&9), "the first group counts");
        let expected = ConntrackCounters { drop: 16, early_drop: 2 };
        assert_eq!(limits.conntrack, Some(expected));
        assert_eq!(limits.number("net.core.somaxconn"), Some(128));
        let queue = |address: &str| {
            let peer: PeerAddress = address.parse().unwrap();
            limits.queues_of(&peer).first().map(|own| (own.waiting, own.limit, own.drops))
        };
        assert_eq!(queue("127.0.0.1:8080"), Some((2, 1, Some(4))));
        assert_eq!(queue("unix:/run/my app.sock"), Some((3, 2, None)));
        assert_eq!(queue("unix:@abstract"), Some((0, 5, None)));
        assert_eq!(queue("10.0.0.1:80"), Some((0, 511, None)));
    }

    #[test]
    fn what_the_kernel_does_not_tell_stays_unknown() {
        let limits = decode_network_limits(&NetworkLimitsRecord::default());
        assert_eq!(limits, NetworkLimits::default());
        let renamed = NetworkLimitsRecord { conntrack: Some(Blob::from("entries new\n0 0\n")), ..record() };
        assert_eq!(decode_network_limits(&renamed).conntrack, None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let blob = Blob::from(bytes.as_slice());
            decode_network_limits(&NetworkLimitsRecord {
                netstat: blob.clone(),
                conntrack: Some(blob.clone()),
                settings: vec![("net.ipv4.ip_local_port_range".to_owned(), blob.clone())],
                queues: Some(blob),
                hidden: None,
            })
            .n_local_ports();
        }
    }
}
