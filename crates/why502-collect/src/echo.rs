//! ICMP echo requests of certain sizes, which no router may take apart.
//!
//! A socket for them needs a right (icmp(7), `ping_group_range`; raw(7)), so it is opened before a helper drops its user.

use crate::icmp_errors::{self, Keeping};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::io::Errno as SystemErrno;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use why502_facts::{Answer, Echo, EchoOutcome, EchoRecord, Errno, FactBody, GapReason, ProbeContext};

/// How long answers may take where some of several are expected to stay away: longer than any way around the earth, twice. Of a single
/// request a router may say only after three seconds that the host does not answer (arp(7)).
const PATIENCE_OF_MANY: Duration = Duration::from_millis(1500);
/// When what was not answered is sent again: one packet may be lost.
const AGAIN: Duration = Duration::from_millis(500);
/// The header of an echo request.
const HEADER: usize = 8;
/// The largest IP packet.
const MAX_PACKET: usize = 65535;

/// The sockets of a job, opened while the rights last.
#[derive(Debug, Default)]
pub(crate) struct EchoSockets(Vec<(IpAddr, Result<Socket, SystemErrno>)>);

#[derive(Debug)]
struct Socket {
    handle: OwnedFd,
    /// Whether the kernel hands over whole IPv4 packets, and answers to others' requests as well.
    is_raw: bool,
}

impl EchoSockets {
    /// One socket for each address.
    pub(crate) fn open(targets: impl IntoIterator<Item = IpAddr>) -> Self {
        Self(targets.into_iter().map(|target| (target, Socket::open(target))).collect())
    }

    /// Sends echo requests of certain sizes to an address, and waits for what comes back.
    pub(crate) fn run(
        &self,
        target: IpAddr,
        sizes: &[u16],
        context: &ProbeContext,
        timeout: Duration,
    ) -> Answer {
        if !context.in_network {
            return Answer::unknown(GapReason::Denied, "the gateway's network namespace cannot be entered");
        }
        let opened = self.0.iter().find(|(own, _)| *own == target).map(|(_, socket)| socket);
        let patience = if sizes.len() > 1 { timeout.min(PATIENCE_OF_MANY) } else { timeout };
        let says = |errno| format!("no socket for ICMP echo requests: {errno}");
        match opened {
            Some(Ok(socket)) => match socket.echo(target, sizes, patience) {
                Ok(echoes) => Answer::known(FactBody::Echo(EchoRecord { context: context.clone(), echoes })),
                Err(errno) => Answer::unknown(GapReason::Failed, says(errno)),
            },
            Some(Err(errno @ (SystemErrno::ACCESS | SystemErrno::PERM))) => {
                Answer::unknown(GapReason::Denied, says(*errno))
            }
            Some(Err(errno)) => Answer::unknown(GapReason::Failed, says(*errno)),
            None => Answer::unknown(GapReason::Failed, "no socket was opened for it"),
        }
    }
}

