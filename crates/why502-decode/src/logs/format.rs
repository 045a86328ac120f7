//! Access-log formats: compiled from the gateway's own notation, and run backwards.
//!
//! A format is a sequence of variables with literals between them. A variable's value ends where its shape and the
//! literal after it say so: a value between quotes at the next quote (the gateway escapes quotes inside), a number after
//! its digits, a free text wherever the rest of the line then still fits. Where a line can be read in two ways it is not
//! read at all: a wrong reading would be evidence for something that did not happen.

mod compile;
mod direct;
mod line;
mod marks;
mod quotes;
mod secret;
mod shape;
mod tries;
mod unescape;
mod variable;
mod walk;

pub use self::compile::FormatError;
pub use self::line::AccessLine;
pub(crate) use self::marks::{MarkedLine, Marks, first_lines};
pub(crate) use self::tries::{AttemptTimes, milliseconds};
pub(crate) use self::variable::Field;
pub(crate) use self::walk::Spans;

use self::compile::Step;
use self::direct::Direct;
use self::quotes::{Known, Quotes, Unknown};
use self::secret::Secret;
use self::walk::{Walk, is_short};
use std::borrow::Cow;
use why502_facts::{AccessLogFormat, FormatEscape, Stamp};

/// `combined`, the format that is predefined (`ngx_http_combined_fmt`).
pub(crate) const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
    \"$http_referer\" \"$http_user_agent\"";

/// An access log's format, ready to read lines.
#[derive(Clone, Debug)]
pub struct AccessFormat {
    source: AccessLogFormat,
    /// The literal before the first variable.
    lead: Vec<u8>,
    steps: Vec<Step>,
    direct: Option<Direct>,
    has_upstream: bool,
    secrets: Vec<Secret>,
}

impl AccessFormat {
    /// Compiles a format in the gateway's notation (`ngx_http_log_compile_format`).
    pub fn compile(format: &AccessLogFormat) -> Result<Self, FormatError> {
        let (lead, steps) = compile::steps(&format.text, format.escape)?;
        let direct = Direct::compile(&steps);
        let has_upstream =
            steps.iter().any(|step| step.field.is_some_and(|field| Field::TRIES.contains(&field)));
        let secrets = Secret::of(&lead, &steps);
        Ok(Self { source: format.clone(), lead, steps, direct, has_upstream, secrets })
    }

    /// The predefined format `combined`.
    pub fn combined() -> AccessLogFormat {
        AccessLogFormat { text: COMBINED.to_owned(), escape: FormatEscape::Default }
    }

    /// What it was compiled from.
    pub fn source(&self) -> &AccessLogFormat {
        &self.source
    }

    /// Whether its lines carry a time, without which they belong to no window.
    pub fn has_time(&self) -> bool {
        [Field::Msec, Field::TimeIso8601, Field::TimeLocal].iter().any(|&field| self.has(field))
    }

    /// Whether its lines tell of attempts on upstreams.
    pub fn has_upstream(&self) -> bool {
        self.has_upstream
    }

    /// Reads a line; `None` if it does not fit, or fits in two ways.
    pub fn parse<'a>(&'a self, line: &'a [u8]) -> Option<AccessLine<'a>> {
        let line = super::envelope::without_carriage_return(line);
        let mut spans = Spans::default();
        self.find(line, Unknown, &mut spans).then(|| AccessLine::new(self, line, Cow::Owned(spans)))
    }

