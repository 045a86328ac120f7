//! Formats of access logs, as a real nginx and a real Apache write them: recognised from the lines alone.

use super::logs_nginx::lab::{Lab, Upstream, free_port};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use why502_decode::logs::{
    AccessDigester, AccessFormat, AccessSource, DEFAULT_MAX_RECORDS, DigestOptions, Extent, LogContent,
};
use why502_facts::{AccessDigest, AccessLogFormat};

/// What is told of requests beyond their statuses and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    /// Nothing that matters here, or nothing that a line names.
    Statuses,
    /// The path.
    Paths,
    /// And the address and the status of each attempt on an upstream.
    Attempts,
}
use Tells::{Attempts, Paths, Statuses};

const HEAD: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent";
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// Name, `escape=`, text (`HEAD` and `COMBINED` stand for those above), and what it tells.
const FORMATS: &[(&str, &str, &str, Tells)] = &[
    ("combined", "default", "COMBINED", Paths),
    ("common", "default", "HEAD", Paths),
    ("vhost_combined", "default", "$host:$server_port COMBINED", Paths),
    ("vhost", "default", "$host COMBINED", Paths),
    (
        "host_before_request",
        "default",
        "$remote_addr - $remote_user [$time_local] $host \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"",
        Paths,
    ),
    ("main", "default", "COMBINED \"$http_x_forwarded_for\"", Paths),
    ("gzip", "default", "COMBINED \"$gzip_ratio\"", Paths),
    ("timed", "default", "COMBINED $request_time $upstream_response_time $pipe", Paths),
    (
        "time_iso8601",
        "default",
        "$remote_addr - $remote_user [$time_iso8601] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"",
        Paths,
    ),
    (
        "upstream_time",
        "default",
        "COMBINED rt=$request_time uct=\"$upstream_connect_time\" uht=\"$upstream_header_time\" urt=\"$upstream_response_time\"",
        Paths,
    ),
    (
        "upstreams_named",
        "default",
        "COMBINED \"$http_x_forwarded_for\" rt=$request_time ua=\"$upstream_addr\" us=\"$upstream_status\" ut=\"$upstream_response_time\" ul=\"$upstream_response_length\" cs=$upstream_cache_status",
        Attempts,
    ),
    (
        "upstreams_bare",
        "default",
        "COMBINED upstream_addr=$upstream_addr upstream_status=$upstream_status request_time=$request_time upstream_response_time=$upstream_response_time upstream_connect_time=$upstream_connect_time upstream_header_time=$upstream_header_time",
        Attempts,
    ),
    (
        "upstreams_colons",
        "default",
        "COMBINED upstream: $upstream_addr upstream_status: $upstream_status request_time: $request_time",
        Attempts,
    ),
    (
        "upstreaminfo",
        "default",
        "COMBINED $request_length $request_time [$host] [] $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $request_id",
        Attempts,
    ),
    (
        "json",
        "json",
        r#"{"time":"$time_iso8601","remote_addr":"$remote_addr","request":"$request","status":$status,"request_time":$request_time,"upstream_addr":"$upstream_addr","upstream_status":"$upstream_status","upstream_response_time":"$upstream_response_time","http_user_agent":"$http_user_agent"}"#,
        Attempts,
    ),
    (
        "json_strings",
        "json",
        r#"{ "@timestamp": "$time_iso8601", "clientip": "$remote_addr", "method": "$request_method", "uri": "$request_uri", "status": "$status", "responsetime": "$request_time", "upstream_addr": "$upstream_addr", "upstream_status": "$upstream_status" }"#,
        Attempts,
    ),
    (
        "json_nested",
        "json",
        r#"{"timestamp":"$msec","http":{"request":{"method":"$request_method","uri":"$request_uri"},"status":$status},"upstream":{"upstream_addr":"$upstream_addr","upstream_status":"$upstream_status"},"agent":"$http_user_agent"}"#,
        Attempts,
    ),
    (
        "json_unescaped",
        "default",
        r#"{"time_local":"$time_local","request":"$request","status":"$status","upstream_addr":"$upstream_addr","upstream_status":"$upstream_status","ua":"$http_user_agent"}"#,
        Attempts,
    ),
    (
        "json_raw",
        "none",
        r#"{"time":"$time_iso8601","uri":"$request_uri","status":$status,"upstream_addr":"$upstream_addr","upstream_status":"$upstream_status"}"#,
        Attempts,
    ),
    (
        "logfmt",
        "default",
        r#"time="$time_iso8601" client=$remote_addr method=$request_method uri="$request_uri" status=$status duration=$request_time upstream="$upstream_addr" upstream_status="$upstream_status""#,
        Attempts,
    ),
    (
        "logfmt_bare",
        "default",
        "ts=$time_iso8601 status=$status method=$request_method path=$request_uri rt=$request_time upstream_addr=$upstream_addr upstream_status=$upstream_status agent=\"$http_user_agent\"",
        Attempts,
    ),
    (
        "ltsv",
        "default",
        "time:$time_local\thost:$remote_addr\treq:$request\tstatus:$status\tsize:$body_bytes_sent\treferer:$http_referer\tua:$http_user_agent\treqtime:$request_time\tapptime:$upstream_response_time\tupstream_addr:$upstream_addr\tupstream_status:$upstream_status\tvhost:$host",
        Attempts,
    ),
    ("none", "none", "COMBINED", Paths),
    (
        "tabs",
        "default",
        "$time_iso8601\t$remote_addr\t$host\t$request_method\t$request_uri\t$status\t$body_bytes_sent\t$request_time\t$upstream_addr\t$upstream_status\t$http_user_agent",
        Attempts,
    ),
    (
        "bars",
        "default",
        "$remote_addr | $time_local | $request | $status | $request_time | $upstream_addr | $upstream_status",
        Attempts,
    ),
    (
        "brackets",
        "default",
        "[$time_local] $remote_addr \"$request\" $status $request_time $upstream_response_time [$upstream_addr] [$upstream_status]",
        Attempts,
    ),
    (
        "datadog",
        "default",
        "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent $request_time \"$http_referer\" \"$http_user_agent\" \"$http_x_forwarded_for\"",
        Paths,
    ),
    (
        "quoted",
        "default",
        "\"$time_iso8601\" \"$remote_addr\" \"$request\" \"$status\" \"$request_time\" \"$upstream_addr\" \"$upstream_status\" \"$http_user_agent\"",
        Attempts,
    ),
    (
        "epoch",
        "default",
        "$msec $remote_addr $request_method $scheme://$host$request_uri $status $request_time",
        Statuses,
    ),
];

