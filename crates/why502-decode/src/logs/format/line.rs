//! A line's values by what they mean.

use super::tries::milliseconds;
use super::unescape::unescape;
use super::walk::Spans;
use super::{AccessFormat, Field};
use crate::logs::request_line::RequestParts;
use crate::logs::stamps;
use memchr::memchr;
use std::borrow::Cow;
use why502_facts::{FormatEscape, Stamp, lossy};

/// An access-log line whose values were found.
#[derive(Clone, Debug)]
pub struct AccessLine<'a> {
    format: &'a AccessFormat,
    line: &'a [u8],
    spans: Cow<'a, Spans>,
}

impl<'a> AccessLine<'a> {
    pub(super) fn new(format: &'a AccessFormat, line: &'a [u8], spans: Cow<'a, Spans>) -> Self {
        Self { format, line, spans }
    }

    pub(super) fn format(&self) -> &'a AccessFormat {
        self.format
    }

    /// When the request ended.
    pub fn stamp(&self) -> Option<Stamp> {
        let msec = self.raw(Field::Msec).and_then(stamps::msec);
        msec.or_else(|| self.raw(Field::TimeIso8601).and_then(stamps::time_iso8601))
            .or_else(|| self.raw(Field::TimeLocal).and_then(stamps::time_local))
    }

    /// The status sent to the client; 0 where none was. `000` and `009` (HTTP/0.9) are numbers too.
    pub fn status(&self) -> Option<u16> {
        let status = self.raw(Field::Status).filter(|status| status.len() <= 3)?;
        stamps::digits(status).and_then(|status| u16::try_from(status).ok())
    }

    /// How long the request took, in milliseconds.
    pub fn request_ms(&self) -> Option<u32> {
        milliseconds(self.raw(Field::RequestTime)?)
    }

    pub(crate) fn number(&self, field: Field) -> Option<u64> {
        stamps::digits(self.raw(field)?)
    }

    /// The address of the client's connection, by the realip module replaced as in the error log.
    pub(crate) fn client(&self) -> Option<&'a [u8]> {
        self.value(Field::RemoteAddr).or_else(|| self.value(Field::RealipRemoteAddr)).or_else(|| {
            let forwarded = self.value(Field::ForwardedFor)?;
            Some(&forwarded[..memchr(b',', forwarded).unwrap_or(forwarded.len())])
        })
    }

    pub(crate) fn host(&self) -> Option<&'a [u8]> {
        self.value(Field::HttpHost).or_else(|| self.value(Field::Host))
    }

    /// The request, from `$request` or from its parts; `scratch` holds it where it had to be unescaped.
    pub(crate) fn request<'s>(&'s self, scratch: &'s mut Vec<u8>) -> Option<RequestParts<'s>> {
        scratch.clear();
        if let Some(request) = self.value(Field::Request) {
            return match unescape(request, self.format.escape()) {
                Cow::Borrowed(plain) => RequestParts::read(plain),
                Cow::Owned(plain) => {
                    *scratch = plain;
                    RequestParts::read(scratch)
                }
            };
        }
        // Many formats leave the method out; it is empty then.
        let method = self.value(Field::RequestMethod).unwrap_or_default();
        let uri = self.value(Field::RequestUri);
        let target = uri.or_else(|| self.value(Field::Uri))?;
        let version = self.value(Field::ServerProtocol).unwrap_or_default();
        let has_args = uri.is_none() && self.value(Field::Args).is_some();
        if let Cow::Owned(plain) = unescape(target, self.format.escape()) {
            *scratch = plain;
        }
        let target = if scratch.is_empty() { target } else { scratch };
        let mut parts = RequestParts::from_target(method, target, version);
        parts.has_query |= has_args;
        Some(parts)
    }

    /// The value as text.
    pub(crate) fn text(&self, field: Field) -> Option<Cow<'a, str>> {
        let plain = match unescape(self.value(field)?, self.format.escape()) {
            Cow::Borrowed(plain) => match std::str::from_utf8(plain) {
                Ok(text) => return Some(Cow::Borrowed(text)),
                Err(_) => Cow::Borrowed(plain),
            },
            owned @ Cow::Owned(_) => owned,
        };
        Some(Cow::Owned(lossy(&plain)))
    }

    /// The value as it stands in the line; `None` if the format lacks the variable, or it is not set.
    pub(crate) fn value(&self, field: Field) -> Option<&'a [u8]> {
        self.raw(field).filter(|value| !value.is_empty() && !self.is_unset(value))
    }

    /// The value as it stands in the line, `-` and the empty value included.
    pub(crate) fn raw(&self, field: Field) -> Option<&'a [u8]> {
        self.spans.value(field, self.line)
    }

    /// Whether any attempt on an upstream was made: some list says more than that the variable is not set. No address is
    /// ever `-`, whatever the escaping was taken to be.
    pub(crate) fn any_attempt(&self) -> bool {
        if self.raw(Field::UpstreamAddr) == Some(b"-") {
            return false;
        }
        // The first of them tells it nearly always.
        Field::TRIES.iter().filter_map(|&field| self.raw(field)).any(|value| !self.is_unset(value))
    }

    /// Whether the format tells of attempts, and the line of none.
    pub(crate) fn has_no_attempt(&self) -> bool {
        self.format.has_upstream() && !self.any_attempt()
    }

    /// `escape=default` writes `-` for a variable that is not set, the others nothing (`ngx_http_log_json_variable`).
    fn is_unset(&self, value: &[u8]) -> bool {
        match self.format.escape() {
            FormatEscape::Default => value == b"-",
            FormatEscape::Json | FormatEscape::None => value.is_empty(),
        }
    }
}
