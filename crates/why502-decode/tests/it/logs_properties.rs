//! Properties of the log decoders, for any input.

use proptest::prelude::*;
use std::sync::Arc;
use why502_decode::logs::{
    AccessDigester, AccessFormat, AccessSource, DigestOptions, ErrorDigester, Extent, clock, guess_format,
    join, parse_error_line, remove_own_requests,
};
use why502_facts::{
    AccessDigest, AccessLogFormat, Errno, ErrorDigest, FormatEscape, LogClock, LogClockSource, Phrase,
    RequestKey, Stamp,
};

const CLOCK: LogClock = LogClock { offset_seconds: 3600, source: LogClockSource::HostZone };

const FORMATS: &[(&str, FormatEscape)] = &[
    (
        "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \
         \"$http_user_agent\"",
        FormatEscape::Default,
    ),
    (
        "{\"t\":\"$time_iso8601\",\"s\":\"$status\",\"r\":\"$request\",\"ua\":\"$upstream_addr\",\"us\":\"$upstream_status\"}",
        FormatEscape::Json,
    ),
    (
        "$msec|$remote_addr|$request_method $request_uri|$status|$upstream_addr|$upstream_status|$upstream_response_time",
        FormatEscape::None,
    ),
];

fn format(text: &str, escape: FormatEscape) -> AccessFormat {
    AccessFormat::compile(&AccessLogFormat { text: text.to_owned(), escape }).unwrap()
}

fn route(key: &RequestKey<'_>) -> Option<Arc<str>> {
    (!key.path.is_empty()).then(|| key.path.chars().take(2).collect::<String>().into())
}

fn options(max_records: usize, from: Option<Stamp>) -> DigestOptions<'static> {
    DigestOptions { log: "log", from, to: None, max_records, route: Some(&route), extent: Extent::Survey }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse_error_line(&bytes);
        guess_format(&[&bytes]);
        let stamped = [b"2026/11/21 02:28:30 [error] 1#1: *1 ".as_slice(), &bytes].concat();
        parse_error_line(&stamped);
        for (text, escape) in FORMATS {
            let format = format(text, *escape);
            format.parse(&bytes);
            clock(&stamped, &[(&format, &bytes)]);
        }
    }

    #[test]
    fn any_text_around_the_grammar_is_survived(text in "([ -~]|\", |client: |\n| while |server: |upstream: \"|\\\\x22){0,60}") {
        let line = format!("2026/11/21 02:28:30 [error] 1#1: *1 {text}");
        if let Some(parsed) = parse_error_line(line.as_bytes()) {
            parsed.classify();
        }
        if let Ok(format) = AccessFormat::compile(&AccessLogFormat { text: text.clone(), escape: FormatEscape::Default }) {
            format.parse(text.as_bytes());
        }
    }
}

/// A line of an error log before it is printed.
#[derive(Clone, Debug)]
struct Printed {
    message: String,
    errno: Option<(i32, &'static str)>,
    action: Option<&'static str>,
    client: String,
    server: String,
    target: String,
    subrequest: Option<String>,
    upstream: Option<(String, String, String)>,
    host: Option<String>,
    referrer: Option<String>,
}

impl Printed {
    /// As `ngx_http_log_error_handler` prints it: without any escaping.
    fn print(&self) -> String {
        let mut parts = vec![format!("2026/11/21 02:28:30 [error] 7#7: *3 {}", self.message)];
        if let Some((number, words)) = self.errno {
            parts.push(format!(" ({number}: {words})"));
        }
        if let Some(action) = self.action {
            parts.push(format!(" while {action}"));
        }
        parts.push(format!(
            ", client: {}, server: {}, request: \"GET {} HTTP/1.1\"",
            self.client, self.server, self.target
        ));
        if let Some(uri) = &self.subrequest {
            parts.push(format!(", subrequest: \"{uri}\""));
        }
        if let Some((scheme, peer, uri)) = &self.upstream {
            parts.push(format!(", upstream: \"{scheme}://{peer}{uri}\""));
        }
        if let Some(host) = &self.host {
            parts.push(format!(", host: \"{host}\""));
        }
        if let Some(referrer) = &self.referrer {
            parts.push(format!(", referrer: \"{referrer}\""));
        }
        parts.concat()
    }
}

/// Texts that strangers write: since 1.21.1 nginx accepts no space and no control byte in targets and hosts.
fn hostile_word() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("\"".to_owned()),
            Just("\",".to_owned()),
            Just("upstream:\"".to_owned()),
            Just("'\\".to_owned()),
            Just("\u{e9}".to_owned()),
            "[a-z0-9/.=&_-]{1,6}",
        ],
        0..8,
    )
    .prop_map(|parts| parts.concat())
}

