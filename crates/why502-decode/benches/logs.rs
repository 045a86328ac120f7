//! How fast logs are digested: `cargo bench -p why502-decode [-- NAME]`. Megabytes (10^6 bytes) per second of one core,
//! best of three runs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;
use why502_decode::logs::{
    AccessDigester, AccessFormat, AccessSource, DEFAULT_MAX_RECORDS, DigestOptions, ErrorDigester, Extent,
    join,
};
use why502_facts::{AccessLogFormat, FormatEscape, LogClock, LogClockSource, RequestKey};

const SIZE: usize = 100_000_000;
/// So much is pushed at once.
const CHUNK: usize = 1 << 19;
const UPSTREAM: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \
    \"$http_user_agent\" $request_time ua=\"$upstream_addr\" us=\"$upstream_status\" ut=\"$upstream_response_time\"";

fn main() {
    // `cargo test --all-targets` starts benchmarks too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let clock = LogClock { offset_seconds: 0, source: LogClockSource::Assumed };
    measure_join(clock);
    let log = repeat(error_line);
    measure(
        "error log, every line a failure",
        &log,
        || ErrorDigester::new(options(), clock),
        |digester, offset, lines| digester.lines(&file(), offset, lines),
    );
    let log = repeat(notice_line);
    measure(
        "error log, nothing but notices",
        &log,
        || ErrorDigester::new(options(), clock),
        |digester, offset, lines| digester.lines(&file(), offset, lines),
    );
    for (name, text, line) in [
        (
            "access log, combined, 0.5 % failures",
            AccessFormat::combined().text,
            combined_line as fn(u64) -> String,
        ),
        ("access log with upstreams, 0.5 % failures", UPSTREAM.to_owned(), upstream_line),
        ("access log with upstreams, every line a failure", UPSTREAM.to_owned(), |n| access_line(n, 502)),
    ] {
        let format = AccessFormat::compile(&AccessLogFormat { text, escape: FormatEscape::Default });
        let Ok(format) = format else { return };
        let log = repeat(line);
        let source = AccessSource { format: &format, guessed: false };
        let survey = DigestOptions { route: None, extent: Extent::Survey, ..options() };
        for (what, options) in [("diagnosis", options()), ("survey", survey)] {
            measure(
                &format!("{name}, {what}"),
                &log,
                || AccessDigester::new(options, source),
                |digester, offset, lines| digester.lines(&file(), offset, lines),
            );
        }
    }
}

/// Joins as many failures as a digest keeps one by one.
#[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn measure_join(clock: LogClock) {
    let format = AccessLogFormat { text: UPSTREAM.to_owned(), escape: FormatEscape::Default };
    let Ok(format) = AccessFormat::compile(&format) else { return };
    let mut errors = ErrorDigester::new(options(), clock);
    let mut accesses = AccessDigester::new(options(), AccessSource { format: &format, guessed: false });
    for n in 0..100_000 {
        errors.line(&file(), n, error_line(n * 4).as_bytes());
        accesses.line(&file(), n, access_line(n * 4, 502).as_bytes());
    }
    let (errors, accesses) = (errors.finish(), accesses.finish());
    let begin = Instant::now();
    let n_joined = join(&[&errors], &[&accesses], clock).len();
    println!("join of 100 000 with 100 000: {n_joined} requests in {:.2} s", begin.elapsed().as_secs_f64());
}

