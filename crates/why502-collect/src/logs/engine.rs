//! Digests logs of any size on several cores, in constant memory.
//!
//! Each worker takes the next chunk of whole lines from the one reader, digests it by a digester of its own, and hands
//! the digest over; digests are merged in the order of the chunks, and merging is associative, so that the result is that
//! of one digester that saw all lines. A worker reads its chunk itself, so that the bytes are in its core's cache when it
//! looks at them. Logs are read with `read(2)`, never mapped: a copytruncate under a map would kill the program.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How much is read and digested at once.
const CHUNK: usize = 1 << 20;
/// What is left of a line that is longer than a chunk: nothing that a gateway logs comes near it.
const CUT_LINE: usize = 64 << 10;
/// So many chunks per worker may be digested before the one whose turn it is to be merged.
const AHEAD: u64 = 4;

/// A file of a log, open.
pub(super) type LogPart = (Arc<str>, Box<dyn Read + Send>);

/// How a log is digested.
#[derive(Clone, Copy)]
pub(super) struct Engine<'a> {
    /// How many threads work, this one included.
    pub(super) n_threads: NonZeroUsize,
    /// Once it is set, nothing more is read, and the result is that of what was.
    pub(super) stop: &'a AtomicBool,
}

impl fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("n_threads", &self.n_threads)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}

/// Pushes lines into a digester: the file, the offset of the first line, the lines with their ends.
pub(super) type PushLines<'a, D> = dyn Fn(&mut D, &Arc<str>, u64, &[u8]) + Sync + 'a;

/// What is done with the lines.
pub(super) struct Work<'a, D> {
    /// Makes a digester for a chunk.
    pub(super) make: &'a (dyn Fn() -> D + Sync),
    /// Pushes whole lines, with the file and the offset of the first one. The last line of a file may lack its end.
    pub(super) push: &'a PushLines<'a, D>,
    /// Adds the digest of the lines that follow.
    pub(super) merge: &'a (dyn Fn(&mut D, D) + Sync),
}

impl<D> fmt::Debug for Work<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

/// What became of a log.
#[derive(Debug)]
pub(super) struct Digested<D> {
    /// The digester that saw all lines that were read.
    pub(super) digester: D,
    /// How many lines were too long, and cut.
    pub(super) n_cut: u64,
    /// Files that could not be read to their end, and why. What they held before is in the digest.
    pub(super) unreadable: Vec<(Arc<str>, io::Error)>,
    /// Whether it was stopped before the end.
    pub(super) stopped: bool,
}

impl Engine<'_> {
    /// Digests files, in their order.
    pub(super) fn digest<D: Send>(
        &self,
        parts: impl Iterator<Item = LogPart> + Send,
        work: &Work<'_, D>,
    ) -> Digested<D> {
        let shared = Shared {
            engine: self,
            work,
            source: Mutex::new(Chunks::new(parts)),
            merged: Mutex::new(Merged { next: 0, waiting: BTreeMap::new(), whole: None, broken: false }),
            moved_on: Condvar::new(),
        };
        thread::scope(|scope| {
            for _ in 1..self.n_threads.get() {
                scope.spawn(|| shared.run());
            }
            shared.run();
        });
        let source = into_inner(shared.source);
        let merged = into_inner(shared.merged);
        Digested {
            digester: merged.whole.unwrap_or_else(work.make),
            n_cut: source.n_cut,
            unreadable: source.unreadable,
            stopped: source.stopped,
        }
    }
}

/// What the workers share.
struct Shared<'a, D, I> {
    engine: &'a Engine<'a>,
    work: &'a Work<'a, D>,
    source: Mutex<Chunks<I>>,
    merged: Mutex<Merged<D>>,
    /// Something was merged.
    moved_on: Condvar,
}

struct Merged<D> {
    /// The number of the chunk that is merged next.
    next: u64,
    /// Digests of later chunks, by their numbers.
    waiting: BTreeMap<u64, D>,
    whole: Option<D>,
    /// A worker panicked: its chunk never comes.
    broken: bool,
}

impl<D: Send, I: Iterator<Item = LogPart>> Shared<'_, D, I> {
    fn run(&self) {
        let alarm = Alarm { merged: &self.merged, moved_on: &self.moved_on };
        let mut bytes = vec![0; CHUNK];
        while let Some(chunk) = self.next_chunk(&mut bytes) {
            let lines = &bytes[..chunk.length];
            let mut digester = (self.work.make)();
            (self.work.push)(&mut digester, &chunk.file, chunk.offset, lines);
            self.deliver(chunk.number, digester);
        }
        drop(alarm);
    }

    fn next_chunk(&self, bytes: &mut [u8]) -> Option<Chunk> {
        let mut source = locked(&self.source);
        let limit = AHEAD * self.engine.n_threads.get() as u64;
        let mut merged = locked(&self.merged);
        while source.number >= merged.next + limit && !merged.broken {
            merged = self.moved_on.wait(merged).unwrap_or_else(PoisonError::into_inner);
        }
        drop(merged);
        source.next(bytes, self.engine.stop)
    }

    fn deliver(&self, number: u64, digester: D) {
        let mut merged = locked(&self.merged);
        merged.waiting.insert(number, digester);
        let mut next = merged.next;
        while let Some(digester) = merged.waiting.remove(&next) {
            match &mut merged.whole {
                Some(whole) => (self.work.merge)(whole, digester),
                whole => *whole = Some(digester),
            }
            next += 1;
        }
        merged.next = next;
        drop(merged);
        self.moved_on.notify_all();
    }
}

