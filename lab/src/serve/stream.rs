//! A connection of a server: TCP or unix, plain or TLS.

use anyhow::Result;
use openssl::ssl::{SslAcceptor, SslStream};
use rustix::net::sockopt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// So long a server waits for a client.
const PATIENCE: Duration = Duration::from_mins(2);

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    channel: Channel,
}

#[derive(Debug)]
enum Channel {
    Plain(Socket),
    Tls(Box<SslStream<Socket>>),
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    pub(super) fn tcp(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { channel: Channel::Plain(Socket::Tcp(stream)) })
    }

    pub(super) fn unix(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { channel: Channel::Plain(Socket::Unix(stream)) })
    }

    /// Shakes hands; `None` if the client does not.
    pub(super) fn accept_tls(self, acceptor: &SslAcceptor) -> Option<Self> {
        let Channel::Plain(socket) = self.channel else { return None };
        let stream = acceptor.accept(socket).ok()?;
        Some(Self { channel: Channel::Tls(Box::new(stream)) })
    }

    /// Says that nothing more will come, and waits for the client's end, so that nothing sent is lost.
    pub(super) fn close(&mut self) {
        if let Channel::Tls(stream) = &mut self.channel {
            let _ = stream.shutdown();
        }
        let _ = match self.socket() {
            Socket::Tcp(stream) => {
                let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
                stream.shutdown(Shutdown::Write)
            }
            Socket::Unix(stream) => {
                let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
                stream.shutdown(Shutdown::Write)
            }
        };
        let mut rest = [0; 4096];
        while self.socket_mut().read(&mut rest).is_ok_and(|length| length > 0) {}
    }

    /// Makes the end of this connection a reset.
    pub(super) fn arm_reset(&self) {
        let _ = match self.socket() {
            Socket::Tcp(stream) => sockopt::set_socket_linger(stream, Some(Duration::ZERO)),
            Socket::Unix(stream) => sockopt::set_socket_linger(stream, Some(Duration::ZERO)),
        };
    }

    fn socket(&self) -> &Socket {
        match &self.channel {
            Channel::Plain(socket) => socket,
            Channel::Tls(stream) => stream.get_ref(),
        }
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match &mut self.channel {
            Channel::Plain(socket) => socket,
            Channel::Tls(stream) => stream.get_mut(),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.channel {
            Channel::Plain(socket) => socket.read(buffer),
            Channel::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.channel {
            Channel::Plain(socket) => socket.write(bytes),
            Channel::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.channel {
            Channel::Plain(socket) => socket.flush(),
            Channel::Tls(stream) => stream.flush(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
