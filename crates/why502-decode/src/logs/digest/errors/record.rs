//! From an error-log line to its record.

use crate::logs::digest::intern::{Interner, shown};
use crate::logs::digest::kind::ErrorKind;
use crate::logs::digest::routes::Routes;
use crate::logs::digest::window::{DigestOptions, MAX_NAME};
use crate::logs::error_line::ErrorLine;
use crate::logs::request_line::RequestParts;
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

/// Writes records.
#[derive(Debug)]
pub(super) struct Scribe<'a> {
    log: &'a str,
    routes: Routes<'a>,
    interner: Interner,
}

impl<'a> Scribe<'a> {
    pub(super) fn new(options: DigestOptions<'a>) -> Self {
        Self { log: options.log, routes: Routes::new(options.route), interner: Interner::default() }
    }

    pub(super) fn kind(&mut self, said: &Said<'_, '_>) -> ErrorKind {
        let context = &said.parsed.context;
        let peer = context.upstream.map(|upstream| self.interner.bytes(upstream.peer, MAX_NAME));
        let request = context.request.and_then(RequestParts::read);
        let route = if self.routes.only().is_some() {
            None
        } else if request.is_some() || context.upstream.is_some() {
            let request = request.unwrap_or_default();
            let path =
                context.subrequest.map_or(request.path, |uri| RequestParts::from_target(b"", uri, b"").path);
            let (server, host) = (context.server.map(shown), context.host.map(shown));
            let scheme = context.upstream.map(|upstream| shown(upstream.scheme));
            let id = self.routes.find(&RequestKey {
                log: self.log,
                server: server.as_deref(),
                host: host.as_deref(),
                method: &shown(request.method),
                path: &shown(path),
                scheme: scheme.as_deref(),
                peer: peer.as_deref(),
            });
            self.routes.name(id)
        } else {
            None
        };
        let ErrorLine { phase, errno, .. } = *said.parsed;
        ErrorKind { phrase: said.phrase, phase, errno, route, peer }
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
            context: self.context(parsed, kind),
            route: kind.route.clone(),
            line,
            weight: 1,
        }
    }

    fn context(&mut self, parsed: &ErrorLine<'_>, kind: &ErrorKind) -> ErrorContext {
        let context = &parsed.context;
        let mut name = |bytes: Option<&[u8]>| bytes.map(|bytes| self.interner.bytes(bytes, MAX_NAME));
        let client = name(context.client);
        let server = name(context.server);
        let host = name(context.host);
        let subrequest = name(context.subrequest);
        let scheme = name(context.upstream.map(|upstream| upstream.scheme));
        let upstream = scheme.zip(kind.peer.clone()).map(|(scheme, peer)| UpstreamField { scheme, peer });
        let request = context.request.and_then(RequestParts::read).map(|parts| self.interner.request(parts));
        ErrorContext { client, server, request, subrequest, upstream, host }
    }
}