#[expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]
fn measure<D>(name: &str, log: &str, new: impl Fn() -> D, mut push: impl FnMut(&mut D, u64, &[u8])) {
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if only.is_some_and(|only| !name.contains(&only)) {
        return;
    }
    let mut best = f64::MAX;
    for _ in 0..3 {
        let mut digester = new();
        let begin = Instant::now();
        let (mut offset, mut rest) = (0, log.as_bytes());
        while !rest.is_empty() {
            let chunk = &rest[..rest.len().min(CHUNK)];
            let lines = &chunk[..memchr::memrchr(b'\n', chunk).map_or(chunk.len(), |end| end + 1)];
            push(&mut digester, offset, lines);
            offset += lines.len() as u64;
            rest = &rest[lines.len()..];
        }
        best = best.min(begin.elapsed().as_secs_f64());
    }
    let n_lines = memchr::memchr_iter(b'\n', log.as_bytes()).count();
    #[expect(clippy::cast_precision_loss, reason = "a rate for humans")]
    let (size, lines) = (log.len() as f64, n_lines as f64);
    println!("{name}: {:.0} MB/s, {:.0} ns a line", size / best / 1e6, best / lines * 1e9);
}

fn file() -> Arc<str> {
    thread_local!(static FILE: Arc<str> = Arc::from("/var/log/nginx/some.log"));
    FILE.with(Arc::clone)
}

fn options() -> DigestOptions<'static> {
    fn route(key: &RequestKey<'_>) -> Option<Arc<str>> {
        key.path.starts_with("/api").then(|| Arc::from("/etc/nginx/nginx.conf:12"))
    }
    DigestOptions {
        log: "/var/log/nginx/some.log",
        from: None,
        to: None,
        max_records: DEFAULT_MAX_RECORDS,
        route: Some(&route),
        extent: Extent::Diagnosis,
    }
}

fn repeat(line: impl Fn(u64) -> String) -> String {
    let mut log = String::with_capacity(SIZE + 1000);
    let mut n = 0;
    while log.len() < SIZE {
        // Writing to a String cannot fail.
        let _ = writeln!(log, "{}", line(n));
        n += 1;
    }
    log
}

fn time(n: u64) -> String {
    let second = n / 500;
    format!("{:02}:{:02}:{:02}", second / 3600 % 24, second / 60 % 60, second % 60)
}

fn client(n: u64) -> String {
    let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("203.0.{}.{}", mixed >> 40 & 63, mixed >> 50 & 255)
}

fn error_line(n: u64) -> String {
    let says = [
        "connect() failed (111: Connection refused) while connecting to upstream",
        "upstream timed out (110: Connection timed out) while reading response header from upstream",
        "upstream prematurely closed connection while reading response header from upstream",
        "no live upstreams while connecting to upstream",
    ];
    let says = says[usize::try_from(n % 4).unwrap_or_default()];
    let (time, client, path, peer) = (time(n), client(n), n * 7 % 2000, n % 5);
    format!(
        "2026/11/21 {time} [error] 4711#4711: *{n} {says}, client: {client}, server: shop.example.com, request: \"GET \
         /api/items/{path}?page={n} HTTP/1.1\", upstream: \"http://10.0.0.{peer}:8080/api/items/{path}?page={n}\", host: \
         \"shop.example.com\", referrer: \"https://shop.example.com/\""
    )
}

fn notice_line(n: u64) -> String {
    let (time, client) = (time(n), client(n));
    format!(
        "2026/11/21 {time} [info] 4711#4711: *{n} client {client} closed keepalive connection (104: Connection reset by peer)"
    )
}

fn combined_line(n: u64) -> String {
    combined_text(n, status(n))
}

fn upstream_line(n: u64) -> String {
    access_line(n, status(n))
}

fn status(n: u64) -> u16 {
    if n.is_multiple_of(200) { 502 } else { 200 }
}

fn combined_text(n: u64, status: u16) -> String {
    let (time, client, path) = (time(n), client(n), n * 7 % 2000);
    format!(
        "{client} - - [21/Nov/2026:{time} +0000] \"GET /api/items/{path}?page={n} HTTP/1.1\" {status} 5123 \
         \"https://shop.example.com/\" \"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\""
    )
}

fn access_line(n: u64, status: u16) -> String {
    let line = combined_text(n, status);
    format!("{line} 0.012 ua=\"10.0.0.{}:8080\" us=\"{status}\" ut=\"0.012\"", n % 5)
}
