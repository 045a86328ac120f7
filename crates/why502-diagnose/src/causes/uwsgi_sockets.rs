//! What a uWSGI server's arguments tell of the protocol of its sockets.

use crate::case::{Case, PeerSubject};
use crate::finding::{Evidence, Origin};
use why502_facts::PeerAddress;
use why502_model::Protocol;

/// Evidence that the listener was told to speak uwsgi, which it says to nobody who asks in another protocol.
pub(super) fn told_uwsgi(case: &Case<'_>, peer: &PeerSubject, protocol: Protocol) -> Option<Evidence> {
    if protocol == Protocol::Uwsgi {
        return None;
    }
    let speaker = case.listeners_of(peer).into_iter().find(|process| {
        process.comm.starts_with("uwsgi") && has_uwsgi_socket(&process.argv, &peer.address)
    })?;
    let says = format!("{} was started with a --socket there, which speaks uwsgi", speaker.comm);
    Some(Evidence::supporting(says, Origin::Host(format!("/proc/{}/cmdline", speaker.pid))))
}

/// Whether arguments bind an address for the protocol uwsgi (uWSGI documentation, options `socket` and `protocol`).
fn has_uwsgi_socket(argv: &[String], address: &PeerAddress) -> bool {
    const SOCKETS: [&str; 3] = ["--socket", "--uwsgi-socket", "-s"];
    let is_it = |value: &str| match address {
        PeerAddress::Inet(inet) => {
            value == inet.to_string() || value.strip_prefix(':') == Some(inet.port().to_string().as_str())
        }
        PeerAddress::Unix(path) => value == path,
    };
    let values = argv.iter().skip(1).map(String::as_str).chain([""]);
    let binds = |(argument, next): (&String, &str)| match argument.split_once('=') {
        Some((name, value)) => SOCKETS.contains(&name) && is_it(value),
        None => SOCKETS.contains(&argument.as_str()) && is_it(next),
    };
    !argv.iter().any(|argument| argument.starts_with("--protocol")) && argv.iter().zip(values).any(binds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_uwsgi_are_told_by_their_options() {
        let tells = |line: &str, address: &str| {
            let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
            has_uwsgi_socket(&argv, &address.parse().unwrap())
        };
        assert!(tells("uwsgi --socket 127.0.0.1:3000", "127.0.0.1:3000"));
        assert!(tells("uwsgi -s :3000 --master", "10.0.0.1:3000"));
        assert!(tells("uwsgi --uwsgi-socket=/run/app.sock", "unix:/run/app.sock"));
        assert!(!tells("uwsgi --http-socket 127.0.0.1:3000", "127.0.0.1:3000"));
        assert!(!tells("uwsgi --socket 127.0.0.1:3000 --protocol=http", "127.0.0.1:3000"));
        assert!(!tells("uwsgi --socket 127.0.0.1:3001", "127.0.0.1:3000"));
        assert!(!tells("uwsgi", "127.0.0.1:3000"));
    }
}
