//! The text report: short, whole where it matters, and harmless.

use crate::run::{Site, command, project, refused, stderr, stdout};
use serde_json::Value;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// What a terminal obeys, and what hides or reorders text.
fn is_harmful(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The arguments of every recorded case.
fn recorded() -> Vec<Vec<OsString>> {
    let mut cases = Vec::new();
    let folders = |path: PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
        folders.sort();
        folders
    };
    for cause in folders(project().join("corpus/lab")) {
        for case in folders(cause) {
            cases.push(vec!["--bundle".into(), case.join("bundle.tar.zst").into()]);
        }
    }
    assert!(cases.len() > 30, "{}", cases.len());
    for case in folders(project().join("corpus/incidents")) {
        let mut words: Vec<OsString> = ["--offline", "--since", "all"].map(OsString::from).to_vec();
        for (option, file) in
            [("--config", "nginx.conf"), ("--error-log", "error.log"), ("--access-log", "access.log")]
        {
            if case.join(file).exists() {
                words.extend([option.into(), case.join(file).into()]);
            }
        }
        cases.push(words);
    }
    cases
}

#[test]
fn the_first_finding_takes_a_screen_and_the_others_two_lines() {
    // Two cores' worth of runs at a time.
    let cases = recorded();
    std::thread::scope(|scope| {
        for half in cases.chunks(cases.len().div_ceil(2)) {
            scope.spawn(move || half.iter().for_each(|case| check_size(case)));
        }
    });
}

fn check_size(case: &[OsString]) {
    let output = command().args(case).output().unwrap();
    let text = stdout(&output);
    let report = || format!("{case:?}\n{text}{}", stderr(&output));
    let is_closing = |line: &&str| {
        ["also: ", "note: ", "sent: ", "not seen: ", "unexplained: "]
            .iter()
            .any(|word| line.starts_with(word))
    };
    let n_first = text.lines().take_while(|line| !is_closing(line)).filter(|line| !line.is_empty()).count();
    assert!(n_first <= 24, "{n_first} lines: {}", report());
    for line in text.lines() {
        // A path or an address is not broken, wherever it ends.
        let is_one_word = line.trim().split(' ').count() <= 2;
        assert!(line.chars().count() <= 80 || is_one_word, "{line}\n{}", report());
    }
    let head: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    let todo = head
        .iter()
        .find(|line| ["  run: ", "  edit: ", "  do: ", "  why: "].iter().any(|word| line.starts_with(word)));
    if n_first > 3 {
        assert!(todo.is_some_and(|line| !line.contains('…')), "{}", report());
        assert!(head.len() <= 6, "{}", report());
    }
    if text.starts_with("recovered: ") {
        assert!(!text.contains("won't help"), "{}", report());
    }
    for (one, many) in [
        (" 1 names", "name"),
        (" 1 connections", "connection"),
        (" 1 HEAD requests", "request"),
        (" 1 TLS handshakes", "handshake"),
    ] {
        assert!(!text.contains(one), "{many}: {}", report());
    }
}

#[test]
fn one_line_is_one_line() {
    let site = Site::new();
    let output = command().args(site.whole()).arg("--oneline").output().unwrap();
    let text = stdout(&output);
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    assert!(text.ends_with('\n') && text.contains("127.0.0.1:3000"), "{text}");
}

#[test]
fn verbose_says_everything_and_cuts_nothing() {
    let site = Site::new();
    let output = command().args(site.whole()).arg("--verbose").output().unwrap();
    let text = stdout(&output);
    assert!(!text.contains('…'), "{text}");
    let json = command().args(site.whole()).args(["--format", "json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let said = words(&text);
    for evidence in report["findings"][0]["evidence"].as_array().unwrap() {
        let says = words(evidence["says"].as_str().unwrap());
        assert!(said.contains(&says), "{says}\n{text}");
    }
}

#[test]
fn nothing_that_a_terminal_obeys_comes_through() {
    let site = Site::new();
    let evil = "/a\u{1b}]0;owned\u{7}\u{202e}gpj\u{9b}31m\u{200b}";
    site.write("error.log", &refused("2026/11/21 10:00:01", evil));
    site.write("access.log", &crate::run::answered_502("21/Nov/2026:10:00:01 +0000", evil));
    let header = "2026/11/21 10:00:02 [error] 10#10: *2 upstream sent invalid header: \"X-\u{1b}[2J\u{9b}A\\x20b: c...\" while reading response header from upstream, client: 192.0.2.1, server: shop.example.com, request: \"GET /b HTTP/1.1\", upstream: \"http://127.0.0.1:3000/b\", host: \"shop.example.com\"\n";
    site.write("header.log", header);
    let name = "evil\u{1b}[2J\u{202e}.conf";
    std::fs::rename(site.path("nginx.conf"), site.path(name)).unwrap();
    for arguments in [&["--verbose"][..], &[], &["--oneline"], &["--format", "json"], &["--color", "always"]]
    {
        let output = command()
            .args(["--offline", "--since", "all"])
            .args(["--config", &site.argument(name), "--access-log", &site.argument("access.log")])
            .args(["--error-log", &site.argument("error.log"), "--error-log", &site.argument("header.log")])
            .args(arguments)
            .output()
            .unwrap();
        let text = stdout(&output);
        assert!(text.contains("127.0.0.1:3000"), "{text}{}", stderr(&output));
        // The only escapes are our own: select graphic rendition.
        let ours = [
            "\u{1b}[0m",
            "\u{1b}[1m",
            "\u{1b}[31m",
            "\u{1b}[32m",
            "\u{1b}[33m",
            "\u{1b}[1m\u{1b}[91m",
            "\u{1b}[91m",
            "\u{1b}[94m",
            "\u{1b}[1m\u{1b}[94m",
        ];
        let stripped = ours.iter().fold(text.clone(), |text, escape| text.replace(escape, ""));
        let harmful: Vec<char> = stripped.chars().filter(|character| is_harmful(*character)).collect();
        assert!(harmful.is_empty(), "{arguments:?}: {harmful:?}\n{text:?}");
    }
    let output = command().args(["--offline", "--config"]).arg(site.path("no\u{1b}[2J")).output().unwrap();
    assert!(!stderr(&output).contains('\u{1b}'), "{}", stderr(&output));
}

/// The text of a recorded bundle.
fn text_of(case: &str) -> String {
    let bundle = project().join("corpus/lab").join(case).join("bundle.tar.zst");
    stdout(&command().arg("--bundle").arg(bundle).output().unwrap())
}

#[test]
fn an_edit_is_named_only_where_it_is_one_to_make() {
    let likely = text_of("upstream-wrong-port/only-php-fpm");
    assert!(likely.contains("\n  do: See that ") && !likely.contains("  edit: "), "{likely}");
    let proven = text_of("unix-socket-wrong-path/other-directory");
    assert!(proven.contains("\n  edit: "), "{proven}");
}

#[test]
fn what_no_client_met_does_not_still_fail() {
    let hidden = text_of("some-peers-failing/backup-serves");
    let line = hidden.lines().find(|line| line.contains("no request failed for a client")).unwrap();
    assert!(line.ends_with(", and it stands now"), "{line}");
}

#[test]
fn a_status_of_three_digits_keeps_them() {
    let site = Site::new();
    let output = Command::new(env!("CARGO_BIN_EXE_why502")).args(["explain", "--list"]).output().unwrap();
    for line in
        stdout(&output).lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with(' '))
    {
        assert!(line.split_whitespace().skip(1).all(|status| status.len() == 3), "{line}");
    }
    let output = command().args(site.whole()).output().unwrap();
    assert!(stdout(&output).contains("(502)"));
}
