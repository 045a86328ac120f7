//! The digests against what was really logged: requests whose truth is known are printed in many formats, among lines that
//! fit none, and counted without any parser; cut anywhere and merged, the digests tell the same.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use why502_decode::logs::{
    AccessDigester, AccessFormat, AccessSource, DEFAULT_MAX_RECORDS, DigestOptions, ErrorDigester, Extent,
    guess_format,
};
use why502_facts::{
    AccessDigest, AccessLogFormat, ErrorLevel, FormatEscape, Histogram, LogClock, LogClockSource, Phrase,
};

const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \
    \"$http_user_agent\"";
/// Seconds since the epoch at which the log begins: 2026-11-21T02:00:00Z.
const BEGIN: i64 = 1_795_226_400;

/// The formats, whether each has attempts and times.
fn formats() -> Vec<(String, FormatEscape, bool)> {
    use FormatEscape::{Default, Json};
    let named = "rt=$request_time uct=\"$upstream_connect_time\" uht=\"$upstream_header_time\" \
        urt=\"$upstream_response_time\" ua=\"$upstream_addr\" us=\"$upstream_status\"";
    vec![
        (COMBINED.to_owned(), Default, false),
        (format!("$host:$server_port {COMBINED}"), Default, false),
        (format!("{COMBINED} \"$http_x_forwarded_for\""), Default, false),
        (format!("{COMBINED} {named}"), Default, true),
        (format!("{COMBINED} {named}"), Json, true),
        (
            format!(
                "{COMBINED} $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] \
                 $upstream_addr $upstream_connect_time $upstream_header_time $upstream_response_time $upstream_status $req_id"
            ),
            Default,
            true,
        ),
        (
            "{\"time\":\"$time_iso8601\",\"status\":$status,\"request\":\"$request\",\"agent\":\"$http_user_agent\",\"rt\":$request_time,\
             \"ua\":\"$upstream_addr\",\"us\":\"$upstream_status\",\"c\":\"$upstream_connect_time\",\
             \"h\":\"$upstream_header_time\",\"urt\":\"$upstream_response_time\"}"
                .to_owned(),
            Json,
            true,
        ),
        (
            "time:$time_local\thost:$remote_addr\treq:$request\tstatus:$status\tagent:$http_user_agent".to_owned(),
            Default,
            false,
        ),
        (
            "$msec|$remote_addr|$status|$request_time|$upstream_addr|$upstream_status|$upstream_connect_time|\
             $upstream_header_time|$upstream_response_time|\"$request\" \"$http_user_agent\""
                .to_owned(),
            Default,
            true,
        ),
        (
            format!("time=\"$time_iso8601\" status=$status client=\"$remote_user\" req=\"$request\" agent=\"$http_user_agent\" {named}"),
            Default,
            true,
        ),
    ]
}

#[derive(Clone, Debug)]
struct Attempt {
    peer: u8,
    status: u16,
    connect: Option<u32>,
    header: Option<u32>,
    response: u32,
}

#[derive(Clone, Debug)]
struct Request {
    second: u32,
    status: u16,
    path: String,
    user: Option<String>,
    agent: String,
    duration: u32,
    attempts: Vec<Attempt>,
}

impl Request {
    fn at(&self) -> i64 {
        (BEGIN + i64::from(self.second)) * 1000
    }

    fn is_own(&self) -> bool {
        self.agent == "why502/0.1.0 (probe)"
    }

    /// Whether a format with attempts, or one without, has a failure to tell.
    fn failed(&self, tells_attempts: bool) -> bool {
        let attempts = self.attempts.len() > 1 || self.attempts.iter().any(|one| one.status >= 500);
        self.status >= 499 || tells_attempts && attempts
    }

    fn list(&self, escape: FormatEscape, of: impl Fn(&Attempt) -> String) -> String {
        let unset = if escape == FormatEscape::Default { "-" } else { "" };
        let list = self.attempts.iter().map(of).collect::<Vec<_>>().join(", ");
        if list.is_empty() { unset.to_owned() } else { list }
    }

