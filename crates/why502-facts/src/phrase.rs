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
    /// The shared memory of the response cache is full: the request cannot go on; detail: the zone.
    CacheZoneFull,
    /// The name of a cache with variables is that of no cache; detail: the name.
    CacheZoneUnknown,
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
    /// The configuration was accepted with a warning; detail: the message, with file and line where it has them.
    ConfigurationWarning,
    /// `connect() failed`: the network or the peer answered the attempt so.
    ConnectFailed,
    /// `connect() to ADDRESS failed`: this host refused the attempt; detail: the address.
    ConnectToFailed,
    /// A name server answered something unusable; detail: what.
    DnsTrouble,
    /// The FastCGI application wrote to its error stream; detail: the text.
    FastCgiStderr,
    /// The FastCGI application's output ended too early; detail: of what (`stdout`, `request`).
    FastCgiClosedEarly,
    /// The bytes are no FastCGI; detail: what was odd (`protocol version: 72`, `record type: 17`).
    FastCgiInvalid,
    /// The limit of open files is lower than the configuration needs, or could not be raised; detail: the message.
    FileLimit,
    /// A file operation failed; detail: the message (operation and path).
    FileOperationFailed,
    /// The gateway could not handle the request for a reason of its own: a directive that does not fit, a module, a
    /// bug; detail: the message.
    GatewayFault,
    /// An active health check changed its mind about a peer, or failed; detail: the message.
    HealthCheck,
    /// The peer sent GOAWAY; detail: the error code.
    Http2Goaway,
    /// The peer reset the stream; detail: the error code.
    Http2Rejected,
    /// The peer ended the stream before the response was complete.
    Http2StreamClosedEarly,
    /// A frame is longer than any may be: usually not HTTP/2 at all; detail: the length.
    Http2TooLargeFrame,
    /// The peer broke the rules of HTTP/2; detail: the message.
    Http2Violation,
    /// A proxied TCP connection was idle for too long.
    IdleTimeout,
    /// A response header that the gateway refuses; detail: the message's own words.
    InvalidHeader,
    /// A `Status` header of a CGI-like application is no status; detail: its value.
    InvalidStatus,
    /// The trailer of a response is malformed or too big; detail: the message.
    InvalidTrailer,
    /// The value of a `*_pass` with variables has no usable scheme; detail: the value.
    InvalidUrlPrefix,
    /// The value of a `*_pass` with variables is no usable address; detail: the message (what is wrong and the value).
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
    /// Lines of a log were dropped (rate-limited, a full file system, a syslog server that did not take them): absence proves
    /// nothing; detail: the file, where it is one.
    LogLinesDropped,
    /// The answer is no memcached answer; detail: the message.
    MemcachedInvalid,
    /// The gateway ran out of memory.
    MemoryExhausted,
    /// The upstream sent more body than it announced.
    MoreDataThanAnnounced,
    /// A named location does not exist; detail: its name.
    NamedLocationMissing,
    /// A name could not be resolved at run time; detail: the message, which `ErrorRecord::unresolved` takes apart.
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
    /// The gateway itself refuses access (`deny`, a directory without index, a wrong password); detail: the message.
    RefusedLocally,
    /// The gateway could not build the request; detail: the message.
    RequestNotBuilt,
    /// A script that runs in the gateway (Lua, njs) failed; detail: the message.
    ScriptFailed,
    /// A script that runs in the gateway logged a text of its own; detail: the text.
    ScriptMessage,
    /// Writing to a connection failed.
    SendFailed,
    /// A peer was marked unavailable (`temporarily disabled`).
    ServerTemporarilyDisabled,
    /// A shared memory zone other than a limit's or a cache's is full; detail: the message.
    SharedMemoryFull,
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
    /// A variable was used that has no value; detail: its name.
    VariableUninitialised,
    /// The gateway's own timer fired while it waited for the upstream.
    UpstreamTimedOut,
    /// All connections of a worker are in use; detail: the limit.
    WorkerConnections,
    /// Few connections of a worker are left: idle ones are closed early; detail: the limit.
    WorkerConnectionsLow,
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
    /// Passing bytes of a proxied TCP or UDP connection.
    Forwarding,
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
            Self::Forwarding => "proxying connection",
            Self::Resolving => "resolving",
            Self::ClientSide => "serving the client",
        }
    }
}
