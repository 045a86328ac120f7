//! What a peer's bytes are, decoded.

use crate::{Blob, Stamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the first bytes of a peer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstBytes {
    /// Nothing came.
    Nothing,
    /// An HTTP/1 response.
    Http,
    /// HTTP/2 frames.
    Http2,
    /// A TLS record; for an alert its description code.
    Tls {
        /// The code of the alert, if it is one (RFC 8446, section 6).
        alert: Option<u8>,
    },
    /// The greeting of a protocol in which the server speaks first, or an error message of a known protocol.
    Banner(&'static str),
    /// A FastCGI record.
    FastCgi,
    /// A uwsgi packet that answers a ping.
    Uwsgi,
    /// None of these.
    Other,
}

/// The header of an HTTP/1 response, or of what an application behind FastCGI, SCGI or uwsgi answers in place of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Minor version of HTTP/1: 0 or 1; `None` where no status line came, but header lines alone, and of HTTP/2.
    pub minor_version: Option<u16>,
    /// The status code; of header lines alone that of `Status`, else 302 with a `Location`, else 200.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// The header lines.
    pub headers: Vec<HttpHeader>,
    /// The size of the status line and all header lines with the empty line, in bytes, as far as it came: what the
    /// gateway's buffer for it must hold, the headers of FastCGI's records included.
    pub head_bytes: u64,
    /// Whether the empty line came.
    pub complete: bool,
    /// What a strict reader refuses; the first is what the gateway would stop at.
    pub faults: Vec<HeaderFault>,
    /// The begin of the body.
    pub body: Blob,
}

impl HttpAnswer {
    /// The value of the first header of that name, without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.as_str())
    }

    /// Whether the connection stays open behind it (RFC 9112, section 9.3).
    pub fn keeps_open(&self) -> bool {
        let connections = self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("Connection"));
        let mut options = connections.flat_map(|header| header.value.split(',')).map(str::trim);
        match self.minor_version {
            Some(0) => options.any(|option| option.eq_ignore_ascii_case("keep-alive")),
            Some(_) => !options.any(|option| option.eq_ignore_ascii_case("close")),
            None => false,
        }
    }

    /// For how long the peer says that it keeps the idle connection (`Keep-Alive: timeout=5`): in whole seconds, so that it
    /// may be up to a second more.
    pub fn named_idle_timeout(&self) -> Option<Duration> {
        let named = self.header("Keep-Alive")?.split(',').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("timeout").then_some(value)
        })?;
        named.trim().parse().ok().map(Duration::from_secs)
    }

    /// The largest header line.
    pub fn largest_header(&self) -> Option<&HttpHeader> {
        self.headers.iter().max_by(|a, b| a.bytes.cmp(&b.bytes).then_with(|| b.name.cmp(&a.name)))
    }
}

/// What the frames of a server of HTTP/2 tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http2Answer {
    /// Whether the stream came to its end in good order.
    pub ended: bool,
    /// The GOAWAY that ends the connection, if one came.
    pub goaway: Option<Http2Goaway>,
    /// What a call of gRPC came to, if one was made and answered to the end.
    pub grpc: Option<GrpcAnswer>,
    /// The header of the answer, if it came.
    pub header: Option<HttpAnswer>,
    /// The code that the request was refused with (`RST_STREAM`; RFC 9113, section 7).
    pub reset: Option<u32>,
}

/// What a call of gRPC's health service came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcAnswer {
    /// The status of the call (`grpc-status`), 0 where it went well.
    pub status: u32,
    /// What the server says to that (`grpc-message`).
    pub message: String,
    /// The health that it tells (`HealthCheckResponse.ServingStatus`): 0 unknown, 1 serving, 2 not serving, 3 no such
    /// service; `None` if it tells none.
    pub serving: Option<u64>,
}

/// A server's announcement that it ends a connection (RFC 9113, section 6.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http2Goaway {
    /// The last stream that it serves; later ones it has not looked at.
    pub last_stream: u32,
    /// The error code (section 7), 0 for none.
    pub code: u32,
    /// What it says to that.
    pub debug: String,
}