    fn value(&self, name: &str, escape: FormatEscape) -> String {
        let time = |milliseconds: u32| format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
        let maybe = |milliseconds: Option<u32>| milliseconds.map_or("-".to_owned(), time);
        let unset = if escape == FormatEscape::Default { "-" } else { "" };
        let (minute, second) = (self.second / 60, self.second % 60);
        match name {
            "remote_addr" => "10.1.2.3".to_owned(),
            "remote_user" => escaped(self.user.as_deref(), escape),
            "time_local" => format!("21/Nov/2026:02:{minute:02}:{second:02} +0000"),
            "time_iso8601" => format!("2026-11-21T02:{minute:02}:{second:02}+00:00"),
            "msec" => format!("{}.000", BEGIN + i64::from(self.second)),
            "request" => escaped(Some(&format!("GET {} HTTP/1.1", self.path)), escape),
            "status" => format!("{:03}", self.status),
            "http_user_agent" => escaped(Some(&self.agent), escape),
            "request_time" => time(self.duration),
            "upstream_addr" => self.list(escape, |one| format!("10.0.0.{}:80", one.peer)),
            "upstream_status" => self.list(escape, |one| one.status.to_string()),
            "upstream_connect_time" => self.list(escape, |one| maybe(one.connect)),
            "upstream_header_time" => self.list(escape, |one| maybe(one.header)),
            "upstream_response_time" => self.list(escape, |one| time(one.response)),
            "body_bytes_sent" | "request_length" | "server_port" => "80".to_owned(),
            "host" => "a.test".to_owned(),
            "proxy_upstream_name" => "default-app-80".to_owned(),
            "proxy_alternative_upstream_name" => String::new(),
            "req_id" => "3f8a".to_owned(),
            _ => unset.to_owned(),
        }
    }

    fn print(&self, text: &str, escape: FormatEscape) -> String {
        let mut parts = text.split('$');
        let mut line = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(part.len());
            line += &self.value(&part[..end], escape);
            line += &part[end..];
        }
        line
    }
}

/// As `ngx_http_log_escape` and `ngx_escape_json` do it.
fn escaped(value: Option<&str>, escape: FormatEscape) -> String {
    let Some(value) = value else {
        return if escape == FormatEscape::Default { "-".to_owned() } else { String::new() };
    };
    let mut out = String::new();
    for byte in value.bytes() {
        match (escape, byte) {
            (FormatEscape::Json, b'"' | b'\\') => out.extend(['\\', char::from(byte)]),
            (FormatEscape::Json, 0..=31) => out.push_str(&["\\u00", &hex(byte)].concat()),
            (_, b'"' | b'\\' | 0..=31 | 127..) => out.push_str(&["\\x", &hex(byte)].concat()),
            _ => out.push(char::from(byte)),
        }
    }
    out
}

fn hex(byte: u8) -> String {
    format!("{byte:02X}")
}

/// What strangers write to look like something else.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "Mozilla/5.0",
        " [",
        "[FBAN/x]",
        "] \"",
        "\" 502 1 \"",
        " - ",
        "\\",
        "\t",
        "21/Nov/2026:02:28:30 +0000",
        "status=502 ",
        " rt=9.000",
        "a",
        " ",
        "=",
        ":",
        "us:",
        "{",
        "}",
        ",",
        "\",\"s\":",
        "\u{1}",
    ]);
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn request() -> impl Strategy<Value = Request> {
    let status = prop::sample::select(vec![200u16, 200, 200, 200, 304, 101, 404, 499, 502, 503, 504, 9, 0]);
    let attempt =
        (1u8..4, prop::sample::select(vec![200u16, 200, 200, 404, 502, 504]), prop::option::of(0u32..90_000))
            .prop_map(|(peer, status, connect)| Attempt {
                peer,
                status,
                connect,
                header: connect.map(|connect| connect + 1),
                response: connect.unwrap_or(3) + 2,
            });
    let agent = prop_oneof![4 => hostile(), 1 => Just("why502/0.1.0 (probe)".to_owned())];
    let path = prop_oneof![3 => Just("/a".to_owned()), 1 => hostile().prop_map(|rest| format!("/{}", rest.replace([' ', '|'], "")))];
    let attempts = prop::collection::vec(attempt, 0..3);
    (0u32..300, status, path, prop::option::weighted(0.3, hostile()), agent, 0u32..70_000, attempts).prop_map(
        |(second, status, path, user, agent, duration, attempts)| {
            let status =
                if status == 9 || status == 0 || attempts.is_empty() { status } else { status.max(101) };
            Request { second, status, path, user, agent, duration, attempts }
        },
    )
}

