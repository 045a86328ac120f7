//! The answer to a request in the protocol that it was made in.

use super::cgi::{may_become_cgi_answer, parse_scgi_answer};
use super::fastcgi::{parse_fastcgi_answer, print_fastcgi_request, print_fastcgi_values};
use super::first_bytes::first_bytes;
use super::http1::{parse_http_answer, print_request};
use super::http2::{Until, is_finished, parse_http2_answer, print_grpc_health, print_http2_request};
use super::memcached::{MEMCACHED_VERSION, has_first_line, parse_memcached_answer, print_memcached_get};
use super::scgi::print_scgi_request;
use super::uwsgi::{UWSGI_PING, print_uwsgi_request};
use why502_facts::{FirstBytes, Http2Answer, HttpAnswer, MemcachedAnswer, ProbeSpec, TlsSpec};

/// How a request names that version of HTTP.
const HTTP_2: &str = "2";
/// What every record of FastCGI begins with.
const FASTCGI_VERSION: u8 = 1;
/// So many bytes tell the protocols apart that are known by their first ones.
const MIN_LOOK: usize = 8;
/// So many bytes are looked at before they are given up as none of the protocol.
const MAX_LOOK: usize = 512;

/// What a request is made in, and its answer read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    FastCgi,
    Http,
    /// HTTP/2, the answer being read so far.
    Http2(Until),
    /// One line asks, and one line answers.
    Memcached,
    /// Nothing is requested: the first bytes tell who answers.
    Peek,
    /// SCGI and uwsgi, whose answers are alike.
    Scgi,
    /// HTTP is requested of a peer that did not speak first; what it says may be anything.
    WhoSpeaks,
}

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// Its header, as far as it came; `None` if nothing came that is one in this protocol.
    pub header: Option<HttpAnswer>,
    /// What the frames of HTTP/2 tell, if that was spoken and came back.
    pub http2: Option<Http2Answer>,
    /// The line of memcached, if that was spoken and came back.
    pub memcached: Option<MemcachedAnswer>,
    /// What the application wrote to its error stream before.
    pub stderr: String,
}

/// Reads what came back for a probe as an answer in the probe's protocol.
pub fn parse_answer(spec: &ProbeSpec, bytes: &[u8]) -> ProbeAnswer {
    match Protocol::of(spec) {
        None | Some(Protocol::Peek) => ProbeAnswer::default(),
        Some(Protocol::FastCgi) => {
            let answer = parse_fastcgi_answer(bytes);
            ProbeAnswer { header: answer.header, stderr: answer.stderr, ..ProbeAnswer::default() }
        }
        Some(Protocol::Http | Protocol::WhoSpeaks) => {
            ProbeAnswer { header: parse_http_answer(bytes), ..ProbeAnswer::default() }
        }
        Some(Protocol::Http2(until)) => {
            let http2 = parse_http2_answer(bytes, until);
            let header = http2.as_ref().and_then(|answer| answer.header.clone());
            ProbeAnswer { header, http2, ..ProbeAnswer::default() }
        }
        Some(Protocol::Memcached) => {
            ProbeAnswer { memcached: parse_memcached_answer(bytes), ..ProbeAnswer::default() }
        }
        Some(Protocol::Scgi) => ProbeAnswer { header: parse_scgi_answer(bytes), ..ProbeAnswer::default() },
    }
}

impl Protocol {
    /// The protocol of a probe that sends a request.
    pub(super) fn of(spec: &ProbeSpec) -> Option<Self> {
        match spec {
            ProbeSpec::Connect | ProbeSpec::Tls(_) => None,
            ProbeSpec::FastCgi(_) => Some(Self::FastCgi),
            ProbeSpec::FastCgiValues | ProbeSpec::UwsgiPing => Some(Self::Peek),
            ProbeSpec::GrpcHealth { .. } => Some(Self::Http2(Until::End)),
            ProbeSpec::Http2 { .. } => Some(Self::Http2(Until::Header)),
            ProbeSpec::MemcachedGet(_) | ProbeSpec::MemcachedVersion => Some(Self::Memcached),
            ProbeSpec::ProxyProtocol { request, .. } if request.version == HTTP_2 => {
                Some(Self::Http2(Until::Header))
            }
            ProbeSpec::Http { .. } | ProbeSpec::ProxyProtocol { .. } | ProbeSpec::WebSocket { .. } => {
                Some(Self::Http)
            }
            ProbeSpec::Scgi(_) | ProbeSpec::Uwsgi { .. } => Some(Self::Scgi),
            ProbeSpec::WhoSpeaks(_) => Some(Self::WhoSpeaks),
        }
    }

