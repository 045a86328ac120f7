//! `why502 logs`: the journal, through the real `journalctl`. `systemd-journal-remote` writes its files.

use super::logs::{access_lines, checked, error_lines, expected, json, numbers};
use crate::run::{command, stderr, why502};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian and systemd itself install it; it is in nobody's PATH.
const WRITER: [&str; 2] = ["/lib/systemd/systemd-journal-remote", "/usr/lib/systemd/systemd-journal-remote"];

/// Writes a file of a journal in which a unit wrote some lines, between those of another.
fn journal(directory: &Path, name: &str, unit: &str, lines: &str) -> PathBuf {
    let mut export = String::new();
    for (serial, line) in lines.lines().enumerate() {
        for (unit, line) in [(unit, line), ("sshd", "Connection closed by 192.0.2.1 port 22")] {
            let second = 1_795_228_110 + serial;
            writeln!(
                export,
                "__REALTIME_TIMESTAMP={second}000000\n__MONOTONIC_TIMESTAMP={serial}000001\n\
                 _BOOT_ID=0123456789abcdef0123456789abcdef\n_SYSTEMD_UNIT={unit}.service\n_PID=7\n\
                 SYSLOG_IDENTIFIER={unit}\nCONTAINER_NAME={unit}-1\nMESSAGE={line}\n"
            )
            .unwrap();
        }
    }
    let path = directory.join(name);
    let writer = WRITER.into_iter().find(|path| Path::new(path).exists());
    let writer =
        writer.expect("this test needs systemd-journal-remote (apt-get install systemd-journal-remote)");
    let mut run = Command::new(writer)
        .args(["-o".as_ref(), path.as_os_str(), "-".as_ref()])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    run.stdin.take().unwrap().write_all(export.as_bytes()).unwrap();
    assert!(run.wait().unwrap().success());
    path
}

/// A `journalctl` that shows a directory as the host's own journal.
fn journalctl_of(directory: &Path, journals: &Path) -> String {
    let path = std::env::var("PATH").unwrap();
    let real =
        path.split(':').map(|parent| format!("{parent}/journalctl")).find(|path| Path::new(path).exists());
    let script = format!("#!/bin/sh\nexec {} --directory={} \"$@\"\n", real.unwrap(), journals.display());
    std::fs::write(directory.join("journalctl"), script).unwrap();
    std::fs::set_permissions(directory.join("journalctl"), PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:{path}", directory.display())
}

#[test]
fn files_of_a_journal_are_read_wherever_they_lie_and_however_they_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let both = error_lines() + &access_lines();
    let path = journal(directory.path(), "system.journal", "nginx", &both).display().to_string();
    assert_eq!(numbers(&json(&[&path])), expected());
    std::fs::copy(&path, directory.path().join("copy")).unwrap();
    assert_eq!(numbers(&json(&[&directory.path().join("copy").display().to_string()])), expected());
    std::fs::remove_file(directory.path().join("copy")).unwrap();
    // Rotated, and errors apart from requests.
    std::fs::remove_file(&path).unwrap();
    journal(directory.path(), "system@1.journal", "nginx", &error_lines());
    journal(directory.path(), "system.journal", "nginx", &access_lines());
    let report = json(&[&directory.path().display().to_string()]);
    assert_eq!(numbers(&report), expected());
    assert_eq!(report["logs"][0]["files"][0], directory.path().display().to_string());
    assert_eq!(numbers(&json(&[&format!("{}/*.journal", directory.path().display())])), expected());
}

#[test]
fn the_hosts_own_journal_is_read_by_unit_by_field_or_whole() {
    let (journals, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    journal(journals.path(), "system.journal", "nginx", &(error_lines() + &access_lines()));
    let path = journalctl_of(tools.path(), journals.path());
    let run = |name: &str| {
        let run = command().args(["logs", name, "--format", "json"]).env("PATH", &path).output();
        run.unwrap()
    };
    for name in ["journal:", "journal:nginx", "journal:nginx.service", "journal:CONTAINER_NAME=nginx-1"] {
        assert_eq!(numbers(&checked(&run(name))), expected(), "{name}");
    }
    let empty = run("journal:apache2");
    assert_eq!(empty.status.code(), Some(2));
    assert!(stderr(&empty).contains("journal:apache2 holds no entries"), "{}", stderr(&empty));
}

#[test]
fn what_journalctl_says_of_its_troubles_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let run = |path: &str| command().args(["logs", "journal:nginx"]).env("PATH", path).output().unwrap();
    let missing = run(&directory.path().display().to_string());
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("there is no journalctl here"), "{}", stderr(&missing));
    std::fs::write(directory.path().join("broken.journal"), [b"LPKSHHRH".as_slice(), &[7; 4000]].concat())
        .unwrap();
    let broken = why502(&["logs", &directory.path().join("broken.journal").display().to_string()]);
    assert_eq!(broken.status.code(), Some(2));
    assert!(stderr(&broken).contains("broken.journal"), "{}", stderr(&broken));
}