/// A line of the log: a request, or something else.
fn entry() -> impl Strategy<Value = Result<Request, String>> {
    let noise = prop::sample::select(vec![
        "",
        "cut li",
        "\"\"\"",
        "{}",
        "2026/11/21 02:28:30 [notice] 1#1: signal",
        "status:502",
    ]);
    prop_oneof![12 => request().prop_map(Ok), 1 => noise.prop_map(|line| Err(line.to_owned()))]
}

/// What is known of a log, counted one request after the other.
#[derive(Debug, Default, PartialEq)]
struct Truth {
    n_lines: u64,
    n_unparsed: u64,
    n_own: usize,
    n_failed: u64,
    by_status: BTreeMap<u16, u64>,
    by_minute: BTreeMap<(i64, u16), u64>,
    durations: Histogram,
    by_peer: BTreeMap<String, (u64, Histogram, Histogram, Histogram)>,
}

fn truth(entries: &[Result<Request, String>], has_attempts: bool) -> Truth {
    let mut truth = Truth::default();
    for entry in entries {
        let Ok(request) = entry else {
            truth.n_lines += 1;
            truth.n_unparsed += 1;
            continue;
        };
        if request.is_own() {
            truth.n_own += 1;
            continue;
        }
        truth.n_lines += 1;
        *truth.by_status.entry(request.status).or_default() += 1;
        *truth.by_minute.entry((request.at().div_euclid(60_000) * 60_000, request.status)).or_default() += 1;
        let failed = request.failed(has_attempts) || request.status == 0 || request.status == 9;
        truth.n_failed += u64::from(failed);
        if !has_attempts {
            continue;
        }
        truth.durations.add(request.duration);
        for attempt in &request.attempts {
            let peer = truth.by_peer.entry(format!("10.0.0.{}:80", attempt.peer)).or_default();
            peer.0 += 1;
            for (histogram, time) in [(&mut peer.1, attempt.connect), (&mut peer.2, attempt.header)] {
                if let Some(time) = time {
                    histogram.add(time);
                }
            }
            peer.3.add(attempt.response);
        }
    }
    truth
}

/// How long the answers took that came at the first attempt, by the time of their header.
fn answers(entries: &[Result<Request, String>]) -> Histogram {
    let mut times = Histogram::default();
    let requests = entries.iter().flatten().filter(|request| !request.is_own());
    for request in requests.filter(|request| (200..400).contains(&request.status) && !request.failed(true)) {
        if let Some(header) = request.attempts.last().and_then(|last| last.header) {
            times.add(header);
        }
    }
    times
}

/// What a digest tells of the same.
fn told(digest: &AccessDigest) -> Truth {
    let times = digest.times.clone().unwrap();
    let timeline = digest.timeline.clone().unwrap();
    assert_eq!(timeline.span_minutes, 1);
    let mut truth = Truth {
        n_lines: digest.coverage.n_lines,
        n_unparsed: digest.coverage.n_unparsed,
        n_own: digest.own.len(),
        durations: times.request,
        ..Truth::default()
    };
    for total in &digest.totals {
        *truth.by_status.entry(total.status).or_default() += total.n_requests;
    }
    truth.by_minute = timeline.counts.iter().map(|one| ((one.begin.0, one.status), one.n_requests)).collect();
    let is_failure = |status| matches!(status, 0 | 9 | 499..);
    let retried = |tries: &[why502_facts::Try]| {
        tries.len() > 1 || tries.iter().any(|one| one.status.is_some_and(|status| status >= 500))
    };
    let failed = digest
        .records
        .iter()
        .filter(|record| is_failure(record.status) || record.tries.as_deref().is_some_and(retried));
    truth.n_failed = failed.map(|record| record.weight).sum();
    truth.by_peer = (times.peers.into_iter())
        .map(|(peer, times)| {
            (peer.to_string(), (times.n_attempts, times.connect, times.header, times.response))
        })
        .collect();
    truth
}

