//! From an access-log line to its record.

use crate::logs::digest::intern::{Interner, shown};
use crate::logs::digest::kind::AccessLikeness;
use crate::logs::digest::routes::{RouteId, Routes};
use crate::logs::digest::window::{DigestOptions, MAX_NAME};
use crate::logs::format::{AccessLine, Field};
use crate::logs::stamps::digits;
use memchr::memrchr;
use std::sync::Arc;
use why502_facts::{AccessRecord, LineRef, OwnRequest, RequestKey, Stamp};

/// What every line is looked at for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) at: Stamp,
    pub(super) status: u16,
    pub(super) route: RouteId,
}

/// Writes records.
#[derive(Debug)]
pub(super) struct Scribe<'a> {
    log: &'a str,
    pub(super) routes: Routes<'a>,
    pub(super) interner: Interner,
    scratch: Vec<u8>,
}

impl<'a> Scribe<'a> {
    pub(super) fn new(options: DigestOptions<'a>) -> Self {
        let routes = Routes::new(options.route);
        Self { log: options.log, routes, interner: Interner::default(), scratch: Vec::new() }
    }

    pub(super) fn route(&mut self, parsed: &AccessLine<'_>) -> RouteId {
        if let Some(only) = self.routes.only() {
            return only;
        }
        let request = parsed.request(&mut self.scratch).unwrap_or_default();
        let (server, host) = (parsed.text(Field::ServerName), parsed.host().map(shown));
        let peer = last_peer(parsed);
        self.routes.find(&RequestKey {
            log: self.log,
            server: server.as_deref(),
            host: host.as_deref(),
            method: &shown(request.method),
            path: &shown(request.path),
            scheme: None,
            peer: (!peer.is_empty()).then(|| shown(peer)).as_deref(),
            sent: None,
        })
    }

    pub(super) fn route_names(&self) -> &[Option<Arc<str>>] {
        self.routes.names()
    }

    /// Makes another scribe's routes known here; where each of them stands now.
    pub(super) fn adopt_routes(&mut self, other: &Self) -> Vec<RouteId> {
        other.routes.names().iter().map(|name| self.routes.id(name.clone())).collect()
    }

    pub(super) fn record(&mut self, parsed: &AccessLine<'_>, seen: Seen, line: LineRef) -> AccessRecord {
        let Self { interner, scratch, routes, .. } = self;
        let request = parsed.request(scratch).map(|parts| interner.request(parts));
        let tries = parsed.tries(|text| interner.bytes(text, MAX_NAME));
        let mut text = |field| parsed.text(field).map(|text| interner.bytes(text.as_bytes(), MAX_NAME));
        let limit_status = match [Field::LimitReqStatus, Field::LimitConnStatus].map(&mut text) {
            [Some(one), Some(other)] => Some(if &*other == "REJECTED" { other } else { one }),
            [one, other] => one.or(other),
        };
        AccessRecord {
            at: seen.at,
            status: seen.status,
            request,
            server: text(Field::ServerName),
            host: text(Field::HttpHost).or_else(|| text(Field::Host)),
            user_agent: text(Field::UserAgent),
            forwarded: text(Field::ForwardedFor),
            cache_status: text(Field::CacheStatus),
            limit_status,
            client: parsed.client().map(|client| interner.bytes(client, MAX_NAME)),
            connection: parsed.number(Field::Connection),
            tries,
            request_ms: parsed.request_ms(),
            body_bytes: parsed.number(Field::BodyBytesSent),
            route: routes.name(seen.route).cloned(),
            line,
            weight: 1,
        }
    }

    pub(super) fn own_request(&mut self, parsed: &AccessLine<'_>, at: Stamp) -> OwnRequest {
        let Self { interner, scratch, .. } = self;
        OwnRequest {
            at,
            request: parsed.request(scratch).map(|parts| interner.request(parts)),
            client: parsed.client().map(|client| interner.bytes(client, MAX_NAME)),
            connection: parsed.number(Field::Connection),
            request_ms: parsed.request_ms(),
        }
    }
}

/// What makes the line like others.
pub(super) fn likeness<'l>(
    parsed: &AccessLine<'l>,
    status: u16,
    route: Option<&'l str>,
) -> AccessLikeness<'l> {
    let upstream_status = last_element(parsed.value(Field::UpstreamStatus).unwrap_or_default());
    let peer = last_peer(parsed);
    AccessLikeness {
        status,
        upstream_status: digits(upstream_status).and_then(|status| status.try_into().ok()),
        route,
        peer: (!peer.is_empty()).then(|| &peer[..peer.len().min(MAX_NAME)]),
    }
}

/// The last attempt's peer; empty if there was none.
pub(super) fn last_peer<'l>(parsed: &AccessLine<'l>) -> &'l [u8] {
    parsed.value(Field::UpstreamAddr).map_or(b"", last_element)
}

/// The element of the last attempt of a list.
pub(super) fn last_element(list: &[u8]) -> &[u8] {
    &list[memrchr(b' ', list).map_or(0, |space| space + 1)..]
}
