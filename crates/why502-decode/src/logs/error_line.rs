//! The grammar of an error-log line.
//!
//! ```text
//! 2026/11/21 02:28:30 [error] 9367#9367: *3 MESSAGE (111: Connection refused) while ACTION, client: …, server: …,
//!     request: "…", subrequest: "…", upstream: "…", host: "…", referrer: "…"
//! ```
//!
//! nginx escapes nothing in a line (`ngx_http_log_error_handler` prints `%V`), cuts it at 2048 bytes (OpenResty at
//! 4096), and clients write some of its fields, so a line is read from left to right and a field ends only where the
//! next known field or the line's end begins. What was cut off is simply not there.

mod action;
mod context;

mod errno;
mod head;
mod upstream;

pub use self::context::LineContext;
pub(crate) use self::head::is_console;
pub use self::upstream::UpstreamText;

use super::envelope::without_carriage_return;
use super::phrases;
use why502_facts::{Civil, Errno, ErrorLevel, Phase, Phrase};

/// No gateway writes longer entries; a longer line is read up to here, so that a hostile one costs no more.
const MAX_LINE: usize = 16 * 1024;

/// An error-log line, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorLine<'a> {
    /// The stamp; `None` for what nginx prints to its console (`nginx: [emerg] …`).
    pub at: Option<Civil>,
    /// The severity.
    pub level: ErrorLevel,
    /// The process id; 0 in the console's form.
    pub pid: u32,
    /// The serial number of the client's connection.
    pub connection: Option<u64>,
    /// The message, without the error code and the context; a configuration's message keeps both, and its place.
    pub message: &'a [u8],
    /// The system's error code.
    pub errno: Option<Errno>,
    /// What the gateway was doing, in its own words.
    pub action: Option<&'a [u8]>,
    /// What the gateway was doing.
    pub phase: Option<Phase>,
    /// The request that the message is about.
    pub context: LineContext<'a>,
}

impl<'a> ErrorLine<'a> {
    /// Tells what the line says, and what its placeholder held.
    pub fn classify(&self) -> (Phrase, Option<&'a [u8]>) {
        match self.level {
            ErrorLevel::Debug => (Phrase::Noise, None),
            ErrorLevel::Emerg if self.connection.is_none() => phrases::classify_start_up(self.message),
            ErrorLevel::Warn if self.connection.is_none() && head::has_place(self.message) => {
                (Phrase::ConfigurationWarning, Some(self.message))
            }
            _ => phrases::classify(self.message),
        }
    }
}

/// Whether an error-log entry begins with the line.
pub(crate) fn begins_entry(line: &[u8]) -> bool {
    head::read(line).is_some()
}

/// Takes an error-log line apart; `None` if it does not begin as one (then it continues the entry before it).
pub fn parse_error_line(line: &[u8]) -> Option<ErrorLine<'_>> {
    let line = without_carriage_return(line);
    let line = &line[..line.len().min(MAX_LINE)];
    let head = head::read(line)?;
    if head.level == ErrorLevel::Debug {
        // No context is appended to debugging output, and nothing is made of it.
        return Some(bare(&head));
    }
    let (message, action, context) = context::split(head.rest);
    let phase = action.and_then(action::phase);
    let (message, errno) =
        if head::has_place(message) { (message, errno::find(message)) } else { errno::split(message) };
    Some(ErrorLine { message, errno, action, phase, context, ..bare(&head) })
}

