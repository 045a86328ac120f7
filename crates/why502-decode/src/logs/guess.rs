//! Recognises an access log's format from its lines.

mod json;

use super::format::{AccessFormat, COMBINED};
use memchr::memmem;
use why502_facts::{AccessLogFormat, FormatEscape};

/// How many lines are tried at most.
const MAX_LINES: usize = 1000;

/// The best guess at the format of lines, how many of them fit it, and how many were tried; `None` if fewer than half
/// of the lines fit any known format.
///
/// The formats are `combined` and its usual extensions, `common`, and one JSON object per line whose keys clearly name
/// the gateway's variables. Between equals the earlier of the list wins: it is the more specific one.
pub fn guess_format(lines: &[&[u8]]) -> Option<(AccessLogFormat, usize, usize)> {
    let lines = &lines[..lines.len().min(MAX_LINES)];
    let known = known_formats().map(|text| AccessLogFormat { text, escape: FormatEscape::Default });
    let escape = json_escape(lines);
    let json = lines.iter().find_map(|line| json::layout(line, escape));
    let mut best: Option<(AccessLogFormat, usize)> = None;
    for candidate in json.into_iter().chain(known) {
        let Ok(format) = AccessFormat::compile(&candidate) else { continue };
        let hits = lines.iter().filter(|line| fits(&format, line)).count();
        if hits > best.as_ref().map_or(0, |(_, best)| *best) {
            best = Some((candidate, hits));
        }
    }
    best.filter(|(_, hits)| hits * 2 >= lines.len()).map(|(format, hits)| (format, hits, lines.len()))
}

/// Objects are often written without `escape=json`; what tells is how a variable that is not set is written.
fn json_escape(lines: &[&[u8]]) -> FormatEscape {
    let n_with = |mark: &[u8]| lines.iter().filter(|line| memmem::find(line, mark).is_some()).count();
    if n_with(b":\"-\"") > n_with(b":\"\"") { FormatEscape::Default } else { FormatEscape::Json }
}

fn fits(format: &AccessFormat, line: &[u8]) -> bool {
    format.parse(line).is_some_and(|line| line.stamp().is_some() && line.status().is_some())
}

fn known_formats() -> impl Iterator<Item = String> {
    const COMMON: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent";
    // ingress-nginx, `log-format-upstream`.
    const INGRESS: &str = "$request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] \
        $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id";
    [
        COMBINED.to_owned(),
        format!("{COMBINED} {INGRESS}"),
        // The official images' `main`.
        format!("{COMBINED} \"$http_x_forwarded_for\""),
        format!("{COMBINED} $unknown_tail"),
        // The vhost_combined of other servers.
        format!("$host:$server_port {COMBINED}"),
        format!("$host {COMBINED}"),
        COMMON.to_owned(),
    ]
    .into_iter()
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