fn printed() -> impl Strategy<Value = Printed> {
    let message = prop_oneof![
        Just("connect() failed".to_owned()),
        Just("upstream sent invalid header: \"X\\x20...\"".to_owned()),
        Just("rewrite or internal redirection cycle while processing \"/a\"".to_owned()),
        Just(
            "SSL_do_handshake() failed (SSL: error:1:SSL routines::unexpected eof while reading)".to_owned()
        ),
        Just(
            "FastCGI sent in stderr: \"PHP message: x, client: 6.6.6.6, server: evil, host: \"y\"\""
                .to_owned()
        ),
        "a name could not be resolved \\([0-9]{1,3}: Host not found\\)",
    ];
    let errno = proptest::option::of(prop_oneof![
        Just((111, "Connection refused")),
        Just((61, "Connection refused")),
        Just((110, "Unknown error")),
        Just((11, "Resource temporarily unavailable")),
    ]);
    let action = proptest::option::of(prop_oneof![
        Just("connecting to upstream"),
        Just("reading response header from upstream"),
        Just("sending to client"),
    ]);
    let client =
        prop_oneof![Just("::1".to_owned()), Just("unix:".to_owned()), "[0-9]{1,3}\\.[0-9]{1,3}\\.0\\.1"];
    let server = prop_oneof![Just(String::new()), Just("~^re\\d+, \"x\"$".to_owned()), "[a-z_.*-]{1,12}"];
    let upstream = proptest::option::of((
        prop_oneof![Just("http".to_owned()), Just("https".to_owned()), Just("fastcgi".to_owned())],
        prop_oneof![
            Just("127.0.0.1:80".to_owned()),
            Just("[::1]:80".to_owned()),
            "[a-z_.-]{1,9}",
            Just("unix:/run/a.sock:".to_owned())
        ],
        hostile_word().prop_map(|rest| format!("/{rest}")),
    ));
    let fields = (
        hostile_word().prop_map(|rest| format!("/{rest}")),
        proptest::option::of("/[a-z/]{0,9}"),
        upstream,
        proptest::option::of(hostile_word()),
        proptest::option::of("[ -~]{0,40}"),
    );
    (message, errno, action, client, server, fields).prop_map(
        |(message, errno, action, client, server, fields)| {
            let (target, subrequest, upstream, host, referrer) = fields;
            // The resolver's code stands where an error code would.
            let errno = errno.filter(|_| !message.ends_with("not found)"));
            Printed { message, errno, action, client, server, target, subrequest, upstream, host, referrer }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_printed_error_line_is_read_back(printed in printed()) {
        let line = printed.print();
        let parsed = parse_error_line(line.as_bytes()).unwrap();
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        prop_assert_eq!(text(Some(parsed.message)), Some(printed.message.clone()), "{}", line);
        let errno = printed.errno.map(|(number, words)| Errno::from_log(number, words));
        prop_assert_eq!(parsed.errno, errno, "{}", &line);
        prop_assert_eq!(text(parsed.action), printed.action.map(str::to_owned), "{}", &line);
        let context = parsed.context;
        prop_assert_eq!(text(context.client), Some(printed.client.clone()));
        prop_assert_eq!(text(context.server), Some(printed.server.clone()), "{}", &line);
        prop_assert_eq!(text(context.request), Some(format!("GET {} HTTP/1.1", printed.target)), "{}", &line);
        prop_assert_eq!(text(context.subrequest), printed.subrequest, "{}", &line);
        let upstream = context.upstream.map(|upstream| (text(Some(upstream.scheme)), text(Some(upstream.peer))));
        let expected = printed.upstream.clone().map(|(scheme, peer, _)| {
            (Some(scheme), Some(peer.trim_end_matches(':').to_owned()))
        });
        prop_assert_eq!(upstream, expected, "{}", &line);
        prop_assert_eq!(text(context.host), printed.host, "{}", &line);
        prop_assert_eq!(text(context.referrer), printed.referrer, "{}", &line);
        prop_assert!(!context.truncated);
    }

    /// The gateway cuts a line at 2048 bytes, wherever that is: what is left is read, and nothing is made up.
    #[test]
    fn a_cut_line_tells_less_and_nothing_else(printed in printed(), cut in 40usize..400) {
        let whole = printed.print();
        let line = &whole.as_bytes()[..cut.min(whole.len())];
        let full = parse_error_line(whole.as_bytes()).unwrap();
        let Some(parsed) = parse_error_line(line) else { return Ok(()) };
        if parsed.context.client.is_some() && parsed.context.request.is_some() {
            for (short, long) in [
                (parsed.context.host, full.context.host),
                (parsed.context.subrequest, full.context.subrequest),
                (parsed.context.upstream.map(|one| one.peer), full.context.upstream.map(|one| one.peer)),
            ] {
                // A quote inside a field may end it where the line was cut behind it.
                prop_assert!(short.is_none() || short == long || long.unwrap().contains(&b'"'), "{:?}", parsed.context);
            }
        }
    }
}

/// A variable of a format, and a value of it: `None` where the variable is not set.
fn variable() -> impl Strategy<Value = (&'static str, Option<String>)> {
    let peers = proptest::collection::vec(
        (
            prop_oneof![Just("127.0.0.1:80".to_owned()), Just("unix:/run/a.sock".to_owned()), "[a-z_]{1,5}"],
            any::<bool>(),
        ),
        1..4,
    );
    let list = peers.prop_map(|peers| {
        let mut text = String::new();
        for (place, (peer, redirected)) in peers.into_iter().enumerate() {
            let separator = if redirected { " : " } else { ", " };
            text += if place == 0 { "" } else { separator };
            text += &peer;
        }
        Some(text)
    });
    let text = "[ -~\u{e9}\u{1}\t]{0,12}";
    prop_oneof![
        (Just("status"), "[0-9]{3}".prop_map(Some)),
        (Just("request_time"), "[0-9]{1,3}\\.[0-9]{3}".prop_map(Some)),
        (Just("body_bytes_sent"), "[0-9]{1,6}".prop_map(Some)),
        (Just("connection"), "[0-9]{1,6}".prop_map(Some)),
        (Just("remote_addr"), prop_oneof![Just("::1".to_owned()), "[0-9]{1,3}\\.0\\.0\\.1"].prop_map(Some)),
        (Just("request_uri"), proptest::option::of("/[!#-~]{0,10}")),
        (Just("host"), "[a-z.:-]{1,9}".prop_map(Some)),
        (Just("request"), proptest::option::of(text)),
        (Just("http_user_agent"), proptest::option::of(text)),
        (Just("http_x_unknown"), proptest::option::of(text)),
        (Just("upstream_addr"), list),
    ]
}

fn separator() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just(" "),
        Just("|"),
        Just("\" \""),
        Just(" - "),
        Just(", "),
        Just("\",\"k\":\""),
        Just("] [")
    ]
}

