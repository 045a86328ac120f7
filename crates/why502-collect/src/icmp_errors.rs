//! The errors that come back of packets of a socket: which they are, and who says so (`IP_RECVERR`, ip(7)).

use nix::libc::{sock_extended_err, sockaddr_in, sockaddr_in6};
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use why502_facts::IcmpError;

/// How many errors are kept of one socket.
const MAX_ERRORS: usize = 16;
/// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6`: what the network says, not this host of itself.
const FROM_NETWORK: [u8; 2] = [2, 3];

/// Has a socket keep the errors that come back, or keep none.
pub(crate) fn set_keeping(socket: &impl AsFd, keeping: Keeping) {
    // A kernel that does not know the option for a family loses nothing but these.
    let _ = match keeping {
        Keeping::Ipv4 => setsockopt(&socket.as_fd(), Ipv4RecvErr, &true),
        Keeping::Ipv6 => setsockopt(&socket.as_fd(), Ipv6RecvErr, &true),
        Keeping::Nothing => {
            let of_ipv4 = setsockopt(&socket.as_fd(), Ipv4RecvErr, &false);
            of_ipv4.and(setsockopt(&socket.as_fd(), Ipv6RecvErr, &false))
        }
    };
}

/// Which errors a socket keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keeping {
    /// ICMP's.
    Ipv4,
    /// ICMPv6's.
    Ipv6,
    /// None: an established connection lives on with them, as others do.
    Nothing,
}

impl Keeping {
    /// Those of a family.
    pub(crate) fn of(is_ipv4: bool) -> Self {
        if is_ipv4 { Self::Ipv4 } else { Self::Ipv6 }
    }
}

/// The errors that a socket has kept, each with the beginning of the packet that it is about: of ICMP its header.
pub(crate) fn take(socket: &impl AsFd) -> Vec<(IcmpError, [u8; 8])> {
    let mut errors = Vec::new();
    while errors.len() < MAX_ERRORS {
        let mut packet = [0; 8];
        let mut space = nix::cmsg_space!(sock_extended_err, sockaddr_in6);
        let mut parts = [IoSliceMut::new(&mut packet)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let socket = socket.as_fd().as_raw_fd();
        let Ok(message) = recvmsg::<SockaddrStorage>(socket, &mut parts, Some(&mut space), flags) else {
            break;
        };
        let found = message.cmsgs().ok().and_then(|mut messages| messages.find_map(|own| error_of(&own)));
        errors.extend(found.map(|error| (error, packet)));
    }
    errors
}

fn error_of(message: &ControlMessageOwned) -> Option<IcmpError> {
    let (error, offender) = match message {
        ControlMessageOwned::Ipv4RecvErr(error, offender) => (error, offender.as_ref().and_then(ipv4)),
        ControlMessageOwned::Ipv6RecvErr(error, offender) => (error, offender.as_ref().and_then(ipv6)),
        _ => return None,
    };
    Some(IcmpError {
        origin: error.ee_origin,
        kind: error.ee_type,
        code: error.ee_code,
        errno: i32::try_from(error.ee_errno).unwrap_or(i32::MAX),
        info: error.ee_info,
        offender: offender.filter(|_| FROM_NETWORK.contains(&error.ee_origin)),
    })
}

fn ipv4(address: &sockaddr_in) -> Option<IpAddr> {
    let ip = Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes());
    (!ip.is_unspecified()).then_some(ip.into())
}

/// The kernel may write an IPv4 address that says so of a packet in the form of IPv6 (RFC 4291, section 2.5.5.2).
fn ipv6(address: &sockaddr_in6) -> Option<IpAddr> {
    let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
    (!ip.is_unspecified()).then(|| IpAddr::from(ip).to_canonical())
}
