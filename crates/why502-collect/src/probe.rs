//! The one driver behind every probe: sockets, deadlines, transcript.
//!
//! What is said is the machine's to decide (`why502_decode::wire::Machine`); this knows how to connect, shake hands,
//! write and read, each within the probe's deadline.

use openssl::ssl::{ErrorCode, HandshakeError, Ssl, SslContext, SslMethod, SslStream, SslVerifyMode};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::io::Errno as SystemErrno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use why502_decode::wire::{Machine, Want};
use why502_facts::{
    Answer, Errno, FactBody, PeerAddress, ProbeContext, ProbeOutcome, ProbeSpec, ProbeStep, StepKind,
    TlsAnswer, TlsSpec, Transcript,
};

/// How many of a peer's raw first bytes are kept beside a handshake.
const MAX_FIRST_BYTES: usize = 256;

/// Probes a peer.
pub(crate) fn run(
    target: &PeerAddress,
    spec: &ProbeSpec,
    context: &ProbeContext,
    timeout: Duration,
) -> Answer {
    let mut driver = Driver { deadline: Instant::now() + timeout, transcript: Transcript::default() };
    driver.transcript.context = context.clone();
    let begin = Instant::now();
    match connect(target, driver.deadline) {
        Ok(stream) => {
            driver.note(StepKind::Connect, begin, ProbeOutcome::Done);
            driver.converse(stream, spec);
        }
        Err(errno) => driver.note(StepKind::Connect, begin, failure(errno)),
    }
    Answer::known(FactBody::Probe(driver.transcript))
}

struct Driver {
    deadline: Instant,
    transcript: Transcript,
}

impl Driver {
    fn converse(&mut self, stream: Stream, spec: &ProbeSpec) {
        let mut machine = Machine::new(spec);
        let mut channel = Channel::Plain(Recorder { stream, deadline: self.deadline, first: Vec::new() });
        let mut reading: Option<Instant> = None;
        loop {
            match machine.want() {
                Want::Done => {
                    if let Some(begin) = reading {
                        self.note(StepKind::Receive, begin, ProbeOutcome::Done);
                    }
                    break;
                }
                Want::Tls(tls) => match self.shake_hands(channel, &tls) {
                    Some(established) => channel = established,
                    None => break,
                },
                Want::Write(bytes) => {
                    let begin = Instant::now();
                    let outcome = channel
                        .write_all(&bytes)
                        .map_or_else(|error| outcome_of(&error), |()| ProbeOutcome::Done);
                    self.note(StepKind::Send, begin, outcome);
                    // A peer that answers and closes at once may still have left its answer to be read.
                }
                Want::Read => {
                    let begin = *reading.get_or_insert_with(Instant::now);
                    if let Some(outcome) = read_once(&mut channel, &mut machine) {
                        self.note(StepKind::Receive, begin, outcome);
                        break;
                    }
                }
            }
        }
        self.transcript.truncated = machine.truncated();
        self.transcript.received = machine.into_received().into();
    }

    fn shake_hands(&mut self, channel: Channel, tls: &TlsSpec) -> Option<Channel> {
        let Channel::Plain(recorder) = channel else { return None };
        let begin = Instant::now();
        let mut answer = TlsAnswer::default();
        let handshake = new_tls(tls).map_err(|error| error.to_string());
        let stream = match handshake {
            Ok(ssl) => ssl.connect(recorder),
            Err(error) => {
                answer.error = Some(error);
                self.transcript.tls = Some(answer);
                self.note(StepKind::Handshake, begin, ProbeOutcome::Refused);
                return None;
            }
        };
        match stream {
            Ok(stream) => {
                describe(&stream, &mut answer);
                self.transcript.tls = Some(answer);
                self.note(StepKind::Handshake, begin, ProbeOutcome::Done);
                Some(Channel::Tls(Box::new(stream)))
            }
            Err(error) => {
                let outcome = refusal(error, &mut answer);
                self.transcript.tls = Some(answer);
                self.note(StepKind::Handshake, begin, outcome);
                None
            }
        }
    }

