//! The way to a peer, as the kernel tells it over rtnetlink(7): nothing is sent, and no right is needed.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use why502_decode::host::{Table, Told, dump_request, lookup, messages, route_request, told};
use why502_facts::{Answer, FactBody, GapReason, Lookup, ProbeContext, RouteKind, RouteRecord};

/// How long the kernel may take for one answer: it has it at hand.
const PATIENCE: Duration = Duration::from_secs(1);
/// The room for one part of an answer: the kernel fills at most 32 KiB at once.
const ROOM: usize = 64 << 10;
/// How much of a table is read: some hundred thousand routes.
const MAX_READ: usize = 32 << 20;
/// How much of a table is kept.
const MAX_KEPT: usize = 64 << 10;

/// Looks up the way that TCP packets to an address take, and what else is known of it.
pub(crate) fn look_up(
    target: SocketAddr,
    source: Option<IpAddr>,
    mark: Option<u32>,
    context: &ProbeContext,
    timeout: Duration,
) -> Answer {
    let deadline = Instant::now() + timeout;
    match read(target, source, mark, context, deadline) {
        Ok(record) => Answer::known(FactBody::Route(record)),
        Err(errno) => {
            Answer::unknown(GapReason::Failed, format!("the kernel does not tell its routes: {errno}"))
        }
    }
}

/// The rules of policy routing of both families; nothing where the kernel does not tell them.
pub(crate) fn policy(deadline: Instant) -> Vec<u8> {
    let kernel = Kernel { deadline };
    let families: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let dump =
        |family: IpAddr| kernel.dump(Table::Rules, family, &mut |told| matches!(told, Told::Rule)).ok();
    families.into_iter().filter_map(dump).flat_map(|(rules, _)| rules).collect()
}

fn read(
    target: SocketAddr,
    source: Option<IpAddr>,
    mark: Option<u32>,
    context: &ProbeContext,
    deadline: Instant,
) -> Result<RouteRecord, Errno> {
    let ip = target.ip();
    let kernel = Kernel { deadline };
    let answer = way(&kernel, target, source, mark)?;
    let found = messages(&answer).find_map(lookup);
    let mut record = RouteRecord { context: context.clone(), ..RouteRecord::default() };
    let (mut devices, mut hops) = (BTreeSet::new(), BTreeSet::from([ip]));
    if let Some(Lookup::Route(route)) = &found {
        devices.extend(route.device);
        hops.extend(route.gateway);
    }
    let mut cut = false;
    let mut keep = |table, fits: &mut dyn FnMut(Told) -> bool| -> Result<Vec<u8>, Errno> {
        let (kept, is_cut) = kernel.dump(table, ip, fits)?;
        cut |= is_cut;
        Ok(kept)
    };
    let routes = keep(Table::Routes, &mut |told| match told {
        Told::Route(route) if route.holds(ip) => {
            devices.extend(route.device);
            true
        }
        _ => false,
    })?;
    let rules = keep(Table::Rules, &mut |told| matches!(told, Told::Rule))?;
    let addresses = keep(Table::Addresses, &mut |told| match told {
        Told::Address(own) if own.holds(ip) => {
            devices.insert(own.device);
            true
        }
        _ => false,
    })?;
    let links =
        keep(Table::Links, &mut |told| matches!(told, Told::Link(link) if devices.contains(&link.index)))?;
    let neighbours = keep(
        Table::Neighbours,
        &mut |told| matches!(told, Told::Neighbour(own) if hops.contains(&own.address)),
    )?;
    record.answer = answer.into();
    record.routes = routes.into();
    record.rules = rules.into();
    record.addresses = addresses.into();
    record.links = links.into();
    record.neighbours = neighbours.into();
    record.truncated = cut;
    Ok(record)
}

/// The answer to a look-up. A connection attempt is looked up twice: for a source address, and once it has one
/// (`tcp_v4_connect`, `ip_route_newports`).
fn way(
    kernel: &Kernel,
    target: SocketAddr,
    source: Option<IpAddr>,
    mark: Option<u32>,
) -> Result<Vec<u8>, Errno> {
    let answer = kernel.ask(&route_request(target, source, mark))?;
    let Some(Lookup::Route(route)) = messages(&answer).find_map(lookup) else { return Ok(answer) };
    match route.source.filter(|_| source.is_none() && route.kind == RouteKind::Unicast) {
        Some(chosen) => kernel.ask(&route_request(target, Some(chosen), mark)),
        None => Ok(answer),
    }
}

struct Kernel {
    deadline: Instant,
}

impl Kernel {
    /// The first part of an answer.
    fn ask(&self, question: &[u8]) -> Result<Vec<u8>, Errno> {
        let socket = self.send(question)?;
        let mut buffer = vec![0; ROOM];
        let length = receive(&socket, &mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// The messages of a table that fit, and whether there was more of it than is read or kept.
    fn dump(
        &self,
        table: Table,
        target: IpAddr,
        fits: &mut dyn FnMut(Told) -> bool,
    ) -> Result<(Vec<u8>, bool), Errno> {
        let socket = self.send(&dump_request(table, target))?;
        let (mut buffer, mut kept) = (vec![0; ROOM], Vec::new());
        let mut left = MAX_READ;
        loop {
            let length = receive(&socket, &mut buffer)?;
            for message in messages(&buffer[..length]) {
                let told = told(message);
                if told == Told::End {
                    return Ok((kept, false));
                }
                if !fits(told) {
                    continue;
                }
                if kept.len() + message.len() > MAX_KEPT {
                    return Ok((kept, true));
                }
                kept.extend_from_slice(message);
                kept.resize(kept.len().next_multiple_of(4), 0);
            }
            left = left.saturating_sub(length);
            if length == 0 || left == 0 || Instant::now() >= self.deadline {
                return Ok((kept, true));
            }
        }
    }

    /// Sends a question over a socket of its own: an answer that was left unread is none to the next one.
    fn send(&self, question: &[u8]) -> Result<OwnedFd, Errno> {
        let left = self.deadline.saturating_duration_since(Instant::now()).min(PATIENCE);
        if left.is_zero() {
            return Err(Errno::TIMEDOUT);
        }
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(left))?;
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&socket, question, SendFlags::empty(), &kernel)?;
        Ok(socket)
    }
}

fn receive(socket: &OwnedFd, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
    let (length, _) = rustix::net::recv(socket, buffer.as_mut_slice(), RecvFlags::empty())?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use why502_decode::host::decode_path;

    #[test]
    fn the_way_to_this_host_is_local() {
        let target: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let context = ProbeContext { in_network: true, ..ProbeContext::default() };
        let Answer::Known(body) = look_up(target, None, None, &context, Duration::from_secs(2)) else {
            panic!("not known")
        };
        let FactBody::Route(record) = *body else { panic!("no route") };
        let path = decode_path(&record, target, None);
        assert_eq!(path.route().map(|route| route.kind), Some(RouteKind::Local));
        assert!(path.links.iter().any(|link| link.name == "lo"), "{:?}", path.links);
        assert!(!path.rules.is_empty() && !path.truncated);
    }
}
