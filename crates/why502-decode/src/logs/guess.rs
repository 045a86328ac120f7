//! Recognises an access log's format from its lines.

mod columns;
mod json;
mod keyed;
mod names;

use super::format::{AccessFormat, COMBINED};
use memchr::memmem;
use why502_facts::{AccessLogFormat, FormatEscape};

/// How many lines are tried at most.
const MAX_LINES: usize = 1000;
/// One of so many lines may be cut, where what was read ends, and the format that all others fit is taken at once.
const ONE_OF: usize = 50;

/// The best guess at the format of lines, how many of them fit it, and how many were tried; `None` if fewer than half
/// of the lines fit any known format.
///
/// The formats are `combined` and its usual extensions, `common`, and lines whose keys clearly name the gateway's
/// variables: JSON objects, LTSV, `key=value`, and `combined` with such pairs behind it. Between equals the earlier of
/// the list wins: it is the more specific one. Where none of them fits, columns are named by their values.
pub fn guess_format(lines: &[&[u8]]) -> Option<(AccessLogFormat, usize, usize)> {
    let lines = &lines[..lines.len().min(MAX_LINES)];
    // What all lines of the most frequent format fit is no other: its last value ends with the line.
    if !lines.is_empty() && n_hits(&AccessFormat::combined(), lines) == lines.len() {
        return Some((AccessFormat::combined(), lines.len(), lines.len()));
    }
    let known =
        escapes(lines).flat_map(|escape| known_formats().map(move |text| AccessLogFormat { text, escape }));
    let escape = json_escape(lines);
    let json = lines.iter().find_map(|line| json::layout(line, escape));
    let keyed = lines.iter().find_map(|line| keyed::layout(line));
    let tail = lines.iter().find_map(|line| keyed::tail_of_combined(line));
    let mut best: Option<(AccessLogFormat, usize)> = None;
    for candidate in json.into_iter().chain(keyed).chain(tail).chain(known) {
        let hits = n_hits(&candidate, lines);
        if hits > best.as_ref().map_or(0, |(_, best)| *best) {
            best = Some((candidate, hits));
        }
        if hits + lines.len() / ONE_OF >= lines.len() {
            break;
        }
    }
    let is_enough = |(_, hits): &(AccessLogFormat, usize)| *hits > 0 && hits * 2 >= lines.len();
    let columns = || {
        let format = columns::layout(lines)?;
        let hits = n_hits(&format, lines);
        Some((format, hits))
    };
    best.filter(is_enough)
        .or_else(|| columns().filter(is_enough))
        .map(|(format, hits)| (format, hits, lines.len()))
}

/// How many lines fit a format.
fn n_hits(format: &AccessLogFormat, lines: &[&[u8]]) -> usize {
    let Ok(format) = AccessFormat::compile(format) else { return 0 };
    lines.iter().filter(|line| fits(&format, line)).count()
}

/// Objects are often written without `escape=json`; what tells is how a variable that is not set is written.
fn json_escape(lines: &[&[u8]]) -> FormatEscape {
    let n_with = |mark: &[u8]| lines.iter().filter(|line| memmem::find(line, mark).is_some()).count();
    if n_with(b":\"-\"") > n_with(b":\"\"") { FormatEscape::Default } else { FormatEscape::Json }
}

/// How quotes inside values may be escaped: this gateway writes them as `\x22` where the format does not ask for JSON, others
/// as `\"`.
fn escapes(lines: &[&[u8]]) -> impl Iterator<Item = FormatEscape> {
    let has_quotes = lines.iter().any(|line| memmem::find(line, b"\\\"").is_some());
    std::iter::once(FormatEscape::Default).chain(has_quotes.then_some(FormatEscape::Json))
}

fn fits(format: &AccessFormat, line: &[u8]) -> bool {
    format.parse(line).is_some_and(|line| line.stamp().is_some() && line.status().is_some())
}

