//! Routes: what serves a request, and how.

use crate::{GroupId, RequestVars, Setting, Span};
use std::time::Duration;

/// Which route of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub usize);

/// What serves the requests of one location of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The server, by its place in the gateway.
    pub server: usize,
    /// The location with its modifier as written; `None` for the server itself.
    pub location: Option<String>,
    /// The location that it stands in.
    pub parent: Option<RouteId>,
    /// Where it is written.
    pub at: Span,
    /// What it does with a request.
    pub action: Action,
    /// What it does under a condition (`if`), in order.
    pub conditionals: Vec<Conditional>,
    /// Where a request may go on from here.
    pub fallbacks: Vec<Fallback>,
    /// Whether error statuses of the upstream are replaced by the gateway's own pages.
    pub intercepts_errors: bool,
    /// Limits in force.
    pub limits: Vec<Limit>,
}

impl Route {
    /// The name by which log digests refer to it: its place in the configuration.
    pub fn key(&self) -> String {
        format!("{}:{}:{}", self.at.file, self.at.line, self.at.column)
    }
}

/// What a route does with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Something that makes no answer of an upstream: files, an index, a module of its own.
    Local,
    /// Passes it on.
    Pass(Box<Pass>),
    /// Answers by itself.
    Return(Return),
}

impl Action {
    /// The pass, if it is one.
    pub fn pass(&self) -> Option<&Pass> {
        match self {
            Self::Pass(pass) => Some(pass),
            Self::Local | Self::Return(_) => None,
        }
    }
}

/// An answer that the configuration itself gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return {
    /// The status.
    pub status: u16,
    /// Where it is written.
    pub at: Span,
}

/// What a route does under a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditional {
    /// The condition as written, without its parentheses.
    pub condition: String,
    /// Where it is written.
    pub at: Span,
    /// What is done then; `None` if the condition only sets variables or headers.
    pub action: Option<Action>,
    /// What kind of condition it is.
    pub kind: ConditionalKind,
    /// Where a request may go on then.
    pub fallbacks: Vec<Fallback>,
}

/// What kind of condition decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionalKind {
    /// Something about the request (`if`).
    If,
    /// A method other than those of the condition (`limit_except`).
    LimitExcept,
}

/// Where a request may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// When it does.
    pub kind: FallbackKind,
    /// Where to: a path, a name with `@`, or of `try_files` a status with `=`.
    pub to: String,
    /// Where it is written.
    pub at: Span,
}

/// Why a request goes on elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FallbackKind {
    /// What a subrequest is answered stands before or behind the answer.
    Addition,
    /// A subrequest must allow it first.
    AuthRequest,
    /// The status was one of these.
    ErrorPage {
        /// The statuses.
        statuses: Vec<u16>,
        /// The status sent instead; `None`: the original one; 0: that of the page.
        becomes: Option<u16>,
    },
    /// The name of a directory's index.
    Index,
    /// A copy is sent there too.
    Mirror,
    /// A rewrite; whether it matches depends on the path.
    Rewrite,
    /// No file was found.
    TryFiles,
}

/// A limit that refuses requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it limits.
    pub kind: LimitKind,
    /// The zone that counts.
    pub zone: String,
    /// The key that is counted by, as written.
    pub key: Option<String>,
    /// The status of a refusal.
    pub status: u16,
    /// Where the limit is set.
    pub at: Span,
    /// Where the zone is defined.
    pub zone_at: Option<Span>,
    /// The rate or number as written.
    pub amount: String,
    /// How many requests beyond the rate may wait or pass.
    pub burst: u64,
    /// How many of these pass at once; `None`: all (`nodelay`).
    pub delay: Option<u64>,
    /// Whether it only pretends.
    pub dry_run: bool,
}

/// What a limit limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKind {
    /// Concurrent connections.
    Connections,
    /// Requests per time.
    Requests,
}

/// The protocols that a gateway speaks to its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// FastCGI.
    FastCgi,
    /// gRPC over HTTP/2.
    Grpc,
    /// HTTP/1, or HTTP/2 where it is set so.
    Http,
    /// memcached's text protocol.
    Memcached,
    /// SCGI.
    Scgi,
    /// uwsgi.
    Uwsgi,
}

impl Protocol {
    /// The prefix of the directives: `proxy`, `fastcgi`, ….
    pub fn prefix(self) -> &'static str {
        match self {
            Self::FastCgi => "fastcgi",
            Self::Grpc => "grpc",
            Self::Http => "proxy",
            Self::Memcached => "memcached",
            Self::Scgi => "scgi",
            Self::Uwsgi => "uwsgi",
        }
    }

    /// The name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::FastCgi => "FastCGI",
            Self::Grpc => "gRPC",
            Self::Http => "HTTP",
            Self::Memcached => "memcached",
            Self::Scgi => "SCGI",
            Self::Uwsgi => "uwsgi",
        }
    }

    /// The scheme in the `upstream:` field of a log line.
    pub fn scheme(self, tls: bool) -> &'static str {
        match (self, tls) {
            (Self::FastCgi, _) => "fastcgi",
            (Self::Grpc, false) => "grpc",
            (Self::Grpc, true) => "grpcs",
            (Self::Http, false) => "http",
            (Self::Http, true) => "https",
            (Self::Memcached, _) => "memcached",
            (Self::Scgi, _) => "scgi",
            (Self::Uwsgi, false) => "uwsgi",
            (Self::Uwsgi, true) => "suwsgi",
        }
    }
}