/// As `ngx_http_log_escape`, `ngx_escape_json` and their absence do it.
fn escaped(value: Option<&str>, escape: FormatEscape) -> Vec<u8> {
    let Some(value) = value else {
        return if escape == FormatEscape::Default { b"-".to_vec() } else { Vec::new() };
    };
    let mut out = Vec::new();
    for &byte in value.as_bytes() {
        match (escape, byte) {
            (FormatEscape::Default, b'"' | b'\\' | 0..=31 | 127..) => {
                out.extend(format!("\\x{byte:02X}").bytes());
            }
            (FormatEscape::Json, b'"' | b'\\') => out.extend([b'\\', byte]),
            (FormatEscape::Json, b'\n') => out.extend(b"\\n"),
            (FormatEscape::Json, b'\t') => out.extend(b"\\t"),
            (FormatEscape::Json, 0..=31) => out.extend(format!("\\u{byte:04X}").bytes()),
            _ => out.push(byte),
        }
    }
    out
}

/// Values that the line's public face shows: status, duration and attempts.
fn faces(variables: &[(&'static str, Option<String>)]) -> (Option<u16>, Option<u32>, Option<usize>) {
    let value =
        |name: &str| variables.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.clone());
    let status = value("status").map(|status| status.parse().unwrap());
    let time = value("request_time").map(|time| time.replace('.', "").parse().unwrap());
    let n_tries = value("upstream_addr").map(|list| list.replace(" : ", ", ").split(", ").count());
    (status, time, n_tries)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// A line is read as it was written, or not at all; between quotes that the gateway escapes, always.
    #[test]
    fn a_printed_access_line_is_read_back_or_refused(
        variables in proptest::collection::vec((variable(), separator()), 1..7),
        escape in prop_oneof![Just(FormatEscape::Default), Just(FormatEscape::Json), Just(FormatEscape::None)],
        quoted in any::<bool>(),
    ) {
        let mut seen = Vec::new();
        let (mut text, mut line) = (String::new(), Vec::new());
        for ((name, value), separator) in &variables {
            if seen.iter().any(|(known, _)| known == name) {
                continue;
            }
            let separator = if quoted { "\" \"" } else { separator };
            if text.is_empty() {
                text.push('"');
                line.push(b'"');
            } else {
                text += separator;
                line.extend(separator.bytes());
            }
            text.push_str(&["${", name, "}"].concat());
            line.extend(escaped(value.as_deref(), escape));
            seen.push((*name, value.clone()));
        }
        text.push('"');
        line.push(b'"');
        let format = format(&text, escape);
        let must_be_read = quoted && escape != FormatEscape::None;
        match format.parse(&line) {
            None => prop_assert!(!must_be_read, "{} {}", text, String::from_utf8_lossy(&line)),
            Some(parsed) => {
                let n_tries = parsed.tries(|text| why502_facts::lossy(text).into()).map(|tries| tries.len());
                prop_assert_eq!((parsed.status(), parsed.request_ms(), n_tries), faces(&seen), "{} {}", text,
                    String::from_utf8_lossy(&line));
            }
        }
    }
}

/// Lines of an error log as they come: entries of some kinds, continuations, the console, and what is none of these.
fn error_log_line() -> impl Strategy<Value = String> {
    let stamp =
        (0u32..4, 0u32..60).prop_map(|(minute, second)| format!("2026/11/21 02:{minute:02}:{second:02}"));
    let says = prop_oneof![
        4 => Just("connect() failed (111: Connection refused) while connecting to upstream"),
        2 => Just("upstream timed out (110: Connection timed out) while reading response header from upstream"),
        1 => Just("upstream server temporarily disabled while connecting to upstream"),
        1 => Just("limiting requests, excess: 0.9 by zone \"z\""),
        1 => Just("using uninitialized \"x\" variable"),
        1 => Just("an upstream response is buffered to a temporary file /t/1 while reading upstream"),
    ];
    let entry = (stamp.clone(), says, 1u8..4, "/[ab][a-c]").prop_map(|(stamp, says, peer, path)| {
        format!(
            "{stamp} [error] 7#7: *3 {says}, client: ::1, server: a, request: \"GET {path} HTTP/1.1\", upstream: \
             \"http://127.0.0.1:{peer}{path}\", host: \"a\""
        )
    });
    let open = stamp
        .clone()
        .prop_map(|stamp| format!("{stamp} [error] 7#7: *3 FastCGI sent in stderr: \"PHP message: x"));
    let closing = Just(
        "more\" while reading response header from upstream, client: ::1, server: a, request: \"GET /aa HTTP/1.1\", \
         upstream: \"fastcgi://127.0.0.1:9\", host: \"a\""
            .to_owned(),
    );
    let process =
        stamp.prop_map(|stamp| format!("{stamp} [alert] 7#7: worker process 9 exited on signal 11"));
    prop_oneof![
        8 => entry,
        2 => open,
        2 => closing,
        1 => process,
        1 => Just("stack traceback:".to_owned()),
        1 => Just("no entry at all".to_owned()),
        1 => Just("nginx: [emerg] unknown directive \"x\" in /etc/nginx/nginx.conf:3".to_owned()),
    ]
}

/// Lines of an access log: many alike, so that records are merged.
fn access_log_line() -> impl Strategy<Value = String> {
    let status = prop_oneof![3 => Just(200u16), 3 => Just(502), 1 => Just(504), 1 => Just(404), 1 => Just(499), 1 => Just(101)];
    let agent = prop_oneof![9 => Just("curl"), 1 => Just("why502/0.1.0 (replay)")];
    let line = (0u32..3, 0u32..60, status, 1u8..4, "/[ab][a-c]", agent).prop_map(|(minute, second, status, peer, path, agent)| {
        format!(
            "::1 [21/Nov/2026:01:{minute:02}:{second:02} +0000] \"GET {path} HTTP/1.1\" {status} us={status} \
             ua=127.0.0.1:{peer} uct=0.{peer}{second:02} \"{agent}\""
        )
    });
    prop_oneof![9 => line, 1 => Just("garbage".to_owned())]
}

const DIGESTED: &str = "$remote_addr [$time_local] \"$request\" $status us=$upstream_status ua=$upstream_addr uct=$upstream_connect_time \"$http_user_agent\"";

/// Where the lines of two files stand.
fn places(lines: &[String]) -> impl Iterator<Item = (Arc<str>, u64, &[u8])> {
    let (mut offset, half) = (0, lines.len() / 2);
    let files: [Arc<str>; 2] = ["log.1".into(), "log".into()];
    lines.iter().enumerate().map(move |(idx, line)| {
        let at = offset;
        offset += line.len() as u64 + 1;
        (Arc::clone(&files[usize::from(idx >= half)]), at, line.as_bytes())
    })
}

/// Cuts a stream into parts and merges their digests, pairs first or one by one.
fn merged<D>(parts: Vec<D>, from_the_left: bool, merge: fn(&mut D, D)) -> D {
    let mut parts: std::collections::VecDeque<D> = parts.into();
    while parts.len() > 1 {
        if from_the_left {
            let mut first = parts.pop_front().unwrap();
            merge(&mut first, parts.pop_front().unwrap());
            parts.push_front(first);
        } else {
            let last = parts.pop_back().unwrap();
            let mut before = parts.pop_back().unwrap();
            merge(&mut before, last);
            parts.push_back(before);
        }
    }
    parts.pop_front().unwrap()
}

fn cut_points(cuts: &[usize], length: usize) -> Vec<usize> {
    let mut points: Vec<usize> = cuts.iter().map(|cut| cut % (length + 1)).chain([0, length]).collect();
    points.sort_unstable();
    points
}

fn error_digest(
    lines: &[String],
    cuts: &[usize],
    left: bool,
    options: DigestOptions<'static>,
) -> ErrorDigest {
    let places: Vec<_> = places(lines).collect();
    let cuts = cut_points(cuts, lines.len());
    let parts = cuts.windows(2).map(|range| {
        let mut digester = ErrorDigester::new(options, CLOCK);
        for (file, offset, line) in &places[range[0]..range[1]] {
            digester.line(file, *offset, line);
        }
        digester
    });
    merged(parts.collect(), left, ErrorDigester::merge).finish()
}

fn access_digest(
    format: &AccessFormat,
    lines: &[String],
    cuts: &[usize],
    left: bool,
    options: DigestOptions<'static>,
) -> AccessDigest {
    let places: Vec<_> = places(lines).collect();
    let source = AccessSource { format, guessed: false };
    let cuts = cut_points(cuts, lines.len());
    let parts = cuts.windows(2).map(|range| {
        let mut digester = AccessDigester::new(options, source);
        for (file, offset, line) in &places[range[0]..range[1]] {
            digester.line(file, *offset, line);
        }
        digester
    });
    merged(parts.collect(), left, AccessDigester::merge).finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn error_digests_merge_associatively(
        lines in proptest::collection::vec(error_log_line(), 0..60),
        cuts in proptest::collection::vec(0usize..60, 0..6),
        max_records in 1usize..40,
        windowed in any::<bool>(),
    ) {
        // The window begins in the middle of the log's four minutes.
        let from = windowed.then_some(Stamp(1_795_224_480_000 + 60_000));
        let options = options(max_records, from);
        let whole = error_digest(&lines, &[], true, options);
        prop_assert_eq!(&error_digest(&lines, &cuts, true, options), &whole);
        prop_assert_eq!(&error_digest(&lines, &cuts, false, options), &whole);
    }

    #[test]
    fn access_digests_merge_associatively(
        lines in proptest::collection::vec(access_log_line(), 0..60),
        cuts in proptest::collection::vec(0usize..60, 0..6),
        max_records in 1usize..40,
    ) {
        let format = format(DIGESTED, FormatEscape::Default);
        for extent in [Extent::Survey, Extent::Diagnosis] {
            let options = DigestOptions { extent, ..options(max_records, None) };
            let whole = access_digest(&format, &lines, &[], true, options);
            prop_assert_eq!(&access_digest(&format, &lines, &cuts, true, options), &whole);
            prop_assert_eq!(&access_digest(&format, &lines, &cuts, false, options), &whole);
        }
    }

    /// However many records are merged, every line is counted once, and every failed request is in the join.
    #[test]
    fn nothing_is_lost_by_merging(
        errors in proptest::collection::vec(error_log_line(), 0..80),
        accesses in proptest::collection::vec(access_log_line(), 0..80),
        max_records in 1usize..20,
    ) {
        let format = format(DIGESTED, FormatEscape::Default);
        let options = options(max_records, None);
        let error_log = error_digest(&errors, &[], true, options);
        let refused = errors.iter().filter(|line| line.contains("Connection refused")).count() as u64;
        let counted: u64 = error_log.records.iter().filter(|record| record.phrase == Phrase::ConnectFailed)
            .map(|record| record.weight).sum();
        prop_assert_eq!(counted, refused);
        let access_log = access_digest(&format, &accesses, &[], true, options);
        let asked = |line: &&String| line.contains("curl");
        let total: u64 = access_log.totals.iter().map(|total| total.n_requests).sum();
        prop_assert_eq!(total, accesses.iter().filter(asked).count() as u64);
        let failed = accesses.iter().filter(asked).filter(|line| line.contains("\" 502 ")).count() as u64;
        let joined = join(&[&error_log], &[&access_log], CLOCK);
        let told: u64 = joined.iter().filter(|request| request.status == Some(502)).map(|request| request.weight).sum();
        prop_assert_eq!(told, failed);
    }

    /// What this program sent itself is taken out of both logs, and nothing else.
    #[test]
    fn own_requests_leave_no_trace(
        strangers in proptest::collection::vec((0u32..60, "/[ab]"), 0..20),
        own in proptest::collection::vec((0u32..60, "/[ab]"), 0..5),
    ) {
        let error = |second: &u32, path: &str, connection: usize| format!(
            "2026/11/21 02:00:{second:02} [error] 7#7: *{connection} connect() failed (111: Connection refused) while \
             connecting to upstream, client: ::1, server: a, request: \"GET {path} HTTP/1.1\", upstream: \
             \"http://127.0.0.1:1{path}\", host: \"a\"");
        let access = |second: &u32, path: &str, agent: &str| format!(
            "::1 [21/Nov/2026:01:00:{second:02} +0000] \"GET {path} HTTP/1.1\" 502 us=502 ua=127.0.0.1:1 uct=0.001 \"{agent}\"");
        let mut all: Vec<(u32, String, &str)> = strangers.iter().map(|(at, path)| (*at, path.clone(), "curl")).collect();
        all.extend(own.iter().map(|(at, path)| (*at, path.clone(), "why502/1 (replay)")));
        all.sort();
        let errors: Vec<String> = all.iter().enumerate().map(|(n, (at, path, _))| error(at, path, n)).collect();
        let accesses: Vec<String> = all.iter().map(|(at, path, agent)| access(at, path, agent)).collect();
        let format = format(DIGESTED, FormatEscape::Default);
        let mut error_log = error_digest(&errors, &[], true, options(1000, None));
        let access_log = access_digest(&format, &accesses, &[], true, options(1000, None));
        prop_assert_eq!(access_log.own.len(), own.len());
        remove_own_requests(&mut error_log, &[&access_log], CLOCK);
        prop_assert_eq!(error_log.records.len(), strangers.len());
        let joined = join(&[&error_log], &[&access_log], CLOCK);
        prop_assert_eq!(joined.len(), strangers.len());
        prop_assert!(joined.iter().all(|request| request.lines().count() == 2));
    }
}
