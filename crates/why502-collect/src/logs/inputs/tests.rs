use super::*;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

fn access(minute: usize) -> String {
    format!(
        "192.0.2.1 - - [21/Nov/2026:02:{minute:02}:30 +0000] \"GET /{minute} HTTP/1.1\" 502 157 \"-\" \"curl/8\"\n"
    )
}

fn error(minute: usize) -> String {
    format!(
        "2026/11/21 02:{minute:02}:30 [error] 7#7: *3 connect() failed (111: Connection refused), client: ::1\n"
    )
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.0.path().join(name), content).unwrap();
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Writes a file and has a program pack it.
    fn packed(&self, program: &str, name: &str, content: &str) -> String {
        self.write(name, content);
        assert!(Command::new(program).arg("-q").arg(self.path(name)).status().unwrap().success());
        let packed = std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        let packed: Vec<_> = packed.filter(|path| path.file_stem().unwrap() == name).collect();
        let packed = packed.into_iter().find(|path| path.extension().unwrap() != "log").unwrap();
        let _ = std::fs::remove_file(self.path(name));
        packed.display().to_string()
    }
}

fn open(arguments: &[String]) -> Result<Vec<LogSet>, InputError> {
    open_with(arguments, Box::new(io::empty()))
}

fn message(argument: &str) -> String {
    let error = open(&[argument.to_owned()]).unwrap_err();
    let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

fn lines(set: &LogSet) -> (Vec<(String, u64, String)>, ReadSummary) {
    let mut found = Vec::new();
    let summary = set
        .read(&mut |file, offset, line| {
            let file = Path::new(&**file).file_name().unwrap().to_str().unwrap();
            found.push((file.to_owned(), offset, String::from_utf8_lossy(line).into_owned()));
            ControlFlow::Continue(())
        })
        .unwrap();
    (found, summary)
}

fn texts(set: &LogSet) -> Vec<String> {
    lines(set).0.into_iter().map(|(_, _, line)| line).collect()
}

fn names(set: &LogSet) -> Vec<&str> {
    set.files().iter().map(|file| file.path().rsplit('/').next().unwrap()).collect()
}

#[test]
fn rotated_files_are_one_log_and_read_oldest_first_however_they_are_packed() {
    let folder = Folder::new();
    let live = folder.write("access.log", access(5));
    let arguments = [
        live.clone(),
        folder.write("access.log.1", access(4)),
        folder.packed("gzip", "access.log.2", &access(3)),
        folder.packed("bzip2", "access.log.3", &access(2)),
        folder.packed("xz", "access.log.4", &access(1)),
        folder.packed("zstd", "access.log.5", &access(0)),
        folder.write("error.log", error(1)),
    ];
    let sets = open(&arguments).unwrap();
    assert_eq!(sets.iter().map(LogSet::name).collect::<Vec<_>>(), [live, folder.path("error.log")]);
    assert_eq!(
        names(&sets[0]),
        [
            "access.log.5.zst",
            "access.log.4.xz",
            "access.log.3.bz2",
            "access.log.2.gz",
            "access.log.1",
            "access.log"
        ]
    );
    assert!(matches!(sets[0].content(), LogContent::Access { format: Some(_), hits: 6, tried: 6 }));
    assert_eq!(*sets[1].content(), LogContent::Error);
    let expected: Vec<String> = (0..6).map(|minute| access(minute).trim_end().to_owned()).collect();
    assert_eq!(texts(&sets[0]), expected);
    // A file can be read again, and what is stored is what is counted.
    let n_bytes = sets[0].n_bytes().unwrap();
    assert_eq!(sets[0].n_bytes_read(), n_bytes);
    let (found, summary) = lines(&sets[0]);
    assert!(summary.is_whole && found.iter().all(|(_, offset, _)| *offset == 0));
    assert_eq!((summary.n_lines, summary.n_bytes), (6, 6 * access(0).len() as u64));
}

#[test]
fn a_directory_and_a_pattern_stand_for_their_files() {
    let folder = Folder::new();
    for (name, content) in [
        ("access.log", access(3)),
        ("access.log-20261121", access(2)),
        ("access.log-20261120", access(1)),
        ("error.log", error(1)),
        ("empty.log", String::new()),
        ("notes", "hello\nyou\n".to_owned()),
    ] {
        folder.write(name, content);
    }
    folder.write("core", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".repeat(100));
    std::fs::create_dir(folder.0.path().join("more")).unwrap();
    let sets = open(&[folder.0.path().display().to_string()]).unwrap();
    let contents: Vec<_> =
        sets.iter().map(|set| (set.name().rsplit('/').next().unwrap(), set.content().clone())).collect();
    assert!(matches!(&contents[0], ("access.log", LogContent::Access { format: Some(_), .. })));
    assert_eq!(names(&sets[0]), ["access.log-20261120", "access.log-20261121", "access.log"]);
    let unknown = |tried| LogContent::Access { format: None, hits: 0, tried };
    assert_eq!(
        contents[1..],
        [
            ("core", LogContent::Binary),
            ("empty.log", unknown(0)),
            ("error.log", LogContent::Error),
            ("notes", unknown(2))
        ]
    );
    let sets = open(&[folder.path("*.log*")]).unwrap();
    assert_eq!(sets.iter().map(|set| set.files().len()).collect::<Vec<_>>(), [3, 1, 1]);
    assert_eq!(message(&folder.path("*.nothing")), format!("no file matches {}", folder.path("*.nothing")));
    assert_eq!(message(&folder.path("more")), format!("{} holds no files", folder.path("more")));
}

#[test]
fn a_file_is_read_once_whatever_it_is_called() {
    let folder = Folder::new();
    let path = folder.write("access.log", access(1));
    std::os::unix::fs::symlink(&path, folder.path("link.log")).unwrap();
    std::fs::hard_link(&path, folder.path("hard.log")).unwrap();
    let sets = open(&[path.clone(), folder.path("link.log"), path.clone(), folder.path("hard.log")]).unwrap();
    assert_eq!((sets.len(), sets[0].files().len(), sets[0].name()), (1, 1, &*path));
    // A rotated file beside its archive, which may be unfinished.
    let plain = folder.write("old.log.1", access(1));
    let packed = folder.packed("gzip", "old.log.1", &access(1));
    folder.write("old.log.1", access(1));
    let sets = open(&[packed, plain]).unwrap();
    assert_eq!(names(&sets[0]), ["old.log.1"]);
}

#[test]
fn names_that_only_look_rotated_are_logs_of_their_own() {
    let folder = Folder::new();
    let arguments = ["10.0.0.1", "10.0.0.2", "access-8080.log", "access-8081.log"];
    let sets = open(&arguments.map(|name| folder.write(name, access(1)))).unwrap();
    assert_eq!(sets.iter().map(LogSet::name).collect::<Vec<_>>(), arguments.map(|name| folder.path(name)));
    // With the log beside it, it is.
    let sets = open(&[folder.write("10.0.0", access(2)), folder.path("10.0.0.1")]).unwrap();
    assert_eq!(sets.len(), 1);
}

#[test]
fn what_is_no_file_or_no_log_is_named() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(message(&pipe), format!("{pipe} is a pipe, not a file: pipe it into `-`"));
    let socket = folder.path("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert_eq!(message(&socket), format!("{socket} is a socket, not a file: pipe it into `-`"));
    let binary = folder.write("binary", [0_u8, 1, 2, 3].repeat(1000));
    assert_eq!(message(&binary), format!("{binary} is no log: what it holds is not text"));
    let missing = folder.path("missing.log");
    assert!(message(&missing).starts_with(&format!("cannot read {missing}: No such file")));
    let garbage = folder.write("a.log.gz", b"\x1f\x8b\x08garbage that is no archive");
    assert!(message(&garbage).starts_with(&format!("cannot read {garbage}: ")));
    assert_eq!(open(&[]).unwrap_err().to_string(), "no log is named");
}

#[test]
fn standard_input_may_be_packed_and_is_read_once() {
    let folder = Folder::new();
    let text: String = (0..20_000).map(|n| access(n % 60)).collect();
    for (set, packed) in [
        ("plain", text.clone().into_bytes()),
        ("gz", {
            let path = folder.packed("gzip", "access.log", &text);
            std::fs::read(path).unwrap()
        }),
    ] {
        let sets = open_with(&["-".to_owned()], Box::new(io::Cursor::new(packed.clone()))).unwrap();
        assert_eq!((sets[0].name(), sets[0].n_bytes()), ("-", None), "{set}");
        assert!(matches!(sets[0].content(), LogContent::Access { format: Some(_), .. }));
        let (found, summary) = lines(&sets[0]);
        assert_eq!((found.len(), summary.n_bytes), (20_000, text.len() as u64), "{set}");
        assert_eq!(found[19_999].1, text.len() as u64 - access(59).len() as u64);
        assert_eq!(sets[0].n_bytes_read(), packed.len() as u64);
        assert!(sets[0].read(&mut |_, _, _| ControlFlow::Continue(())).is_err());
    }
}

#[test]
fn an_entry_that_was_cut_by_the_rotation_is_whole_and_stands_where_it_began() {
    let folder = Folder::new();
    let stamp = "2026-11-21T02:28:30.123456789Z";
    let line = access(1);
    let (one, other) = line.trim_end().split_at(20);
    let before = format!("{stamp} stdout F {}", access(0));
    let old = folder.write("0.log.20261121-022830", format!("{before}{stamp} stdout P {one}\n"));
    let live = folder.write("0.log", format!("{stamp} stdout F {other}\n{stamp} stderr F {}", error(2)));
    let sets = open(&[live, old]).unwrap();
    assert_eq!(sets[0].envelope(), Envelope::Cri);
    assert!(matches!(sets[0].content(), LogContent::Mixed { .. }), "{:?}", sets[0].content());
    let (found, _) = lines(&sets[0]);
    assert_eq!(
        found[1],
        ("0.log.20261121-022830".to_owned(), before.len() as u64, line.trim_end().to_owned())
    );
    assert_eq!(found[2].0, "0.log");
}

#[test]
fn the_lines_of_other_programs_are_counted_and_not_shown() {
    let folder = Folder::new();
    let mut text = "-- Journal begins at Sat 2026-11-21 --\n".to_owned();
    for minute in 0..10 {
        text += &format!("Nov 21 02:{minute:02}:30 host sshd[9]: Connection closed\n").repeat(20);
        write!(text, "Nov 21 02:{minute:02}:30 host edge: {}", access(minute)).unwrap();
        write!(text, "Nov 21 02:{minute:02}:30 host edge: {}", error(minute)).unwrap();
    }
    // A gateway that the sample does not know.
    write!(text, "Nov 21 02:10:30 host other: {}", error(11)).unwrap();
    let sets = open(&[folder.write("syslog", text)]).unwrap();
    let LogContent::Mixed { hits: 10, tried, .. } = sets[0].content() else {
        panic!("{:?}", sets[0].content())
    };
    assert_eq!(*tried, 11);
    let (found, summary) = lines(&sets[0]);
    assert_eq!((found.len(), summary.n_of_others, summary.n_foreign), (22, 200, 1));
    assert!(summary.is_whole);
}

#[test]
fn a_broken_archive_among_others_is_told_and_the_others_are_read() {
    let folder = Folder::new();
    let live = folder.write("access.log", access(3));
    let packed = folder.packed("gzip", "access.log.2", &access(1).repeat(1000));
    let mut bytes = std::fs::read(&packed).unwrap();
    let length = bytes.len();
    bytes[length - 6] ^= 1;
    std::fs::write(&packed, &bytes).unwrap();
    let cut = folder.packed("gzip", "access.log.1", &access(2).repeat(1000));
    let bytes = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 10]).unwrap();
    let sets = open(&[live, packed.clone(), cut.clone()]).unwrap();
    let (found, summary) = lines(&sets[0]);
    assert_eq!(found.last().unwrap().2, access(3).trim_end());
    assert_eq!(&*summary.failures[0].0, packed);
    assert_eq!(summary.cut_archives, [cut.into()]);
    assert!(!summary.is_whole);
}