/// Wakes the other workers if this one panics: they would wait for its chunk.
struct Alarm<'a, D> {
    merged: &'a Mutex<Merged<D>>,
    moved_on: &'a Condvar,
}

impl<D> Drop for Alarm<'_, D> {
    fn drop(&mut self) {
        if thread::panicking() {
            locked(self.merged).broken = true;
            self.moved_on.notify_all();
        }
    }
}

/// Whole lines of a file.
struct Chunk {
    number: u64,
    file: Arc<str>,
    offset: u64,
    length: usize,
}

/// Cuts files into chunks of whole lines.
struct Chunks<I> {
    parts: I,
    open: Option<LogPart>,
    /// Where in the open file `left` begins.
    offset: u64,
    /// The begin of the line that the last chunk did not hold whole.
    left: Vec<u8>,
    /// Whether the rest of a line that was cut is still to be passed over.
    is_cutting: bool,
    /// The number of the next chunk.
    number: u64,
    n_cut: u64,
    unreadable: Vec<(Arc<str>, io::Error)>,
    stopped: bool,
}

impl<I: Iterator<Item = LogPart>> Chunks<I> {
    fn new(parts: I) -> Self {
        Self {
            parts,
            open: None,
            offset: 0,
            left: Vec::new(),
            is_cutting: false,
            number: 0,
            n_cut: 0,
            unreadable: Vec::new(),
            stopped: false,
        }
    }

    /// Fills `bytes` with the next lines; `None` at the end of the last file.
    fn next(&mut self, bytes: &mut [u8], stop: &AtomicBool) -> Option<Chunk> {
        loop {
            if self.stopped || stop.load(Ordering::Relaxed) {
                self.stopped = true;
                return None;
            }
            let (file, reader) = match &mut self.open {
                Some(open) => open,
                closed => {
                    self.offset = 0;
                    closed.insert(self.parts.next()?)
                }
            };
            let file = Arc::clone(file);
            let begin = self.left.len();
            bytes[..begin].copy_from_slice(&self.left);
            let filled = fill(reader, &mut bytes[begin..], stop);
            let held = begin + filled.length;
            let is_last = filled.ended;
            self.stopped = !is_last && held < bytes.len();
            let offset = self.offset;
            let (from, to) = self.whole_lines(&bytes[..held], is_last);
            self.left.clear();
            self.left.extend_from_slice(&bytes[to.max(from)..held]);
            self.offset = offset + (held - self.left.len()) as u64;
            let mut to = to;
            if self.left.len() == bytes.len() {
                // A line longer than a chunk.
                self.n_cut += 1;
                self.is_cutting = true;
                self.left.clear();
                self.offset = offset + held as u64;
                to = CUT_LINE;
            }
            if is_last || self.stopped {
                self.open = None;
                self.left.clear();
                self.is_cutting = false;
                self.unreadable.extend(filled.error.map(|error| (Arc::clone(&file), error)));
            }
            if to > from {
                bytes.copy_within(from..to, 0);
                let number = self.number;
                self.number += 1;
                return Some(Chunk { number, file, offset: offset + from as u64, length: to - from });
            }
        }
    }

    /// Where the whole lines among some bytes begin and end; all is passed over while a line is being cut.
    fn whole_lines(&mut self, bytes: &[u8], is_last: bool) -> (usize, usize) {
        let mut from = 0;
        if self.is_cutting {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return (bytes.len(), bytes.len()) };
            self.is_cutting = false;
            from = end + 1;
        }
        let to = if is_last { bytes.len() } else { memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1) };
        (from, to.max(from))
    }
}

/// How far a buffer was filled.
struct Filled {
    length: usize,
    /// Whether the file ends here, or cannot be read further.
    ended: bool,
    error: Option<io::Error>,
}

/// Fills a buffer, unless the file ends before, cannot be read, or all shall stop.
fn fill(reader: &mut dyn Read, bytes: &mut [u8], stop: &AtomicBool) -> Filled {
    let mut length = 0;
    while length < bytes.len() {
        match reader.read(&mut bytes[length..]) {
            Ok(0) => return Filled { length, ended: true, error: None },
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A cut archive gives what it holds.
            Err(error) => return Filled { length, ended: true, error: Some(error) },
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Filled { length, ended: false, error: None }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
