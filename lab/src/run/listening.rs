//! Who listens, told without connecting: a connection would be traffic that the scenario does not know.

use std::fs;
use std::net::SocketAddr;

/// Whether something listens at `127.0.0.1:3000`, `[::1]:3000`, `unix:/path` or `udp:127.0.0.1:53`.
pub(super) fn listens(address: &str) -> bool {
    if let Some(path) = address.strip_prefix("unix:") {
        // Flags 00010000: it accepts connections.
        return has_line("unix", |fields| fields.get(3) == Some(&"00010000") && fields.get(7) == Some(&path));
    }
    let (table, state, address) = match address.strip_prefix("udp:") {
        Some(address) => ("udp", "07", address),
        None => ("tcp", "0A", address),
    };
    let Ok(address) = address.parse::<SocketAddr>() else { return false };
    // A socket of IPv6 may be bound to an address of IPv4 (`::ffff:127.0.0.1`), as gRPC does it.
    let mapped = match address {
        SocketAddr::V4(own) => SocketAddr::from((own.ip().to_ipv6_mapped(), own.port())),
        SocketAddr::V6(_) => address,
    };
    [("", address), ("6", mapped)].into_iter().any(|(family, address)| {
        let wanted = kernel_form(address);
        has_line(&format!("{table}{family}"), |fields| {
            fields.get(3) == Some(&state) && fields.get(1) == Some(&wanted.as_str())
        })
    })
}

/// Every listening socket of this network namespace, as the kernel's tables have it.
pub(super) fn all() -> Vec<String> {
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        each_line(table, |fields| {
            if fields.get(3) == Some(&"0A") {
                found.push(format!("{table} {}", fields[1]));
            }
        });
    }
    each_line("unix", |fields| {
        if fields.get(3) == Some(&"00010000") {
            found.push(format!("unix {}", fields.get(7).unwrap_or(&"")));
        }
    });
    found.sort();
    found
}

fn has_line(table: &str, mut fits: impl FnMut(&[&str]) -> bool) -> bool {
    let mut found = false;
    each_line(table, |fields| found |= fits(fields));
    found
}

fn each_line(table: &str, mut look: impl FnMut(&[&str])) {
    // The table of IPv6 is missing where the kernel has none.
    let text = fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
    for line in text.lines().skip(1) {
        look(&line.split_ascii_whitespace().collect::<Vec<_>>());
    }
}

/// `0100007F:0BB8`: words of the address in the machine's byte order.
fn kernel_form(address: SocketAddr) -> String {
    let word = |bytes: &[u8]| {
        let bytes: [u8; 4] = bytes.try_into().unwrap_or_default();
        format!("{:08X}", u32::from_ne_bytes(bytes))
    };
    let words = match address {
        SocketAddr::V4(address) => word(&address.ip().octets()),
        SocketAddr::V6(address) => address.ip().octets().chunks(4).map(word).collect(),
    };
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixListener;

    #[test]
    fn listeners_are_seen_of_every_kind() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let unix = UnixListener::bind(&path).unwrap();
        let addresses = [
            tcp.local_addr().unwrap().to_string(),
            format!("udp:{}", udp.local_addr().unwrap()),
            format!("unix:{}", path.display()),
        ];
        assert!(addresses.iter().all(|address| listens(address)));
        assert!(all().contains(&format!("unix {}", path.display())));
        drop((tcp, udp, unix));
        assert!(!listens(&addresses[0]) && !listens(&addresses[1]) && !listens(&addresses[2]));
    }

    #[test]
    fn addresses_are_written_as_the_kernel_does() {
        assert_eq!(kernel_form("127.0.0.1:3000".parse().unwrap()), "0100007F:0BB8");
        assert_eq!(kernel_form("[::1]:80".parse().unwrap()), "00000000000000000000000001000000:0050");
    }
}
