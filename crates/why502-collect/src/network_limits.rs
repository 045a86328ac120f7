//! Limits and counters of a network namespace.
//!
//! Counters are read through `/proc/PID/net`. Settings and the queues of listening sockets are those of whoever looks, so that a
//! thread enters the namespace and looks there; it ends afterwards, and no other thread is where it was.

mod queues;

use crate::files::{unreadable, words};
use crate::namespace::Namespace;
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;
use std::fs::File;
use std::io::{self, Read as _};
use std::thread;
use why502_facts::{Answer, Blob, FactBody, NetworkLimitsRecord};

/// The most bytes of a file that are read.
const MAX_FILE: u64 = 256 << 10;

/// The settings that limit connections (Documentation/networking/ip-sysctl.rst, nf_conntrack-sysctl.rst).
const SETTINGS: &[&str] = &[
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_nonlocal_bind",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_tw_reuse",
    "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
];

/// The limits of the network namespace of `pid`, or of our own.
pub(crate) fn read_network_limits(pid: Option<u32>) -> Answer {
    let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let net = format!("/proc/{process}/net");
    let netstat = match read(&format!("{net}/netstat")) {
        Ok(netstat) => netstat,
        Err(error) => return unreadable(errno(&error), &format!("{net}/netstat")),
    };
    let inside = look_inside(pid).unwrap_or_else(|says| Inside { hidden: Some(says), ..Inside::default() });
    Answer::known(FactBody::NetworkLimits(NetworkLimitsRecord {
        netstat: netstat.into(),
        conntrack: read(&format!("{net}/stat/nf_conntrack")).ok().map(Blob::from),
        settings: inside.settings,
        queues: inside.queues.map(Blob::from),
        hidden: inside.hidden,
    }))
}

/// What only somebody in the namespace sees.
#[derive(Default)]
struct Inside {
    settings: Vec<(String, Blob)>,
    queues: Option<Vec<u8>>,
    hidden: Option<String>,
}

/// Looks from within the namespace of a process, in a thread of its own; an error says why that cannot be entered.
fn look_inside(pid: Option<u32>) -> Result<Inside, String> {
    let looker = thread::spawn(move || {
        if let Some(pid) = pid
            && !Namespace::of(pid, "net", LinkNameSpaceType::Network).enter()
        {
            return Err(format!("the network namespace of process {pid} may not be entered"));
        }
        let setting = |name: &&str| {
            let value = read(&format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
            Some(((*name).to_owned(), Blob::from(value)))
        };
        let settings = SETTINGS.iter().filter_map(setting).collect();
        let (queues, hidden) = match queues::list() {
            Ok(queues) => (Some(queues), None),
            Err(error) => (None, Some(format!("sock_diag: {}", words(errno(&error))))),
        };
        Ok(Inside { settings, queues, hidden })
    });
    // A panic in a thread of ours is a bug and must not be swallowed.
    looker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut content)?;
    Ok(content)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};
    use why502_decode::host::decode_network_limits;
    use why502_facts::{NetworkLimits, PeerAddress};

    fn limits(pid: Option<u32>) -> NetworkLimits {
        let Answer::Known(body) = read_network_limits(pid) else { panic!("no limits") };
        let FactBody::NetworkLimits(record) = *body else { panic!("another answer") };
        decode_network_limits(&record)
    }

    #[test]
    fn our_own_queues_are_told_with_their_limits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
        let address: SocketAddr = tcp.local_addr().unwrap();
        let _ends = (TcpStream::connect(address).unwrap(), UnixStream::connect(&path).unwrap());
        let limits = limits(Some(std::process::id()));
        assert!(limits.counters.contains_key("ListenOverflows"));
        assert!(limits.n_local_ports() > Some(0), "{:?}", limits.settings);
        let somaxconn = limits.number("net.core.somaxconn").unwrap();
        for peer in [PeerAddress::Inet(address), PeerAddress::Unix(path.display().to_string())] {
            let queues = limits.queues_of(&peer);
            assert_eq!(queues.len(), 1, "{peer}");
            assert_eq!(queues[0].waiting, 1, "{peer}");
            assert!((1..=somaxconn).contains(&queues[0].limit), "{peer}: {}", queues[0].limit);
        }
        drop((tcp, unix));
    }

    #[test]
    fn a_process_that_is_gone_is_absent() {
        assert_eq!(read_network_limits(Some(u32::MAX)), Answer::Absent);
    }
}
