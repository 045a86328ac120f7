//! The one driver behind every probe: sockets, deadlines, transcript.
//!
//! What is said is the machine's to decide (`why502_decode::wire::Machine`); this knows how to connect, shake hands,
//! write and read, each within the probe's deadline.

mod channel;
mod tls;

pub(crate) use tls::TlsFiles;

use self::channel::{Channel, Recorder, Stream};
use crate::icmp_errors::{self, Keeping};
use crate::sockets::unacknowledged;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, TcpMaxSeg};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::io::Errno as SystemErrno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use why502_decode::wire::{Machine, Want};
use why502_facts::{
    Answer, Errno, FactBody, IcmpError, PeerAddress, ProbeContext, ProbeOutcome, ProbeSpec, ProbeStep,
    StepKind, TlsSpec, Transcript,
};

/// How long a request on a connection that was held open may take to be answered: the peer has answered the same at once.
const AGAIN: Duration = Duration::from_secs(1);

/// How much is read behind an answer while its connection is held open.
const MAX_BODY: usize = 1 << 20;

/// Probes a peer, from a certain local address if one is given.
pub(crate) fn run(
    target: &PeerAddress,
    spec: &ProbeSpec,
    source: Option<IpAddr>,
    context: &ProbeContext,
    files: &TlsFiles,
    timeout: Duration,
) -> Answer {
    let transcript = Transcript { context: context.clone(), ..Transcript::default() };
    let mut driver = Driver { deadline: Instant::now() + timeout, transcript, files };
    let begin = Instant::now();
    match connect(target, source, spec.segment(), driver.deadline, &mut driver.transcript.errors) {
        Ok(stream) => {
            driver.note(StepKind::Connect, begin, ProbeOutcome::Done);
            driver.converse(stream, spec);
        }
        Err(errno) => driver.note(StepKind::Connect, begin, failure(errno)),
    }
    Answer::known(FactBody::Probe(driver.transcript))
}

struct Driver<'a> {
    deadline: Instant,
    transcript: Transcript,
    files: &'a TlsFiles,
}

impl Driver<'_> {
    fn converse(&mut self, stream: Stream, spec: &ProbeSpec) {
        let mut machine = Machine::new(spec);
        let mut channel = Channel::Plain(Recorder { stream, deadline: self.deadline, first: Vec::new() });
        let mut reading: Option<Instant> = None;
        loop {
            match machine.want() {
                Want::Again(request) => self.repeat(&mut channel, &request),
                Want::Announce(bytes) => self.write(&mut channel, StepKind::Announce, bytes),
                Want::Done => {
                    self.note_answer(reading);
                    break;
                }
                Want::Listen(patience) => {
                    if let Some(outcome) = self.listen(&mut channel, &mut machine, patience) {
                        self.note(StepKind::Receive, Instant::now(), outcome);
                        break;
                    }
                }
                Want::Idle(most) => {
                    self.note_answer(reading.take());
                    if self.hold(&mut channel, most) != ProbeOutcome::TimedOut {
                        machine.eof();
                    }
                }
                Want::Tls(tls) => match self.shake_hands(channel, &tls) {
                    Some(established) => channel = established,
                    None => break,
                },
                Want::Write(bytes) => self.write(&mut channel, StepKind::Send, &bytes),
                Want::Read => {
                    let begin = *reading.get_or_insert_with(Instant::now);
                    if let Some(outcome) = self.read_once(&mut channel, &mut machine) {
                        self.note(StepKind::Receive, begin, outcome);
                        if outcome == ProbeOutcome::TimedOut {
                            self.transcript.unacknowledged = channel.local().and_then(unacknowledged);
                        }
                        break;
                    }
                }
            }
        }
        self.transcript.truncated = machine.truncated();
        self.transcript.received = machine.into_received().into();
    }

    /// Writes. A peer that answers and closes at once may still have left its answer to be read.
    fn write(&mut self, channel: &mut Channel, kind: StepKind, bytes: &[u8]) {
        let begin = Instant::now();
        let outcome =
            channel.write_all(bytes).map_or_else(|error| outcome_of(&error), |()| ProbeOutcome::Done);
        self.note(kind, begin, outcome);
    }

    fn shake_hands(&mut self, channel: Channel, spec: &TlsSpec) -> Option<Channel> {
        let Channel::Plain(recorder) = channel else { return None };
        let begin = Instant::now();
        let (outcome, answer, stream) = tls::shake_hands(recorder, spec, self.files);
        self.transcript.tls = Some(answer);
        self.note(StepKind::Handshake, begin, outcome);
        stream.map(|stream| Channel::Tls(Box::new(stream)))
    }

    /// Waits for the peer to speak first; tells how the conversation ended, if it did.
    fn listen(
        &mut self,
        channel: &mut Channel,
        machine: &mut Machine,
        patience: Duration,
    ) -> Option<ProbeOutcome> {
        let begin = Instant::now();
        let Channel::Plain(recorder) = &*channel else { return None };
        let is_spoken = recorder.is_readable_within(patience);
        let ended = if is_spoken { self.read_once(channel, machine) } else { None };
        self.note(StepKind::Listen, begin, ProbeOutcome::Done);
        ended
    }

    /// Reads once; tells how the reading ended, if it did.
    fn read_once(&mut self, channel: &mut Channel, machine: &mut Machine) -> Option<ProbeOutcome> {
        let mut buffer = [0; 16 * 1024];
        match channel.read(&mut buffer) {
            Ok(0) => {
                machine.eof();
                Some(ProbeOutcome::Closed)
            }
            Ok(length) => {
                machine.feed(&buffer[..length]);
                None
            }
            Err(error) => {
                // With TLS 1.3 a server refuses a client only after the client's own handshake is done.
                if let Some(answer) = self.transcript.tls.as_mut() {
                    tls::note_alert(&error, answer);
                }
                Some(outcome_of(&error))
            }
        }
    }

    /// Holds the connection open until the peer closes it. It is idle since the last byte came: some servers send a body
    /// behind their answer to a `HEAD`.
    fn hold(&mut self, channel: &mut Channel, most: Duration) -> ProbeOutcome {
        let mut begin = Instant::now();
        channel.set_deadline(begin + most);
        let (mut buffer, mut room) = ([0; 16 * 1024], MAX_BODY);
        let outcome = loop {
            match channel.read(&mut buffer) {
                Ok(0) => break ProbeOutcome::Closed,
                Ok(length) if length > room => break ProbeOutcome::Done,
                Ok(length) => (room, begin) = (room - length, Instant::now()),
                Err(error) => break outcome_of(&error),
            }
        };
        self.note(StepKind::Idle, begin, outcome);
        outcome
    }

    /// Sends the request once more on the connection that was held open, and waits for the first byte.
    fn repeat(&mut self, channel: &mut Channel, request: &[u8]) {
        let begin = Instant::now();
        channel.set_deadline(begin + AGAIN);
        let written = channel.write_all(request);
        let outcome = match written.and_then(|()| channel.read(&mut [0; 1024])) {
            Ok(0) => ProbeOutcome::Closed,
            Ok(_) => ProbeOutcome::Done,
            Err(error) => outcome_of(&error),
        };
        self.note(StepKind::Again, begin, outcome);
        if outcome == ProbeOutcome::TimedOut {
            self.transcript.unacknowledged = channel.local().and_then(unacknowledged);
        }
    }

    /// Notes that all that was wanted of an answer came, if one was read.
    fn note_answer(&mut self, reading: Option<Instant>) {
        if let Some(begin) = reading {
            self.note(StepKind::Receive, begin, ProbeOutcome::Done);
        }
    }

    fn note(&mut self, kind: StepKind, begin: Instant, outcome: ProbeOutcome) {
        let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.transcript.steps.push(ProbeStep { kind, micros, outcome });
    }
}