/// What is asked for, and the status that the client gets.
const REQUESTS: &[(&str, u16, &[&str])] = &[
    ("/ok", 200, &["200"]),
    ("/ok?a=b&c=%22d%22", 200, &["200"]),
    ("/retry", 200, &["502", "200"]),
    ("/refused", 502, &["502"]),
    ("/refused?x=1", 502, &["502"]),
    ("/sent502", 502, &["502"]),
    ("/slow", 504, &["504"]),
    ("/return503", 503, &[]),
    ("/missing", 404, &[]),
    ("/ok", 200, &["200"]),
    ("/moved", 301, &[]),
    ("/ok/a.css", 200, &["200"]),
];

#[test]
fn formats_that_nginx_writes_are_recognised_from_their_lines() {
    let lab = Lab::start(&configuration(), "UTC0");
    for (path, ..) in REQUESTS {
        lab.ask(&[path]);
    }
    lab.finish("error.log");
    for &(name, _, _, tells) in FORMATS {
        let log = lab.read(&format!("{name}.log"));
        let digest = recognised(name, &log, REQUESTS.len());
        assert_eq!(statuses(&digest), expected_statuses(), "{name}: {}", digest.format);
        if tells != Statuses {
            assert_eq!(failed_paths(&digest), expected_failures(), "{name}: {}", digest.format);
        }
        if tells == Attempts {
            assert_eq!(attempts(&digest), expected_attempts(), "{name}: {}", digest.format);
        }
    }
}

#[test]
fn formats_that_apache_writes_are_recognised_from_their_lines() {
    let read = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/formats").join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let served = String::from_utf8(read("apache-served")).unwrap();
    let mut expected = BTreeMap::new();
    for status in served.lines() {
        *expected.entry(status.parse().unwrap()).or_default() += 1;
    }
    for name in ["apache-combined", "apache-common", "apache-vhost_combined"] {
        assert_eq!(statuses(&recognised(name, &read(name), served.lines().count())), expected, "{name}");
    }
}

#[test]
fn there_are_thirty_forms_and_more_that_real_programs_wrote() {
    assert!(FORMATS.len() + super::logs_wrapped::samples::SAMPLES.len() >= 60);
    assert!(FORMATS.len() >= 25 && super::logs_wrapped::samples::SAMPLES.len() >= 30);
}

