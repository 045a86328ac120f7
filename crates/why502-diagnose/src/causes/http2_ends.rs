//! How a server of HTTP/2 ends a request without an answer: with `GOAWAY` for the whole connection, or with `RST_STREAM` for
//! the one stream; each with a code that says why (RFC 9113, section 7).

use crate::case::Symptom;
use why502_facts::{Http2Goaway, Phrase, ProbeOutcome, ProbeReport, StepKind};

/// The names of the codes, by number (RFC 9113, section 7).
const NAMES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// The codes that decide.
const NO_ERROR: u32 = 0;
/// The stream of a probe's only request.
const STREAM: u32 = 1;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;
const HTTP_1_1_REQUIRED: u32 = 13;

/// How a request was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Http2End {
    /// Whether the whole connection was ended, and not the stream alone.
    pub(super) ends_connection: bool,
    pub(super) code: u32,
}

/// What the code of an end says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The connection has served its time or its number of requests, and nothing is wrong.
    EndOfLife,
    /// The server takes no more, or no more at this pace, and has not looked at the request.
    Refusal,
    /// It wants this request in HTTP/1.1.
    WantsHttp1,
    /// It gave the request up: an error of its own, or one that it finds in what it was sent.
    GivenUp,
}

impl Http2End {
    /// What the error log tells of an attempt's end (`ngx_http_grpc_process_header`, `ngx_http_proxy_v2_process_header`).
    pub(super) fn told(symptom: &Symptom) -> Option<Self> {
        let own = symptom.phrase.map(|phrase| (phrase, symptom.detail.as_deref()));
        let also = symptom.also.iter().map(|(phrase, detail)| (*phrase, detail.as_deref()));
        own.into_iter().chain(also).find_map(|(phrase, detail)| {
            let ends_connection = match phrase {
                Phrase::Http2Goaway => true,
                Phrase::Http2Rejected => false,
                _ => return None,
            };
            Some(Self { ends_connection, code: detail?.parse().ok()? })
        })
    }

    /// How the peer ended the request of a probe, if it did without an answer.
    pub(crate) fn seen(report: &ProbeReport) -> Option<Self> {
        let http2 = report.http2.as_deref().filter(|http2| http2.header.is_none())?;
        // A graceful end promises an answer to the streams up to its last one: it is no end of this one before the connection is.
        let is_promised = |goaway: &&Http2Goaway| goaway.code == NO_ERROR && goaway.last_stream >= STREAM;
        let is_closed = report.outcome(StepKind::Receive) == Some(ProbeOutcome::Closed);
        let goaway = http2.goaway.as_ref().filter(|goaway| is_closed || !is_promised(goaway));
        let goaway = goaway.map(|goaway| Self { ends_connection: true, code: goaway.code });
        // A connection that is ended for a reason ends its streams too.
        goaway.or(http2.reset.map(|code| Self { ends_connection: false, code }))
    }

    pub(super) fn meaning(self) -> Meaning {
        match self.code {
            NO_ERROR if self.ends_connection => Meaning::EndOfLife,
            REFUSED_STREAM | ENHANCE_YOUR_CALM => Meaning::Refusal,
            HTTP_1_1_REQUIRED => Meaning::WantsHttp1,
            _ => Meaning::GivenUp,
        }
    }

    /// As words: `GOAWAY with code 11 (ENHANCE_YOUR_CALM)`.
    pub(crate) fn words(self) -> String {
        let frame = if self.ends_connection { "GOAWAY" } else { "RST_STREAM" };
        let name = usize::try_from(self.code).ok().and_then(|code| NAMES.get(code));
        let name = name.map_or_else(String::new, |name| format!(" ({name})"));
        format!("{frame} with code {}{name}", self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_told_by_its_name_where_it_has_one() {
        let words = |ends_connection, code| Http2End { ends_connection, code }.words();
        assert_eq!(words(true, 11), "GOAWAY with code 11 (ENHANCE_YOUR_CALM)");
        assert_eq!(words(false, 13), "RST_STREAM with code 13 (HTTP_1_1_REQUIRED)");
        assert_eq!(words(true, 4711), "GOAWAY with code 4711");
    }

    #[test]
    fn the_end_of_a_stream_without_an_error_is_no_end_of_life() {
        let meaning = |ends_connection, code| Http2End { ends_connection, code }.meaning();
        assert_eq!(meaning(true, 0), Meaning::EndOfLife);
        assert_eq!(meaning(false, 0), Meaning::GivenUp);
        assert_eq!(meaning(false, 7), Meaning::Refusal);
    }
}
