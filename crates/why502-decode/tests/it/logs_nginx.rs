//! The logs of a real nginx, whose upstreams misbehave: parsed and joined, they give exactly the requests made.

pub(super) mod lab;

use self::lab::{Lab, Upstream};
use std::collections::BTreeMap;
use std::sync::Arc;
use why502_decode::logs::{
    AccessDigester, AccessFormat, AccessSource, DEFAULT_MAX_RECORDS, DigestOptions, ErrorDigester, Extent,
    clock, join,
};
use why502_facts::{
    AccessDigest, AccessLogFormat, Attempt, ErrorDigest, FailedRequest, FormatEscape, LogClock,
    LogClockSource, RequestKey,
};

/// India is five and a half hours ahead of UTC; this notation needs no zone files.
const ZONE: &str = "IST-5:30";
const AHEAD: i32 = 19_800;

/// The formats that the gateway writes at the same time, by the names of their files.
const FORMATS: [(&str, FormatEscape, &str); 4] = [
    ("combined", FormatEscape::Default, ""),
    (
        "full",
        FormatEscape::Default,
        "$msec|$remote_addr|$connection|$request|$status|$upstream_addr|$upstream_status|$upstream_connect_time|\
         $upstream_header_time|$upstream_response_time|$upstream_bytes_received|$upstream_bytes_sent|$request_time|\
         $host|$server_name|$upstream_cache_status|$limit_req_status|$body_bytes_sent",
    ),
    (
        "json",
        FormatEscape::Json,
        "{\"time\":\"$time_iso8601\",\"client\":\"$remote_addr\",\"request\":\"$request\",\"status\":$status,\
         \"upstream_addr\":\"$upstream_addr\",\"upstream_status\":\"$upstream_status\",\
         \"upstream_response_time\":\"$upstream_response_time\",\"agent\":\"$http_user_agent\"}",
    ),
    (
        "none",
        FormatEscape::None,
        "$remote_addr [$time_local] \"$request\" $status ($upstream_addr) ($upstream_status) $request_time",
    ),
];

/// What every request must be told as: status, outcome, and its attempts and messages.
const EXPECTED: &[(&str, &str)] = &[
    ("/auth", "500 Failed: sub 127.0.0.1 ConnectFailed; AuthRequestUnexpectedStatus"),
    ("/badport", "500 Failed: InvalidUpstreamValue"),
    ("/big", "502 Failed: 127.0.0.1 TooBigHeader 502"),
    ("/close", "502 Failed: 127.0.0.1 PrematureClose 502"),
    ("/cut", "- Truncated: 127.0.0.1 PrematureClose"),
    (
        "/dead",
        "502 Failed: 127.0.0.1 ConnectFailed+ServerTemporarilyDisabled 502, \
         127.0.0.1 ConnectFailed+ServerTemporarilyDisabled 502",
    ),
    ("/dead", "502 Failed: group dead NoLiveUpstreams 502"),
    ("/dns", "502 Failed: NoResolver"),
    ("/fallback", "200 Hidden: 127.0.0.1 ConnectFailed 502, 127.0.0.1 200"),
    ("/garbage", "9 Failed: 127.0.0.1 NoValidHttpHeader 200"),
    ("/gone", "499 Failed: 127.0.0.1 ClientClosed"),
    ("/invalid", "502 Failed: 127.0.0.1 InvalidHeader 502"),
    ("/limited", "503 Failed: LimitingRequests"),
    ("/missing", "404 Answered: FileOperationFailed"),
    ("/refused", "502 Failed: 127.0.0.1 ConnectFailed 502"),
    ("/refused", "502 Failed: 127.0.0.1 ConnectFailed 502"),
    ("/refused", "502 Failed: 127.0.0.1 ConnectFailed 502"),
    ("/reset", "502 Failed: 127.0.0.1 ReceiveFailed 502"),
    ("/retry", "200 Hidden: 127.0.0.1 ConnectFailed+ServerTemporarilyDisabled 502, 127.0.0.1 200"),
    ("/return503", "503 Failed: "),
    ("/sent502", "502 Failed: 127.0.0.1 502"),
    ("/slow", "504 Failed: 127.0.0.1 UpstreamTimedOut 504"),
    ("/unix", "502 Failed: unix ConnectToFailed 502"),
];

