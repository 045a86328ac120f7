//! What a gateway says when something fails, as a closed vocabulary.

use serde::{Deserialize, Serialize};

/// What a message of the gateway's error log says.
///
/// One phrase stands for one meaning; templates that differ only in wording or version share it. What a template's
/// placeholder held (a zone, a name, the excerpt of a header) is kept beside the phrase as `detail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phrase {
    /// A client connection could not be accepted.
    AcceptFailed,
    /// The backend of `auth_request` answered an unusable status; detail: the status.
    AuthRequestUnexpectedStatus,
    /// A socket could not be bound (`proxy_bind` or a listener); detail: the address.
    BindFailed,
    /// The PROXY protocol header is missing or broken.
    BrokenProxyProtocol,
    /// A request or response body is buffered to a temporary file; detail: the path.
    BufferedToFile,
    /// Something is wrong with the response cache; detail: what.
    CacheTrouble,
    /// The client closed the connection before the answer; the upstream connection may have been closed too.
    ClientClosed,
    /// The client sent something that the gateway refuses; detail: what.
    ClientRequestInvalid,
    /// The client intended to send too large a body.
    ClientBodyTooLarge,
    /// The client did not read or send in time.
    ClientTimedOut,
    /// The configuration was refused; detail: the message with file and line.
    ConfigurationRefused,
    /// `connect() failed`: the network or the peer answered the attempt so.
    ConnectFailed,
    /// `connect() to ADDRESS failed`: this host refused the attempt; detail: the address.
    ConnectToFailed,
    /// A name server answered something unusable; detail: what.
    DnsTrouble,
    /// The FastCGI application wrote to its error stream; detail: the text.
    FastCgiStderr,
    /// The FastCGI application's output ended too early.
    FastCgiClosedEarly,
    /// The bytes are no FastCGI; detail: what was odd (`version 72`).
    FastCgiInvalid,
    /// A file operation failed; detail: the operation and the path.
    FileOperationFailed,
    /// The peer sent GOAWAY; detail: the error code.
    Http2Goaway,
    /// The peer reset the stream; detail: the error code.
    Http2Rejected,
    /// A frame is longer than any may be: usually not HTTP/2 at all; detail: the length.
    Http2TooLargeFrame,
    /// The peer broke the rules of HTTP/2; detail: which.
    Http2Violation,
    /// The gateway could not build the request; detail: why.
    RequestNotBuilt,
    /// A response header that the gateway refuses; detail: the message's own words.
    InvalidHeader,
    /// A `Status` header of a CGI-like application is no status; detail: its value.
    InvalidStatus,
    /// The value of a `*_pass` with variables has no usable scheme; detail: the value.
    InvalidUrlPrefix,
    /// The value of a `*_pass` with variables is no usable address; detail: what is wrong and the value.
    InvalidUpstreamValue,
    /// A response body's chunks are malformed.
    InvalidChunkedResponse,
    /// A limit of concurrent connections refused the request; detail: the zone.
    LimitingConnections,
    /// A limit of requests delayed the request; detail: the zone.
    LimitingRequestsDelayed,
    /// A limit of requests or connections would have refused the request (dry run); detail: the zone.
    LimitDryRun,
    /// A limit of requests refused the request; detail: the zone.
    LimitingRequests,
    /// The shared memory of a limit is full; detail: the zone where it is named.
    LimitZoneFull,
    /// The answer is no memcached answer; detail: the message.
    MemcachedInvalid,
    /// The gateway ran out of memory.
    MemoryExhausted,
    /// The upstream sent more body than it announced.
    MoreDataThanAnnounced,
    /// A named location does not exist; detail: its name.
    NamedLocationMissing,
    /// A name could not be resolved at run time; detail: the name and the resolver's code.
    NameNotResolved,
    /// Every peer of the group is marked unavailable; detail: none (the peer field holds the group).
    NoLiveUpstreams,
    /// The value of a `*_pass` with variables lacks a port; detail: the value.
    NoPortInUpstream,
    /// A `*_pass` with variables holds a name, and no resolver is in force; detail: the name.
    NoResolver,
    /// The first bytes are no HTTP status line; they are passed on as HTTP/0.9.
    NoValidHttpHeader,
    /// A message that is known and says nothing about failing requests.
    Noise,
    /// The upstream spoke before the TLS handshake was done.
    PrematurelySentResponse,
    /// The upstream closed the connection too early.
    PrematureClose,
    /// A process was started, told to stop, or ended; detail: the message.
    ProcessEvent,
    /// Reading from a connection failed.
    ReceiveFailed,
    /// Rewrites or internal redirects run in a circle; detail: the URI.
    RedirectCycle,
    /// Writing to a connection failed.
    SendFailed,
    /// A peer was marked unavailable (`temporarily disabled`).
    ServerTemporarilyDisabled,
    /// A slice of a response does not fit the others; detail: what.
    SliceInvalid,
    /// A socket could not be created.
    SocketFailed,
    /// A socket option could not be set; detail: which.
    SocketOptionFailed,
    /// Subrequests run in a circle or nest too deeply.
    SubrequestTrouble,
    /// A connection's certificate or name could not be set up for TLS; detail: the message.
    TlsSetupFailed,
    /// The TLS handshake failed; detail: the library's words.
    TlsHandshakeFailed,
    /// The certificate does not carry the expected name; detail: that name.
    TlsNameMismatch,
    /// The peer closed the connection during the handshake.
    TlsPeerClosed,
    /// Reading or writing through TLS failed; detail: the library's words.
    TlsTransferFailed,
    /// The certificate was not accepted; detail: code and text.
    TlsVerifyFailed,
    /// The response header is larger than the buffer.
    TooBigHeader,
    /// A message that no other phrase covers; detail: the message.
    Unrecognised,
    /// A variable could not be evaluated; detail: which.
    VariableTrouble,
    /// The gateway's own timer fired while it waited for the upstream.
    UpstreamTimedOut,
    /// All connections of a worker are in use; detail: the limit.
    WorkerConnections,
    /// A worker was killed by a signal; detail: the message.
    WorkerExitedOnSignal,
}

/// What the gateway was doing when it logged a message (` while …`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Choosing a peer, creating the socket, connecting.
    Connecting,
    /// The TLS handshake with the upstream, certificate checks included.
    TlsHandshake,
    /// Writing the request; also waiting for the first byte of the answer.
    SendingRequest,
    /// Waiting for or parsing the response header.
    ReadingHeader,
    /// Reading the body; the header was accepted before.
    ReadingBody,
    /// Writing to the client, or after the request was finished.
    SendingToClient,
    /// Passing bytes of an upgraded connection.
    Upgraded,
    /// Talking to a name server.
    Resolving,
    /// A phase of the client's side.
    ClientSide,
}

impl Phase {
    /// nginx's own words, as they follow ` while `.
    pub fn words(self) -> &'static str {
        match self {
            Self::Connecting => "connecting to upstream",
            Self::TlsHandshake => "SSL handshaking to upstream",
            Self::SendingRequest => "sending request to upstream",
            Self::ReadingHeader => "reading response header from upstream",
            Self::ReadingBody => "reading upstream",
            Self::SendingToClient => "sending to client",
            Self::Upgraded => "proxying upgraded connection",
            Self::Resolving => "resolving",
            Self::ClientSide => "serving the client",
        }
    }
}