/// The digest by the format that the lines betray, which all of them fit.
fn recognised(name: &str, log: &[u8], n_lines: usize) -> AccessDigest {
    let lines: Vec<&[u8]> = log.strip_suffix(b"\n").unwrap_or(log).split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), n_lines, "{name}");
    let LogContent::Access { format: Some(format), hits, tried } = LogContent::tell(&lines) else {
        panic!("{name} is not recognised: {}", why502_facts::lossy(lines[0]));
    };
    assert_eq!((hits, tried), (n_lines, n_lines), "{name}: {}", format.text);
    let digest = digest(&format, &lines);
    assert_eq!(digest.coverage.n_unparsed, 0, "{name}");
    digest
}

fn digest(format: &AccessLogFormat, lines: &[&[u8]]) -> AccessDigest {
    let compiled = AccessFormat::compile(format).unwrap();
    let options = DigestOptions {
        log: "log",
        from: None,
        to: None,
        max_records: DEFAULT_MAX_RECORDS,
        route: None,
        extent: Extent::Survey,
    };
    let mut digester = AccessDigester::new(options, AccessSource { format: &compiled, guessed: true });
    let mut offset = 0;
    for line in lines {
        digester.line(&Arc::from("access.log"), offset, line);
        offset += line.len() as u64 + 1;
    }
    digester.finish()
}

fn statuses(digest: &AccessDigest) -> BTreeMap<u16, u64> {
    let mut counts = BTreeMap::new();
    for total in &digest.totals {
        *counts.entry(total.status).or_default() += total.n_requests;
    }
    counts
}

fn expected_statuses() -> BTreeMap<u16, u64> {
    let mut counts = BTreeMap::new();
    for (_, status, _) in REQUESTS {
        *counts.entry(*status).or_default() += 1;
    }
    counts
}

fn failed_paths(digest: &AccessDigest) -> Vec<(String, u16)> {
    let failed = digest.records.iter().filter(|record| record.status >= 500);
    let mut paths: Vec<(String, u16)> = failed
        .map(|record| (record.request.as_ref().map_or("", |request| &request.path).to_owned(), record.status))
        .collect();
    paths.sort();
    paths
}

fn expected_failures() -> Vec<(String, u16)> {
    let failed = REQUESTS.iter().filter(|(_, status, _)| *status >= 500);
    let mut paths: Vec<(String, u16)> =
        failed.map(|(path, status, _)| (path.split('?').next().unwrap().to_owned(), *status)).collect();
    paths.sort();
    paths
}

/// The attempts' statuses of every request that failed, or in which an attempt did; and whether each names its peer.
fn attempts(digest: &AccessDigest) -> Vec<Vec<String>> {
    let mut found: Vec<Vec<String>> = digest
        .records
        .iter()
        .filter_map(|record| record.tries.as_ref().map(|tries| (record.status, tries)))
        .filter(|(status, tries)| *status >= 500 || tries.len() > 1)
        .map(|(_, tries)| {
            assert!(
                tries.iter().all(|one| one.peer.as_ref().is_some_and(|peer| peer.starts_with("127.0.0.1:")))
            );
            tries.iter().map(|one| one.status.map_or("-".to_owned(), |status| status.to_string())).collect()
        })
        .collect();
    found.sort();
    found
}

fn expected_attempts() -> Vec<Vec<String>> {
    let wanted = REQUESTS.iter().filter(|(_, status, tries)| *status >= 500 || tries.len() > 1);
    let mut wanted: Vec<Vec<String>> =
        wanted.map(|(_, _, tries)| tries.iter().map(|&status| status.to_owned()).collect()).collect();
    wanted.sort();
    wanted
}

fn configuration() -> String {
    let logs: Vec<String> = FORMATS
        .iter()
        .map(|(name, escape, text, _)| {
            let text = text.replace("COMBINED", COMBINED).replace("HEAD", HEAD);
            format!("log_format f_{name} escape={escape} '{text}';\naccess_log DIR/{name}.log f_{name};\n")
        })
        .collect();
    let (logs, ok, hang) = (logs.concat(), Upstream::Ok.listen(), Upstream::Hang.listen());
    let (sent, dead, refused) = (Upstream::Sent502.listen(), free_port(), free_port());
    format!(
        "{logs}
        upstream retry {{ server 127.0.0.1:{dead}; server {ok}; }}
        server {{
            listen 127.0.0.1:PORT;
            server_name lab.test;
            root DIR;
            proxy_read_timeout 1s;
            location /ok {{ proxy_pass http://{ok}; }}
            location /retry {{ proxy_pass http://retry; }}
            location /refused {{ proxy_pass http://127.0.0.1:{refused}; }}
            location /sent502 {{ proxy_pass http://{sent}; }}
            location /slow {{ proxy_pass http://{hang}; }}
            location /return503 {{ return 503; }}
            location /moved {{ return 301 /ok; }}
            location /missing {{ }}
        }}"
    )
}
