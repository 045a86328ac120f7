//! `why502 logs`: files in, what they tell out.

use crate::run::{command, project, stderr, stdout, why502};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::OnceLock;

/// A directory with the logs of one site: 40 requests, of which 8 were refused and 4 left.
struct Logs {
    directory: tempfile::TempDir,
}

impl Logs {
    fn new() -> Self {
        let logs = Self { directory: tempfile::tempdir().unwrap() };
        logs.write("access.log", access_lines().as_bytes());
        logs.write("error.log", error_lines().as_bytes());
        logs
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.directory.path().join(name), bytes).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

pub(super) fn access_lines() -> String {
    let mut text = String::new();
    for second in 0..40 {
        let (status, agent) = match second {
            10..18 => (502, "curl/8"),
            30..34 => (499, "okhttp/4.12 \\x22quoted\\x22"),
            _ => (200, "Mozilla/5.0"),
        };
        let _ = writeln!(
            text,
            "10.0.0.{} - - [21/Nov/2026:02:28:{second:02} +0000] \"GET /shop/{second} HTTP/1.1\" {status} 157 \"-\" \"{agent}\"",
            second % 3
        );
    }
    text
}

pub(super) fn error_lines() -> String {
    let mut text = String::new();
    for second in 10..18 {
        let _ = writeln!(
            text,
            "2026/11/21 02:28:{second} [error] 101#101: *{second} connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.{}, server: shop.example.com, request: \"GET /shop/{second} HTTP/1.1\", upstream: \"http://127.0.0.1:3000/shop/{second}\", host: \"shop.example.com\"",
            second % 3
        );
    }
    text
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut gzip = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    gzip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    gzip.wait_with_output().unwrap().stdout
}

/// The JSON form, checked against its schema.
pub(super) fn json(arguments: &[&str]) -> Value {
    let words: Vec<&str> =
        ["logs"].into_iter().chain(arguments.iter().copied()).chain(["--format", "json"]).collect();
    checked(&why502(&words))
}

pub(super) fn checked(output: &Output) -> Value {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let text = std::fs::read_to_string(project().join("docs/schema/logs-1.json")).unwrap();
        jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
    });
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    if let Err(error) = schema.validate(&report) {
        panic!("the report breaks its schema at {}: {error}", error.instance_path());
    }
    report
}

/// Requests, failed ones, and who made them.
pub(super) fn numbers(report: &Value) -> (Option<u64>, u64, Vec<(String, u64)>) {
    let made_by = report["made_by"].as_array().unwrap().iter();
    let made_by = made_by
        .map(|count| (count["maker"].as_str().unwrap().to_owned(), count["requests"].as_u64().unwrap()))
        .collect();
    (report["requests"].as_u64(), report["failed"].as_u64().unwrap(), made_by)
}

pub(super) fn expected() -> (Option<u64>, u64, Vec<(String, u64)>) {
    (Some(40), 12, vec![("gateway".to_owned(), 8), ("client".to_owned(), 4)])
}

#[test]
fn both_logs_are_told_apart_and_joined() {
    let logs = Logs::new();
    let report = json(&[&logs.path("error.log"), &logs.path("access.log")]);
    assert_eq!(numbers(&report), expected());
    assert_eq!(report["groups"][0]["family"], "refused");
    assert_eq!(report["groups"][0]["peer"], "127.0.0.1:3000");
    assert_eq!(
        (&report["from"], &report["to"]),
        (&"2026-11-21T02:28:00Z".into(), &"2026-11-21T02:28:39Z".into())
    );
}

#[test]
fn packing_rotation_and_wrapping_change_nothing() {
    let logs = Logs::new();
    let all = access_lines();
    let (old, new) = all.split_at(all.find("10.0.0.2 - - [21/Nov/2026:02:28:20").unwrap());
    let rotated = Logs { directory: tempfile::tempdir().unwrap() };
    rotated.write("access.log.1.gz", &gzipped(old));
    rotated.write("access.log", new.as_bytes());
    rotated.write("error.log.gz", &gzipped(&error_lines()));
    let directory = rotated.directory.path().display().to_string();
    assert_eq!(numbers(&json(&[&directory])), expected());
    let pattern = format!("{directory}/*.log*");
    assert_eq!(numbers(&json(&[&pattern])), expected());
    let mut docker = String::new();
    for line in [error_lines(), access_lines()].concat().lines() {
        let row = serde_json::json!({"log": format!("{line}\n"), "stream": "stdout", "time": "2026-11-21T02:29:00.1Z"});
        let _ = writeln!(docker, "{row}");
    }
    logs.write("container-json.log", docker.as_bytes());
    assert_eq!(numbers(&json(&[&logs.path("container-json.log")])), expected());
}

