//! Ports of a scenario.
//!
//! In a network namespace of its own a scenario takes the numbers that it prefers. On the host's loopback they are taken
//! outside of the range that the kernel hands out by itself, and held by a socket that is bound and does not listen until
//! whoever shall listen there is started: parallel runs never meet, and what must be refused is refused.

use anyhow::{Result, bail};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// What is taken in a namespace of our own when nothing is preferred, in this order.
const USUAL: [u16; 12] = [3000, 5000, 4000, 8001, 7000, 6001, 9001, 3100, 5100, 4100, 8101, 7100];
/// Where free ports are looked for on the host: below the range of Linux's own choices.
const SEARCHED: std::ops::Range<u16> = 20_000..32_000;

/// Ports by name.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    isolated: bool,
    numbers: BTreeMap<String, u16>,
    preferred: BTreeMap<String, u16>,
    held: BTreeMap<u16, OwnedFd>,
}

impl Ports {
    pub(crate) fn new(isolated: bool) -> Self {
        Self { isolated, ..Self::default() }
    }

    /// Says which numbers a scenario would like.
    pub(crate) fn prefer(&mut self, preferred: &BTreeMap<String, u16>) {
        self.preferred = preferred.clone();
    }

    /// The number of a port; taken when it is first asked for.
    pub(crate) fn get(&mut self, name: &str) -> Result<u16> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        let number = if self.isolated { self.pick(name)? } else { self.hold()? };
        self.numbers.insert(name.to_owned(), number);
        Ok(number)
    }

    /// Gives a port to whoever is about to listen on it.
    pub(crate) fn release(&mut self, number: u16) {
        self.held.remove(&number);
    }

    fn pick(&self, name: &str) -> Result<u16> {
        if let Some(number) = self.preferred.get(name) {
            return Ok(*number);
        }
        if name == "web" {
            return Ok(8080);
        }
        let is_free =
            |number: &u16| !self.numbers.values().chain(self.preferred.values()).any(|used| used == number);
        match USUAL.into_iter().find(is_free) {
            Some(number) => Ok(number),
            None => bail!("more than {} ports", USUAL.len()),
        }
    }

    fn hold(&mut self) -> Result<u16> {
        let width = SEARCHED.end - SEARCHED.start;
        // Different processes begin to search at different places.
        let seed = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(width)).unwrap_or(0);
        for step in 0..width {
            let number = SEARCHED.start + (seed + step) % width;
            if let Some(socket) = bind(number) {
                self.held.insert(number, socket);
                return Ok(number);
            }
        }
        bail!("no free port between {} and {}", SEARCHED.start, SEARCHED.end)
    }
}

/// A socket that has the port on every address and does not listen. A program that inherited it would hold on to it.
fn bind(number: u16) -> Option<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok()?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, number)).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;

    #[test]
    fn on_the_host_a_port_is_held_and_refuses() {
        let mut ports = Ports::new(false);
        let number = ports.get("app").unwrap();
        assert_eq!(ports.get("app").unwrap(), number);
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_err());
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, number)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let mut child = Command::new("sleep").arg("9").spawn().unwrap();
        ports.release(number);
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok(), "a child holds it");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn in_a_namespace_the_preferred_number_is_taken() {
        let mut ports = Ports::new(true);
        ports.prefer(&BTreeMap::from([("php".to_owned(), 9000), ("b".to_owned(), 3000)]));
        assert_eq!((ports.get("php").unwrap(), ports.get("app").unwrap()), (9000, 5000));
    }
}