/// How requests are passed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// The protocol.
    pub protocol: Protocol,
    /// Whether through TLS.
    pub tls: bool,
    /// To whom.
    pub target: Target,
    /// The value of the directive as written.
    pub text: String,
    /// Where it is written: the value, not the directive's name.
    pub at: Span,
    /// The path that replaces the location's; `None`: the path is passed unchanged.
    pub path: Option<String>,
    /// What is asked for in place of a path; only of memcached, and only where it is set.
    pub key: Option<CacheKey>,
    /// The request header lines that the gateway sets: name and value as written, in order.
    pub headers: Vec<Setting<(String, String)>>,
    /// The names of those that are not sent where their value is empty (`if_not_empty`).
    pub optional_headers: Vec<String>,
    /// `1.0` or `1.1` (or `2`).
    pub http_version: Setting<String>,
    /// Whether connections are kept open for further requests.
    pub keeps_alive: bool,
    /// The timeouts.
    pub timeouts: Timeouts,
    /// The buffers.
    pub buffers: Buffers,
    /// When a failed request is passed to the next peer.
    pub retry: Retry,
    /// The TLS settings.
    pub tls_settings: TlsSettings,
    /// The response cache.
    pub cache: Option<ResponseCache>,
    /// The local address of connections, as written; `None`: the system's choice.
    pub bind: Option<Setting<String>>,
    /// Whether requests go on when the client has gone.
    pub ignores_client_abort: Setting<bool>,
    /// Whether the request's body is read whole before it is passed on.
    pub buffers_request: Setting<bool>,
}

impl Pass {
    /// The request header line of that name that the gateway sets, without regard to case.
    pub fn header(&self, name: &str) -> Option<&Setting<(String, String)>> {
        self.headers.iter().find(|header| header.value.0.eq_ignore_ascii_case(name))
    }
}

/// The key that a memcached is asked for (`$memcached_key`).
#[derive(Clone, Debug, PartialEq)]
pub struct CacheKey {
    pub(crate) expression: crate::nginx::Expression,
}

impl CacheKey {
    /// The key of a request, if what is known of it decides that.
    pub fn of(&self, request: &RequestVars) -> Option<String> {
        self.expression.only_for(request)
    }
}

/// To whom a route passes requests.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A group.
    Group(GroupId),
    /// A name or address that is only known when a request comes.
    Unresolved(Unresolved),
}

/// A target built from variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Unresolved {
    /// The values that it can be seen to take, in order, without a path that is not known; empty where nothing can be
    /// said.
    pub values: Vec<String>,
    /// Whether these are all values it can take.
    pub complete: bool,
    /// Whether it may be a name that only a resolver knows: neither an address nor a group. `None`: nobody can tell.
    pub needs_resolver: Option<bool>,
    /// Whether its host is a variable that never holds a port, such as `$host`, and no port is written behind it.
    pub drops_port: bool,
    /// The variables that decide it.
    pub variables: Vec<String>,
    /// The name servers that would resolve a name.
    pub resolver: Option<Setting<Vec<String>>>,
    pub(crate) expression: crate::nginx::Expression,
}

/// The values that something can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Those that can be seen.
    pub values: Vec<String>,
    /// Whether these are all.
    pub complete: bool,
}

impl Unresolved {
    /// The values that the target can take for a request of which something is known.
    pub fn values_for(&self, request: &RequestVars) -> Values {
        self.expression.values_for(request)
    }
}

/// How long the gateway waits for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Setting<Duration>,
    /// Between two writes of the request.
    pub send: Setting<Duration>,
    /// Between two reads of the answer.
    pub read: Setting<Duration>,
}

/// How large an answer's parts may be, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// For the response header.
    pub header: Setting<u64>,
    /// Number and size of those for the body; `None` where the protocol has none.
    pub body: Option<Setting<(u64, u64)>>,
    /// What may be busy sending to the client; `None`: derived from the others.
    pub busy: Option<Setting<u64>>,
    /// Whether answers are buffered.
    pub buffering: Setting<bool>,
}

/// When a failed request is passed to the next peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The conditions, as written.
    pub conditions: Setting<Vec<String>>,
    /// The most tries; 0: as many as there are peers.
    pub tries: Setting<u32>,
    /// The time in which tries may begin; zero: any.
    pub timeout: Setting<Duration>,
}

/// How TLS is spoken to peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Whether a server name is sent.
    pub sends_name: Setting<bool>,
    /// The name, as written; default: the host of the target.
    pub name: Setting<String>,
    /// Whether the certificate is verified.
    pub verifies: Setting<bool>,
    /// How long a chain may be.
    pub verify_depth: Setting<u32>,
    /// The file of the authorities that are trusted.
    pub trusted_certificate: Option<Setting<String>>,
    /// The file of the gateway's own certificate.
    pub certificate: Option<Setting<String>>,
    /// The file of its key.
    pub certificate_key: Option<Setting<String>>,
    /// The protocol versions that are offered.
    pub protocols: Setting<Vec<String>>,
    /// The ciphers that are offered, in OpenSSL's notation.
    pub ciphers: Setting<String>,
    /// Whether sessions are resumed.
    pub reuses_sessions: Setting<bool>,
}

/// A cache of responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseCache {
    /// The zone.
    pub zone: Setting<String>,
    /// The statuses that are kept (`any` as 0) and how long.
    pub valid: Vec<Setting<(Vec<u16>, Duration)>>,
    /// When an answer is used after its time.
    pub use_stale: Setting<Vec<String>>,
}
