//! What was typed wrong is said, with what to type instead, and ends with 2.

use crate::run::{Site, command, stderr, stdout, why502};

#[test]
fn a_mistyped_command_is_suggested() {
    let output = why502(&["diagnos"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `why502 diagnose`?"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let output = why502(&["diagnose", "--ofline"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--offline"), "{}", stderr(&output));
}

#[test]
fn a_url_without_its_scheme_is_suggested() {
    for (typed, suggested) in [("shop.example.com/cart", "http://shop.example.com/cart"), ("cart", "/cart")] {
        let output = why502(&[typed]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(suggested), "{}", stderr(&output));
    }
}

#[test]
fn a_missing_file_is_named_with_its_option() {
    for option in ["--config", "--error-log", "--access-log", "--nginx", "--prefix"] {
        let there = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let output = why502(&["--offline", "--error-log", there, option, "/does/not/exist"]);
        assert_eq!(output.status.code(), Some(2), "{option}");
        let error = stderr(&output);
        assert!(error.contains(option) && error.contains("/does/not/exist"), "{error}");
    }
    let output = why502(&["--bundle", "/does/not/exist"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/does/not/exist"));
}

#[test]
fn offline_without_a_file_asks_for_one() {
    let output = why502(&["--offline"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--error-log"), "{}", stderr(&output));
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    for arguments in [
        &["--bundle", "x", "--offline"][..],
        &["--since", "1h", "--around", "02:10"],
        &["--since", "1"],
        &["--around", "yesterday"],
        &["--timeout", "0s"],
    ] {
        assert_eq!(why502(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn an_unknown_cause_is_suggested() {
    for (typed, suggested) in
        [("upstream-not-listning", "upstream-not-listening"), ("stale-socket", "unix-socket-stale")]
    {
        let output = why502(&["explain", typed]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(suggested), "{}", stderr(&output));
    }
    let output = why502(&["explain", "zzz"]);
    assert!(stderr(&output).contains("explain --list"), "{}", stderr(&output));
}

#[test]
fn every_cause_of_the_list_has_its_page() {
    let list = stdout(&why502(&["explain", "--list"]));
    let causes = list.split("\ntopics of gaps:").next().unwrap();
    let ids: Vec<&str> = causes
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(ids.len() > 30, "{list}");
    for id in ids {
        let output = why502(&["explain", id]);
        assert!(output.status.success() && stdout(&output).len() > 200, "{id}");
    }
}

#[test]
fn help_fits_eighty_columns() {
    for command in
        [&["--help"][..], &["-h"], &["diagnose", "--help"], &["collect", "--help"], &["explain", "--help"]]
    {
        let help = stdout(&why502(command));
        assert!(help.contains("Usage:"), "{command:?}");
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{command:?}: {line}");
        }
    }
}

#[test]
fn the_level_decides_the_exit_code() {
    let site = Site::new();
    for (level, code) in [("broken", 1), ("at-risk", 1), ("recovered", 1)] {
        let output = command().args(site.whole()).args(["--fail-on", level]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{level}");
    }
    let at_risk = crate::run::project().join("corpus/lab/config-invalid/reload-refused/bundle.tar.zst");
    for (level, code) in [("broken", 0), ("at-risk", 1), ("recovered", 1)] {
        let output = command().arg("--bundle").arg(&at_risk).args(["--fail-on", level]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{level}: {}", stdout(&output));
    }
}

#[test]
fn what_has_no_end_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    for option in ["--config", "--error-log", "--access-log"] {
        for file in [pipe, "/dev/zero"] {
            let output = why502(&["--offline", option, file]);
            assert_eq!(output.status.code(), Some(2), "{option} {file}");
            assert!(stderr(&output).contains(option), "{}", stderr(&output));
        }
    }
    assert_eq!(why502(&["--bundle", pipe]).status.code(), Some(2));
}

#[test]
fn a_process_that_is_no_master_is_refused() {
    let output = why502(&["--pid", "1", "--no-probe"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--pid 1"), "{}", stderr(&output));
}

#[test]
fn commands_to_come_and_urls_without_a_host_are_told() {
    assert!(stderr(&why502(&["fix"])).contains("no command `fix` yet"));
    assert!(stderr(&why502(&["http://"])).contains("no host"));
}