fn piped(text: &str) -> Output {
    let mut run = command()
        .args(["logs", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    run.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    run.wait_with_output().unwrap()
}

#[test]
fn standard_input_is_one_log() {
    let report = checked(&piped(&access_lines()));
    assert_eq!((report["requests"].as_u64(), report["failed"].as_u64()), (Some(40), Some(12)));
}

/// Without what names the files.
fn without_files(mut report: Value) -> Value {
    for log in report["logs"].as_array_mut().unwrap() {
        for name in ["files", "bytes"] {
            log[name] = Value::Null;
        }
    }
    for group in report["groups"].as_array_mut().unwrap() {
        for name in ["file", "offset"] {
            group["example"][name] = Value::Null;
        }
    }
    report
}

#[test]
fn both_logs_in_one_stream_tell_what_two_files_tell() {
    let logs = Logs::new();
    let apart = without_files(json(&[&logs.path("access.log"), &logs.path("error.log")]));
    assert_eq!(numbers(&apart), expected());
    // Errors among the requests, as a container's output has them.
    let (access, error) = (access_lines(), error_lines());
    let mut mixed: Vec<&str> = Vec::new();
    let mut errors = error.lines();
    for (second, line) in access.lines().enumerate() {
        mixed.extend((10..18).contains(&second).then(|| errors.next()).flatten());
        mixed.push(line);
    }
    let mixed = mixed.join("\n") + "\n";
    let in_order = |text: &str| without_files(checked(&piped(text)));
    assert_eq!(in_order(&mixed), apart);
    assert_eq!(in_order(&(error.clone() + &access)), apart);
    logs.write("mixed.log", mixed.as_bytes());
    assert_eq!(without_files(json(&[&logs.path("mixed.log")])), apart);
    let wrapped = |wrap: &dyn Fn(&str) -> String| mixed.lines().map(wrap).collect::<String>();
    for text in [
        wrapped(&|line| format!("2026-11-21T02:29:00.123456789Z stdout F {line}\n")),
        wrapped(&|line| format!("Nov 21 02:29:00 web nginx[7]: {line}\n")),
        wrapped(&|line| format!("@400000006b02401005e0e3f4 {line}\n")),
    ] {
        assert_eq!(in_order(&text), apart, "{text}");
    }
}

#[test]
fn what_is_asked_for_is_counted() {
    let logs = Logs::new();
    let (access, error) = (logs.path("access.log"), logs.path("error.log"));
    let failed = |options: &[&str]| {
        let words: Vec<&str> =
            [access.as_str(), error.as_str()].into_iter().chain(options.iter().copied()).collect();
        json(&words)["failed"].as_u64().unwrap()
    };
    assert_eq!(failed(&["--status", "502"]), 8);
    assert_eq!(failed(&["--status", "4xx,503"]), 4);
    assert_eq!(failed(&["--upstream", "127.0.0.1:3000"]), 8);
    assert_eq!(failed(&["--route", "/nothing"]), 0);
    assert_eq!(failed(&["--since", "10s"]), 4);
    assert_eq!(failed(&["--until", "2026-11-21T02:28:13Z"]), 4);
    assert_eq!(failed(&["--since", "5s", "--until", "2026-11-21T02:28:13Z"]), 4);
    assert_eq!(failed(&["--around", "2026-11-21T02:10Z"]), 12);
    let by_client = json(&[&access, "--group-by", "client,status"]);
    assert_eq!(by_client["groups"][0]["client"].as_str().map(str::len), Some("10.0.0.0".len()));
}

#[test]
fn the_failed_requests_are_told_one_by_one() {
    let logs = Logs::new();
    let output = why502(&["logs", &logs.path("access.log"), &logs.path("error.log"), "--format", "ndjson"]);
    let rows: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 12);
    assert_eq!(rows[0]["at"], "2026-11-21T02:28:10Z");
    assert_eq!(rows[0]["attempts"][0]["peer"], "127.0.0.1:3000");
    assert_eq!(rows[0]["user_agent"], "curl/8");
    assert_eq!((&rows[11]["maker"], &rows[11]["status"]), (&"client".into(), &499.into()));
}

#[test]
fn the_user_agents_of_failed_requests_are_counted() {
    let logs = Logs::new();
    let (access, error) = (logs.path("access.log"), logs.path("error.log"));
    let agents = [("curl/8", 8), ("okhttp/4.12 \"quoted\"", 4)];
    let expected = agents.map(|(name, requests)| serde_json::json!({"name": name, "requests": requests}));
    assert_eq!(json(&[&access, &error])["top"]["user_agents"], Value::Array(expected.to_vec()));
    assert_eq!(json(&[&error])["top"]["user_agents"], Value::Array(Vec::new()));
    let page = stdout(&why502(&["logs", &access, &error]));
    assert!(
        page.contains("top user agents\n        8  curl/8\n        4  okhttp/4.12 \"quoted\"\n"),
        "{page}"
    );
    let html = stdout(&why502(&["logs", &access, "--format", "html"]));
    assert!(html.contains("<h2>Top user agents</h2>") && html.contains("okhttp/4.12 &quot;quoted"), "{html}");
    assert!(!page.contains("Mozilla") && !html.contains("Mozilla"));
}

#[test]
fn the_page_is_readable_at_eighty_columns_and_hostile_lines_are_harmless() {
    let logs = Logs::new();
    let hostile = "10.0.0.7 - - [21/Nov/2026:02:28:41 +0000] \"GET /\u{1b}[2J\u{202e}x HTTP/1.1\" 502 157 \"-\" \"curl/8\"\nno line at all\n";
    logs.write("access.log", (access_lines() + hostile).as_bytes());
    let output = why502(&["logs", &logs.path("access.log"), &logs.path("error.log"), "--verbose"]);
    let page = stdout(&output);
    assert!(page.starts_with("13 of 41 requests failed (31.7 %)\n"), "{page}");
    assert!(page.contains("1 lines do not fit it, such as\n      no line at all\n"), "{page}");
    assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}'), "{page}");
    let directory = logs.directory.path().display().to_string();
    let wide = page.lines().filter(|line| line.chars().count() > 80 && !line.contains(&directory));
    assert_eq!(wide.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn the_page_for_a_browser_holds_all_and_fetches_nothing() {
    let logs = Logs::new();
    let hostile = "10.0.0.7 - - [21/Nov/2026:02:28:41 +0000] \"GET /<script>x</script>\u{1b}[2J HTTP/1.1\" 502 157 \"-\" \"curl/8\"\n";
    logs.write("access.log", (access_lines() + hostile).as_bytes());
    let file = logs.path("survey.html");
    let output = why502(&[
        "logs",
        &logs.path("access.log"),
        &logs.path("error.log"),
        "--format",
        "html",
        "--output",
        &file,
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{page}");
    for part in
        ["<h1>13 of 41 requests failed (31.7 %)</h1>", "<svg ", "connection refused", "&lt;script&gt;"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    for foreign in ["<script", "http-equiv", "src=", "href=", "@import", "url(", "\u{1b}"] {
        assert!(!page.contains(foreign), "{foreign}: {page}");
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let logs = Logs::new();
    let complaint = |words: &[&str]| {
        let output = why502(&[["logs"].as_slice(), words].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        stderr(&output)
    };
    assert!(complaint(&[&logs.path("missing.log")]).contains("cannot read"));
    assert!(complaint(&["/dev/null"]).contains("/dev/null is a device"));
    assert!(complaint(&[&logs.path("*.nothing")]).contains("no file matches"));
    assert!(complaint(&[]).contains("FILE"));
    assert!(complaint(&[&logs.path("access.log"), "--status", "50x"]).contains("50x"));
    logs.write("binary.log", &[0, 1, 2, 255, 0, 7].repeat(500));
    assert!(complaint(&[&logs.path("binary.log")]).contains("is no log"));
    logs.write("words.log", b"hello\nworld\n");
    assert!(complaint(&[&logs.path("words.log")]).contains("format of"));
    logs.write("endless.log", &vec![b'a'; 3 << 20]);
    assert!(complaint(&[&logs.path("endless.log")]).contains("format of"));
    // Beside a log that is one it is a warning.
    let beside = why502(&["logs", &logs.path("access.log"), &logs.path("words.log")]);
    assert_eq!(beside.status.code(), Some(0));
    assert!(stderr(&beside).contains("words.log is not recognised"), "{}", stderr(&beside));
    logs.write("empty.log", b"");
    assert_eq!(why502(&["logs", &logs.path("empty.log")]).status.code(), Some(0));
    let cut = gzipped(&access_lines());
    logs.write("cut.log.gz", &cut[..cut.len() - 40]);
    let output = why502(&["logs", &logs.path("cut.log.gz")]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("cut.log.gz"), "{}", stderr(&output));
}

#[test]
fn a_configuration_names_formats_and_routes() {
    let logs = Logs::new();
    logs.write(
        "nginx.conf",
        b"events {}\nhttp {\n    upstream shop { server 127.0.0.1:3000; server 127.0.0.1:3001; }\n    server {\n        listen 80;\n        server_name shop.example.com;\n        location / { proxy_pass http://shop; }\n    }\n}\n",
    );
    let config: PathBuf = logs.path("nginx.conf").into();
    let report = json(&[
        &logs.path("access.log"),
        &logs.path("error.log"),
        "--config",
        &config.display().to_string(),
        "--group-by",
        "route",
    ]);
    assert_eq!(report["groups"][0]["route"], "shop.example.com /");
    assert_eq!(report["groups"][0]["of"], 40);
    let by_default = json(&[&logs.path("error.log"), "--config", &config.display().to_string()]);
    assert_eq!(by_default["groups"][0]["upstream"], "shop");
}
