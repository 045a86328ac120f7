//! A target that somebody named: where it leads, what is sent there, and what came of each step.
//!
//! What is named may be no part of the configuration: then it is dialled because it was named. Where a route of the
//! configuration leads to it, it is spoken to as that route does. Otherwise it is asked who speaks there: it is given a
//! moment to speak first, then asked in HTTP, through TLS, and in the other protocols of gateways, one after the other.
//!
//! [`target_asks`] says what is still wanted, [`report_target`] what came of it; the one who calls collects in between,
//! once per run that is wanted.

mod ask;
mod build;
mod find;
mod judge;
mod peer;
mod report;
mod text;
mod words;

pub use build::{report_target, target_asks, target_names};
pub use find::NoSuchTarget;
pub use report::*;
pub use text::{ProbeTarget, SpokenProtocol};

/// What is wanted of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetQuestion {
    /// The target.
    pub target: ProbeTarget,
    /// What is spoken; `None`: as the route that leads there, or as it turns out.
    pub protocol: Option<WantedProtocol>,
    /// The name that is sent in the handshake, in place of that of the configuration or of the target.
    pub server_name: Option<String>,
    /// The host that the request is for.
    pub host: Option<String>,
}

/// What is to be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedProtocol {
    /// The protocol.
    pub protocol: SpokenProtocol,
    /// Whether through TLS; `None`: as the target has it.
    pub tls: Option<bool>,
}
