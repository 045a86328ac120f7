//! What the house asks of every file and manifest, and no compiler looks after.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates that do no I/O, with all that they may depend on: nothing here opens files or sockets or reads a clock.
const PURE: [(&str, &[&str]); 5] = [
    ("nginx-syntax", &[]),
    (
        "why502-decode",
        &[
            "domain",
            "foldhash",
            "loona-hpack",
            "memchr",
            "netlink-packet-core",
            "netlink-packet-route",
            "serde_json",
            "why502-facts",
            "wide",
        ],
    ),
    ("why502-diagnose", &["schemars", "serde", "serde_json", "similar", "why502-facts", "why502-model"]),
    ("why502-facts", &["base64", "jiff", "regex", "serde", "serde_json", "tar", "thiserror", "zstd"]),
    ("why502-model", &["memchr", "nginx-syntax", "pcre2", "why502-facts"]),
];

/// The most lines that a file has.
const MAX_LINES: usize = 400;
/// Files that may have more, with the reason.
const LONG: [(&str, &str); 11] = [
    ("crates/nginx-syntax/src/lexer.rs", "one state machine, state by state as in nginx"),
    ("crates/nginx-syntax/src/parser.rs", "one grammar"),
    (
        "crates/why502-decode/tests/it/logs_parity.rs",
        "one generator of requests, written in every format and counted",
    ),
    ("crates/why502-decode/tests/it/logs_properties.rs", "one generator of lines, and what holds for them"),
    ("crates/why502-decode/tests/it/logs_templates.rs", "a table"),
    (
        "crates/why502-diagnose/src/causes/configured_error.rs",
        "half of it are tests, of many ways to one answer",
    ),
    ("crates/why502-diagnose/src/causes/read_timeout_too_short.rs", "half of it are tests, of many measures"),
    ("crates/why502-diagnose/src/causes/upstream_sent_error.rs", "a third of it are tests, of many twins"),
    ("crates/why502-diagnose/src/report.rs", "one schema"),
    ("crates/why502-model/src/nginx/instance.rs", "half of it are tests"),
    ("crates/why502/src/render/text.rs", "one layout"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources of all members and of the fuzz targets, by their paths in the repository.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["crates", "fuzz/fuzz_targets", "lab", "xtask"].map(PathBuf::from).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(root().join(&path)).unwrap();
                found.push((path.to_str().unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    assert!(found.len() > 300, "only {} files were found", found.len());
    found
}

fn manifest(path: &str) -> toml::Table {
    fs::read_to_string(root().join(path)).unwrap().parse().unwrap()
}

/// The manifests of all members.
fn members() -> Vec<(String, toml::Table)> {
    let mut paths: Vec<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| format!("crates/{}/Cargo.toml", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    paths.extend(["lab/Cargo.toml".to_owned(), "xtask/Cargo.toml".to_owned()]);
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), manifest(&path))).collect()
}

#[test]
fn pure_crates_depend_on_what_they_may() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, allowed) in PURE {
        let packages = metadata["packages"].as_array().unwrap();
        let package = packages.iter().find(|package| package["name"] == name).unwrap();
        let dependencies = package["dependencies"].as_array().unwrap();
        let own: BTreeSet<&str> = dependencies
            .iter()
            .filter(|dependency| dependency["kind"] != "dev")
            .map(|dependency| dependency["name"].as_str().unwrap())
            .collect();
        assert_eq!(own, allowed.iter().copied().collect(), "{name}: think twice, then change the list");
    }
}

#[test]
fn versions_stand_in_the_table_of_the_workspace() {
    let workspace = manifest("Cargo.toml");
    for (name, entry) in workspace["workspace"]["dependencies"].as_table().unwrap() {
        if entry.get("path").is_some() {
            continue;
        }
        let version = entry.get("version").and_then(toml::Value::as_str).unwrap_or_default();
        assert_eq!(version.split('.').count(), 3, "{name}: {version:?} is no whole version");
        let defaults = entry.get("default-features").and_then(toml::Value::as_bool);
        assert_eq!(defaults, Some(false), "{name}: features are asked for by name");
    }
}

#[test]
fn members_take_their_dependencies_from_the_workspace() {
    for (path, manifest) in members() {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, entry) in manifest.get(kind).and_then(toml::Value::as_table).into_iter().flatten() {
                let is_inherited = entry.get("workspace").and_then(toml::Value::as_bool);
                assert_eq!(is_inherited, Some(true), "{path}: {name} has a version of its own");
            }
        }
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{path} has lints of its own");
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    for (path, text) in sources() {
        for allow in [concat!("#[", "allow("), concat!("#![", "allow(")] {
            assert!(!text.contains(allow), "{path}: {allow} is not for this house");
        }
        for (at, _) in
            text.match_indices(concat!("[", "expect(")).filter(|(at, _)| text[..*at].ends_with(['#', '!']))
        {
            let attribute = &text[at..at + text[at..].find(")]").unwrap_or(0)];
            assert!(attribute.contains("reason = \""), "{path}: {attribute} tells no reason");
        }
    }
}

#[test]
fn nothing_is_left_to_be_done() {
    let words = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("d", "bg!(")];
    for (path, text) in sources() {
        for word in words {
            assert!(!text.contains(word), "{path}: {word}");
        }
    }
}

#[test]
fn files_are_short() {
    let sources = sources();
    let is_listed = |path: &str| LONG.iter().any(|(own, _)| *own == path);
    let long: Vec<String> = sources
        .iter()
        .filter(|(path, text)| text.lines().count() > MAX_LINES && !is_listed(path))
        .map(|(path, text)| format!("{path}: {}", text.lines().count()))
        .collect();
    assert!(long.is_empty(), "longer than {MAX_LINES} lines: {long:#?}");
    for (path, _) in LONG {
        let lines = sources.iter().find(|(own, _)| own == path).map(|(_, text)| text.lines().count());
        assert!(lines.is_some_and(|lines| lines > MAX_LINES), "{path} need not be listed any more");
    }
}

#[test]
fn the_chores_have_a_name() {
    let config = manifest(".cargo/config.toml");
    let alias = config["alias"]["xtask"].as_str().unwrap();
    assert!(alias.contains("--package why502-xtask"), "{alias}");
}
