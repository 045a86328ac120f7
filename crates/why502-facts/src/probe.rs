//! What a probe sends, and what came of it.

use crate::{Blob, Errno, FirstBytes, Http2Answer, HttpAnswer, IcmpError, MemcachedAnswer, TlsAnswer};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a probe does with a peer, as the gateway would.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeSpec {
    /// Connects and closes.
    Connect,
    /// Sends one FastCGI request and reads the answer's header.
    FastCgi(CgiRequestSpec),
    /// Asks a FastCGI server for its own values (`FCGI_GET_VALUES`): no request, and no application is called.
    FastCgiValues,
    /// Calls the health service of gRPC, which only reads, for the server as a whole, and reads the answer to its end: through
    /// TLS if wanted. It is the one request that is neither a `HEAD` nor a `GET`; no diagnosis sends it, but only
    /// somebody who asks for gRPC by name.
    GrpcHealth {
        /// The TLS settings; `None`: plain text.
        tls: Option<TlsSpec>,
        /// Header lines in order; `Host` is the authority.
        headers: Vec<(String, String)>,
    },
    /// Sends one HTTP/1 request and reads the answer's header, through TLS if the gateway does.
    Http {
        /// The TLS settings; `None`: plain text.
        tls: Option<TlsSpec>,
        /// The request.
        request: HttpRequestSpec,
    },
    /// Sends one HTTP/2 request and reads the answer's header: through TLS if the gateway does, else as one who knows that
    /// HTTP/2 is spoken.
    Http2 {
        /// The TLS settings; `None`: plain text.
        tls: Option<TlsSpec>,
        /// The request.
        request: HttpRequestSpec,
    },
    /// Asks a memcached for the value of a key, and reads the first line of the answer.
    MemcachedGet(String),
    /// Asks a memcached for its version: no key is touched.
    MemcachedVersion,
    /// Sends the header of the PROXY protocol, which names no client, and then one HTTP request as [`ProbeSpec::Http`] or
    /// [`ProbeSpec::Http2`] does.
    ProxyProtocol {
        /// The version of the header.
        header: ProxyHeader,
        /// The TLS settings; `None`: plain text.
        tls: Option<TlsSpec>,
        /// The request.
        request: HttpRequestSpec,
    },
    /// Sends one SCGI request and reads the answer's header.
    Scgi(CgiRequestSpec),
    /// Connects and shakes hands.
    Tls(TlsSpec),
    /// Sends one uwsgi request and reads the answer's header, through TLS if the gateway does.
    Uwsgi {
        /// The TLS settings; `None`: plain text.
        tls: Option<TlsSpec>,
        /// The two modifiers of the packet's header.
        modifiers: [u8; 2],
        /// The request.
        request: CgiRequestSpec,
    },
    /// Asks a uwsgi server whether it is there (modifier 100): no request, and no application is called.
    UwsgiPing,
    /// Sends one request to change to WebSocket, through TLS if wanted, and closes what was opened.
    WebSocket {
        /// The TLS settings; `None`: plain text.
        tls: Option<TlsSpec>,
        /// The request, a `GET`: see [`websocket_request`](crate::websocket_request).
        request: HttpRequestSpec,
    },
    /// Waits a moment for the peer to speak first; sends one HTTP/1 request where it does not.
    WhoSpeaks(HttpRequestSpec),
}

impl ProbeSpec {
    /// Whether it sends a request that an application answers.
    pub fn is_request(&self) -> bool {
        !matches!(
            self,
            Self::Connect | Self::FastCgiValues | Self::MemcachedVersion | Self::Tls(_) | Self::UwsgiPing
        )
    }

    /// The TLS settings, if it shakes hands.
    pub fn tls(&self) -> Option<&TlsSpec> {
        match self {
            Self::GrpcHealth { tls, .. }
            | Self::Http { tls, .. }
            | Self::Http2 { tls, .. }
            | Self::ProxyProtocol { tls, .. }
            | Self::Uwsgi { tls, .. }
            | Self::WebSocket { tls, .. } => tls.as_ref(),
            Self::Tls(tls) => Some(tls),
            Self::Connect
            | Self::FastCgi(_)
            | Self::FastCgiValues
            | Self::MemcachedGet(_)
            | Self::MemcachedVersion
            | Self::Scgi(_)
            | Self::UwsgiPing
            | Self::WhoSpeaks(_) => None,
        }
    }