#[test]
fn a_log_that_is_rotated_between_opening_and_reading_is_read_under_its_new_name() {
    let folder = Folder::new();
    let live = folder.write("access.log", access(1));
    let sets = open(std::slice::from_ref(&live)).unwrap();
    std::fs::rename(&live, folder.path("access.log.1")).unwrap();
    folder.write("access.log", access(2));
    assert_eq!(texts(&sets[0]), [access(1).trim_end()]);
    std::fs::remove_file(folder.path("access.log.1")).unwrap();
    let error = sets[0].read(&mut |_, _, _| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.to_string(), "the file was removed or replaced");
}

#[test]
fn who_has_seen_enough_ends_the_reading() {
    let folder = Folder::new();
    let sets = open(&[folder.write("access.log", access(1).repeat(10))]).unwrap();
    let mut n_lines = 0;
    let summary = sets[0]
        .read(&mut |_, _, _| {
            n_lines += 1;
            if n_lines == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((n_lines, summary.n_lines, summary.is_whole), (3, 3, false));
}

#[test]
fn one_endless_line_takes_no_more_memory_than_a_long_one() {
    let length = 64 << 20;
    let stream = io::Cursor::new(access(1))
        .chain(io::repeat(b'a').take(length))
        .chain(io::Cursor::new(format!("\n{}", access(2))));
    let sets = open_with(&["-".to_owned()], Box::new(stream)).unwrap();
    let mut lengths = Vec::new();
    let summary = sets[0]
        .read(&mut |_, _, line| {
            lengths.push(line.len());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(lengths, [access(1).len() - 1, 1 << 20, access(2).len() - 1]);
    assert_eq!((summary.n_cut, summary.n_bytes), (1, length + 1 + 2 * access(1).len() as u64));
}
