//! Recorded lines: those of the reference (real runs of 1.18 to 1.31) and those of the incidents.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use why502_decode::logs::{
    AccessDigester, AccessFormat, AccessSource, DEFAULT_MAX_RECORDS, DigestOptions, ErrorDigester, Extent,
    clock, guess_format, implied_status, join, parse_error_line,
};
use why502_facts::{
    AccessDigest, AccessLogFormat, ErrorDigest, FormatEscape, LogClock, LogClockSource, Outcome, Phrase, Try,
    lossy,
};

const CLOCK: LogClock = LogClock { offset_seconds: 0, source: LogClockSource::Assumed };

/// The format in which the reference's access lines were recorded.
const LAB: &str = "$request_method $request_uri|status=$status|us=$upstream_status|ua=$upstream_addr|\
    uct=$upstream_connect_time|uht=$upstream_header_time|urt=$upstream_response_time|ubr=$upstream_bytes_received|\
    ubs=$upstream_bytes_sent|url=$upstream_response_length|cs=$upstream_cache_status|bbs=$body_bytes_sent|\
    rt=$request_time|rc=$request_completion";

fn options() -> DigestOptions<'static> {
    DigestOptions {
        log: "log",
        from: None,
        to: None,
        max_records: DEFAULT_MAX_RECORDS,
        route: Some(&|_| None),
        extent: Extent::Diagnosis,
    }
}

fn digest_errors(log: &str) -> ErrorDigest {
    let mut digester = ErrorDigester::new(options(), CLOCK);
    let (file, mut offset) = (Arc::from("error.log"), 0);
    for line in log.lines() {
        digester.line(&file, offset, line.as_bytes());
        offset += line.len() as u64 + 1;
    }
    digester.finish()
}

fn digest_accesses(format: &AccessFormat, log: &str) -> AccessDigest {
    let mut digester = AccessDigester::new(options(), AccessSource { format, guessed: true });
    let (file, mut offset) = (Arc::from("access.log"), 0);
    for line in log.lines() {
        digester.line(&file, offset, line.as_bytes());
        offset += line.len() as u64 + 1;
    }
    digester.finish()
}

const RECORDED: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/appendix-c.log"));

/// The reference indents the access line of a request below its error lines.
fn recorded_errors() -> impl Iterator<Item = &'static str> {
    RECORDED.lines().filter(|line| !line.starts_with("  "))
}

fn recorded_accesses() -> impl Iterator<Item = &'static str> {
    RECORDED.lines().filter_map(|line| line.strip_prefix("  "))
}

#[test]
fn every_recorded_error_line_is_understood() {
    let mut n_lines = 0;
    for line in recorded_errors() {
        let parsed = parse_error_line(line.as_bytes()).unwrap_or_else(|| panic!("no line: {line}"));
        assert_ne!(parsed.classify().0, Phrase::Unrecognised, "{line}");
        assert!(!parsed.context.truncated, "{line}");
        let about_a_client = line.contains(", client: ");
        assert_eq!(parsed.context.client.is_some(), about_a_client, "{line}");
        let about_an_upstream = line.contains("upstream: \"");
        assert_eq!(parsed.context.upstream.is_some(), about_an_upstream, "{line}");
        n_lines += 1;
    }
    assert_eq!(n_lines, 102);
}

#[test]
fn every_recorded_access_line_is_read_and_agrees_with_the_error_lines() {
    let format =
        AccessFormat::compile(&AccessLogFormat { text: LAB.to_owned(), escape: FormatEscape::Default })
            .unwrap();
    let records = digest_errors(&recorded_errors().collect::<Vec<_>>().join("\n")).records;
    let mut ended: BTreeMap<&str, Vec<(u16, Vec<Try>)>> = BTreeMap::new();
    for access in recorded_accesses() {
        let parsed = format.parse(access.as_bytes()).unwrap_or_else(|| panic!("unread: {access}"));
        let uri = access.split(['|', ' ']).nth(1).unwrap();
        let tries = parsed.tries(|text| lossy(text).into()).unwrap();
        ended.entry(uri).or_default().push((parsed.status().unwrap(), tries));
    }
    let mut n_agreeing = 0;
    for record in &records {
        let (Some(implied), Some(text)) = (implied_status(record), &record.line.text) else { continue };
        let peer = record.context.upstream.as_ref().map(|upstream| &upstream.peer);
        let asked = |uri: &str| {
            text.contains(&format!(" {uri} HTTP/")) || text.contains(&format!(" {} HTTP/", plain(uri)))
        };
        let failed = |one: &Try| one.peer.as_ref() == peer && one.status == Some(implied);
        let died_early = |one: &Try| one.peer.is_none() && one.status.is_none();
        let explains = |(status, tries): &(u16, Vec<Try>)| {
            *status == implied || tries.iter().any(|one| failed(one) || died_early(one))
        };
        let mut same =
            ended.iter().filter(|(uri, _)| asked(uri)).flat_map(|(_, requests)| requests).peekable();
        assert!(same.peek().is_some() && same.any(explains), "{implied} {peer:?}: {text}");
        n_agreeing += 1;
    }
    assert_eq!(n_agreeing, 69);
}

fn plain(uri: &str) -> String {
    uri.replace("\\x22", "\"")
}

fn incidents() -> Vec<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/incidents");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("error.log").exists() && folder.join("access.log").exists());
    folders.sort();
    assert!(folders.len() >= 30, "{}", folders.len());
    folders
}

#[test]
fn every_incident_is_joined() {
    for folder in incidents() {
        let name = folder.display();
        let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
        let (error_log, access_log) = (read("error.log"), read("access.log"));
        let lines: Vec<&[u8]> = access_log.lines().map(str::as_bytes).collect();
        let (format, hits, total) = guess_format(&lines).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((format.text, hits), (AccessFormat::combined().text, total), "{name}");
        let format = AccessFormat::compile(&AccessFormat::combined()).unwrap();
        let errors = digest_errors(&error_log);
        let accesses = digest_accesses(&format, &access_log);
        assert_eq!((errors.coverage.n_unparsed, accesses.coverage.n_unparsed), (0, 0), "{name}");
        assert!(errors.records.iter().all(|record| record.phrase != Phrase::Unrecognised), "{name}");
        let joined = join(&[&errors], &[&accesses], CLOCK);
        let failed: Vec<_> = joined.iter().filter(|request| request.outcome == Outcome::Failed).collect();
        assert!(!failed.is_empty(), "{name}");
        for request in &failed {
            // What one log tells of a path, the other one tells too.
            let path = request.request.as_ref().map(|line| format!(" {}", line.path)).unwrap_or_default();
            if request.access_line.is_some() && error_log.contains(&path) {
                let n_error_lines = request.lines().count() - 1;
                assert!(n_error_lines > 0, "{name}: {request:?}");
            }
        }
        let found = clock(error_log.as_bytes(), &[(&format, access_log.as_bytes())]);
        assert!(found.is_none_or(|clock| clock.offset_seconds == 0), "{name}: {found:?}");
    }
}