    /// How long the connection is held open at most after the answer; `None`: not at all.
    pub fn idle(&self) -> Option<Duration> {
        if let Self::Http { request, .. } = self { request.idle } else { None }
    }

    /// Whether the request is sent once more on the connection that was held open.
    pub fn again(&self) -> bool {
        matches!(self, Self::Http { request, .. } if request.again)
    }

    /// The most bytes that a packet carries in either direction; `None`: what the way allows.
    pub fn segment(&self) -> Option<u16> {
        if let Self::Http { request, .. } = self { request.segment } else { None }
    }

    /// The same with no longer a hold than that.
    #[must_use]
    pub fn with_idle_at_most(mut self, most: Duration) -> Self {
        if let Self::Http { request, .. } = &mut self {
            request.idle = request.idle.map(|idle| idle.min(most));
        }
        self
    }
}

/// The header with which the PROXY protocol begins (HAProxy's `proxy-protocol.txt`, section 2), without addresses, as a sender
/// does it that speaks for itself: the receiver uses those of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// Version 1, a line of text: `PROXY UNKNOWN`.
    Text,
    /// Version 2, binary: the command `LOCAL`.
    Binary,
    /// A line of version 1 with a protocol that does not exist: who reads the header closes, and who reads past anything does not.
    Malformed,
}

/// How TLS is spoken to a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TlsSpec {
    /// The name to send (SNI); `None`: none is sent.
    pub server_name: Option<String>,
    /// The protocol versions that are offered, as nginx writes them (`TLSv1.2`); none: all that the library has.
    #[serde(default)]
    pub protocols: Vec<String>,
    /// The ciphers that are offered up to TLS 1.2, in OpenSSL's notation; `None`: the library's own choice.
    #[serde(default)]
    pub ciphers: Option<String>,
    /// How the peer's certificate is verified; `None`: not at all.
    #[serde(default)]
    pub verify: Option<TlsVerifySpec>,
    /// The files of the certificate that is presented and of its key: absolute paths.
    #[serde(default)]
    pub certificate: Option<(String, String)>,
    /// The protocols that are offered for what follows the handshake (ALPN), the best first; none: nothing is offered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
}

/// How a peer's certificate is verified.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TlsVerifySpec {
    /// The file of the authorities that are trusted: an absolute path.
    pub trusted: String,
    /// How many certificates may stand between the peer's own and an authority.
    pub depth: u32,
    /// The name that the certificate must be for; `None`: nobody knows it.
    pub name: Option<String>,
}

/// One HTTP request without a body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HttpRequestSpec {
    /// `HEAD` or `GET`; nothing else is ever sent.
    pub method: String,
    /// The request target.
    pub target: String,
    /// `1.0`, `1.1` or `2`.
    pub version: String,
    /// Header lines in order.
    pub headers: Vec<(String, String)>,
    /// How long the connection is held open after the answer, to see when the peer closes it; `None`: it is closed at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// Whether the same request is sent once more on a connection that was held open to the end of that time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// The most bytes that a packet carries in either direction (`TCP_MAXSEG`); `None`: what the way allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u16>,
}

/// One request without a body to an application that takes parameters in place of a request line and header lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CgiRequestSpec {
    /// The parameters in order; among them `REQUEST_METHOD`, which is `HEAD` or `GET`.
    pub params: Vec<(String, String)>,
    /// The names of those that the gateway sends too, with values that only a real request decides.
    pub left_out: Vec<String>,
}

impl CgiRequestSpec {
    /// The value of the last parameter of that name: an application takes the last of several.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// In whose place a probe really ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProbeContext {
    /// The user id.
    pub uid: u32,
    /// Whether it is the user that was asked for.
    pub as_user: bool,
    /// Whether it ran in the network namespace that was asked for.
    pub in_network: bool,
    /// Whether it ran in the mount namespace that was asked for.
    pub in_mount: bool,
    /// The security label (`/proc/self/attr/current`), where there is one.
    pub label: Option<String>,
}

