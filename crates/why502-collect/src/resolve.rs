//! Names, resolved as the system does.

mod stub;

use crate::files::read_whole;
use crate::helper::Place;
use std::io::Read as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use stub::Lookup;
use why502_decode::host::host_sources;
use why502_facts::{Answer, FactBody, GapReason, Resolver};

/// What the files say about how names are resolved: empty where there is none.
#[derive(Debug, Default)]
pub(crate) struct NameFiles {
    hosts: Vec<u8>,
    resolv_conf: Vec<u8>,
    nsswitch: Vec<u8>,
}

impl NameFiles {
    /// Reads them in the root where this process is.
    pub(crate) fn read() -> Self {
        let read = |path| read_whole(path).unwrap_or_default();
        Self {
            hosts: read("/etc/hosts"),
            resolv_conf: read("/etc/resolv.conf"),
            nsswitch: read("/etc/nsswitch.conf"),
        }
    }
}

/// Resolves a name in the place of the gateway.
pub(crate) fn look_up(name: &str, resolver: Resolver, place: &Place, timeout: Duration) -> Answer {
    let namespace = match (place.context.in_network, place.context.in_mount) {
        (false, _) => Some("network"),
        (true, false) if !matches!(resolver, Resolver::Server(_)) => Some("mount"),
        (true, _) => None,
    };
    if let Some(namespace) = namespace {
        let says = format!("{name}: the gateway's {namespace} namespace may not be entered");
        return Answer::unknown(GapReason::Denied, says);
    }
    match resolver {
        Resolver::System => system(name, place, timeout),
        Resolver::Server(server) => {
            Answer::known(FactBody::NameReply(stub::ask_for(name, &[server], timeout)))
        }
        Resolver::SystemServers => {
            let servers = stub::system_servers(&place.names.resolv_conf);
            Answer::known(FactBody::NameReply(stub::ask_for(name, &servers, timeout)))
        }
    }
}

/// Resolves a name as the system does.
///
/// The hosts file, the search list and the name servers are read and asked by ourselves, without touching a file. Where the
/// host's own nsswitch.conf(5) names a source that only a module of the C library knows, the library is asked through
/// `getent ahosts`; in a container's root nothing is executed.
fn system(name: &str, place: &Place, timeout: Duration) -> Answer {
    let files = &place.names;
    let by_library = !place.foreign_files && needs_library(&files.nsswitch, name);
    let found =
        if by_library { by_getent(name, files, timeout) } else { Ok(stub::look_up(name, files, timeout)) };
    match found {
        Ok(Lookup::Found(addresses)) => Answer::known(FactBody::Addresses(addresses)),
        Ok(Lookup::NotFound) => Answer::Absent,
        Ok(Lookup::NoAnswer(says)) => Answer::unknown(GapReason::Failed, format!("{name}: {says}")),
        Err(error) => Answer::unknown(GapReason::Unsupported, format!("getent: {error}")),
    }
}

/// Whether a source of names beside files and name servers may know a name.
fn needs_library(nsswitch: &[u8], name: &str) -> bool {
    host_sources(nsswitch).iter().any(|source| match source.as_str() {
        // The last two ask the same servers, and know the host's own names, which the hosts file has.
        "files" | "dns" | "resolve" | "myhostname" => false,
        multicast if multicast.starts_with("mdns") => name.rsplit('.').next() == Some("local"),
        _ => true,
    })
}

fn by_getent(name: &str, files: &NameFiles, timeout: Duration) -> std::io::Result<Lookup> {
    Ok(match run_getent(name, timeout)? {
        Some((true, output)) => Lookup::Found(parse_ahosts(&output)),
        // It does not tell a name that nobody has from name servers that nobody reaches.
        Some((false, _)) => match stub::ask_servers(name, &files.resolv_conf, timeout) {
            Lookup::NoAnswer(says) => Lookup::NoAnswer(says),
            Lookup::Found(_) | Lookup::NotFound => Lookup::NotFound,
        },
        None => Lookup::NoAnswer("the name servers did not answer in time".to_owned()),
    })
}

/// Whether the name was found, and the output; `None` if the time was up.
fn run_getent(name: &str, timeout: Duration) -> std::io::Result<Option<(bool, String)>> {
    let mut child = Command::new("getent")
        .args(["ahosts", "--", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            let mut output = String::new();
            if let Some(mut stdout) = child.stdout.take() {
                stdout.read_to_string(&mut output)?;
            }
            return Ok(Some((status.success(), output)));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// One line per address and socket type: `127.0.0.1  STREAM localhost`.
fn parse_ahosts(output: &str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for line in output.lines() {
        let mut fields = line.split_ascii_whitespace();
        let address = fields.next().and_then(|address| address.split('%').next()?.parse().ok());
        if let Some(address) = address.filter(|address| !addresses.contains(address)) {
            addresses.push(address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_once_and_in_order() {
        let output = "::1             STREAM localhost\n::1             DGRAM\n127.0.0.1       STREAM\nfe80::1%eth0 STREAM\n";
        let expected: Vec<IpAddr> =
            ["::1", "127.0.0.1", "fe80::1"].map(|address| address.parse().unwrap()).to_vec();
        assert_eq!(parse_ahosts(output), expected);
    }
}
