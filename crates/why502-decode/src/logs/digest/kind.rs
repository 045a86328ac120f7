//! What makes records alike.

use super::again::Likeness;
use super::intern::Interner;
use super::store::Kind;
use super::window::MAX_NAME;
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

/// What makes an error-log line like others.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct ErrorLikeness<'l> {
    pub(super) phrase: Phrase,
    pub(super) phase: Option<Phase>,
    pub(super) errno: Option<Errno>,
    pub(super) route: Option<&'l str>,
    pub(super) peer: Option<&'l [u8]>,
}

impl ErrorLikeness<'_> {
    /// The same, to be stored; `route` is that of the line.
    pub(super) fn stored(self, interner: &mut Interner, route: Option<&Arc<str>>) -> ErrorKind {
        let Self { phrase, phase, errno, peer, .. } = self;
        let peer = peer.map(|peer| interner.bytes(peer, MAX_NAME));
        ErrorKind { phrase, phase, errno, route: route.cloned(), peer }
    }
}

impl Likeness<ErrorKind> for ErrorLikeness<'_> {
    fn is(&self, kind: &ErrorKind) -> bool {
        self.phrase == kind.phrase
            && self.phase == kind.phase
            && self.errno == kind.errno
            && self.route == kind.route.as_deref()
            && self.peer == kind.peer.as_deref().map(str::as_bytes)
    }
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

/// What makes an access-log line like others.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct AccessLikeness<'l> {
    pub(super) status: u16,
    pub(super) upstream_status: Option<u16>,
    pub(super) route: Option<&'l str>,
    pub(super) peer: Option<&'l [u8]>,
}

impl AccessLikeness<'_> {
    /// The same, to be stored; `route` is that of the line.
    pub(super) fn stored(self, interner: &mut Interner, route: Option<&Arc<str>>) -> AccessKind {
        let Self { status, upstream_status, peer, .. } = self;
        let peer = peer.map(|peer| interner.bytes(peer, MAX_NAME));
        AccessKind { status, upstream_status, route: route.cloned(), peer }
    }
}

impl Likeness<AccessKind> for AccessLikeness<'_> {
    fn is(&self, kind: &AccessKind) -> bool {
        self.status == kind.status
            && self.upstream_status == kind.upstream_status
            && self.route == kind.route.as_deref()
            && self.peer == kind.peer.as_deref().map(str::as_bytes)
    }
}

impl Kind for AccessKind {
    fn without_peer(&self) -> Self {
        Self { peer: None, ..self.clone() }
    }

    fn essence(&self) -> Self {
        Self { upstream_status: None, route: None, peer: None, ..*self }
    }
}