/// What a memcached answers to a question, by the first line of its answer (its `doc/protocol.txt`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemcachedAnswer {
    /// It refuses the client's line, and says why.
    ClientError(String),
    /// It does not know the question; or why it takes none.
    Error(String),
    /// There is no such key.
    Missing,
    /// It cannot do what was asked, and says why.
    ServerError(String),
    /// The value of a key.
    Value {
        /// The key.
        key: String,
        /// The size of the value, in bytes.
        length: u64,
    },
    /// Its version.
    Version(String),
}

impl MemcachedAnswer {
    /// Whether it serves: a key that is not there is an answer like any other.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Missing | Self::Value { .. } | Self::Version(_))
    }
}

/// One header line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpHeader {
    /// The name as sent.
    pub name: String,
    /// The value.
    pub value: String,
    /// The size of the whole line with its line end, in bytes.
    pub bytes: u64,
}

/// A breach of HTTP's rules in a response header, which some version of nginx refuses: [`HeaderFault::refused_since`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeaderFault {
    /// NUL, or a carriage return that does not end the line.
    InvalidLine {
        /// The line, or its begin.
        line: String,
    },
    /// A space or a control byte in a header's name, or no name.
    InvalidName {
        /// The line, or its begin.
        line: String,
    },
    /// Content-Length and Transfer-Encoding together.
    LengthAndEncoding,
    /// A length or encoding header twice.
    Duplicate {
        /// Its name.
        name: String,
    },
    /// A `Status` that is no number of three digits.
    InvalidStatus {
        /// Its value.
        value: String,
    },
    /// A Content-Length that is no number.
    InvalidLength {
        /// Its value.
        value: String,
    },
    /// A Transfer-Encoding other than `chunked`.
    UnknownEncoding {
        /// Its value.
        value: String,
    },
}

impl HeaderFault {
    /// The version of nginx that refuses it, and all later ones do (CHANGES of nginx).
    pub fn refused_since(&self) -> (u16, u16, u16) {
        match self {
            Self::InvalidLine { .. } | Self::InvalidStatus { .. } => (0, 0, 0),
            Self::InvalidName { .. } => (1, 21, 1),
            Self::Duplicate { .. }
            | Self::InvalidLength { .. }
            | Self::LengthAndEncoding
            | Self::UnknownEncoding { .. } => (1, 23, 0),
        }
    }
}

/// What a TLS library told of a handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsAnswer {
    /// Whether the handshake was completed.
    pub established: bool,
    /// The protocol version (`TLSv1.3`), once known.
    pub version: Option<String>,
    /// The cipher, once known.
    pub cipher: Option<String>,
    /// The library's words for what went wrong.
    pub error: Option<String>,
    /// The first bytes that the peer sent, encrypted or not: what speaks there if it is not TLS.
    pub first_bytes: Blob,
    /// The peer's certificate and chain, DER.
    pub chain: Vec<Blob>,
    /// The same certificates, read.
    #[serde(default)]
    pub certificates: Vec<TlsCertificate>,
    /// The alert that the peer sent, by its number (RFC 8446, section 6), during the handshake or in place of an answer.
    #[serde(default)]
    pub alert: Option<u8>,
    /// What became of the verification, if one was asked for and a certificate came.
    #[serde(default)]
    pub verdict: Option<TlsVerdict>,
    /// Whether the peer asked for a certificate; `None` where that cannot be seen: TLS 1.3 hides it.
    #[serde(default)]
    pub asks_certificate: Option<bool>,
    /// The files that could not be read or used, each with the reason: what depends on them was not done.
    #[serde(default)]
    pub unusable: Vec<String>,
}

/// A certificate of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsCertificate {
    /// Whose it is, as one line (`CN=shop.internal`).
    pub subject: String,
    /// The names and addresses that it is valid for.
    pub names: Vec<String>,
    /// Who issued it, as one line.
    pub issuer: String,
    /// From when it is valid; `None`: its time cannot be read.
    pub not_before: Option<Stamp>,
    /// Until when it is valid.
    pub not_after: Option<Stamp>,
}

/// What became of the verification of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsVerdict {
    /// The library's code (`X509_V_ERR_…`), 0 if the chain is trusted.
    pub code: i32,
    /// Its words.
    pub says: String,
    /// Whether it is for the name that was asked for; `None`: no name was.
    pub is_for_name: Option<bool>,
}
