//! The narrow waist of why502: what is asked, what was learned, and the bundle that holds both.
//!
//! Everything that why502 knows arrives as a [`Fact`]: the answer to one [`Ask`]. A fact is [`Answer::Known`],
//! [`Answer::Absent`] (looked, and it is not there) or [`Answer::Unknown`] (could not look, and why): absence of
//! evidence and evidence of absence are different variants, here and in [`Observed`], their typed form.
//!
//! Facts keep the raw bytes wherever these are small: configuration files, `/proc` text, what a peer sent. They are
//! parsed when a bundle is loaded (`why502-decode`), so that a parser mended tomorrow reads yesterday's bundles. Logs
//! are too large for that: they are digested while they are read ([`ErrorDigest`], [`AccessDigest`]).
//!
//! Nothing here opens a file, a socket or a clock.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod access_control;
mod answer;
mod ask;
mod bundle;
mod bytes;
mod engine;
mod errno;
mod facts;
mod fastcgi;
mod file_system;
mod filter;
mod histogram;
mod host;
mod kernel_log;
mod log;
mod mask;
mod name_reply;
mod network_limits;
mod path;
mod peer;
mod phrase;
mod probe;
mod request;
mod requests;
mod series;
mod server_log;
mod service;
mod sockets;
mod time;
mod waiting;
mod websocket;
mod wire;

pub use access_control::{
    AppArmorDenial, AuditLog, AuditRecord, Confinement, ConfinementRecord, Decision, DecisionRecord, Denial,
    Denied, SeLinuxDenial, selinux_type,
};
pub use answer::{Answer, Fact, FactBody, Gap, GapReason, Observed};
pub use ask::{
    AccessLogFormat, AccessWriting, Ask, FormatEscape, LogKind, LogSlice, Resolver, Root, Security, TOPICS,
};
pub use bundle::{Bundle, BundleError, FORMAT_VERSION, FormatVersion, Manifest};
pub use bytes::{Blob, lossy};
pub use engine::{
    Attachment, Container, ContainerDetail, ContainerPort, ContainerRecord, Engine, EngineNetwork,
    EngineRecord, PortBinding,
};
pub use errno::Errno;
pub use facts::{Datum, Facts, LogSummary, ProcessList, View};
pub use fastcgi::{FastCgiRecord, FastCgiRecords};
pub use file_system::{FileSystem, FileSystemRecord, FileSystemSpace, Mount};
pub use filter::{
    BaseChain, FilterChain, FilterCondition, FilterFamily, FilterItem, FilterListing, FilterMoment,
    FilterOperand, FilterOutput, FilterRecord, FilterRule, FilterStatement, FilterTable, FilterTool,
    FilterVerdict, Hook, Icmpx, PacketField, PacketFilter, RejectKind, RulePlace, TableRoute, Translation,
    prefix_range,
};
pub use histogram::Histogram;
pub use host::{
    AclEntry, DescriptorCount, Descriptors, FileContent, FileIdentity, FileKind, FileStatus, HostRecord,
    PathComponent, PathWalk, Process, ProcessRecord, ProcessTable, ZoneOffset, ZoneOffsets,
};
pub use kernel_log::{Crash, KernelEvent, KernelLog, KernelLogRecord, KernelLogSource, KernelWord, OomKill};
pub use log::{
    AccessDigest, AccessRecord, Coverage, ErrorContext, ErrorDigest, ErrorLevel, ErrorRecord, LineRef,
    LogClock, LogClockSource, LogTail, OwnRequest, RequestKey, RequestLine, RouteOf, RouteTotal, Try,
    UpstreamField,
};
pub use mask::{is_secret_variable, mask_secrets};
pub use name_reply::NameReply;
pub use network_limits::{ConntrackCounters, ListenQueue, NetworkLimits, NetworkLimitsRecord};
pub use path::{
    Echo, EchoOutcome, EchoRecord, IcmpError, IcmpMeaning, Link, LinkAddress, Lookup, Neighbour,
    NeighbourState, PathToPeer, PolicyRule, Route, RouteKind, RouteRecord, RuleAction,
};
pub use peer::PeerAddress;
pub use phrase::{Phase, Phrase};
pub use probe::{
    CgiRequestSpec, HttpRequestSpec, ProbeContext, ProbeOutcome, ProbeReport, ProbeSpec, ProbeStep,
    ProxyHeader, StepKind, TlsSpec, TlsVerifySpec, Transcript,
};
pub use request::Invocation;
pub use requests::{Attempt, FailedRequest, Outcome, RequestMessage};
pub use series::{AccessTimes, AnswerMeasure, PeerConnects, PeerTimes, RequestCount, RouteAnswers, Timeline};
pub use server_log::{ServerEvent, ServerLogRecord, ServerWord};
pub use service::{
    Exit, JournalEntry, JournalRecord, Mention, RunitState, Service, ServiceFile, ServiceFileKind,
    ServiceRecord, Supervisor, Unit, UnitEvent,
};
pub use sockets::{
    Accepted, Listener, NamespaceRecord, NamespaceSockets, OtherSockets, OtherSocketsRecord, SocketRecord,
    SocketState, SocketTable, UnixSocket,
};
pub use time::{Civil, Stamp};
pub use waiting::{
    Connection, ProcessWaits, ThreadWait, WaitingProcess, WaitingRecord, WaitingThread, WaitsFor,
};
pub use websocket::{accepts_websocket, websocket_request};
pub use wire::{
    FirstBytes, GrpcAnswer, HeaderFault, Http2Answer, Http2Goaway, HttpAnswer, HttpHeader, MemcachedAnswer,
    TlsAnswer, TlsCertificate, TlsVerdict,
};