fn options(max_records: usize) -> DigestOptions<'static> {
    DigestOptions { log: "log", from: None, to: None, max_records, route: None, extent: Extent::Survey }
}

/// Cuts a text into chunks of whole lines.
fn chunks<'t>(text: &'t str, cuts: &[usize]) -> Vec<(u64, &'t [u8])> {
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let mut points: Vec<usize> = cuts
        .iter()
        .filter_map(|cut| ends.get(cut % ends.len().max(1)).copied())
        .chain([0, text.len()])
        .collect();
    points.sort_unstable();
    points.windows(2).map(|range| (range[0] as u64, &text.as_bytes()[range[0]..range[1]])).collect()
}

/// Digests chunks as the engine does: each by its own digester, which knows the room that those before left.
fn digest(format: &AccessFormat, text: &str, cuts: &[usize], max_records: usize, late: bool) -> AccessDigest {
    digest_with(options(max_records), format, text, cuts, late)
}

fn digest_with(
    options: DigestOptions<'static>,
    format: &AccessFormat,
    text: &str,
    cuts: &[usize],
    late: bool,
) -> AccessDigest {
    let source = AccessSource { format, guessed: false };
    let file: Arc<str> = "log".into();
    let mut whole = AccessDigester::new(options, source);
    let mut room = whole.room();
    for (offset, lines) in chunks(text, cuts) {
        let mut part = AccessDigester::with_room(options, source, room);
        part.lines(&file, offset, lines);
        // The room may be known late, as it is to a worker that began before the last merge.
        if late {
            room = whole.room();
        }
        whole.merge(part);
        if !late {
            room = whole.room();
        }
    }
    whole.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn digests_tell_what_was_logged(
        entries in prop::collection::vec(entry(), 1..60),
        format in prop::sample::select(formats()),
        cuts in prop::collection::vec(0usize..60, 0..8),
    ) {
        let (text, escape, has_attempts) = format;
        let format = AccessFormat::compile(&AccessLogFormat { text: text.clone(), escape }).unwrap();
        let log: String = entries.iter().map(|entry| match entry {
            Ok(request) => request.print(&text, escape) + "\n",
            Err(noise) => noise.clone() + "\n",
        }).collect();
        let whole = digest(&format, &log, &[], DEFAULT_MAX_RECORDS, false);
        let mut expected = truth(&entries, has_attempts);
        if !text.contains("request_time") {
            expected.durations = Histogram::default();
        }
        prop_assert_eq!(told(&whole), expected, "{}", &log);
        prop_assert_eq!(&digest(&format, &log, &cuts, DEFAULT_MAX_RECORDS, false), &whole);
        let diagnosis = DigestOptions { extent: Extent::Diagnosis, ..options(DEFAULT_MAX_RECORDS) };
        let cut = digest_with(diagnosis, &format, &log, &cuts, false);
        let times: Vec<_> = cut.answers.iter().map(|own| own.times.clone()).collect();
        let expected = Some(answers(&entries)).filter(|times| has_attempts && times.n_values() > 0);
        prop_assert_eq!(times, Vec::from_iter(expected), "{}", &log);
    }

    /// However few records are kept, and whenever a digester learns that there is no room for more.
    #[test]
    fn room_changes_nothing(
        entries in prop::collection::vec(request(), 1..60),
        cuts in prop::collection::vec(0usize..60, 0..8),
        max_records in 1usize..30,
    ) {
        let (text, escape, _) = formats().swap_remove(3);
        let format = AccessFormat::compile(&AccessLogFormat { text: text.clone(), escape }).unwrap();
        let log: String = entries.iter().map(|request| request.print(&text, escape) + "\n").collect();
        let whole = digest(&format, &log, &[], max_records, false);
        prop_assert_eq!(&digest(&format, &log, &cuts, max_records, false), &whole);
        prop_assert_eq!(&digest(&format, &log, &cuts, max_records, true), &whole);
    }

    /// An error log of entries whose truth is known, cut anywhere.
    #[test]
    fn error_digests_tell_what_was_logged(
        entries in prop::collection::vec((0u32..300, 0usize..4, 1u8..4), 1..80),
        cuts in prop::collection::vec(0usize..80, 0..8),
        max_records in prop::sample::select(vec![3usize, 20, DEFAULT_MAX_RECORDS]),
    ) {
        const KINDS: [(&str, &str, Option<Phrase>); 4] = [
            ("error", "connect() failed (111: Connection refused) while connecting to upstream", Some(Phrase::ConnectFailed)),
            ("error", "upstream timed out (110: Connection timed out) while reading response header from upstream",
             Some(Phrase::UpstreamTimedOut)),
            ("warn", "upstream server temporarily disabled while connecting to upstream", Some(Phrase::ServerTemporarilyDisabled)),
            ("info", "client 10.1.2.3 closed keepalive connection", None),
        ];
        let mut by_phrase: BTreeMap<String, u64> = BTreeMap::new();
        let mut by_level: BTreeMap<ErrorLevel, u64> = BTreeMap::new();
        let mut log = String::new();
        for (second, kind, peer) in &entries {
            let (level, says, phrase) = KINDS[*kind];
            let line = format!(
                "2026/11/21 02:{:02}:{:02} [{level}] 7#7: *3 {says}, client: ::1, server: a, request: \"GET /a HTTP/1.1\", \
                 upstream: \"http://10.0.0.{peer}:80/a\", host: \"a\"\n", second / 60, second % 60);
            log.push_str(&line);
            let level = match level { "error" => ErrorLevel::Error, "warn" => ErrorLevel::Warn, _ => ErrorLevel::Info };
            *by_level.entry(level).or_default() += 1;
            if let Some(phrase) = phrase {
                *by_phrase.entry(format!("{phrase:?}")).or_default() += 1;
            }
        }
        let clock = LogClock { offset_seconds: 0, source: LogClockSource::Assumed };
        let file: Arc<str> = "log".into();
        let digest = |cuts: &[usize]| {
            let mut whole = ErrorDigester::new(options(max_records), clock);
            for (offset, lines) in chunks(&log, cuts) {
                let mut part = ErrorDigester::with_room(options(max_records), clock, whole.room());
                part.lines(&file, offset, lines);
                whole.merge(part);
            }
            whole.finish()
        };
        let whole = digest(&[]);
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        for record in &whole.records {
            *told.entry(format!("{:?}", record.phrase)).or_default() += record.weight;
        }
        prop_assert_eq!(told, by_phrase);
        prop_assert_eq!(whole.levels.iter().copied().collect::<BTreeMap<_, _>>(), by_level);
        prop_assert_eq!(whole.coverage.n_unparsed, 0);
        prop_assert_eq!(&digest(&cuts), &whole);
    }
}

#[test]
fn honest_lines_of_the_formats_are_recognised() {
    let attempt = Attempt { peer: 1, status: 200, connect: Some(1), header: Some(2), response: 3 };
    let request = Request {
        second: 7,
        status: 200,
        path: "/a?b=c".to_owned(),
        user: None,
        agent: "curl/8".to_owned(),
        duration: 4,
        attempts: vec![attempt],
    };
    for (text, escape, _) in formats() {
        // What is told by its place alone cannot be guessed.
        if text.starts_with("$msec") || text.contains("$upstream_addr $upstream_connect_time") {
            continue;
        }
        let line = request.print(&text, escape);
        let (guessed, hits, _) = guess_format(&[line.as_bytes()]).unwrap_or_else(|| panic!("{line}"));
        let compiled = AccessFormat::compile(&guessed).unwrap();
        let digest = digest(&compiled, &(line.clone() + "\n"), &[], 10, false);
        assert_eq!(
            (hits, digest.totals[0].status, digest.totals[0].first.0),
            (1, 200, request.at()),
            "{line}"
        );
    }
}
