use super::*;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A folder with a log whose lines are numbered.
struct Bench {
    folder: tempfile::TempDir,
    next: u32,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), next: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        self.path("a.log").display().to_string()
    }

    /// Appends to a file, as a gateway does: it is created if it is not there.
    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn write(&mut self, n_lines: u32) {
        self.write_to("a.log", n_lines);
    }

    fn write_to(&mut self, name: &str, n_lines: u32) {
        let lines = (self.next..self.next + n_lines).map(|n| format!("{n} {}\n", "x".repeat(40)));
        let text = lines.collect::<Vec<_>>().concat();
        self.append(name, &text);
        self.next += n_lines;
    }

    fn follow(&self, from: FollowFrom) -> Follower {
        Follower::open(&self.log(), from).unwrap()
    }

    /// Rotates with the real logrotate.
    fn logrotate(&self, options: &str) {
        let configuration = self.path("logrotate.conf");
        let text = format!("{} {{\n rotate 5\n missingok\n {}\n}}\n", self.log(), options.replace(';', "\n"));
        fs::write(&configuration, text).unwrap();
        let output = Command::new("logrotate")
            .arg("--force")
            .arg("--state")
            .arg(self.path("state"))
            .arg(&configuration)
            .output()
            .expect("logrotate, which scripts/setup installs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[derive(Default)]
struct Seen(Vec<u32>);

impl Seen {
    fn poll(&mut self, follower: &mut Follower) -> PollSummary {
        follower.poll(&mut |path, offset, line| self.line(path, offset, line)).unwrap()
    }

    fn line(&mut self, _: &str, _: u64, line: &[u8]) -> ControlFlow<()> {
        let number = std::str::from_utf8(line).unwrap().split(' ').next().unwrap();
        self.0.push(number.parse().unwrap_or_else(|_| panic!("{number:?}")));
        ControlFlow::Continue(())
    }

    /// Every number once, in order.
    fn check(&self, bench: &Bench) {
        assert_eq!(self.0, (0..bench.next).collect::<Vec<_>>());
    }
}

#[test]
fn lines_are_shown_once_they_are_whole() {
    let mut bench = Bench::new();
    let mut follower = bench.follow(FollowFrom::Begin);
    let mut seen = Seen::default();
    assert_eq!(seen.poll(&mut follower), PollSummary::default());
    bench.write(3);
    assert_eq!(seen.poll(&mut follower), PollSummary { n_lines: 3, n_files: 1, ..PollSummary::default() });
    bench.append("a.log", "3 in ");
    assert_eq!(seen.poll(&mut follower).n_lines, 0);
    bench.append("a.log", "parts\n4 more\n5");
    assert_eq!(seen.poll(&mut follower).n_lines, 2);
    bench.append("a.log", "\n");
    assert_eq!(seen.poll(&mut follower).n_lines, 1);
    bench.next = 6;
    seen.check(&bench);
}

#[test]
fn the_end_is_behind_the_last_whole_line() {
    let mut bench = Bench::new();
    bench.append("a.log", "old\nolder\n0 be");
    let mut seen = Seen::default();
    let mut follower = bench.follow(FollowFrom::End);
    bench.append("a.log", "gun\n");
    bench.next = 1;
    bench.write(2);
    assert_eq!(seen.poll(&mut follower).n_lines, 3);
    seen.check(&bench);
}

#[test]
fn a_renamed_file_is_read_on_until_its_writers_have_left_it() {
    let mut bench = Bench::new();
    let mut seen = Seen::default();
    let mut follower = bench.follow(FollowFrom::Begin);
    bench.write(100);
    seen.poll(&mut follower);
    bench.write(100);
    bench.logrotate("create");
    // nginx writes to the old file until it is told to open its logs again.
    bench.write_to("a.log.1", 50);
    seen.poll(&mut follower);
    bench.write_to("a.log.1", 50);
    let summary = seen.poll(&mut follower);
    assert_eq!((summary.n_lines, summary.n_gaps), (50, 0));
    bench.write(10);
    seen.poll(&mut follower);
    seen.check(&bench);
}

#[test]
fn rotations_between_two_polls_lose_nothing_however_they_are_made() {
    for options in [
        "create",
        "create;compress",
        "create;compress;delaycompress",
        "create;dateext;dateformat -%Y%m%d-%s",
        "copytruncate",
        "copytruncate;compress",
        "nocreate",
    ] {
        let mut bench = Bench::new();
        let mut seen = Seen::default();
        let mut follower = bench.follow(FollowFrom::Begin);
        bench.write(100);
        seen.poll(&mut follower);
        for _ in 0..3 {
            bench.write(40);
            bench.logrotate(options);
            if options.contains("dateext") {
                std::thread::sleep(Duration::from_millis(1100));
            }
        }
        bench.write(7);
        let summary = seen.poll(&mut follower);
        assert_eq!(
            (summary.n_gaps, summary.n_truncations),
            (0, u64::from(options.starts_with("copy"))),
            "{options}"
        );
        bench.write(7);
        seen.poll(&mut follower);
        assert_eq!(seen.0, (0..bench.next).collect::<Vec<_>>(), "{options}");
    }
}

#[test]
fn a_saved_position_finds_its_place_after_rotations() {
    for options in ["create", "create;compress", "copytruncate", "copytruncate;compress"] {
        let mut bench = Bench::new();
        let mut seen = Seen::default();
        for round in 0..4 {
            let file = bench.path("checkpoint");
            let saved = Checkpoint::<u32>::load(&file).unwrap();
            assert_eq!(saved.as_ref().map(|saved| saved.state), (round > 0).then_some(bench.next));
            let mut follower =
                bench.follow(saved.map_or(FollowFrom::Begin, |saved| FollowFrom::Saved(saved.position)));
            bench.write(30);
            seen.poll(&mut follower);
            seen.check(&bench);
            Checkpoint { position: follower.position(), state: bench.next + 40 + 20 }.save(&file).unwrap();
            bench.write(40);
            bench.logrotate(options);
            bench.write(20);
            bench.logrotate(options);
        }
        let saved = Checkpoint::<u32>::load(&bench.path("checkpoint")).unwrap().unwrap();
        let summary = seen.poll(&mut bench.follow(FollowFrom::Saved(saved.position)));
        assert_eq!((summary.n_lines, summary.n_gaps), (60, 0), "{options}");
        seen.check(&bench);
    }
}

#[test]
fn a_truncated_file_that_grew_beyond_the_old_place_is_noticed() {
    let mut bench = Bench::new();
    let mut seen = Seen::default();
    let mut follower = bench.follow(FollowFrom::Begin);
    bench.write(10);
    seen.poll(&mut follower);
    fs::write(bench.path("a.log"), "").unwrap();
    bench.write(500);
    let summary = seen.poll(&mut follower);
    // There is no copy: whether lines were lost cannot be known.
    assert_eq!((summary.n_lines, summary.n_truncations, summary.n_gaps), (500, 1, 1));
    seen.check(&bench);
}

#[test]
fn a_log_that_is_removed_and_created_anew_is_read_from_its_begin() {
    let mut bench = Bench::new();
    let mut seen = Seen::default();
    let mut follower = bench.follow(FollowFrom::Begin);
    bench.write(10);
    seen.poll(&mut follower);
    // What was not read yet is read from the file that has no name any more, and its writers may go on.
    let mut writer = OpenOptions::new().append(true).open(bench.path("a.log")).unwrap();
    bench.write(5);
    fs::remove_file(bench.path("a.log")).unwrap();
    assert_eq!(seen.poll(&mut follower).n_lines, 5);
    writer.write_all(b"15 late\n16 without an end").unwrap();
    bench.next = 17;
    assert_eq!(seen.poll(&mut follower).n_lines, 1);
    bench.append("a.log", "");
    assert_eq!(seen.poll(&mut follower).n_lines, 0);
    // The writers have left: what is not whole will not become so.
    let later = Instant::now() + Duration::from_mins(2);
    let summary = follower.poll_at(later, &mut |path, offset, line| seen.line(path, offset, line)).unwrap();
    assert_eq!((summary.n_lines, follower.files.len()), (1, 1));
    bench.write(5);
    seen.poll(&mut follower);
    seen.check(&bench);
    // Killed, removed, created: the inode may be the old one's.
    let position = follower.position();
    drop(follower);
    fs::remove_file(bench.path("a.log")).unwrap();
    bench.write(30);
    let summary = seen.poll(&mut bench.follow(FollowFrom::Saved(position)));
    assert_eq!((summary.n_lines, summary.n_gaps), (30, 1));
    seen.check(&bench);
}

/// The kernel ends the writer's last write where the room ends: a limit on the file's size, for a disk's.
#[test]
fn a_line_that_a_full_disk_cut_waits_for_its_end() {
    let mut bench = Bench::new();
    let mut seen = Seen::default();
    let mut follower = bench.follow(FollowFrom::Begin);
    bench.write(20);
    let size = fs::metadata(bench.path("a.log")).unwrap().len();
    let script = "import os, resource, sys\n\
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n\
        file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)\n\
        line = b'20 ' + b'y' * 100\n\
        assert os.write(file, line + b'\\n') == 50\n\
        try: os.write(file, line)\n\
        except OSError: sys.exit(0)\n\
        sys.exit(1)\n";
    let status = Command::new("python3")
        .args(["-c", script, &bench.log(), &(size + 50).to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(seen.poll(&mut follower).n_lines, 20);
    let position = follower.position();
    drop(follower);
    let mut follower = bench.follow(FollowFrom::Saved(position));
    assert_eq!(seen.poll(&mut follower).n_lines, 0);
    // There is room again: what comes is appended to the half line.
    bench.append("a.log", "21 of the next request\n");
    bench.next = 21;
    bench.write(5);
    assert_eq!(seen.poll(&mut follower).n_lines, 6);
    // One line is of two requests; all others are whole.
    bench.next = 26;
    seen.check(&bench);
}

#[test]
fn an_endless_line_is_cut_and_what_follows_is_whole() {
    let mut bench = Bench::new();
    bench.write(1);
    bench.append("a.log", &format!("1 {}", "y".repeat(3 << 20)));
    let mut seen = Seen::default();
    let mut follower = bench.follow(FollowFrom::Begin);
    let summary = seen.poll(&mut follower);
    assert_eq!((summary.n_lines, summary.n_cut), (2, 1));
    let position = follower.position();
    bench.append("a.log", "still the same line\n");
    bench.next = 2;
    bench.write(3);
    let mut follower = bench.follow(FollowFrom::Saved(position));
    assert_eq!(seen.poll(&mut follower).n_lines, 3);
    seen.check(&bench);
}

#[test]
fn the_position_is_right_after_every_single_line() {
    let mut bench = Bench::new();
    let mut seen = Seen::default();
    bench.write(20);
    bench.logrotate("create;compress");
    bench.write(20);
    let mut follower = bench.follow(FollowFrom::Begin);
    // Also across a rotation.
    seen.0.extend(0..20);
    for idx in 0..30 {
        if idx == 10 {
            bench.write(10);
            bench.logrotate("create;compress");
            bench.write(10);
        }
        let mut n_lines = 0;
        let stop_after_one = &mut |path: &str, offset: u64, line: &[u8]| {
            n_lines += 1;
            let _ = seen.line(path, offset, line);
            ControlFlow::Break(())
        };
        follower.poll(stop_after_one).unwrap();
        assert_eq!(n_lines, 1);
        follower = bench.follow(FollowFrom::Saved(follower.position()));
    }
    seen.poll(&mut follower);
    seen.check(&bench);
}

#[test]
fn a_rotated_file_is_left_when_its_successor_is_written_to_and_not_before() {
    let mut bench = Bench::new();
    let mut seen = Seen::default();
    bench.write(10);
    let mut follower = bench.follow(FollowFrom::Begin);
    bench.logrotate("create");
    seen.poll(&mut follower);
    let later = Instant::now() + Duration::from_mins(2);
    let mut poll = |follower: &mut Follower| {
        follower.poll_at(later, &mut |path, offset, line| seen.line(path, offset, line)).unwrap();
        follower.files.len()
    };
    assert_eq!(poll(&mut follower), 2);
    bench.write(1);
    assert_eq!(poll(&mut follower), 2, "the successor's first line is read after this");
    assert_eq!(poll(&mut follower), 1);
    seen.check(&bench);
}

#[test]
fn what_was_written_into_an_empty_file_and_copied_away_is_found() {
    for is_saved in [false, true] {
        let mut bench = Bench::new();
        let mut seen = Seen::default();
        fs::write(bench.path("a.log.1"), "old\n").unwrap();
        bench.append("a.log", "");
        let mut follower = bench.follow(FollowFrom::Begin);
        for _ in 0..3 {
            assert_eq!(seen.poll(&mut follower).n_lines, 0);
            bench.write(10);
            bench.logrotate("copytruncate");
            if is_saved {
                follower = bench.follow(FollowFrom::Saved(follower.position()));
            }
            let summary = seen.poll(&mut follower);
            assert_eq!((summary.n_lines, summary.n_gaps), (10, 0));
        }
        seen.check(&bench);
    }
}
