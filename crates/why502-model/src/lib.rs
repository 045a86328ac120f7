//! What a gateway is set up to do.
//!
//! [`Model::build`] reads the facts of a bundle and gives the gateways that they tell of: who listens, which route
//! serves a request, which peers stand behind it and with which settings. What it still wants to know are its
//! [`Model::asks`]; it is built again when more facts are in, until it wants nothing more.
//!
//! The types here speak of gateways, routes, groups and peers. Only the module `nginx` knows nginx's words.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod gateway;
mod group;
mod model;
mod nginx;
mod route;
mod source;
mod version;

pub use gateway::{
    Gateway, Listen, LogContent, LogSink, LogTarget, Problem, ProblemKind, Server, ServerName,
};
pub use group::{Group, GroupId, Host, Peer, PeerId};
pub use model::{Model, Window};
pub use nginx::WantedDirective;
pub use route::{
    Action, Buffers, Conditional, Fallback, FallbackKind, Limit, LimitKind, Pass, Protocol, ResponseCache,
    Retry, Return, Route, RouteId, Target, Timeouts, TlsSettings, Unresolved,
};
pub use source::{Setting, Source, Span};
pub use version::Version;
