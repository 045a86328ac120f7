//! Wrappings, as the programs that write them do.
//!
//! The files in `wrapped` were recorded by `scripts/record-wrapped`, which runs the real programs: nginx, syslog daemons, the
//! journal, supervisors of services, Docker, and what keeps containers' output for Kubernetes. Of what does not run there,
//! kubectl, the forms are built here by its specification, from the same lines of nginx.

pub(super) mod samples;

use self::samples::{Holds, SAMPLES};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use why502_decode::logs::{Envelope, LogContent, UnwrapSummary, Unwrapper};

fn recorded(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/wrapped").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n').collect()
}

/// What nginx wrote into its own files.
fn written() -> Vec<Vec<u8>> {
    let (errors, accesses) = (recorded("error"), recorded("access"));
    [lines(&errors), lines(&accesses)].concat().into_iter().map(<[u8]>::to_vec).collect()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    programs: Vec<String>,
    lines: Vec<Vec<u8>>,
    offsets: Vec<u64>,
    summary: UnwrapSummary,
}

impl Found {
    /// The lines of some programs.
    fn of(&self, programs: &[&str]) -> Vec<Vec<u8>> {
        let named = self.programs.iter().zip(&self.lines);
        named
            .filter(|(program, _)| programs.contains(&program.as_str()))
            .map(|(_, line)| line.clone())
            .collect()
    }
}

fn unwrap(envelope: Envelope, text: &[u8]) -> Found {
    let mut found = Found::default();
    let mut unwrapper = Unwrapper::new(envelope);
    let mut see = |peeled: why502_decode::logs::Peeled<'_>| {
        found.programs.push(String::from_utf8_lossy(peeled.program).into_owned());
        found.lines.push(peeled.line.to_vec());
        found.offsets.push(peeled.offset);
    };
    let mut offset = 0;
    for line in lines(text) {
        unwrapper.push(offset, line, &mut see);
        offset += line.len() as u64 + 1;
    }
    unwrapper.finish(&mut see);
    found.summary = unwrapper.summary();
    found
}

fn shown(lines: &[Vec<u8>]) -> Vec<String> {
    lines.iter().map(|line| why502_facts::lossy(line)).collect()
}

fn sorted(mut lines: Vec<Vec<u8>>) -> Vec<String> {
    lines.sort();
    shown(&lines)
}

#[test]
fn what_real_programs_write_around_lines_is_taken_off() {
    for sample in &SAMPLES {
        let (file, text) = (sample.file, recorded(sample.file));
        assert_eq!(Envelope::guess(&lines(&text)), sample.envelope, "{file}");
        let found = unwrap(sample.envelope, &text);
        let summary = UnwrapSummary { n_foreign: sample.n_foreign, n_cut: 0 };
        assert_eq!(found.summary, summary, "{file}");
        match sample.holds {
            Holds::Lines => assert_eq!(sorted(found.of(sample.programs)), sorted(written()), "{file}"),
            Holds::Long => {
                let long = recorded("long");
                let expected = [written(), lines(&long).into_iter().map(<[u8]>::to_vec).collect()].concat();
                assert!(expected.iter().any(|line| line.len() > 16 << 10));
                assert_eq!(sorted(found.of(sample.programs)), sorted(expected), "{file}");
            }
            Holds::Journal => {
                assert_eq!(shown(&found.lines), shown(&journalled()), "{file}");
                let others =
                    found.programs.iter().filter(|program| !sample.programs.contains(&program.as_str()));
                let others: Vec<&str> = others.map(String::as_str).collect();
                let named: &[&str] = match sample.programs {
                    [""] => &[],
                    ["nginx.service"] => &["sshd.service"],
                    _ => &["sshd"],
                };
                assert_eq!(others, named, "{file}");
            }
        }
    }
}

/// What `scripts/record-wrapped` put into the journal.
fn journalled() -> Vec<Vec<u8>> {
    let mut written = written();
    let last_access = written.last().unwrap().clone();
    let last_error = written[lines(&recorded("error")).len() - 1].clone();
    let no_text = [&last_error[..], b" \xff\x01"].concat();
    written.extend([b"Connection closed by 192.0.2.1 port 22".to_vec(), no_text, last_error, last_access]);
    written
}

#[test]
fn every_sample_that_was_recorded_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/wrapped");
    let files = std::fs::read_dir(folder).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let known = SAMPLES.iter().map(|sample| sample.file).chain(["access", "error", "long"]);
    assert_eq!(files, known.map(str::to_owned).collect());
}

/// Guesses the envelope, takes it off, and compares with what nginx wrote, in any order.
fn check(name: &str, text: &[u8], expected: Envelope) -> Found {
    assert_eq!(Envelope::guess(&lines(text)), expected, "{name}");
    let found = unwrap(expected, text);
    assert_eq!(sorted(found.lines.clone()), sorted(written()), "{name}");
    assert_eq!(found.summary, UnwrapSummary::default(), "{name}");
    found
}