#[test]
fn a_real_gateways_logs_tell_exactly_the_requests_made() {
    let lab = Lab::start(&configuration(), ZONE);
    for path in ["/ok", "/big", "/close", "/cut", "/dead", "/dead", "/dns", "/garbage", "/invalid", "/reset"]
    {
        lab.ask(&[path]);
    }
    lab.ask(&["/refused", "/refused", "/ok", "/refused"]);
    for path in ["/auth", "/badport", "/fallback", "/limited", "/limited", "/missing", "/retry", "/return503"]
    {
        lab.ask(&[path]);
    }
    for path in ["/sent502", "/slow", "/unix", "/ok"] {
        lab.ask(&[path]);
    }
    lab.ask_and_leave("/gone");
    let error_log = lab.finish("error.log");
    for (name, escape, text) in FORMATS {
        let text = if name == "combined" { AccessFormat::combined().text } else { text.to_owned() };
        let format = AccessFormat::compile(&AccessLogFormat { text, escape }).unwrap();
        let access_log = lab.read(&format!("{name}.log"));
        let found =
            clock(&error_log, &[(&format, &access_log)]).unwrap_or_else(|| panic!("{name}: no clock"));
        assert_eq!(found, LogClock { offset_seconds: AHEAD, source: LogClockSource::JoinedLines }, "{name}");
        let (errors, accesses) = (digest_errors(&error_log, found), digest_accesses(&format, &access_log));
        assert_eq!((errors.coverage.n_unparsed, accesses.coverage.n_unparsed), (0, 0), "{name}");
        let n_requests: u64 = accesses.totals.iter().map(|total| total.n_requests).sum();
        assert_eq!(n_requests, 27, "{name}");
        assert_eq!(told(name, &accesses), slowly_counted(name, &access_log), "{name}");
        compare(name, format.has_upstream(), &join(&[&errors], &[&accesses], found));
    }
}

/// Requests per status; and per minute since the epoch, where the log tells it without a zone.
type Counts = (BTreeMap<u16, u64>, BTreeMap<i64, u64>);

fn told(name: &str, digest: &AccessDigest) -> Counts {
    let (mut totals, mut by_minute) = Counts::default();
    for total in &digest.totals {
        *totals.entry(total.status).or_default() += total.n_requests;
    }
    for count in digest.timeline.iter().flat_map(|timeline| &timeline.counts).filter(|_| name == "full") {
        *by_minute.entry(count.begin.0 / 60_000).or_default() += count.n_requests;
    }
    (totals, by_minute)
}

/// The same, counted by hand: the status stands between known delimiters, and `$msec` at the begin of one format.
fn slowly_counted(name: &str, log: &[u8]) -> Counts {
    let (mut totals, mut by_minute) = Counts::default();
    for line in std::str::from_utf8(log).unwrap().lines() {
        let (begin, end, nth) = match name {
            "full" => ("|", "|", 4),
            "json" => ("\"status\":", ",", 1),
            _ => ("\" ", " ", 1),
        };
        let status = line.split(begin).nth(nth).unwrap().split(end).next().unwrap();
        *totals.entry(status.parse().unwrap()).or_default() += 1;
        if name == "full" {
            let second: i64 = line.split('.').next().unwrap().parse().unwrap();
            *by_minute.entry(second / 60).or_default() += 1;
        }
    }
    (totals, by_minute)
}

/// Compares what was told with what was done, path by path.
fn compare(name: &str, tells_tries: bool, joined: &[FailedRequest]) {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in joined {
        let path = request.request.as_ref().unwrap().path.to_string();
        told.entry(path).or_default().push(shown(request, tells_tries));
    }
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, story) in EXPECTED {
        let story = if tells_tries { (*story).to_owned() } else { without_tries(story) };
        expected.entry((*path).to_owned()).or_default().push(story);
    }
    for stories in told.values_mut().chain(expected.values_mut()) {
        stories.sort();
    }
    assert_eq!(told, expected, "{name}");
}

fn shown(request: &FailedRequest, tells_tries: bool) -> String {
    let attempts: Vec<String> =
        request.attempts.iter().map(|attempt| shown_attempt(attempt, tells_tries)).collect();
    let messages: Vec<String> =
        request.messages.iter().map(|message| format!("{:?}", message.phrase)).collect();
    let parts: Vec<String> =
        [attempts.join(", "), messages.join(", ")].into_iter().filter(|part| !part.is_empty()).collect();
    let status = request.status.map_or("-".to_owned(), |status| status.to_string());
    format!("{status} {:?}: {}", request.outcome, parts.join("; "))
}