fn bare<'a>(head: &head::Head<'a>) -> ErrorLine<'a> {
    ErrorLine {
        at: head.at,
        level: head.level,
        pid: head.pid,
        connection: head.connection,
        message: head.rest,
        errno: None,
        action: None,
        phase: None,
        context: LineContext::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_full_line_is_taken_apart() {
        let line = b"2026/11/21 02:34:02 [error] 15386#15386: *148 connect() failed (111: Connection refused) while \
            connecting to upstream, client: ::1, server: lab.test, request: \"GET /mirror HTTP/1.1\", subrequest: \
            \"/m\", upstream: \"http://127.0.0.1:18101/m\", host: \"127.0.0.1:18080\", referrer: \"http://x/\"";
        let parsed = parse_error_line(line).unwrap();
        assert_eq!(parsed.at.unwrap().to_string(), "2026-11-21T02:34:02");
        assert_eq!((parsed.level, parsed.pid, parsed.connection), (ErrorLevel::Error, 15386, Some(148)));
        assert_eq!(
            (text(parsed.message), parsed.errno),
            ("connect() failed", Some(Errno::ConnectionRefused))
        );
        assert_eq!(parsed.phase, Some(Phase::Connecting));
        let context = parsed.context;
        assert_eq!(context.client.map(text), Some("::1"));
        assert_eq!(context.server.map(text), Some("lab.test"));
        assert_eq!(context.request.map(text), Some("GET /mirror HTTP/1.1"));
        assert_eq!(context.subrequest.map(text), Some("/m"));
        let upstream = context.upstream.unwrap();
        assert_eq!((text(upstream.scheme), text(upstream.peer)), ("http", "127.0.0.1:18101"));
        assert_eq!(context.host.map(text), Some("127.0.0.1:18080"));
        assert_eq!(context.referrer.map(text), Some("http://x/"));
        assert!(!context.truncated);
    }

    #[test]
    fn quotes_inside_fields_do_not_end_them() {
        let line = b"2026/11/21 02:30:08 [error] 9367#9367: *309 connect() failed (111: Connection refused) while \
            connecting to upstream, client: 127.0.0.1, server: , request: \"GET /p?a=\"b\" HTTP/1.1\", upstream: \
            \"http://127.0.0.1:18101/p?a=\"b\"\", host: \"a\"b\", referrer: \"http://x/\"q\", upstream: \"fake\"\"";
        let context = parse_error_line(line).unwrap().context;
        assert_eq!(context.server.map(text), Some(""));
        assert_eq!(context.request.map(text), Some("GET /p?a=\"b\" HTTP/1.1"));
        assert_eq!(context.upstream.map(|upstream| text(upstream.peer)), Some("127.0.0.1:18101"));
        assert_eq!(context.host.map(text), Some("a\"b"));
        // The last field is the only one that may hold any text: it reaches to the end of the line.
        assert_eq!(context.referrer.map(text), Some("http://x/\"q\", upstream: \"fake\""));
    }

    #[test]
    fn a_request_line_cannot_forge_the_upstream() {
        // nginx before 1.21.1 accepts spaces and quotes in the target.
        let line = b"2026/11/21 02:30:08 [error] 1#1: *3 connect() failed (111: Connection refused) while connecting \
            to upstream, client: 127.0.0.1, server: a, request: \"GET /x\", upstream: \"http://evil:1/ HTTP/1.1\", \
            upstream: \"http://127.0.0.1:3000/\", host: \"a\"";
        let context = parse_error_line(line).unwrap().context;
        assert_eq!(context.request.map(text), Some("GET /x\", upstream: \"http://evil:1/ HTTP/1.1"));
        assert_eq!(context.upstream.map(|upstream| text(upstream.peer)), Some("127.0.0.1:3000"));
    }

    #[test]
    fn what_was_cut_off_is_not_there() {
        let long = format!(
            "2026/11/21 02:30:08 [error] 1#1: *3 upstream timed out (110: Connection timed out) while reading response \
             header from upstream, client: 127.0.0.1, server: a, request: \"GET /{} HTTP/1.1\", upstream: \
             \"http://127.0.0.1:3000/aaa",
            "a".repeat(900)
        );
        let context = parse_error_line(long.as_bytes()).unwrap().context;
        assert!(context.truncated);
        assert_eq!(context.upstream.map(|upstream| text(upstream.peer)), Some("127.0.0.1:3000"));
        let in_request = &long.as_bytes()[..600];
        let context = parse_error_line(in_request).unwrap().context;
        assert!(context.truncated && context.upstream.is_none() && context.host.is_none());
        assert!(context.request.unwrap().starts_with(b"GET /aaa"));
        let in_name = "2026/11/21 02:30:08 [error] 1#1: *3 x, client: 127.0.0.1, server: a, request: \"GET / HTTP/1.1\", ups";
        let context = parse_error_line(in_name.as_bytes()).unwrap().context;
        assert_eq!(context.request.map(text), Some("GET / HTTP/1.1"));
        assert!(context.truncated);
    }

    #[test]
    fn lines_without_a_request_have_their_own_forms() {
        let cases: [(&str, &str, Option<Phase>); 6] = [
            (
                "2026/11/21 02:29:35 [error] 9#9: recv() failed (111: Connection refused) while resolving, resolver: \
                 127.0.0.1:53",
                "recv() failed",
                Some(Phase::Resolving),
            ),
            (
                "2026/11/21 02:29:35 [crit] 9#9: accept4() failed (24: Too many open files)",
                "accept4() failed",
                None,
            ),
            (
                "2026/11/21 02:29:35 [alert] 9#9: *4 1024 worker_connections are not enough while accepting new \
                 connection on 0.0.0.0:80",
                "1024 worker_connections are not enough",
                Some(Phase::ClientSide),
            ),
            (
                "2026/11/21 02:29:35 [alert] 9#9: worker process 123 exited on signal 11 (core dumped)",
                "worker process 123 exited on signal 11 (core dumped)",
                None,
            ),
            (
                "2026/11/21 02:29:35 [error] 9#9: sf.test could not be resolved (2: Server failure)",
                "sf.test could not be resolved (2: Server failure)",
                None,
            ),
            (
                "2026/11/21 02:29:35 [error] 9#9: *1 rewrite or internal redirection cycle while processing \"/a\", \
                 client: 127.0.0.1, server: a",
                "rewrite or internal redirection cycle while processing \"/a\"",
                None,
            ),
        ];
        for (line, message, phase) in cases {
            let parsed = parse_error_line(line.as_bytes()).unwrap();
            assert_eq!((text(parsed.message), parsed.phase), (message, phase), "{line}");
            assert_ne!(parsed.classify().0, Phrase::Unrecognised, "{line}");
        }
    }

    #[test]
    fn a_refused_configuration_keeps_its_place() {
        for line in [
            "2026/11/21 02:29:35 [emerg] 9#9: open() \"/etc/nginx/a\" failed (2: No such file or directory) in \
             /etc/nginx/nginx.conf:12",
            "nginx: [emerg] open() \"/etc/nginx/a\" failed (2: No such file or directory) in /etc/nginx/nginx.conf:12",
        ] {
            let parsed = parse_error_line(line.as_bytes()).unwrap();
            assert_eq!(parsed.errno, Some(Errno::NoEntry));
            let (phrase, detail) = parsed.classify();
            assert_eq!(phrase, Phrase::ConfigurationRefused);
            assert!(detail.unwrap().ends_with(b"in /etc/nginx/nginx.conf:12"));
        }
        let warned = b"nginx: [warn] load balancing method redefined in /etc/nginx/nginx.conf:3";
        assert_eq!(parse_error_line(warned).unwrap().classify().0, Phrase::ConfigurationWarning);
    }

    #[test]
    fn angie_quotes_every_field() {
        let line = b"2026/11/21 02:28:30 [error] 7#7: *3 connect() failed (111: Connection refused) while connecting \
            to upstream, client: \"127.0.0.1\", server: \"lab.test\", request_line: \"GET /a HTTP/1.1\", upstream: \
            \"http://unix:/run/a.sock:/a\", host: \"lab.test\"";
        let context = parse_error_line(line).unwrap().context;
        assert_eq!(context.client.map(text), Some("127.0.0.1"));
        assert_eq!(context.server.map(text), Some("lab.test"));
        assert_eq!(context.request.map(text), Some("GET /a HTTP/1.1"));
        assert_eq!(context.upstream.map(|upstream| text(upstream.peer)), Some("unix:/run/a.sock"));
    }

    #[test]
    fn a_stream_line_has_a_peer_and_no_request() {
        let line = b"2026/11/21 02:30:16 [error] 9#9: *330 upstream timed out (110: Connection timed out) while \
            connecting to upstream, client: 127.0.0.1, server: 127.0.0.1:18093, upstream: \"127.0.0.1:18198\", bytes \
            from/to client:0/0, bytes from/to upstream:0/0";
        let context = parse_error_line(line).unwrap().context;
        assert_eq!(context.server.map(text), Some("127.0.0.1:18093"));
        let upstream = context.upstream.unwrap();
        assert_eq!((text(upstream.scheme), text(upstream.peer)), ("", "127.0.0.1:18198"));
    }

    #[test]
    fn what_php_writes_cannot_forge_the_context() {
        let line = b"2026/11/21 02:29:11 [error] 9#9: *177 FastCGI sent in stderr: \"PHP message: x, client: 6.6.6.6, \
            server: evil, request: \"GET / HTTP/1.1\"\nmore\" while reading response header from upstream, client: \
            127.0.0.1, server: lab.test, request: \"GET /f HTTP/1.1\", upstream: \"fastcgi://127.0.0.1:9000\"";
        let parsed = parse_error_line(line).unwrap();
        assert_eq!(parsed.context.client.map(text), Some("127.0.0.1"));
        assert_eq!(parsed.classify().0, Phrase::FastCgiStderr);
    }

    #[test]
    fn a_continuation_is_no_line() {
        assert_eq!(parse_error_line(b"PHP message: second line"), None);
        assert_eq!(parse_error_line(b""), None);
        assert_eq!(parse_error_line(b"2026/11/21 02:29:11 no level"), None);
    }
}