    /// Reads a line as [`Self::parse`] does; `spans` is room that is used again for each line.
    pub(crate) fn parse_in<'a>(
        &'a self,
        marked: MarkedLine<'a>,
        spans: &'a mut Spans,
    ) -> Option<AccessLine<'a>> {
        let MarkedLine { line, places, begin } = marked;
        let (line, quotes) = (super::envelope::without_carriage_return(line), Known { places, begin });
        self.find(line, quotes, spans).then(|| AccessLine::new(self, line, Cow::Borrowed(spans)))
    }

    /// Finds the values of a line; whether it fits.
    fn find(&self, line: &[u8], quotes: impl Quotes, spans: &mut Spans) -> bool {
        if !is_short(line) {
            return false;
        }
        let direct = self.direct.as_ref();
        if direct.is_some_and(|direct| direct.read(&self.lead, line, quotes, spans).is_some()) {
            return true;
        }
        let found = Walk::run(&self.lead, &self.steps, line);
        if let Some(found) = found {
            *spans = found;
        }
        found.is_some()
    }

    /// A line with the values of variables that hold secrets replaced by `*`, whatever is written before them; all of
    /// one that cannot be read, if the format has such variables.
    pub fn masked<'l>(&self, line: &'l [u8]) -> Cow<'l, [u8]> {
        if self.secrets.is_empty() {
            return Cow::Borrowed(line);
        }
        let mut masked = line.to_vec();
        let mut spans = Spans::default();
        let is_read = self.find(super::envelope::without_carriage_return(line), Unknown, &mut spans);
        for secret in &self.secrets {
            let range = if is_read { secret.range(line, &spans) } else { None };
            let value = &mut masked[range.unwrap_or(0..line.len())];
            // An empty value.
            if value != b"-" {
                value.fill(b'*');
            }
        }
        Cow::Owned(masked)
    }

    /// Lines with their ends, each one [`masked`](Self::masked).
    pub fn masked_lines<'l>(&self, lines: &'l [u8]) -> Cow<'l, [u8]> {
        if self.secrets.is_empty() {
            return Cow::Borrowed(lines);
        }
        let mut masked = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            masked.extend_from_slice(&self.masked(bare));
            masked.extend_from_slice(&line[bare.len()..]);
        }
        Cow::Owned(masked)
    }

    /// The stamp of a line.
    pub fn stamp(&self, line: &[u8]) -> Option<Stamp> {
        self.parse(line)?.stamp()
    }

    pub(crate) fn has(&self, field: Field) -> bool {
        self.steps.iter().any(|step| step.field == Some(field))
    }

    pub(crate) fn escape(&self) -> FormatEscape {
        self.source.escape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str, escape: FormatEscape) -> AccessFormat {
        AccessFormat::compile(&AccessLogFormat { text: text.to_owned(), escape }).unwrap()
    }

    fn read(format: &AccessFormat, line: &str, field: Field) -> Option<String> {
        let parsed = format.parse(line.as_bytes())?;
        parsed.text(field).map(Cow::into_owned)
    }

    #[test]
    fn combined_lines_are_read() {
        let combined = AccessFormat::compile(&AccessFormat::combined()).unwrap();
        let line =
            r#"203.0.113.25 - - [21/May/2020:08:30:12 +0000] "GET /a?b HTTP/1.1" 502 157 "-" "Mozilla/5.0""#;
        assert_eq!(read(&combined, line, Field::RemoteAddr).as_deref(), Some("203.0.113.25"));
        assert_eq!(read(&combined, line, Field::Request).as_deref(), Some("GET /a?b HTTP/1.1"));
        assert_eq!(read(&combined, line, Field::Status).as_deref(), Some("502"));
        assert_eq!(read(&combined, line, Field::UserAgent).as_deref(), Some("Mozilla/5.0"));
        assert_eq!(combined.stamp(line.as_bytes()).unwrap().to_string(), "2020-05-21T08:30:12Z");
        assert!(combined.parse(&line.as_bytes()[..60]).is_none());
        assert!(combined.parse(format!("{line} x").as_bytes()).is_none());
    }

    #[test]
    fn a_user_name_cannot_shift_the_fields() {
        let combined = AccessFormat::compile(&AccessFormat::combined()).unwrap();
        // $remote_user comes from the Authorization header; quotes in it are escaped, brackets and spaces are not.
        let line = r"1.2.3.4 - x [21/May/2020:08:30:12 +0000] \x22GET / HTTP/1.1\x22 200 1 [21/May/2020:08:30:13 +0000] ";
        let line = format!("{line}{}", r#""GET /real HTTP/1.1" 502 157 "-" "a""#);
        assert_eq!(read(&combined, &line, Field::Request).as_deref(), Some("GET /real HTTP/1.1"));
    }

    #[test]
    fn an_ambiguous_line_is_not_read() {
        let plain = format("$remote_addr $http_x_note $status $http_x_more", FormatEscape::None);
        assert_eq!(read(&plain, "1.2.3.4 note 502 more", Field::Status).as_deref(), Some("502"));
        assert_eq!(read(&plain, "1.2.3.4 note 502 200 more", Field::Status), None);
        let quoted = format(r#""$request" $status "$http_user_agent""#, FormatEscape::None);
        let sound = r#""GET /a"b HTTP/1.1" 502 "x"y""#;
        assert_eq!(read(&quoted, sound, Field::Request).as_deref(), Some("GET /a\"b HTTP/1.1"));
        let forged = r#""GET /a" 200 "b HTTP/1.1" 502 "x""#;
        assert_eq!(read(&quoted, forged, Field::Status), None);
    }

    #[test]
    fn values_are_unescaped() {
        let default = format(r#""$request" $status"#, FormatEscape::Default);
        assert_eq!(
            read(&default, r#""GET /p?a=\x22b\x5C HTTP/1.1" 502"#, Field::Request).as_deref(),
            Some("GET /p?a=\"b\\ HTTP/1.1")
        );
        let json = format(r#"{"r":"$request","s":"$status","a":"$upstream_addr"}"#, FormatEscape::Json);
        let line = r#"{"r":"GET /\"\\\n\u001F HTTP/1.1","s":"502","a":""}"#;
        assert_eq!(read(&json, line, Field::Request).as_deref(), Some("GET /\"\\\n\u{1f} HTTP/1.1"));
        assert_eq!(read(&json, line, Field::UpstreamAddr), None);
    }

    #[test]
    fn odd_notations_are_compiled() {
        let braces = format("a=${status}b ${request_time}s", FormatEscape::Default);
        assert_eq!(read(&braces, "a=502b 0.004s", Field::RequestTime).as_deref(), Some("0.004"));
        let url = format("$status $scheme://$host$request_uri $msec", FormatEscape::Default);
        let line = "502 https://a.test/b?c 1795228110.000";
        assert_eq!(read(&url, line, Field::Host).as_deref(), Some("a.test"));
        assert_eq!(read(&url, line, Field::RequestUri).as_deref(), Some("/b?c"));
        let split =
            format("$request_method $uri$is_args$args $server_protocol $status", FormatEscape::Default);
        assert_eq!(read(&split, "GET /a?b=c HTTP/1.1 502", Field::RequestUri).as_deref(), Some("/a?b=c"));
        let port = format("$host:$server_port $status", FormatEscape::Default);
        assert_eq!(read(&port, "[::1]:80 502", Field::Host).as_deref(), Some("[::1]"));
    }

    #[test]
    fn secrets_are_known_by_their_variables() {
        let masked = |format: &AccessFormat, line: &str| {
            String::from_utf8(format.masked(line.as_bytes()).into_owned()).unwrap()
        };
        let json =
            format(r#"{"x":"$http_authorization","s":"$status","y":"$http_cookie"}"#, FormatEscape::Json);
        assert_eq!(
            masked(&json, r#"{"x":"Bearer abc","s":"502","y":"sid=\"def"}"#),
            r#"{"x":"**********","s":"502","y":"*********"}"#
        );
        assert_eq!(masked(&json, r#"{"x":"","s":"502","y":""}"#), r#"{"x":"","s":"502","y":""}"#);
        assert_eq!(masked(&json, "cut: abc"), "********", "nobody can tell where it stands");
        let plain = format("$status $cookie_sid $http_referer $arg_token $msec", FormatEscape::Default);
        assert_eq!(
            masked(&plain, "502 abc http://x def 1795228110.000"),
            "502 **************** 1795228110.000"
        );
        let none = format("$status $http_referer", FormatEscape::Default);
        assert_eq!(masked(&none, "502 abc"), "502 abc");
        let last = format("$status $arg_key", FormatEscape::Default);
        assert_eq!((masked(&last, "502 abc"), masked(&last, "502 -")), ("502 ***".into(), "502 -".into()));
        assert_eq!(&*last.masked_lines(b"502 abc\n503 de\n"), b"502 ***\n503 **\n");
    }

    #[test]
    fn lists_end_where_the_next_literal_begins() {
        let spaced =
            format("$upstream_addr $upstream_status $upstream_response_time $msec", FormatEscape::Default);
        let line = "127.0.0.1:1, unix:/a.sock : g 502, 504 : 502 0.001, - : 0.000 1795228110.000";
        assert_eq!(
            read(&spaced, line, Field::UpstreamAddr).as_deref(),
            Some("127.0.0.1:1, unix:/a.sock : g")
        );
        assert_eq!(read(&spaced, line, Field::UpstreamStatus).as_deref(), Some("502, 504 : 502"));
        let commas = format("$remote_addr, $upstream_addr, $upstream_status, $status", FormatEscape::Default);
        let line = "1.2.3.4, 10.0.0.1:80, 10.0.0.2:80, 502, 200, 200";
        assert_eq!(read(&commas, line, Field::UpstreamAddr).as_deref(), Some("10.0.0.1:80, 10.0.0.2:80"));
        assert_eq!(read(&commas, line, Field::UpstreamStatus).as_deref(), Some("502, 200"));
    }

    #[test]
    fn what_the_gateway_refuses_is_refused() {
        let compile = |text: &str| {
            AccessFormat::compile(&AccessLogFormat { text: text.to_owned(), escape: FormatEscape::Default })
        };
        assert_eq!(compile("$status $").unwrap_err(), FormatError::NoName { at: 8 });
        assert_eq!(compile("$-").unwrap_err(), FormatError::NoName { at: 0 });
        assert_eq!(compile("${status").unwrap_err(), FormatError::NoClosingBrace { at: 0 });
        assert_eq!(compile("constant").unwrap_err(), FormatError::NoVariable);
    }
}
