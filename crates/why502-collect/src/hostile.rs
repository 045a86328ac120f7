//! Every reader of somebody else's root, attacked with what may lie there: pipes, devices, sockets, directories, circles of
//! links, links to the standard streams.

use crate::{engine, files, logs};
use rustix::fs::{CWD, FileType, Mode};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};
use why502_facts::{AccessWriting, Answer, LogClock, LogClockSource, LogKind, LogSlice, RequestKey, Root};

/// Files in whose place a reader would wait for ever, read without an end, or read something else.
fn traps(directory: &tempfile::TempDir) -> Vec<String> {
    let path = |name: &str| directory.path().join(name);
    rustix::fs::mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = UnixListener::bind(path("socket")).unwrap();
    symlink("/dev/zero", path("device")).unwrap();
    symlink("/dev/stdin", path("stream")).unwrap();
    symlink("/dev/stdout", path("log")).unwrap();
    symlink("b", path("a")).unwrap();
    symlink("a", path("b")).unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    symlink(path("pipe"), path("link")).unwrap();
    let names = ["pipe", "socket", "device", "stream", "log", "a", "folder", "link"];
    names.iter().map(|name| path(name).display().to_string()).collect()
}

fn slice(root: Root, path: &str, kind: &LogKind) -> LogSlice {
    let clock = LogClock { offset_seconds: 0, source: LogClockSource::Assumed };
    LogSlice {
        root,
        path: path.to_owned(),
        owner: "o".to_owned(),
        kind: kind.clone(),
        from: None,
        to: None,
        clock,
        max_bytes: None,
    }
}

#[test]
fn nothing_in_a_root_blocks_a_reader_or_is_read_for_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let kinds = [LogKind::Error, LogKind::Access { format: None, writing: AccessWriting::AtOnce }];
    let begin = Instant::now();
    for root in [Root::Host, Root::Process(std::process::id())] {
        for path in if root == Root::Host { traps(&directory) } else { names(&directory) } {
            let mut answers =
                vec![files::read_file(root, &path), files::find_strings(root, &path, &["nginx".to_owned()])];
            for kind in &kinds {
                let route = |_: &RequestKey<'_>| None;
                answers.push(logs::read_tail(root, &path, kind));
                let deadline = Instant::now() + Duration::from_secs(5);
                answers.push(logs::read_slice(&slice(root, &path, kind), &route, deadline));
            }
            assert!(answers.iter().all(|answer| !matches!(answer, Answer::Known(_))), "{path}: {answers:?}");
            // What is there is shown, and not opened.
            let _ = files::walk_path(root, &path);
            let _ = files::list_matches(root, &format!("{path}/*"));
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(4));
}

fn names(directory: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    names.sort();
    names
}

#[test]
fn an_engine_is_no_file_of_another_kind() {
    let directory = tempfile::tempdir().unwrap();
    for path in traps(&directory).into_iter().filter(|path| !path.ends_with("/socket")) {
        let answer = engine::read_engine(&path);
        assert!(!matches!(answer, Answer::Known(_)), "{path}: {answer:?}");
    }
}