/// Connects as nginx does: without blocking, so that a full backlog of a unix socket shows as such. What comes back of its
/// packets as an error goes to `errors`.
fn connect(
    target: &PeerAddress,
    source: Option<IpAddr>,
    segment: Option<u16>,
    deadline: Instant,
    errors: &mut Vec<IcmpError>,
) -> Result<Stream, SystemErrno> {
    let family = match target {
        PeerAddress::Inet(address) if address.is_ipv4() => AddressFamily::INET,
        PeerAddress::Inet(_) => AddressFamily::INET6,
        PeerAddress::Unix(_) => AddressFamily::UNIX,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    if let PeerAddress::Inet(address) = target {
        icmp_errors::set_keeping(&socket, Keeping::of(address.is_ipv4()));
    }
    if let Some(segment) = segment {
        setsockopt(&socket, TcpMaxSeg, &u32::from(segment))
            .map_err(|errno| SystemErrno::from_raw_os_error(errno as i32))?;
    }
    if let Some(source) = source {
        // The port is chosen when it connects, as nginx has it: a port that is taken for one peer is free for another. Older
        // kernels choose it here.
        let _ = setsockopt(&socket, IpBindAddressNoPort, &true);
        rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
    }
    let begun = match target {
        PeerAddress::Inet(address) => rustix::net::connect(&socket, address),
        PeerAddress::Unix(path) => rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_str())?),
    };
    let ended = match begun {
        Err(SystemErrno::INPROGRESS) => finish_connecting(&socket, deadline),
        other => other,
    };
    errors.extend(icmp_errors::take(&socket).into_iter().map(|(error, _)| error));
    ended?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(match target {
        PeerAddress::Inet(_) => {
            icmp_errors::set_keeping(&socket, Keeping::Nothing);
            Stream::Tcp(socket.into())
        }
        PeerAddress::Unix(_) => Stream::Unix(socket.into()),
    })
}

fn finish_connecting(socket: &OwnedFd, deadline: Instant) -> Result<(), SystemErrno> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(|_| SystemErrno::INVAL)?;
    if rustix::event::poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&timeout))? == 0 {
        return Err(SystemErrno::TIMEDOUT);
    }
    rustix::net::sockopt::socket_error(socket)?
}

fn outcome_of(error: &io::Error) -> ProbeOutcome {
    match (error.raw_os_error(), error.kind()) {
        (_, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => ProbeOutcome::TimedOut,
        (Some(code), _) => ProbeOutcome::Failed(Errno::from_linux(code)),
        (None, _) => ProbeOutcome::Closed,
    }
}

/// A connection attempt: our own deadline is no system error.
fn failure(errno: SystemErrno) -> ProbeOutcome {
    match errno {
        SystemErrno::TIMEDOUT => ProbeOutcome::TimedOut,
        errno => ProbeOutcome::Failed(Errno::from_linux(errno.raw_os_error())),
    }
}
