//! Bundles: what is recorded is what was seen, and what comes from elsewhere is not trusted.

use crate::run::{Site, answered_502, command, refused, stderr, stdout};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

fn collect(site: &Site, name: &str) -> Output {
    command().arg("collect").args(site.whole()).arg("-o").arg(site.path(name)).output().unwrap()
}

fn diagnose(bundle: &Path, options: &[&str]) -> Output {
    command().arg("--bundle").arg(bundle).args(options).output().unwrap()
}

fn captured_at(report: &Output) -> String {
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    report["captured_at"].as_str().unwrap().to_owned()
}

#[test]
fn a_bundle_says_what_the_live_run_said() {
    let site = Site::new();
    let json = &["--format", "json"];
    // The three runs must fall into one second: the report tells when it was.
    for attempt in 0..20 {
        let (directory, archive) = (format!("{attempt}"), format!("{attempt}.tar.zst"));
        assert!(collect(&site, &directory).status.success());
        let live = command().args(site.whole()).args(json).output().unwrap();
        assert!(collect(&site, &archive).status.success());
        let from_directory = diagnose(&site.path(&directory), json);
        let from_archive = diagnose(&site.path(&archive), json);
        let moments = [&live, &from_directory, &from_archive].map(captured_at);
        if moments.iter().any(|moment| *moment != moments[0]) {
            continue;
        }
        assert_eq!(stdout(&live), stdout(&from_directory));
        assert_eq!(stdout(&live), stdout(&from_archive));
        assert_eq!(live.status.code(), from_archive.status.code());
        return;
    }
    panic!("no three runs fell into one second");
}

#[test]
fn nothing_that_exists_is_overwritten_by_a_directory() {
    let site = Site::new();
    fs::create_dir(site.path("bundle")).unwrap();
    let output = collect(&site, "bundle");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("exists already"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(site.path("bundle")).unwrap().count(), 0);
}

#[test]
fn a_view_narrows_what_was_recorded() {
    let site = Site::new();
    let lines =
        ["2026/11/21 08:00:00", "2026/11/21 09:59:00", "2026/11/21 10:00:00"].map(|at| refused(at, "/a"));
    site.write("error.log", &lines.concat());
    let lines =
        ["08:00:00", "09:59:00", "10:00:00"].map(|at| answered_502(&format!("21/Nov/2026:{at} +0000"), "/a"));
    site.write("access.log", &lines.concat());
    assert!(collect(&site, "bundle").status.success());
    let failed = |options: &[&str]| {
        let words = [&["--format", "json"], options].concat();
        let report: Value = serde_json::from_slice(&diagnose(&site.path("bundle"), &words).stdout).unwrap();
        report["window"]["failed"].as_u64().unwrap()
    };
    assert_eq!(failed(&[]), 3);
    assert_eq!(failed(&["--since", "all"]), 3);
    assert_eq!(failed(&["--around", "2026-11-21T08:00Z"]), 1);
}

fn assert_refused(bundle: &Path, says: &str) {
    let output = diagnose(bundle, &[]);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(says) && error.contains("bundle") && !error.contains("panicked"), "{error}");
    assert!(output.stdout.is_empty());
}

/// An archive with one entry.
fn archive(name: &str, kind: tar::EntryType, size: u64, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend_from_slice(bytes);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    zstd::encode_all(archive.as_slice(), 1).unwrap()
}

#[test]
fn hostile_archives_are_refused() {
    let site = Site::new();
    let file = site.path("evil.tar.zst");
    let manifest = br#"{"format":{"major":99,"minor":0}}"#;
    let size = manifest.len() as u64;
    let cases = [
        (archive("../etc/passwd", tar::EntryType::Regular, 0, b""), "no bundle may hold"),
        (archive("/etc/passwd", tar::EntryType::Regular, 0, b""), "no bundle may hold"),
        (archive("raw/../../x", tar::EntryType::Regular, 0, b""), "no bundle may hold"),
        (archive("raw/00001", tar::EntryType::Symlink, 0, b""), "no bundle may hold"),
        (archive("raw/00001", tar::EntryType::Link, 0, b""), "no bundle may hold"),
        (archive("raw/00001", tar::EntryType::Char, 0, b""), "no bundle may hold"),
        (archive("raw/00001", tar::EntryType::Regular, 2 << 30, b""), "larger than"),
        (archive("manifest.json", tar::EntryType::Regular, size, manifest), "format 99.0"),
        (archive("manifest.json", tar::EntryType::Regular, 3, b"{]}"), "cannot be understood"),
        (archive("raw/00001", tar::EntryType::Regular, 0, b""), "no manifest.json"),
        (b"not zstd at all".to_vec(), "archive cannot be read"),
        (zstd::encode_all(&b"zstd, but no tar"[..], 1).unwrap(), ""),
        (Vec::new(), ""),
    ];
    for (bytes, says) in cases {
        fs::write(&file, bytes).unwrap();
        assert_refused(&file, says);
    }
}

#[test]
fn an_archive_of_too_many_entries_is_refused() {
    let site = Site::new();
    let mut entry = tar::Header::new_gnu();
    let mut archive = Vec::new();
    for at in 0..=65_536 {
        let name = format!("raw/{at:05}");
        entry.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        entry.set_size(0);
        entry.set_mode(0o600);
        entry.set_entry_type(tar::EntryType::Regular);
        entry.set_cksum();
        archive.extend_from_slice(entry.as_bytes());
    }
    fs::write(site.path("many.tar.zst"), zstd::encode_all(archive.as_slice(), 1).unwrap()).unwrap();
    assert_refused(&site.path("many.tar.zst"), "larger than");
}

#[test]
fn a_truncated_archive_is_refused() {
    let site = Site::new();
    assert!(collect(&site, "whole.tar.zst").status.success());
    let bytes = fs::read(site.path("whole.tar.zst")).unwrap();
    for part in [1, 2, 3] {
        fs::write(site.path("cut.tar.zst"), &bytes[..bytes.len() * part / 4]).unwrap();
        assert_refused(&site.path("cut.tar.zst"), "");
    }
}

#[test]
fn a_directory_with_links_or_strange_names_is_refused() {
    let site = Site::new();
    for (name, target) in [("raw/00099", "/etc/passwd"), ("notes", "/etc/hostname")] {
        let bundle = site.path(&format!("with-{}", name.replace('/', "-")));
        assert!(
            command().arg("collect").args(site.whole()).arg("-o").arg(&bundle).status().unwrap().success()
        );
        symlink(target, bundle.join(name)).unwrap();
        assert_refused(&bundle, "no bundle may hold");
    }
    assert_refused(&site.path("."), "no bundle may hold");
}
