//! Names, resolved as the system does.

use std::io::Read as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use why502_facts::{Answer, FactBody, GapReason, ProbeContext};

/// Asks the C library through `getent ahosts`: the same hosts file, search list, name servers and NSS modules that the
/// gateway's own getaddrinfo(3) uses, which a static program could not load itself.
pub(crate) fn system(name: &str, context: &ProbeContext, timeout: Duration) -> Answer {
    if !context.in_network {
        return Answer::unknown(
            GapReason::Denied,
            format!("{name}: the gateway's network namespace may not be entered"),
        );
    }
    match run_getent(name, timeout) {
        Ok(Some((true, output))) => Answer::known(FactBody::Addresses(parse_ahosts(&output))),
        Ok(Some((false, _))) => Answer::Absent,
        Ok(None) => {
            Answer::unknown(GapReason::TimedOut, format!("{name}: the name servers did not answer in time"))
        }
        Err(error) => Answer::unknown(GapReason::Unsupported, format!("getent: {error}")),
    }
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
