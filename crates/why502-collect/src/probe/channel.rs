//! A connection as a probe speaks on it: within a deadline, plain or through TLS.

use openssl::ssl::SslStream;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How many of a peer's raw first bytes are kept beside a handshake.
const MAX_FIRST_BYTES: usize = 16 << 10;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Stream {
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
pub(super) struct Recorder {
    pub(super) stream: Stream,
    pub(super) deadline: Instant,
    pub(super) first: Vec<u8>,
}

impl Recorder {
    /// Whether there is something to read, or the peer has closed, within a time that the deadline bounds.
    pub(super) fn is_readable_within(&self, patience: Duration) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now()).min(patience);
        let Ok(timeout) = Timespec::try_from(left) else { return false };
        let socket = match &self.stream {
            Stream::Tcp(stream) => PollFd::new(stream, PollFlags::IN),
            Stream::Unix(stream) => PollFd::new(stream, PollFlags::IN),
        };
        rustix::event::poll(&mut [socket], Some(&timeout)).is_ok_and(|n_ready| n_ready > 0)
    }

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
pub(super) enum Channel {
    Plain(Recorder),
    Tls(Box<SslStream<Recorder>>),
}

impl Channel {
    /// The local end of a TCP connection.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        let recorder = match self {
            Self::Plain(recorder) => recorder,
            Self::Tls(stream) => stream.get_ref(),
        };
        match &recorder.stream {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Unix(_) => None,
        }
    }

    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        match self {
            Self::Plain(recorder) => recorder.deadline = deadline,
            Self::Tls(stream) => stream.get_mut().deadline = deadline,
        }
    }
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
