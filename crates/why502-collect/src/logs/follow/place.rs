//! Files that are followed, and how they are found again.

use super::{FilePosition, PollSummary, See};
use crate::logs::lines::{BLOCK, MAX_LINE, packing_of};
use crate::logs::packing::Packing;
use crate::logs::read_range;
use crate::logs::rotation::rotated;
use crate::root::RootDir;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many of a file's first bytes tell it from others, at most.
const MAX_HASHED: u64 = 1024;

/// How many times files are listed until nobody renames them meanwhile.
const MAX_LOOKS: u32 = 10;
/// How long a rotated file is read on after something was last read of it: its writers leave it when they are told to.
const GRACE: Duration = Duration::from_mins(1);

/// The log and its rotated files, oldest first, as they are now.
pub(super) struct Candidates {
    files: Vec<Candidate>,
    has_live: bool,
}

struct Candidate {
    path: String,
    file: File,
    id: (u64, u64),
}

impl Candidates {
    /// Opens all of them; again, if they were renamed meanwhile: a file would be missed, or taken for its neighbour.
    pub(super) fn of(root: &RootDir, path: &str) -> Self {
        let mut found = Self::look(root, path);
        for _ in 0..MAX_LOOKS {
            let again = Self::look(root, path);
            let is_same = found.ids().eq(again.ids());
            found = again;
            if is_same {
                break;
            }
        }
        found
    }

    fn look(root: &RootDir, path: &str) -> Self {
        let open = |path: String| {
            let (file, stat) = root.open_file(&path).ok()?;
            Some(Candidate { path, file, id: (stat.st_dev, stat.st_ino) })
        };
        let mut files: Vec<Candidate> =
            rotated(root, path).into_iter().filter_map(|file| open(file.path)).collect();
        let live = open(path.to_owned());
        let has_live = live.is_some();
        files.extend(live);
        Self { files, has_live }
    }

    fn ids(&self) -> impl Iterator<Item = (&str, (u64, u64))> {
        self.files.iter().map(|file| (&*file.path, file.id))
    }

    /// The places of the files that are newer than the one at a place; without one, of all, or of the log itself.
    pub(super) fn newer(&self, than: Option<usize>, is_all_new: bool) -> std::ops::Range<usize> {
        let end = self.files.len();
        let n_rotated = end - usize::from(self.has_live);
        than.map_or(if is_all_new { 0 } else { n_rotated }, |place| place + 1)..end
    }

    /// The place of the file with a device and an inode.
    pub(super) fn place(&self, id: (u64, u64)) -> Option<usize> {
        self.files.iter().position(|file| file.id == id)
    }

    /// The log itself.
    pub(super) fn live(&self) -> io::Result<Option<Followed>> {
        let place = self.has_live.then(|| self.files.len() - 1);
        place.map(|place| self.open(place, None)).transpose()
    }

    /// What the newest rotated file is known by, if it holds anything.
    pub(super) fn newest_rotated(&self) -> io::Result<Option<FilePosition>> {
        for place in (0..self.files.len() - usize::from(self.has_live)).rev() {
            let mut file = self.open(place, None)?;
            file.mark.offset = file.first_bytes(MAX_HASHED)?.len() as u64;
            file.hash_more()?;
            if file.mark.n_hashed > 0 {
                return Ok(Some(file.mark));
            }
        }
        Ok(None)
    }

    /// Device and inode of the log itself.
    pub(super) fn live_id(root: &RootDir, path: &str) -> Option<(u64, u64)> {
        root.open_file(path).ok().map(|(_, stat)| (stat.st_dev, stat.st_ino))
    }

    /// Where a file is now: under whatever name, or its copy, or its archive.
    pub(super) fn find(&self, mark: &FilePosition) -> Option<usize> {
        let places = || 0..self.files.len();
        let holds = |place: usize| self.open(place, None).is_ok_and(|file| file.holds(mark));
        let is_itself = |place: usize| {
            self.open(place, None).is_ok_and(|file| file.mark.id() == mark.id() && file.holds(mark))
        };
        let itself = places().find(|place| is_itself(*place));
        if itself.is_some() || mark.n_hashed == 0 {
            return itself;
        }
        places().rev().find(|place| holds(*place))
    }