impl Socket {
    fn open(target: IpAddr) -> Result<Self, SystemErrno> {
        let (family, protocol) = match target {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let open = |kind| rustix::net::socket_with(family, kind, flags, Some(protocol));
        let (handle, is_raw) = match open(SocketType::DGRAM) {
            Ok(handle) => (handle, false),
            Err(_) => (open(SocketType::RAW)?, true),
        };
        // As if the path's MTU were not known: what is learned of it shall come back, and not be obeyed.
        match target {
            IpAddr::V4(_) => set_ip_mtu_discover(&handle, Ipv4PathMtuDiscovery::PROBE)?,
            IpAddr::V6(_) => set_ipv6_mtu_discover(&handle, Ipv6PathMtuDiscovery::PROBE)?,
        }
        icmp_errors::set_keeping(&handle, Keeping::of(target.is_ipv4()));
        Ok(Self { handle, is_raw })
    }

    fn echo(&self, target: IpAddr, sizes: &[u16], patience: Duration) -> Result<Vec<Echo>, SystemErrno> {
        rustix::net::connect(&self.handle, &SocketAddr::new(target, 0))?;
        let mut echoes: Vec<Echo> =
            sizes.iter().map(|size| Echo { size: *size, outcome: EchoOutcome::Silent }).collect();
        let begin = Instant::now();
        for round_ends in [AGAIN.min(patience), patience] {
            for (place, echo) in echoes.iter_mut().enumerate() {
                if echo.outcome == EchoOutcome::Silent {
                    self.send(target, place, echo);
                }
            }
            self.collect(target, &mut echoes, begin, round_ends);
        }
        Ok(echoes)
    }

    fn send(&self, target: IpAddr, place: usize, echo: &mut Echo) {
        let packet = request(target, place, echo.size);
        match rustix::net::send(&self.handle, &packet, SendFlags::empty()) {
            Ok(_) => {}
            // An error that came back of an earlier packet is handed over by the next call: it stands in the queue, too.
            Err(SystemErrno::HOSTUNREACH | SystemErrno::CONNREFUSED) => {
                // What is not sent now either stays silent.
                let _ = rustix::net::send(&self.handle, &packet, SendFlags::empty());
            }
            Err(errno) => echo.outcome = EchoOutcome::Refused(Errno::from_linux(errno.raw_os_error())),
        }
    }

    /// Takes what comes back until the end of a round, or until nothing is waited for any longer.
    fn collect(&self, target: IpAddr, echoes: &mut [Echo], begin: Instant, round_ends: Duration) {
        let mut buffer = vec![0; MAX_PACKET];
        while echoes.iter().any(|echo| echo.outcome == EchoOutcome::Silent) {
            let left = round_ends.saturating_sub(begin.elapsed());
            let Ok(timeout) = Timespec::try_from(left) else { return };
            let mut socket = [PollFd::new(&self.handle, PollFlags::IN)];
            if left.is_zero()
                || !rustix::event::poll(&mut socket, Some(&timeout)).is_ok_and(|ready| ready > 0)
            {
                return;
            }
            for (error, packet) in icmp_errors::take(&self.handle) {
                if let Some(echo) = echoes.get_mut(place_of(packet)) {
                    echo.outcome = EchoOutcome::Error(error);
                }
            }
            let received = rustix::net::recv(&self.handle, buffer.as_mut_slice(), RecvFlags::DONTWAIT);
            let Ok((length, _)) = received else { continue };
            let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
            let reply = self.reply(target, &buffer[..length]);
            if let Some(echo) = reply.and_then(|place| echoes.get_mut(place)) {
                echo.outcome = EchoOutcome::Answered { micros };
            }
        }
    }

    /// Which request a packet answers.
    fn reply(&self, target: IpAddr, packet: &[u8]) -> Option<usize> {
        let (echo_reply, message) = match target {
            IpAddr::V4(_) if self.is_raw => (0, packet.get(usize::from(packet.first()? & 15) * 4..)?),
            IpAddr::V4(_) => (0, packet),
            IpAddr::V6(_) => (129, packet),
        };
        let header = message.first_chunk::<HEADER>()?;
        let is_own = !self.is_raw || header[4..6] == identifier();
        (header[0] == echo_reply && is_own).then(|| place_of(*header))
    }
}

/// The place of a request among those that are sent: its sequence number.
fn place_of(header: [u8; HEADER]) -> usize {
    usize::from(u16::from_be_bytes([header[6], header[7]]))
}

/// What tells our requests from those of other programs: of other sockets the kernel itself keeps them apart.
fn identifier() -> [u8; 2] {
    let [.., high, low] = std::process::id().to_be_bytes();
    [high, low]
}

/// An echo request that makes a packet of a size.
fn request(target: IpAddr, place: usize, size: u16) -> Vec<u8> {
    let (kind, around) = if target.is_ipv4() { (8, 20) } else { (128, 40) };
    let mut packet = vec![0; usize::from(size).saturating_sub(around).max(HEADER)];
    packet[0] = kind;
    packet[4..6].copy_from_slice(&identifier());
    packet[6..8].copy_from_slice(&u16::try_from(place).unwrap_or(u16::MAX).to_be_bytes());
    // The kernel does it for ICMPv6, whose sum has the addresses in it.
    if target.is_ipv4() {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The sum of RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.fold(0, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).map_or(0, |sum| !sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sums_up_to_nothing() {
        for size in [28, 61, 576, 1500] {
            let packet = request("192.0.2.1".parse().unwrap(), 3, size);
            assert_eq!(packet.len(), usize::from(size) - 20);
            assert_eq!(checksum(&packet), 0);
            assert_eq!(place_of(*packet.first_chunk().unwrap()), 3);
        }
    }

    #[test]
    fn this_host_answers_or_the_right_is_missing() {
        let context = ProbeContext { in_network: true, ..ProbeContext::default() };
        let target: IpAddr = "127.0.0.1".parse().unwrap();
        let answer = EchoSockets::open([target]).run(target, &[64, 1400], &context, PATIENCE_OF_MANY);
        match answer {
            Answer::Known(body) => {
                let FactBody::Echo(record) = *body else { panic!("no echo") };
                let is_answered = |echo: &Echo| matches!(echo.outcome, EchoOutcome::Answered { .. });
                assert!(record.echoes.iter().all(is_answered), "{record:?}");
            }
            Answer::Unknown { why, .. } => assert_eq!(why, GapReason::Denied),
            Answer::Absent => panic!("absent"),
        }
    }
}