    fn note(&mut self, kind: StepKind, begin: Instant, outcome: ProbeOutcome) {
        let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.transcript.steps.push(ProbeStep { kind, micros, outcome });
    }
}

/// Reads once; tells how the reading ended, if it did.
fn read_once(channel: &mut Channel, machine: &mut Machine) -> Option<ProbeOutcome> {
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
        Err(error) => Some(outcome_of(&error)),
    }
}

/// Connects as nginx does: without blocking, so that a full backlog of a unix socket shows as such.
fn connect(target: &PeerAddress, deadline: Instant) -> Result<Stream, SystemErrno> {
    let family = match target {
        PeerAddress::Inet(address) if address.is_ipv4() => AddressFamily::INET,
        PeerAddress::Inet(_) => AddressFamily::INET6,
        PeerAddress::Unix(_) => AddressFamily::UNIX,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    let begun = match target {
        PeerAddress::Inet(address) => rustix::net::connect(&socket, address),
        PeerAddress::Unix(path) => rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_str())?),
    };
    match begun {
        Ok(()) => {}
        Err(SystemErrno::INPROGRESS) => finish_connecting(&socket, deadline)?,
        Err(errno) => return Err(errno),
    }
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(match target {
        PeerAddress::Inet(_) => Stream::Tcp(socket.into()),
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

/// A connected socket.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn set_timeouts(&self, left: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)))
            }
        }
    }
}

/// A socket that keeps the first bytes it read and the deadline of the whole conversation.
#[derive(Debug)]
struct Recorder {
    stream: Stream,
    deadline: Instant,
    first: Vec<u8>,
}

impl Recorder {
    fn arm(&self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { self.stream.set_timeouts(left) }
    }
}

impl Read for Recorder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.arm()?;
        let length = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }?;
        let room = MAX_FIRST_BYTES - self.first.len();
        self.first.extend_from_slice(&buffer[..length.min(room)]);
        Ok(length)
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arm()?;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection as it is spoken on: plain or through TLS.
enum Channel {
    Plain(Recorder),
    Tls(Box<SslStream<Recorder>>),
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client that verifies nothing, as nginx by default: what is wrong with a certificate is judged later.
fn new_tls(tls: &TlsSpec) -> Result<Ssl, openssl::error::ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    context.set_verify(SslVerifyMode::NONE);
    let mut ssl = Ssl::new(&context.build())?;
    if let Some(name) = &tls.server_name {
        ssl.set_hostname(name)?;
    }
    Ok(ssl)
}

fn describe(stream: &SslStream<Recorder>, answer: &mut TlsAnswer) {
    let ssl = stream.ssl();
    answer.established = true;
    answer.version = Some(ssl.version_str().to_owned());
    answer.cipher = ssl.current_cipher().map(|cipher| cipher.name().to_owned());
    answer.first_bytes = stream.get_ref().first.as_slice().into();
    if let Some(chain) = ssl.peer_cert_chain() {
        answer.chain =
            chain.iter().filter_map(|certificate| certificate.to_der().ok()).map(Into::into).collect();
    }
}

fn refusal(error: HandshakeError<Recorder>, answer: &mut TlsAnswer) -> ProbeOutcome {
    let (HandshakeError::Failure(stream) | HandshakeError::WouldBlock(stream)) = error else {
        answer.error = Some(error.to_string());
        return ProbeOutcome::Refused;
    };
    answer.first_bytes = stream.get_ref().first.as_slice().into();
    let error = stream.error();
    match (error.code(), error.io_error()) {
        (ErrorCode::SYSCALL | ErrorCode::WANT_READ | ErrorCode::WANT_WRITE, Some(error)) => outcome_of(error),
        (ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN, None) => ProbeOutcome::Closed,
        _ => {
            let words = error.ssl_error().map(ToString::to_string);
            // OpenSSL 3 reports a peer that closed without a word as an error of the library.
            let closed = words.as_deref().is_some_and(|words| words.contains("unexpected eof"));
            answer.error = words;
            if closed { ProbeOutcome::Closed } else { ProbeOutcome::Refused }
        }
    }
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