    /// A file: where it was left, or at its begin.
    pub(super) fn open(&self, place: usize, mark: Option<&FilePosition>) -> io::Result<Followed> {
        let Candidate { path, file, id: (device, inode) } = &self.files[place];
        let begin = FilePosition {
            device: *device,
            inode: *inode,
            offset: 0,
            is_skipping: false,
            n_hashed: 0,
            hash: hash(&[]),
            is_exhausted: false,
        };
        let mark = match mark {
            Some(mark) => FilePosition { device: *device, inode: *inode, ..mark.clone() },
            None => begin,
        };
        let packing = packing_of(file)?;
        let changed = file.metadata().map(|metadata| (metadata.ctime(), metadata.ctime_nsec()))?;
        let file = file.try_clone()?;
        Ok(Followed { path: path.clone(), file, packing, mark, read_at: Instant::now(), changed })
    }
}

/// A file that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    path: String,
    file: File,
    packing: Packing,
    pub(super) mark: FilePosition,
    /// When something was last read.
    read_at: Instant,
    /// When it was last changed, as far as is known.
    changed: (i64, i64),
}

impl Followed {
    /// Goes to the begin of the last line, if that is not whole, or behind it.
    pub(super) fn go_to_end(&mut self) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        let begin = size.saturating_sub(MAX_LINE as u64);
        let end = read_range(&mut self.file, begin, size - begin)?;
        let last = memchr::memrchr(b'\n', &end).map(|at| begin + at as u64 + 1);
        self.mark.offset = last.unwrap_or(begin);
        self.mark.is_skipping = last.is_none() && begin > 0;
        self.hash_more()
    }

    /// Whether what was read of the file still stands in it.
    pub(super) fn is_intact(&self) -> io::Result<bool> {
        let is_long = self.packing != Packing::Plain || self.file.metadata()?.len() >= self.mark.offset;
        Ok(is_long && self.first_hash(self.mark.n_hashed)? == Some(self.mark.hash))
    }

    /// Whether the file was changed since this was last asked, and nothing was read of it.
    pub(super) fn has_changed_unread(&mut self) -> io::Result<bool> {
        let metadata = self.file.metadata()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Ok(std::mem::replace(&mut self.changed, changed) != changed && self.mark.n_hashed == 0)
    }

    /// Whether a mark's place is in this file: it begins with the same bytes, and is long enough.
    fn holds(&self, mark: &FilePosition) -> bool {
        let is_long = self.packing != Packing::Plain
            || self.file.metadata().is_ok_and(|metadata| metadata.len() >= mark.offset);
        is_long && self.first_hash(mark.n_hashed).is_ok_and(|found| found == Some(mark.hash))
    }

    /// The hash of the first bytes; `None` if there are not so many.
    fn first_hash(&self, length: u64) -> io::Result<Option<u64>> {
        let bytes = self.first_bytes(length)?;
        Ok((bytes.len() as u64 == length).then(|| hash(&bytes)))
    }

    fn first_bytes(&self, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.content_from(0)?.take(length.min(MAX_HASHED)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The unpacked content from an offset on.
    fn content_from(&self, offset: u64) -> io::Result<Box<dyn io::Read + Send>> {
        // The descriptors share one place in the file: nothing else here depends on it.
        let mut file = self.file.try_clone()?;
        let is_plain = self.packing == Packing::Plain;
        file.seek(SeekFrom::Start(if is_plain { offset } else { 0 }))?;
        let mut content = self.packing.unpack(file, Arc::default())?;
        if !is_plain {
            io::copy(&mut content.by_ref().take(offset), &mut io::sink())?;
        }
        Ok(content)
    }

    /// Whether nothing can follow: it is an archive, or it was removed or has a successor that is written to, and its
    /// writers had the time to leave it.
    pub(super) fn is_over(&self, now: Instant, is_succeeded: bool) -> io::Result<bool> {
        let is_quiet = now.saturating_duration_since(self.read_at) > GRACE;
        Ok(self.packing != Packing::Plain
            || (is_quiet && (is_succeeded || self.file.metadata()?.nlink() == 0)))
    }

    /// Shows the lines that are whole.
    pub(super) fn read(
        &mut self,
        summary: &mut PollSummary,
        see: &mut See<'_>,
    ) -> io::Result<ControlFlow<()>> {
        if self.packing != Packing::Plain {
            let mut content = self.content_from(self.mark.offset)?;
            return self.read_from(|_, buffer| read_full(&mut content, buffer), summary, see);
        }
        let file = self.file.try_clone()?;
        self.read_from(|offset, buffer| file.read_at(buffer, offset), summary, see)
    }

    /// Reads with a function that is asked for bytes one after the other, never for the same again.
    fn read_from(
        &mut self,
        mut more: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
        summary: &mut PollSummary,
        see: &mut See<'_>,
    ) -> io::Result<ControlFlow<()>> {
        let mut buffer = vec![0; BLOCK];
        let mut held = 0;
        loop {
            if held == buffer.len() {
                buffer.resize(buffer.len() * 2, 0);
            }
            let length = more(self.mark.offset + held as u64, &mut buffer[held..])?;
            self.mark.is_exhausted = length == 0;
            // What was truncated meanwhile, and grew again, is not what was to be read: the next poll finds out.
            if length == 0 || (self.packing == Packing::Plain && !self.is_intact()?) {
                return Ok(ControlFlow::Continue(()));
            }
            held += length;
            self.read_at = Instant::now();
            let (used, flow) = self.show(&buffer[..held], summary, see);
            self.hash_more()?;
            if flow.is_break() {
                return Ok(flow);
            }
            buffer.copy_within(used..held, 0);
            held -= used;
        }
    }

    /// Shows the lines of a block; how much of it is done with.
    fn show(
        &mut self,
        block: &[u8],
        summary: &mut PollSummary,
        see: &mut See<'_>,
    ) -> (usize, ControlFlow<()>) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', block) {
            let begin = self.mark.offset;
            self.mark.offset += (end + 1 - start) as u64;
            let line = &block[start..end];
            start = end + 1;
            if std::mem::take(&mut self.mark.is_skipping) {
                continue;
            }
            summary.n_lines += 1;
            if see(&self.path, begin, line).is_break() {
                return (start, ControlFlow::Break(()));
            }
        }
        let is_too_long = block.len() - start >= MAX_LINE;
        if !is_too_long && !self.mark.is_skipping {
            return (start, ControlFlow::Continue(()));
        }
        let begin = self.mark.offset;
        self.mark.offset += (block.len() - start) as u64;
        if std::mem::replace(&mut self.mark.is_skipping, true) {
            return (block.len(), ControlFlow::Continue(()));
        }
        summary.n_lines += 1;
        summary.n_cut += 1;
        (block.len(), see(&self.path, begin, &block[start..start + MAX_LINE]))
    }

    /// Shows the last line if it has no end: nothing can follow.
    pub(super) fn end(
        &mut self,
        summary: &mut PollSummary,
        see: &mut See<'_>,
    ) -> io::Result<ControlFlow<()>> {
        let mut line = Vec::new();
        self.content_from(self.mark.offset)?.take(MAX_LINE as u64).read_to_end(&mut line)?;
        if line.is_empty() || self.mark.is_skipping {
            return Ok(ControlFlow::Continue(()));
        }
        summary.n_lines += 1;
        let begin = self.mark.offset;
        self.mark.offset += line.len() as u64;
        Ok(see(&self.path, begin, &line))
    }

    /// Hashes as much of the first bytes as has been read by now.
    fn hash_more(&mut self) -> io::Result<()> {
        let length = self.mark.offset.min(MAX_HASHED);
        if length <= self.mark.n_hashed {
            return Ok(());
        }
        let bytes = self.first_bytes(length)?;
        let known = usize::try_from(self.mark.n_hashed).unwrap_or(usize::MAX);
        // Other bytes than those that were read must not become what the file is known by.
        if bytes.len() as u64 == length
            && bytes.get(..known).is_some_and(|known| hash(known) == self.mark.hash)
        {
            (self.mark.n_hashed, self.mark.hash) = (length, hash(&bytes));
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the content ends.
fn read_full(content: &mut dyn io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match content.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// FNV-1a: the same in every version of this program, which a library's hash need not be.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
