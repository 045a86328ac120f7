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
mod request;
mod route;
mod source;
#[cfg(test)]
mod testing;
mod version;

pub use gateway::{
    Gateway, Listen, LogContent, LogSink, LogTarget, Problem, ProblemKind, Server, ServerName,
};
pub use group::{Balancing, Group, GroupId, Host, Peer, PeerId, Reuse};
pub use model::{Model, Window};
pub use nginx::{
    Arrival, CgiParameters, MapTable, Served, Step, Stop, Storage, StorageKind, WantedDirective,
    WorkerSettings,
};
pub use request::RequestVars;
pub use route::{
    Action, Buffers, CacheKey, Conditional, ConditionalKind, Fallback, FallbackKind, Limit, LimitKind, Pass,
    Protocol, ResponseCache, Retry, Return, Route, RouteId, Target, Timeouts, TlsSettings, Unresolved,
    Values,
};
pub use source::{Setting, Source, Span};
pub use version::Version;
