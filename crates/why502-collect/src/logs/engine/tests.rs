use super::*;
use std::sync::atomic::AtomicU64;

/// Lines with their files and offsets, as they came.
type Lines = Vec<(String, u64, String)>;

fn part(name: &str, bytes: Vec<u8>) -> LogPart {
    (name.into(), Box::new(io::Cursor::new(bytes)))
}

fn push(lines: &mut Lines, file: &Arc<str>, offset: u64, bytes: &[u8]) {
    let mut offset = offset;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        lines.push((file.to_string(), offset, String::from_utf8_lossy(line).into_owned()));
        offset += line.len() as u64;
    }
}

fn read_until(
    n_threads: usize,
    parts: Vec<LogPart>,
    stop: &AtomicBool,
    push: &PushLines<'_, Lines>,
) -> Digested<Lines> {
    let engine = Engine { n_threads: NonZeroUsize::new(n_threads).unwrap(), stop };
    let work = Work { make: &Vec::new, push, merge: &|whole: &mut Lines, later| whole.extend(later) };
    engine.digest(parts.into_iter(), &work)
}

fn read(n_threads: usize, parts: Vec<LogPart>) -> Digested<Lines> {
    read_until(n_threads, parts, &AtomicBool::new(false), &push)
}

#[test]
fn all_lines_come_in_order_with_their_places() {
    let text = |n_lines: usize| -> Vec<u8> {
        (0..n_lines).flat_map(|n| format!("{n} {}\n", "x".repeat(n * 7919 % 3000)).into_bytes()).collect()
    };
    let files =
        [("a.1", text(3000)), ("empty", Vec::new()), ("a", [text(2000), b"no end".to_vec()].concat())];
    let mut expected = Lines::new();
    for (name, bytes) in &files {
        push(&mut expected, &Arc::from(*name), 0, bytes);
    }
    let n_bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(n_bytes > 5 * CHUNK);
    for n_threads in [1, 2, 5] {
        let parts = files.iter().map(|(name, bytes)| part(name, bytes.clone())).collect();
        let digested = read(n_threads, parts);
        assert!(digested.digester == expected, "{n_threads} threads");
        assert_eq!((digested.n_cut, digested.stopped), (0, false));
    }
}

#[test]
fn a_line_without_end_is_cut_and_what_follows_it_is_whole() {
    let endless = vec![b'a'; 5 * CHUNK + 17];
    let file = [b"first\n", &endless[..], b"\nafter\n", &endless[..CHUNK - 1], b"\nlast"].concat();
    let digested = read(2, vec![part("a", file), part("b", b"other\n".to_vec())]);
    let lengths: Vec<_> = digested.digester.iter().map(|(_, offset, line)| (*offset, line.len())).collect();
    let after = 6 + endless.len() as u64 + 1;
    let whole = (after + 6, CHUNK);
    assert_eq!(lengths, [(0, 6), (6, CUT_LINE), (after, 6), whole, (after + 6 + CHUNK as u64, 4), (0, 6)]);
    assert_eq!(digested.n_cut, 1);
}

#[test]
fn a_file_that_breaks_off_keeps_what_it_held() {
    struct Broken(bool);
    impl Read for Broken {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(io::Error::other("bad sector"));
            }
            bytes[..8].copy_from_slice(b"one\ntwo\n");
            Ok(8)
        }
    }
    let broken: LogPart = ("broken".into(), Box::new(Broken(false)));
    let digested = read(2, vec![broken, part("b", b"three\n".to_vec())]);
    assert_eq!(digested.digester.len(), 3);
    assert_eq!(digested.unreadable.iter().map(|(file, _)| &**file).collect::<Vec<_>>(), ["broken"]);
}

#[test]
fn stopping_leaves_whole_lines() {
    let stop = AtomicBool::new(false);
    let file = b"a line of some length\n".repeat(200_000);
    let parts = vec![part("a", file), part("b", b"never\n".to_vec())];
    let digested = read_until(1, parts, &stop, &|lines, file, offset, bytes| {
        push(lines, file, offset, bytes);
        stop.store(true, Ordering::Relaxed);
    });
    let lines = &digested.digester;
    assert!(digested.stopped && !lines.is_empty() && lines.len() < 100_000);
    assert!(lines.iter().all(|(file, _, line)| file == "a" && line == "a line of some length\n"));
}

#[test]
fn a_panic_of_one_worker_ends_all() {
    let file = b"x\n".repeat(20 * CHUNK);
    let count = AtomicU64::new(0);
    let panics = |(): &mut (), _: &Arc<str>, _: u64, _: &[u8]| {
        assert!(count.fetch_add(1, Ordering::Relaxed) != 2, "on purpose");
    };
    let stop = AtomicBool::new(false);
    let engine = Engine { n_threads: NonZeroUsize::new(2).unwrap(), stop: &stop };
    let work = Work { make: &|| (), push: &panics, merge: &|(), ()| () };
    let run = || engine.digest(vec![part("a", file)].into_iter(), &work).n_cut;
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
}