/// What a probe sent and received, raw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    /// In whose place it ran.
    pub context: ProbeContext,
    /// The steps, in order; a step that failed is the last.
    pub steps: Vec<ProbeStep>,
    /// What the TLS library told.
    pub tls: Option<TlsAnswer>,
    /// The first bytes that the peer sent (through TLS: decrypted), at most 64 KiB.
    pub received: Blob,
    /// Whether the peer's answer went on after what was kept.
    pub truncated: bool,
    /// The errors that came back of its packets, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<IcmpError>,
    /// How many bytes the peer's host had not acknowledged when an answer was waited for no longer; `None` where that was not
    /// looked at, or could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unacknowledged: Option<u64>,
}

/// One step of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStep {
    /// Which.
    pub kind: StepKind,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// How it ended.
    pub outcome: ProbeOutcome,
}

/// The kinds of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// Establishing the connection.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// Waiting for the peer to speak first.
    Listen,
    /// Writing the header of the PROXY protocol.
    Announce,
    /// Writing the request.
    Send,
    /// Reading the answer.
    Receive,
    /// Holding the connection open without a word, after the answer.
    Idle,
    /// Sending the request once more on the connection that was held open, and waiting for the first byte.
    Again,
}

/// How a step of a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeOutcome {
    /// The peer closed the connection.
    Closed,
    /// As it should.
    Done,
    /// A system call failed.
    Failed(Errno),
    /// The peer's bytes are no handshake.
    Refused,
    /// The deadline passed.
    TimedOut,
}

/// What a probe learned, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeReport {
    /// In whose place it ran.
    pub context: ProbeContext,
    /// The steps, in order.
    pub steps: Vec<ProbeStep>,
    /// What the TLS library told.
    pub tls: Option<TlsAnswer>,
    /// What the first bytes are.
    pub first_bytes: FirstBytes,
    /// The header of the answer, if one came in the protocol that was spoken.
    pub answer: Option<Box<HttpAnswer>>,
    /// What the frames of HTTP/2 tell, if that was spoken and came back.
    pub http2: Option<Box<Http2Answer>>,
    /// What a memcached answered, if that was spoken and came back.
    pub memcached: Option<MemcachedAnswer>,
    /// What the application wrote to its error stream before that header was complete.
    pub stderr: String,
    /// The first bytes themselves.
    pub received: Blob,
    /// The errors that came back of its packets, in their order.
    pub errors: Vec<IcmpError>,
    /// How many bytes the peer's host had not acknowledged when an answer was waited for no longer, if that was seen.
    pub unacknowledged: Option<u64>,
}

impl ProbeReport {
    /// How a step ended; `None` if it was never reached.
    pub fn outcome(&self, kind: StepKind) -> Option<ProbeOutcome> {
        self.steps.iter().find(|step| step.kind == kind).map(|step| step.outcome)
    }

    /// The header of the answer, if it tells that the peer is well: no error of a server, and no complaint about the very
    /// request that was made up for the probe.
    pub fn good_answer(&self) -> Option<&HttpAnswer> {
        self.answer.as_deref().filter(|answer| answer.status < 500 && answer.status != 400)
    }

    /// Whether the peer answered in its protocol, and with no error of a server.
    pub fn is_well(&self) -> bool {
        self.good_answer().is_some() || self.memcached.as_ref().is_some_and(MemcachedAnswer::is_good)
    }

    /// Whether TLS was established.
    pub fn tls_stands(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.established)
    }

    /// How long the connection was held open after the answer, and what ended that; `None` if it was not held.
    pub fn idle(&self) -> Option<(Duration, ProbeOutcome)> {
        let step = self.steps.iter().find(|step| step.kind == StepKind::Idle)?;
        Some((Duration::from_micros(step.micros), step.outcome))
    }

    /// Whether the connection was established.
    pub fn connected(&self) -> bool {
        self.outcome(StepKind::Connect) == Some(ProbeOutcome::Done)
    }

    /// The system error that the connection attempt ended with.
    pub fn connect_errno(&self) -> Option<Errno> {
        match self.outcome(StepKind::Connect) {
            Some(ProbeOutcome::Failed(errno)) => Some(errno),
            _ => None,
        }
    }
}