fn known_formats() -> impl Iterator<Item = String> {
    const COMMON: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent";
    // ingress-nginx, `log-format-upstream`.
    const INGRESS: &str = "$request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] \
        $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id";
    let with_time_local = [
        COMBINED.to_owned(),
        format!("{COMBINED} {INGRESS}"),
        // The official images' `main`.
        format!("{COMBINED} \"$http_x_forwarded_for\""),
        format!("{COMBINED} $unknown_tail"),
        // The vhost_combined of other servers.
        format!("$host:$server_port {COMBINED}"),
        format!("$host {COMBINED}"),
        COMBINED.replace(" \"$request\"", " $host \"$request\""),
        COMBINED.replace(" \"$request\"", " \"$host\" \"$request\""),
        COMMON.to_owned(),
    ];
    with_time_local.into_iter().flat_map(|text| {
        let other = text.replace("$time_local", "$time_iso8601");
        [text, other]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(lines: &[&str]) -> Option<(AccessLogFormat, usize, usize)> {
        guess_format(&lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>())
    }

    const LINE: &str =
        r#"203.0.113.25 - - [21/May/2020:08:30:12 +0000] "GET / HTTP/1.1" 502 157 "-" "Mozilla/5.0""#;

    #[test]
    fn the_most_specific_format_wins() {
        assert_eq!(guess(&[LINE, "garbage"]).unwrap(), (AccessFormat::combined(), 1, 2));
        let main = format!("{LINE} \"-\"");
        assert!(guess(&[&main]).unwrap().0.text.ends_with("\"$http_x_forwarded_for\""));
        let vhost = format!("a.test:443 {LINE}");
        assert!(guess(&[&vhost]).unwrap().0.text.starts_with("$host:$server_port"));
        let ingress = format!("{LINE} 401 0.004 [default-app-80] [] 10.0.0.1:80 0 0.004 502 3f8a");
        assert!(guess(&[&ingress]).unwrap().0.text.contains("$upstream_status"));
        let common = &LINE[..LINE.len() - 18];
        assert!(guess(&[common]).unwrap().0.text.ends_with("$body_bytes_sent"));
        assert_eq!(guess(&["garbage"]), None);
        assert_eq!(guess(&[]), None);
    }

    /// The status, the duration, and the attempts' peers that a line tells by the format guessed from it.
    fn told(line: &str) -> (Option<u16>, Option<u32>, Vec<String>) {
        let (format, hits, _) = guess(&[line]).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(hits, 1);
        let compiled = AccessFormat::compile(&format).unwrap();
        let parsed = compiled.parse(line.as_bytes()).unwrap();
        assert_eq!(parsed.stamp().map(|stamp| stamp.0), Some(1_795_228_110_000), "{}", format.text);
        let tries = parsed.tries(|text| why502_facts::lossy(text).into()).unwrap_or_default();
        let peers = tries.iter().filter_map(|one| one.peer.as_deref().map(str::to_owned));
        (parsed.status(), parsed.request_ms(), peers.collect())
    }

    #[test]
    fn values_are_told_by_their_names() {
        let one = (Some(502), Some(4), vec!["10.0.0.1:80".to_owned()]);
        let two = (Some(502), Some(4), vec!["10.0.0.1:80".to_owned(), "unix:/a".to_owned()]);
        let combined = r#"::1 - - [21/Nov/2026:02:28:30 +0000] "GET / HTTP/1.1" 502 157 "-" "curl""#;
        for (tail, expected) in [
            (r#"rt=0.004 uct="-" uht="-" urt="0.004" ua="10.0.0.1:80" us="502""#, &one),
            ("rt=0.004 uct=0.001, - uht=-, - urt=0.001, 0.004 ua=10.0.0.1:80, unix:/a us=502, 502", &two),
            ("request_time: 0.004 upstream: 10.0.0.1:80 upstream_status: 502", &one),
            ("rt=0.004, upstream_addr=10.0.0.1:80, upstream_status=502", &one),
            (r#""10.9.9.9" rt=0.004 ua="10.0.0.1:80" us="502" id=3f8a"#, &one),
        ] {
            assert_eq!(&told(&format!("{combined} {tail}")), expected, "{tail}");
        }
        let logfmt = r#"time="2026-11-21T02:28:30+00:00" client=::1 method=GET uri="/a?b=\"c\" d" status=502 duration=0.004 x=y upstream="10.0.0.1:80, unix:/a" upstream_status="502, 502""#;
        assert_eq!(told(logfmt), two);
        let bare = "time=21/Nov/2026:02:28:30 +0000 req=GET /a?b=c HTTP/1.1 status=502 rt=0.004 upstream_addr=10.0.0.1:80";
        assert_eq!(told(bare), one);
        let ltsv = "time:21/Nov/2026:02:28:30 +0000\thost:10.1.1.1\treq:GET /a:b HTTP/1.1\tstatus:502\tua:curl: 8\t\
            reqtime:0.004\tupstream_addr:10.0.0.1:80\tvhost:a.test";
        assert_eq!(told(ltsv), one);
    }

    #[test]
    fn a_host_may_stand_before_the_request() {
        for line in [
            r#"::1 - - [21/Nov/2026:02:28:30 +0000] a.test "GET / HTTP/1.1" 502 157 "-" "curl""#,
            r#"::1 - - [21/Nov/2026:02:28:30 +0000] "a.test" "GET / HTTP/1.1" 502 157 "-" "curl""#,
        ] {
            assert_eq!(told(line), (Some(502), None, Vec::new()), "{line}");
        }
    }

    #[test]
    fn texts_with_equals_signs_are_no_access_log() {
        for line in [
            "level=info msg=\"listening\" port=80",
            "ts=2026-11-21T02:28:30+00:00 level=info msg=\"status: 502\"",
            "a:b\tstatus:502",
            "key= other",
            "=",
        ] {
            assert_eq!(guess(&[line]), None, "{line}");
        }
    }

    #[test]
    fn json_objects_are_read_by_their_keys() {
        let line = r#"{"@timestamp":"2026-11-21T02:28:30+00:00","clientip":"10.0.0.1","request":"GET /a HTTP/1.1",
            "extra":{"n":1,"s":"x\"y"},"status":502,"upstream_addr":"127.0.0.1:1, 127.0.0.1:2","upstream_status":"502, 504",
            "request_time":0.004,"agent":"curl"}"#
            .replace("\n            ", "");
        let (format, hits, total) = guess(&[&line, &line]).unwrap();
        assert_eq!((format.escape, hits, total), (FormatEscape::Json, 2, 2));
        let compiled = AccessFormat::compile(&format).unwrap();
        let parsed = compiled.parse(line.as_bytes()).unwrap();
        assert_eq!((parsed.status(), parsed.request_ms()), (Some(502), Some(4)));
        assert_eq!(parsed.tries(|text| why502_facts::lossy(text).into()).unwrap().len(), 2);
    }

    #[test]
    fn objects_without_json_escaping_are_told_apart() {
        let line = r#"{"time":"21/Nov/2026:02:28:30 +0000","status":"200","request":"GET /\x22 HTTP/1.1","upstream_status":"-"}"#;
        let (format, ..) = guess(&[line]).unwrap();
        assert_eq!(format.escape, FormatEscape::Default);
        let compiled = AccessFormat::compile(&format).unwrap();
        let parsed = compiled.parse(line.as_bytes()).unwrap();
        assert!(parsed.tries(|text| why502_facts::lossy(text).into()).unwrap().is_empty());
    }
}
