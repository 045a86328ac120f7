//! From an error-log line to its record.

use crate::logs::digest::intern::{Interner, shown};
use crate::logs::digest::kind::{ErrorKind, ErrorLikeness};
use crate::logs::digest::routes::{RouteId, Routes};
use crate::logs::digest::window::{DigestOptions, MAX_NAME};
use crate::logs::error_line::ErrorLine;
use crate::logs::request_line::{MAX_PATH, RequestParts};
use why502_facts::{Civil, ErrorContext, ErrorRecord, LineRef, Phrase, RequestKey, UpstreamField};

/// The longest detail that is kept, in bytes.
const MAX_DETAIL: usize = 1024;

/// A line and what it says.
#[derive(Debug)]
pub(super) struct Said<'l, 'p> {
    pub(super) at: Civil,
    pub(super) phrase: Phrase,
    pub(super) detail: Option<&'l [u8]>,
    pub(super) parsed: &'p ErrorLine<'l>,
}

impl<'l> Said<'l, '_> {
    /// What makes the line like others.
    pub(super) fn likeness<'r>(&self, route: Option<&'r str>) -> ErrorLikeness<'r>
    where
        'l: 'r,
    {
        let ErrorLine { phase, errno, .. } = *self.parsed;
        ErrorLikeness { phrase: self.phrase, phase, errno, route, peer: self.peer() }
    }

    fn peer(&self) -> Option<&'l [u8]> {
        let peer = self.parsed.context.upstream?.peer;
        Some(&peer[..peer.len().min(MAX_NAME)])
    }

    /// The path that was sent to the upstream; none that would have to be cut.
    fn sent(&self) -> Option<&'l [u8]> {
        self.parsed.context.upstream?.path.filter(|path| path.len() <= MAX_PATH)
    }
}

/// Writes records.
#[derive(Debug)]
pub(super) struct Scribe<'a> {
    log: &'a str,
    pub(super) routes: Routes<'a>,
    pub(super) interner: Interner,
}

impl<'a> Scribe<'a> {
    pub(super) fn new(options: DigestOptions<'a>) -> Self {
        Self { log: options.log, routes: Routes::new(options.route), interner: Interner::default() }
    }

    /// The route that the line is about, if routes are asked for.
    pub(super) fn route(&mut self, said: &Said<'_, '_>) -> Option<RouteId> {
        if self.routes.only().is_some() {
            return None;
        }
        let context = &said.parsed.context;
        let request = context.request.and_then(RequestParts::read);
        if request.is_none() && context.upstream.is_none() {
            return None;
        }
        let request = request.unwrap_or_default();
        let path =
            context.subrequest.map_or(request.path, |uri| RequestParts::from_target(b"", uri, b"").path);
        let (server, host) = (context.server.map(shown), context.host.map(shown));
        let scheme = context.upstream.map(|upstream| shown(upstream.scheme));
        Some(self.routes.find(&RequestKey {
            log: self.log,
            server: server.as_deref(),
            host: host.as_deref(),
            method: &shown(request.method),
            path: &shown(path),
            scheme: scheme.as_deref(),
            peer: said.peer().map(shown).as_deref(),
            sent: said.sent().map(shown).as_deref(),
        }))
    }

    pub(super) fn record(&mut self, said: &Said<'_, '_>, kind: &ErrorKind, line: LineRef) -> ErrorRecord {
        let parsed = said.parsed;
        ErrorRecord {
            at: said.at,
            level: parsed.level,
            pid: parsed.pid,
            connection: parsed.connection,
            phrase: said.phrase,
            detail: said.detail.map(|detail| self.interner.bytes(detail, MAX_DETAIL)),
            errno: parsed.errno,
            phase: parsed.phase,
            context: self.context(said, kind),
            route: kind.route.clone(),
            line,
            weight: 1,
        }
    }

    fn context(&mut self, said: &Said<'_, '_>, kind: &ErrorKind) -> ErrorContext {
        let context = &said.parsed.context;
        let mut name = |bytes: Option<&[u8]>| bytes.map(|bytes| self.interner.bytes(bytes, MAX_NAME));
        let client = name(context.client);
        let server = name(context.server);
        let host = name(context.host);
        let subrequest = name(context.subrequest);
        let scheme = name(context.upstream.map(|upstream| upstream.scheme));
        let path = said.sent().map(|path| self.interner.bytes(path, MAX_PATH));
        let upstream =
            scheme.zip(kind.peer.clone()).map(|(scheme, peer)| UpstreamField { scheme, peer, path });
        let request = context.request.and_then(RequestParts::read).map(|parts| self.interner.request(parts));
        ErrorContext { client, server, request, subrequest, upstream, host }
    }
}