fn shown_attempt(attempt: &Attempt, tells_tries: bool) -> String {
    let peer = match attempt.address() {
        Some(address) if address.unix_path().is_some() => "unix".to_owned(),
        Some(address) => address.inet().unwrap().ip().to_string(),
        None => format!("group {}", attempt.group().unwrap_or("-")),
    };
    let subrequest = if attempt.subrequest.is_some() { "sub " } else { "" };
    let phrases: Vec<String> =
        attempt.messages.iter().map(|message| format!("{:?}", message.phrase)).collect();
    let status = attempt.result.as_ref().and_then(|one| one.status).filter(|_| tells_tries);
    let status = status.map(|status| status.to_string());
    let parts = [Some(format!("{subrequest}{peer}")), Some(phrases.join("+")), status];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What is left to tell where the access log shows no attempts: those that failed, and a retry that helped leaves no
/// access line that could be looked for.
fn without_tries(story: &str) -> String {
    let (head, attempts) = story.split_once(": ").unwrap();
    let plain: Vec<String> = attempts
        .split(", ")
        .map(|attempt| attempt.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == ' '))
        .filter(|attempt| attempt.contains(char::is_alphabetic))
        .map(str::to_owned)
        .collect();
    // A minute after the last request, the log would show that the client got its answer.
    let head = if head.ends_with("Hidden") { "- Failed" } else { head };
    format!("{head}: {}", plain.join(", "))
}

fn options() -> DigestOptions<'static> {
    DigestOptions {
        log: "log",
        from: None,
        to: None,
        max_records: DEFAULT_MAX_RECORDS,
        route: Some(&|key: &RequestKey<'_>| Some(key.path.into())),
        extent: Extent::Survey,
    }
}

fn lines(log: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut offset = 0;
    log.strip_suffix(b"\n").unwrap_or(log).split(|&byte| byte == b'\n').map(move |line| {
        let at = offset;
        offset += line.len() as u64 + 1;
        (at, line)
    })
}

fn digest_errors(log: &[u8], clock: LogClock) -> ErrorDigest {
    let mut digester = ErrorDigester::new(options(), clock);
    let file = Arc::from("error.log");
    lines(log).for_each(|(offset, line)| digester.line(&file, offset, line));
    digester.finish()
}

fn digest_accesses(format: &AccessFormat, log: &[u8]) -> AccessDigest {
    let mut digester = AccessDigester::new(options(), AccessSource { format, guessed: false });
    let file = Arc::from("access.log");
    lines(log).for_each(|(offset, line)| digester.line(&file, offset, line));
    digester.finish()
}

fn configuration() -> String {
    let dead = lab::free_port;
    let passes = [
        ("refused", format!("127.0.0.1:{}", dead())),
        ("big", Upstream::BigHeader.listen()),
        ("close", Upstream::Close.listen()),
        ("cut", Upstream::CutBody.listen()),
        ("garbage", Upstream::Garbage.listen()),
        ("gone", Upstream::Hang.listen()),
        ("invalid", Upstream::InvalidHeader.listen()),
        ("ok", Upstream::Ok.listen()),
        ("reset", Upstream::Reset.listen()),
        ("sent502", Upstream::Sent502.listen()),
        ("slow", Upstream::Hang.listen()),
        ("unix", "unix:DIR/missing.sock:".to_owned()),
        ("dead", "dead".to_owned()),
        ("retry", "retry".to_owned()),
    ];
    let locations =
        passes.map(|(name, peer)| format!("location /{name} {{ proxy_pass http://{peer}; }}\n")).concat();
    let logs: Vec<String> = FORMATS[1..].iter().map(access_log).collect();
    let logs = logs.concat();
    let (one, two, three, ok) = (dead(), dead(), dead(), Upstream::Ok.listen());
    let (refused, badly) = (dead(), dead());
    format!(
        "{logs}
        access_log DIR/combined.log combined;
        limit_req_zone $uri zone=lr:1m rate=1r/m;
        upstream dead {{ server 127.0.0.1:{one}; server 127.0.0.1:{two}; }}
        upstream retry {{ server 127.0.0.1:{three}; server {ok}; }}
        server {{
            listen 127.0.0.1:PORT;
            server_name lab.test;
            root DIR;
            proxy_read_timeout 1s;
            {locations}
            location /auth {{ auth_request /sub; proxy_pass http://{ok}; }}
            location = /sub {{ internal; proxy_pass http://127.0.0.1:{refused}; }}
            location /badport {{ set $b 127.0.0.1:99999; proxy_pass http://$b; }}
            location /dns {{ set $b nowhere.test; proxy_pass http://$b; }}
            location /fallback {{ error_page 502 = @ok; proxy_pass http://127.0.0.1:{badly}; }}
            location @ok {{ proxy_pass http://{ok}; }}
            location /limited {{ limit_req zone=lr; proxy_pass http://{ok}; }}
            location /missing {{ }}
            location /return503 {{ return 503; }}
        }}"
    )
}

fn access_log((name, escape, text): &(&str, FormatEscape, &str)) -> String {
    let escape = match escape {
        FormatEscape::Default => "default",
        FormatEscape::Json => "json",
        FormatEscape::None => "none",
    };
    format!("log_format {name} escape={escape} '{text}';\naccess_log DIR/{name}.log {name};\n")
}