/// The parts in which a runtime writes a line, at most so many bytes each.
fn parts(line: &[u8], length: usize) -> Vec<(&[u8], bool)> {
    let n_parts = line.len().div_ceil(length).max(1);
    let last = line.is_empty().then_some((line, true));
    line.chunks(length).enumerate().map(|(idx, part)| (part, idx + 1 == n_parts)).chain(last).collect()
}

fn cri(lines: &[Vec<u8>], length: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for (idx, line) in lines.iter().enumerate() {
        let stream = if idx % 3 == 0 { "stderr" } else { "stdout" };
        for (part, is_last) in parts(line, length) {
            let tag = if is_last { "F" } else { "P" };
            text.extend(format!("2026-11-21T02:28:30.123456789Z {stream} {tag} ").into_bytes());
            text.extend([part, b"\n"].concat());
        }
    }
    text
}

/// As Docker's own encoder does (`daemon/logger/jsonfilelog/jsonlog/jsonlogbytes.go`): text only, as JSON needs it.
fn docker(lines: &[Vec<u8>], length: usize) -> String {
    let mut text = String::new();
    for line in lines {
        for (part, is_last) in parts(line, length) {
            let mut part = String::from_utf8(part.to_vec()).unwrap();
            part.extend(is_last.then_some('\n'));
            let log = serde_json::to_string(&part).unwrap();
            let time = "2026-11-21T02:28:30.123456789Z";
            writeln!(
                text,
                "{{\"log\":{log},\"stream\":\"stderr\",\"attrs\":{{\"a\":\"}}\"}},\"time\":\"{time}\"}}"
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn what_container_runtimes_write_is_taken_off() {
    let written = written();
    for length in [1, 7, 16 * 1024] {
        check("cri", &cri(&written, length), Envelope::Cri);
        check("docker", docker(&written, length).as_bytes(), Envelope::DockerJson);
    }
}

#[test]
fn what_command_line_tools_write_before_lines_is_taken_off() {
    let prefixed = |prefix: &str| {
        let lines: Vec<Vec<u8>> = written().iter().map(|line| [prefix.as_bytes(), line].concat()).collect();
        lines.join(&b'\n')
    };
    for (prefix, program) in [
        ("web-1  | ", "web-1"),
        ("\x1b[36mweb_1  |\x1b[0m ", "web_1"),
        ("web-1  | 2026-11-21T02:28:30.123456789Z ", "web-1"),
        ("[pod/web-5d9f/nginx] ", "web-5d9f/nginx"),
        ("[pod/web-5d9f/nginx] 2026-11-21T02:28:30.123456789+01:00 ", "web-5d9f/nginx"),
    ] {
        let found = check(prefix, &prefixed(prefix), Envelope::Compose);
        assert!(found.programs.iter().all(|found| found == program), "{found:?}");
    }
    check("stamped", &prefixed("2026-11-21T02:28:30.123456789Z "), Envelope::Stamped);
}

#[test]
fn what_a_gateway_writes_by_itself_is_left_alone() {
    check("plain", &written().join(&b'\n'), Envelope::Plain);
    for line in [
        "192.0.2.1 | 21/Nov/2026:02:28:30 +0000 | GET / HTTP/1.1 | 502",
        "a.test | 192.0.2.1 | 21/Nov/2026:02:28:30 +0000 | 502",
        "2026-11-21T02:28:30+00:00 192.0.2.1 GET /: 502",
        "2026-11-21T02:28:30.123Z stdout of something",
        "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)",
        r#"{"time":"2026-11-21T02:28:30+00:00","status":502,"log":"x"}"#,
        "MESSAGE=hello",
        "",
    ] {
        assert_eq!(Envelope::guess(&[line.as_bytes()]), Envelope::Plain, "{line}");
    }
}

#[test]
fn lines_of_another_form_are_passed_on_and_counted() {
    for (envelope, text) in [
        (Envelope::DockerJson, "{\"log\":\"cut"),
        (Envelope::DockerJson, "{\"log\":\"a\\n\",\"stream\":\"other\"}"),
        (Envelope::Cri, "2026-11-21T02:28:30.1Z stdout X a"),
        (Envelope::Syslog, "Nov 21 02:28:30 host without a tag"),
        (Envelope::Syslog, "<190>1 2026-11-21T02:28:30Z host app 1 - [a b=\"c] text"),
        (Envelope::JournalJson, "{\"MESSAGE\":null}"),
        (Envelope::JournalJson, "{\"MESSAGE\":[1,256]}"),
        (Envelope::JournalExport, "no field"),
        (Envelope::Compose, "no name"),
        (Envelope::JournalPretty, "no object"),
        (Envelope::JournalVerbose, "no field"),
        (Envelope::Stamped, "2026-11-21T02:28:30Z no decimals"),
    ] {
        let found = unwrap(envelope, text.as_bytes());
        assert_eq!(found.lines, [text.as_bytes()], "{envelope:?}");
        assert_eq!(found.summary.n_foreign, 1, "{envelope:?}");
    }
}

#[test]
fn the_parts_of_two_streams_do_not_mix() {
    let text = b"2026-11-21T02:28:30.1Z stdout P one \n2026-11-21T02:28:30.1Z stderr P two \n\
        2026-11-21T02:28:30.1Z stdout F ends\n2026-11-21T02:28:30.1Z stderr F:x ends too\n2026-11-21T02:28:30.1Z stdout P cut";
    let found = unwrap(Envelope::Cri, text);
    assert_eq!(found.lines, [b"one ends".as_slice(), b"two ends too", b"cut"]);
    // A line stands where its first part does.
    assert_eq!(found.offsets, [0, 37, 154]);
}

#[test]
fn a_line_in_endless_parts_is_cut_and_the_next_is_whole() {
    let part = [b"2026-11-21T02:28:30.1Z stdout P ".as_slice(), &[b'a'; 16 * 1024], b"\n"].concat();
    let mut text = part.repeat(100);
    text.extend(b"2026-11-21T02:28:30.1Z stdout F \n2026-11-21T02:28:30.1Z stdout F b");
    let found = unwrap(Envelope::Cri, &text);
    assert_eq!(found.lines.iter().map(Vec::len).collect::<Vec<_>>(), [1 << 20, 1]);
    assert_eq!(found.summary, UnwrapSummary { n_foreign: 0, n_cut: 1 });
}

#[test]
fn a_length_that_no_field_has_is_none() {
    let text = b"__REALTIME_TIMESTAMP=1\nMESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xffabc\n\n__REALTIME_TIMESTAMP=2\nMESSAGE=next\n\n";
    let found = unwrap(Envelope::JournalExport, text);
    assert_eq!(found.lines.last().unwrap(), b"next");
}

/// Pieces of every form, so that random texts get far into the grammars.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words: &[&[u8]] = &[
        b"{\"log\":\"",
        b"\\n\",\"stream\":\"stdout\"",
        b",\"time\":\"x\"}",
        b"{\"MESSAGE\":",
        b"[1,2]",
        b"\\u12",
        b"\\ud83d",
        b"2026-11-21T02:28:30.123456Z ",
        b"stdout ",
        b"stderr ",
        b"P ",
        b"F ",
        b"<190>",
        b"1 ",
        b"- ",
        b"[a b=\"\\",
        b"] ",
        b"Nov 21 02:28:30 ",
        b"nginx[1]: ",
        b"MESSAGE",
        b"SYSLOG_IDENTIFIER=",
        b"\x05\0\0\0\0\0\0\0",
        b"\n",
        b"\n\n",
        b"=",
        b"web-1  | ",
        b"[pod/a/b] ",
        b"\x1b[3",
        b"                 ",
        b"nginx: [emerg] ",
        b"{\n\t\"MESSAGE\" : ",
        b"\n}\n",
        b"Sat 2026-11-21 02:28:30.000021 UTC [s=1]\n",
        b"    MESSAGE=",
        b"            ",
        b"[    5.000000] ",
        b"@400000006b02401005e0e3f4 ",
        b"2026-11-21_02:28:30.12345 ",
    ];
    prop_oneof![
        3 => proptest::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_survived(pieces in proptest::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        Envelope::guess(&lines(&text));
        LogContent::tell(&lines(&text));
        for envelope in Envelope::ALL {
            let found = unwrap(envelope, &text);
            let n_bytes: usize = found.lines.iter().map(Vec::len).sum();
            prop_assert!(n_bytes <= 3 * text.len() + 3, "{envelope:?} makes {n_bytes} of {}", text.len());
        }
    }

    #[test]
    fn a_cut_file_gives_what_stands_before_the_cut(cut in 0_usize..3000, name in proptest::sample::select(&[
        "nginx-syslog", "rsyslog-rfc5424", "journalctl-json", "journalctl-json-pretty", "journalctl-export",
        "journalctl-short", "journalctl-verbose", "conmon", "svlogd-tt",
    ][..])) {
        let text = recorded(name);
        let envelope = Envelope::guess(&lines(&text));
        let (whole, part) = (unwrap(envelope, &text), unwrap(envelope, &text[..cut.min(text.len())]));
        let n_whole = part.lines.len().saturating_sub(1);
        prop_assert_eq!(&whole.lines[..n_whole], &part.lines[..n_whole]);
    }

    #[test]
    fn joined_parts_do_not_depend_on_where_they_were_cut(
        texts in proptest::collection::vec("[ -~]{0,60}", 1..8), one in 1_usize..70, other in 1_usize..70,
    ) {
        let texts: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
        for length in [one, other] {
            prop_assert_eq!(&unwrap(Envelope::Cri, &cri(&texts, length)).lines, &texts);
            prop_assert_eq!(&unwrap(Envelope::DockerJson, docker(&texts, length).as_bytes()).lines, &texts);
        }
    }
}
