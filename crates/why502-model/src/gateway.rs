//! The gateway as a whole.

use crate::{Group, GroupId, Route, RouteId, Setting, Source, Span, Version};
use std::net::SocketAddr;
use std::sync::Arc;
use why502_facts::{AccessLogFormat, AccessWriting, ErrorLevel, Gap, Root, Security, Stamp};

/// A gateway: a running one, or one that a configuration describes.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The kind of program: `nginx`.
    pub kind: &'static str,
    /// The flavour: `nginx`, `openresty`, `angie`, `tengine`, `freenginx`.
    pub flavour: String,
    /// The version of nginx that it behaves as.
    pub version: Option<Version>,
    /// The version as it calls itself.
    pub version_text: Option<String>,
    /// The master process; `None` if it does not run, or nobody could look.
    pub master: Option<u32>,
    /// The worker processes that take new connections.
    pub workers: Vec<u32>,
    /// When the running configuration was loaded: when the oldest of these workers was started.
    pub loaded: Option<Stamp>,
    /// The binary.
    pub binary: Option<String>,
    /// The configuration file.
    pub config: String,
    /// The prefix of relative paths.
    pub prefix: String,
    /// Whose file system its paths belong to.
    pub root: Root,
    /// In whose place its connections are made.
    pub security: Security,
    /// Where temporary files go that no directive sends elsewhere: the directive and the path. Empty where the binary does not tell.
    pub default_temporary_paths: Vec<(&'static str, String)>,
    /// The user of the workers, as configured.
    pub user: Option<Setting<String>>,
    /// The configuration files, in the order of loading.
    pub sources: Vec<Source>,
    /// What the gateway would refuse in them, in the order of loading.
    pub problems: Vec<Problem>,
    /// What could not be read of the configuration.
    pub unread: Vec<Gap>,
    /// The servers, in the order of the configuration.
    pub servers: Vec<Server>,
    /// The routes.
    pub routes: Vec<Route>,
    /// The groups.
    pub groups: Vec<Group>,
    /// The logs.
    pub logs: Vec<LogSink>,
    /// The search for servers and locations.
    pub(crate) locator: crate::nginx::Locator,
}

impl Gateway {
    /// The route of that id.
    pub fn route(&self, id: RouteId) -> &Route {
        &self.routes[id.0]
    }

    /// The group of that id.
    pub fn group(&self, id: GroupId) -> &Group {
        &self.groups[id.0]
    }

    /// The routes with their ids.
    pub fn routes(&self) -> impl Iterator<Item = (RouteId, &Route)> {
        self.routes.iter().enumerate().map(|(at, route)| (RouteId(at), route))
    }

    /// The groups with their ids.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.groups.iter().enumerate().map(|(at, group)| (GroupId(at), group))
    }

    /// The server of a route.
    pub fn server_of(&self, route: &Route) -> &Server {
        &self.servers[route.server]
    }

    /// The source of that path.
    pub fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| &*source.path == path)
    }

    /// Whether it behaves as that version of nginx or a newer one; `None` if its version is not known.
    pub fn is_at_least(&self, version: Version) -> Option<bool> {
        self.version.map(|own| own >= version)
    }

    /// Whose file system a log of it belongs to: a standard stream is that of its master.
    pub fn root_of_log(&self, path: &str) -> Root {
        match self.master {
            Some(master) if STANDARD_STREAMS.contains(&path) => Root::Process(master),
            _ => self.root,
        }
    }

    /// The owner under which its logs are asked for.
    pub fn owner(&self) -> String {
        match self.master {
            Some(pid) => format!("{}#{pid}", self.config),
            None => self.config.clone(),
        }
    }
}

/// A virtual server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub listens: Vec<Listen>,
    /// Its names.
    pub names: Vec<ServerName>,
    /// Where it is written.
    pub at: Span,
}

impl Server {
    /// The first name as written; empty if it has none.
    pub fn name(&self) -> &str {
        self.names.first().map_or("", |name| name.text.as_str())
    }
}

/// A name of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName {
    /// As written: `example.com`, `*.example.com`, `.example.com`, `www.*`, `~^re$`, `_`.
    pub text: String,
    /// Where it is written.
    pub at: Option<Span>,
}

/// An address that a server listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address as written.
    pub text: String,
    /// The TCP address; `None` for a unix socket, or for a name that is not known.
    pub address: Option<SocketAddr>,
    /// The path of a unix socket.
    pub path: Option<String>,
    /// Whether requests for unknown names go to this server.
    pub is_default: bool,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether it expects the PROXY protocol.
    pub proxy_protocol: bool,
    /// Whether an IPv6 address takes IPv6 only; `None` for other addresses.
    pub ipv6_only: Option<bool>,
    /// Where it is written; `None` for the implicit one.
    pub at: Option<Span>,
}

/// A log that the gateway writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSink {
    /// Where it goes.
    pub target: LogTarget,
    /// What it holds.
    pub content: LogContent,
    /// Where it is configured; `None` for a default.
    pub at: Option<Span>,
    /// The servers whose routes write to it; empty: all.
    pub servers: Vec<usize>,
    /// Whether requests are told in it, and not only what concerns the gateway as a whole.
    pub tells_requests: bool,
    /// How many lines each request has in it: more than one if several `access_log` of one level name it.
    pub copies: u64,
}

/// The paths of standard streams, by which logs are asked for that are written to these.
pub(crate) const STANDARD_STREAMS: [&str; 2] = ["/dev/stdout", "/dev/stderr"];

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogTarget {
    /// A file, or a standard stream of a running master.
    File(String),
    /// Nowhere that can be read: a standard stream of nobody who runs, syslog, memory, a name with variables, or `off`. The text as written.
    Elsewhere(String),
}

/// What a log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogContent {
    /// One line per request.
    Access {
        /// Its format; `None` where it is not defined.
        format: Option<AccessLogFormat>,
        /// Which requests stand in it, and when.
        writing: AccessWriting,
    },
    /// Messages.
    Error {
        /// The lowest severity.
        level: ErrorLevel,
    },
}

/// Something that the gateway refuses in its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind.
    pub kind: ProblemKind,
    /// The gateway's own words, without the place.
    pub message: String,
    /// Where a human should look.
    pub at: Span,
    /// The file and line that the gateway itself prints; often behind `at`, and `None` where it prints no place.
    pub printed: Option<(Arc<str>, u32)>,
}

impl Problem {
    /// The whole line as the gateway prints it: its words, and ` in FILE:LINE` where it names a place.
    pub fn words(&self) -> String {
        match &self.printed {
            Some((file, line)) => format!("{} in {file}:{line}", self.message),
            None => self.message.clone(),
        }
    }
}

/// The kinds of things that a gateway refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// A name that does not resolve when the configuration is loaded.
    HostNotFound {
        /// The name.
        name: String,
    },
    /// Anything else.
    Refused,
}