    /// Whether enough came to know the answer.
    pub(super) fn has_enough(self, bytes: &[u8]) -> bool {
        match self {
            Self::FastCgi if bytes.first() == Some(&FASTCGI_VERSION) => parse_fastcgi_answer(bytes).finished,
            Self::FastCgi | Self::Http => match parse_http_answer(bytes) {
                Some(answer) => answer.complete,
                None => is_none(bytes),
            },
            Self::Http2(until) => match parse_http2_answer(bytes, until) {
                Some(answer) => is_finished(&answer, until),
                // What is HTTP/2 may stand before a frame that has not come whole.
                None if first_bytes(bytes) == FirstBytes::Http2 => false,
                None => parse_http_answer(bytes).map_or_else(|| is_none(bytes), |answer| answer.complete),
            },
            // A server of HTTP tells its name in the lines behind the first.
            Self::Memcached => match parse_http_answer(bytes) {
                Some(answer) => answer.complete,
                None => has_first_line(bytes) || is_none(bytes),
            },
            Self::Peek => match first_bytes(bytes) {
                // What looks like the begin of a database's packet may become a record of FastCGI.
                FirstBytes::Banner(_) => bytes.len() >= MIN_LOOK,
                FirstBytes::FastCgi | FirstBytes::Http2 | FirstBytes::Uwsgi => true,
                FirstBytes::Http => parse_http_answer(bytes).is_some_and(|answer| answer.complete),
                _ => is_none(bytes),
            },
            // A greeting is read for the line that it is, anything else for what it is at all.
            Self::WhoSpeaks => match first_bytes(bytes) {
                FirstBytes::Http => parse_http_answer(bytes).is_some_and(|answer| answer.complete),
                FirstBytes::Nothing => false,
                FirstBytes::Other => is_none(bytes),
                FirstBytes::Banner(_) if bytes.is_ascii() => {
                    bytes.ends_with(b"\n") || bytes.len() >= MAX_LOOK
                }
                _ => bytes.len() >= MIN_LOOK,
            },
            Self::Scgi => match parse_scgi_answer(bytes) {
                // An empty line may be the length of a database's packet.
                Some(answer) => answer.complete && bytes.len() >= MIN_LOOK,
                None => is_none(bytes) && !may_become_cgi_answer(bytes),
            },
        }
    }
}

/// Whether so much came that it is no answer in HTTP: not even a status line that has no end yet.
fn is_none(bytes: &[u8]) -> bool {
    let may_become_one = bytes.starts_with(b"HTTP/") && memchr::memchr(b'\n', bytes).is_none();
    bytes.len() >= MAX_LOOK && !may_become_one
}

fn scheme(tls: Option<&TlsSpec>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}

/// The bytes of a probe's request; `None` where it sends none.
pub(super) fn print(spec: &ProbeSpec) -> Option<Vec<u8>> {
    match spec {
        ProbeSpec::Connect | ProbeSpec::Tls(_) => None,
        ProbeSpec::FastCgiValues => Some(print_fastcgi_values()),
        ProbeSpec::UwsgiPing => Some(UWSGI_PING.to_vec()),
        ProbeSpec::GrpcHealth { tls, headers } => Some(print_grpc_health(headers, scheme(tls.as_ref()))),
        ProbeSpec::Http2 { tls, request } => Some(print_http2_request(request, scheme(tls.as_ref()))),
        ProbeSpec::ProxyProtocol { tls, request, .. } if request.version == HTTP_2 => {
            Some(print_http2_request(request, scheme(tls.as_ref())))
        }
        ProbeSpec::FastCgi(request) => Some(print_fastcgi_request(request)),
        ProbeSpec::MemcachedGet(key) => Some(print_memcached_get(key)),
        ProbeSpec::MemcachedVersion => Some(MEMCACHED_VERSION.to_vec()),
        ProbeSpec::Http { request, .. }
        | ProbeSpec::ProxyProtocol { request, .. }
        | ProbeSpec::WebSocket { request, .. }
        | ProbeSpec::WhoSpeaks(request) => Some(print_request(request)),
        ProbeSpec::Scgi(request) => Some(print_scgi_request(request)),
        ProbeSpec::Uwsgi { request, modifiers, .. } => Some(print_uwsgi_request(request, *modifiers)),
    }
}
