//! What makes records alike.

use super::store::Kind;
use std::sync::Arc;
use why502_facts::{Errno, Phase, Phrase};

/// What makes error-log lines alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ErrorKind {
    pub(super) phrase: Phrase,
    pub(super) phase: Option<Phase>,
    pub(super) errno: Option<Errno>,
    pub(super) route: Option<Arc<str>>,
    pub(super) peer: Option<Arc<str>>,
}

impl Kind for ErrorKind {
    fn without_peer(&self) -> Self {
        Self { peer: None, ..self.clone() }
    }

    fn essence(&self) -> Self {
        Self { errno: None, route: None, peer: None, ..*self }
    }
}

/// What makes access-log lines alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AccessKind {
    pub(super) status: u16,
    /// The status of the last attempt.
    pub(super) upstream_status: Option<u16>,
    pub(super) route: Option<Arc<str>>,
    /// The peer of the last attempt.
    pub(super) peer: Option<Arc<str>>,
}

impl Kind for AccessKind {
    fn without_peer(&self) -> Self {
        Self { peer: None, ..self.clone() }
    }

    fn essence(&self) -> Self {
        Self { upstream_status: None, route: None, peer: None, ..*self }
    }
}
